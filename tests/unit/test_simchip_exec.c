/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_simchip_exec: the simulated adelia2 computes. Products, converters, windows, batch norm, moves and
 * waits against brute force that is written here from docs/chip-adelia2.md. */
#include <math.h>
#include <stdio.h>

#include "daemon/base/rng.h"
#include "tests/unit/simchip_rig.h"

static int8_t cells[A2_APUS][A2_ROWS][A2_COLS];
static struct rng dice;

static long floor_div(long a, long b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* The page's integer formula. */
static int ideal_code(long s, int bits, int gain)
{
    long code = floor_div(s * gain * (1L << bits) + 118320, 2 * 118320);
    long half = 1L << (bits - 1);

    return (int)(code < -half ? -half : code > half - 1 ? half - 1 : code);
}

static void random_cells(struct rig *rig, int apu)
{
    uint8_t image[A2_XBAR_BYTES] = { 0 };
    struct prog p = { 0 };

    for (int r = 0; r < A2_ROWS; r++)
        for (int c = 0; c < A2_COLS; c++) {
            int d = (int)rng_below(&dice, 8) - 4;

            cells[apu][r][c] = (int8_t)d;
            image[r * 32 + c / 2] |= (uint8_t)((d & 7) << (c % 2 * 4));
        }
    rig_load(rig, M(apu, WMEM, 0), image, sizeof image);
    emit(&p, I(LDW, 0, 0));
    emit(&p, I(HALT, 0, 0));
    rig_program(rig, apu, &p);
    for (int i = 0; i < A2_APUS; i++)
        rig_poke(rig, U(i, 0), i == apu);
    rig_poke(rig, G(PWREN), 0x33F);
    assert_int_equal(rig_run(rig), 0);
    assert_int_equal(rig_peek(rig, G(CYC_LO)), 1 + 2048 + 1);
}

static void random_input(struct rig *rig, int apu, uint8_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (uint8_t)(rng_below(&dice, 4) == 0 ? 0 : rng_below(&dice, 256));
    rig_load(rig, M(apu, DMEM, 0), x, n);
}

static void set(struct prog *p, unsigned reg, unsigned value)
{
    emit(p, I(SET, reg, value));
}

/* One window that covers a vector of n inputs from DMEM 0. */
static void vector_of(struct prog *p, unsigned n)
{
    set(p, IN_H, 1);
    set(p, IN_W, 1);
    set(p, IN_C, n);
    set(p, K_H, 1);
    set(p, K_W, 1);
    set(p, OUT_W, 1);
    set(p, VEC_LEN, n);
    emit(p, I(WIN, 0, 0));
    emit(p, I(GATHER, 0, 0));
}

static void test_ideal_product(void **state)
{
    static const struct {
        unsigned bits, gain_code, row0, rows, col0, channels, slices;
    } table[] = {
        { 9, 0, 0, 256, 0, 64, 1 },   { 9, 2, 0, 256, 0, 32, 2 },  { 10, 0, 0, 256, 1, 21, 3 },
        { 8, 2, 17, 100, 33, 10, 3 }, { 10, 2, 200, 56, 5, 7, 1 }, { 8, 1, 255, 1, 63, 1, 1 },
    };
    struct rig rig;
    uint8_t x[A2_ROWS];

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    random_cells(&rig, 0);
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        unsigned ncol = table[t].channels * table[t].slices;
        struct prog p = { 0 };
        int gain = 1 << table[t].gain_code;

        random_input(&rig, 0, x, sizeof x);
        rig_poke(&rig, U(0, 0x0C), table[t].bits | table[t].gain_code << 4);
        vector_of(&p, A2_ROWS);
        set(&p, VEC_LEN, table[t].rows);
        set(&p, ROW0, table[t].row0);
        set(&p, COL0, table[t].col0);
        set(&p, NCH, table[t].channels);
        set(&p, SLICES, table[t].slices);
        emit(&p, I(CLR, 0, 0));
        emit(&p, I(MVM, 0, 0));
        emit(&p, I(HALT, 0, 0));
        rig_program(&rig, 0, &p);
        rig_poke(&rig, U(0, 0x4C), 0);
        assert_int_equal(rig_run(&rig), 0);
        for (unsigned j = 0; j < table[t].channels; j++) {
            long psum = 0;

            for (unsigned k = 0; k < table[t].slices; k++) {
                unsigned c = j * table[t].slices + k;
                long s = 0;
                int code;

                for (unsigned i = 0; i < table[t].rows; i++)
                    s += (long)x[i] * cells[0][table[t].row0 + i][table[t].col0 + c];
                code = ideal_code(s, (int)table[t].bits, gain);
                psum += (long)code * (1L << (3 * k));
                assert_int_equal((int16_t)(rig_peek(&rig, M(0, TRACE, c / 2 * 4)) >> (c % 2 ? 0 : 16)), code);
            }
            assert_int_equal((int32_t)rig_peek(&rig, M(0, PSUM, 4 * j)), psum);
        }
        assert_int_equal(rig_peek(&rig, U(0, 0x30)), 1);
        assert_int_equal(rig_peek(&rig, U(0, 0x34)), ncol);
        assert_int_equal(rig_peek(&rig, U(0, 0x4C)), ncol);
    }
    rig_close(&rig);
}

