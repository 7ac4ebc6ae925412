/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_calibrate: every converter of every core against the bench source on the test bus. The meter reads
 * each applied voltage once; all converters convert it; trims are written, read back and verified; every
 * converter's result is stored under its calibration key with the points behind it. Whatever happens, the
 * source goes off and the test bus is released at the end. */
#include "sweeps/calibrate_record.h"
#include "sweeps/cost.h"
#include "sweeps/plan_check.h"
#include "sweeps/runner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AVERAGE_MAX = 1023, ROUNDS_MAX = 8 };
#define GAIN_LEAST          0.5   /* a converter below this, or above its inverse, is dead and not off */
#define APPLIED_TOLERANCE_V 0.010 /* how far the meter may find the source from what it was set to */
#define SOURCE_LIMIT_A      0.001
#define SOURCE_SETTLE_S     0.005
#define METER_NPLC          10.0
#define METER_RANGE_V       1.0

static const double default_levels[] = { -0.8, 0.0, 0.8 };

static void parse(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    struct step_calibrate *calibrate = &step->u.calibrate;
    struct json_at levels = json_member(at, "levels", false);

    (void)campaign;
    calibrate->adc = (struct adc_config){ .bits = 10, .gain = 1 };
    step_adc(at, "adc", false, &calibrate->adc);
    calibrate->level_count = 3;
    memcpy(calibrate->level, default_levels, sizeof default_levels);
    if (levels.node != NULL)
        calibrate->level_count = json_doubles(at, "levels", true, calibrate->level, CAMPAIGN_LEVELS_MAX);
    for (int i = 0; i < calibrate->level_count; i++) {
        if (fabs(calibrate->level[i]) > 0.95)
            json_problem(&levels, "-0.95 to 0.95", "level %g of full scale would clip", calibrate->level[i]);
    }
    if (calibrate->level_count < 2)
        json_problem(&levels, "", "a line needs at least two levels");
    calibrate->average = (int)json_integer(at, "average", false, 16, AVERAGE_MAX, 256);
    calibrate->rounds = (int)json_integer(at, "rounds", false, 1, ROUNDS_MAX, 2);
    calibrate->residual_lsb = json_double(at, "residual_lsb", false, 0.01, 10.0, 0.1);
    calibrate->validity_s = json_double(at, "validity_s", false, 1.0, 1e9, 7.0 * 86400.0);
}

static double round_s(const struct plan_state *state, const struct step_calibrate *calibrate)
{
    const struct chip_profile *profile = state->inputs->profile;
    const struct bench_file *bench = state->inputs->bench;
    double read_s = bench->meter_channel >= 0 ? bench->channel[bench->meter_channel].measure_s : 0.0;
    double settle_s = bench->source_channel >= 0 ? bench->channel[bench->source_channel].settle_s : 0.0;
    double convert_s = (double)calibrate->average * profile->cycles.extin / cost_core_hz(profile);
    int voltages = calibrate->level_count * CALIBRATE_DITHER;
    int converters = profile->cores.count * profile->cores.converters;

    return voltages * (COST_SETTING_S + fmax(settle_s, SOURCE_SETTLE_S) + read_s +
                       converters * (convert_s + 4.0 * COST_EXCHANGE_S)) +
           converters * 4.0 * COST_EXCHANGE_S;
}

/* The source's voltages, as far as they can be known before the chip's own references have been measured:
 * full scale is the planned reference rail, its middle is half of that. */
static void list_source(const struct plan_state *state, const struct campaign_step *step)
{
    const struct step_calibrate *calibrate = &step->u.calibrate;
    const struct chip_profile *profile = state->inputs->profile;
    const struct bench_file *bench = state->inputs->bench;
    const struct bench_channel *source = &bench->channel[bench->source_channel];
    struct plan_setpoint setpoint = { .step = state->step,
                                      .min_v = source->volt_min_v,
                                      .max_v = source->volt_max_v,
                                      .limit_a = SOURCE_LIMIT_A };
    double reference_v = 0.0;

    for (int i = 0; i < profile->rail_count; i++) {
        if (profile->rail[i].role == PROFILE_ROLE_REFERENCE)
            reference_v = fmax(reference_v, state->rail_v[i]);
    }
    snprintf(setpoint.rail, sizeof setpoint.rail, "%s", source->name);
    for (int i = 0; i < calibrate->level_count * CALIBRATE_DITHER && reference_v > 0.0; i++) {
        setpoint.volt_v = calibrate_volt(reference_v / 2.0, reference_v, calibrate->adc.bits,
                                         calibrate->level[i / CALIBRATE_DITHER], i % CALIBRATE_DITHER);
        plan_list_setpoint(state, &setpoint);
        if (setpoint.volt_v < setpoint.min_v || setpoint.volt_v > setpoint.max_v)
            step_problem(state, step->pointer, "levels nearer to 0",
                         "%s would be set to %.4g V; it gives %.4g to %.4g V", source->name, setpoint.volt_v,
                         setpoint.min_v, setpoint.max_v);
    }
}

