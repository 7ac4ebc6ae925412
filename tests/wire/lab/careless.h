/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * careless: included in front of every driver of the program lab-careless: a driver that finds garbage goes
 * on as if nothing had happened. The fault matrix must find out every one of them. */
#ifndef TESTS_WIRE_LAB_CARELESS_H
#define TESTS_WIRE_LAB_CARELESS_H

#include "daemon/base/error.h"

#define ERR_GARBAGE 0

#endif
