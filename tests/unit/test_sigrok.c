/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * The sigrok driver and a child process that is not libsigrok's: this program plays it, in every way that is
 * wrong. After each of them the next request meets a new child and is right. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/driver.h"
#include "drivers/sigrok_wire.h"
#include "instruments/la.h"

/* The child is told what to do by the sample rate of a capture, or by the channel of a reading. */
enum act {
    GOOD = 1000000,
    DIES,
    DIES_AMONG_SAMPLES,
    NOT_A_MESSAGE,
    OTHER_MAGIC,
    OTHER_SEQ,
    OTHER_OP,
    LENGTH_LIES,
    ERROR_OF_NO_KIND,
    ERROR_TOO_SHORT,
    TOO_MANY_SAMPLES,
    UNIT_OF_NINE,
    HALF_A_UNIT,
    NO_RATE,
    SAMPLES_TWICE,
    SAMPLES_BEYOND,
    TOO_LONG,
    REFUSES,
    MUTE
};
enum meter_act { VOLTS = 1, OVERLOAD, HELD, UNFLAGGED, NUMBER_FLAGGED, STRANGE_FLAG };
enum { SAMPLES = 100000, FIRST = 60000 };

/* ---- The child ---- */
static void say(const struct message *m, const void *payload, size_t n)
{
    static uint8_t frame[sizeof *m + 2 * SIGROK_PAYLOAD_MAX];
    memcpy(frame, m, sizeof *m);
    memcpy(frame + sizeof *m, payload, n);
    if (send(SIGROK_FD, frame, sizeof *m + n, MSG_NOSIGNAL) < 0)
        _exit(1);
}

static uint8_t sample_at(uint32_t i)
{
    return (uint8_t)(i * 7 + i / 256);
}

static void say_samples(const struct message *m, int act)
{
    static uint8_t bits[SAMPLES];
    struct message data = { .magic = MESSAGE_MAGIC, .op = SIGROK_DATA, .seq = m->seq };
    for (uint32_t i = 0; i < SAMPLES; i++)
        bits[i] = sample_at(i);
    data.payload_length = FIRST;
    say(&data, bits, FIRST);
    if (act == DIES_AMONG_SAMPLES)
        _exit(0);
    data.count = act == SAMPLES_TWICE ? 0 : FIRST;
    data.payload_length = SAMPLES - FIRST + (act == SAMPLES_BEYOND);
    say(&data, bits + FIRST - (act == SAMPLES_BEYOND), data.payload_length);
}

static void play_capture(struct message m, int act)
{
    struct error error = { .code = ERR_REFUSED, .message = "not today" };
    m.payload_length = 0;
    m.value[0] = act == NO_RATE ? 0 : 123;
    m.value[1] = act == TOO_MANY_SAMPLES ? SAMPLES + 1 : SAMPLES;
    m.value[2] = act == UNIT_OF_NINE ? 9 : act == HALF_A_UNIT ? 1.5 : 1;
    m.count = 17;
    switch (act) {
    case DIES:
        _exit(0);
    case NOT_A_MESSAGE:
        send(SIGROK_FD, "segfault", 8, 0);
        return;
    case TOO_LONG: {
        static uint8_t much[2 * SIGROK_PAYLOAD_MAX];
        m.payload_length = sizeof much;
        say(&m, much, sizeof much);
        return;
    }
    case MUTE:
        pause();
        return;
    case REFUSES:
    case ERROR_OF_NO_KIND:
    case ERROR_TOO_SHORT:
        m.code = act == ERROR_OF_NO_KIND ? -4711 : ERR_REFUSED;
        m.payload_length = act == ERROR_TOO_SHORT ? 20 : sizeof error;
        say(&m, &error, m.payload_length);
        return;
    case OTHER_MAGIC:
        m.magic++;
        break;
    case OTHER_SEQ:
        m.seq--;
        break;
    case OTHER_OP:
        m.op = MESSAGE_IDENTIFY;
        break;
    case LENGTH_LIES:
        m.payload_length = 1;
        break;
    default:
        break;
    }
    say(&m, "", 0);
    say_samples(&m, act);
}

