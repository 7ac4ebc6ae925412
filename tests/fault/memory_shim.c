/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * memory_shim: in front of the C library's allocator, preloaded into the program that NB_MEMORY_PROGRAM
 * names. Told by the file NB_MEMORY_CONTROL, it learns on which ways the program comes to an allocation (the
 * chain of callers), and refuses the first allocation on one of them, alone or with all that follow. For
 * tests/fault/torture-alloc. */
#include "tests/fault/memory_shim.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MODULES_MAX = 128, OWN_FRAMES = 3 /* path_of, look and the allocator itself */ };

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

static struct shim_control *control; /* NULL: not the program that is meant */
static struct {
    uintptr_t base, end;
} module[MODULES_MAX];
static int module_count;
static __thread bool inside; /* backtrace() may allocate */

static int add_module(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    uintptr_t end = info->dlpi_addr;

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && info->dlpi_addr + segment->p_vaddr + segment->p_memsz > end)
            end = info->dlpi_addr + segment->p_vaddr + segment->p_memsz;
    }
    if (module_count < MODULES_MAX) {
        module[module_count].base = info->dlpi_addr;
        module[module_count++].end = end;
    }
    return 0;
}

/* Before main: every module that the program is linked with is there, and backtrace() has loaded what it
 * needs. */
__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("NB_MEMORY_CONTROL"), *program = getenv("NB_MEMORY_PROGRAM");
    void *first[4];

    if (path == NULL || program == NULL || strcmp(program_invocation_short_name, program) != 0)
        return;
    backtrace(first, 4);
    dl_iterate_phdr(add_module, NULL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (map == MAP_FAILED)
        _exit(99); /* a test that steers nothing would pass */
    control = map;
}

static uint64_t place_of(const void *address)
{
    uintptr_t at = (uintptr_t)address;

    for (int i = 0; i < module_count; i++) {
        if (at >= module[i].base && at < module[i].end)
            return ((uint64_t)i << 48) | (at - module[i].base);
    }
    return UINT64_MAX; /* a module that came later: all of it is one place */
}

static __attribute__((noinline)) uint64_t path_of(uint64_t frame[SHIM_FRAMES])
{
    void *address[SHIM_FRAMES + OWN_FRAMES];
    uint64_t hash = 14695981039346656037u;
    int count = backtrace(address, SHIM_FRAMES + OWN_FRAMES);

    memset(frame, 0, SHIM_FRAMES * sizeof *frame);
    for (int i = OWN_FRAMES; i < count; i++) {
        frame[i - OWN_FRAMES] = place_of(address[i]);
        hash = (hash ^ frame[i - OWN_FRAMES]) * 1099511628211u;
    }
    return hash != 0 ? hash : 1;
}

static void learn(uint64_t hash, const uint64_t *frame)
{
    for (unsigned i = 0; i < SHIM_PATHS; i++) {
        struct shim_path *row = &control->path[(hash + i) % SHIM_PATHS];
        uint64_t found = 0;
        if (atomic_compare_exchange_strong(&row->hash, &found, hash)) {
            memcpy(row->frame, frame, sizeof row->frame);
            atomic_fetch_add(&control->paths, 1);
            found = hash;
        }
        if (found == hash) {
            atomic_fetch_add(&row->count, 1);
            return;
        }
    }
    atomic_store(&control->full, 1);
}

/* Looks at the allocation that is about to be made; true when it is to fail. */
static __attribute__((noinline)) bool look(uint32_t mode)
{
    uint64_t frame[SHIM_FRAMES];
    uint32_t none = 0;

    if (mode == SHIM_FOR_GOOD && atomic_load(&control->failed) > 0) {
        atomic_fetch_add(&control->failed, 1);
        return true;
    }
    inside = true;
    uint64_t hash = path_of(frame);
    if (mode == SHIM_LEARN)
        learn(hash, frame);
    inside = false;
    return mode >= SHIM_ONCE && hash == atomic_load(&control->target) &&
           atomic_compare_exchange_strong(&control->failed, &none, 1);
}

static inline __attribute__((always_inline)) bool refused(void)
{
    uint32_t mode;

    if (control == NULL || inside || (mode = atomic_load(&control->mode)) == SHIM_OFF || !look(mode))
        return false;
    errno = ENOMEM;
    return true;
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
