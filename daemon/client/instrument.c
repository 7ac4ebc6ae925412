/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * instrument: `nightbench scan` and `nightbench instrument`: what somebody asks who stands at the bench. A
 * scan of a bench file works on the links themselves; everything else goes through the daemon.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/client/commands.h"
#include "daemon/client/control.h"
#include "daemon/client/show.h"
#include "daemon/client/source.h"
#include "daemon/client/table.h"
#include "daemon/scan.h"
#include "instruments/keeper_client.h"

static const cJSON *member(const cJSON *tree, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(tree, name);
}

static int post(const struct args *args, const char *path, const char *body, cJSON **ret, struct error *err)
{
    struct remote *remote;

    int rc = source_remote(args, &remote, err);
    if (rc == 0) {
        rc = remote_post(remote, path, body, NULL, ret, err);
        remote_close(remote);
    }
    return rc;
}

/* ---- scan ---- */

/* Most gear takes one client, and what a keeper holds may be switched on: its daemon is asked then. */
static int check_unheld(const struct args *args, const struct bench_file *file, struct error *err)
{
    char path[CONTROL_PATH_MAX], *status = NULL;
    struct error ignored = { .code = 0 };
    cJSON *tree = NULL;

    if (control_keeper_path(args, path, sizeof path, &ignored) != 0 ||
        keeper_client_status(path, &status, &ignored) != 0)
        return 0;
    bool held = json_parse(status, strlen(status), &tree, &ignored) == 0 &&
                strcmp(show_text(tree, "bench"), file->name) == 0;
    cJSON_Delete(tree);
    free(status);
    return !held ? 0
                 : error_set(err, ERR_CONFLICT,
                             "a keeper holds bench '%s': ask its daemon, with 'nightbench scan' alone",
                             file->name);
}

static int scan_here(const struct args *args, cJSON **ret, struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct bench_file *file = NULL;
    cJSON *list = NULL;

    if (problems == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the bench file");
    int rc = bench_file_load(args->positional[0], &file, problems, err);
    for (int i = 0; i < problems->count && i < JSON_PROBLEMS_MAX; i++)
        fprintf(stderr, "%s: %s\n", problems->item[i].pointer, problems->item[i].reason);
    if (rc == 0)
        rc = check_unheld(args, file, err);
    if (rc == 0)
        rc = scan_addresses(file, NULL, &list, err);
    bench_file_free(file);
    free(problems);
    if (rc != 0)
        return rc;
    *ret = cJSON_CreateObject();
    cJSON_AddItemToObject(*ret, "instruments", list);
    return 0;
}

static void identity_text(const cJSON *identity, char *out, size_t size)
{
    snprintf(out, size, "%s %s, serial %s", show_text(identity, "vendor"), show_text(identity, "model"),
             show_text(identity, "serial"));
}

static const char *verdict(const cJSON *row)
{
    if (show_true(row, "matches"))
        return "ok";
    return show_true(row, "answers") ? "ANOTHER" : "SILENT";
}

/* True when everybody is there who should be. */
static bool print_scan(const cJSON *tree, FILE *out)
{
    static const char *const heads[] = { "instrument", "address", "", "who" };
    struct table table;
    const cJSON *row;
    bool all = true;

    table_init(&table, 4, heads);
    cJSON_ArrayForEach(row, member(tree, "instruments"))
    {
        char who[256], wanted[240];
        bool matches = show_true(row, "matches");
        const cJSON *found = member(row, "found");

        if (cJSON_IsObject(found))
            identity_text(found, who, sizeof who);
        else
            snprintf(who, sizeof who, "%s", show_text(row, "error"));
        table_row(&table, (const char *const[]){ show_text(row, "name"), show_text(row, "resource"),
                                                 verdict(row), who });
        if (!matches && cJSON_IsObject(found)) {
            identity_text(member(row, "expected"), wanted, sizeof wanted);
            snprintf(who, sizeof who, "expected: %s", wanted);
            table_row(&table, (const char *const[]){ "", "", "", who });
        }
        all &= matches;
    }
    if (out != NULL)
        table_print(&table, out);
    table_free(&table);
    return all;
}

int do_scan(const struct args *args)
{
    struct error err = { .code = 0 };
    cJSON *tree;

    int rc = args->positional[0] != NULL ? scan_here(args, &tree, &err)
                                         : post(args, "/api/v1/scan", "", &tree, &err);
    if (rc != 0)
        return commands_fail(&err);
    if (args->json)
        commands_print_json(tree, false);
    bool all = print_scan(tree, args->json ? NULL : stdout);
    cJSON_Delete(tree);
    return all ? EXIT_OK : EXIT_VERDICT;
}

/* ---- instrument NAME query "...", instrument NAME report ---- */

static char *query_body(const char *text)
{
    cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "command", text);
    char *out = json_print(body, false);
    cJSON_Delete(body);
    return out;
}