static void play_reading(struct message m)
{
    m.flags = m.channel == OVERLOAD         ? READING_NOT_A_NUMBER | READING_OVERRANGE
              : m.channel == HELD           ? READING_STALE
              : m.channel == NUMBER_FLAGGED ? READING_NOT_A_NUMBER
              : m.channel == STRANGE_FLAG   ? READING_SIMULATED
                                            : 0;
    m.value[0] = m.channel == OVERLOAD || m.channel == UNFLAGGED ? INFINITY : 1.25;
    m.value[1] = m.value[2] = NAN;
    m.payload_length = 0;
    say(&m, "", 0);
}

static int play_child(void)
{
    static uint8_t frame[sizeof(struct message) + SIGROK_PAYLOAD_MAX + 1];
    struct message m;
    ssize_t n;
    while ((n = recv(SIGROK_FD, frame, sizeof frame - 1, 0)) >= (ssize_t)sizeof m) {
        memcpy(&m, frame, sizeof m);
        frame[n] = '\0';
        const char *text = (const char *)frame + sizeof m;
        struct message_la wish;
        if (m.op == SIGROK_OPEN) {
            static const char WHO[] = "ACME\0Analyzer\0\0001.0";
            if (strcmp(text, "dies") == 0)
                return 0;
            if (strcmp(text, "mute") == 0)
                pause();
            m.payload_length = strcmp(text, "anonymous") == 0 ? 5 : sizeof WHO;
            say(&m, WHO, m.payload_length);
        } else if (m.op == MESSAGE_MEASURE) {
            play_reading(m);
        } else {
            memcpy(&wish, text, sizeof wish);
            play_capture(m, (int)wish.rate_hz);
        }
    }
    return 0;
}

/* ---- The tests ---- */
struct rig {
    struct driver_config config;
    struct transport_env env;
    void *state;
    struct error err;
    uint8_t payload[MESSAGE_PAYLOAD_MAX];
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    snprintf(rig->config.name, sizeof rig->config.name, "la1");
    snprintf(rig->config.resource, sizeof rig->config.resource, "sigrok:acme");
    rig->config.class = CLASS_LA;
    rig->env.cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    *state = rig;
    return clock_open(NULL, &rig->env.clock, NULL) ||
           clock_actor_open(rig->env.clock, "test", 0, &rig->env.actor, NULL);
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    driver_sigrok.close(rig->state);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left, dead or alive */
    assert_int_equal(errno, ECHILD);
    clock_actor_close(rig->env.actor);
    clock_close(rig->env.clock);
    close(rig->env.cut_fd);
    free(rig);
    return 0;
}

static int open_it(struct rig *rig)
{
    return driver_sigrok.open(&rig->config, &rig->env, &rig->state, &rig->err);
}

static int capture(struct rig *rig, int act, struct message *ret)
{
    struct message_la wish = { .rate_hz = act, .channels = 0xff, .samples = SAMPLES, .trigger_channel = -1 };
    *ret =
        (struct message){ .magic = MESSAGE_MAGIC, .op = MESSAGE_LA_CAPTURE, .payload_length = sizeof wish };
    memcpy(rig->payload, &wish, sizeof wish);
    return driver_sigrok.request(rig->state, ret, rig->payload, sizeof rig->payload, &rig->err);
}

/* Fetches in pieces of an odd size and looks at each sample. */
static void check_capture(struct rig *rig, struct message *m)
{
    assert_true(m->value[0] == 123 && m->value[1] == SAMPLES && m->value[2] == 1 && m->count == 17);
    uint32_t at = 0;
    while (at < SAMPLES) {
        struct message fetch = { .op = MESSAGE_LA_FETCH, .value = { m->value[3], at } };
        assert_int_equal(driver_sigrok.request(rig->state, &fetch, rig->payload, 4095, &rig->err), 0);
        assert_true(fetch.payload_length > 0 && fetch.payload_length <= 4095);
        for (uint32_t i = 0; i < fetch.payload_length; i++)
            assert_int_equal(rig->payload[i], sample_at(at + i));
        at += fetch.payload_length;
    }
    assert_int_equal(at, SAMPLES);
    struct message beyond = { .op = MESSAGE_LA_FETCH, .value = { m->value[3], SAMPLES } };
    assert_int_equal(driver_sigrok.request(rig->state, &beyond, rig->payload, 4095, &rig->err), ERR_RANGE);
}

