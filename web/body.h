/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * body: what request bodies of several resources have in common: a campaign, by name or itself; the members
 * of a start.
 */
#ifndef WEB_BODY_H
#define WEB_BODY_H

#include "web/router.h"

struct body_campaign {
    const char *path; /* into the body, or NULL */
    char *text;       /* malloc'ed: free(); or NULL */
};

/* One of "path" and "campaign" of a body; needed: neither is a mistake. Mistakes go into problems, and both
 * stay NULL. Fails for want of memory only. */
int body_campaign(const struct json_at *root, bool needed, struct body_campaign *ret, struct error *err);

/* The other members of a start or of an edit; what is not there stays NULL. Texts point into the body. */
struct body_start {
    struct command_start start; /* but for the campaign */
    uint64_t seed;
    int priority;
};
void body_start(const struct json_at *root, struct body_start *ret);

#endif
