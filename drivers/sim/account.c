/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * account: which client of a link is which actor's, and whether all that was sent has arrived: virtual time
 * moves only then. Both ends count in the clock's page (daemon/base/clock.h, clock_link_*). */
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "daemon/base/log.h"
#include "drivers/sim/loop_private.h"

/* Host time. Whether bytes are on their way is seen, not timed; these only bound what cannot be seen. */
#define FULL_NS      (50 * NS_PER_MS) /* a client whose buffers stay full that long does not read */
#define ACCEPT_NS    NS_PER_S         /* a link that nobody has accepted by then leads to somebody else */
#define TERMINAL_KEY 0x80000000u      /* in the key of a link: a pseudo-terminal (daemon/base/clock.h) */
#define LOST_NS      (10 * NS_PER_S)  /* what has not arrived by then never will */

/* A terminal goes from hand to hand: what one actor has sent must not be counted for the next. */
static void note_stray(struct client *client, const struct clock_link *link)
{
    uint64_t sent = atomic_load(&link->sent);
    if (atomic_load(&link->opened) != client->page_opened || sent <= client->received)
        return;
    client->stray = sent - client->received;
    client->stray_since_ns = clock_host_now();
}

void account_match(struct sim_loop *loop, struct client *client)
{
    if (!loop->page || client->fd < 0)
        return;
    if (client->page_link >= 0) {
        const struct clock_link *link = &loop->page->link[client->page_link];
        uint32_t owner = atomic_load(&link->in_use);
        if (owner > 0 && owner <= CLOCK_ACTORS_MAX && atomic_load(&link->key) == client->key &&
            atomic_load(&link->opened) == client->page_opened)
            return;
        if (client->key & TERMINAL_KEY)
            note_stray(client, link);
        client->page_link = -1;
        client->leaving_since_ns = clock_host_now();
    }
    for (int i = 0; i < CLOCK_LINKS_MAX; i++) {
        const struct clock_link *link = &loop->page->link[i];
        uint32_t owner = atomic_load(&link->in_use);
        if (owner == 0 || owner > CLOCK_ACTORS_MAX || atomic_load(&link->key) != client->key)
            continue;
        client->page_link = i;
        client->page_opened = atomic_load(&link->opened);
        client->rank = link->rank;
        client->received = client->in_n;
        client->sent = client->out_n;
        client->waiting_since_ns = 0;
        client->leaving_since_ns = 0;
        loop->met[i] = client->page_opened;
        return;
    }
}

void account_notify_owner(struct sim_loop *loop, const struct client *client)
{
    if (client->page_link < 0)
        return;
    uint32_t owner = atomic_load(&loop->page->link[client->page_link].in_use);
    if (owner > 0 && owner <= CLOCK_ACTORS_MAX)
        clock_server_notify(loop, (int)owner - 1);
}

/* How many of the bytes that we have sent lie where the client can read them. The kernel takes them there in
 * its own time: a terminal's by a thread of its own. */
static uint64_t readable(const struct sim_link *link, const struct client *client, uint64_t received)
{
    int n = 0;
    if (link->kind == SIM_LINK_PTY)
        return ioctl(link->slave_fd, FIONREAD, &n) == 0 ? (uint64_t)n : 0;
    if (ioctl(client->fd, SIOCOUTQ, &n) < 0)
        return 0;
    uint64_t gone = client->sent - client->out_n - (uint64_t)n;
    return gone > received ? gone - received : 0;
}

/* Bytes on their way hold time. Those that lie before a client which does not read them (it gave up waiting)
 * do not: it is asked to look once, and when it blocks again it has seen them, so that no time-out decides.
 * Called while all actors are blocked. */
static bool drained(struct sim_link *link, struct client *client)
{
    const struct clock_link *page = &link->loop->page->link[client->page_link];
    uint64_t sent = atomic_load(&page->sent), received = atomic_load(&page->received);
    bool is_coming = client->received < sent && !client->ended;
    if (!is_coming && received >= client->sent) {
        client->waiting_since_ns = 0;
        return true;
    }
    int64_t now_ns = clock_host_now();
    uint64_t sum = sent + received + client->received + client->sent;
    if (client->waiting_since_ns == 0 || client->waiting_sum != sum) {
        client->waiting_since_ns = now_ns;
        client->waiting_sum = sum;
        client->asked = client->parked = false;
    }
    int64_t waited_ns = now_ns - client->waiting_since_ns;
    if (client->parked)
        return true;
    if (waited_ns > LOST_NS) {
        log_warning("%s: bytes were lost on the way %s; time goes on", link->name, is_coming ? "in" : "out");
        client->parked = true;
        return true;
    }
    if (is_coming)
        return false;
    if (client->asked) {
        client->parked = true;
        return true;
    }
    uint64_t there = readable(link, client, received);
    if (there >= client->sent - received || (there > 0 && waited_ns > FULL_NS)) {
        client->asked = true;
        clock_server_wake(link->loop, (int)atomic_load(&page->in_use) - 1);
    }
    return false;
}

/* Its actor has let go of it: the end of file is on its way, and belongs to this instant. */
static bool is_leaving(const struct sim_link *link, const struct client *client)
{
    return client->page_link < 0 && client->leaving_since_ns && !client->ended &&
           link->kind == SIM_LINK_TCP && clock_host_now() - client->leaving_since_ns < LOST_NS;
}

static bool has_stray(const struct client *client)
{
    return client->stray > 0 && clock_host_now() - client->stray_since_ns < LOST_NS;
}

/* Whether an actor has a connection that has not been accepted yet. */
static bool is_expecting(struct sim_loop *loop)
{
    for (int i = 0; i < CLOCK_LINKS_MAX; i++) {
        const struct clock_link *link = &loop->page->link[i];
        if (atomic_load(&link->in_use) == 0 || loop->met[i] == atomic_load(&link->opened))
            continue;
        if (loop->expecting_since_ns == 0)
            loop->expecting_since_ns = clock_host_now();
        if (clock_host_now() - loop->expecting_since_ns < ACCEPT_NS)
            return true;
        loop->met[i] = atomic_load(&link->opened);
    }
    loop->expecting_since_ns = 0;
    return false;
}

bool account_all_drained(struct sim_loop *loop)
{
    for (int i = 0; i < loop->link_n; i++)
        for (int c = 0; c < SIM_CLIENTS_MAX; c++) {
            struct sim_link *link = loop->link[i];
            struct client *client = &link->client[c];
            if (client->fd < 0)
                continue;
            account_match(loop, client);
            if (is_leaving(link, client) || has_stray(client) ||
                (client->page_link >= 0 && !drained(link, client)))
                return false;
        }
    return !is_expecting(loop);
}
