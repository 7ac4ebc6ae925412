/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chip_adelia2_exec: the six units and their instructions. Units run in parallel: the one with the lowest
 * cycle count goes next, one instruction at a time, so that what they do to each other happens in the order
 * of time. A unit that waits leaves the race until its token comes; when nobody is left in it, the run is
 * over. */
#include "drivers/sim/chip_adelia2.h"

#include <string.h>

#include "daemon/base/rng.h"

enum {
    OP_NOP = 0x00,
    OP_LDW,
    OP_SET,
    OP_WIN,
    OP_GATHER,
    OP_CLR,
    OP_MVM,
    OP_BN,
    OP_NEXT,
    OP_LOOP,
    OP_MOV,
    OP_PADD,
    OP_SIGNAL,
    OP_WAIT,
    OP_LAYER,
    OP_HALT,
    OP_COUNT
};

enum {
    R_IN_BASE,
    R_IN_H,
    R_IN_W,
    R_IN_C,
    R_K_H,
    R_K_W,
    R_S_H,
    R_S_W,
    R_P_H,
    R_P_W,
    R_OUT_W,
    R_OUT_BASE,
    R_OUT_PIX,
    R_OUT_MODE,
    R_VEC_OFF,
    R_VEC_LEN,
    R_ROW0,
    R_COL0,
    R_NCH,
    R_SLICES,
    R_PS0,
    R_BN0,
    R_MV_SRC,
    R_MV_SSTR,
    R_MV_DST,
    R_MV_DSTR,
    R_MV_LEN,
    R_MV_CNT
};

enum {
    PSUM_MAX = (1 << 29) - 1,
    PSUM_MIN = -(1 << 29),
    SHIFT_MAX = 47,
    BREAK_LAYER_END = 0xFFFF,
    CYCLES_LDW = 2048,
    CYCLES_MVM = 16,
    TIMING_BITS = 20 /* a late sum is wrong in one of its low bits */
};

/* An instruction sees its unit and the whole chip; it returns the cycles beyond its first, or a negative
 * number after setting run.err. */
struct step {
    struct adelia2 *chip;
    struct adelia2_apu *apu;
    int index;
    unsigned a, imm;
};
typedef long (*instruction)(const struct step *s);

static long fault(const struct step *s, uint32_t err)
{
    s->chip->run.err |= err;
    return -1;
}

static bool dmem_inside(uint32_t address, uint32_t bytes)
{
    return address <= A2_DMEM_BYTES && bytes <= A2_DMEM_BYTES - address;
}

static bool channels_valid(const uint16_t *reg)
{
    return reg[R_PS0] + reg[R_NCH] <= A2_BNP_WORDS;
}

static void psum_add(struct adelia2_data *data, unsigned index, int64_t value)
{
    int64_t sum = data->psum[index] + value;

    if (sum > PSUM_MAX || sum < PSUM_MIN) {
        data->saturated = true;
        sum = sum > 0 ? PSUM_MAX : PSUM_MIN;
    }
    data->psum[index] = (int32_t)sum;
}

static long do_nop(const struct step *s)
{
    (void)s;
    return 0;
}

static long do_ldw(const struct step *s)
{
    memcpy(s->apu->xbar, s->apu->wmem, sizeof s->apu->xbar);
    adelia2_array_load(s->chip, s->index);
    return CYCLES_LDW;
}

static long do_set(const struct step *s)
{
    if (s->a >= A2_LAYER_REGS)
        return fault(s, A2_ERR_ILLOP);
    s->apu->unit.reg[s->a] = (uint16_t)s->imm;
    return 0;
}

static long do_win(const struct step *s)
{
    s->apu->unit.out_x = s->apu->unit.out_y = s->apu->unit.window = 0;
    return 0;
}

static long do_next(const struct step *s)
{
    struct adelia2_unit *unit = &s->apu->unit;

    unit->window++;
    unit->out_x++;
    if (unit->out_x >= unit->reg[R_OUT_W]) {
        unit->out_x = 0;
        unit->out_y++;
    }
    return 0;
}

