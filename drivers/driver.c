/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * driver: the registry, made from the one list in driver.h. */
#include "drivers/driver.h"

#include <string.h>

#define DRIVER_ADDRESS(name) &driver_##name,
static const struct driver *const DRIVERS[] = { DRIVER_LIST(DRIVER_ADDRESS) };
#undef DRIVER_ADDRESS

#define DRIVER_NAME(name) #name,
static const char *const NAMES[] = { DRIVER_LIST(DRIVER_NAME) NULL };
#undef DRIVER_NAME

const struct driver *driver_find(const char *name)
{
    for (size_t i = 0; i < sizeof DRIVERS / sizeof *DRIVERS; i++) {
        if (strcmp(DRIVERS[i]->name, name) == 0)
            return DRIVERS[i];
    }
    return NULL;
}

const char *const *driver_names(void)
{
    return NAMES;
}
