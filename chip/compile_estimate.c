/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * compile_estimate: how long programs run, by walking through them with the profile's cost table. Cores run
 * in parallel; a token carries the time of its SIGNAL, and a WAIT ends no earlier.
 */
#include <stdlib.h>
#include <string.h>

#include "chip/compile.h"

enum { TOKENS_MAX = 8192, STEPS_MAX = 50000000 };

/* Tokens on their way from one core to another, as a ring of times. */
struct token_queue {
    int head, count;
    int64_t time[TOKENS_MAX];
};

struct walker {
    const struct chip_profile *profile;
    const struct chip_program *program;
    struct {
        int pc, loop_from, loop_to, loop_left;
        int64_t time;
        bool halted;
        int reg[ISA_REGISTER_COUNT];
    } core[PROFILE_CORES_MAX];
    struct token_queue *queue[PROFILE_CORES_MAX][PROFILE_CORES_MAX]; /* [from][to], made when used */
    int64_t steps;
};

static int64_t cost(const struct walker *w, int core, uint32_t word)
{
    const struct profile_cycles *c = &w->profile->cycles;
    const int *reg = w->core[core].reg;
    int64_t bytes;

    switch (isa_op_of(word)) {
    case ISA_LDW:
        return c->instruction + c->ldw;
    case ISA_GATHER:
        bytes = (int64_t)reg[ISA_K_H] * reg[ISA_K_W] * reg[ISA_IN_C];
        return c->instruction + (bytes + c->gather_bytes - 1) / c->gather_bytes;
    case ISA_MVM:
        return c->instruction + c->mvm + (int64_t)c->mvm_per_bit * w->program->adc.bits;
    case ISA_BN:
        return c->instruction + (int64_t)c->bn_per_channel * reg[ISA_NCH];
    case ISA_MOV:
        bytes = (int64_t)reg[ISA_MV_LEN] * reg[ISA_MV_CNT];
        return c->instruction + (bytes + c->mov_bytes - 1) / c->mov_bytes;
    case ISA_PADD:
        return c->instruction + (int64_t)c->padd_per_channel * reg[ISA_NCH];
    default:
        return c->instruction;
    }
}

static int give_token(struct walker *w, int from, int to, struct error *err)
{
    struct token_queue **queue = &w->queue[from][to];

    if (!*queue)
        *queue = calloc(1, sizeof **queue);
    if (!*queue)
        return error_set(err, ERR_MEMORY, "no memory for tokens");
    if ((*queue)->count == TOKENS_MAX)
        return error_set(err, ERR_INVALID, "core %d gives core %d more than %d tokens at a time", from, to,
                         TOKENS_MAX);
    (*queue)->time[((*queue)->head + (*queue)->count++) % TOKENS_MAX] = w->core[from].time;
    return 0;
}

/* False when there is none yet. */
static bool take_token(struct walker *w, int from, int to)
{
    struct token_queue *queue = w->queue[from][to];

    if (!queue || queue->count == 0)
        return false;
    if (w->core[to].time < queue->time[queue->head])
        w->core[to].time = queue->time[queue->head];
    queue->head = (queue->head + 1) % TOKENS_MAX;
    queue->count--;
    return true;
}

/* Moves to the next instruction; at the end of a loop body, back to its start while repeats are left. */
static void advance(struct walker *w, int core)
{
    int pc = ++w->core[core].pc;

    if (w->core[core].loop_left > 0 && pc == w->core[core].loop_to && --w->core[core].loop_left > 0)
        w->core[core].pc = w->core[core].loop_from;
}

/* 1: done, 0: waits, negative: error. */
static int execute(struct walker *w, int core, uint32_t word, struct error *err)
{
    int op = isa_op_of(word), a = isa_a_of(word), imm = isa_imm_of(word);
    bool to_core = op == ISA_MOV || op == ISA_PADD || op == ISA_SIGNAL || op == ISA_WAIT;

    if (op >= ISA_OP_COUNT || (op == ISA_SET && a >= ISA_REGISTER_COUNT) ||
        (to_core && a >= w->program->core_count))
        return error_set(err, ERR_INVALID, "core %d, instruction %d: %08X is no instruction", core,
                         w->core[core].pc, (unsigned)word);
    if (op == ISA_WAIT && !take_token(w, a, core))
        return 0;
    w->core[core].time += cost(w, core, word);
    if (op == ISA_SET)
        w->core[core].reg[a] = imm;
    if (op == ISA_SIGNAL && give_token(w, core, a, err))
        return ERR_INVALID;
    if (op == ISA_LOOP) {
        w->core[core].loop_from = w->core[core].pc + 1;
        w->core[core].loop_to = w->core[core].pc + 1 + a;
        w->core[core].loop_left = imm;
    }
    if (op == ISA_HALT)
        w->core[core].halted = true;
    advance(w, core);
    return 1;
}

/* Runs one core until it waits or halts. Returns the number of instructions or an error. */
static int64_t run_core(struct walker *w, int core, struct error *err)
{
    const struct compile_core *program = &w->program->core[core];
    int64_t done = 0;

    while (!w->core[core].halted) {
        if (w->core[core].pc >= program->word_count)
            return error_set(err, ERR_INVALID, "the program of core %d has no end", core);
        if (++w->steps > STEPS_MAX)
            return error_set(err, ERR_INVALID, "the programs take more than %d instructions", STEPS_MAX);
        int rc = execute(w, core, program->word[w->core[core].pc], err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            break;
        done++;
    }
    return done;
}

static int walk(struct walker *w, int64_t *ret_cycles, struct error *err)
{
    for (;;) {
        int64_t progress = 0, latest = 0;
        bool all_halted = true;
        for (int core = 0; core < w->program->core_count; core++) {
            if (!(w->program->core_mask >> core & 1))
                continue;
            int64_t done = run_core(w, core, err);
            if (done < 0)
                return (int)done;
            progress += done;
            all_halted &= w->core[core].halted;
            if (w->core[core].time > latest)
                latest = w->core[core].time;
        }
        if (all_halted) {
            *ret_cycles = latest;
            return 0;
        }
        if (progress == 0)
            return error_set(err, ERR_INVALID, "the programs wait for each other");
    }
}

int compile_estimate(const struct chip_profile *profile, const struct chip_program *program,
                     int64_t *ret_cycles, struct error *err)
{
    struct walker *w = calloc(1, sizeof *w);

    if (!w)
        return error_set(err, ERR_MEMORY, "no memory for an estimate");
    w->profile = profile;
    w->program = program;
    int rc = walk(w, ret_cycles, err);
    for (int from = 0; from < PROFILE_CORES_MAX; from++) {
        for (int to = 0; to < PROFILE_CORES_MAX; to++)
            free(w->queue[from][to]);
    }
    free(w);
    return rc;
}
