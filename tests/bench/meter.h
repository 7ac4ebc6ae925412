/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * meter: for benchmarks, a meter that answers lines over TCP, a reading after a time of its own; the bare C
 * client that figures are compared with; and the comparison: both in turns, in many short rounds, of which
 * the fastest tenth counts, for a busy machine disturbs that least. */
#ifndef TESTS_BENCH_METER_H
#define TESTS_BENCH_METER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"

struct meter {
    int64_t reading_ns; /* from the question to the answer; 0: at once */
    bool apart;         /* on the second processor, as real ones do not share the client's */
    int listen_fd, port;
};

/* One connection: the listening meter, and what was accepted. */
struct meter_client {
    const struct meter *meter;
    int fd;
};

static inline const char *meter_answer(const char *line)
{
    if (strstr(line, "*IDN?"))
        return "Keysight Technologies,34461A,MY1,1\n";
    if (strstr(line, "ERR?"))
        return "+0,\"No error\"\n";
    return strchr(line, '?') ? "+1.23456789E+00\n" : NULL;
}

static inline void meter_wait(int64_t due_ns)
{
    struct timespec due = { .tv_sec = due_ns / NS_PER_S, .tv_nsec = due_ns % NS_PER_S };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
        ;
}

/* Of the calling thread. Where two talk in turns, whether they share a processor decides the rate by a factor
 * of three: nobody may be left to chance. */
static inline void meter_pin(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    sched_setaffinity(0, sizeof set, &set); /* a machine with one processor has no choice */
}

/* No client here sends ahead, so a line is whole. */
static inline void *meter_serve(void *context)
{
    struct meter_client client = *(struct meter_client *)context;
    char line[512];
    ssize_t n;
    free(context);
    if (client.meter->apart)
        meter_pin(1);
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* else a reading takes 50 us more than it says */
    while ((n = recv(client.fd, line, sizeof line - 1, 0)) > 0) {
        int64_t due_ns = clock_host_now() + client.meter->reading_ns;
        line[n] = '\0';
        const char *answer = meter_answer(line);
        if (client.meter->reading_ns > 0 && strstr(line, "READ?"))
            meter_wait(due_ns);
        if (answer && send(client.fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
            break;
    }
    close(client.fd);
    return NULL;
}

static inline void *meter_accept(void *context)
{
    struct meter *meter = context;
    for (;;) {
        struct meter_client *client = malloc(sizeof *client);
        pthread_t thread;
        if (!client)
            return NULL;
        *client = (struct meter_client){ meter, accept(meter->listen_fd, NULL, NULL) };
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
        if (client->fd < 0 || pthread_create(&thread, NULL, meter_serve, client) != 0) {
            free(client);
            return NULL;
        }
        pthread_detach(thread);
    }
}

/* Runs to the end of the process. 0, or -1. */
static inline int meter_start(struct meter *meter)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    pthread_t thread;
    meter->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(meter->listen_fd, (struct sockaddr *)&address, length) < 0 || listen(meter->listen_fd, 4) < 0 ||
        getsockname(meter->listen_fd, (struct sockaddr *)&address, &length) < 0 ||
        pthread_create(&thread, NULL, meter_accept, meter) != 0)
        return -1;
    meter->port = ntohs(address.sin_port);
    return pthread_detach(thread);
}

/* A bare client's socket, or -1. */
static inline int meter_connect(const struct meter *meter)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                   .sin_port = htons((uint16_t)meter->port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    return fd;
}

static inline int meter_by_number(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Runs both in turns and gives the time of each one's round that is slower than a tenth of its rounds. A
 * round returns its seconds, or 0 when it failed; then so does this, by -1. */
static inline int meter_compare(int rounds, double (*bare)(void *), double (*ours)(void *), void *context,
                                double *ret_bare_s, double *ret_ours_s)
{
    double *bare_s = calloc((size_t)rounds, sizeof *bare_s), *ours_s = calloc((size_t)rounds, sizeof *ours_s);
    int done = 0;
    while (bare_s && ours_s && done < rounds) {
        bare_s[done] = bare(context);
        ours_s[done] = ours(context);
        if (bare_s[done] <= 0 || ours_s[done] <= 0)
            break;
        done++;
    }
    if (done == rounds) {
        qsort(bare_s, (size_t)rounds, sizeof *bare_s, meter_by_number);
        qsort(ours_s, (size_t)rounds, sizeof *ours_s, meter_by_number);
        *ret_bare_s = bare_s[rounds / 10];
        *ret_ours_s = ours_s[rounds / 10];
    }
    free(bare_s);
    free(ours_s);
    return done == rounds ? 0 : -1;
}

#endif
