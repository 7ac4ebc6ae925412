/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fake: what the parts of the fake daemon share. Each part owns its fields and puts its methods into the
 * table of commands.
 */
#ifndef TESTS_API_FAKE_H
#define TESTS_API_FAKE_H

#include <pthread.h>

#include "daemon/command.h"
#include "daemon/events.h"

enum { FAKE_KEYS = 16 };

struct fake {
    struct events *events;
    int point_ms; /* how long a point takes */

    pthread_mutex_t lock; /* guards all below */

    /* fake_run.c */
    bool busy, stop, paused;
    int done;
    char state[24], ulid[ULID_TEXT];
    pthread_t runner;
    bool runner_made;

    /* fake_queue.c */
    char held[64]; /* why the queue is held; "": it is not */
    bool waits;    /* one entry: set by a start while a run is under way */

    /* fake_keys.c */
    int keys;
    struct command_key key[FAKE_KEYS];
    struct command_answer answer[FAKE_KEYS]; /* texts owned */
};

void fake_documents_serve(struct command *command);
void fake_run_serve(struct command *command);
void fake_queue_serve(struct command *command);
void fake_keys_serve(struct command *command);

/* Ends the run that is under way, and its thread. */
void fake_run_end(struct fake *fake);
void fake_keys_free(struct fake *fake);

/* A run as the queue lists it; with a state, as an answer to a command has it. */
cJSON *fake_queue_row(const char *ulid, int place, const char *state);

/* A small run in a new store, through the real recorder. */
int recorded_run(const char *db_path, struct error *err);

#endif
