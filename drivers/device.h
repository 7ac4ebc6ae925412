/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * device: what the states of drivers have in common: where they live, their transport, how they are opened
 * and closed, and how a message is served without leaving half an answer in it. A driver's state starts with
 * a struct device. */
#ifndef DRIVERS_DEVICE_H
#define DRIVERS_DEVICE_H

#include "drivers/driver.h"

struct device {
    struct driver_config *config;
    const struct transport_env *env;
    struct transport *transport;     /* NULL: the driver has a link of another kind */
    char command[ERROR_COMMAND_MAX]; /* what was done last, for errors; "" */
};

/* A zeroed state of `size` bytes, connected to its resource; set_up brings both ends to the same place. */
int device_open(size_t size, struct driver_config *config, const struct transport_env *env,
                int (*set_up)(void *device, struct error *err), void **ret_device, struct error *err);
/* For struct driver: closes the transport and frees the state. */
void device_close(void *device);

/* Works on a copy: on failure the message stays as it was, and the error says whose it is. */
typedef int (*device_serve_fn)(void *device, struct message *message, uint8_t *payload, size_t room,
                               struct error *err);
int device_request(void *device, device_serve_fn serve, struct message *message, uint8_t *payload,
                   size_t room, struct error *err);

/* Bench time so many seconds from now. */
int64_t device_after(const struct device *device, double seconds);

#endif
