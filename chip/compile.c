/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * compile: turns a mapping into programs. One window of a stage, in its owner (left) and in a helper (right):
 *
 *     GATHER                          GATHER
 *     CLR                             CLR
 *     SIGNAL helper  -- room for sums --.
 *     MVM ...                         MVM ...
 *                                      '-> WAIT owner
 *                  <--- sums -------- PADD owner
 *     WAIT helper  <----------------- SIGNAL owner
 *     BN
 *     NEXT                            NEXT
 *
 * After its last window an owner moves the activations to all cores of the next layer that are not itself,
 * then gives each a token: a token says that every copy has arrived, so the memory they came from may be
 * written again.
 */
#include "chip/compile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"

enum { BODY_STEPS_MAX = 160, STEP_NEEDS_MAX = 8, UNKNOWN = -1, LOOP_BODY_MAX = 255 };

/* An instruction of a loop body with the registers that it depends on. */
struct step {
    uint32_t word;
    int need_count;
    struct {
        int reg, value;
    } need[STEP_NEEDS_MAX];
};

struct body {
    int count;
    struct step step[BODY_STEPS_MAX];
};

struct emitter {
    const struct network *network;
    const struct mapping *mapping;
    struct chip_program *program;
    int core;
    int words_max;
    int value[ISA_REGISTER_COUNT]; /* of the layer registers at this point; UNKNOWN inside loops */
    bool overflow;
    bool waited[NETWORK_LAYERS_MAX]; /* input of this layer has arrived here */
    struct body body;
};

/* ---- Emitting ---- */

static void emit(struct emitter *e, uint32_t word)
{
    struct compile_core *core = &e->program->core[e->core];

    if (core->word_count == e->words_max) {
        e->overflow = true;
        return;
    }
    core->word[core->word_count++] = word;
}

static void set(struct emitter *e, enum isa_register reg, int value)
{
    if (e->value[reg] == value)
        return;
    e->value[reg] = value;
    emit(e, isa_word(ISA_SET, (int)reg, value));
}

static struct step *add_step(struct emitter *e, enum isa_op op, int a)
{
    struct body *body = &e->body;

    if (body->count == BODY_STEPS_MAX) {
        e->overflow = true;
        body->count = 0;
    }
    struct step *step = &body->step[body->count++];
    *step = (struct step){ .word = isa_word(op, a, 0) };
    return step;
}

static void need(struct step *step, enum isa_register reg, int value)
{
    step->need[step->need_count].reg = (int)reg;
    step->need[step->need_count].value = value;
    step->need_count++;
}

static void need_sums(struct step *step, int first, int count)
{
    need(step, ISA_PS0, first);
    need(step, ISA_NCH, count);
}

/* Registers with one value throughout the body are set before the loop; the others where they change. */
static void settle_registers(struct emitter *e, bool looped)
{
    const struct body *body = &e->body;

    for (int reg = 0; reg < ISA_REGISTER_COUNT; reg++) {
        int first = UNKNOWN;
        bool varies = false;
        for (int i = 0; i < body->count; i++) {
            for (int k = 0; k < body->step[i].need_count; k++) {
                if (body->step[i].need[k].reg != reg)
                    continue;
                if (first == UNKNOWN)
                    first = body->step[i].need[k].value;
                varies |= body->step[i].need[k].value != first;
            }
        }
        if (first != UNKNOWN && !varies)
            set(e, (enum isa_register)reg, first);
        else if (varies && looped)
            e->value[reg] = UNKNOWN;
    }
}

static void emit_body(struct emitter *e, int windows)
{
    bool looped = windows > 1;
    struct compile_core *core = &e->program->core[e->core];

    settle_registers(e, looped);
    int loop_at = core->word_count;
    if (looped)
        emit(e, isa_word(ISA_LOOP, 0, windows));
    int from = core->word_count;
    for (int i = 0; i < e->body.count; i++) {
        const struct step *step = &e->body.step[i];
        for (int k = 0; k < step->need_count; k++)
            set(e, (enum isa_register)step->need[k].reg, step->need[k].value);
        emit(e, step->word);
    }
    int length = core->word_count - from;
    if (looped && length > LOOP_BODY_MAX)
        e->overflow = true;
    if (looped && loop_at < e->words_max)
        core->word[loop_at] = isa_word(ISA_LOOP, length, windows);
}

