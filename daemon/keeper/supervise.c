/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * supervise: the parent that restarts the keeper, and the page that outlives it. */
#include "daemon/keeper/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/keeper/silence.h"
#include "instruments/keeper_client.h"

enum { PATH_ROOM = 320, LOOK_MS = 100, PAUSE_FIRST_MS = 50, PAUSE_LAST_MS = 1000, EXIT_START = 1 };

int supervise_lock(const char *socket_path, int *ret_fd, struct error *err)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s.lock", socket_path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, errno, "lock file %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return error_set(err, ERR_CONFLICT, "another keeper runs on %s", socket_path);
    }
    *ret_fd = fd;
    return 0;
}

int supervise_listen(const char *socket_path, int *ret_fd, struct error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(socket_path) >= sizeof address.sun_path)
        return error_set(err, ERR_RANGE, "socket path is longer than %zu bytes: %s",
                         sizeof address.sun_path - 1, socket_path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, errno, "socket");
    unlink(socket_path); /* the lock file says that nobody listens there */
    mode_t old = umask(0077);
    int failed = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0;
    int saved = errno;
    umask(old);
    if (failed) {
        close(fd);
        return error_set_errno(err, saved, "listening at %s", socket_path);
    }
    *ret_fd = fd;
    return 0;
}

int supervise_open(const char *socket_path, struct supervise_page **ret, struct error *err)
{
    struct supervise_page *page =
        mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (page == MAP_FAILED)
        return error_set_errno(err, errno, "shared page of the keeper");
    page->parent = (int)getpid();
    page->lock_fd = page->listen_fd = -1;
    int code = supervise_lock(socket_path, &page->lock_fd, err);
    if (!code)
        code = supervise_listen(socket_path, &page->listen_fd, err);
    if (code) {
        supervise_close(page);
        return code;
    }
    *ret = page;
    return 0;
}

void supervise_close(struct supervise_page *page)
{
    if (!page)
        return;
    if (page->listen_fd >= 0)
        close(page->listen_fd);
    if (page->lock_fd >= 0)
        close(page->lock_fd);
    munmap(page, sizeof *page);
}

/* ---- The child's half ---- */
void supervise_beat(struct supervise_page *page)
{
    if (page)
        atomic_store(&page->beat_ns, clock_host_now());
}

void supervise_store(struct supervise_page *page, const struct undo_list *undo, bool latched,
                     const struct latch_record *latch)
{
    if (!page)
        return;
    int next = !atomic_load(&page->current);
    struct supervise_state *state = &page->state[next];
    state->undo = *undo;
    state->latched = latched;
    state->latch = *latch;
    atomic_store(&page->current, next); /* killed before this: the one before is still whole */
}

const struct supervise_state *supervise_state(const struct supervise_page *page)
{
    return &page->state[atomic_load(&page->current)];
}

/* ---- The parent ---- */
/* One look. True when the child hangs; that it starves is told, once per silence. */
static bool hung(const struct supervise_page *page, pid_t child, struct silence *silence)
{
    bool news;
    silence_look(silence, child, atomic_load(&page->beat_ns), clock_host_now(), LOOK_MS * NS_PER_MS);
    int64_t limit_ns = (int64_t)(SUPERVISE_HANG_MS * keeper_client_time_scale()) * NS_PER_MS;
    enum silence_verdict verdict = silence_judge(silence, child, limit_ns, &news);
    if (news)
        log_warning("the keeper (process %d) is silent for want of a processor: it is given up to %d s",
                    (int)child, SILENCE_STARVED_LIMIT_MS / 1000);
    return verdict == SILENCE_HANGS;
}

/* Until the child has ended; hands signals on, and ends a child that hangs or was stopped. */
static int watch(struct supervise_page *page, pid_t child, const sigset_t *signals, bool *ending)
{
    struct silence silence = { 0 };
    for (;;) {
        int status;
        pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child)
            return status;
        if (ended < 0 && errno != EINTR)
            return EXIT_START << 8;
        struct timespec look = { .tv_nsec = LOOK_MS * NS_PER_MS };
        int number = sigtimedwait(signals, NULL, &look);
        if (number == SIGTERM || number == SIGINT) {
            *ending = true;
            kill(child, number);
        }
        if (!atomic_load(&page->served)) /* it has nothing to lose yet, and may wait for an instrument */
            silence_excuse(&silence, clock_host_now());
        else if (hung(page, child, &silence)) {
            log_line(LOG_ERR, "the keeper (process %d) has stood still for more than %d ms: it is replaced",
                     (int)child, SUPERVISE_HANG_MS);
            kill(child, SIGKILL); /* works on a stopped process, too */
            silence_excuse(&silence, clock_host_now());
        }
    }
}

/* Whether there is anything that another keeper would have to do. */
static bool needed(const struct supervise_page *page, int status, bool ending)
{
#ifdef KEEPER_WITHOUT_SUPERVISOR /* a variant for tests/fault: its judge must fail then */
    return false;
#endif
    const struct supervise_state *state = supervise_state(page);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
    if (!atomic_load(&page->served))
        return false; /* it never worked: a mistake in its options or its files */
    return WIFSIGNALED(status) ? !ending || state->undo.count > 0 : state->undo.count > 0;
}

static void pause_ms(int ms)
{
    struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS };
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

bool supervise(struct supervise_page *page, int *ret_status)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigset_t before;
    sigprocmask(SIG_BLOCK, &signals, &before);
    bool ending = false;
    for (int wait_ms = PAUSE_FIRST_MS;; page->generation++) {
        int64_t start_ns = clock_host_now();
        atomic_store(&page->beat_ns, start_ns);
        pid_t child = fork();
        if (child == 0) {
            sigprocmask(SIG_SETMASK, &before, NULL);
            /* Only until it serves: whoever started us may give up on us and kill us. */
            if (page->generation == 0)
                prctl(PR_SET_PDEATHSIG, SIGTERM);
            return true;
        }
        if (child > 0 && ending)
            kill(child, SIGTERM); /* it runs the list first */
        int status = child > 0 ? watch(page, child, &signals, &ending) : EXIT_START << 8;
        page->last_status = status;
        if (!needed(page, status, ending)) {
            *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            return false;
        }
        if (WIFSIGNALED(status))
            log_line(LOG_ERR, "the keeper (process %d) died by signal %d: starting another", (int)child,
                     WTERMSIG(status));
        else
            log_line(LOG_ERR, "the keeper (process %d) ended with status %d and outputs on: starting another",
                     (int)child, WEXITSTATUS(status));
        bool lasted = clock_host_now() - start_ns > 10 * NS_PER_S;
        if (lasted || page->generation == 0) {
            wait_ms = PAUSE_FIRST_MS; /* the first replacement comes at once */
            continue;
        }
        pause_ms(wait_ms);
        wait_ms = 2 * wait_ms < PAUSE_LAST_MS ? 2 * wait_ms : PAUSE_LAST_MS;
    }
}
