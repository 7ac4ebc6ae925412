/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * private: a daemon of one's own for one run.
 */
#include "daemon/client/private.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/json.h"
#include "daemon/spawn.h"

enum { PRIVATE_READY_S = 30, PRIVATE_STOP_S = 30, PRIVATE_ARGV_MAX = 32, PRIVATE_STEP_US = 5000 };

static int check_simulated(const char *bench_path, struct error *err)
{
    cJSON *bench;

    int rc = json_load(bench_path, &bench, err);
    if (rc != 0)
        return rc;
    bool simulated = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(bench, "simulated"));
    cJSON_Delete(bench);
    if (!simulated)
        return error_set(err, ERR_REFUSED,
                         "%s is a real bench: a daemon that ends with this terminal must not own it; start "
                         "'nightbenchd --bench "
                         "%s' as a service, then 'nightbench start'",
                         bench_path, bench_path);
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

/* Options with a value that are handed on when given. */
static int add_options(const struct args *args, const char **argv, int n)
{
    const struct {
        const char *name, *value;
    } options[] = {
        { "--seed", args->seed }, { "--die", args->die }, { "--chip", args->chip }, { "--port", args->port }
    };

    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (options[i].value == NULL)
            continue;
        argv[n++] = options[i].name;
        argv[n++] = options[i].value;
    }
    return n;
}

int private_start(const struct args *args, const char *bench_path, struct private_daemon *ret,
                  struct error *err)
{
    struct private_daemon daemon = { .pid = -1 };
    char program[PRIVATE_PATH_MAX], line[SPAWN_LINE_MAX];
    const char *argv[PRIVATE_ARGV_MAX] = { program,
                                           "--bench",
                                           bench_path,
                                           "--run-dir",
                                           daemon.folder,
                                           "--db",
                                           args->db != NULL ? args->db : "nightbench.db",
                                           "--sim",
                                           args->real ? "--real" : "--virtual",
                                           "--exit-with-parent",
                                           "--resume", /* it is for one run, and not for an older one */
                                           "never" };
    int n = 12;

    int rc = check_simulated(bench_path, err);
    if (rc == 0)
        rc = spawn_sibling("nightbenchd", program, sizeof program, err);
    if (rc != 0)
        return rc;
    const char *temporary = getenv("TMPDIR");
    snprintf(daemon.folder, sizeof daemon.folder, "%.60s/nightbench-XXXXXX",
             temporary != NULL ? temporary : "/tmp");
    if (mkdtemp(daemon.folder) == NULL)
        return error_set_errno(err, errno, "cannot make a folder %s for the daemon", daemon.folder);
    snprintf(daemon.log_path, sizeof daemon.log_path, "%.200s/daemon.log", daemon.folder);
    n = add_options(args, argv, n);
    argv[n] = NULL;
    char *mutable_argv[PRIVATE_ARGV_MAX];
    memcpy(mutable_argv, argv, sizeof mutable_argv); /* exec's prototype predates const; it writes nothing */
    rc = spawn_ready(mutable_argv, daemon.log_path, PRIVATE_READY_S, &daemon.pid, line, err);
    if (rc == 0 && sscanf(line, "READY http=%63s socket=%255s login=%191s", daemon.address, daemon.socket,
                          daemon.login) < 2) {
        rc = error_set(err, ERR_GARBAGE, "nightbenchd says '%.200s' instead of its address", line);
        private_stop(&daemon, true, NULL);
    }
    if (rc != 0)
        return rc; /* the folder stays: the message points into its log */
    *ret = daemon;
    return 0;
}

int private_stop(struct private_daemon *daemon, bool keep, struct error *err)
{
    int64_t deadline_ns = clock_host_now() + PRIVATE_STOP_S * NS_PER_S;
    int status = 0, ended = 0;

    kill(daemon->pid, SIGTERM);
    while ((ended = waitpid(daemon->pid, &status, WNOHANG)) == 0 && clock_host_now() < deadline_ns)
        usleep(PRIVATE_STEP_US);
    if (ended == 0) {
        /* Its keeper switches the outputs off when the daemon is gone. */
        kill(daemon->pid, SIGKILL);
        waitpid(daemon->pid, &status, 0);
        return error_set(err, ERR_TIMEOUT, "the daemon did not end in %d s and was killed; see %s",
                         PRIVATE_STOP_S, daemon->log_path);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(err, ERR_INTERNAL, "the daemon ended with %s %d; see %s",
                         WIFEXITED(status) ? "status" : "signal",
                         WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), daemon->log_path);
    if (!keep)
        nftw(daemon->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
