/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * resume: an interrupted run, read back. */
#include "db/resume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/json.h"
#include "db/query_internal.h"

void resume_run_free(struct resume_run *run)
{
    free(run->campaign_json);
    free(run->plan_hash);
    free(run->backend);
    free(run->operator_name);
    free(run->tags);
    free(run->chip_serial);
    free(run->network_hash);
    free(run->dataset_hash);
    *run = (struct resume_run){ .id = 0 };
}

/* The campaign is the first half of the run's snapshot {"campaign":...,"plan":...}. */
static int take_campaign(const char *snapshot, char **ret_text, struct error *err)
{
    cJSON *root = NULL;
    int code = json_parse(snapshot, strlen(snapshot), &root, err);

    if (code != 0)
        return code;
    const cJSON *campaign = cJSON_GetObjectItemCaseSensitive(root, "campaign");
    char *text = cJSON_IsObject(campaign) ? json_print(campaign, false) : NULL;
    if (text == NULL)
        code = cJSON_IsObject(campaign) ? error_set(err, ERR_MEMORY, "no memory for it")
                                        : error_set(err, ERR_INVALID, "it is not in the record");
    cJSON_Delete(root);
    if (code == 0)
        *ret_text = text;
    return code;
}

static int take_run(struct sqlite3_stmt *stmt, struct resume_run *ret_run, struct error *err)
{
    struct resume_run run = { .id = sql_col_int(stmt, 0) };
    char **const text[] = { &run.plan_hash,   &run.backend,      &run.operator_name, &run.tags,
                            &run.chip_serial, &run.network_hash, &run.dataset_hash };
    const char *snapshot = sql_col_text(stmt, 3);
    bool complete = true;

    snprintf(run.ulid, sizeof run.ulid, "%s", sql_col_text(stmt, 1));
    run.budget_s = sql_col_double(stmt, 11);
    run.begin_time_ns = sql_col_int(stmt, 12);
    run.begin_wall_ns = sql_col_int(stmt, 13);
    run.seed = strtoull(sql_col_text(stmt, 2), NULL, 10);
    for (int i = 0; i < (int)(sizeof text / sizeof *text); i++) {
        *text[i] = strdup(sql_col_text(stmt, 4 + i));
        complete = complete && *text[i] != NULL;
    }
    int code = sql_check_row(stmt, err);
    if (code == 0 && !complete)
        code = error_set(err, ERR_MEMORY, "no memory for run %s", run.ulid);
    if (code == 0 && (code = take_campaign(snapshot, &run.campaign_json, err)) != 0)
        error_prefix(err, "run %s: its campaign cannot be read back", run.ulid);
    if (code != 0) {
        resume_run_free(&run);
        return code;
    }
    *ret_run = run;
    return 0;
}

/* What it was told before its daemon ended; that it was resumed since says nothing about that. */
static int take_state(struct query *query, struct resume_run *run, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code =
        query_select(query, &stmt, err,
                     "SELECT state, reason FROM run_state WHERE run_id = ? AND state NOT IN ('interrupted',"
                     " 'resumed') ORDER BY id DESC LIMIT 1",
                     "l", run->id);

    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1) {
        snprintf(run->state, sizeof run->state, "%s", sql_col_text(stmt, 0));
        snprintf(run->reason, sizeof run->reason, "%s", sql_col_text(stmt, 1));
        code = sql_check_row(stmt, err);
    }
    sql_finish(stmt);
    return code;
}

int resume_find(struct query *query, struct resume_run *ret_run, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = query_select(query, &stmt, err,
                            "SELECT r.id, r.ulid, r.seed, r.plan, r.plan_hash, r.backend, r.operator, r.tags,"
                            " c.serial, r.network_hash, r.dataset_hash, r.budget_s, r.begin_time_ns,"
                            " r.begin_wall_ns FROM run r JOIN chip c ON c.id = r.chip_id"
                            " WHERE r.id = (SELECT max(id) FROM run) AND r.state = 'interrupted'",
                            "");

    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 1)
        code = take_run(stmt, ret_run, err);
    else if (code == 0)
        code = error_set(err, ERR_NOT_FOUND, "the newest run was not interrupted");
    sql_finish(stmt);
    if (code != 0)
        return code;
    code = take_state(query, ret_run, err);
    if (code != 0)
        resume_run_free(ret_run);
    return code;
}

