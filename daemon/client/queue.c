/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * queue: `nightbench start` and `nightbench queue`: runs that are to come. A verb is a row of a table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/client/commands.h"
#include "daemon/client/read.h"
#include "daemon/client/show.h"
#include "daemon/client/table.h"

enum { CELL = 40, TABLE_COLUMNS = 9 };

/* ---- Adding ---- */

/* The ULID alone on standard output, so that a script can keep it. */
static void tell_entry(const cJSON *entry)
{
    printf("%s\n", show_text(entry, "run"));
    show_budget(entry, stderr);
    if (strcmp(show_text(entry, "state"), "queued") != 0)
        return;
    fprintf(stderr, "queued at place %.0f", show_number(entry, "place"));
    if (strcmp(show_text(entry, "waits"), "-") != 0)
        fprintf(stderr, "; the queue is held: %s\n", show_text(entry, "waits"));
    else
        fprintf(stderr, ", expected to begin %s\n", show_text(entry, "expected_start"));
}

static int add(const struct args *args, const char *path, bool now)
{
    struct error err = { 0 };
    struct remote *remote;
    cJSON *entry;

    int rc = source_remote(args, &remote, &err);
    if (rc == 0) {
        rc = commands_start(remote, args, path, now, &entry, &err);
        remote_close(remote);
    }
    if (rc != 0) {
        int code = commands_fail(&err);

        return rc == ERR_INVALID || rc == ERR_RANGE ? EXIT_CAMPAIGN : code;
    }
    if (args->json)
        commands_print_json(entry, false);
    else
        tell_entry(entry);
    cJSON_Delete(entry);
    return EXIT_OK;
}

int do_start(const struct args *args)
{
    return add(args, args->positional[0], args->now);
}

/* ---- Looking ---- */

static const char *short_time(const cJSON *entry, const char *name, char out[CELL])
{
    const char *text = show_text(entry, name);

    snprintf(out, CELL, "%.16s", text); /* 2026-01-31T18:00 */
    return out;
}

static void show_queue(const cJSON *queue, FILE *out)
{
    static const char *const heads[TABLE_COLUMNS] = { ">PLACE", "RUN",        "CAMPAIGN", ">PRIORITY",
                                                      ">LASTS", "NOT BEFORE", "UNTIL",    "EXPECTED (UTC)",
                                                      "NOTE" };
    const cJSON *held = cJSON_GetObjectItemCaseSensitive(queue, "held"), *entry;
    struct table table;

    if (cJSON_IsObject(held))
        fprintf(out, "held since %s: %s\n", show_text(held, "since"), show_text(held, "reason"));
    table_init(&table, TABLE_COLUMNS, heads);
    cJSON_ArrayForEach(entry, cJSON_GetObjectItemCaseSensitive(queue, "entries"))
    {
        char place[CELL], priority[CELL], lasts[CELL], after[CELL], until[CELL], begin[CELL];
        snprintf(place, sizeof place, "%.0f", show_number(entry, "place"));
        snprintf(priority, sizeof priority, "%.0f", show_number(entry, "priority"));
        text_duration(show_number(entry, "duration_s"), lasts, sizeof lasts);
        const char *texts[TABLE_COLUMNS] = { place,
                                             show_text(entry, "run"),
                                             show_text(entry, "campaign"),
                                             priority,
                                             lasts,
                                             short_time(entry, "not_before", after),
                                             short_time(entry, "until", until),
                                             short_time(entry, "expected_start", begin),
                                             show_text(entry, "note") };
        table_row(&table, texts);
    }
    if (table.rows == 0)
        fputs("nothing waits\n", out);
    else
        table_print(&table, out);
    table_free(&table);
}

static int list(const struct args *args)
{
    return read_document(args, "/api/v1/queue", show_queue);
}

/* ---- Changing ---- */

static int post(const struct args *args, const char *path, const char *body, const char *said)
{
    struct error err = { 0 };
    struct remote *remote;
    char key[ULID_TEXT];
    cJSON *answer;

    text_ulid(key);
    int rc = source_remote(args, &remote, &err);
    if (rc == 0) {
        rc = remote_post(remote, path, body, key, &answer, &err);
        remote_close(remote);
    }
    if (rc != 0) {
        int code = commands_fail(&err);

        return rc == ERR_INVALID || rc == ERR_RANGE ? EXIT_CAMPAIGN : code;
    }
    double place = show_number(answer, "place");
    if (args->json)
        commands_print_json(answer, false);
    else if (place > 0)
        printf("%s, at place %.0f\n", said, place);
    else
        puts(said);
    cJSON_Delete(answer);
    return EXIT_OK;
}

static int to_entry(const struct args *args, const char *verb, const char *body, const char *said)
{
    char path[128];

    snprintf(path, sizeof path, "/api/v1/queue/%.60s/%s", args->positional[1], verb);
    return post(args, path, body, said);
}

static int move(const struct args *args)
{
    const char *place = args->positional[2];
    char body[64];

    if (place[0] == '\0' || strlen(place) > 6 || strspn(place, "0123456789") != strlen(place)) {
        fprintf(stderr, "nightbench: a place is a number from 1, not '%s'\n", place);
        return EXIT_USAGE;
    }
    snprintf(body, sizeof body, "{\"place\":%d}", atoi(place));
    return to_entry(args, "move", body, "moved");
}

static int edit(const struct args *args)
{
    struct error err = { 0 };
    struct strbuf body;

    if (commands_start_body(args, args->positional[2], false, &body, &err) != 0) {
        commands_fail(&err);
        return EXIT_CAMPAIGN;
    }
    int code = to_entry(args, "edit", body.text, "changed");
    strbuf_free(&body);
    return code;
}

static int drop(const struct args *args)
{
    return to_entry(args, "remove", "", "removed");
}

static int hold(const struct args *args)
{
    const char *reason = args->positional[1] != NULL ? args->positional[1] : "";
    cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "reason", reason);
    char *text = body != NULL ? json_print(body, false) : NULL;
    int code = post(args, "/api/v1/queue/hold", text != NULL ? text : "",
                    "no more runs begin until 'nightbench queue release'");
    cJSON_free(text);
    cJSON_Delete(body);
    return code;
}

static int release(const struct args *args)
{
    return post(args, "/api/v1/queue/release", "", "the queue goes on");
}

static int add_verb(const struct args *args)
{
    return add(args, args->positional[1], false);
}

static const struct {
    const char *verb, *usage;
    int min, max; /* words, with the verb */
    int (*run)(const struct args *args);
} verbs[] = {
    { "list", "", 1, 1, list },           { "add", " CAMPAIGN", 2, 2, add_verb },
    { "move", " RUN PLACE", 3, 3, move }, { "edit", " RUN [CAMPAIGN]", 2, 3, edit },
    { "remove", " RUN", 2, 2, drop },     { "hold", " [REASON]", 1, 2, hold },
    { "release", "", 1, 1, release },
};

int do_queue(const struct args *args)
{
    const char *word = args->positional_count > 0 ? args->positional[0] : "list";
    int words = args->positional_count > 0 ? args->positional_count : 1;

    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].verb, word) != 0)
            continue;
        if (words >= verbs[i].min && words <= verbs[i].max)
            return verbs[i].run(args);
        fprintf(stderr, "nightbench: it is: nightbench queue %s%s\n", word, verbs[i].usage);
        return EXIT_USAGE;
    }
    fprintf(stderr,
            "nightbench: '%s' is nothing to do with a queue: list, add, move, edit, remove, hold, release\n",
            word);
    return EXIT_USAGE;
}
