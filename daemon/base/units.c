/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * units: the table of units. */
#include "daemon/base/units.h"

#include <string.h>

static const struct unit_info UNITS[UNIT_COUNT] = {
    [UNIT_NONE] = { "", "none" },
    [UNIT_VOLT] = { "V", "volt" },
    [UNIT_AMPERE] = { "A", "ampere" },
    [UNIT_WATT] = { "W", "watt" },
    [UNIT_JOULE] = { "J", "joule" },
    [UNIT_OHM] = { "Ohm", "ohm" },
    [UNIT_HERTZ] = { "Hz", "hertz" },
    [UNIT_SECOND] = { "s", "second" },
    [UNIT_CELSIUS] = { "C", "degree Celsius" },
    [UNIT_LSB] = { "LSB", "least significant bit" },
    [UNIT_OPS_PER_JOULE] = { "OPS/W", "operations per joule" },
    [UNIT_BIT] = { "bit", "bit" },
};
static const struct unit_info UNKNOWN = { "?", "unknown" };

const struct unit_info *unit_info(int unit)
{
    return unit >= 0 && unit < UNIT_COUNT ? &UNITS[unit] : &UNKNOWN;
}

int unit_from_symbol(const char *symbol)
{
    for (int i = 0; i < UNIT_COUNT; i++) {
        if (strcmp(symbol, UNITS[i].symbol) == 0)
            return i;
    }
    return -1;
}
