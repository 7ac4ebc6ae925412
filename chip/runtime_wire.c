/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * runtime_wire: batches of framed transactions, with bounded repeats on link errors.
 */
#include "chip/runtime_wire.h"

#include <stdio.h>
#include <string.h>

void wire_begin(struct chip *chip)
{
    chip->count = 0;
    chip->used = 0;
}

size_t wire_room(const struct chip *chip)
{
    return sizeof chip->arena - chip->used;
}

int wire_slots(const struct chip *chip)
{
    return SPI_BATCH_MAX - chip->count;
}

size_t wire_cost(const struct chip *chip, int words)
{
    return (size_t)words * (size_t)chip->word_bytes + 16;
}

/* Places for one more transaction's bytes. NULL when the batch is full. */
static uint8_t *claim(struct chip *chip, size_t bytes, struct error *err)
{
    if (chip->count == SPI_BATCH_MAX || bytes > wire_room(chip)) {
        error_set(err, ERR_FULL, "a batch of %d transactions has no room for another", chip->count);
        return NULL;
    }
    uint8_t *at = chip->arena + chip->used;
    chip->used += bytes;
    return at;
}

static void finish_entry(struct chip *chip, struct wire_entry entry, uint8_t *tx, int tx_len, int rx_len,
                         uint32_t delay_us)
{
    chip->entry[chip->count] = entry;
    chip->transfer[chip->count] = (struct spi_transfer){ .tx = tx,
                                                         .rx = rx_len ? tx + tx_len : NULL,
                                                         .tx_len = (uint16_t)tx_len,
                                                         .rx_len = (uint16_t)rx_len,
                                                         .delay_us = delay_us };
    chip->count++;
}

int wire_read(struct chip *chip, uint32_t address, int words, uint8_t *ret_data, struct error *err)
{
    uint8_t *tx = claim(chip, wire_cost(chip, words), err);
    int rx_len;

    if (!tx)
        return ERR_FULL;
    int tx_len = framing_read(&chip->profile->spi, address, words, tx, &rx_len);
    finish_entry(chip, (struct wire_entry){ WIRE_READ, address, words, ret_data }, tx, tx_len, rx_len, 0);
    return 0;
}

int wire_write(struct chip *chip, uint32_t address, const uint8_t *data, int words, uint32_t delay_us,
               struct error *err)
{
    uint8_t *tx = claim(chip, wire_cost(chip, words), err);
    int rx_len;

    if (!tx)
        return ERR_FULL;
    int tx_len = framing_write(&chip->profile->spi, address, data, words, tx, &rx_len);
    finish_entry(chip, (struct wire_entry){ WIRE_WRITE, address, words, NULL }, tx, tx_len, rx_len, delay_us);
    return 0;
}

int wire_reset(struct chip *chip, int index, struct error *err)
{
    uint8_t *tx = claim(chip, wire_cost(chip, 1), err);
    int rx_len = 0;

    if (!tx)
        return ERR_FULL;
    int tx_len = framing_reset(&chip->profile->spi, index, tx, &rx_len);
    if (tx_len == 0)
        return error_set(err, ERR_UNSUPPORTED, "chip '%s' has no reset command", chip->profile->type);
    finish_entry(chip, (struct wire_entry){ index ? WIRE_RESET : WIRE_RESET_ARM, 0, 0, NULL }, tx, tx_len,
                 rx_len, 0);
    return 0;
}

static int decode(const struct chip *chip, int index, struct error *err)
{
    const struct wire_entry *entry = &chip->entry[index];
    const uint8_t *rx = chip->transfer[index].rx;
    const struct profile_spi *spi = &chip->profile->spi;
    int rc = 0;

    switch (entry->kind) {
    case WIRE_READ:
        rc = framing_read_reply(spi, rx, entry->words, entry->ret_data, err);
        break;
    case WIRE_WRITE:
        rc = framing_write_reply(spi, rx, err);
        break;
    case WIRE_RESET:
        rc = framing_reset_reply(spi, rx, err);
        break;
    case WIRE_RESET_ARM:
        break;
    }
    return rc;
}

/* The bridge has named itself; the chip has no driver that would. */
static void name_error(const struct chip *chip, const struct wire_entry *entry, int64_t start_ns,
                       struct error *err)
{
    char command[48];
    bool bridge = err->instrument[0] != '\0';

    if (entry->kind == WIRE_RESET || entry->kind == WIRE_RESET_ARM)
        snprintf(command, sizeof command, "reset");
    else
        snprintf(command, sizeof command, "%s of %d words at %06X",
                 entry->kind == WIRE_READ ? "read" : "write", entry->words, (unsigned)entry->address);
    error_at(err, bridge ? NULL : "chip", command,
             bridge && err->elapsed_ns > 0 ? err->elapsed_ns : chip->bus->now(chip->bus->context) - start_ns);
}