/* Every sum that one column of positive cells can have, rounding edges among them. */
static void test_rounding_edges(void **state)
{
    /* S g 2^b = (2 k + 1) FSI has S = 59160 / 2^(b - 9) k' for g = 1: 9 bits, FSI / 512 is no integer, but
     * with 10 bits and gain 4, S = 118320 (2 k + 1) / 4096 is one only for large steps; so probe all S near
     * them. */
    struct rig rig;
    struct adelia2_apu *apu;
    uint8_t input[A2_ROWS];
    int16_t code[1];

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    apu = &rig.chip->apu[0];
    for (int r = 0; r < A2_ROWS; r++)
        apu->xbar[r * 32] = r == 0 ? 1 : 3; /* column 0: digits 1, 3, 3, ... */
    adelia2_array_load(rig.chip, 0);
    rig.chip->pwren = 0x33F;
    for (long s = 0; s <= 3L * 255 * 255; s++) {
        struct a2_product product = { .rows = A2_ROWS, .columns = 1, .input = input };
        long rest = s / 3;

        memset(input, 0, sizeof input);
        input[0] = (uint8_t)(s % 3);
        for (int r = 1; r < A2_ROWS && rest > 0; r++) {
            input[r] = (uint8_t)(rest > 255 ? 255 : rest);
            rest -= input[r];
        }
        apu->adc_config = 10 | (s & 1 ? 2u << 4 : 0);
        adelia2_array_mvm(rig.chip, 0, &product, code);
        assert_int_equal(code[0], ideal_code(s, 10, s & 1 ? 4 : 1));
    }
    rig_close(&rig);
}

static void test_bist_codes(void **state)
{
    struct rig rig;
    struct prog p = { 0 };

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    rig_poke(&rig, U(3, 0), 1);
    rig_poke(&rig, U(3, 0x0C), 8);
    rig_poke(&rig, G(PWREN), 0x108);
    rig_poke(&rig, G(0x50), 1000u << 16 | 1);
    vector_of(&p, 1);
    set(&p, COL0, 10);
    set(&p, NCH, 5);
    set(&p, SLICES, 2);
    emit(&p, I(MVM, 0, 0));
    emit(&p, I(MVM, 0, 0));
    emit(&p, I(CLR, 0, 0));
    emit(&p, I(MVM, 0, 0)); /* k = 2 */
    emit(&p, I(HALT, 0, 0));
    rig_program(&rig, 3, &p);
    assert_int_equal(rig_run(&rig), 0);
    for (int j = 0; j < 5; j++) {
        int low = (1000 + 37 * (10 + 2 * j) + 22) % 256 - 128,
            high = (1000 + 37 * (11 + 2 * j) + 22) % 256 - 128;

        assert_int_equal((int32_t)rig_peek(&rig, M(3, PSUM, 4 * j)), low + 8 * high);
    }
    /* REPEAT: k runs on, cycles multiply. */
    rig_poke(&rig, G(0x48), 1001);
    assert_int_equal(rig_run(&rig), 0);
    for (int j = 0; j < 5; j++) {
        int k = 3 * 1000 + 2;
        int low = (1000 + 37 * (10 + 2 * j) + 11 * k) % 256 - 128;
        int high = (1000 + 37 * (11 + 2 * j) + 11 * k) % 256 - 128;

        assert_int_equal((int32_t)rig_peek(&rig, M(3, PSUM, 4 * j)), low + 8 * high);
    }
    assert_int_equal(rig_peek(&rig, U(3, 0x30)), 3003);
    assert_int_equal(rig_peek(&rig, G(CYC_LO)), 1001u * (p.n + 1 /* GATHER */ + 3 * (16 + 16)));
    rig_close(&rig);
}

