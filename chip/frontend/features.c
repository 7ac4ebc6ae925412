/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * features: the log-mel front end. Double precision throughout, so that the rounding of FFTW's SIMD paths,
 * which differs between processors, stays 10 digits below the step of a code. */
#include "chip/frontend/features.h"

#include <fftw3.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = FEATURES_FFT / 2 + 1 };

static const double low_hz = 60, high_hz = 7600;
/* Added to a band's power: below the rounding noise of 16-bit samples, keeps the logarithm of silence finite.
 */
static const double power_floor = 1e-9;

struct features {
    double *in;        /* fftw_malloc: [FEATURES_FFT] */
    fftw_complex *out; /* fftw_malloc: [BINS] */
    fftw_plan plan;
    double hann[FEATURES_FFT];
    double mel[FEATURES_BANDS][BINS];
    int mel_first[FEATURES_BANDS], mel_end[FEATURES_BANDS]; /* the bins where the filter is not 0 */
    int16_t pending[FEATURES_FFT];                          /* samples of the frame being filled */
    int pending_count;
    int16_t code[FEATURES_FRAMES][FEATURES_BANDS]; /* ring: frame n is at n % FEATURES_FRAMES; before AGC */
    uint64_t frames;
};

static double mel_from_hz(double hz)
{
    return 2595 * log10(1 + hz / 700);
}

static double hz_from_mel(double mel)
{
    return 700 * (pow(10, mel / 2595) - 1);
}

static double triangle(double x, double left, double peak, double right)
{
    if (x <= left || x >= right)
        return 0;
    return x < peak ? (x - left) / (peak - left) : (right - x) / (right - peak);
}

static void init_mel(struct features *features)
{
    double edge_hz[FEATURES_BANDS + 2];
    double low = mel_from_hz(low_hz);
    double step = (mel_from_hz(high_hz) - low) / (FEATURES_BANDS + 1);

    for (int i = 0; i < FEATURES_BANDS + 2; i++)
        edge_hz[i] = hz_from_mel(low + i * step);
    for (int band = 0; band < FEATURES_BANDS; band++) {
        features->mel_first[band] = BINS;
        for (int bin = 0; bin < BINS; bin++) {
            double hz = (double)bin * FEATURES_RATE_HZ / FEATURES_FFT;
            double weight = triangle(hz, edge_hz[band], edge_hz[band + 1], edge_hz[band + 2]);

            features->mel[band][bin] = weight;
            if (weight > 0 && features->mel_first[band] == BINS)
                features->mel_first[band] = bin;
            if (weight > 0)
                features->mel_end[band] = bin + 1;
        }
    }
}

int features_open(struct features **ret_features, struct error *err)
{
    struct features *features = calloc(1, sizeof *features);

    if (!features)
        return error_set(err, ERR_MEMORY, "no memory for the front end");
    features->in = fftw_malloc(FEATURES_FFT * sizeof *features->in);
    features->out = fftw_malloc(BINS * sizeof *features->out);
    if (!features->in || !features->out)
        goto fail;
    /* ESTIMATE: the plan, and so the rounding, must not depend on how busy the machine was. */
    features->plan = fftw_plan_dft_r2c_1d(FEATURES_FFT, features->in, features->out, FFTW_ESTIMATE);
    if (!features->plan)
        goto fail;
    for (int i = 0; i < FEATURES_FFT; i++)
        features->hann[i] = 0.5 - 0.5 * cos(2 * M_PI * i / FEATURES_FFT);
    init_mel(features);
    *ret_features = features;
    return 0;

fail:
    features_close(features);
    return error_set(err, ERR_MEMORY, "no memory for the FFT");
}

void features_close(struct features *features)
{
    if (!features)
        return;
    if (features->plan)
        fftw_destroy_plan(features->plan);
    fftw_free(features->out);
    fftw_free(features->in);
    free(features);
}

void features_reset(struct features *features)
{
    features->pending_count = 0;
    features->frames = 0;
}

static void compute_frame(struct features *features)
{
    int16_t *code = features->code[features->frames % FEATURES_FRAMES];

    for (int i = 0; i < FEATURES_FFT; i++)
        features->in[i] = features->hann[i] * features->pending[i] / 32768.0;
    fftw_execute(features->plan);
    for (int band = 0; band < FEATURES_BANDS; band++) {
        double power = power_floor;

        for (int bin = features->mel_first[band]; bin < features->mel_end[band]; bin++) {
            double re = features->out[bin][0];
            double im = features->out[bin][1];

            power += features->mel[band][bin] * (re * re + im * im);
        }
        code[band] = (int16_t)lrint(FEATURES_STEPS_PER_OCTAVE * log2(power));
    }
    features->frames++;
}

void features_push(struct features *features, const int16_t *samples, size_t count)
{
    while (count > 0) {
        size_t room = (size_t)(FEATURES_FFT - features->pending_count);
        size_t take = count < room ? count : room;

        memcpy(features->pending + features->pending_count, samples, take * sizeof *samples);
        features->pending_count += (int)take;
        samples += take;
        count -= take;
        if (features->pending_count < FEATURES_FFT)
            continue;
        compute_frame(features);
        memmove(features->pending, features->pending + FEATURES_HOP,
                (FEATURES_FFT - FEATURES_HOP) * sizeof *features->pending);
        features->pending_count = FEATURES_FFT - FEATURES_HOP;
    }
}

uint64_t features_frames(const struct features *features)
{
    return features->frames;
}

static int floor_divide(int a, int b)
{
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

bool features_window(const struct features *features, uint8_t out[FEATURES_SIZE])
{
    int sum = 0;
    int shift;

    if (features->frames < FEATURES_FRAMES)
        return false;
    for (int frame = 0; frame < FEATURES_FRAMES; frame++) {
        for (int band = 0; band < FEATURES_BANDS; band++)
            sum += features->code[frame][band];
    }
    shift =
        FEATURES_MEAN - floor_divide(2 * sum + FEATURES_SIZE, 2 * FEATURES_SIZE); /* mean rounded half up */
    for (int frame = 0; frame < FEATURES_FRAMES; frame++) {
        const int16_t *code = features->code[(features->frames + (uint64_t)frame) % FEATURES_FRAMES];

        for (int band = 0; band < FEATURES_BANDS; band++) {
            int value = code[band] + shift;

            out[band * FEATURES_FRAMES + frame] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
        }
    }
    return true;
}
