/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * queue: entries as rows. */
#include "db/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "db/recorder_internal.h"
#include "db/sql.h"
#include "db/writer_sql.h"

#define ITEM_COLUMNS                                                                                         \
    "ulid, campaign, backend, operator, tags, notes, seed, priority, place, added_ns, not_before_ns, "       \
    "until_ns, duration_s"
#define ITEM_ORDER " ORDER BY priority DESC, place"

enum { PREFIX_MIN = 4 };

static int take_item(struct sqlite3_stmt *stmt, struct queue_item *item, struct error *err)
{
    *item = (struct queue_item){ .seed = strtoull(sql_col_text(stmt, 6), NULL, 10),
                                 .priority = (int)sql_col_int(stmt, 7),
                                 .place = sql_col_int(stmt, 8),
                                 .added_ns = sql_col_int(stmt, 9),
                                 .not_before_ns = sql_col_int(stmt, 10),
                                 .until_ns = sql_col_int(stmt, 11),
                                 .duration_s = sql_col_double(stmt, 12) };
    snprintf(item->ulid, sizeof item->ulid, "%s", sql_col_text(stmt, 0));
    snprintf(item->campaign, sizeof item->campaign, "%s", sql_col_text(stmt, 1));
    snprintf(item->backend, sizeof item->backend, "%s", sql_col_text(stmt, 2));
    snprintf(item->operator_name, sizeof item->operator_name, "%s", sql_col_text(stmt, 3));
    snprintf(item->tags, sizeof item->tags, "%s", sql_col_text(stmt, 4));
    snprintf(item->note, sizeof item->note, "%s", sql_col_text(stmt, 5));
    return sql_check_row(stmt, err);
}

/* Prepares, binds, steps once, expects no row, finishes. */
static int run_once(struct sqlite3 *db, struct error *err, const char *sql, const char *types, ...)
{
    struct sqlite3_stmt *stmt = NULL;
    va_list args;
    int code = sql_prepare(db, sql, &stmt, err);

    if (code != 0)
        return code;
    va_start(args, types);
    code = sql_bind_list(stmt, 1, err, types, args);
    va_end(args);
    if (code == 0)
        code = sql_step(stmt, err);
    sql_finish(stmt);
    return code < 0 ? code : 0;
}

static int list_items(struct sqlite3 *db, struct queue_item *item, int *ret_count, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int count = 0;
    int code = sql_prepare(db, "SELECT " ITEM_COLUMNS " FROM queue WHERE taken = 0" ITEM_ORDER, &stmt, err);

    while (code == 0 && count < QUEUE_MAX && (code = sql_step(stmt, err)) == 1) {
        code = take_item(stmt, &item[count++], err);
    }
    sql_finish(stmt);
    if (code == 0)
        *ret_count = count;
    return code;
}

/* Is it there and not taken? */
static int check_waiting(struct sqlite3 *db, const char *ulid, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = sql_prepare(db, "SELECT taken FROM queue WHERE ulid = ?", &stmt, err);

    if (code == 0)
        code = sql_bind(stmt, err, "t", ulid);
    if (code == 0)
        code = sql_step(stmt, err);
    bool taken = code == 1 && sql_col_int(stmt, 0) != 0;
    sql_finish(stmt);
    if (code < 0)
        return code;
    if (code == 0)
        return error_set(err, ERR_NOT_FOUND, "%s does not wait in the queue", ulid);
    return taken ? error_set(err, ERR_CONFLICT, "run %s is about to begin: it no longer waits", ulid) : 0;
}

static int check_not_held(struct sqlite3 *db, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = sql_prepare(db, "SELECT reason FROM queue_hold", &stmt, err);

    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1)
        code = error_set(err, ERR_CONFLICT,
                         "the queue is held: %s; 'nightbench queue release' when it may go on",
                         sql_col_text(stmt, 0));
    sql_finish(stmt);
    return code;
}

