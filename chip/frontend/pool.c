/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * pool: walking the unpacked packages, decoding, activity detection and cutting into windows. */
#include "chip/frontend/pool.h"

#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/rng.h"

static const double active_range_db = 30;   /* below the clip's loud parts a frame counts as pause */
static const double silence_dbfs = -60;     /* below this nothing counts as sound */
static const double loud_percentile = 0.95; /* robust against a single click */

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double frame_power(const int16_t *samples)
{
    double sum = 0;

    for (int i = 0; i < POOL_FRAME; i++)
        sum += (double)samples[i] * samples[i];
    return sum / (32768.0 * 32768.0 * POOL_FRAME);
}

void pool_detect(const int16_t *samples, int frames, uint8_t *active, double *scratch)
{
    double threshold;

    for (int i = 0; i < frames; i++)
        scratch[i] = frame_power(samples + (size_t)i * POOL_FRAME);
    qsort(scratch, (size_t)frames, sizeof *scratch, compare_double);
    threshold = scratch[(int)(loud_percentile * (frames - 1))] * pow(10, -active_range_db / 10);
    threshold = fmax(threshold, pow(10, silence_dbfs / 10));
    for (int i = 0; i < frames; i++)
        active[i] = frame_power(samples + (size_t)i * POOL_FRAME) > threshold;
}

static int detect_clip(struct pool_clip *clip, struct error *err)
{
    double *scratch;

    clip->frames = (int)(clip->audio.count / POOL_FRAME);
    clip->active = calloc((size_t)clip->frames + 1, 1);
    scratch = malloc(((size_t)clip->frames + 1) * sizeof *scratch);
    if (!clip->active || !scratch) {
        free(scratch);
        return error_set(err, ERR_MEMORY, "no memory for %d frames", clip->frames);
    }
    if (clip->frames > 0)
        pool_detect(clip->audio.samples, clip->frames, clip->active, scratch);
    free(scratch);
    return 0;
}

/* Frame i of the window's grid covers clip frame start/POOL_FRAME + i; half a frame of slack does not matter.
 */
double pool_active_fraction(const struct pool *pool, const struct pool_window *window)
{
    const struct pool_clip *clip = &pool->clips[window->clip];
    int first = (int)floor((double)window->start / POOL_FRAME);
    int count = 0;

    for (int i = first; i < first + POOL_WINDOW_FRAMES; i++) {
        if (i >= 0 && i < clip->frames)
            count += clip->active[i];
    }
    return (double)count / POOL_WINDOW_FRAMES;
}

double pool_cut(const struct pool *pool, const struct pool_window *window, double out[FEATURES_WINDOW])
{
    const struct pool_clip *clip = &pool->clips[window->clip];
    double power = 0;
    int count = 0;

    for (int i = 0; i < FEATURES_WINDOW; i++) {
        int at = window->start + i;

        out[i] = 0;
        if (at < 0 || (size_t)at >= clip->audio.count)
            continue;
        out[i] = clip->audio.samples[at] / 32768.0;
        if (at / POOL_FRAME < clip->frames && clip->active[at / POOL_FRAME]) {
            power += out[i] * out[i];
            count++;
        }
    }
    return count ? power / count : 0;
}

static void *grow(void *array, int *room, size_t size)
{
    int wanted = *room ? 2 * *room : 256;
    void *grown = realloc(array, (size_t)wanted * size);

    if (grown)
        *room = wanted;
    return grown;
}

static int add_window(struct pool *pool, enum manifest_role role, struct pool_window window,
                      struct error *err)
{
    if (pool_active_fraction(pool, &window) < pool->manifest->active_fraction[role])
        return 0;
    if (pool->window_count[role] == pool->window_room[role]) {
        struct pool_window *grown = grow(pool->windows[role], &pool->window_room[role], sizeof *grown);

        if (!grown)
            return error_set(err, ERR_MEMORY, "no memory for windows");
        pool->windows[role] = grown;
    }
    pool->windows[role][pool->window_count[role]++] = window;
    return 0;
}

/* As many disjoint windows as fit, side by side from a random first sample; a short clip at a random place in
 * one. */
static int cut_clip(struct pool *pool, int index, struct error *err)
{
    const struct pool_clip *clip = &pool->clips[index];
    enum manifest_role role = pool->manifest->source[clip->source].role;
    int length = (int)clip->audio.count;
    int windows = length / FEATURES_WINDOW;
    int slack = abs(length - (windows ? windows : 1) * FEATURES_WINDOW);
    struct rng rng;
    int offset;
    int code = 0;

    rng_init(&rng, (uint64_t)pool->manifest->seed, "vad_cut", (uint64_t)index, 0, 0);
    offset = (int)rng_below(&rng, (uint32_t)slack + 1);
    if (!windows)
        return add_window(pool, role, (struct pool_window){ .clip = index, .start = -offset }, err);
    for (int i = 0; i < windows && !code; i++) {
        struct pool_window window = { .clip = index, .start = offset + i * FEATURES_WINDOW };

        code = add_window(pool, role, window, err);
    }
    return code;
}

static void free_clip(struct pool_clip *clip)
{
    free(clip->active);
    audio_free(&clip->audio);
    free(clip->name);
}

static int load_clip(const struct pool *pool, int source, const char *file, const char *inside,
                     struct pool_clip *ret_clip, struct error *err)
{
    struct pool_clip clip = { .source = source };
    int code;

