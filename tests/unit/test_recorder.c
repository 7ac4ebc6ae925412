/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_recorder: what is acknowledged is there, a killed process loses nothing acknowledged, an interrupted
 * run goes on, a failing disk is never papered over, and a full queue blocks. */
#include "tests/unit/db_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "db/ring.h"
#include "db/trace.h"

static int64_t ask(const char *db, const char *sql)
{
    sqlite3 *handle;
    sqlite3_stmt *stmt;
    int64_t value;

    assert_int_equal(sqlite3_open_v2(db, &handle, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(handle);
    return value;
}

static struct recorder *open_run(const struct fixture *f, const char *ulid)
{
    struct record_run run = fixture_run(ulid);
    struct recorder *recorder;
    int64_t id = 0;
    struct error err;

    assert_ok(recorder_open(f->db, &recorder, &err));
    assert_int_equal(recorder_sink(recorder)->run_begin(recorder_sink(recorder)->context, &run, &id, &err),
                     0);
    assert_true(id > 0);
    return recorder;
}

static void acknowledged_is_visible(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = open_run(f, "01RUN0000000000000000000A1");
    const struct record_sink *sink = recorder_sink(recorder);
    struct error err;

    assert_int_equal(ask(f->db, "SELECT count(*) FROM run WHERE state = 'running'"), 1);
    fixture_point(sink, 0, 1, VERDICT_FAIL, 3);
    fixture_point(sink, 0, 2, VERDICT_PASS, 2);
    fixture_point(sink, 1, 1, VERDICT_HANG, 1);
    fixture_samples(sink, 1, 1, 0, 100);
    assert_ok(sink->ack(sink->context, &err));
    assert_int_equal(ask(f->db, "SELECT count(*) FROM reading"), 6);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM attempt"), 3);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM sample"), 100);
    assert_int_equal(ask(f->db, "SELECT max(cycles) FROM sample"), 4000000000);
    assert_int_equal(ask(f->db, "SELECT next_sample FROM cursor"), 100);
    /* The last attempt wins. */
    assert_int_equal(
        ask(f->db, "SELECT count(*) FROM verdict WHERE cell = 0 AND verdict = 'pass' AND attempts = 2"), 1);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM cell_axis WHERE name = 'vdd_v' AND num = 0.6"), 1);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM cell_axis WHERE name = 'mode' AND text = 'fast'"), 2);
    assert_int_equal(ask(f->db, "SELECT correct FROM v_accuracy WHERE cell = 1"), 50);
    assert_int_equal(
        ask(f->db, "SELECT count(*) FROM v_point WHERE readings ->> '$.\"rail.vdd1.voltage\"' = 0.1"), 1);
    assert_ok(sink->run_end(sink->context, "done", 0, "", 9000, &err));
    assert_ok(recorder_close(recorder, &err));
    assert_int_equal(ask(f->db, "SELECT end_time_ns FROM run WHERE state = 'done'"), 9000);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM chip WHERE lot = '007' AND wafer = '3' AND x = 4"), 1);
}

static void run_readings_and_late_readings(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = open_run(f, "01RUN0000000000000000000A2");
    const struct record_sink *sink = recorder_sink(recorder);
    struct record_reading reading = fixture_reading(-1, 0, "accuracy", 0.9, 1);
    struct error err;

    for (int i = 0; i < 3; i++) { /* between points, so that the writer has to find its way back */
        reading.step = i % 2;
        assert_ok(sink->reading(sink->context, &reading, &err));
        fixture_point(sink, i, 1, VERDICT_PASS, 1);
    }
    reading = fixture_reading(0, 1, "late", 1, 2);
    assert_ok(sink->reading(sink->context, &reading, &err));
    assert_ok(recorder_close(recorder, &err));
    assert_int_equal(ask(f->db, "SELECT count(*) FROM reading"), 7);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM v_reading WHERE cell = -1 AND channel = 'accuracy'"),
                     3);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM v_reading WHERE cell = 0 AND attempt = 1"), 2);
}