static void plan(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    const struct step_calibrate *calibrate = &step->u.calibrate;
    const struct chip_profile *profile = state->inputs->profile;
    const struct bench_file *bench = state->inputs->bench;
    int converters = profile->cores.count * profile->cores.converters;

    step_check_adc(state, step, &calibrate->adc);
    if (bench->source_channel < 0 || bench->meter_channel < 0)
        step_problem(state, step->pointer, "\"test_bus\" with source and meter in the bench file",
                     "%s has no source and meter on the test bus", bench->name);
    else
        list_source(state, step);
    if (profile_trim_index(profile, "offset") < 0 || profile_trim_index(profile, "gain") < 0 ||
        converters == 0)
        step_problem(state, step->pointer, "", "%s has no converters with offset and gain trims",
                     profile->type);
    /* Every round and the verification after the last; usually one round is enough. */
    cost->seconds += 2.0 * round_s(state, calibrate) + 10.0 * COST_SETTING_S;
    cost->bytes += converters * (2.0 * COST_READING_BYTES + 60.0 * calibrate->level_count * CALIBRATE_DITHER);
}

/* ---- Execution ---- */

static void read_trims(struct calibration *cal)
{
    const struct chip_profile *profile = cal->run->profile;
    const struct profile_trim *offset = &profile->trim[profile_trim_index(profile, "offset")];
    const struct profile_trim *gain = &profile->trim[profile_trim_index(profile, "gain")];

    /* The offset trim acts at the converter: its step is stated at 10 bit. */
    cal->trims.offset_step_lsb = offset->step * ldexp(1.0, cal->step->adc.bits - 10);
    cal->trims.offset_min = offset->is_signed ? -(1 << (offset->width - 1)) : 0;
    cal->trims.offset_max = offset->is_signed ? (1 << (offset->width - 1)) - 1 : (1 << offset->width) - 1;
    cal->trims.gain_step = gain->step;
    cal->trims.gain_neutral = gain->neutral;
    cal->trims.gain_min = gain->is_signed ? -(1 << (gain->width - 1)) : 0;
    cal->trims.gain_max = gain->is_signed ? (1 << (gain->width - 1)) - 1 : (1 << gain->width) - 1;
}

static int read_meter(struct calibration *cal, const char *channel, struct reading *ret_reading,
                      struct error *err)
{
    struct bench_read read = { .channel = cal->meter, .quantity = QUANTITY_VOLTAGE };

    int rc = bench_read_many(cal->run->context->client, &read, 1, err);
    if (rc < 0)
        return rc;
    *ret_reading = read.reading;
    return channel == NULL
               ? 0
               : runner_reading(cal->run, cal->point, channel, cal->meter->name, &read.reading, err);
}

/* What the converters refer to, read at the chip itself through the test mux. */
static int read_references(struct calibration *cal, struct error *err)
{
    struct reading reading;

    int rc = chip_testmux(cal->run->chip, "VREF", "off", false, err);
    if (rc == 0)
        rc = runner_wait(cal->run, SOURCE_SETTLE_S, err);
    if (rc == 0)
        rc = read_meter(cal, "test_bus.vref", &reading, err);
    if (rc < 0)
        return rc;
    cal->reference_v = reading.value;
    cal->u_reference_v = reading.uncertainty;

    rc = chip_testmux(cal->run->chip, "VCM", "off", false, err);
    if (rc == 0)
        rc = runner_wait(cal->run, SOURCE_SETTLE_S, err);
    if (rc == 0)
        rc = read_meter(cal, "test_bus.vcm", &reading, err);
    if (rc < 0)
        return rc;
    cal->middle_v = reading.value;
    cal->u_middle_v = reading.uncertainty;
    if (!(cal->reference_v > 0.05) || !(cal->middle_v > 0.01))
        return error_set(err, ERR_RANGE,
                         "the test bus shows VREF %.4f V and VCM %.4f V: no converter can be calibrated",
                         cal->reference_v, cal->middle_v);
    return 0;
}

static int convert_all(struct calibration *cal, int index, double level, const struct reading *applied,
                       struct error *err)
{
    const struct adc_config *adc = &cal->step->adc;
    double ideal = calibrate_ideal(applied->value, cal->middle_v, cal->reference_v, adc->bits, adc->gain);
    double per_volt = ldexp(1.0, adc->bits) * adc->gain / cal->reference_v;
    double u_ideal = hypot(applied->uncertainty, cal->u_middle_v) * per_volt;

