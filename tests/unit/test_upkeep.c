/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_upkeep: jumps of the wall clock, and a store that is damaged. */
#include "db_fixture.h"

#include <fcntl.h>

#include "daemon/base/log.h"
#include "daemon/upkeep.h"
#include "db/check.h"

static void wall_clock_jumps(void **state)
{
    struct wall_watch watch = { 0 };
    int64_t s = NS_PER_S;

    (void)state;
    assert_int_equal(wall_watch_look(&watch, 10 * s, 1000 * s), 0); /* the first look knows nothing */
    assert_int_equal(wall_watch_look(&watch, 11 * s, 1001 * s), 0);
    assert_int_equal(wall_watch_look(&watch, 12 * s, 1002 * s + s / 2), 0); /* a correction, not a jump */
    assert_int_equal(wall_watch_look(&watch, 13 * s, 4603 * s + s / 2), 3600 * s);
    assert_int_equal(wall_watch_look(&watch, 14 * s, 4604 * s + s / 2), 0); /* told once */
    assert_int_equal(wall_watch_look(&watch, 15 * s, 1005 * s + s / 2), -3600 * s);
    /* A process that slept is no jump: both clocks went on. */
    assert_int_equal(wall_watch_look(&watch, 100 * s, 1090 * s + s / 2), 0);
}

static void filled(const struct fixture *f, struct recorder **ret_recorder)
{
    struct record_run run = fixture_run("01RUN0000000000000000000B1");
    struct error err;
    int64_t id;

    assert_ok(recorder_open(f->db, ret_recorder, &err));
    const struct record_sink *sink = recorder_sink(*ret_recorder);
    assert_ok(sink->run_begin(sink->context, &run, &id, &err));
    for (int i = 0; i < 50; i++)
        fixture_point(sink, i, 1, VERDICT_PASS, 8);
    assert_ok(sink->ack(sink->context, &err));
}

static void check_finds_damage(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder;
    _Atomic bool stop = false;
    unsigned char noise[64];
    struct error err;

    filled(f, &recorder);
    assert_ok(check_store(f->db, &stop, &err)); /* while it is being recorded */
    assert_ok(recorder_close(recorder, &err));
    assert_ok(check_store(f->db, &stop, &err));
    int fd = open(f->db, O_RDWR);
    memset(noise, 0xa5, sizeof noise);
    off_t end = lseek(fd, 0, SEEK_END);
    for (off_t page = 4096; page < end; page += 4096)
        assert_int_equal(pwrite(fd, noise, sizeof noise, page + 2048), sizeof noise);
    close(fd);
    assert_int_not_equal(check_store(f->db, &stop, &err), 0);
    assert_int_not_equal(check_store("/nonexistent/x.db", &stop, &err), 0);
}

static void thread_comes_and_goes(void **state)
{
    struct fixture *f = *state;
    struct events *events = events_open();
    struct recorder *recorder;
    struct upkeep *upkeep;
    struct clock *clock;
    struct error err;

    assert_ok(clock_open(NULL, &clock, &err));
    filled(f, &recorder);
    assert_ok(upkeep_open(f->db, recorder, events, clock, &upkeep, &err));
    usleep(20000);
    upkeep_close(upkeep);
    assert_int_equal((int)events_last(events), 0); /* a sound store is not worth a word */
    assert_ok(recorder_close(recorder, &err));
    events_close(events);
    clock_close(clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wall_clock_jumps),
        cmocka_unit_test_setup_teardown(check_finds_damage, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(thread_comes_and_goes, fixture_setup, fixture_teardown),
    };

    log_init("test", LOG_ERR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
