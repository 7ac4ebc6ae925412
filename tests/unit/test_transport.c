/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_transport: TCP and pseudo-terminals, the lookup of "sim:", deadlines, the cut and the trace, in real
 * time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/base/text.h"
#include "drivers/transport.h"
#include "tests/unit/peer.h"

struct rig {
    struct peer peer;
    struct transport_env env;
    char dir[40];
};

static void echo(struct peer *peer, const char *data, size_t n)
{
    if (n == 3 && memcmp(data, "bye", 3) == 0)
        atomic_store(&peer->drop, true);
    else if (data[0] != '.')
        peer_say(peer, data, n);
}

static int rig_open(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    *state = rig;
    rig->peer.on_data = echo;
    rig->env.cut_fd = eventfd(0, EFD_NONBLOCK);
    strcpy(rig->dir, "/tmp/nb-transport.XXXXXX");
    return !mkdtemp(rig->dir) || peer_start(&rig->peer) || clock_open(NULL, &rig->env.clock, NULL) ||
           clock_actor_open(rig->env.clock, "test", 0, &rig->env.actor, NULL);
}

static int rig_close(void **state)
{
    struct rig *rig = *state;
    char command[80];
    snprintf(command, sizeof command, "rm -rf %s", rig->dir);
    peer_stop(&rig->peer);
    clock_actor_close(rig->env.actor);
    clock_close(rig->env.clock);
    close(rig->env.cut_fd);
    free(rig);
    return system(command);
}

static struct transport *open_it(struct rig *rig, const char *resource)
{
    struct transport *t = NULL;
    struct error err = { 0 };
    if (transport_open(&rig->env, "psu1", resource, &t, &err))
        fail_msg("%s: %s", resource, err.message);
    return t;
}

static int64_t in_ms(const struct rig *rig, int ms)
{
    return clock_now(rig->env.clock) + ms * NS_PER_MS;
}

static void tcp_carries_bytes(void **state)
{
    struct rig *rig = *state;
    struct transport *t = open_it(rig, rig->peer.resource);
    static char big[300000], back[300000];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 31 % 251 + 1);
    big[0] = 'x';
    for (size_t done = 0; done < sizeof big; done += 50000) {
        assert_int_equal(transport_write(t, big + done, 50000, in_ms(rig, 1000), NULL), 0);
        assert_int_equal(transport_read_all(t, back + done, 50000, in_ms(rig, 1000), NULL), 0);
    }
    assert_memory_equal(big, back, sizeof big);
    transport_close(t);
}

static void a_deadline_is_kept(void **state)
{
    struct rig *rig = *state;
    struct transport *t = open_it(rig, rig->peer.resource);
    char byte;
    size_t n;
    int64_t start_ns = clock_host_now();
    assert_int_equal(transport_read(t, &byte, 1, in_ms(rig, 40), &n, NULL), ERR_TIMEOUT);
    assert_in_range(clock_host_now() - start_ns, 40 * NS_PER_MS, 400 * NS_PER_MS);
    transport_close(t);
}

static void *cut_later(void *argument)
{
    struct rig *rig = argument;
    uint64_t one = 1;
    usleep(30000);
    return write(rig->env.cut_fd, &one, sizeof one) < 0 ? rig : NULL;
}

static void a_cut_ends_a_wait(void **state)
{
    struct rig *rig = *state;
    struct transport *t = open_it(rig, rig->peer.resource);
    pthread_t thread;
    char byte;
    size_t n;
    int64_t start_ns = clock_host_now();
    pthread_create(&thread, NULL, cut_later, rig);
    assert_int_equal(transport_read(t, &byte, 1, in_ms(rig, 5000), &n, NULL), ERR_CANCELLED);
    assert_true(clock_host_now() - start_ns < 1000 * NS_PER_MS);
    pthread_join(thread, NULL);
    transport_close(t);
}

static void a_closed_peer_is_a_broken_link(void **state)
{
    struct rig *rig = *state;
    struct transport *t = open_it(rig, rig->peer.resource);
    char byte;
    size_t n;
    assert_int_equal(transport_write(t, "bye", 3, in_ms(rig, 1000), NULL), 0);
    assert_int_equal(transport_read(t, &byte, 1, in_ms(rig, 2000), &n, NULL), ERR_LINK);
    int code = 0; /* writing to it: no SIGPIPE, an error soon */
    for (int i = 0; i < 50 && !code; i++, usleep(1000))
        code = transport_write(t, ".", 1, in_ms(rig, 100), NULL);
    assert_int_equal(code, ERR_LINK);
    transport_close(t);
}

