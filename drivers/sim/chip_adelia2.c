/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chip_adelia2: the simulated adelia2 in the virtual bench: volts and temperature from the world into the
 * chip, charge and test bus from the chip into the world, and the truth about the die for tests. */
#include "drivers/sim/chip_adelia2.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "drivers/sim/chip_models.h"

/* CS set-up and hold around a frame: a clock or so of the pads, ours. */
#define CS_OVERHEAD_NS 100
#define HZ_MIN         1.0
/* A long run's charge is handed over in slices, so that an abort ends it. */
#define SLICE_NS (20 * NS_PER_MS)

struct slices {
    uint64_t run; /* its number */
    double coulomb_per_ns;
    int64_t next_ns, end_ns; /* next_ns == end_ns: nothing is left */
};

struct bench_chip {
    struct adelia2 chip;
    struct sim_loop *loop;
    struct slices slices[A2_RAILS];
    uint64_t timer; /* of the next slices; 0: none */
    struct world *world;
    struct world_net *net[A2_RAILS]; /* NULL: the fixture does not wire it, it stays at 0 V */
    struct world_net *atb;
    bool in_world; /* the world is calling: it asks for currents again by itself */
};

/* Charges what one rail's run draws until limit_ns; false when nothing is left behind that. */
static bool hand_over_rail(struct bench_chip *bc, int rail, int64_t limit_ns)
{
    struct slices *s = &bc->slices[rail];
    int64_t t1_ns = s->end_ns < limit_ns ? s->end_ns : limit_ns;

    if (s->run == bc->chip.stopped_run) /* what it has not done costs nothing */
        s->next_ns = s->end_ns;
    if (t1_ns > s->next_ns) {
        world_charge(bc->world, bc->net[rail], s->coulomb_per_ns * (double)(t1_ns - s->next_ns), s->next_ns,
                     t1_ns);
        s->next_ns = t1_ns;
    }
    return s->next_ns < s->end_ns;
}

static void hand_over(void *context, int64_t now_ns)
{
    struct bench_chip *bc = context;
    bool more = false;

    for (int rail = 0; rail < A2_RAILS; rail++)
        more |= hand_over_rail(bc, rail, now_ns + SLICE_NS);
    bc->timer = more ? sim_at(bc->loop, now_ns + SLICE_NS, hand_over, bc) : 0;
}

static void on_charge(void *context, enum a2_rail rail, double coulomb, int64_t t0_ns, int64_t t1_ns)
{
    struct bench_chip *bc = context;

    if (bc->net[rail] == NULL)
        return;
    if (t1_ns - t0_ns <= SLICE_NS) {
        world_charge(bc->world, bc->net[rail], coulomb, t0_ns, t1_ns);
        return;
    }
    (void)hand_over_rail(bc, (int)rail, CLOCK_NEVER); /* the run before, where a timer came late */
    bc->slices[rail] =
        (struct slices){ bc->chip.run_number, coulomb / (double)(t1_ns - t0_ns), t0_ns, t1_ns };
    if (bc->timer == 0)
        bc->timer = sim_at(bc->loop, t0_ns, hand_over, bc);
}

static double on_atb_volt(void *context)
{
    struct bench_chip *bc = context;

    return bc->atb != NULL ? world_volt(bc->world, bc->atb) : 0.0;
}

static void on_changed(void *context)
{
    struct bench_chip *bc = context;

    if (!bc->in_world)
        world_touch(bc->world);
}

static int adelia2_open(const struct chip_setup *setup, void **ret_chip, struct error *err)
{
    struct adelia2_population population;
    struct bench_chip *bc;
    int rc = adelia2_die_population(setup->options, &population, err);

    if (rc < 0)
        return rc;
    bc = calloc(1, sizeof *bc);
    if (bc == NULL)
        return error_set(err, ERR_MEMORY, "simulated chip: out of memory");
    bc->world = setup->world;
    bc->loop = setup->loop;
    for (int rail = 0; rail < A2_RAILS; rail++)
        bc->net[rail] = world_net_find(setup->world, adelia2_rail_name[rail]);
    bc->atb = world_net_find(setup->world, "ATB0");
    adelia2_die_init(&bc->chip, &population, setup->seed, setup->die);
    bc->chip.sink = (struct adelia2_sink){ on_charge, on_atb_volt, on_changed, bc };
    *ret_chip = bc;
    return 0;
}

static void adelia2_close(void *chip)
{
    struct bench_chip *bc = chip;

    if (bc != NULL && bc->timer != 0)
        sim_cancel(bc->loop, bc->timer);
    free(bc);
}

/* Rails settle without a call for every millivolt: look at them whenever it matters. */
static void sense_world(struct bench_chip *bc, int64_t t_ns)
{
    bc->chip.temp_c = world_temperature(bc->world);
    for (int rail = 0; rail < A2_RAILS; rail++)
        if (bc->net[rail] != NULL)
            adelia2_power_rail(&bc->chip, (enum a2_rail)rail, world_volt(bc->world, bc->net[rail]), t_ns);
}

static void adelia2_transfer(void *chip, const uint8_t *mosi, size_t mosi_n, uint8_t *miso, size_t rx_n,
                             int64_t t_start_ns, double hz, int64_t *ret_end_ns)
{
    struct bench_chip *bc = chip;
    double bits = 8.0 * (double)(mosi_n + rx_n);
    int64_t end_ns = t_start_ns + CS_OVERHEAD_NS + (int64_t)(bits / fmax(hz, HZ_MIN) * 1e9);

    sense_world(bc, t_start_ns);
    adelia2_spi(&bc->chip, mosi, mosi_n, miso, rx_n, t_start_ns, end_ns);
    *ret_end_ns = end_ns;
}

