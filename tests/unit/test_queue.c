/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_queue: the order of the queue as arithmetic; its rows over restarts; an entry becomes a run exactly
 * once; and what keys were answered. */
#include "tests/unit/db_fixture.h"

#include "db/queue.h"
#include "db/sql.h"
#include "db/store.h"
#include "tests/fault/store_memory.c" /* its allocator is this program's */

enum { N = 5 };

static void fill(struct queue_item *item, int count, const int *priority)
{
    for (int i = 0; i < count; i++) {
        item[i] = (struct queue_item){ .priority = priority[i], .place = i + 1, .duration_s = 10.0 };
        snprintf(item[i].ulid, sizeof item[i].ulid, "%c", 'A' + i);
    }
}

static void next_to_begin(void **state)
{
    struct queue_item item[3];
    int64_t look = -1;

    (void)state;
    fill(item, 3, (const int[]){ 5, 0, 0 });
    assert_int_equal(queue_order_next(item, 3, 100, &look), 0);
    item[0].not_before_ns = 200;
    assert_int_equal(queue_order_next(item, 3, 100, &look), 1); /* a later one does not hold up the rest */
    item[1].not_before_ns = 150;
    item[2].not_before_ns = 300;
    assert_int_equal(look, -1);
    assert_int_equal(queue_order_next(item, 3, 100, &look), -1);
    assert_int_equal(look, 150);
    assert_int_equal(queue_order_next(item, 3, 150, &look), 1);
    assert_int_equal(queue_order_next(item, 3, 250, &look), 0); /* priority again, once its time has come */
    assert_int_equal(queue_order_next(item, 0, 250, &look), -1);
    assert_int_equal(look, 0);
}

