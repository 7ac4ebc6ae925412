/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * read: the commands that only look: status, runs, show, export, compare.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/client/commands.h"
#include "daemon/client/read.h"
#include "daemon/client/show.h"
#include "daemon/compare.h"

enum { PATH_TEXT = 512 };

int read_print(struct source *source, const char *path, bool json, void (*show)(const cJSON *tree, FILE *out),
               struct error *err)
{
    struct strbuf text = { 0 };
    cJSON *tree;

    int rc = source_text(source, path, &text, err);
    if (rc == 0 && json) {
        printf("%s\n", text.text != NULL ? text.text : "");
    } else if (rc == 0) {
        rc = json_parse(text.text != NULL ? text.text : "", text.length, &tree, err);
        if (rc == 0) {
            show(tree, stdout);
            cJSON_Delete(tree);
        } else {
            error_prefix(err, "too much for a table here (use --json or export)");
        }
    }
    strbuf_free(&text);
    return rc;
}

int read_document(const struct args *args, const char *path, void (*show)(const cJSON *tree, FILE *out))
{
    struct error err = { 0 };
    struct source source;

    if (source_open(args, &source, &err) != 0)
        return commands_fail(&err);
    int rc = read_print(&source, path, args->json, show, &err);
    source_close(&source);
    return rc == 0 ? EXIT_OK : commands_fail(&err);
}

int do_status(const struct args *args)
{
    return read_document(args, "/api/v1/status", show_status);
}

int do_runs(const struct args *args)
{
    return read_document(args, "/api/v1/runs?limit=50", show_runs);
}

/* Path of a part of a run; the name is checked so that it needs no encoding. */
static int run_path(const char *run, const char *part, char path[PATH_TEXT], struct error *err)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    if (run[0] == '\0' || strlen(run) > 26 || strspn(run, letters) != strlen(run))
        return error_set(err, ERR_INVALID, "'%s' is not a run: give a ULID, its first characters, or latest",
                         run);
    snprintf(path, PATH_TEXT, "/api/v1/runs/%s%s", run, part);
    return 0;
}

static bool all_pass(const cJSON *run)
{
    static const char *const bad[] = {
        "fail", "marginal", "error", "hang", "link_error", "tripped", "suspect"
    };
    const cJSON *points = cJSON_GetObjectItemCaseSensitive(run, "points");

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (show_number(points, bad[i]) > 0)
            return false;
    return true;
}

static void show_events(const cJSON *events, FILE *out)
{
    show_errors(events, out);
    show_reports(events, out);
}

int read_show_run(struct source *source, const char *run, bool *ret_all_pass, char *state, size_t size,
                  struct error *err)
{
    char path[PATH_TEXT];
    cJSON *tree;

    int rc = run_path(run, "", path, err);
    if (rc == 0)
        rc = source_json(source, path, &tree, err);
    if (rc != 0)
        return rc;
    show_run(tree, stdout);
    *ret_all_pass = all_pass(tree);
    snprintf(state, size, "%s", show_text(tree, "state"));
    cJSON_Delete(tree);
    putchar('\n');
    run_path(run, "/points", path, err);
    rc = read_print(source, path, false, show_points, err);
    if (rc != 0)
        return rc;
    putchar('\n');
    run_path(run, "/events?limit=10000", path, err);
    return read_print(source, path, false, show_events, err);
}

int do_show(const struct args *args)
{
    const char *run = args->positional_count > 0 ? args->positional[0] : "latest";
    char path[PATH_TEXT], state[32];
    struct error err = { 0 };
    struct source source;
    bool pass = true;

    int rc = run_path(run, "", path, &err);
    if (rc != 0) {
        commands_fail(&err);
        return EXIT_USAGE;
    }
    if (source_open(args, &source, &err) != 0)
        return commands_fail(&err);
    if (args->json)
        rc = read_print(&source, path, true, NULL, &err);
    else
        rc = read_show_run(&source, run, &pass, state, sizeof state, &err);
    source_close(&source);
    if (rc != 0)
        return commands_fail(&err);
    return args->strict && !pass ? EXIT_VERDICT : EXIT_OK;
}

/* Into a file beside it first: a broken export leaves no half file under the name. */
static int export_to(struct source *source, const char *path, const char *output, struct error *err)
{
    char temporary[PATH_TEXT];

    if (output == NULL || strcmp(output, "-") == 0)
        return source_download(source, path, stdout, err);
    if (snprintf(temporary, sizeof temporary, "%s.part", output) >= (int)sizeof temporary)
        return error_set(err, ERR_INVALID, "the name of the output file is too long");
    FILE *out = fopen(temporary, "w");
    if (out == NULL)
        return error_set_errno(err, errno, "cannot write %s", temporary);
    int rc = source_download(source, path, out, err);
    bool flushed = fflush(out) == 0 && fsync(fileno(out)) == 0;
    if (rc == 0 && !flushed)
        rc = error_set_errno(err, errno, "cannot write %s", temporary);
    fclose(out);
    if (rc == 0 && rename(temporary, output) != 0)
        rc = error_set_errno(err, errno, "cannot rename %s to %s", temporary, output);
    if (rc != 0)
        unlink(temporary);
    return rc;
}

int do_export(const struct args *args)
{
    const char *run = args->positional_count > 0 ? args->positional[0] : "latest";
    const char *what = args->what != NULL ? args->what : "points";
    char part[128], path[PATH_TEXT];
    struct error err = { 0 };
    struct source source;

    if (strlen(what) > 32 || strspn(what, "abcdefghijklmnopqrstuvwxyz") != strlen(what) ||
        (args->csv && args->records)) {
        fprintf(
            stderr,
            "nightbench: --what is one of points, samples, readings, traces, events; --csv or --records\n");
        return EXIT_USAGE;
    }
    snprintf(part, sizeof part, "/export?what=%s&format=%s", what, args->records ? "records" : "csv");
    if (run_path(run, part, path, &err) != 0) {
        commands_fail(&err);
        return EXIT_USAGE;
    }
    if (source_open(args, &source, &err) != 0)
        return commands_fail(&err);
    int rc = export_to(&source, path, args->output, &err);
    source_close(&source);
    return rc == 0 ? EXIT_OK : commands_fail(&err);
}

static int compare_tree(const struct args *args, cJSON **ret, struct error *err)
{
    char path[PATH_TEXT], unused[PATH_TEXT];
    struct remote *remote;

    for (int i = 0; i < 2; i++) {
        int rc = run_path(args->positional[i], "", unused, err);
        if (rc != 0)
            return rc;
    }
    if (args->db != NULL)
        return compare_document(args->db, args->positional[0], args->positional[1], ret, err);
    snprintf(path, sizeof path, "/api/v1/compare?a=%s&b=%s", args->positional[0], args->positional[1]);
    int rc = source_remote(args, &remote, err);
    if (rc != 0)
        return rc;
    rc = remote_get_json(remote, path, ret, err);
    remote_close(remote);
    return rc;
}

int do_compare(const struct args *args)
{
    struct error err = { 0 };
    cJSON *tree;

    if (compare_tree(args, &tree, &err) != 0)
        return commands_fail(&err);
    if (args->json) {
        commands_print_json(tree, true);
    } else {
        show_compare(tree, stdout);
    }
    const cJSON *first = cJSON_GetObjectItemCaseSensitive(tree, "first_difference");
    bool same = (first == NULL || cJSON_IsNull(first)) && !(show_number(tree, "samples_that_differ") > 0);
    cJSON_Delete(tree);
    return same ? EXIT_OK : EXIT_VERDICT;
}
