/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_parallel: four meters that take 5 ms for a reading, read together through a bench (ports, queues,
 * driver, transport), against a bare C loop that sends four questions and polls for four answers, in one run.
 * Aim: at least 0.98 of the bare loop's rate.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "instruments/bench.h"

enum { METERS = 4, PASSES = 3, READS = 300 };
#define READING_NS (5 * NS_PER_MS)

/* Answers a line at once, a reading 5 ms after its question. */
static void *serve(void *context)
{
    int fd = (int)(intptr_t)context;
    char line[512];
    size_t used = 0;

    for (;;) {
        ssize_t got = recv(fd, line + used, sizeof line - used, 0);
        int64_t due_ns = clock_host_now() + READING_NS;
        if (got <= 0)
            break;
        used += (size_t)got;
        char *end = memchr(line, '\n', used);
        if (end == NULL)
            continue;
        *end = '\0';
        used = 0; /* neither client sends ahead */
        const char *answer = strstr(line, "*IDN?") != NULL   ? "Keysight Technologies,34461A,MY1,1\n"
                             : strstr(line, "ERR?") != NULL  ? "+0,\"No error\"\n"
                             : strstr(line, "READ?") != NULL ? "+1.23456789E+00\n"
                                                             : NULL;
        if (answer != NULL && strstr(line, "READ?") != NULL) {
            struct timespec due = { .tv_sec = due_ns / NS_PER_S, .tv_nsec = due_ns % NS_PER_S };
            while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
                ;
        }
        if (answer != NULL && send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
            break;
    }
    close(fd);
    return NULL;
}

static void *accept_all(void *context)
{
    int listener = (int)(intptr_t)context;

    for (;;) {
        int one = 1, fd = accept(listener, NULL, NULL);
        pthread_t thread;
        if (fd < 0)
            return NULL;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
    }
}

static int start_server(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t thread;

    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0 ||
        pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)fd) != 0)
        return -1;
    pthread_detach(thread);
    return ntohs(address.sin_port);
}

/* Rounds of four readings per second. */
static double bare(const int *ports)
{
    struct pollfd fds[METERS];
    char answer[128];

    for (int i = 0; i < METERS; i++) {
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                       .sin_port = htons((uint16_t)ports[i]) };
        int one = 1;
        fds[i] = (struct pollfd){ .fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN };
        if (connect(fds[i].fd, (struct sockaddr *)&address, sizeof address) != 0)
            return 0;
        setsockopt(fds[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    int64_t start_ns = clock_host_now();
    for (int read = 0; read < READS; read++) {
        for (int i = 0; i < METERS; i++) {
            if (send(fds[i].fd, "READ?\n", 6, MSG_NOSIGNAL) != 6)
                return 0;
        }
        for (int left = METERS; left > 0;) {
            if (poll(fds, METERS, 1000) <= 0)
                return 0;
            for (int i = 0; i < METERS; i++)
                if (fds[i].revents != 0 && recv(fds[i].fd, answer, sizeof answer, 0) > 0)
                    left--;
        }
    }
    double rate = READS * 1e9 / (double)(clock_host_now() - start_ns);
    for (int i = 0; i < METERS; i++)
        close(fds[i].fd);
    return rate;
}

static double through_bench(struct bench_client *client, struct error *err)
{
    const struct bench_file *file = bench_file_of(bench_of(client));
    struct bench_read reads[METERS];

    int64_t start_ns = clock_host_now();
    for (int read = 0; read < READS; read++) {
        for (int i = 0; i < METERS; i++)
            reads[i] = (struct bench_read){ .channel = &file->channel[i], .quantity = QUANTITY_VOLTAGE };
        if (bench_read_many(client, reads, METERS, err) != 0 || reads[METERS - 1].reading.value != 1.23456789)
            return 0;
    }
    return READS * 1e9 / (double)(clock_host_now() - start_ns);
}

static int load(const int *ports, struct bench_file **ret_file, struct error *err)
{
    char path[] = "/tmp/nb-bench.XXXXXX";
    int fd = mkstemp(path);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;

    if (out == NULL)
        return error_set_errno(err, errno, "%s", path);
    fputs("{\"format\":\"nightbench-bench\",\"version\":1,\"name\":\"meters\",\"socket\":\"S1\","
          "\"simulated\":true,\"instruments\":[",
          out);
    for (int i = 0; i < METERS; i++)
        fprintf(out,
                "%s{\"name\":\"dmm%d\",\"class\":\"dmm\",\"driver\":\"scpi\",\"dialect\":\"keysight-34461a\","
                "\"resource\":\"tcp:127.0.0.1:%d\",\"identity\":{\"serial\":\"any\"}}",
                i > 0 ? "," : "", i, ports[i]);
    fputs("],\"rails\":{}}\n", out);
    fclose(out);
    int code = bench_file_load(path, ret_file, NULL, err);
    unlink(path);
    return code;
}

int main(void)
{
    struct error err = { .code = 0 };
    struct clock *clock = NULL;
    struct clock_actor *actor = NULL;
    struct bench_file *file = NULL;
    struct bench *bench = NULL;
    struct bench_client *client = NULL;
    double best_bare = 0, best_bench = 0;
    int ports[METERS], code = 0;

    for (int i = 0; i < METERS; i++)
        if ((ports[i] = start_server()) < 0)
            return 1;
    code = clock_open(NULL, &clock, &err);
    if (code == 0)
        code = load(ports, &file, &err);
    struct bench_options options = { .clock = clock };
    if (code == 0)
        code = bench_open(file, &options, &bench, &err);
    if (code == 0)
        code = clock_actor_open(clock, "bench", CLOCK_RANK_RUNNER, &actor, &err);
    if (code == 0)
        code = bench_client_open(bench, actor, &client, &err);
    for (int pass = 0; code == 0 && pass < PASSES; pass++) {
        double a = bare(ports), b = through_bench(client, &err);
        best_bare = a > best_bare ? a : best_bare;
        best_bench = b > best_bench ? b : best_bench;
    }
    bench_client_close(client);
    clock_actor_close(actor);
    bench_close(bench);
    bench_file_free(file);
    clock_close(clock);
    if (best_bare <= 0 || best_bench <= 0) {
        fprintf(stderr, "bench_parallel: no figure: %s\n", err.message);
        return 1;
    }
    printf(
        "%d meters of %d ms read together: %.1f rounds/s through the bench, %.1f/s bare C loop, ratio %.3f "
        "(aim >= 0.98); %.3f of %d/s, were the wire free\n",
        METERS, (int)(READING_NS / NS_PER_MS), best_bench, best_bare, best_bench / best_bare,
        best_bench * (double)READING_NS / 1e9, (int)(NS_PER_S / READING_NS));
    return 0;
}
