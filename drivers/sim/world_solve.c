/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * world_solve: the electrical laws of the virtual bench. Between two steps every node follows one
 * exponential, static chip currents are constant, dynamic charge flows evenly: all integrals are in closed
 * form. A step ends a segment: while a node settles, a quarter of its time constant; at the very moment an
 * over-voltage protection acts. Dynamic current is charged but neither drops volts on leads nor counts
 * against current limits: its average is far below both. */
#include <math.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "drivers/sim/world_private.h"

static const double SENSED_OHM = 1e-6; /* what remote sensing leaves of a lead */
static const double SHORT_OHM = 0.05;  /* of a shorted socket pin */
static const double SETTLED_V = 1e-6;  /* a node that near its target is there */
static const double NEAR_V = 2e-3;     /* within that, longer steps will do */
static const double TAU_MIN_S = 1e-5, TAU_MAX_S = 0.5;
static const double VOLT_MAX = 100.0; /* bounds of the search for a node's voltage */
enum { SEARCH_STEPS = 64, RESOLVE_ROUNDS = 4, STEP_MIN_NS = 1000 };

double world_node_volt(const struct world_net *net, double after_s)
{
    return net->target_v + (net->v - net->target_v) * exp(-after_s / net->tau_s);
}

/* Volt-seconds of a node over [a, b] seconds of the segment. */
static double volt_seconds(const struct world_net *net, double a_s, double b_s)
{
    return net->target_v * (b_s - a_s) +
           (net->v - net->target_v) * net->tau_s * (exp(-a_s / net->tau_s) - exp(-b_s / net->tau_s));
}

static struct world_source *feeder(struct world *world, const struct world_net *net)
{
    for (int i = 0; i < world->source_n; i++)
        if (world->source[i].net == net && world->source[i].state.on)
            return &world->source[i];
    return NULL;
}

/* Dynamic charges of the segment [t_ns, end_ns]: into the chip's integrals and out of the feeding source. */
static void flow_charges(struct world *world, int64_t end_ns)
{
    int kept = 0;
    for (int i = 0; i < world->charge_n; i++) {
        struct charge *charge = &world->charge[i];
        int64_t a_ns = charge->t0_ns > world->t_ns ? charge->t0_ns : world->t_ns;
        int64_t b_ns = charge->t1_ns < end_ns ? charge->t1_ns : end_ns;
        if (b_ns > a_ns) {
            double share = (double)(b_ns - a_ns) / (double)(charge->t1_ns - charge->t0_ns);
            double a_s = (double)(a_ns - world->t_ns) * 1e-9, b_s = (double)(b_ns - world->t_ns) * 1e-9;
            double coulomb = charge->coulomb * share;
            charge->net->chip_coulomb += coulomb;
            charge->net->energy_j += coulomb * volt_seconds(charge->net, a_s, b_s) / (b_s - a_s);
            struct world_source *source = feeder(world, charge->net);
            if (source)
                source->coulomb += coulomb;
        }
        if (charge->t1_ns > end_ns)
            world->charge[kept++] = *charge;
    }
    world->charge_n = kept;
}

/* Ends the segment at a time: closed forms over it, then it is the start of the next. */
static void integrate_to(struct world *world, int64_t end_ns)
{
    if (end_ns <= world->t_ns)
        return;
    double dt_s = (double)(end_ns - world->t_ns) * 1e-9;
    flow_charges(world, end_ns);
    for (int i = 0; i < world->source_n; i++)
        world->source[i].coulomb += world->source[i].share_a * dt_s;
    for (int i = 0; i < world->net_n; i++) {
        struct world_net *net = &world->net[i];
        double volt_s = volt_seconds(net, 0, dt_s);
        double v = world_node_volt(net, dt_s);
        struct world_source *source = feeder(world, net);
        if (source)
            source->coulomb += net->capacitance_f * (v - net->v);
        net->volt_s += volt_s;
        net->chip_coulomb += net->chip_a * dt_s;
        net->energy_j += net->chip_a * volt_s;
        net->v = v;
    }
    world->t_ns = end_ns;
}

double world_dynamic_current(const struct world *world, const struct world_net *net)
{
    double sum_a = 0;
    for (int i = 0; i < world->charge_n; i++) {
        const struct charge *charge = &world->charge[i];
        if (charge->net == net && charge->t0_ns <= world->t_ns && charge->t1_ns > world->t_ns)
            sum_a += charge->coulomb / ((double)(charge->t1_ns - charge->t0_ns) * 1e-9);
    }
    return sum_a;
}

/* ---- Targets ---- */

static double source_ohm(const struct world_source *source)
{
    double ohm = source->options.remote_sense ? SENSED_OHM : source->options.lead_ohm;
    return ohm > SENSED_OHM ? ohm : SENSED_OHM;
}

