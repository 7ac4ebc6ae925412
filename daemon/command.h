/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * command: what the web layer may ask of the daemon. Commands go into the daemon's queue and return when they
 * are accepted; documents are built from immutable snapshots, so that no HTTP thread waits for an
 * instrument, but for the three questions below, which a query thread waits for. All calls may come from any
 * thread. Returned trees are the caller's: cJSON_Delete().
 */
#ifndef DAEMON_COMMAND_H
#define DAEMON_COMMAND_H

#include "daemon/base/json.h"
#include "daemon/base/text.h"

struct daemon_event {
    uint64_t id;     /* increasing; Last-Event-ID of the stream */
    char kind[24];   /* "state", "progress", "point", "queue", "trip", "log" */
    char json[1024]; /* one JSON object, no newline */
};

/* What stands behind an Idempotency-Key. */
struct command_key {
    const char *text;
    uint8_t request[32]; /* hash of what is asked */
};
struct command_answer {
    int status;
    char *body; /* JSON; the caller's where it is returned: free() */
    char location[96];
};

/* A run that is asked for; or, of one that waits, what is to be changed: NULL leaves it as it is. */
struct command_start {
    const char *campaign_path; /* file in the daemon's configs, or NULL */
    const char *campaign_json; /* or the text itself */
    const char *backend;       /* "chip" (default when NULL) or "reference" */
    const char *operator_name, *tags, *note;
    const char *not_before, *until; /* times as people write them (daemon/base/walltime.h); "": none */
    const uint64_t *seed;           /* 0: the campaign's */
    const int *priority;            /* 0 */
    bool now;                       /* at once, or not at all */
    const struct command_key *key;  /* same key, same answer; NULL: none */
};

enum { AUDIT_ACTION_MAX = 192 };

/* One command that somebody gave over HTTP, done or refused. */
struct command_audit {
    const char *user, *role;
    const char *action;  /* "POST /api/v1/instruments/dmm1/query *IDN?", cut at AUDIT_ACTION_MAX */
    int status;          /* HTTP status of the answer */
    const char *subject; /* what came of it: "/api/v1/runs/ULID", why it was refused, or "" */
};

struct command {
    void *context;
    /* Current state:
     * {"state":"running","run":ULID,"bench":..,"progress":{..},"rails":[..],"clock":"virtual",...}. */
    int (*status)(void *context, cJSON **ret, struct error *err);
    int (*bench)(void *context, cJSON **ret, struct error *err); /* bench file, identities, rails, limits */
    int (*chips)(void *context, cJSON **ret, struct error *err); /* profile, chip in the socket, die id */
    int (*campaigns)(void *context, cJSON **ret, struct error *err); /* the files of configs/campaigns */
    /* Explains a campaign: {"ok":false,"problems":[{pointer,reason,hint}]}. path or text, the other NULL. */
    int (*check)(void *context, const char *path, const char *text, cJSON **ret, struct error *err);
    /* {"steps":[..],"points":n,"samples":n,"duration_s":..,"bytes":..,"setpoints":[..]} or problems as check.
     */
    int (*plan)(void *context, const char *path, const char *text, cJSON **ret, struct error *err);
    /* Into the queue, and from there at once when the bench is free: {"run":ULID,"state":..,"place":..,..}.
     * Mistakes of the request and of its campaign go into problems, with ERR_INVALID; what is in there
     * already is a mistake, too. */
    int (*start)(void *context, const struct command_start *start, cJSON **ret,
                 struct json_problems *problems, struct error *err);
    /* The queue: {"held":..,"entries":[..]}; one entry with its campaign; and what can be done to one that
     * waits. `run`: its ULID, or a unique beginning. */
    int (*queue)(void *context, cJSON **ret, struct error *err);
    int (*queue_entry)(void *context, const char *run, cJSON **ret, struct error *err);
    int (*queue_edit)(void *context, const char *run, const struct command_start *changes, cJSON **ret,
                      struct json_problems *problems, struct error *err);
    int (*queue_move)(void *context, const char *run, int place, cJSON **ret, struct error *err);
    int (*queue_remove)(void *context, const char *run, cJSON **ret, struct error *err);
    /* Nothing is begun any more; and again. */
    int (*queue_hold)(void *context, const char *who, const char *reason, cJSON **ret, struct error *err);
    int (*queue_release)(void *context, const char *who, cJSON **ret, struct error *err);
    /* What a key was answered: 1, 0 when it is new, ERR_CONFLICT when it came with another request. */
    int (*recall)(void *context, const struct command_key *key, struct command_answer *ret,
                  struct error *err);
    int (*remember)(void *context, const struct command_key *key, const struct command_answer *answer,
                    struct error *err);
    int (*pause)(void *context, bool dark, struct error *err); /* between points; dark: outputs off */
    /* A run that is paused or held; where none is under way, the one that was interrupted last. */
    int (*resume)(void *context, char ret_ulid[ULID_TEXT], struct error *err);
    int (*stop)(void *context, struct error *err);  /* after this point, ordered power-down */
    int (*abort)(void *context, struct error *err); /* now, ordered power-down */
    int (*estop)(void *context, const char *who, struct error *err);
    /* Ends a latched emergency stop or trip; the reason is recorded. */
    int (*clear)(void *context, const char *who, const char *reason, struct error *err);
    /* What a person asks the instruments; while no run is active. These three wait for the instruments. */
    int (*scan)(void *context, cJSON **ret, struct error *err);
    int (*query)(void *context, const char *instrument, const char *text, cJSON **ret, struct error *err);
    int (*report)(void *context, const char *instrument, cJSON **ret, struct error *err);
    int (*compare)(void *context, const char *run_a, const char *run_b, cJSON **ret, struct error *err);
    /* Events after `after` that are still kept (0: all) into out[max]; returns the count, 0 when there are
     * none yet. wake_fd() is an eventfd-like descriptor for poll that is readable whenever new events may
     * exist; one per subscriber. */
    int (*events)(void *context, uint64_t after, struct daemon_event *out, int max);
    int (*subscribe)(void *context, void (*wake)(void *wake_context), void *wake_context);
    void (*unsubscribe)(void *context, void *wake_context);
    /* Remembers a command; never waits. NULL: nobody keeps a record. */
    void (*audit)(void *context, const struct command_audit *audit);
    /* Appends metrics of the daemon as Prometheus text 0.0.4. */
    int (*metrics)(void *context, struct strbuf *out, struct error *err);
    const char *db_path; /* for db/query */
};

#endif
