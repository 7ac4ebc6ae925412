/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz: what the fuzz targets share: an invariant that stops the run and keeps the input, checks that hold
 * for every reader of ours, and input bytes as a file or as a stream of choices. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/base/error.h"
#include "daemon/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant: the run stops, libFuzzer writes the input down. */
#define FUZZ_CHECK(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                          \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* A refusal says why, in one line, with a code that has a name; `output` is what a ret_x pointed at. */
static inline void fuzz_check_refusal(int code, const struct error *err, const void *output)
{
    FUZZ_CHECK(code < 0);
    FUZZ_CHECK(err->code == code);
    FUZZ_CHECK(strcmp(error_name(code), "unknown") != 0);
    FUZZ_CHECK(err->message[0] != '\0');
    FUZZ_CHECK(strpbrk(err->message, "\r\n") == NULL);
    FUZZ_CHECK(output == NULL);
}

/* Every collected problem has a reason, and a pointer that is empty or starts with '/'. */
static inline void fuzz_check_problems(const struct json_problems *problems)
{
    for (int i = 0; i < problems->count && i < JSON_PROBLEMS_MAX; i++) {
        FUZZ_CHECK(problems->item[i].reason[0] != '\0');
        FUZZ_CHECK(problems->item[i].pointer[0] == '\0' || problems->item[i].pointer[0] == '/');
    }
}

/* Text that goes out as JSON is JSON by our own strict gate. */
static inline void fuzz_check_json(const char *text)
{
    struct error err = { 0 };
    cJSON *root = NULL;

    FUZZ_CHECK(text != NULL);
    if (json_parse(text, strlen(text), &root, &err) != 0) {
        fprintf(stderr, "%s in %s\n", err.message, text);
        abort();
    }
    cJSON_Delete(root);
}

/* The bytes as a file: a path that is valid until the next call with this slot. */
enum { FUZZ_FILES = 4 };
static inline const char *fuzz_file(int slot, const void *data, size_t size)
{
    static int fd[FUZZ_FILES];
    static char path[FUZZ_FILES][32];

    if (path[slot][0] == '\0') {
        fd[slot] = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path[slot], sizeof path[slot], "/proc/self/fd/%d", fd[slot]);
    }
    FUZZ_CHECK(ftruncate(fd[slot], 0) == 0);
    FUZZ_CHECK(pwrite(fd[slot], data, size, 0) == (ssize_t)size);
    return path[slot];
}

/* A new empty folder, in memory where there is such a place: thousands of files a second go through it. */
static inline void fuzz_folder(char *out, size_t size)
{
    static const char *const places[] = { "/dev/shm", "/tmp" };

    for (int i = 0; i < 2; i++) {
        snprintf(out, size, "%s/nightbench-fuzz-XXXXXX", places[i]);
        if (mkdtemp(out) != NULL)
            return;
    }
    FUZZ_CHECK(!"no place for temporary files");
}

/* Takes bytes off an input, zeros when it has ended. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};
static inline unsigned fuzz_take(struct fuzz_input *in, int bytes)
{
    unsigned value = 0;

    while (bytes-- > 0) {
        value = value << 8 | (in->size > 0 ? *in->data : 0);
        if (in->size > 0) {
            in->data++;
            in->size--;
        }
    }
    return value;
}
/* The input as a NUL-terminated text, cut at its first NUL; free(). */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);

    FUZZ_CHECK(text != NULL);
    return text;
}

#endif
