/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * runner: recording and the chip's conditions, for steps. */
#include "sweeps/runner.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip/backend_reference.h"
#include "daemon/base/text.h"

#define SIGN_OF_LIFE_NS (600 * NS_PER_S)

int64_t runner_now(const struct run *run)
{
    return clock_now(run->context->clock);
}

int runner_check(const struct run *run, struct error *err)
{
    if (run->context->command != NULL && atomic_load(run->context->command) >= RUN_HALT)
        return error_set(err, ERR_CANCELLED, "the run was aborted");
    return 0;
}

bool runner_out_of_time(const struct run *run)
{
    return budget_is_over(&run->budget, runner_now(run));
}

int runner_go_on(const struct run *run, struct error *err)
{
    int rc = runner_check(run, err);

    return rc == 0 && runner_out_of_time(run)
               ? error_set(err, ERR_CANCELLED, "time budget: what is left is needed for the end of the run")
               : rc;
}

bool runner_stopping(const struct run *run)
{
    return run->context->command != NULL && atomic_load(run->context->command) != RUN_GO;
}

static int wait_once(struct run *run, int64_t duration_ns, struct error *err)
{
    int rc = runner_go_on(run, err);

    if (rc < 0)
        return rc;
    if (run->has_bench)
        return bench_wait(run->context->client, duration_ns, err);
    if (run->context->actor == NULL)
        return 0;
    rc = clock_sleep_until(run->context->actor, runner_now(run) + duration_ns, -1);
    return rc < 0 ? error_set(err, rc, "cannot wait") : 0;
}

/* Who soaks a chip for hours gives signs of life meanwhile: silence is what a runner that hangs is known by.
 */
int runner_wait(struct run *run, double seconds, struct error *err)
{
    int64_t left_ns = (int64_t)llround(seconds * NS_PER_S);
    int rc = 0;

    if (run->budget.end_ns != 0) { /* no longer than there is time; then it is cut short */
        int64_t free_ns =
            run->budget.end_ns - runner_now(run) - (int64_t)llround(run->budget.reserve_s * NS_PER_S) + 1;
        left_ns = left_ns < free_ns ? left_ns : free_ns;
    }
    do {
        int64_t slice_ns = left_ns < SIGN_OF_LIFE_NS ? left_ns : SIGN_OF_LIFE_NS;
        rc = wait_once(run, slice_ns, err);
        left_ns -= slice_ns;
        if (rc == 0 && left_ns > 0)
            runner_progress(run, 0);
    } while (rc == 0 && left_ns > 0);
    return rc == 0 ? runner_go_on(run, err) : rc;
}

void runner_progress(struct run *run, int64_t samples_done)
{
    struct run_progress *progress = &run->progress;

    progress->samples_done += samples_done;
    progress->elapsed_s = (double)(runner_now(run) - run->start_ns) / NS_PER_S;
    progress->retries = run->retries;
    progress->row = run->row;
    if (run->context->progress != NULL)
        run->context->progress(run->context->progress_context, progress);
}

/* ---- Recording ---- */

int runner_check_calibration(const struct run *run, struct error *err)
{
    const struct run_calibration *calibration = &run->calibration;
    double age_s = (double)(runner_now(run) - calibration->time_ns) / NS_PER_S;

    if (!calibration->valid)
        return 0;
    if (age_s < 0.0) /* an interrupted run's, from before the clock began anew */
        return error_set(err, ERR_CALIBRATION, "nobody knows how old the calibration is");
    if (age_s > calibration->validity_s)
        return error_set(err, ERR_CALIBRATION, "the calibration is %.0f s old and holds for %.0f s", age_s,
                         calibration->validity_s);
    for (int i = 0; i < run->profile->rail_count; i++) {
        if (fabs(run->power.set_v[i] - calibration->rail_v[i]) > CALIBRATION_SUPPLY_V)
            return error_set(err, ERR_CALIBRATION, "the calibration was made with %s at %.3f V, not %.3f V",
                             run->profile->rail[i].name, calibration->rail_v[i], run->power.set_v[i]);
    }
    if (!isnan(run->temperature_c) &&
        fabs(run->temperature_c - calibration->temperature_c) > CALIBRATION_SPAN_C)
        return error_set(err, ERR_CALIBRATION, "the calibration was made at %.1f C, and the die is at %.1f C",
                         calibration->temperature_c, run->temperature_c);
    return 0;
}

