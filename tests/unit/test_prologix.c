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

#include "drivers/driver.h"
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

static struct transport *join(struct rig *rig, const char *address)
{
    char resource[128];
    struct transport *t = NULL;
    snprintf(resource, sizeof resource, "prologix:%s/%s", rig->peer.resource, address);
    assert_int_equal(transport_open(&rig->env, "unit", resource, &t, NULL), 0);
    return t;
}

/* An adapter takes one connection. What was sent last says where the next message goes. */
static void instruments_share_an_adapter(void **state)
{
    struct rig *rig = *state;
    void *line = NULL;
    char answer[40];
    rig->env.line = &line;
    struct transport *first = join(rig, "5"), *second = join(rig, "7");
    static const char *const MESSAGES[] = { "A\n", "B?\n", "C\n", "D?\n" };
    for (int i = 0; i < 4; i++) {
        struct transport *t = i == 1 ? second : first;
        atomic_store(&rig->answer_at, atomic_load(&rig->reads) + 1);
        assert_int_equal(transport_write(t, MESSAGES[i], strlen(MESSAGES[i]), in(rig, 1), NULL), 0);
        size_t n;
        if (i % 2)
            assert_int_equal(transport_read(t, answer, sizeof answer, in(rig, 60), &n, NULL), 0);
    }
    assert_int_equal(atomic_load(&rig->peer.accepted), 1);
    assert_memory_equal(rig->heard, "A|B?|C|D?|", 10);
    assert_non_null(strstr(rig->set_up, "++addr 7;++addr 5;")); /* and not again for D */
    transport_close(first);
    assert_non_null(line);
    transport_close(second);
    assert_null(line);
    rig->env.line = NULL;
}

static void a_lost_adapter_is_lost_for_all(void **state)
{
    struct rig *rig = *state;
    void *line = NULL;
    char answer[40];
    size_t n;
    rig->env.line = &line;
    struct transport *first = join(rig, "5"), *second = join(rig, "7");
    atomic_store(&rig->peer.drop, true);
    assert_int_equal(transport_read(first, answer, sizeof answer, in(rig, 60), &n, NULL), ERR_LINK);
    assert_null(line);
    assert_int_equal(transport_write(second, "A\n", 2, in(rig, 1), NULL), ERR_LINK);
    transport_close(first);
    first = join(rig, "5"); /* while the other one still holds the lost one */
    assert_int_equal(transport_write(first, "A\n", 2, in(rig, 1), NULL), 0);
    transport_close(first);
    transport_close(second);
    rig->env.line = NULL;
}

static void resources_that_share(void **state)
{
    (void)state;
    struct driver_line line;
    assert_int_equal(transport_line("prologix:tcp:h:1234/5", &line, NULL), 0);
    assert_true(strcmp(line.name, "prologix:tcp:h:1234") == 0 && line.address[0] == 5);
    assert_int_equal(transport_line("PRLGX-TCPIP::h::1234::GPIB::7::INSTR", &line, NULL), 0);
    assert_true(strcmp(line.name, "prologix:tcp:h:1234") == 0 && line.address[0] == 7);
    assert_int_equal(transport_line("prologix:serial:/dev/ttyUSB0?baud=9600/9", &line, NULL), 0);
    assert_string_equal(line.settings, "?baud=9600");
    assert_int_equal(transport_line("tcp:h:5025", &line, NULL), ERR_UNSUPPORTED);
    assert_int_equal(transport_line("prologix:tcp:h:1234/77", &line, NULL), ERR_INVALID);
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
        cmocka_unit_test_setup_teardown(instruments_share_an_adapter, start, stop),
        cmocka_unit_test_setup_teardown(a_lost_adapter_is_lost_for_all, start, stop),
        cmocka_unit_test(resources_that_share),
        cmocka_unit_test_setup_teardown(a_slow_instrument_is_read_again, start, stop),
        cmocka_unit_test_setup_teardown(silence_and_cut, start, stop),
        cmocka_unit_test_setup_teardown(what_is_no_adapter_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(usbtmc_reads_writes_and_is_cut, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
