/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * energy: windows of the sampler turned into joules. */
#include "sweeps/energy.h"

#include <math.h>
#include <string.h>

enum { REPEAT_MAX = 65535, WINDOW_TRIES = 20 };
/* Of one run: what is read of the counter has 32 bits, and estimates may be short of the truth. */
#define COUNTED_CYCLES_MAX 2e9

/* Bench time comes from a quartz within 50 ppm; its resolution is nothing beside that. */
#define U_TIME_SHARE (50e-6 / 1.732)

static bool same_rails(const struct run *run)
{
    return !isnan(run->idle_w) && memcmp(run->idle_rail_v, run->power.set_v, sizeof run->idle_rail_v) == 0;
}

int energy_idle(struct run *run, double window_s, struct error *err)
{
    struct sampler_window window;
    int64_t t0_ns = runner_now(run);

    if (run->sampler == NULL || same_rails(run))
        return 0;
    for (int i = 0; i < WINDOW_TRIES; i++) {
        int rc = runner_wait(run, window_s, err);
        if (rc < 0)
            return rc;
        if (!sampler_window(run->sampler, t0_ns, runner_now(run), &window))
            continue;
        run->idle_w = window.total_w;
        run->u_idle_w = window.u_total_w;
        memcpy(run->idle_rail_v, run->power.set_v, sizeof run->idle_rail_v);
        return 0;
    }
    return error_set(err, ERR_TIMEOUT, "no rail reading fell into %.3g s of idling", WINDOW_TRIES * window_s);
}

static double operations(const struct run *run)
{
    return (double)run->context->assets->network[run->network].macs * run->profile->operations_per_mac;
}

/* No figure is better than a made-up one, and said is better than silent. */
static int tell_none(struct run *run, const struct run_point *point, const char *what, int64_t t0_ns,
                     int64_t t1_ns, struct error *err)
{
    return runner_event(run, "note", NULL, err,
                        "step %d, point %d, attempt %d: no %s%s: no pass over the rails falls into %.3g s",
                        point->step, point->cell != NULL ? point->cell->index : -1, point->attempt,
                        point->prefix != NULL ? point->prefix : "", what,
                        fmax(0.0, (double)(t1_ns - t0_ns) / NS_PER_S));
}

int energy_activity(struct run *run, struct run_point *point, int64_t t0_ns, int64_t t1_ns, int64_t n,
                    double u_each_s, struct error *err)
{
    struct sampler_window window;
    double each_s = (double)(t1_ns - t0_ns) / NS_PER_S / (double)n;
    double u_s = hypot(U_TIME_SHARE * each_s, u_each_s);

    int rc = runner_quantity(run, point, QUANTITY_TIME, each_s, u_s, err);
    if (rc < 0 || run->sampler == NULL)
        return rc;
    if (!sampler_window(run->sampler, t0_ns, t1_ns, &window))
        return tell_none(run, point, "energy", t0_ns, t1_ns, err);
    rc = runner_rails(run, point, &window, err);
    if (rc < 0)
        return rc;

    double energy_j = window.total_w * each_s;
    double u_energy_j = hypot(window.u_total_w * each_s, window.total_w * u_s);
    rc = runner_quantity(run, point, QUANTITY_ENERGY, energy_j, u_energy_j, err);
    if (rc == 0)
        rc = runner_quantity(run, point, QUANTITY_EFFICIENCY, operations(run) / energy_j,
                             operations(run) / energy_j * u_energy_j / energy_j, err);
    if (rc < 0 || !same_rails(run))
        return rc;
    rc = runner_quantity(run, point, QUANTITY_POWER_IDLE, run->idle_w, run->u_idle_w, err);
    if (rc == 0)
        rc = runner_quantity(
            run, point, QUANTITY_ENERGY_NET, (window.total_w - run->idle_w) * each_s,
            hypot(hypot(window.u_total_w, run->u_idle_w) * each_s, (window.total_w - run->idle_w) * u_s),
            err);
    return rc;
}

/* One repeated run. *ret_t0_ns .. *ret_t1_ns lies inside of its compute time; *ret_each_s is what one
 * inference of it took by the chip's own count of cycles. */
static int repeat_run(struct run *run, const struct chip_program *program, const uint8_t *input, int repeat,
                      int64_t *ret_t0_ns, int64_t *ret_t1_ns, double *ret_each_s, struct error *err)
{
    int64_t expected_ns = chip_run_ns(run->chip, program) * repeat;
    uint32_t cycles, err_bits = 0;

    int rc = chip_input(run->chip, program, input, err);
    if (rc == 0)
        rc = chip_repeat(run->chip, (uint32_t)repeat, err);
    if (rc < 0)
        return rc;
    int64_t before_ns = runner_now(run); /* it starts between here and t0 */
    rc = chip_start(run->chip, err);
    int64_t t0_ns = runner_now(run);
    if (rc == 0)
        rc = chip_wait(run->chip, expected_ns, &cycles, &err_bits, err);
    int64_t t1_ns = runner_now(run);

    struct error ignored;
    int restored = chip_repeat(run->chip, 1, rc == 0 ? err : &ignored);
    if (rc == 0)
        rc = restored;
    if (rc < 0)
        return rc;
    /* A chip that counts no cycles leaves an empty window, and so no figure. */
    double busy_s = cycles / chip_clock_hz(run->chip);
    int64_t end_ns = before_ns + (int64_t)(busy_s * NS_PER_S);
    *ret_t0_ns = t0_ns;
    *ret_t1_ns = t1_ns < end_ns ? t1_ns : end_ns;
    *ret_each_s = busy_s / repeat;
    return 0;
}

int energy_compute(struct run *run, struct run_point *point, const uint8_t *input, double window_s,
                   int repeat, struct error *err)
{
    const struct chip_program *program = backend_chip_program(&run->chip_backend);
    struct sampler_window window;
    int64_t t0_ns = 0, t1_ns = 0;

    if (run->sampler == NULL || program == NULL)
        return 0;
    double each_s = (double)chip_run_ns(run->chip, program) / NS_PER_S; /* expected; counted below */
    double most = fmin(REPEAT_MAX, COUNTED_CYCLES_MAX / fmax(1.0, (double)program->cycles));
    repeat = (int)fmax(1.0, fmin(most, fmax(repeat, ceil(window_s / each_s))));
    int rc = repeat_run(run, program, input, repeat, &t0_ns, &t1_ns, &each_s, err);
    if (rc < 0)
        return rc;
    if (!sampler_window(run->sampler, t0_ns, t1_ns, &window))
        return tell_none(run, point, "energy of computing alone", t0_ns, t1_ns, err);

    double energy_j = window.total_w * each_s, u_energy_j = window.u_total_w * each_s;
    rc = runner_quantity(run, point, QUANTITY_ENERGY_COMPUTE, energy_j, u_energy_j, err);
    if (rc == 0)
        rc = runner_quantity(run, point, QUANTITY_EFFICIENCY_COMPUTE, operations(run) / energy_j,
                             operations(run) / energy_j * u_energy_j / energy_j, err);
    return rc;
}
