/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_modbus: link, register maps and driver against a small slave whose registers all differ, over
 * Modbus/TCP and over RTU frames, with the faults that a wire has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "drivers/driver.h"
#include "drivers/modbus_map.h"
#include "drivers/sim/modbus_server.h"
#include "tests/unit/peer.h"

enum fault {
    GOOD,
    MUTE,
    HALF,
    WRONG_UNIT,
    WRONG_FUNCTION,
    WRONG_LENGTH,
    WRONG_ECHO,
    BAD_CRC,
    STRAY_BYTE,
    LATE,
    BUSY,
    ADDRESS,
    VALUE,
    FAILURE,
    HANG_UP,
    LIE, /* confirms a write and keeps the old value */
    FAULTS
};
enum { LATE_MS = 150, REGISTERS = 0x10000 };

struct slave {
    struct peer peer;
    bool rtu;
    atomic_int fault, spoil; /* the next `spoil` answers have the fault */
    atomic_int units, requests;
    uint16_t reg[REGISTERS];
    uint8_t in[1024];
    size_t have;
};

struct rig {
    struct slave slave;
    struct transport_env env;
    struct modbus_link *link;
    struct driver_config config;
    void *driver;
    uint8_t payload[4096];
};

static const struct modbus_link_pace PACE = { .timeout_s = 0.1, .gap_s = 0.001, .retries = 0 };

/* ---- The slave ---- */
static size_t good_answer(struct slave *s, const uint8_t *ask, uint8_t *answer, int fault)
{
    int address = ask[2] << 8 | ask[3], count = ask[4] << 8 | ask[5];
    memcpy(answer, ask, 6);
    if (ask[1] == 3 || ask[1] == 4) {
        answer[2] = (uint8_t)(2 * count);
        for (int i = 0; i < count; i++) {
            answer[3 + 2 * i] = (uint8_t)(s->reg[(address + i) & 0xffff] >> 8);
            answer[4 + 2 * i] = (uint8_t)s->reg[(address + i) & 0xffff];
        }
        return 3 + 2 * (size_t)count;
    }
    for (int i = 0; i < (ask[1] == 6 ? 1 : count) && fault != LIE; i++) {
        const uint8_t *value = ask[1] == 6 ? ask + 4 : ask + 7 + 2 * i;
        s->reg[(address + i) & 0xffff] = (uint16_t)(value[0] << 8 | value[1]);
    }
    return 6;
}

static size_t spoiled(const uint8_t *ask, uint8_t *answer, size_t n, int fault)
{
    static const int EXCEPTION[FAULTS] = { [BUSY] = 6, [ADDRESS] = 2, [VALUE] = 3, [FAILURE] = 4 };
    if (EXCEPTION[fault]) {
        answer[1] = ask[1] | 0x80;
        answer[2] = (uint8_t)EXCEPTION[fault];
        return 3;
    }
    if (fault == WRONG_UNIT)
        answer[0] ^= 3;
    if (fault == WRONG_FUNCTION)
        answer[1] = answer[1] == 3 ? 4 : 3;
    if (fault == WRONG_LENGTH) {
        answer[2] = (uint8_t)(answer[2] - 2);
        return n - 2;
    }
    if (fault == WRONG_ECHO)
        answer[5] ^= 1;
    return n;
}

static void answer_one(struct slave *s, const uint8_t *ask, const uint8_t *header)
{
    uint8_t frame[300], *answer = frame + (header ? 6 : 0);
    int fault = atomic_load(&s->spoil) > 0 ? atomic_load(&s->fault) : GOOD;
    atomic_fetch_add(&s->requests, 1);
    if (atomic_load(&s->spoil) > 0)
        atomic_fetch_sub(&s->spoil, 1);
    if (fault == MUTE || ask[0] > atomic_load(&s->units))
        return;
    if (fault == HANG_UP) {
        atomic_store(&s->peer.drop, true);
        return;
    }
    size_t n = spoiled(ask, answer, good_answer(s, ask, answer, fault), fault);
    if (header) {
        memcpy(frame, header, 4);
        frame[4] = 0;
        frame[5] = (uint8_t)n;
        n += 6;
    } else {
        uint16_t crc = modbus_crc(frame, n);
        frame[n++] = (uint8_t)crc;
        frame[n++] = (uint8_t)(crc >> 8);
    }
    if (fault == BAD_CRC)
        frame[n - 1] ^= 0x10;
    if (fault == LATE)
        usleep(LATE_MS * 1000);
    if (fault == STRAY_BYTE)
        peer_say(&s->peer, "\xff", 1);
    if (fault == HALF)
        n /= 2;
    size_t part = n > 4 ? n - 3 : n; /* always in two pieces */
    peer_say(&s->peer, frame, part);
    if (part < n)
        peer_say(&s->peer, frame + part, n - part);
}

