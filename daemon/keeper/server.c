/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * server: the keeper's I/O thread: clients on a SOCK_SEQPACKET socket, their heartbeat, and what follows when
 * one of their processes dies or falls silent. Requests pass the guard and go to a port; the port's thread
 * sends the answer itself. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/notify.h"
#include "daemon/keeper/server_private.h"
#include "instruments/keeper_client.h"

#define IDLE_NS        (300 * NS_PER_MS)
#define AGAIN_FIRST_NS NS_PER_S
#define AGAIN_LAST_NS  (64 * NS_PER_S)
#define LOOK_NS        (KEEPER_BEAT_MS * NS_PER_MS) /* at heartbeats; a silence that ends sooner is met on time */

/* ---- Links ---- */
void server_link_unref(struct link *link)
{
    if (atomic_fetch_sub(&link->references, 1) > 1)
        return;
    close(link->fd);
    free(link);
}

/* Takes a connection out: its socket is shut, so the client sees the end at once, but jobs may still hold it.
 */
static void link_drop(struct server *server, struct link *link)
{
    for (struct link **p = &server->links; *p; p = &(*p)->next) {
        if (*p == link) {
            *p = link->next;
            break;
        }
    }
    server->link_count--;
    epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, link->fd, NULL);
    shutdown(link->fd, SHUT_RDWR);
    clock_notify(server->keeper->clock, link->slot);
    server_link_unref(link);
}

/* ---- Death of a process ---- */
static bool owns_steps(const struct keeper *keeper, int pid)
{
    for (int i = 0; i < keeper->undo.count; i++) {
        if (keeper->undo.step[i].owner == pid)
            return true;
    }
    return false;
}

bool server_has_links(const struct server *server, int pid)
{
    for (const struct link *link = server->links; link; link = link->next) {
        if (link->pid == pid)
            return true;
    }
    return false;
}

void server_drop_requests(struct server *server, int code, const char *why)
{
    for (int i = 0; i < BENCH_INSTRUMENTS_MAX; i++) {
        if (server->keeper->port[i])
            port_drop(server->keeper->port[i], code, why);
    }
}

/* Whatever this process has begun ends here: its links close, its requests are dropped, the clock forgets it
 * (a stopped process must not hold virtual time), and what it had energised is switched off. */
static void fence(struct server *server, int pid, const char *why)
{
    char reason[KEEPER_REASON_MAX];
    struct keeper *keeper = server->keeper;
    bool armed = owns_steps(keeper, pid);
    bool spoke = false;
    for (struct link *link = server->links, *next; link; link = next) {
        next = link->next;
        if (link->pid == pid) {
            spoke |= link->greeted;
            link_drop(server, link);
        }
    }
    if (!armed && !spoke)
        return; /* a heartbeat that ended with nothing behind it */
    snprintf(reason, sizeof reason, "process %d: %s", pid, why);
    log_warning("fenced %s", reason);
    if (armed)
        server_drop_requests(server, ERR_FENCED, "fenced: safe state is in force");
    struct error err = { 0 };
    if (clock_evict(keeper->clock, pid, &err))
        log_error("fencing", &err);
    if (armed)
        keeper_safe(keeper, false, false, reason);
}

/* While the list waits in vain: whoever else has the clock in its hands loses it. Nobody has, while the
 * clock's server itself waits for a processor. */
static bool stalled(void *context, bool patient)
{
    struct server *server = context;
    int clock_pid = clock_server_pid(server->keeper->actor);
    if (patient && clock_pid > 0 && silence_runs(clock_pid))
        return false;
    for (const struct link *link = server->links; patient && link; link = link->next) {
        if (silence_runs(link->pid))
            return false;
    }
    for (const struct link *link = server->links; link; link = link->next) {
        struct error err = { 0 };
        log_warning("process %d holds virtual time while outputs are being switched off: it loses the clock",
                    link->pid);
        if (clock_evict(server->keeper->clock, link->pid, &err))
            log_error("freeing virtual time", &err);
    }
    return true;
}

static void link_ended(struct server *server, struct link *link)
{
    int pid = link->pid;
    bool beats = link->beats;
    link_drop(server, link);
    if (beats)
        fence(server, pid, "its heartbeat connection closed");
    else if (!server_has_links(server, pid) && owns_steps(server->keeper, pid))
        fence(server, pid, "its last connection closed");
}

static int64_t beat_limit_ns(void)
{
    return (int64_t)(KEEPER_BEAT_LIMIT_MS * keeper_client_time_scale()) * NS_PER_MS;
}

/* Host nanoseconds until the next look at heartbeats, the end of idleness, or the time to let our parent hear
 * of us; 0 when there is nothing of the kind. */