/* What leaves a node at a voltage, apart from the sources that are on. */
static double load_current(struct world *world, struct world_net *net, double volt)
{
    double sum_a = world_chip_current(world, net, volt);
    if (net->contact == WORLD_CONTACT_SHORT)
        sum_a += volt / SHORT_OHM;
    for (int i = 0; i < world->source_n; i++)
        if (world->source[i].net == net && !world->source[i].state.on && world->source[i].state.off_ohm > 0)
            sum_a += volt / world->source[i].state.off_ohm;
    return sum_a;
}

static double clamp(double value, double limit)
{
    return value > limit ? limit : value < -limit ? -limit : value;
}

/* Current that enters a node at a voltage: sources within their limits, and the chip's test bus driver. */
static double inflow(struct world *world, const struct world_net *net, double volt, bool chip_drives,
                     double chip_v, double chip_ohm)
{
    double sum_a = chip_drives ? (chip_v - volt) / chip_ohm : 0;
    for (int i = 0; i < world->source_n; i++) {
        const struct world_source *source = &world->source[i];
        if (source->net == net && source->state.on)
            sum_a += clamp((source->state.set_v - volt) / source_ohm(source), source->state.limit_a);
    }
    return sum_a;
}

static bool chip_drive(struct world *world, const struct world_net *net, double *ret_volt, double *ret_ohm)
{
    return net->kind == WORLD_TEST_BUS && world->chip && world->plugged && !world->damaged &&
           net->contact != WORLD_CONTACT_OPEN && world->model->atb_drive &&
           world->model->atb_drive(world->chip, world->t_ns, ret_volt, ret_ohm);
}

/* The common case, one source within its limit: exact but for the load's own dependence on the drop. */
static bool target_simple(struct world *world, struct world_net *net, struct world_source *source)
{
    double volt = source->state.set_v;
    double amps = load_current(world, net, volt);
    double ohm = source_ohm(source);
    for (int i = 0; i < 3 && ohm > SENSED_OHM; i++) {
        volt = source->state.set_v - amps * ohm;
        amps = load_current(world, net, volt);
    }
    if (fabs(amps) > source->state.limit_a)
        return false;
    net->target_v = volt;
    source->share_a = amps;
    return true;
}

/* Everything else: the voltage at which as much comes in as goes out; both are monotonic. */
static void target_search(struct world *world, struct world_net *net, bool drives, double chip_v,
                          double chip_ohm)
{
    double low = -VOLT_MAX, high = VOLT_MAX;
    for (int i = 0; i < SEARCH_STEPS; i++) {
        double middle = 0.5 * (low + high);
        if (inflow(world, net, middle, drives, chip_v, chip_ohm) > load_current(world, net, middle))
            low = middle;
        else
            high = middle;
    }
    net->target_v = 0.5 * (low + high);
    for (int i = 0; i < world->source_n; i++) {
        struct world_source *source = &world->source[i];
        if (source->net == net && source->state.on)
            source->share_a =
                clamp((source->state.set_v - net->target_v) / source_ohm(source), source->state.limit_a);
    }
}

static void set_target(struct world *world, struct world_net *net)
{
    struct world_source *only = NULL;
    int on = 0;
    double chip_v = 0, chip_ohm = 1, off_siemens = 0;
    for (int i = 0; i < world->source_n; i++) {
        struct world_source *source = &world->source[i];
        if (source->net != net)
            continue;
        source->share_a = 0;
        if (source->state.on) {
            only = source;
            on++;
        } else if (source->state.off_ohm > 0) {
            off_siemens += 1 / source->state.off_ohm;
        }
    }
    bool drives = chip_drive(world, net, &chip_v, &chip_ohm);
    if (on == 0 && !drives) {
        /* Discharge through bleeders and the chip itself. */
        double load_siemens = fabs(net->v) > SETTLED_V ? fabs(net->chip_a / net->v) : 0;
        double siemens = off_siemens + load_siemens;
        net->target_v = 0;
        net->tau_s = siemens > 0 ? net->capacitance_f / siemens : TAU_MAX_S;
    } else {
        if (drives || on > 1 || !target_simple(world, net, only))
            target_search(world, net, drives, chip_v, chip_ohm);
        net->tau_s = on ? only->state.tau_s : net->capacitance_f * chip_ohm;
    }
    net->tau_s = fmin(fmax(net->tau_s, TAU_MIN_S), TAU_MAX_S);
    if (net->v != net->target_v && fabs(net->v - net->target_v) < SETTLED_V) {
        net->v = net->target_v;
        net->chip_a = world_chip_current(world, net, net->v);
    }
}

static void set_limiting(struct world *world)
{
    for (int i = 0; i < world->source_n; i++) {
        struct world_source *source = &world->source[i];
        bool limiting = source->state.on && fabs(source->share_a) >= source->state.limit_a * (1 - 1e-9) &&
                        fabs(source->share_a) > 0;
        if (limiting && !source->limiting)
            source->limiting_since_ns = world->t_ns;
        source->limiting = limiting;
    }
}

