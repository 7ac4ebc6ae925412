/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * device: the one device of this process, as libsigrok has it. */
#ifndef DRIVERS_SIGROK_DEVICE_H
#define DRIVERS_SIGROK_DEVICE_H

#include <glib.h>
#include <libsigrok/libsigrok.h>

#include "daemon/base/error.h"

struct device {
    struct sr_context *context;
    struct sr_dev_driver *driver;
    struct sr_dev_inst *instance;
    GMainContext *loop; /* sessions of this process run in it */
    char log[200];      /* what libsigrok has complained of last */
};

/* text: DRIVER[:[GROUP/]KEY=VALUE]... On failure nothing is worth closing: the process ends. */
int device_open(struct device *device, const char *text, struct error *err);
/* As error_set, with libsigrok's own words and its last complaint. */
int device_error(const struct device *device, struct error *err, int code, int sr_code, const char *what);
const char *device_text(const char *text); /* "" for NULL */

#endif