/* 3x3 convolution, stride 2 by 1, padding 1: codes, shift-add, norm, everything from the page. */
enum { CH = 5, CW = 6, CC = 7, CO = 9, OH = 3, OW = 6 };

static void conv_program(struct prog *p, unsigned mode)
{
    set(p, IN_BASE, 8);
    set(p, IN_H, CH);
    set(p, IN_W, CW);
    set(p, IN_C, CC);
    set(p, K_H, 3);
    set(p, K_W, 3);
    set(p, S_H, 2);
    set(p, S_W, 1);
    set(p, P_H, 1);
    set(p, P_W, 1);
    set(p, OUT_W, OW);
    set(p, OUT_BASE, 4096);
    set(p, OUT_PIX, mode ? 2 * CO : CO);
    set(p, OUT_MODE, mode);
    set(p, VEC_LEN, 9 * CC);
    set(p, ROW0, 3);
    set(p, COL0, 4);
    set(p, NCH, CO);
    set(p, SLICES, 3);
    set(p, PS0, 2);
    set(p, BN0, 1);
    emit(p, I(LAYER, 0, 7));
    emit(p, I(WIN, 0, 0));
    emit(p, I(LOOP, 5, OH * OW));
    emit(p, I(GATHER, 0, 0));
    emit(p, I(CLR, 0, 0));
    emit(p, I(MVM, 0, 0));
    emit(p, I(BN, 0, 0));
    emit(p, I(NEXT, 0, 0));
    emit(p, I(HALT, 0, 0));
}

static long conv_want(const uint8_t *x, int oy, int ox, int co, long *ret_psum)
{
    long psum = 0, scale = 20000 - 3000 * co, t;
    int shift = 10, bias = 3 * co - 10;

    for (int k = 0; k < 3; k++) {
        long s = 0;

        for (int kh = 0; kh < 3; kh++)
            for (int kw = 0; kw < 3; kw++)
                for (int c = 0; c < CC; c++) {
                    int y = 2 * oy + kh - 1, xx = ox + kw - 1;

                    if (y >= 0 && y < CH && xx >= 0 && xx < CW)
                        s += (long)x[8 + (y * CW + xx) * CC + c] *
                             cells[1][3 + (kh * 3 + kw) * CC + c][4 + co * 3 + k];
                }
        psum += (long)ideal_code(s, 10, 4) * (1L << (3 * k));
    }
    *ret_psum = psum;
    t = psum * scale;
    return floor_div(t + (1 << (shift - 1)), 1 << shift) + bias;
}

static void conv_setup(struct rig *rig, uint8_t *x, size_t n)
{
    rig_open(rig, RIG_IDEAL, 1);
    random_cells(rig, 1);
    random_input(rig, 1, x, n);
    for (int co = 0; co < CO; co++)
        rig_poke(rig, M(1, BNP, 4 * (1 + co)),
                 (uint32_t)(20000 - 3000 * co) << 16 | 10u << 8 | (uint8_t)(3 * co - 10));
    rig_poke(rig, U(1, 0x0C), 10 | 2 << 4);
}