static void on_data(struct peer *peer, const char *data, size_t n)
{
    struct slave *s = (struct slave *)peer;
    memcpy(s->in + s->have, data, n);
    s->have += n;
    size_t header = s->rtu ? 0 : 6;
    for (;;) {
        const uint8_t *ask = s->in + header;
        if (s->have < header + 8 - (s->rtu ? 0 : 2))
            return;
        size_t length = header + (ask[1] == 16 ? 7u + ask[6] : 6u) + (s->rtu ? 2 : 0);
        if (s->have < length)
            return;
        if (s->rtu) {
            uint16_t crc = modbus_crc(s->in, length - 2);
            assert_true(s->in[length - 2] == (uint8_t)crc && s->in[length - 1] == (uint8_t)(crc >> 8));
        }
        answer_one(s, ask, header ? s->in : NULL);
        s->have -= length;
        memmove(s->in, s->in + length, s->have);
    }
}

static uint16_t value_at(int address)
{
    return (uint16_t)(address * 257 + 1);
}

static int rig_start(void **state, bool rtu)
{
    struct rig *rig = calloc(1, sizeof *rig);
    *state = rig;
    rig->slave.rtu = rtu;
    rig->slave.peer.on_data = on_data;
    rig->slave.units = 2;
    for (int i = 0; i < REGISTERS; i++)
        rig->slave.reg[i] = value_at(i);
    rig->env.cut_fd = -1;
    if (peer_start(&rig->slave.peer) || clock_open(NULL, &rig->env.clock, NULL) ||
        clock_actor_open(rig->env.clock, "test", 0, &rig->env.actor, NULL))
        return -1;
    snprintf(rig->config.name, sizeof rig->config.name, "unit");
    snprintf(rig->config.resource, sizeof rig->config.resource, "modbus-%s:127.0.0.1:%d",
             rtu ? "rtu-tcp" : "tcp", rig->slave.peer.port);
    return 0;
}

static int start_tcp(void **state)
{
    return rig_start(state, false);
}

static int start_rtu(void **state)
{
    return rig_start(state, true);
}

static int rig_stop(void **state)
{
    struct rig *rig = *state;
    driver_modbus.close(rig->driver);
    modbus_link_close(rig->link);
    clock_actor_close(rig->env.actor);
    clock_close(rig->env.clock);
    peer_stop(&rig->slave.peer);
    free(rig);
    return 0;
}

static void link_up(struct rig *rig, const struct modbus_link_pace *pace)
{
    struct error err = { 0 };
    modbus_link_close(rig->link);
    rig->link = NULL;
    if (modbus_link_open(&rig->env, "unit", rig->config.resource, pace, &rig->link, &err))
        fail_msg("%s", err.message);
}

static void spoil(struct rig *rig, int fault, int count)
{
    atomic_store(&rig->slave.fault, fault);
    atomic_store(&rig->slave.spoil, count);
}

/* A machine under load may be late by itself: silence is asked again, a wrong value never forgiven. */
static void check_read(struct rig *rig, int address, int count)
{
    uint16_t words[MODBUS_LINK_READ_MAX];
    struct error err = { 0 };
    int code = ERR_TIMEOUT;
    for (int i = 0; i < 5 && code == ERR_TIMEOUT; i++)
        code = modbus_link_read(rig->link, 1, 3, address, count, words, &err);
    if (code)
        fail_msg("%s", err.message);
    for (int i = 0; i < count; i++)
        assert_int_equal(words[i], value_at(address + i));
}

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
        int64_t start_ns = clock_host_now();
        struct error err = { 0 };
        int code = CELLS[i].write ? modbus_link_write(rig->link, 1, 40, words, 1, &err)
                                  : modbus_link_read(rig->link, 1, 3, 20, 4, words, &err);
        if (code != expected)
            fail_msg("fault %d: %s, expected %s (%s)", CELLS[i].fault, error_name(code), error_name(expected),
                     err.message);
        assert_true(clock_host_now() - start_ns < 1000 * NS_PER_MS);
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