static long do_gather(const struct step *s)
{
    struct adelia2_unit *unit = &s->apu->unit;
    const uint16_t *reg = unit->reg;
    uint64_t bytes = (uint64_t)reg[R_K_H] * reg[R_K_W] * reg[R_IN_C];
    uint32_t channels = reg[R_IN_C];
    uint8_t *to = unit->vector;

    if (bytes > A2_VECTOR_BYTES)
        return fault(s, A2_ERR_ILLOP);
    for (int kh = 0; kh < reg[R_K_H]; kh++)
        for (int kw = 0; kw < reg[R_K_W]; kw++, to += channels) {
            int64_t y = (int64_t)unit->out_y * reg[R_S_H] + kh - reg[R_P_H];
            int64_t x = (int64_t)unit->out_x * reg[R_S_W] + kw - reg[R_P_W];
            int64_t from = reg[R_IN_BASE] + (y * reg[R_IN_W] + x) * channels;

            if (y < 0 || x < 0 || y >= reg[R_IN_H] || x >= reg[R_IN_W]) {
                memset(to, 0, channels);
                continue;
            }
            if (from > A2_DMEM_BYTES || !dmem_inside((uint32_t)from, channels))
                return fault(s, A2_ERR_DMEM);
            memcpy(to, s->apu->data.dmem + from, channels);
            s->apu->data.memory_count += channels;
        }
    return (long)((bytes + 7) / 8);
}

static long do_clr(const struct step *s)
{
    const uint16_t *reg = s->apu->unit.reg;

    if (!channels_valid(reg))
        return fault(s, A2_ERR_ILLOP);
    for (unsigned j = 0; j < reg[R_NCH]; j++)
        s->apu->data.psum[reg[R_PS0] + j] = 0;
    return 0;
}

/* Above its highest clock the adder misses its edge now and then. */
static void disturb_sums(struct adelia2 *chip, int index, uint32_t mvm)
{
    struct adelia2_apu *apu = &chip->apu[index];
    const uint16_t *reg = apu->unit.reg;
    struct rng rng;

    rng_init(&rng, chip->die.seed, "timing", (uint64_t)chip->die.number << 8 | (uint64_t)index,
             chip->run_number, mvm);
    for (unsigned j = 0; j < reg[R_NCH]; j++)
        if (rng_uniform(&rng) < chip->timing_error)
            apu->data.psum[reg[R_PS0] + j] ^= 1 << rng_below(&rng, TIMING_BITS);
}

static long do_mvm(const struct step *s)
{
    struct adelia2_apu *apu = s->apu;
    struct adelia2_unit *unit = &apu->unit;
    const uint16_t *reg = unit->reg;
    uint32_t columns = (uint32_t)reg[R_NCH] * reg[R_SLICES];
    unsigned bits = adelia2_array_bits(apu);
    int16_t codes[A2_COLS];
    struct a2_product product = {
        .row = reg[R_ROW0],
        .rows = reg[R_VEC_LEN],
        .column = reg[R_COL0],
        .columns = columns,
        .mvm_index = unit->mvm_index,
    };

    if (!channels_valid(reg) || reg[R_ROW0] + reg[R_VEC_LEN] > A2_ROWS ||
        reg[R_VEC_OFF] + reg[R_VEC_LEN] > A2_VECTOR_BYTES || columns > A2_COLS ||
        reg[R_COL0] + columns > A2_COLS)
        return fault(s, A2_ERR_ILLOP);
    product.input = unit->vector + reg[R_VEC_OFF];
    adelia2_array_mvm(s->chip, s->index, &product, codes);
    for (unsigned j = 0; j < reg[R_NCH]; j++) {
        int64_t sum = 0;

        /* Beyond ten slices nothing is left of the shifted code in 30 bits but its sign. */
        for (unsigned slice = 0; slice < reg[R_SLICES]; slice++)
            sum +=
                (int64_t)codes[j * reg[R_SLICES] + slice] * ((int64_t)1 << (3 * (slice < 10 ? slice : 10)));
        psum_add(&apu->data, reg[R_PS0] + j, sum);
    }
    if (s->chip->timing_error > 0)
        disturb_sums(s->chip, s->index, unit->mvm_index);
    unit->mvm_index++;
    apu->data.mvm_count++;
    apu->data.conversion_count += columns;
    s->chip->events.cells += (double)reg[R_VEC_LEN] * columns;
    s->chip->events.conversions_9b += (double)columns * (double)(1u << bits) / 512.0;
    s->chip->events.digital += columns;
    return CYCLES_MVM + 2 * (long)bits;
}

