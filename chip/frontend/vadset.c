/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * vadset: dealing windows to examples, mixing, and the text that goes with the file. */
#include "chip/frontend/vadset.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "chip/dataset.h"
#include "daemon/base/json.h"
#include "daemon/base/rng.h"

enum {
    JITTER_TRIES = 8, /* for an active enough place of a clip that is used again */
    PROGRESS_EVERY = 1000
};

/* A shuffled stack of windows that is dealt round and round, no file beyond its share. */
struct deck {
    enum manifest_role role;
    int *order; /* [count] permutation of the pool's windows of that role */
    int count;
    int next, round;
    int *uses; /* [clips] */
    int uses_max;
};

/* Everything one example needs; allocated once. */
struct workshop {
    const struct pool *pool;
    struct features *features;
    struct deck speech, behind, alone; /* behind: noise under speech */
    double mix[FEATURES_WINDOW], noise[FEATURES_WINDOW];
    int16_t samples[FEATURES_WINDOW];
    struct dataset_record *records;
    uint8_t *codes;
};

static int deck_init(struct deck *deck, const struct pool *pool, enum manifest_role role, const char *purpose,
                     struct error *err)
{
    struct rng rng;

    deck->role = role;
    deck->count = pool->window_count[role];
    deck->uses_max = (int)fmax(1, floor(pool->manifest->file_cap * pool->manifest->examples / 2));
    deck->order = calloc((size_t)deck->count + 1, sizeof *deck->order);
    deck->uses = calloc((size_t)pool->clip_count + 1, sizeof *deck->uses);
    if (!deck->order || !deck->uses)
        return error_set(err, ERR_MEMORY, "no memory for %d windows", deck->count);
    for (int i = 0; i < deck->count; i++)
        deck->order[i] = i;
    rng_init(&rng, (uint64_t)pool->manifest->seed, purpose, 0, 0, 0);
    for (int i = deck->count - 1; i > 0; i--) {
        int j = (int)rng_below(&rng, (uint32_t)i + 1);
        int index = deck->order[i];

        deck->order[i] = deck->order[j];
        deck->order[j] = index;
    }
    return 0;
}

static void deck_free(struct deck *deck)
{
    free(deck->order);
    free(deck->uses);
}

/* The next window whose file has share left; a full round without one means that the manifest asks too much.
 */
static int deck_deal(struct deck *deck, const struct pool *pool, struct pool_window *ret, struct error *err)
{
    for (int tried = 0; tried < deck->count; tried++) {
        const struct pool_window *window = &pool->windows[deck->role][deck->order[deck->next]];

        if (++deck->next == deck->count) {
            deck->next = 0;
            deck->round++;
        }
        if (deck->uses[window->clip] >= deck->uses_max)
            continue;
        deck->uses[window->clip]++;
        *ret = *window;
        return 0;
    }
    return error_set(err, ERR_RANGE, "too few %s clips: with file_cap %g each may be used %d times",
                     deck->role == MANIFEST_SPEECH ? "speech" : "noise", pool->manifest->file_cap,
                     deck->uses_max);
}

/* After the first round windows come again: cut them elsewhere in their clip, where the clip is long enough.
 */
static void jitter(const struct workshop *shop, const struct deck *deck, struct rng *rng,
                   struct pool_window *window)
{
    const struct pool_clip *clip = &shop->pool->clips[window->clip];
    int slack = abs((int)clip->audio.count - FEATURES_WINDOW);
    bool is_short = clip->audio.count < FEATURES_WINDOW;

    if (deck->round == 0)
        return;
    for (int i = 0; i < JITTER_TRIES; i++) {
        int place = (int)rng_below(rng, (uint32_t)slack + 1);
        struct pool_window moved = { .clip = window->clip, .start = is_short ? -place : place };

        if (pool_active_fraction(shop->pool, &moved) >= shop->pool->manifest->active_fraction[deck->role]) {
            *window = moved;
            return;
        }
    }
}

double vadset_mix(const double *speech, double speech_power, const double *noise, double noise_power,
                  double snr_db, double *out)
{
    double gain = noise_power > 0 ? sqrt(speech_power / (noise_power * pow(10, snr_db / 10))) : 0;

    for (int i = 0; i < FEATURES_WINDOW; i++)
        out[i] = speech[i] + gain * noise[i];
    return gain;
}

/* White floor below the mixture, then a random level, then 16 bits: what a converter behind a microphone
 * gives. */
