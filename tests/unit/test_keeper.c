/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_keeper: the undo list and the guard as pure rules; then a keeper in a thread with one small supply,
 * and what its clients may and may not do. What happens when a client dies is tests/fault's business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>

#include "daemon/base/text.h"
#include "daemon/keeper/guard.h"
#include "daemon/keeper/keeper.h"
#include "instruments/keeper_client.h"
#include "tests/unit/supply.h"

/* ---- The undo list ---- */
static void barriers_come_from_the_highest(void **state)
{
    (void)state;
    struct undo_list list = { 0 };
    static const int BARRIERS[][2] = { { 0, 7 }, { 5, 7 }, { 5, 2 }, { 9, 2 } };
    for (int i = 0; i < 4; i++) {
        struct undo_step step = { .channel = i,
                                  .barrier = BARRIERS[i][0],
                                  .emergency_barrier = BARRIERS[i][1] };
        assert_int_equal(undo_add(&list, &step, NULL), 0);
    }
    int barrier = UNDO_BARRIER_MAX + 1, seen[4], n = 0;
    while (undo_next_barrier(&list, false, barrier, &barrier))
        seen[n++] = barrier;
    assert_int_equal(n, 3);
    assert_true(seen[0] == 9 && seen[1] == 5 && seen[2] == 0);
    barrier = UNDO_BARRIER_MAX + 1;
    assert_true(undo_next_barrier(&list, true, barrier, &barrier) && barrier == 7);
    assert_true(undo_next_barrier(&list, true, barrier, &barrier) && barrier == 2);
    assert_false(undo_next_barrier(&list, true, barrier, &barrier));
}

static void a_target_is_in_the_list_once(void **state)
{
    (void)state;
    struct undo_list list = { 0 };
    struct undo_step step = { .channel = 3, .barrier = 1 }, bad = { .barrier = -1 }, unknown = { .kind = 7 };
    assert_int_equal(undo_add(&list, &step, NULL), 0);
    step.barrier = 4;
    assert_int_equal(undo_add(&list, &step, NULL), 0);
    assert_true(list.count == 1 && list.step[0].barrier == 4);
    assert_int_equal(undo_add(&list, &bad, NULL), ERR_RANGE);
    assert_int_equal(undo_add(&list, &unknown, NULL), ERR_INVALID);
    for (int i = 0; i < UNDO_STEPS_MAX + 5; i++) {
        struct undo_step other = { .channel = 100 + i };
        assert_int_equal(undo_add(&list, &other, NULL), i < UNDO_STEPS_MAX - 1 ? 0 : ERR_FULL);
    }
    undo_remove(&list, undo_find(&list, UNDO_OUTPUT_OFF, 3));
    assert_int_equal(undo_find(&list, UNDO_OUTPUT_OFF, 3), -1);
    assert_int_equal(list.count, UNDO_STEPS_MAX - 1);
}

