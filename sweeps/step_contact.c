/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * step_contact: before anything is powered, each rail in turn gets a small voltage from a supply that is
 * limited to a small current, all others being off. A rail that pulls the voltage down is shorted. Where the
 * instrument sees the current of the unpowered chip above its own uncertainty, there is contact; where it
 * sees none on any rail, the socket is empty or open. What an instrument cannot tell is recorded as not
 * decided, never as passed: identifying the chip over SPI is the proof of contact. */
#include "sweeps/cost.h"
#include "sweeps/plan_check.h"
#include "sweeps/runner.h"

#include <math.h>
#include <stdio.h>

#define SETTLE_S    0.020
#define SHORT_SHARE 0.5 /* of the forced voltage: less is a short, if the current says so too */
#define LIMIT_STEP  4.0

static void parse(const struct json_at *at, const struct campaign *campaign, struct campaign_step *step)
{
    (void)campaign;
    step->u.contact.all_must_pass = json_boolean(at, "must_pass", false, true);
}

/* What can be forced on a rail by this channel; 0 when nothing can. */
static double force_v(const struct chip_profile *profile, const struct profile_rail *rail,
                      const struct bench_channel *channel)
{
    double volt_v = profile->has_contact_check ? profile->contact_check.force_v : PROFILE_CONTACT_MAX_V;

    if (rail->abs_max_v < volt_v) /* a rail that lives below zero */
        volt_v = rail->abs_min_v <= -volt_v ? -volt_v : 0.0;
    return volt_v >= channel->volt_min_v && volt_v <= channel->volt_max_v ? volt_v : 0.0;
}

static void list_force(const struct plan_state *state, const struct profile_rail *rail,
                       const struct bench_channel *channel)
{
    double volt_v = channel != NULL ? force_v(state->inputs->profile, rail, channel) : 0.0;
    struct plan_setpoint setpoint = { .step = state->step, .volt_v = volt_v };

    if (volt_v == 0.0)
        return;
    setpoint.min_v = fmax(-PROFILE_CONTACT_MAX_V, channel->volt_min_v);
    setpoint.max_v = fmin(PROFILE_CONTACT_MAX_V, channel->volt_max_v);
    setpoint.limit_a = fmin(PROFILE_CONTACT_MAX_A, channel->limit_max_a);
    snprintf(setpoint.rail, sizeof setpoint.rail, "%s", rail->name);
    plan_list_setpoint(state, &setpoint);
}

static void plan(struct plan_state *state, const struct campaign_step *step, struct plan_cost *cost)
{
    (void)step;
    for (int i = 0; i < state->inputs->profile->rail_count; i++) {
        const struct bench_channel *channel =
            bench_file_rail(state->inputs->bench, state->inputs->profile->rail[i].name);
        double read_s = channel != NULL ? 2.0 * channel->measure_s : 0.0;
        list_force(state, &state->inputs->profile->rail[i], channel);
        cost->seconds += 5.0 * COST_SETTING_S + SETTLE_S + read_s;
        cost->bytes += 2 * COST_READING_BYTES;
    }
    cost->seconds += cost_power_down_s(state->inputs);
}

struct finding {
    bool shorted, contact, tried;
    double volt_v, current_a;
};

