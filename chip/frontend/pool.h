/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * pool: the decoded clips of a manifest, where they are active, and the windows that can be cut from them.
 */
#ifndef CHIP_FRONTEND_POOL_H
#define CHIP_FRONTEND_POOL_H

#include <stdint.h>

#include "chip/frontend/audio.h"
#include "chip/frontend/features.h"
#include "chip/frontend/manifest.h"
#include "daemon/base/error.h"

enum {
    POOL_CLIPS_MAX = 50000,
    POOL_FRAME = FEATURES_RATE_HZ / 100, /* samples: 10 ms, the grid of activity detection */
    POOL_WINDOW_FRAMES = FEATURES_WINDOW / POOL_FRAME
};

struct pool_clip {
    char *name; /* "source/path inside the package" */
    int source; /* index into the manifest's sources */
    struct audio audio;
    uint8_t *active; /* [frames]: 1 where the 10 ms frame is within 30 dB of the clip's loud parts */
    int frames;
};

/* FEATURES_WINDOW samples of a clip. `start` is negative, and the window silent outside, for shorter clips.
 */
struct pool_window {
    int clip;
    int start;
};

struct pool {
    const struct manifest *manifest;
    struct pool_clip *clips;
    int clip_count, clip_room;
    struct pool_window *windows[MANIFEST_ROLES]; /* disjoint, each active enough for its role */
    int window_count[MANIFEST_ROLES], window_room[MANIFEST_ROLES];
};

/* Told once per source, for progress. */
typedef void pool_report(void *context, const struct manifest_source *source, int clips, int silent,
                         double seconds, int windows);

/* Decodes every selected file below packages_dir/<package>/ and cuts it into windows. The manifest must
 * outlive the pool. The order, and so the result, does not depend on the file system. */
int pool_open(const struct manifest *manifest, const char *packages_dir, pool_report *report, void *context,
              struct pool **ret_pool, struct error *err);
void pool_close(struct pool *pool);

/* Share of the window's frames in which the clip is active. */
double pool_active_fraction(const struct pool *pool, const struct pool_window *window);
/* The window's samples, full scale = 1, and their mean power over the active frames (0 when there are none).
 */
double pool_cut(const struct pool *pool, const struct pool_window *window, double out[FEATURES_WINDOW]);

/* Marks the active frames of a clip; public for tests. */
void pool_detect(const int16_t *samples, int frames, uint8_t *active, double *scratch);

#endif
