/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * body: reads the campaign out of a request body.
 */
#ifndef WEB_BODY_H
#define WEB_BODY_H

#include "web/router.h"

/* Exactly one of path and text is set, unless answered. */
struct body_campaign {
    const char *path; /* borrowed from the body */
    char *text;       /* free() */
    bool answered;    /* the body breaks a rule: the reply holds a problem with its pointer */
};

/* known: member names that the body may have, NULL-terminated. */
int body_campaign(struct web_call *call, const cJSON *body, const char *const *known,
                  struct body_campaign *ret, struct error *err);

#endif
