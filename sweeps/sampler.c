/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sampler: one thread. The ring of passes and `failure` are guarded by `lock`; everything else belongs to the
 * thread while it runs. */
#include "sweeps/sampler.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/base/log.h"

enum {
    LOST_IN_A_ROW_MAX = 50
}; /* passes: an instrument that stays away for so long will not come back by itself */
#define CLOSE_HOST_LIMIT_NS (30 * NS_PER_S) /* a thread that has not ended by then hangs in a port */

struct pass {
    int64_t begin_ns, end_ns; /* from the first aperture's begin to the last one's end */
    float volt_v[PROFILE_RAILS_MAX], current_a[PROFILE_RAILS_MAX];
    float u_volt_v[PROFILE_RAILS_MAX], u_current_a[PROFILE_RAILS_MAX]; /* the instruments' */
    uint32_t flags;                                                    /* of all its readings, or-ed */
};

struct sampler {
    struct sampler_options options;
    int rails;
    const struct bench_channel *channel[PROFILE_RAILS_MAX];
    int rounds, round[2 * PROFILE_RAILS_MAX]; /* of each reading: volts of all rails, then amperes */
    char volt_name[PROFILE_RAILS_MAX][RECORD_NAME_MAX], current_name[PROFILE_RAILS_MAX][RECORD_NAME_MAX];

    pthread_t thread;
    atomic_bool stop;
    atomic_int slot, closer_slot; /* clock slots of the thread and of who waits for its end */
    sem_t registered;             /* posted once the thread is an actor, or cannot be one */
    int cut_fd, done_fd;

    pthread_mutex_t lock;
    struct pass *pass; /* ring of SAMPLER_PASSES_MAX */
    int64_t passes;    /* ever */
    struct error failure;

    /* Not yet handed to the sink. */
    int held;
    int64_t held_ns[2 * PROFILE_RAILS_MAX][SAMPLER_FLUSH];
    float held_value[2 * PROFILE_RAILS_MAX][SAMPLER_FLUSH];
};

static int flush(struct sampler *sampler, struct error *err)
{
    const struct record_sink *sink = sampler->options.sink;

    for (int i = 0; i < 2 * sampler->rails && sampler->held > 0; i++) {
        bool volts = i < sampler->rails;
        struct record_trace trace = {
            .channel = volts ? sampler->volt_name[i] : sampler->current_name[i - sampler->rails],
            .unit = volts ? UNIT_VOLT : UNIT_AMPERE,
            .time_ns = sampler->held_ns[i],
            .value = sampler->held_value[i],
            .count = sampler->held,
        };
        int rc = sink->trace(sink->context, &trace, err);
        if (rc < 0)
            return rc;
    }
    sampler->held = 0;
    return 0;
}

/* Puts one pass into the ring and into what is held for the sink. */
static void keep(struct sampler *sampler, const struct bench_read *reads)
{
    struct pass pass = { .begin_ns = INT64_MAX, .end_ns = INT64_MIN };

    for (int i = 0; i < sampler->rails; i++) {
        const struct reading *volt = &reads[i].reading, *current = &reads[sampler->rails + i].reading;
        int64_t aperture_ns = (int64_t)(sampler->channel[i]->measure_s * NS_PER_S);
        pass.volt_v[i] = (float)volt->value;
        pass.current_a[i] = (float)current->value;
        pass.u_volt_v[i] = (float)volt->uncertainty;
        pass.u_current_a[i] = (float)current->uncertainty;
        pass.begin_ns =
            volt->time_ns - aperture_ns < pass.begin_ns ? volt->time_ns - aperture_ns : pass.begin_ns;
        pass.begin_ns =
            current->time_ns - aperture_ns < pass.begin_ns ? current->time_ns - aperture_ns : pass.begin_ns;
        pass.end_ns = volt->time_ns > pass.end_ns ? volt->time_ns : pass.end_ns;
        pass.end_ns = current->time_ns > pass.end_ns ? current->time_ns : pass.end_ns;
        pass.flags |= volt->flags | current->flags;
        sampler->held_ns[i][sampler->held] = volt->time_ns;
        sampler->held_value[i][sampler->held] = (float)volt->value;
        sampler->held_ns[sampler->rails + i][sampler->held] = current->time_ns;
        sampler->held_value[sampler->rails + i][sampler->held] = (float)current->value;
    }
    sampler->held++;

    pthread_mutex_lock(&sampler->lock);
    sampler->pass[sampler->passes % SAMPLER_PASSES_MAX] = pass;
    sampler->passes++;
    pthread_mutex_unlock(&sampler->lock);
}

