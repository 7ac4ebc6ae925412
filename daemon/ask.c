/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ask: one client of the bench per question, while the scheduler keeps runs away.
 */
#include "daemon/ask.h"

#include <stdio.h>
#include <string.h>

#include "daemon/base/units.h"
#include "daemon/scan.h"
#include "instruments/message.h"

struct question {
    const struct bench_file *file;
    struct bench_client *client;
    int instrument;
    const char *text;
};

typedef int answer_fn(const struct question *question, cJSON **ret, struct error *err);

static int find(const struct bench_file *file, const char *name, int *ret_index, struct error *err)
{
    const char *names[BENCH_INSTRUMENTS_MAX + 1] = { NULL };

    for (int i = 0; i < file->instrument_count; i++) {
        names[i] = file->instrument[i].name;
        if (strcmp(names[i], name) == 0) {
            *ret_index = i;
            return 0;
        }
    }
    const char *near = json_nearest(name, names);
    return error_set(err, ERR_NOT_FOUND, "bench '%s' has no instrument '%.40s'%s%s%s", file->name, name,
                     near != NULL ? ": did you mean '" : "", near != NULL ? near : "",
                     near != NULL ? "'?" : "");
}

/* name NULL: all instruments. */
static int ask(struct daemon *daemon, const char *name, const char *text, answer_fn *answer, cJSON **ret,
               struct error *err)
{
    struct question question = { .file = daemon->bench_file, .text = text };
    struct clock_actor *actor = NULL;

    if (daemon->bench == NULL)
        return error_set(err, ERR_UNSUPPORTED, "this daemon has no bench");
    int code = name != NULL ? find(question.file, name, &question.instrument, err) : 0;
    if (code == 0)
        code = sched_borrow(daemon->sched, err);
    if (code != 0)
        return code;
    code = clock_actor_open(daemon->clock, "ask", CLOCK_RANK_RUNNER, &actor, err);
    if (code == 0)
        code = bench_client_open(daemon->bench, actor, &question.client, err);
    if (code == 0)
        code = answer(&question, ret, err);
    bench_client_close(question.client);
    clock_actor_close(actor);
    sched_give_back(daemon->sched);
    return code;
}

