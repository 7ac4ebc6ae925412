/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * keeper_client: what any thread or program may ask the keeper directly on its socket, without a bench:
 * heartbeat of the daemon, emergency stop, ordered switching off, clearing of the latch, status. All waits
 * here are bounded host time. */
#ifndef INSTRUMENTS_KEEPER_CLIENT_H
#define INSTRUMENTS_KEEPER_CLIENT_H

#include <stddef.h>

#include "daemon/base/error.h"

/* Times of the heartbeat, host milliseconds; NB_TIME_SCALE in the environment multiplies them (sanitizers are
 * slow). */
enum { KEEPER_BEAT_MS = 250, KEEPER_BEAT_LIMIT_MS = 1000, KEEPER_STEP_MS = 1000 };
double keeper_client_time_scale(void);

/* The daemon's sign of life, from its MAIN thread: open, beat at least every KEEPER_BEAT_MS, close last of
 * all. Closing it, or silence for KEEPER_BEAT_LIMIT_MS while this process has something switched on and is
 * not starved of processor time, makes the keeper fence every client of this process and run its undo list.
 */
struct keeper_heartbeat;
int keeper_client_heartbeat_open(const char *socket_path, struct keeper_heartbeat **ret, struct error *err);
/* Never waits. ERR_FENCED when the keeper has dropped this process. */
int keeper_client_heartbeat(struct keeper_heartbeat *heartbeat, struct error *err);
void keeper_client_heartbeat_close(struct keeper_heartbeat *heartbeat);

/* Everything off in emergency order, now, and latched. reason says who and why. ret_missed: steps without
 * confirmation. */
int keeper_client_estop(const char *socket_path, const char *reason, int *ret_missed, struct error *err);
/* Everything off in the ordinary order, not latched. */
int keeper_client_off(const char *socket_path, int *ret_missed, struct error *err);
/* Ends a latched emergency stop or trip. The reason is recorded and may not be empty. */
int keeper_client_clear(const char *socket_path, const char *reason, struct error *err);
/* JSON: latched, reason, armed steps, clients, instruments, and "last_safe": the report of the last run of
 * the undo list (null when none), which survives the keeper. malloc'ed: free(). */
int keeper_client_status(const char *socket_path, char **ret_json, struct error *err);

/* A connected SOCK_SEQPACKET descriptor with buffers for the largest message. ERR_NO_ANSWER when nobody
 * listens. */
int keeper_client_connect(const char *socket_path, int *ret_fd, struct error *err);

#endif