static void test_convolution(void **state)
{
    struct rig rig;
    uint8_t x[8 + CH * CW * CC + 2], out[2 * OH * OW * CO + 4];
    long psum, span = 0;

    (void)state;
    conv_setup(&rig, x, sizeof x);
    for (unsigned mode = 0; mode < 2; mode++) {
        struct prog p = { 0 };

        conv_program(&p, mode);
        rig_program(&rig, 1, &p);
        assert_int_equal(rig_run(&rig), 0);
        rig_fetch(&rig, M(1, DMEM, 4096), out, (mode + 1) * OH * OW * CO);
        for (int i = 0; i < OH * OW * CO; i++) {
            long want = conv_want(x, i / CO / OW, i / CO % OW, i % CO, &psum);

            span = labs(want) > span ? labs(want) : span;
            if (mode == 0)
                assert_int_equal(out[i], want < 0 ? 0 : want > 255 ? 255 : want);
            else
                assert_int_equal((int16_t)(out[2 * i] << 8 | out[2 * i + 1]), want < -32768  ? -32768
                                                                              : want > 32767 ? 32767
                                                                                             : want);
        }
    }
    assert_true(span > 255); /* the clamp was in the game */
    assert_int_equal(rig_peek(&rig, G(CYC_LO)), 22 + 1 + 1 + OH * OW * (1 + 8 + 1 + 1 + 36 + 1 + CO + 1) + 1);
    rig_close(&rig);
}

static void test_break(void **state)
{
    struct rig rig;
    struct prog p = { 0 };
    uint8_t x[8 + CH * CW * CC + 2];

    (void)state;
    conv_setup(&rig, x, sizeof x);
    conv_program(&p, 1);
    p.n--;
    emit(&p, I(LAYER, 0, 8));
    emit(&p, I(CLR, 0, 0));
    emit(&p, I(HALT, 0, 0));
    rig_program(&rig, 1, &p);
    for (int window = 0; window < OH * OW; window += 5) {
        rig_poke(&rig, G(0x4C), 1u << 31 | 7u << 24 | (unsigned)window);
        assert_int_equal(rig_run(&rig), 0);
        assert_int_equal(rig_peek(&rig, U(1, 0x30)), window + 1);
        for (int co = 0; co < CO; co++) {
            long psum;

            conv_want(x, window / OW, window % OW, co, &psum);
            assert_int_equal((int32_t)rig_peek(&rig, M(1, PSUM, 4 * (2 + co))), psum);
        }
    }
    rig_poke(&rig, G(0x4C), 1u << 31 | 7u << 24 | 0xFFFF);
    assert_int_equal(rig_run(&rig), 0);
    assert_int_equal(rig_peek(&rig, U(1, 0x30)), OH * OW);
    assert_int_equal(rig_peek(&rig, U(1, 4)) >> 24, 7);
    assert_int_not_equal(rig_peek(&rig, M(1, PSUM, 8)), 0); /* the CLR behind was not reached */
    rig_poke(&rig, G(0x4C), 0);
    assert_int_equal(rig_run(&rig), 0);
    assert_int_equal(rig_peek(&rig, M(1, PSUM, 8)), 0);
    rig_close(&rig);
}

/* Every instruction of the convolution matters: without it, or with another operand, the output differs. */
static void test_changed_instruction(void **state)
{
    struct rig rig;
    struct prog good = { 0 };
    uint8_t x[8 + CH * CW * CC + 2], blank[OH * OW * CO + 2] = { 0 }, want[OH * OW * CO + 256],
                                                          got[sizeof want];
    const size_t n = OH * OW * CO / 4 * 4;

    (void)state;
    conv_setup(&rig, x, sizeof x);
    conv_program(&good, 0);
    rig_program(&rig, 1, &good);
    assert_int_equal(rig_run(&rig), 0);
    rig_fetch(&rig, M(1, DMEM, 4096), want, n);
    rig_fetch(&rig, M(1, PSUM, 0), want + n, 256);
    for (unsigned i = 0; i < good.n; i++) {
        struct prog bad = good;
        unsigned op = good.word[i] >> 24, reg = good.word[i] >> 16 & 0xFF;

        if (op == LAYER || op == WIN || op == HALT || (op == SET && reg == IN_H))
            continue; /* reports; already so at START; ends; one more row than any window reaches */
        /* One more, or one less where more would add zeros or what the next window covers. */
        if (op == SET)
            bad.word[i] = reg == K_H || reg == VEC_LEN || reg == NCH ? good.word[i] - 1 : good.word[i] + 1;
        else
            bad.word[i] = I(NOP, 0, 0);
        rig_load(&rig, M(1, DMEM, 4096), blank, n);
        rig_program(&rig, 1, &bad);
        rig_run(&rig);
        rig_fetch(&rig, M(1, DMEM, 4096), got, n);
        rig_fetch(&rig, M(1, PSUM, 0), got + n, 256);
        if (memcmp(got, want, n + 256) == 0)
            fail_msg("instruction %u (op %u reg %u) made no difference", i, op, reg);
    }
    rig_close(&rig);
}

