/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * build: what this binary was built from.
 */
#ifndef DAEMON_BASE_BUILD_H
#define DAEMON_BASE_BUILD_H

/* `git describe --always --dirty` of the tree, or "unknown". */
extern const char build_revision[];
/* Compiler and its version. */
extern const char build_compiler[];

#endif
