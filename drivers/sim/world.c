/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * world: nets and sources of the virtual bench, and what can be asked about them. */
#include "drivers/sim/world.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "drivers/sim/world_private.h"

static const double CAPACITANCE_F = 10e-6; /* of a net that states none: the fixture's decoupling */
static const double AMBIENT_C = 25.0;

int world_open(struct sim_loop *loop, const char *log_path, uint64_t seed, struct world **ret_world,
               struct error *err)
{
    struct world *world = calloc(1, sizeof *world);
    if (!world)
        return error_set(err, ERR_MEMORY, "world");
    world->loop = loop;
    world->seed = seed;
    world->t_ns = world->heat_ns = sim_now(loop);
    world->step_due_ns = CLOCK_NEVER;
    world->ambient_c = world->die_c = AMBIENT_C;
    if (log_path) {
        world->log = fopen(log_path, "ae");
        if (!world->log) {
            int code = error_set_errno(err, errno, "%s", log_path);
            free(world);
            return code;
        }
        setvbuf(world->log, NULL, _IOLBF, 0);
    }
    *ret_world = world;
    return 0;
}

void world_close(struct world *world)
{
    if (!world)
        return;
    if (world->chip)
        world->model->close(world->chip);
    if (world->log)
        fclose(world->log);
    free(world);
}

void world_log(struct world *world, const char *kind, const char *who, int channel, double value)
{
    if (!world->log)
        return;
    const char *net = "-";
    for (int i = 0; i < world->source_n; i++)
        if (world->source[i].options.channel == channel && strcmp(world->source[i].instrument, who) == 0 &&
            !world->source[i].net->hidden)
            net = world->source[i].net->name;
    fprintf(world->log, "%lld %s %s %d %.9g %s\n", (long long)world->t_ns, kind, who, channel, value, net);
}

/* ---- Nets ---- */

int world_net_add(struct world *world, const struct world_net_options *options, struct world_net **ret_net,
                  struct error *err)
{
    if (world->net_n == WORLD_NETS_MAX)
        return error_set(err, ERR_FULL, "more than %d nets", WORLD_NETS_MAX);
    if (world_net_find(world, options->name))
        return error_set(err, ERR_CONFLICT, "net %s exists twice", options->name);
    struct world_net *net = &world->net[world->net_n];
    *net = (struct world_net){ .world = world,
                               .index = world->net_n++,
                               .kind = options->kind,
                               .abs_max_v = options->abs_max_v,
                               .abs_min_v = options->abs_min_v,
                               .capacitance_f =
                                   options->capacitance_f > 0 ? options->capacitance_f : CAPACITANCE_F,
                               .tau_s = 1 };
    snprintf(net->name, sizeof net->name, "%s", options->name);
    *ret_net = net;
    return 0;
}

struct world_net *world_net_find(struct world *world, const char *name)
{
    for (int i = 0; i < world->net_n; i++)
        if (strcmp(world->net[i].name, name) == 0)
            return &world->net[i];
    return NULL;
}

int world_net_index(const struct world_net *net)
{
    return net->index;
}

const char *world_net_name(const struct world_net *net)
{
    return net->name;
}

double world_volt(struct world *world, const struct world_net *net)
{
    world_advance(world);
    return world->plugged && net->contact == WORLD_CONTACT_GOOD ? net->v : 0;
}

double world_current(struct world *world, const struct world_net *net)
{
    world_advance(world);
    return net->chip_a + world_dynamic_current(world, net);
}

double world_energy(struct world *world, const struct world_net *net)
{
    world_advance(world);
    double sum_j = 0;
    for (int i = 0; i < world->net_n; i++)
        if (!net || net == &world->net[i])
            sum_j += world->net[i].energy_j;
    return sum_j;
}

/* ---- Sources ---- */

int world_source_add(struct world *world, const struct world_source_options *options,
                     struct world_source **ret_source, struct error *err)
{
    if (world->source_n == WORLD_SOURCES_MAX)
        return error_set(err, ERR_FULL, "more than %d sources", WORLD_SOURCES_MAX);
    struct world_net *net = options->net;
    if (!net) {
        char name[WORLD_NAME_MAX];
        snprintf(name, sizeof name, "%.20s.%d", options->instrument, options->channel);
        struct world_net_options open_terminals = { .name = name };
        int code = world_net_add(world, &open_terminals, &net, err);
        if (code)
            return code;
        net->hidden = true;
    }
    struct world_source *source = &world->source[world->source_n++];
    *source =
        (struct world_source){ .options = *options, .net = net, .state = { .tau_s = 1e-3, .off_ohm = 1e6 } };
    snprintf(source->instrument, sizeof source->instrument, "%s", options->instrument);
    *ret_source = source;
    return 0;
}

void world_source_set(struct world *world, struct world_source *source,
                      const struct world_source_state *state)
{
    struct world_source_state old = source->state;
    world_advance(world);
    source->state = *state;
    if (state->on)
        source->tripped = 0;
    int channel = source->options.channel;
    if (old.set_v != state->set_v)
        world_log(world, "set", source->instrument, channel, state->set_v);
    if (old.limit_a != state->limit_a)
        world_log(world, "limit", source->instrument, channel, state->limit_a);
    if (old.ovp_v != state->ovp_v)
        world_log(world, "ovp", source->instrument, channel, state->ovp_v);
    if (old.ocp != state->ocp)
        world_log(world, "ocp", source->instrument, channel, state->ocp);
    if (old.on != state->on)
        world_log(world, "output", source->instrument, channel, state->on);
    world_resolve(world);
}

/* With sense leads the terminals' drop is out of sight. */
static double drop_ohm(const struct world_source *source)
{
    return source->options.remote_sense ? 0 : source->options.lead_ohm;
}

double world_source_volt(struct world *world, const struct world_source *source)
{
    world_advance(world);
    return source->net->v + source->share_a * drop_ohm(source);
}

double world_source_current(struct world *world, const struct world_source *source)
{
    world_advance(world);
    return source->share_a + (source->state.on ? world_dynamic_current(world, source->net) : 0);
}

bool world_source_limiting(struct world *world, const struct world_source *source)
{
    world_advance(world);
    return source->limiting;
}

struct world_integrals world_source_integrals(struct world *world, const struct world_source *source)
{
    struct world_integrals at = world_net_integrals(world, source->net);
    at.coulomb = source->coulomb;
    at.volt_s += source->coulomb * drop_ohm(source);
    return at;
}

struct world_integrals world_net_integrals(struct world *world, const struct world_net *net)
{
    world_advance(world);
    return (struct world_integrals){ .t_s = (double)world->t_ns * 1e-9,
                                     .volt_s = net->volt_s,
                                     .coulomb = net->chip_coulomb };
}

void world_charge(struct world *world, struct world_net *net, double coulomb, int64_t t0_ns, int64_t t1_ns)
{
    world_advance(world);
    if (t0_ns < world->t_ns)
        t0_ns = world->t_ns;
    if (t1_ns <= t0_ns)
        t1_ns = t0_ns + 1;
    if (world->charge_n < WORLD_CHARGES_MAX)
        world->charge[world->charge_n++] =
            (struct charge){ .net = net, .coulomb = coulomb, .t0_ns = t0_ns, .t1_ns = t1_ns };
}

void world_touch(struct world *world)
{
    world_resolve(world);
}
