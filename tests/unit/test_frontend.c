/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_frontend: rate conversion, decoding, log-mel codes, activity detection and mixing, on signals whose
 * right answer is known from arithmetic; then a whole data set from generated sound files. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "chip/dataset.h"
#include "chip/frontend/audio.h"
#include "chip/frontend/features.h"
#include "chip/frontend/manifest.h"
#include "chip/frontend/pool.h"
#include "chip/frontend/vadset.h"
#include "daemon/base/rng.h"
#include "daemon/base/text.h"

enum { SECOND = FEATURES_RATE_HZ };

static void sine(int16_t *out, int count, double hz, double amplitude)
{
    for (int i = 0; i < count; i++)
        out[i] = (int16_t)lrint(amplitude * sin(2 * M_PI * hz * i / SECOND));
}

/* ---- Rate conversion ---- */

/* Amplitude of a tone after conversion, from the middle half, where the ends do not matter. */
static double converted_amplitude(double hz, int in_hz, int out_hz)
{
    enum { LENGTH = 8000 };
    static float in[LENGTH];
    double power = 0;
    size_t count;
    float *out;
    struct error err = { 0 };

    for (int i = 0; i < LENGTH; i++)
        in[i] = (float)sin(2 * M_PI * hz * i / in_hz);
    if (audio_resample(in, LENGTH, in_hz, out_hz, &out, &count, &err))
        fail_msg("%s", err.message);
    assert_int_equal(count, ((size_t)LENGTH * (size_t)out_hz + (size_t)in_hz - 1) / (size_t)in_hz);
    for (size_t i = count / 4; i < 3 * count / 4; i++)
        power += 2 * (double)out[i] * (double)out[i] / (double)(3 * count / 4 - count / 4);
    free(out);
    return sqrt(power);
}

static void test_resampling_passes_and_stops(void **state)
{
    static const int rates[] = { 8000, 11025, 22050, 24000, 44100, 48000 };

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        double lower = fmin(rates[i], SECOND);

        assert_true(fabs(converted_amplitude(0.1 * lower, rates[i], SECOND) - 1) < 2e-3);
        assert_true(fabs(converted_amplitude(0.44 * lower, rates[i], SECOND) - 1) < 2e-3);
        if (rates[i] > SECOND * 1.2)
            assert_true(converted_amplitude(0.56 * lower, rates[i], SECOND) < 2e-4); /* would fold over */
    }
}

static void test_resampling_has_no_delay(void **state)
{
    enum { LENGTH = 4410, AT_IN = 2205, AT_OUT = 800 };
    static float in[LENGTH];
    struct error err = { 0 };
    size_t count, peak = 0;
    float *out;

    (void)state;
    in[AT_IN] = 1;
    assert_int_equal(audio_resample(in, LENGTH, 44100, 16000, &out, &count, &err), 0);
    assert_int_equal(count, 1600);
    for (size_t i = 0; i < count; i++)
        peak = out[i] > out[peak] ? i : peak;
    assert_int_equal(peak, AT_OUT);
    for (int i = 1; i < 100; i++) /* linear phase */
        assert_true(fabsf(out[AT_OUT - i] - out[AT_OUT + i]) < 1e-6F);
    free(out);
    assert_int_equal(audio_resample(in, LENGTH, 1000, 16000, &out, &count, &err), ERR_RANGE);
}

/* ---- Features ---- */

static struct features *open_features(void)
{
    struct features *features;
    struct error err = { 0 };

    if (features_open(&features, &err))
        fail_msg("%s", err.message);
    return features;
}

static void window_of(const int16_t *samples, uint8_t out[FEATURES_SIZE])
{
    struct features *features = open_features();

    features_push(features, samples, FEATURES_WINDOW);
    assert_int_equal(features_frames(features), FEATURES_FRAMES);
    assert_true(features_window(features, out));
    features_close(features);
}

/* Centre of a band, computed here anew: 15 points at equal mel distances from 60 to 7600 Hz. */
static double band_centre_hz(int band)
{
    double low = 2595 * log10(1 + 60.0 / 700);
    double high = 2595 * log10(1 + 7600.0 / 700);

    return 700 * (pow(10, (low + (high - low) * (band + 1) / 14) / 2595) - 1);
}