static void *cut_later(void *argument)
{
    uint64_t one = 1;
    usleep(20000);
    return write(*(int *)argument, &one, sizeof one) < 0 ? argument : NULL;
}

static void a_cut_ends_a_transaction(void **state)
{
    struct rig *rig = *state;
    struct modbus_link_pace pace = { .timeout_s = 3 };
    uint16_t words[2];
    pthread_t thread;
    rig->env.cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    link_up(rig, &pace);
    spoil(rig, LATE, 1);
    pthread_create(&thread, NULL, cut_later, &rig->env.cut_fd);
    int64_t start_ns = clock_host_now();
    assert_int_equal(modbus_link_read(rig->link, 1, 3, 0, 2, words, NULL), ERR_CANCELLED);
    assert_true(clock_host_now() - start_ns < 1000 * NS_PER_MS);
    pthread_join(thread, NULL);
    uint64_t count;
    assert_true(read(rig->env.cut_fd, &count, sizeof count) == sizeof count);
    check_read(rig, 2, 2); /* not the answer that was owed */
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
    modbus_link_reserve();
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < MANY; i++)
        fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd[MANY - 1] >= 1024);
    for (int i = 0; i < 100; i++) { /* and the reserve is given back each time */
        link_up(rig, &PACE);
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

/* ---- Register maps ---- */
static void every_map_is_in_order(void **state)
{
    (void)state;
    DIR *dir = opendir("configs/instruments/modbus");
    int count = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[512], file[280];
        struct modbus_map *map = NULL;
        struct error err = { 0 };
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "configs/instruments/modbus/%s", entry->d_name);
        if (modbus_map_load(path, &map, NULL, &err))
            fail_msg("%s", err.message);
        snprintf(file, sizeof file, "%s.json", map->name);
        assert_string_equal(file, entry->d_name);
        free(map);
        count++;
    }
    closedir(dir);
    assert_true(count >= 13);
}

static void a_wrong_map_is_refused_with_every_mistake(void **state)
{
    (void)state;
    static const char TEXT[] =
        "{\"format\":\"nightbench-modbus\",\"version\":1,\"name\":\"x\",\"vendor\":\"v\",\"model\":\"m\","
        "\"class\":\"psu\",\"tested\":\"no\",\"timeout_s\":0.1,\"gap_s\":0,\"retries\":0,"
        "\"identity\":{\"address\":0},"
        "\"registers\":{\"set_voltage\":{\"address\":8,\"scale\":0.001},\"set_limt\":{\"address\":9},"
        "\"output\":{\"address\":70000},\"trip\":{\"address\":16,\"scale\":0.1},\"mode\":{\"address\":17},"
        "\"measure_voltage\":{\"address\":1,\"scale\":1},\"measure_current\":{\"address\":1,\"scale\":1},"
        "\"set_temperature\":{\"address\":1,\"scale\":1}},"
        "\"channels\":{\"count\":1,\"voltage\":{\"min\":0,\"max\":70,\"step\":0.001},"
        "\"limit\":{\"min\":2,\"max\":1,\"step\":0.1},\"settle_s\":0,\"measure_s\":0,\"accuracy\":{}}}";
    static const char *const EXPECTED[] = { "set_limt",   "set_limit",       "70000",     "is a code",
                                            "no meaning", "70 does not fit", "above max", "ids",
                                            "voltage",    "current" };
    char path[] = "/tmp/nb-map-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, TEXT, sizeof TEXT - 1) == (ssize_t)sizeof TEXT - 1);
    close(fd);
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct modbus_map *map = NULL;
    assert_int_not_equal(modbus_map_load(path, &map, problems, NULL), 0);
    unlink(path);
    for (size_t e = 0; e < sizeof EXPECTED / sizeof *EXPECTED; e++) {
        bool found = false;
        for (int i = 0; i < problems->count; i++)
            found |= strstr(problems->item[i].reason, EXPECTED[e]) ||
                     strstr(problems->item[i].hint, EXPECTED[e]) ||
                     strstr(problems->item[i].pointer, EXPECTED[e]);
        if (!found)
            fail_msg("nothing is said about '%s'", EXPECTED[e]);
    }
    free(problems);
}

/* ---- The driver ---- */
static int open_driver(struct rig *rig, const char *map, int class, const char *options, struct error *err)
{
    snprintf(rig->config.dialect_path, sizeof rig->config.dialect_path, "configs/instruments/modbus/%s.json",
             map);
    rig->config.class = class;
    size_t n = strlen(rig->config.resource);
    snprintf(rig->config.resource + n, sizeof rig->config.resource - n, "%s", options);
    return driver_modbus.open(&rig->config, &rig->env, &rig->driver, err);
}