/* ---- The guard ---- */
static void the_guard_s_rules(void **state)
{
    (void)state;
    static struct bench_file file = { .instrument_count = 2, .channel_count = 1, .spi_instrument = -1 };
    file.instrument[0].energises = true;
    file.channel[0] = (struct bench_channel){ .number = 1,
                                              .can_source = true,
                                              .volt_min_v = -1,
                                              .volt_max_v = 2,
                                              .limit_min_a = 0.001,
                                              .limit_max_a = 1 };
    enum { ARMED = 1, LATCHED = 2 };
    static const struct {
        int op, instrument, channel, how;
        double value;
        const char *text;
        int code;
    } CASES[] = {
        { MESSAGE_OUTPUT, 0, 1, 0, 1, "", ERR_REFUSED },
        { MESSAGE_OUTPUT, 0, 1, 0, 0, "", 0 }, /* off is always allowed */
        { MESSAGE_OUTPUT, 0, 1, ARMED, 1, "", 0 },
        { MESSAGE_OUTPUT, 0, 1, ARMED | LATCHED, 1, "", ERR_TRIPPED },
        { MESSAGE_OUTPUT, 0, 1, LATCHED, 0, "", 0 },
        { MESSAGE_OUTPUT, 0, 2, ARMED, 1, "", ERR_INVALID },
        { MESSAGE_OUTPUT, 1, 1, ARMED, 1, "", ERR_INVALID }, /* not hosted by the keeper */
        { MESSAGE_OUTPUT, 7, 1, ARMED, 1, "", ERR_INVALID },
        { MESSAGE_SPI_DRIVE, 0, 0, ARMED, 1, "", ERR_REFUSED }, /* armed is the channel, not the bridge */
        { MESSAGE_SET_VOLTAGE, 0, 1, 0, 2, "", 0 },
        { MESSAGE_SET_VOLTAGE, 0, 1, 0, 2.001, "", ERR_RANGE },
        { MESSAGE_SET_VOLTAGE, 0, 1, 0, -1.001, "", ERR_RANGE },
        { MESSAGE_SET_VOLTAGE, 0, 1, 0, NAN, "", ERR_RANGE },
        { MESSAGE_SET_VOLTAGE, 0, 1, LATCHED, 0, "", ERR_TRIPPED },
        { MESSAGE_SET_LIMIT, 0, 1, 0, 1.5, "", ERR_RANGE },
        { MESSAGE_SET_LIMIT, 0, 1, 0, 0.5, "", 0 },
        { MESSAGE_CLEAR_TRIP, 0, 1, LATCHED, 0, "", ERR_TRIPPED },
        { MESSAGE_MEASURE, 0, 1, LATCHED, 0, "", 0 },
        { MESSAGE_STATE, 0, 1, LATCHED, 0, "", 0 },
        { MESSAGE_SAFE_OFF, 0, 1, ARMED, 0, "", ERR_INVALID }, /* the keeper's own */
        { 0, 0, 1, 0, 0, "", ERR_INVALID },
        { 999, 0, 1, 0, 0, "", ERR_INVALID },
        { MESSAGE_QUERY, 0, 0, 0, 0, "*IDN?", 0 },
        { MESSAGE_QUERY, 0, 0, 0, 0, "VOLT? (@1);:CURR? (@1)", 0 },
        { MESSAGE_QUERY, 0, 0, 0, 0, "OUTP ON,(@1)", ERR_REFUSED },
        { MESSAGE_QUERY, 0, 0, 0, 0, "OUTP ON,(@1);*IDN?", ERR_REFUSED },
        { MESSAGE_QUERY, 0, 0, 0, 0, "*IDN?;OUTP ON,(@1)", ERR_REFUSED },
        { MESSAGE_QUERY, 0, 0, 0, 0, "OUTP ON ?", ERR_REFUSED },
        { MESSAGE_QUERY, 0, 0, 0, 0, "OUTP\vON?", ERR_REFUSED }, /* white space, for IEEE 488.2 */
        { MESSAGE_QUERY, 0, 0, 0, 0, "*IDN? \nOUTP ON", ERR_REFUSED },
        { MESSAGE_QUERY, 0, 0, 0, 0, "", ERR_REFUSED },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct undo_list list = { 0 };
        struct undo_step step = { .kind = UNDO_OUTPUT_OFF };
        if (CASES[i].how & ARMED)
            undo_add(&list, &step, NULL);
        struct guard guard = { &file, &list, CASES[i].how & LATCHED, "test" };
        struct message m = { .op = (uint16_t)CASES[i].op,
                             .instrument = (int16_t)CASES[i].instrument,
                             .channel = (int16_t)CASES[i].channel,
                             .value = { CASES[i].value },
                             .payload_length = (uint32_t)strlen(CASES[i].text) };
        struct error err = { 0 };
        int code = guard_check(&guard, &m, (const uint8_t *)CASES[i].text, &err);
        if (code != CASES[i].code)
            fail_msg("case %zu: %s (%s)", i, error_name(code), err.message);
    }
}

/* ---- A keeper with one supply ---- */
struct rig {
    struct supply supply;
    char dir[40], bench_path[80], socket_path[80];
    pthread_t thread;
    int exit_code;
    struct clock *clock;
    struct clock_actor *actor;
    struct bench_file *file;
    struct bench *bench;
    struct bench_client *client;
};

static void *keeper_main(void *argument)
{
    struct rig *rig = argument;
    struct keeper_options options = { .bench_path = rig->bench_path, .socket_path = rig->socket_path };
    struct keeper *keeper = NULL;
    rig->exit_code = keeper_open(&options, &keeper, NULL);
    if (!rig->exit_code)
        rig->exit_code = keeper_serve(keeper, true, NULL);
    keeper_close(keeper);
    return NULL;
}

