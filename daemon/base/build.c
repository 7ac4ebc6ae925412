/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * build: the one object that is rebuilt when the revision changes.
 */
#include "daemon/base/build.h"

#ifndef NIGHTBENCH_BUILD
#define NIGHTBENCH_BUILD "unknown"
#endif

const char build_revision[] = NIGHTBENCH_BUILD;
#ifdef __clang__
const char build_compiler[] = "clang " __clang_version__;
#else
const char build_compiler[] = "gcc " __VERSION__;
#endif
