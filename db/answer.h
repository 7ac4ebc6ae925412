/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * answer: what requests with an Idempotency-Key were told, so that the same request gets the same answer
 * after a lost connection and after a restart. Kept for a day, and only so many. Changes go through the
 * recorder. */
#ifndef DB_ANSWER_H
#define DB_ANSWER_H

#include "db/recorder.h"

enum { ANSWERS_MAX = 1000, ANSWER_KEY_MAX = 80, ANSWER_LOCATION_MAX = 96, ANSWER_HOURS = 24 };

struct sqlite3;

struct answer {
    char key[ANSWER_KEY_MAX];
    uint8_t request[32]; /* hash of what was asked under it */
    int status;
    char *body; /* JSON; malloc'ed where it was read: free() */
    char location[ANSWER_LOCATION_MAX];
};

/* 1: the answer, with body (free()); 0: the key is new, or older than ANSWER_HOURS; ERR_CONFLICT: it stands
 * for another request. Opens the store for a moment. Any thread. */
int answer_find(const char *db_path, const char *key, const uint8_t request[32], struct answer *ret_answer,
                struct error *err);
/* On disk when it returns. What answer_insert has kept for the same request is replaced: it was all that was
 * known then. Any thread. */
int answer_keep(struct recorder *recorder, const struct answer *answer, struct error *err);
/* Within a transaction of db/. ERR_CONFLICT: the key is taken. */
int answer_insert(struct sqlite3 *db, const struct answer *answer, struct error *err);

#endif
