/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_link: one instrument's use of its line: registers, and the retries that its make needs. */
#include "drivers/modbus_link.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/modbus_line.h"

struct modbus_link {
    struct modbus_line *line;
    struct modbus_link_pace pace;
    struct modbus_link_address address;
};

int modbus_link_open(const struct transport_env *env, const char *name, const char *resource,
                     const struct modbus_link_pace *pace, struct modbus_link **ret, struct error *err)
{
    struct modbus_link *link = calloc(1, sizeof *link);
    if (!link)
        return error_set(err, ERR_MEMORY, "Modbus link of %s", name);
    link->pace = *pace;
    int code = modbus_link_parse(resource, &link->address, err);
    if (!code)
        code = modbus_line_join(env, name, &link->address, pace, &link->line, err);
    if (code) {
        modbus_link_close(link);
        return code;
    }
    *ret = link;
    return 0;
}

void modbus_link_close(struct modbus_link *link)
{
    if (!link)
        return;
    modbus_line_leave(link->line);
    free(link);
}

int modbus_link_unit(const struct modbus_link *link, int i)
{
    return i >= 0 && i < link->address.unit_count ? link->address.unit[i] : -1;
}

int modbus_link_settle(struct modbus_link *link, struct error *err)
{
    return modbus_line_settle(link->line, err);
}

static void put(uint8_t *at, int value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static int exchange(struct modbus_link *link, struct modbus_exchange *x, struct error *err)
{
    for (int retry = 0;; retry++) {
        struct error failure = { 0 };
        int code = modbus_line_exchange(link->line, x, &failure);
        bool again = code == ERR_TIMEOUT || code == ERR_GARBAGE || (code == ERR_REFUSED && failure.retryable);
        if (code && again && retry < link->pace.retries)
            continue;
        if (code && err)
            *err = failure;
        return code;
    }
}

int modbus_link_read(struct modbus_link *link, int unit, int function, int address, int count,
                     uint16_t *ret_values, struct error *err)
{
    if (count < 1 || count > MODBUS_LINK_READ_MAX || address < 0 || address + count > 0x10000)
        return error_set(err, ERR_RANGE, "%d registers from %d: at most %d at once", count, address,
                         MODBUS_LINK_READ_MAX);
    struct modbus_exchange x = { .timeout_s = link->pace.timeout_s,
                                 .ask = { (uint8_t)unit, (uint8_t)function },
                                 .ask_n = 6,
                                 .answer_n = 3 + 2 * (size_t)count };
    put(x.ask + 2, address);
    put(x.ask + 4, count);
    int code = exchange(link, &x, err);
    if (code)
        return code;
    if (x.answer[2] != 2 * count)
        return error_set(err, ERR_GARBAGE, "%d bytes where %d were asked for", x.answer[2], 2 * count);
    for (int i = 0; i < count; i++)
        ret_values[i] = (uint16_t)(x.answer[3 + 2 * i] << 8 | x.answer[4 + 2 * i]);
    return 0;
}

int modbus_link_write(struct modbus_link *link, int unit, int address, const uint16_t *values, int count,
                      struct error *err)
{
    if (count < 1 || count > MODBUS_LINK_WRITE_MAX || address < 0 || address + count > 0x10000)
        return error_set(err, ERR_RANGE, "%d registers to %d: at most %d at once", count, address,
                         MODBUS_LINK_WRITE_MAX);
    struct modbus_exchange x = {
        .timeout_s = link->pace.timeout_s, .ask = { (uint8_t)unit, 6 }, .ask_n = 6, .answer_n = 6
    };
    put(x.ask + 2, address);
    put(x.ask + 4, values[0]);
    if (count > 1) {
        x.ask[1] = 16;
        put(x.ask + 4, count);
        x.ask[6] = (uint8_t)(2 * count);
        for (int i = 0; i < count; i++)
            put(x.ask + 7 + 2 * i, values[i]);
        x.ask_n = 7 + 2 * (size_t)count;
    }
    int code = exchange(link, &x, err);
    if (code)
        return code;
    if (memcmp(x.answer + 2, x.ask + 2, 4) != 0)
        return error_set(err, ERR_GARBAGE, "the instrument confirms another register or value");
    return 0;
}
