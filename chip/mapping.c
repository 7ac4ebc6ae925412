/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * mapping: cuts a network into blocks of cells, gives each a place, each stage an owner, and each activation
 * an address.
 *
 * Cutting channels is free; cutting rows costs one more conversion of every column in every window. So layers
 * with many windows are placed first, while there is room to leave them whole, and layers with one window
 * (fully connected) are cut to fill what is left. Several orders are tried, and the one with the fewest
 * conversions that also fits the data memories wins.
 */
#include "chip/mapping.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip/mapping_pack.h"

enum { BUFFERS_MAX = MAPPING_STAGES_MAX * (PROFILE_CORES_MAX + 1), BUFFER_ALIGN = 4, ORDER_COUNT = 3 };

/* Bytes in a core's data memory between two stages, both included. */
struct buffer {
    int core, size, first, last;
    int *ret_base;
    int base;
};

struct mapper {
    const struct network *network;
    const struct chip_profile *profile;
    struct mapping *m;
    struct mapping_pack pack;
    int sums, norms, memory; /* of one core: accumulators, batch-norm entries, data memory bytes */
    bool placed[MAPPING_STAGES_MAX];
    int layer_input[NETWORK_LAYERS_MAX][PROFILE_CORES_MAX]; /* base addresses */
    struct buffer buffer[BUFFERS_MAX];
    int buffer_count;
};

int mapping_slices(int weight_bits, int digit_bits)
{
    return (weight_bits + digit_bits - 1) / digit_bits;
}

int mapping_digits(int weight, int slices, int ret_digit[MAPPING_SLICES_MAX], struct error *err)
{
    int rest = weight;
    int digit[MAPPING_SLICES_MAX];

    for (int i = 0; i < slices; i++) {
        digit[i] = ((rest + 4) & 7) - 4;
        rest = (rest - digit[i]) / 8;
    }
    if (rest)
        return error_set(err, ERR_RANGE, "weight %d does not fit %d digits of -4..3", weight, slices);
    memcpy(ret_digit, digit, (size_t)slices * sizeof *digit);
    return 0;
}

/* ---- Stages and blocks ---- */

static int make_stages(struct mapper *s, struct error *err)
{
    struct mapping *m = s->m;

    for (int l = 0; l < s->network->layer_count; l++) {
        const struct network_layer *layer = &s->network->layer[l];
        int channels = layer->out.channels;
        int limit = s->sums < s->norms ? s->sums : s->norms;
        int parts = (channels + limit - 1) / limit;
        for (int p = 0; p < parts; p++) {
            if (m->stage_count == MAPPING_STAGES_MAX)
                return error_set(err, ERR_FULL, "the network needs more than %d stages", MAPPING_STAGES_MAX);
            struct mapping_stage *stage = &m->stage[m->stage_count++];
            *stage = (struct mapping_stage){
                .layer = l, .slices = mapping_slices(layer->weight_bits, s->profile->cores.digit_bits)
            };
            stage->channel0 = channels * p / parts;
            stage->channels = channels * (p + 1) / parts - stage->channel0;
            m->cells += (int64_t)layer->rows * stage->channels * stage->slices;
        }
    }
    return 0;
}

struct piece {
    int vector0, rows, channel0, channels;
};

static bool add_block(struct mapper *s, int stage, struct piece piece, int core, struct mapping_rect rect)
{
    struct mapping *m = s->m;

    if (m->block_count == MAPPING_BLOCKS_MAX || !mapping_pack_take(&s->pack, core, rect))
        return false;
    m->block[m->block_count++] = (struct mapping_block){ .stage = stage,
                                                         .core = core,
                                                         .vector0 = piece.vector0,
                                                         .rows = piece.rows,
                                                         .channel0 = piece.channel0,
                                                         .channels = piece.channels,
                                                         .row0 = rect.row,
                                                         .column0 = rect.column };
    m->stage[stage].core_mask |= 1U << core;
    return true;
}

