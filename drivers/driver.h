/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * driver: how one make is spoken to, as one const struct; the registry lists all (drivers/driver.c). A driver
 * serves flat messages (instruments/message.h) on the thread of its port and knows nothing of processes,
 * queues or retries: after an error that leaves the link in doubt the port calls resync, or close and open.
 */
#ifndef DRIVERS_DRIVER_H
#define DRIVERS_DRIVER_H

#include "drivers/interpose.h"
#include "drivers/transport.h"
#include "instruments/bench.h"
#include "instruments/message.h"

/* One instrument as its driver sees it. Owned by the port; outlives reconnects, so what a reconnect must
 * restore is here. */
struct driver_config {
    char name[BENCH_NAME_MAX];
    char resource[256];
    char dialect_path[320]; /* "" when the driver takes none */
    int class;              /* enum instrument_class */
    double spi_hz;          /* SPI clock asked for last */
};

/* What a driver states about its channels before any connection, for limits and planning. */
struct driver_description {
    int channel_count;
    struct bench_channel channel[16]; /* number, can_source, limits, times; the rest is the bench's */
    char vendor[64];
    bool energises;
};

/* What a driver sends over its link, for the layers that a bench file may put there. */
enum driver_link {
    DRIVER_LINES, /* messages that end with a line feed */
    DRIVER_BYTES,
    DRIVER_OWN /* a device of its own, no transport: nothing can be put between */
};

/* A line that several instruments can share, each with addresses of its own. */
struct driver_line {
    char name[256], settings[32]; /* whoever shares the line agrees on its settings */
    int address_count, address[16];
};

struct driver {
    const char *name;
    unsigned classes;   /* bit per enum instrument_class */
    int link;           /* enum driver_link */
    bool takes_dialect; /* needs configs/instruments/DIALECT.json */
    /* Reads the dialect. Every mistake of the file goes into problems (may be NULL). NULL: nothing to
     * describe. */
    int (*describe)(const struct driver_config *config, struct driver_description *ret,
                    struct json_problems *problems, struct error *err);
    /* The line that a resource is on. ERR_UNSUPPORTED: a link that cannot be shared. May be NULL: the same
     * for all. The drivers of one line are called by one thread and find their line in the environment. */
    int (*line)(const char *resource, struct driver_line *ret, struct error *err);
    /* Connects and identifies. Changes no output and no set point. */
    int (*open)(struct driver_config *config, const struct transport_env *env, void **ret_state,
                struct error *err);
    void (*close)(void *state);
    /* Serves one message in place; payload holds message->payload_length bytes and has room for `room`. On
     * failure the message is left as it was. */
    int (*request)(void *state, struct message *message, uint8_t *payload, size_t room, struct error *err);
    /* After a cut or garbage: brings both ends to a message boundary. A failure makes the port reconnect. */
    int (*resync)(void *state, struct error *err);
    /* Tells an instrument that does not answer to switch a channel off (or to release its pins): it may still
     * hear. No answer is looked at, so success says only that it was sent. state NULL: over a connection of
     * its own. May be NULL. */
    int (*off_unheard)(struct driver_config *config, const struct transport_env *env, void *state,
                       int channel, struct error *err);
};

/* The registry: one line per driver, alphabetical. */
#define DRIVER_LIST(X)                                                                                       \
    X(buspirate)                                                                                             \
    X(korad)                                                                                                 \
    X(modbus)                                                                                                \
    X(mpsse)                                                                                                 \
    X(scpi)                                                                                                  \
    X(serprog)                                                                                               \
    X(sigrok)                                                                                                \
    X(spidev)

#define DRIVER_DECLARE(name) extern const struct driver driver_##name;
DRIVER_LIST(DRIVER_DECLARE)
#undef DRIVER_DECLARE

/* By name; NULL when unknown. */
const struct driver *driver_find(const char *name);
/* All names, NULL-terminated, for messages. */
const char *const *driver_names(void);

#endif
