/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * guard: the rules that every request passes before it reaches a port of the keeper. Pure: no I/O, no state
 * of its own. */
#ifndef DAEMON_KEEPER_GUARD_H
#define DAEMON_KEEPER_GUARD_H

#include "daemon/keeper/undo.h"
#include "instruments/message.h"

struct guard {
    const struct bench_file *file;
    const struct undo_list *undo;
    bool latched;
    const char *latch_reason;
};

/* 0, or why the request may not pass: ERR_REFUSED (no undo registered, raw command that sets), ERR_RANGE
 * (beyond the dialect's limits), ERR_TRIPPED (latched), ERR_INVALID (no such instrument here). */
int guard_check(const struct guard *guard, const struct message *message, const uint8_t *payload,
                struct error *err);
/* Channel of the bench file that a message names, or NULL. */
const struct bench_channel *guard_channel(const struct bench_file *file, const struct message *message);

#endif
