/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * manifest: the recipe of a voice-activity data set (a file of configs/datasets/): which files of which
 * pinned Debian packages, and how they are mixed. docs/data-sources.md explains the fields.
 */
#ifndef CHIP_FRONTEND_MANIFEST_H
#define CHIP_FRONTEND_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/base/hash.h"

enum {
    MANIFEST_NAME_MAX = 64,
    MANIFEST_TEXT_MAX = 160,
    MANIFEST_SOURCES_MAX = 64,
    MANIFEST_PATTERNS_MAX = 64,
    MANIFEST_EXAMPLES_MAX = 200000,
    MANIFEST_BYTES_MAX = 1 << 20
};

enum manifest_role { MANIFEST_NOISE, MANIFEST_SPEECH, MANIFEST_ROLES }; /* the class labels, in this order */

struct manifest_patterns {
    int count;
    char glob[MANIFEST_PATTERNS_MAX]
             [MANIFEST_TEXT_MAX]; /* fnmatch(3) on the path inside the package; * crosses / */
};

struct manifest_source {
    char name[MANIFEST_NAME_MAX];
    char package[MANIFEST_NAME_MAX];
    char version[MANIFEST_NAME_MAX];
    char sha256[SHA256_HEX]; /* of the .deb; checked by fetch.sh */
    char licence[MANIFEST_TEXT_MAX];
    enum manifest_role role;
    struct manifest_patterns include, exclude;
};

struct manifest {
    char name[MANIFEST_NAME_MAX];
    char hash[SHA256_HEX]; /* of the manifest file */
    int64_t seed;
    int examples;                           /* even: half of each class */
    int clip_seconds_max;                   /* what one file may contribute */
    double snr_min_db, snr_max_db;          /* speech over noise, uniform */
    double noise_floor_db;                  /* white noise below the mixture */
    double level_range_db;                  /* peak level uniform from full scale down to here */
    double active_fraction[MANIFEST_ROLES]; /* of a window's 10 ms frames, at least */
    double file_cap;                        /* share of the examples that one file may take part in */
    int source_count;
    struct manifest_source source[MANIFEST_SOURCES_MAX];
};

/* Reads and checks a manifest; *ret_manifest is malloc'ed: free(). */
int manifest_load(const char *path, struct manifest **ret_manifest, struct error *err);
/* Whether a file of the package, by its path inside it, belongs to the source. */
bool manifest_selects(const struct manifest_source *source, const char *path);

#endif
