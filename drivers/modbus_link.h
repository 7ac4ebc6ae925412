/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_link: the registers of one instrument over Modbus/TCP, over a serial line, and over RTU frames in
 * TCP (ser2net).
 *
 * Resources: "modbus-tcp:HOST:PORT", "modbus-rtu:PATH", "modbus-rtu-tcp:HOST:PORT" and "sim:" or "sim:LINE",
 * followed by "?unit=3" or "?units=1,2,5" (several units of one model that are one instrument),
 * "&baud=9600", "&parity=N|E|O" and "&gap=0.012" (seconds of silence between two frames, when more than the
 * make needs). Instruments of several models are on one line (drivers/modbus_line.h) when their resources
 * name the same one. Belongs to the thread of its port. */
#ifndef DRIVERS_MODBUS_LINK_H
#define DRIVERS_MODBUS_LINK_H

#include "drivers/transport.h"

enum { MODBUS_LINK_UNITS_MAX = 16, MODBUS_LINK_READ_MAX = 125, MODBUS_LINK_WRITE_MAX = 123 };
enum modbus_link_framing { MODBUS_LINK_TCP, MODBUS_LINK_RTU, MODBUS_LINK_SIM };

struct modbus_link_address {
    int framing;       /* enum modbus_link_framing; SIM: whatever the simulator's link is */
    char carrier[256]; /* resource of the transport */
    char parity;
    double gap_s;
    int unit_count, unit[MODBUS_LINK_UNITS_MAX];
};
/* Takes a resource apart; touches nothing. */
int modbus_link_parse(const char *resource, struct modbus_link_address *ret, struct error *err);

/* What the make needs. */
struct modbus_link_pace {
    double timeout_s; /* longest time to an answer */
    double gap_s;     /* silence between frames on a serial line */
    int retries;      /* after silence, garbage or "busy" */
};

struct modbus_link;
int modbus_link_open(const struct transport_env *env, const char *name, const char *resource,
                     const struct modbus_link_pace *pace, struct modbus_link **ret, struct error *err);
void modbus_link_close(struct modbus_link *link);
/* Unit address number i of the resource. */
int modbus_link_unit(const struct modbus_link *link, int i);

/* function: 3 holding registers, 4 input registers. An exception of the instrument is ERR_REFUSED, of a value
 * or address ERR_RANGE. */
int modbus_link_read(struct modbus_link *link, int unit, int function, int address, int count,
                     uint16_t *ret_values, struct error *err);
/* One register with function 6, more with function 16; the answer must confirm what was sent. */
int modbus_link_write(struct modbus_link *link, int unit, int address, const uint16_t *values, int count,
                      struct error *err);
/* Brings the line to a frame boundary: lets an answer that is still owed go by. */
int modbus_link_settle(struct modbus_link *link, struct error *err);

/* IEEE floats in two registers. The letters name the bytes of the number, most significant first, in the
 * order in which they travel. */
enum modbus_link_order { MODBUS_LINK_ABCD, MODBUS_LINK_CDAB, MODBUS_LINK_BADC, MODBUS_LINK_DCBA };
void modbus_link_pack(double value, int order, uint16_t ret_words[2]);
double modbus_link_unpack(const uint16_t words[2], int order);

#endif
