/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * sigrok_child: the process that runs libsigrok for one instrument, as its driver sees it: started, asked
 * with a deadline, and killed when it does not keep it or answers nonsense. Whatever a library does to its
 * process, it does to that one. All waits are host time, also on a virtual clock: the child is no actor.
 * Belongs to the port's thread, whose end is its end. */
#ifndef DRIVERS_SIGROK_CHILD_H
#define DRIVERS_SIGROK_CHILD_H

#include "drivers/sigrok_wire.h"
#include "drivers/transport.h"

struct sigrok_child {
    int pid, fd; /* 0, -1: none */
    uint32_t seq;
    uint8_t frame[sizeof(struct message) + SIGROK_PAYLOAD_MAX];
};

/* Starts "nightbench-sigrok NAME" of the program's own folder, else of PATH. The name is for who looks at ps.
 */
int sigrok_child_start(struct sigrok_child *child, const char *name, struct error *err);
bool sigrok_child_lives(const struct sigrok_child *child);
/* Sends the message with n bytes behind it. Host deadline. */
int sigrok_child_send(struct sigrok_child *child, struct message *message, const void *payload, size_t n,
                      int64_t deadline_ns, struct error *err);
/* Takes one message with the seq that was sent last and this op; its payload is in child->frame behind the
 * header. A failure that the child reports is returned and leaves it alive. After silence, an end, nonsense
 * or a cut it has been killed: the next answer could belong to this question. */
int sigrok_child_receive(struct sigrok_child *child, const struct transport_env *env, int op,
                         int64_t deadline_ns, struct message *ret_message, struct error *err);
const uint8_t *sigrok_child_payload(const struct sigrok_child *child);
/* No-op when there is none. */
void sigrok_child_kill(struct sigrok_child *child);
/* Host time that many seconds from now, stretched where tests stretch host time. */
int64_t sigrok_child_deadline(double seconds);

#endif
