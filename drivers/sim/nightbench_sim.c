/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * nightbench_sim: the program nightbench-sim: one virtual bench in a directory of sockets. It prints one
 * READY line, and lives until SIGTERM or "quit" on its control socket; daemons come and go. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "drivers/sim/ground.h"
#include "drivers/sim/simbench.h"

enum { PATH_BYTES = 160 };

static struct sim_loop *signalled; /* for the handler alone */

static void on_signal(int number)
{
    (void)number;
    sim_loop_stop(signalled);
}

static void usage(FILE *out)
{
    fputs("usage: nightbench-sim --bench FILE --dir DIR [options]\n"
          "The virtual bench of a bench file: simulated instruments, SPI bridge and chip on TCP ports and\n"
          "pseudo-terminals; their addresses are in DIR/links.json, the judge's log is DIR/world.log.\n"
          "  --virtual        time moves when all clients of DIR/clock.sock wait (default)\n"
          "  --real           time is the host's: for third-party clients\n"
          "  --seed N         of the world (1)\n"
          "  --die N          which chip is in the socket (the bench file's)\n"
          "  --chip JSON      options of the simulated chip laid over the bench file's\n"
          "  --whole          answers in one piece instead of up to four\n"
          "  --ambient C      temperature around the socket (25)\n"
          "  --help\n",
          out);
}

struct settings {
    struct simbench_options bench;
    bool is_real, help;
    double ambient_c;
};

/* Returns false after having complained. */
static bool parse(int argc, char **argv, struct settings *settings)
{
    static const struct option options[] = {
        { "bench", required_argument, NULL, 'b' },
        { "dir", required_argument, NULL, 'd' },
        { "virtual", no_argument, NULL, 'v' },
        { "real", no_argument, NULL, 'r' },
        { "seed", required_argument, NULL, 's' },
        { "die", required_argument, NULL, 'i' },
        { "chip", required_argument, NULL, 'c' },
        { "whole", no_argument, NULL, 'w' },
        { "ambient", required_argument, NULL, 'a' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    char *end = NULL;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        const char *number = NULL;
        switch (option) {
        case 'b':
            settings->bench.bench_path = optarg;
            break;
        case 'd':
            settings->bench.dir = optarg;
            break;
        case 'v':
            settings->is_real = false;
            break;
        case 'r':
            settings->is_real = true;
            break;
        case 's':
            number = optarg;
            settings->bench.seed = strtoull(optarg, &end, 10);
            break;
        case 'i':
            number = optarg;
            settings->bench.die = (int)strtol(optarg, &end, 10);
            break;
        case 'a':
            number = optarg;
            settings->ambient_c = strtod(optarg, &end);
            break;
        case 'c':
            settings->bench.chip_overlay = optarg;
            break;
        case 'w':
            settings->bench.whole = true;
            break;
        case 'h':
            settings->help = true;
            return true;
        default:
            return false;
        }
        if (number && (end == number || *end)) {
            fprintf(stderr, "nightbench-sim: not a number: %s\n", number);
            return false;
        }
    }
    if (!settings->bench.bench_path || !settings->bench.dir || optind < argc) {
        fputs("nightbench-sim: --bench and --dir are needed, and nothing else; see --help\n", stderr);
        return false;
    }
    return true;
}

static int serve(const struct settings *settings, struct error *err)
{
    char log_path[PATH_BYTES], control_path[PATH_BYTES];
    struct sim_loop *loop = NULL;
    struct world *world = NULL;
    struct simbench *bench = NULL;
    struct ground *ground = NULL;
    const char *dir = settings->bench.dir;
    snprintf(log_path, sizeof log_path, "%s/world.log", dir);
    snprintf(control_path, sizeof control_path, "%s/control.sock", dir);
    mkdir(dir, 0700); /* it may exist; what follows tells */

    int code = sim_loop_open(dir, !settings->is_real, settings->bench.seed, &loop, err);
    if (!code)
        code = world_open(loop, log_path, settings->bench.seed, &world, err);
    if (!code) {
        world_set_ambient(world, settings->ambient_c);
        code = simbench_open(&settings->bench, loop, world, &bench, err);
    }
    if (!code)
        code = ground_open(loop, world, control_path, &ground, err);
    if (!code) {
        struct sigaction action = { .sa_handler = on_signal };
        signalled = loop;
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGINT, &action, NULL);
        printf("READY dir=%s time=%s\n", dir, settings->is_real ? "real" : "virtual");
        fflush(stdout);
        code = sim_loop_run(loop, err);
    }
    ground_close(ground);
    simbench_close(bench);
    world_close(world);
    sim_loop_close(loop);
    return code;
}

int main(int argc, char **argv)
{
    struct settings settings = { .bench = { .seed = 1, .die = -1 }, .ambient_c = 25 };
    struct error err = { 0 };
    if (!parse(argc, argv, &settings))
        return 2;
    if (settings.help) {
        usage(stdout);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* it outlives the terminal of whoever started it */
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
    if (serve(&settings, &err)) {
        fprintf(stderr, "nightbench-sim: %s\n", err.message);
        return 1;
    }
    return 0;
}
