/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_server: the Modbus side of a simulated instrument: a slave with one or several units behind one
 * link. Behind a pseudo-terminal it speaks RTU, behind a socket Modbus/TCP (option "rtu": true: RTU frames
 * over the socket, as a serial server carries them). Written by hand: libmodbus as an RTU slave loses
 * requests after one for another unit. A device's struct starts with a struct modbus_server. */
#ifndef DRIVERS_SIM_MODBUS_SERVER_H
#define DRIVERS_SIM_MODBUS_SERVER_H

#include "drivers/sim/device.h"

enum { MODBUS_FRAME_MAX = 260, MODBUS_UNITS_MAX = 16 };
enum modbus_exception { MODBUS_ILLEGAL_FUNCTION = 1, MODBUS_ILLEGAL_ADDRESS, MODBUS_ILLEGAL_VALUE };

/* unit counts from 0. Both return 0 or an exception. */
struct modbus_server_model {
    /* function 3 or 4 */
    int (*read)(void *device, int unit, int function, int address, uint16_t *ret_value);
    int (*write)(void *device, int unit, int address, uint16_t value);
    void (*reset)(void *device, int unit); /* power came back; NULL: it goes on as it was */
    double pace_s;                         /* from the end of a request to the answer */
};

struct modbus_server {
    const struct modbus_server_model *model;
    struct sim_loop *loop;
    struct sim_link *link;
    bool rtu_option, rtu;
    int first_unit, units;      /* addresses first_unit .. first_unit + units - 1 */
    struct modbus_server *next; /* on the same line */
    struct {
        uint8_t bytes[2 * MODBUS_FRAME_MAX];
        size_t n;
        int64_t last_ns; /* when the latest byte came */
    } input[SIM_CLIENTS_MAX];
};

/* Reads the options "units" (how many), "unit" (the first address) and "rtu". */
int modbus_server_init(struct modbus_server *server, const struct modbus_server_model *model,
                       const struct sim_device_setup *setup, struct error *err);
/* Device callbacks. */
void modbus_server_attach(void *device, struct sim_link *link);
void modbus_server_bytes(void *device, int client, const uint8_t *bytes, size_t n);
void modbus_server_gone(void *device, int client);
void modbus_server_reboot(void *device);

uint16_t modbus_crc(const uint8_t *bytes, size_t n);

#endif
