/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * undo: the list of steps and its order. */
#include "daemon/keeper/undo.h"

int undo_find(const struct undo_list *list, int kind, int channel)
{
    for (int i = 0; i < list->count; i++) {
        if (list->step[i].kind == kind && list->step[i].channel == channel)
            return i;
    }
    return -1;
}

int undo_add(struct undo_list *list, const struct undo_step *step, struct error *err)
{
    if (step->kind != UNDO_OUTPUT_OFF && step->kind != UNDO_SPI_RELEASE)
        return error_set(err, ERR_INVALID, "unknown kind of undo %d", step->kind);
    if (step->barrier < 0 || step->barrier > UNDO_BARRIER_MAX || step->emergency_barrier < 0 ||
        step->emergency_barrier > UNDO_BARRIER_MAX)
        return error_set(err, ERR_RANGE, "barriers %d and %d: allowed are 0 .. %d", step->barrier,
                         step->emergency_barrier, UNDO_BARRIER_MAX);
    int index = undo_find(list, step->kind, step->channel);
    if (index < 0 && list->count == UNDO_STEPS_MAX)
        return error_set(err, ERR_FULL, "more than %d undo steps", UNDO_STEPS_MAX);
    list->step[index < 0 ? list->count++ : index] = *step;
    return 0;
}

void undo_remove(struct undo_list *list, int index)
{
    list->count--;
    for (int i = index; i < list->count; i++)
        list->step[i] = list->step[i + 1];
}

int undo_barrier(const struct undo_step *step, bool emergency)
{
    return emergency ? step->emergency_barrier : step->barrier;
}

bool undo_next_barrier(const struct undo_list *list, bool emergency, int below, int *ret_barrier)
{
    int found = -1;
    for (int i = 0; i < list->count; i++) {
        int barrier = undo_barrier(&list->step[i], emergency);
        if (barrier < below && barrier > found)
            found = barrier;
    }
    if (found < 0)
        return false;
    *ret_barrier = found;
    return true;
}
