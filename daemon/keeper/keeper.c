/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * keeper: the ports that can energise, what they are found doing at the start, and the running of the undo
 * list. */
#include "daemon/keeper/keeper.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/base/json.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/keeper/call.h"
#include "instruments/keeper_client.h"

enum { PATH_ROOM = 320, REPORT_MAX = 1 << 20 };

/* ---- The undo list ---- */
static void publish(struct keeper *keeper)
{
    supervise_store(keeper->options.page, &keeper->undo, keeper->latched, &keeper->latch);
}

int keeper_arm(struct keeper *keeper, const struct undo_step *step, struct error *err)
{
    int code = undo_add(&keeper->undo, step, err);
    if (!code)
        publish(keeper);
    return code;
}

static void name_target(const struct keeper *keeper, const struct undo_step *step, char *out, size_t size)
{
    const struct bench_file *file = keeper->file;
    if (step->kind == UNDO_SPI_RELEASE)
        snprintf(out, size, "%s",
                 file->spi_instrument >= 0 ? file->instrument[file->spi_instrument].name : "spi");
    else
        snprintf(out, size, "%s", file->channel[step->channel].name);
}

static struct call *post_off(struct keeper *keeper, const struct undo_step *step)
{
    const struct bench_file *file = keeper->file;
    if (step->kind == UNDO_SPI_RELEASE)
        return call_post(keeper, MESSAGE_SAFE_OFF, file->spi_instrument, 0, PORT_SAFE);
    const struct bench_channel *ch = &file->channel[step->channel];
    return call_post(keeper, MESSAGE_SAFE_OFF, ch->instrument, ch->number, PORT_SAFE);
}

static void judge(const struct call *call, bool overtaken, struct keeper_step *out)
{
    const struct port_request *request = &call->request;
    if (!call_answered(call) && overtaken)
        snprintf(out->text, sizeof out->text, "no confirmation before an emergency stop came");
    else if (!call_answered(call))
        snprintf(out->text, sizeof out->text, "no confirmation within the step's time");
    else if (request->message.code)
        snprintf(out->text, sizeof out->text, "%s: %.120s", error_name(request->message.code),
                 request->error.message);
    else if (request->message.value[0] != 0)
        snprintf(out->text, sizeof out->text, "read back says it is still on");
    else
        out->confirmed = true;
}

/* One barrier: every step side by side, each within its time. Confirmed steps leave the list. False when an
 * emergency stop has come meanwhile. */
static bool run_barrier(struct keeper *keeper, bool emergency, int barrier)
{
    struct call *call[UNDO_STEPS_MAX] = { NULL };
    int index[UNDO_STEPS_MAX], count = 0;
    int64_t start_ns = clock_host_now();
    for (int i = 0; i < keeper->undo.count; i++) {
        if (undo_barrier(&keeper->undo.step[i], emergency) != barrier)
            continue;
        index[count] = i;
        call[count++] = post_off(keeper, &keeper->undo.step[i]);
    }
    bool overtaken = !call_wait(keeper, call, count, call_limit_ns(), !emergency);
    for (int i = count - 1; i >= 0; i--) { /* from the end, since confirmed steps are removed */
        struct keeper_step done = { .barrier = barrier, .elapsed_ns = clock_host_now() - start_ns };
        name_target(keeper, &keeper->undo.step[index[i]], done.target, sizeof done.target);
        if (call[i])
            judge(call[i], overtaken, &done);
        else
            snprintf(done.text, sizeof done.text, "too many requests are still waiting for an answer");
        call_free(call[i]);
        if (done.confirmed)
            undo_remove(&keeper->undo, index[i]);
        if (keeper->step_count < (int)(sizeof keeper->step / sizeof *keeper->step))
            keeper->step[keeper->step_count++] = done;
        if (!done.confirmed)
            log_with(LOG_ERR, &(struct log_about){ .channel = done.target }, "%s is not confirmed off: %s",
                     done.target, done.text);
    }
    publish(keeper);
    return !overtaken;
}

static bool run_barriers(struct keeper *keeper, bool emergency)
{
    int barrier = UNDO_BARRIER_MAX + 1;
    while (undo_next_barrier(&keeper->undo, emergency, barrier, &barrier)) {
        if (!run_barrier(keeper, emergency, barrier))
            return false;
    }
    return true;
}

/* In the order that is wanted, or, once an emergency stop has come, in its order: what answers is off at once
 * then, whatever the ordinary order was waiting for. The stop itself is read and latched when we are done. */
