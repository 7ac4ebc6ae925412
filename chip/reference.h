/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * reference: what an ideal chip computes, bit by bit: it follows the mapping's blocks with the ideal
 * converter's integer formula, shift-add, saturation and batch norm. It executes no instruction words, so
 * that a wrong program shows as a difference.
 */
#ifndef CHIP_REFERENCE_H
#define CHIP_REFERENCE_H

#include "chip/compile.h"

struct reference; /* owns scratch memory: one thread at a time */

enum { REFERENCE_WINDOWS_MAX = 64 };

/* What a watcher may see. Pointers are valid during the call. */
struct reference_window {
    int stage, window;
    int channels;
    const int32_t *psum; /* [channels], complete sums of the owner */
};
struct reference_codes {
    int stage, window;
    int block; /* index into the mapping's blocks */
    int mvm;   /* index of this MVM in its core since the start of the run */
    int count; /* columns */
    const int16_t *code;
};
struct reference_layer {
    int layer;
    struct network_shape shape;
    int value_bytes;         /* 1: u8, 2: i16 */
    const uint8_t *values;   /* u8 */
    const int16_t *values16; /* i16; NULL for u8 */
};
struct reference_watch {
    void *context;
    int (*window)(void *context, const struct reference_window *window,
                  struct error *err); /* each NULL allowed */
    int (*codes)(void *context, const struct reference_codes *codes, struct error *err);
    int (*layer)(void *context, const struct reference_layer *layer, struct error *err);
};

/* network, mapping and profile are borrowed until close. */
int reference_open(const struct network *network, const struct mapping *mapping,
                   const struct chip_profile *profile, struct reference **ret_reference, struct error *err);
void reference_close(struct reference *reference);
/* Converter setting for the runs that follow: computes the batch-norm entries. */
int reference_configure(struct reference *reference, const struct adc_config *adc, struct error *err);
/* BIST: codes come from the documented formula and this seed instead of the converters. seed -1: off. */
void reference_bist(struct reference *reference, int seed);
/* Runs one input. outputs[network classes]; watch may be NULL. */
int reference_run(struct reference *reference, const uint8_t *input, int32_t *ret_output,
                  const struct reference_watch *watch, struct error *err);
/* The same network in exact integers, without converters: what the training script reports as integer
 * accuracy. */
int reference_run_exact(struct reference *reference, const uint8_t *input, int32_t *ret_output,
                        struct error *err);
/* How far a real converter's codes stray from the ideal ones: a part of its own, and a part in proportion to
 * the code (gain). */
struct reference_spread {
    double sigma_lsb, gain_share;
};
/* Complete sums of one window of a stage for a given input of its layer (layer-local check). ret_psum[stage
 * channels]; ret_sigma, where not NULL, is the standard deviation that `spread` gives each sum. */
int reference_psums(struct reference *reference, int stage, int window, const uint8_t *layer_input,
                    const struct reference_spread *spread, int32_t *ret_psum, double *ret_sigma,
                    struct error *err);
/* One result from one sum, as the chip's batch norm and clamp do. */
int32_t reference_norm(struct compile_norm norm, int32_t psum, enum network_output output);
/* The ideal converter: S in units of input code x digit. */
int reference_code(int32_t sum, const struct adc_config *adc, int full_scale_codes);
/* The BIST code of a column in the k-th MVM. */
int reference_bist_code(int seed, int column, int k, int bits);

#endif
