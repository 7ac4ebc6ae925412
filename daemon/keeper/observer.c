/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * observer: answers in, trips out, and the polls between. */
#include "daemon/keeper/observer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/keeper/guard.h"

/* One poll per channel may be under way: a link that is slow is not asked again. */
struct poll_request {
    struct port_request request;
    struct observer *observer;
    double asked;
    atomic_bool busy;
};

struct observer {
    struct observer_options options;
    int fd;
    struct poll_request poll[BENCH_CHANNELS_MAX];

    pthread_mutex_t lock; /* guards what follows; never held across I/O */
    struct interlocks locks;
    bool trip_seen[BENCH_CHANNELS_MAX]; /* of an instrument's own protection: told once per trip */
    bool tripped;
    char text[INTERLOCK_TEXT_MAX];
};

static int read_rules(struct observer *observer, struct error *err)
{
    const struct bench_file *file = observer->options.file;
    interlocks_init(&observer->locks, file);
    cJSON *root = NULL;
    int code = json_parse(file->json, strlen(file->json), &root, err);
    if (code)
        return code;
    struct json_problems *problems = calloc(1, sizeof *problems);
    if (problems) {
        struct json_at at = json_root(root, problems);
        struct json_at list = json_member(&at, "interlocks", false);
        interlocks_read(&observer->locks, &list);
        code = json_problems_error(problems, file->path, err);
    } else {
        code = error_set(err, ERR_MEMORY, "interlocks");
    }
    free(problems);
    cJSON_Delete(root);
    return code ? code : interlocks_load_chip(&observer->locks, file->profile_path, err);
}

int observer_open(const struct observer_options *options, struct observer **ret, struct error *err)
{
    struct observer *observer = calloc(1, sizeof *observer);
    if (!observer)
        return error_set(err, ERR_MEMORY, "interlocks");
    observer->options = *options;
    observer->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&observer->lock, NULL);
    int code = observer->fd < 0 ? error_set_errno(err, errno, "eventfd") : read_rules(observer, err);
    if (code) {
        observer_close(observer);
        return code;
    }
    *ret = observer;
    return 0;
}

void observer_close(struct observer *observer)
{
    if (!observer)
        return;
    if (observer->fd >= 0)
        close(observer->fd);
    pthread_mutex_destroy(&observer->lock);
    free(observer);
}

int observer_fd(const struct observer *observer)
{
    return observer->fd;
}

int observer_rule_count(const struct observer *observer)
{
    return observer->locks.count;
}

static void wake(struct observer *observer)
{
    uint64_t one = 1;
    while (write(observer->fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    clock_notify(observer->options.clock, clock_actor_slot(observer->options.actor));
}

/* The first trip is the cause; what follows from it is not told. */
static void trip(struct observer *observer, const char *text)
{
    if (!observer->tripped)
        snprintf(observer->text, sizeof observer->text, "%s", text);
    observer->tripped = true;
}

/* What a state says about the instrument's own protection. */
static void take_protection(struct observer *observer, const struct bench_channel *ch,
                            const struct message *m)
{
    bool state = m->op == MESSAGE_STATE || m->op == MESSAGE_CLEAR_TRIP;
    if (!state || m->code)
        return;
    bool tripped = m->flags & MESSAGE_TRIPPED;
    if (tripped && !observer->trip_seen[ch->index]) {
        char text[INTERLOCK_TEXT_MAX];
        snprintf(text, sizeof text, "trip of %s (%s)", ch->name, ch->rail[0] ? ch->rail : "no rail");
        trip(observer, text);
    }
    observer->trip_seen[ch->index] = tripped;
}

void observer_take(struct observer *observer, const struct message *answer, double asked)
{
    const struct bench_channel *ch = guard_channel(observer->options.file, answer);
    char text[INTERLOCK_TEXT_MAX];
    if (!ch)
        return;
    bool switched = answer->op == MESSAGE_OUTPUT || answer->op == MESSAGE_STATE;
    pthread_mutex_lock(&observer->lock);
    int64_t before_ns = switched ? interlocks_due_ns(&observer->locks) : 0;
    take_protection(observer, ch, answer);
#ifndef KEEPER_WITHOUT_INTERLOCKS /* a variant for tests/fault: its judge must fail then */
    if (!interlocks_take(&observer->locks, ch, answer, asked, text, sizeof text))
        trip(observer, text);
#else
    (void)text;
    (void)asked;
#endif
    bool news = observer->tripped || (switched && interlocks_due_ns(&observer->locks) < before_ns);
    pthread_mutex_unlock(&observer->lock);
    if (news)
        wake(observer);
}

/* ---- The I/O thread ---- */
static void poll_done(struct port_request *request)
{
    struct poll_request *poll = request->context;
    struct observer *observer = poll->observer;
    observer_take(observer, &request->message, poll->asked);
    atomic_store(&poll->busy, false);
}

static void post(struct observer *observer, const struct interlock_poll *due)
{
    const struct bench_channel *ch = &observer->options.file->channel[due->channel];
    struct port *port = observer->options.port[ch->instrument];
    struct poll_request *poll = &observer->poll[due->channel];
    if (!port || atomic_exchange(&poll->busy, true))
        return;
    poll->observer = observer;
    poll->asked = due->quantity;
    poll->request = (struct port_request){
        .message = { .magic = MESSAGE_MAGIC,
                     .op = (uint16_t)due->op,
                     .instrument = (int16_t)ch->instrument,
                     .channel = (int16_t)ch->number,
                     .value = { due->quantity } },
        .priority = PORT_NORMAL,
        .done = poll_done,
        .context = poll,
    };
    port_post(port, &poll->request);
}

void observer_run(struct observer *observer)
{
    int64_t now_ns = clock_now(observer->options.clock);
    for (;;) {
        struct interlock_poll due;
        char text[INTERLOCK_TEXT_MAX];
        pthread_mutex_lock(&observer->lock);
        bool any = interlocks_poll(&observer->locks, now_ns, &due);
        if (!any && !interlocks_check_age(&observer->locks, now_ns, text, sizeof text))
            trip(observer, text);
        pthread_mutex_unlock(&observer->lock);
        if (!any)
            return;
        post(observer, &due);
    }
}

int64_t observer_due_ns(struct observer *observer)
{
    pthread_mutex_lock(&observer->lock);
    int64_t due_ns = interlocks_due_ns(&observer->locks);
    pthread_mutex_unlock(&observer->lock);
    return due_ns;
}

bool observer_has_tripped(struct observer *observer, int channel)
{
    pthread_mutex_lock(&observer->lock);
    bool tripped = observer->trip_seen[channel];
    pthread_mutex_unlock(&observer->lock);
    return tripped;
}

bool observer_tripped(struct observer *observer, char *text, size_t size)
{
    uint64_t count;
    while (read(observer->fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&observer->lock);
    bool tripped = observer->tripped;
    observer->tripped = false;
    if (tripped)
        snprintf(text, size, "%s", observer->text);
    pthread_mutex_unlock(&observer->lock);
    return tripped;
}
