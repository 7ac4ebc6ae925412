/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * audio: decoding, mixing down and rate conversion. The only file that knows libsndfile and libspandsp. */
#include "chip/frontend/audio.h"

#include <math.h>
#include <sndfile.h>
#include <spandsp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"

enum {
    G722_RATE_HZ = 16000,
    G722_BYTES_PER_SECOND = 8000,
    /* Zero crossings of the sinc on each side. With the Kaiser beta below, the transition band is about 0.1
     * of the lower rate: flat to 0.45, stopped at 0.55. The fold-over is confined to the top band, which mel
     * ignores. */
    SINC_CROSSINGS = 28
};

static const double kaiser_beta = 7.5;

/* Samples as decoded: mono float at the file's own rate. */
struct decoded {
    float *samples;
    size_t count;
    int rate_hz;
};

/* Modified Bessel function of the first kind, order 0: power series, converges fast for the small x of a
 * window. */
static double bessel_i0(double x)
{
    double term = 1, sum = 1;

    for (int k = 1; k < 64 && term > 1e-18 * sum; k++) {
        term *= (x / (2 * k)) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

/* The low-pass kernel at `t` input samples from its centre; `cutoff` in cycles per input sample. */
static double kernel(double t, double cutoff, double half_width)
{
    double x = 2 * cutoff * t;
    double edge = t / half_width;
    double sinc = fabs(x) < 1e-12 ? 1 : sin(M_PI * x) / (M_PI * x);

    if (fabs(edge) >= 1)
        return 0;
    return 2 * cutoff * sinc * bessel_i0(kaiser_beta * sqrt(1 - edge * edge)) / bessel_i0(kaiser_beta);
}

static int gcd(int a, int b)
{
    while (b) {
        int rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* One set of taps per output phase: out[n] sits at input position n * down / up, of which there are `up`
 * fractions. */
struct polyphase {
    int up, down;
    int reach; /* taps run from -reach + 1 to +reach around the position's integer part */
    double *taps;
};

static int polyphase_init(struct polyphase *p, int in_hz, int out_hz, struct error *err)
{
    int common = gcd(in_hz, out_hz);
    double cutoff = 0.5 * fmin(1, (double)out_hz / in_hz);
    double half_width = SINC_CROSSINGS / (2 * cutoff);

    p->up = out_hz / common;
    p->down = in_hz / common;
    p->reach = (int)ceil(half_width);
    p->taps = malloc((size_t)p->up * 2 * (size_t)p->reach * sizeof *p->taps);
    if (!p->taps)
        return error_set(err, ERR_MEMORY, "no memory for the %d to %d Hz filter", in_hz, out_hz);
    for (int phase = 0; phase < p->up; phase++) {
        double *taps = p->taps + (size_t)phase * 2 * (size_t)p->reach;
        double fraction = (double)phase / p->up;
        double sum = 0;

        for (int k = 0; k < 2 * p->reach; k++) {
            taps[k] = kernel(k - p->reach + 1 - fraction, cutoff, half_width);
            sum += taps[k];
        }
        for (int k = 0; k < 2 * p->reach; k++)
            taps[k] /= sum; /* every phase passes a constant unchanged */
    }
    return 0;
}

static float polyphase_at(const struct polyphase *p, const float *in, size_t count, size_t n)
{
    uint64_t position = (uint64_t)n * (uint64_t)p->down;
    const double *taps = p->taps + (size_t)(position % (uint64_t)p->up) * 2 * (size_t)p->reach;
    int64_t first = (int64_t)(position / (uint64_t)p->up) - p->reach + 1;
    int64_t from = first < 0 ? -first : 0;
    int64_t to = 2 * (int64_t)p->reach;
    double sum = 0;

    if (first + to > (int64_t)count)
        to = (int64_t)count - first;
    for (int64_t k = from; k < to; k++)
        sum += taps[k] * (double)in[first + k];
    return (float)sum;
}

static bool rate_allowed(int rate_hz)
{
    return rate_hz >= AUDIO_RATE_MIN_HZ && rate_hz <= AUDIO_RATE_MAX_HZ;
}

int audio_resample(const float *in, size_t count, int in_hz, int out_hz, float **ret_out, size_t *ret_count,
                   struct error *err)
{
    struct polyphase p;
    size_t out_count;
    float *out;
    int code;

    if (!rate_allowed(in_hz) || !rate_allowed(out_hz))
        return error_set(err, ERR_RANGE, "rates %d and %d Hz: allowed are %d to %d", in_hz, out_hz,
                         AUDIO_RATE_MIN_HZ, AUDIO_RATE_MAX_HZ);
    code = polyphase_init(&p, in_hz, out_hz, err);
    if (code)
        return code;
    out_count = (count * (size_t)p.up + (size_t)p.down - 1) / (size_t)p.down;
    out = malloc((out_count ? out_count : 1) * sizeof *out);
    if (!out) {
        free(p.taps);
        return error_set(err, ERR_MEMORY, "no memory for %zu samples", out_count);
    }
    for (size_t n = 0; n < out_count; n++)
        out[n] = polyphase_at(&p, in, count, n);
    free(p.taps);
    *ret_out = out;
    *ret_count = out_count;
    return 0;
}

static void mix_down(const float *frames, size_t count, int channels, float *out)
{
    for (size_t i = 0; i < count; i++) {
        float sum = 0;

        for (int c = 0; c < channels; c++)
            sum += frames[i * (size_t)channels + (size_t)c];
        out[i] = sum / (float)channels;
    }
}

static int read_sndfile(SNDFILE *file, const SF_INFO *info, int max_seconds, struct decoded *ret,
                        struct error *err)
{
    sf_count_t frames = info->frames;
    sf_count_t got;
    float *buffer, *mono;

    if (info->channels < 1 || info->channels > AUDIO_CHANNELS_MAX)
        return error_set(err, ERR_RANGE, "%d channels, the limit is %d", info->channels, AUDIO_CHANNELS_MAX);
    if (!rate_allowed(info->samplerate))
        return error_set(err, ERR_RANGE, "%d Hz, allowed are %d to %d", info->samplerate, AUDIO_RATE_MIN_HZ,
                         AUDIO_RATE_MAX_HZ);
    if (frames > (sf_count_t)max_seconds * info->samplerate)
        frames = (sf_count_t)max_seconds * info->samplerate;
    if (frames < 1)
        return error_set(err, ERR_INVALID, "no sound in it");
    buffer = malloc((size_t)frames * (size_t)info->channels * sizeof *buffer);
    mono = malloc((size_t)frames * sizeof *mono);
    if (!buffer || !mono) {
        free(buffer);
        free(mono);
        return error_set(err, ERR_MEMORY, "no memory for %lld frames", (long long)frames);
    }
    got = sf_readf_float(file, buffer, frames);
    mix_down(buffer, (size_t)got, info->channels, mono);
    free(buffer);
    if (got < frames) {
        free(mono);
        return error_set(err, ERR_INVALID, "damaged: %lld of %lld frames could be read", (long long)got,
                         (long long)frames);
    }
    *ret = (struct decoded){ .samples = mono, .count = (size_t)got, .rate_hz = info->samplerate };
    return 0;
}

static int decode_sndfile(const char *path, int max_seconds, struct decoded *ret, struct error *err)
{
    SF_INFO info = { 0 };
    SNDFILE *file = sf_open(path, SFM_READ, &info);
    int code;

    if (!file)
        return error_set(err, ERR_INVALID, "%s: %s", path, sf_strerror(NULL));
    code = read_sndfile(file, &info, max_seconds, ret, err);
    sf_close(file);
    if (code)
        error_prefix(err, "%s", path);
    return code;
}

static int decode_g722_bytes(const uint8_t *bytes, size_t length, struct decoded *ret, struct error *err)
{
    size_t count = 2 * length; /* 4 bits a sample */
    g722_decode_state_t *state = g722_decode_init(NULL, 64000, 0);
    int16_t *pcm = malloc(count * sizeof *pcm);
    float *samples = malloc(count * sizeof *samples);
    int code = 0;
    int got;

    if (!state || !pcm || !samples) {
        code = error_set(err, ERR_MEMORY, "no memory for %zu samples", count);
        goto out;
    }
    got = g722_decode(state, pcm, bytes, (int)length);
    if (got < 0 || (size_t)got != count) {
        code = error_set(err, ERR_INTERNAL, "G.722 decoder gave %d samples for %zu bytes", got, length);
        goto out;
    }
    for (size_t i = 0; i < count; i++)
        samples[i] = (float)pcm[i] / 32768.0F;
    *ret = (struct decoded){ .samples = samples, .count = count, .rate_hz = G722_RATE_HZ };
    samples = NULL;

out:
    free(samples);
    free(pcm);
    if (state)
        g722_decode_free(state);
    return code;
}

static int decode_g722(const char *path, int max_seconds, struct decoded *ret, struct error *err)
{
    char *bytes;
    size_t length;
    int code = text_read_file(path, (size_t)AUDIO_SECONDS_MAX * G722_BYTES_PER_SECOND, &bytes, &length, err);

    if (code)
        return code;
    if (length > (size_t)max_seconds * G722_BYTES_PER_SECOND)
        length = (size_t)max_seconds * G722_BYTES_PER_SECOND;
    code = length ? decode_g722_bytes((const uint8_t *)bytes, length, ret, err)
                  : error_set(err, ERR_INVALID, "no sound in it");
    if (code)
        error_prefix(err, "%s", path);
    free(bytes);
    return code;
}

static int to_int16(const float *in, size_t count, struct audio *ret, struct error *err)
{
    int16_t *samples = malloc(count * sizeof *samples);

    if (!samples)
        return error_set(err, ERR_MEMORY, "no memory for %zu samples", count);
    for (size_t i = 0; i < count; i++)
        samples[i] = (int16_t)lrint(fmin(fmax((double)in[i] * 32768, -32768), 32767));
    *ret = (struct audio){ .samples = samples, .count = count };
    return 0;
}

static int convert(const struct decoded *decoded, int rate_hz, struct audio *ret, struct error *err)
{
    float *resampled;
    size_t count;
    int code;

    if (decoded->rate_hz == rate_hz)
        return to_int16(decoded->samples, decoded->count, ret, err);
    code =
        audio_resample(decoded->samples, decoded->count, decoded->rate_hz, rate_hz, &resampled, &count, err);
    if (code)
        return code;
    code = to_int16(resampled, count, ret, err);
    free(resampled);
    return code;
}

int audio_load(const char *path, int rate_hz, int max_seconds, struct audio *ret_audio, struct error *err)
{
    const char *dot = strrchr(path, '.');
    struct decoded decoded = { 0 };
    int code;

    if (max_seconds < 1 || max_seconds > AUDIO_SECONDS_MAX)
        return error_set(err, ERR_RANGE, "%d seconds of a clip: allowed are 1 to %d", max_seconds,
                         AUDIO_SECONDS_MAX);
    if (dot && strcmp(dot, ".g722") == 0)
        code = decode_g722(path, max_seconds, &decoded, err);
    else
        code = decode_sndfile(path, max_seconds, &decoded, err);
    if (code)
        return code;
    code = convert(&decoded, rate_hz, ret_audio, err);
    free(decoded.samples);
    if (code)
        error_prefix(err, "%s", path);
    return code;
}

const char *audio_library(void)
{
    return sf_version_string();
}

void audio_free(struct audio *audio)
{
    if (!audio)
        return;
    free(audio->samples);
    *audio = (struct audio){ 0 };
}
