/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * compile: network + mapping + converter setting -> what has to be written into the chip: instruction words,
 * weight images, batch-norm entries, and where input and result lie. Pure; the same input gives the same
 * words.
 */
#ifndef CHIP_COMPILE_H
#define CHIP_COMPILE_H

#include "chip/backend.h"
#include "chip/isa.h"
#include "chip/mapping.h"

enum {
    COMPILE_NORMS_MAX = 64,
    COMPILE_IMAGE_MAX = 8192, /* weight image: a nibble per cell */
    COMPILE_CELL_DISABLED = 8
};

/* One batch-norm entry: y = ((psum * scale + half) >> shift) + bias. */
struct compile_norm {
    int16_t scale;
    uint8_t shift;
    int8_t bias;
};

struct compile_core {
    bool used;
    int word_count;
    uint32_t word[ISA_WORDS_MAX];
    uint8_t image[COMPILE_IMAGE_MAX];
    size_t image_bytes;
    int norm_count;
    struct compile_norm norm[COMPILE_NORMS_MAX];
};

struct compile_place {
    int core, offset;
};

struct chip_program {
    struct adc_config adc;
    int core_count;
    struct compile_core core[PROFILE_CORES_MAX];
    uint32_t core_mask; /* cores that take part */
    int input_count;    /* every one of these places gets a copy of the input */
    struct compile_place input[PROFILE_CORES_MAX];
    int input_bytes;
    int output_count; /* one place per stage of the last layer, in channel order */
    struct compile_place output[MAPPING_STAGES_MAX];
    int output_values[MAPPING_STAGES_MAX]; /* values at each place */
    int output_value_bytes;                /* 1 or 2 (big-endian) */
    int outputs;                           /* in all */
    int64_t cycles;                        /* estimate of one run, core clock cycles */
    int64_t macs, operations, conversions, mvms;
};

/* Free with compile_free(). */
int compile_program(const struct network *network, const struct mapping *mapping,
                    const struct chip_profile *profile, const struct adc_config *adc,
                    struct chip_program **ret_program, struct error *err);
void compile_free(struct chip_program *program);

/* Batch-norm entry of multiplier M (codes per exact product) and bias under this converter setting. */
int compile_norm_entry(const struct chip_profile *profile, const struct adc_config *adc, double multiplier,
                       int bias, struct compile_norm *ret_norm, struct error *err);
uint32_t compile_norm_word(struct compile_norm norm);
/* Cycles that the programs of all cores take together, by the profile's cost table; ERR_INVALID for a
 * deadlock or a bad word. */
int compile_estimate(const struct chip_profile *profile, const struct chip_program *program,
                     int64_t *ret_cycles, struct error *err);
/* Listing of a core's program for people; malloc'ed: free(). */
char *compile_listing(const struct chip_program *program, int core);

#endif
