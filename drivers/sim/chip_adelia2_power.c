/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chip_adelia2_power: what the simulated die draws, how fast it is, when it forgets, and what it puts on its
 * test bus. Energy per event is the table of docs/chip-adelia2.md; leakage, speed and bias currents are ours,
 * chosen to be what bench supplies and source-measure units can read. */
#include "drivers/sim/chip_adelia2.h"

#include <math.h>

#define BOLTZMANN_V 8.617333e-5 /* k/q, V per kelvin */
#define KELVIN      273.15

/* Energy per event at 0.80 V (pads: 1.8 V). */
#define E_CELL_J       1.48e-15
#define E_CONVERSION_J 0.38e-12
#define E_DIGITAL_J    2.05e-12
#define E_DMEM_J       0.9e-12
#define E_SPI_J        60e-12
#define VDDIO_NOM_V    1.8

/* Subthreshold leakage I0 (T/T0)^2 exp((g B + d (V - V0) - Vt(T)) / (n kT/q)), relative to nominal. */
#define LEAK_VT_V  0.35
#define LEAK_VT_TC 0.7e-3 /* V per kelvin */
#define LEAK_BODY  0.085  /* V of threshold per V of body bias */
#define LEAK_DIBL  0.1
#define LEAK_N     1.3

/* Speed: F = K (V - Vt)^alpha / V. */
#define SPEED_ALPHA   1.3
#define SPEED_T_POWER (-1.2) /* mobility */
#define TIMING_SIGMA  0.01   /* spread of path delays */
#define TIMING_KNEE   0.05   /* F_max is five sigma above the middle of the paths */
#define TIMING_HANG   0.15   /* this far above F_max the sequencer itself fails */

enum { POWER_BISECTIONS = 40 };

#define V_RESET_V     0.55
#define V_RETENTION_V 0.50

/* Static current at nominal conditions. */
static const double static_a[A2_RAILS] = {
    [A2_VDDIO] = 5e-6,   [A2_VDDD] = 60e-6, [A2_VDDM] = 80e-6, [A2_VDDA] = 20e-6,
    [A2_VDDADC] = 25e-6, [A2_VREF] = 8e-6,  [A2_VBN] = 0.3e-6, [A2_VBP] = 0.3e-6,
};
static const double nominal_v[A2_RAILS] = {
    [A2_VDDIO] = 1.8,  [A2_VDDD] = 0.8, [A2_VDDM] = 0.8, [A2_VDDA] = 0.8,
    [A2_VDDADC] = 0.8, [A2_VREF] = 0.6, [A2_VBN] = 1.0,  [A2_VBP] = 1.0,
};
#define BIAS_APU_A    2e-6  /* VDDA, per powered unit */
#define BIAS_ADCREF_A 30e-6 /* VDDADC */
#define BIAS_PGA_A    20e-6 /* VDDA */
/* Protection diode of a pin, from ground to rail (VBP: from rail to ground): 0.1 mA at 0.6 V. */
#define DIODE_A     4e-13
#define DIODE_V     0.031
#define DIODE_MAX_V 0.9  /* beyond, its resistance rules; the law is cut there */
#define DAMAGED_OHM 60.0 /* VDDIO to ground, after damage */

static bool is_core(enum a2_rail rail)
{
    return rail == A2_VDDD || rail == A2_VDDM || rail == A2_VDDA || rail == A2_VDDADC;
}

/* Forward body bias, the mean of both wells. */
static double body_v(const double *rail_v)
{
    return (rail_v[A2_VBN] - rail_v[A2_VBP]) / 2;
}

static double core_leakage(double nominal_a, double volt, double body, double temp_c)
{
    double t = temp_c + KELVIN, t0 = A2_T_NOM_C + KELVIN;
    double vt =
        LEAK_VT_V - LEAK_VT_TC * (temp_c - A2_T_NOM_C) - LEAK_BODY * body - LEAK_DIBL * (volt - A2_VDD_NOM_V);
    double exponent = LEAK_VT_V / (LEAK_N * BOLTZMANN_V * t0) - vt / (LEAK_N * BOLTZMANN_V * t);

    /* The last factor is the drain's: no volts, no current. */
    return nominal_a * pow(t / t0, 2) * exp(exponent) * (1.0 - exp(-volt / (BOLTZMANN_V * t)));
}

