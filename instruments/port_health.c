/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * port_health: counters. */
#include "instruments/port_health.h"

#include <math.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"

/* Does it say something about the link, or about what was asked? */
static bool of_the_link(int code)
{
    return code == ERR_TIMEOUT || code == ERR_NO_ANSWER || code == ERR_GARBAGE || code == ERR_LINK ||
           code == ERR_IDENTITY;
}

static void tell_failure(struct port_health *health, const char *instrument, const struct error *error)
{
    struct log_about about = { .instrument = instrument, .error = error };
    char text[ERROR_LINE_MAX];
    unsigned untold;

    if (!streak_fails(&health->streak, clock_host_now(), &untold))
        return;
    if (untold == 0)
        log_with(LOG_WARNING, &about, "%s", error_describe(error, text, sizeof text));
    else
        log_with(LOG_WARNING, &about, "%s (and %u more like it since)",
                 error_describe(error, text, sizeof text), untold);
}

static void tell_recovery(struct port_health *health, const char *instrument)
{
    struct log_about about = { .instrument = instrument };
    unsigned failures;
    int64_t ns;

    if (streak_ends(&health->streak, clock_host_now(), &failures, &ns))
        log_with(LOG_NOTICE, &about, "%s answers again after %u failures in %.1f s", instrument, failures,
                 (double)ns / 1e9);
}

void port_health_ended(struct port_health *health, const char *instrument, const struct error *error)
{
    int code = error != NULL ? error->code : 0;

    atomic_fetch_add(&health->requests, 1);
    if (code < 0 && code > -PORT_HEALTH_CODES)
        atomic_fetch_add(&health->failures[-code], 1);
    if (of_the_link(code)) {
        tell_failure(health, instrument, error);
    } else if (code == 0) {
        atomic_store(&health->answer_ns, clock_host_now());
        tell_recovery(health, instrument);
    }
}

cJSON *port_health_json(const struct port_health *health, int64_t busy_ns, const char *instrument)
{
    int64_t now_ns = clock_host_now(), answer_ns = atomic_load(&health->answer_ns);
    cJSON *root = cJSON_CreateObject();

    cJSON_AddStringToObject(root, "instrument", instrument);
    cJSON_AddBoolToObject(root, "connected", atomic_load(&health->connected));
    json_add_number(root, "busy_s", busy_ns != 0 ? (double)(now_ns - busy_ns) / 1e9 : 0.0);
    json_add_number(root, "answer_age_s", answer_ns != 0 ? (double)(now_ns - answer_ns) / 1e9 : NAN);
    json_add_number(root, "requests", (double)atomic_load(&health->requests));
    json_add_number(root, "connects", (double)atomic_load(&health->connects));
    cJSON *failures = cJSON_AddObjectToObject(root, "failures");
    for (int i = 1; i < PORT_HEALTH_CODES; i++) {
        uint64_t count = atomic_load(&health->failures[i]);
        if (count > 0)
            json_add_number(failures, error_name(-i), (double)count);
    }
    return root;
}
