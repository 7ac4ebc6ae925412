/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * options: the command line of nightbenchd, as a table.
 */
#include "daemon/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PORT_LIMIT_S = 180 }; /* beyond every deadline of the drivers */

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_INT, OPTION_U64 };

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset;
    size_t size; /* of a text */
    bool value;  /* a flag sets this */
};

#define FIELD(member) offsetof(struct daemon_options, member), sizeof((struct daemon_options *)0)->member

static const struct option_row rows[] = {
    { "--bench", OPTION_TEXT, FIELD(bench_path), false },
    { "--run-dir", OPTION_TEXT, FIELD(run_dir), false },
    { "--db", OPTION_TEXT, FIELD(db_path), false },
    { "--chip", OPTION_TEXT, FIELD(chip_overrides), false },
    { "--tokens", OPTION_TEXT, FIELD(tokens_path), false },
    { "--tls-cert", OPTION_TEXT, FIELD(tls_cert), false },
    { "--tls-key", OPTION_TEXT, FIELD(tls_key), false },
    { "--webhook", OPTION_TEXT, FIELD(webhook), false },
    { "--resume", OPTION_TEXT, FIELD(resume), false },
    { "--port", OPTION_INT, FIELD(port), false },
    { "--port-limit", OPTION_INT, FIELD(port_limit_s), false },
    { "--die", OPTION_INT, FIELD(die), false },
    { "--seed", OPTION_U64, FIELD(seed), false },
    { "--sim", OPTION_FLAG, FIELD(simulate), true },
    { "--virtual", OPTION_FLAG, FIELD(is_virtual), true },
    { "--real", OPTION_FLAG, FIELD(is_virtual), false },
    { "--no-bench", OPTION_FLAG, FIELD(no_bench), true },
    { "--exit-with-parent", OPTION_FLAG, FIELD(exit_with_parent), true },
    { "--check", OPTION_FLAG, FIELD(check_only), true },
    { "--help", OPTION_FLAG, FIELD(show_help), true },
    { "--version", OPTION_FLAG, FIELD(show_version), true },
};

const char *options_help(void)
{
    return "nightbenchd: owns a bench, runs campaigns on it, records them and serves HTTP/JSON on loopback.\n"
           "  --bench FILE        bench file (configs/benches/*.json)\n"
           "  --no-bench          serve documents and the store only\n"
           "  --run-dir DIR       sockets and logs (default: $NIGHTBENCH_RUN_DIR, "
           "$XDG_RUNTIME_DIR/nightbench,\n"
           "                      /tmp/nightbench-UID)\n"
           "  --db FILE           the store (default: nightbench.db)\n"
           "  --port N            HTTP port on loopback (default 0: any free one; printed in the READY "
           "line)\n"
           "  --tokens FILE       who may ask over TCP (default: tokens.json in the run directory)\n"
           "  --tls-cert FILE, --tls-key FILE  serve HTTPS on TCP with this certificate and key (PEM)\n"
           "  --webhook URL       tell this address when a run ends, fails or holds, and of trips\n"
           "  --resume WORD       a run that a dead daemon left behind: auto (default) goes on with it, ask\n"
           "                      waits for 'nightbench resume', never leaves it interrupted\n"
           "  --port-limit S      an instrument's link that is at one request for longer hangs (default "
           "180): the\n"
           "                      service manager's watchdog is fed no more\n"
           "  --sim               run the bench file's simulated bench (nightbench-sim)\n"
           "  --virtual, --real   the simulated bench's time (default: virtual with --sim)\n"
           "  --seed N, --die N   of the simulated world\n"
           "  --chip JSON         options of the simulated chip laid over the bench file's\n"
           "  --check             explain the bench file and end; touches nothing\n"
           "  --exit-with-parent  end, with outputs off, when the parent process ends\n"
           "  --help, --version\n";
}

