/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * dialect: what one model of SCPI instrument wants to hear, what its channels can do and how well it
 * measures, as data in configs/instruments/NAME.json. Immutable after dialect_load.
 * docs/howto-instrument.md explains the file. */
#ifndef DRIVERS_DIALECT_H
#define DRIVERS_DIALECT_H

#include <stddef.h>

#include "daemon/base/json.h"

enum dialect_command {
    DIALECT_IDENTIFY,
    DIALECT_ERROR,
    DIALECT_CLEAR,
    DIALECT_SELECT,
    DIALECT_PREPARE,
    DIALECT_SET_VOLTAGE,
    DIALECT_GET_VOLTAGE,
    DIALECT_SET_LIMIT,
    DIALECT_GET_LIMIT,
    DIALECT_OUTPUT_ON,
    DIALECT_OUTPUT_OFF,
    DIALECT_GET_OUTPUT,
    DIALECT_SET_OVP,
    DIALECT_GET_OVP,
    DIALECT_OCP_ON,
    DIALECT_OCP_OFF,
    DIALECT_GET_OCP,
    DIALECT_CLEAR_TRIP,
    DIALECT_GET_TRIP,
    DIALECT_GET_MODE,
    DIALECT_MEASURE_VOLTAGE,
    DIALECT_MEASURE_CURRENT,
    DIALECT_SET_RANGE,
    DIALECT_AUTO_RANGE,
    DIALECT_SET_NPLC,
    DIALECT_ARM_WATCHDOG, /* the instrument's own: all outputs off when it hears nothing for {v} seconds */
    DIALECT_DISARM_WATCHDOG,
    DIALECT_GET_WATCHDOG,    /* two answers: armed, seconds */
    DIALECT_SET_TEMPERATURE, /* of a chamber, Celsius */
    DIALECT_GET_TEMPERATURE, /* the set point */
    DIALECT_MEASURE_TEMPERATURE,
    DIALECT_GET_LOW_LIMIT, /* what the chamber itself allows as a set point */
    DIALECT_GET_HIGH_LIMIT,
    DIALECT_SET_RAMP, /* kelvin per minute */
    DIALECT_GET_RAMP,
    DIALECT_SET_SOAK, /* seconds within the window until it says "at temperature" */
    DIALECT_GET_SOAK,
    DIALECT_SET_WINDOW, /* kelvin to either side of the set point */
    DIALECT_GET_WINDOW,
    DIALECT_GET_SETTLED, /* whether it is at temperature, by `settled` */
    DIALECT_LOG_VOLTAGE, /* the instrument's own logger: set up for one quantity, {v} seconds a value */
    DIALECT_LOG_CURRENT,
    DIALECT_LOG_START, /* from here on it keeps values */
    DIALECT_LOG_COUNT, /* for loggers that keep what was read: how many values there are by now */
    DIALECT_LOG_FETCH, /* up to {n} values that were not read yet; or the values {a} .. {b}, from 1 */
    DIALECT_LOG_STOP,
    DIALECT_COMMAND_COUNT
};

/* A watchdog must be slower than the polls that keep it quiet (instruments/interlock.h: one second). */
enum { DIALECT_WATCHDOG_MIN_S = 3 };
enum { DIALECT_TEXT_MAX = 240, DIALECT_CHANNELS_MAX = 16, DIALECT_ROWS_MAX = 12 };
enum { DIALECT_WORDS_MAX = 8, DIALECT_WORD_MAX = 24, DIALECT_SLOTS_MAX = 4 };

/* Accuracy over one year: +-(percent / 100 * |value| + offset), readings in steps of resolution. */
struct dialect_row {
    double range, percent, offset, resolution;
};

struct dialect_span {
    double min, max, step;
    int decimals; /* digits after the point that are sent */
};

struct dialect_channel {
    int number;
    bool can_source;
    struct dialect_span voltage, limit, ovp;
    struct dialect_span temperature; /* of a chamber's set point */
    double bad_above;                /* a chamber's reading above this is none; NAN: all are */
    double settle_s, measure_s;
    int row_count[2]; /* by enum bench_quantity: 0 volts (or a chamber's Celsius), 1 amperes */
    struct dialect_row row[2][DIALECT_ROWS_MAX];
};

/* Where the number is in an answer that is not a bare number. */
struct dialect_answer {
    int field;                                /* of a list with commas, from 0; -1: no list */
    int bit_count, bit[DIALECT_CHANNELS_MAX]; /* of a hexadecimal status word, one per channel; the number is
                                               * 0 or 1 */
    unsigned mask;                            /* of a decimal status word: 1 when one of these bits is set */
    int word_count;                           /* states that are said in words, and what they mean */
    struct dialect_word {
        char text[DIALECT_WORD_MAX];
        double value;
    } word[DIALECT_WORDS_MAX];
};