static int add(struct sqlite3 *db, void *argument, struct error *err)
{
    const struct queue_addition *addition = argument;
    const struct queue_item *item = addition->item;
    int64_t waiting = 0;
    char seed[24];

    int code = addition->unless_held ? check_not_held(db, err) : 0;
    if (code == 0)
        code = sql_integer(db, "SELECT count(*) FROM queue", 0, &waiting, err);
    if (code == 0 && waiting >= QUEUE_MAX) {
        code = error_set(err, ERR_FULL, "%d runs wait already: remove one first", QUEUE_MAX);
        if (err != NULL)
            err->retryable = false;
    }
    if (code == 0 && addition->answer != NULL)
        code = answer_insert(db, addition->answer, err);
    if (code != 0)
        return code;
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)item->seed);
    return run_once(
        db, err,
        "INSERT INTO queue(ulid, campaign, document, backend, operator, tags, notes, seed, priority,"
        " place, added_ns, not_before_ns, until_ns, duration_s) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?,"
        " (SELECT coalesce(max(place), 0) + 1 FROM queue), ?, nullif(?, 0), nullif(?, 0), ?)",
        "ttttttttillld", item->ulid, item->campaign, addition->document, item->backend, item->operator_name,
        item->tags, item->note, seed, item->priority, item->added_ns, item->not_before_ns, item->until_ns,
        item->duration_s);
}

int queue_add(struct recorder *recorder, const struct queue_addition *addition, struct error *err)
{
    struct queue_addition copy = *addition;

    return recorder_do(recorder, add, &copy, err);
}

struct taking {
    int64_t now_ns;
    bool may_begin;
    struct queue_taken result;
    struct queue_item list[QUEUE_MAX];
};

static int read_document(struct sqlite3 *db, const char *ulid, char **ret_text, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = sql_prepare(db, "SELECT document FROM queue WHERE ulid = ?", &stmt, err);
    char *text = NULL;

    if (code == 0)
        code = sql_bind(stmt, err, "t", ulid);
    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 0)
        code = error_set(err, ERR_NOT_FOUND, "the campaign of %s cannot be read", ulid);
    if (code == 1) {
        text = strdup(sql_col_text(stmt, 0));
        code = sql_check_row(stmt, err);
        if (code == 0 && text == NULL)
            code = error_set(err, ERR_MEMORY, "no memory for the campaign of %s", ulid);
    }
    sql_finish(stmt);
    if (code < 0) {
        free(text);
        return code;
    }
    free(*ret_text);
    *ret_text = text;
    return 0;
}

static int read_hold(struct sqlite3 *db, bool *ret_held, char *reason, size_t size, int64_t *ret_wall_ns,
                     struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = sql_prepare(db, "SELECT reason, wall_ns FROM queue_hold", &stmt, err);

    if (code == 0)
        code = sql_step(stmt, err);
    if (code >= 0) {
        *ret_held = code == 1;
        snprintf(reason, size, "%s", code == 1 ? sql_col_text(stmt, 0) : "");
        *ret_wall_ns = code == 1 ? sql_col_int(stmt, 1) : 0;
        code = code == 1 ? sql_check_row(stmt, err) : 0;
    }
    sql_finish(stmt);
    return code;
}

static int take(struct sqlite3 *db, void *argument, struct error *err)
{
    struct taking *taking = argument;
    struct queue_taken *result = &taking->result;
    int64_t since_ns;
    bool held = false;

    char *document = result->document; /* of a group that has come again */
    *result = (struct queue_taken){ .document = document };
    int code = read_hold(db, &held, result->reason, sizeof result->reason, &since_ns, err);
    if (code == 0)
        code = list_items(db, taking->list, &result->waiting, err);
    if (code != 0 || held || !taking->may_begin)
        return code;
    int index = queue_order_next(taking->list, result->waiting, taking->now_ns, &result->look_ns);
    if (index < 0)
        return 0;
    result->item = taking->list[index];
    code = read_document(db, result->item.ulid, &result->document, err);
    if (code == 0)
        code = run_once(db, err, "UPDATE queue SET taken = 1 WHERE ulid = ?", "t", result->item.ulid);
    result->taken = code == 0;
    result->waiting -= result->taken;
    return code;
}

int queue_take(struct recorder *recorder, int64_t now_ns, bool may_begin, struct queue_taken *ret_taken,
               struct error *err)
{
    struct taking *taking = calloc(1, sizeof *taking);

    if (taking == NULL)
        return error_set(err, ERR_MEMORY, "no memory to look into the queue");
    taking->now_ns = now_ns;
    taking->may_begin = may_begin;
    int code = recorder_do(recorder, take, taking, err);
    if (code != 0 || !taking->result.taken) {
        free(taking->result.document);
        taking->result.document = NULL;
    }
    if (code == 0)
        *ret_taken = taking->result;
    free(taking);
    return code;
}

