/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * call: the store, what a port's thread does at the end of one, and the waiting. */
#include "daemon/keeper/call.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/keeper/keeper.h"
#include "instruments/keeper_client.h"

enum { CALL_FREE, CALL_PENDING, CALL_DONE, CALL_ABANDONED };
enum { CALLS_MAX = 4 * UNDO_STEPS_MAX };

/* How often an ordinary list that waits looks whether an emergency stop has come. */
#define OVERTAKEN_LOOK_NS (20 * NS_PER_MS)
/* How long virtual time may stand still for somebody who only waits for a processor. */
#define PATIENCE_NS (10 * NS_PER_S)

struct call *call_store_new(void)
{
    return calloc(CALLS_MAX, sizeof(struct call));
}

static void call_done(struct port_request *request)
{
    struct call *call = request->context;
    struct keeper *keeper = call->keeper;
    observer_take(keeper->observer, &request->message, request->message.value[0]);
    if (atomic_exchange(&call->state, CALL_DONE) == CALL_ABANDONED) {
        atomic_store(&call->state, CALL_FREE);
        return;
    }
    uint64_t one = 1;
    while (write(keeper->done_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    clock_notify(keeper->clock, clock_actor_slot(keeper->actor));
}

static struct call *call_take(struct keeper *keeper)
{
    for (int i = 0; i < CALLS_MAX; i++) {
        if (atomic_load(&keeper->calls[i].state) == CALL_FREE) {
            atomic_store(&keeper->calls[i].state, CALL_PENDING);
            return &keeper->calls[i];
        }
    }
    return NULL;
}

struct call *call_post(struct keeper *keeper, int op, int instrument, int channel, int priority)
{
    struct call *call = call_take(keeper);
    if (!call)
        return NULL;
    call->keeper = keeper;
    call->request = (struct port_request){
        .message = { .magic = MESSAGE_MAGIC,
                     .op = (uint16_t)op,
                     .instrument = (int16_t)instrument,
                     .channel = (int16_t)channel },
        .payload = call->payload,
        .room = sizeof call->payload,
        .priority = priority,
        .done = call_done,
        .context = call,
    };
    port_post(keeper->port[instrument], &call->request);
    return call;
}

void call_free(struct call *call)
{
    if (call && atomic_exchange(&call->state, CALL_ABANDONED) == CALL_DONE)
        atomic_store(&call->state, CALL_FREE);
}

bool call_answered(const struct call *call)
{
    return atomic_load(&call->state) == CALL_DONE;
}

static bool all_done(struct call *const *call, int count)
{
    for (int i = 0; i < count; i++) {
        if (call[i] && !call_answered(call[i]))
            return false;
    }
    return true;
}

bool call_wait(struct keeper *keeper, struct call *const *call, int count, int64_t limit_ns, bool ordinary)
{
    int64_t look_ns = ordinary ? OVERTAKEN_LOOK_NS : SUPERVISE_BEAT_MS * NS_PER_MS;
    int64_t start_ns = clock_host_now(), patient_ns = start_ns + PATIENCE_NS;
    bool stalled = !clock_is_virtual(keeper->clock) || !keeper->stalled;
    int64_t seen_ns = clock_now(keeper->clock);
    while (!all_done(call, count)) {
        int64_t left_ns = start_ns + (stalled ? limit_ns : limit_ns / 2) - clock_host_now();
        supervise_beat(keeper->options.page);
        if (ordinary && keeper->overtaken && keeper->overtaken(keeper->server))
            return false;
        if (left_ns <= 0 && stalled)
            return true;
        if (left_ns <= 0) {
            bool patient = clock_host_now() < patient_ns, moves = clock_now(keeper->clock) != seen_ns;
            seen_ns = clock_now(keeper->clock);
            stalled = !(patient && moves) && keeper->stalled(keeper->server, patient && keeper->patient);
            if (!stalled)
                start_ns = clock_host_now();
            continue;
        }
        struct pollfd fd = { .fd = keeper->done_fd, .events = POLLIN };
        if (clock_poll(keeper->actor, &fd, 1, CLOCK_NEVER, left_ns < look_ns ? left_ns : look_ns) > 0) {
            uint64_t n;
            while (read(keeper->done_fd, &n, sizeof n) < 0 && errno == EINTR)
                ;
        }
    }
    return true;
}

int64_t call_limit_ns(void)
{
    return (int64_t)(KEEPER_STEP_MS * keeper_client_time_scale()) * NS_PER_MS;
}