static void bad_calls_are_refused_and_harm_nothing(void **state)
{
    struct fixture *f = *state;
    struct record_run run = fixture_run("01RUN0000000000000000000A3");
    struct record_attempt attempt = { 0, 0, 2000, false, 0, 0, "", 0, 0 };
    struct record_tensor big = {
        .attempt = 1, .layer_name = "l", .data = &run, .bytes = RECORDER_RECORD_MAX + 1
    };
    struct record_event event = { "note", "hello", NULL, 1, 2 };
    struct recorder *recorder, *second;
    const struct record_sink *sink;
    int64_t id;
    struct error err;

    assert_ok(recorder_open(f->db, &recorder, &err));
    assert_int_equal(recorder_open(f->db, &second, &err), ERR_CONFLICT);
    sink = recorder_sink(recorder);
    assert_int_equal(sink->step(sink->context, &(struct record_step){ .kind = "power" }, &err), ERR_CONFLICT);
    assert_ok(sink->event(sink->context, &event, &err));
    assert_ok(sink->run_begin(sink->context, &run, &id, &err));
    assert_int_equal(sink->run_begin(sink->context, &run, &id, &err), ERR_CONFLICT);
    assert_int_equal(sink->attempt(sink->context, &attempt, &err), ERR_RANGE);
    assert_int_equal(sink->tensor(sink->context, &big, &err), ERR_FULL);
    assert_int_equal(sink->run_end(sink->context, "finished", 0, "", 0, &err), ERR_INVALID);
    assert_int_equal(recorder_annotate(recorder, "01NOSUCHRUN", "x", NULL, &err), ERR_NOT_FOUND);
    assert_ok(recorder_annotate(recorder, run.ulid, "looks odd", NULL, &err));
    assert_int_equal(ask(f->db, "SELECT count(*) FROM run WHERE notes = 'looks odd' AND tags = 'night'"), 1);
    assert_ok(sink->state(sink->context, "held", "", &err));
    assert_int_equal(sink->state(sink->context, "done", "", &err), ERR_INVALID);
    assert_ok(sink->ack(sink->context, &err));
    assert_int_equal(ask(f->db, "SELECT count(*) FROM run WHERE state = 'held'"), 1);
    assert_ok(recorder_close(recorder, &err));
}

/* A child records points and reports each acknowledged one over a pipe until it is killed. */
static void child_records(const struct fixture *f, int pipe_fd)
{
    struct recorder *recorder = open_run(f, "01RUN0000000000000000000A4");
    const struct record_sink *sink = recorder_sink(recorder);
    struct error err;

    for (int32_t i = 0;; i++) {
        fixture_point(sink, i, 1, VERDICT_PASS, 4);
        if (i % 10 == 9 && sink->ack(sink->context, &err) == 0 && write(pipe_fd, &i, sizeof i) != sizeof i)
            _exit(1);
    }
}

static void kill_loses_nothing_acknowledged(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    int32_t acknowledged = -1, next;
    struct record_run run = fixture_run("01RUN0000000000000000000A4");
    struct recorder *recorder;
    const struct record_sink *sink;
    int64_t id;
    struct error err;
    pid_t child;

    assert_int_equal(pipe(fds), 0);
    child = fork();
    if (child == 0)
        child_records(f, fds[1]);
    close(fds[1]);
    for (int i = 0; i < 30 && read(fds[0], &next, sizeof next) == sizeof next; i++)
        acknowledged = next;
    kill(child, SIGKILL);
    while (read(fds[0], &next, sizeof next) == sizeof next)
        acknowledged = next;
    waitpid(child, NULL, 0);
    close(fds[0]);
    assert_true(acknowledged >= 299);
    assert_true(ask(f->db, "SELECT count(*) FROM verdict WHERE verdict = 'pass'") > acknowledged);
    assert_int_equal(
        ask(f->db, "SELECT count(*) FROM (SELECT 1 FROM v_reading WHERE cell <= 299 GROUP BY cell HAVING"
                   " count(*) <> 4)"),
        0);

    /* The next daemon finds it interrupted and goes on, with the cells that are there. */
    assert_ok(recorder_open(f->db, &recorder, &err));
    sink = recorder_sink(recorder);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM run WHERE state = 'interrupted'"), 1);
    run.plan_hash = "other";
    assert_int_equal(sink->run_begin(sink->context, &run, &id, &err), ERR_CONFLICT);
    run.plan_hash = "p1a2";
    assert_ok(sink->run_begin(sink->context, &run, &id, &err));
    fixture_point(sink, 5, 1, VERDICT_MARGINAL, 4);
    assert_ok(sink->run_end(sink->context, "done", 0, "", 9, &err));
    assert_ok(recorder_close(recorder, &err));
    assert_int_equal(ask(f->db, "SELECT count(*) FROM run"), 1);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM cell WHERE cell = 5"), 1);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM verdict WHERE cell = 5 AND verdict = 'marginal'"), 1);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM v_reading WHERE cell = 5"), 8);
}

