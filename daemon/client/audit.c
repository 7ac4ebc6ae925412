/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * audit: `nightbench audit`, the commands that a daemon was given, as a table.
 */
#include <ctype.h>
#include <string.h>

#include "daemon/client/commands.h"
#include "daemon/client/read.h"
#include "daemon/client/show.h"
#include "daemon/client/table.h"

/* "&user=a%20b"; nothing where value is NULL. */
static void add_parameter(struct strbuf *path, const char *name, const char *value)
{
    if (value == NULL)
        return;
    strbuf_add(path, "%c%s=", strchr(path->text, '?') == NULL ? '?' : '&', name);
    for (const char *c = value; *c != '\0'; c++) {
        if (isalnum((unsigned char)*c) || strchr("-._~:", *c) != NULL)
            strbuf_bytes(path, c, 1);
        else
            strbuf_add(path, "%%%02X", (unsigned char)*c);
    }
}

static void show_audit(const cJSON *tree, FILE *out)
{
    static const char *const heads[] = { ">ID",     "WHEN (UTC)", "USER",           "ROLE",
                                         "COMMAND", ">STATUS",    "WHAT CAME OF IT" };
    const cJSON *item;
    struct table table;

    table_init(&table, 7, heads);
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(tree, "audit"))
    {
        char id[24], status[24];

        snprintf(id, sizeof id, "%.0f", show_number(item, "id"));
        snprintf(status, sizeof status, "%.0f", show_number(item, "status"));
        table_row(&table, (const char *const[]){ id, show_text(item, "wall"), show_text(item, "user"),
                                                 show_text(item, "role"), show_text(item, "action"), status,
                                                 show_text(item, "subject") });
    }
    table_print(&table, out);
    table_free(&table);
}

int do_audit(const struct args *args)
{
    struct strbuf path = { 0 };
    struct error err = { 0 };
    struct source source;

    strbuf_add(&path, "/api/v1/audit");
    if (!path.failed) {
        add_parameter(&path, "user", args->user);
        add_parameter(&path, "from", args->from);
        add_parameter(&path, "to", args->to);
        add_parameter(&path, "before", args->before);
        add_parameter(&path, "limit", args->limit);
    }
    int rc = path.failed ? error_set(&err, ERR_MEMORY, "no memory for the request")
                         : source_open(args, &source, &err);
    if (rc == 0) {
        rc = read_print(&source, path.text, args->json, show_audit, &err);
        source_close(&source);
    }
    strbuf_free(&path);
    return rc == 0 ? EXIT_OK : commands_fail(&err);
}
