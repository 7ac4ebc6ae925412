/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * nightbenchd: the daemon as a table of modules. init runs from top to bottom, fini in reverse over what came
 * up, whatever the way out. Signals are descriptors; the main thread does nothing but wait for them and keep
 * the keeper's heartbeat.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/build.h"
#include "daemon/base/log.h"
#include "daemon/base/notify.h"
#include "daemon/daemon.h"
#include "daemon/files.h"
#include "daemon/health.h"
#include "daemon/heart.h"
#include "daemon/keeper_process.h"
#include "daemon/latch.h"
#include "daemon/safe_report.h"
#include "daemon/spawn.h"
#include "daemon/upkeep.h"
#include "daemon/watchdog.h"
#include "instruments/keeper_client.h"
#include "web/http.h"

enum { SIM_READY_S = 10, PATH_TEXT = OPTIONS_PATH_MAX + 32 };

/* ---- paths ---- */

static int paths_init(struct daemon *d, struct error *err)
{
    const char *run_dir = d->options.run_dir;
    int code = options_make_run_dir(run_dir, err);

    if (code != 0)
        return code;
    snprintf(d->sim_dir, sizeof d->sim_dir, "%s/sim", run_dir);
    snprintf(d->links_path, sizeof d->links_path, "%s/links.json", d->sim_dir);
    snprintf(d->clock_path, sizeof d->clock_path, "%s/clock.sock", d->sim_dir);
    snprintf(d->keeper_path, sizeof d->keeper_path, "%s/keeper.sock", run_dir);
    snprintf(d->http_path, sizeof d->http_path, "%s/nightbench.sock", run_dir);
    return 0;
}

/* ---- bench file and profile: data only ---- */

static int files_init(struct daemon *d, struct error *err)
{
    return d->options.no_bench ? 0 : files_load(d->options.bench_path, &d->bench_file, &d->profile, err);
}

static void files_fini(struct daemon *d)
{
    profile_free(d->profile);
    bench_file_free(d->bench_file);
}

/* ---- the simulated bench ---- */

static int remember_sim(const struct daemon *d, int pid, struct error *err)
{
    char path[PATH_TEXT], text[16];

    snprintf(path, sizeof path, "%s/sim.pid", d->options.run_dir);
    int length = snprintf(text, sizeof text, "%d\n", pid);
    return text_write_file(path, text, (size_t)length, err);
}

static int sim_init(struct daemon *d, struct error *err)
{
    char program[PATH_TEXT], log_path[PATH_TEXT], seed[24], die[16];
    struct clock *probe = NULL;
    int pid;

    if (!d->options.simulate)
        return 0;
    if (!d->bench_file->simulated)
        return error_set(err, ERR_REFUSED, "--sim with %s: that bench file names real gear",
                         d->options.bench_path);
    /* A world that outlived an earlier daemon is met again as it is. */
    if (access(d->links_path, R_OK) == 0 && clock_open(d->clock_path, &probe, NULL) == 0) {
        clock_close(probe);
        log_notice("reconnecting to the simulated bench in %s", d->sim_dir);
        return 0;
    }
    if (mkdir(d->sim_dir, 0700) != 0 && errno != EEXIST)
        return error_set_errno(err, errno, "cannot create %s", d->sim_dir);
    int code = spawn_sibling("nightbench-sim", program, sizeof program, err);
    if (code != 0)
        return code;
    snprintf(log_path, sizeof log_path, "%s/sim.log", d->options.run_dir);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)d->options.seed);
    snprintf(die, sizeof die, "%d", d->options.die);
    char bench_option[] = "--bench", dir_option[] = "--dir", seed_option[] = "--seed", die_option[] = "--die";
    char chip_option[] = "--chip", time_virtual[] = "--virtual", time_real[] = "--real";
    bool overrides = d->options.chip_overrides[0] != '\0';
    char *argv[] = { program,
                     bench_option,
                     d->options.bench_path,
                     dir_option,
                     d->sim_dir,
                     d->options.is_virtual ? time_virtual : time_real,
                     seed_option,
                     seed,
                     die_option,
                     die,
                     overrides ? chip_option : NULL,
                     overrides ? d->options.chip_overrides : NULL,
                     NULL };
    code = spawn_ready(argv, log_path, SIM_READY_S, &pid, NULL, err);
    if (code == 0)
        code = remember_sim(d, pid, err);
    return code;
}

