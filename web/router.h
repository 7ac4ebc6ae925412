/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * router: the one table of routes. docs/openapi.json is held against it by tests/unit/test_router.c. A
 * resource's handler gets a struct web_call and fills its reply; it knows nothing of sockets.
 */
#ifndef WEB_ROUTER_H
#define WEB_ROUTER_H

#include <stdatomic.h>

#include "daemon/command.h"
#include "web/auth.h"
#include "web/request.h"

struct query; /* db/query.h */

enum route_flag {
    ROUTE_QUICK = 1 << 0,   /* answers from a snapshot or a queue: runs on the HTTP thread, never waits */
    ROUTE_STREAM = 1 << 1,  /* the event stream: served by http.c itself, has no handler */
    ROUTE_CACHED = 1 << 2,  /* the same answer serves everybody until an event or a POST */
    ROUTE_KEYED = 1 << 3,   /* needs an Idempotency-Key */
    ROUTE_COMMAND = 1 << 4, /* does something: goes into the audit log */
    ROUTE_KEYABLE = 1 << 5  /* takes an Idempotency-Key */
};

struct web_call;

struct web_route {
    const char *method, *pattern; /* "/api/v1/runs/{id}/points" */
    enum auth_role role;          /* the least that may ask */
    unsigned flags;
    const char *const *query; /* names of the query parameters it knows, NULL-terminated; NULL none */
    int (*handler)(struct web_call *call, struct error *err);
    const char *summary;
};

/* What the server has counted since its start; for /metrics. */
struct web_counters {
    _Atomic uint64_t requests, refused,
        unauthorized; /* that were answered; by the gate; for want of a token or role */
    _Atomic int connections;
};

/* One request on its way through a handler. A handler returns 0 with the reply filled, or an error code with
 * err. */
struct web_call {
    const struct web_request *request;
    const struct web_route *route;
    const struct command *command;   /* NULL: answering from a database file alone */
    struct query *query;             /* NULL in quick routes, and when the store cannot be opened */
    const struct error *query_error; /* why not, or NULL */
    struct auth *auth;               /* NULL: nobody over TCP may do anything that is not public */
    struct auth_identity who;
    const char *site;                    /* "http://127.0.0.1:8080", or NULL without TCP */
    const struct web_counters *counters; /* or NULL */
    char id[WEB_SEGMENT_MAX];            /* the decoded {id} of the pattern */
    char about[WEB_ABOUT_MAX];           /* what the body names, for the audit log: printing ASCII, or "" */
    const struct command_key *key;       /* of a request that came with one, new so far; else NULL */
    struct web_reply *reply;
};

/* The whole table, *ret_count rows. */
const struct web_route *router_table(size_t *ret_count);
/* Finds the route and fills call->route and call->id; false with a 404, 405 or 400 problem in call->reply.
 * call->request and call->reply must be set. */
bool router_find(struct web_call *call);
/* Fills call->who; false with a 401 or 403 problem in call->reply. */
bool router_authorize(struct web_call *call);
/* Runs the handler of call->route; an error becomes a problem document. */
void router_run(struct web_call *call);

/* ---- For handlers ---- */
/* Decoded value of a query parameter into out; false when it is absent. */
bool call_parameter(const struct web_call *call, const char *name, char out[WEB_VALUE_MAX]);
/* Fills call->about; what does not print becomes '?'. */
void call_tell(struct web_call *call, const char *first, const char *second);
/* Integer or number in a range; absent gives fallback. */
int call_integer(const struct web_call *call, const char *name, int64_t min, int64_t max, int64_t fallback,
                 int64_t *ret_value, struct error *err);
/* The body as a tree: caller deletes. An empty body is an empty object. */
int call_body(const struct web_call *call, cJSON **ret_body, struct error *err);
/* The daemon, or ERR_UNSUPPORTED where there is only a file. */
int call_command(const struct web_call *call, const struct command **ret_command, struct error *err);

