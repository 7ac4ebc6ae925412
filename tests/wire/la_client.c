/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * la_client: la_client BENCH: libsigrok's demo device, an analyzer whose pattern counts up, behind our bench,
 * port, driver and child process. Every sample is checked; then one analyzer's process is stopped in the
 * middle of a capture, while the other one goes on. Prints what failed. */
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instruments/keeper_client.h"
#include "instruments/la.h"

enum { EIGHT, SIXTEEN, METER }; /* instruments of the bench file, in that order */

struct client {
    struct clock *clock;
    struct clock_actor *actor;
    struct bench_file *file;
    struct bench *bench;
    struct bench_client *bench_client;
    struct error err;
};

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            printf("FAILED: line %d: %s: %s\n", __LINE__, #condition, c->err.message);                       \
            return 1;                                                                                        \
        }                                                                                                    \
    } while (0)

static int capture(struct client *c, int instrument, const struct la_request *request, struct la_capture *ret)
{
    return la_capture(c->bench_client, instrument, request, ret, &c->err);
}

/* The demo device counts bytes, whatever the size of a sample: each is the one before and one more. Nothing
 * is seen of inputs that nobody asked for; where those are hidden, the count's begin is the one that fits. */
static long count_wrong_from(const struct la_capture *capture, uint64_t inputs, unsigned first)
{
    size_t unit = (size_t)capture->unit_bytes, bytes = capture->samples * unit;
    long wrong = 0;
    for (size_t i = 0; i < bytes; i++)
        wrong += capture->bits[i] != ((first + i) & inputs >> 8 * (i % unit) & 0xff);
    return wrong;
}

static long count_wrong(const struct la_capture *capture, uint64_t inputs)
{
    long least = LONG_MAX;
    for (unsigned first = 0; first < 256 && least > 0; first++) {
        long wrong = count_wrong_from(capture, inputs, first);
        least = wrong < least ? wrong : least;
    }
    return least;
}

static int check_samples(struct client *c)
{
    struct la_request all = { .rate_hz = 1e6, .channels = 0xff, .samples = 100000 };
    struct la_capture got;
    CHECK(capture(c, EIGHT, &all, &got) == 0);
    CHECK(got.samples == 100000 && got.unit_bytes == 1 && got.rate_hz == 1e6 && got.trigger_sample == -1);
    CHECK(count_wrong(&got, 0xff) == 0);
    got.bits[77777] ^= 0x10; /* the check itself is checked */
    CHECK(count_wrong(&got, 0xff) == 1);
    la_capture_free(&got);

    struct la_request wide = { .rate_hz = 2e6, .channels = 0xffff, .samples = 70000 };
    CHECK(capture(c, SIXTEEN, &wide, &got) == 0);
    CHECK(got.unit_bytes == 2 && got.rate_hz == 2e6 && count_wrong(&got, 0xffff) == 0);
    la_capture_free(&got);
    wide.channels = 0x0103;
    CHECK(capture(c, SIXTEEN, &wide, &got) == 0);
    CHECK(count_wrong(&got, 0x0103) == 0 && count_wrong(&got, 0x0107) > 0);
    la_capture_free(&got);
    return 0;
}

static int check_trigger(struct client *c)
{
    struct la_request rise = { .rate_hz = 1e6,
                               .channels = 0xff,
                               .samples = 1000,
                               .trigger = LA_RISING,
                               .trigger_channel = 3,
                               .timeout_s = 5 };
    struct la_capture got;
    CHECK(capture(c, EIGHT, &rise, &got) == 0);
    uint32_t at = (uint32_t)got.trigger_sample;
    CHECK(got.trigger_sample >= 0 && at + 8 < got.samples && got.samples > 900);
    CHECK((got.bits[at] & 0xf) == 8 && la_level(&got, at, 3) && !la_level(&got, at, 2));
    CHECK(count_wrong(&got, 0xff) == 0);
    la_capture_free(&got);
    return 0;
}

static int check_refusals(struct client *c)
{
    struct la_request bad = { .rate_hz = 1e6, .channels = 0x1ff, .samples = 10 };
    struct la_capture got;
    CHECK(capture(c, EIGHT, &bad, &got) == ERR_INVALID && strstr(c->err.message, "no input 8"));
    bad = (struct la_request){ .rate_hz = 5e9, .channels = 1, .samples = 10 };
    CHECK(capture(c, EIGHT, &bad, &got) == ERR_RANGE);
    bad = (struct la_request){ .rate_hz = 1e6, .channels = 1, .samples = LA_SAMPLES_MAX + 1 };
    CHECK(capture(c, EIGHT, &bad, &got) == ERR_RANGE);
    bad = (struct la_request){
        .rate_hz = 1e6, .channels = 1, .samples = 10, .trigger = LA_HIGH, .trigger_channel = 1
    };
    CHECK(capture(c, EIGHT, &bad, &got) == ERR_INVALID);
    return 0;
}

static int check_meter(struct client *c)
{
    struct bench_read read = { .quantity = QUANTITY_VOLTAGE };
    for (int i = 0; i < c->file->channel_count; i++)
        if (c->file->channel[i].instrument == METER)
            read.channel = &c->file->channel[i];
    CHECK(read.channel != NULL);
    CHECK(bench_read_many(c->bench_client, &read, 1, &c->err) == 0);
    CHECK(fabs(fabs(read.reading.value) - 4.0) < 1e-6); /* a square wave of that amplitude */
    CHECK(isnan(read.reading.uncertainty) && !(read.reading.flags & READING_NOT_A_NUMBER));
    read.quantity = QUANTITY_CURRENT;
    CHECK(bench_read_many(c->bench_client, &read, 1, &c->err) == ERR_CONFLICT);
    return 0;
}