/* An orderly end takes the world with it; only a killed daemon leaves it behind. */
static void sim_fini(struct daemon *d)
{
    char path[PATH_TEXT], *text = NULL;

    if (!d->options.simulate)
        return;
    snprintf(path, sizeof path, "%s/sim.pid", d->options.run_dir);
    if (text_read_file(path, 32, &text, NULL, NULL) != 0)
        return;
    int pid = atoi(text);
    free(text);
    if (pid > 1)
        kill(pid, SIGTERM);
    unlink(path);
    unlink(d->links_path);
}

/* ---- clock, events, store ---- */

static int clock_init(struct daemon *d, struct error *err)
{
    return clock_open(d->options.is_virtual ? d->clock_path : NULL, &d->clock, err);
}

static void clock_fini(struct daemon *d)
{
    clock_close(d->clock);
}

static int events_init(struct daemon *d, struct error *err)
{
    d->events = events_open();
    return d->events != NULL ? 0 : error_set(err, ERR_MEMORY, "no memory for events");
}

static void events_fini(struct daemon *d)
{
    events_close(d->events);
}

static int store_init(struct daemon *d, struct error *err)
{
    return recorder_open(d->options.db_path, &d->recorder, err);
}

static void store_fini(struct daemon *d)
{
    struct error err = { .code = 0 };

    if (recorder_close(d->recorder, &err) != 0)
        log_error("closing the store", &err);
}

/* ---- who did what, and who is told ---- */

static int audit_init(struct daemon *d, struct error *err)
{
    return audit_open(recorder_sink(d->recorder), d->clock, &d->audit, err);
}

static void audit_fini(struct daemon *d)
{
    audit_close(d->audit);
}

static int webhook_init(struct daemon *d, struct error *err)
{
    return d->options.webhook[0] != '\0' ? webhook_open(d->events, d->options.webhook, &d->webhook, err) : 0;
}

static void webhook_fini(struct daemon *d)
{
    webhook_close(d->webhook);
}

/* ---- keeper and bench ---- */

/* What happened while no daemon lived belongs into the store; that it cannot be had is no reason not to
 * start. */
static int safe_report_init(struct daemon *d, struct error *err)
{
    char mark_path[PATH_TEXT];

    if (d->bench_file == NULL)
        return 0;
    snprintf(mark_path, sizeof mark_path, "%s/safe-report.mark", d->options.run_dir);
    if (safe_report_record(d->keeper_path, mark_path, d->options.db_path, recorder_sink(d->recorder),
                           d->clock, err) != 0)
        log_error("the keeper's last report", err);
    *err = (struct error){ .code = 0 };
    return 0;
}

static int bench_init(struct daemon *d, struct error *err)
{
    if (d->bench_file == NULL)
        return 0;
    struct bench_options options = {
        .clock = d->clock,
        .keeper_socket = d->keeper_path,
        .links_path = d->options.simulate ? d->links_path : NULL,
    };
    return bench_open(d->bench_file, &options, &d->bench, err);
}

static void bench_fini(struct daemon *d)
{
    bench_close(d->bench);
}

/* ---- scheduler and HTTP ---- */

static int estop(void *context, const char *who, struct error *err)
{
    struct daemon *d = context;

    int missed = 0;
    int code = keeper_client_estop(d->keeper_path, who, &missed, err);

    if (code == 0 && missed > 0)
        code =
            error_set(err, ERR_HANG,
                      "e-stop: %d outputs did not confirm that they are off; look at the bench now", missed);
    return code;
}

/* A keeper that does not answer lets nothing be switched on either, and says so itself. */
static bool latched(void *context, char *out, size_t size)
{
    struct daemon *d = context;
    struct health health = { .ports = NULL };

    if (health_read(NULL, d->keeper_path, &health, NULL) != 0)
        return false;
    snprintf(out, size, "%s", health.reason);
    health_free(&health);
    return health.latched;
}

static int sched_init(struct daemon *d, struct error *err)
{
    struct sched_setup setup = {
        .clock = d->clock,
        .bench_file = d->bench_file,
        .profile = d->profile,
        .bench = d->bench,
        .recorder = d->recorder,
        .events = d->events,
        .bench_path = d->options.bench_path,
        .db_path = d->options.db_path,
        .estop = d->bench_file != NULL ? estop : NULL,
        .latched = d->bench_file != NULL ? latched : NULL,
        .keeper_context = d,
    };

    return sched_open(&setup, &d->sched, err);
}

