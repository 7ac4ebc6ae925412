/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * runtime: registers, memories, power domains, trims and the analog test bus of a chip. Programs run in
 * runtime_run.c.
 */
#include "chip/runtime.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip/runtime_wire.h"

enum { RESET_SETTLE_US = 100, EXTIN_COUNT_MAX = 1023, EXTIN_POLLS_MAX = 200 };

int chip_open(const struct chip_profile *profile, struct spi_bus *bus, struct chip **ret_chip,
              struct error *err)
{
    struct chip *chip = calloc(1, sizeof *chip);

    if (!chip)
        return error_set(err, ERR_MEMORY, "no memory for a chip");
    chip->profile = profile;
    chip->bus = bus;
    chip->word_bytes = framing_word_bytes(&profile->spi);
    chip->burst = framing_burst(&profile->spi, bus->tx_max, bus->rx_max);
    *ret_chip = chip;
    return 0;
}

void chip_close(struct chip *chip)
{
    free(chip);
}

const struct chip_profile *chip_profile_of(const struct chip *chip)
{
    return chip->profile;
}

struct chip_link_stats chip_link_stats(const struct chip *chip)
{
    return chip->stats;
}

/* ---- Registers ---- */

int chip_read(struct chip *chip, int core, const char *reg, uint32_t *ret_value, struct error *err)
{
    uint32_t address;
    uint8_t data[4];
    int rc = wire_register(chip, core, reg, &address, err);

    wire_begin(chip);
    if (rc == 0)
        rc = wire_read(chip, address, 1, data, err);
    if (rc == 0)
        rc = wire_send(chip, err);
    if (rc)
        return rc;
    *ret_value = wire_get(chip, data);
    return 0;
}

int chip_write(struct chip *chip, int core, const char *reg, uint32_t value, struct error *err)
{
    int first = core == CHIP_ALL_CORES ? 0 : core,
        last = core == CHIP_ALL_CORES ? chip->profile->cores.count - 1 : core;
    uint8_t data[4];

    wire_begin(chip);
    wire_put(chip, value, data);
    for (int i = first; i <= last; i++) {
        uint32_t address;
        int rc = wire_register(chip, i, reg, &address, err);
        if (rc == 0)
            rc = wire_write(chip, address, data, 1, 0, err);
        if (rc)
            return rc;
    }
    return wire_send(chip, err);
}

int chip_write_verified(struct chip *chip, int core, const char *reg, uint32_t value, struct error *err)
{
    uint32_t back;
    int rc = chip_write(chip, core, reg, value, err);

    if (rc == 0)
        rc = chip_read(chip, core, reg, &back, err);
    if (rc == 0 && back != value)
        rc = error_set(err, ERR_MISMATCH, "register %s: wrote %08X, reads %08X", reg, (unsigned)value,
                       (unsigned)back);
    return rc;
}

/* ---- Memories ---- */

/* Words from an aligned address, in as many batches as it takes. */
static int read_words(struct chip *chip, uint32_t address, uint8_t *out, size_t words, struct error *err)
{
    wire_begin(chip);
    while (words) {
        int count = words < (size_t)chip->burst ? (int)words : chip->burst;
        if (wire_slots(chip) == 0 || wire_room(chip) < wire_cost(chip, count)) {
            int rc = wire_send(chip, err);
            if (rc)
                return rc;
        }
        int rc = wire_read(chip, address, count, out, err);
        if (rc)
            return rc;
        address += (uint32_t)(count * chip->word_bytes);
        out += count * chip->word_bytes;
        words -= (size_t)count;
    }
    return wire_send(chip, err);
}

static int check_range(const char *memory, uint32_t offset, size_t bytes, uint32_t size, struct error *err)
{
    if (offset > size || bytes > size - offset)
        return error_set(err, ERR_RANGE, "%zu bytes from %u leave memory %s of %u bytes", bytes,
                         (unsigned)offset, memory, (unsigned)size);
    return 0;
}

