/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * runtime_wire: the chip handle and its batches of transactions; for runtime*.c alone.
 */
#ifndef CHIP_RUNTIME_WIRE_H
#define CHIP_RUNTIME_WIRE_H

#include "chip/runtime.h"

enum { WIRE_ARENA_BYTES = SPI_BATCH_BYTES };
enum { WIRE_MODE_BREAK = 1, WIRE_MODE_REPEAT = 2, WIRE_MODE_BIST = 4 };

/* One transaction that waits to be sent, and what to do with its reply. */
struct wire_entry {
    enum { WIRE_READ, WIRE_WRITE, WIRE_RESET_ARM, WIRE_RESET } kind;
    uint32_t address;
    int words;
    uint8_t *ret_data; /* of a read */
};

struct chip {
    const struct chip_profile *profile;
    struct spi_bus *bus;
    int burst, word_bytes;
    struct chip_link_stats stats;
    unsigned modes; /* WIRE_MODE_ bits: asked for, and not confirmed to be off since */
    int count;      /* transactions in the batch being built */
    size_t used;
    struct wire_entry entry[SPI_BATCH_MAX];
    struct spi_transfer transfer[SPI_BATCH_MAX];
    uint8_t arena[WIRE_ARENA_BYTES];
};

void wire_begin(struct chip *chip);
/* Bytes and transactions that are still free in the batch. */
size_t wire_room(const struct chip *chip);
int wire_slots(const struct chip *chip);
/* Bytes of the batch that one transfer of `words` takes, framing included. */
size_t wire_cost(const struct chip *chip, int words);
/* words <= chip->burst. FULL when the batch has no room: callers look at wire_room first, or flush. */
int wire_read(struct chip *chip, uint32_t address, int words, uint8_t *ret_data, struct error *err);
int wire_write(struct chip *chip, uint32_t address, const uint8_t *data, int words, uint32_t delay_us,
               struct error *err);
int wire_reset(struct chip *chip, int index, struct error *err);
/* Sends the batch and decodes every reply; link errors repeat the whole batch, which is harmless. The batch
 * is empty after. */
int wire_send(struct chip *chip, struct error *err);

/* Address of a register or memory by name. UNSUPPORTED names it. */
int wire_register(const struct chip *chip, int core, const char *name, uint32_t *ret_address,
                  struct error *err);
int wire_memory(const struct chip *chip, int core, const char *name, uint32_t *ret_address,
                uint32_t *ret_bytes, struct error *err);
void wire_put(const struct chip *chip, uint32_t value, uint8_t *out);
uint32_t wire_get(const struct chip *chip, const uint8_t *in);
/* A field's value at its place in a register; 0 when the chip has no such field. */
uint32_t wire_field(const struct chip *chip, enum profile_scope scope, const char *reg, const char *field,
                    uint32_t value);

#endif