/* Places one rectangle whole, or the largest part of it and then the rest. */
static bool place_piece(struct mapper *s, int stage, struct piece piece, uint32_t allowed)
{
    int slices = s->m->stage[stage].slices;
    int widest = s->pack.columns / slices;
    struct mapping_rect rect;
    int core;

    if (piece.channels > widest) {
        struct piece first = piece, rest = piece;
        first.channels = widest;
        rest.channel0 += widest;
        rest.channels -= widest;
        return place_piece(s, stage, first, allowed) && place_piece(s, stage, rest, allowed);
    }
    if (piece.rows > s->pack.rows) {
        int parts = (piece.rows + s->pack.rows - 1) / s->pack.rows;
        struct piece first = piece, rest = piece;
        first.rows = (piece.rows + parts - 1) / parts;
        rest.vector0 += first.rows;
        rest.rows -= first.rows;
        return place_piece(s, stage, first, allowed) && place_piece(s, stage, rest, allowed);
    }
    uint32_t preferred = s->m->stage[stage].core_mask;
    if (mapping_pack_find(&s->pack, piece.rows, piece.channels * slices, allowed, preferred, &core, &rect))
        return add_block(s, stage, piece, core, rect);
    if (!mapping_pack_piece(&s->pack, piece.rows, piece.channels, slices, allowed, preferred, &core, &rect))
        return false;
    struct piece first = { piece.vector0, rect.rows, piece.channel0, rect.columns / slices };
    struct piece below = { piece.vector0 + first.rows, piece.rows - first.rows, piece.channel0,
                           piece.channels };
    struct piece beside = { piece.vector0, first.rows, piece.channel0 + first.channels,
                            piece.channels - first.channels };
    return add_block(s, stage, first, core, rect) &&
           (below.rows == 0 || place_piece(s, stage, below, allowed)) &&
           (beside.channels == 0 || place_piece(s, stage, beside, allowed));
}

/* The core with most cells of the stage that still has batch-norm entries; -1 when none has. */
static int choose_owner(const struct mapper *s, int stage, uint32_t allowed)
{
    const struct mapping *m = s->m;
    int cells[PROFILE_CORES_MAX] = { 0 };
    int best = -1;

    for (int i = 0; i < m->block_count; i++) {
        if (m->block[i].stage == stage)
            cells[m->block[i].core] += m->block[i].rows * m->block[i].channels;
    }
    for (int core = 0; core < s->pack.cores; core++) {
        if (!cells[core] || !(allowed >> core & 1) ||
            m->core_norms[core] + m->stage[stage].channels > s->norms)
            continue;
        if (best < 0 || cells[core] > cells[best])
            best = core;
    }
    return best;
}

/* ---- Data memory ---- */

static void add_buffer(struct mapper *s, int core, int size, int first, int last, int *ret_base)
{
    struct buffer *b = &s->buffer[s->buffer_count++];

    *b =
        (struct buffer){ core, (size + BUFFER_ALIGN - 1) / BUFFER_ALIGN * BUFFER_ALIGN, first, last, ret_base,
                         -1 };
}

static int layer_stages(const struct mapper *s, int layer, int *ret_first, int *ret_last, uint32_t *ret_mask)
{
    int count = 0;

    *ret_mask = 0;
    for (int i = 0; i < s->m->stage_count; i++) {
        if (s->m->stage[i].layer != layer)
            continue;
        if (count++ == 0)
            *ret_first = i;
        *ret_last = i;
        *ret_mask |= s->m->stage[i].core_mask;
    }
    return count;
}

static void collect_inputs(struct mapper *s)
{
    for (int l = 0; l < s->network->layer_count; l++) {
        int first = 0, last = 0, before_first = 0, before_last = 0;
        uint32_t mask, before_mask;
        layer_stages(s, l, &first, &last, &mask);
        /* The network's input stays for ever: with REPEAT a run reads it again. */
        int from = 0, to = s->m->stage_count;
        if (l > 0) {
            layer_stages(s, l - 1, &before_first, &before_last, &before_mask);
            from = before_first;
            to = last;
        }
        for (int core = 0; core < s->pack.cores; core++) {
            s->layer_input[l][core] = -1;
            if (mask >> core & 1)
                add_buffer(s, core, network_shape_size(s->network->layer[l].in), from, to,
                           &s->layer_input[l][core]);
        }
    }
}

