/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chamber: set points and state of chambers, as messages to their ports. */
#include "instruments/chamber.h"

#include "instruments/bench_private.h"

static int call(struct bench_client *c, const struct bench_channel *ch, struct message *m, struct error *err)
{
    const struct bench_file *file = bench_file_of(bench_of(c));
    if (file->instrument[ch->instrument].class != CLASS_CHAMBER)
        return error_set(err, ERR_UNSUPPORTED, "%s is no chamber", ch->name);
    m->instrument = (int16_t)ch->instrument;
    m->channel = (int16_t)ch->number;
    return bench_client_call(c, m, NULL, 0, NULL, 0, err);
}

int chamber_set(struct bench_client *c, const struct bench_channel *ch, double celsius, struct error *err)
{
    if (!(celsius >= ch->temp_min_c && celsius <= ch->temp_max_c))
        return error_set(err, ERR_RANGE, "%s: %g Celsius is outside %g .. %g", ch->name, celsius,
                         ch->temp_min_c, ch->temp_max_c);
    struct message m = { .op = MESSAGE_SET_TEMPERATURE, .value = { celsius } };
    return call(c, ch, &m, err);
}

int chamber_read(struct bench_client *c, const struct bench_channel *ch, struct chamber_state *ret,
                 struct error *err)
{
    struct message m = { .op = MESSAGE_STATE };
    int code = call(c, ch, &m, err);
    if (!code)
        *ret = (struct chamber_state){ .set_c = m.value[0],
                                       .measured_c = m.value[1],
                                       .faulty = m.flags & MESSAGE_TRIPPED,
                                       .on = m.flags & MESSAGE_ON,
                                       .settled = m.flags & MESSAGE_SETTLED     ? CHAMBER_SETTLED
                                                  : m.flags & MESSAGE_UNSETTLED ? CHAMBER_UNSETTLED
                                                                                : CHAMBER_DOES_NOT_SAY };
    return code;
}

int chamber_setup(struct bench_client *c, const struct bench_channel *ch, double ramp_k_min, double window_k,
                  double soak_s, struct error *err)
{
    struct message m = { .op = MESSAGE_CHAMBER_SETUP, .value = { ramp_k_min, window_k, soak_s } };
    return call(c, ch, &m, err);
}

int chamber_switch(struct bench_client *c, const struct bench_channel *ch, bool on, struct error *err)
{
    struct message m = { .op = MESSAGE_OUTPUT, .value = { on } };
    return call(c, ch, &m, err);
}