/* Scale, round, shift, bias, clamp. */
static int32_t normalise(int32_t psum, uint32_t entry, bool wide)
{
    int64_t t = (int64_t)psum * (int16_t)(entry >> 16);
    unsigned shift = entry >> 8 & 0xFF;
    int64_t low = wide ? -32768 : 0, high = wide ? 32767 : 255, y;

    if (shift > SHIFT_MAX)
        shift = SHIFT_MAX;
    if (shift > 0)
        t = (t + ((int64_t)1 << (shift - 1))) >> shift;
    y = t + (int8_t)(entry & 0xFF);
    return (int32_t)(y < low ? low : y > high ? high : y);
}

static long do_bn(const struct step *s)
{
    struct adelia2_apu *apu = s->apu;
    const uint16_t *reg = apu->unit.reg;
    bool wide = reg[R_OUT_MODE] == 1;
    uint32_t size = wide ? 2 : 1, bytes = reg[R_NCH] * size;
    uint64_t base = reg[R_OUT_BASE] + (uint64_t)apu->unit.window * reg[R_OUT_PIX];

    if (!channels_valid(reg) || reg[R_BN0] + reg[R_NCH] > A2_BNP_WORDS)
        return fault(s, A2_ERR_ILLOP);
    if (base > A2_DMEM_BYTES || !dmem_inside((uint32_t)base, bytes))
        return fault(s, A2_ERR_DMEM);
    for (unsigned j = 0; j < reg[R_NCH]; j++) {
        int32_t y = normalise(apu->data.psum[reg[R_PS0] + j], apu->bnp[reg[R_BN0] + j], wide);
        uint8_t *to = apu->data.dmem + base + (size_t)j * size;

        if (wide)
            *to++ = (uint8_t)((uint32_t)y >> 8);
        *to = (uint8_t)y;
    }
    apu->data.memory_count += bytes;
    return reg[R_NCH];
}

static long do_loop(const struct step *s)
{
    struct adelia2_unit *unit = &s->apu->unit;

    if (unit->loop_left > 0 || unit->pc + s->a > A2_IMEM_WORDS)
        return fault(s, A2_ERR_ILLOP);
    if (s->imm == 0 || s->a == 0) {
        unit->pc += s->a;
        return 0;
    }
    unit->loop_first = unit->pc;
    unit->loop_end = unit->pc + s->a;
    unit->loop_left = s->imm;
    return 0;
}

static long do_mov(const struct step *s)
{
    const uint16_t *reg = s->apu->unit.reg;
    uint32_t length = reg[R_MV_LEN];

    if (s->a >= A2_APUS)
        return fault(s, A2_ERR_ILLOP);
    for (uint32_t i = 0; i < reg[R_MV_CNT]; i++) {
        uint64_t from = reg[R_MV_SRC] + (uint64_t)i * reg[R_MV_SSTR];
        uint64_t to = reg[R_MV_DST] + (uint64_t)i * reg[R_MV_DSTR];

        if (from > A2_DMEM_BYTES || to > A2_DMEM_BYTES || !dmem_inside((uint32_t)from, length) ||
            !dmem_inside((uint32_t)to, length))
            return fault(s, A2_ERR_DMEM);
        memmove(s->chip->apu[s->a].data.dmem + to, s->apu->data.dmem + from, length);
        s->apu->data.memory_count += 2 * length;
    }
    return ((long)reg[R_MV_CNT] * length + 3) / 4;
}

static long do_padd(const struct step *s)
{
    const uint16_t *reg = s->apu->unit.reg;

    if (s->a >= A2_APUS || !channels_valid(reg))
        return fault(s, A2_ERR_ILLOP);
    for (unsigned j = 0; j < reg[R_NCH]; j++)
        psum_add(&s->chip->apu[s->a].data, reg[R_PS0] + j, s->apu->data.psum[reg[R_PS0] + j]);
    return reg[R_NCH];
}