struct untaking {
    const char *ulid;
    int64_t rows;
};

static int untake(struct sqlite3 *db, void *argument, struct error *err)
{
    struct untaking *untaking = argument;

    int code = run_once(db, err, "UPDATE queue SET taken = 0 WHERE ulid = ?", "t", untaking->ulid);
    return code == 0 ? sql_integer(db, "SELECT changes()", 0, &untaking->rows, err) : code;
}

int queue_untake(struct recorder *recorder, const char *ulid, struct error *err)
{
    struct untaking untaking = { .ulid = ulid };
    int code = recorder_do(recorder, untake, &untaking, err);

    return code == 0 ? untaking.rows > 0 : code;
}

struct replacement {
    const struct queue_item *before, *item;
    const char *document;
};

static bool same_words(const struct queue_item *a, const struct queue_item *b)
{
    return strcmp(a->campaign, b->campaign) == 0 && strcmp(a->backend, b->backend) == 0 &&
           strcmp(a->operator_name, b->operator_name) == 0 && strcmp(a->tags, b->tags) == 0 &&
           strcmp(a->note, b->note) == 0 && a->seed == b->seed && a->priority == b->priority &&
           a->not_before_ns == b->not_before_ns && a->until_ns == b->until_ns &&
           a->duration_s == b->duration_s;
}

/* What is to be replaced must be what whoever replaces it has seen: the words of another person would be
 * lost. */
static int check_unchanged(struct sqlite3 *db, const struct queue_item *before, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    struct queue_item now = { .place = 0 };
    int code = sql_prepare(db, "SELECT " ITEM_COLUMNS " FROM queue WHERE ulid = ?", &stmt, err);

    if (code == 0)
        code = sql_bind(stmt, err, "t", before->ulid);
    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1)
        code = take_item(stmt, &now, err);
    sql_finish(stmt);
    if (code < 0)
        return code;
    if (same_words(&now, before))
        return 0;
    code =
        error_set(err, ERR_CONFLICT, "%s has been changed meanwhile: look at it and try again", before->ulid);
    if (err != NULL)
        err->retryable = true;
    return code;
}

static int replace(struct sqlite3 *db, void *argument, struct error *err)
{
    const struct replacement *replacement = argument;
    const struct queue_item *item = replacement->item;
    char seed[24];

    int code = check_waiting(db, item->ulid, err);
    if (code == 0)
        code = check_unchanged(db, replacement->before, err);
    if (code != 0)
        return code;
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)item->seed);
    return run_once(
        db, err,
        "UPDATE queue SET campaign = ?, document = coalesce(?, document), backend = ?, operator = ?,"
        " tags = ?, notes = ?, seed = ?, priority = ?, not_before_ns = nullif(?, 0),"
        " until_ns = nullif(?, 0), duration_s = ? WHERE ulid = ?",
        "tttttttilldt", item->campaign, replacement->document, item->backend, item->operator_name, item->tags,
        item->note, seed, item->priority, item->not_before_ns, item->until_ns, item->duration_s, item->ulid);
}

int queue_replace(struct recorder *recorder, const struct queue_item *before, const struct queue_item *item,
                  const char *document, struct error *err)
{
    struct replacement replacement = { .before = before, .item = item, .document = document };

    return recorder_do(recorder, replace, &replacement, err);
}

struct moving {
    const char *ulid;
    int to;
    struct queue_item list[QUEUE_MAX];
};

static int move(struct sqlite3 *db, void *argument, struct error *err)
{
    struct moving *moving = argument;
    int count = 0, from = -1;

    int code = check_waiting(db, moving->ulid, err);
    if (code == 0)
        code = list_items(db, moving->list, &count, err);
    if (code != 0)
        return code;
    for (int i = 0; i < count; i++)
        if (strcmp(moving->list[i].ulid, moving->ulid) == 0)
            from = i;
    queue_order_move(moving->list, count, from, moving->to);
    for (int i = 0; i < count && code == 0; i++)
        code = run_once(db, err, "UPDATE queue SET place = ?, priority = ? WHERE ulid = ?", "lit",
                        moving->list[i].place, moving->list[i].priority, moving->list[i].ulid);
    return code;
}

