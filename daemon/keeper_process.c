/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * keeper_process: finding, starting and leaving the keeper. */
#include "daemon/keeper_process.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/json.h"
#include "daemon/base/log.h"
#include "daemon/keeper/supervise.h"
#include "daemon/spawn.h"
#include "instruments/keeper_client.h"

enum { READY_S = 10, END_MS = 2000, NAP_MS = 10, PATH_TEXT = OPTIONS_PATH_MAX + 32 };

/* One that outlived an earlier daemon, or runs as a service of its own. A keeper that is just ending still
 * takes connections: only an answer says that it has noticed us, and stays. */
static bool found(struct daemon *d)
{
    char *status = NULL;

    if (keeper_client_heartbeat_open(d->keeper_path, &d->keeper, NULL) != 0)
        return false;
    int code = keeper_client_status(d->keeper_path, &status, NULL);
    free(status);
    if (code == 0 || code == ERR_TIMEOUT) /* a busy one is one */
        return true;
    keeper_client_heartbeat_close(d->keeper);
    d->keeper = NULL;
    return false;
}

/* The lock goes last: another may begin then. That it does not come is for the new one to say. */
static void wait_for_end(const struct daemon *d)
{
    const struct timespec nap = { .tv_nsec = NAP_MS * NS_PER_MS };
    int64_t deadline_ns = clock_host_now() + END_MS * NS_PER_MS;
    int fd = -1;

    while (supervise_lock(d->keeper_path, &fd, NULL) == ERR_CONFLICT && clock_host_now() < deadline_ns)
        nanosleep(&nap, NULL);
    if (fd >= 0)
        close(fd);
}

static int start(struct daemon *d, struct error *err)
{
    char program[PATH_TEXT], log_path[PATH_TEXT];
    char bench_option[] = "--bench", socket_option[] = "--socket", links_option[] = "--links",
         clock_option[] = "--clock", idle_option[] = "--exit-when-idle";
    int code = spawn_sibling("nightbench-keeper", program, sizeof program, err);

    if (code != 0)
        return code;
    snprintf(log_path, sizeof log_path, "%s/keeper.log", d->options.run_dir);
    char *argv[12] = { program,       bench_option,   d->options.bench_path,
                       socket_option, d->keeper_path, idle_option };
    int n = 6;
    if (d->options.simulate) {
        argv[n++] = links_option;
        argv[n++] = d->links_path;
    }
    if (d->options.is_virtual) {
        argv[n++] = clock_option;
        argv[n++] = d->clock_path;
    }
    code = spawn_ready(argv, log_path, READY_S, &d->keeper_pid, NULL, err);
    return code != 0 ? code : keeper_client_heartbeat_open(d->keeper_path, &d->keeper, err);
}

int keeper_process_init(struct daemon *d, struct error *err)
{
    if (d->bench_file == NULL || found(d))
        return 0;
    wait_for_end(d);
    return start(d, err);
}

/* A simulated world ends with us, and so does its keeper: also one that is latched, which would stay. */
static void end_with_world(const struct daemon *d)
{
    cJSON *status = NULL;
    char *text = NULL;

    if (keeper_client_status(d->keeper_path, &text, NULL) == 0 &&
        json_parse(text, strlen(text), &status, NULL) == 0) {
        const cJSON *pid = cJSON_GetObjectItemCaseSensitive(status, "pid");
        if (cJSON_IsNumber(pid) && pid->valueint > 1)
            kill(pid->valueint, SIGTERM);
        cJSON_Delete(status);
    }
    free(text);
}

/* The keeper that this daemon has started ends when it has nothing to do; its world must not go before it. */
void keeper_process_fini(struct daemon *d)
{
    int fd = d->keeper_pid > 0 ? (int)syscall(SYS_pidfd_open, d->keeper_pid, 0) : -1;

    if (d->keeper != NULL && d->options.simulate)
        end_with_world(d);
    keeper_client_heartbeat_close(d->keeper);
    if (fd < 0)
        return;
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    if (poll(&pfd, 1, END_MS) == 0)
        log_notice("the keeper stays: it is latched, still has outputs to look after, or another client");
    close(fd);
}