static int record_rail(struct run *run, struct run_point *point, const char *rail,
                       const struct bench_read *reads, struct error *err)
{
    static const char *const what[] = { "voltage", "current" };

    for (int i = 0; i < 2; i++) {
        char channel[RECORD_NAME_MAX];
        record_channel(channel, "contact.%s.%s", rail, what[i]);
        int rc = runner_reading(run, point, channel, reads[i].channel->name, &reads[i].reading, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Forces once with this limit and reads what came of it; the output is off again after. */
static int force_once(struct run *run, const struct bench_channel *channel, double volt_v, double limit_a,
                      struct bench_read reads[2], struct error *err)
{
    struct bench_client *client = run->context->client;
    int rc = psu_set_current_limit(client, channel, limit_a, err);

    if (rc == 0)
        rc = psu_set_voltage(client, channel, volt_v, err);
    if (rc == 0)
        rc = bench_undo_register(client, UNDO_OUTPUT_OFF, channel, 1, 1, err);
    if (rc == 0)
        rc = psu_output(client, channel, true, err);
    if (rc < 0)
        return rc;
    rc = runner_wait(run, fmax(SETTLE_S, channel->settle_s), err);
    if (rc == 0)
        rc = bench_read_many(client, reads, 2, err);
    struct error ignored;
    int off = psu_output(client, channel, false, rc == 0 ? err : &ignored);
    return rc == 0 ? off : rc;
}

static int force_rail(struct run *run, struct run_point *point, int index, struct finding *finding,
                      struct error *err)
{
    const struct profile_rail *rail = &run->profile->rail[index];
    const struct bench_channel *channel = run->power.channel[index];
    double volt_v = force_v(run->profile, rail, channel);
    double limit_a = fmax(run->profile->has_contact_check ? run->profile->contact_check.limit_a : 1e-3,
                          channel->limit_min_a);
    struct bench_read reads[2] = { { .channel = channel, .quantity = QUANTITY_VOLTAGE },
                                   { .channel = channel, .quantity = QUANTITY_CURRENT } };
    bool low, delivers;

    if (volt_v == 0.0)
        return 0;
    /* Below the programming accuracy of its limit a supply may deliver nothing at all: then the voltage is
     * low although nothing pulls it down. A short is low voltage at a current that comes near the limit;
     * anything else gets more of it. */
    for (;; limit_a *= LIMIT_STEP) {
        int rc = force_once(run, channel, volt_v, limit_a, reads, err);
        if (rc < 0)
            return rc;
        low = fabs(reads[0].reading.value) < SHORT_SHARE * fabs(volt_v);
        delivers = fabs(reads[1].reading.value) > SHORT_SHARE * limit_a;
        if (!low || delivers || limit_a * LIMIT_STEP > PROFILE_CONTACT_MAX_A)
            break;
    }
    int rc = record_rail(run, point, rail->name, reads, err);
    if (rc < 0)
        return rc;
    finding->tried = true;
    finding->volt_v = reads[0].reading.value;
    finding->current_a = reads[1].reading.value;
    finding->shorted = low && delivers;
    /* Three standard uncertainties: NaN compares false, which is "not decided". */
    finding->contact = fabs(finding->current_a) > 3.0 * reads[1].reading.uncertainty;
    return 0;
}

static int execute(struct run *run, struct run_point *point, struct error *err)
{
    int shorts = 0, contacts = 0, tried = 0;

    for (int i = 0; i < run->profile->rail_count; i++) {
        struct finding finding = { 0 };
        int rc = runner_check(run, err);
        if (rc == 0)
            rc = force_rail(run, point, i, &finding, err);
        if (rc < 0)
            return rc;
        shorts += finding.shorted;
        contacts += finding.contact && !finding.shorted;
        tried += finding.tried;
        if (finding.shorted) {
            rc = runner_event(run, "contact", NULL, err, "%s is shorted: %.3f V at %.3g A",
                              run->profile->rail[i].name, finding.volt_v, finding.current_a);
            if (rc < 0)
                return rc;
        }
    }
    int rc = runner_event(run, "contact", NULL, err, "%d rails forced, %d shorted, contact seen on %d%s",
                          tried, shorts, contacts,
                          contacts == 0 ? ": socket empty, open, or below what the supplies can see" : "");
    if (rc < 0)
        return rc;
    point->verdict = shorts > 0 ? VERDICT_FAIL : contacts > 0 ? VERDICT_PASS : VERDICT_MARGINAL;
    if (shorts > 0 && point->what->u.contact.all_must_pass)
        return error_set(err, ERR_COMPLIANCE, "%d rail%s shorted: nothing is powered", shorts,
                         shorts == 1 ? " is" : "s are");
    return 0;
}

static const char *const keys[] = { "must_pass", NULL };
const struct step_type step_contact_type = {
    .name = "contact",
    .needs = STEP_NEEDS_DARK | STEP_NEEDS_CHIP,
    .makes_point = true,
    .keys = keys,
    .parse = parse,
    .plan = plan,
    .execute = execute,
};
