/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * record: the plain structs that sweeps emit to a sink and db implements. No behaviour of its own.
 * Every pointer is borrowed for the duration of the call: the sink copies what it keeps.
 */
#ifndef DAEMON_BASE_RECORD_H
#define DAEMON_BASE_RECORD_H

#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/base/units.h"

/* Condition flags of a reading (bits; names in record_flag_name; stored as an integer). */
enum reading_flag {
    READING_SIMULATED = 1 << 0,
    READING_LIMITING = 1 << 1, /* CC mode or compliance */
    READING_OVERRANGE = 1 << 2,
    READING_UNSETTLED = 1 << 3,
    READING_STALE = 1 << 4,
    READING_TRIPPED = 1 << 5,
    READING_NOT_A_NUMBER = 1 << 6, /* the instrument answered a NaN code; value is NaN */
    READING_CAL_EXTRAPOLATED = 1 << 7,
    READING_CAL_OVERDUE = 1 << 8, /* the instrument's own calibration due date has passed */
    READING_DERIVED = 1 << 9      /* computed from other readings of the same point */
};
enum { READING_FLAG_COUNT = 10 };
const char *record_flag_name(int bit_index);

/* Verdicts, as text in the store: append only. */
enum verdict {
    VERDICT_NONE,
    VERDICT_PASS,
    VERDICT_FAIL,
    VERDICT_MARGINAL,
    VERDICT_ERROR,
    VERDICT_HANG,
    VERDICT_LINK_ERROR,
    VERDICT_TRIPPED,
    VERDICT_SKIPPED,
    VERDICT_INFERRED,
    VERDICT_SUSPECT,
    VERDICT_COUNT
};
const char *verdict_name(int verdict);
int verdict_from_name(const char *name); /* -1 when unknown */

/* One measured (or, flagged, derived) value. 64 bytes or so; NaN until measured. */
struct reading {
    double value;
    double uncertainty; /* standard (k = 1), same unit; NaN when nothing states it */
    double range;       /* instrument range in force, same unit; NaN when it has none */
    int64_t time_ns;    /* bench clock (virtual or monotonic) at the end of the aperture */
    int64_t wall_ns;
    int32_t unit;           /* enum unit */
    uint32_t flags;         /* enum reading_flag */
    int64_t calibration_id; /* calibration in force, 0 none */
};

enum { RECORD_NAME_MAX = 64, RECORD_TEXT_MAX = 256 };

/* A channel's name as docs/names.md has them: in lower case, whatever the profile calls rails and positions.
 */
