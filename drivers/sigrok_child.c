/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sigrok_child: starting, asking and killing of the process. */
#include "drivers/sigrok_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "instruments/bench.h"
#include "instruments/keeper_client.h"

enum { PATH_BYTES = 512, END_LIMIT_MS = 500, SEND_BUFFER = 4 * SIGROK_PAYLOAD_MAX };
static const char PROGRAM[] = "nightbench-sigrok";

int64_t sigrok_child_deadline(double seconds)
{
    return clock_host_now() + (int64_t)(seconds * keeper_client_time_scale() * 1e9);
}

bool sigrok_child_lives(const struct sigrok_child *child)
{
    return child->fd >= 0;
}

const uint8_t *sigrok_child_payload(const struct sigrok_child *child)
{
    return child->frame + sizeof(struct message);
}

/* Beside this program, else the bare name, which execvp looks up in PATH. */
static void find_program(char path[PATH_BYTES])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_BYTES - sizeof PROGRAM - 1);
    path[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(path, '/');
    if (slash)
        memcpy(slash + 1, PROGRAM, sizeof PROGRAM);
    if (!slash || access(path, X_OK) != 0)
        memcpy(path, PROGRAM, sizeof PROGRAM);
}

/* The child's half: between fork and exec only async-signal-safe calls. It dies with the thread that asks. */
static void become(const char *path, char *const argv[], int fd, pid_t parent)
{
    sigset_t none;
    setpgid(0, 0); /* a Ctrl-C at the daemon's terminal is the daemon's */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_IGN); /* libsigrok writes to sockets that may be gone */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(fd, SIGROK_FD) < 0 || (fd == SIGROK_FD && fcntl(fd, F_SETFD, 0) < 0))
        _exit(126);
    close_range(SIGROK_FD + 1, ~0u, 0);
    execvp(path, argv);
    _exit(127);
}

int sigrok_child_start(struct sigrok_child *child, const char *name, struct error *err)
{
    char path[PATH_BYTES], program[sizeof PROGRAM], whose[BENCH_NAME_MAX];
    char *argv[] = { program, whose, NULL };
    int ends[2], size = SEND_BUFFER;
    pid_t self = getpid();
    find_program(path);
    memcpy(program, PROGRAM, sizeof PROGRAM);
    snprintf(whose, sizeof whose, "%s", name);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_errno(err, errno, "socket of %s", PROGRAM);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    pid_t pid = fork();
    if (pid == 0)
        become(path, argv, ends[1], self);
    int failure = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return error_set_errno(err, failure, "start of %s", PROGRAM);
    }
    child->pid = pid;
    child->fd = ends[0];
    return 0;
}

/* A process that hangs in the kernel does not end at once: it is not waited for longer than that. */
void sigrok_child_kill(struct sigrok_child *child)
{
    if (child->fd < 0)
        return;
    struct pollfd ended = { .fd = pidfd_open(child->pid, 0), .events = POLLIN };
    kill(child->pid, SIGKILL);
    close(child->fd);
    if (ended.fd >= 0) {
        poll(&ended, 1, END_LIMIT_MS);
        close(ended.fd);
    }
    waitpid(child->pid, NULL, WNOHANG); /* fails where SIGCHLD is ignored: then nothing is left to collect */
    child->fd = -1;
    child->pid = 0;
}

/* Kills, and says why. */
static int give_up(struct sigrok_child *child, struct error *err, int code, const char *why)
{
    sigrok_child_kill(child);
    return error_set(err, code, "%s; libsigrok's process was ended", why);
}

int sigrok_child_send(struct sigrok_child *child, struct message *message, const void *payload, size_t n,
                      int64_t deadline_ns, struct error *err)
{
    if (n > SIGROK_PAYLOAD_MAX)
        return error_set(err, ERR_RANGE, "request of %zu bytes is longer than %d", n, SIGROK_PAYLOAD_MAX);
    message->magic = MESSAGE_MAGIC;
    message->seq = ++child->seq;
    message->payload_length = (uint32_t)n;
    memcpy(child->frame, message, sizeof *message);
    if (n > 0)
        memcpy(child->frame + sizeof *message, payload, n);
    for (;;) {
        ssize_t sent = send(child->fd, child->frame, sizeof *message + n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0)
            return 0;
        if (errno != EINTR && errno != EAGAIN)
            return give_up(child, err, ERR_LINK, "nightbench-sigrok has ended");
        struct pollfd room = { .fd = child->fd, .events = POLLOUT };
        if (clock_host_now() >= deadline_ns || poll(&room, 1, 10) < 0)
            return give_up(child, err, ERR_TIMEOUT, "nightbench-sigrok takes no request");
    }
}

/* Waits for a message, the cut or the deadline. */
static int wait_readable(struct sigrok_child *child, const struct transport_env *env, int64_t deadline_ns,
                         struct error *err)
{
    struct pollfd fds[2] = { { .fd = child->fd, .events = POLLIN },
                             { .fd = env->cut_fd, .events = POLLIN } }; /* poll skips a descriptor of -1 */
    for (;;) {
        int64_t left_ns = deadline_ns - clock_host_now();
        if (left_ns <= 0)
            return give_up(child, err, ERR_TIMEOUT, "no answer before the deadline");
        int n = poll(fds, 2, (int)(left_ns / NS_PER_MS) + 1);
        if (n > 0 && fds[1].revents)
            return give_up(child, err, ERR_CANCELLED, "cut by a safe request");
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return give_up(child, err, ERR_IO, "poll failed");
    }
}

int sigrok_child_receive(struct sigrok_child *child, const struct transport_env *env, int op,
                         int64_t deadline_ns, struct message *ret_message, struct error *err)
{
    int code = wait_readable(child, env, deadline_ns, err);
    if (code)
        return code;
    struct message m;
    ssize_t n = recv(child->fd, child->frame, sizeof child->frame, MSG_DONTWAIT | MSG_TRUNC);
    if (n <= 0)
        return give_up(child, err, ERR_LINK, "nightbench-sigrok has ended");
    bool whole = n >= (ssize_t)sizeof m && (size_t)n <= sizeof child->frame;
    if (whole)
        memcpy(&m, child->frame, sizeof m);
    if (!whole || m.magic != MESSAGE_MAGIC || m.seq != child->seq || m.op != op ||
        m.payload_length != (size_t)n - sizeof m || (m.code && m.payload_length != sizeof(struct error)))
        return give_up(child, err, ERR_GARBAGE, "nightbench-sigrok answers with something else");
    if (m.code) {
        struct error said;
        memcpy(&said, sigrok_child_payload(child), sizeof said);
        said.message[sizeof said.message - 1] = '\0';
        if (strcmp(error_name(m.code), "unknown") == 0)
            return give_up(child, err, ERR_GARBAGE, "nightbench-sigrok answers with an unknown error");
        return error_set(err, m.code, "%s", said.message);
    }
    *ret_message = m;
    return 0;
}
