/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * runtime_look: BREAK, and what can be read at one.
 */
#include "chip/runtime_look.h"

#include <stdlib.h>
#include <string.h>

enum { SUMS_MAX = 256, TRACE_BYTES_MAX = 4096 };

int runtime_look_stop(struct chip *chip, const struct chip_program *program, int stage, int window,
                      struct error *err)
{
    uint32_t cycles, err_bits;
    int rc = chip_break(chip, stage, window, err);

    for (int core = 0; core < program->core_count && rc == 0; core++) {
        if (program->core_mask >> core & 1)
            rc = chip_write(chip, core, "TRACEPTR", 0, err); /* any write clears the trace */
    }
    return rc ? rc : chip_run(chip, program, &cycles, &err_bits, err);
}

int runtime_look_psums(struct chip *chip, const struct mapping *mapping, int stage, int32_t *ret_psum,
                       struct error *err)
{
    const struct mapping_stage *st = &mapping->stage[stage];
    uint8_t data[4 * SUMS_MAX];

    if (st->channels > SUMS_MAX)
        return error_set(err, ERR_UNSUPPORTED, "a stage of %d sums", st->channels);
    int rc = chip_memory_read(chip, st->owner, "PSUM", 0, data, 4 * (size_t)st->channels, err);
    for (int i = 0; i < st->channels && rc == 0; i++)
        ret_psum[i] = (int32_t)((uint32_t)data[4 * i] << 24 | (uint32_t)data[4 * i + 1] << 16 |
                                (uint32_t)data[4 * i + 2] << 8 | data[4 * i + 3]);
    return rc;
}

/* Conversions that a core has made before this window of this stage. */
static int64_t conversions_before(const struct network *network, const struct mapping *mapping, int stage,
                                  int window, int core)
{
    int64_t count = 0;

    for (int i = 0; i < mapping->block_count; i++) {
        const struct mapping_block *b = &mapping->block[i];
        if (b->core != core || b->stage > stage)
            continue;
        int windows =
            b->stage < stage ? network_windows(&network->layer[mapping->stage[b->stage].layer]) : window;
        count += (int64_t)windows * b->channels * mapping->stage[b->stage].slices;
    }
    return count;
}

int runtime_look_codes(struct chip *chip, const struct network *network, const struct mapping *mapping,
                       int stage, int window, int core, int16_t *ret_codes, int count, struct error *err)
{
    uint8_t data[TRACE_BYTES_MAX];
    uint32_t made;
    int bytes = (int)profile_memory_bytes(chip_profile_of(chip), "TRACE"), ring = bytes / 2;
    int64_t first = conversions_before(network, mapping, stage, window, core);

    if (bytes == 0 || bytes > TRACE_BYTES_MAX || count > ring)
        return error_set(err, ERR_UNSUPPORTED, "the chip has no trace of %d codes", count);
    int rc = chip_read(chip, core, "CNT_CONV", &made, err);
    if (rc == 0)
        rc = chip_memory_read(chip, core, "TRACE", 0, data, (size_t)bytes, err);
    if (rc)
        return rc;
    /* A helper may be ahead of the owner that stopped the run, but only so far that its trace still holds
     * this window. */
    if ((int64_t)made < first + count || (int64_t)made - first > ring)
        return error_set(err, ERR_UNSUPPORTED,
                         "core %d: conversions %lld to %lld are not in the trace of %lld", core,
                         (long long)first, (long long)(first + count), (long long)made);
    for (int i = 0; i < count; i++) {
        int64_t at = (first + i) % ring;
        ret_codes[i] = (int16_t)(data[2 * at] << 8 | data[2 * at + 1]);
    }
    return 0;
}

int runtime_look_results(struct chip *chip, const struct network *network, const struct mapping *mapping,
                         int stage, int first, int count, int16_t *ret_values, struct error *err)
{
    const struct mapping_stage *st = &mapping->stage[stage];
    int width = network->layer[st->layer].output == NETWORK_I16 ? 2 : 1;
    size_t bytes = (size_t)(count - 1) * (size_t)st->output_pixel + (size_t)(st->channels * width);
    uint8_t *data = malloc(bytes);

    if (!data)
        return error_set(err, ERR_MEMORY, "no memory for %zu bytes of activations", bytes);
    int rc = chip_memory_read(chip, st->owner, "DMEM", (uint32_t)(st->output_base + first * st->output_pixel),
                              data, bytes, err);
    for (int w = 0; w < count && rc == 0; w++) {
        const uint8_t *from = data + (size_t)w * (size_t)st->output_pixel;
        for (int c = 0; c < st->channels; c++)
            *ret_values++ = width == 2 ? (int16_t)(from[2 * c] << 8 | from[2 * c + 1]) : from[c];
    }
    free(data);
    return rc;
}

int runtime_look_input(struct chip *chip, const struct network *network, const struct mapping *mapping,
                       int stage, uint8_t *ret_input, struct error *err)
{
    const struct mapping_stage *st = &mapping->stage[stage];
    size_t bytes = (size_t)network_shape_size(network->layer[st->layer].in);

    return chip_memory_read(chip, st->owner, "DMEM", (uint32_t)st->input_base[st->owner], ret_input, bytes,
                            err);
}
