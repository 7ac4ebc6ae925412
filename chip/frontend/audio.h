/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * audio: a sound file as 16-bit mono samples at one rate. Reads what libsndfile reads (WAV, FLAC, Ogg Vorbis,
 * Opus) and headerless ".g722" (ITU-T G.722 at 64 kbit/s, as Asterisk ships its prompts) through libspandsp.
 */
#ifndef CHIP_FRONTEND_AUDIO_H
#define CHIP_FRONTEND_AUDIO_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"

enum {
    AUDIO_RATE_MIN_HZ = 4000,
    AUDIO_RATE_MAX_HZ = 192000,
    AUDIO_CHANNELS_MAX = 8,
    AUDIO_SECONDS_MAX = 600 /* what one clip may contribute; the rest of a longer file is not read */
};

struct audio {
    int16_t *samples;
    size_t count;
};

/* Decodes at most max_seconds (1..AUDIO_SECONDS_MAX) of the file, averages its channels and resamples to
 * rate_hz. */
int audio_load(const char *path, int rate_hz, int max_seconds, struct audio *ret_audio, struct error *err);
void audio_free(struct audio *audio);
/* "libsndfile-1.2.0": recorded in what is built, because decoders differ between versions. */
const char *audio_library(void);

/* Band-limited rate conversion: Kaiser-windowed sinc, polyphase, passband to 0.45 of the lower rate, stopband
 * below -75 dB, no delay. *ret_out is malloc'ed and has *ret_count = ceil(count * out_hz / in_hz) samples. */
int audio_resample(const float *in, size_t count, int in_hz, int out_hz, float **ret_out, size_t *ret_count,
                   struct error *err);

#endif
