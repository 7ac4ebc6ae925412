/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sigrok_wire: what the sigrok driver and its child process (nightbench-sigrok) say to each other over a
 * SOCK_SEQPACKET pair: the messages of instruments/message.h, and two of their own. The child has the device
 * and libsigrok, serves one message after the other and answers each with its seq; where code is not 0 the
 * payload is one struct error. An answer to LA_CAPTURE is followed by its samples, in order, as SIGROK_DATA.
 */
#ifndef DRIVERS_SIGROK_WIRE_H
#define DRIVERS_SIGROK_WIRE_H

#include "instruments/message.h"

enum sigrok_op {
    SIGROK_OPEN = 128, /* payload: what follows "sigrok:" in the resource; answer: as IDENTIFY */
    SIGROK_DATA        /* from the child only; count: offset of its bytes in the capture */
};

enum {
    SIGROK_FD = 3, /* of the child's end */
    SIGROK_TEXT_MAX = 256,
    SIGROK_PAYLOAD_MAX = 64 * 1024 /* of one message, either way */
};

/* What the child is given beyond what a capture takes by itself: USB, firmware. The driver waits for twice
 * that, so that it is the child that says what is late as long as it lives. */
#define SIGROK_GRACE_S 1.5
/* A meter sends a few readings a second; some take two seconds a reading, and the second one counts. */
#define SIGROK_MEASURE_S 5.0

/* Waiting for the trigger, sampling, and the way to the host: analyzers on a serial line have up to 24 KiB
 * and send them at 115200 baud. */
static inline double sigrok_capture_s(const struct message_la *wish)
{
    const double memory = 24 * 1024, line = 11520;
    double bytes = 4.0 * wish->samples;
    return wish->timeout_s + wish->samples / wish->rate_hz + (bytes < memory ? bytes : memory) / line;
}

#endif