static void collect_outputs(struct mapper *s)
{
    for (int i = 0; i < s->m->stage_count; i++) {
        struct mapping_stage *stage = &s->m->stage[i];
        const struct network_layer *layer = &s->network->layer[stage->layer];
        bool last = stage->layer == s->network->layer_count - 1;
        int bytes = layer->output == NETWORK_I16 ? 2 : 1, first = 0, end = 0;
        uint32_t next = 0;
        if (!s->placed[i])
            continue;
        if (!last)
            layer_stages(s, stage->layer + 1, &first, &end, &next);
        if (next >> stage->owner & 1) {
            stage->output_pixel = layer->out.channels; /* straight into the next layer's input */
            continue;
        }
        stage->output_pixel = stage->channels * bytes;
        add_buffer(s, stage->owner, network_windows(layer) * stage->output_pixel, i,
                   last ? s->m->stage_count : i, &stage->output_base);
    }
}

static int larger_first(const void *a, const void *b)
{
    const struct buffer *x = a, *y = b;

    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    if (x->core != y->core)
        return x->core < y->core ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->last < y->last ? -1 : x->last > y->last;
}

/* Lowest address where the buffer meets nobody that lives at the same time. */
static int lowest_base(const struct mapper *s, int index)
{
    const struct buffer *b = &s->buffer[index];
    int base = 0;

    for (int moved = 1; moved;) {
        moved = 0;
        for (int i = 0; i < index; i++) {
            const struct buffer *o = &s->buffer[i];
            if (o->core == b->core && o->first <= b->last && b->first <= o->last &&
                o->base < base + b->size && base < o->base + o->size) {
                base = o->base + o->size;
                moved = 1;
            }
        }
    }
    return base;
}

/* Gives every activation its address, for the stages placed so far. False when a data memory is too small. */
static bool plan_memory(struct mapper *s)
{
    struct mapping *m = s->m;

    s->buffer_count = 0;
    collect_inputs(s);
    collect_outputs(s);
    qsort(s->buffer, (size_t)s->buffer_count, sizeof *s->buffer, larger_first);
    memset(m->core_memory, 0, sizeof m->core_memory);
    for (int i = 0; i < s->buffer_count; i++) {
        struct buffer *b = &s->buffer[i];
        b->base = lowest_base(s, i);
        if (b->base + b->size > s->memory)
            return false;
        *b->ret_base = b->base;
        if (b->base + b->size > m->core_memory[b->core])
            m->core_memory[b->core] = b->base + b->size;
    }
    for (int i = 0; i < m->stage_count; i++) {
        struct mapping_stage *stage = &m->stage[i];
        const struct network_layer *layer = &s->network->layer[stage->layer];
        memcpy(stage->input_base, s->layer_input[stage->layer], sizeof stage->input_base);
        if (stage->layer + 1 < s->network->layer_count &&
            s->layer_input[stage->layer + 1][stage->owner] >= 0 && stage->output_pixel == layer->out.channels)
            stage->output_base = s->layer_input[stage->layer + 1][stage->owner] + stage->channel0;
    }
    return true;
}

/* ---- One attempt ---- */

/* Places a stage so that its owner's memory suffices, else in other cores: a core that failed is left out in
 * the next try. */
static bool place_stage(struct mapper *s, int index)
{
    struct mapping *m = s->m;
    struct mapping_stage *stage = &m->stage[index];
    struct piece whole = { 0, s->network->layer[stage->layer].rows, stage->channel0, stage->channels };
    uint32_t allowed = (1U << s->pack.cores) - 1;
    struct mapping_pack *before = malloc(sizeof *before);
    int block_count = m->block_count;

    if (!before)
        return false;
    *before = s->pack;
    while (allowed) {
        int owner = -1;
        stage->core_mask = 0;
        if (!place_piece(s, index, whole, allowed))
            break;
        owner = choose_owner(s, index, allowed);
        if (owner >= 0) {
            stage->owner = owner;
            s->placed[index] = true;
            if (plan_memory(s)) {
                m->core_norms[owner] += stage->channels;
                free(before);
                return true;
            }
            s->placed[index] = false;
        } else {
            owner = __builtin_ctz(stage->core_mask);
        }
        allowed &= ~(1U << owner);
        s->pack = *before;
        m->block_count = block_count;
    }
    stage->core_mask = 0;
    s->pack = *before;
    m->block_count = block_count;
    free(before);
    return false;
}