static double diode_current(double reverse_v)
{
    double volt = reverse_v < DIODE_MAX_V ? reverse_v : DIODE_MAX_V;

    return volt > 0 ? DIODE_A * (exp(volt / DIODE_V) - 1.0) : 0.0;
}

double adelia2_power_leakage(const struct adelia2 *chip, enum a2_rail rail, const double *rail_v,
                             double temp_c)
{
    double volt = rail_v[rail], current;

    if (chip->damaged && rail == A2_VDDIO)
        return volt / DAMAGED_OHM;
    if (rail == A2_VBP && volt > 0)
        return diode_current(volt);
    if (rail != A2_VBP && volt < 0)
        return -diode_current(-volt);
    if (!is_core(rail))
        return static_a[rail] * chip->die.leak_factor[rail] * volt / nominal_v[rail];
    current = core_leakage(static_a[rail] * chip->die.leak_factor[rail], volt, body_v(rail_v), temp_c);
    if (rail == A2_VDDA)
        current += (BIAS_APU_A * __builtin_popcount(chip->pwren & 0x3F) +
                    ((chip->pwren & 1u << 9) != 0 ? BIAS_PGA_A : 0)) *
                   volt / A2_VDD_NOM_V;
    if (rail == A2_VDDADC && (chip->pwren & 1u << 8) != 0)
        current += BIAS_ADCREF_A * volt / A2_VDD_NOM_V;
    return current;
}

/* ---- Speed ---- */

static double fmax_at(const struct adelia2 *chip, double volt)
{
    double vt = chip->die.vt_v - LEAK_VT_TC * (chip->temp_c - A2_T_NOM_C) - LEAK_BODY * body_v(chip->rail_v);
    double mobility = pow((chip->temp_c + KELVIN) / (A2_T_NOM_C + KELVIN), SPEED_T_POWER);

    if (volt <= vt)
        return 0;
    return chip->die.speed_hz * mobility * pow(volt - vt, SPEED_ALPHA) / volt;
}

/* Logic and memories share the critical path: the lower rail decides. */
double adelia2_power_fmax(const struct adelia2 *chip)
{
    return fmax_at(chip, fmin(chip->rail_v[A2_VDDD], chip->rail_v[A2_VDDM]));
}

double adelia2_power_vmin(const struct adelia2 *chip, double clock_hz)
{
    double low = 0.0, high = 1.2;

    for (int i = 0; i < POWER_BISECTIONS; i++) {
        double middle = (low + high) / 2;

        if (fmax_at(chip, middle) >= clock_hz)
            high = middle;
        else
            low = middle;
    }
    return high;
}

double adelia2_power_timing_error(const struct adelia2 *chip, double clock_hz)
{
    double margin = adelia2_power_fmax(chip) / clock_hz - 1.0;

    if (!chip->population.timing || margin >= 0)
        return 0;
    if (margin < -TIMING_HANG)
        return -1;
    return 0.5 * erfc((margin + TIMING_KNEE) / (TIMING_SIGMA * sqrt(2.0)));
}

/* ---- Power states ---- */

bool adelia2_power_low(const struct adelia2 *chip)
{
    for (int rail = 0; rail < A2_RAILS; rail++)
        if (is_core((enum a2_rail)rail) && chip->rail_v[rail] < V_RESET_V)
            return true;
    return false;
}

void adelia2_power_rail(struct adelia2 *chip, enum a2_rail rail, double volt, int64_t now_ns)
{
    chip->rail_v[rail] = volt;
    if (rail == A2_VDDM) {
        bool kept = volt >= V_RETENTION_V;

        if (chip->memory_kept && !kept) {
            adelia2_regs_stop(chip, chip->pwren != 0 ? A2_ERR_UVLO : 0, now_ns);
            adelia2_die_scramble(chip);
        }
        chip->memory_kept = kept;
    }
    if (rail == A2_VDDD) {
        bool on = volt > V_RESET_V;

        if (on != chip->logic_on) { /* dead below, freshly reset above */
            chip->logic_on = on;
            adelia2_regs_reset(chip);
        }
    }
    if (chip->logic_on && chip->pwren != 0 && adelia2_power_low(chip)) {
        adelia2_regs_stop(chip, A2_ERR_UVLO, now_ns);
        chip->err |= A2_ERR_UVLO;
    }
}