static int write_bench(struct rig *rig)
{
    struct strbuf text = { 0 };
    strbuf_add(
        &text,
        "{\"format\":\"nightbench-bench\",\"version\":1,\"name\":\"t\",\"socket\":\"S1\",\"simulated\":true,"
        "\"instruments\":[{\"name\":\"psu1\",\"class\":\"psu\",\"driver\":\"scpi\",\"dialect\":\"keysight-"
        "e36312a\",\"resource\":\"%s\"}],\"rails\":{\"VDD\":{\"instrument\":\"psu1\",\"channel\":1}}}",
        rig->supply.peer.resource);
    int code = text_write_file(rig->bench_path, text.text, text.length, NULL);
    strbuf_free(&text);
    return code;
}

static int open_client(struct rig *rig)
{
    struct bench_options options = { .clock = rig->clock, .keeper_socket = rig->socket_path };
    struct error err = { 0 };
    int code = bench_open(rig->file, &options, &rig->bench, &err);
    if (!code)
        code = bench_client_open(rig->bench, rig->actor, &rig->client, &err);
    if (code)
        print_error("%s\n", err.message);
    return code;
}

static int rig_open(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    *state = rig;
    strcpy(rig->dir, "/tmp/nb-keeper-unit.XXXXXX");
    if (!mkdtemp(rig->dir) || supply_start(&rig->supply))
        return -1;
    snprintf(rig->bench_path, sizeof rig->bench_path, "%s/bench.json", rig->dir);
    snprintf(rig->socket_path, sizeof rig->socket_path, "%s/keeper.sock", rig->dir);
    if (write_bench(rig) || pthread_create(&rig->thread, NULL, keeper_main, rig))
        return -1;
    for (int i = 0; i < 400 && access(rig->socket_path, F_OK) != 0; i++)
        usleep(5000);
    return clock_open(NULL, &rig->clock, NULL) ||
           clock_actor_open(rig->clock, "test", 0, &rig->actor, NULL) ||
           bench_file_load(rig->bench_path, &rig->file, NULL, NULL) || open_client(rig);
}

static int rig_close(void **state)
{
    struct rig *rig = *state;
    char command[80];
    bench_client_close(rig->client);
    bench_close(rig->bench);
    pthread_join(rig->thread, NULL); /* the keeper ends when nobody is left and nothing is armed */
    int code = rig->exit_code;
    bench_file_free(rig->file);
    clock_actor_close(rig->actor);
    clock_close(rig->clock);
    supply_stop(&rig->supply);
    snprintf(command, sizeof command, "rm -rf %s", rig->dir);
    free(rig);
    return system(command) || code;
}

static bool supply_on(struct rig *rig)
{
    pthread_mutex_lock(&rig->supply.lock);
    bool on = rig->supply.on;
    pthread_mutex_unlock(&rig->supply.lock);
    return on;
}

static const struct bench_channel *vdd(const struct rig *rig)
{
    return bench_file_rail(rig->file, "VDD");
}

static void switched_on(struct rig *rig)
{
    struct error err = { 0 };
    assert_int_equal(bench_undo_register(rig->client, UNDO_OUTPUT_OFF, vdd(rig), 3, 0, &err), 0);
    assert_int_equal(psu_set_voltage(rig->client, vdd(rig), 0.8, &err), 0);
    assert_int_equal(psu_output(rig->client, vdd(rig), true, &err), 0);
    assert_true(supply_on(rig));
}

static void nothing_is_on_without_an_undo(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    assert_int_equal(psu_output(rig->client, vdd(rig), true, &err), ERR_REFUSED);
    assert_non_null(strstr(err.message, "no undo"));
    assert_string_equal(err.instrument, "psu1");
    assert_false(supply_heard(&rig->supply, "OUTP ON"));
    switched_on(rig);
    int missed = -1;
    assert_int_equal(bench_safe(rig->client, false, &missed, &err), 0);
    assert_int_equal(missed, 0);
    assert_false(supply_on(rig));
    assert_int_equal(psu_output(rig->client, vdd(rig), true, &err), ERR_REFUSED); /* the undo was used up */
}