static void test_tone_lands_in_its_band(void **state)
{
    static int16_t samples[FEATURES_WINDOW];
    uint8_t window[FEATURES_SIZE];
    struct rng rng;

    (void)state;
    rng_init(&rng, 5, "test_tone", 0, 0, 0);
    for (int band = 0; band < FEATURES_BANDS; band++) {
        int best = 0;

        sine(samples, FEATURES_WINDOW, band_centre_hz(band), 1000);
        for (int i = 0; i < FEATURES_WINDOW; i++) /* a floor, so that the codes do not clamp */
            samples[i] = (int16_t)(samples[i] + lrint(100 * rng_normal(&rng)));
        window_of(samples, window);
        for (int b = 0; b < FEATURES_BANDS; b++)
            best = window[b * 64 + 30] > window[best * 64 + 30] ? b : best;
        assert_int_equal(best, band);
    }
}

/* White noise whose power grows 4-fold at half time: 2 octaves = 16 codes, whatever the band. */
static void test_eight_codes_per_octave(void **state)
{
    static int16_t samples[FEATURES_WINDOW];
    uint8_t window[FEATURES_SIZE];
    double sum = 0;
    struct rng rng;

    (void)state;
    rng_init(&rng, 1, "test_octave", 0, 0, 0);
    for (int i = 0; i < FEATURES_WINDOW; i++)
        samples[i] = (int16_t)lrint((i < FEATURES_WINDOW / 2 ? 1000 : 2000) * rng_normal(&rng));
    window_of(samples, window);
    for (int band = 4; band < FEATURES_BANDS; band++) { /* wide bands: little spread */
        for (int frame = 0; frame < 30; frame++)
            sum += window[band * 64 + 34 + frame] - window[band * 64 + frame];
    }
    sum /= (FEATURES_BANDS - 4) * 30;
    assert_true(fabs(sum - 16) < 1);
}

static void test_loudness_is_no_clue(void **state)
{
    static int16_t quiet[FEATURES_WINDOW], loud[FEATURES_WINDOW];
    uint8_t a[FEATURES_SIZE], b[FEATURES_SIZE];
    int sum = 0, differ = 0;
    struct rng rng;

    (void)state;
    rng_init(&rng, 2, "test_loudness", 0, 0, 0);
    for (int i = 0; i < FEATURES_WINDOW; i++) {
        quiet[i] = (int16_t)lrint(400 * (1 + sin(i * 1e-3)) * rng_normal(&rng));
        loud[i] = (int16_t)(8 * quiet[i]); /* exactly 6 octaves of power */
    }
    window_of(quiet, a);
    window_of(loud, b);
    for (int i = 0; i < FEATURES_SIZE; i++) {
        sum += a[i];
        differ += abs(a[i] - b[i]) > 1;
    }
    assert_true(abs(sum - FEATURES_MEAN * FEATURES_SIZE) <= FEATURES_SIZE);
    assert_int_equal(differ, 0);
}

static void test_streaming_equals_batch(void **state)
{
    enum { EXTRA = 5000 };
    static int16_t samples[FEATURES_WINDOW + EXTRA];
    struct features *features = open_features();
    uint8_t batch[FEATURES_SIZE], stream[FEATURES_SIZE];
    struct rng rng;
    size_t at = 0, skip;

    (void)state;
    rng_init(&rng, 3, "test_stream", 0, 0, 0);
    for (int i = 0; i < FEATURES_WINDOW + EXTRA; i++)
        samples[i] = (int16_t)lrint(2000 * rng_normal(&rng));
    assert_false(features_window(features, stream));
    while (at < FEATURES_WINDOW + EXTRA) {
        size_t take = 1 + rng_below(&rng, 700);

        if (take > FEATURES_WINDOW + EXTRA - at)
            take = FEATURES_WINDOW + EXTRA - at;
        features_push(features, samples + at, take);
        at += take;
    }
    assert_int_equal(features_frames(features), 1 + (FEATURES_WINDOW + EXTRA - FEATURES_FFT) / FEATURES_HOP);
    assert_true(features_window(features, stream));
    skip = (size_t)(features_frames(features) - FEATURES_FRAMES) * FEATURES_HOP;
    window_of(samples + skip, batch);
    assert_memory_equal(stream, batch, FEATURES_SIZE);
    features_reset(features);
    assert_false(features_window(features, stream));
    features_close(features);
    features_close(NULL);
}

/* ---- Activity and mixing ---- */

static void test_activity_is_where_sound_is(void **state)
{
    enum { FRAMES = 100 };
    static int16_t samples[FRAMES * POOL_FRAME];
    uint8_t active[FRAMES];
    double scratch[FRAMES];

    (void)state;
    sine(samples + 30 * POOL_FRAME, 40 * POOL_FRAME, 500, 8000);
    sine(samples + 80 * POOL_FRAME, 10 * POOL_FRAME, 500, 100); /* 38 dB below: a pause */
    pool_detect(samples, FRAMES, active, scratch);
    for (int i = 0; i < FRAMES; i++)
        assert_int_equal(active[i], i >= 30 && i < 70);
    memset(samples, 0, sizeof samples);
    sine(samples, FRAMES * POOL_FRAME, 500, 20); /* -67 dBFS: silence */
    pool_detect(samples, FRAMES, active, scratch);
    for (int i = 0; i < FRAMES; i++)
        assert_int_equal(active[i], 0);
}