/* Is what is in force outside of what the calibration was made at? Another calibration would not help where
 * it is the converter's setting. */
static bool extrapolated(const struct run *run)
{
    const struct run_calibration *calibration = &run->calibration;

    return calibration->valid &&
           (calibration->adc.bits != run->adc.bits || calibration->adc.gain != run->adc.gain ||
            runner_check_calibration(run, NULL) < 0);
}

uint32_t runner_flags(const struct run *run)
{
    uint32_t flags = 0;

    if (run->context->bench_file != NULL && run->context->bench_file->simulated)
        flags |= READING_SIMULATED;
    if (extrapolated(run))
        flags |= READING_CAL_EXTRAPOLATED;
    return flags;
}

int runner_reading(struct run *run, const struct run_point *point, const char *channel,
                   const char *instrument, const struct reading *reading, struct error *err)
{
    char named[RECORD_NAME_MAX];

    if (point->prefix != NULL && point->prefix[0] != '\0') {
        record_channel(named, "%s%s", point->prefix, channel);
        channel = named;
    }
    struct record_reading record = { .step = point->step,
                                     .cell = point->cell != NULL ? point->cell->index : -1,
                                     .attempt = point->attempt,
                                     .channel = channel,
                                     .instrument = instrument,
                                     .reading = *reading };

    return run->sink->reading(run->sink->context, &record, err);
}

int runner_value(struct run *run, const struct run_point *point, const char *channel, int unit, double value,
                 double uncertainty, uint32_t flags, struct error *err)
{
    struct reading reading = { .value = value,
                               .uncertainty = uncertainty,
                               .range = NAN,
                               .time_ns = runner_now(run),
                               .wall_ns = clock_wall_now(),
                               .unit = unit,
                               .flags = flags | READING_DERIVED | runner_flags(run),
                               .calibration_id = run->calibration.valid ? run->calibration.id : 0 };

    return runner_reading(run, point, channel, "", &reading, err);
}

int runner_quantity(struct run *run, struct run_point *point, int quantity, double value, double uncertainty,
                    struct error *err)
{
    const struct quantity_info *info = quantity_info(quantity);

    if (point->outcome != NULL) {
        point->outcome->judged.value[quantity] = value;
        point->outcome->judged.uncertainty[quantity] = uncertainty;
    }
    return runner_value(run, point, info->name, info->unit, value, uncertainty, 0, err);
}

int runner_event(struct run *run, const char *kind, const char *json, struct error *err, const char *format,
                 ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct record_event event = {
        .kind = kind, .text = text, .json = json, .time_ns = runner_now(run), .wall_ns = clock_wall_now()
    };
    return run->sink->event(run->sink->context, &event, err);
}

static int rail_reading(struct run *run, struct run_point *point, const char *rail, const char *what,
                        int unit, double value, double uncertainty, uint32_t flags, struct error *err)
{
    char channel[RECORD_NAME_MAX];

    record_channel(channel, "rail.%s.%s", rail, what);
    return runner_value(run, point, channel, unit, value, uncertainty, flags, err);
}

/* What was measured while a rail was elsewhere tells of another chip than the point says: an output that went
 * off by itself, a supply that lost its power. */
static int check_rails(const struct run *run, const struct sampler_window *window, struct error *err)
{
    for (int i = 0; i < run->profile->rail_count; i++) {
        if (run->power.on[i] && !power_holds(run->power.set_v[i], window->volt_v[i], window->u_volt_v[i])) {
            error_set(err, ERR_COMPLIANCE, "%s was set to %.4f V and read %.4f V while it was measured",
                      run->profile->rail[i].name, run->power.set_v[i], window->volt_v[i]);
            error_at(err, run->power.channel[i]->name, "read voltage", 0);
            return ERR_COMPLIANCE;
        }
    }
    return 0;
}

int runner_rails(struct run *run, struct run_point *point, const struct sampler_window *window,
                 struct error *err)
{
    int rc = 0;

    for (int i = 0; i < run->profile->rail_count && rc == 0; i++) {
        const char *rail = run->profile->rail[i].name;
        rc = rail_reading(run, point, rail, "voltage", UNIT_VOLT, window->volt_v[i], window->u_volt_v[i],
                          window->flags, err);
        if (rc == 0)
            rc = rail_reading(run, point, rail, "current", UNIT_AMPERE, window->current_a[i],
                              window->u_current_a[i], window->flags, err);
        if (rc == 0)
            rc = rail_reading(run, point, rail, "power", UNIT_WATT, window->power_w[i], window->u_power_w[i],
                              window->flags, err);
    }
    if (rc == 0)
        rc = runner_quantity(run, point, QUANTITY_POWER, window->total_w, window->u_total_w, err);
    return rc == 0 ? check_rails(run, window, err) : rc;
}