static int64_t next_check_ns(const struct server *server)
{
    int64_t nearest_ns = server->keeper->options.page ? SUPERVISE_BEAT_MS * NS_PER_MS : INT64_MAX;
    if (server->idle_ns)
        nearest_ns = server->idle_ns + IDLE_NS - clock_host_now();
    for (const struct link *link = server->links; link; link = link->next) {
        int64_t left_ns = beat_limit_ns() - link->silence.counted_ns;
        if (left_ns <= 0 || left_ns > LOOK_NS)
            left_ns = LOOK_NS;
        if (link->beats && left_ns < nearest_ns)
            nearest_ns = left_ns;
    }
    if (nearest_ns == INT64_MAX)
        return 0;
    return nearest_ns > NS_PER_MS ? nearest_ns : NS_PER_MS;
}

/* Every beat that has come was read before. A process that has nothing switched on harms nobody by its
 * silence: it may be starting, or ending. */
static void check_beats(struct server *server)
{
#ifdef KEEPER_WITHOUT_HEARTBEAT /* a variant for tests/fault: its judge must fail then */
    return;
#endif
    int64_t now_ns = clock_host_now();
    for (struct link *link = server->links; link; link = link->next) {
        bool news;
        if (!link->beats)
            continue;
        silence_look(&link->silence, link->pid, link->beat_ns, now_ns, LOOK_NS);
        if (!owns_steps(server->keeper, link->pid))
            silence_excuse(&link->silence, now_ns);
        enum silence_verdict verdict = silence_judge(&link->silence, link->pid, beat_limit_ns(), &news);
        if (news)
            log_warning("process %d is silent for want of a processor: it is given up to %d s", link->pid,
                        SILENCE_STARVED_LIMIT_MS / 1000);
        if (verdict == SILENCE_HANGS) {
            fence(server, link->pid, "no heartbeat");
            return; /* the list of links has changed; the rest is seen at the next turn */
        }
    }
}

/* One message per call: the loop is level-triggered, so no client can keep the others waiting. */
static void read_link(struct server *server, struct link *link)
{
    ssize_t n = recv(link->fd, server->frame, sizeof(struct message) + MESSAGE_PAYLOAD_MAX + 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    struct message m;
    if (n < (ssize_t)sizeof m) {
        link_ended(server, link);
        return;
    }
    memcpy(&m, server->frame, sizeof m);
    if (m.magic != MESSAGE_MAGIC || m.payload_length != (size_t)n - sizeof m ||
        m.payload_length > MESSAGE_PAYLOAD_MAX) {
        log_warning("process %d sends what is no message", link->pid);
        link_ended(server, link);
        return;
    }
    m.code = 0;
    server_request(link, &m, server->frame + sizeof m);
}

static void accept_link(struct server *server)
{
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct ucred who = { 0 };
    socklen_t length = sizeof who;
    int bytes = 2 * MESSAGE_PAYLOAD_MAX;
    struct link *link = server->link_count < LINKS_MAX ? calloc(1, sizeof *link) : NULL;
    if (!link || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) < 0) {
        free(link);
        close(fd);
        return;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    *link = (struct link){ .server = server, .fd = fd, .pid = who.pid, .slot = -1 };
    atomic_store(&link->references, 1);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = link };
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
        free(link);
        return;
    }
    link->next = server->links;
    server->links = link;
    server->link_count++;
}

/* An emergency stop comes as the first word of a connection of its own. It is only looked at here, and read
 * when the list is done. */
static bool overtaken(void *context)
{
    struct server *server = context;
    for (int before = -1; before != server->link_count;) {
        before = server->link_count;
        accept_link(server);
    }
    for (const struct link *link = server->links; link; link = link->next) {
        struct message m;
        if (!link->greeted && !link->beats &&
            recv(link->fd, &m, sizeof m, MSG_PEEK | MSG_DONTWAIT) == (ssize_t)sizeof m &&
            m.magic == MESSAGE_MAGIC && m.instrument < 0 && m.op == MESSAGE_KEEPER_ESTOP)
            return true;
    }
    return false;
}

/* ---- The loop ---- */
/* An interlock, or a protection of an instrument: latched, and everything goes off in emergency order. */
/* A rule stays broken where an output does not go off, or nobody answers for it: it is told to go off again
 * and again, but not at every look. */
static void take_trip(struct server *server)
{
    char text[INTERLOCK_TEXT_MAX];
    if (!observer_tripped(server->keeper->observer, text, sizeof text))
        return;
    int64_t now_ns = clock_now(server->keeper->clock);
    if (!server->keeper->latched || server->pause_ns == 0) /* 0: latched before our time */
        server->pause_ns = AGAIN_FIRST_NS;
    else if (now_ns < server->again_ns)
        return;
    else if (server->pause_ns < AGAIN_LAST_NS)
        server->pause_ns *= 2;
    keeper_latch(server->keeper, text);
    server_drop_requests(server, ERR_TRIPPED, text);
    keeper_safe(server->keeper, true, false, text);
    server->again_ns = clock_now(server->keeper->clock) + server->pause_ns;
}

