/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * calibrate_record: rows out, trims in. */
#include "sweeps/calibrate_record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"

enum { FAILED_TEXT = 400 };
/* Places in the list of coefficients that are read back when a run is resumed; docs/names.md has them all. */
enum { COEFFICIENT_OFFSET_TRIM = 2, COEFFICIENT_GAIN_TRIM = 3, COEFFICIENTS = 8 };
#define CALIBRATION_KIND "adc_trim"

static bool within(const struct calibration *cal, int core, int n)
{
    return calibrate_judge(&cal->fit[core][n], cal->step->residual_lsb) == CALIBRATE_WITHIN;
}

int calibrate_failed(const struct calibration *cal)
{
    int failed = 0;

    for (int core = 0; core < cal->cores; core++) {
        for (int n = 0; n < cal->converters; n++)
            failed += !within(cal, core, n);
    }
    return failed;
}

static char *raw_text(const struct calibration *cal, int core, int n)
{
    struct strbuf out = { 0 };

    strbuf_add(&out,
               "{\"columns\":[\"level\",\"volt_v\",\"ideal_lsb\",\"mean_lsb\",\"u_mean_lsb\"],\"as_found\":{"
               "\"offset_lsb\":"
               "%.6g,\"gain\":%.8g},\"clipped\":%s,\"points\":[",
               cal->first[core][n].offset_lsb, cal->first[core][n].gain,
               cal->clipped[core][n] ? "true" : "false");
    for (int i = 0; i < cal->voltages; i++) {
        const struct calibrate_point *point = &cal->raw[core][n][i];
        strbuf_add(&out, "%s[%.6g,%.8g,%.8g,%.8g,%.3g]", i ? "," : "", point->level, cal->volt_v[i],
                   point->ideal, point->mean, point->u_mean);
    }
    strbuf_add(&out, "]}");
    if (out.failed) {
        strbuf_free(&out);
        return NULL;
    }
    return out.text;
}

/* die / core / converter / bits / gain / supply / temperature / chip revision / algorithm */
static void key_text(const struct calibration *cal, int core, int n, char *out, size_t size)
{
    int supply = profile_rail_index(cal->run->profile, "VDDADC");

    snprintf(out, size, "die=%s/core=%d/adc=%d/bits=%d/gain=%d/supply=%.3f/temp=%.0f/rev=%u/alg=%d",
             cal->run->identity.serial, core, n, cal->step->adc.bits, cal->step->adc.gain,
             supply >= 0 ? cal->run->power.set_v[supply] : 0.0, cal->temperature_c,
             cal->run->identity.revision, CALIBRATE_ALGORITHM);
}

static int store_one(struct calibration *cal, int core, int n, int64_t *ret_id, struct error *err)
{
    const struct calibrate_fit *fit = &cal->fit[core][n];
    const struct run_calibration *trims = &cal->run->calibration;
    double coefficient[COEFFICIENTS] = { cal->first[core][n].offset_lsb,
                                         cal->first[core][n].gain,
                                         trims->offset[core][n],
                                         trims->gain[core][n],
                                         fit->offset_lsb,
                                         fit->u_offset_lsb,
                                         fit->gain,
                                         fit->u_gain };
    char key[RECORD_TEXT_MAX], chain[RECORD_TEXT_MAX], channel[RECORD_NAME_MAX];
    char *raw = raw_text(cal, core, n);

    if (raw == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the points of a calibration");
    key_text(cal, core, n, key, sizeof key);
    snprintf(chain, sizeof chain, "%s > %s", cal->source->name, cal->meter->name);
    struct record_calibration record = { .key = key,
                                         .kind = CALIBRATION_KIND,
                                         .instrument_chain = chain,
                                         .coefficient = coefficient,
                                         .coefficient_count = COEFFICIENTS,
                                         .raw_json = raw,
                                         .validity_s = cal->step->validity_s,
                                         .time_ns = runner_now(cal->run) };
    int rc = cal->run->sink->calibration(cal->run->sink->context, &record, ret_id, err);
    free(raw);
    if (rc < 0)
        return rc;
    snprintf(channel, sizeof channel, "adc.%d.%d.residual_offset", core, n);
    return runner_value(cal->run, cal->point, channel, UNIT_LSB, fit->offset_lsb, fit->u_offset_lsb, 0, err);
}

int calibrate_record(struct calibration *cal, struct error *err)
{
    char list[FAILED_TEXT] = "";
    size_t used = 0;
    double worst = 0.0, u_worst = NAN;
    int failed = calibrate_failed(cal), rc = 0;
    int64_t id = 0;

    for (int core = 0; core < cal->cores && rc == 0; core++) {
        for (int n = 0; n < cal->converters && rc == 0; n++) {
            rc = store_one(cal, core, n, &id, err);
            if (fabs(cal->fit[core][n].offset_lsb) >= worst) {
                worst = fabs(cal->fit[core][n].offset_lsb);
                u_worst = cal->fit[core][n].u_offset_lsb;
            }
            if (!within(cal, core, n) && used < sizeof list)
                used += (size_t)snprintf(list + used, sizeof list - used, " %d.%d", core, n);
        }
    }
    if (rc == 0)
        rc = runner_quantity(cal->run, cal->point, QUANTITY_RESIDUAL_OFFSET, worst, u_worst, err);
    if (rc == 0)
        rc = runner_quantity(cal->run, cal->point, QUANTITY_CONVERTERS_FAILED, failed, 0.0, err);
    if (rc == 0)
        rc = runner_event(
            cal->run, "calibration", NULL, err,
            "%d converters, worst residual offset %.3f LSB (U = %.3f LSB, k = 2), %d failed%s%s",
            cal->cores * cal->converters, worst, 2.0 * u_worst, failed, failed > 0 ? ":" : "", list);
    cal->run->calibration.id = id;
    return rc;
}

static void take_trims(void *context, int64_t id, const struct record_calibration *row)
{
    struct run_calibration *calibration = context;
    const char *place = strstr(row->key, "/core="), *heat = strstr(row->key, "/temp=");
    int core, converter, bits, gain;

    if (row->coefficient_count <= COEFFICIENT_GAIN_TRIM || place == NULL || heat == NULL ||
        sscanf(place, "/core=%d/adc=%d/bits=%d/gain=%d", &core, &converter, &bits, &gain) != 4 || core < 0 ||
        core >= RUNNER_CORES_MAX || converter < 0 || converter >= RUNNER_CONVERTERS_MAX)
        return;
    calibration->valid = true;
    calibration->id = id;
    calibration->time_ns = row->time_ns;
    calibration->validity_s = row->validity_s;
    calibration->temperature_c = strtod(heat + strlen("/temp="), NULL);
    calibration->adc = (struct adc_config){ .bits = bits, .gain = gain };
    calibration->offset[core][converter] = (int)row->coefficient[COEFFICIENT_OFFSET_TRIM];
    calibration->gain[core][converter] = (int)row->coefficient[COEFFICIENT_GAIN_TRIM];
}

int calibrate_restore(struct run *run, int step, struct error *err)
{
    (void)step;
    const struct run_history *history = run->context->history;
    int rc = history->calibrations(history->context, CALIBRATION_KIND, take_trims, &run->calibration, err);

    if (rc < 0 || !run->calibration.valid)
        return rc;
    memcpy(run->calibration.rail_v, run->power.set_v, sizeof run->calibration.rail_v);
    return runner_write_trims(run, err);
}