int queue_move(struct recorder *recorder, const char *ulid, int to, struct error *err)
{
    struct moving *moving = calloc(1, sizeof *moving);

    if (moving == NULL)
        return error_set(err, ERR_MEMORY, "no memory to move an entry of the queue");
    moving->ulid = ulid;
    moving->to = to;
    int code = recorder_do(recorder, move, moving, err);
    free(moving);
    return code;
}

static int drop(struct sqlite3 *db, void *argument, struct error *err)
{
    int code = check_waiting(db, argument, err);

    return code == 0 ? run_once(db, err, "DELETE FROM queue WHERE ulid = ?", "t", (const char *)argument)
                     : code;
}

int queue_remove(struct recorder *recorder, const char *ulid, struct error *err)
{
    char text[ULID_TEXT];

    snprintf(text, sizeof text, "%s", ulid);
    return recorder_do(recorder, drop, text, err);
}

struct holding {
    int by_run;
    const char *reason;
};

static int hold(struct sqlite3 *db, void *argument, struct error *err)
{
    const struct holding *holding = argument;

    return run_once(db, err,
                    "INSERT INTO queue_hold(id, by_run, reason, wall_ns) VALUES(1, ?, ?, ?)" QUEUE_HOLD_AGAIN,
                    "itl", holding->by_run, holding->reason, clock_wall_now());
}

int queue_hold(struct recorder *recorder, bool by_run, const char *reason, struct error *err)
{
    struct holding holding = { .by_run = by_run, .reason = reason };

    return recorder_do(recorder, hold, &holding, err);
}

static int release(struct sqlite3 *db, void *argument, struct error *err)
{
    const struct holding *holding = argument;

    return run_once(db, err, "DELETE FROM queue_hold WHERE by_run >= ?", "i", holding->by_run);
}

int queue_release(struct recorder *recorder, bool only_by_run, struct error *err)
{
    struct holding holding = { .by_run = only_by_run };

    return recorder_do(recorder, release, &holding, err);
}

int queue_read(const char *db_path, struct queue_list *ret_list, struct error *err)
{
    struct store *store = NULL;
    int code = store_open_reader(db_path, &store, err);
    if (code == 0)
        code = list_items(store_handle(store), ret_list->item, &ret_list->count, err);
    if (code == 0)
        code = read_hold(store_handle(store), &ret_list->held, ret_list->reason, sizeof ret_list->reason,
                         &ret_list->held_ns, err);
    store_close(store);
    return code;
}

int queue_find(const char *db_path, const char *ulid, struct queue_item *ret_item, char **ret_document,
               struct error *err)
{
    struct store *store = NULL;
    struct sqlite3_stmt *stmt = NULL;
    struct queue_item item = { .place = 0 };
    char end[ULID_TEXT + 1];
    int found = 0;

    if (strlen(ulid) < PREFIX_MIN || strlen(ulid) >= ULID_TEXT)
        return error_set(err, ERR_INVALID, "'%.40s' is no entry: give 4 to 26 characters of its ULID", ulid);
    snprintf(end, sizeof end, "%s~", ulid); /* '~' sorts after every character of a ULID */
    int code = store_open_reader(db_path, &store, err);
    if (code == 0)
        code = sql_prepare(store_handle(store),
                           "SELECT " ITEM_COLUMNS
                           " FROM queue WHERE ulid >= upper(?1) AND ulid < upper(?2) AND taken = 0 LIMIT 2",
                           &stmt, err);
    if (code == 0)
        code = sql_bind(stmt, err, "tt", ulid, end);
    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        code = take_item(stmt, &item, err);
        found++;
    }
    sql_finish(stmt);
    if (code == 0 && found != 1)
        code = found == 0 ? error_set(err, ERR_NOT_FOUND, "%s does not wait in the queue", ulid)
                          : error_set(err, ERR_CONFLICT, "%s is the beginning of more than one entry", ulid);
    if (code == 0 && ret_document != NULL) {
        char *text = NULL;
        code = read_document(store_handle(store), item.ulid, &text, err);
        if (code == 0)
            *ret_document = text;
    }
    store_close(store);
    if (code == 0)
        *ret_item = item;
    return code;
}
