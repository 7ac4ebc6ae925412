/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fixture_cores: the state of fixture_chip.h's ideal adelia2, and how its cores execute instruction words. */
#ifndef TESTS_UNIT_FIXTURE_CORES_H
#define TESTS_UNIT_FIXTURE_CORES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct fake_core {
    uint8_t imem[1024], wmem[8192], dmem[8192], xbar[8192], bnp[256], adct[256], psum_bytes[256], trace[1024];
    int32_t psum[64];
    int8_t cell[64][256]; /* of xbar, decoded: [column][row] */
    uint8_t vector[2048];
    uint32_t enable, adc, extsum, extsq, traceptr, cnt[4];
    int reg[28], pc, loop_from, loop_to, loop_left, y, x, window, layer, mvm;
    bool halted;
    int64_t time;
    int token[6], token_time_head[6];
    int64_t token_time[6][4096];
    int token_tail[6];
};

struct fake_chip {
    struct fake_core core[6];
    uint32_t ctrl, err, irqen, pwren, testmux, scratch, repeat, brk, bist, infcnt;
    int64_t cycles, run_end_ns, now_ns;
    bool done, reset_armed;
    int ext_input_code; /* what every conversion of the test input gives */
    /* Misbehaviour. */
    bool silent;          /* MISO floats high */
    bool hang;            /* RUN never clears */
    bool ignore_start;    /* says yes, does nothing */
    double slow;          /* runs take this many times longer; 0 = 1 */
    int corrupt_every;    /* every n-th reply has a flipped bit */
    int corrupt_commands; /* every n-th command arrives with a flipped bit */
    int analog_offset;    /* added to every converter code: a chip that is off */
    long transactions, bytes;
    int break_owner;
};

static inline int fake_cell(const struct fake_core *c, int row, int column)
{
    int byte = c->xbar[row * 32 + column / 2], nibble = column & 1 ? byte >> 4 : byte & 15;

    if (nibble & 8)
        return 0;
    return nibble & 4 ? (nibble & 7) - 8 : nibble & 7;
}

static inline void fake_decode_cells(struct fake_core *c)
{
    for (int row = 0; row < 256; row++) {
        for (int column = 0; column < 64; column++)
            c->cell[column][row] = (int8_t)fake_cell(c, row, column);
    }
}

static inline int fake_code(struct fake_chip *f, struct fake_core *c, int row0, int rows, int column,
                            const uint8_t *x)
{
    int bits = (int)(c->adc & 15), gain = 1 << (c->adc >> 4 & 3), half = 1 << (bits - 1);
    double fsi = 464.0 * 255;
    int64_t s = 0;

    if (f->bist & 1)
        return (int)(((f->bist >> 16) + 37U * (unsigned)column + 11U * (unsigned)c->mvm) % (1U << bits)) -
               half;
    if (!(f->pwren & 0x100) || (gain > 1 && !(f->pwren & 0x200)))
        return 0;
    for (int r = 0; r < rows; r++)
        s += x[r] * c->cell[column][row0 + r];
    /* Exact in double: all below 2^53, and the divisor's halves are compared as integers by floor. */
    double t = (double)s * gain * (1 << bits) + fsi;
    int64_t q = (int64_t)(t / (2 * fsi));
    while ((double)q * 2 * fsi > t)
        q--;
    while ((double)(q + 1) * 2 * fsi <= t)
        q++;
    q += f->analog_offset;
    if (q < -half || q > half - 1)
        c->cnt[2]++;
    return (int)(q < -half ? -half : q > half - 1 ? half - 1 : q);
}

static inline int32_t fake_sat(int64_t v)
{
    return (int32_t)(v > 536870911 ? 536870911 : v < -536870912 ? -536870912 : v);
}

static inline void fake_mvm(struct fake_chip *f, struct fake_core *c)
{
    int *g = c->reg;

    for (int j = 0; j < g[18]; j++) {
        int64_t sum = c->psum[g[20] + j];
        for (int k = 0; k < g[19]; k++) {
            int code = fake_code(f, c, g[16], g[15], g[17] + j * g[19] + k, c->vector + g[14]);
            int at = (int)c->traceptr;
            c->trace[2 * at] = (uint8_t)((unsigned)code >> 8);
            c->trace[2 * at + 1] = (uint8_t)code;
            c->traceptr = (c->traceptr + 1) % 512;
            c->cnt[1]++;
            sum += (int64_t)code * (1 << (3 * k));
        }
        c->psum[g[20] + j] = fake_sat(sum);
    }
    c->mvm++;
    c->cnt[0]++;
}

static inline void fake_bn(struct fake_core *c)
{
    int *g = c->reg;

    for (int j = 0; j < g[18]; j++) {
        const uint8_t *e = c->bnp + 4 * (g[21] + j);
        int16_t scale = (int16_t)(e[0] << 8 | e[1]);
        int shift = e[2];
        int8_t bias = (int8_t)e[3];
        __int128 t = (__int128)c->psum[g[20] + j] * scale;
        if (shift)
            t = (t + ((__int128)1 << (shift - 1))) >> shift;
        int64_t y = (int64_t)t + bias;
        uint8_t *out = c->dmem + g[11] + c->window * g[12] + j * (g[13] ? 2 : 1);
        if (g[13]) {
            y = y < -32768 ? -32768 : y > 32767 ? 32767 : y;
            out[0] = (uint8_t)((uint64_t)y >> 8);
            out[1] = (uint8_t)y;
        } else {
            out[0] = (uint8_t)(y < 0 ? 0 : y > 255 ? 255 : y);
        }
    }
}

