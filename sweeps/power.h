/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * power: brings the rails of a socket up, moves them together and takes them down, in the order of the chip
 * profile. Each rail has its current limit and its protection programmed and read back, and its undo
 * registered with the keeper, BEFORE its output goes on; it then ramps, and its voltage is read back. The SPI
 * pins are driven only after the rails are up. Owned by the runner thread. */
#ifndef SWEEPS_POWER_H
#define SWEEPS_POWER_H

#include "chip/profile.h"
#include "instruments/bench.h"

/* Ramps move in steps no larger than this, all rails of a move in turn: that is how far rails that belong
 * together ever are apart. */
#define POWER_STEP_V      0.05
#define POWER_TOLERANCE_V 0.010 /* plus POWER_TOLERANCE of the set value: what the read back must confirm */
#define POWER_TOLERANCE   0.02
#define POWER_TIMEOUT_S   1.0 /* for a rail to arrive within tolerance */

struct power {
    const struct chip_profile *profile;
    const struct bench_file *bench;
    struct bench_client *client;
    const struct bench_channel *channel[PROFILE_RAILS_MAX];
    bool on[PROFILE_RAILS_MAX];
    double set_v[PROFILE_RAILS_MAX];
    bool pins_driven, source_registered, up;
};

/* Finds the channel of every rail; NOT_FOUND names a rail that nothing feeds. Touches no hardware. */
int power_init(struct power *power, const struct chip_profile *profile, const struct bench_file *bench,
               struct bench_client *client, struct error *err);
/* target_v[rail]; on failure what is up stays up for the caller to take down with power_down(). */
int power_up(struct power *power, const double *target_v, struct error *err);
/* Is a rail that reads volt_v where it was set? u_volt_v: standard uncertainty, NaN as 0. */
bool power_holds(double set_v, double volt_v, double u_volt_v);
/* Asks every rail that was switched on whether it still is; ERR_TRIPPED names one that is not. */
int power_check(struct power *power, struct error *err);
/* Moves rails that are up; NaN: stays. Raising goes in power-up order within each step, lowering backwards.
 * Waits until the read back confirms. */
int power_move(struct power *power, const double *target_v, struct error *err);
/* Ordered power-down by the keeper's undo list, then a read back of every output. Goes on whatever fails;
 * returns the first error. *ret_off: every output was read back as off. */
int power_down(struct power *power, bool emergency, bool *ret_off, struct error *err);

/* Voltages of all rails: nominal, with the group `group` (NULL none) at group_v. */
void power_targets(const struct chip_profile *profile, const char *group, double group_v,
                   double *ret_target_v);
/* Steps of the largest move between two sets of voltages; and the time the ramp takes. Pure: planning uses
 * them too. */
int power_steps(const struct chip_profile *profile, const double *from_v, const double *to_v);
double power_ramp_s(const struct chip_profile *profile, const double *from_v, const double *to_v);

#endif
