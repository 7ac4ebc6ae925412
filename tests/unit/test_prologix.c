/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_prologix: the GPIB adapter against a small one that keeps the rules: it talks to the bus only when
 * told to read, unescapes, and obeys its commands; and the usbtmc transport against a pseudo-terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/eventfd.h>

#include "drivers/transport.h"
#include "tests/unit/peer.h"

struct rig {
    struct peer peer;
    struct transport_env env;
    struct transport *transport;
    char set_up[512], heard[512]; /* ++ commands but reads; what the instrument heard */
    size_t heard_n;
    char message[256]; /* raw, until its line feed */
    size_t message_n;
    atomic_int reads, answer_at; /* ++read eoi so far; the one that is answered */
    bool escaped, mute;
};

/* A whole line of the host. Only an unescaped one that starts with ++ is for the adapter. */
static void adapter_line(struct rig *rig)
{
    rig->message[rig->message_n] = '\0';
    if (strcmp(rig->message, "++read eoi") == 0) {
        if (atomic_fetch_add(&rig->reads, 1) + 1 == atomic_load(&rig->answer_at))
            peer_text(&rig->peer, "answer\n");
    } else if (strcmp(rig->message, "++ver") == 0) {
        if (!rig->mute)
            peer_text(&rig->peer, "Prologix GPIB-ETHERNET Controller version 01.06.06.00\r\n");
    } else if (strncmp(rig->message, "++", 2) == 0) {
        size_t n = strlen(rig->set_up);
        snprintf(rig->set_up + n, sizeof rig->set_up - n, "%s;", rig->message);
    } else {
        memcpy(rig->heard + rig->heard_n, rig->message, rig->message_n);
        rig->heard_n += rig->message_n;
        rig->heard[rig->heard_n++] = '|';
    }
    rig->message_n = 0;
}

static void adapter_data(struct peer *peer, const char *data, size_t n)
{
    struct rig *rig = peer->context;
    for (size_t i = 0; i < n; i++) {
        bool was_escaped = rig->escaped;
        rig->escaped = !was_escaped && data[i] == 0x1b;
        if (rig->escaped)
            continue;
        if (data[i] == '\n' && !was_escaped)
            adapter_line(rig);
        else if (data[i] != '+' || was_escaped || rig->message_n < 2) /* a bare + inside data is dropped */
            rig->message[rig->message_n++] = data[i];
    }
}

static int start(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    *state = rig;
    rig->peer.on_data = adapter_data;
    rig->peer.context = rig;
    rig->answer_at = 1;
    rig->env.cut_fd = eventfd(0, EFD_NONBLOCK);
    return peer_start(&rig->peer) || clock_open(NULL, &rig->env.clock, NULL) ||
           clock_actor_open(rig->env.clock, "test", 0, &rig->env.actor, NULL);
}

static int stop(void **state)
{
    struct rig *rig = *state;
    transport_close(rig->transport);
    peer_stop(&rig->peer);
    clock_actor_close(rig->env.actor);
    clock_close(rig->env.clock);
    close(rig->env.cut_fd);
    free(rig);
    return 0;
}

static int64_t in(struct rig *rig, double seconds)
{
    return clock_now(rig->env.clock) + (int64_t)(seconds * 1e9);
}

static int connect_to(struct rig *rig, const char *address)
{
    char resource[128];
    snprintf(resource, sizeof resource, "prologix:%s/%s", rig->peer.resource, address);
    return transport_open(&rig->env, "dmm", resource, &rig->transport, NULL);
}

static int read_answer(struct rig *rig, double seconds, char *answer, size_t size)
{
    size_t n = 0;
    int code = transport_read(rig->transport, answer, size - 1, in(rig, seconds), &n, NULL);
    answer[n] = '\0';
    return code;
}

