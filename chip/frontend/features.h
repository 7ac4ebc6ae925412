/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * features: what the chip sees of sound. Streaming: samples go in as they come (from a file or a microphone),
 * and the last 64 frames can be taken out at any time as the chip's 13 x 64 input.
 *
 * A frame is a 512-point Hann FFT every 256 samples at 16 kHz; its power spectrum is gathered by 13
 * triangular mel filters from 60 to 7600 Hz; each band becomes a code of 8 steps per octave of power. A
 * window is 64 frames (16,640 samples, 1.04 s). Its codes are shifted so that their mean is 96 (the automatic
 * gain control: loudness is no clue) and clamped to 0..255. Layout: index = band * 64 + frame, low band
 * first, old frame first.
 */
#ifndef CHIP_FRONTEND_FEATURES_H
#define CHIP_FRONTEND_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"

enum {
    FEATURES_RATE_HZ = 16000,
    FEATURES_FFT = 512,
    FEATURES_HOP = 256,
    FEATURES_BANDS = 13,
    FEATURES_FRAMES = 64,
    FEATURES_WINDOW = (FEATURES_FRAMES - 1) * FEATURES_HOP + FEATURES_FFT, /* samples */
    FEATURES_SIZE = FEATURES_BANDS * FEATURES_FRAMES,
    FEATURES_STEPS_PER_OCTAVE = 8,
    FEATURES_MEAN = 96
};

/* Owned by one thread. FFTW's planner is not thread-safe: open instances from one thread at a time. */
struct features;

int features_open(struct features **ret_features, struct error *err);
void features_close(struct features *features);
/* Forgets all samples. */
void features_reset(struct features *features);
/* Feeds samples; allocates nothing. */
void features_push(struct features *features, const int16_t *samples, size_t count);
/* Frames seen since the last reset. */
uint64_t features_frames(const struct features *features);
/* The last 64 frames. False, and out untouched, while there are fewer. */
bool features_window(const struct features *features, uint8_t out[FEATURES_SIZE]);

#endif
