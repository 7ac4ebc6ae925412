/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_waveshare: Waveshare Analog Input 8CH (type A). Channel n reads the net that the option "nets" names at
 * place n; the others hang in the air and read 0. Registers from the maker's pages [T]. */
#include <math.h>
#include <stdlib.h>

#include "drivers/sim/modbus_server.h"
#include "drivers/sim/sim_inputs.h"
#include "drivers/sim/sim_models.h"

enum {
    CHANNELS = 8,
    RANGE_AT = 0x1000,
    UART_AT = 0x2000,
    ADDRESS_AT = 0x4000,
    VERSION_AT = 0x8000,
    VERSION = 200,
    UART_115200 = 5,
    RANGE_RAW = 4,
    RAW_MAX = 4095,
    FULL_MV = 5000,
    BURDEN_OHM = 250
};

struct analog_in {
    struct modbus_server server; /* first */
    struct sim_inputs inputs;
    uint16_t range[MODBUS_UNITS_MAX * CHANNELS];
};

/* Codes 0: 0..5 V, 1: 1..5 V, 2: 0..20 mA, 3: 4..20 mA, 4: converter codes. Values in mV or uA. */
static uint16_t convert(const struct analog_in *a, int i)
{
    double volt = fmin(fmax(sim_inputs_volt(&a->inputs, i), 0), FULL_MV / 1000.0);
    switch (a->range[i]) {
    case 1:
        return (uint16_t)lround(fmax(volt, 1) * 1000);
    case 2:
        return (uint16_t)lround(volt / BURDEN_OHM * 1e6);
    case 3:
        return (uint16_t)lround(fmax(volt / BURDEN_OHM, 4e-3) * 1e6);
    case RANGE_RAW:
        return (uint16_t)lround(volt * 1000 / FULL_MV * RAW_MAX);
    default:
        return (uint16_t)lround(volt * 1000);
    }
}

static int on_read(void *device, int unit, int function, int address, uint16_t *ret_value)
{
    struct analog_in *a = device;
    int i = unit * CHANNELS;
    if (function == 4) {
        if (address < 0 || address >= CHANNELS)
            return MODBUS_ILLEGAL_ADDRESS;
        *ret_value = convert(a, i + address);
    } else if (address >= RANGE_AT && address < RANGE_AT + CHANNELS) {
        *ret_value = a->range[i + address - RANGE_AT];
    } else if (address == UART_AT) {
        *ret_value = UART_115200;
    } else if (address == ADDRESS_AT) {
        *ret_value = (uint16_t)(a->server.first_unit + unit);
    } else if (address == VERSION_AT) {
        *ret_value = VERSION;
    } else {
        return MODBUS_ILLEGAL_ADDRESS;
    }
    return 0;
}

static int on_write(void *device, int unit, int address, uint16_t value)
{
    struct analog_in *a = device;
    if (address < RANGE_AT || address >= RANGE_AT + CHANNELS)
        return MODBUS_ILLEGAL_ADDRESS;
    if (value > RANGE_RAW)
        return MODBUS_ILLEGAL_VALUE;
    a->range[unit * CHANNELS + address - RANGE_AT] = value;
    return 0;
}

/* The ranges are kept in a memory of their own: a power loss changes nothing. */
static const struct modbus_server_model SERVER = { .read = on_read, .write = on_write, .pace_s = 2e-3 };

static int open_waveshare(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    struct analog_in *a = calloc(1, sizeof *a);
    if (!a)
        return error_set(err, ERR_MEMORY, "%s", setup->name);
    int code = modbus_server_init(&a->server, &SERVER, setup, err);
    if (!code)
        code = sim_inputs_init(&a->inputs, setup, a->server.units * CHANNELS, 0.001, 0.003, err);
    if (code) {
        free(a);
        return code;
    }
    *ret_device = a;
    return 0;
}

const struct sim_device_model sim_waveshare = {
    .name = "waveshare-ai8",
    .default_link = SIM_LINK_PTY,
    .clients_max = 1,
    .ops = { .on_bytes = modbus_server_bytes,
             .on_close = modbus_server_gone,
             .on_reboot = modbus_server_reboot },
    .open = open_waveshare,
    .attach = modbus_server_attach,
    .close = free,
};
