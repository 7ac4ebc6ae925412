/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * loop: the event heap, the descriptors, and the rule by which time moves. */
#include "drivers/sim/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "drivers/sim/loop_private.h"

enum {
    NUDGE_FIRST_MS = 1, /* host time; an actor that computes is nudged once, then left alone */
    NUDGE_LAST_MS = 32,
    DRAIN_MS = 5,
    BATCH = 64
};

/* What a look at the world found. */
enum look { LOOK_AGAIN, LOOK_RUNNING, LOOK_DRAINING, LOOK_NOTHING };

int64_t sim_now(const struct sim_loop *loop)
{
    return loop->is_virtual ? atomic_load(&loop->page->now_ns) : clock_host_now() - loop->start_ns;
}

bool sim_is_virtual(const struct sim_loop *loop)
{
    return loop->is_virtual;
}

/* ---- Events ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    if (a->at_ns != b->at_ns)
        return a->at_ns < b->at_ns;
    if (a->rank != b->rank)
        return a->rank < b->rank;
    return a->seq < b->seq;
}

static void sift_up(struct sim_event *heap, int i)
{
    for (; i > 0 && before(&heap[i], &heap[(i - 1) / 2]); i = (i - 1) / 2) {
        struct sim_event parent = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = heap[i];
        heap[i] = parent;
    }
}

static void sift_down(struct sim_event *heap, int n, int i)
{
    for (;;) {
        int least = i;
        for (int child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (before(&heap[child], &heap[least]))
                least = child;
        if (least == i)
            return;
        struct sim_event event = heap[least];
        heap[least] = heap[i];
        heap[i] = event;
        i = least;
    }
}

bool loop_schedule(struct sim_loop *loop, const struct sim_event *event)
{
    if (event->link && loop->heap_n >= SIM_EVENTS_MAX - SIM_TIMERS_MAX) {
        free(event->bytes);
        return false;
    }
    if (loop->heap_n == loop->heap_size) {
        int size = loop->heap_size ? 2 * loop->heap_size : 64;
        struct sim_event *heap =
            size > SIM_EVENTS_MAX ? NULL : realloc(loop->heap, (size_t)size * sizeof *loop->heap);
        if (!heap) {
            free(event->bytes);
            return false;
        }
        loop->heap = heap;
        loop->heap_size = size;
    }
    loop->heap[loop->heap_n] = *event;
    loop->heap[loop->heap_n].seq = ++loop->next_seq;
    sift_up(loop->heap, loop->heap_n++);
    return true;
}

static struct sim_event pop(struct sim_loop *loop)
{
    struct sim_event first = loop->heap[0];
    loop->heap[0] = loop->heap[--loop->heap_n];
    sift_down(loop->heap, loop->heap_n, 0);
    return first;
}

static void perform(struct sim_loop *loop)
{
    struct sim_event event = pop(loop);
    if (event.fn)
        event.fn(event.context, sim_now(loop));
    else if (event.link)
        link_deliver(&event);
    free(event.bytes);
}

uint64_t sim_at(struct sim_loop *loop, int64_t at_ns, sim_timer_fn fn, void *context)
{
    struct sim_event event = { .at_ns = at_ns, .rank = RANK_WORLD, .fn = fn, .context = context };

    if (loop_schedule(loop, &event))
        return loop->next_seq;
    loop->full = true;
    sim_loop_stop(loop);
    return 0;
}

void sim_cancel(struct sim_loop *loop, uint64_t id)
{
    for (int i = 0; id && i < loop->heap_n; i++)
        if (loop->heap[i].seq == id) {
            loop->heap[i].fn = NULL; /* keeps its place; performing it does nothing */
            return;
        }
}

/* ---- Descriptors ---- */

int sim_fd_add(struct sim_loop *loop, int fd, uint32_t epoll_events, sim_fd_fn fn, void *context,
               struct error *err)
{
    for (int i = 0; i < WATCHES_MAX; i++) {
        struct watch *watch = &loop->watch[i];
        if (watch->fd >= 0)
            continue;
        watch->generation++;
        struct epoll_event event = { .events = epoll_events,
                                     .data.u64 = (uint64_t)watch->generation << 32 | (uint64_t)i };
        if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            return error_set_errno(err, errno, "watching a descriptor");
        watch->fd = fd;
        watch->fn = fn;
        watch->context = context;
        return 0;
    }
    return error_set(err, ERR_FULL, "more than %d descriptors", WATCHES_MAX);
}

void sim_fd_remove(struct sim_loop *loop, int fd)
{
    for (int i = 0; i < WATCHES_MAX; i++)
        if (loop->watch[i].fd == fd) {
            epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
            loop->watch[i].fd = -1;
            return;
        }
}

static void drain_counter(void *context, int fd, uint32_t events)
{
    (void)context;
    (void)events;
    uint64_t count;
    if (read(fd, &count, sizeof count) < 0)
        return; /* nothing there any more */
}

/* Waits and serves descriptors. Returns how many were ready, negative on failure. */
static int serve(struct sim_loop *loop, int timeout_ms)
{
    struct epoll_event events[BATCH];
    int n = epoll_wait(loop->epoll_fd, events, BATCH, timeout_ms);
    if (n < 0)
        return errno == EINTR ? 0 : -1;
    for (int i = 0; i < n; i++) {
        struct watch *watch = &loop->watch[events[i].data.u64 & UINT32_MAX];
        /* An earlier one of this batch may have removed it. */
        if (watch->fd >= 0 && watch->generation == events[i].data.u64 >> 32)
            watch->fn(watch->context, watch->fd, events[i].events);
    }
    return n;
}