static void test_moves_and_waits(void **state)
{
    struct rig rig;
    struct prog a = { 0 }, b = { 0 };
    uint32_t err;

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    for (uint32_t i = 0; i < 64; i += 4)
        rig_poke(&rig, M(0, DMEM, i), 0x00010203 + i * 0x01010101);
    /* APU0 thinks for long, then sends every third byte of its own to APU1, which copies it on. */
    emit(&a, I(LOOP, 1, 1000));
    emit(&a, I(NOP, 0, 0));
    set(&a, MV_SSTR, 3);
    set(&a, MV_DST, 100);
    set(&a, MV_DSTR, 1);
    set(&a, MV_LEN, 1);
    set(&a, MV_CNT, 20);
    emit(&a, I(MOV, 1, 0));
    emit(&a, I(SIGNAL, 1, 0));
    emit(&a, I(HALT, 0, 0));
    emit(&b, I(WAIT, 0, 0));
    set(&b, MV_SRC, 100);
    set(&b, MV_DST, 200);
    set(&b, MV_LEN, 20);
    set(&b, MV_CNT, 1);
    emit(&b, I(MOV, 1, 0));
    emit(&b, I(HALT, 0, 0));
    rig_program(&rig, 0, &a);
    rig_program(&rig, 1, &b);
    rig_poke(&rig, U(0, 0), 1);
    rig_poke(&rig, U(1, 0), 1);
    rig_poke(&rig, G(PWREN), 3);
    assert_int_equal(rig_run(&rig), 0);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(rig.chip->apu[1].data.dmem[200 + i], (3 * i) & 0xFF);
    /* 1 + 1000 + 5 sets + MOV (1 + 5) + SIGNAL, then 4 sets + MOV (1 + 5) + HALT */
    assert_int_equal(rig_peek(&rig, G(CYC_LO)), 1 + 1000 + 5 + 6 + 1 + 4 + 6 + 1);

    /* A wait that nobody ends. */
    emit(&b, I(NOP, 0, 0));
    b.word[b.n - 2] = I(WAIT, 0, 0);
    emit(&b, I(HALT, 0, 0));
    rig_program(&rig, 1, &b);
    err = rig_run(&rig);
    assert_int_equal(err, A2_ERR_BUSTO);
    assert_int_equal(rig_peek(&rig, U(1, 4)) >> 18 & 1, 1);
    rig_poke(&rig, G(ERR), err);
    /* An unpowered unit takes no part: now both wait for it. */
    rig_poke(&rig, G(PWREN), 2);
    assert_int_equal(rig_run(&rig), A2_ERR_BUSTO);
    rig_close(&rig);
}