/* One reading per instrument and round: instruments work in parallel, and whatever the runner asks of one of
 * them waits for a single reading at most. */
static void schedule(struct sampler *sampler)
{
    int busy[BENCH_INSTRUMENTS_MAX] = { 0 };

    for (int i = 0; i < 2 * sampler->rails; i++) {
        int instrument = sampler->channel[i % sampler->rails]->instrument;
        sampler->round[i] = busy[instrument]++;
        if (busy[instrument] > sampler->rounds)
            sampler->rounds = busy[instrument];
    }
}

/* All rails once. */
static int read_pass(struct sampler *sampler, struct bench_client *client, struct bench_read *reads,
                     struct error *err)
{
    for (int round = 0; round < sampler->rounds; round++) {
        struct bench_read now[2 * PROFILE_RAILS_MAX];
        int index[2 * PROFILE_RAILS_MAX], count = 0;

        for (int i = 0; i < 2 * sampler->rails; i++) {
            if (sampler->round[i] != round)
                continue;
            index[count] = i;
            now[count++] =
                (struct bench_read){ .channel = sampler->channel[i % sampler->rails],
                                     .quantity = i < sampler->rails ? QUANTITY_VOLTAGE : QUANTITY_CURRENT };
        }
        int rc = bench_read_many(client, now, count, err);
        if (rc < 0)
            return rc;
        for (int i = 0; i < count; i++)
            reads[index[i]] = now[i];
    }
    return 0;
}

static int tell(struct sampler *sampler, const char *text, struct error *err)
{
    const struct record_sink *sink = sampler->options.sink;
    struct record_event event = { .kind = "note",
                                  .text = text,
                                  .time_ns = clock_now(sampler->options.clock),
                                  .wall_ns = clock_wall_now() };

    return sink->event(sink->context, &event, err);
}

/* A pass that failed leaves a gap in the log. The first of several is told, and so is the recovery; what can
 * only get worse (safe state, cancellation) and what lasts too long ends the sampler. */
static int after_pass(struct sampler *sampler, int code, int *lost, struct error *err)
{
    char text[ERROR_TEXT_MAX + 64];

    if (code == 0) {
        int before = *lost;
        *lost = 0;
        if (before == 0)
            return 0;
        snprintf(text, sizeof text, "continuous logging goes on: a gap of %d passes", before);
        return tell(sampler, text, err);
    }
    (*lost)++;
    if (code == ERR_FENCED || code == ERR_CANCELLED || code == ERR_TRIPPED || *lost > LOST_IN_A_ROW_MAX)
        return code;
    if (*lost > 1)
        return 0;
    snprintf(text, sizeof text, "continuous logging has a gap: %s", err->message);
    return tell(sampler, text, err);
}

static int sample_until_stopped(struct sampler *sampler, struct clock_actor *actor,
                                struct bench_client *client, struct error *err)
{
    int64_t period_ns = (int64_t)(sampler->options.period_s * NS_PER_S);
    int lost = 0;

    /* Whoever has opened the sampler runs on at this instant, beside it: the first pass is an event of its
     * own, so that the host does not choose which of their requests comes first. */
    int64_t due_ns = clock_now(sampler->options.clock) + 1;
    int waited = clock_sleep_until(actor, due_ns, sampler->cut_fd);
    if (waited < 0 && waited != ERR_CANCELLED)
        return error_set(err, waited, "the sampler cannot wait");
    while (!atomic_load(&sampler->stop)) {
        struct bench_read reads[2 * PROFILE_RAILS_MAX];
        int code = read_pass(sampler, client, reads, err);
        int rc = after_pass(sampler, code, &lost, err);
        if (rc < 0)
            return rc;
        if (code == 0)
            keep(sampler, reads);
        if (sampler->held == SAMPLER_FLUSH) {
            rc = flush(sampler, err);
            if (rc < 0)
                return rc;
        }
        /* Late passes are not made up for: the period starts again from now. */
        due_ns += period_ns;
        if (due_ns < clock_now(sampler->options.clock))
            due_ns = clock_now(sampler->options.clock);
        rc = clock_sleep_until(actor, due_ns, sampler->cut_fd);
        if (rc < 0 && rc != ERR_CANCELLED)
            return error_set(err, rc, "the sampler cannot wait");
    }
    return 0;
}

