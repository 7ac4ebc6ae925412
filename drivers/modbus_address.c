/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_address: resources of Modbus links, and floats in two registers in the four word orders. (The
 * setters of libmodbus 3.1.6 swap bytes on little-endian hosts.) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/modbus_link.h"

enum { UNIT_MAX = 247, TCP_PORT = 502 };

static int malformed(const char *resource, const char *why, struct error *err)
{
    return error_set(err, ERR_INVALID,
                     "resource '%s': %s; write modbus-tcp:HOST:PORT, modbus-rtu:PATH or "
                     "modbus-rtu-tcp:HOST:PORT, then ?units=1,2&baud=9600&parity=N&gap=0.005",
                     resource, why);
}

static bool take_units(const char *text, struct modbus_link_address *a)
{
    a->unit_count = 0;
    for (;;) {
        char *end;
        long unit = strtol(text, &end, 10);
        if (end == text || unit < 1 || unit > UNIT_MAX || a->unit_count == MODBUS_LINK_UNITS_MAX)
            return false;
        for (int i = 0; i < a->unit_count; i++) {
            if (a->unit[i] == unit)
                return false;
        }
        a->unit[a->unit_count++] = (int)unit;
        if (*end == '\0')
            return true;
        if (*end != ',')
            return false;
        text = end + 1;
    }
}

/* One "key=value"; false when it is not understood. */
static bool take_option(const char *item, struct modbus_link_address *a, long *ret_baud)
{
    char *end;
    if (strncmp(item, "unit=", 5) == 0)
        return take_units(item + 5, a) && a->unit_count == 1;
    if (strncmp(item, "units=", 6) == 0)
        return take_units(item + 6, a);
    if (strncmp(item, "baud=", 5) == 0) {
        *ret_baud = strtol(item + 5, &end, 10);
        return end != item + 5 && *end == '\0' && *ret_baud > 0;
    }
    if (strncmp(item, "parity=", 7) == 0) {
        a->parity = item[7];
        return item[7] && strchr("NEO", item[7]) && item[8] == '\0';
    }
    if (strncmp(item, "gap=", 4) == 0) {
        a->gap_s = strtod(item + 4, &end);
        return end != item + 4 && *end == '\0' && a->gap_s >= 0 && a->gap_s <= 1;
    }
    return false;
}

int modbus_link_parse(const char *resource, struct modbus_link_address *ret, struct error *err)
{
    static const struct {
        const char *prefix, *carrier;
        int framing;
    } KINDS[] = {
        { "modbus-tcp:", "tcp:", MODBUS_LINK_TCP },
        { "modbus-rtu:", "serial:", MODBUS_LINK_RTU },
        { "modbus-rtu-tcp:", "tcp:", MODBUS_LINK_RTU },
        { "sim:", "sim:", MODBUS_LINK_SIM },
    };
    struct modbus_link_address a = { .parity = 'N', .unit_count = 1, .unit = { 1 } };
    size_t kind = 0, kinds = sizeof KINDS / sizeof *KINDS;
    while (kind < kinds && strncmp(resource, KINDS[kind].prefix, strlen(KINDS[kind].prefix)) != 0)
        kind++;
    if (kind == kinds)
        return malformed(resource, "no Modbus link", err);
    const char *rest = resource + strlen(KINDS[kind].prefix);
    const char *query = strchr(rest, '?');
    int n = query ? (int)(query - rest) : (int)strlen(rest);
    long baud = 0;
    char options[128] = "", *next = options, *item;
    if (query && snprintf(options, sizeof options, "%s", query + 1) >= (int)sizeof options)
        return malformed(resource, "options are too long", err);
    while ((item = strsep(&next, "&"))) {
        if (*item && !take_option(item, &a, &baud))
            return malformed(resource, item, err);
    }
    bool serial = strcmp(KINDS[kind].carrier, "serial:") == 0;
    bool no_port = KINDS[kind].framing == MODBUS_LINK_TCP && n > 0 && !memchr(rest, ':', (size_t)n);
    if (n == 0 && KINDS[kind].framing != MODBUS_LINK_SIM)
        return malformed(resource, "nothing to connect to", err);
    a.framing = KINDS[kind].framing;
    int length = snprintf(a.carrier, sizeof a.carrier, "%s%.*s", KINDS[kind].carrier, n, rest);
    if (no_port)
        length += snprintf(a.carrier + length, sizeof a.carrier - (size_t)length, ":%d", TCP_PORT);
    else if (serial)
        length +=
            snprintf(a.carrier + length, sizeof a.carrier - (size_t)length, "?baud=%ld", baud ? baud : 9600L);
    if (length >= (int)sizeof a.carrier)
        return malformed(resource, "too long", err);
    *ret = a;
    return 0;
}

/* Position in the number, 0 = most significant, of each byte that travels. */
static const unsigned char ORDERS[][4] = { [MODBUS_LINK_ABCD] = { 0, 1, 2, 3 },
                                           [MODBUS_LINK_CDAB] = { 2, 3, 0, 1 },
                                           [MODBUS_LINK_BADC] = { 1, 0, 3, 2 },
                                           [MODBUS_LINK_DCBA] = { 3, 2, 1, 0 } };

void modbus_link_pack(double value, int order, uint16_t ret_words[2])
{
    float narrow = (float)value;
    uint32_t bits;
    uint8_t wire[4];
    memcpy(&bits, &narrow, sizeof bits);
    for (int i = 0; i < 4; i++)
        wire[i] = (uint8_t)(bits >> 8 * (3 - ORDERS[order][i]));
    ret_words[0] = (uint16_t)(wire[0] << 8 | wire[1]);
    ret_words[1] = (uint16_t)(wire[2] << 8 | wire[3]);
}

double modbus_link_unpack(const uint16_t words[2], int order)
{
    const uint8_t wire[4] = { (uint8_t)(words[0] >> 8), (uint8_t)words[0], (uint8_t)(words[1] >> 8),
                              (uint8_t)words[1] };
    uint32_t bits = 0;
    float narrow;
    for (int i = 0; i < 4; i++)
        bits |= (uint32_t)wire[i] << 8 * (3 - ORDERS[order][i]);
    memcpy(&narrow, &bits, sizeof narrow);
    return narrow;
}
