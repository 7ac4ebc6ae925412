/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * power: see the header for the order of things. Everything that energises passes through rail_on(), ramp()
 * or drive_pins(). */
#include "sweeps/power.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POLL_INTERVAL_MS = 20, VERIFY_TRIES = 5 };

int power_init(struct power *power, const struct chip_profile *profile, const struct bench_file *bench,
               struct bench_client *client, struct error *err)
{
    *power = (struct power){ .profile = profile, .bench = bench, .client = client };
    for (int i = 0; i < profile->rail_count; i++) {
        power->channel[i] = bench_file_rail(bench, profile->rail[i].name);
        if (power->channel[i] == NULL)
            return error_set(err, ERR_NOT_FOUND, "%s: nothing feeds rail \"%s\"", bench->name,
                             profile->rail[i].name);
    }
    return 0;
}

void power_targets(const struct chip_profile *profile, const char *group, double group_v,
                   double *ret_target_v)
{
    for (int i = 0; i < profile->rail_count; i++) {
        bool moved = group != NULL && strcmp(profile->rail[i].group, group) == 0;
        ret_target_v[i] = moved ? group_v : profile->rail[i].nominal_v;
    }
}

static double largest_move(const struct chip_profile *profile, const double *from_v, const double *to_v)
{
    double largest = 0.0;

    for (int i = 0; i < profile->rail_count; i++) {
        if (!isnan(to_v[i]))
            largest = fmax(largest, fabs(to_v[i] - from_v[i]));
    }
    return largest;
}

int power_steps(const struct chip_profile *profile, const double *from_v, const double *to_v)
{
    /* A hair's breadth of tolerance, so that 0.30 / 0.05 is six steps and not seven. */
    return (int)ceil(largest_move(profile, from_v, to_v) / POWER_STEP_V - 1e-9);
}

double power_ramp_s(const struct chip_profile *profile, const double *from_v, const double *to_v)
{
    double longest = 0.0;

    for (int i = 0; i < profile->rail_count; i++) {
        if (!isnan(to_v[i]) && profile->rail[i].ramp_v_per_s > 0.0)
            longest = fmax(longest, fabs(to_v[i] - from_v[i]) / profile->rail[i].ramp_v_per_s);
    }
    return longest;
}

/* The i-th rail in power-up order. */
static int rail_in_order(const struct chip_profile *profile, int i)
{
    for (int b = 0; b < profile->power_up.count; b++) {
        const struct profile_barrier *barrier = &profile->power_up.barrier[b];
        for (int k = 0; k < barrier->count; k++) {
            if (barrier->item[k] >= 0 && i-- == 0)
                return barrier->item[k];
        }
    }
    return -1;
}

/* One step of a move: rails that rise go in power-up order, then those that fall in the opposite order. */
static int set_step(struct power *power, const double *from_v, const double *to_v, double share,
                    struct error *err)
{
    int count = power->profile->rail_count;

    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < count; i++) {
            int rail = rail_in_order(power->profile, pass == 0 ? i : count - 1 - i);
            if (rail < 0 || isnan(to_v[rail]) || to_v[rail] == from_v[rail])
                continue;
            bool rises = fabs(to_v[rail]) > fabs(from_v[rail]);
            if (rises != (pass == 0))
                continue;
            double volt_v = share >= 1.0 ? to_v[rail] : from_v[rail] + (to_v[rail] - from_v[rail]) * share;
            int rc = psu_set_voltage(power->client, power->channel[rail], volt_v, err);
            if (rc < 0)
                return rc;
            power->set_v[rail] = volt_v;
        }
    }
    return 0;
}