static long do_signal(const struct step *s)
{
    struct adelia2_unit *unit;

    if (s->a >= A2_APUS)
        return fault(s, A2_ERR_ILLOP);
    unit = &s->chip->apu[s->a].unit;
    if (unit->state == A2_WAITING && unit->wait_from == s->index) {
        unit->state = A2_READY;
        if (unit->cycle < s->apu->unit.cycle + 1) /* this instruction's end */
            unit->cycle = s->apu->unit.cycle + 1;
    } else {
        unit->token[s->index]++;
    }
    return 0;
}

static long do_wait(const struct step *s)
{
    struct adelia2_unit *unit = &s->apu->unit;

    if (s->a >= A2_APUS)
        return fault(s, A2_ERR_ILLOP);
    if (unit->token[s->a] > 0) {
        unit->token[s->a]--;
    } else {
        unit->state = A2_WAITING;
        unit->wait_from = (int)s->a;
    }
    return 0;
}

static long do_layer(const struct step *s)
{
    s->apu->unit.layer = s->imm;
    return 0;
}

static long do_halt(const struct step *s)
{
    s->apu->unit.state = A2_HALTED;
    return 0;
}

static const instruction instructions[OP_COUNT] = {
    [OP_NOP] = do_nop,       [OP_LDW] = do_ldw,   [OP_SET] = do_set,     [OP_WIN] = do_win,
    [OP_GATHER] = do_gather, [OP_CLR] = do_clr,   [OP_MVM] = do_mvm,     [OP_BN] = do_bn,
    [OP_NEXT] = do_next,     [OP_LOOP] = do_loop, [OP_MOV] = do_mov,     [OP_PADD] = do_padd,
    [OP_SIGNAL] = do_signal, [OP_WAIT] = do_wait, [OP_LAYER] = do_layer, [OP_HALT] = do_halt,
};

/* BREAK: a unit stops behind the BN of the chosen window, before it leaves the chosen layer (window FFFF),
 * and in any case before a later layer, so that what the host then reads is the state at the break. */
static bool stops_before(const struct adelia2 *chip, const struct adelia2_unit *unit, unsigned op,
                         unsigned imm)
{
    uint32_t layer = chip->brk >> 24 & 0x7F, window = chip->brk & 0xFFFF;

    if ((chip->brk & 1u << 31) == 0)
        return false;
    if (op == OP_LAYER && imm > layer)
        return true;
    return window == BREAK_LAYER_END && unit->layer == layer &&
           (op == OP_HALT || (op == OP_LAYER && imm != layer));
}

static bool stops_behind(const struct adelia2 *chip, const struct adelia2_unit *unit, unsigned op)
{
    return (chip->brk & 1u << 31) != 0 && op == OP_BN && unit->layer == (chip->brk >> 24 & 0x7F) &&
           unit->window == (chip->brk & 0xFFFF);
}

/* One instruction of one unit. False: the run ends here. */
static bool step_unit(struct adelia2 *chip, int index)
{
    struct adelia2_apu *apu = &chip->apu[index];
    struct adelia2_unit *unit = &apu->unit;
    uint32_t word = unit->pc < A2_IMEM_WORDS ? apu->imem[unit->pc] : 0xFFFFFFFFu;
    unsigned op = word >> 24;
    struct step s = {
        .chip = chip, .apu = apu, .index = index, .a = word >> 16 & 0xFF, .imm = word & 0xFFFF
    };
    long extra;

    if (op >= OP_COUNT) {
        fault(&s, A2_ERR_ILLOP);
        return false;
    }
    if (stops_before(chip, unit, op, s.imm)) {
        unit->state = A2_STOPPED;
        return true;
    }
    unit->pc++;
    extra = instructions[op](&s);
    if (extra < 0)
        return false;
    unit->cycle += 1 + (uint64_t)extra;
    if (stops_behind(chip, unit, op))
        unit->state = A2_STOPPED;
    if (unit->loop_left > 0 && unit->pc == unit->loop_end) {
        unit->loop_left--;
        if (unit->loop_left > 0)
            unit->pc = unit->loop_first;
    }
    return true;
}

