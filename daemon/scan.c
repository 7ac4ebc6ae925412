/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scan: one thread per line opens the links of its instruments with their own drivers, one after the other,
 * asks who is there, and closes.
 */
#include "daemon/scan.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/driver.h"
#include "instruments/bench_private.h"

struct probe {
    const struct bench_file *file;
    const struct bench_instrument *instrument;
    struct clock *clock;
    const char *links_path;
    pthread_t thread;
    bool started, found;
    struct bench_identity identity;
    struct error why;
};

static bool agrees(const char *expected, const char *found)
{
    return expected[0] == '\0' || strcmp(expected, "any") == 0 || strcmp(expected, found) == 0;
}

static void add_identity(cJSON *row, const char *key, const char *vendor, const char *model,
                         const char *serial, const char *firmware)
{
    cJSON *identity = cJSON_AddObjectToObject(row, key);

    cJSON_AddStringToObject(identity, "vendor", vendor);
    cJSON_AddStringToObject(identity, "model", model);
    cJSON_AddStringToObject(identity, "serial", serial);
    if (firmware != NULL)
        cJSON_AddStringToObject(identity, "firmware", firmware);
}

cJSON *scan_row(const struct bench_instrument *instrument, const struct bench_identity *found,
                const struct error *why)
{
    cJSON *row = cJSON_CreateObject();
    bool matches = found != NULL && agrees(instrument->vendor, found->vendor) &&
                   agrees(instrument->model, found->model) && agrees(instrument->serial, found->serial);

    cJSON_AddStringToObject(row, "name", instrument->name);
    cJSON_AddStringToObject(row, "resource", instrument->resource);
    cJSON_AddBoolToObject(row, "answers", found != NULL || (why != NULL && why->code == ERR_IDENTITY));
    cJSON_AddBoolToObject(row, "matches", matches);
    add_identity(row, "expected", instrument->vendor, instrument->model, instrument->serial, NULL);
    if (found != NULL)
        add_identity(row, "found", found->vendor, found->model, found->serial, found->firmware);
    else
        cJSON_AddNullToObject(row, "found");
    cJSON_AddStringToObject(row, "error", why != NULL ? why->message : "");
    return row;
}

/* "vendor\0model\0serial\0firmware\0" */
static void take_identity(struct bench_identity *identity, const char *text, size_t length)
{
    char *const field[] = { identity->vendor, identity->model, identity->serial, identity->firmware };
    const char *end = text + length;

    for (int i = 0; i < 4 && text < end; i++) {
        snprintf(field[i], sizeof identity->vendor, "%.63s", text);
        text += strlen(text) + 1;
    }
}

static int meet(struct probe *probe, struct clock_actor *actor, struct interpose *layers, struct error *err)
{
    const struct bench_instrument *instrument = probe->instrument;
    const struct driver *driver = driver_find(instrument->driver);
    struct transport_env env = { .clock = probe->clock,
                                 .actor = actor,
                                 .cut_fd = -1,
                                 .links_path = probe->links_path,
                                 .interpose = layers };
    struct driver_config config = { .class = instrument->class, .spi_hz = probe->file->spi_hz };
    struct message message = { .magic = MESSAGE_MAGIC, .op = MESSAGE_IDENTIFY };
    uint8_t payload[512] = { 0 };
    void *state = NULL;

    if (driver == NULL)
        return error_set(err, ERR_INVALID, "no driver '%s'", instrument->driver);
    snprintf(config.name, sizeof config.name, "%s", instrument->name);
    snprintf(config.resource, sizeof config.resource, "%s", instrument->resource);
    if (driver->takes_dialect)
        bench_dialect_path(probe->file, instrument->dialect, config.dialect_path, sizeof config.dialect_path);
    int code = driver->open(&config, &env, &state, err);
    if (code != 0)
        return code;
    code = driver->request(state, &message, payload, sizeof payload - 1, err);
    if (code == 0)
        take_identity(&probe->identity, (const char *)payload, message.payload_length);
    driver->close(state);
    return code;
}

static void *probe_main(void *context)
{
    struct probe *first = context;
    const struct bench_file *file = first->file;
    struct clock_actor *actor = NULL;
    struct interpose layers = { 0 };

    if (first->instrument->interpose != NULL)
        layers = *first->instrument->interpose;
    int code = clock_actor_open(first->clock, first->instrument->name, CLOCK_RANK_PORT, &actor, &first->why);
    int own = (int)(first->instrument - file->instrument);
    for (int i = own; i < file->instrument_count && code == 0; i++) {
        struct probe *probe = first + (i - own);
        if (i == own || probe->instrument->line_of == own + 1)
            probe->found = meet(probe, actor, &layers, &probe->why) == 0;
    }
    clock_actor_close(actor);
    return NULL;
}

static void start(struct probe *probe)
{
    int failure = pthread_create(&probe->thread, NULL, probe_main, probe);

    probe->started = failure == 0;
    if (failure != 0)
        error_set_errno(&probe->why, failure, "thread for '%s'", probe->instrument->name);
}

int scan_addresses(const struct bench_file *file, const char *links_path, cJSON **ret, struct error *err)
{
    struct probe *probes = calloc((size_t)file->instrument_count, sizeof *probes);
    struct clock *clock = NULL;

    int code = probes != NULL ? clock_open(NULL, &clock, err)
                              : error_set(err, ERR_MEMORY, "no memory to look for the instruments");
    if (code != 0) {
        free(probes);
        return code;
    }
    for (int i = 0; i < file->instrument_count; i++) {
        probes[i] = (struct probe){
            .file = file, .instrument = &file->instrument[i], .clock = clock, .links_path = links_path
        };
    }
    for (int i = 0; i < file->instrument_count; i++) {
        if (file->instrument[i].line_of == 0)
            start(&probes[i]);
    }
    for (int i = 0; i < file->instrument_count; i++) {
        if (probes[i].started)
            pthread_join(probes[i].thread, NULL);
    }
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < file->instrument_count; i++) {
        const struct probe *probe = &probes[i];
        cJSON_AddItemToArray(list, scan_row(probe->instrument, probe->found ? &probe->identity : NULL,
                                            probe->found ? NULL : &probe->why));
    }
    clock_close(clock);
    free(probes);
    *ret = list;
    return 0;
}