int chip_memory_read(struct chip *chip, int core, const char *memory, uint32_t offset, void *ret_data,
                     size_t bytes, struct error *err)
{
    uint32_t address, size, word = (uint32_t)chip->word_bytes;
    int rc = wire_memory(chip, core, memory, &address, &size, err);

    if (rc == 0)
        rc = check_range(memory, offset, bytes, size, err);
    if (rc || bytes == 0)
        return rc;
    if (offset % word == 0 && bytes % word == 0)
        return read_words(chip, address + offset, ret_data, bytes / word, err);
    /* Ragged ends: read whole words around them. */
    uint32_t from = offset / word * word, to = (uint32_t)(offset + bytes + word - 1) / word * word;
    uint8_t *whole = malloc(to - from);
    if (!whole)
        return error_set(err, ERR_MEMORY, "no memory to read %zu bytes", bytes);
    rc = read_words(chip, address + from, whole, (to - from) / word, err);
    if (rc == 0)
        memcpy(ret_data, whole + (offset - from), bytes);
    free(whole);
    return rc;
}

static int verify(struct chip *chip, int core, const char *memory, uint32_t offset, const uint8_t *data,
                  size_t bytes, struct error *err)
{
    uint8_t *back = malloc(bytes);

    if (!back)
        return error_set(err, ERR_MEMORY, "no memory to verify %zu bytes", bytes);
    int rc = chip_memory_read(chip, core, memory, offset, back, bytes, err);
    for (size_t i = 0; i < bytes && rc == 0; i++) {
        if (back[i] != data[i])
            rc = error_set(err, ERR_MISMATCH, "core %d, memory %s, byte %zu: wrote %02X, reads %02X", core,
                           memory, offset + i, data[i], back[i]);
    }
    free(back);
    return rc;
}

int chip_memory_write(struct chip *chip, int core, const char *memory, uint32_t offset, const void *data,
                      size_t bytes, bool verify_after, struct error *err)
{
    uint32_t address, size, word = (uint32_t)chip->word_bytes;
    const uint8_t *in = data;
    int rc = wire_memory(chip, core, memory, &address, &size, err);

    if (rc == 0)
        rc = check_range(memory, offset, bytes, size, err);
    if (rc == 0 && (offset % word || bytes % word))
        rc = error_set(err, ERR_RANGE, "memory %s is written in words of %u bytes", memory, (unsigned)word);
    if (rc)
        return rc;
    wire_begin(chip);
    for (size_t done = 0; done < bytes && rc == 0;) {
        size_t left = (bytes - done) / word;
        int count = left < (size_t)chip->burst ? (int)left : chip->burst;
        if (wire_slots(chip) == 0 || wire_room(chip) < wire_cost(chip, count))
            rc = wire_send(chip, err);
        if (rc == 0)
            rc = wire_write(chip, address + offset + (uint32_t)done, in + done, count, 0, err);
        done += (size_t)count * word;
    }
    if (rc == 0)
        rc = wire_send(chip, err);
    if (rc == 0 && verify_after)
        rc = verify(chip, core, memory, offset, in, bytes, err);
    return rc;
}

/* ---- Identity, reset, power ---- */

static int read_indexed(struct chip *chip, int index, uint32_t *ret_value, struct error *err)
{
    *ret_value = 0;
    return index < 0 ? 0 : chip_read(chip, CHIP_GLOBAL, chip->profile->reg[index].name, ret_value, err);
}

int chip_identify(struct chip *chip, struct chip_identity *ret_identity, struct error *err)
{
    const struct chip_profile *p = chip->profile;
    struct chip_identity id = { 0 };
    uint32_t high, low;
    int rc = read_indexed(chip, p->identity_register, &id.id, err);

    if (rc)
        return rc;
    if (id.id != p->identity_value) {
        uint32_t ones = chip->word_bytes == 4 ? 0xFFFFFFFFU : 0xFFU;
        if (id.id == 0 || id.id == ones) /* a framing without status cannot tell earlier */
            rc = error_set(err, ERR_NO_ANSWER, "nobody answers on SPI: ID reads %X", (unsigned)id.id);
        else
            rc = error_set(err, ERR_IDENTITY, "ID reads %08X; profile '%s' says %08X", (unsigned)id.id,
                           p->type, (unsigned)p->identity_value);
        error_at(err, "chip", "read of ID", 0);
        return rc;
    }
    rc = read_indexed(chip, p->revision_register, &id.revision, err);
    if (rc == 0)
        rc = read_indexed(chip, p->die_register[0], &high, err);
    if (rc == 0)
        rc = read_indexed(chip, p->die_register[1], &low, err);
    if (rc)
        return rc;
    id.die = (uint64_t)high << 32 | low;
    if (p->die_register[0] >= 0 && p->die_register[1] >= 0)
        snprintf(id.serial, sizeof id.serial, "%u-%u-%u-%u-%u", (unsigned)(high >> 16),
                 (unsigned)(high >> 8 & 0xFF), (unsigned)(low >> 24), (unsigned)(low >> 16 & 0xFF),
                 (unsigned)(low & 0xFFFF));
    *ret_identity = id;
    return 0;
}

