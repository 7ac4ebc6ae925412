/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * watch: follows a run.
 */
#include "daemon/client/watch.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "daemon/client/args.h"
#include "daemon/client/show.h"

enum { BAR_WIDTH = 24, RETRIES = 10, ENDED = 2, ROW_MAX = 200 };

struct watch {
    struct remote *remote;
    struct remote *asking; /* the same daemon, while the stream occupies the first */
    FILE *out;
    const volatile sig_atomic_t *interrupted;
    bool terminal, line_shown;
    uint64_t last_id;
    char run[40];      /* that is followed; "" until it is known */
    char step[80];     /* last one announced */
    char row[ROW_MAX]; /* last one printed */
    cJSON *status;
    struct error error;
};

static const struct {
    const char *state;
    int code;
} end_states[] = {
    { "completed", EXIT_OK },    { "done", EXIT_OK },         { "idle", EXIT_OK },
    { "stopped", EXIT_ABORTED }, { "aborted", EXIT_ABORTED }, { "estop", EXIT_ABORTED },
    { "failed", EXIT_FAILED },   { "tripped", EXIT_FAILED },  { "interrupted", EXIT_FAILED },
};

int watch_exit_of(const char *state)
{
    for (size_t i = 0; i < sizeof end_states / sizeof end_states[0]; i++)
        if (strcmp(end_states[i].state, state) == 0)
            return end_states[i].code;
    return EXIT_FAILED;
}

/* Share that is done: by samples where there are any, else by points, else by steps. */
static double fraction_done(const cJSON *progress)
{
    static const char *const pairs[][2] = { { "samples_done", "samples_total" },
                                            { "points_done", "points_total" },
                                            { "step", "steps" } };
    double elapsed_s = show_number(progress, "elapsed_s"), eta_s = show_number(progress, "eta_s");

    if (elapsed_s > 0 && eta_s > 0)
        return elapsed_s / (elapsed_s + eta_s);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        double done = show_number(progress, pairs[i][0]), total = show_number(progress, pairs[i][1]);

        if (total > 0 && done >= 0)
            return done < total ? done / total : 1.0;
    }
    return 0;
}

char *watch_line(const cJSON *progress, int width, char out[WATCH_LINE_MAX])
{
    double fraction = fraction_done(progress), eta_s = show_number(progress, "eta_s");
    char bar[BAR_WIDTH + 1], left[40] = "";
    int filled = (int)floor(fraction * BAR_WIDTH);

    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '-';
    bar[BAR_WIDTH] = '\0';
    if (isfinite(eta_s) && eta_s > 0)
        text_duration(eta_s, left, sizeof left);
    int length =
        snprintf(out, WATCH_LINE_MAX, "[%s] %3.0f %%  step %.0f of %.0f %s  points %.0f of %.0f%s%s", bar,
                 100 * fraction, show_number(progress, "step") + 1, show_number(progress, "steps"),
                 show_text(progress, "name"), show_number(progress, "points_done"),
                 show_number(progress, "points_total"), left[0] != '\0' ? "  left " : "", left);
    if (length > width && width > 0 && width < WATCH_LINE_MAX)
        out[width] = '\0';
    return out;
}

static void clear_line(struct watch *watch)
{
    if (watch->line_shown)
        fputs("\r\033[K", watch->out);
    watch->line_shown = false;
}

static void draw(struct watch *watch, const cJSON *progress)
{
    char line[WATCH_LINE_MAX];
    const char *row = show_text(progress, "row");

    if (strcmp(row, "-") != 0 && strcmp(row, watch->row) != 0) {
        clear_line(watch);
        fprintf(watch->out, "%s\n", row);
        snprintf(watch->row, sizeof watch->row, "%.*s", ROW_MAX - 1, row);
    }
    if (watch->terminal) {
        clear_line(watch);
        fputs(watch_line(progress, 110, line), watch->out);
        watch->line_shown = true;
    } else if (strcmp(watch->step, show_text(progress, "name")) != 0 &&
               isfinite(show_number(progress, "steps"))) {
        const char *kind = show_text(progress, "kind"), *name = show_text(progress, "name");
        bool named = strncmp(name, kind, strlen(kind)) != 0; /* "power 2" says what it is */

        fprintf(watch->out, "step %.0f of %.0f: %s%s%s\n", show_number(progress, "step") + 1,
                show_number(progress, "steps"), named ? kind : "", named ? " " : "", name);
        snprintf(watch->step, sizeof watch->step, "%s", show_text(progress, "name"));
    }
    fflush(watch->out);
}

