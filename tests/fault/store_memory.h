/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * store_memory: malloc and its family of this program, SQLite's included, fail when told. Not in builds with
 * a sanitizer, which has an allocator of its own. */
#ifndef TESTS_FAULT_STORE_MEMORY_H
#define TESTS_FAULT_STORE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

bool memory_can_fail(void);
/* After `countdown` more allocations one fails, or with sticky all the following. Negative: none. */
void memory_fault(int64_t countdown, bool sticky);
/* Allocations since the last memory_fault. */
int64_t memory_operations(void);

#endif
