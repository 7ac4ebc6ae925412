/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * heart: see heart.h.
 */
#include "daemon/heart.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "instruments/keeper_client.h"

enum { MAIN_NICE = -15, HALT_S = 120 };

void heart_rise(void)
{
    /* Of this thread alone, as Linux has it; those that it has started keep theirs. */
    if (getpriority(PRIO_PROCESS, 0) > MAIN_NICE && setpriority(PRIO_PROCESS, 0, MAIN_NICE) < 0)
        log_line(LOG_INFO, "may not let the heartbeat go before other threads (CAP_SYS_NICE)");
}

static void tell_late(struct daemon *daemon, double silent_s)
{
    char json[96];

    log_warning("no heartbeat for %.1f s: this machine is short of processor time", silent_s);
    snprintf(json, sizeof json, "{\"starved_s\":%.1f}", silent_s);
    events_post(daemon->events, "log", json);
}

int heart_beat(struct daemon *daemon, struct error *err)
{
    int64_t now_ns = clock_host_now(), last_ns = atomic_load(&daemon->beat_ns);

    if (daemon->keeper == NULL)
        return 0;
    if (last_ns != 0 && now_ns - last_ns > KEEPER_BEAT_LIMIT_MS * NS_PER_MS)
        tell_late(daemon, (double)(now_ns - last_ns) / NS_PER_S);
    int code = keeper_client_heartbeat(daemon->keeper, err);
    if (code == 0)
        atomic_store(&daemon->beat_ns, now_ns);
    return code;
}

unsigned heart_signal(struct daemon *daemon)
{
    struct signalfd_siginfo info;
    struct error err = { .code = 0 };

    if (read(daemon->signal_fd, &info, sizeof info) != sizeof info)
        return 0;
    if (info.ssi_signo != SIGUSR1)
        return info.ssi_signo;
    int code = sched_estop(daemon->sched, "signal USR1", &err);
    struct command_audit entry = {
        .user = "signal", .role = "admin", .action = "SIGUSR1", .status = code == 0 ? 202 : 500, .subject = ""
    };
    if (code != 0)
        log_error("e-stop", &err);
    audit_post(daemon->audit, &entry);
    return 0;
}

void heart_halt(struct daemon *daemon)
{
    int64_t end_ns = clock_host_now() + HALT_S * NS_PER_S;
    struct error ignored;

    while (!sched_halt(daemon->sched, KEEPER_BEAT_MS)) {
        (void)heart_signal(daemon); /* an e-stop is obeyed here, too; to end it has been told */
        /* After that the keeper is left to think that we hang, and to switch off. */
        if (clock_host_now() < end_ns)
            (void)heart_beat(daemon, &ignored);
    }
}