/* The tokens, or ERR_UNSUPPORTED. */
int call_auth(const struct web_call *call, struct auth **ret_auth, struct error *err);
/* The store, or the reason why it cannot be opened. */
int call_store(const struct web_call *call, struct query **ret_query, struct error *err);
/* Answers 200 with {"<name>": list}; takes the list. */
void call_reply_list(struct web_call *call, const char *name, cJSON *list);

/* Handlers, one file per resource. */
int api_health(struct web_call *call, struct error *err);            /* api_status.c */
int api_status(struct web_call *call, struct error *err);            /* api_status.c */
int api_metrics(struct web_call *call, struct error *err);           /* api_status.c */
int api_audit(struct web_call *call, struct error *err);             /* api_audit.c */
int api_tokens(struct web_call *call, struct error *err);            /* api_tokens.c */
int api_token_add(struct web_call *call, struct error *err);         /* api_tokens.c */
int api_token_revoke(struct web_call *call, struct error *err);      /* api_tokens.c */
int api_login_make(struct web_call *call, struct error *err);        /* api_tokens.c */
int api_login_use(struct web_call *call, struct error *err);         /* api_tokens.c */
int api_bench(struct web_call *call, struct error *err);             /* api_bench.c */
int api_instruments(struct web_call *call, struct error *err);       /* api_instruments.c */
int api_instrument_query(struct web_call *call, struct error *err);  /* api_instruments.c */
int api_instrument_report(struct web_call *call, struct error *err); /* api_instruments.c */
int api_scan(struct web_call *call, struct error *err);              /* api_instruments.c */
int api_chips(struct web_call *call, struct error *err);             /* api_bench.c */
int api_campaigns(struct web_call *call, struct error *err);         /* api_campaigns.c */
int api_campaign_check(struct web_call *call, struct error *err);    /* api_campaigns.c */
int api_campaign_plan(struct web_call *call, struct error *err);     /* api_campaigns.c */
int api_run_start(struct web_call *call, struct error *err);         /* api_queue.c */
int api_queue(struct web_call *call, struct error *err);             /* api_queue.c */
int api_queue_add(struct web_call *call, struct error *err);         /* api_queue.c */
int api_queue_entry(struct web_call *call, struct error *err);       /* api_queue.c */
int api_queue_edit(struct web_call *call, struct error *err);        /* api_queue.c */
int api_queue_move(struct web_call *call, struct error *err);        /* api_queue.c */
int api_queue_remove(struct web_call *call, struct error *err);      /* api_queue.c */
int api_queue_hold(struct web_call *call, struct error *err);        /* api_queue.c */
int api_queue_release(struct web_call *call, struct error *err);     /* api_queue.c */
int api_pause(struct web_call *call, struct error *err);             /* api_pause.c */
int api_resume(struct web_call *call, struct error *err);            /* api_pause.c */
int api_stop(struct web_call *call, struct error *err);              /* api_control.c */
int api_abort(struct web_call *call, struct error *err);             /* api_control.c */
int api_estop(struct web_call *call, struct error *err);             /* api_control.c */
int api_clear(struct web_call *call, struct error *err);             /* api_clear.c */
int api_runs(struct web_call *call, struct error *err);              /* api_runs.c */
int api_run(struct web_call *call, struct error *err);               /* api_runs.c */
int api_run_points(struct web_call *call, struct error *err);        /* api_runs.c */
int api_run_samples(struct web_call *call, struct error *err);       /* api_runs.c */
int api_run_channels(struct web_call *call, struct error *err);      /* api_runs.c */
int api_run_traces(struct web_call *call, struct error *err);        /* api_runs.c */
int api_run_events(struct web_call *call, struct error *err);        /* api_runs.c */
int api_run_calibrations(struct web_call *call, struct error *err);  /* api_runs.c */
int api_run_tensors(struct web_call *call, struct error *err);       /* api_runs.c */
int api_run_export(struct web_call *call, struct error *err);        /* api_export.c */
int api_compare(struct web_call *call, struct error *err);           /* api_compare.c */

#endif