static void test_mix_has_the_asked_snr(void **state)
{
    static double speech[FEATURES_WINDOW], noise[FEATURES_WINDOW], out[FEATURES_WINDOW];
    double signal_power = 0, noise_power = 0, added = 0, gain;

    (void)state;
    for (int i = 0; i < FEATURES_WINDOW; i++) {
        speech[i] = sin(i * 0.1);
        noise[i] = 0.01 * sin(i * 0.37);
        signal_power += speech[i] * speech[i] / FEATURES_WINDOW;
        noise_power += noise[i] * noise[i] / FEATURES_WINDOW;
    }
    gain = vadset_mix(speech, signal_power, noise, noise_power, 12, out);
    for (int i = 0; i < FEATURES_WINDOW; i++)
        added += (out[i] - speech[i]) * (out[i] - speech[i]) / FEATURES_WINDOW;
    assert_true(fabs(10 * log10(signal_power / added) - 12) < 1e-6);
    assert_true(gain > 0);
    assert_true(vadset_mix(speech, signal_power, noise, 0, 12, out) == 0);
    assert_memory_equal(out, speech, sizeof out);
}

/* ---- From files to a data set ---- */

struct world {
    char dir[64];
    char manifest[96], out[96];
};

static void make_dir(const struct world *world, const char *name)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", world->dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void write_file(const struct world *world, const char *name, const void *data, size_t length)
{
    struct error err = { 0 };
    char path[160];

    snprintf(path, sizeof path, "%s/%s", world->dir, name);
    if (text_write_file(path, data, length, &err))
        fail_msg("%s", err.message);
}

/* A 16-bit WAV put together here: RIFF header and samples. */
static void write_wav(const struct world *world, const char *name, const int16_t *samples, int count,
                      int channels, int rate_hz)
{
    uint32_t bytes = (uint32_t)count * (uint32_t)channels * 2;
    uint32_t words[11] = { 0x46464952,
                           36 + bytes,
                           0x45564157,
                           0x20746d66,
                           16,
                           1 | (uint32_t)channels << 16,
                           (uint32_t)rate_hz,
                           (uint32_t)(rate_hz * channels * 2),
                           (uint32_t)channels * 2 | 16U << 16,
                           0x61746164,
                           bytes };
    uint8_t *file = malloc(sizeof words + bytes);

    assert_non_null(file);
    memcpy(file, words, sizeof words); /* the tests run on little-endian hosts */
    memcpy(file + sizeof words, samples, bytes);
    write_file(world, name, file, sizeof words + bytes);
    free(file);
}

static const char manifest_text[] =
    "{\"format\":\"nightbench-dataset-manifest\",\"version\":1,\"name\":\"toy\",\"seed\":7,\"examples\":20,"
    "\"clip_seconds_max\":60,\"snr_db\":[5,25],\"noise_floor_db\":-30,\"level_range_db\":30,"
    "\"active_fraction\":{\"noise\":0.1,\"speech\":0.3},\"file_cap\":1,\"sources\":["
    "{\"name\":\"voice\",\"package\":\"voice\",\"version\":\"1\",\"bytes\":1,\"sha256\":\"00\",\"licence\":"
    "\"x\","
    "\"role\":\"speech\",\"include\":[\"*.wav\"],\"exclude\":[\"*/beep*\"]},"
    "{\"name\":\"hiss\",\"package\":\"hiss\",\"version\":\"1\",\"bytes\":1,\"sha256\":\"00\",\"licence\":"
    "\"x\","
    "\"role\":\"noise\",\"include\":[\"*.wav\"]}]}";