static void finish(struct workshop *shop, struct rng *rng)
{
    const struct manifest *manifest = shop->pool->manifest;
    double power = 0, peak = 0, floor_rms, gain;

    for (int i = 0; i < FEATURES_WINDOW; i++)
        power += shop->mix[i] * shop->mix[i] / FEATURES_WINDOW;
    floor_rms = sqrt(power * pow(10, manifest->noise_floor_db / 10));
    for (int i = 0; i < FEATURES_WINDOW; i++) {
        shop->mix[i] += floor_rms * rng_normal(rng);
        peak = fmax(peak, fabs(shop->mix[i]));
    }
    gain = pow(10, -manifest->level_range_db * rng_uniform(rng) / 20) * 32767 / fmax(peak, 1e-9);
    for (int i = 0; i < FEATURES_WINDOW; i++)
        shop->samples[i] = (int16_t)lrint(gain * shop->mix[i]);
}

static int store(struct workshop *shop, int example, struct dataset_record record, struct error *err)
{
    features_reset(shop->features);
    features_push(shop->features, shop->samples, FEATURES_WINDOW);
    if (!features_window(shop->features, shop->codes + (size_t)example * FEATURES_SIZE))
        return error_set(err, ERR_INTERNAL, "example %d: a window did not fill the front end", example);
    shop->records[example] = record;
    return 0;
}

static int make_speech(struct workshop *shop, int example, struct error *err)
{
    const struct pool *pool = shop->pool;
    const struct manifest *manifest = pool->manifest;
    struct pool_window speech, noise;
    double speech_power, noise_power, snr_db;
    struct rng rng;
    int code;

    code = deck_deal(&shop->speech, pool, &speech, err);
    if (!code)
        code = deck_deal(&shop->behind, pool, &noise, err);
    if (code)
        return code;
    rng_init(&rng, (uint64_t)manifest->seed, "vad_speech", (uint64_t)speech.clip, (uint64_t)example, 0);
    jitter(shop, &shop->speech, &rng, &speech);
    jitter(shop, &shop->behind, &rng, &noise);
    speech_power = pool_cut(pool, &speech, shop->mix);
    noise_power = pool_cut(pool, &noise, shop->noise);
    snr_db = manifest->snr_min_db + (manifest->snr_max_db - manifest->snr_min_db) * rng_uniform(&rng);
    vadset_mix(shop->mix, speech_power, shop->noise, noise_power, snr_db, shop->mix);
    finish(shop, &rng);
    return store(shop, example,
                 (struct dataset_record){ .label = MANIFEST_SPEECH,
                                          .source = (uint16_t)pool->clips[speech.clip].source,
                                          .clip = (uint32_t)speech.clip,
                                          .snr_db = (float)snr_db },
                 err);
}

static int make_noise(struct workshop *shop, int example, struct error *err)
{
    const struct pool *pool = shop->pool;
    struct pool_window noise;
    struct rng rng;
    int code = deck_deal(&shop->alone, pool, &noise, err);

    if (code)
        return code;
    rng_init(&rng, (uint64_t)pool->manifest->seed, "vad_noise", (uint64_t)noise.clip, (uint64_t)example, 0);
    jitter(shop, &shop->alone, &rng, &noise);
    pool_cut(pool, &noise, shop->mix);
    finish(shop, &rng);
    return store(shop, example,
                 (struct dataset_record){ .label = MANIFEST_NOISE,
                                          .source = (uint16_t)pool->clips[noise.clip].source,
                                          .clip = (uint32_t)noise.clip,
                                          .snr_db = NAN },
                 err);
}

static int make_examples(struct workshop *shop, vadset_progress *progress, void *context, struct error *err)
{
    const struct manifest *manifest = shop->pool->manifest;
    int code = 0;

    for (int pair = 0; pair < manifest->examples / 2 && !code; pair++) {
        struct rng rng;
        int speech_second;

        rng_init(&rng, (uint64_t)manifest->seed, "vad_order", 0, (uint64_t)pair, 0);
        speech_second = (int)rng_below(&rng, 2);
        code = make_speech(shop, 2 * pair + speech_second, err);
        if (!code)
            code = make_noise(shop, 2 * pair + !speech_second, err);
        if (progress && (2 * pair + 2) % PROGRESS_EVERY == 0)
            progress(context, 2 * pair + 2, manifest->examples);
    }
    return code;
}