static void set_up_and_ask(void **state)
{
    struct rig *rig = *state;
    char answer[40];
    assert_int_equal(connect_to(rig, "22"), 0);
    assert_non_null(strstr(rig->set_up, "++mode 1;++auto 0;++eoi 1;++eos 2;"));
    assert_non_null(strstr(rig->set_up, "++addr 22;"));
    assert_non_null(strstr(rig->set_up, "++savecfg 0;"));
    assert_int_equal(transport_write(rig->transport, "VOLT +1;\x1b\r\n", 11, in(rig, 1), NULL), 0);
    assert_int_equal(transport_write(rig->transport, "*IDN?\n", 6, in(rig, 1), NULL), 0);
    assert_int_equal(read_answer(rig, 1, answer, sizeof answer), 0);
    assert_string_equal(answer, "answer\n");
    assert_memory_equal(rig->heard, "VOLT +1;\x1b\r|*IDN?|", 17);
    assert_int_equal(atomic_load(&rig->reads), 1); /* a setting is not followed by a read */
}

static void a_slow_instrument_is_read_again(void **state)
{
    struct rig *rig = *state;
    char answer[40];
    assert_int_equal(connect_to(rig, "5"), 0);
    atomic_store(&rig->answer_at, 2);
    assert_int_equal(transport_write(rig->transport, "READ?\n", 6, in(rig, 1), NULL), 0);
    assert_int_equal(read_answer(rig, 4, answer, sizeof answer), 0);
    assert_string_equal(answer, "answer\n");
}

static void silence_and_cut(void **state)
{
    struct rig *rig = *state;
    char answer[40];
    assert_int_equal(connect_to(rig, "0"), 0);
    atomic_store(&rig->answer_at, 99);
    assert_int_equal(transport_write(rig->transport, "READ?\n", 6, in(rig, 1), NULL), 0);
    assert_int_equal(read_answer(rig, 0.05, answer, sizeof answer), ERR_TIMEOUT);
    assert_int_equal(eventfd_write(rig->env.cut_fd, 1), 0);
    assert_int_equal(read_answer(rig, 60, answer, sizeof answer), ERR_CANCELLED);
}

static void what_is_no_adapter_is_refused(void **state)
{
    struct rig *rig = *state;
    static const char *const BAD[] = { "31", "-1", "", "x", "5x" };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_int_equal(connect_to(rig, BAD[i]), ERR_INVALID);
    struct error err = { 0 };
    assert_int_equal(transport_open(&rig->env, "x", "prologix:prologix:tcp:h:1/2/3", &rig->transport, &err),
                     ERR_INVALID);
    rig->mute = true;
    assert_int_equal(connect_to(rig, "1"), ERR_NO_ANSWER);
}

static void usbtmc_reads_writes_and_is_cut(void **state)
{
    struct rig *rig = *state;
    int master, slave;
    char path[64], resource[96], answer[40];
    struct termios raw = { 0 };
    cfmakeraw(&raw);
    assert_int_equal(openpty(&master, &slave, path, &raw, NULL), 0);
    snprintf(resource, sizeof resource, "usbtmc:%s", path);
    assert_int_equal(transport_open(&rig->env, "scope", resource, &rig->transport, NULL), 0);
    assert_int_equal(transport_write(rig->transport, "*IDN?\n", 6, in(rig, 1), NULL), 0);
    assert_int_equal(read(master, answer, sizeof answer), 6);
    assert_memory_equal(answer, "*IDN?\n", 6);
    assert_int_equal(read_answer(rig, 0.05, answer, sizeof answer), ERR_TIMEOUT);
    assert_int_equal(write(master, "Rigol\n", 6), 6);
    assert_int_equal(read_answer(rig, 1, answer, sizeof answer), 0);
    assert_string_equal(answer, "Rigol\n");
    assert_int_equal(eventfd_write(rig->env.cut_fd, 1), 0);
    assert_int_equal(read_answer(rig, 60, answer, sizeof answer), ERR_CANCELLED);
    close(slave);
    close(master);
    struct error err = { 0 };
    struct transport *none = NULL;
    assert_int_equal(transport_open(&rig->env, "scope", "usbtmc:/dev/usbtmc99", &none, &err), ERR_NO_ANSWER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(set_up_and_ask, start, stop),
        cmocka_unit_test_setup_teardown(a_slow_instrument_is_read_again, start, stop),
        cmocka_unit_test_setup_teardown(silence_and_cut, start, stop),
        cmocka_unit_test_setup_teardown(what_is_no_adapter_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(usbtmc_reads_writes_and_is_cut, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