static void *thread_main(void *context)
{
    struct sampler *sampler = context;
    struct clock_actor *actor = NULL;
    struct bench_client *client = NULL;
    struct error err = { 0 };
    uint64_t one = 1;

    int rc = clock_actor_open(sampler->options.clock, "sampler", CLOCK_RANK_SAMPLER, &actor, &err);
    if (rc == 0)
        atomic_store(&sampler->slot, clock_actor_slot(actor));
    sem_post(&sampler->registered);
    if (rc == 0)
        rc = bench_client_open(sampler->options.bench, actor, &client, &err);
    if (rc == 0)
        rc = sample_until_stopped(sampler, actor, client, &err);
    struct error flush_err = { 0 };
    int flushed = flush(sampler, &flush_err);
    bench_client_close(client);

    pthread_mutex_lock(&sampler->lock);
    sampler->failure = rc < 0 ? err : flush_err;
    sampler->failure.code = rc < 0 ? rc : flushed;
    pthread_mutex_unlock(&sampler->lock);

    if (write(sampler->done_fd, &one, sizeof one) != (ssize_t)sizeof one)
        log_line(LOG_ERR, "sampler: cannot signal its end: %s", strerror(errno));
    clock_notify(sampler->options.clock, atomic_load(&sampler->closer_slot));
    clock_actor_close(actor);
    return NULL;
}

static int prepare(struct sampler *sampler, const struct sampler_options *options, struct error *err)
{
    sampler->options = *options;
    sampler->rails = options->profile->rail_count;
    for (int i = 0; i < sampler->rails; i++) {
        const char *rail = options->profile->rail[i].name;
        sampler->channel[i] = bench_file_rail(options->bench_file, rail);
        if (sampler->channel[i] == NULL)
            return error_set(err, ERR_NOT_FOUND, "nothing feeds rail \"%s\"", rail);
        record_channel(sampler->volt_name[i], "rail.%s.voltage", rail);
        record_channel(sampler->current_name[i], "rail.%s.current", rail);
    }
    schedule(sampler);
    atomic_init(&sampler->stop, false);
    atomic_init(&sampler->slot, -1);
    atomic_init(&sampler->closer_slot, -1);
    sampler->pass = calloc(SAMPLER_PASSES_MAX, sizeof *sampler->pass);
    sampler->cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sampler->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (sampler->pass == NULL || sampler->cut_fd < 0 || sampler->done_fd < 0)
        return error_set_errno(err, errno, "sampler");
    return 0;
}

static void release(struct sampler *sampler)
{
    if (sampler->cut_fd >= 0)
        close(sampler->cut_fd);
    if (sampler->done_fd >= 0)
        close(sampler->done_fd);
    pthread_mutex_destroy(&sampler->lock);
    sem_destroy(&sampler->registered);
    free(sampler->pass);
    free(sampler);
}

int sampler_open(const struct sampler_options *options, struct sampler **ret_sampler, struct error *err)
{
    struct sampler *sampler = calloc(1, sizeof *sampler);

    if (sampler == NULL)
        return error_set(err, ERR_MEMORY, "no memory for a sampler");
    sampler->cut_fd = sampler->done_fd = -1;
    pthread_mutex_init(&sampler->lock, NULL);
    sem_init(&sampler->registered, 0, 0);
    int rc = prepare(sampler, options, err);
    if (rc < 0) {
        release(sampler);
        return rc;
    }
    int failed = pthread_create(&sampler->thread, NULL, thread_main, sampler);
    if (failed != 0) {
        release(sampler);
        return error_set_errno(err, failed, "sampler: no thread");
    }
    /* Until it is an actor it does not hold virtual time: when it begins would depend on the host. */
    while (sem_wait(&sampler->registered) < 0 && errno == EINTR)
        ;
    *ret_sampler = sampler;
    return 0;
}

int sampler_close(struct sampler *sampler, struct clock_actor *actor, struct error *err)
{
    struct pollfd done = { .fd = sampler != NULL ? sampler->done_fd : -1, .events = POLLIN };
    uint64_t one = 1;

    if (sampler == NULL)
        return 0;
    atomic_store(&sampler->closer_slot, clock_actor_slot(actor));
    atomic_store(&sampler->stop, true);
    if (write(sampler->cut_fd, &one, sizeof one) != (ssize_t)sizeof one)
        log_line(LOG_ERR, "sampler: cannot be told to end: %s", strerror(errno));
    clock_notify(sampler->options.clock, atomic_load(&sampler->slot));

    /* Waits on the bench's clock: the pass under way needs bench time to end. */
    int rc = clock_poll(actor, &done, 1, CLOCK_NEVER, CLOSE_HOST_LIMIT_NS);
    if (rc < 0)
        return error_set(err, rc,
                         "the sampler does not end: a port hangs"); /* its memory stays with the thread */
    pthread_join(sampler->thread, NULL);
    rc = sampler->failure.code;
    if (rc < 0 && err != NULL)
        *err = sampler->failure;
    release(sampler);
    return rc;
}

