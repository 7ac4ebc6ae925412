/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * isa: instruction words of the cores (docs/chip-adelia2.md): op8 a8 imm16, their names, and text both ways.
 */
#ifndef CHIP_ISA_H
#define CHIP_ISA_H

#include <stddef.h>

#include "daemon/base/error.h"

enum isa_op {
    ISA_NOP,
    ISA_LDW,
    ISA_SET,
    ISA_WIN,
    ISA_GATHER,
    ISA_CLR,
    ISA_MVM,
    ISA_BN,
    ISA_NEXT,
    ISA_LOOP,
    ISA_MOV,
    ISA_PADD,
    ISA_SIGNAL,
    ISA_WAIT,
    ISA_LAYER,
    ISA_HALT,
    ISA_OP_COUNT
};

enum isa_register {
    ISA_IN_BASE,
    ISA_IN_H,
    ISA_IN_W,
    ISA_IN_C,
    ISA_K_H,
    ISA_K_W,
    ISA_S_H,
    ISA_S_W,
    ISA_P_H,
    ISA_P_W,
    ISA_OUT_W,
    ISA_OUT_BASE,
    ISA_OUT_PIX,
    ISA_OUT_MODE,
    ISA_VEC_OFF,
    ISA_VEC_LEN,
    ISA_ROW0,
    ISA_COL0,
    ISA_NCH,
    ISA_SLICES,
    ISA_PS0,
    ISA_BN0,
    ISA_MV_SRC,
    ISA_MV_SSTR,
    ISA_MV_DST,
    ISA_MV_DSTR,
    ISA_MV_LEN,
    ISA_MV_CNT,
    ISA_REGISTER_COUNT
};

enum { ISA_LINE_MAX = 48, ISA_WORDS_MAX = 256 };

static inline uint32_t isa_word(enum isa_op op, int a, int imm)
{
    return (uint32_t)op << 24 | (uint32_t)(a & 0xFF) << 16 | (uint32_t)(imm & 0xFFFF);
}
static inline int isa_op_of(uint32_t word)
{
    return (int)(word >> 24);
}
static inline int isa_a_of(uint32_t word)
{
    return (int)(word >> 16 & 0xFF);
}
static inline int isa_imm_of(uint32_t word)
{
    return (int)(word & 0xFFFF);
}

/* One instruction as text: "SET IN_BASE, 4032", "LOOP 6, 224", "MOV 2", "??? 0xFF000000". Returns out. */
char *isa_disassemble(uint32_t word, char *out, size_t size);
/* Assembles lines of the same text; ';' and '#' begin comments. The error names the line. */
int isa_assemble(const char *text, uint32_t *ret_words, int max, int *ret_count, struct error *err);

#endif