/* Keys to sort stages by; larger goes first. */
static int64_t order_key(const struct mapper *s, int order, int index)
{
    const struct mapping_stage *stage = &s->m->stage[index];
    const struct network_layer *layer = &s->network->layer[stage->layer];
    int64_t cells = (int64_t)layer->rows * stage->channels * stage->slices;

    switch (order) {
    case 0: /* dearest to cut */
        return ((int64_t)network_windows(layer) << 32) + cells;
    case 1: /* largest */
        return cells;
    default: /* as the network runs */
        return -index;
    }
}

static void sort_stages(const struct mapper *s, int order, int out[MAPPING_STAGES_MAX])
{
    for (int i = 0; i < s->m->stage_count; i++) {
        int at = i;
        while (at > 0 && order_key(s, order, out[at - 1]) < order_key(s, order, i)) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = i;
    }
}

static int compare_blocks(const void *a, const void *b)
{
    const struct mapping_block *x = a, *y = b;
    const int keys[][2] = {
        { x->stage, y->stage }, { x->core, y->core }, { x->channel0, y->channel0 }, { x->vector0, y->vector0 }
    };

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (keys[i][0] != keys[i][1])
            return keys[i][0] < keys[i][1] ? -1 : 1;
    }
    return 0;
}

static void finish(struct mapper *s)
{
    struct mapping *m = s->m;
    int norms[PROFILE_CORES_MAX] = { 0 };

    qsort(m->block, (size_t)m->block_count, sizeof *m->block, compare_blocks);
    for (int i = 0; i < m->block_count; i++) {
        const struct mapping_block *b = &m->block[i];
        struct mapping_stage *stage = &m->stage[b->stage];
        int64_t windows = network_windows(&s->network->layer[stage->layer]);
        if (stage->block_count++ == 0)
            stage->first_block = i;
        m->core_cells[b->core] += b->rows * b->channels * stage->slices;
        m->conversions += windows * b->channels * stage->slices;
        m->mvms += windows;
    }
    for (int i = 0; i < m->stage_count; i++) {
        m->stage[i].bn0 = norms[m->stage[i].owner];
        norms[m->stage[i].owner] += m->stage[i].channels;
    }
}

/* True when everything found its place; *ret_cells_left otherwise tells how many cells did not. */
static bool attempt(struct mapper *s, int order, int64_t *ret_cells_left)
{
    int sorted[MAPPING_STAGES_MAX];

    mapping_pack_init(&s->pack, s->profile->cores.count, s->profile->cores.rows, s->profile->cores.columns);
    sort_stages(s, order, sorted);
    *ret_cells_left = 0;
    for (int i = 0; i < s->m->stage_count; i++) {
        const struct mapping_stage *stage = &s->m->stage[sorted[i]];
        if (!place_stage(s, sorted[i]))
            *ret_cells_left +=
                (int64_t)s->network->layer[stage->layer].rows * stage->channels * stage->slices;
    }
    if (*ret_cells_left)
        return false;
    finish(s);
    return true;
}

/* ---- Whole ---- */

static void hash_mapping(struct mapping *m)
{
    struct sha256_ctx ctx;
    uint8_t digest[SHA256_BYTES];
    char line[200];

    sha256_init(&ctx);
    for (int i = 0; i < m->stage_count; i++) {
        const struct mapping_stage *st = &m->stage[i];
        int n = snprintf(line, sizeof line, "stage %d %d %d %d %d %d %d %d;", st->layer, st->channel0,
                         st->channels, st->slices, st->owner, st->bn0, st->output_base, st->output_pixel);
        sha256_update(&ctx, line, (size_t)n);
        for (int core = 0; core < m->core_count; core++) {
            n = snprintf(line, sizeof line, "%d,", st->input_base[core]);
            sha256_update(&ctx, line, (size_t)n);
        }
    }
    for (int i = 0; i < m->block_count; i++) {
        const struct mapping_block *b = &m->block[i];
        int n = snprintf(line, sizeof line, "block %d %d %d %d %d %d %d %d;", b->stage, b->core, b->vector0,
                         b->rows, b->channel0, b->channels, b->row0, b->column0);
        sha256_update(&ctx, line, (size_t)n);
    }
    sha256_final(&ctx, digest);
    hash_hex(digest, sizeof digest, m->hash);
}