/* Asks for the status; ENDED when the run is not under way (any more). */
static int look(struct watch *watch)
{
    cJSON *status;

    int rc = remote_get_json(watch->asking, "/api/v1/status", &status, &watch->error);
    if (rc != 0)
        return rc;
    cJSON_Delete(watch->status);
    watch->status = status;
    if (watch->run[0] == '\0')
        snprintf(watch->run, sizeof watch->run, "%s", show_text(status, "run"));
    return show_true(status, "busy") && strcmp(show_text(status, "run"), watch->run) == 0 ? 0 : ENDED;
}

/* The next of the queue may have begun since: the store knows how the one that was followed has ended. */
static int look_back(struct watch *watch)
{
    static const char *const members[] = { "state", "message", "code", "campaign" };
    char path[80];
    cJSON *run;

    if (strcmp(show_text(watch->status, "run"), watch->run) == 0)
        return 0;
    snprintf(path, sizeof path, "/api/v1/runs/%s", watch->run);
    int rc = remote_get_json(watch->asking, path, &run, &watch->error);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        cJSON_ReplaceItemInObjectCaseSensitive(watch->status, members[i],
                                               cJSON_CreateString(show_text(run, members[i])));
    cJSON_ReplaceItemInObjectCaseSensitive(watch->status, "run", cJSON_CreateString(watch->run));
    cJSON_ReplaceItemInObjectCaseSensitive(watch->status, "busy", cJSON_CreateFalse());
    cJSON_Delete(run);
    return 0;
}

static int on_event(void *context, const struct sse_event *event)
{
    struct watch *watch = context;
    cJSON *data;

    watch->last_id = event->id;
    if (*watch->interrupted)
        return WATCH_INTERRUPTED;
    if (strcmp(event->kind, "progress") != 0 && strcmp(event->kind, "point") != 0 &&
        strcmp(event->kind, "state") != 0)
        return 0;
    if (json_parse(event->data, strlen(event->data), &data, NULL) != 0)
        return 0; /* "truncated", or a kind of a later daemon */
    bool end = show_true(data, "end");
    if (strcmp(show_text(data, "run"), watch->run) != 0) {
        cJSON_Delete(data);
        return 0;
    }
    if (!end && cJSON_GetObjectItemCaseSensitive(data, "steps") != NULL)
        draw(watch, data);
    cJSON_Delete(data);
    return end ? look(watch) : 0;
}

static int on_tick(void *context)
{
    struct watch *watch = context;

    return *watch->interrupted ? WATCH_INTERRUPTED : look(watch);
}

int watch_run(struct remote *remote, struct remote *asking, const char *run,
              const volatile sig_atomic_t *interrupted, FILE *out, cJSON **ret_status, struct error *err)
{
    struct watch watch = { .remote = remote, .asking = asking, .out = out, .interrupted = interrupted };
    int rc = 0;

    snprintf(watch.run, sizeof watch.run, "%s", run);
    watch.terminal = isatty(fileno(out)) == 1;
    for (int tries = 0; tries < RETRIES; tries++) {
        rc = look(&watch);
        if (rc != 0)
            break;
        if (watch.last_id == 0)
            watch.last_id = (uint64_t)fmax(show_number(watch.status, "last_event"), 0);
        rc = remote_events(remote, watch.last_id, on_event, on_tick, &watch, &watch.error);
        if (rc != ERR_LINK) /* a broken stream is taken up again */
            break;
        sleep(1);
    }
    clear_line(&watch);
    if (rc == ENDED)
        rc = look_back(&watch) == 0 ? ENDED : watch.error.code;
    if (rc == ENDED) {
        *ret_status = watch.status;
        return 0;
    }
    cJSON_Delete(watch.status);
    if (rc < 0 && err != NULL)
        *err = watch.error;
    return rc;
}
