/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_modbus_link: registers over Modbus/TCP and over RTU frames, with every fault that the slave of
 * modbus_rig.h knows; resources, and floats in two registers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "tests/unit/modbus_rig.h"

/* ---- The link ---- */
static void registers_are_read_and_written(void **state)
{
    struct rig *rig = *state;
    link_up(rig, &PACE);
    check_read(rig, 0, 1);
    check_read(rig, 7, 125);
    uint16_t one = 0xabcd, many[123];
    for (int i = 0; i < 123; i++)
        many[i] = (uint16_t)(i * 3);
    assert_int_equal(modbus_link_write(rig->link, 2, 500, &one, 1, NULL), 0);
    assert_int_equal(modbus_link_write(rig->link, 2, 600, many, 123, NULL), 0);
    assert_int_equal(rig->slave.reg[500], 0xabcd);
    assert_memory_equal(&rig->slave.reg[600], many, sizeof many);
    int before = rig->slave.requests;
    uint16_t words[200];
    assert_int_equal(modbus_link_read(rig->link, 1, 3, 0, 126, words, NULL), ERR_RANGE);
    assert_int_equal(modbus_link_read(rig->link, 1, 3, 0xffff, 2, words, NULL), ERR_RANGE);
    assert_int_equal(modbus_link_write(rig->link, 1, 0, words, 124, NULL), ERR_RANGE);
    assert_int_equal(rig->slave.requests, before); /* nothing travelled */
}

/* Every fault ends in its own error, and the port's way out of it (settle, or a new connection after a broken
 * link) brings the right answer again. */
static void faults_end_as_documented(void **state)
{
    static const struct {
        int fault, code_rtu, code_tcp;
        bool write;
    } CELLS[] = {
        { MUTE, ERR_TIMEOUT, ERR_TIMEOUT, false },
        { HALF, ERR_TIMEOUT, ERR_LINK, false },
        { LATE, ERR_TIMEOUT, ERR_TIMEOUT, false },
        { WRONG_UNIT, ERR_GARBAGE, ERR_GARBAGE, false },
        { WRONG_FUNCTION, ERR_GARBAGE, ERR_GARBAGE, false },
        { WRONG_LENGTH, ERR_TIMEOUT, ERR_GARBAGE, false },
        { STRAY_BYTE, ERR_GARBAGE, ERR_LINK, false },
        { BAD_CRC, ERR_GARBAGE, 0, false },
        { BUSY, ERR_REFUSED, ERR_REFUSED, false },
        { ADDRESS, ERR_RANGE, ERR_RANGE, false },
        { VALUE, ERR_RANGE, ERR_RANGE, true },
        { FAILURE, ERR_REFUSED, ERR_REFUSED, true },
        { WRONG_ECHO, ERR_GARBAGE, ERR_GARBAGE, true },
        { HANG_UP, ERR_LINK, ERR_LINK, false },
    };
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof CELLS / sizeof *CELLS; i++) {
        int expected = rig->slave.rtu ? CELLS[i].code_rtu : CELLS[i].code_tcp;
        uint16_t words[4] = { 0x5555, 0x5555, 0x5555, 0x5555 };
        if (!expected)
            continue;
        link_up(rig, &PACE);
        spoil(rig, CELLS[i].fault, 1);
        struct error err = { 0 };
        int code = CELLS[i].write ? modbus_link_write(rig->link, 1, 40, words, 1, &err)
                                  : modbus_link_read(rig->link, 1, 3, 20, 4, words, &err);
        if (code != expected)
            fail_msg("fault %d: %s, expected %s (%s)", CELLS[i].fault, error_name(code), error_name(expected),
                     err.message);
        assert_int_equal(words[0], 0x5555); /* untouched */
        if (code == ERR_LINK)
            link_up(rig, &PACE);
        check_read(rig, 21, 4); /* as long as the spoiled answer: a late one would fit */
        check_read(rig, 3, 2);
        rig->slave.reg[40] = value_at(40);
    }
}

static void retries_are_bounded(void **state)
{
    struct rig *rig = *state;
    struct modbus_link_pace pace = PACE;
    uint16_t words[2];
    pace.retries = 2;
    link_up(rig, &pace);
    static const int FAULT[] = { MUTE, BUSY, WRONG_UNIT };
    for (size_t i = 0; i < sizeof FAULT / sizeof *FAULT; i++) {
        spoil(rig, FAULT[i], 2);
        assert_int_equal(modbus_link_read(rig->link, 1, 3, 60, 2, words, NULL), 0);
        assert_int_equal(words[1], value_at(61));
        spoil(rig, FAULT[i], 3);
        int before = rig->slave.requests;
        assert_int_not_equal(modbus_link_read(rig->link, 1, 3, 30, 2, words, NULL), 0);
        assert_int_equal(rig->slave.requests, before + 3);
    }
    spoil(rig, LATE, 1);
    check_read(rig, 90, 2);
    spoil(rig, ADDRESS, 1); /* a clear no is not asked twice */
    int before = rig->slave.requests;
    assert_int_equal(modbus_link_read(rig->link, 1, 3, 30, 2, words, NULL), ERR_RANGE);
    assert_int_equal(rig->slave.requests, before + 1);
}