    if (asprintf(&clip.name, "%s/%s", pool->manifest->source[source].name, inside) < 0)
        return error_set(err, ERR_MEMORY, "no memory for a name");
    code = audio_load(file, FEATURES_RATE_HZ, pool->manifest->clip_seconds_max, &clip.audio, err);
    if (!code)
        code = detect_clip(&clip, err);
    if (code) {
        free_clip(&clip);
        return code;
    }
    *ret_clip = clip;
    return 0;
}

/* Adds the file as a clip with windows, or drops it again when nothing in it is active enough. */
static int add_file(struct pool *pool, int source, const char *file, const char *inside, struct error *err)
{
    int before[MANIFEST_ROLES];
    int code;

    if (pool->clip_count == POOL_CLIPS_MAX)
        return error_set(err, ERR_FULL, "%s: more than %d clips", file, POOL_CLIPS_MAX);
    if (pool->clip_count == pool->clip_room) {
        struct pool_clip *grown = grow(pool->clips, &pool->clip_room, sizeof *grown);

        if (!grown)
            return error_set(err, ERR_MEMORY, "no memory for clips");
        pool->clips = grown;
    }
    code = load_clip(pool, source, file, inside, &pool->clips[pool->clip_count], err);
    if (code)
        return code;
    memcpy(before, pool->window_count, sizeof before);
    pool->clip_count++;
    code = cut_clip(pool, pool->clip_count - 1, err);
    if (!code && memcmp(before, pool->window_count, sizeof before) == 0)
        free_clip(&pool->clips[--pool->clip_count]);
    return code;
}

static int compare_names(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

struct walk {
    struct pool *pool;
    int source;
    size_t prefix; /* length of the package directory's path, with its slash */
    int selected;
};

static int walk_files(FTS *fts, struct walk *walk, struct error *err)
{
    const struct manifest_source *source = &walk->pool->manifest->source[walk->source];
    FTSENT *entry;
    int code = 0;

    while (!code && (errno = 0, entry = fts_read(fts)) != NULL) {
        const char *inside = entry->fts_path + walk->prefix;

        if (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS)
            return error_set_errno(err, entry->fts_errno, "%s", entry->fts_path);
        if (entry->fts_info != FTS_F || !manifest_selects(source, inside))
            continue;
        walk->selected++;
        if (entry->fts_statp->st_size == 0) /* packages do carry empty placeholders: as good as silence */
            continue;
        code = add_file(walk->pool, walk->source, entry->fts_path, inside, err);
    }
    if (!code && errno)
        return error_set_errno(err, errno, "%s", source->package);
    return code;
}

static int load_source(struct pool *pool, int source, const char *packages_dir, int *ret_selected,
                       struct error *err)
{
    const char *package = pool->manifest->source[source].package;
    char directory[PATH_MAX];
    char *roots[2] = { directory, NULL };
    struct walk walk = { .pool = pool, .source = source };
    FTS *fts;
    int code;

    walk.prefix = (size_t)snprintf(directory, sizeof directory, "%s/%s", packages_dir, package) + 1;
    if (walk.prefix > sizeof directory)
        return error_set(err, ERR_RANGE, "%s: path too long", packages_dir);
    if (access(directory, R_OK | X_OK) != 0)
        return error_set(err, ERR_NOT_FOUND,
                         "%s: %s; run configs/datasets/fetch.sh first, it gets the packages", directory,
                         strerror(errno));
    fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, compare_names);
    if (!fts)
        return error_set_errno(err, errno, "%s", directory);
    code = walk_files(fts, &walk, err);
    fts_close(fts);
    if (code)
        return code;
    if (!walk.selected)
        return error_set(err, ERR_NOT_FOUND, "%s: no file matches the patterns of source \"%s\"", directory,
                         pool->manifest->source[source].name);
    *ret_selected = walk.selected;
    return 0;
}

static int load_and_report(struct pool *pool, int source, const char *packages_dir, pool_report *report,
                           void *context, struct error *err)
{
    const struct manifest_source *about = &pool->manifest->source[source];
    int first = pool->clip_count;
    int windows = pool->window_count[about->role];
    int selected = 0;
    double seconds = 0;
    int code = load_source(pool, source, packages_dir, &selected, err);

    if (code)
        return code;
    for (int i = first; i < pool->clip_count; i++)
        seconds += (double)pool->clips[i].audio.count / FEATURES_RATE_HZ;
    if (report)
        report(context, about, pool->clip_count - first, selected - (pool->clip_count - first), seconds,
               pool->window_count[about->role] - windows);
    return 0;
}

int pool_open(const struct manifest *manifest, const char *packages_dir, pool_report *report, void *context,
              struct pool **ret_pool, struct error *err)
{
    struct pool *pool = calloc(1, sizeof *pool);
    int code = 0;

    if (!pool)
        return error_set(err, ERR_MEMORY, "no memory for a pool");
    pool->manifest = manifest;
    for (int i = 0; i < manifest->source_count && !code; i++)
        code = load_and_report(pool, i, packages_dir, report, context, err);
    if (code) {
        pool_close(pool);
        return code;
    }
    *ret_pool = pool;
    return 0;
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    for (int i = 0; i < pool->clip_count; i++)
        free_clip(&pool->clips[i]);
    for (int role = 0; role < MANIFEST_ROLES; role++)
        free(pool->windows[role]);
    free(pool->clips);
    free(pool);
}