int chip_reset(struct chip *chip, struct error *err)
{
    int rc;

    wire_begin(chip);
    rc = wire_reset(chip, 0, err);
    if (rc == 0)
        rc = wire_reset(chip, 1, err);
    if (rc == 0)
        rc = wire_send(chip, err);
    if (rc)
        return rc;
    return chip->bus->wait(chip->bus->context, RESET_SETTLE_US * 1000LL, err);
}

int chip_power(struct chip *chip, uint32_t core_mask, bool reference, bool gain_stage, struct error *err)
{
    uint32_t value = wire_field(chip, PROFILE_SCOPE_CHIP, "PWREN", "APU", core_mask) |
                     wire_field(chip, PROFILE_SCOPE_CHIP, "PWREN", "ADCREF", reference) |
                     wire_field(chip, PROFILE_SCOPE_CHIP, "PWREN", "PGA", gain_stage);

    return chip_write_verified(chip, CHIP_GLOBAL, "PWREN", value, err);
}

double chip_clock_hz(const struct chip *chip)
{
    return chip->profile->operating.clock_max_hz;
}

/* ---- Trims ---- */

static int find_trim(const struct chip *chip, int converter, const char *name,
                     const struct profile_trim **ret_trim, uint32_t *ret_offset, struct error *err)
{
    int index = profile_trim_index(chip->profile, name);

    if (index < 0)
        return error_set(err, ERR_UNSUPPORTED, "chip '%s' has no trim '%s'", chip->profile->type, name);
    if (converter < 0 || converter >= chip->profile->cores.converters)
        return error_set(err, ERR_RANGE, "converter %d; a core has %d", converter,
                         chip->profile->cores.converters);
    *ret_trim = &chip->profile->trim[index];
    *ret_offset = (uint32_t)converter * (*ret_trim)->stride;
    return 0;
}

int chip_trim_read(struct chip *chip, int core, int converter, const char *name, int *ret_code,
                   struct error *err)
{
    const struct profile_trim *trim;
    uint32_t offset;
    uint8_t data[4];
    int rc = find_trim(chip, converter, name, &trim, &offset, err);

    if (rc == 0)
        rc = chip_memory_read(chip, core, chip->profile->memory[trim->memory].name, offset, data,
                              (size_t)chip->word_bytes, err);
    if (rc)
        return rc;
    int code = (int)(wire_get(chip, data) >> trim->bit & ((1U << trim->width) - 1));
    if (trim->is_signed && code >> (trim->width - 1))
        code -= 1 << trim->width;
    *ret_code = code;
    return 0;
}

int chip_trim_write(struct chip *chip, int core, int converter, const char *name, int code, struct error *err)
{
    const struct profile_trim *trim;
    uint32_t offset;
    uint8_t data[4];
    int rc = find_trim(chip, converter, name, &trim, &offset, err);

    if (rc)
        return rc;
    int min = trim->is_signed ? -(1 << (trim->width - 1)) : 0, max = min + (1 << trim->width) - 1;
    if (code < min || code > max)
        return error_set(err, ERR_RANGE, "trim %s: code %d; %d to %d are possible", name, code, min, max);
    const char *memory = chip->profile->memory[trim->memory].name;
    rc = chip_memory_read(chip, core, memory, offset, data, (size_t)chip->word_bytes, err);
    if (rc)
        return rc;
    uint32_t mask = ((1U << trim->width) - 1) << trim->bit;
    uint32_t word = (wire_get(chip, data) & ~mask) | ((uint32_t)code << trim->bit & mask);
    wire_put(chip, word, data);
    return chip_memory_write(chip, core, memory, offset, data, (size_t)chip->word_bytes, true, err);
}

/* ---- Analog test bus ---- */

static int mux_value(const struct chip *chip, const char *name, uint32_t *ret_value, struct error *err)
{
    int index = profile_mux_index(chip->profile, name);

    if (index < 0)
        return error_set(err, ERR_UNSUPPORTED, "chip '%s' has no test bus selection '%s'",
                         chip->profile->type, name);
    *ret_value = chip->profile->mux[index].value;
    return 0;
}