static void run_all(struct keeper *keeper, bool *emergency)
{
    if (run_barriers(keeper, *emergency))
        return;
    log_notice("an emergency stop has come: what is left is switched off in emergency order");
    *emergency = true;
    run_barriers(keeper, true);
}

/* An emergency stop does not trust the list alone: whatever the bench file can switch is switched off behind
 * it. */
static void add_everything(struct keeper *keeper)
{
    const struct bench_file *file = keeper->file;
    for (int i = 0; i < file->channel_count; i++) {
        const struct bench_channel *ch = &file->channel[i];
        struct undo_step step = { .kind = UNDO_OUTPUT_OFF, .channel = i };
        bool wired = ch->rail[0] || i == file->source_channel;
        if (ch->can_source && wired && undo_find(&keeper->undo, UNDO_OUTPUT_OFF, i) < 0)
            undo_add(&keeper->undo, &step, NULL);
    }
    struct undo_step spi = { .kind = UNDO_SPI_RELEASE, .channel = -1 };
    if (file->spi_instrument >= 0 && undo_find(&keeper->undo, UNDO_SPI_RELEASE, -1) < 0)
        undo_add(&keeper->undo, &spi, NULL);
}

static void report(struct keeper *keeper, bool emergency, const char *reason, int64_t wall_ns,
                   int64_t elapsed_ns)
{
    char when[40], path[PATH_ROOM];
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "time", text_time(wall_ns, when, sizeof when));
    cJSON_AddStringToObject(root, "bench", keeper->file->name);
    cJSON_AddStringToObject(root, "reason", reason);
    cJSON_AddBoolToObject(root, "emergency", emergency);
    json_add_number(root, "missed", keeper->undo.count);
    json_add_number(root, "elapsed_s", (double)elapsed_ns / 1e9);
    cJSON *steps = cJSON_AddArrayToObject(root, "steps");
    for (int i = 0; i < keeper->step_count; i++) {
        const struct keeper_step *step = &keeper->step[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(steps, item);
        cJSON_AddStringToObject(item, "target", step->target);
        json_add_number(item, "barrier", step->barrier);
        cJSON_AddBoolToObject(item, "confirmed", step->confirmed);
        json_add_number(item, "elapsed_s", (double)step->elapsed_ns / 1e9);
        if (!step->confirmed)
            cJSON_AddStringToObject(item, "text", step->text);
    }
    char *text = json_print(root, false);
    cJSON_Delete(root);
    if (!text)
        return;
    free(keeper->last_safe);
    keeper->last_safe = text;
    struct error err = { 0 };
    snprintf(path, sizeof path, "%s.last-safe.json", keeper->options.socket_path);
    if (text_write_file(path, text, strlen(text), &err))
        log_error("report of the safe state", &err);
}

static int run_list(struct keeper *keeper, bool emergency, bool all, const char *reason)
{
#ifdef KEEPER_WITHOUT_UNDO /* the variant that tests/fault builds to show that its judge can fail */
    (void)emergency;
    (void)all;
    (void)reason;
    return 0;
#endif
    if (keeper->undo.count == 0 && !all)
        return 0;
    int64_t start_ns = clock_host_now(), wall_ns = clock_wall_now();
    keeper->step_count = 0;
    log_notice("safe state: %s (%s order, %d steps armed)", reason, emergency ? "emergency" : "ordinary",
               keeper->undo.count);
    run_all(keeper, &emergency);
    if (all)
        add_everything(keeper);
    if (keeper->undo.count > 0)
        run_all(keeper, &emergency); /* once more for what did not confirm, and for what was not armed */
    int missed = keeper->undo.count;
    int64_t elapsed_ns = clock_host_now() - start_ns;
    report(keeper, emergency, reason, wall_ns, elapsed_ns);
    log_line(missed ? LOG_ERR : LOG_NOTICE, "safe state reached after %.0f ms, %d steps not confirmed",
             (double)elapsed_ns / 1e6, missed);
    return missed;
}

/* Each list that is run, also the last one of all, tries it again where it has failed. */
static void keep_latch(struct keeper *keeper)
{
    struct error err = { 0 };
    if (!keeper->latched || keeper->latch_kept)
        return;
    supervise_beat(keeper->options.page);
    keeper->latch_kept = latch_file_write(keeper->latch_path, &keeper->latch, &err) == 0;
    if (!keeper->latch_kept)
        log_line(LOG_ERR,
                 "THE LATCH IS NOT ON DISK: it holds, but would end with this keeper and its parent: %s",
                 err.message);
}