static const struct option_row *find_row(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

static int set_value(const struct option_row *row, const char *text, struct daemon_options *options,
                     struct error *err)
{
    char *field = (char *)options + row->offset;
    char *end;

    if (row->kind == OPTION_TEXT) {
        if (strlen(text) >= row->size)
            return error_set(err, ERR_INVALID, "%s: longer than %zu characters", row->name, row->size - 1);
        snprintf(field, row->size, "%s", text);
        return 0;
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' ||
        (row->kind == OPTION_INT && number > 65535))
        return error_set(err, ERR_INVALID, "%s takes a whole number from 0%s, not '%s'", row->name,
                         row->kind == OPTION_INT ? " to 65535" : "", text);
    if (row->kind == OPTION_INT) {
        int value = (int)number;
        memcpy(field, &value, sizeof value);
    } else {
        uint64_t value = number;
        memcpy(field, &value, sizeof value);
    }
    return 0;
}

void options_default_run_dir(char *out, size_t size)
{
    const char *own = getenv("NIGHTBENCH_RUN_DIR");
    const char *xdg = getenv("XDG_RUNTIME_DIR");

    if (own != NULL && own[0] != '\0')
        snprintf(out, size, "%s", own);
    else if (xdg != NULL && xdg[0] != '\0')
        snprintf(out, size, "%s/nightbench", xdg);
    else
        snprintf(out, size, "/tmp/nightbench-%u", (unsigned)getuid());
}

int options_make_run_dir(const char *path, struct error *err)
{
    struct stat st;

    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set_errno(err, errno, "cannot create the run directory %s", path);
    if (lstat(path, &st) != 0)
        return error_set_errno(err, errno, "cannot look at the run directory %s", path);
    if (!S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 022) != 0)
        return error_set(err, ERR_REFUSED,
                         "run directory %s must be a directory of this user that nobody else can write; "
                         "give another one with --run-dir",
                         path);
    return 0;
}

int options_parse(int argc, char **argv, struct daemon_options *ret, struct error *err)
{
    struct daemon_options options = { .seed = 1, .die = 1 };
    bool clock_given = false;
    int code;

    snprintf(options.db_path, sizeof options.db_path, "nightbench.db");
    snprintf(options.resume, sizeof options.resume, "auto");
    options.port_limit_s = PORT_LIMIT_S;
    options_default_run_dir(options.run_dir, sizeof options.run_dir);
    for (int i = 1; i < argc; i++) {
        const struct option_row *row = find_row(argv[i]);
        if (row == NULL)
            return error_set(err, ERR_INVALID, "unknown option '%s'; see nightbenchd --help", argv[i]);
        if (row->kind == OPTION_FLAG) {
            memcpy((char *)&options + row->offset, &row->value, sizeof row->value);
            if (strcmp(row->name, "--virtual") == 0 || strcmp(row->name, "--real") == 0)
                clock_given = true;
            continue;
        }
        if (i + 1 >= argc)
            return error_set(err, ERR_INVALID, "%s needs a value; see nightbenchd --help", row->name);
        code = set_value(row, argv[++i], &options, err);
        if (code != 0)
            return code;
    }
    if (strcmp(options.resume, "auto") != 0 && strcmp(options.resume, "ask") != 0 &&
        strcmp(options.resume, "never") != 0)
        return error_set(err, ERR_INVALID, "--resume takes auto, ask or never, not '%s'", options.resume);
    if (!clock_given)
        options.is_virtual = options.simulate;
    if (options.is_virtual && !options.simulate)
        return error_set(err, ERR_INVALID, "--virtual needs --sim: only a simulated bench has virtual time");
    if ((options.tls_cert[0] == '\0') != (options.tls_key[0] == '\0'))
        return error_set(err, ERR_INVALID, "--tls-cert and --tls-key go together");
    if (!options.show_help && !options.show_version && !options.no_bench && options.bench_path[0] == '\0')
        return error_set(err, ERR_INVALID, "--bench FILE is needed (or --no-bench); see nightbenchd --help");
    *ret = options;
    return 0;
}
