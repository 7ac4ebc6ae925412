/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * device: opening, closing and serving. */
#include "drivers/device.h"

#include <stdlib.h>

int device_open(size_t size, struct driver_config *config, const struct transport_env *env,
                int (*set_up)(void *device, struct error *err), void **ret_device, struct error *err)
{
    struct device *device = calloc(1, size);
    if (!device)
        return error_set(err, ERR_MEMORY, "driver state of %s", config->name);
    device->config = config;
    device->env = env;
    int code = transport_open(env, config->name, config->resource, &device->transport, err);
    if (!code)
        code = set_up(device, err);
    if (code) {
        error_at(err, config->name, device->command, 0);
        device_close(device);
        return code;
    }
    *ret_device = device;
    return 0;
}

void device_close(void *device)
{
    if (!device)
        return;
    transport_close(((struct device *)device)->transport);
    free(device);
}

int device_request(void *device, device_serve_fn serve, struct message *message, uint8_t *payload,
                   size_t room, struct error *err)
{
    struct device *d = device;
    struct message work = *message;
    int64_t start_ns = clock_now(d->env->clock);
    d->command[0] = '\0';
    int code = serve(device, &work, payload, room, err);
    if (code) {
        error_at(err, d->config->name, d->command, clock_now(d->env->clock) - start_ns);
        return code;
    }
    *message = work;
    return 0;
}

int64_t device_after(const struct device *device, double seconds)
{
    return clock_now(device->env->clock) + (int64_t)(seconds * 1e9);
}