/* ---- Stages ---- */

static void set_geometry(struct emitter *e, const struct mapping_stage *stage,
                         const struct network_layer *layer)
{
    set(e, ISA_IN_BASE, stage->input_base[e->core]);
    set(e, ISA_IN_H, layer->in.height);
    set(e, ISA_IN_W, layer->in.width);
    set(e, ISA_IN_C, layer->in.channels);
    set(e, ISA_K_H, layer->kernel_h);
    set(e, ISA_K_W, layer->kernel_w);
    set(e, ISA_S_H, layer->stride_h);
    set(e, ISA_S_W, layer->stride_w);
    set(e, ISA_P_H, layer->pad_h);
    set(e, ISA_P_W, layer->pad_w);
    set(e, ISA_OUT_W, layer->out.width);
    set(e, ISA_SLICES, stage->slices);
}

static void add_products(struct emitter *e, const struct mapping_stage *stage)
{
    for (int i = 0; i < stage->block_count; i++) {
        const struct mapping_block *b = &e->mapping->block[stage->first_block + i];
        if (b->core != e->core)
            continue;
        struct step *step = add_step(e, ISA_MVM, 0);
        need(step, ISA_VEC_OFF, b->vector0);
        need(step, ISA_VEC_LEN, b->rows);
        need(step, ISA_ROW0, b->row0);
        need(step, ISA_COL0, b->column0);
        need_sums(step, b->channel0 - stage->channel0, b->channels);
    }
}

static void add_to_helpers(struct emitter *e, const struct mapping_stage *stage, enum isa_op op)
{
    for (int core = 0; core < e->mapping->core_count; core++) {
        if (core != e->core && stage->core_mask >> core & 1)
            add_step(e, op, core);
    }
}

static void build_owner_body(struct emitter *e, const struct mapping_stage *stage, int windows)
{
    e->body.count = 0;
    add_step(e, ISA_GATHER, 0);
    need_sums(add_step(e, ISA_CLR, 0), 0, stage->channels);
    add_to_helpers(e, stage, ISA_SIGNAL);
    add_products(e, stage);
    add_to_helpers(e, stage, ISA_WAIT);
    need_sums(add_step(e, ISA_BN, 0), 0, stage->channels);
    if (windows > 1)
        add_step(e, ISA_NEXT, 0);
}

static void build_helper_body(struct emitter *e, const struct mapping_stage *stage, int windows)
{
    e->body.count = 0;
    add_step(e, ISA_GATHER, 0);
    need_sums(add_step(e, ISA_CLR, 0), 0, stage->channels);
    add_products(e, stage);
    add_step(e, ISA_WAIT, stage->owner);
    need_sums(add_step(e, ISA_PADD, stage->owner), 0, stage->channels);
    add_step(e, ISA_SIGNAL, stage->owner);
    if (windows > 1)
        add_step(e, ISA_NEXT, 0);
}

/* The input of a layer is complete when each owner of the layer before has delivered. */
static void wait_for_input(struct emitter *e, int layer)
{
    if (layer == 0 || e->waited[layer])
        return;
    e->waited[layer] = true;
    for (int i = 0; i < e->mapping->stage_count; i++) {
        const struct mapping_stage *stage = &e->mapping->stage[i];
        if (stage->layer == layer - 1 && stage->owner != e->core)
            emit(e, isa_word(ISA_WAIT, stage->owner, 0));
    }
}

