/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_map: which registers of one model of Modbus gear mean what, with their scales, limits and accuracy,
 * as data in configs/instruments/modbus/NAME.json. Immutable after modbus_map_load. A scale is believed only
 * with the model id that the file states: other members of a family count in other steps. */
#ifndef DRIVERS_MODBUS_MAP_H
#define DRIVERS_MODBUS_MAP_H

#include "drivers/dialect.h"
#include "drivers/modbus_link.h"

enum modbus_role {
    MODBUS_SET_VOLTAGE,
    MODBUS_SET_LIMIT,
    MODBUS_SET_OVP,
    MODBUS_SET_OCP, /* amperes: "OCP at the current limit" writes the limit here */
    MODBUS_OUTPUT,
    MODBUS_TRIP, /* 0 when no protection has tripped */
    MODBUS_MODE, /* not 0: constant current */
    MODBUS_MEASURE_VOLTAGE,
    MODBUS_MEASURE_CURRENT,
    MODBUS_SET_TEMPERATURE,
    MODBUS_MEASURE_TEMPERATURE,
    MODBUS_STATUS, /* of a chamber; `trip_mask` says which bits are a fault */
    MODBUS_SETUP,  /* must read `expect`: the module's own setting that the scales rely on */
    MODBUS_ROLE_COUNT
};
enum modbus_type { MODBUS_U16, MODBUS_I16, MODBUS_F32 };
enum { MODBUS_IDS_MAX = 4, MODBUS_BAD_MAX = 4 };

struct modbus_register {
    bool present;
    int address, stride;  /* of channel n: address + (n - 1) * stride */
    int function;         /* it is read with */
    int type;             /* enum modbus_type */
    double scale, offset; /* value = raw * scale + offset */
    int expect;           /* of MODBUS_SETUP */
    int bad_count;
    double bad[MODBUS_BAD_MAX]; /* raw values that mean "no value": a broken sensor */
};

struct modbus_map {
    char name[48], vendor[64], model[64], tested[32];
    int class;
    struct modbus_link_pace pace;
    int order;                            /* enum modbus_link_order */
    int id_address, id_function;          /* -1: there is no model id */
    int id_count, id[MODBUS_IDS_MAX][2];  /* first..last that are this model */
    int serial_address, firmware_address; /* -1: none; serial: two registers, most significant first */
    unsigned trip_mask;
    struct modbus_register role[MODBUS_ROLE_COUNT];
    struct dialect_span temperature;
    struct dialect
        dialect; /* channels, accuracy and calibration date, for dialect_uncertainty() and friends */
};

/* Reads and checks a whole file; every mistake goes into problems. Caller: free(). */
int modbus_map_load(const char *path, struct modbus_map **ret, struct json_problems *problems,
                    struct error *err);
/* "set_voltage" */
const char *modbus_role_name(int role);
int modbus_map_words(const struct modbus_register *reg); /* registers that a value takes */
int modbus_map_address(const struct modbus_register *reg, int channel);
/* Rounds to the nearest step; ERR_RANGE when the register cannot hold it. */
int modbus_map_encode(const struct modbus_map *map, int role, double value, uint16_t *ret_words,
                      struct error *err);
/* NAN for what is stated to be bad. */
double modbus_map_decode(const struct modbus_map *map, int role, const uint16_t *words);

#endif
