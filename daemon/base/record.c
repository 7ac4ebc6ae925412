/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * record: names of reading flags and verdicts, as they stand in the store. */
#include "daemon/base/record.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include <string.h>

static const char *const FLAGS[READING_FLAG_COUNT] = {
    "simulated", "limiting",     "overrange",        "unsettled",   "stale",
    "tripped",   "not_a_number", "cal_extrapolated", "cal_overdue", "derived",
};

static const char *const VERDICTS[VERDICT_COUNT] = {
    [VERDICT_NONE] = "none",
    [VERDICT_PASS] = "pass",
    [VERDICT_FAIL] = "fail",
    [VERDICT_MARGINAL] = "marginal",
    [VERDICT_ERROR] = "error",
    [VERDICT_HANG] = "hang",
    [VERDICT_LINK_ERROR] = "link_error",
    [VERDICT_TRIPPED] = "tripped",
    [VERDICT_SKIPPED] = "skipped",
    [VERDICT_INFERRED] = "inferred",
    [VERDICT_SUSPECT] = "suspect",
};

const char *record_flag_name(int bit_index)
{
    return bit_index >= 0 && bit_index < READING_FLAG_COUNT ? FLAGS[bit_index] : "unknown";
}

const char *verdict_name(int verdict)
{
    return verdict >= 0 && verdict < VERDICT_COUNT ? VERDICTS[verdict] : "unknown";
}

int verdict_from_name(const char *name)
{
    for (int i = 0; name != NULL && i < VERDICT_COUNT; i++) {
        if (strcmp(name, VERDICTS[i]) == 0)
            return i;
    }
    return -1;
}

void record_channel(char out[RECORD_NAME_MAX], const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(out, RECORD_NAME_MAX, format, args);
    va_end(args);
    for (; *out != '\0'; out++)
        *out = (char)tolower((unsigned char)*out);
}
