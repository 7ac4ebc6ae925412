/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * supervise: the keeper's parent. It does nothing but wait: when the keeper dies, or its I/O thread stops
 * beating, the parent starts another one, which finds the undo list in a page that both share and runs it at
 * once. The parent holds the lock and the listening socket, so that no second keeper slips in between and
 * clients that come meanwhile wait in the socket's queue. The instruments' links are not duplicated: the
 * kernel closes them with the dead process, which is what makes a supply that takes one client free for the
 * next one. */
#ifndef DAEMON_KEEPER_SUPERVISE_H
#define DAEMON_KEEPER_SUPERVISE_H

#include <stdatomic.h>

#include "daemon/keeper/latch_file.h"
#include "daemon/keeper/undo.h"

/* Host milliseconds without a beat after which a keeper is taken for hung, and killed; NB_TIME_SCALE
 * multiplies. */
enum { SUPERVISE_BEAT_MS = 250, SUPERVISE_HANG_MS = 2000 };

/* What the next keeper has to know. Flat: it lives in shared memory. */
struct supervise_state {
    struct undo_list undo;
    bool latched;
    struct latch_record latch;
};

/* Shared by parent and child. The child alone writes states; a state is whole before `current` names it. */
struct supervise_page {
    int parent, lock_fd, listen_fd; /* written once */
    int generation;                 /* of keepers, from 0; the parent's, between two children */
    int last_status;                /* wait status of the one before */
    atomic_bool served;             /* some generation got as far as serving */
    _Atomic int64_t beat_ns;        /* host time */
    atomic_int current;
    struct supervise_state state[2];
};

/* A page in shared memory; it holds the lock file SOCKET.lock and listens at SOCKET. */
int supervise_open(const char *socket_path, struct supervise_page **ret, struct error *err);
void supervise_close(struct supervise_page *page);
/* Forks. True in each child, which has to go on as the keeper; false in the parent, when all is over, with
 * the exit status in *ret_status. Signals TERM and INT must be blocked: the parent hands them on. */
bool supervise(struct supervise_page *page, int *ret_status);

/* ---- The child's half; page may be NULL: nobody supervises. ---- */
void supervise_beat(struct supervise_page *page);
void supervise_store(struct supervise_page *page, const struct undo_list *undo, bool latched,
                     const struct latch_record *latch);
const struct supervise_state *supervise_state(const struct supervise_page *page);

/* SOCKET.lock, so that a bench has one keeper. ERR_CONFLICT when another holds it. */
int supervise_lock(const char *socket_path, int *ret_fd, struct error *err);
/* A listening SOCK_SEQPACKET socket of mode 0600. */
int supervise_listen(const char *socket_path, int *ret_fd, struct error *err);

#endif
