/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_audit: who commanded what, from the store. Only an admin may look: it names people and programs.
 */
#include "web/router.h"

#include "db/query.h"

enum { ENTRIES_DEFAULT = 100 };

static int time_parameter(const struct web_call *call, const char *name, int64_t *time_ns, struct error *err)
{
    char text[WEB_VALUE_MAX];

    if (!call_parameter(call, name, text) || text_parse_time(text, time_ns))
        return 0;
    return error_set(err, ERR_INVALID,
                     "query parameter '%s' is '%.40s', not a UTC time as 2026-01-31 or 2026-01-31T18:00:00Z",
                     name, text);
}

int api_audit(struct web_call *call, struct error *err)
{
    struct query_audit filter = { .to_ns = INT64_MAX };
    char user[WEB_VALUE_MAX];
    struct query *query;
    cJSON *list = NULL;
    int64_t limit;

    int rc = call_integer(call, "limit", 1, QUERY_EVENTS_MAX, ENTRIES_DEFAULT, &limit, err);
    if (rc == 0)
        rc = call_integer(call, "before", 1, INT64_MAX, INT64_MAX, &filter.before_id, err);
    if (rc == 0)
        rc = time_parameter(call, "from", &filter.from_ns, err);
    if (rc == 0)
        rc = time_parameter(call, "to", &filter.to_ns, err);
    if (rc == 0)
        rc = call_store(call, &query, err);
    if (rc != 0)
        return rc;
    if (call_parameter(call, "user", user))
        filter.user = user;
    rc = query_audit_log(query, &filter, (int)limit, &list, err);
    if (rc == 0)
        call_reply_list(call, "audit", list);
    return rc;
}