static inline void fake_gather(struct fake_core *c)
{
    int *g = c->reg, n = 0;

    for (int ky = 0; ky < g[4]; ky++) {
        for (int kx = 0; kx < g[5]; kx++) {
            for (int ch = 0; ch < g[3]; ch++) {
                int y = c->y * g[6] - g[8] + ky, x = c->x * g[7] - g[9] + kx;
                bool in = y >= 0 && y < g[1] && x >= 0 && x < g[2];
                c->vector[n++] = in ? c->dmem[g[0] + (y * g[2] + x) * g[3] + ch] : 0;
            }
        }
    }
}

/* 1 done, 0 waits, 2 the run ends (break), negative: illegal. */
static inline int fake_step(struct fake_chip *f, int index)
{
    struct fake_core *c = &f->core[index];
    const uint8_t *w = c->imem + 4 * c->pc;
    int op = w[0], a = w[1], imm = w[2] << 8 | w[3], bits = (int)(c->adc & 15), *g = c->reg, result = 1;
    int64_t cost = 1;

    switch (op) {
    case 0:
        break;
    case 1:
        memcpy(c->xbar, c->wmem, sizeof c->xbar);
        fake_decode_cells(c);
        cost += 2048;
        break;
    case 2:
        g[a] = imm;
        break;
    case 3:
        c->x = c->y = c->window = 0;
        break;
    case 4:
        fake_gather(c);
        cost += (g[4] * g[5] * g[3] + 7) / 8;
        break;
    case 5:
        memset(c->psum + g[20], 0, (size_t)g[18] * 4);
        break;
    case 6:
        fake_mvm(f, c);
        cost += 16 + 2 * bits;
        break;
    case 7:
        fake_bn(c);
        cost += g[18];
        if (f->brk >> 31 && (int)(f->brk >> 24 & 127) == c->layer && (int)(f->brk & 0xFFFF) == c->window) {
            c->time += cost;
            return 2;
        }
        break;
    case 8:
        c->window++;
        if (++c->x == g[10]) {
            c->x = 0;
            c->y++;
        }
        break;
    case 9:
        c->loop_from = c->pc + 1;
        c->loop_to = c->pc + 1 + a;
        c->loop_left = imm;
        break;
    case 10:
        for (int i = 0; i < g[27]; i++)
            memcpy(f->core[a].dmem + g[24] + i * g[25], c->dmem + g[22] + i * g[23], (size_t)g[26]);
        cost += (g[26] * g[27] + 3) / 4;
        break;
    case 11:
        for (int i = g[20]; i < g[20] + g[18]; i++)
            f->core[a].psum[i] = fake_sat((int64_t)f->core[a].psum[i] + c->psum[i]);
        cost += g[18];
        break;
    case 12:
        f->core[a].token_time[index][f->core[a].token_tail[index]++ % 4096] = c->time + 1;
        f->core[a].token[index]++;
        break;
    case 13:
        if (c->token[a] == 0)
            return 0;
        c->token[a]--;
        if (c->time < c->token_time[a][c->token_time_head[a] % 4096])
            c->time = c->token_time[a][c->token_time_head[a] % 4096];
        c->token_time_head[a]++;
        break;
    case 14:
        c->layer = imm;
        break;
    case 15:
        c->halted = true;
        break;
    default:
        return -1;
    }
    c->time += cost;
    c->pc++;
    if (c->loop_left > 0 && c->pc == c->loop_to && --c->loop_left > 0)
        c->pc = c->loop_from;
    (void)result;
    return 1;
}

static inline bool fake_takes_part(const struct fake_chip *f, int i)
{
    return f->core[i].enable & 1 && f->pwren >> i & 1;
}

static inline void fake_begin(struct fake_chip *f)
{
    for (int i = 0; i < 6; i++) {
        struct fake_core *c = &f->core[i];
        memset(c->reg, 0, sizeof c->reg);
        memset(c->token, 0, sizeof c->token);
        memset(c->token_time_head, 0, sizeof c->token_time_head);
        memset(c->token_tail, 0, sizeof c->token_tail);
        memset(c->cnt, 0, sizeof c->cnt);
        c->pc = c->loop_left = c->mvm = 0;
        c->time = 0;
        c->halted = false;
    }
}

/* Cores take turns of one instruction, so that every wrong assumption about who comes first has its chance.
 */
static inline void fake_execute(struct fake_chip *f)
{
    bool ended = false;

    fake_begin(f);
    while (!ended) {
        int progress = 0, running = 0;
        for (int i = 0; i < 6 && !ended; i++) {
            if (!fake_takes_part(f, i) || f->core[i].halted)
                continue;
            running++;
            int rc = fake_step(f, i);
            progress += rc != 0;
            if (rc < 0)
                f->err |= 4;
            ended = rc < 0 || rc == 2;
        }
        if (!running)
            break;
        if (!progress) {
            f->err |= 8;
            ended = true;
        }
    }
    f->cycles = 0;
    for (int i = 0; i < 6; i++) {
        if (fake_takes_part(f, i) && f->core[i].time > f->cycles)
            f->cycles = f->core[i].time;
    }
    f->infcnt++;
}

static inline bool fake_running(const struct fake_chip *f)
{
    return f->hang ? f->run_end_ns != 0 : f->now_ns < f->run_end_ns;
}

static inline void fake_start(struct fake_chip *f)
{
    if (f->ignore_start)
        return;
    fake_execute(f);
    f->done = true;
    double period_ns = 10.0 * (1 + (f->ctrl >> 4 & 15));
    f->run_end_ns = f->now_ns + (int64_t)((double)f->cycles * period_ns * (f->slow > 0 ? f->slow : 1));
}

#endif
