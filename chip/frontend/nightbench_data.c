/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * nightbench-data: builds a data set from unpacked Debian packages by a manifest:
 *
 *   configs/datasets/fetch.sh configs/datasets/vad-test.json data
 *   nightbench-data configs/datasets/vad-test.json --packages data/packages --out data/vad-test.nbds
 *
 * Progress goes to stderr; the last line, on stdout, is "<sha256>  <file>". */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "chip/frontend/manifest.h"
#include "chip/frontend/pool.h"
#include "chip/frontend/vadset.h"
#include "daemon/base/log.h"

enum { EXIT_USAGE = 2 };

struct arguments {
    const char *manifest, *packages, *out;
};

static void print_usage(FILE *to)
{
    fputs("usage: nightbench-data MANIFEST.json --packages DIR --out FILE.nbds\n"
          "  --packages DIR   where configs/datasets/fetch.sh unpacked the packages (data/packages)\n"
          "  --out FILE       the data set to write\n"
          "  --help           this text\n",
          to);
}

static void report_source(void *context, const struct manifest_source *source, int clips, int silent,
                          double seconds, int windows)
{
    (void)context;
    log_info("%s (%s): %d clips, %.0f s, %d windows; %d files with too little sound", source->name,
             source->role == MANIFEST_SPEECH ? "speech" : "noise", clips, seconds, windows, silent);
}

static void report_progress(void *context, int made, int wanted)
{
    (void)context;
    log_info("%d of %d examples", made, wanted);
}

static int build(const struct arguments *arguments, struct error *err)
{
    struct manifest *manifest;
    struct pool *pool = NULL;
    char hash[SHA256_HEX];
    int code;

    code = manifest_load(arguments->manifest, &manifest, err);
    if (code)
        return code;
    log_info("%s: %d examples from %d sources, seed %lld", manifest->name, manifest->examples,
             manifest->source_count, (long long)manifest->seed);
    code = pool_open(manifest, arguments->packages, report_source, NULL, &pool, err);
    if (!code)
        code = vadset_build(pool, arguments->out, report_progress, NULL, hash, err);
    if (!code)
        printf("%s  %s\n", hash, arguments->out);
    pool_close(pool);
    free(manifest);
    return code;
}

/* 0, or the exit status plus one when the program ends here. */
static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
    static const struct option options[] = {
        { "packages", required_argument, NULL, 'p' },
        { "out", required_argument, NULL, 'o' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    int option;

    while ((option = getopt_long(argc, argv, "p:o:h", options, NULL)) != -1) {
        switch (option) {
        case 'p':
            ret->packages = optarg;
            break;
        case 'o':
            ret->out = optarg;
            break;
        case 'h':
            print_usage(stdout);
            return EXIT_SUCCESS + 1;
        default:
            print_usage(stderr);
            return EXIT_USAGE + 1;
        }
    }
    if (optind + 1 != argc || !ret->packages || !ret->out) {
        print_usage(stderr);
        return EXIT_USAGE + 1;
    }
    ret->manifest = argv[optind];
    return 0;
}

int main(int argc, char **argv)
{
    struct arguments arguments = { 0 };
    struct error err = { 0 };
    int ends = parse_arguments(argc, argv, &arguments);

    if (ends)
        return ends - 1;
    log_init("nightbench-data", LOG_INFO);
    if (build(&arguments, &err) == 0)
        return EXIT_SUCCESS;
    log_error(arguments.manifest, &err);
    return EXIT_FAILURE;
}
