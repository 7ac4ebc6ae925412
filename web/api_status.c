/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * api_status: liveness, the present state, metrics.
 */
#include "web/router.h"

#include <stdatomic.h>

#include "daemon/base/build.h"

int api_health(struct web_call *call, struct error *err)
{
    cJSON *tree = cJSON_CreateObject();

    (void)err;
    cJSON_AddTrueToObject(tree, "ok");
    cJSON_AddStringToObject(tree, "build", build_revision);
    reply_json(call->reply, 200, tree);
    return 0;
}

int api_status(struct web_call *call, struct error *err)
{
    const struct command *command;
    cJSON *tree;

    int rc = call_command(call, &command, err);
    if (rc == 0)
        rc = command->status(command->context, &tree, err);
    if (rc == 0)
        reply_json(call->reply, 200, tree);
    return rc;
}

static void add_counters(struct strbuf *out, const struct web_counters *counters)
{
    const struct {
        const char *name, *kind, *help;
        unsigned long long value;
    } rows[] = {
        { "http_requests_total", "counter", "Requests that were answered.",
          atomic_load(&counters->requests) },
        { "http_refused_total", "counter", "Requests that the gate refused.",
          atomic_load(&counters->refused) },
        { "http_unauthorized_total", "counter", "Requests refused for want of a token or role.",
          atomic_load(&counters->unauthorized) },
        { "http_connections", "gauge", "Open connections, streams included.",
          (unsigned long long)atomic_load(&counters->connections) },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        strbuf_add(out, "# HELP nightbench_%s %s\n# TYPE nightbench_%s %s\nnightbench_%s %llu\n",
                   rows[i].name, rows[i].help, rows[i].name, rows[i].kind, rows[i].name, rows[i].value);
}

int api_metrics(struct web_call *call, struct error *err)
{
    const struct command *command;
    struct strbuf out = { 0 };

    int rc = call_command(call, &command, err);
    if (rc == 0 && command->metrics == NULL)
        rc = error_set(err, ERR_UNSUPPORTED, "this daemon has no metrics");
    if (rc == 0)
        rc = command->metrics(command->context, &out, err);
    if (rc == 0 && call->counters != NULL)
        add_counters(&out, call->counters);
    if (rc == 0 && out.failed)
        rc = error_set(err, ERR_MEMORY, "no memory for the metrics");
    if (rc == 0) {
        reply_text(call->reply, 200, "text/plain; version=0.0.4; charset=utf-8", out.text);
        return 0;
    }
    strbuf_free(&out);
    return rc;
}