static uint32_t layer_cores(const struct mapping *mapping, int layer)
{
    uint32_t mask = 0;

    for (int i = 0; i < mapping->stage_count; i++) {
        if (mapping->stage[i].layer == layer)
            mask |= mapping->stage[i].core_mask;
    }
    return mask;
}

static int layer_input_base(const struct mapping *mapping, int layer, int core)
{
    for (int i = 0; i < mapping->stage_count; i++) {
        if (mapping->stage[i].layer == layer && mapping->stage[i].input_base[core] >= 0)
            return mapping->stage[i].input_base[core];
    }
    return -1;
}

static void deliver(struct emitter *e, const struct mapping_stage *stage, const struct network_layer *layer)
{
    uint32_t others = layer_cores(e->mapping, stage->layer + 1) & ~(1U << e->core);
    int windows = network_windows(layer);
    bool one_piece = stage->channels == layer->out.channels;

    if (!others)
        return;
    set(e, ISA_MV_SRC, stage->output_base);
    set(e, ISA_MV_LEN, one_piece ? windows * stage->output_pixel : stage->channels);
    set(e, ISA_MV_CNT, one_piece ? 1 : windows);
    set(e, ISA_MV_SSTR, stage->output_pixel);
    set(e, ISA_MV_DSTR, layer->out.channels);
    for (int core = 0; core < e->mapping->core_count; core++) {
        if (!(others >> core & 1))
            continue;
        set(e, ISA_MV_DST, layer_input_base(e->mapping, stage->layer + 1, core) + stage->channel0);
        emit(e, isa_word(ISA_MOV, core, 0));
    }
    for (int core = 0; core < e->mapping->core_count; core++) {
        if (others >> core & 1)
            emit(e, isa_word(ISA_SIGNAL, core, 0));
    }
}

static void emit_stage(struct emitter *e, int index)
{
    const struct mapping_stage *stage = &e->mapping->stage[index];
    const struct network_layer *layer = &e->network->layer[stage->layer];
    int windows = network_windows(layer);

    if (!(stage->core_mask >> e->core & 1))
        return;
    emit(e, isa_word(ISA_LAYER, 0, index));
    wait_for_input(e, stage->layer);
    set_geometry(e, stage, layer);
    emit(e, isa_word(ISA_WIN, 0, 0));
    if (stage->owner == e->core) {
        set(e, ISA_OUT_BASE, stage->output_base);
        set(e, ISA_OUT_PIX, stage->output_pixel);
        set(e, ISA_OUT_MODE, layer->output == NETWORK_I16);
        set(e, ISA_BN0, stage->bn0);
        build_owner_body(e, stage, windows);
    } else {
        build_helper_body(e, stage, windows);
    }
    emit_body(e, windows);
    if (stage->owner == e->core)
        deliver(e, stage, layer);
}

static int compile_core(struct emitter *e, struct error *err)
{
    struct compile_core *core = &e->program->core[e->core];

    memset(e->value, 0, sizeof e->value); /* START clears the layer registers */
    memset(e->waited, 0, sizeof e->waited);
    e->overflow = false;
    core->word_count = 0;
    for (int i = 0; i < e->mapping->stage_count; i++)
        emit_stage(e, i);
    emit(e, isa_word(ISA_HALT, 0, 0));
    if (e->overflow)
        return error_set(err, ERR_FULL, "the program of core %d needs more than %d instructions", e->core,
                         e->words_max);
    return 0;
}

/* ---- Weights and norms ---- */

static void put_cell(struct compile_core *core, int columns, int row, int column, int digit)
{
    uint8_t *byte = &core->image[row * columns / 2 + column / 2];
    unsigned nibble = (unsigned)digit & 7U;

    *byte = column % 2 ? (uint8_t)((*byte & 0x0FU) | nibble << 4) : (uint8_t)((*byte & 0xF0U) | nibble);
}