static int send_once(struct chip *chip, struct error *err)
{
    int64_t start_ns = chip->bus->now(chip->bus->context);
    int at = 0;
    int rc = chip->bus->batch(chip->bus->context, chip->transfer, chip->count, err);

    chip->stats.batches++;
    chip->stats.transfers += chip->count;
    for (int i = 0; i < chip->count; i++)
        chip->stats.bytes += chip->transfer[i].tx_len + chip->transfer[i].rx_len;
    for (int i = 0; i < chip->count && rc == 0; i++)
        rc = decode(chip, at = i, err);
    if (rc)
        name_error(chip, &chip->entry[at], start_ns, err);
    return rc;
}

static bool worth_repeating(int rc)
{
    return rc == ERR_LINK || rc == ERR_TIMEOUT || rc == ERR_GARBAGE || rc == ERR_NO_ANSWER;
}

int wire_send(struct chip *chip, struct error *err)
{
    struct error local;
    struct error *e = err ? err : &local;
    int rc = 0;

    if (chip->count == 0)
        return 0;
    for (int attempt = 0; attempt < CHIP_LINK_TRIES; attempt++) {
        rc = send_once(chip, e);
        if (!worth_repeating(rc))
            break;
        if (attempt + 1 < CHIP_LINK_TRIES)
            chip->stats.retries++;
    }
    wire_begin(chip);
    return rc;
}

/* ---- Names ---- */

/* Address of a scope's byte, with the profile's broadcast for all cores. */
static int scope_address(const struct chip *chip, int core, uint32_t offset, uint32_t *ret_address,
                         struct error *err)
{
    if (core == CHIP_GLOBAL) {
        *ret_address = offset;
        return 0;
    }
    if (core < 0 || core >= chip->profile->cores.count)
        return error_set(err, ERR_RANGE, "chip '%s' has no core %d", chip->profile->type, core);
    *ret_address = profile_address(chip->profile, PROFILE_SCOPE_CORE, core, offset);
    return 0;
}

int wire_register(const struct chip *chip, int core, const char *name, uint32_t *ret_address,
                  struct error *err)
{
    enum profile_scope scope = core == CHIP_GLOBAL ? PROFILE_SCOPE_CHIP : PROFILE_SCOPE_CORE;
    int index = profile_register_index(chip->profile, scope, name);

    if (index < 0)
        return error_set(err, ERR_UNSUPPORTED, "chip '%s' has no %s register '%s'", chip->profile->type,
                         scope == PROFILE_SCOPE_CHIP ? "global" : "core", name);
    return scope_address(chip, core, chip->profile->reg[index].address, ret_address, err);
}

int wire_memory(const struct chip *chip, int core, const char *name, uint32_t *ret_address,
                uint32_t *ret_bytes, struct error *err)
{
    int index = profile_memory_index(chip->profile, name);

    if (index < 0)
        return error_set(err, ERR_UNSUPPORTED, "chip '%s' has no memory '%s'", chip->profile->type, name);
    const struct profile_memory *memory = &chip->profile->memory[index];
    if ((memory->scope == PROFILE_SCOPE_CHIP) != (core == CHIP_GLOBAL))
        return error_set(err, ERR_RANGE, "memory '%s' belongs to %s", name,
                         memory->scope == PROFILE_SCOPE_CHIP ? "the chip, not to a core" : "a core");
    *ret_bytes = memory->bytes;
    return scope_address(chip, core, memory->address, ret_address, err);
}

void wire_put(const struct chip *chip, uint32_t value, uint8_t *out)
{
    for (int i = 0; i < chip->word_bytes; i++)
        out[i] = (uint8_t)(value >> 8 * (chip->word_bytes - 1 - i));
}

uint32_t wire_get(const struct chip *chip, const uint8_t *in)
{
    uint32_t value = 0;

    for (int i = 0; i < chip->word_bytes; i++)
        value = value << 8 | in[i];
    return value;
}

uint32_t wire_field(const struct chip *chip, enum profile_scope scope, const char *reg, const char *field,
                    uint32_t value)
{
    int index = profile_register_index(chip->profile, scope, reg);
    const struct profile_field *f = index < 0 ? NULL : profile_field(&chip->profile->reg[index], field);

    if (!f)
        return 0;
    uint32_t mask = f->width >= 32 ? UINT32_MAX : (1U << f->width) - 1;
    return (value & mask) << f->bit;
}
