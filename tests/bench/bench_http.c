/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_http: the status request against a bare constant response of the same HTTP library, and event
 * streams, all in one run: what counts is the ratio. The load comes from forked children, so that the CPU
 * time of this process is the server's.
 */
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/events.h"
#include "web/http.h"

enum {
    CONNECTIONS = 32,
    ROUNDS = 3,
    ROUND_MS = 1000,
    STREAMS = 100,
    STREAM_MS = 4000,
    LATENCIES_MAX = 1 << 20,
    EVENT_MS = 5
};

/* What a daemon at work answers. */
static const char status_text[] =
    "{\"state\":\"running\",\"busy\":true,\"run\":\"01M7WHBD32S3CR6HXWVA57H4EB\",\"campaign\":\"adelia-vad-"
    "evening\",\"backend\":"
    "\"chip\",\"chip_serial\":\"W1-0-0\",\"bench\":\"sim-adelia2\",\"simulated\":true,\"clock\":\"real\","
    "\"build\":\"0123456\","
    "\"time_ns\":123456789012,\"progress\":{\"kind\":\"sweep\",\"name\":\"bits x gain x "
    "vdd\",\"step\":11,\"steps\":14,\"point\":"
    "12,\"points\":27,\"points_done\":14,\"points_total\":29,\"samples_done\":14000,\"samples_total\":29000,"
    "\"retries\":0,"
    "\"elapsed_s\":812.5,\"eta_s\":1033.1},\"message\":\"\",\"code\":\"\",\"safe\":false,\"last_event\":"
    "4711}";

struct outcome {
    long answers;
    double seconds, p50_us, p99_us;
};

/* ---- Servers ---- */

static int bench_status(void *context, cJSON **ret, struct error *err)
{
    (void)context;
    return json_parse(status_text, sizeof status_text - 1, ret, err);
}

static int bench_events(void *context, uint64_t after, struct daemon_event *out, int max)
{
    return events_read(context, after, out, max);
}

static int bench_subscribe(void *context, void (*wake)(void *), void *wake_context)
{
    return events_subscribe(context, wake, wake_context);
}

static void bench_unsubscribe(void *context, void *wake_context)
{
    events_unsubscribe(context, wake_context);
}

static enum MHD_Result bare_answer(void *context, struct MHD_Connection *connection, const char *url,
                                   const char *method, const char *version, const char *upload,
                                   size_t *upload_size, void **state)
{
    static int seen;

    (void)url, (void)method, (void)version, (void)upload, (void)upload_size;
    if (*state == NULL) {
        *state = &seen;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, context);
}

static struct MHD_Daemon *bare_open(int *ret_port)
{
    static char text[sizeof status_text];

    memcpy(text, status_text, sizeof text);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(sizeof text - 1, text, MHD_RESPMEM_PERSISTENT);
    struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    MHD_add_response_header(response, "Content-Type", "application/json");
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, bare_answer,
                         response, MHD_OPTION_SOCK_ADDR, &loopback, MHD_OPTION_END);
    if (daemon != NULL)
        *ret_port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return daemon;
}

/* ---- Load, in a child ---- */

static int dial(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("bench_http: connect");
        _exit(1);
    }
    return fd;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static void finish(struct outcome *outcome, float *latency_us, long count)
{
    qsort(latency_us, (size_t)count, sizeof *latency_us, by_value);
    outcome->p50_us = count > 0 ? (double)latency_us[count / 2] : 0;
    outcome->p99_us = count > 0 ? (double)latency_us[count * 99 / 100] : 0;
}

/* One request at a time on each of the connections, for ROUND_MS. */
static void load_requests(int port, struct outcome *ret)
{
    float *latency_us = malloc(LATENCIES_MAX * sizeof *latency_us);
    struct pollfd fds[CONNECTIONS];
    int64_t sent_ns[CONNECTIONS];
    char request[256], answer[8192];
    int length = snprintf(request, sizeof request,
                          "GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\n\r\n", port);

    if (latency_us == NULL)
        _exit(1);
    int64_t begin_ns = clock_host_now(), now_ns = begin_ns;
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = (struct pollfd){ .fd = dial(port), .events = POLLIN };
        sent_ns[i] = clock_host_now();
        if (send(fds[i].fd, request, (size_t)length, 0) != length)
            _exit(1);
    }
    while (now_ns - begin_ns < ROUND_MS * NS_PER_MS) {
        poll(fds, CONNECTIONS, 1000);
        now_ns = clock_host_now();
        for (int i = 0; i < CONNECTIONS; i++) {
            if ((fds[i].revents & POLLIN) == 0)
                continue;
            /* The answer is smaller than a segment of the loopback: it comes whole. */
            ssize_t count = recv(fds[i].fd, answer, sizeof answer, 0);
            if (count < 200 || memcmp(answer, "HTTP/1.1 200", 12) != 0 || answer[count - 1] != '}')
                _exit(1);
            if (ret->answers < LATENCIES_MAX)
                latency_us[ret->answers] = (float)(now_ns - sent_ns[i]) * 1e-3F;
            ret->answers++;
            sent_ns[i] = now_ns;
            if (send(fds[i].fd, request, (size_t)length, 0) != length)
                _exit(1);
        }
    }
    ret->seconds = (double)(now_ns - begin_ns) * 1e-9;
    finish(ret, latency_us, ret->answers < LATENCIES_MAX ? ret->answers : LATENCIES_MAX);
}

