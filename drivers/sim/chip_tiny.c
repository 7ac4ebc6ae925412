/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chip_tiny: a second simulated chip, to prove that a chip is a profile and a model file: four byte registers
 * behind 16-bit instructions (bit 15 read, 14..0 address, bytes ascending), no checksum, no array, two rails.
 * Its profile is tests/sim/tiny-chip.json. */
#include <stdlib.h>
#include <string.h>

#include "daemon/base/rng.h"
#include "drivers/sim/chip_models.h"

enum { REG_ID, REG_SERIAL, REG_SCRATCH, REG_LOAD, REGISTERS };
enum { TINY_ID = 0x5A, READ_BIT = 0x80, INSTRUCTION_BYTES = 2 };

#define VDD_ON_V    1.0
#define VDDIO_ON_V  1.0
#define VDD_OHM     33e3 /* core, idle */
#define VDDIO_OHM   1e6
#define LOAD_STEP_S 5e-6 /* LOAD switches this conductance on, per count: something to measure */

struct tiny {
    struct world *world;
    struct world_net *vdd, *vddio;
    uint8_t reg[REGISTERS];
    bool on, damaged;
};

static const bool writable[REGISTERS] = { [REG_SCRATCH] = true, [REG_LOAD] = true };

static int tiny_open(const struct chip_setup *setup, void **ret_chip, struct error *err)
{
    struct tiny *tiny = calloc(1, sizeof *tiny);
    struct rng rng;

    if (tiny == NULL)
        return error_set(err, ERR_MEMORY, "simulated chip: out of memory");
    tiny->world = setup->world;
    tiny->vdd = world_net_find(setup->world, "VDD");
    tiny->vddio = world_net_find(setup->world, "VDDIO");
    if (tiny->vdd == NULL || tiny->vddio == NULL) {
        free(tiny);
        return error_set(err, ERR_INVALID, "simulated chip tiny: the bench wires no VDD or no VDDIO");
    }
    rng_init(&rng, setup->seed, "tiny_serial", (uint64_t)setup->die, 0, 0);
    tiny->reg[REG_ID] = TINY_ID;
    tiny->reg[REG_SERIAL] = (uint8_t)rng_below(&rng, 256);
    *ret_chip = tiny;
    return 0;
}

static void tiny_close(void *chip)
{
    free(chip);
}

/* Writes take effect byte by byte, reads ascend and read zero behind the last register. */
static void tiny_spi(void *chip, const uint8_t *mosi, size_t mosi_n, uint8_t *miso, size_t rx_n,
                     int64_t t_start_ns, double hz, int64_t *ret_end_ns)
{
    struct tiny *tiny = chip;
    bool alive = tiny->on && !tiny->damaged && world_volt(tiny->world, tiny->vddio) > VDDIO_ON_V;
    unsigned address;

    *ret_end_ns = t_start_ns + (int64_t)(8e9 * (double)(mosi_n + rx_n) / hz);
    memset(miso, 0, rx_n);
    if (!alive || mosi_n < INSTRUCTION_BYTES)
        return;
    address = (unsigned)(mosi[0] & ~READ_BIT) << 8 | mosi[1];
    if ((mosi[0] & READ_BIT) != 0) {
        address += (unsigned)(mosi_n - INSTRUCTION_BYTES); /* bytes that went by under the host's own */
        for (size_t i = 0; i < rx_n; i++)
            miso[i] = address + i < REGISTERS ? tiny->reg[address + i] : 0;
        return;
    }
    for (size_t i = INSTRUCTION_BYTES; i < mosi_n; i++, address++)
        if (address < REGISTERS && writable[address])
            tiny->reg[address] = mosi[i];
    world_touch(tiny->world);
}

static double tiny_rail_current(void *chip, struct world_net *net, const double *rail_v, double temp_c,
                                int64_t t_ns)
{
    struct tiny *tiny = chip;
    double volt = rail_v[world_net_index(net)];

    (void)temp_c;
    (void)t_ns;
    if (net == tiny->vddio)
        return volt / VDDIO_OHM;
    return net == tiny->vdd ? volt / VDD_OHM + volt * LOAD_STEP_S * tiny->reg[REG_LOAD] : 0.0;
}

static void tiny_rail_change(void *chip, struct world_net *net, double volt, int64_t t_ns)
{
    struct tiny *tiny = chip;

    (void)t_ns;
    if (net != tiny->vdd)
        return;
    tiny->on = volt > VDD_ON_V;
    if (!tiny->on)
        tiny->reg[REG_SCRATCH] = tiny->reg[REG_LOAD] = 0;
}

static void tiny_damage(void *chip, const char *why, int64_t t_ns)
{
    (void)why;
    (void)t_ns;
    ((struct tiny *)chip)->damaged = true;
}

static cJSON *tiny_truth(void *chip, int64_t t_ns)
{
    const struct tiny *tiny = chip;
    cJSON *root = cJSON_CreateObject();

    (void)t_ns;
    if (root == NULL)
        return NULL;
    cJSON_AddStringToObject(root, "model", "tiny");
    cJSON_AddBoolToObject(root, "damaged", tiny->damaged);
    json_add_number(root, "serial", tiny->reg[REG_SERIAL]);
    json_add_number(root, "scratch", tiny->reg[REG_SCRATCH]);
    json_add_number(root, "load", tiny->reg[REG_LOAD]);
    return root;
}

const struct chip_model chip_tiny_model = {
    .name = "tiny",
    .open = tiny_open,
    .close = tiny_close,
    .spi = tiny_spi,
    .rail_current = tiny_rail_current,
    .on_rail_change = tiny_rail_change,
    .on_damage = tiny_damage,
    .ground_truth = tiny_truth,
};