/* The process that runs libsigrok for this instrument; 0 when there is none. */
static int child_of(const char *name)
{
    DIR *list = opendir("/proc");
    int found = 0;
    for (struct dirent *entry; list && !found && (entry = readdir(list));) {
        char path[300], text[512] = "";
        int parent = 0;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        bool ours = fscanf(file, "%*d (nightbench-sigr) %*c %d", &parent) == 1 && parent == getpid();
        fclose(file);
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        file = ours ? fopen(path, "r") : NULL;
        if (!file)
            continue;
        size_t n = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        const char *second = text + strlen(text) + 1;
        if (second < text + n && strcmp(second, name) == 0)
            found = atoi(entry->d_name);
    }
    if (list)
        closedir(list);
    return found;
}

/* What the other analyzer does while the first one hangs; a client and an actor of its own. */
struct other {
    struct client *parent;
    int captures, wrong, code;
    bool stop;
};

static void *go_on(void *argument)
{
    struct other *other = argument;
    struct client mine = *other->parent, *c = &mine;
    struct la_request request = { .rate_hz = 1e6, .channels = 0xffff, .samples = 1000 };
    if (clock_actor_open(c->clock, "other", 1, &c->actor, &c->err) ||
        bench_client_open(c->bench, c->actor, &c->bench_client, &c->err))
        return NULL;
    while (!__atomic_load_n(&other->stop, __ATOMIC_ACQUIRE)) {
        struct la_capture got;
        other->code |= capture(c, SIXTEEN, &request, &got);
        if (other->code)
            break;
        other->wrong += count_wrong(&got, 0xffff) != 0;
        other->captures++;
        la_capture_free(&got);
    }
    bench_client_close(c->bench_client);
    clock_actor_close(c->actor);
    return NULL;
}

/* A process that is stopped is what a library that hangs looks like. */
static int check_hang(struct client *c)
{
    struct other other = { .parent = c };
    struct la_request request = { .rate_hz = 1e6, .channels = 0xff, .samples = 1000 };
    struct la_capture got;
    pthread_t thread;
    int hung = child_of("eight"), bystander = child_of("sixteen");
    CHECK(hung > 0 && bystander > 0);
    CHECK(pthread_create(&thread, NULL, go_on, &other) == 0);
    kill(hung, SIGSTOP);
    int64_t begin_ns = clock_host_now();
    int code = capture(c, EIGHT, &request, &got);
    double took_s = (double)(clock_host_now() - begin_ns) / 1e9;
    int during = __atomic_load_n(&other.captures, __ATOMIC_ACQUIRE);
    __atomic_store_n(&other.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    CHECK(code == ERR_TIMEOUT && kill(hung, 0) != 0);
    CHECK(took_s < 5 * keeper_client_time_scale());
    CHECK(other.code == 0 && other.wrong == 0 && during >= 2);
    CHECK(capture(c, EIGHT, &request, &got) == 0 && count_wrong(&got, 0xff) == 0);
    la_capture_free(&got);
    int replaced = child_of("eight");
    CHECK(replaced > 0 && replaced != hung && child_of("sixteen") == bystander);
    printf("stopped: given up after %.1f s; the other one made %d captures meanwhile\n", took_s, during);
    return 0;
}

/* One that dies costs no more than the request that met it. */
static int check_death(struct client *c)
{
    struct la_request request = { .rate_hz = 1e6, .channels = 0xff, .samples = 1000 };
    struct la_capture got;
    int child = child_of("eight");
    CHECK(child > 0 && kill(child, SIGKILL) == 0);
    CHECK(capture(c, EIGHT, &request, &got) == ERR_LINK);
    CHECK(capture(c, EIGHT, &request, &got) == 0 && count_wrong(&got, 0xff) == 0);
    la_capture_free(&got);
    return 0;
}

static int run(struct client *c)
{
    int code = check_samples(c);
    code = code ? code : check_trigger(c);
    code = code ? code : check_refusals(c);
    code = code ? code : check_meter(c);
    code = code ? code : check_death(c);
    return code ? code : check_hang(c);
}

int main(int argc, char **argv)
{
    struct client client = { 0 }, *c = &client;
    if (argc != 2)
        return 2;
    CHECK(bench_file_load(argv[1], &c->file, NULL, &c->err) == 0);
    CHECK(clock_open(NULL, &c->clock, &c->err) == 0);
    CHECK(clock_actor_open(c->clock, "client", 0, &c->actor, &c->err) == 0);
    struct bench_options options = { .clock = c->clock };
    CHECK(bench_open(c->file, &options, &c->bench, &c->err) == 0);
    CHECK(bench_client_open(c->bench, c->actor, &c->bench_client, &c->err) == 0);
    int code = run(c);
    bench_client_close(c->bench_client);
    bench_close(c->bench);
    int left = child_of("eight") + child_of("sixteen") + child_of("meter");
    clock_actor_close(c->actor);
    clock_close(c->clock);
    bench_file_free(c->file);
    CHECK(code || left == 0);
    return code;
}
