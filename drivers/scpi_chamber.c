/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_chamber: set points, ramps, soak, faults and readings of chambers. They have no error queue worth the
 * name: everything that is set is read back. */
#include "drivers/scpi_chamber.h"

#include <math.h>

#include "daemon/base/record.h"

/* What a number that was sent with few digits may differ by when it comes back. */
#define SETUP_TOLERANCE 0.051
#define SETUP_DECIMALS  1

static int set_and_read_back(struct scpi_talk *talk, int set, int get, int channel, double value,
                             int decimals, double tolerance, double *ret_found, struct error *err)
{
    double found = NAN;
    int code = scpi_talk_set_value(talk, set, channel, value, decimals, err);
    if (!code)
        code = scpi_talk_ask_one(talk, get, channel, &found, err);
    if (code)
        return code;
    if (!(fabs(found - value) <= tolerance))
        return error_set(err, ERR_REFUSED, "%s reads back %g, %g was set", dialect_command_name(get), found,
                         value);
    if (ret_found)
        *ret_found = found;
    return 0;
}

/* A chamber's own limits protect what stands in it: they may be closer than the model's. */
static int check_own_limits(struct scpi_talk *talk, int channel, double celsius, struct error *err)
{
    double low = -INFINITY, high = INFINITY;
    int code = 0;
    if (scpi_talk_has(talk, DIALECT_GET_LOW_LIMIT))
        code = scpi_talk_ask_one(talk, DIALECT_GET_LOW_LIMIT, channel, &low, err);
    if (!code && scpi_talk_has(talk, DIALECT_GET_HIGH_LIMIT))
        code = scpi_talk_ask_one(talk, DIALECT_GET_HIGH_LIMIT, channel, &high, err);
    if (!code && !(celsius >= low && celsius <= high))
        code = error_set(err, ERR_RANGE, "%g Celsius is outside %g .. %g, the limits set at the chamber",
                         celsius, low, high);
    return code;
}

int scpi_chamber_set(struct scpi_talk *talk, const struct dialect_channel *ch, struct message *m,
                     struct error *err)
{
    const struct dialect_span *span = &ch->temperature;
    double celsius = dialect_round(span, m->value[0]);
    if (!(m->value[0] >= span->min && m->value[0] <= span->max))
        return error_set(err, ERR_RANGE, "%g Celsius is outside %g .. %g of %s", m->value[0], span->min,
                         span->max, talk->dialect->name);
    int code = check_own_limits(talk, m->channel, celsius, err);
    const char *slot = dialect_slot(talk->dialect, celsius);
    if (!code && *slot)
        code = scpi_talk_set(talk, slot, err);
    if (!code)
        code = set_and_read_back(talk, DIALECT_SET_TEMPERATURE, DIALECT_GET_TEMPERATURE, m->channel, celsius,
                                 span->decimals, span->step * 0.51, &celsius, err);
    if (!code)
        m->value[0] = celsius;
    return code;
}

int scpi_chamber_setup(struct scpi_talk *talk, struct message *m, struct error *err)
{
    static const struct {
        int set, get;
    } ITEMS[] = { { DIALECT_SET_RAMP, DIALECT_GET_RAMP },
                  { DIALECT_SET_WINDOW, DIALECT_GET_WINDOW },
                  { DIALECT_SET_SOAK, DIALECT_GET_SOAK } };
    int code = 0;
    for (int i = 0; i < 3 && !code; i++) {
        double value = m->value[i];
        if (isnan(value))
            continue;
        if (!(value >= 0 && value <= 9999))
            code = error_set(err, ERR_RANGE, "%s: %g is outside 0 .. 9999",
                             dialect_command_name(ITEMS[i].set), value);
        else
            code = set_and_read_back(talk, ITEMS[i].set, ITEMS[i].get, m->channel, value, SETUP_DECIMALS,
                                     SETUP_TOLERANCE, NULL, err);
    }
    return code;
}

