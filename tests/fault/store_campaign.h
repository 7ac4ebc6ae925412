/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * store_campaign: a small run through the real recorder, whose every value follows from its place, so that
 * what a store holds can be judged without knowing how it came about. A run that was cut goes on where the
 * store says. */
#ifndef TESTS_FAULT_STORE_CAMPAIGN_H
#define TESTS_FAULT_STORE_CAMPAIGN_H

#include "daemon/base/error.h"
#include "tests/fault/disk_shim.h"

enum { CAMPAIGN_POINTS = 48, CAMPAIGN_READINGS = 6, CAMPAIGN_SAMPLES = 60, CAMPAIGN_BATCH = 20 };

struct recorder;

struct campaign_life {
    const char *db_path;
    int stop_after;            /* points, then the process "dies" between two points; 0: to the end */
    struct disk_log *log;      /* gets a mark for every promise, or NULL */
    bool checkpoint;           /* somebody else checkpoints now and then, so that the log starts over */
    struct recorder **running; /* where others find the recorder while it is open, or NULL */
};

/* Records. *promise is what the store has acknowledged before this call, and after it. The error is the
 * recorder's. */
int campaign_live(const struct campaign_life *life, struct disk_promise *promise, struct error *err);

/* A store as an older build has left it: schema `version`, the campaign's run interrupted before its first
 * point. */
int campaign_old_store(const char *db_path, int version, struct disk_log *log, struct disk_promise *promise,
                       struct error *err);

/* Opens the store as the daemon would and looks at every row. Returns 0 when everything that was promised is
 * there and everything that is there is right; else err says what is not: ERR_MISMATCH lost, others damaged.
 * `complete`: all points must be there, once. */
int campaign_judge(const char *db_path, const struct disk_promise *promise, bool complete, struct error *err);

#endif