static void a_cut_ends_a_transaction(void **state)
{
    struct rig *rig = *state;
    struct modbus_link_pace pace = { .timeout_s = 1 }; /* after a cut all of it is waited out */
    uint16_t words[2];
    eventfd_t count;
    sem_t pays;
    sem_init(&pays, 0, 0);
    rig->env.cut_fd = rig->slave.cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rig->slave.pays = &pays;
    link_up(rig, &pace);
    spoil(rig, LATE, 1);
    assert_int_equal(modbus_link_read(rig->link, 1, 3, 0, 2, words, NULL), ERR_CANCELLED);
    assert_int_equal(eventfd_read(rig->env.cut_fd, &count), 0);
    sem_post(&pays);
    check_read(rig, 2, 2); /* not the answer that was owed */
    rig->slave.pays = NULL;
    close(rig->env.cut_fd);
    rig->env.cut_fd = -1;
}

/* libmodbus aborts the process on a descriptor of 1024 and more. */
static void eleven_hundred_descriptors(void **state)
{
    enum { MANY = 1100 };
    struct rig *rig = *state;
    static int fd[MANY];
    struct rlimit limit = { 4096, 4096 };
    modbus_line_reserve();
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < MANY; i++)
        fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd[MANY - 1] >= 1024);
    const struct modbus_link_pace pace = { .timeout_s = 0.02 };
    for (int i = 0; i < 40; i++) { /* and the reserve is given back each time */
        link_up(rig, &pace);
        check_read(rig, i, 5);
    }
    for (int i = 0; i < MANY; i++)
        close(fd[i]);
}

static void floats_in_four_orders(void **state)
{
    (void)state;
    static const uint16_t WIRE[][2] = {
        [MODBUS_LINK_ABCD] = { 0x4148, 0x0000 },
        [MODBUS_LINK_CDAB] = { 0x0000, 0x4148 },
        [MODBUS_LINK_BADC] = { 0x4841, 0x0000 },
        [MODBUS_LINK_DCBA] = { 0x0000, 0x4841 },
    };
    for (int order = 0; order < 4; order++) {
        uint16_t words[2];
        modbus_link_pack(12.5, order, words);
        assert_memory_equal(words, WIRE[order], sizeof words);
        assert_true(modbus_link_unpack(words, order) == 12.5);
        modbus_link_pack(-41.37, order, words);
        assert_true(modbus_link_unpack(words, order) == (double)-41.37f);
    }
}

static void resources(void **state)
{
    (void)state;
    static const struct {
        const char *resource, *carrier;
        int framing, units;
    } GOODS[] = {
        { "modbus-tcp:10.0.0.7:1502", "tcp:10.0.0.7:1502", MODBUS_LINK_TCP, 1 },
        { "modbus-tcp:psu7", "tcp:psu7:502", MODBUS_LINK_TCP, 1 },
        { "modbus-rtu:/dev/ttyUSB0?baud=115200&units=1,2,5", "serial:/dev/ttyUSB0?baud=115200",
          MODBUS_LINK_RTU, 3 },
        { "modbus-rtu:/dev/ttyS1?parity=E&gap=0.012", "serial:/dev/ttyS1?baud=9600", MODBUS_LINK_RTU, 1 },
        { "modbus-rtu-tcp:ser2net:4001?unit=9", "tcp:ser2net:4001", MODBUS_LINK_RTU, 1 },
        { "sim:?units=1,2", "sim:", MODBUS_LINK_SIM, 2 },
        { "sim:rs485?unit=3", "sim:rs485", MODBUS_LINK_SIM, 1 },
    };
    static const char *const BADS[] = {
        "tcp:a:1",
        "modbus-tcp:",
        "modbus-rtu:/dev/x?baud=",
        "modbus-rtu:/dev/x?unit=0",
        "modbus-rtu:/x?unit=248",
        "modbus-rtu:/x?units=1,1",
        "modbus-rtu:/x?units=1,",
        "modbus-rtu:/x?parity=X",
        "modbus-rtu:/x?gap=-1",
        "modbus-rtu:/x?unit=1,2",
        "modbus-rtu:/x?speed=1",
    };
    struct modbus_link_address a;
    for (size_t i = 0; i < sizeof GOODS / sizeof *GOODS; i++) {
        assert_int_equal(modbus_link_parse(GOODS[i].resource, &a, NULL), 0);
        assert_string_equal(a.carrier, GOODS[i].carrier);
        assert_int_equal(a.framing, GOODS[i].framing);
        assert_int_equal(a.unit_count, GOODS[i].units);
    }
    for (size_t i = 0; i < sizeof BADS / sizeof *BADS; i++) {
        if (modbus_link_parse(BADS[i], &a, NULL) != ERR_INVALID)
            fail_msg("'%s' is taken", BADS[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resources),
        cmocka_unit_test(floats_in_four_orders),
        MODBUS_BOTH(registers_are_read_and_written),
        MODBUS_BOTH(faults_end_as_documented),
        MODBUS_BOTH(retries_are_bounded),
        MODBUS_BOTH(a_cut_ends_a_transaction),
        MODBUS_BOTH(eleven_hundred_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
