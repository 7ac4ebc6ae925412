/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_parse: the grammar of SCPI messages, without state. */
#ifndef DRIVERS_SIM_SCPI_PARSE_H
#define DRIVERS_SIM_SCPI_PARSE_H

#include <stdbool.h>
#include <stddef.h>

struct scpi_call;

/* Takes the next unit (up to ';' outside quotes and brackets) off *rest, trimmed. False at the end. */
bool scpi_parse_unit(const char **rest, char *unit, size_t size);
/* Cuts the unit after its header, upper-cases it, takes a '?' off. Returns where the arguments start. */
char *scpi_parse_header(char *unit, bool *ret_query);
/* The header as from the root: "VOLT" after "SOUR:CURR" is "SOUR:VOLT"; ":VOLT" and "*RST" stand alone. */
void scpi_parse_full_header(const char *path, const char *header, char *full, size_t size);
/* The path that the next header continues: all nodes but the last. */
void scpi_parse_keep_path(const char *full, char *path, size_t size);
/* Whether the full header fits the pattern; a number at a '#' node goes to *ret_suffix. */
bool scpi_parse_match(const char *pattern, const char *header, int *ret_suffix);
/* Whether the word is the keyword's short or long form ("VOLTage"). */
bool scpi_parse_is_keyword(const char *keyword, const char *word);
/* Fills the call's arguments and channels; cuts the text up in place. 0 or an error number of SCPI. */
int scpi_parse_arguments(char *text, struct scpi_call *call, int channels);

#endif