/* True when it is time to end. */
static bool take_signal(struct server *server)
{
    struct signalfd_siginfo info;
    if (read(server->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return false;
    server_drop_requests(server, ERR_CANCELLED, "the keeper ends");
    keeper_safe(server->keeper, false, false, "the keeper was told to end");
    return true;
}

static void sort_urgent_first(struct epoll_event *events, int n)
{
    /* Ends of connections last: what a process sent before it died is in order, but its death is not missed.
     */
    for (int i = 0, last = n - 1; i < last;) {
        if (events[i].events & EPOLLHUP) {
            struct epoll_event swap = events[i];
            events[i] = events[last];
            events[last--] = swap;
        } else {
            i++;
        }
    }
}

static bool is_link(const struct server *server, const void *pointer)
{
    for (const struct link *link = server->links; link; link = link->next) {
        if (link == pointer)
            return true;
    }
    return false;
}

/* A client may come back at once: the end of one is not yet idleness. A latch waits for a person: he finds us
 * to ask, and to clear it; and where it could not be written it would end with us. */
static bool is_idle(struct server *server)
{
    if (!server->had_client || server->links || server->keeper->undo.count > 0 || server->keeper->latched)
        server->idle_ns = 0;
    else if (!server->idle_ns)
        server->idle_ns = clock_host_now();
    return server->idle_ns && clock_host_now() - server->idle_ns >= IDLE_NS;
}

static int loop(struct server *server, bool exit_when_idle, struct error *err)
{
    struct keeper *keeper = server->keeper;
    for (;;) {
        struct pollfd fd = { .fd = server->epoll_fd, .events = POLLIN };
        supervise_beat(keeper->options.page);
        int code =
            clock_poll(keeper->actor, &fd, 1, observer_due_ns(keeper->observer), next_check_ns(server));
        if (code < 0 && code != ERR_TIMEOUT) {
            keeper_safe(keeper, true, true, "the keeper lost its clock");
            return error_set(err, code, "the clock is gone");
        }
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(server->epoll_fd, events, EVENTS_MAX, 0);
        /* Before anything a client may want, and after the look at what they want: an answer that brought a
         * client to its next request is seen here first, so that their order is not the host's. */
        observer_run(keeper->observer);
        take_trip(server);
        sort_urgent_first(events, n);
        for (int i = 0; i < n; i++) {
            void *what = events[i].data.ptr;
            if (what == &server->signal_fd) {
                if (take_signal(server))
                    return 0;
            } else if (what == &server->listen_fd) {
                accept_link(server);
            } else if (is_link(server, what)) { /* an earlier event may have fenced it */
                read_link(server, what);
            }
        }
        if (n <= 0)
            check_beats(server);
        if (exit_when_idle && is_idle(server))
            return 0;
    }
}

static int listen_to(struct server *server, int fd, void *what, struct error *err)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = what };
    if (fd < 0 || epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return error_set_errno(err, errno, "keeper's event loop");
    return 0;
}

static int server_open(struct server *server, struct error *err)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    server->frame = malloc(sizeof(struct message) + MESSAGE_PAYLOAD_MAX + 1);
    if (!server->frame)
        return error_set(err, ERR_MEMORY, "keeper's server");
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    const struct supervise_page *page = server->keeper->options.page;
    server->listen_fd = page ? page->listen_fd : -1;
    int code = page ? 0 : supervise_listen(server->keeper->options.socket_path, &server->listen_fd, err);
    if (!code)
        code = listen_to(server, server->signal_fd, &server->signal_fd, err);
    if (!code)
        code = listen_to(server, observer_fd(server->keeper->observer), server->keeper->observer, err);
    if (!code)
        code = listen_to(server, server->listen_fd, &server->listen_fd, err);
    return code;
}

/* The ports are closed before the server goes: their completions end here. */
static void server_close(struct server *server)
{
    keeper_close_ports(server->keeper);
    while (server->links)
        link_drop(server, server->links);
    const int fds[] = { server->listen_fd, server->signal_fd, server->epoll_fd };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    if (server->listen_fd >= 0)
        unlink(server->keeper->options.socket_path);
    server_jobs_free(server);
    pthread_mutex_destroy(&server->lock);
    free(server->frame);
}

/* Once, whatever the number of keepers: who started us waits for one line. */
static void announce(struct keeper *keeper)
{
    struct supervise_page *page = keeper->options.page;
    if (page) {
        prctl(PR_SET_PDEATHSIG, 0); /* from now on we outlive our parent, too */
        if (atomic_exchange(&page->served, true))
            return;
    }
    printf("READY socket=%s\n", keeper->options.socket_path);
    fflush(stdout);
    notify_send("READY=1");
}

int keeper_serve(struct keeper *keeper, bool exit_when_idle, struct error *err)
{
    struct server server = { .keeper = keeper, .epoll_fd = -1, .listen_fd = -1, .signal_fd = -1 };
    pthread_mutex_init(&server.lock, NULL);
    server.had_client = keeper->options.page && keeper->options.page->generation > 0; /* of the one before */
    keeper->stalled = stalled;
    keeper->overtaken = overtaken;
    keeper->server = &server;
    int code = server_open(&server, err);
    if (!code) {
        announce(keeper);
        code = loop(&server, exit_when_idle, err);
    }
    keeper->stalled = NULL;
    keeper->overtaken = NULL;
    server_close(&server);
    return code;
}
