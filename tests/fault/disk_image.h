/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * disk_image: what a power cut may leave of a recorded folder. Up to the last sync of a file everything is
 * there. Of what followed any sector may have arrived or not, in any order, and one may be torn. Folder
 * entries that were not synced are lost from some point on (file systems keep their order). */
#ifndef TESTS_FAULT_DISK_IMAGE_H
#define TESTS_FAULT_DISK_IMAGE_H

#include "daemon/base/rng.h"
#include "tests/fault/disk_shim.h"

enum disk_cut {
    CUT_NOTHING_ARRIVED, /* no unsynced write */
    CUT_ALL_ARRIVED,     /* every one: the process died, the power did not */
    CUT_SECTORS_512,     /* some sectors of 512 bytes */
    CUT_SECTORS_4096,    /* some of 4 KiB, torn ones at a multiple of 512 */
    CUT_IN_ORDER,        /* all up to some write, which is torn */
    CUT_KINDS
};

struct disk_image;

struct disk_image *disk_image_new(const struct disk_log *log);
void disk_image_free(struct disk_image *image);
/* Moves on so that the operations before `op` have been issued. Never backwards. */
void disk_image_advance(struct disk_image *image, int op);
/* What was promised before that operation. */
const struct disk_promise *disk_image_promise(const struct disk_image *image);
/* Writes one possible outcome of a cut here into an empty folder. Returns 0, or -1 with errno. */
int disk_image_write(const struct disk_image *image, enum disk_cut cut, struct rng *rng, const char *folder);

#endif
