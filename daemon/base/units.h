/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * units: the units of readings. Ids are written to the store (table `unit`): append only.
 */
#ifndef DAEMON_BASE_UNITS_H
#define DAEMON_BASE_UNITS_H

enum unit {
    UNIT_NONE = 0, /* a count, a ratio */
    UNIT_VOLT = 1,
    UNIT_AMPERE = 2,
    UNIT_WATT = 3,
    UNIT_JOULE = 4,
    UNIT_OHM = 5,
    UNIT_HERTZ = 6,
    UNIT_SECOND = 7,
    UNIT_CELSIUS = 8,
    UNIT_LSB = 9,
    UNIT_OPS_PER_JOULE = 10, /* = OP/s/W: print as TOPS/W */
    UNIT_BIT = 11,
    UNIT_COUNT
};

struct unit_info {
    const char *symbol; /* "V" */
    const char *name;   /* "volt" */
};
/* Never NULL; unknown ids give {"?", "unknown"}. */
const struct unit_info *unit_info(int unit);
/* UNIT_* of a symbol, or -1. */
int unit_from_symbol(const char *symbol);

#endif