/* Reads every stream; the newest "t" of a delivery tells how old it is. */
static void load_streams(int port, struct outcome *ret)
{
    static struct pollfd fds[STREAMS];
    float *latency_us = malloc(LATENCIES_MAX * sizeof *latency_us);
    char request[128], text[65536];
    int length =
        snprintf(request, sizeof request, "GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", port);
    int64_t begin_ns = clock_host_now(), now_ns = begin_ns;

    if (latency_us == NULL)
        _exit(1);
    for (int i = 0; i < STREAMS; i++) {
        fds[i] = (struct pollfd){ .fd = dial(port), .events = POLLIN };
        if (send(fds[i].fd, request, (size_t)length, 0) != length)
            _exit(1);
    }
    while (now_ns - begin_ns < STREAM_MS * NS_PER_MS) {
        poll(fds, STREAMS, 100);
        for (int i = 0; i < STREAMS; i++) {
            if ((fds[i].revents & POLLIN) == 0)
                continue;
            ssize_t count = recv(fds[i].fd, text, sizeof text - 1, 0);
            if (count <= 0)
                _exit(1);
            text[count] = '\0';
            char *newest = NULL;
            for (char *at = text; (at = strstr(at, "\"t\":")) != NULL; at += 4)
                newest = at;
            now_ns = clock_host_now();
            if (newest == NULL || ret->answers == LATENCIES_MAX)
                continue;
            latency_us[ret->answers++] = (float)(now_ns - strtoll(newest + 4, NULL, 10)) * 1e-3F;
        }
        now_ns = clock_host_now();
    }
    ret->seconds = (double)(now_ns - begin_ns) * 1e-9;
    finish(ret, latency_us, ret->answers);
}

typedef void load_fn(int port, struct outcome *ret);

/* during: called in this process until the child is done. */
static bool in_child(load_fn *load, int port, void (*during)(void *context), void *context,
                     struct outcome *ret)
{
    int ends[2], status = 0;
    struct pollfd pfd;

    if (pipe(ends) != 0)
        return false;
    int pid = fork();
    if (pid == 0) {
        struct outcome outcome = { 0 };

        load(port, &outcome);
        _exit(write(ends[1], &outcome, sizeof outcome) == sizeof outcome ? 0 : 1);
    }
    close(ends[1]);
    pfd = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    while (poll(&pfd, 1, during != NULL ? 0 : -1) == 0)
        during(context);
    bool ok = read(ends[0], ret, sizeof *ret) == sizeof *ret;
    close(ends[0]);
    waitpid(pid, &status, 0);
    return ok && status == 0;
}

static void post_event(void *context)
{
    char json[600];

    /* As a running bench: some hundred progress events a second, of usual size. */
    snprintf(json, sizeof json,
             "{\"run\":\"01M7WHBD32S3CR6HXWVA57H4EB\",\"state\":\"running\",\"row\":\"%0300d\",\"t\":%lld}",
             0, (long long)clock_host_now());
    events_post(context, "progress", json);
    usleep(EVENT_MS * 1000);
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int measure(struct web *web, struct events *events, int bare_port)
{
    struct outcome best[2] = { { 0 }, { 0 } }, outcome;
    double rate[2] = { 0, 0 };

    for (int round = 0; round < ROUNDS; round++)
        for (int k = 0; k < 2; k++) { /* in turn, so that both see the same neighbours */
            outcome = (struct outcome){ 0 };
            if (!in_child(load_requests, k == 0 ? bare_port : web_port(web), NULL, NULL, &outcome))
                return 1;
            if ((double)outcome.answers / outcome.seconds > rate[k]) {
                rate[k] = (double)outcome.answers / outcome.seconds;
                best[k] = outcome;
            }
        }
    printf("status: bare library %.0f/s (p50 %.0f us, p99 %.0f us), nightbench %.0f/s (p50 %.0f us, p99 %.0f "
           "us)\n",
           rate[0], best[0].p50_us, best[0].p99_us, rate[1], best[1].p50_us, best[1].p99_us);
    printf("status: ratio %.2f, aim >= 0.90: %s\n", rate[1] / rate[0],
           rate[1] >= 0.9 * rate[0] ? "met" : "missed");
    double before_s = cpu_seconds();
    outcome = (struct outcome){ 0 };
    if (!in_child(load_streams, web_port(web), post_event, events, &outcome))
        return 1;
    double cpu = (cpu_seconds() - before_s) / outcome.seconds;
    printf("streams: %d clients, %.1f deliveries/s each, p50 %.1f ms, p99 %.1f ms\n", STREAMS,
           (double)outcome.answers / outcome.seconds / STREAMS, outcome.p50_us * 1e-3, outcome.p99_us * 1e-3);
    printf("streams: %.1f %% of a core, aim <= 5 %%: %s\n", 100 * cpu, cpu <= 0.05 ? "met" : "missed");
    return 0;
}

int main(void)
{
    struct events *events = events_open();
    struct command command = { .context = events,
                               .status = bench_status,
                               .events = bench_events,
                               .subscribe = bench_subscribe,
                               .unsubscribe = bench_unsubscribe,
                               .db_path = "" };
    struct web_options options = { .command = &command, .db_path = "" };
    struct error err = { 0 };
    struct web *web;
    int bare_port = 0;

    struct MHD_Daemon *bare = bare_open(&bare_port);
    if (bare == NULL || events == NULL || web_open(&options, &web, &err) != 0) {
        fprintf(stderr, "bench_http: %s\n", err.message);
        return 1;
    }
    int rc = measure(web, events, bare_port);
    web_close(web);
    MHD_stop_daemon(bare);
    events_close(events);
    return rc;
}