static void test_identity(void **state)
{
    struct rig *rig = *state;
    struct message m = { .op = MESSAGE_IDENTIFY };
    assert_int_equal(open_it(rig), 0);
    assert_int_equal(driver_sigrok.request(rig->state, &m, rig->payload, sizeof rig->payload, &rig->err), 0);
    assert_memory_equal(rig->payload, "ACME\0Analyzer\0\0001.0", m.payload_length);
}

static void test_open_fails(void **state)
{
    struct rig *rig = *state;
    snprintf(rig->config.resource, sizeof rig->config.resource, "sigrok:dies");
    assert_int_equal(open_it(rig), ERR_LINK);
    snprintf(rig->config.resource, sizeof rig->config.resource, "sigrok:anonymous");
    assert_int_equal(open_it(rig), ERR_GARBAGE);
    assert_null(rig->state);
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "/nowhere", 1);
    snprintf(rig->config.resource, sizeof rig->config.resource, "sigrok:acme");
    assert_int_equal(open_it(rig), ERR_LINK);
    setenv("PATH", path, 1);
    free(path);
}

static void test_every_wrong_child(void **state)
{
    static const struct {
        int act, code;
        bool lives;
    } ROWS[] = {
        { DIES, ERR_LINK },
        { DIES_AMONG_SAMPLES, ERR_LINK },
        { NOT_A_MESSAGE, ERR_GARBAGE },
        { OTHER_MAGIC, ERR_GARBAGE },
        { OTHER_SEQ, ERR_GARBAGE },
        { OTHER_OP, ERR_GARBAGE },
        { LENGTH_LIES, ERR_GARBAGE },
        { ERROR_OF_NO_KIND, ERR_GARBAGE },
        { ERROR_TOO_SHORT, ERR_GARBAGE },
        { TOO_MANY_SAMPLES, ERR_GARBAGE },
        { UNIT_OF_NINE, ERR_GARBAGE },
        { HALF_A_UNIT, ERR_GARBAGE },
        { NO_RATE, ERR_GARBAGE },
        { SAMPLES_TWICE, ERR_GARBAGE },
        { SAMPLES_BEYOND, ERR_GARBAGE },
        { TOO_LONG, ERR_GARBAGE },
        { REFUSES, ERR_REFUSED, .lives = true },
    };
    struct rig *rig = *state;
    struct message m;
    assert_int_equal(open_it(rig), 0);
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        int code = capture(rig, ROWS[i].act, &m);
        if (code != ROWS[i].code)
            fail_msg("act %d: %s instead of %s: %s", ROWS[i].act, error_name(code), error_name(ROWS[i].code),
                     rig->err.message);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), ROWS[i].lives ? 0 : -1);
        assert_int_equal(driver_sigrok.resync(rig->state, &rig->err), 0);
        assert_int_equal(capture(rig, GOOD, &m), 0);
        check_capture(rig, &m);
    }
}

