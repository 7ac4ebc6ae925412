/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_text: what stands in an answer of IEEE 488.2: numbers, joined answers, entries of an error queue.
 * Pure. */
#ifndef DRIVERS_SCPI_TEXT_H
#define DRIVERS_SCPI_TEXT_H

#include <stdbool.h>

/* Number of an answer: NR1..NR3; words of state are numbers: OFF, NO, CV 0; ON, YES, CC 1; UR (neither CV
 * nor CC) 3. False when it is none. */
bool scpi_text_number(const char *text, double *ret_value);
/* Splits a joined answer at ';' outside quotes, in place; returns the count, at most max. */
int scpi_text_split(char *text, char **ret_parts, int max);
/* Code of `-113,"Undefined header"` in its spellings; ret_text points at what follows the number. */
bool scpi_text_error(const char *text, int *ret_code, const char **ret_text);

#endif