static void test_psum(void **state)
{
    struct rig rig;
    struct prog a = { 0 };

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    rig_poke(&rig, U(0, 0), 1);
    rig_poke(&rig, U(0, 0x0C), 9);
    rig_poke(&rig, G(PWREN), 0x101);
    rig_poke(&rig, G(0x50), 511u << 16 | 1); /* first column: 255 */
    vector_of(&a, 1);
    set(&a, NCH, 1);
    set(&a, SLICES, 1);
    emit(&a, I(CLR, 0, 0));
    emit(&a, I(MVM, 0, 0));
    emit(&a, I(LOOP, 1, 20));
    emit(&a, I(PADD, 0, 0)); /* doubles */
    emit(&a, I(PADD, 1, 0)); /* to another unit */
    emit(&a, I(HALT, 0, 0));
    rig_program(&rig, 0, &a);
    rig.chip->apu[1].data.psum[0] = -5;
    assert_int_equal(rig_run(&rig), 0);
    assert_int_equal((int32_t)rig_peek(&rig, M(0, PSUM, 0)), 255 << 20);
    assert_int_equal((int32_t)rig_peek(&rig, M(1, PSUM, 0)), (255 << 20) - 5);
    assert_int_equal(rig_peek(&rig, U(0, 4)) >> 19 & 1, 0);
    a.word[a.n - 4] = I(LOOP, 1, 22);
    rig_program(&rig, 0, &a);
    assert_int_equal(rig_run(&rig), 0);
    assert_int_equal((int32_t)rig_peek(&rig, M(0, PSUM, 0)), (1 << 29) - 1);
    assert_int_equal(rig_peek(&rig, U(0, 4)) >> 19 & 1, 1);
    rig_close(&rig);
}

static void test_faults(void **state)
{
    static const struct {
        uint32_t err, word[8];
    } table[] = {
        { A2_ERR_ILLOP, { I(0x10, 0, 0) } },
        { A2_ERR_ILLOP, { I(SET, 28, 0) } },
        { A2_ERR_ILLOP, { I(LOOP, 2, 2), I(LOOP, 1, 2), I(NOP, 0, 0), I(HALT, 0, 0) } },
        { A2_ERR_ILLOP, { I(MOV, 6, 0) } },
        { A2_ERR_ILLOP, { I(WAIT, 6, 0) } },
        { A2_ERR_ILLOP, { I(SET, NCH, 65), I(CLR, 0, 0) } },
        { A2_ERR_ILLOP, { I(SET, NCH, 33), I(SET, SLICES, 2), I(MVM, 0, 0) } },
        { A2_ERR_ILLOP, { I(SET, ROW0, 200), I(SET, VEC_LEN, 57), I(MVM, 0, 0) } },
        { A2_ERR_ILLOP, { I(SET, IN_C, 2049), I(SET, K_H, 1), I(SET, K_W, 1), I(GATHER, 0, 0) } },
        { A2_ERR_DMEM, { I(SET, NCH, 4), I(SET, OUT_BASE, 8189), I(BN, 0, 0) } },
        { A2_ERR_DMEM, { I(SET, MV_CNT, 2), I(SET, MV_SSTR, 8192), I(SET, MV_LEN, 1), I(MOV, 0, 0) } },
        { A2_ERR_DMEM,
          { I(SET, IN_BASE, 8190), I(SET, IN_H, 1), I(SET, IN_W, 1), I(SET, IN_C, 3), I(SET, K_H, 1),
            I(SET, K_W, 1), I(GATHER, 0, 0) } },
    };
    struct rig rig;

    (void)state;
    rig_open(&rig, RIG_IDEAL, 1);
    rig_poke(&rig, U(5, 0), 1);
    rig_poke(&rig, G(PWREN), 0x120);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(rig_write(&rig, M(5, IMEM, 0), table[i].word, 8), 0xA0);
        assert_int_equal(rig_run(&rig), table[i].err);
        rig_poke(&rig, G(ERR), 0xFF);
    }
    assert_int_equal(rig_peek(&rig, G(INFCNT)), 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ideal_product),   cmocka_unit_test(test_rounding_edges),
        cmocka_unit_test(test_bist_codes),      cmocka_unit_test(test_convolution),
        cmocka_unit_test(test_break),           cmocka_unit_test(test_changed_instruction),
        cmocka_unit_test(test_moves_and_waits), cmocka_unit_test(test_psum),
        cmocka_unit_test(test_faults),
    };

    print_message("seed %d\n", RIG_SEED);
    rng_init(&dice, RIG_SEED, "test_simchip_exec", 0, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