static void readings_travel(void **state)
{
    struct rig *rig = *state;
    switched_on(rig);
    struct bench_read reads[60] = { 0 };
    for (int i = 0; i < 60; i++)
        reads[i].channel = vdd(rig);
    struct error err = { 0 };
    assert_int_equal(bench_read_many(rig->client, reads, 60, &err), 0);
    for (int i = 0; i < 60; i++) {
        assert_true(reads[i].code == 0 && reads[i].reading.value == 0.8 && reads[i].reading.uncertainty > 0);
        assert_true(reads[i].reading.flags & READING_SIMULATED);
        assert_int_equal(reads[i].reading.unit, UNIT_VOLT);
    }
    struct bench_identity who;
    assert_int_equal(bench_identity(rig->client, 0, &who, &err), 0);
    assert_string_equal(who.serial, "MY1");
}

static void a_stop_latches(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    int missed = -1;
    switched_on(rig);
    assert_int_equal(keeper_client_estop(rig->socket_path, "the test", &missed, &err), 0);
    assert_int_equal(missed, 0);
    assert_false(supply_on(rig));
    assert_int_equal(bench_undo_register(rig->client, UNDO_OUTPUT_OFF, vdd(rig), 3, 0, &err), ERR_TRIPPED);
    assert_int_equal(psu_set_voltage(rig->client, vdd(rig), 0.1, &err), ERR_TRIPPED);
    assert_non_null(strstr(err.message, "nightbench clear"));
    assert_non_null(strstr(err.message, "nightbench-safe clear"));
    assert_non_null(strstr(err.message, "the test"));
    struct psu_state st;
    assert_int_equal(psu_read_state(rig->client, vdd(rig), &st, &err), 0); /* looking is allowed */
    char *json = NULL;
    assert_int_equal(keeper_client_status(rig->socket_path, &json, &err), 0);
    assert_non_null(strstr(json, "\"latched\":true"));
    assert_non_null(strstr(json, "\"emergency\":true"));
    free(json);
    assert_int_equal(keeper_client_clear(rig->socket_path, "  ", &err), ERR_INVALID);
    assert_int_equal(keeper_client_clear(rig->socket_path, "tested", &err), 0);
    switched_on(rig);
    assert_int_equal(keeper_client_off(rig->socket_path, &missed, &err), 0);
    assert_false(supply_on(rig));
}

static void a_trip_that_is_read_latches_once(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    struct psu_state st;
    switched_on(rig);
    atomic_store(&rig->supply.tripped, true);
    assert_int_equal(psu_read_state(rig->client, vdd(rig), &st, &err), 0);
    assert_true(st.tripped);
    for (int i = 0; i < 400 && supply_on(rig); i++)
        usleep(5000);
    assert_false(supply_on(rig));
    assert_int_equal(psu_set_voltage(rig->client, vdd(rig), 0.1, &err), ERR_TRIPPED);
    assert_non_null(strstr(err.message, "psu1.1 (VDD)"));
    assert_int_equal(keeper_client_clear(rig->socket_path, "tested", &err), 0);
    assert_int_equal(psu_read_state(rig->client, vdd(rig), &st, &err),
                     0); /* still tripped: known, no second latch */
    assert_int_equal(psu_clear_trip(rig->client, vdd(rig), &err), ERR_REFUSED); /* this supply cannot */
    assert_int_equal(psu_set_voltage(rig->client, vdd(rig), 0.1, &err), 0);
    atomic_store(&rig->supply.tripped, false);
}

static void an_output_that_stays_on_is_reported(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    int missed = -1;
    switched_on(rig);
    atomic_store(&rig->supply.lie_about_output, true);
    assert_int_equal(bench_safe(rig->client, false, &missed, &err), 0);
    assert_int_equal(missed, 1);
    atomic_store(&rig->supply.lie_about_output, false);
    assert_int_equal(bench_safe(rig->client, false, &missed, &err), 0); /* it stayed in the list */
    assert_int_equal(missed, 0);
}

static void the_last_client_s_end_switches_off(void **state)
{
    struct rig *rig = *state;
    switched_on(rig);
    bench_client_close(rig->client);
    rig->client = NULL;
    pthread_join(rig->thread, NULL);
    assert_false(supply_on(rig));
    assert_int_equal(pthread_create(&rig->thread, NULL, keeper_main, rig), 0);
    for (int i = 0; i < 400 && access(rig->socket_path, F_OK) != 0; i++)
        usleep(5000);
    bench_close(rig->bench);
    rig->bench = NULL;
    char *json = NULL;
    assert_int_equal(keeper_client_status(rig->socket_path, &json, NULL),
                     0); /* the report survived the keeper */
    assert_non_null(strstr(json, "last connection closed"));
    free(json);
    assert_int_equal(open_client(rig), 0);
}

