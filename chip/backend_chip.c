/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backend_chip: compiles and loads what a plan asks for, and no more than has changed.
 */
#include "chip/backend_chip.h"

#include <stdlib.h>
#include <string.h>

#include "chip/backend_tensor.h"
#include "chip/runtime_look.h"

struct backend_chip {
    struct chip *chip;
    const struct network *network;
    const struct mapping *mapping;
    struct chip_program *program; /* in the chip; NULL when that is not known */
    char network_hash[SHA256_HEX], mapping_hash[SHA256_HEX];
};

/* True when one core still holds what was loaded: every instruction and every cell. 9 KB a core is little
 * against what a wrong weight costs, and a supply that was low for a moment flips single bits. */
static bool core_intact(struct chip *chip, int index, const struct compile_core *core, uint8_t *scratch)
{
    uint32_t enabled;

    if (chip_read(chip, index, "CTRL", &enabled, NULL) || !(enabled & 1) ||
        chip_memory_read(chip, index, "IMEM", 0, scratch, 4 * (size_t)core->word_count, NULL))
        return false;
    for (int i = 0; i < core->word_count; i++) {
        const uint8_t *b = scratch + 4 * i;
        if (((uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]) != core->word[i])
            return false;
    }
    return chip_memory_read(chip, index, "XBAR", 0, scratch, core->image_bytes, NULL) == 0 &&
           memcmp(scratch, core->image, core->image_bytes) == 0;
}

static bool still_loaded(struct backend_chip *b, const struct network *network, const struct mapping *mapping)
{
    if (!b->program || strcmp(b->network_hash, network->hash) != 0 ||
        strcmp(b->mapping_hash, mapping->hash) != 0)
        return false;
    uint8_t *scratch = malloc(COMPILE_IMAGE_MAX);
    bool intact = scratch != NULL;
    for (int core = 0; core < b->program->core_count && intact; core++) {
        if (b->program->core[core].used)
            intact = core_intact(b->chip, core, &b->program->core[core], scratch);
    }
    free(scratch);
    return intact;
}

static int load(void *context, const struct network *network, const struct mapping *mapping,
                const struct adc_config *adc, struct error *err)
{
    struct backend_chip *b = context;
    struct chip_program *program;
    int rc = compile_program(network, mapping, chip_profile_of(b->chip), adc, &program, err);

    if (rc)
        return rc;
    bool scales_only = still_loaded(b, network, mapping);
    compile_free(b->program);
    b->program = NULL; /* half a load must not be taken for a whole one */
    b->network = network;
    b->mapping = mapping;
    rc = scales_only ? chip_load_adc(b->chip, program, err) : chip_load(b->chip, program, err);
    if (rc) {
        compile_free(program);
        return rc;
    }
    b->program = program;
    memcpy(b->network_hash, network->hash, sizeof b->network_hash);
    memcpy(b->mapping_hash, mapping->hash, sizeof b->mapping_hash);
    return 0;
}

static int infer(void *context, const uint8_t *const *input, int count, struct inference *ret,
                 struct error *err)
{
    struct backend_chip *b = context;

    if (!b->program)
        return error_set(err, ERR_CONFLICT, "no network is loaded");
    return chip_infer(b->chip, b->program, input, count, ret, err);
}

/* ---- Tensors ---- */

static int stage_codes(struct backend_chip *b, const struct backend_tensor_sink *sink, int stage, int window,
                       struct error *err)
{
    int16_t *codes = malloc(BACKEND_TENSOR_CODES_MAX * sizeof *codes);
    int rc = codes ? 0 : error_set(err, ERR_MEMORY, "no memory for codes");

    for (int core = 0; core < b->mapping->core_count && rc == 0; core++) {
        int count = backend_tensor_columns(b->mapping, stage, core);
        struct error missing;
        if (count == 0)
            continue;
        if (count > BACKEND_TENSOR_CODES_MAX) {
            rc = error_set(err, ERR_FULL, "more than %d codes in one window", BACKEND_TENSOR_CODES_MAX);
            break;
        }
        rc = runtime_look_codes(b->chip, b->network, b->mapping, stage, window, core, codes, count, &missing);
        if (rc == ERR_UNSUPPORTED) { /* the trace is a convenience: sums and activations tell as much */
            rc = 0;
            continue;
        }
        if (rc == 0)
            rc = backend_tensor_codes(sink, stage, core, codes, count, err);
        else if (err)
            *err = missing;
    }
    free(codes);
    return rc;
}