static int ask(struct rig *rig, int op, int channel, double value, double second, struct message *ret)
{
    struct error err = { 0 };
    *ret = (struct message){ .op = (uint16_t)op, .channel = (int16_t)channel, .value = { value, second } };
    return driver_modbus.request(rig->driver, ret, rig->payload, sizeof rig->payload, &err);
}

static void make_riden(struct rig *rig, int id)
{
    static const uint16_t LOW[20] = { 0, 0, 12345, 141, 0, 0, 0, 0, 500, 1000, 0, 0, 0, 0, 6400 };
    memcpy(rig->slave.reg, LOW, sizeof LOW);
    rig->slave.reg[0] = (uint16_t)id;
    rig->slave.reg[82] = 6200;
    rig->slave.reg[83] = 6200;
}

static void the_scale_is_that_of_the_model(void **state)
{
    static const struct {
        const char *map;
        int id, code, raw_v, raw_a;
    } MODELS[] = {
        { "riden-rd6006", 60062, 0, 435, 1250 },       { "riden-rd6006p", 60065, 0, 4350, 12500 },
        { "riden-rd6012", 60121, 0, 435, 125 },        { "riden-rd6018", 60181, 0, 435, 125 },
        { "riden-rd6006", 60121, ERR_IDENTITY, 0, 0 }, { "riden-rd6018", 60065, ERR_IDENTITY, 0, 0 },
        { "riden-rd6006", 31337, ERR_IDENTITY, 0, 0 },
    };
    struct rig *rig = *state;
    char resource[256];
    snprintf(resource, sizeof resource, "%s", rig->config.resource);
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++) {
        struct message m;
        struct error err = { 0 };
        make_riden(rig, MODELS[i].id);
        snprintf(rig->config.resource, sizeof rig->config.resource, "%s", resource);
        int code = open_driver(rig, MODELS[i].map, CLASS_PSU, "", &err);
        assert_int_equal(code, MODELS[i].code);
        if (code)
            continue;
        assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 1, 4.35, 0, &m), 0); /* truncated it would be 4.34 */
        assert_int_equal(ask(rig, MESSAGE_SET_LIMIT, 1, 1.25, 0, &m), 0);
        assert_int_equal(rig->slave.reg[8], MODELS[i].raw_v);
        assert_int_equal(rig->slave.reg[9], MODELS[i].raw_a);
        driver_modbus.close(rig->driver);
        rig->driver = NULL;
    }
}

static void a_supply_is_set_read_and_protected(void **state)
{
    struct rig *rig = *state;
    struct message m;
    make_riden(rig, 60062);
    assert_int_equal(open_driver(rig, "riden-rd6006", CLASS_PSU, "", NULL), 0);
    assert_int_equal(rig->slave.reg[18], 0); /* opening changes nothing */
    assert_int_equal(rig->slave.reg[8], 500);
    assert_int_equal(ask(rig, MESSAGE_IDENTIFY, 0, 0, 0, &m), 0);
    assert_memory_equal(rig->payload, "Riden\0RD6006\00000012345\0001.41", 27);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 1, 60.2, 0, &m), ERR_RANGE);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 1, -0.1, 0, &m), ERR_RANGE);
    assert_int_equal(ask(rig, MESSAGE_SET_LIMIT, 1, 6.1, 0, &m), ERR_RANGE);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 2, 1, 0, &m), ERR_INVALID);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 1, NAN, 0, &m), ERR_RANGE);
    assert_int_equal(rig->slave.reg[8], 500);

    assert_int_equal(ask(rig, MESSAGE_SET_LIMIT, 1, 0.5, 0, &m), 0);
    assert_int_equal(ask(rig, MESSAGE_SET_PROTECTION, 1, 3.6, 1, &m), 0);
    assert_int_equal(rig->slave.reg[82], 360);
    assert_int_equal(rig->slave.reg[83], 500);
    assert_int_equal(ask(rig, MESSAGE_SET_LIMIT, 1, 0.8, 0, &m), 0);
    assert_int_equal(rig->slave.reg[83], 800); /* OCP goes with the limit */
    assert_int_equal(ask(rig, MESSAGE_SET_PROTECTION, 1, NAN, 0, &m), 0);
    assert_int_equal(rig->slave.reg[82], 360);
    assert_int_equal(rig->slave.reg[83], 6000);

    assert_int_equal(ask(rig, MESSAGE_OUTPUT, 1, 1, 0, &m), 0);
    assert_int_equal(rig->slave.reg[18], 1);
    rig->slave.reg[10] = 333;
    rig->slave.reg[11] = 801;
    rig->slave.reg[17] = 1;
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 1, QUANTITY_VOLTAGE, 0, &m), 0);
    assert_true(fabs(m.value[0] - 3.33) < 1e-9 && m.flags == READING_LIMITING && m.value[1] > 0);
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 1, QUANTITY_CURRENT, 0, &m), 0);
    assert_true(fabs(m.value[0] - 0.801) < 1e-9);
    rig->slave.reg[16] = 2;
    rig->slave.reg[18] = 0;
    assert_int_equal(ask(rig, MESSAGE_STATE, 1, 0, 0, &m), 0);
    assert_true(m.flags == MESSAGE_TRIPPED && fabs(m.value[0] - 5) < 1e-9 && fabs(m.value[1] - 0.8) < 1e-9);
    assert_int_equal(ask(rig, MESSAGE_CLEAR_TRIP, 1, 0, 0, &m), ERR_TRIPPED);
    rig->slave.reg[16] = 0;
    assert_int_equal(ask(rig, MESSAGE_CLEAR_TRIP, 1, 0, 0, &m), 0);
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 1, QUANTITY_TEMPERATURE, 0, &m), ERR_UNSUPPORTED);
}