int runner_temperature(struct run *run, struct run_point *point, struct error *err)
{
    double celsius, step_c = run->profile->operating.temperature_step_c;

    if (run->chip == NULL || !(step_c > 0.0))
        return 0;
    int rc = chip_temperature(run->chip, &celsius, err);
    if (rc < 0)
        return rc;
    run->temperature_c = celsius;
    /* The sensor's resolution is all that we know of its uncertainty. */
    return runner_quantity(run, point, QUANTITY_DIE_TEMPERATURE, celsius, step_c / sqrt(12.0), err);
}

/* ---- The chip's conditions ---- */

static int open_chip(struct run *run, struct error *err)
{
    int rc = bench_spi(run->context->client, &run->bus, err);

    if (rc == 0)
        rc = chip_open(run->profile, &run->bus, &run->chip, err);
    if (rc == 0 && run->profile->spi.kind == PROFILE_FRAMING_ADL2)
        rc = chip_reset(run->chip, err);
    return rc;
}

static int start_sampler(struct run *run, struct error *err)
{
    struct sampler_options options = { .bench = run->context->bench,
                                       .clock = run->context->clock,
                                       .bench_file = run->context->bench_file,
                                       .profile = run->profile,
                                       .sink = run->sink,
                                       .period_s = run->campaign->log_period_s };

    if (!(options.period_s > 0.0))
        return 0;
    return sampler_open(&options, &run->sampler, err);
}

int runner_power_up(struct run *run, const double *target_v, struct error *err)
{
    int rc = power_up(&run->power, target_v, err);

    if (rc == 0)
        rc = open_chip(run, err);
    if (rc == 0)
        rc = start_sampler(run, err);
    if (rc == 0)
        rc = runner_event(run, "power", NULL, err, "rails are up");
    return rc;
}

static void close_chip(struct run *run)
{
    if (run->chip_backend.context != NULL)
        run->chip_backend.close(run->chip_backend.context);
    run->chip_backend = (struct backend){ 0 };
    chip_close(run->chip);
    run->chip = NULL;
    run->chip_loaded = false;
}

void runner_close_backends(struct run *run)
{
    close_chip(run);
    if (run->reference_backend.context != NULL)
        run->reference_backend.close(run->reference_backend.context);
    run->reference_backend = (struct backend){ 0 };
}

int runner_power_down(struct run *run, bool emergency, struct error *err)
{
    struct error ignored, sampler_err = { 0 };
    bool off = false;

    int sampled = sampler_close(run->sampler, run->context->actor, &sampler_err);
    run->sampler = NULL;
    close_chip(run);
    run->idle_w = NAN;
    int rc = power_down(&run->power, emergency, &off, err);
    run->result->safe = off;
    int recorded =
        runner_event(run, "safe", NULL, rc == 0 ? err : &ignored, "power-down: %s",
                     off ? "every output was read back as off" : "NOT every output was read back as off");
    if (rc == 0)
        rc = recorded;
    /* A gap in the log is worth telling; it is no reason to fail what was measured. */
    if (sampled < 0 && rc == 0)
        rc = runner_event(run, "note", NULL, err, "continuous logging had ended early: %s",
                          sampler_err.message);
    return rc;
}

static bool accepted(const struct campaign *campaign, const char *serial)
{
    for (int i = 0; i < campaign->chip_count; i++) {
        if (strcmp(campaign->chip[i], "any") == 0 || strcmp(campaign->chip[i], serial) == 0)
            return true;
    }
    return campaign->chip_count == 0;
}

/* The die's identity is lot (16 bits), wafer (8), x (8), y (8), serial (16), as chip_identify prints it. */
static int record_chip(struct run *run, const struct chip_identity *identity, struct error *err)
{
    const struct record_sink *sink = run->context->sink;
    char lot[12] = "", wafer[12] = "", revision[12];
    struct record_chip chip = { .type = run->profile->type,
                                .serial = identity->serial,
                                .revision = revision,
                                .lot = lot,
                                .wafer = wafer,
                                .x = -1,
                                .y = -1 };
    unsigned lot_number, wafer_number, x, y;

    snprintf(revision, sizeof revision, "%u", (unsigned)identity->revision);
    if (sscanf(identity->serial, "%u-%u-%u-%u-", &lot_number, &wafer_number, &x, &y) == 4) {
        snprintf(lot, sizeof lot, "%u", lot_number);
        snprintf(wafer, sizeof wafer, "%u", wafer_number);
        chip.x = (int)x;
        chip.y = (int)y;
    }
    return sink->chip(sink->context, &chip, err);
}

