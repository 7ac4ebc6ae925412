/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * show_errors: what went wrong in a run: each failure in a line, and what the instruments were asked just
 * before the last one.
 */
#include <string.h>

#include "daemon/client/show.h"
#include "daemon/client/table.h"

enum { ERRORS_SHOWN = 10, NUMBER_TEXT = 32 };

static bool is_error(const cJSON *event)
{
    return strcmp(show_text(event, "kind"), "error") == 0;
}

static void show_place(const cJSON *event, FILE *out)
{
    const cJSON *details = cJSON_GetObjectItemCaseSensitive(event, "details");

    fprintf(out, "  step %.0f", show_number(details, "step"));
    if (show_number(details, "cell") >= 0)
        fprintf(out, " cell %.0f attempt %.0f", show_number(details, "cell"),
                show_number(details, "attempt"));
    fprintf(out, ": %s, %s\n", show_text(details, "code"), show_text(event, "text"));
}

static const char *value_text(const cJSON *row, char out[NUMBER_TEXT])
{
    if (cJSON_HasObjectItem(row, "items"))
        snprintf(out, NUMBER_TEXT, "%.0f items", show_number(row, "items"));
    else if (cJSON_HasObjectItem(row, "value"))
        snprintf(out, NUMBER_TEXT, "%.6g", show_number(row, "value"));
    else
        out[0] = '\0';
    return out;
}

static void show_transactions(const cJSON *list, FILE *out)
{
    static const char *const heads[] = { ">BEFORE (s)", "INSTRUMENT", "REQUEST", ">CHANNEL",
                                         ">VALUE",      ">TOOK (ms)", "ENDED" };
    const cJSON *row;
    struct table table;

    fprintf(out, "the last %d requests before the last of them:\n", cJSON_GetArraySize(list));
    table_init(&table, 7, heads);
    cJSON_ArrayForEach(row, list)
    {
        char at[NUMBER_TEXT], channel[NUMBER_TEXT], value[NUMBER_TEXT], took[NUMBER_TEXT];

        snprintf(at, sizeof at, "%.6f", -show_number(row, "at_s"));
        snprintf(channel, sizeof channel, "%.0f", show_number(row, "channel"));
        snprintf(took, sizeof took, "%.3f", show_number(row, "elapsed_ms"));
        table_row(&table,
                  (const char *const[]){ at, show_text(row, "instrument"), show_text(row, "op"), channel,
                                         value_text(row, value), took, show_text(row, "code") });
    }
    table_print(&table, out);
    table_free(&table);
}

void show_errors(const cJSON *events, FILE *out)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(events, "events"), *event, *transactions = NULL;
    int count = 0, passed = 0;

    cJSON_ArrayForEach(event, list) count += is_error(event);
    if (count == 0)
        return;
    fprintf(out, "%d failures%s:\n", count, count > ERRORS_SHOWN ? ", the last of them" : "");
    cJSON_ArrayForEach(event, list)
    {
        if (!is_error(event))
            continue;
        const cJSON *details = cJSON_GetObjectItemCaseSensitive(event, "details");
        if (++passed > count - ERRORS_SHOWN)
            show_place(event, out);
        if (cJSON_HasObjectItem(details, "transactions"))
            transactions = cJSON_GetObjectItemCaseSensitive(details, "transactions");
    }
    if (cJSON_GetArraySize(transactions) > 0)
        show_transactions(transactions, out);
    fputc('\n', out);
}