/* In a child with a file size limit every write beyond it fails as on a full disk. */
static void child_fills_disk(const struct fixture *f)
{
    struct rlimit limit = { 400000, 400000 };
    struct recorder *recorder = open_run(f, "01RUN0000000000000000000A5");
    const struct record_sink *sink = recorder_sink(recorder);
    struct record_event event = { "note", "", NULL, 0, 0 };
    char text[1000];
    struct error first = { 0 }, err;
    int64_t id;

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    event.text = text;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 5000 && first.code == 0; i++) {
        if (sink->event(sink->context, &event, &first) == 0 && i % 10 == 0)
            sink->ack(sink->context, &first);
    }
    limit.rlim_cur = limit.rlim_max; /* stays failed, whatever happens to the disk */
    if (first.code == 0 || sink->ack(sink->context, &err) != first.code ||
        sink->event(sink->context, &event, &err) != first.code ||
        sink->run_begin(sink->context, &(struct record_run){ 0 }, &id, &err) == 0 ||
        recorder_annotate(recorder, "x", "", "", &err) != first.code ||
        recorder_close(recorder, &err) != first.code)
        _exit(1);
    _exit(first.code == ERR_FULL || first.code == ERR_IO ? 0 : 2);
}

static void failure_is_sticky(void **state)
{
    struct fixture *f = *state;
    pid_t child = fork();
    int status;

    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(3);
        child_fills_disk(f);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM run"), 1);
    assert_true(ask(f->db, "SELECT count(*) FROM event") > 10);
}

struct load {
    const struct record_sink *sink;
    int kind;
};

static void *post_traces(void *context)
{
    const struct load *load = context;
    static const int PIECES = 200;
    int64_t time_ns[500];
    float value[500];
    char name[16];

    snprintf(name, sizeof name, "rail%d", load->kind);
    for (int i = 0; i < PIECES; i++) {
        struct record_trace trace = { name, UNIT_AMPERE, time_ns, value, 500 };
        struct error err;

        for (int j = 0; j < 500; j++) {
            time_ns[j] = (int64_t)(i * 500 + j) * 1000 + (load->kind == 1 ? j % 3 : 0);
            value[j] = (float)(i * 500 + j);
        }
        if (load->sink->trace(load->sink->context, &trace, &err) != 0)
            return load->sink->context; /* not NULL: failed */
    }
    return NULL;
}

enum { FLOOD = 40000 };

struct flood {
    const struct record_sink *sink;
    _Atomic int posted;
};

static void *post_flood(void *context)
{
    struct flood *flood = context;
    char text[201];
    struct record_event event = { "note", text, NULL, 0, 0 };
    struct error err;

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    while (flood->posted < FLOOD && flood->sink->event(flood->sink->context, &event, &err) == 0)
        flood->posted++;
    return NULL;
}

/* While somebody else holds the file, the queue fills, its producer blocks, and nothing is dropped. */
static void a_full_queue_blocks(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = open_run(f, "01RUN0000000000000000000A7");
    struct flood flood = { recorder_sink(recorder), 0 };
    pthread_t thread;
    sqlite3 *other;
    int posted;
    struct error err;

    assert_int_equal(sqlite3_open(f->db, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(pthread_create(&thread, NULL, post_flood, &flood), 0);
    do { /* until it stands still */
        posted = flood.posted;
        usleep(100000);
    } while (posted == 0 || posted != flood.posted);
    assert_in_range(posted, RECORDER_QUEUE_BYTES / 1000, FLOOD - 1);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    pthread_join(thread, NULL);
    assert_int_equal(flood.posted, FLOOD);
    assert_ok(recorder_close(recorder, &err));
    assert_int_equal(ask(f->db, "SELECT count(*) FROM event"), FLOOD);
}

/* Nobody asks for it, and yet it is on disk soon. */
static void durable_without_ack(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = open_run(f, "01RUN0000000000000000000A8");
    const struct record_sink *sink = recorder_sink(recorder);
    int waited_ms = 0;
    struct error err;

    fixture_point(sink, 0, 1, VERDICT_PASS, 1);
    while (ask(f->db, "SELECT count(*) FROM reading") == 0 && waited_ms++ < 1000)
        usleep(1000);
    assert_true(waited_ms < 1000); /* it takes about 10 ms; a busy machine may need longer */
    assert_ok(recorder_close(recorder, &err));
}

static int notices[RECORDER_NOTICE_MANY + 1];

static void count_notice(void *context, const struct recorder_notice *notice)
{
    (void)context;
    notices[notice->kind]++;
}

static void two_producers_and_a_listener(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder = open_run(f, "01RUN0000000000000000000A6");
    const struct record_sink *sink = recorder_sink(recorder);
    struct load load[2] = { { sink, 0 }, { sink, 1 } };
    char path[160], chain[TRACE_CHAIN_HEX];
    struct trace_reader *reader;
    struct trace_channel channel[TRACE_CHANNELS_MAX];
    pthread_t thread[2];
    struct error err;
    void *failed;
    int count;

    memset(notices, 0, sizeof notices);
    recorder_subscribe(recorder, count_notice, NULL);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, post_traces, &load[i]), 0);
    for (int i = 0; i < 500; i++)
        fixture_point(sink, i, 1, VERDICT_PASS, 2);
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], &failed);
        assert_null(failed);
    }
    assert_ok(sink->run_end(sink->context, "done", 0, "", 9, &err));
    assert_ok(recorder_close(recorder, &err));
    assert_true(notices[RECORDER_NOTICE_POINT] == 500 || notices[RECORDER_NOTICE_MANY] > 0);
    assert_true(notices[RECORDER_NOTICE_RUN] == 1 || notices[RECORDER_NOTICE_MANY] > 0);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM reading"), 1000);
    assert_int_equal(ask(f->db, "SELECT chunks FROM trace_file"), 50);

    snprintf(path, sizeof path, "%s.traces/01RUN0000000000000000000A6.trace", f->db);
    assert_ok(trace_reader_open(path, &reader, &err));
    assert_ok(trace_reader_channels(reader, channel, &count, &err));
    assert_int_equal(count, 2);
    assert_int_equal(channel[0].samples, 100000);
    assert_int_equal(channel[1].samples, 100000);
    assert_ok(trace_reader_verify(reader, chain, &err));
    trace_reader_close(reader);
    assert_int_equal(ask(path, "SELECT count(*) FROM chunk WHERE times IS NULL"), 25);
}

