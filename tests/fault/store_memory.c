/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * store_memory: in front of the C library's allocator. */
#include "tests/fault/store_memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

/* Of the process, as its allocator is. */
static _Atomic int64_t left = -1, asked_for;
static _Atomic bool for_good;

void memory_fault(int64_t countdown, bool sticky)
{
    for_good = sticky;
    asked_for = 0;
    left = countdown;
}

int64_t memory_operations(void)
{
    return asked_for;
}

#ifdef SANITIZED

bool memory_can_fail(void)
{
    return false;
}

#else

bool memory_can_fail(void)
{
    return true;
}

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
void *malloc(size_t bytes);
void *calloc(size_t n, size_t bytes);
void *realloc(void *old, size_t bytes);
void *aligned_alloc(size_t alignment, size_t bytes);

static bool refused(void)
{
    int64_t n;

    atomic_fetch_add_explicit(&asked_for, 1, memory_order_relaxed);
    n = atomic_load(&left);
    if (n < 0)
        return false;
    if (n == 0 && for_good) {
        errno = ENOMEM;
        return true;
    }
    n = atomic_fetch_sub(&left, 1);
    if (n == 0)
        errno = ENOMEM;
    return n == 0;
}

void *malloc(size_t bytes)
{
    return refused() ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    return refused() ? NULL : __libc_calloc(n, bytes);
}

void *realloc(void *old, size_t bytes)
{
    return refused() ? NULL : __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return refused() ? NULL : __libc_memalign(alignment, bytes);
}

#endif