static void sched_fini(struct daemon *d)
{
    sched_close(d->sched);
}

/* What a dead daemon left behind goes on; then the queue. */
static int run_init(struct daemon *d, struct error *err)
{
    (void)err;
    sched_begin(d->sched, d->options.resume);
    return 0;
}

/* Ends the run, outputs down and verified, while the streams still hear of it. */
static void run_fini(struct daemon *d)
{
    heart_halt(d);
}

static int tokens_init(struct daemon *d, struct error *err)
{
    char path[PATH_TEXT];

    if (d->options.tokens_path[0] != '\0')
        snprintf(path, sizeof path, "%s", d->options.tokens_path);
    else
        snprintf(path, sizeof path, "%s/tokens.json", d->options.run_dir);
    return auth_open(path, &d->auth, err);
}

static void tokens_fini(struct daemon *d)
{
    auth_close(d->auth);
}

static int web_init(struct daemon *d, struct error *err)
{
    daemon_commands(d, &d->command);
    struct web_options options = {
        .port = d->options.port,
        .socket_path = d->http_path,
        .command = &d->command,
        .db_path = d->options.db_path,
        .auth = d->auth,
        .tls_cert_path = d->options.tls_cert[0] != '\0' ? d->options.tls_cert : NULL,
        .tls_key_path = d->options.tls_key[0] != '\0' ? d->options.tls_key : NULL,
    };
    int code = web_open(&options, &d->web, err);
    if (code == 0)
        d->http_port = web_port(d->web);
    return code;
}

static void web_fini(struct daemon *d)
{
    web_close(d->web);
}

/* ---- in the background, once the bench is served ---- */

static int latch_init(struct daemon *d, struct error *err)
{
    struct latch_setup setup = { .keeper_path = d->keeper != NULL ? d->keeper_path : NULL,
                                 .sched = d->sched,
                                 .audit = d->audit,
                                 .sink = recorder_sink(d->recorder),
                                 .clock = d->clock };

    return latch_open(&setup, &d->latch, err);
}

static void latch_fini(struct daemon *d)
{
    latch_close(d->latch);
}

static int upkeep_init(struct daemon *d, struct error *err)
{
    return upkeep_open(d->options.db_path, d->recorder, d->events, d->clock, &d->upkeep, err);
}

static void upkeep_fini(struct daemon *d)
{
    upkeep_close(d->upkeep);
}

static int watchdog_init(struct daemon *d, struct error *err)
{
    struct watchdog_setup setup = { .sched = d->sched,
                                    .recorder = d->recorder,
                                    .bench = d->bench,
                                    .keeper_path = d->keeper != NULL ? d->keeper_path : NULL,
                                    .port_limit_s = d->options.port_limit_s };

    return watchdog_open(&setup, &d->watchdog, err);
}

static void watchdog_fini(struct daemon *d)
{
    watchdog_close(d->watchdog);
}

/* ---- the table ---- */

struct module {
    const char *name;
    int (*init)(struct daemon *daemon, struct error *err);
    void (*fini)(struct daemon *daemon); /* NULL: nothing to undo */
};

static const struct module modules[] = {
    { "run directory", paths_init, NULL },
    { "files", files_init, files_fini },
    { "simulated bench", sim_init, sim_fini },
    { "clock", clock_init, clock_fini },
    { "events", events_init, events_fini },
    { "store", store_init, store_fini },
    { "audit log", audit_init, audit_fini },
    { "webhook", webhook_init, webhook_fini },
    { "keeper", keeper_process_init, keeper_process_fini },
    { "safe report", safe_report_init, NULL },
    { "bench", bench_init, bench_fini },
    { "scheduler", sched_init, sched_fini },
    { "tokens", tokens_init, tokens_fini },
    { "http", web_init, web_fini },
    { "latch", latch_init, latch_fini },
    { "upkeep", upkeep_init, upkeep_fini },
    { "watchdog", watchdog_init, watchdog_fini },
    { "run", run_init, run_fini },
};
enum { MODULES = sizeof modules / sizeof modules[0] };

