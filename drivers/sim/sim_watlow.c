/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_watlow: Watlow F4 and F4T controllers with their chamber. F4: measured at 100, set point at 300, limits
 * at 602 and 603, signed tenths of a degree. F4T: four loops, 160 registers apart: limits at 2774 and 2776,
 * set point at 2782, measured at 2820, floats with the low word first; loop 1 has the air, the others have no
 * sensor [S]. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/sim/modbus_server.h"
#include "drivers/sim/sim_air.h"
#include "drivers/sim/sim_models.h"

enum {
    F4_PV = 100,
    F4_SET = 300,
    F4_LOW = 602,
    F4_HIGH = 603,
    F4T_LOW = 2774,
    F4T_HIGH = 2776,
    F4T_SET = 2782,
    F4T_PV = 2820,
    F4T_STRIDE = 160,
    F4T_LOOPS = 4
};
#define TAU_S  60.0 /* [K] */
#define LOW_C  -70.0
#define HIGH_C 180.0

struct watlow {
    struct modbus_server server; /* first */
    struct sim_air air;
    bool floats;
    uint16_t low_word; /* of a float whose other half comes next */
    float other_set_c[F4T_LOOPS];
};

static int read_f4(const struct watlow *w, int address, uint16_t *ret_value)
{
    const double value = address == F4_PV     ? w->air.air_c
                         : address == F4_SET  ? w->air.set_c
                         : address == F4_LOW  ? LOW_C
                         : address == F4_HIGH ? HIGH_C
                                              : NAN;
    if (isnan(value))
        return MODBUS_ILLEGAL_ADDRESS;
    *ret_value = (uint16_t)(int16_t)lround(value * 10);
    return 0;
}

/* Loop and register of an address of loop 1; the second word of a float is one above. */
static int place(int address, int *ret_loop, bool *ret_high)
{
    static const int AT[] = { F4T_LOW, F4T_HIGH, F4T_SET, F4T_PV };
    for (int loop = 0; loop < F4T_LOOPS; loop++) {
        for (size_t i = 0; i < sizeof AT / sizeof *AT; i++) {
            int from = AT[i] + loop * F4T_STRIDE;
            if (address != from && address != from + 1)
                continue;
            *ret_loop = loop;
            *ret_high = address == from + 1;
            return AT[i];
        }
    }
    return -1;
}

static int read_f4t(const struct watlow *w, int address, uint16_t *ret_value)
{
    int loop = 0;
    bool high = false;
    float value;
    uint32_t bits;
    switch (place(address, &loop, &high)) {
    case F4T_LOW:
        value = (float)LOW_C;
        break;
    case F4T_HIGH:
        value = (float)HIGH_C;
        break;
    case F4T_SET:
        value = loop ? w->other_set_c[loop] : (float)w->air.set_c;
        break;
    case F4T_PV:
        value = loop ? NAN : (float)w->air.air_c;
        break;
    default:
        return MODBUS_ILLEGAL_ADDRESS;
    }
    memcpy(&bits, &value, sizeof bits);
    *ret_value = (uint16_t)(high ? bits >> 16 : bits);
    return 0;
}

static int on_read(void *device, int unit, int function, int address, uint16_t *ret_value)
{
    const struct watlow *w = device;
    (void)unit;
    (void)function; /* input and holding registers are the same ones */
    return w->floats ? read_f4t(w, address, ret_value) : read_f4(w, address, ret_value);
}

static int write_f4t(struct watlow *w, int address, uint16_t value)
{
    int loop = 0;
    bool high = false;
    float celsius;
    if (place(address, &loop, &high) != F4T_SET)
        return MODBUS_ILLEGAL_ADDRESS;
    if (!high) {
        w->low_word = value;
        return 0;
    }
    uint32_t bits = (uint32_t)value << 16 | w->low_word;
    memcpy(&celsius, &bits, sizeof celsius);
    if (!((double)celsius >= LOW_C && (double)celsius <= HIGH_C))
        return MODBUS_ILLEGAL_VALUE;
    if (loop)
        w->other_set_c[loop] = celsius;
    else
        sim_air_set(&w->air, (double)celsius);
    return 0;
}

static int on_write(void *device, int unit, int address, uint16_t value)
{
    struct watlow *w = device;
    double celsius = (int16_t)value / 10.0;
    (void)unit;
    if (w->floats)
        return write_f4t(w, address, value);
    if (address != F4_SET)
        return MODBUS_ILLEGAL_ADDRESS;
    if (celsius < LOW_C || celsius > HIGH_C)
        return MODBUS_ILLEGAL_VALUE;
    sim_air_set(&w->air, celsius);
    return 0;
}

/* They keep their set points over a power loss, and go on. */
static const struct modbus_server_model SERVER = { .read = on_read, .write = on_write, .pace_s = 10e-3 };

static int open_watlow(bool floats, const struct sim_device_setup *setup, void **ret_device,
                       struct error *err)
{
    struct watlow *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(err, ERR_MEMORY, "%s", setup->name);
    w->floats = floats;
    int code = modbus_server_init(&w->server, &SERVER, setup, err);
    if (!code)
        code = sim_air_init(&w->air, setup, TAU_S, err);
    if (!code && w->server.units != 1)
        code = error_set(err, ERR_INVALID, "%s: one chamber has one controller", setup->name);
    if (code) {
        free(w);
        return code;
    }
    *ret_device = w;
    return 0;
}

static int open_f4(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return open_watlow(false, setup, ret_device, err);
}

static int open_f4t(const struct sim_device_setup *setup, void **ret_device, struct error *err)
{
    return open_watlow(true, setup, ret_device, err);
}

static void close_watlow(void *device)
{
    struct watlow *w = device;
    if (!w)
        return;
    sim_air_fini(&w->air);
    free(w);
}

#define WATLOW(model_name, opener)                                                                           \
    {                                                                                                        \
        .name = model_name, .default_link = SIM_LINK_PTY, .clients_max = 1,                                  \
        .ops = { .on_bytes = modbus_server_bytes,                                                            \
                 .on_close = modbus_server_gone,                                                             \
                 .on_reboot = modbus_server_reboot },                                                        \
        .open = opener, .attach = modbus_server_attach, .close = close_watlow,                               \
    }

const struct sim_device_model sim_watlow_f4 = WATLOW("watlow-f4", open_f4);
const struct sim_device_model sim_watlow_f4t = WATLOW("watlow-f4t", open_f4t);