/* Product of two uncertain factors. What is not known (NaN) stays unknown: it is not certainty. */
static double u_product(double a, double u_a, double b, double u_b)
{
    return hypot(b * u_a, a * u_b);
}

/* Of one rail over the passes of a window. */
struct sums {
    double volt_v, current_a, power_w, volt_2, current_2, power_2;
    double u_volt_v, u_current_a, u_power_w;
};

static void add_pass(struct sums *sums, const struct pass *pass, int rail)
{
    double v = pass->volt_v[rail], a = pass->current_a[rail], w = v * a;
    double u_v = pass->u_volt_v[rail], u_a = pass->u_current_a[rail];

    sums->volt_v += v;
    sums->volt_2 += v * v;
    sums->current_a += a;
    sums->current_2 += a * a;
    sums->power_w += w;
    sums->power_2 += w * w;
    sums->u_volt_v += u_v;
    sums->u_current_a += u_a;
    sums->u_power_w += u_product(v, u_v, a, u_a);
}

/* Scatter of the mean of n values, from their sum and sum of squares; 0 for one value. */
static double scatter(double sum, double squares, int n)
{
    if (n < 2)
        return 0.0;
    return sqrt(fmax(0.0, squares - sum * sum / n) / (n - 1) / n);
}

/* Scatter averages out over passes; the instrument's own error does not: it is the mean of what it stated. */
static void fill_rail(int i, const struct sums *sums, int n, struct sampler_window *window)
{
    window->volt_v[i] = sums->volt_v / n;
    window->current_a[i] = sums->current_a / n;
    window->power_w[i] = sums->power_w / n;
    window->u_volt_v[i] = hypot(scatter(sums->volt_v, sums->volt_2, n), sums->u_volt_v / n);
    window->u_current_a[i] = hypot(scatter(sums->current_a, sums->current_2, n), sums->u_current_a / n);
    window->u_power_w[i] = hypot(scatter(sums->power_w, sums->power_2, n), sums->u_power_w / n);
}

/* All rails together. Channels of one instrument share its reference and its temperature: their errors are
 * taken as fully correlated and add up; those of different instruments, and scatter, add in squares. */
static void fill_total(const struct sampler *sampler, const struct sums *sums, struct sampler_window *window)
{
    double error_w[BENCH_INSTRUMENTS_MAX] = { 0 }, variance = 0.0;
    int n = window->passes;

    for (int i = 0; i < sampler->rails; i++) {
        double scatter_w = scatter(sums[i].power_w, sums[i].power_2, n);
        window->total_w += window->power_w[i];
        error_w[sampler->channel[i]->instrument] += sums[i].u_power_w / n;
        variance += scatter_w * scatter_w;
    }
    for (int i = 0; i < BENCH_INSTRUMENTS_MAX; i++)
        variance += error_w[i] * error_w[i];
    window->u_total_w = sqrt(variance);
}

bool sampler_window(struct sampler *sampler, int64_t t0_ns, int64_t t1_ns, struct sampler_window *ret_window)
{
    struct sums sums[PROFILE_RAILS_MAX] = { { 0 } };
    struct sampler_window window = { .seconds = (double)(t1_ns - t0_ns) / NS_PER_S };

    pthread_mutex_lock(&sampler->lock);
    int64_t oldest = sampler->passes > SAMPLER_PASSES_MAX ? sampler->passes - SAMPLER_PASSES_MAX : 0;
    for (int64_t k = sampler->passes - 1; k >= oldest; k--) {
        const struct pass *pass = &sampler->pass[k % SAMPLER_PASSES_MAX];
        if (pass->end_ns < t0_ns)
            break; /* passes are in order of time */
        if (pass->begin_ns < t0_ns || pass->end_ns > t1_ns)
            continue;
        window.passes++;
        window.flags |= pass->flags;
        for (int i = 0; i < sampler->rails; i++)
            add_pass(&sums[i], pass, i);
    }
    pthread_mutex_unlock(&sampler->lock);

    if (window.passes == 0)
        return false;
    for (int i = 0; i < sampler->rails; i++)
        fill_rail(i, &sums[i], window.passes, &window);
    fill_total(sampler, sums, &window);
    *ret_window = window;
    return true;
}
