/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * la: a capture is one request; its samples are fetched in pieces that fit a message, from the driver that
 * keeps them until the next capture. */
#include "instruments/la.h"

#include <stdlib.h>
#include <string.h>

#include "instruments/bench_private.h"

const char *const LA_TRIGGERS[] = {
    [LA_AT_ONCE] = "at_once", [LA_LOW] = "low",       [LA_HIGH] = "high",       [LA_RISING] = "rising",
    [LA_FALLING] = "falling", [LA_EITHER] = "either", [LA_TRIGGER_COUNT] = NULL
};

int la_check(const struct la_request *r, struct error *err)
{
    if (!(r->rate_hz >= 1 && r->rate_hz <= LA_RATE_MAX_HZ))
        return error_set(err, ERR_RANGE, "sample rate %g Hz is outside 1 Hz .. %g Hz", r->rate_hz,
                         LA_RATE_MAX_HZ);
    if (r->samples < 1 || r->samples > LA_SAMPLES_MAX)
        return error_set(err, ERR_RANGE, "%u samples are outside 1 .. %d", r->samples, LA_SAMPLES_MAX);
    if (r->channels == 0)
        return error_set(err, ERR_INVALID, "a capture of no inputs");
    if (!(r->timeout_s >= 0 && r->timeout_s <= LA_TIMEOUT_MAX_S))
        return error_set(err, ERR_RANGE, "%g s to wait for a trigger is outside 0 .. %g s", r->timeout_s,
                         LA_TIMEOUT_MAX_S);
    if (r->samples / r->rate_hz > LA_TIMEOUT_MAX_S)
        return error_set(err, ERR_RANGE, "%u samples at %g Hz take longer than %g s", r->samples, r->rate_hz,
                         LA_TIMEOUT_MAX_S);
    if (r->before_percent < 0 || r->before_percent > 100)
        return error_set(err, ERR_RANGE, "%d %% before the trigger is outside 0 .. 100 %%",
                         r->before_percent);
    if (r->trigger < 0 || r->trigger >= LA_TRIGGER_COUNT)
        return error_set(err, ERR_INVALID, "no trigger %d", r->trigger);
    bool seen = r->trigger_channel >= 0 && r->trigger_channel < LA_INPUTS_MAX &&
                r->channels >> r->trigger_channel & 1;
    if (r->trigger != LA_AT_ONCE && !seen)
        return error_set(err, ERR_INVALID, "the trigger's input %d is not captured", r->trigger_channel);
    return 0;
}

/* Holds an answer against what was asked, so that nobody is made to allocate or index by a liar. */
static int take_answer(const struct message *m, const struct la_request *request, struct la_capture *ret,
                       struct error *err)
{
    double samples = m->value[1], unit = m->value[2];
    if (!(m->value[0] > 0) || !(samples >= 1 && samples <= request->samples) || !(unit >= 1 && unit <= 8) ||
        samples * unit > LA_BYTES_MAX)
        return error_set(err, ERR_GARBAGE, "a capture of %g samples of %g bytes at %g Hz", samples, unit,
                         m->value[0]);
    *ret = (struct la_capture){ .rate_hz = m->value[0],
                                .samples = (uint32_t)samples,
                                .unit_bytes = (int)unit,
                                .trigger_sample = m->count < (uint32_t)samples ? (int64_t)m->count : -1,
                                .time_ns = m->time_ns };
    return 0;
}

static int fetch(struct bench_client *client, int instrument, double number, struct la_capture *capture,
                 struct error *err)
{
    size_t bytes = (size_t)capture->samples * (size_t)capture->unit_bytes, have = 0;
    capture->bits = malloc(bytes);
    if (!capture->bits)
        return error_set(err, ERR_MEMORY, "a capture of %zu bytes", bytes);
    while (have < bytes) {
        struct message m = { .op = MESSAGE_LA_FETCH,
                             .instrument = (int16_t)instrument,
                             .value = { number, (double)have } };
        int code = bench_client_call(client, &m, NULL, 0, capture->bits + have, bytes - have, err);
        if (code)
            return code;
        if (m.payload_length == 0)
            return error_set(err, ERR_GARBAGE, "the capture ends at %zu of %zu bytes", have, bytes);
        have += m.payload_length;
    }
    return 0;
}

int la_capture(struct bench_client *client, int instrument, const struct la_request *request,
               struct la_capture *ret, struct error *err)
{
    const struct bench_file *file = bench_file_of(bench_of(client));
    if (instrument < 0 || instrument >= file->instrument_count ||
        file->instrument[instrument].class != CLASS_LA)
        return error_set(err, ERR_INVALID, "instrument %d is no logic analyzer", instrument);
    int code = la_check(request, err);
    if (code)
        return code;
    struct message_la wish = { .rate_hz = request->rate_hz,
                               .timeout_s = request->timeout_s,
                               .channels = request->channels,
                               .samples = request->samples,
                               .before_percent = (uint32_t)request->before_percent,
                               .trigger_channel = request->trigger_channel,
                               .trigger = request->trigger };
    struct message m = { .op = MESSAGE_LA_CAPTURE, .instrument = (int16_t)instrument };
    struct la_capture capture = { 0 };
    code = bench_client_call(client, &m, &wish, sizeof wish, NULL, 0, err);
    if (!code)
        code = take_answer(&m, request, &capture, err);
    if (!code)
        code = fetch(client, instrument, m.value[3], &capture, err);
    if (code) {
        la_capture_free(&capture);
        return code;
    }
    *ret = capture;
    return 0;
}

void la_capture_free(struct la_capture *capture)
{
    free(capture->bits);
    capture->bits = NULL;
}

bool la_level(const struct la_capture *capture, uint32_t sample, int input)
{
    if (sample >= capture->samples || input < 0 || input >= 8 * capture->unit_bytes)
        return false;
    return capture->bits[(size_t)sample * (size_t)capture->unit_bytes + (size_t)(input / 8)] >> input % 8 & 1;
}
