/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sim_air: first order, exactly, tick by tick. */
#include "drivers/sim/sim_air.h"

#include <math.h>

#define TICK_S  0.25
#define THERE_C 0.01

static double goal(struct sim_air *air)
{
    if (!air->on)
        return SIM_AIR_ROOM_C;
    double step_c = air->ramp_k_min > 0 ? air->ramp_k_min / 60 * TICK_S : INFINITY;
    air->goal_c += fmin(fmax(air->set_c - air->goal_c, -step_c), step_c);
    return air->goal_c;
}

static void look_inside(struct sim_air *air, int64_t now_ns)
{
    if (!air->on || fabs(air->air_c - air->set_c) > air->window_k)
        air->inside_ns = INT64_MAX;
    else if (air->inside_ns > now_ns)
        air->inside_ns = now_ns;
}

/* At rest there is no timer, so that virtual time can stand still. */
static void on_tick(void *context, int64_t now_ns)
{
    struct sim_air *air = context;
    double goal_c = goal(air), left_c = (goal_c - air->air_c) * exp(-TICK_S / air->tau_s);
    bool near = fabs(left_c) < THERE_C;
    air->air_c = near ? goal_c : goal_c - left_c;
    world_set_ambient(air->world, air->air_c);
    look_inside(air, now_ns);
    bool there = near && goal_c == (air->on ? air->set_c : SIM_AIR_ROOM_C);
    air->timer = there ? 0 : sim_at(air->loop, now_ns + (int64_t)(TICK_S * 1e9), on_tick, air);
}

static void move(struct sim_air *air)
{
    int64_t now_ns = sim_now(air->loop);
    air->inside_ns = INT64_MAX;
    look_inside(air, now_ns);
    if (!air->timer && (air->on ? air->set_c : SIM_AIR_ROOM_C) != air->air_c)
        air->timer = sim_at(air->loop, now_ns + (int64_t)(TICK_S * 1e9), on_tick, air);
}

void sim_air_set(struct sim_air *air, double celsius)
{
    air->set_c = celsius;
    world_log(air->world, "temperature", air->name, 1, celsius);
    move(air);
}

void sim_air_switch(struct sim_air *air, bool on)
{
    if (air->on == on)
        return;
    air->on = on;
    air->goal_c = air->air_c;
    world_log(air->world, "air", air->name, 1, on);
    move(air);
}

double sim_air_inside_s(const struct sim_air *air)
{
    int64_t now_ns = sim_now(air->loop);
    return air->inside_ns > now_ns ? -1 : (double)(now_ns - air->inside_ns) * 1e-9;
}

int sim_air_init(struct sim_air *air, const struct sim_device_setup *setup, double tau_s, struct error *err)
{
    struct json_problems problems = { 0 };
    struct json_at at = json_root(setup->options, &problems);
    *air = (struct sim_air){ .loop = setup->loop,
                             .world = setup->world,
                             .name = setup->name,
                             .set_c = SIM_AIR_ROOM_C,
                             .air_c = SIM_AIR_ROOM_C,
                             .goal_c = SIM_AIR_ROOM_C,
                             .window_k = 1,
                             .on = true,
                             .inside_ns = 0 };
    air->tau_s = json_double(&at, "tau_s", false, 0.1, 3600, tau_s);
    return json_problems_error(&problems, setup->name, err);
}

void sim_air_fini(struct sim_air *air)
{
    if (air->loop)
        sim_cancel(air->loop, air->timer);
}