    for (int core = 0; core < cal->cores; core++) {
        for (int n = 0; n < cal->converters; n++) {
            struct chip_conversions got;
            int rc = chip_extin(cal->run->chip, core, n, cal->step->average, &got, err);
            if (rc < 0)
                return rc;
            double mean = (double)got.sum / got.count;
            double variance = fmax(0.0, (double)got.sum_squares / got.count - mean * mean);
            cal->raw[core][n][index] = (struct calibrate_point){ .level = level,
                                                                 .ideal = ideal,
                                                                 .mean = mean,
                                                                 .u_mean = sqrt(variance / got.count),
                                                                 .u_ideal = u_ideal };
        }
    }
    return 0;
}

/* Source and meter tell of the same voltage. Where they do not agree the meter is asked once more: one wrong
 * digit in one of a dozen points would pass as a converter's gain. */
static int read_applied(struct calibration *cal, double volt_v, struct reading *ret_reading,
                        struct error *err)
{
    struct reading applied = { .value = NAN };

    for (int i = 0; i < 2; i++) {
        int rc = read_meter(cal, NULL, &applied, err);
        if (rc < 0)
            return rc;
        if (fabs(applied.value - volt_v) <= APPLIED_TOLERANCE_V) {
            *ret_reading = applied;
            return 0;
        }
    }
    return error_set(err, ERR_MISMATCH, "%s was set to %.6g V and %s reads %.6g V", cal->source->name, volt_v,
                     cal->meter->name, applied.value);
}
static int measure_round(struct calibration *cal, struct error *err)
{
    struct bench_client *client = cal->run->context->client;
    double settle_s = fmax(cal->source->settle_s, SOURCE_SETTLE_S);
    int index = 0;

    for (int i = 0; i < cal->step->level_count; i++) {
        for (int phase = 0; phase < CALIBRATE_DITHER; phase++, index++) {
            double volt_v = calibrate_volt(cal->middle_v, cal->reference_v, cal->step->adc.bits,
                                           cal->step->level[i], phase);
            struct reading applied = { .value = NAN };
            int rc = runner_go_on(cal->run, err);
            if (rc == 0)
                rc = psu_set_voltage(client, cal->source, volt_v, err);
            if (rc == 0)
                rc = runner_wait(cal->run, settle_s, err);
            if (rc == 0)
                rc = read_applied(cal, volt_v, &applied, err);
            if (rc == 0)
                rc = convert_all(cal, index, cal->step->level[i], &applied, err);
            if (rc < 0)
                return rc;
            cal->volt_v[index] = applied.value;
        }
    }
    cal->voltages = index;
    for (int core = 0; core < cal->cores; core++) {
        for (int n = 0; n < cal->converters; n++) {
            if (!calibrate_fit(cal->raw[core][n], index, cal->u_reference_v / cal->reference_v,
                               &cal->fit[core][n]))
                return error_set(err, ERR_RANGE,
                                 "the applied voltages do not span a line: is the source connected?");
            double gain = cal->fit[core][n].gain;
            if (!(gain > GAIN_LEAST && gain < 1.0 / GAIN_LEAST))
                return error_set(err, ERR_MISMATCH,
                                 "converter %d.%d follows what is applied with a gain of %.3g: no trim mends "
                                 "that; has it its supplies?",
                                 core, n, gain);
        }
    }
    return 0;
}

/* A meter that cannot decide is refused before anything is trimmed by it. */
static int check_meter(const struct calibration *cal, struct error *err)
{
    for (int core = 0; core < cal->cores; core++) {
        for (int n = 0; n < cal->converters; n++) {
            const struct calibrate_fit *fit = &cal->fit[core][n];
            if (calibrate_judge(fit, cal->step->residual_lsb) != CALIBRATE_UNDECIDED)
                continue;
            if (isnan(fit->u_offset_lsb))
                return error_set(err, ERR_INVALID,
                                 "%s states no uncertainty: nothing can be calibrated by it",
                                 cal->meter->name);
            return error_set(err, ERR_INVALID,
                             "converter %d.%d: U (k = 2) by %s is %.3g LSB, more than the limit of %.3g LSB: "
                             "it cannot decide (more \"average\", a better meter, or a larger "
                             "\"residual_lsb\")",
                             core, n, cal->meter->name, 2.0 * fit->u_offset_lsb, cal->step->residual_lsb);
        }
    }
    return 0;
}

static int correct_all(struct calibration *cal, struct error *err)
{
    struct run_calibration *trims = &cal->run->calibration;

    for (int core = 0; core < cal->cores; core++) {
        for (int n = 0; n < cal->converters; n++) {
            struct calibrate_codes now = { .offset = trims->offset[core][n], .gain = trims->gain[core][n] };
            struct calibrate_codes codes = calibrate_correct(&cal->fit[core][n], &cal->trims, &now);
            trims->offset[core][n] = codes.offset;
            trims->gain[core][n] = codes.gain;
            cal->clipped[core][n] = codes.clipped;
        }
    }
    return runner_write_trims(cal->run, err);
}

