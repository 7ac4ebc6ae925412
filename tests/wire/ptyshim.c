/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ptyshim: for LD_PRELOAD, together with drivers/sigrok/pty_lines.c: lets programs that insist on real serial
 * ports use a pseudo-terminal. With PTYSHIM_LOG=FILE a line of it says that modem lines were asked for.
 */
#include <stdio.h>
#include <stdlib.h>

#include "drivers/sigrok/pty_lines.h"

void pty_lines_asked(void)
{
    const char *path = getenv("PTYSHIM_LOG");
    FILE *log = path != NULL ? fopen(path, "ae") : NULL;

    if (log == NULL)
        return;
    fputs("modem lines\n", log);
    fclose(log);
}