static int setup(void **state)
{
    enum { LENGTH = 4 * SECOND };
    static int16_t samples[LENGTH];
    struct world *world = calloc(1, sizeof *world);
    struct rng rng;

    if (!world)
        return -1;
    snprintf(world->dir, sizeof world->dir, "/tmp/test_frontend.XXXXXX");
    if (!mkdtemp(world->dir)) {
        free(world);
        return -1;
    }
    make_dir(world, "voice");
    make_dir(world, "voice/deep");
    make_dir(world, "hiss");
    sine(samples, LENGTH, 300, 9000);
    write_wav(world, "voice/deep/one.wav", samples, LENGTH, 1, SECOND);
    write_wav(world, "voice/deep/short.wav", samples, SECOND / 2, 1, SECOND);
    write_wav(world, "voice/deep/beep.wav", samples, LENGTH, 1, SECOND);
    write_file(world, "voice/deep/empty.wav", "", 0);
    rng_init(&rng, 4, "test_hiss", 0, 0, 0);
    for (int i = 0; i < LENGTH; i++)
        samples[i] = (int16_t)lrint(1500 * rng_normal(&rng));
    write_wav(world, "hiss/hiss.wav", samples, LENGTH, 1, SECOND);
    memset(samples, 0, sizeof samples);
    write_wav(world, "hiss/silence.wav", samples, LENGTH, 1, SECOND);
    write_file(world, "toy.json", manifest_text, strlen(manifest_text));
    snprintf(world->manifest, sizeof world->manifest, "%s/toy.json", world->dir);
    snprintf(world->out, sizeof world->out, "%s/toy.nbds", world->dir);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    char command[96];

    snprintf(command, sizeof command, "rm -rf '%s'", world->dir);
    if (system(command) != 0)
        return -1;
    free(world);
    return 0;
}

static void test_load_mixes_down_and_limits(void **state)
{
    struct world *world = *state;
    static int16_t stereo[2 * SECOND];
    struct audio audio;
    struct error err = { 0 };
    char path[160];

    for (int i = 0; i < SECOND; i++) {
        stereo[2 * i] = 3000;
        stereo[2 * i + 1] = 1000;
    }
    write_wav(world, "stereo.wav", stereo, SECOND, 2, SECOND);
    snprintf(path, sizeof path, "%s/stereo.wav", world->dir);
    assert_int_equal(audio_load(path, SECOND, 10, &audio, &err), 0);
    assert_int_equal(audio.count, SECOND);
    assert_int_equal(audio.samples[100], 2000);
    audio_free(&audio);
    snprintf(path, sizeof path, "%s/voice/deep/one.wav", world->dir);
    assert_int_equal(audio_load(path, SECOND, 2, &audio, &err), 0);
    assert_int_equal(audio.count, 2 * SECOND);
    audio_free(&audio);
    assert_int_equal(audio_load(world->manifest, SECOND, 2, &audio, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, world->manifest));
}

/* G.722 silence: the decoder's answer to code words of a zero difference must stay near zero, two samples a
 * byte. */
static void test_g722_gives_two_samples_a_byte(void **state)
{
    struct world *world = *state;
    uint8_t bytes[800];
    struct audio audio;
    struct error err = { 0 };
    char path[160];

    memset(bytes, 0xfa, sizeof bytes);
    write_file(world, "quiet.g722", bytes, sizeof bytes);
    snprintf(path, sizeof path, "%s/quiet.g722", world->dir);
    assert_int_equal(audio_load(path, SECOND, 10, &audio, &err), 0);
    assert_int_equal(audio.count, 2 * sizeof bytes);
    for (size_t i = 0; i < audio.count; i++)
        assert_true(abs(audio.samples[i]) < 300);
    audio_free(&audio);
}

static void build(const struct world *world, char hash[SHA256_HEX])
{
    struct manifest *manifest = NULL;
    struct pool *pool = NULL;
    struct error err = { 0 };

    if (manifest_load(world->manifest, &manifest, &err) ||
        pool_open(manifest, world->dir, NULL, NULL, &pool, &err) ||
        vadset_build(pool, world->out, NULL, NULL, hash, &err))
        fail_msg("%s", err.message);
    /* silence.wav, beep.wav and empty.wav give no clip; 3 + 1 disjoint windows of speech, 3 of noise */
    assert_int_equal(pool->clip_count, 3);
    assert_int_equal(pool->window_count[MANIFEST_SPEECH], 4);
    assert_int_equal(pool->window_count[MANIFEST_NOISE], 3);
    pool_close(pool);
    free(manifest);
}

