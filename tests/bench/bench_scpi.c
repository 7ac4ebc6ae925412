/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_scpi: SCPI queries per second through the SCPI driver (transport, deadlines, reply parser) against a
 * bare C request/response loop, both with one and the same answering server, in one run. Aim: at least 0.9 of
 * the bare loop.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/driver.h"

enum { ROUNDS = 5, QUERIES = 20000 };

static const char answer_identity[] = "Keysight Technologies,34461A,MY00000001,A.03.03\n";
static const char answer_value[] = "+1.23456789E+00\n";
static const char answer_error[] = "+0,\"No error\"\n";

/* Answers every line: identity, the error queue, or a value. One thread per connection. */
static void *serve(void *context)
{
    int fd = (int)(intptr_t)context;
    char line[512];
    size_t used = 0;

    for (;;) {
        ssize_t got = recv(fd, line + used, sizeof line - used, 0);
        if (got <= 0)
            break;
        used += (size_t)got;
        char *end = memchr(line, '\n', used);
        if (end == NULL)
            continue;
        *end = '\0';
        const char *answer = strstr(line, "*IDN?") != NULL  ? answer_identity
                             : strstr(line, "ERR?") != NULL ? answer_error
                             : strchr(line, '?') != NULL    ? answer_value
                                                            : NULL;
        used = 0; /* this client never pipelines */
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

static double bare(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                   .sin_port = htons((uint16_t)port) };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    char reply[128];

    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return 0;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int64_t start = clock_host_now();
    for (int i = 0; i < QUERIES; i++) {
        if (send(fd, "READ?\n", 6, MSG_NOSIGNAL) != 6 || recv(fd, reply, sizeof reply, 0) <= 0)
            return 0;
    }
    double rate = QUERIES * 1e9 / (double)(clock_host_now() - start);
    close(fd);
    return rate;
}

static double through_driver(int port, struct clock *clock, struct clock_actor *actor, struct error *err)
{
    struct transport_env env = { .clock = clock, .actor = actor, .cut_fd = -1 };
    struct driver_config config = { .name = "dmm1", .class = CLASS_DMM };
    const struct driver *driver = driver_find("scpi");
    static uint8_t payload[MESSAGE_TEXT_MAX];
    void *state = NULL;
    double rate = 0;

    snprintf(config.resource, sizeof config.resource, "tcp:127.0.0.1:%d", port);
    snprintf(config.dialect_path, sizeof config.dialect_path, "configs/instruments/keysight-34461a.json");
    if (driver->open(&config, &env, &state, err) != 0)
        return 0;
    int64_t start = clock_host_now();
    for (int i = 0; i < QUERIES; i++) {
        struct message message = {
            .magic = MESSAGE_MAGIC, .op = MESSAGE_QUERY, .channel = 1, .payload_length = 5
        };
        memcpy(payload, "READ?", 5);
        if (driver->request(state, &message, payload, sizeof payload, err) != 0)
            goto close;
    }
    rate = QUERIES * 1e9 / (double)(clock_host_now() - start);
close:
    driver->close(state);
    return rate;
}

int main(void)
{
    struct error err = { .code = 0 };
    struct clock *clock = NULL;
    struct clock_actor *actor = NULL;
    double best_bare = 0, best_driver = 0;
    int port = start_server();

    if (port < 0 || clock_open(NULL, &clock, &err) != 0 ||
        clock_actor_open(clock, "bench", CLOCK_RANK_RUNNER, &actor, &err) != 0) {
        fprintf(stderr, "bench_scpi: cannot start: %s\n", err.message);
        return 1;
    }
    for (int round = 0; round < ROUNDS; round++) {
        double a = bare(port), b = through_driver(port, clock, actor, &err);
        best_bare = a > best_bare ? a : best_bare;
        best_driver = b > best_driver ? b : best_driver;
    }
    clock_actor_close(actor);
    clock_close(clock);
    if (best_bare <= 0 || best_driver <= 0) {
        fprintf(stderr, "bench_scpi: no figure: %s\n", err.message);
        return 1;
    }
    printf("SCPI queries over TCP: %.0f/s through the driver, %.0f/s bare C loop, ratio %.2f (aim >= 0.90)\n",
           best_driver, best_bare, best_driver / best_bare);
    return 0;
}