/* A register that says what is wrong or where the chamber stands; 9.91E37 says neither. */
static int get_register(struct scpi_talk *talk, int command, int channel, unsigned *ret, struct error *err)
{
    double value = 0;
    int code = scpi_talk_ask_one(talk, command, channel, &value, err);
    if (code)
        return code;
    if (!(value >= 0 && value <= 0xffff) || value != floor(value))
        return error_set(err, ERR_GARBAGE, "%g is no status register", value);
    *ret = (unsigned)value;
    return 0;
}

static int get_flags(struct scpi_talk *talk, int channel, uint32_t *ret_flags, struct error *err)
{
    const struct dialect *d = talk->dialect;
    unsigned word = 0;
    uint32_t flags = 0;
    int code = 0;
    if (scpi_talk_has(talk, DIALECT_GET_TRIP)) {
        code = get_register(talk, DIALECT_GET_TRIP, channel, &word, err);
        if (!code && (d->trip_mask ? word & d->trip_mask : word) != 0)
            flags |= MESSAGE_TRIPPED;
    }
    if (!code && scpi_talk_has(talk, DIALECT_GET_SETTLED)) {
        code = get_register(talk, DIALECT_GET_SETTLED, channel, &word, err);
        flags |= (word & d->settled_mask) == d->settled_is ? MESSAGE_SETTLED : MESSAGE_UNSETTLED;
    }
    if (!code)
        *ret_flags = flags;
    return code;
}

static int get_temperature(struct scpi_talk *talk, const struct dialect_channel *ch, int channel, double *ret,
                           struct error *err)
{
    int code = scpi_talk_ask_one(talk, DIALECT_MEASURE_TEMPERATURE, channel, ret, err);
    if (!code && (!isfinite(*ret) || *ret > ch->bad_above || fabs(*ret) > 1e6))
        *ret = NAN; /* a sensor that is broken, or 9.91E37 */
    return code;
}

int scpi_chamber_state(struct scpi_talk *talk, const struct dialect_channel *ch, struct message *m,
                       struct error *err)
{
    double set_c = NAN, measured_c = NAN, on = 1;
    uint32_t flags = 0;
    int code = scpi_talk_ask_one(talk, DIALECT_GET_TEMPERATURE, m->channel, &set_c, err);
    if (!code)
        code = get_temperature(talk, ch, m->channel, &measured_c, err);
    if (!code && scpi_talk_has(talk, DIALECT_GET_OUTPUT))
        code = scpi_talk_ask_one(talk, DIALECT_GET_OUTPUT, m->channel, &on, err);
    if (!code)
        code = get_flags(talk, m->channel, &flags, err);
    if (code)
        return code;
    m->flags = flags | (on != 0 ? MESSAGE_ON : 0) | (isnan(measured_c) ? MESSAGE_TRIPPED : 0);
    m->value[0] = set_c;
    m->value[1] = measured_c;
    return 0;
}

int scpi_chamber_measure(struct scpi_talk *talk, const struct dialect_channel *ch, struct message *m,
                         struct error *err)
{
    double celsius = NAN;
    uint32_t flags = 0;
    int code = get_temperature(talk, ch, m->channel, &celsius, err);
    if (!code)
        code = get_flags(talk, m->channel, &flags, err);
    if (code)
        return code;
    m->flags = (flags & MESSAGE_UNSETTLED ? READING_UNSETTLED : 0) |
               (flags & MESSAGE_TRIPPED ? READING_TRIPPED : 0) | (isnan(celsius) ? READING_NOT_A_NUMBER : 0);
    if (dialect_overdue(talk->dialect, clock_wall_now()))
        m->flags |= READING_CAL_OVERDUE;
    m->value[0] = celsius;
    m->value[1] = dialect_uncertainty(ch, 0, celsius, NAN, &m->value[2]);
    return 0;
}