static void describe_sources(const struct manifest *manifest, cJSON *list)
{
    for (int i = 0; i < manifest->source_count; i++) {
        const struct manifest_source *source = &manifest->source[i];
        cJSON *item = cJSON_CreateObject();

        cJSON_AddItemToArray(list, item);
        cJSON_AddStringToObject(item, "name", source->name);
        cJSON_AddStringToObject(item, "package", source->package);
        cJSON_AddStringToObject(item, "version", source->version);
        cJSON_AddStringToObject(item, "deb_sha256", source->sha256);
        cJSON_AddStringToObject(item, "licence", source->licence);
    }
}

static void describe_build(const struct manifest *manifest, cJSON *built)
{
    cJSON_AddStringToObject(built, "program", "nightbench-data");
    cJSON_AddStringToObject(built, "manifest", manifest->name);
    cJSON_AddStringToObject(built, "manifest_sha256", manifest->hash);
    json_add_int64(built, "seed", manifest->seed);
    cJSON_AddStringToObject(built, "audio_library", audio_library());
}

/* Adding to a NULL parent fails quietly in cJSON, so one look at the printed text covers all of it:
 * dataset_write parses it again and compares its counts. */
static char *describe(const struct pool *pool)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *classes = cJSON_AddArrayToObject(root, "classes");
    cJSON *sources = cJSON_AddArrayToObject(root, "sources");
    cJSON *clips = cJSON_AddArrayToObject(root, "clips");
    char *text;

    cJSON_AddItemToArray(classes, cJSON_CreateString("noise"));
    cJSON_AddItemToArray(classes, cJSON_CreateString("speech"));
    describe_sources(pool->manifest, sources);
    for (int i = 0; i < pool->clip_count; i++)
        cJSON_AddItemToArray(clips, cJSON_CreateString(pool->clips[i].name));
    describe_build(pool->manifest, cJSON_AddObjectToObject(root, "built_with"));
    text = json_print(root, false);
    cJSON_Delete(root);
    return text;
}

static int write_set(const struct workshop *shop, const char *path, char ret_hash[SHA256_HEX],
                     struct error *err)
{
    const struct pool *pool = shop->pool;
    char *text = describe(pool);
    struct dataset_content content = {
        .count = pool->manifest->examples,
        .class_count = MANIFEST_ROLES,
        .source_count = pool->manifest->source_count,
        .clip_count = pool->clip_count,
        .shape = { .height = FEATURES_BANDS, .width = FEATURES_FRAMES, .channels = 1 },
        .records = shop->records,
        .samples = shop->codes,
        .text = text,
    };
    int code;

    if (!text)
        return error_set(err, ERR_MEMORY, "%s: no memory for the description", path);
    code = dataset_write(path, &content, ret_hash, err);
    free(text);
    return code;
}

static int workshop_init(struct workshop *shop, const struct pool *pool, struct error *err)
{
    size_t count = (size_t)pool->manifest->examples;
    int code;

    shop->pool = pool;
    shop->records = calloc(count, sizeof *shop->records);
    shop->codes = calloc(count, FEATURES_SIZE);
    if (!shop->records || !shop->codes)
        return error_set(err, ERR_MEMORY, "no memory for %zu examples", count);
    code = deck_init(&shop->speech, pool, MANIFEST_SPEECH, "vad_deck_speech", err);
    if (!code)
        code = deck_init(&shop->behind, pool, MANIFEST_NOISE, "vad_deck_behind", err);
    if (!code)
        code = deck_init(&shop->alone, pool, MANIFEST_NOISE, "vad_deck_alone", err);
    if (!code)
        code = features_open(&shop->features, err);
    return code;
}

static void workshop_free(struct workshop *shop)
{
    features_close(shop->features);
    deck_free(&shop->alone);
    deck_free(&shop->behind);
    deck_free(&shop->speech);
    free(shop->codes);
    free(shop->records);
    free(shop);
}

int vadset_build(const struct pool *pool, const char *path, vadset_progress *progress, void *context,
                 char ret_hash[SHA256_HEX], struct error *err)
{
    struct workshop *shop = calloc(1, sizeof *shop);
    int code;

    if (!shop)
        return error_set(err, ERR_MEMORY, "no memory for the workshop");
    code = workshop_init(shop, pool, err);
    if (!code)
        code = make_examples(shop, progress, context, err);
    if (!code)
        code = write_set(shop, path, ret_hash, err);
    workshop_free(shop);
    return code;
}
