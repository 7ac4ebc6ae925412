/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * message: the flat request that travels to a port, in this process or to the keeper's. No pointers: the
 * payload follows the header, so the same bytes go through a queue and through a SOCK_SEQPACKET socket. An
 * answer is the same message with its results filled in; when code is not 0 the payload is one struct error.
 */
#ifndef INSTRUMENTS_MESSAGE_H
#define INSTRUMENTS_MESSAGE_H

#include "daemon/base/error.h"
#include "instruments/spi.h"

/* What a port understands. A driver answers ERR_UNSUPPORTED to what its make does not offer. */
enum message_op {
    MESSAGE_SET_VOLTAGE = 1, /* value[0] volts */
    MESSAGE_SET_LIMIT,       /* value[0] amperes */
    MESSAGE_SET_PROTECTION,  /* value[0] OVP volts or NAN, value[1] OCP 0/1 */
    MESSAGE_OUTPUT,          /* value[0] 0/1; answered with the state read back */
    MESSAGE_STATE,           /* answer: flags MESSAGE_ON..., value[0] set volts, value[1] limit amperes */
    MESSAGE_CLEAR_TRIP,      /* leaves the output off */
    MESSAGE_MEASURE,   /* value[0] quantity; answer: value[0] reading, [1] uncertainty, [2] range, flags of it
                        */
    MESSAGE_CONFIGURE, /* value[0] range or NAN (automatic), value[1] NPLC */
    MESSAGE_IDENTIFY,  /* answer: payload "vendor\0model\0serial\0firmware\0" */
    MESSAGE_QUERY,     /* payload: command text; answer: its answer, or empty */
    MESSAGE_SPI_BATCH, /* payload: count times struct message_spi, then the bytes to send; answer: bytes read
                        */
    MESSAGE_SPI_CLOCK, /* value[0] Hz; answer: value[0] Hz in force, value[1] tx_max, value[2] rx_max */
    MESSAGE_SPI_DRIVE, /* value[0] 0/1 */
    MESSAGE_SET_TEMPERATURE, /* value[0] Celsius; answer: value[0] the set point read back. A chamber answers
                              * STATE with value[0] set point, value[1] measured, flag TRIPPED: its fault */
    MESSAGE_CHAMBER_SETUP,   /* value[0] ramp in kelvin per minute, [1] window in kelvin, [2] soak in seconds;
                              * NAN   leaves one as it is. Read back */
    MESSAGE_LOG_START, /* value[0] quantity, [1] seconds a value; answer: [1] in force. The instrument keeps
                        * values by itself from here on; time_ns says when it began */
    MESSAGE_LOG_READ,  /* answer: payload: `count` values that were not read yet, and as many times in
                        * seconds since the start, as doubles; value[0] index of the first
                        */
    MESSAGE_LOG_STOP,
    MESSAGE_LA_CAPTURE, /* payload: struct message_la; answer: value[0] Hz in force, [1] samples, [2] bytes a
                         * sample, [3] number of the capture; count: index of the trigger's sample, or ~0 */
    MESSAGE_LA_FETCH,   /* value[0] number of the capture, [1] offset in bytes; answer: payload, what has room
                         */
    MESSAGE_SAFE_OFF,   /* output off, or SPI pins released; value[0] 1 when the read back still says on */
    MESSAGE_PORT_COUNT,

    /* To the keeper itself. */
    MESSAGE_KEEPER_HELLO = 64, /* value[0] clock slot of the client; answer: value[0] slot of the keeper */
    MESSAGE_KEEPER_BEAT,       /* no answer */
    MESSAGE_KEEPER_UNDO,   /* value: kind, channel index of the bench file (or -1), barrier, emergency barrier
                            */
    MESSAGE_KEEPER_SAFE,   /* value[0] emergency; answer: value[0] steps that did not confirm */
    MESSAGE_KEEPER_ESTOP,  /* payload: who and why; latches; answer as SAFE */
    MESSAGE_KEEPER_CLEAR,  /* payload: reason; unlatches */
    MESSAGE_KEEPER_STATUS, /* answer: payload JSON */
    MESSAGE_KEEPER_END
};

enum message_flag {
    MESSAGE_ON = 1 << 0,
    MESSAGE_LIMITING = 1 << 1,
    MESSAGE_TRIPPED = 1 << 2,
    MESSAGE_SETTLED = 1 << 3,  /* a chamber says that it is at temperature */
    MESSAGE_UNSETTLED = 1 << 4 /* it says that it is not; neither: it does not say */
};

enum {
    MESSAGE_MAGIC = 0x4e42,
    MESSAGE_PAYLOAD_MAX = 160 * 1024, /* holds a full SPI batch */
    MESSAGE_TEXT_MAX = 4096           /* longest text of a QUERY, either way */
};

struct message {
    uint16_t magic;
    uint16_t op;        /* enum message_op */
    int16_t instrument; /* index in the bench file; -1 for the keeper itself */
    int16_t channel;    /* the instrument's own number, from 1 */
    uint32_t seq;       /* chosen by the sender, returned in the answer */
    int32_t code;       /* answer: enum error_code */
    uint32_t flags;     /* answer: enum message_flag, or the reading's flags */
    uint32_t count;     /* SPI_BATCH: transactions */
    int64_t time_ns;    /* answer: bench time at which the port had finished */
    double value[4];
    uint32_t payload_length;
    uint32_t reserved;
};

/* One transaction of an SPI batch as it travels. */
struct message_spi {
    uint16_t tx_len, rx_len;
    uint32_t delay_us;
};

/* What a capture is to be, as it travels (instruments/la.h). */
struct message_la {
    double rate_hz, timeout_s;
    uint64_t channels; /* bit per input */
    uint32_t samples, before_percent;
    int32_t trigger_channel, trigger; /* enum la_trigger */
};

_Static_assert(SPI_BATCH_MAX * sizeof(struct message_spi) + SPI_BATCH_BYTES <= MESSAGE_PAYLOAD_MAX,
               "a full batch fits in one message");

/* "set voltage": an operation in words. Never NULL. */
const char *message_word(int op);

#endif