static int make_images(const struct network *network, const struct mapping *mapping,
                       struct chip_program *program, struct error *err)
{
    for (int core = 0; core < program->core_count; core++) {
        program->core[core].image_bytes = (size_t)(mapping->rows * mapping->columns / 2);
        memset(program->core[core].image, COMPILE_CELL_DISABLED | COMPILE_CELL_DISABLED << 4,
               program->core[core].image_bytes);
    }
    for (int i = 0; i < mapping->block_count; i++) {
        const struct mapping_block *b = &mapping->block[i];
        const struct mapping_stage *stage = &mapping->stage[b->stage];
        const struct network_layer *layer = &network->layer[stage->layer];
        for (int c = 0; c < b->channels; c++) {
            const int16_t *weight = layer->weight + (b->channel0 + c) * layer->rows + b->vector0;
            for (int r = 0; r < b->rows; r++) {
                int digit[MAPPING_SLICES_MAX];
                int rc = mapping_digits(weight[r], stage->slices, digit, err);
                if (rc)
                    return rc;
                for (int k = 0; k < stage->slices; k++)
                    put_cell(&program->core[b->core], mapping->columns, b->row0 + r,
                             b->column0 + c * stage->slices + k, digit[k]);
            }
        }
    }
    return 0;
}

int compile_norm_entry(const struct chip_profile *profile, const struct adc_config *adc, double multiplier,
                       int bias, struct compile_norm *ret_norm, struct error *err)
{
    int exponent;
    double step =
        2.0 * profile->adc.full_scale * profile->adc.input_max / ((double)adc->gain * (1 << adc->bits));
    double factor = frexp(multiplier * step, &exponent); /* 0.5 <= factor < 1 */
    int shift = 15 - exponent;

    if (shift > 47)
        shift = 47;
    if (shift < 0 || bias < -128 || bias > 127)
        return error_set(err, ERR_RANGE, "the factor %g or bias %d of a norm leaves its range",
                         multiplier * step, bias);
    double scale = floor(ldexp(factor, exponent + shift) + 0.5);
    if (scale >= 32768) { /* rounding reached the next power of two */
        if (shift == 0)
            return error_set(err, ERR_RANGE, "the factor %g of a norm leaves its range", multiplier * step);
        scale = 16384;
        shift--;
    }
    *ret_norm = (struct compile_norm){ (int16_t)scale, (uint8_t)shift, (int8_t)bias };
    return 0;
}

uint32_t compile_norm_word(struct compile_norm norm)
{
    return (uint32_t)(uint16_t)norm.scale << 16 | (uint32_t)norm.shift << 8 | (uint8_t)norm.bias;
}

static int make_norms(const struct network *network, const struct mapping *mapping,
                      const struct chip_profile *profile, struct chip_program *program, struct error *err)
{
    for (int i = 0; i < mapping->stage_count; i++) {
        const struct mapping_stage *stage = &mapping->stage[i];
        const struct network_layer *layer = &network->layer[stage->layer];
        struct compile_core *core = &program->core[stage->owner];
        if (stage->bn0 + stage->channels > COMPILE_NORMS_MAX)
            return error_set(err, ERR_FULL, "core %d needs more than %d norms", stage->owner,
                             COMPILE_NORMS_MAX);
        for (int c = 0; c < stage->channels; c++) {
            int channel = stage->channel0 + c;
            int rc = compile_norm_entry(profile, &program->adc, layer->multiplier[channel],
                                        layer->bias[channel], &core->norm[stage->bn0 + c], err);
            if (rc) {
                error_prefix(err, "layer '%s', channel %d", layer->name, channel);
                return rc;
            }
        }
        if (stage->bn0 + stage->channels > core->norm_count)
            core->norm_count = stage->bn0 + stage->channels;
    }
    return 0;
}

/* ---- Whole ---- */

static void make_places(const struct network *network, const struct mapping *mapping,
                        struct chip_program *program)
{
    uint32_t first = layer_cores(mapping, 0);