void record_channel(char out[RECORD_NAME_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Start of a run: identities are stable texts; *_json are complete snapshots. */
struct record_run {
    const char *ulid, *campaign, *plan_hash, *bench, *socket, *chip_serial, *chip_type, *operator_name,
        *backend;
    const char *build, *network_hash, *mapping_hash, *dataset_hash; /* "" where none */
    const char *plan_json, *bench_json, *chip_json, *tags;
    uint64_t seed;
    bool clock_virtual, simulated;
    int64_t time_ns, wall_ns;
    int64_t queued_wall_ns, validating_wall_ns; /* since when it was; 0: never */
    const char *notes;                          /* NULL: "" */
    double budget_s;                            /* bench time that it may take; 0: any */
    bool invalid;                               /* it gets no further than "validating" */
};

/* The chip in the socket has said who it is: from now on the run is about this one. */
struct record_chip {
    const char *type, *serial, *revision, *lot, *wafer; /* "" where the chip has none */
    int x, y;                                           /* -1: none */
};

/* A step of a run begins or ends. kind: "power", "calibrate" ... */
struct record_step {
    int index;
    const char *kind, *name;
    bool end;
    bool skipped; /* at the end: it means nothing in this run, and was not done */
    int code;     /* enum error_code at the end */
    int64_t time_ns;
};

/* Definition of a cell: canonical axis values, e.g. {"adc_bits":9,"adc_gain":4,"vdd_v":0.8}. */
struct record_cell {
    int step, index;       /* order of planning */
    const char *axes_json; /* canonical: keys sorted, shortest numbers */
    const char *identity;  /* hex hash of axes + repeat + chip: joins runs in compare */
    int repeat;
};

struct record_attempt {
    int step, cell, attempt; /* attempt from 1 */
    bool end;
    int verdict; /* at the end */
    int code;
    const char *message; /* error text or "" */
    int64_t time_ns, host_ns;
};

/* One scalar of a point (step, cell, attempt) or of the run (cell -1). */
struct record_reading {
    int step, cell, attempt;
    const char *channel; /* docs/names.md: "rail.vddd.current", "accuracy", "energy_per_inference" */
    const char *instrument;
    struct reading reading;
};

/* One inference result of one sample. */
struct record_sample {
    int32_t sample;
    int16_t label, prediction;
    int32_t output[4]; /* raw result words (logits) */
    uint32_t cycles;
    uint16_t status; /* chip status/err bits */
    int16_t source;
    int32_t clip;
};
/* A batch of samples: the unit of acknowledgement inside a point. */
struct record_samples {
    int step, cell, attempt;
    int first, count; /* position in the point's sample order: the resume cursor */
    const struct record_sample *sample;
    int64_t time_ns;
};

enum record_tensor_kind { TENSOR_INPUT, TENSOR_CODE, TENSOR_PSUM, TENSOR_ACTIVATION, TENSOR_OUTPUT };
struct record_tensor {
    int step, cell, attempt, sample, layer, kind, core;
    const char *layer_name;
    int shape[3];
    int type_bits; /* 8 unsigned, 16 or 32 signed little-endian */
    const void *data;
    size_t bytes;
};

struct record_calibration {
    const char *key; /* die/core/converter/bits/gain/supply/temperature/revision/algorithm, canonical text */
    const char *kind, *instrument_chain;
    const double *coefficient; /* as named in docs/names.md for this kind */
    int coefficient_count;
    const char *raw_json; /* the points behind it */
    double validity_s;
    int64_t time_ns;
};

/* Continuous channel log (rail currents, chamber): appended in time order per channel. */
struct record_trace {
    const char *channel;
    int unit;
    const int64_t *time_ns;
    const float *value;
    int count;
};

/* Anything a person will want to know later: a trip, a re-connect, an audit line, a report. */
struct record_event {
    const char *kind; /* "trip", "identity", "safe", "limit", "report", "note" ... */
    const char *text;
    const char *json; /* details or NULL */
    int64_t time_ns, wall_ns;
};

/* The sink. Calls return when the record is in the bounded queue (they block while it is full: a sweep slows
 * down, it never drops); they fail only when the store has failed. `ack` waits until everything sent before
 * is on disk. One run at a time per sink; called from the runner and sampler threads. */
struct record_sink {
    void *context;
    int (*run_begin)(void *context, const struct record_run *run, int64_t *ret_run_id, struct error *err);
    int (*run_end)(void *context, const char *state, int code, const char *message, int64_t time_ns,
                   struct error *err);
    int (*chip)(void *context, const struct record_chip *chip, struct error *err);
    int (*step)(void *context, const struct record_step *step, struct error *err);
    int (*cell)(void *context, const struct record_cell *cell, struct error *err);
    int (*attempt)(void *context, const struct record_attempt *attempt, struct error *err);
    int (*reading)(void *context, const struct record_reading *reading, struct error *err);
    int (*samples)(void *context, const struct record_samples *samples, struct error *err);
    int (*tensor)(void *context, const struct record_tensor *tensor, struct error *err);
    int (*calibration)(void *context, const struct record_calibration *cal, int64_t *ret_id,
                       struct error *err);
    int (*trace)(void *context, const struct record_trace *trace, struct error *err);
    int (*event)(void *context, const struct record_event *event, struct error *err);
    int (*ack)(void *context, struct error *err);
    /* The run goes on in another state ("running", "paused", "held"); `why` for people. NULL: not kept. */
    int (*state)(void *context, const char *state, const char *why, struct error *err);
};

#endif