static void take_point(struct sqlite3_stmt *stmt, struct resume_point *point)
{
    int verdict = verdict_from_name(sql_col_text(stmt, 3));

    *point = (struct resume_point){ .step = (int)sql_col_int(stmt, 0),
                                    .cell = (int)sql_col_int(stmt, 1),
                                    .attempts = (int)sql_col_int(stmt, 2),
                                    .verdict = verdict >= 0 ? verdict : VERDICT_NONE,
                                    .open = sql_col_null(stmt, 4),
                                    .attempt_id = sql_col_int(stmt, 5),
                                    .samples = (int)sql_col_int(stmt, 6),
                                    .order = sql_col_int(stmt, 7),
                                    .begin_time_ns = sql_col_int(stmt, 8) };
}

int resume_points(struct query *query, const struct resume_run *run, struct resume_point **ret_point,
                  int *ret_count, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    struct resume_point *list = NULL;
    int count = 0, room = 0;
    int code = query_select(
        query, &stmt, err,
        "SELECT v.step, v.cell, v.attempts, v.verdict, a.end_time_ns, v.attempt_id, coalesce((SELECT "
        "max(s.id)"
        " FROM sample s WHERE s.id BETWEEN v.attempt_id << 24 AND (v.attempt_id << 24) + 16777215) & "
        "16777215,"
        " -1) + 1, v.cell_id, a.begin_time_ns FROM verdict v JOIN attempt a ON a.id = v.attempt_id WHERE "
        "v.run_id = ? ORDER "
        "BY v.step,"
        " v.cell",
        "l", run->id);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        if (count == room) {
            room = room > 0 ? 2 * room : 64;
            struct resume_point *more = realloc(list, (size_t)room * sizeof *more);
            if (more == NULL) {
                code = error_set(err, ERR_MEMORY, "no memory for the points of run %s", run->ulid);
                break;
            }
            list = more;
        }
        take_point(stmt, &list[count++]);
        code = sql_check_row(stmt, err);
    }
    sql_finish(stmt);
    if (code < 0) {
        free(list);
        return code;
    }
    *ret_point = list;
    *ret_count = count;
    return 0;
}

int resume_steps(struct query *query, const struct resume_run *run, uint64_t *ret_steps, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    uint64_t steps = 0;
    int code = query_select(
        query, &stmt, err,
        "SELECT step FROM step WHERE run_id = ? AND end_time_ns IS NOT NULL AND code IN ('ok', 'skipped')",
        "l", run->id);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        int64_t step = sql_col_int(stmt, 0);
        if (step >= 0 && step < 64)
            steps |= 1ull << step;
        code = 0;
    }
    sql_finish(stmt);
    if (code == 0)
        *ret_steps = steps;
    return code;
}

int resume_values(struct query *query, int64_t attempt_id, resume_value_fn *each, void *context,
                  struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = query_select(query, &stmt, err,
                            "SELECT ch.name, rd.value, rd.uncertainty FROM reading rd JOIN channel ch"
                            " ON ch.id = rd.channel_id WHERE rd.id BETWEEN ?1 << 24 AND (?1 << 24) + 16777215"
                            " ORDER BY rd.id",
                            "l", attempt_id);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        const char *channel = sql_col_text(stmt, 0);

        code = sql_check_row(stmt, err);
        if (code == 0)
            each(context, channel, sql_col_double(stmt, 1), sql_col_double(stmt, 2));
    }
    sql_finish(stmt);
    return code;
}

int resume_samples(struct query *query, int64_t attempt_id, int first, struct record_sample *ret_sample,
                   int max, int *ret_count, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int count = 0;
    int code = query_select(query, &stmt, err,
                            "SELECT position, sample, label, prediction, cycles, status FROM sample"
                            " WHERE id BETWEEN (?1 << 24) + ?2 AND (?1 << 24) + 16777215 ORDER BY id",
                            "li", attempt_id, first);

    while (code == 0 && count < max && (code = sql_step(stmt, err)) == 1) {
        if (sql_col_int(stmt, 0) != first + count) {
            code = error_set(err, ERR_INTERNAL, "sample %d of attempt %lld is missing", first + count,
                             (long long)attempt_id);
            break;
        }
        ret_sample[count++] = (struct record_sample){ .sample = (int32_t)sql_col_int(stmt, 1),
                                                      .label = (int16_t)sql_col_int(stmt, 2),
                                                      .prediction = (int16_t)sql_col_int(stmt, 3),
                                                      .cycles = (uint32_t)sql_col_int(stmt, 4),
                                                      .status = (uint16_t)sql_col_int(stmt, 5) };
        code = 0;
    }
    sql_finish(stmt);
    if (code < 0)
        return code;
    *ret_count = count;
    return 0;
}