int runner_identify_chip(struct run *run, struct error *err)
{
    struct chip_identity identity;
    char json[256];

    int rc = chip_identify(run->chip, &identity, err);
    if (rc < 0)
        return rc;
    if (run->identity.serial[0] != '\0' && strcmp(run->identity.serial, identity.serial) != 0)
        return error_set(err, ERR_IDENTITY, "the chip was %s and is now %s: was it changed?",
                         run->identity.serial, identity.serial);
    run->identity = identity;
    snprintf(run->result->chip_serial, sizeof run->result->chip_serial, "%s", identity.serial);
    snprintf(json, sizeof json, "{\"type\":\"%s\",\"id\":\"%08X\",\"revision\":%u,\"serial\":\"%s\"}",
             run->profile->type, (unsigned)identity.id, (unsigned)identity.revision, identity.serial);
    rc = record_chip(run, &identity, err);
    if (rc < 0)
        return rc;
    rc = runner_event(run, "chip", json, err, "%s revision %u, die %s", run->profile->type,
                      (unsigned)identity.revision,
                      identity.serial[0] != '\0' ? identity.serial : "(has no serial)");
    if (rc == 0 && !accepted(run->campaign, identity.serial))
        rc = error_set(err, ERR_IDENTITY, "die %s is not among the chips of this campaign", identity.serial);
    return rc;
}

static int open_backend(struct run *run, int backend, struct error *err)
{
    if (backend == CAMPAIGN_REFERENCE)
        return run->reference_backend.context != NULL
                   ? 0
                   : backend_reference_open(run->profile, &run->reference_backend, err);
    if (run->chip == NULL)
        return error_set(err, ERR_CONFLICT, "no chip is powered");
    return run->chip_backend.context != NULL ? 0 : backend_chip_open(run->chip, &run->chip_backend, err);
}

struct backend *runner_backend(struct run *run, int backend)
{
    return backend == CAMPAIGN_REFERENCE ? &run->reference_backend : &run->chip_backend;
}

static bool same_adc(const struct adc_config *a, const struct adc_config *b)
{
    return a->bits == b->bits && a->gain == b->gain;
}

int runner_load(struct run *run, int backend, int network, const struct adc_config *adc, struct error *err)
{
    const struct asset_network *asset = &run->context->assets->network[network];
    bool reference = backend == CAMPAIGN_REFERENCE;
    bool loaded = reference ? run->reference_network == network && same_adc(&run->reference_adc, adc)
                            : run->chip_loaded && run->network == network && same_adc(&run->adc, adc);

    int rc = open_backend(run, backend, err);
    if (rc < 0)
        return rc;
    if (!loaded) {
        struct backend *target = runner_backend(run, backend);
        rc = target->load(target->context, asset->network, asset->mapping, adc, err);
        if (rc < 0)
            return rc;
    }
    if (reference) {
        run->reference_network = network;
        run->reference_adc = *adc;
    } else {
        run->chip_loaded = true;
    }
    if (backend == run->context->backend) {
        run->network = network;
        run->adc = *adc;
    }
    return 0;
}

int runner_load_again(struct run *run, struct error *err)
{
    return runner_load(run, run->context->backend, run->network, &run->loaded_adc, err);
}

int runner_write_trims(struct run *run, struct error *err)
{
    const struct run_calibration *calibration = &run->calibration;

    for (int core = 0; core < run->profile->cores.count; core++) {
        for (int n = 0; n < run->profile->cores.converters; n++) {
            const struct {
                const char *name;
                int code;
            } trims[] = { { "offset", calibration->offset[core][n] },
                          { "gain", calibration->gain[core][n] } };
            for (int i = 0; i < 2; i++) {
                int found;
                int rc = chip_trim_write(run->chip, core, n, trims[i].name, trims[i].code, err);
                if (rc == 0)
                    rc = chip_trim_read(run->chip, core, n, trims[i].name, &found, err);
                if (rc < 0)
                    return rc;
                if (found != trims[i].code)
                    return error_set(err, ERR_MISMATCH,
                                     "trim %s of converter %d.%d was written as %d and reads %d",
                                     trims[i].name, core, n, trims[i].code, found);
            }
        }
    }
    return 0;
}