/* ---- Time ---- */

/* Performs the one earliest event: due bytes, a timer, or an actor's deadline. */
static enum look perform_earliest(struct sim_loop *loop)
{
    int slot = clock_server_earliest(loop);
    int64_t deadline_ns = slot < 0 ? CLOCK_NEVER : atomic_load(&loop->page->actor[slot].deadline_ns);
    const struct sim_event *first = loop->heap_n ? &loop->heap[0] : NULL;
    bool is_event = first && (slot < 0 || first->at_ns < deadline_ns ||
                              (first->at_ns == deadline_ns && first->rank <= loop->page->actor[slot].rank));
    if (!clock_server_unmoved(loop))
        return LOOK_RUNNING; /* the earliest may be the deadline of one who has just got up */
    if (!is_event && slot < 0)
        return LOOK_NOTHING;
    int64_t at_ns = is_event ? first->at_ns : deadline_ns;
    if (at_ns > sim_now(loop))
        atomic_store(&loop->page->now_ns, at_ns);
    if (is_event)
        perform(loop);
    else
        clock_server_wake(loop, slot);
    return LOOK_AGAIN;
}

static enum look look_virtual(struct sim_loop *loop)
{
    enum actors_state actors = clock_server_actors(loop);
    if (actors == ACTORS_NONE)
        return LOOK_NOTHING; /* nobody to live for: time stands still */
    if (actors == ACTORS_ASLEEP)
        clock_server_nudge(loop);
    if (actors != ACTORS_BLOCKED)
        return LOOK_RUNNING;
    if (!account_all_drained(loop))
        return LOOK_DRAINING;
    if (link_hand_over(loop))
        return LOOK_AGAIN;
    return perform_earliest(loop);
}

static enum look look_real(struct sim_loop *loop)
{
    link_hand_over(loop);
    while (loop->heap_n && loop->heap[0].at_ns <= sim_now(loop))
        perform(loop);
    struct itimerspec when = { 0 };
    if (loop->heap_n) {
        int64_t at_ns = loop->start_ns + loop->heap[0].at_ns;
        when.it_value = (struct timespec){ .tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S };
    }
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    return LOOK_NOTHING;
}

int sim_loop_run(struct sim_loop *loop, struct error *err)
{
    int nudge_ms = NUDGE_FIRST_MS;
    enum look look = LOOK_AGAIN;
    while (!atomic_load(&loop->stop)) {
        int timeout_ms = -1;
        if (look == LOOK_AGAIN)
            timeout_ms = 0;
        else if (look == LOOK_RUNNING)
            timeout_ms = nudge_ms;
        else if (look == LOOK_DRAINING)
            timeout_ms = DRAIN_MS;
        int n = serve(loop, timeout_ms);
        if (n < 0)
            return error_set_errno(err, errno, "waiting for descriptors");
        if (n == 0 && look == LOOK_RUNNING) {
            clock_server_nudge(loop);
            nudge_ms = nudge_ms < NUDGE_LAST_MS ? 2 * nudge_ms : NUDGE_LAST_MS;
        } else if (n > 0) {
            nudge_ms = NUDGE_FIRST_MS;
        }
        look = loop->is_virtual ? look_virtual(loop) : look_real(loop);
    }
    return loop->full ? error_set(err, ERR_FULL, "more than %d events of the simulated world are pending",
                                  SIM_EVENTS_MAX)
                      : 0;
}

void sim_loop_stop(struct sim_loop *loop)
{
    atomic_store(&loop->stop, true);
    uint64_t one = 1;
    if (write(loop->stop_fd, &one, sizeof one) < 0)
        return; /* the counter is full: it is readable already */
}

int sim_loop_open(const char *dir, bool is_virtual, uint64_t seed, struct sim_loop **ret_loop,
                  struct error *err)
{
    struct sim_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return error_set(err, ERR_MEMORY, "event loop");
    *loop = (struct sim_loop){ .is_virtual = is_virtual,
                               .seed = seed,
                               .start_ns = clock_host_now(),
                               .epoll_fd = -1,
                               .stop_fd = -1,
                               .timer_fd = -1,
                               .page_fd = -1,
                               .server_fd = -1 };
    for (int i = 0; i < WATCHES_MAX; i++)
        loop->watch[i].fd = -1;
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        loop->connection[i].fd = -1;
    int code = 0;
    if (snprintf(loop->dir, sizeof loop->dir, "%s", dir) >= (int)sizeof loop->dir) {
        code = error_set(err, ERR_RANGE, "directory name is longer than %zu bytes: %s", sizeof loop->dir - 1,
                         dir);
        goto failed;
    }
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->stop_fd < 0 || loop->timer_fd < 0) {
        code = error_set_errno(err, errno, "event loop");
        goto failed;
    }
    code = sim_fd_add(loop, loop->stop_fd, EPOLLIN, drain_counter, NULL, err);
    if (!code)
        code = sim_fd_add(loop, loop->timer_fd, EPOLLIN, drain_counter, NULL, err);
    if (!code && is_virtual)
        code = clock_server_open(loop, err);
    if (code)
        goto failed;
    *ret_loop = loop;
    return 0;

failed:
    sim_loop_close(loop);
    return code;
}

void sim_loop_close(struct sim_loop *loop)
{
    if (!loop)
        return;
    for (int i = 0; i < loop->link_n; i++)
        link_close(loop->link[i]);
    for (int i = 0; i < loop->heap_n; i++)
        free(loop->heap[i].bytes);
    free(loop->heap);
    clock_server_close(loop);
    int fds[] = { loop->timer_fd, loop->stop_fd, loop->epoll_fd };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(loop);
}