static void a_lie_is_caught(void **state)
{
    struct rig *rig = *state;
    struct message m;
    make_riden(rig, 60062);
    assert_int_equal(open_driver(rig, "riden-rd6006", CLASS_PSU, "", NULL), 0);
    spoil(rig, LIE, 1);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 1, 1.8, 0, &m), ERR_REFUSED);
    spoil(rig, LIE, 1);
    assert_int_equal(ask(rig, MESSAGE_OUTPUT, 1, 1, 0, &m), ERR_REFUSED);
    rig->slave.reg[18] = 1;
    spoil(rig, LIE, 1);
    assert_int_equal(ask(rig, MESSAGE_SAFE_OFF, 1, 0, 0, &m), 0);
    assert_true(m.value[0] == 1); /* the read back still says on */
    assert_int_equal(ask(rig, MESSAGE_SAFE_OFF, 1, 0, 0, &m), 0);
    assert_true(m.value[0] == 0 && rig->slave.reg[18] == 0);
}

static void units_on_one_bus_are_channels_of_one_instrument(void **state)
{
    struct rig *rig = *state;
    struct message m;
    struct driver_description d;
    for (int i = 0; i < 8; i++) {
        rig->slave.reg[i] = (uint16_t)(100 * i + 1);
        rig->slave.reg[0x1000 + i] = 0;
    }
    assert_int_equal(open_driver(rig, "waveshare-ai8", CLASS_DMM, "?units=1,2", NULL), 0);
    assert_int_equal(driver_modbus.describe(&rig->config, &d, NULL, NULL), 0);
    assert_int_equal(d.channel_count, 16);
    assert_false(d.energises);
    for (int channel = 1; channel <= 16; channel++) {
        assert_int_equal(ask(rig, MESSAGE_MEASURE, channel, QUANTITY_VOLTAGE, 0, &m), 0);
        assert_true(fabs(m.value[0] - (0.1 * ((channel - 1) % 8) + 0.001)) < 1e-9 && m.flags == 0);
    }
    rig->slave.reg[3] = 5000;
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 4, QUANTITY_VOLTAGE, 0, &m), 0);
    assert_true(m.flags == READING_OVERRANGE);
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 17, QUANTITY_VOLTAGE, 0, &m), ERR_INVALID);
    driver_modbus.close(rig->driver);
    rig->driver = NULL;
    rig->slave.reg[0x1003] = 3; /* a channel that counts microamperes */
    assert_int_equal(driver_modbus.open(&rig->config, &rig->env, &rig->driver, NULL), ERR_IDENTITY);
    rig->slave.reg[0x1003] = 0;
    if (rig->slave.rtu)
        return;
    atomic_store(&rig->slave.units, 1); /* the second unit has gone */
    assert_int_equal(driver_modbus.open(&rig->config, &rig->env, &rig->driver, NULL), ERR_TIMEOUT);
}

