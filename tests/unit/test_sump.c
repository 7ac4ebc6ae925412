/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_sump: the simulated analyzer byte by byte, on two rails that a simulated supply switches: order of the
 * samples, groups that are left out, the trigger and what was before it. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <termios.h>

#include <cmocka.h>

#include "tests/unit/sim_rig.h"

static const char BENCH[] =
    "{\"instruments\":[{\"name\":\"psu\",\"simulate\":{\"model\":\"dp832\"}},"
    "{\"name\":\"la\",\"simulate\":{\"model\":\"sump\"}}],"
    "\"rails\":{\"A\":{\"instrument\":\"psu\",\"channel\":1},\"B\":{\"instrument\":\"psu\",\"channel\":2}},"
    "\"logic\":{\"instrument\":\"la\",\"inputs\":{\"A\":0,\"B\":17,\"CSN\":1}}}";

enum { ANSWER_MS = 5000, QUIET_MS = 50 };

struct bench {
    struct sim_rig rig; /* first */
    int fd;
};

static int start(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    struct error err = { 0 };
    char link[64];
    struct termios line;
    *state = b;
    snprintf(b->rig.config.dialect_path, sizeof b->rig.config.dialect_path,
             "configs/instruments/rigol-dp832.json");
    if (sim_rig_start(&b->rig, BENCH) || sim_rig_connect(&b->rig, "scpi", "psu", &err)) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    snprintf(link, sizeof link, "%s/la", b->rig.dir);
    b->fd = open(link, O_RDWR | O_NOCTTY);
    if (b->fd < 0 || tcgetattr(b->fd, &line) < 0)
        return -1;
    cfmakeraw(&line);
    return tcsetattr(b->fd, TCSANOW, &line);
}

static int stop(void **state)
{
    struct bench *b = *state;
    close(b->fd);
    int code = sim_rig_stop(&b->rig);
    free(b);
    return code;
}

static void supply(struct bench *b, int op, int channel, double value)
{
    struct message m = { .op = (uint16_t)op, .channel = (int16_t)channel, .value = { value } };
    struct error err = { 0 };
    if (sim_rig_request(&b->rig, &m, &err))
        fail_msg("operation %d: %s", op, err.message);
}

static void tell(const struct bench *b, const void *bytes, size_t n)
{
    assert_int_equal(write(b->fd, bytes, n), (ssize_t)n);
}

static void tell_long(const struct bench *b, int command, uint32_t value)
{
    uint8_t bytes[5] = { (uint8_t)command, (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                         (uint8_t)(value >> 24) };
    tell(b, bytes, sizeof bytes);
}

static void hear(const struct bench *b, uint8_t *bytes, size_t n)
{
    while (n > 0) {
        struct pollfd fd = { .fd = b->fd, .events = POLLIN };
        if (poll(&fd, 1, ANSWER_MS) <= 0)
            fail_msg("%zu bytes are missing", n);
        ssize_t got = read(b->fd, bytes, n);
        assert_true(got > 0);
        bytes += got;
        n -= (size_t)got;
    }
}

static void hear_nothing(const struct bench *b)
{
    struct pollfd fd = { .fd = b->fd, .events = POLLIN };
    assert_int_equal(poll(&fd, 1, QUIET_MS), 0);
}

/* Its answer proves that everything before was heard. */
static void check_identity(const struct bench *b)
{
    uint8_t id[4];
    tell(b, "\x02", 1);
    hear(b, id, sizeof id);
    assert_memory_equal(id, "1ALS", 4);
}

static void who_it_is(void **state)
{
    struct bench *b = *state;
    uint8_t metadata[19];
    tell(b, "\x80\x00\x00\0\0\0\0\0",
         8); /* reset ends a long command that was cut: 1 + 4 bytes, then three */
    check_identity(b);
    tell(b, "\x04", 1);
    hear(b, metadata, sizeof metadata);
    assert_memory_equal(metadata, "\x01SUMP\0\x21\x00\x00\x60\x00\x23\x05\xf5\xe1\x00\x40\x20", 18);
    assert_int_equal(metadata[18], 0);
    hear_nothing(b);
}

static void levels_in_their_groups(void **state)
{
    struct bench *b = *state;
    uint8_t samples[32];
    supply(b, MESSAGE_SET_VOLTAGE, 2, 1.2);
    supply(b, MESSAGE_OUTPUT, 2, 1);
    sim_rig_wait(&b->rig, 0.5);
    tell_long(b, 0x80, 99);
    tell_long(b, 0x81, 1 | 1u << 16); /* 8 samples, all after the trigger */
    tell_long(b, 0x82, 0x28);         /* groups 1 and 3 are off */
    tell(b, "\x01", 1);
    hear(b, samples, 16);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(samples[2 * i], 0);     /* A is off, CSN is driven by nobody */
        assert_int_equal(samples[2 * i + 1], 2); /* B is input 17 */
    }
    tell_long(b, 0x82, 0);
    tell(b, "\x01", 1);
    hear(b, samples, 32);
    for (int i = 0; i < 8; i++)
        assert_memory_equal(samples + 4 * i, "\0\0\x02\0", 4);
    hear_nothing(b);
}

/* Armed while the rail is off: nothing comes until it is on, then the newest sample first. */
static void a_trigger_and_what_was_before(void **state)
{
    struct bench *b = *state;
    uint8_t samples[16];
    supply(b, MESSAGE_SET_VOLTAGE, 1, 2);
    tell_long(b, 0x81, 3 | 1u << 16); /* 16 samples, 8 of them after the trigger */
    tell_long(b, 0x82, 0x38);         /* group 0 alone */
    tell_long(b, 0xc0, 1);
    tell_long(b, 0xc1, 1);
    tell(b, "\x01", 1);
    check_identity(b);
    sim_rig_wait(&b->rig, 0.05);
    hear_nothing(b);
    supply(b, MESSAGE_OUTPUT, 1, 1);
    sim_rig_wait(&b->rig, 0.5);
    hear(b, samples, sizeof samples);
    for (int i = 0; i < 16; i++)
        assert_int_equal(samples[i], i < 8);
    /* A reset disarms. */
    tell_long(b, 0xc1, 0);
    tell(b, "\x01\0", 2);
    check_identity(b);
    supply(b, MESSAGE_OUTPUT, 1, 0);
    sim_rig_wait(&b->rig, 0.5);
    hear_nothing(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_it_is, start, stop),
        cmocka_unit_test_setup_teardown(levels_in_their_groups, start, stop),
        cmocka_unit_test_setup_teardown(a_trigger_and_what_was_before, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