static int check_fit(const struct network *network, const struct mapping *m, const struct mapper *s,
                     struct error *err)
{
    if (m->cells > m->cells_available)
        return error_set(err, ERR_RANGE, "network '%s' needs %lld cells, %lld more than the %lld of the chip",
                         network->name, (long long)m->cells, (long long)(m->cells - m->cells_available),
                         (long long)m->cells_available);
    for (int l = 0; l < network->layer_count; l++) {
        const struct network_layer *layer = &network->layer[l];
        int in = network_shape_size(layer->in), out = network_shape_size(layer->out);
        if (in > s->memory || out > s->memory)
            return error_set(err, ERR_RANGE,
                             "layer '%s' needs %d bytes of activations, %d more than a data memory has",
                             layer->name, in > out ? in : out, (in > out ? in : out) - s->memory);
        if (layer->pad_h >= 64 || layer->rows > NETWORK_KERNEL_ELEMENTS_MAX)
            return error_set(err, ERR_RANGE,
                             "layer '%s': a window of %d elements does not fit the chip's vector of %d",
                             layer->name, layer->rows, NETWORK_KERNEL_ELEMENTS_MAX);
    }
    return 0;
}

static int start_attempt(struct mapper *s, struct error *err)
{
    struct mapping *m = s->m;

    memset(m, 0, sizeof *m);
    memset(s->placed, 0, sizeof s->placed);
    m->core_count = s->profile->cores.count;
    m->rows = s->profile->cores.rows;
    m->columns = s->profile->cores.columns;
    m->cells_available = (int64_t)m->core_count * m->rows * m->columns;
    m->macs = network_macs(s->network);
    return make_stages(s, err);
}

int mapping_create(const struct network *network, const struct chip_profile *profile,
                   struct mapping **ret_mapping, struct error *err)
{
    struct mapper *s = calloc(1, sizeof *s);
    struct mapping *m = calloc(2, sizeof *m); /* the attempt, and the best so far */
    int64_t left_min = INT64_MAX;
    int rc = 0;
    bool found = false;

    if (!s || !m) {
        rc = error_set(err, ERR_MEMORY, "no memory for the mapper");
        goto free_all;
    }
    *s = (struct mapper){ .network = network, .profile = profile, .m = m };
    s->sums = (int)(profile_memory_bytes(profile, "PSUM") / 4);
    s->norms = (int)(profile_memory_bytes(profile, "BNP") / 4);
    s->memory = (int)profile_memory_bytes(profile, "DMEM");
    if (profile->cores.count == 0 || s->sums == 0 || s->norms == 0 || s->memory == 0) {
        rc = error_set(err, ERR_UNSUPPORTED, "chip '%s' has no arrays to put a network on", profile->type);
        goto free_all;
    }
    for (int order = 0; order < ORDER_COUNT; order++) {
        int64_t left;
        rc = start_attempt(s, err);
        if (rc == 0)
            rc = check_fit(network, m, s, err);
        if (rc)
            goto free_all;
        if (attempt(s, order, &left)) {
            if (!found || m->conversions < m[1].conversions)
                m[1] = m[0];
            found = true;
        } else if (left < left_min) {
            left_min = left;
        }
    }
    if (!found) {
        rc = error_set(
            err, ERR_RANGE,
            "network '%s' needs %lld of %lld cells, but layers of %lld cells find no place for their blocks, "
            "activations or norms",
            network->name, (long long)m->cells, (long long)m->cells_available, (long long)left_min);
        goto free_all;
    }
    m[0] = m[1];
    hash_mapping(m);
    *ret_mapping = m;
    m = NULL;
free_all:
    free(m);
    free(s);
    return rc;
}

void mapping_free(struct mapping *mapping)
{
    free(mapping);
}
