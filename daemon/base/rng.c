/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * rng: Philox4x32-10, and how names and indices become its key and counter. The low 32 bits of the
 * three indices are counter words, so nearby indices can never collide; seed, entity and the high
 * halves of the indices are mixed into the 64-bit key. A stream holds 2^34 words. */
#include "daemon/base/rng.h"

#include <math.h>
#include <stddef.h>

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

enum { PHILOX_ROUNDS = 10 };

static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0;
        uint64_t p1 = (uint64_t)PHILOX_M1 * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The finaliser of SplitMix64: a bijection of 64-bit words that spreads every bit. */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

uint64_t rng_entity(const char *entity)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a, 64 bits */

    for (; *entity != '\0'; entity++)
        hash = (hash ^ (unsigned char)*entity) * 0x100000001b3u;
    return hash;
}

void rng_init_hashed(struct rng *rng, uint64_t seed, uint64_t entity, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t key = mix(mix(seed) ^ entity);

    if (a >> 32 != 0 || b >> 32 != 0 || c >> 32 != 0)
        key = mix(mix(mix(key ^ a >> 32) ^ b >> 32) ^ c >> 32);
    *rng = (struct rng){
        .key = { (uint32_t)key, (uint32_t)(key >> 32) },
        .counter = { 0, (uint32_t)a, (uint32_t)b, (uint32_t)c },
        .used = 4,
        .spare = NAN,
    };
}

void rng_init(struct rng *rng, uint64_t seed, const char *entity, uint64_t a, uint64_t b, uint64_t c)
{
    rng_init_hashed(rng, seed, rng_entity(entity), a, b, c);
}

uint32_t rng_u32(struct rng *rng)
{
    if (rng->used == 4) {
        philox(rng->counter, rng->key, rng->block);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

double rng_uniform(struct rng *rng)
{
    uint64_t high = rng_u32(rng) >> 5;
    uint64_t low = rng_u32(rng) >> 6;

    return (double)(high << 26 | low) * 0x1p-53;
}

double rng_normal(struct rng *rng)
{
    double radius, angle, spare = rng->spare;

    if (!isnan(spare)) {
        rng->spare = NAN;
        return spare;
    }
    radius = sqrt(-2.0 * log(1.0 - rng_uniform(rng))); /* 1 - u lies in (0, 1]: the logarithm is finite */
    angle = 6.283185307179586476925 * rng_uniform(rng);
    rng->spare = radius * sin(angle);
    return radius * cos(angle);
}

uint32_t rng_below(struct rng *rng, uint32_t n)
{
    /* Lemire's method: the product's low half below 2^32 mod n is the biased part, and is drawn again. */
    uint64_t product = (uint64_t)rng_u32(rng) * n;

    if ((uint32_t)product < n) {
        uint32_t threshold = -n % n;

        while ((uint32_t)product < threshold)
            product = (uint64_t)rng_u32(rng) * n;
    }
    return (uint32_t)(product >> 32);
}
