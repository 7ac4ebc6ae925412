/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fault: what tests do to a wire: answers late, lost, cut, garbled or wrong, a client dropped, a deaf
 * instrument. */
#include <string.h>

#include "daemon/base/rng.h"
#include "drivers/sim/loop_private.h"

static const char *const fault_names[] = { "none",       "silence", "delay", "truncate", "garbage", "wrong",
                                           "disconnect", "deaf",    "echo",  "overrun",  "cr" };

int sim_fault_kind(const char *name)
{
    for (size_t i = 0; i < sizeof fault_names / sizeof *fault_names; i++)
        if (strcmp(name, fault_names[i]) == 0)
            return (int)i;
    return -1;
}

void sim_link_fault(struct sim_link *link, const struct sim_fault *fault)
{
    link->fault = *fault;
}

/* Counts an opportunity; true when the fault acts on it. */
static bool strikes(struct sim_fault *fault)
{
    if (fault->count == 0)
        return false;
    if (fault->skip > 0) {
        fault->skip--;
        return false;
    }
    if (fault->count > 0)
        fault->count--;
    return true;
}

bool fault_echoes(struct sim_link *link)
{
    return link->fault.kind == SIM_FAULT_ECHO && strikes(&link->fault);
}

bool fault_hears(struct sim_link *link, int64_t quiet_ns, uint8_t *bytes, size_t n)
{
    switch (link->fault.kind) {
    case SIM_FAULT_DEAF:
        return !strikes(&link->fault);
    case SIM_FAULT_OVERRUN:
        return (double)quiet_ns >= link->fault.value * 1e9 || !strikes(&link->fault);
    case SIM_FAULT_CR:
        for (size_t i = 0; i < n; i++)
            bytes[i] = bytes[i] == '\r' ? '\n' : bytes[i] == '\n' ? ' ' : bytes[i];
        return true;
    default:
        return true;
    }
}

bool fault_spoil(struct sim_link *link, uint64_t answer, uint8_t *bytes, size_t *n, int64_t *at_ns)
{
    struct sim_fault *fault = &link->fault;
    bool text = bytes[*n - 1] == '\n';
    if (fault->kind == SIM_FAULT_CR && text)
        bytes[*n - 1] = '\r';
    if (fault->kind == SIM_FAULT_TRUNCATE && (double)*n < fault->value)
        return true; /* not one of those that are meant */
    if (fault->kind == SIM_FAULT_NONE || fault->kind >= SIM_FAULT_DEAF || !strikes(fault))
        return true;
    struct rng rng;
    switch (fault->kind) {
    case SIM_FAULT_SILENCE:
        return false;
    case SIM_FAULT_DELAY:
        *at_ns += (int64_t)(fault->value * 1e9);
        return true;
    case SIM_FAULT_TRUNCATE:
        *n /= 2;
        return *n > 0;
    case SIM_FAULT_GARBAGE:
        rng_init(&rng, link->loop->seed, "garbage", rng_entity(link->name), answer, 0);
        for (size_t i = 0; i < *n - text; i++)
            bytes[i] = (uint8_t)(text ? 33 + rng_below(&rng, 94) : rng_below(&rng, 256));
        return true;
    case SIM_FAULT_WRONG:
        for (size_t i = 0; text && i < *n; i++)
            if (bytes[i] >= '0' && bytes[i] <= '9') {
                bytes[i] = (uint8_t)('0' + (bytes[i] - '0' + 3) % 10);
                return true;
            }
        bytes[*n / 2] ^= 1;
        return true;
    default: /* SIM_FAULT_DISCONNECT */
        *n = 0;
        return true;
    }
}
