/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * args: the command line as tables.
 */
#include "daemon/client/args.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/json.h"

enum args_kind { KIND_FLAG, KIND_TEXT, KIND_NUMBER, KIND_INTEGER, KIND_BACKEND, KIND_ROLE };

struct args_row {
    const char *name, *value; /* value: its name in the help, NULL for a flag */
    unsigned option;          /* which commands take it */
    enum args_kind kind;
    size_t offset;
    const char *help;
};

static const struct args_row rows[] = {
    { "--json", NULL, ARGS_JSON, KIND_FLAG, offsetof(struct args, json),
      "print the API's JSON instead of tables" },
    { "--socket", "PATH", ARGS_WHERE, KIND_TEXT, offsetof(struct args, socket),
      "Unix socket of the daemon (default: in its run directory)" },
    { "--url", "URL", ARGS_WHERE, KIND_TEXT, offsetof(struct args, url),
      "HTTP address of the daemon, e.g. http://127.0.0.1:8080" },
    { "--db", "FILE", ARGS_DB, KIND_TEXT, offsetof(struct args, db),
      "read this store, without a daemon; run: record into it (default nightbench.db)" },
    { "--bench", "FILE", ARGS_BENCH, KIND_TEXT, offsetof(struct args, bench),
      "bench file (default: the one that the campaign names)" },
    { "--once", NULL, ARGS_ONCE, KIND_FLAG, offsetof(struct args, once),
      "run: end after the report; watch: print the state once" },
    { "--strict", NULL, ARGS_STRICT, KIND_FLAG, offsetof(struct args, strict),
      "exit 1 when a verdict is not \"pass\"" },
    { "--seed", "N", ARGS_START, KIND_NUMBER, offsetof(struct args, seed),
      "seed of the run (default: the campaign's)" },
    { "--backend", "B", ARGS_START, KIND_BACKEND, offsetof(struct args, backend),
      "chip (default) or reference" },
    { "--role", "ROLE", ARGS_ROLE, KIND_ROLE, offsetof(struct args, role),
      "viewer (token's default), operator (login's default) or admin" },
    { "--days", "N", ARGS_DAYS, KIND_NUMBER, offsetof(struct args, days),
      "the token ends by itself after so many days" },
    { "--user", "NAME", ARGS_AUDIT, KIND_TEXT, offsetof(struct args, user),
      "only what this one has commanded" },
    { "--from", "TIME", ARGS_AUDIT, KIND_TEXT, offsetof(struct args, from),
      "not before this UTC time: 2026-01-31 or 2026-01-31T18:00" },
    { "--to", "TIME", ARGS_AUDIT, KIND_TEXT, offsetof(struct args, to), "before this UTC time" },
    { "--before", "ID", ARGS_AUDIT, KIND_NUMBER, offsetof(struct args, before),
      "older than this entry: the next page" },
    { "--limit", "N", ARGS_AUDIT, KIND_NUMBER, offsetof(struct args, limit), "at most so many (100)" },
    { "--operator", "NAME", ARGS_START, KIND_TEXT, offsetof(struct args, operator_name),
      "recorded with the run" },
    { "--tags", "TEXT", ARGS_START, KIND_TEXT, offsetof(struct args, tags), "recorded with the run" },
    { "--note", "TEXT", ARGS_START, KIND_TEXT, offsetof(struct args, note), "recorded with the run" },
    { "--priority", "N", ARGS_QUEUE, KIND_INTEGER, offsetof(struct args, priority),
      "the higher begins first, -1000 to 1000 (default 0)" },
    { "--not-before", "TIME", ARGS_QUEUE, KIND_TEXT, offsetof(struct args, not_before),
      "22:00 (the next one) or 2026-01-31T22:00; \"\" takes it away" },
    { "--until", "TIME", ARGS_QUEUE, KIND_TEXT, offsetof(struct args, until),
      "by then the run has ended; points that do not fit are skipped" },
    { "--now", NULL, ARGS_NOW, KIND_FLAG, offsetof(struct args, now),
      "begin at once, or not at all when the bench is busy" },
    { "--real", NULL, ARGS_REAL, KIND_FLAG, offsetof(struct args, real),
      "real time (default: virtual, as fast as it computes)" },
    { "--die", "N", ARGS_SIM, KIND_NUMBER, offsetof(struct args, die),
      "which simulated die is in the socket" },
    { "--chip", "JSON", ARGS_SIM, KIND_TEXT, offsetof(struct args, chip), "options of the simulated chip" },
    { "--port", "N", ARGS_SIM, KIND_NUMBER, offsetof(struct args, port),
      "HTTP port of the private daemon (default: any free one)" },
    { "--what", "TABLE", ARGS_EXPORT, KIND_TEXT, offsetof(struct args, what),
      "points (default), samples, readings, traces, events" },
    { "--csv", NULL, ARGS_EXPORT, KIND_FLAG, offsetof(struct args, csv), "comma separated values (default)" },
    { "--records", NULL, ARGS_EXPORT, KIND_FLAG, offsetof(struct args, records),
      "canonical records: equal files mean identical runs" },
    { "-o", "FILE", ARGS_EXPORT, KIND_TEXT, offsetof(struct args, output),
      "write there (default: standard output)" },
};
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