static double adelia2_rail_current(void *chip, struct world_net *net, const double *rail_v, double temp_c,
                                   int64_t t_ns)
{
    struct bench_chip *bc = chip;
    double volt[A2_RAILS] = { 0 };
    int wanted = -1;

    (void)t_ns;
    for (int rail = 0; rail < A2_RAILS; rail++)
        if (bc->net[rail] != NULL) {
            volt[rail] = rail_v[world_net_index(bc->net[rail])];
            if (bc->net[rail] == net)
                wanted = rail;
        }
    return wanted < 0 ? 0.0 : adelia2_power_leakage(&bc->chip, (enum a2_rail)wanted, volt, temp_c);
}

static void adelia2_rail_change(void *chip, struct world_net *net, double volt, int64_t t_ns)
{
    struct bench_chip *bc = chip;

    bc->in_world = true;
    adelia2_regs_advance(&bc->chip, t_ns);
    for (int rail = 0; rail < A2_RAILS; rail++)
        if (bc->net[rail] == net)
            adelia2_power_rail(&bc->chip, (enum a2_rail)rail, volt, t_ns);
    bc->in_world = false;
}

static bool adelia2_atb(void *chip, int64_t t_ns, double *ret_volt, double *ret_ohm)
{
    struct bench_chip *bc = chip;

    (void)t_ns;
    return adelia2_power_atb(&bc->chip, ret_volt, ret_ohm);
}

/* IRQ follows DONE where the host has asked for it. */
static bool adelia2_pin(void *chip, const char *name, int64_t t_ns, bool *ret_level)
{
    struct bench_chip *bc = chip;

    if (strcmp(name, "IRQ") != 0)
        return false;
    bc->in_world = true;
    adelia2_regs_advance(&bc->chip, t_ns);
    bc->in_world = false;
    *ret_level = bc->chip.logic_on && !bc->chip.damaged && bc->chip.done && (bc->chip.irqen & 1);
    return true;
}

static void adelia2_damage(void *chip, const char *why, int64_t t_ns)
{
    struct bench_chip *bc = chip;

    (void)why;
    bc->in_world = true;
    adelia2_regs_stop(&bc->chip, 0, t_ns);
    bc->chip.damaged = true;
    bc->in_world = false;
}

/* ---- Ground truth ---- */

static void add_rails(cJSON *object, const char *key, const double *value)
{
    cJSON *rails = cJSON_AddObjectToObject(object, key);

    for (int rail = 0; rails != NULL && rail < A2_RAILS; rail++)
        json_add_number(rails, adelia2_rail_name[rail], value[rail]);
}

static void add_converters(cJSON *object, const struct adelia2 *chip)
{
    cJSON *units = cJSON_AddArrayToObject(object, "adc");

    for (int i = 0; units != NULL && i < A2_APUS; i++) {
        cJSON *unit = cJSON_CreateArray();

        cJSON_AddItemToArray(units, unit);
        for (int n = 0; unit != NULL && n < A2_ADCS; n++) {
            const struct adelia2_adc *adc = &chip->die.adc[i][n];
            cJSON *item = cJSON_CreateObject();

            cJSON_AddItemToArray(unit, item);
            json_add_number(item, "offset_lsb10",
                            adc->offset_lsb + adc->drift_lsb_per_c * (chip->temp_c - A2_T_NOM_C));
            json_add_number(item, "gain", adc->gain);
            json_add_number(item, "bow2_lsb10", adc->bow2_lsb);
            json_add_number(item, "bow3_lsb10", adc->bow3_lsb);
        }
    }
}

static cJSON *adelia2_truth(void *chip, int64_t t_ns)
{
    struct bench_chip *bc = chip;
    const struct adelia2 *c = &bc->chip;
    cJSON *root = cJSON_CreateObject();

    if (root == NULL)
        return NULL;
    adelia2_regs_advance(&bc->chip, t_ns);
    cJSON_AddStringToObject(root, "model", "adelia2");
    json_add_number(root, "die", c->die.number);
    json_add_number(root, "temp_c", c->temp_c);
    cJSON_AddBoolToObject(root, "damaged", c->damaged);
    cJSON_AddBoolToObject(root, "running", c->run.active);
    json_add_number(root, "fmax_hz", adelia2_power_fmax(c));
    json_add_number(root, "vmin_100mhz_v", adelia2_power_vmin(c, A2_CLOCK_HZ));
    json_add_number(root, "bandgap_v", c->die.bandgap_v);
    json_add_int64(root, "spi_frames", (int64_t)c->spi_frames);
    json_add_int64(root, "spi_errors", (int64_t)c->spi_errors);
    json_add_int64(root, "runs", (int64_t)c->run_number);
    add_rails(root, "rail_v", c->rail_v);
    add_rails(root, "dynamic_energy_j", c->energy_j);
    add_rails(root, "last_run_energy_j", c->run_energy_j);
    json_add_int64(root, "last_run_start_ns", c->run.start_ns);
    json_add_int64(root, "last_run_end_ns", c->run.end_ns == CLOCK_NEVER ? -1 : c->run.end_ns);
    add_converters(root, c);
    return root;
}

const struct chip_model chip_adelia2_model = {
    .name = "adelia2",
    .open = adelia2_open,
    .close = adelia2_close,
    .spi = adelia2_transfer,
    .rail_current = adelia2_rail_current,
    .on_rail_change = adelia2_rail_change,
    .atb_drive = adelia2_atb,
    .pin = adelia2_pin,
    .on_damage = adelia2_damage,
    .ground_truth = adelia2_truth,
};