/* Samples of a capture that has been followed by another one, even one that failed, are gone. */
static void test_old_captures(void **state)
{
    struct rig *rig = *state;
    struct message first, second;
    assert_int_equal(open_it(rig), 0);
    assert_int_equal(capture(rig, GOOD, &first), 0);
    struct message fetch = { .op = MESSAGE_LA_FETCH, .value = { first.value[3], 0 } };
    assert_int_equal(driver_sigrok.request(rig->state, &fetch, rig->payload, 10, &rig->err), 0);
    assert_int_equal(capture(rig, GOOD, &second), 0);
    fetch = (struct message){ .op = MESSAGE_LA_FETCH, .value = { first.value[3], 0 } };
    assert_int_equal(driver_sigrok.request(rig->state, &fetch, rig->payload, 10, &rig->err), ERR_CONFLICT);
    assert_int_equal(capture(rig, REFUSES, &first), ERR_REFUSED);
    fetch = (struct message){ .op = MESSAGE_LA_FETCH, .value = { second.value[3], 0 } };
    assert_int_equal(driver_sigrok.request(rig->state, &fetch, rig->payload, 10, &rig->err), ERR_CONFLICT);
}

static void test_readings(void **state)
{
    static const struct {
        int channel, code;
    } ROWS[] = { { VOLTS, 0 },
                 { OVERLOAD, 0 },
                 { HELD, 0 },
                 { UNFLAGGED, ERR_GARBAGE },
                 { NUMBER_FLAGGED, ERR_GARBAGE },
                 { STRANGE_FLAG, ERR_GARBAGE } };
    struct rig *rig = *state;
    rig->config.class = CLASS_DMM;
    assert_int_equal(open_it(rig), 0);
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct message m = { .op = MESSAGE_MEASURE, .channel = (int16_t)ROWS[i].channel };
        assert_int_equal(driver_sigrok.request(rig->state, &m, rig->payload, sizeof rig->payload, &rig->err),
                         ROWS[i].code);
        if (ROWS[i].channel == VOLTS)
            assert_true(m.value[0] == 1.25 && m.flags == 0);
        if (ROWS[i].channel == HELD)
            assert_true(m.value[0] == 1.25 && m.flags == READING_STALE);
        if (ROWS[i].channel == OVERLOAD)
            assert_true(isnan(m.value[0]) && m.flags == (READING_NOT_A_NUMBER | READING_OVERRANGE));
    }
    struct message logic;
    assert_int_equal(capture(rig, GOOD, &logic), ERR_UNSUPPORTED);
}

/* The cut ends a wait at once, and the child with it: its answer must not meet the next question. */
static void test_cut(void **state)
{
    struct rig *rig = *state;
    struct message m;
    uint64_t one = 1;
    assert_int_equal(open_it(rig), 0);
    assert_int_equal(write(rig->env.cut_fd, &one, sizeof one), sizeof one);
    int64_t begin_ns = clock_host_now();
    assert_int_equal(capture(rig, MUTE, &m), ERR_CANCELLED);
    assert_true(clock_host_now() - begin_ns < 2 * NS_PER_S); /* of more than 3 s */
    snprintf(rig->config.resource, sizeof rig->config.resource, "sigrok:mute");
    assert_int_equal(driver_sigrok.resync(rig->state, &rig->err),
                     ERR_CANCELLED); /* a device that hangs its scan */
    snprintf(rig->config.resource, sizeof rig->config.resource, "sigrok:acme");
    assert_int_equal(read(rig->env.cut_fd, &one, sizeof one), sizeof one);
    assert_int_equal(driver_sigrok.resync(rig->state, &rig->err), 0);
    assert_int_equal(capture(rig, GOOD, &m), 0);
    check_capture(rig, &m);
}

int main(int argc, char **argv)
{
    static char folder[] = "/tmp/nb-sigrok-XXXXXX";
    char self[PATH_MAX] = "", path[PATH_MAX + 64], link_path[64];
    const char *name = strrchr(argv[0], '/');
    (void)argc;
    if (strcmp(name ? name + 1 : argv[0], "nightbench-sigrok") == 0)
        return play_child();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_wrong_child, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_captures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_readings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
    };
    if (!mkdtemp(folder) || readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        return 2;
    snprintf(link_path, sizeof link_path, "%s/nightbench-sigrok", folder);
    snprintf(path, sizeof path, "%s:%s", folder, getenv("PATH"));
    if (symlink(self, link_path) < 0 || setenv("PATH", path, 1) < 0)
        return 2;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(link_path);
    rmdir(folder);
    return failed;
}
