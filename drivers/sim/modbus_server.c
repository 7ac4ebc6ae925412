/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_server: framing, functions 3, 4, 6 and 16, and exceptions. */
#include "drivers/sim/modbus_server.h"

#include <string.h>

#include "daemon/base/clock.h"

enum {
    TCP_HEADER = 6,
    CRC_N = 2,
    BROADCAST = 0,
    FC_READ_HOLDING = 3,
    FC_READ_INPUT = 4,
    FC_WRITE_ONE = 6,
    FC_WRITE_MANY = 16,
    READ_MAX = 125,
    WRITE_MAX = 123
};
/* Half a frame that old is forgotten. (A real slave forgets after 3.5 characters; frames of USB adapters come
 * with pauses, so pieces are taken together here.) */
#define FORGET_NS (100 * NS_PER_MS)

uint16_t modbus_crc(const uint8_t *bytes, size_t n)
{
    uint16_t crc = 0xffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
    }
    return crc;
}

static int word(const uint8_t *at)
{
    return at[0] << 8 | at[1];
}

static void put(uint8_t *at, int value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* ---- Requests: unit, function, data. `answer` likewise. ---- */
static int read_many(struct modbus_server *server, int unit, const uint8_t *ask, uint8_t *answer,
                     size_t *ret_n)
{
    int address = word(ask + 2), count = word(ask + 4);
    if (count < 1 || count > READ_MAX)
        return MODBUS_ILLEGAL_VALUE;
    answer[2] = (uint8_t)(2 * count);
    for (int i = 0; i < count; i++) {
        uint16_t value = 0;
        int exception = server->model->read(server, unit, ask[1], address + i, &value);
        if (exception)
            return exception;
        put(answer + 3 + 2 * i, value);
    }
    *ret_n = 3 + 2 * (size_t)count;
    return 0;
}

static int write_many(struct modbus_server *server, int unit, const uint8_t *ask, uint8_t *answer,
                      size_t *ret_n)
{
    bool one = ask[1] == FC_WRITE_ONE;
    int address = word(ask + 2), count = one ? 1 : word(ask + 4);
    const uint8_t *values = one ? ask + 4 : ask + 7;
    if (!one && (count < 1 || count > WRITE_MAX || ask[6] != 2 * count))
        return MODBUS_ILLEGAL_VALUE;
    for (int i = 0; i < count; i++) {
        int exception = server->model->write(server, unit, address + i, (uint16_t)word(values + 2 * i));
        if (exception)
            return exception;
    }
    memcpy(answer + 2, ask + 2, 4);
    *ret_n = 6;
    return 0;
}

/* Returns the length of the answer. */
static size_t execute(struct modbus_server *server, int unit, const uint8_t *ask, uint8_t *answer)
{
    size_t n = 0;
    int exception = MODBUS_ILLEGAL_FUNCTION;
    answer[0] = ask[0];
    answer[1] = ask[1];
    if (ask[1] == FC_READ_HOLDING || ask[1] == FC_READ_INPUT)
        exception = read_many(server, unit, ask, answer, &n);
    else if (ask[1] == FC_WRITE_ONE || ask[1] == FC_WRITE_MANY)
        exception = write_many(server, unit, ask, answer, &n);
    if (!exception)
        return n;
    answer[1] |= 0x80;
    answer[2] = (uint8_t)exception;
    return 3;
}

/* frame has room for the header before `ask` was framed. */
static void serve(struct modbus_server *server, int client, const uint8_t *ask, const uint8_t *header)
{
    uint8_t frame[MODBUS_FRAME_MAX];
    uint8_t *answer = frame + (header ? TCP_HEADER : 0);
    if (ask[0] == BROADCAST) {
        for (; server; server = server->next)
            for (int i = 0; i < server->units; i++)
                execute(server, i, ask, answer); /* nobody answers */
        return;
    }
    while (server && (ask[0] < server->first_unit || ask[0] >= server->first_unit + server->units))
        server = server->next;
    if (!server)
        return; /* nobody's */
    size_t n = execute(server, ask[0] - server->first_unit, ask, answer);
    if (header) {
        memcpy(frame, header, 4);
        put(frame + 4, (int)n);
        n += TCP_HEADER;
    } else {
        uint16_t crc = modbus_crc(frame, n);
        frame[n++] = (uint8_t)crc;
        frame[n++] = (uint8_t)(crc >> 8);
    }
    int64_t at_ns = sim_now(server->loop) + (int64_t)(server->model->pace_s * 1e9);
    sim_link_send(server->link, client, frame, n, at_ns);
}

/* ---- Frames: length of the one at the start, 0 when it is not complete, -1 when it can be none. ---- */
static long rtu_length(const uint8_t *bytes, size_t n)
{
    long length = 2 + 4 + CRC_N;
    if (n < 2)
        return 0;
    if (bytes[1] == FC_WRITE_MANY) {
        if (n < 7)
            return 0;
        length = 7 + bytes[6] + CRC_N;
    } else if (bytes[1] != FC_READ_HOLDING && bytes[1] != FC_READ_INPUT && bytes[1] != FC_WRITE_ONE) {
        length = (long)n; /* a function whose length is not known here: what there is, if its CRC fits */
    }
    return (long)n < length ? 0 : length;
}

/* Whether it is what its function needs. */
static bool complete(const uint8_t *ask, long n)
{
    if (ask[1] == FC_WRITE_MANY)
        return n >= 7 && n == 7 + ask[6];
    return n >= 6 ||
           (ask[1] != FC_READ_HOLDING && ask[1] != FC_READ_INPUT && ask[1] != FC_WRITE_ONE && n >= 2);
}

/* Serves the frame at the start; returns how many bytes it took, 0: more must come, -1: out of step. */
static long take_rtu(struct modbus_server *server, int client, const uint8_t *bytes, size_t n)
{
    long length = rtu_length(bytes, n);
    if (length <= 0)
        return length;
    if (length < 4 || length > MODBUS_FRAME_MAX)
        return length < 4 ? 0 : -1;
    uint16_t crc = modbus_crc(bytes, (size_t)length - CRC_N);
    if (bytes[length - 2] != (uint8_t)crc || bytes[length - 1] != (uint8_t)(crc >> 8))
        return -1;
    serve(server, client, bytes, NULL);
    return length;
}

static long take_tcp(struct modbus_server *server, int client, const uint8_t *bytes, size_t n)
{
    if (n < TCP_HEADER)
        return 0;
    long length = word(bytes + 4);
    if (word(bytes + 2) != 0 || length < 2 || length > MODBUS_FRAME_MAX - TCP_HEADER)
        return -1;
    if ((long)n < TCP_HEADER + length)
        return 0;
    if (!complete(bytes + TCP_HEADER, length))
        return -1;
    serve(server, client, bytes + TCP_HEADER, bytes);
    return TCP_HEADER + length;
}

/* ---- Device callbacks ---- */
void modbus_server_bytes(void *device, int client, const uint8_t *bytes, size_t n)
{
    struct modbus_server *server = device;
    int64_t now_ns = sim_now(server->loop);
    if (server->rtu && now_ns - server->input[client].last_ns > FORGET_NS)
        server->input[client].n = 0;
    server->input[client].last_ns = now_ns;
    while (n > 0) {
        uint8_t *in = server->input[client].bytes;
        size_t have = server->input[client].n, room = sizeof server->input[client].bytes - have;
        size_t part = n < room ? n : room;
        memcpy(in + have, bytes, part);
        have += part;
        bytes += part;
        n -= part;
        long taken;
        while ((taken = server->rtu ? take_rtu(server, client, in, have)
                                    : take_tcp(server, client, in, have)) > 0) {
            have -= (size_t)taken;
            memmove(in, in + taken, have);
        }
        if (taken < 0 || have == sizeof server->input[client].bytes)
            have = 0; /* a slave says nothing to what it does not understand */
        server->input[client].n = have;
        if (taken < 0 && !server->rtu) {
            sim_link_disconnect(server->link, client);
            return;
        }
    }
}

void modbus_server_gone(void *device, int client)
{
    ((struct modbus_server *)device)->input[client].n = 0;
}

void modbus_server_reboot(void *device)
{
    struct modbus_server *server = device;
    for (int i = 0; i < SIM_CLIENTS_MAX; i++)
        server->input[i].n = 0;
    for (; server; server = server->next)
        for (int i = 0; server->model->reset && i < server->units; i++)
            server->model->reset(server, i);
}

void modbus_server_attach(void *device, struct sim_link *link)
{
    struct modbus_server *server = device, *first = sim_link_context(link);
    server->link = link;
    if (first != server) {
        server->next = first->next;
        first->next = server;
    }
    server->rtu = server->rtu_option || strncmp(sim_link_resource(link), "serial:", 7) == 0;
}

int modbus_server_init(struct modbus_server *server, const struct modbus_server_model *model,
                       const struct sim_device_setup *setup, struct error *err)
{
    struct json_problems problems = { 0 };
    struct json_at at = json_root(setup->options, &problems);
    *server = (struct modbus_server){
        .model = model,
        .loop = setup->loop,
        .first_unit = (int)json_integer(&at, "unit", false, 1, 247, 1),
        .units = (int)json_integer(&at, "units", false, 1, MODBUS_UNITS_MAX, 1),
        .rtu_option = json_boolean(&at, "rtu", false, false),
    };
    return json_problems_error(&problems, setup->name, err);
}