/* The latch goes to the disk last: one that hangs must not delay an OFF. What is latched has been in force,
 * here and in the page, since before the list began. */
int keeper_safe(struct keeper *keeper, bool emergency, bool all, const char *reason)
{
    int missed = run_list(keeper, emergency, all, reason);
    keep_latch(keeper);
    return missed;
}

void keeper_latch(struct keeper *keeper, const char *reason)
{
    if (keeper->latched) { /* the cause stays what is told */
        if (strcmp(keeper->latch.reason, reason) != 0)
            log_notice("latched already, and now: %s", reason);
        return;
    }
    keeper->latched = true;
    keeper->latch_kept = false;
    keeper->latch.wall_ns = clock_wall_now();
    snprintf(keeper->latch.reason, sizeof keeper->latch.reason, "%s", reason);
    publish(keeper);
    log_notice("latched: %s", reason);
}

/* The file first: who dies in between leaves a page that says latched, and the next keeper believes it. */
int keeper_unlatch(struct keeper *keeper, struct error *err)
{
    int code = text_remove_file(keeper->latch_path, err);
    if (code)
        return code;
    keeper->latched = keeper->latch_kept = false;
    keeper->latch = (struct latch_record){ 0 };
    publish(keeper);
    return 0;
}

/* ---- Opening ---- */
static int open_ports(struct keeper *keeper, struct error *err)
{
    struct port_options options = {
        .clock = keeper->clock,
        .links_path = keeper->options.links_path,
        .trace_dir = keeper->options.trace_dir,
    };
    for (int i = 0; i < keeper->file->instrument_count; i++) {
        int line_of = keeper->file->instrument[i].line_of;
        if (!keeper->file->instrument[i].energises)
            continue;
        int code = 0;
        if (line_of)
            keeper->port[i] = keeper->port[line_of - 1];
        else
            code = port_open(keeper->file, i, &options, &keeper->port[i], err);
        if (code)
            return code;
    }
    return 0;
}

/* Order for an output that is found on: as the bench file lists the rails, the last one first, the test
 * source before them. */
static int adopted_barrier(const struct bench_file *file, const struct bench_channel *ch)
{
    cJSON *root = NULL;
    int barrier = UNDO_BARRIER_MAX;
    if (!ch->rail[0] || json_parse(file->json, strlen(file->json), &root, NULL))
        return barrier;
    const cJSON *rails = cJSON_GetObjectItemCaseSensitive(root, "rails");
    for (int i = 0; i < cJSON_GetArraySize(rails); i++) {
        if (strcmp(cJSON_GetArrayItem(rails, i)->string, ch->rail) == 0)
            barrier = i;
    }
    cJSON_Delete(root);
    return barrier;
}

static void adopt_one(struct keeper *keeper, const struct call *call, int channel)
{
    const struct message *m = &call->request.message;
    if (!call_answered(call))
        return;
    if (m->code) {
        log_error("reading the outputs at start", &call->request.error);
        return;
    }
    if (!(m->flags & MESSAGE_ON))
        return;
    const struct bench_channel *ch = &keeper->file->channel[channel];
    int barrier = adopted_barrier(keeper->file, ch);
    struct undo_step step = {
        .kind = UNDO_OUTPUT_OFF, .channel = channel, .barrier = barrier, .emergency_barrier = barrier
    };
    if (undo_find(&keeper->undo, UNDO_OUTPUT_OFF, channel) < 0)
        keeper_arm(keeper, &step, NULL);
    log_with(LOG_WARNING, &(struct log_about){ .channel = ch->name }, "%s was found switched on: adopted",
             ch->name);
}

/* Reads which outputs are on; whatever is gets an undo, so that it can be switched off in a sensible order.
 * The pins of a bridge cannot be read: where an output is on they are taken for driven. */
static void adopt(struct keeper *keeper)
{
    struct call *call[BENCH_CHANNELS_MAX] = { NULL };
    const struct bench_file *file = keeper->file;
    for (int i = 0; i < file->channel_count; i++) {
        const struct bench_channel *ch = &file->channel[i];
        if (ch->can_source && keeper->port[ch->instrument])
            call[i] = call_post(keeper, MESSAGE_STATE, ch->instrument, ch->number, PORT_NORMAL);
    }
    call_wait(keeper, call, file->channel_count, 10 * call_limit_ns(), false);
    for (int i = 0; i < file->channel_count; i++) {
        if (call[i])
            adopt_one(keeper, call[i], i);
        call_free(call[i]);
    }
    struct undo_step pins = { .kind = UNDO_SPI_RELEASE,
                              .channel = -1,
                              .barrier = UNDO_BARRIER_MAX,
                              .emergency_barrier = UNDO_BARRIER_MAX };
    if (keeper->undo.count > 0 && file->spi_instrument >= 0)
        keeper_arm(keeper, &pins, NULL);
}