int runner_go_dark(struct run *run, struct run_dark *state, struct error *err)
{
    *state = (struct run_dark){ .was_up = run->has_bench && run->power.up,
                                .adc = run->adc,
                                .loaded_adc = run->loaded_adc,
                                .network = run->network,
                                .clock_hz = run->bus.clock_hz };
    memcpy(state->target_v, run->power.set_v, sizeof state->target_v);
    return run->has_bench ? runner_power_down(run, false, err) : 0;
}

int runner_come_home(struct run *run, const struct run_dark *state, struct error *err)
{
    if (!state->was_up)
        return 0;
    int rc = runner_power_up(run, run->home_v, err);
    if (rc == 0)
        rc = thermal_again(run, err);
    if (rc == 0)
        rc = runner_identify_chip(run, err);
    if (rc == 0 && run->calibration.valid)
        rc = runner_write_trims(run, err);
    if (rc == 0 && state->network >= 0)
        rc = runner_load(run, CAMPAIGN_CHIP, state->network, &run->home_adc, err);
    if (rc == 0)
        run->loaded_adc = run->home_adc;
    return rc;
}

int runner_go_back(struct run *run, const struct run_dark *state, struct error *err)
{
    int rc = 0;

    if (!state->was_up)
        return 0;
    if (run->bus.clock_hz != state->clock_hz)
        rc = spi_set_clock(run->context->client, state->clock_hz, &run->bus.clock_hz, err);
    if (rc == 0 && state->network >= 0)
        rc = runner_load(run, CAMPAIGN_CHIP, state->network, &state->adc, err);
    if (rc == 0)
        rc = power_move(&run->power, state->target_v, err);
    if (rc == 0)
        run->loaded_adc = state->loaded_adc;
    return rc;
}

int runner_relight(struct run *run, const struct run_dark *state, struct error *err)
{
    int rc = runner_come_home(run, state, err);

    return rc == 0 ? runner_go_back(run, state, err) : rc;
}

static void axis_targets(const struct run *run, const struct campaign_axis *axis, double value,
                         double *target_v)
{
    for (int i = 0; i < run->profile->rail_count; i++) {
        const struct profile_rail *rail = &run->profile->rail[i];
        if ((axis->set == AXIS_RAIL && strcmp(rail->name, axis->target) == 0) ||
            (axis->set == AXIS_GROUP && strcmp(rail->group, axis->target) == 0))
            target_v[i] = value;
    }
}

int runner_apply(struct run *run, const struct step_sweep *sweep, const struct plan_cell *cell,
                 struct error *err)
{
    double target_v[PROFILE_RAILS_MAX];
    struct adc_config adc = run->loaded_adc;
    int rc = 0;

    for (int i = 0; i < PROFILE_RAILS_MAX; i++)
        target_v[i] = NAN;
    for (int i = 0; i < sweep->axis_count && rc == 0; i++) {
        const struct campaign_axis *axis = &sweep->axis[i];
        if (axis->set == AXIS_ADC_BITS)
            adc.bits = (int)cell->value[i];
        else if (axis->set == AXIS_ADC_GAIN)
            adc.gain = (int)cell->value[i];
        else if (axis->set == AXIS_TEMPERATURE && run->has_bench)
            rc = thermal_apply(run, axis, cell->value[i], err);
        else if (axis->set == AXIS_SPI_HZ && run->has_bench)
            rc = spi_set_clock(run->context->client, cell->value[i], &run->bus.clock_hz, err);
        else
            axis_targets(run, axis, cell->value[i], target_v);
    }
    if (rc == 0 && run->has_bench)
        rc = power_move(&run->power, target_v, err);
    if (rc == 0 && run->network >= 0)
        rc = runner_load(run, run->context->backend, run->network, &adc, err);
    if (rc == 0)
        run->loaded_adc = adc;
    return rc;
}

const struct run_outcome *runner_outcome(const struct run *run, const char *step_name)
{
    for (int i = 0; i < run->plan->step_count; i++) {
        if (strcmp(run->plan->step[i].step->name, step_name) == 0 && run->plan->step[i].cell_count > 0)
            return &run->outcome[run->plan->step[i].first_cell];
    }
    return NULL;
}