static void print_channel(const cJSON *channel)
{
    const cJSON *reading;

    printf("%s", show_text(channel, "name"));
    if (strcmp(show_text(channel, "rail"), "-") != 0)
        printf(" (%s)", show_text(channel, "rail"));
    if (member(channel, "on") != NULL)
        printf(": %s, set %g V, limit %g A%s%s", show_true(channel, "on") ? "ON" : "off",
               show_number(channel, "set_v"), show_number(channel, "limit_a"),
               show_true(channel, "limiting") ? ", limiting" : "",
               show_true(channel, "tripped") ? ", TRIPPED" : "");
    else if (cJSON_IsString(member(channel, "error")))
        printf(": %s", show_text(channel, "error"));
    puts("");
    cJSON_ArrayForEach(reading, member(channel, "readings"))
    {
        const cJSON *why = member(reading, "error");

        if (cJSON_IsString(why) && why->valuestring[0] != '\0')
            printf("    %-12s %s\n", show_text(reading, "quantity"), why->valuestring);
        else
            printf("    %-12s %.7g %s +- %.2g\n", show_text(reading, "quantity"),
                   show_number(reading, "value"), show_text(reading, "unit"),
                   show_number(reading, "uncertainty"));
    }
}

static void print_report(const cJSON *tree)
{
    const cJSON *channel, *found = member(tree, "found");
    char who[256];

    identity_text(found, who, sizeof who);
    printf("%s at %s: %s\n", show_text(tree, "name"), show_text(tree, "resource"),
           cJSON_IsObject(found) ? who : show_text(tree, "error"));
    if (cJSON_IsObject(found))
        printf("firmware %s\n", show_text(found, "firmware"));
    cJSON_ArrayForEach(channel, member(tree, "channels")) print_channel(channel);
}

int do_instrument(const struct args *args)
{
    const char *name = args->positional[0], *verb = args->positional[1], *text = args->positional[2];
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
    bool query = strcmp(verb, "query") == 0;
    struct error err = { .code = 0 };
    char path[160];
    cJSON *tree;

    if ((!query && strcmp(verb, "report") != 0) || query != (text != NULL)) {
        fprintf(stderr, "nightbench: instrument NAME query \"COMMAND\", or instrument NAME report\n");
        return EXIT_USAGE;
    }
    if (name[0] == '\0' || strlen(name) > 48 || name[strspn(name, letters)] != '\0') {
        fprintf(stderr, "nightbench: '%.60s' is no name of an instrument\n", name);
        return EXIT_USAGE;
    }
    snprintf(path, sizeof path, "/api/v1/instruments/%s/%s", name, verb);
    char *body = query ? query_body(text) : NULL;
    int rc = query && body == NULL ? error_set(&err, ERR_MEMORY, "no memory for the request")
                                   : post(args, path, body != NULL ? body : "", &tree, &err);
    cJSON_free(body);
    if (rc != 0)
        return commands_fail(&err);
    const char *answer = cJSON_GetStringValue(member(tree, "answer"));
    if (args->json)
        commands_print_json(tree, false);
    else if (query)
        puts(answer != NULL ? answer : "");
    else
        print_report(tree);
    bool met = query || show_true(tree, "matches");
    cJSON_Delete(tree);
    return met ? EXIT_OK : EXIT_VERDICT;
}