    program->input_bytes = (int)network_input_size(network);
    for (int core = 0; core < mapping->core_count; core++) {
        if (first >> core & 1)
            program->input[program->input_count++] =
                (struct compile_place){ core, layer_input_base(mapping, 0, core) };
    }
    for (int i = 0; i < mapping->stage_count; i++) {
        const struct mapping_stage *stage = &mapping->stage[i];
        program->core_mask |= stage->core_mask;
        if (stage->layer != network->layer_count - 1)
            continue;
        program->output[program->output_count] = (struct compile_place){ stage->owner, stage->output_base };
        program->output_values[program->output_count++] = stage->channels;
        program->outputs += stage->channels;
    }
    program->output_value_bytes = network->layer[network->layer_count - 1].output == NETWORK_I16 ? 2 : 1;
}

static int check_setting(const struct network *network, const struct mapping *mapping,
                         const struct chip_profile *profile, const struct adc_config *adc, struct error *err)
{
    const struct network_layer *last = &network->layer[network->layer_count - 1];

    if (!profile_has_bits(profile, adc->bits) || profile_gain_code(profile, adc->gain) < 0)
        return error_set(err, ERR_RANGE, "chip '%s' has no converter setting of %d bits at gain %d",
                         profile->type, adc->bits, adc->gain);
    if (mapping->rows * mapping->columns / 2 > COMPILE_IMAGE_MAX)
        return error_set(err, ERR_UNSUPPORTED, "an array of %d x %d cells has no image format", mapping->rows,
                         mapping->columns);
    if (network_windows(last) != 1)
        return error_set(err, ERR_UNSUPPORTED, "the last layer '%s' has %d windows; one is possible",
                         last->name, network_windows(last));
    return 0;
}

int compile_program(const struct network *network, const struct mapping *mapping,
                    const struct chip_profile *profile, const struct adc_config *adc,
                    struct chip_program **ret_program, struct error *err)
{
    int rc = check_setting(network, mapping, profile, adc, err);

    if (rc)
        return rc;
    struct chip_program *program = calloc(1, sizeof *program);
    struct emitter *e = calloc(1, sizeof *e);
    if (!program || !e) {
        rc = error_set(err, ERR_MEMORY, "no memory for a program");
        goto free_all;
    }
    program->adc = *adc;
    program->core_count = mapping->core_count;
    make_places(network, mapping, program);
    *e = (struct emitter){ .network = network, .mapping = mapping, .program = program };
    e->words_max = (int)(profile_memory_bytes(profile, "IMEM") / 4);
    if (e->words_max > ISA_WORDS_MAX)
        e->words_max = ISA_WORDS_MAX;
    for (e->core = 0; e->core < mapping->core_count && rc == 0; e->core++) {
        program->core[e->core].used = program->core_mask >> e->core & 1;
        rc = compile_core(e, err);
    }
    if (rc == 0)
        rc = make_images(network, mapping, program, err);
    if (rc == 0)
        rc = make_norms(network, mapping, profile, program, err);
    if (rc == 0)
        rc = compile_estimate(profile, program, &program->cycles, err);
    if (rc)
        goto free_all;
    program->macs = mapping->macs;
    program->operations = mapping->macs * profile->operations_per_mac;
    program->conversions = mapping->conversions;
    program->mvms = mapping->mvms;
    *ret_program = program;
    program = NULL;
free_all:
    free(e);
    free(program);
    return rc;
}

void compile_free(struct chip_program *program)
{
    free(program);
}

char *compile_listing(const struct chip_program *program, int core)
{
    struct strbuf out = { NULL, 0, 0, false };
    char line[ISA_LINE_MAX];

    if (core < 0 || core >= program->core_count)
        return NULL;
    for (int i = 0; i < program->core[core].word_count; i++)
        strbuf_add(&out, "%3d  %08X  %s\n", i, (unsigned)program->core[core].word[i],
                   isa_disassemble(program->core[core].word[i], line, sizeof line));
    if (out.failed) {
        strbuf_free(&out);
        return NULL;
    }
    return out.text;
}