/* None where it is no list of numbers. */
static int take_numbers(const char *text, double value[RESUME_COEFFICIENTS_MAX], int *ret_count,
                        struct error *err)
{
    cJSON *list = NULL;
    int count = 0;

    int code = json_parse(text, strlen(text), &list, err);
    if (code == ERR_MEMORY)
        return code;
    for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL;
         item != NULL && count < RESUME_COEFFICIENTS_MAX; item = item->next)
        value[count++] = cJSON_IsNumber(item) ? item->valuedouble : 0.0;
    cJSON_Delete(list);
    *ret_count = count;
    return 0;
}

static int give_calibration(struct sqlite3_stmt *stmt, const char *kind, resume_calibration_fn *each,
                            void *context, struct error *err)
{
    double value[RESUME_COEFFICIENTS_MAX];
    struct record_calibration calibration = { .key = sql_col_text(stmt, 1),
                                              .kind = kind,
                                              .coefficient = value,
                                              .validity_s = sql_col_double(stmt, 3),
                                              .time_ns = sql_col_int(stmt, 4) };
    const char *coefficients = sql_col_text(stmt, 2);

    int code = sql_check_row(stmt, err);
    if (code == 0)
        code = take_numbers(coefficients, value, &calibration.coefficient_count, err);
    if (code == 0)
        each(context, sql_col_int(stmt, 0), &calibration);
    return code;
}

int resume_calibrations(struct query *query, const struct resume_run *run, const char *kind,
                        resume_calibration_fn *each, void *context, struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int code = query_select(
        query, &stmt, err,
        "SELECT id, key, coefficients, validity_s, time_ns FROM calibration WHERE run_id = ? AND kind = ?"
        " ORDER BY id",
        "lt", run->id, kind);

    while (code == 0 && (code = sql_step(stmt, err)) == 1)
        code = give_calibration(stmt, kind, each, context, err);
    sql_finish(stmt);
    return code;
}

int resume_event(struct query *query, const struct resume_run *run, const char *kind, char **ret_details,
                 struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    char *details = NULL;
    int code = query_select(query, &stmt, err,
                            "SELECT coalesce(details, '') FROM event WHERE run_id = ? AND kind = ?"
                            " ORDER BY id LIMIT 1",
                            "lt", run->id, kind);

    if (code == 0)
        code = sql_step(stmt, err);
    if (code == 0)
        code = error_set(err, ERR_NOT_FOUND, "run %s has no event \"%s\"", run->ulid, kind);
    if (code == 1) {
        details = strdup(sql_col_text(stmt, 0));
        code = sql_check_row(stmt, err);
        if (code == 0 && details == NULL)
            code = error_set(err, ERR_MEMORY, "no memory for an event of run %s", run->ulid);
    }
    sql_finish(stmt);
    if (code < 0) {
        free(details);
        return code;
    }
    *ret_details = details;
    return 0;
}

int resume_fruitless(struct query *query, const struct resume_run *run, const char *details, int *ret_count,
                     struct error *err)
{
    struct sqlite3_stmt *stmt = NULL;
    int count = 0;
    int code = query_select(query, &stmt, err,
                            "SELECT coalesce(details, '') FROM event WHERE run_id = ? AND kind = 'resumed'"
                            " ORDER BY id DESC LIMIT 100",
                            "l", run->id);

    while (code == 0 && (code = sql_step(stmt, err)) == 1) {
        bool same = strcmp(details, sql_col_text(stmt, 0)) == 0;

        code = sql_check_row(stmt, err);
        if (!same)
            break;
        count++;
    }
    sql_finish(stmt);
    if (code < 0)
        return code;
    *ret_count = count;
    return 0;
}