static void test_builds_a_balanced_repeatable_set(void **state)
{
    struct world *world = *state;
    char first[SHA256_HEX], second[SHA256_HEX];
    struct dataset *set;
    struct error err = { 0 };
    int speech = 0;

    build(world, first);
    build(world, second);
    assert_string_equal(first, second);
    assert_int_equal(dataset_open(world->out, &set, &err), 0);
    assert_int_equal(dataset_count(set), 20);
    assert_int_equal(dataset_sample_size(set), FEATURES_SIZE);
    for (int i = 0; i < 20; i++) {
        int label = dataset_label(set, i);
        const uint8_t *sample = dataset_sample(set, i);

        speech += label;
        if (i % 2)
            assert_int_equal(speech, i / 2 + 1); /* every prefix of pairs is balanced */
        assert_int_equal(dataset_source(set, i), label ? 0 : 1);
        if (label) /* 300 Hz lies in band 1, always above the top band; hiss is flat over the bands */
            assert_true(dataset_snr_db(set, i) >= 5 && dataset_snr_db(set, i) <= 25);
        else
            assert_true(isnan(dataset_snr_db(set, i)));
        if (label && strcmp(dataset_clip_name(set, dataset_clip(set, i)), "voice/deep/one.wav") == 0)
            assert_true(sample[1 * 64 + 32] > sample[12 * 64 + 32] + 16);
    }
    dataset_close(set);
}

static void expect_manifest_problem(const struct world *world, const char *find, const char *put,
                                    const char *reason)
{
    const char *at = strstr(manifest_text, find);
    struct manifest *manifest = NULL;
    struct error err = { 0 };
    char edited[sizeof manifest_text + 64];

    assert_non_null(at);
    snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - manifest_text), manifest_text, put,
             at + strlen(find));
    write_file(world, "toy.json", edited, strlen(edited));
    assert_int_not_equal(manifest_load(world->manifest, &manifest, &err), 0);
    assert_null(manifest);
    if (!strstr(err.message, reason))
        fail_msg("\"%s\" does not say \"%s\"", err.message, reason);
}

static void test_manifest_mistakes_are_named(void **state)
{
    struct world *world = *state;

    expect_manifest_problem(world, "\"examples\":20", "\"examples\":21", "even");
    expect_manifest_problem(world, "\"role\":\"noise\"", "\"role\":\"noisy\"", "/sources/1/role");
    expect_manifest_problem(world, "[5,25]", "[25,5]", "snr_db");
    expect_manifest_problem(world, "\"file_cap\":1", "\"file_cup\":1", "file_c");
    expect_manifest_problem(world, "\"package\":\"hiss\"", "\"package\":\"../hiss\"", "no package name");
}

static void test_missing_package_names_the_remedy(void **state)
{
    struct world *world = *state;
    struct manifest *manifest;
    struct pool *pool = NULL;
    struct error err = { 0 };
    char elsewhere[96];

    snprintf(elsewhere, sizeof elsewhere, "%s/voice", world->dir); /* there, but without the packages */
    assert_int_equal(manifest_load(world->manifest, &manifest, &err), 0);
    assert_int_equal(pool_open(manifest, elsewhere, NULL, NULL, &pool, &err), ERR_NOT_FOUND);
    assert_null(pool);
    assert_non_null(strstr(err.message, "voice/voice"));
    assert_non_null(strstr(err.message, "fetch.sh"));
    free(manifest);
}

static void test_file_cap_is_kept_or_refused(void **state)
{
    struct world *world = *state;
    const char *at = strstr(manifest_text, "\"file_cap\":1");
    char edited[sizeof manifest_text + 8], hash[SHA256_HEX];
    struct manifest *manifest = NULL;
    struct pool *pool = NULL;
    struct error err = { 0 };

    snprintf(edited, sizeof edited, "%.*s\"file_cap\":0.6%s", (int)(at - manifest_text), manifest_text,
             at + strlen("\"file_cap\":1"));
    write_file(world, "toy.json", edited, strlen(edited));
    assert_int_equal(manifest_load(world->manifest, &manifest, &err), 0);
    assert_int_equal(pool_open(manifest, world->dir, NULL, NULL, &pool, &err), 0);
    assert_int_equal(vadset_build(pool, world->out, NULL, NULL, hash, &err), ERR_RANGE);
    assert_non_null(strstr(err.message, "too few noise clips"));
    pool_close(pool);
    pool_close(NULL);
    free(manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resampling_passes_and_stops),
        cmocka_unit_test(test_resampling_has_no_delay),
        cmocka_unit_test(test_tone_lands_in_its_band),
        cmocka_unit_test(test_eight_codes_per_octave),
        cmocka_unit_test(test_loudness_is_no_clue),
        cmocka_unit_test(test_streaming_equals_batch),
        cmocka_unit_test(test_activity_is_where_sound_is),
        cmocka_unit_test(test_mix_has_the_asked_snr),
        cmocka_unit_test_setup_teardown(test_load_mixes_down_and_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_g722_gives_two_samples_a_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_builds_a_balanced_repeatable_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_manifest_mistakes_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_package_names_the_remedy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_cap_is_kept_or_refused, setup, teardown),
    };

    return cmocka_run_group_tests_name("frontend", tests, NULL, NULL);
}