/* Codes, sums and results of one stage; results go to their place among the layer's. */
static int stage_tensors(struct backend_chip *b, const struct backend_tensor_sink *sink, int stage,
                         int16_t *part, int16_t *layer_values, struct error *err)
{
    const struct mapping_stage *st = &b->mapping->stage[stage];
    const struct network_layer *layer = &b->network->layer[st->layer];
    int windows = network_windows(layer);
    int32_t psum[NETWORK_CHANNELS_MAX];

    int rc = runtime_look_stop(b->chip, b->program, stage, windows - 1, err);
    if (rc == 0)
        rc = stage_codes(b, sink, stage, windows - 1, err);
    if (rc == 0)
        rc = runtime_look_psums(b->chip, b->mapping, stage, psum, err);
    if (rc == 0)
        rc = backend_tensor_psums(sink, stage, psum, err);
    if (rc == 0)
        rc = runtime_look_results(b->chip, b->network, b->mapping, stage, 0, windows, part, err);
    for (int w = 0; w < windows && rc == 0; w++)
        memcpy(layer_values + w * layer->out.channels + st->channel0, part + w * st->channels,
               (size_t)st->channels * sizeof *part);
    return rc;
}

static int layer_tensor(const struct backend_chip *b, const struct backend_tensor_sink *sink, int layer,
                        int16_t *values, struct error *err)
{
    const struct network_layer *l = &b->network->layer[layer];

    if (l->output == NETWORK_I16)
        return backend_tensor_activation(sink, layer, values, err);
    /* In place: byte i is written after number i, which lies at or behind it, has been read. */
    uint8_t *bytes = (uint8_t *)values;
    for (int i = 0; i < network_shape_size(l->out); i++)
        bytes[i] = (uint8_t)values[i];
    return backend_tensor_activation(sink, layer, bytes, err);
}

static int run_tensors(struct backend_chip *b, const struct backend_tensor_sink *sink, const uint8_t *input,
                       int16_t *part, int16_t *values, struct error *err)
{
    int rc = backend_tensor_input(sink, input, err);

    if (rc == 0)
        rc = chip_input(b->chip, b->program, input, err);
    for (int stage = 0; stage < b->mapping->stage_count && rc == 0; stage++) {
        int layer = b->mapping->stage[stage].layer;
        rc = stage_tensors(b, sink, stage, part, values, err);
        if (rc == 0 && (stage + 1 == b->mapping->stage_count || b->mapping->stage[stage + 1].layer != layer))
            rc = layer_tensor(b, sink, layer, values, err);
    }
    return rc;
}

static int tensors(void *context, const uint8_t *input, backend_tensor_fn sink, void *sink_context,
                   struct error *err)
{
    struct backend_chip *b = context;

    if (!b->program)
        return error_set(err, ERR_CONFLICT, "no network is loaded");
    struct backend_tensor_sink out = { b->network, b->mapping, sink, sink_context };
    int16_t *part = malloc(NETWORK_ACTIVATION_MAX * sizeof *part);
    int16_t *values = malloc(NETWORK_ACTIVATION_MAX * sizeof *values);
    int rc = part && values ? run_tensors(b, &out, input, part, values, err)
                            : error_set(err, ERR_MEMORY, "no memory for tensors");
    free(part);
    free(values);
    /* The break must go even after an error, or every later run ends early. */
    int rc_break = chip_break(b->chip, -1, 0, rc ? NULL : err);
    return rc ? rc : rc_break;
}

static void close_chip(void *context)
{
    struct backend_chip *b = context;

    if (!b)
        return;
    compile_free(b->program);
    free(b);
}

int backend_chip_open(struct chip *chip, struct backend *ret_backend, struct error *err)
{
    struct backend_chip *b = calloc(1, sizeof *b);

    if (!b)
        return error_set(err, ERR_MEMORY, "no memory for the chip back end");
    b->chip = chip;
    *ret_backend = (struct backend){
        .name = "chip", .context = b, .load = load, .infer = infer, .tensors = tensors, .close = close_chip
    };
    return 0;
}

const struct chip_program *backend_chip_program(const struct backend *backend)
{
    const struct backend_chip *b = backend->context;

    return backend->load == load ? b->program : NULL;
}