static const struct args_row *find_row(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

/* The nearest option of this command, for the message; NULL when nothing is near. */
static const char *nearest_option(const struct args_command *command, const char *word)
{
    const char *names[ROW_COUNT + 1];
    int count = 0;

    for (int i = 0; i < ROW_COUNT; i++)
        if ((rows[i].option & command->options) != 0)
            names[count++] = rows[i].name;
    names[count] = NULL;
    return json_nearest(word, names);
}

static const struct args_command *find_command(const struct args_command *commands, const char *name,
                                               struct error *err)
{
    enum { NAMES_MAX = 32 };
    const char *names[NAMES_MAX + 1];
    int count = 0;

    for (const struct args_command *c = commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
        if (count < NAMES_MAX)
            names[count++] = c->name;
    }
    names[count] = NULL;
    const char *near = json_nearest(name, names);
    error_set(err, ERR_INVALID, "'%s' is not a command%s%s%s; see 'nightbench help'", name,
              near != NULL ? ": did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
    return NULL;
}

static int check_value(const struct args_row *row, const char *text, struct error *err)
{
    if (row->kind == KIND_NUMBER &&
        (text[0] == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 15))
        return error_set(err, ERR_INVALID, "%s takes a whole number, not '%s'", row->name, text);
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (row->kind == KIND_INTEGER &&
        (digits[0] == '\0' || strspn(digits, "0123456789") != strlen(digits) || strlen(digits) > 6))
        return error_set(err, ERR_INVALID, "%s takes an integer, not '%s'", row->name, text);
    if (row->kind == KIND_BACKEND && strcmp(text, "chip") != 0 && strcmp(text, "reference") != 0)
        return error_set(err, ERR_INVALID, "%s is chip or reference, not '%s'", row->name, text);
    if (row->kind == KIND_ROLE && strcmp(text, "viewer") != 0 && strcmp(text, "operator") != 0 &&
        strcmp(text, "admin") != 0)
        return error_set(err, ERR_INVALID, "%s is viewer, operator or admin, not '%s'", row->name, text);
    return 0;
}

/* Takes argv[*at] (and its value) as an option. */
static int take_option(struct args *args, int argc, char *const *argv, int *at, struct error *err)
{
    const char *name = argv[*at];
    const struct args_row *row = find_row(name);

    if (row == NULL || (row->option & args->command->options) == 0) {
        const char *near = nearest_option(args->command, name);

        return error_set(err, ERR_INVALID, "'nightbench %s' has no option '%s'%s%s%s", args->command->name,
                         name, near != NULL ? ": did you mean '" : "", near != NULL ? near : "",
                         near != NULL ? "'?" : "");
    }
    if (row->kind == KIND_FLAG) {
        *(bool *)((char *)args + row->offset) = true;
        return 0;
    }
    if (*at + 1 >= argc)
        return error_set(err, ERR_INVALID, "%s needs a value: %s %s", name, name, row->value);
    const char *text = argv[++*at];
    *(const char **)((char *)args + row->offset) = text;
    return check_value(row, text, err);
}

int args_parse(const struct args_command *commands, int argc, char *const *argv, struct args *ret_args,
               struct error *err)
{
    struct args args = { 0 };
    bool only_positional = false;

    if (argc < 2)
        return error_set(err, ERR_INVALID, "which command? see 'nightbench help'");
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    if (strcmp(word, "--version") == 0)
        word = "version";
    args.command = find_command(commands, word, err);
    if (args.command == NULL)
        return ERR_INVALID;
    for (int at = 2; at < argc; at++) {
        const char *text = argv[at];

        if (!only_positional && strcmp(text, "--") == 0) {
            only_positional = true;
        } else if (!only_positional && text[0] == '-' && text[1] != '\0') {
            int rc = take_option(&args, argc, argv, &at, err);
            if (rc != 0)
                return rc;
        } else if (args.positional_count == args.command->max) {
            return error_set(err, ERR_INVALID, "'%s' is one argument too many: nightbench %s %s", text,
                             args.command->name, args.command->usage);
        } else {
            args.positional[args.positional_count++] = text;
        }
    }
    if (args.positional_count < args.command->min)
        return error_set(err, ERR_INVALID, "an argument is missing: nightbench %s %s", args.command->name,
                         args.command->usage);
    *ret_args = args;
    return 0;
}

void args_help(const struct args_command *commands, FILE *out)
{
    fputs("nightbench: runs campaigns on a bench and shows what came out.\n\nCommands\n", out);
    for (const struct args_command *c = commands; c->name != NULL; c++)
        fprintf(out, "  %-8s %-10s %s\n", c->name, c->usage, c->summary);
    fputs("\nOptions (each command takes those that make sense for it)\n", out);
    for (int i = 0; i < ROW_COUNT; i++)
        fprintf(out, "  %-10s %-6s %s\n", rows[i].name, rows[i].value != NULL ? rows[i].value : "",
                rows[i].help);
    fputs("\nWith --url, the environment's NIGHTBENCH_TOKEN says who asks, NIGHTBENCH_CA which certificate "
          "to trust.\nA RUN is a ULID, its first "
          "characters, or \"latest\".\n"
          "Exit codes: 0 done, 1 verdicts are not all pass (--strict), the compared runs differ, or an "
          "instrument is not there, 2 usage, "
          "3 campaign not\n"
          "valid, 4 no daemon answers, 5 run failed, 6 run stopped or aborted, 7 request refused, 8 this "
          "host.\n",
          out);
}

int args_exit_of(int code)
{
    switch (code) {
    case ERR_OK:
        return EXIT_OK;
    case ERR_NO_ANSWER:
    case ERR_LINK:
    case ERR_TIMEOUT:
        return EXIT_UNREACHABLE;
    case ERR_IO:
    case ERR_MEMORY:
    case ERR_FULL:
        return EXIT_SYSTEM;
    default:
        return EXIT_REFUSED;
    }
}