int chip_testmux(struct chip *chip, const char *atb0, const char *atb1, bool input, struct error *err)
{
    uint32_t a = 0, b = 0;
    int rc = mux_value(chip, atb0, &a, err);

    if (rc == 0)
        rc = mux_value(chip, atb1, &b, err);
    if (rc)
        return rc;
    uint32_t value = wire_field(chip, PROFILE_SCOPE_CHIP, "TESTMUX", "ATB0", a) |
                     wire_field(chip, PROFILE_SCOPE_CHIP, "TESTMUX", "ATB1", b) |
                     wire_field(chip, PROFILE_SCOPE_CHIP, "TESTMUX", "INPUT", input);
    return chip_write_verified(chip, CHIP_GLOBAL, "TESTMUX", value, err);
}

int chip_extin(struct chip *chip, int core, int converter, int count, struct chip_conversions *ret,
               struct error *err)
{
    uint32_t sum, squares, status;

    if (converter < 0 || converter >= chip->profile->cores.converters || count < 1 || count > EXTIN_COUNT_MAX)
        return error_set(
            err, ERR_RANGE,
            "converter %d, %d conversions: a core has %d converters, and 1 to %d conversions are possible",
            converter, count, chip->profile->cores.converters, EXTIN_COUNT_MAX);
    uint32_t value = wire_field(chip, PROFILE_SCOPE_CORE, "EXTIN", "CONVERTER", (uint32_t)converter) |
                     wire_field(chip, PROFILE_SCOPE_CORE, "EXTIN", "COUNT", (uint32_t)count);
    int rc = chip_write(chip, core, "EXTIN", value, err);
    if (rc)
        return rc;
    int64_t expected_ns =
        (int64_t)((double)count * chip->profile->cycles.extin / chip_clock_hz(chip) * 1e9) + 1000;
    for (int poll = 0;; poll++) {
        rc = chip->bus->wait(chip->bus->context, poll ? expected_ns / 8 + 1000 : expected_ns, err);
        if (rc == 0)
            rc = chip_read(chip, CHIP_GLOBAL, "STATUS", &status, err);
        if (rc)
            return rc;
        if (!(status & wire_field(chip, PROFILE_SCOPE_CHIP, "STATUS", "RUN", 1)))
            break;
        if (poll == EXTIN_POLLS_MAX)
            return error_set(err, ERR_HANG, "core %d stays busy with conversions of an outside voltage",
                             core);
    }
    rc = chip_read(chip, core, "EXTSUM", &sum, err);
    if (rc == 0)
        rc = chip_read(chip, core, "EXTSQ", &squares, err);
    if (rc == 0)
        *ret = (struct chip_conversions){ count, (int32_t)sum, squares };
    return rc;
}

int chip_temperature(struct chip *chip, double *ret_celsius, struct error *err)
{
    uint32_t value;
    double step_c = chip->profile->operating.temperature_step_c;

    if (!(step_c > 0.0))
        return error_set(err, ERR_UNSUPPORTED, "%s states no temperature_step_c: it has no sensor",
                         chip->profile->type);
    int rc = chip_read(chip, CHIP_GLOBAL, "TEMP", &value, err);
    if (rc)
        return rc;
    int code = (int)(value & 0xFFF);
    /* In whole millionths: 253 codes of 0.1 are 25.3, and not a bit more. */
    *ret_celsius = rint((code & 0x800 ? code - 0x1000 : code) * step_c * 1e6) / 1e6;
    return 0;
}

int chip_counters(struct chip *chip, int core, struct chip_counters *ret, struct error *err)
{
    static const char *const names[] = { "CNT_MVM", "CNT_CONV", "CNT_CLIP", "CNT_MEM" };
    uint8_t data[4][4];
    int rc = 0;

    wire_begin(chip);
    for (int i = 0; i < 4 && rc == 0; i++) {
        uint32_t address;
        rc = wire_register(chip, core, names[i], &address, err);
        if (rc == 0)
            rc = wire_read(chip, address, 1, data[i], err);
    }
    if (rc == 0)
        rc = wire_send(chip, err);
    if (rc == 0)
        *ret = (struct chip_counters){ wire_get(chip, data[0]), wire_get(chip, data[1]),
                                       wire_get(chip, data[2]), wire_get(chip, data[3]) };
    return rc;
}