/* ---- Protection ---- */

static void trip(struct world *world, struct world_source *source, int why)
{
    source->state.on = false;
    source->tripped = why;
    source->limiting = false;
    world_log(world, why == WORLD_TRIP_OVP ? "trip_ovp" : "trip_ocp", source->instrument,
              source->options.channel, source->net->v);
    if (source->options.on_trip)
        source->options.on_trip(source->options.context, source->options.channel, why);
    world->dirty = true;
}

static void check_protection(struct world *world)
{
    for (int i = 0; i < world->source_n; i++) {
        struct world_source *source = &world->source[i];
        if (!source->state.on)
            continue;
        if (source->state.ovp_v > 0 && fabs(source->net->v) >= source->state.ovp_v)
            trip(world, source, WORLD_TRIP_OVP);
        else if (source->state.ocp && source->limiting &&
                 world->t_ns - source->limiting_since_ns >= (int64_t)(source->state.ocp_delay_s * 1e9))
            trip(world, source, WORLD_TRIP_OCP);
    }
}

/* Seconds until the exponential of a node passes a voltage; infinity when it does not. */
static double crossing(const struct world_net *net, double volt)
{
    double ratio = (net->target_v - volt) / (net->target_v - net->v);
    bool ahead = net->target_v > net->v ? volt > net->v && volt < net->target_v
                                        : volt < net->v && volt > net->target_v;
    return ahead ? -net->tau_s * log(ratio) : INFINITY;
}

/* ---- Steps ---- */

static double step_s(const struct world_net *net)
{
    return net->tau_s * (fabs(net->v - net->target_v) > NEAR_V ? 0.25 : 3);
}

static void plan_step(struct world *world)
{
    double next_s = INFINITY;
    for (int i = 0; i < world->net_n; i++)
        if (world->net[i].v != world->net[i].target_v)
            next_s = fmin(next_s, step_s(&world->net[i]));
    for (int i = 0; i < world->source_n; i++) {
        const struct world_source *source = &world->source[i];
        if (!source->state.on)
            continue;
        if (source->state.ovp_v > 0)
            next_s = fmin(next_s, fmin(crossing(source->net, source->state.ovp_v),
                                       crossing(source->net, -source->state.ovp_v)));
        if (source->state.ocp && source->limiting)
            next_s = fmin(next_s, fmax(0, source->state.ocp_delay_s -
                                              (double)(world->t_ns - source->limiting_since_ns) * 1e-9));
    }
    world->step_due_ns = isfinite(next_s) ? world->t_ns + STEP_MIN_NS + (int64_t)(next_s * 1e9) : CLOCK_NEVER;
}

/* New targets and currents from the state at world->t_ns; protection and damage act here. */
static void settle(struct world *world)
{
    world->solving = true;
    for (int round = 0; world->dirty && round < RESOLVE_ROUNDS; round++) {
        world->dirty = false;
        for (int i = 0; i < world->net_n; i++) {
            struct world_net *net = &world->net[i];
            net->chip_a = world_chip_current(world, net, net->v);
            set_target(world, net);
            /* On its way, a node draws over the step what it draws in the middle of it. */
            if (net->v != net->target_v)
                net->chip_a = world_chip_current(world, net, world_node_volt(net, step_s(net) / 2));
        }
        set_limiting(world);
        check_protection(world);
        world_check_damage(world);
        world_tell_chip(world);
    }
    plan_step(world);
    world_heat_start(world);
    world->solving = false;
}

static void on_step(void *context, int64_t now_ns)
{
    struct world *world = context;
    (void)now_ns;
    world->step_timer = 0;
    world_advance(world);
}

static void arm(struct world *world)
{
    sim_cancel(world->loop, world->step_timer);
    world->step_timer =
        world->step_due_ns == CLOCK_NEVER ? 0 : sim_at(world->loop, world->step_due_ns, on_step, world);
}

void world_advance(struct world *world)
{
    if (world->solving)
        return; /* asked from a callback of ours: the world stands at t_ns */
    int64_t now_ns = sim_now(world->loop);
    bool stepped = false;
    /* In real time the timer may be late; physics is not: a protection acts at its own moment. */
    while (world->step_due_ns <= now_ns) {
        integrate_to(world, world->step_due_ns);
        world->dirty = true;
        settle(world);
        stepped = true;
    }
    integrate_to(world, now_ns);
    if (stepped)
        arm(world);
}

void world_resolve(struct world *world)
{
    world->dirty = true;
    if (world->solving)
        return; /* asked from a callback of ours: the next round sees it */
    world_advance(world);
    world->dirty = true;
    settle(world);
    arm(world);
}
