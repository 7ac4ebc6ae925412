/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_parallel: four meters that take 5 ms for a reading, read together through a bench (ports, queues,
 * driver, transport), against a bare C loop that sends four questions and polls for four answers, in one run.
 * Aim: at least 0.98 of the bare loop's rate.
 */
#include <poll.h>
#include <stdio.h>

#include "instruments/bench.h"
#include "tests/bench/meter.h"

enum { METERS = 4, ROUNDS = 500 };
#define READING_NS (5 * NS_PER_MS)

struct both {
    int fd[METERS];
    struct bench_client *client;
};

static double bare_round(void *context)
{
    const struct both *both = context;
    struct pollfd fds[METERS];
    char answer[128];
    int64_t start_ns = clock_host_now();
    for (int i = 0; i < METERS; i++) {
        fds[i] = (struct pollfd){ .fd = both->fd[i], .events = POLLIN };
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
    return (double)(clock_host_now() - start_ns) * 1e-9;
}

static double bench_round(void *context)
{
    const struct both *both = context;
    const struct bench_file *file = bench_file_of(bench_of(both->client));
    struct bench_read reads[METERS];
    int64_t start_ns = clock_host_now();
    for (int i = 0; i < METERS; i++)
        reads[i] = (struct bench_read){ .channel = &file->channel[i], .quantity = QUANTITY_VOLTAGE };
    if (bench_read_many(both->client, reads, METERS, NULL) || reads[METERS - 1].reading.value != 1.23456789)
        return 0;
    return (double)(clock_host_now() - start_ns) * 1e-9;
}

static int load(const struct meter *meters, struct bench_file **ret_file, struct error *err)
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
                i > 0 ? "," : "", i, meters[i].port);
    fputs("],\"rails\":{}}\n", out);
    fclose(out);
    int code = bench_file_load(path, ret_file, NULL, err);
    unlink(path);
    return code;
}

int main(void)
{
    struct error err = { 0 };
    struct clock *clock = NULL;
    struct clock_actor *actor = NULL;
    struct bench_file *file = NULL;
    struct bench *bench = NULL;
    struct both both = { .client = NULL };
    static struct meter meters[METERS];
    double bare_s = 0, bench_s = 0;

    for (int i = 0; i < METERS; i++) {
        meters[i].reading_ns = READING_NS;
        if (meter_start(&meters[i]) || (both.fd[i] = meter_connect(&meters[i])) < 0)
            return 1;
    }
    int code = clock_open(NULL, &clock, &err);
    if (code == 0)
        code = load(meters, &file, &err);
    struct bench_options options = { .clock = clock };
    if (code == 0)
        code = bench_open(file, &options, &bench, &err);
    if (code == 0)
        code = clock_actor_open(clock, "bench", CLOCK_RANK_RUNNER, &actor, &err);
    if (code == 0)
        code = bench_client_open(bench, actor, &both.client, &err);
    if (code == 0)
        code = meter_compare(ROUNDS, bare_round, bench_round, &both, &bare_s, &bench_s);
    bench_client_close(both.client);
    clock_actor_close(actor);
    bench_close(bench);
    bench_file_free(file);
    clock_close(clock);
    if (code) {
        fprintf(stderr, "bench_parallel: no figure: %s\n", err.message);
        return 1;
    }
    double ideal_s = (double)READING_NS / 1e9;
    printf("%d meters of %d ms read together: %.1f rounds/s through the bench, %.1f/s bare C loop (fastest "
           "tenth of "
           "%d rounds), ratio %.3f (aim >= 0.98)%s; %.3f of %.0f/s, were the wire free\n",
           METERS, (int)(READING_NS / NS_PER_MS), 1 / bench_s, 1 / bare_s, ROUNDS, bare_s / bench_s,
           bare_s / bench_s < 0.98 ? ": missed" : "", ideal_s / bench_s, 1 / ideal_s);
    return 0;
}