/* ---- Energy ---- */

static void spend(struct adelia2 *chip, enum a2_rail rail, double nominal_j, double nominal, int64_t t0_ns,
                  int64_t t1_ns)
{
    double volt = chip->rail_v[rail];
    double energy = nominal_j * (volt / nominal) * (volt / nominal);

    chip->energy_j[rail] += energy;
    chip->run_energy_j[rail] += energy;
    if (chip->sink.charge != NULL && volt > 0 && energy > 0)
        chip->sink.charge(chip->sink.context, rail, energy / volt, t0_ns, t1_ns);
}

void adelia2_power_spend(struct adelia2 *chip, int64_t t0_ns, int64_t t1_ns, double repeats)
{
    const struct adelia2_events *events = &chip->events;

    for (int rail = 0; rail < A2_RAILS; rail++)
        chip->run_energy_j[rail] = 0;
    spend(chip, A2_VDDA, E_CELL_J * events->cells * repeats, A2_VDD_NOM_V, t0_ns, t1_ns);
    spend(chip, A2_VDDADC, E_CONVERSION_J * events->conversions_9b * repeats, A2_VDD_NOM_V, t0_ns, t1_ns);
    spend(chip, A2_VDDD, E_DIGITAL_J * events->digital * repeats, A2_VDD_NOM_V, t0_ns, t1_ns);
    spend(chip, A2_VDDM, E_DMEM_J * events->dmem_bytes * repeats, A2_VDD_NOM_V, t0_ns, t1_ns);
}

void adelia2_power_refund(struct adelia2 *chip, double share)
{
    for (int rail = 0; rail < A2_RAILS; rail++) {
        chip->energy_j[rail] -= share * chip->run_energy_j[rail];
        chip->run_energy_j[rail] *= 1.0 - share;
    }
}

void adelia2_power_spi(struct adelia2 *chip, size_t bytes, int64_t t0_ns, int64_t t1_ns)
{
    double before = chip->run_energy_j[A2_VDDIO];

    spend(chip, A2_VDDIO, E_SPI_J * (double)bytes, VDDIO_NOM_V, t0_ns, t1_ns);
    chip->run_energy_j[A2_VDDIO] = before; /* a transfer is no part of a run */
}

/* ---- Test bus and sensor ---- */

enum {
    MUX_OFF = 0,
    MUX_VREF = 1,
    MUX_VCM = 2,
    MUX_BANDGAP = 3,
    MUX_PTAT = 4,
    MUX_PGA = 56,
    MUX_VDDA = 57,
    MUX_VDDADC = 58
};
#define SWITCH_OHM   1000.0 /* of the multiplexer */
#define BANDGAP_OHM  5000.0
#define PTAT_OHM     5000.0
#define PTAT_V_PER_K 1e-3

bool adelia2_power_atb(const struct adelia2 *chip, double *ret_volt, double *ret_ohm)
{
    const double *v = chip->rail_v;
    bool biased = v[A2_VDDA] > V_RESET_V;
    double volt, ohm = SWITCH_OHM;

    if (!chip->logic_on || chip->damaged || (chip->testmux & 1u << 16) != 0)
        return false;
    switch (chip->testmux & 0x3F) {
    case MUX_VREF:
        volt = v[A2_VREF];
        break;
    case MUX_VCM:
    case MUX_PGA: /* between runs the stage rests at mid-scale */
        volt = v[A2_VREF] / 2;
        break;
    case MUX_BANDGAP:
        volt = biased ? chip->die.bandgap_v : 0;
        ohm = BANDGAP_OHM;
        break;
    case MUX_PTAT:
        volt = biased ? PTAT_V_PER_K * (chip->temp_c + KELVIN + chip->die.ptat_error_c) : 0;
        ohm = PTAT_OHM;
        break;
    case MUX_VDDA:
        volt = v[A2_VDDA];
        break;
    case MUX_VDDADC:
        volt = v[A2_VDDADC];
        break;
    default:
        return false;
    }
    *ret_volt = volt;
    *ret_ohm = ohm;
    return true;
}

int adelia2_power_sensor(const struct adelia2 *chip)
{
    long tenths = lround((chip->temp_c + chip->die.sensor_error_c) * 10.0);

    return (int)(tenths < -2048 ? -2048 : tenths > 2047 ? 2047 : tenths);
}