static void chambers(void **state)
{
    struct rig *rig = *state;
    struct message m;
    assert_int_equal(open_driver(rig, "eurotherm-32xx", CLASS_CHAMBER, "", NULL), 0);
    rig->slave.reg[1] = (uint16_t)-123;
    assert_int_equal(ask(rig, MESSAGE_SET_TEMPERATURE, 1, -40.04, 0, &m), 0);
    assert_int_equal((int16_t)rig->slave.reg[24], -400);
    assert_true(m.value[0] == -40);
    assert_int_equal(ask(rig, MESSAGE_SET_TEMPERATURE, 1, 500, 0, &m), ERR_RANGE);
    assert_int_equal(ask(rig, MESSAGE_STATE, 1, 0, 0, &m), 0);
    assert_true(fabs(m.value[0] + 40) < 1e-9 && fabs(m.value[1] + 12.3) < 1e-9 && m.flags == 0);
    driver_modbus.close(rig->driver);
    rig->driver = NULL;

    assert_int_equal(open_driver(rig, "watlow-f4t", CLASS_CHAMBER, "", NULL), 0); /* low word first */
    assert_int_equal(ask(rig, MESSAGE_SET_TEMPERATURE, 2, 12.5, 0, &m), 0);
    assert_int_equal(rig->slave.reg[2782 + 160], 0x0000);
    assert_int_equal(rig->slave.reg[2783 + 160], 0x4148);
    rig->slave.reg[2820 + 160] = 0;
    rig->slave.reg[2821 + 160] = 0x7fc0; /* NaN: the sensor is broken */
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 2, QUANTITY_TEMPERATURE, 0, &m), 0);
    assert_true(isnan(m.value[0]) && m.flags == READING_NOT_A_NUMBER);
}

static void an_output_without_a_switch(void **state)
{
    struct rig *rig = *state;
    struct message m;
    memset(rig->slave.reg, 0, 8);
    assert_int_equal(open_driver(rig, "adam-4024", CLASS_SMU, "", NULL), 0);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 2, 5, 0, &m), 0);
    assert_int_equal(rig->slave.reg[1], 0); /* waits for the output to be switched on */
    assert_int_equal(ask(rig, MESSAGE_OUTPUT, 2, 1, 0, &m), 0);
    assert_int_equal(rig->slave.reg[1], 2048);
    assert_int_equal(ask(rig, MESSAGE_SAFE_OFF, 2, 0, 0, &m), 0);
    assert_int_equal(rig->slave.reg[1], 0);
    assert_int_equal(ask(rig, MESSAGE_SET_LIMIT, 2, 0.1, 0, &m), ERR_UNSUPPORTED);
}

static void raw_registers_for_people(void **state)
{
    struct rig *rig = *state;
    struct message m = { .op = MESSAGE_QUERY };
    make_riden(rig, 60062);
    assert_int_equal(open_driver(rig, "riden-rd6006", CLASS_PSU, "", NULL), 0);
    m.payload_length = (uint32_t)snprintf((char *)rig->payload, 80, "read 1 3 8 2");
    assert_int_equal(driver_modbus.request(rig->driver, &m, rig->payload, sizeof rig->payload, NULL), 0);
    assert_memory_equal(rig->payload, "500 1000", m.payload_length);
    m.payload_length = (uint32_t)snprintf((char *)rig->payload, 80, "write 1 6 18 1");
    assert_int_equal(driver_modbus.request(rig->driver, &m, rig->payload, sizeof rig->payload, NULL),
                     ERR_INVALID);
    assert_int_equal(rig->slave.reg[18], 0);
}

#define BOTH(test)                                                                                           \
    cmocka_unit_test_setup_teardown(test, start_tcp, rig_stop),                                              \
        cmocka_unit_test_setup_teardown(test, start_rtu, rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resources),
        cmocka_unit_test(floats_in_four_orders),
        cmocka_unit_test(every_map_is_in_order),
        cmocka_unit_test(a_wrong_map_is_refused_with_every_mistake),
        BOTH(registers_are_read_and_written),
        BOTH(faults_end_as_documented),
        BOTH(retries_are_bounded),
        BOTH(a_cut_ends_a_transaction),
        BOTH(eleven_hundred_descriptors),
        BOTH(the_scale_is_that_of_the_model),
        BOTH(a_supply_is_set_read_and_protected),
        BOTH(a_lie_is_caught),
        BOTH(units_on_one_bus_are_channels_of_one_instrument),
        BOTH(chambers),
        BOTH(an_output_without_a_switch),
        BOTH(raw_registers_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