static void moved(void **state)
{
    static const struct {
        int from, to;
        const char *order;
        int priority;
    } rows[] = {
        { 4, 0, "EABCD", 9 }, { 0, 4, "BCDEA", -2 }, { 3, 2, "ABDCE", 0 },   { 2, 3, "ABDCE", 0 },
        { 1, 1, "ABCDE", 9 }, { 4, 2, "ABECD", 0 },  { 0, 99, "BCDEA", -2 }, { 2, -5, "CABDE", 9 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct queue_item item[N];
        char order[N + 1] = "";
        int at = 0;

        fill(item, N, (const int[N]){ 9, 9, 0, 0, -2 });
        queue_order_move(item, N, rows[i].from, rows[i].to);
        for (int k = 0; k < N; k++) {
            order[k] = item[k].ulid[0];
            at = item[k].ulid[0] == 'A' + rows[i].from ? k : at;
            assert_int_equal(item[k].place, k + 1);
            assert_true(k == 0 || item[k - 1].priority >= item[k].priority);
        }
        assert_string_equal(order, rows[i].order);
        assert_int_equal(item[at].priority, rows[i].priority);
    }
}

static void expected(void **state)
{
    const int64_t second = 1000000000;
    struct queue_item item[3];
    int64_t begin[3];

    (void)state;
    fill(item, 3, (const int[]){ 5, 0, 0 });
    item[0].not_before_ns = 105 * second;
    queue_order_expect(item, 3, 100 * second, 1.0, begin);
    assert_int_equal(begin[1], 100 * second); /* fills the gap, and is not interrupted */
    assert_int_equal(begin[0], 110 * second);
    assert_int_equal(begin[2], 120 * second);
    item[1].not_before_ns = item[2].not_before_ns = 500 * second;
    queue_order_expect(item, 3, 100 * second, 0.0, begin);
    assert_int_equal(begin[0], 105 * second);
    assert_int_equal(begin[1], 500 * second);
    assert_int_equal(begin[2], 500 * second);
}

static struct queue_item an_item(const char *ulid, int priority)
{
    struct queue_item item = { .priority = priority, .added_ns = 7, .duration_s = 1.5, .seed = UINT64_MAX };

    snprintf(item.ulid, sizeof item.ulid, "%s", ulid);
    snprintf(item.campaign, sizeof item.campaign, "c");
    snprintf(item.backend, sizeof item.backend, "chip");
    snprintf(item.note, sizeof item.note, "it's \"quoted\"");
    return item;
}

#define ULID_A "01HX00000000000000000000QA"
#define ULID_B "01HX00000000000000000000QB"
#define ULID_C "01HX00000000000000000000QC"

static void add(struct recorder *recorder, const char *ulid, int priority)
{
    struct queue_item item = an_item(ulid, priority);
    struct queue_addition addition = { .item = &item, .document = "{\"name\":\"c\"}" };
    struct error err;

    assert_ok(queue_add(recorder, &addition, &err));
}

static void order_of(const char *db, char *out)
{
    struct queue_list *list = calloc(1, sizeof *list);
    struct error err;

    assert_ok(queue_read(db, list, &err));
    for (int i = 0; i < list->count; i++)
        *out++ = list->item[i].ulid[25];
    *out = '\0';
    free(list);
}

/* Takes one; its ULID's last letter, or '-'. */
static char take(struct recorder *recorder, int64_t now_ns, struct queue_taken *taken)
{
    struct error err;

    assert_ok(queue_take(recorder, now_ns, true, taken, &err));
    free(taken->taken ? taken->document : NULL);
    assert_true(taken->taken == (taken->item.ulid[0] != '\0'));
    return taken->taken ? taken->item.ulid[25] : '-';
}

static void rows(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder;
    struct queue_item item;
    struct queue_taken taken = { .waiting = -1 };
    char *text = NULL, order[8];
    struct error err;

    assert_ok(recorder_open(f->db, &recorder, &err));
    add(recorder, ULID_A, 0);
    add(recorder, ULID_B, 0);
    add(recorder, ULID_C, 3);
    assert_ok(recorder_close(recorder, &err)); /* the daemon ends: the queue does not */
    assert_ok(recorder_open(f->db, &recorder, &err));
    order_of(f->db, order);
    assert_string_equal(order, "CAB");
    assert_ok(queue_move(recorder, ULID_B, 1, &err));
    order_of(f->db, order);
    assert_string_equal(order, "CBA");

    assert_ok(queue_find(f->db, ULID_B, &item, &text, &err));
    assert_string_equal(text, "{\"name\":\"c\"}");
    assert_string_equal(item.note, "it's \"quoted\"");
    assert_true(item.seed == UINT64_MAX && item.duration_s == 1.5 && item.added_ns == 7);
    struct queue_item before = item;
    item.priority = 9;
    item.not_before_ns = 1000;
    assert_ok(queue_replace(recorder, &before, &item, "{\"name\":\"d\"}", &err));
    /* Who has seen it as it was before that must look again. */
    assert_int_equal(queue_replace(recorder, &before, &before, NULL, &err), ERR_CONFLICT);
    assert_true(err.retryable);
    free(text);
    assert_int_equal(queue_find(f->db, "01HX", &item, NULL, &err), ERR_CONFLICT);
    assert_int_equal(queue_find(f->db, "01H", &item, NULL, &err), ERR_INVALID);
    assert_int_equal(queue_remove(recorder, "01HX00000000000000000000QZ", &err), ERR_NOT_FOUND);

    /* What is taken cannot be changed; a daemon that dies with it gives it back. */
    assert_int_equal(take(recorder, 999, &taken), 'C');
    assert_int_equal(taken.waiting, 2);
    item = taken.item;
    assert_int_equal(queue_remove(recorder, ULID_C, &err), ERR_CONFLICT);
    assert_int_equal(queue_replace(recorder, &item, &item, NULL, &err), ERR_CONFLICT);
    assert_int_equal(queue_move(recorder, ULID_C, 1, &err), ERR_CONFLICT);
    order_of(f->db, order);
    assert_string_equal(order, "BA");
    assert_ok(recorder_close(recorder, &err));
    assert_ok(recorder_open(f->db, &recorder, &err));
    order_of(f->db, order);
    assert_string_equal(order, "BCA");
    assert_ok(queue_remove(recorder, ULID_C, &err));

    assert_ok(queue_take(recorder, 1000, true, &taken, &err));
    assert_string_equal(taken.item.ulid, ULID_B);
    assert_string_equal(taken.document, "{\"name\":\"d\"}");
    free(taken.document);
    assert_int_equal(queue_untake(recorder, ULID_B, &err), 1);
    order_of(f->db, order);
    assert_string_equal(order, "BA");
    assert_ok(recorder_close(recorder, &err));
}

static int64_t count(const char *db, const char *sql)
{
    struct store *store;
    int64_t value = -1;
    struct error err;

    assert_ok(store_open_reader(db, &store, &err));
    assert_ok(sql_integer(store_handle(store), sql, -1, &value, &err));
    store_close(store);
    return value;
}

/* The row leaves the queue in the transaction that makes the run; how that ends may hold the rest up. */
static void becomes_a_run(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder;
    struct queue_list *list = calloc(1, sizeof *list);
    struct queue_item item = an_item(ULID_C, 0);
    struct queue_taken taken;
    int64_t id;
    struct error err;

    assert_ok(recorder_open(f->db, &recorder, &err));
    const struct record_sink *sink = recorder_sink(recorder);
    add(recorder, ULID_A, 0);
    add(recorder, ULID_B, 0);
    for (int i = 0; i < 2; i++) {
        struct record_run run = fixture_run(i == 0 ? ULID_A : ULID_B);
        run.queued_wall_ns = 100;
        run.validating_wall_ns = 200;
        run.invalid = i == 0;
        run.notes = "why";
        assert_int_equal(take(recorder, 1, &taken), run.ulid[25]);
        assert_ok(sink->run_begin(sink->context, &run, &id, &err));
        if (i == 0) {
            assert_int_equal(sink->state(sink->context, "paused", "", &err), ERR_CONFLICT);
            assert_ok(sink->run_end(sink->context, "failed", ERR_INVALID, "no such rail", 5, &err));
        } else {
            assert_ok(sink->run_end(sink->context, "tripped", ERR_TRIPPED, "too hot", 5, &err));
        }
    }
    assert_int_equal(queue_untake(recorder, ULID_B, &err), 0); /* it is a run */
    add(recorder, ULID_C, 0);
    assert_int_equal(take(recorder, 1, &taken), '-');
    assert_int_equal(taken.waiting, 1);
    assert_non_null(strstr(taken.reason, "too hot"));
    assert_ok(queue_read(f->db, list, &err));
    assert_true(list->held);
    assert_string_equal(list->reason, "run " ULID_B " ended tripped: too hot");
    assert_int_equal(count(f->db, "SELECT count(*) FROM run WHERE notes = 'why'"), 2);
    assert_int_equal(count(f->db,
                           "SELECT count(*) FROM run_state WHERE (state = 'queued' AND wall_ns = 100) OR"
                           " (state = 'validating' AND wall_ns = 200)"),
                     4);
    assert_int_equal(count(f->db, "SELECT count(*) FROM run_state WHERE state = 'running'"), 1);
    struct queue_addition urgent = { .item = &item, .document = "{}", .unless_held = true };
    assert_int_equal(queue_add(recorder, &urgent, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.message, "too hot"));

    /* Somebody's own hold outlives a clear(), and a restart. */
    assert_ok(queue_hold(recorder, false, "door open", &err));
    assert_ok(queue_release(recorder, true, &err));
    assert_ok(recorder_close(recorder, &err));
    assert_ok(recorder_open(f->db, &recorder, &err));
    assert_int_equal(take(recorder, 1, &taken), '-');
    assert_ok(queue_release(recorder, false, &err));
    assert_int_equal(take(recorder, 1, &taken), 'C');
    assert_ok(recorder_close(recorder, &err));
    free(list);
}

/* Ended by a person while it was held, or run: only the former says that something is wrong with the bench.
 */
static void held_runs_hold(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder;
    struct error err;
    int64_t id;

    assert_ok(recorder_open(f->db, &recorder, &err));
    const struct record_sink *sink = recorder_sink(recorder);
    for (int i = 0; i < 2; i++) {
        struct record_run run = fixture_run(i == 0 ? ULID_A : ULID_B);
        assert_ok(sink->run_begin(sink->context, &run, &id, &err));
        assert_ok(sink->state(sink->context, "held", "no answer", &err));
        if (i == 0)
            assert_ok(sink->state(sink->context, "running", "", &err));
        recorder_hint_state(recorder, NULL, "stopping", "");
        assert_ok(sink->state(sink->context, "running", "", &err)); /* came too late: the stop stays */
        assert_ok(sink->run_end(sink->context, "stopped", 0, "", 5, &err));
        assert_ok(sink->ack(sink->context, &err));
        assert_int_equal(count(f->db, "SELECT count(*) FROM queue_hold"), i);
    }
    assert_int_equal(count(f->db, "SELECT count(*) FROM run_state WHERE state = 'running'"), 3);
    recorder_hint_state(recorder, NULL, "stopping", ""); /* no run is open: nothing */
    assert_ok(recorder_close(recorder, &err));
    assert_int_equal(count(f->db, "SELECT count(*) FROM run_state WHERE state = 'stopping'"), 2);
}

static void full(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder;
    struct queue_item item = an_item(ULID_A, 0);
    struct queue_addition addition = { .item = &item, .document = "{}" };
    struct error err;

    assert_ok(recorder_open(f->db, &recorder, &err));
    for (int i = 0; i < QUEUE_MAX; i++) {
        text_ulid(item.ulid);
        assert_ok(queue_add(recorder, &addition, &err));
    }
    text_ulid(item.ulid);
    assert_int_equal(queue_add(recorder, &addition, &err), ERR_FULL);
    assert_ok(queue_move(recorder, item.ulid, 1, &err) == ERR_NOT_FOUND ? 0 : -1);
    assert_ok(recorder_close(recorder, &err)); /* and the store is none the worse for it */
}

/* Each allocation on the way, refused once: the attempt may fail, but nothing is lost and the recorder goes
 * on.
 */
static void taken_without_memory(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder;
    struct recorder_health health;
    struct error err;
    struct queue_item item = an_item(ULID_A, 0);
    char document[20000] = ""; /* of several pages, which SQLite puts together in memory of its own */
    struct queue_addition addition = { .item = &item, .document = document };
    bool refused = true;
    int failed = 0, n = 0;

    if (!memory_can_fail())
        skip();
    assert_ok(recorder_open(f->db, &recorder, &err));
    memset(document, 'c', sizeof document - 1);
    assert_ok(queue_add(recorder, &addition, &err));
    for (; refused; n++) {
        struct queue_taken taken = { .waiting = -1 };
        memory_fault(n, false);
        int code = queue_take(recorder, 1, true, &taken, &err);
        refused = memory_operations() > n;
        memory_fault(-1, false);
        if (code != 0) {
            assert_int_equal(code, ERR_MEMORY);
            assert_null(taken.document);
            assert_ok(queue_take(recorder, 1, true, &taken, &err));
            failed++;
        }
        assert_string_equal(taken.item.ulid, ULID_A);
        assert_string_equal(taken.item.note, "it's \"quoted\"");
        assert_string_equal(taken.document, document);
        free(taken.document);
        assert_int_equal(queue_untake(recorder, ULID_A, &err), 1);
    }
    recorder_health(recorder, &health);
    assert_true(health.condition != RECORDER_FAILED);
    assert_true(n > 20 && failed > 0); /* all were met: the caller's own is not tried again */
    assert_ok(recorder_close(recorder, &err));
}

static void answers(void **state)
{
    struct fixture *f = *state;
    struct recorder *recorder;
    struct queue_item item = an_item(ULID_A, 0);
    char body[] = "{\"run\":\"" ULID_A "\"}";
    struct answer answer = {
        .key = "k", .request = { 1, 2, 3 }, .status = 201, .body = body, .location = "/x"
    };
    struct answer found = { .status = 0 };
    struct queue_addition addition = { .item = &item, .document = "{}", .answer = &answer };
    const uint8_t other[32] = { 9 };
    struct error err;

    assert_ok(recorder_open(f->db, &recorder, &err));
    assert_int_equal(answer_find(f->db, "k", answer.request, &found, &err), 0);
    assert_ok(queue_add(recorder, &addition, &err));
    snprintf(item.ulid, sizeof item.ulid, "%s", ULID_B);
    assert_int_equal(queue_add(recorder, &addition, &err), ERR_CONFLICT); /* the key comes twice at once */
    assert_int_equal(count(f->db, "SELECT count(*) FROM queue"), 1);
    assert_ok(recorder_close(recorder, &err));
    assert_ok(recorder_open(f->db, &recorder, &err));
    assert_int_equal(answer_find(f->db, "k", answer.request, &found, &err), 1);
    assert_string_equal(found.body, body);
    assert_string_equal(found.location, "/x");
    assert_int_equal(found.status, 201);
    free(found.body);
    assert_int_equal(answer_find(f->db, "k", other, &found, &err), ERR_CONFLICT);
    for (int i = 0; i < ANSWERS_MAX; i++) {
        snprintf(answer.key, sizeof answer.key, "k%d", i);
        assert_ok(answer_keep(recorder, &answer, &err));
        if (i == 10)
            i = ANSWERS_MAX - 3; /* the rest is made below, in one go */
    }
    assert_ok(answer_keep(recorder, &answer, &err)); /* again: no other row */
    assert_ok(recorder_close(recorder, &err));
    assert_int_equal(count(f->db, "SELECT count(*) FROM answer"), 14);

    /* Bounded by age and by number. */
    struct store *store;
    assert_ok(store_open_writer(f->db, &store, &err));
    assert_ok(sql_exec(store_handle(store),
                       "UPDATE answer SET wall_ns = 1 WHERE key = 'k1';"
                       "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)"
                       " INSERT INTO answer SELECT 'x' || i, request, status, body, location, wall_ns + i"
                       " FROM n, (SELECT * FROM answer WHERE key = 'k')",
                       &err));
    store_close(store);
    assert_int_equal(answer_find(f->db, "k1", answer.request, &found, &err), 0);
    assert_ok(recorder_open(f->db, &recorder, &err));
    snprintf(answer.key, sizeof answer.key, "last");
    assert_ok(answer_keep(recorder, &answer, &err));
    assert_int_equal(count(f->db, "SELECT count(*) FROM answer"), ANSWERS_MAX);
    assert_int_equal(answer_find(f->db, "k", answer.request, &found, &err), 0); /* the oldest went */
    assert_int_equal(answer_find(f->db, "x1200", answer.request, &found, &err), 1);
    free(found.body);
    assert_ok(recorder_close(recorder, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_to_begin),
        cmocka_unit_test(moved),
        cmocka_unit_test(expected),
        cmocka_unit_test_setup_teardown(rows, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(becomes_a_run, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(held_runs_hold, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(full, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(taken_without_memory, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(answers, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