/* Small steps, all rails of the move in each, no faster than the slowest of their ramps. */
static int ramp(struct power *power, const double *target_v, struct error *err)
{
    double from_v[PROFILE_RAILS_MAX];

    memcpy(from_v, power->set_v, sizeof from_v);
    int steps = power_steps(power->profile, from_v, target_v);
    int64_t step_ns =
        steps > 0 ? (int64_t)(power_ramp_s(power->profile, from_v, target_v) / steps * NS_PER_S) : 0;
    for (int i = 1; i <= steps; i++) {
        int64_t due_ns = bench_now(power->client) + step_ns;
        int rc = set_step(power, from_v, target_v, (double)i / steps, err);
        if (rc < 0)
            return rc;
        int64_t left_ns = due_ns - bench_now(power->client);
        rc = left_ns > 0 ? bench_wait(power->client, left_ns, err) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

int power_check(struct power *power, struct error *err)
{
    for (int i = 0; i < power->profile->rail_count; i++) {
        struct psu_state state;
        if (!power->on[i])
            continue;
        int rc = psu_read_state(power->client, power->channel[i], &state, err);
        if (rc < 0)
            return rc;
        if (!state.on)
            return error_set(err, ERR_TRIPPED,
                             "%s was found off: the keeper or its own protection has switched it off",
                             power->profile->rail[i].name);
    }
    return 0;
}

bool power_holds(double set_v, double volt_v, double u_volt_v)
{
    double allowed = POWER_TOLERANCE_V + POWER_TOLERANCE * fabs(set_v) + 2.0 * fmax(0.0, u_volt_v);

    return fabs(volt_v - set_v) <= allowed; /* no: also for a NaN */
}

/* Reads rails until all are within tolerance of what was set, or too much time has passed. */
static int confirm(struct power *power, const double *target_v, struct error *err)
{
    int64_t begin_ns = bench_now(power->client);
    int64_t deadline_ns = begin_ns + (int64_t)(POWER_TIMEOUT_S * NS_PER_S);

    for (;;) {
        struct bench_read reads[PROFILE_RAILS_MAX];
        int rail_of[PROFILE_RAILS_MAX], count = 0, wrong = -1;

        for (int i = 0; i < power->profile->rail_count; i++) {
            if (isnan(target_v[i]) || !power->on[i])
                continue;
            rail_of[count] = i;
            reads[count++] =
                (struct bench_read){ .channel = power->channel[i], .quantity = QUANTITY_VOLTAGE };
        }
        int rc = count > 0 ? bench_read_many(power->client, reads, count, err) : 0;
        if (rc < 0)
            return rc;
        for (int i = 0; i < count && wrong < 0; i++) {
            if (!power_holds(target_v[rail_of[i]], reads[i].reading.value, reads[i].reading.uncertainty))
                wrong = i;
        }
        if (wrong < 0)
            return 0;
        int64_t now_ns = bench_now(power->client);
        if (now_ns >= deadline_ns) {
            /* Switched off past us meanwhile: that is no short. */
            struct error off_err = { 0 };
            if (power_check(power, &off_err) == ERR_TRIPPED) {
                *err = off_err;
                return ERR_TRIPPED;
            }
            error_set(err, ERR_COMPLIANCE,
                      "%s was set to %.4f V and reads %.4f V%s: look for a short or a wrong lead",
                      power->profile->rail[rail_of[wrong]].name, target_v[rail_of[wrong]],
                      reads[wrong].reading.value,
                      reads[wrong].reading.flags & READING_LIMITING ? ", in current limit" : "");
            error_at(err, reads[wrong].channel->name, "read voltage", now_ns - begin_ns);
            return ERR_COMPLIANCE;
        }
        rc = bench_wait(power->client, POLL_INTERVAL_MS * NS_PER_MS, err);
        if (rc < 0)
            return rc;
    }
}

/* Where an item stands in a sequence: 1 for the last barrier, more for earlier ones, so that higher runs
 * first. */
static int barrier_number(const struct profile_sequence *sequence, int item)
{
    for (int b = 0; b < sequence->count; b++) {
        for (int k = 0; k < sequence->barrier[b].count; k++) {
            if (sequence->barrier[b].item[k] == item)
                return sequence->count - b;
        }
    }
    return 0;
}

static int register_undo(struct power *power, int kind, const struct bench_channel *channel, int item,
                         struct error *err)
{
    return bench_undo_register(power->client, kind, channel,
                               barrier_number(&power->profile->power_down, item),
                               barrier_number(&power->profile->emergency, item), err);
}

/* Lowest magnitude that the instrument can be set to: where a ramp begins. */
static double ramp_start(const struct bench_channel *channel)
{
    return fmin(fmax(0.0, channel->volt_min_v), channel->volt_max_v);
}

/* Limit and protection first, then the undo, then the output at the foot of its ramp. */
static int rail_on(struct power *power, int rail, struct error *err)
{
    const struct profile_rail *limits = &power->profile->rail[rail];
    const struct bench_channel *channel = power->channel[rail];
    double start_v = ramp_start(channel);

    int rc = psu_set_current_limit(power->client, channel, limits->limit_a, err);
    if (rc == 0)
        rc = psu_set_voltage(power->client, channel, start_v, err);
    if (rc == 0) {
        rc = psu_set_protection(power->client, channel, limits->ovp_v, true, err);
        if (rc == ERR_UNSUPPORTED) /* a supply without OVP: the current limit and the keeper's voltage limit
                                      remain */
            rc = 0;
    }
    if (rc == 0)
        rc = register_undo(power, UNDO_OUTPUT_OFF, channel, rail, err);
    if (rc == 0)
        rc = psu_output(power->client, channel, true, err);
    if (rc < 0)
        return error_prefix(err, "%s", limits->name), rc;
    power->on[rail] = true;
    power->set_v[rail] = start_v;
    return 0;
}

static int drive_pins(struct power *power, struct error *err)
{
    double hz =
        fmin(power->profile->spi.clock_max_hz, power->bench->spi_hz > 0.0 ? power->bench->spi_hz : 1e6);

    int rc = register_undo(power, UNDO_SPI_RELEASE, NULL, PROFILE_ITEM_SPI, err);
    if (rc == 0)
        rc = spi_set_clock(power->client, hz, NULL, err);
    if (rc == 0)
        rc = spi_drive(power->client, true, err);
    power->pins_driven = rc == 0;
    return rc;
}

/* The source itself stays off until a step needs it; only its undo is made known here. */
static int register_source(struct power *power, struct error *err)
{
    if (power->bench->source_channel < 0 || power->source_registered)
        return 0;
    int rc = register_undo(power, UNDO_OUTPUT_OFF, &power->bench->channel[power->bench->source_channel],
                           PROFILE_ITEM_TEST_SOURCE, err);
    power->source_registered = rc == 0;
    return rc;
}

static int barrier_up(struct power *power, const struct profile_barrier *barrier, const double *target_v,
                      struct error *err)
{
    double only_v[PROFILE_RAILS_MAX];
    int rc = 0, rails = 0;
    double settle_s = 0.0;

    for (int i = 0; i < PROFILE_RAILS_MAX; i++)
        only_v[i] = NAN;
    for (int k = 0; k < barrier->count && rc == 0; k++) {
        int item = barrier->item[k];
        if (item == PROFILE_ITEM_SPI) {
            rc = drive_pins(power, err);
        } else if (item == PROFILE_ITEM_TEST_SOURCE) {
            rc = register_source(power, err);
        } else {
            rc = rail_on(power, item, err);
            only_v[item] = target_v[item];
            settle_s =
                fmax(settle_s, fmax(power->profile->rail[item].settle_s, power->channel[item]->settle_s));
            rails++;
        }
    }
    if (rc < 0 || rails == 0)
        return rc;
    rc = ramp(power, only_v, err);
    if (rc == 0)
        rc = bench_wait(power->client, (int64_t)(settle_s * NS_PER_S), err);
    if (rc == 0)
        rc = confirm(power, only_v, err);
    return rc;
}

int power_up(struct power *power, const double *target_v, struct error *err)
{
    for (int b = 0; b < power->profile->power_up.count; b++) {
        int rc = barrier_up(power, &power->profile->power_up.barrier[b], target_v, err);
        if (rc < 0)
            return rc;
    }
    power->up = true;
    return 0;
}

int power_move(struct power *power, const double *target_v, struct error *err)
{
    double settle_s = 0.0;

    if (largest_move(power->profile, power->set_v, target_v) == 0.0)
        return 0;
    for (int i = 0; i < power->profile->rail_count; i++) {
        if (!isnan(target_v[i]) && target_v[i] != power->set_v[i])
            settle_s = fmax(settle_s, fmax(power->profile->rail[i].settle_s, power->channel[i]->settle_s));
    }
    int rc = ramp(power, target_v, err);
    if (rc == 0)
        rc = bench_wait(power->client, (int64_t)(settle_s * NS_PER_S), err);
    if (rc == 0)
        rc = confirm(power, target_v, err);
    return rc;
}

/* Asks every output that can feed the chip whether it is off. */
static int verify_off(struct power *power, struct error *err)
{
    int first = 0;

    for (int i = 0; i <= power->profile->rail_count; i++) {
        const struct bench_channel *channel = NULL;
        struct psu_state state;
        struct error ignored;

        if (i < power->profile->rail_count)
            channel = power->channel[i];
        else if (power->bench->source_channel >= 0)
            channel = &power->bench->channel[power->bench->source_channel];
        if (channel == NULL)
            continue;
        int rc = psu_read_state(power->client, channel, &state, first == 0 ? err : &ignored);
        if (rc == 0 && state.on)
            rc = error_set(first == 0 ? err : &ignored, ERR_CONFLICT, "%s is still on after power down",
                           channel->name);
        if (rc < 0 && first == 0)
            first = rc;
    }
    return first;
}

int power_down(struct power *power, bool emergency, bool *ret_off, struct error *err)
{
    struct error off_err = { 0 };
    int missed = 0;

    /* An abort that comes now is too late to cut anything, and must not keep this from being asked for. */
    bench_client_shield(power->client, true);
    int64_t begin_ns = bench_now(power->client);
    int rc = bench_safe(power->client, emergency, &missed, err);
    int off = verify_off(power, &off_err);
    for (int tries = 1; (off == ERR_TRIPPED || off == ERR_CANCELLED) && tries < VERIFY_TRIES; tries++)
        off = verify_off(power, &off_err); /* another e-stop has cut or dropped the question */
    bench_client_shield(power->client, false);

    for (int i = 0; i < PROFILE_RAILS_MAX; i++) {
        power->on[i] = false;
        power->set_v[i] = 0.0;
    }
    power->pins_driven = power->source_registered = power->up = false;
    /* The pins of a bridge cannot be read: they are off only if their own step was confirmed. */
    *ret_off = rc == 0 && missed == 0 && off == 0;
    if (rc == 0 && off < 0) {
        rc = off;
        if (err != NULL)
            *err = off_err;
    }
    if (rc == 0 && missed > 0) {
        rc = error_set(err, ERR_CONFLICT, "%d step%s of the power-down did not confirm in time", missed,
                       missed == 1 ? "" : "s");
        error_at(err, "keeper", "safe state", bench_now(power->client) - begin_ns);
    }
    return rc;
}
