/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * pty_lines: lets libserialport, and with it libsigrok's serial drivers, use a pseudo-terminal (socat,
 * ser2net, our simulated bench). It insists on modem lines and on an entry of /sys/class/tty, which those
 * have not: functions of the C library's names come before the C library's in the process that this is part
 * of, answer for pseudo-terminals and pass everything else on.
 */
#ifndef DRIVERS_SIGROK_PTY_LINES_H
#define DRIVERS_SIGROK_PTY_LINES_H

/* The process's own: called whenever modem lines of a pseudo-terminal are asked for or set. Any thread. */
void pty_lines_asked(void);

#endif
