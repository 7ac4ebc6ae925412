/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * nightbench-keeper: the process that owns every link that can energise (docs/safety.md), and its parent that
 * restarts it. Started by the daemon or by systemd, before the daemon; ends on SIGTERM after it has switched
 * everything off. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper.h"

enum { EXIT_USAGE = 2, EXIT_CONFLICT = 3, STACK_BYTES = 1 << 20, KEEPER_NICE = -15 };

static int usage(FILE *out, int status)
{
    fputs(
        "usage: nightbench-keeper --bench FILE --socket PATH [--links FILE] [--clock SOCKET] [--log FILE]\n"
        "                         [--trace DIR] [--state DIR] [--exit-when-idle]\n"
        "Owns every link of the bench that can energise. Prints READY when it serves. See docs/safety.md.\n"
        "  --state DIR  where a latch is kept until somebody clears it; one that outlives a reboot (default: "
        "beside the socket)\n",
        out);
    return status;
}

static int open_log(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        fprintf(stderr, "nightbench-keeper: %s: %s\n", path, strerror(errno));
        return EXIT_USAGE;
    }
    log_set_fd(fd);
    return 0;
}

static bool is_folder(const char *path)
{
    struct stat st;
    if (!path || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return true;
    fprintf(stderr, "nightbench-keeper: --state %s: no such folder\n", path);
    return false;
}

/* Signals are taken by the I/O thread's signalfd: blocked here, before any thread exists. */
static void block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* a terminal that closes must not take the keeper along */
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

/* Real time, least priority: a nice value counts only within a session where the kernel groups by session
 * (sched(7), autogroup), and a keeper with one was seen to wait for a processor for seconds beside a dozen
 * busy ones. One that runs wild leaves the others what the kernel's throttling leaves them. */
static void go_first(void)
{
    int policy = sched_getscheduler(0);
    struct sched_param least = { .sched_priority = sched_get_priority_min(SCHED_RR) };
    if (policy == SCHED_RR || policy == SCHED_FIFO || sched_setscheduler(0, SCHED_RR, &least) == 0)
        return;
    log_warning("may not run in real time: on a busy machine it may be late (CAP_SYS_NICE)");
    if (getpriority(PRIO_PROCESS, 0) > KEEPER_NICE)
        setpriority(PRIO_PROCESS, 0, KEEPER_NICE);
}

/* The last process that the kernel may kill for memory, one that goes before others, and whose pages are
 * there when it needs them. A keeper that may not do this still works: it says what it lacks. */
static void harden(void)
{
    if (!write_text("/proc/self/oom_score_adj", "-1000"))
        log_warning("may not ask to be spared when memory runs out (CAP_SYS_RESOURCE)");
    go_first();
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_setattr_default_np(&attributes); /* locked in full, so not the usual 8 MiB for each port */
    pthread_attr_destroy(&attributes);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their shadow memory is terabytes */
    mallopt(M_MMAP_THRESHOLD, 1 << 30); /* freed memory stays with us, and locked */
    mallopt(M_TRIM_THRESHOLD, -1);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        log_warning("may not lock memory: %s (RLIMIT_MEMLOCK)", strerror(errno));
#endif
}

static int keep(const struct keeper_options *options, bool exit_when_idle)
{
    struct keeper *keeper = NULL;
    struct error err = { 0 };
    harden();
    int code = keeper_open(options, &keeper, &err);
    if (!code)
        code = keeper_serve(keeper, exit_when_idle, &err);
    if (code)
        log_error("keeper", &err);
    keeper_close(keeper);
    return code == ERR_CONFLICT ? EXIT_CONFLICT : code != 0;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        { "bench", required_argument, NULL, 'b' }, { "socket", required_argument, NULL, 's' },
        { "links", required_argument, NULL, 'l' }, { "clock", required_argument, NULL, 'c' },
        { "log", required_argument, NULL, 'o' },   { "trace", required_argument, NULL, 't' },
        { "state", required_argument, NULL, 'd' }, { "exit-when-idle", no_argument, NULL, 'x' },
        { "help", no_argument, NULL, 'h' },        { 0 }
    };
    struct keeper_options options = { 0 };
    bool exit_when_idle = false;
    log_init("nightbench-keeper", LOG_INFO);
    for (int c; (c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        switch (c) {
        case 'b':
            options.bench_path = optarg;
            break;
        case 's':
            options.socket_path = optarg;
            break;
        case 'l':
            options.links_path = optarg;
            break;
        case 'c':
            options.clock_path = optarg;
            break;
        case 't':
            options.trace_dir = optarg;
            break;
        case 'd':
            options.state_dir = optarg;
            break;
        case 'x':
            exit_when_idle = true;
            break;
        case 'o':
            if (open_log(optarg))
                return EXIT_USAGE;
            break;
        case 'h':
            return usage(stdout, 0);
        default:
            return usage(stderr, EXIT_USAGE);
        }
    }
    if (!options.bench_path || !options.socket_path || optind != argc)
        return usage(stderr, EXIT_USAGE);
    if (!is_folder(options.state_dir)) /* a disk that is not mounted: whether it is latched is on it */
        return EXIT_USAGE;
    block_signals();
    struct error err = { 0 };
    int status = 0, code = supervise_open(options.socket_path, &options.page, &err);
    if (code) {
        log_error("keeper", &err);
        return code == ERR_CONFLICT ? EXIT_CONFLICT : 1;
    }
    harden(); /* the parent; locks are not inherited, so each child does it again */
    if (supervise(options.page, &status))
        status = keep(&options, exit_when_idle);
    supervise_close(options.page);
    return status;
}