static void cancel_is_felt(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    struct psu_state st;
    bench_client_cancel(rig->client, true);
    assert_int_equal(psu_read_state(rig->client, vdd(rig), &st, &err), ERR_CANCELLED);
    assert_int_equal(bench_wait(rig->client, 10 * NS_PER_S, &err), ERR_CANCELLED);
    bench_client_shield(rig->client, true); /* the way to the safe state is not cut */
    assert_int_equal(psu_read_state(rig->client, vdd(rig), &st, &err), 0);
    assert_int_equal(bench_wait(rig->client, NS_PER_MS, &err), 0);
    bench_client_shield(rig->client, false);
    assert_int_equal(psu_read_state(rig->client, vdd(rig), &st, &err), ERR_CANCELLED);
    bench_client_cancel(rig->client, false);
    assert_int_equal(psu_read_state(rig->client, vdd(rig), &st, &err), 0);
    assert_int_equal(bench_wait(rig->client, NS_PER_MS, &err), 0);
}

static void strangers_are_dropped(void **state)
{
    struct rig *rig = *state;
    struct error err = { 0 };
    struct message m = { .magic = MESSAGE_MAGIC, .op = MESSAGE_OUTPUT, .channel = 1, .value = { 0 } };
    static const char *const NOISE[] = {
        "x", "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a browser that lost its way, "
             "with enough header lines to be longer than one message header is\r\n\r\n"
    };
    for (int i = 0; i < 3; i++) {
        int fd = -1;
        char answer[sizeof m + sizeof err];
        assert_int_equal(keeper_client_connect(rig->socket_path, &fd, &err), 0);
        ssize_t n = i < 2 ? send(fd, NOISE[i], strlen(NOISE[i]), 0) : send(fd, &m, sizeof m, 0);
        assert_true(n > 0);
        n = recv(fd, answer, sizeof answer, 0);
        assert_true(i < 2 ? n <= 0
                          : n == (ssize_t)sizeof answer); /* no hello: an error, and the link stays */
        close(fd);
    }
    struct psu_state st;
    assert_int_equal(psu_read_state(rig->client, vdd(rig), &st, &err), 0); /* the others did not notice */
}

static void nobody_listens_elsewhere(void **state)
{
    (void)state;
    struct error err = { 0 };
    int missed = 7;
    assert_int_equal(keeper_client_estop("/nowhere/keeper.sock", "x", &missed, &err), ERR_NO_ANSWER);
    assert_int_equal(missed, 7);
    struct keeper_heartbeat *heartbeat = NULL;
    assert_int_equal(keeper_client_heartbeat_open("/nowhere/keeper.sock", &heartbeat, &err), ERR_NO_ANSWER);
    assert_null(heartbeat);
}

/* What comes while it is latched follows from the cause, or is no news to who has to clear it. */
static void the_first_cause_is_told(void **state)
{
    (void)state;
    struct keeper *keeper = calloc(1, sizeof *keeper);
    assert_non_null(keeper);
    keeper_latch(keeper, "interlock 'current'");
    keeper_latch(keeper, "trip of psu1.2");
    assert_true(keeper->latched);
    assert_string_equal(keeper->latch.reason, "interlock 'current'");
    assert_int_equal(keeper_unlatch(keeper, NULL), 0);
    keeper_latch(keeper, "trip of psu1.2");
    assert_string_equal(keeper->latch.reason, "trip of psu1.2");
    free(keeper);
}

int main(void)
{
#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_open, rig_close)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(barriers_come_from_the_highest),
        cmocka_unit_test(a_target_is_in_the_list_once),
        cmocka_unit_test(the_guard_s_rules),
        cmocka_unit_test(the_first_cause_is_told),
        RIG(nothing_is_on_without_an_undo),
        RIG(readings_travel),
        RIG(a_stop_latches),
        RIG(a_trip_that_is_read_latches_once),
        RIG(an_output_that_stays_on_is_reported),
        RIG(the_last_client_s_end_switches_off),
        RIG(cancel_is_felt),
        RIG(strangers_are_dropped),
        cmocka_unit_test(nobody_listens_elsewhere),
    };
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