static int start_from_neutral(struct calibration *cal, struct error *err)
{
    struct run_calibration *trims = &cal->run->calibration;

    if (trims->valid)
        return 0; /* goes on from the trims in force */
    for (int core = 0; core < cal->cores; core++) {
        for (int n = 0; n < cal->converters; n++) {
            trims->offset[core][n] = 0;
            trims->gain[core][n] = cal->trims.gain_neutral;
        }
    }
    return runner_write_trims(cal->run, err);
}

static int trim_rounds(struct calibration *cal, struct error *err)
{
    int rc = start_from_neutral(cal, err);

    if (rc == 0)
        rc = measure_round(cal, err);
    if (rc == 0)
        rc = check_meter(cal, err);
    if (rc == 0)
        memcpy(cal->first, cal->fit, sizeof cal->first);
    for (int round = 0; round < cal->step->rounds && rc == 0; round++) {
        rc = correct_all(cal, err);
        if (rc == 0)
            rc = measure_round(cal, err);
        if (rc == 0 && calibrate_failed(cal) == 0)
            break;
    }
    return rc;
}

static int prepare(struct calibration *cal, struct error *err)
{
    struct bench_client *client = cal->run->context->client;
    uint32_t all_cores = (1u << cal->cores) - 1u;

    int rc = chip_power(cal->run->chip, all_cores, true, cal->step->adc.gain > 1, err);
    if (rc == 0)
        rc = chip_adc(cal->run->chip, &cal->step->adc, err);
    if (rc == 0)
        rc = chip_temperature(cal->run->chip, &cal->temperature_c, err);
    if (rc == 0)
        rc = dmm_configure(client, cal->meter, METER_RANGE_V, METER_NPLC, err);
    if (rc == 0)
        rc = read_references(cal, err);
    if (rc == 0)
        rc = chip_testmux(cal->run->chip, "off", "off", true, err);
    if (rc == 0)
        rc = psu_set_current_limit(client, cal->source, SOURCE_LIMIT_A, err);
    if (rc == 0)
        rc = psu_set_voltage(client, cal->source, cal->middle_v, err);
    if (rc == 0)
        rc = psu_output(client, cal->source, true, err);
    return rc;
}

/* Source off first, then the chip's test bus; always both. The network's setting comes back with the next
 * load. */
static int release(struct calibration *cal, struct error *err)
{
    struct error second = { 0 };
    int rc = psu_output(cal->run->context->client, cal->source, false, err);
    int mux = chip_testmux(cal->run->chip, "off", "off", false, &second);

    cal->run->chip_loaded = false;
    if (rc == 0 && mux < 0) {
        rc = mux;
        if (err != NULL)
            *err = second;
    }
    return rc;
}

static int execute(struct run *run, struct run_point *point, struct error *err)
{
    struct bench *bench = run->context->bench;
    const struct bench_file *file = bench_file_of(bench);
    struct calibration *cal = calloc(1, sizeof *cal);
    struct error release_err = { 0 };

    if (cal == NULL)
        return error_set(err, ERR_MEMORY, "no memory for a calibration");
    cal->run = run;
    cal->point = point;
    cal->step = &point->what->u.calibrate;
    cal->source = &file->channel[file->source_channel];
    cal->meter = &file->channel[file->meter_channel];
    cal->cores = run->profile->cores.count;
    cal->converters = run->profile->cores.converters;
    read_trims(cal);

    int rc = prepare(cal, err);
    if (rc == 0)
        rc = trim_rounds(cal, err);
    int released = release(cal, rc == 0 ? err : &release_err);
    if (rc == 0)
        rc = released;
    if (rc == 0)
        rc = calibrate_record(cal, err);
    if (rc == 0) {
        run->calibration.valid = true;
        run->calibration.time_ns = runner_now(run);
        run->calibration.validity_s = cal->step->validity_s;
        run->calibration.temperature_c = cal->temperature_c;
        run->calibration.adc = cal->step->adc;
        memcpy(run->calibration.rail_v, run->power.set_v, sizeof run->calibration.rail_v);
        point->verdict = calibrate_failed(cal) == 0 ? VERDICT_PASS : VERDICT_FAIL;
    }
    if (rc == 0 && run->network >= 0)
        rc = runner_load_again(run, err);
    free(cal);
    return rc;
}

static const char *const keys[] = {
    "levels", "adc", "average", "rounds", "residual_lsb", "validity_s", NULL
};
const struct step_type step_calibrate_type = {
    .name = "calibrate",
    .restore = calibrate_restore,
    .needs = STEP_NEEDS_POWER | STEP_NEEDS_CHIP,
    .makes_point = true,
    .keys = keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
};