/* Makes that keep set points in several places (hot, ambient, cold): what to send before a set point that is
 * below `below`. */
struct dialect_slot {
    double below;
    char command[DIALECT_WORD_MAX];
};

/* How the instrument's own logger counts and answers. */
struct dialect_log {
    bool binary; /* a block of 32 bit floats, most significant byte first; else text */
    double period_min_s, period_max_s;
    int values_max; /* of one LOG_FETCH */
    int fields;     /* of one value: itself, and more where the instrument says more */
    int value,
        time; /* which of them; time: seconds by the instrument's clock, -1: one period after the other */
};

struct dialect {
    char name[48], vendor[64], tested[32], calibration_due[16]; /* due: YYYY-MM-DD or "" */
    int class;
    char command[DIALECT_COMMAND_COUNT][DIALECT_TEXT_MAX]; /* "" = declared absent */
    struct dialect_answer answer[DIALECT_COMMAND_COUNT];
    bool joins;             /* several messages in one, joined by ";:"; answers come joined by ";" */
    bool mode_with_reading; /* ask for the mode with every reading, for its LIMITING flag */
    unsigned mode_mask, mode_limiting; /* limiting when (mode & mask) == mode_limiting */
    unsigned trip_mask;                /* 0: any non-zero answer of get_trip means tripped */
    unsigned settled_mask, settled_is; /* at temperature when (get_settled & mask) == is */
    bool crlf;                         /* messages end with CR LF; answers may always */
    bool identity_is_model;            /* the answer to identify is the model as a whole */
    char good[16], bad[16]; /* every setting is answered, by a text that begins with `good`; one that begins
                             * with `bad` is a refusal. "": none is answered */
    double timeout_s, resync_quiet_s;
    double pause_s, pause_after_set_s; /* what it needs between an exchange, or a setting, and the next */
    int slot_count;
    struct dialect_slot slot[DIALECT_SLOTS_MAX];
    struct dialect_log log;
    double nplc_s;     /* one power line cycle */
    double watchdog_s; /* what arm_watchdog is given; NAN: the instrument has none */
    int channel_count;
    struct dialect_channel channel[DIALECT_CHANNELS_MAX];
};

/* Reads and checks a whole file; every mistake goes into problems. Caller: dialect_free(). */
int dialect_load(const char *path, struct dialect **ret, struct json_problems *problems, struct error *err);
void dialect_free(struct dialect *dialect);
/* The part of the check that looks at the file as a whole; for dialect_load. */
void dialect_check(const struct json_at *root, const struct dialect *dialect);
const struct dialect_channel *dialect_channel(const struct dialect *dialect, int number);
/* Name of a command in the file: "set_voltage". */
const char *dialect_command_name(int command);
/* Whether a command acts on the selected channel: it has no {ch} where one could be, and its
 * answer does not speak of all channels. */
bool dialect_needs_select(const struct dialect *dialect, int command);
/* The first nanosecond after a date YYYY-MM-DD, UTC; false when the text is no date. */
bool dialect_due_ns(const char *text, int64_t *ret_ns);
/* What to send before a set point, or "". */
const char *dialect_slot(const struct dialect *dialect, double celsius);
/* Puts channel and value into a command ({v}, {n} and {a} are `value`, {b} is `last`); ERR_UNSUPPORTED when
 * the dialect has none. */
int dialect_format_span(const struct dialect *dialect, int command, int channel, double value, double last,
                        int decimals, char *out, size_t size, struct error *err);
/* The same for commands with one value. */
int dialect_format(const struct dialect *dialect, int command, int channel, double value, int decimals,
                   char *out, size_t size, struct error *err);
/* The number in an answer, by "answers" of the dialect; text is cut. False when there is none. */
bool dialect_take(const struct dialect *dialect, int command, int channel, char *text, double *ret);
/* Nearest programmable value. */
double dialect_round(const struct dialect_span *span, double value);
/* Standard uncertainty (k = 1) of a reading: the accuracy row that covers the value (or the fixed range, NAN
 * automatic) taken as a rectangular distribution, (percent |value| + offset) / sqrt(3), and the resolution,
 * step / sqrt(12), added in quadrature. NAN when no row is stated. ret_range: the row's range. */
double dialect_uncertainty(const struct dialect_channel *channel, int quantity, double value, double range,
                           double *ret_range);
/* True when the calibration due date lies before wall_ns. */
bool dialect_overdue(const struct dialect *dialect, int64_t wall_ns);

#endif
