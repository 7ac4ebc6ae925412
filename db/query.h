/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * query: everything that reads a store: the web, the command line, compare and export. A query is one
 * read-only SQLite handle; it never blocks the recorder and sees what is committed. One thread at a time may
 * use a query; threads that read at the same time open one each (opening costs about a millisecond).
 *
 * Every ret_json is a cJSON tree owned by the caller: cJSON_Delete(). Numbers that were not measured (NaN)
 * are null. `run` arguments accept a whole ULID, a unique prefix of at least 4 characters, or "latest" (the
 * newest run).
 */
#ifndef DB_QUERY_H
#define DB_QUERY_H

#include "daemon/base/error.h"
#include "daemon/base/json.h"

enum {
    QUERY_RUNS_MAX = 1000,     /* per call */
    QUERY_SAMPLES_MAX = 10000, /* per call */
    QUERY_EVENTS_MAX = 10000,  /* per call */
    QUERY_PIXELS_MAX = 4000    /* per trace */
};

struct query;

/* ERR_NOT_FOUND when there is no such file; ERR_INVALID when it is not a nightbench store, or a newer one. */
int query_open(const char *db_path, struct query **ret_query, struct error *err);
void query_close(struct query *query);

/* Newest first:
 * [{"ulid","campaign","state","code","message","plan_hash","bench","socket","chip":{"type","serial",
 * "revision","lot","wafer","x","y"},"backend","operator","build","tags","seed","clock":"real"|"virtual","simulated",
 * "begin":ISO,"begin_ns","end":ISO|null,"end_ns","begin_time_ns","end_time_ns",
 * "points":{"planned":n,"attempts":n,"pass":n,"fail":n,...}}]. before_ulid: older than that run; NULL: from
 * the newest. */
int query_runs(struct query *query, int limit, const char *before_ulid, cJSON **ret_json, struct error *err);

/* As one element of query_runs, and
 * "network_hash","mapping_hash","dataset_hash","notes","plan","bench_snapshot", "chip_snapshot" (the JSON
 * snapshots, parsed), "steps":[{"step","kind","name","state":"running"|"ended"|"skipped","code",
 * "begin_time_ns","end_time_ns"}], "cursor":{"step","cell","attempt","next_sample"}|null, "readings":[those
 * of the run itself], "trace":{"file","chunks","chain"}|null. */
int query_run(struct query *query, const char *run, cJSON **ret_json, struct error *err);

/* Points in the order of planning (step -1: all steps): [{"step","cell","identity","repeat","axes":{...},
 * "verdict","attempts":n,"attempt":number of the last,"code","message","begin_time_ns","end_time_ns",
 * "host_ns","readings":[{"channel","instrument","value","uncertainty","range","unit","flags":["limiting",...],
 * "time_ns","calibration"}]}]. Verdict and readings are those of the last attempt; a point without an attempt
 * has verdict "none", attempts 0. */
int query_points(struct query *query, const char *run, int step, cJSON **ret_json, struct error *err);

/* {"total":n,"offset":n,"samples":[{"position","sample","source","clip","label","prediction","correct","output":[4],
 * "cycles","status"}]} of the last attempt of one point. */
int query_samples(struct query *query, const char *run, int step, int cell, int offset, int limit,
                  cJSON **ret_json, struct error *err);

/* Channels that have readings or traces: [{"channel","unit","instrument","readings":n,"trace":bool,
 * "first_ns","last_ns","samples":n}]. */
int query_channels(struct query *query, const char *run, cJSON **ret_json, struct error *err);

/* {"channel","unit","t0","t1","pixels":n,"source":"samples"|"chunks"|"groups","t":[ns],"min":[],"max":[],"mean":[],
 * "gaps":[[from_ns,to_ns]]}: one entry per pixel that has samples (t is its first sample's time). t1 <= t0:
 * the whole trace. Costs pixels, not samples: from summaries as soon as one is narrower than a pixel. */
int query_trace(struct query *query, const char *run, const char *channel, int64_t t0_ns, int64_t t1_ns,
                int pixels, cJSON **ret_json, struct error *err);

/* Events after an id, oldest first: [{"id","kind","text","details":json|null,"time_ns","wall":ISO}]. run
 * NULL: of all runs and of none, each with "run". */
int query_events(struct query *query, const char *run, int64_t after_id, int limit, cJSON **ret_json,
                 struct error *err);

/* Commands of the audit log that fit; NULL, 0 and INT64_MAX leave a limit out. */
struct query_audit {
    const char *user;       /* exactly */
    int64_t from_ns, to_ns; /* wall time, from <= t < to */
    int64_t before_id;      /* only older entries than this one: the next page */
};
/* Newest first: [{"id","wall":ISO,"user","role","action","status":n,"subject"}]. */
int query_audit_log(struct query *query, const struct query_audit *filter, int limit, cJSON **ret_json,
                    struct error *err);

/* Newest first:
 * [{"id","key","kind","chip","run","instrument_chain","coefficients":[],"raw":json|null,"validity_s",
 * "time_ns","wall":ISO,"parent":id|null}]. chip_serial NULL: every chip. */
int query_calibrations(struct query *query, const char *chip_serial, cJSON **ret_json, struct error *err);

/* Tensors of one sample (-1: all):
 * [{"step","cell","attempt","sample","layer","layer_name","kind","core","shape":[3],
 * "type_bits","data":[integers]}]. */
int query_tensors(struct query *query, const char *run, int sample, cJSON **ret_json, struct error *err);

/* ---- Rows for comparison: no JSON, one call per row, ordered by (identity, position). ---- */
struct query_compare_row {
    const char *identity, *axes_json;
    int step, cell, attempt, verdict; /* verdict: enum verdict */
    int position, sample, source, label, prediction;
    int clip;
    int32_t output[4];
    uint32_t cycles;
    int status;
};
/* The callback returns 0 to go on, else the walk ends and returns that value. Every pointer is valid during
 * the call. */
typedef int query_compare_fn(void *context, const struct query_compare_row *row);
/* Samples of the last attempt of every point of a run. */
int query_compare_rows(struct query *query, const char *run, query_compare_fn *each, void *context,
                       struct error *err);

struct query_tensor_row {
    const char *identity, *layer_name;
    int step, cell, attempt, sample, layer, kind, core; /* kind: enum record_tensor_kind */
    int shape[3], type_bits;
    const void *data;
    size_t bytes;
};
typedef int query_tensor_fn(void *context, const struct query_tensor_row *row);
/* Tensors of the last attempt of every point, ordered by (identity, sample, layer, kind, core). */
int query_tensor_each(struct query *query, const char *run, query_tensor_fn *each, void *context,
                      struct error *err);

/* Resolves a run argument to its ULID (27 bytes with the NUL). */
int query_resolve(struct query *query, const char *run, char ret_ulid[27], struct error *err);

#endif
