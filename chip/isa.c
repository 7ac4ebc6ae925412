/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * isa: names and operands of instructions; text from words and words from text.
 */
#include "chip/isa.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Which operands an instruction has. */
enum operands { NONE, REGISTER_IMM, COUNT_IMM, CORE, IMM };

static const struct {
    const char *name;
    enum operands operands;
} OPS[ISA_OP_COUNT] = {
    [ISA_NOP] = { "NOP", NONE },         [ISA_LDW] = { "LDW", NONE },
    [ISA_SET] = { "SET", REGISTER_IMM }, [ISA_WIN] = { "WIN", NONE },
    [ISA_GATHER] = { "GATHER", NONE },   [ISA_CLR] = { "CLR", NONE },
    [ISA_MVM] = { "MVM", NONE },         [ISA_BN] = { "BN", NONE },
    [ISA_NEXT] = { "NEXT", NONE },       [ISA_LOOP] = { "LOOP", COUNT_IMM },
    [ISA_MOV] = { "MOV", CORE },         [ISA_PADD] = { "PADD", CORE },
    [ISA_SIGNAL] = { "SIGNAL", CORE },   [ISA_WAIT] = { "WAIT", CORE },
    [ISA_LAYER] = { "LAYER", IMM },      [ISA_HALT] = { "HALT", NONE },
};

static const char *const REGISTERS[ISA_REGISTER_COUNT] = {
    [ISA_IN_BASE] = "IN_BASE", [ISA_IN_H] = "IN_H",         [ISA_IN_W] = "IN_W",
    [ISA_IN_C] = "IN_C",       [ISA_K_H] = "K_H",           [ISA_K_W] = "K_W",
    [ISA_S_H] = "S_H",         [ISA_S_W] = "S_W",           [ISA_P_H] = "P_H",
    [ISA_P_W] = "P_W",         [ISA_OUT_W] = "OUT_W",       [ISA_OUT_BASE] = "OUT_BASE",
    [ISA_OUT_PIX] = "OUT_PIX", [ISA_OUT_MODE] = "OUT_MODE", [ISA_VEC_OFF] = "VEC_OFF",
    [ISA_VEC_LEN] = "VEC_LEN", [ISA_ROW0] = "ROW0",         [ISA_COL0] = "COL0",
    [ISA_NCH] = "NCH",         [ISA_SLICES] = "SLICES",     [ISA_PS0] = "PS0",
    [ISA_BN0] = "BN0",         [ISA_MV_SRC] = "MV_SRC",     [ISA_MV_SSTR] = "MV_SSTR",
    [ISA_MV_DST] = "MV_DST",   [ISA_MV_DSTR] = "MV_DSTR",   [ISA_MV_LEN] = "MV_LEN",
    [ISA_MV_CNT] = "MV_CNT",
};

char *isa_disassemble(uint32_t word, char *out, size_t size)
{
    int op = isa_op_of(word), a = isa_a_of(word), imm = isa_imm_of(word);

    /* Bits that the instruction does not use must be 0, else the text would lose them. */
    bool bad = op >= ISA_OP_COUNT;
    if (!bad) {
        enum operands operands = OPS[op].operands;
        bad = (a && (operands == NONE || operands == IMM)) ||
              (imm && (operands == NONE || operands == CORE)) ||
              (operands == REGISTER_IMM && a >= ISA_REGISTER_COUNT);
    }
    if (bad) {
        snprintf(out, size, "??? 0x%08X", (unsigned)word);
        return out;
    }
    switch (OPS[op].operands) {
    case NONE:
        snprintf(out, size, "%s", OPS[op].name);
        break;
    case REGISTER_IMM:
        snprintf(out, size, "%s %s, %d", OPS[op].name, REGISTERS[a], imm);
        break;
    case COUNT_IMM:
        snprintf(out, size, "%s %d, %d", OPS[op].name, a, imm);
        break;
    case CORE:
        snprintf(out, size, "%s %d", OPS[op].name, a);
        break;
    case IMM:
        snprintf(out, size, "%s %d", OPS[op].name, imm);
        break;
    }
    return out;
}

/* Splits at blanks and commas. Returns the number of words; max + 1 when there are more. */
static int split(char *line, char **words, int max)
{
    int count = 0;
    char *save = NULL;

    for (char *word = strtok_r(line, " \t\r,", &save); word; word = strtok_r(NULL, " \t\r,", &save)) {
        if (count == max)
            return max + 1;
        words[count++] = word;
    }
    return count;
}

static bool parse_number(const char *text, long max, int *ret_value)
{
    char *end;

    errno = 0;
    long value = strtol(text, &end, 0);
    if (errno || end == text || *end || value < 0 || value > max)
        return false;
    *ret_value = (int)value;
    return true;
}

static bool parse_register(const char *text, int *ret_value)
{
    for (int i = 0; i < ISA_REGISTER_COUNT; i++) {
        if (strcasecmp(text, REGISTERS[i]) == 0) {
            *ret_value = i;
            return true;
        }
    }
    return parse_number(text, ISA_REGISTER_COUNT - 1, ret_value);
}

static bool parse_operands(enum operands operands, char **words, int count, int *ret_a, int *ret_imm)
{
    switch (operands) {
    case NONE:
        return count == 1;
    case REGISTER_IMM:
        return count == 3 && parse_register(words[1], ret_a) && parse_number(words[2], 0xFFFF, ret_imm);
    case COUNT_IMM:
        return count == 3 && parse_number(words[1], 0xFF, ret_a) && parse_number(words[2], 0xFFFF, ret_imm);
    case CORE:
        return count == 2 && parse_number(words[1], 0xFF, ret_a);
    case IMM:
        return count == 2 && parse_number(words[1], 0xFFFF, ret_imm);
    }
    return false;
}

/* 1 instruction, 0 empty line, or an error. */
static int assemble_line(char *line, int number, uint32_t *ret_word, struct error *err)
{
    char *words[4];
    int a = 0, imm = 0;

    line[strcspn(line, ";#")] = '\0';
    int count = split(line, words, 3);
    if (count == 0)
        return 0;
    for (int op = 0; op < ISA_OP_COUNT; op++) {
        if (strcasecmp(words[0], OPS[op].name) != 0)
            continue;
        if (!parse_operands(OPS[op].operands, words, count, &a, &imm))
            return error_set(err, ERR_INVALID, "line %d: wrong operands of %s", number, OPS[op].name);
        *ret_word = isa_word((enum isa_op)op, a, imm);
        return 1;
    }
    return error_set(err, ERR_INVALID, "line %d: '%s' is no instruction", number, words[0]);
}

int isa_assemble(const char *text, uint32_t *ret_words, int max, int *ret_count, struct error *err)
{
    int number = 0, count = 0;

    for (const char *at = text; *at;) {
        size_t length = strcspn(at, "\n");
        char line[160];
        uint32_t word = 0;
        number++;
        if (length >= sizeof line)
            return error_set(err, ERR_INVALID, "line %d: longer than %zu characters", number,
                             sizeof line - 1);
        memcpy(line, at, length);
        line[length] = '\0';
        at += length + (at[length] == '\n');
        int rc = assemble_line(line, number, &word, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            continue;
        if (count == max)
            return error_set(err, ERR_FULL, "line %d: more than %d instructions", number, max);
        ret_words[count++] = word;
    }
    *ret_count = count;
    return 0;
}
