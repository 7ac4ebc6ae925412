/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * modbus_line: what carries frames to one or several units. libmodbus makes and checks the frames; a
 * transport carries them, so that deadlines, the cut, traces and virtual time are those of every other link.
 * libmodbus sees one end of a socket pair only: it calls select(), which aborts the process on a descriptor
 * of 1024 or more, so that end always has a low number out of a reserve. The drivers of one port share their
 * line: the first one opens it, whoever comes later finds it in the environment. Belongs to the thread of the
 * port. */
#ifndef DRIVERS_MODBUS_LINE_H
#define DRIVERS_MODBUS_LINE_H

#include "drivers/modbus_link.h"

enum { MODBUS_LINE_FRAME_MAX = 260 };

/* One request, without framing, and what its answer must look like. */
struct modbus_exchange {
    double timeout_s;
    uint8_t ask[MODBUS_LINE_FRAME_MAX]; /* unit, function, data */
    size_t ask_n, answer_n;             /* answer_n: unit, function, data of a good answer */
    uint8_t frame[MODBUS_LINE_FRAME_MAX];
    size_t frame_n;        /* of the answer, with framing */
    const uint8_t *answer; /* unit, function, data within `frame` */
};

struct modbus_line;
int modbus_line_join(const struct transport_env *env, const char *name,
                     const struct modbus_link_address *address, const struct modbus_link_pace *pace,
                     struct modbus_line **ret, struct error *err);
/* The last one to leave closes it. */
void modbus_line_leave(struct modbus_line *line);
/* Once, after what is still owed has gone by. ERR_LINK: the line is lost, for all who hold it. */
int modbus_line_exchange(struct modbus_line *line, struct modbus_exchange *x, struct error *err);
/* Brings the line to a frame boundary: lets an answer that is still owed go by. */
int modbus_line_settle(struct modbus_line *line, struct error *err);

/* Reserves low descriptors for the life of the process; called while few are open. Any thread. */
void modbus_line_reserve(void);

#endif
