/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_eurotherm: a temperature controller of the Eurotherm 32xx kind with its chamber: the air follows the
 * set point with one time constant, and the chip's surroundings are that air. Registers [S]; integers in
 * tenths of a degree, and the IEEE mirror at 8000 hex + 2 * address. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/sim/modbus_server.h"
#include "drivers/sim/sim_air.h"
#include "drivers/sim/sim_models.h"

enum {
    PV = 1,
    TARGET = 2,
    OUTPUT = 3,
    WORKING = 5,
    STATUS = 23,
    SP1 = 24,
    SP2 = 25,
    IDENT = 122,
    MIRROR_AT = 0x8000,
    REGISTERS = 256,
    MODEL_CODE = 0x3216
};
#define TAU_S 40.0 /* a small chamber [K]; option "tau_s" */
#define MIN_C -100.0
#define MAX_C 400.0

struct oven {
    struct modbus_server server; /* first */
    struct sim_air air;
    uint16_t float_high; /* half of a float that waits for its other half */
};

static bool value_of(const struct oven *oven, int address, double *ret_value)
{
    switch (address) {
    case PV:
        *ret_value = oven->air.air_c;
        return true;
    case TARGET:
    case WORKING:
    case SP1:
        *ret_value = oven->air.set_c;
        return true;
    case OUTPUT:
        *ret_value = fmin(fmax((oven->air.set_c - oven->air.air_c) * 10, -100), 100);
        return true;
    case SP2:
        *ret_value = SIM_AIR_ROOM_C;
        return true;
    default:
        return false;
    }
}

static int on_read(void *device, int unit, int function, int address, uint16_t *ret_value)
{
    const struct oven *oven = device;
    double value = 0;
    (void)unit;
    (void)function; /* input and holding registers are the same ones */
    if (address >= MIRROR_AT && address < MIRROR_AT + 2 * REGISTERS) {
        float narrow;
        uint32_t bits;
        if (!value_of(oven, (address - MIRROR_AT) / 2, &value))
            return MODBUS_ILLEGAL_ADDRESS;
        narrow = (float)value;
        memcpy(&bits, &narrow, sizeof bits);
        *ret_value = (uint16_t)(address % 2 ? bits : bits >> 16);
        return 0;
    }
    if (value_of(oven, address, &value))
        *ret_value = (uint16_t)(int16_t)lround(value * 10);
    else if (address == IDENT)
        *ret_value = MODEL_CODE;
    else if (address >= 0 && address < REGISTERS)
        *ret_value = 0; /* STATUS among them: no alarm */
    else
        return MODBUS_ILLEGAL_ADDRESS;
    return 0;
}

/* A float comes as two registers of one request: the second one puts it in force. */
static int write_mirror(struct oven *oven, int address, uint16_t value)
{
    int reg = (address - MIRROR_AT) / 2;
    float narrow;
    if (reg != SP1 && reg != TARGET)
        return MODBUS_ILLEGAL_ADDRESS;
    if (address % 2 == 0) {
        oven->float_high = value;
        return 0;
    }
    uint32_t bits = (uint32_t)oven->float_high << 16 | value;
    memcpy(&narrow, &bits, sizeof narrow);
    if (!(narrow >= MIN_C && narrow <= MAX_C))
        return MODBUS_ILLEGAL_VALUE;
    sim_air_set(&oven->air, narrow);
    return 0;
}

static int on_write(void *device, int unit, int address, uint16_t value)
{
    struct oven *oven = device;
    double celsius = (int16_t)value / 10.0;
    (void)unit;
    if (address >= MIRROR_AT && address < MIRROR_AT + 2 * REGISTERS)
        return write_mirror(oven, address, value);
    if (address != SP1 && address != TARGET)
        return MODBUS_ILLEGAL_ADDRESS;
    if (celsius < MIN_C || celsius > MAX_C)
        return MODBUS_ILLEGAL_VALUE;
    sim_air_set(&oven->air, celsius);
    return 0;
}

/* It keeps its set point over a power loss, and goes on. */
static const struct modbus_server_model SERVER = { .read = on_read, .write = on_write, .pace_s = 10e-3 };

static int open_eurotherm(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    struct oven *oven = calloc(1, sizeof *oven);
    if (!oven)
        return error_set(err, ERR_MEMORY, "%s", setup->name);
    int code = modbus_server_init(&oven->server, &SERVER, setup, err);
    if (!code)
        code = sim_air_init(&oven->air, setup, TAU_S, err);
    if (!code && oven->server.units != 1)
        code = error_set(err, ERR_INVALID, "%s: one chamber has one controller", setup->name);
    if (code) {
        free(oven);
        return code;
    }
    *ret_device = oven;
    return 0;
}

static void close_eurotherm(void *device)
{
    struct oven *oven = device;
    if (!oven)
        return;
    sim_air_fini(&oven->air);
    free(oven);
}

const struct sim_device_model sim_eurotherm = {
    .name = "eurotherm-32xx",
    .default_link = SIM_LINK_PTY,
    .clients_max = 1,
    .ops = { .on_bytes = modbus_server_bytes,
             .on_close = modbus_server_gone,
             .on_reboot = modbus_server_reboot },
    .open = open_eurotherm,
    .attach = modbus_server_attach,
    .close = close_eurotherm,
};
