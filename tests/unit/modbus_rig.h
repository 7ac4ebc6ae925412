/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_rig: a small slave whose registers all differ, over Modbus/TCP or RTU frames, with the faults that a
 * wire has; and a link or a driver to it, in real time. Include cmocka first. */
#ifndef TESTS_UNIT_MODBUS_RIG_H
#define TESTS_UNIT_MODBUS_RIG_H

#include <semaphore.h>
#include <sys/eventfd.h>

#include "drivers/driver.h"
#include "drivers/modbus_line.h"
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
    sem_t *pays; /* a LATE answer waits for it, after it has raised cut_fd; NULL: it is late by LATE_MS */
    int cut_fd;
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
static inline size_t good_answer(struct slave *s, const uint8_t *ask, uint8_t *answer, int fault)
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

static inline size_t spoiled(const uint8_t *ask, uint8_t *answer, size_t n, int fault)
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

static inline void answer_one(struct slave *s, const uint8_t *ask, const uint8_t *header)
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
    if (fault == LATE && s->pays != NULL) {
        eventfd_write(s->cut_fd, 1);
        sem_wait(s->pays);
    } else if (fault == LATE) {
        usleep(LATE_MS * 1000);
    }
    if (fault == STRAY_BYTE)
        peer_say(&s->peer, "\xff", 1);
    if (fault == HALF)
        n /= 2;
    size_t part = n > 4 ? n - 3 : n; /* always in two pieces */
    peer_say(&s->peer, frame, part);
    if (part < n)
        peer_say(&s->peer, frame + part, n - part);
}

static inline void on_data(struct peer *peer, const char *data, size_t n)
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

static inline uint16_t value_at(int address)
{
    return (uint16_t)(address * 257 + 1);
}

static inline int rig_start(void **state, bool rtu)
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

static inline int start_tcp(void **state)
{
    return rig_start(state, false);
}

static inline int start_rtu(void **state)
{
    return rig_start(state, true);
}

static inline int rig_stop(void **state)
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

static inline void link_up(struct rig *rig, const struct modbus_link_pace *pace)
{
    struct error err = { 0 };
    modbus_link_close(rig->link);
    rig->link = NULL;
    if (modbus_link_open(&rig->env, "unit", rig->config.resource, pace, &rig->link, &err))
        fail_msg("%s", err.message);
}

static inline void spoil(struct rig *rig, int fault, int count)
{
    atomic_store(&rig->slave.fault, fault);
    atomic_store(&rig->slave.spoil, count);
}

/* A machine under load may be late by itself: silence is asked again, a wrong value never forgiven. */
static inline void check_read(struct rig *rig, int address, int count)
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

/* A test over both kinds of frames. */
#define MODBUS_BOTH(test)                                                                                    \
    cmocka_unit_test_setup_teardown(test, start_tcp, rig_stop),                                              \
        cmocka_unit_test_setup_teardown(test, start_rtu, rig_stop)

#endif