static void draining_ends_when_it_is_quiet(void **state)
{
    struct rig *rig = *state;
    struct transport *t = open_it(rig, rig->peer.resource);
    char text[6] = "";
    assert_int_equal(transport_write(t, "stale", 5, in_ms(rig, 1000), NULL), 0);
    assert_int_equal(transport_drain(t, &rig->env, 50 * NS_PER_MS, NULL), 0);
    assert_int_equal(transport_write(t, "fresh", 5, in_ms(rig, 1000), NULL), 0);
    assert_int_equal(transport_read_all(t, text, 5, in_ms(rig, 1000), NULL), 0);
    assert_string_equal(text, "fresh");
    transport_close(t);
}

static void bad_resources_say_what_is_right(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *resource;
        int code;
    } CASES[] = { { "usb:1", ERR_INVALID },
                  { "tcp:", ERR_INVALID },
                  { "tcp:host", ERR_INVALID },
                  { "tcp:host:0", ERR_INVALID },
                  { "tcp:host:70000", ERR_INVALID },
                  { "tcp:127.0.0.1:1", ERR_NO_ANSWER },
                  { "serial:", ERR_INVALID },
                  { "serial:/dev/null?parity=odd", ERR_INVALID },
                  { "serial:/dev/null?baud=12345", ERR_INVALID },
                  { "serial:/nowhere", ERR_NO_ANSWER },
                  { "serial:/dev/null", ERR_IO },
                  { "sim:", ERR_INVALID } };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct transport *t = NULL;
        struct error err = { 0 };
        int code = transport_open(&rig->env, "psu1", CASES[i].resource, &t, &err);
        if (code != CASES[i].code)
            fail_msg("%s: %s (%s)", CASES[i].resource, error_name(code), err.message);
        assert_null(t);
    }
}

static void sim_is_looked_up_at_every_connect(void **state)
{
    struct rig *rig = *state;
    char path[80], json[120];
    struct transport *t = NULL;
    snprintf(path, sizeof path, "%s/links.json", rig->dir);
    rig->env.links_path = path;
    assert_int_equal(transport_open(&rig->env, "psu1", "sim:", &t, NULL), ERR_NOT_FOUND);
    snprintf(json, sizeof json, "{\"psu1\": \"%s\"}", rig->peer.resource);
    assert_int_equal(text_write_file(path, json, strlen(json), NULL), 0);
    transport_close(open_it(rig, "sim:"));
    assert_int_equal(transport_open(&rig->env, "psu2", "sim:", &t, NULL), ERR_NOT_FOUND);
}

static void serial_runs_on_a_pty_behind_a_link(void **state)
{
    struct rig *rig = *state;
    int master, slave;
    char name[64], path[80], resource[100], text[8] = "";
    assert_int_equal(openpty(&master, &slave, name, NULL, NULL), 0);
    snprintf(path, sizeof path, "%s/by-id", rig->dir);
    assert_int_equal(symlink(name, path), 0);
    snprintf(resource, sizeof resource, "serial:%s?baud=9600", path);
    struct transport *t = open_it(rig, resource);
    assert_int_equal(transport_write(t, "a\n\x03", 3, in_ms(rig, 500), NULL), 0);
    assert_int_equal(read(master, text, sizeof text), 3);
    assert_memory_equal(text, "a\n\x03", 3); /* raw: no CR, no signal */
    assert_int_equal(write(master, "b\r\n", 3), 3);
    assert_int_equal(transport_read_all(t, text, 3, in_ms(rig, 500), NULL), 0);
    assert_memory_equal(text, "b\r\n", 3);
    transport_close(t);
    close(slave);
    close(master);
}

static void a_trace_can_be_read(void **state)
{
    struct rig *rig = *state;
    char path[80], *text = NULL, back[8];
    size_t n;
    rig->env.trace_dir = rig->dir;
    struct transport *t = open_it(rig, rig->peer.resource);
    assert_int_equal(transport_write(t, "*IDN?\n", 6, in_ms(rig, 500), NULL), 0);
    assert_int_equal(transport_read_all(t, back, 6, in_ms(rig, 500), NULL), 0);
    transport_close(t);
    snprintf(path, sizeof path, "%s/psu1.wire", rig->dir);
    assert_int_equal(text_read_file(path, 10000, &text, &n, NULL), 0);
    assert_non_null(strstr(text, " > *IDN?\\n\n"));
    assert_non_null(strstr(text, " < *IDN?\\n\n"));
    free(text);
}

int main(void)
{
#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_open, rig_close)
    const struct CMUnitTest tests[] = {
        RIG(tcp_carries_bytes),
        RIG(a_deadline_is_kept),
        RIG(a_cut_ends_a_wait),
        RIG(a_closed_peer_is_a_broken_link),
        RIG(draining_ends_when_it_is_quiet),
        RIG(bad_resources_say_what_is_right),
        RIG(sim_is_looked_up_at_every_connect),
        RIG(serial_runs_on_a_pty_behind_a_link),
        RIG(a_trace_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