/* What a keeper that died had armed is switched off before anything else. Nobody owns it any more: the
 * clients' connections ended with it. */
static void inherit(struct keeper *keeper)
{
    const struct supervise_page *page = keeper->options.page;
    char reason[KEEPER_REASON_MAX];
    if (!page || page->generation == 0)
        return;
    const struct supervise_state *state = supervise_state(page);
    keeper->undo = state->undo;
    keeper->latched = state->latched;
    keeper->latch = state->latch;
    for (int i = 0; i < keeper->undo.count; i++)
        keeper->undo.step[i].owner = 0;
    snprintf(reason, sizeof reason, "the keeper died (wait status 0x%x) and was replaced", page->last_status);
    keeper_safe(keeper, keeper->latched, false, reason);
}

/* Latched by the page, or else by the file of a keeper that has ended; a disk that hangs is met after the
 * list of one that died. */
static void recall_latch(struct keeper *keeper)
{
    char when[40];
    if (!keeper->latched) {
        keeper->latched = keeper->latch_kept = latch_file_read(keeper->latch_path, &keeper->latch);
        publish(keeper);
    }
    if (keeper->latched)
        log_warning("latched since %s: %s",
                    keeper->latch.wall_ns ? text_time(keeper->latch.wall_ns, when, sizeof when)
                                          : "nobody knows when",
                    keeper->latch.reason);
}

static void load_last_safe(struct keeper *keeper)
{
    char path[PATH_ROOM];
    size_t n;
    snprintf(path, sizeof path, "%s.last-safe.json", keeper->options.socket_path);
    if (text_read_file(path, REPORT_MAX, &keeper->last_safe, &n, NULL))
        keeper->last_safe = NULL;
}

int keeper_open(const struct keeper_options *options, struct keeper **ret, struct error *err)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper)
        return error_set(err, ERR_MEMORY, "keeper");
    keeper->options = *options;
    keeper->lock_fd = keeper->done_fd = -1;
    int code = latch_file_path(options->state_dir, options->socket_path, keeper->latch_path, err);
    if (!code && !options->page)
        code = supervise_lock(options->socket_path, &keeper->lock_fd, err);
    if (!code) {
        keeper->calls = call_store_new();
        if (!keeper->calls)
            code = error_set(err, ERR_MEMORY, "keeper");
    }
    if (!code)
        code = bench_file_load(options->bench_path, &keeper->file, NULL, err);
    if (!code) {
        keeper->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (keeper->done_fd < 0)
            code = error_set_errno(err, errno, "eventfd");
    }
    if (!code)
        code = clock_open(options->clock_path, &keeper->clock, err);
    if (!code)
        code = clock_actor_open(keeper->clock, "keeper", CLOCK_RANK_KEEPER, &keeper->actor, err);
    if (!code) {
        struct observer_options observer = {
            .file = keeper->file, .clock = keeper->clock, .actor = keeper->actor, .port = keeper->port
        };
        code = observer_open(&observer, &keeper->observer, err);
    }
    if (!code)
        code = open_ports(keeper, err);
    if (code) {
        keeper_close(keeper);
        return code;
    }
    load_last_safe(keeper);
    inherit(keeper);
    recall_latch(keeper);
    adopt(keeper);
    *ret = keeper;
    return 0;
}

void keeper_close_ports(struct keeper *keeper)
{
    for (int i = 0; keeper->file && i < keeper->file->instrument_count; i++) {
        if (!keeper->file->instrument[i].line_of)
            port_close(keeper->port[i]);
        keeper->port[i] = NULL;
    }
}

void keeper_close(struct keeper *keeper)
{
    if (!keeper)
        return;
    keeper_close_ports(keeper);
    observer_close(keeper->observer);
    clock_actor_close(keeper->actor);
    clock_close(keeper->clock);
    bench_file_free(keeper->file);
    if (keeper->done_fd >= 0)
        close(keeper->done_fd);
    if (keeper->lock_fd >= 0)
        close(keeper->lock_fd);
    free(keeper->last_safe);
    free(keeper->calls);
    free(keeper);
}