static int answer_scan(const struct question *q, cJSON **ret, struct error *err)
{
    cJSON *list = cJSON_CreateArray();

    if (list == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the list of instruments");
    for (int i = 0; i < q->file->instrument_count; i++) {
        struct bench_identity found;
        struct error why = { .code = 0 };
        bool met = bench_identity(q->client, i, &found, &why) == 0;
        cJSON_AddItemToArray(list, scan_row(&q->file->instrument[i], met ? &found : NULL, met ? NULL : &why));
    }
    *ret = list;
    return 0;
}

int ask_scan(struct daemon *daemon, cJSON **ret, struct error *err)
{
    return ask(daemon, NULL, NULL, answer_scan, ret, err);
}

/* Instruments may answer with bytes that are no text: those travel as \xNN. */
static void add_answer(struct strbuf *out, const char *answer)
{
    for (; *answer != '\0'; answer++) {
        unsigned char c = (unsigned char)*answer;
        strbuf_add(out, c >= ' ' && c <= '~' ? "%c" : "\\x%02x", c);
    }
}

static int answer_query(const struct question *q, cJSON **ret, struct error *err)
{
    char answer[MESSAGE_TEXT_MAX];
    struct strbuf shown = { 0 };

    int code = bench_query(q->client, q->instrument, q->text, answer, sizeof answer, err);
    if (code != 0)
        return code;
    add_answer(&shown, answer);
    cJSON *tree = cJSON_CreateObject();
    cJSON_AddStringToObject(tree, "instrument", q->file->instrument[q->instrument].name);
    cJSON_AddStringToObject(tree, "command", q->text);
    cJSON_AddStringToObject(tree, "answer", shown.text != NULL ? shown.text : "");
    strbuf_free(&shown);
    *ret = tree;
    return 0;
}

int ask_query(struct daemon *daemon, const char *name, const char *text, cJSON **ret, struct error *err)
{
    return ask(daemon, name, text, answer_query, ret, err);
}

static void add_error(cJSON *item, const struct error *why)
{
    cJSON_AddStringToObject(item, "error", why->message);
}

static void add_reading(cJSON *list, const char *name, const struct bench_read *read, const struct error *why)
{
    cJSON *item = cJSON_CreateObject();

    cJSON_AddItemToArray(list, item);
    cJSON_AddStringToObject(item, "quantity", name);
    json_add_number(item, "value", read->reading.value);
    json_add_number(item, "uncertainty", read->reading.uncertainty);
    cJSON_AddStringToObject(item, "unit", unit_info(read->reading.unit)->symbol);
    cJSON *flags = cJSON_AddArrayToObject(item, "flags");
    for (int bit = 0; bit < READING_FLAG_COUNT; bit++)
        if (read->reading.flags >> bit & 1)
            cJSON_AddItemToArray(flags, cJSON_CreateString(record_flag_name(bit)));
    add_error(item, why);
}

static void add_readings(const struct question *q, const struct bench_channel *channel, cJSON *item)
{
    static const char *const names[] = {
        [QUANTITY_VOLTAGE] = "voltage",
        [QUANTITY_CURRENT] = "current",
        [QUANTITY_TEMPERATURE] = "temperature",
    };
    bool chamber = q->file->instrument[q->instrument].class == CLASS_CHAMBER;
    cJSON *list = cJSON_AddArrayToObject(item, "readings");

    for (int quantity = QUANTITY_VOLTAGE; quantity <= QUANTITY_TEMPERATURE; quantity++) {
        struct bench_read read = { .channel = channel, .quantity = quantity };
        struct error why = { .code = 0 };
        if (chamber != (quantity == QUANTITY_TEMPERATURE))
            continue;
        int code = bench_read_many(q->client, &read, 1, &why);
        if (code != ERR_UNSUPPORTED) /* many meters measure one quantity only */
            add_reading(list, names[quantity], &read, &why);
    }
}

static void add_state(const struct question *q, const struct bench_channel *channel, cJSON *item)
{
    struct psu_state state;
    struct error why = { .code = 0 };

    if (psu_read_state(q->client, channel, &state, &why) == 0) {
        cJSON_AddBoolToObject(item, "on", state.on);
        cJSON_AddBoolToObject(item, "limiting", state.limiting);
        cJSON_AddBoolToObject(item, "tripped", state.tripped);
        json_add_number(item, "set_v", state.set_v);
        json_add_number(item, "limit_a", state.limit_a);
    }
    add_error(item, &why);
}

static int answer_report(const struct question *q, cJSON **ret, struct error *err)
{
    const struct bench_instrument *instrument = &q->file->instrument[q->instrument];
    struct bench_identity found;
    struct error why = { .code = 0 };
    bool met = bench_identity(q->client, q->instrument, &found, &why) == 0;
    cJSON *tree = scan_row(instrument, met ? &found : NULL, met ? NULL : &why);
    cJSON *channels = cJSON_AddArrayToObject(tree, "channels");

    if (channels == NULL) {
        cJSON_Delete(tree);
        return error_set(err, ERR_MEMORY, "no memory for the report");
    }
    for (int i = 0; met && i < q->file->channel_count; i++) {
        const struct bench_channel *channel = &q->file->channel[i];
        if (channel->instrument != q->instrument)
            continue;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(channels, item);
        cJSON_AddStringToObject(item, "name", channel->name);
        cJSON_AddStringToObject(item, "rail", channel->rail);
        if (channel->can_source)
            add_state(q, channel, item);
        add_readings(q, channel, item);
    }
    *ret = tree;
    return 0;
}

int ask_report(struct daemon *daemon, const char *name, cJSON **ret, struct error *err)
{
    return ask(daemon, name, NULL, answer_report, ret, err);
}
