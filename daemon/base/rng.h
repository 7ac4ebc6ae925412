/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * rng: counter-based random numbers (Philox4x32-10; Salmon et al., SC 2011), keyed by names and indices and
 * never by the order of draws, so that a result does not depend on threads, restarts or what was measured
 * before.
 */
#ifndef DAEMON_BASE_RNG_H
#define DAEMON_BASE_RNG_H

#include <stdint.h>

/* A stream: value type. Draw i of a stream depends on (seed, entity, a, b, c, i) alone. */
struct rng {
    uint32_t key[2];
    uint32_t counter[4]; /* counter[0] is the draw index */
    uint32_t block[4];
    uint32_t used; /* words of block already handed out */
    double spare;  /* second normal of a Box-Muller pair; NAN when there is none */
};

/* entity: stable text ("adc_offset", "noise"); a, b, c: stable indices (die, array, sample ...). */
void rng_init(struct rng *rng, uint64_t seed, const char *entity, uint64_t a, uint64_t b, uint64_t c);
/* As rng_init with an already hashed entity (rng_entity), for hot loops. */
void rng_init_hashed(struct rng *rng, uint64_t seed, uint64_t entity, uint64_t a, uint64_t b, uint64_t c);
uint64_t rng_entity(const char *entity);
uint32_t rng_u32(struct rng *rng);
/* Uniform in [0, 1), 53 bits. */
double rng_uniform(struct rng *rng);
/* Standard normal, exact tails (Box-Muller on 53-bit uniforms). */
double rng_normal(struct rng *rng);
/* Uniform integer in [0, n), unbiased. n > 0. */
uint32_t rng_below(struct rng *rng, uint32_t n);

#endif
