/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_manifest: recipes of data sets. An accepted one has sources of both classes and shares within range.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c
 * sources: daemon/base/hash.c chip/frontend/manifest.c
 * aims: chip/frontend/manifest.c
 * seeds: configs/datasets
 * options: -max_len=8192
 * edges: 200 */
#include "chip/frontend/manifest.h"

#include "tests/fuzz/json_mutator.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest *manifest = NULL;
    struct error err = { 0 };
    int code = manifest_load(fuzz_file(0, data, size), &manifest, &err);

    if (code != 0) {
        fuzz_check_refusal(code, &err, manifest);
        return 0;
    }
    FUZZ_CHECK(manifest->examples > 0 && manifest->examples <= MANIFEST_EXAMPLES_MAX);
    FUZZ_CHECK(manifest->examples % 2 == 0 && manifest->clip_seconds_max > 0);
    FUZZ_CHECK(manifest->snr_min_db <= manifest->snr_max_db);
    FUZZ_CHECK(manifest->file_cap > 0 && manifest->file_cap <= 1);
    FUZZ_CHECK(manifest->source_count > 0 && manifest->source_count <= MANIFEST_SOURCES_MAX);
    FUZZ_CHECK(strlen(manifest->hash) == SHA256_HEX - 1);
    for (int i = 0; i < manifest->source_count; i++) {
        const struct manifest_source *source = &manifest->source[i];

        FUZZ_CHECK(source->name[0] != '\0' && source->package[0] != '\0');
        FUZZ_CHECK(strchr(source->package, '/') == NULL); /* becomes part of a file name */
        FUZZ_CHECK(source->role >= 0 && source->role < MANIFEST_ROLES);
        manifest_selects(source, "./usr/share/sounds/a b.wav");
    }
    free(manifest);
    return 0;
}