static void changed_traces_are_found(void **state)
{
    struct fixture *f = *state;
    char path[160];
    struct trace_writer *writer;
    struct trace_reader *reader;
    sqlite3 *db;
    int64_t time_ns[10];
    float value[10] = { 0 };
    struct error err;

    snprintf(path, sizeof path, "%s/x.trace", f->folder);
    assert_ok(trace_writer_open(path, false, &writer, &err));
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 10; j++)
            time_ns[j] = 10 * i + j;
        assert_ok(trace_writer_add(writer, "c", 1, time_ns, value, 10, &err));
        assert_ok(trace_writer_seal(writer, &err));
    }
    trace_writer_close(writer);
    assert_ok(trace_reader_open(path, &reader, &err));
    assert_ok(trace_reader_verify(reader, NULL, &err));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "UPDATE chunk SET first_ns = first_ns + 1 WHERE link = 2", NULL, NULL, NULL), 0);
    assert_int_equal(trace_reader_verify(reader, NULL, &err), ERR_MISMATCH);
    assert_int_equal(sqlite3_exec(db, "DELETE FROM chunk WHERE link = 2", NULL, NULL, NULL), 0);
    assert_int_equal(trace_reader_verify(reader, NULL, &err), ERR_MISMATCH);
    sqlite3_close(db);
    trace_reader_close(reader);
}

/* Keyed pseudo-random puts and releases against a model: every byte comes back, in order. */
static void ring_against_model(void **state)
{
    struct ring ring;
    unsigned seed = 12345;
    int put = 0, taken = 0, refused = 0;
    struct error err;

    (void)state;
    print_message("seed %u\n", seed);
    assert_ok(ring_init(&ring, 4096, 50, &err));
    assert_null(ring_put(&ring, 0, 1025));
    while (put < 20000) {
        if (rand_r(&seed) % 3 != 0) {
            size_t bytes = 4 + (size_t)rand_r(&seed) % 500;
            int *at = ring_put(&ring, (int)bytes, bytes);

            refused += at == NULL;
            if (at != NULL) {
                memset(at, put & 0xff, bytes);
                *at = put++;
            }
        } else if (ring.entries > 0) {
            int count = 1 + rand_r(&seed) % ring.entries;
            struct ring_entry *entry = ring_oldest(&ring);

            for (int i = 0; i < count; i++) {
                const unsigned char *bytes = (const unsigned char *)(entry + 1);

                assert_int_equal(*(const int *)(const void *)bytes, taken);
                for (int j = 4; j < entry->kind; j++)
                    assert_int_equal(bytes[j], taken & 0xff);
                taken++;
                if (i + 1 < count)
                    entry = ring_next(&ring, entry);
            }
            ring_release(&ring, count);
        }
        assert_true(ring.used <= ring.capacity);
        assert_int_equal(ring.entries, put - taken);
    }
    assert_true(refused > 100);
    ring_release(&ring, ring.entries);
    assert_int_equal(ring.used, 0);
    assert_null(ring_oldest(&ring));
    ring_fini(&ring);
}

#define in_store(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_store(acknowledged_is_visible),
        in_store(run_readings_and_late_readings),
        in_store(bad_calls_are_refused_and_harm_nothing),
        in_store(kill_loses_nothing_acknowledged),
        in_store(failure_is_sticky),
        in_store(two_producers_and_a_listener),
        in_store(a_full_queue_blocks),
        in_store(durable_without_ack),
        in_store(changed_traces_are_found),
        cmocka_unit_test(ring_against_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
