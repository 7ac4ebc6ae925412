/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * visa: VISA resource strings as aliases of ours, for people who have them in their notes. Matching ignores
 * case, board numbers are accepted and ignored. */
#ifndef DRIVERS_VISA_H
#define DRIVERS_VISA_H

#include <stddef.h>

#include "daemon/base/error.h"

/* "TCPIP0::10.0.0.5::5025::SOCKET" is "tcp:10.0.0.5:5025"; "ASRL/dev/ttyUSB0::INSTR" is
 * "serial:/dev/ttyUSB0"; "USB0::0x1AB1::0x0E11::DP8A1::INSTR" is "usbtmc:/dev/usbtmcN", found below sys_root
 * ("/sys"). "PRLGX-TCPIP::10.0.0.9::1234::GPIB::5::INSTR" is "prologix:tcp:10.0.0.9:1234/5". ERR_NOT_FOUND:
 * no VISA string. ERR_UNSUPPORTED: one that cannot be reached; err says what to write instead. ERR_NO_ANSWER:
 * that USB device is not plugged in. */
int visa_resource(const char *text, const char *sys_root, char *out, size_t size, struct error *err);

#endif
