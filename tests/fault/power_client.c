/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * power_client: what a daemon is to the keeper, in small: beats from its main thread, powers the simulated
 * chip's rails in order from a second thread, says POWERED, and goes on measuring until it is killed. For
 * tests/fault. power_client BENCH KEEPER_SOCKET LINKS CLOCK [idle|end|nobeat|one|one-idle|careless] idle:
 * stops measuring once powered. end: switches off in order and ends. nobeat: no heartbeat at all. one: powers
 * the first rail, the source and the pins alone. careless: registers no undo for the rails. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "instruments/bench.h"
#include "instruments/keeper_client.h"

static const struct rail {
    const char *name;
    double volt_v, limit_a, ovp_v;
    int barrier, emergency;
} RAILS[] = {
    { "VDDIO", 1.8, 0.1, 2.05, 0, 1 }, { "VDDD", 0.8, 0.2, 1.0, 1, 0 },   { "VDDM", 0.8, 0.1, 1.0, 2, 0 },
    { "VDDA", 0.8, 0.1, 1.0, 3, 0 },   { "VDDADC", 0.8, 0.1, 1.0, 4, 0 }, { "VREF", 0.6, 0.05, 0.85, 5, 0 },
    { "VBN", 0.5, 0.01, 1.7, 6, 0 },   { "VBP", -0.5, 0.01, 1.7, 7, 0 },
};
enum { RAIL_COUNT = sizeof RAILS / sizeof *RAILS };

static const char *mode = "";
static int powered_rails = RAIL_COUNT;
static char **arguments;
static atomic_int finished, failed;

static int power(struct bench_client *client, const struct rail *rail, struct error *err)
{
    const struct bench_channel *ch = bench_file_rail(bench_file_of(bench_of(client)), rail->name);
    bool careless = strcmp(mode, "careless") == 0;
    int code =
        careless ? 0 : bench_undo_register(client, UNDO_OUTPUT_OFF, ch, rail->barrier, rail->emergency, err);
    if (!code)
        code = psu_set_voltage(client, ch, rail->volt_v, err);
    if (!code)
        code = psu_set_current_limit(client, ch, rail->limit_a, err);
    if (!code)
        code = psu_set_protection(client, ch, rail->ovp_v, false, err);
    if (!code)
        code = psu_output(client, ch, true, err);
    if (!code)
        code = bench_wait(client, 20 * NS_PER_MS, err);
    return code;
}

static int power_all(struct bench_client *client, struct error *err)
{
    const struct bench_file *file = bench_file_of(bench_of(client));
    int code = 0;
    for (int i = 0; i < powered_rails && !code; i++)
        code = power(client, &RAILS[i], err);
    if (!code)
        code = bench_undo_register(client, UNDO_SPI_RELEASE, NULL, RAIL_COUNT, 2, err);
    if (!code)
        code = spi_drive(client, true, err);
    const struct rail source = { "", 0.3, 0.001, NAN, RAIL_COUNT + 1, 2 };
    const struct bench_channel *ch = &file->channel[file->source_channel];
    if (!code)
        code = bench_undo_register(client, UNDO_OUTPUT_OFF, ch, source.barrier, source.emergency, err);
    if (!code)
        code = psu_set_voltage(client, ch, source.volt_v, err);
    if (!code)
        code = psu_set_current_limit(client, ch, source.limit_a, err);
    if (!code)
        code = psu_output(client, ch, true, err);
    return code;
}

static int measure(struct bench_client *client, struct error *err)
{
    struct bench_read reads[2 * RAIL_COUNT] = { 0 };
    for (int i = 0; i < 2 * RAIL_COUNT; i++) {
        reads[i].channel = bench_file_rail(bench_file_of(bench_of(client)), RAILS[i / 2].name);
        reads[i].quantity = i % 2 ? QUANTITY_CURRENT : QUANTITY_VOLTAGE;
    }
    int code = bench_read_many(client, reads, 2 * RAIL_COUNT, err);
    for (int i = 0; i < 2 * RAIL_COUNT && !code; i += 2) {
        const struct reading *r = &reads[i].reading;
        if (i / 2 < powered_rails && (fabs(r->value - RAILS[i / 2].volt_v) > 0.02 || !(r->uncertainty > 0)))
            code = error_set(err, ERR_MISMATCH, "%s reads %g V", RAILS[i / 2].name, r->value);
    }
    return code;
}

static int work(struct bench_client *client, struct error *err)
{
    int code = power_all(client, err);
    if (!code)
        code = measure(client, err);
    if (code)
        return code;
    puts("POWERED");
    fflush(stdout);
    if (strcmp(mode, "end") == 0) {
        int missed = -1;
        code = bench_safe(client, false, &missed, err);
        return code || missed == 0 ? code : error_set(err, ERR_MISMATCH, "%d steps missed", missed);
    }
    bool idle = strstr(mode, "idle") != NULL;
    while (!code && idle)
        code = nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
    while (!code)
        code = measure(client, err);
    return code;
}

static void *runner(void *unused)
{
    (void)unused;
    struct error err = { 0 };
    struct bench_file *file = NULL;
    struct clock *clock = NULL;
    struct clock_actor *actor = NULL;
    struct bench *bench = NULL;
    struct bench_client *client = NULL;
    int code = bench_file_load(arguments[1], &file, NULL, &err);
    if (!code)
        code = clock_open(arguments[4], &clock, &err);
    struct bench_options options = { .clock = clock,
                                     .keeper_socket = arguments[2],
                                     .links_path = arguments[3] };
    if (!code)
        code = bench_open(file, &options, &bench, &err);
    if (!code)
        code = clock_actor_open(clock, "runner", CLOCK_RANK_RUNNER, &actor, &err);
    if (!code)
        code = bench_client_open(bench, actor, &client, &err);
    if (!code)
        code = work(client, &err);
    if (code)
        printf("ERROR %s %s '%s' %s\n", error_name(code), err.instrument, err.command, err.message);
    fflush(stdout);
    bench_client_close(client);
    clock_actor_close(actor);
    bench_close(bench);
    clock_close(clock);
    bench_file_free(file);
    atomic_store(&failed, code != 0);
    atomic_store(&finished, 1);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    arguments = argv;
    mode = argc > 5 ? argv[5] : "";
    powered_rails = strncmp(mode, "one", 3) == 0 ? 1 : RAIL_COUNT;
    struct keeper_heartbeat *heartbeat = NULL;
    struct error err = { 0 };
    bool beats = strcmp(mode, "nobeat") != 0;
    if (beats && keeper_client_heartbeat_open(argv[2], &heartbeat, &err)) {
        printf("ERROR %s\n", err.message);
        return 1;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, runner, NULL))
        return 1;
    while (!atomic_load(&finished)) {
        nanosleep(&(struct timespec){ .tv_nsec = 100 * NS_PER_MS }, NULL);
        if (beats && keeper_client_heartbeat(heartbeat, &err)) {
            puts("FENCED");
            fflush(stdout);
            beats = false;
        }
    }
    pthread_join(thread, NULL);
    keeper_client_heartbeat_close(heartbeat);
    return atomic_load(&failed);
}
