/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * queue: the rows of what waits to be run. Changes go
 * through the recorder's writer and are on disk when a call returns; reading opens the store for a moment. An
 * entry is taken by whoever is about to begin it, and cannot be changed from then on; it is gone when its run
 * has a row (record_sink.run_begin). Any thread. */
#ifndef DB_QUEUE_H
#define DB_QUEUE_H

#include "db/answer.h"
#include "db/queue_order.h"

struct queue_list {
    int count;
    struct queue_item item[QUEUE_MAX];
    bool held;
    char reason[QUEUE_WORDS_MAX]; /* why nothing is begun */
    int64_t held_ns;
};

/* What is to be written: the item (its place is given here: the last of its priority), its campaign as text,
 * and with it, if it is given, the answer to a key. ERR_FULL: QUEUE_MAX wait already. ERR_CONFLICT:
 * `unless_held` and it is; or the answer's key is known. */
struct queue_addition {
    const struct queue_item *item;
    const char *document;
    const struct answer *answer; /* NULL: none */
    bool unless_held;
};
int queue_add(struct recorder *recorder, const struct queue_addition *addition, struct error *err);
/* What a look into the queue has brought. */
struct queue_taken {
    bool taken;
    struct queue_item item; /* to begin now, with its campaign's text: free() */
    char *document;
    int waiting;                  /* entries, without that one */
    int64_t look_ns;              /* when one will be ready (queue_order_next); 0: none waits for a time */
    char reason[QUEUE_WORDS_MAX]; /* why nothing is begun, or "" */
};
/* Takes the entry that is to begin now, if there is one, and something may begin at all. */
int queue_take(struct recorder *recorder, int64_t now_ns, bool may_begin, struct queue_taken *ret_taken,
               struct error *err);
/* Gives back what was taken, and did not become a run: 1. 0: it did. */
int queue_untake(struct recorder *recorder, const char *ulid, struct error *err);
/* Replaces everything but ULID, place and time of adding. document NULL: it stays. ERR_CONFLICT, retryable,
 * when the entry is no longer as it was `before`: somebody else has changed it, or moved it to another
 * priority. */
int queue_replace(struct recorder *recorder, const struct queue_item *before, const struct queue_item *item,
                  const char *document, struct error *err);
int queue_move(struct recorder *recorder, const char *ulid, int to, struct error *err);
int queue_remove(struct recorder *recorder, const char *ulid, struct error *err);
/* Nothing is begun from now on. by_run: because of how a run has ended, which a person's clear() mends; where
 * a person holds it already, his hold stays, and both reasons are told. */
int queue_hold(struct recorder *recorder, bool by_run, const char *reason, struct error *err);
/* only_by_run: a hold by a person stays. */
int queue_release(struct recorder *recorder, bool only_by_run, struct error *err);

int queue_read(const char *db_path, struct queue_list *ret_list, struct error *err);
/* The entry of a ULID or a unique beginning of one (at least 4 characters), and its campaign's text (free();
 * NULL: not wanted). */
int queue_find(const char *db_path, const char *ulid, struct queue_item *ret_item, char **ret_document,
               struct error *err);

#endif
