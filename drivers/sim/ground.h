/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ground: the control socket of the virtual bench, for tests alone: DIR/control.sock, one JSON object a line
 * each way.
 *   {"op":"truth"}                      what is really so: volts, currents, energies, the chip's true
 * parameters
 *   {"op":"outputs"}                    state of every output
 *   {"op":"now"}                        time of the world, ns
 *   {"op":"fault","link":"psu1","kind":"silence","count":1,"skip":0,"value":0}   see sim_fault_kind in loop.h
 *   {"op":"reboot","link":"psu1"}         power of that instrument lost and back
 *   {"op":"plug"} {"op":"unplug"}       the chip
 *   {"op":"contact","net":"VDDD","state":"good"|"open"|"short"}
 *   {"op":"ambient","celsius":85}
 *   {"op":"quit"}
 * Answers: {"ok":true,"result":...} or {"ok":false,"error":"..."}. */
#ifndef DRIVERS_SIM_GROUND_H
#define DRIVERS_SIM_GROUND_H

#include "drivers/sim/loop.h"
#include "drivers/sim/world.h"

struct ground;

int ground_open(struct sim_loop *loop, struct world *world, const char *path, struct ground **ret_ground,
                struct error *err);
void ground_close(struct ground *ground);

#endif
