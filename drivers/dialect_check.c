/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * dialect_check: what only a whole dialect file shows: commands that are nothing without one another, answers
 * that nobody could understand, channels that nobody names. */
#include <math.h>
#include <string.h>

#include "drivers/dialect.h"
#include "instruments/bench.h"

static bool has(const struct dialect *d, int command)
{
    return d->command[command][0] != '\0';
}

/* What belongs together: one is nothing without the others. */
static void check_log(const struct json_at *root, const struct dialect *d)
{
    static const int NEEDED[] = { DIALECT_LOG_START, DIALECT_LOG_FETCH, DIALECT_LOG_STOP };
    bool any = d->log.values_max > 0 || has(d, DIALECT_LOG_VOLTAGE) || has(d, DIALECT_LOG_CURRENT) ||
               has(d, DIALECT_LOG_COUNT);
    bool all = d->log.values_max > 0 && (has(d, DIALECT_LOG_VOLTAGE) || has(d, DIALECT_LOG_CURRENT));
    for (size_t i = 0; i < sizeof NEEDED / sizeof *NEEDED; i++) {
        any |= has(d, NEEDED[i]);
        all &= has(d, NEEDED[i]);
    }
    if (any != all)
        json_problem(root, "",
                     "a logger needs \"log\", 'log_voltage' or 'log_current', 'log_start', 'log_fetch' and "
                     "'log_stop'");
    if (has(d, DIALECT_LOG_FETCH) &&
        has(d, DIALECT_LOG_COUNT) != (strstr(d->command[DIALECT_LOG_FETCH], "{a}") != NULL))
        json_problem(root, "", "'log_fetch' with {a} and {b} and 'log_count' come together");
}

void dialect_check(const struct json_at *root, const struct dialect *d)
{
    if (has(d, DIALECT_GET_MODE) && d->mode_mask == 0)
        json_problem(root, "", "'get_mode' needs \"mode\": {mask, limiting} to be understood");
    if (has(d, DIALECT_GET_SETTLED) != (d->settled_mask != 0))
        json_problem(root, "", "'get_settled' and \"settled\": {mask, is} come together");
    check_log(root, d);
    bool arms = d->command[DIALECT_ARM_WATCHDOG][0];
    if (arms != !isnan(d->watchdog_s) || arms != (d->command[DIALECT_DISARM_WATCHDOG][0] != '\0') ||
        arms != (d->command[DIALECT_GET_WATCHDOG][0] != '\0'))
        json_problem(root, "",
                     "a watchdog needs 'arm_watchdog', 'disarm_watchdog', 'get_watchdog' and "
                     "\"watchdog_s\"");
    if (d->mode_with_reading && !d->command[DIALECT_GET_MODE][0])
        json_problem(root, "", "\"mode_with_reading\" needs 'get_mode'");
    for (int i = 0; i < DIALECT_COMMAND_COUNT; i++) {
        if (d->answer[i].bit_count > 0 && d->answer[i].bit_count != d->channel_count)
            json_problem(root, "", "'%s' has %d bits in \"answers\", one for each of %d channels is needed",
                         dialect_command_name(i), d->answer[i].bit_count, d->channel_count);
        if (d->channel_count > 1 && i != DIALECT_PREPARE && !d->command[DIALECT_SELECT][0] &&
            dialect_needs_select(d, i))
            json_problem(root, "", "'%s' names no channel of several: use {ch}, or give 'select'",
                         dialect_command_name(i));
    }
    if (d->command[DIALECT_SELECT][0] && !strstr(d->command[DIALECT_SELECT], "{ch}"))
        json_problem(root, "", "'select' has no {ch}");
    static const int PAIRS[][2] = {
        { DIALECT_SET_OVP, DIALECT_GET_OVP },      { DIALECT_OCP_ON, DIALECT_OCP_OFF },
        { DIALECT_OCP_ON, DIALECT_GET_OCP },       { DIALECT_SET_RANGE, DIALECT_AUTO_RANGE },
        { DIALECT_OUTPUT_ON, DIALECT_OUTPUT_OFF }, { DIALECT_OUTPUT_ON, DIALECT_GET_OUTPUT },
        { DIALECT_SET_RAMP, DIALECT_GET_RAMP },    { DIALECT_SET_SOAK, DIALECT_GET_SOAK },
        { DIALECT_SET_WINDOW, DIALECT_GET_WINDOW }
    };
    if (has(d, DIALECT_CLEAR_TRIP) != has(d, DIALECT_GET_TRIP) &&
        (has(d, DIALECT_CLEAR_TRIP) || d->class != CLASS_CHAMBER)) /* their alarms are cleared at the panel */
        json_problem(root, "", "'clear_trip' and 'get_trip' come together: what is cleared is looked at");
    for (size_t i = 0; i < sizeof PAIRS / sizeof *PAIRS; i++) {
        if (!d->command[PAIRS[i][0]][0] != !d->command[PAIRS[i][1]][0])
            json_problem(root, "", "'%s' and '%s' come together: what is set is read back",
                         dialect_command_name(PAIRS[i][0]), dialect_command_name(PAIRS[i][1]));
    }
}