static int modules_init(struct daemon *daemon, int *ret_up, struct error *err)
{
    for (int i = 0; i < MODULES; i++) {
        int code = modules[i].init(daemon, err);
        if (code != 0)
            return error_prefix(err, "%s", modules[i].name);
        *ret_up = i + 1;
        /* What follows may take its time; the keeper must not take this daemon for dead meanwhile. */
        if (daemon->keeper != NULL && (code = keeper_client_heartbeat(daemon->keeper, err)) != 0)
            return code;
    }
    return 0;
}

static void modules_fini(struct daemon *daemon, int up)
{
    for (int i = up - 1; i >= 0; i--) {
        if (modules[i].fini != NULL)
            modules[i].fini(daemon);
    }
}

/* Until a signal asks to end. The heartbeat says that this loop runs; the keeper acts when it stops. */
static int serve(struct daemon *daemon, struct error *ret_err)
{
    struct pollfd pfd = { .fd = daemon->signal_fd, .events = POLLIN };
    struct error err = { .code = 0 };

    heart_rise();
    for (;;) {
        int ready = poll(&pfd, 1, KEEPER_BEAT_MS);
        if (heart_beat(daemon, &err) != 0) {
            log_error("heartbeat", &err);
            log_notice("the keeper no longer serves this daemon: ending");
            *ret_err = err;
            return err.code; /* a service manager starts us again, and the run goes on */
        }
        if (clock_is_lost(daemon->clock)) {
            log_notice("the clock no longer serves this daemon: ending");
            return error_set(ret_err, ERR_FENCED, "the virtual clock has gone, or has dropped this daemon");
        }
        watchdog_turn(daemon->watchdog);
        if (ready <= 0)
            continue;
        unsigned number = heart_signal(daemon);
        if (number == 0)
            continue;
        log_notice("signal %u: powering down and ending", number);
        return 0;
    }
}

static int block_signals(struct error *err)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN); /* helpers are watched through their sockets, not waited for */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd : error_set_errno(err, errno, "cannot watch signals");
}

/* What a person or a script needs to begin. Under a service manager the address that signs a browser in is
 * left out: its journal is read by others. */
static int announce(struct daemon *daemon, struct error *err)
{
    char code[AUTH_SECRET_TEXT];

    printf("READY http=127.0.0.1:%d socket=%s", daemon->http_port, daemon->http_path);
    if (!notify_wanted()) {
        int failure = auth_make_code(daemon->auth, "browser", ROLE_OPERATOR, code, err);
        if (failure != 0)
            return failure;
        printf(" login=%s/login?code=%s", web_site(daemon->web), code);
    }
    printf("\n");
    fflush(stdout);
    notify_send("READY=1");
    return 0;
}

static int run(const struct daemon_options *options, struct error *err)
{
    struct daemon *daemon = calloc(1, sizeof *daemon);
    int up = 0;

    if (daemon == NULL)
        return error_set(err, ERR_MEMORY, "no memory to start");
    daemon->options = *options;
    daemon->signal_fd = block_signals(err);
    int code = daemon->signal_fd < 0 ? daemon->signal_fd : modules_init(daemon, &up, err);
    if (code == 0)
        code = announce(daemon, err);
    if (code == 0) {
        code = serve(daemon, err);
        notify_send("STOPPING=1");
    }
    modules_fini(daemon, up);
    if (daemon->signal_fd >= 0)
        close(daemon->signal_fd);
    free(daemon);
    return code;
}

int main(int argc, char **argv)
{
    struct daemon_options options;
    struct error err = { .code = 0 };

    log_init("nightbenchd", LOG_INFO);
    if (options_parse(argc, argv, &options, &err) != 0) {
        fprintf(stderr, "nightbenchd: %s\n", err.message);
        return 2;
    }
    if (options.show_help) {
        fputs(options_help(), stdout);
        return 0;
    }
    if (options.show_version) {
        printf("nightbenchd %s (%s)\n", build_revision, build_compiler);
        return 0;
    }
    if (options.exit_with_parent)
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (options.check_only) {
        struct daemon daemon = { .options = options };
        int code = files_init(&daemon, &err);
        if (code == 0)
            printf("%s: ok\n", options.bench_path);
        else
            log_error("check", &err);
        files_fini(&daemon);
        return code == 0 ? 0 : 3;
    }
    if (run(&options, &err) != 0) {
        log_error(err.code == ERR_FENCED ? "ending" : "cannot start", &err);
        return 1;
    }
    return 0;
}
