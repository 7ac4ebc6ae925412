/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * hash: SHA-256 (FIPS 180-4) for identities of plans, networks, mappings and datasets.
 */
#ifndef DAEMON_BASE_HASH_H
#define DAEMON_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_HEX = 65 };

struct sha256_ctx {
    uint32_t state[8];
    uint64_t total;
    uint8_t block[64];
};

void sha256_init(struct sha256_ctx *ctx);
void sha256_update(struct sha256_ctx *ctx, const void *data, size_t length);
void sha256_final(struct sha256_ctx *ctx, uint8_t out[SHA256_BYTES]);
void sha256(const void *data, size_t length, uint8_t out[SHA256_BYTES]);
/* Lower-case hex of `length` bytes into out[2 * length + 1]. */
void hash_hex(const uint8_t *in, size_t length, char *out);

#endif