/* The ready unit that is furthest behind; -1: none. */
static int next_unit(const struct adelia2 *chip, uint32_t mask)
{
    int best = -1;

    for (int i = 0; i < A2_APUS; i++)
        if ((mask & 1u << i) != 0 && chip->apu[i].unit.state == A2_READY &&
            (best < 0 || chip->apu[i].unit.cycle < chip->apu[best].unit.cycle))
            best = i;
    return best;
}

/* How it ended when nobody can go on. */
static void judge_end(struct adelia2 *chip, uint32_t mask)
{
    bool waiting = false, stopped = false;

    for (int i = 0; i < A2_APUS; i++)
        if ((mask & 1u << i) != 0) {
            waiting |= chip->apu[i].unit.state == A2_WAITING;
            stopped |= chip->apu[i].unit.state == A2_STOPPED;
        }
    if (waiting && !stopped)
        chip->run.err |= A2_ERR_BUSTO;
}

/* One execution of all programs from their start. */
static bool execute(struct adelia2 *chip, uint32_t mask, uint32_t mvm_skip)
{
    uint64_t steps = 0, longest = 0;
    int i;

    for (i = 0; i < A2_APUS; i++) {
        uint32_t k =
            chip->apu[i].unit.mvm_index + (mask & 1u << i ? mvm_skip * chip->apu[i].data.mvm_count : 0);

        memset(&chip->apu[i].unit, 0, offsetof(struct adelia2_unit, vector));
        chip->apu[i].unit.mvm_index = k;
        chip->apu[i].data.mvm_count = chip->apu[i].data.conversion_count = 0;
        chip->apu[i].data.clip_count = chip->apu[i].data.memory_count = 0;
        if ((mask & 1u << i) != 0)
            chip->apu[i].unit.state = A2_READY;
    }
    chip->events = (struct adelia2_events){ 0 };
    for (i = next_unit(chip, mask); i >= 0; i = next_unit(chip, mask)) {
        if (++steps > A2_STEPS_MAX)
            return false;
        if (!step_unit(chip, i))
            break;
    }
    if (i < 0)
        judge_end(chip, mask);
    for (i = 0; i < A2_APUS; i++) {
        struct adelia2_apu *apu = &chip->apu[i];

        if (longest < apu->unit.cycle)
            longest = apu->unit.cycle;
        chip->events.dmem_bytes += apu->data.memory_count;
        apu->data.pc = apu->unit.pc;
        apu->data.layer = apu->unit.layer;
        apu->data.waiting = apu->unit.state == A2_WAITING;
        apu->data.done = apu->unit.state == A2_HALTED;
    }
    chip->run.cycles = longest;
    return true;
}

/* REPEAT: time and energy of a program do not depend on data, so that a long series costs the model no more
 * than its first three executions and its last: those between are counted, not computed. */
bool adelia2_exec_run(struct adelia2 *chip, uint32_t mask)
{
    uint32_t repeats = chip->repeat > 0 ? chip->repeat : 1;
    uint32_t executed = repeats < A2_REPEATS_EXECUTED ? repeats : A2_REPEATS_EXECUTED;

    for (int i = 0; i < A2_APUS; i++) {
        chip->apu[i].unit.mvm_index = 0;
        chip->apu[i].data.mvm_count = chip->apu[i].data.conversion_count = 0;
        chip->apu[i].data.clip_count = chip->apu[i].data.memory_count = 0;
        chip->apu[i].data.saturated = false;
    }
    chip->run.err = 0;
    for (uint32_t i = 0; i < executed && chip->run.err == 0; i++) {
        bool last = i + 1 == executed;

        if (!execute(chip, mask, last ? repeats - executed : 0))
            return false;
    }
    if (chip->run.err != 0)
        return true;
    chip->run.cycles *= repeats;
    for (int i = 0; i < A2_APUS; i++) {
        chip->apu[i].data.mvm_count *= repeats;
        chip->apu[i].data.conversion_count *= repeats;
        chip->apu[i].data.clip_count *= repeats;
        chip->apu[i].data.memory_count *= repeats;
    }
    return true;
}
