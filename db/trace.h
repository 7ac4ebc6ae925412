/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * trace: one SQLite file per run with its continuous channel logs. A chunk is up to 4096 samples: raw
 * little-endian float32 values, times as int64 offsets (no times at all when they are evenly spaced), and
 * min/max/mean; a group is a second summary over 8 full chunks. Each full chunk carries the SHA-256 of itself
 * and its predecessor; the last one of these is kept in the main store. */
#ifndef DB_TRACE_H
#define DB_TRACE_H

#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/base/hash.h"

enum {
    TRACE_CHUNK_SAMPLES = 4096,
    TRACE_GROUP_CHUNKS = 8,
    TRACE_CHANNELS_MAX = 64,
    TRACE_CODEC_F32_RAW =
        1, /* values: float32 little-endian; times: int64 offsets little-endian, or NULL: uniform */
    TRACE_CHAIN_HEX = 65
};

struct trace_writer;
struct trace_reader;

/* Creates the file (and its folder), or continues one that an interrupted run has left: what follows its last
 * sample is recorded as a gap. again: samples that the file has already are offered once more, and skipped.
 */
int trace_writer_open(const char *path, bool again, struct trace_writer **ret_writer, struct error *err);
/* Appends samples in time order per channel. */
int trace_writer_add(struct trace_writer *writer, const char *channel, int unit, const int64_t *time_ns,
                     const float *value, int count, struct error *err);
/* Commits; with flush also the chunks that are not full yet (they are rewritten when they grow). */
int trace_writer_commit(struct trace_writer *writer, bool flush, struct error *err);
/* Ends every open chunk and group and commits: what is in the file now is hashed. */
int trace_writer_seal(struct trace_writer *writer, struct error *err);
/* Number of chunks written and the head of the hash chain. */
int64_t trace_writer_chunks(const struct trace_writer *writer);
void trace_writer_chain(const struct trace_writer *writer, char ret_hex[TRACE_CHAIN_HEX]);
/* Does not flush. NULL is a no-op. */
void trace_writer_close(struct trace_writer *writer);

int trace_reader_open(const char *path, struct trace_reader **ret_reader, struct error *err);
void trace_reader_close(struct trace_reader *reader);

struct trace_channel {
    char name[64];
    int64_t id, first_ns, last_ns, samples;
    int unit;
};
/* Channels in order of their names; *ret_count at most TRACE_CHANNELS_MAX. */
int trace_reader_channels(struct trace_reader *reader, struct trace_channel *out, int *ret_count,
                          struct error *err);
/* ERR_NOT_FOUND when the run has no such trace. Does not count its samples (0). */
int trace_reader_channel(struct trace_reader *reader, const char *name, struct trace_channel *ret_channel,
                         struct error *err);

/* One pixel that has samples. */
struct trace_bucket {
    int64_t time_ns; /* of its first sample */
    int64_t count;   /* of samples that are not NaN */
    double sum;
    float min, max;
};
enum trace_source { TRACE_FROM_SAMPLES, TRACE_FROM_CHUNKS, TRACE_FROM_GROUPS };
/* Fills bucket[pixels] (count 0: nothing there) for the window [t0, t1]. */
int trace_reader_plot(struct trace_reader *reader, const struct trace_channel *channel, int64_t t0_ns,
                      int64_t t1_ns, int pixels, struct trace_bucket *bucket, int *ret_source,
                      struct error *err);
/* Calls each(context, from_ns, to_ns) for every gap: an interval whose samples died with an earlier process.
 */
typedef void trace_gap_fn(void *context, int64_t from_ns, int64_t to_ns);
int trace_reader_gaps(struct trace_reader *reader, const struct trace_channel *channel, trace_gap_fn *each,
                      void *context, struct error *err);
/* Every sample of a channel, a chunk at a time. The callback's non-zero return ends the walk and is returned.
 */
typedef int trace_chunk_fn(void *context, const int64_t *time_ns, const float *value, int count);
int trace_reader_each(struct trace_reader *reader, const struct trace_channel *channel, trace_chunk_fn *each,
                      void *context, struct error *err);
/* Recomputes the hash chain; ERR_MISMATCH names the first chunk that was changed. ret_chain may be NULL. */
int trace_reader_verify(struct trace_reader *reader, char ret_chain[TRACE_CHAIN_HEX], struct error *err);

/* One link of the chain, for both halves: hashes the chain so far (nothing for the first link), the channel's
 * name with its NUL, the first time and the step (-1: not uniform) as int64, the offsets if any, and the
 * values. */
void trace_chain(uint8_t chain[SHA256_BYTES], int64_t links, const char *channel, int64_t first_ns,
                 int64_t step_ns, const void *offsets, const void *samples, int count);

#endif
