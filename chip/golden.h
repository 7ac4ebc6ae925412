/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * golden: "is this chip running this network?" asked of silicon. The golden result is computed by the
 * reference and hashed before the chip is started. The digital part must agree exactly given the chip's own
 * sums; the analog part within a stated spread; and predictions on most of the samples. Each stage is judged
 * from the chip's own input of that stage, so that one noisy layer does not blame the layers after it.
 */
#ifndef CHIP_GOLDEN_H
#define CHIP_GOLDEN_H

#include "chip/reference.h"
#include "chip/runtime.h"

enum { GOLDEN_SAMPLES_MAX = 20, GOLDEN_TEXT_MAX = 200, GOLDEN_WINDOWS_PER_STAGE = 2 };

struct golden {
    struct adc_config adc;
    int count;
    int prediction[GOLDEN_SAMPLES_MAX];
    int32_t output[GOLDEN_SAMPLES_MAX][BACKEND_OUTPUTS_MAX];
    char hash[SHA256_HEX]; /* network, mapping, setting, inputs and results */
};

struct golden_limits {
    struct reference_spread spread; /* of one conversion against the ideal one */
    double k;                       /* a sum outside k standard deviations is an outlier */
    double outlier_share;           /* of sums, allowed */
    int agree_min;                  /* predictions that must agree */
};

struct golden_report {
    bool pass;
    int agreed, count;      /* predictions */
    int sums, outliers;     /* analog */
    int norms, norm_errors; /* digital: batch norm of the chip's own sums */
    double rms_sigma;       /* RMS of (chip - reference) in units of the expected sigma */
    int worst_stage;
    char reason[GOLDEN_TEXT_MAX]; /* first reason to fail, or "" */
};

/* For an uncalibrated part of the population that configs/benches describes: 1.2 LSB, 2 % gain, 4 sigma, 2 %
 * outliers, 7 of 10 agree. */
struct golden_limits golden_limits_default(int count);
int golden_compute(struct reference *reference, const struct network *network, const struct mapping *mapping,
                   const struct adc_config *adc, const uint8_t *const *input, int count,
                   struct golden *ret_golden, struct error *err);
/* ERR_MISMATCH with the reason when a limit is broken (report filled as well); ERR_INVALID when the golden
 * does not hash to its own hash, or belongs to another network, mapping or setting. */
int golden_check(struct chip *chip, const struct chip_program *program, struct reference *reference,
                 const struct network *network, const struct mapping *mapping, const uint8_t *const *input,
                 const struct golden *golden, const struct golden_limits *limits,
                 struct golden_report *ret_report, struct error *err);

#endif
