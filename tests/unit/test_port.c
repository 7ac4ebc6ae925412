/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_port: order, cut, reconnect and identity of a port, with the SCPI driver on a small supply. Real time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "instruments/port.h"
#include "tests/unit/supply.h"

struct rig {
    struct supply supply;
    struct bench_file file;
    struct port_options options;
    struct port *port;
};

struct ask {
    struct port_request request;
    uint8_t payload[256];
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int64_t done_ns; /* host; 0 pending */
};

static void ask_done(struct port_request *request)
{
    struct ask *ask = request->context;
    pthread_mutex_lock(&ask->lock);
    ask->done_ns = clock_host_now();
    pthread_cond_signal(&ask->cond);
    pthread_mutex_unlock(&ask->lock);
}

static void ask_post(struct ask *ask, struct port *port, int op, int priority, double value)
{
    memset(ask, 0, sizeof *ask);
    pthread_mutex_init(&ask->lock, NULL);
    pthread_cond_init(&ask->cond, NULL);
    ask->request = (struct port_request){
        .message = { .magic = MESSAGE_MAGIC, .op = (uint16_t)op, .channel = 1, .value = { value } },
        .payload = ask->payload,
        .room = sizeof ask->payload,
        .priority = priority,
        .done = ask_done,
        .context = ask,
    };
    port_post(port, &ask->request);
}

static int ask_wait(struct ask *ask)
{
    pthread_mutex_lock(&ask->lock);
    while (!ask->done_ns)
        pthread_cond_wait(&ask->cond, &ask->lock);
    pthread_mutex_unlock(&ask->lock);
    return ask->request.message.code;
}

static int rig_start(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    *state = rig;
    if (supply_start(&rig->supply) || clock_open(NULL, &rig->options.clock, NULL))
        return -1;
    struct bench_instrument *in = &rig->file.instrument[0];
    rig->file.instrument_count = 1;
    rig->file.spi_instrument = -1;
    snprintf(rig->file.path, sizeof rig->file.path, "configs/benches/test.json");
    snprintf(in->name, sizeof in->name, "psu1");
    snprintf(in->driver, sizeof in->driver, "scpi");
    snprintf(in->dialect, sizeof in->dialect, "keysight-e36312a");
    snprintf(in->resource, sizeof in->resource, "%s", rig->supply.peer.resource);
    snprintf(in->vendor, sizeof in->vendor, "Keysight Technologies");
    snprintf(in->model, sizeof in->model, "E36312A");
    snprintf(in->serial, sizeof in->serial, "any");
    return 0;
}

static int rig_stop(void **state)
{
    struct rig *rig = *state;
    port_close(rig->port);
    clock_close(rig->options.clock);
    supply_stop(&rig->supply);
    free(rig);
    return 0;
}

static void opened(struct rig *rig)
{
    struct error err = { 0 };
    if (port_open(&rig->file, 0, &rig->options, &rig->port, &err))
        fail_msg("%s", err.message);
}

static void requests_are_served(void **state)
{
    struct rig *rig = *state;
    struct ask who, set, read;
    opened(rig);
    ask_post(&who, rig->port, MESSAGE_IDENTIFY, PORT_NORMAL, 0);
    assert_int_equal(ask_wait(&who), 0);
    assert_memory_equal(who.payload, "Keysight Technologies\0E36312A\0MY1\0001.0", 38);
    ask_post(&set, rig->port, MESSAGE_SET_VOLTAGE, PORT_NORMAL, 0.8);
    ask_post(&read, rig->port, MESSAGE_MEASURE, PORT_NORMAL, QUANTITY_VOLTAGE);
    assert_int_equal(ask_wait(&set), 0);
    assert_int_equal(ask_wait(&read), 0);
    assert_true(read.request.message.value[0] == 0.8 && read.request.message.time_ns > 0);
}

static void safe_cuts_and_goes_first(void **state)
{
    struct rig *rig = *state;
    struct ask on, pending, waiting, off;
    opened(rig);
    ask_post(&on, rig->port, MESSAGE_OUTPUT, PORT_NORMAL, 1);
    assert_int_equal(ask_wait(&on), 0);
    atomic_store(&rig->supply.mute_measure, true);
    ask_post(&pending, rig->port, MESSAGE_MEASURE, PORT_NORMAL, QUANTITY_VOLTAGE);
    ask_post(&waiting, rig->port, MESSAGE_STATE, PORT_NORMAL, 0);
    while (!supply_heard(&rig->supply, "MEAS"))
        usleep(1000);
    int64_t start_ns = clock_host_now();
    ask_post(&off, rig->port, MESSAGE_SAFE_OFF, PORT_SAFE, 0);
    assert_int_equal(ask_wait(&off), 0);
    assert_true(off.request.message.value[0] == 0);
    assert_true(off.done_ns - start_ns < 500 * NS_PER_MS); /* the measurement alone would have waited 1.1 s */
    assert_int_equal(ask_wait(&pending), ERR_CANCELLED);
    assert_int_equal(ask_wait(&waiting), 0); /* what waited is served afterwards */
    assert_true(waiting.done_ns >= off.done_ns);
    assert_int_equal(waiting.request.message.flags & MESSAGE_ON, 0);
    /* brought to a message boundary first, then whole frames */
    assert_true(supply_heard(&rig->supply, "*CLS\n*CLS\n*IDN?\nOUTP OFF,(@1);:SYST:ERR?\nOUTP? (@1)\n"));
}

static void safe_does_not_cut_safe(void **state)
{
    struct rig *rig = *state;
    struct ask off[20];
    opened(rig);
    for (int i = 0; i < 20; i++)
        ask_post(&off[i], rig->port, MESSAGE_SAFE_OFF, PORT_SAFE, 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask_wait(&off[i]), 0);
}

static void off_goes_out_to_an_instrument_that_has_gone_mute(void **state)
{
    struct rig *rig = *state;
    struct ask on, off;
    opened(rig);
    ask_post(&on, rig->port, MESSAGE_OUTPUT, PORT_NORMAL, 1);
    assert_int_equal(ask_wait(&on), 0);
    atomic_store(&rig->supply.deaf, true); /* acts, but never answers */
    ask_post(&off, rig->port, MESSAGE_SAFE_OFF, PORT_SAFE, 0);
    assert_int_not_equal(ask_wait(&off), 0); /* not confirmed, and it says so */
    pthread_mutex_lock(&rig->supply.lock);
    assert_false(rig->supply.on);
    pthread_mutex_unlock(&rig->supply.lock);
}

static void a_broken_link_is_connected_again(void **state)
{
    struct rig *rig = *state;
    struct ask first, lost, again;
    opened(rig);
    ask_post(&first, rig->port, MESSAGE_STATE, PORT_NORMAL, 0);
    assert_int_equal(ask_wait(&first), 0);
    atomic_store(&rig->supply.peer.drop, true);
    while (atomic_load(&rig->supply.peer.drop))
        usleep(1000);
    usleep(20000);
    ask_post(&lost, rig->port, MESSAGE_STATE, PORT_NORMAL, 0);
    assert_int_equal(ask_wait(&lost), ERR_LINK); /* told once: the caller decides */
    assert_true(lost.request.error.retryable);
    assert_string_equal(lost.request.error.instrument, "psu1");
    ask_post(&again, rig->port, MESSAGE_STATE, PORT_NORMAL, 0);
    assert_int_equal(ask_wait(&again), 0);
    assert_int_equal(atomic_load(&rig->supply.peer.accepted), 2);
}

static void another_instrument_is_refused(void **state)
{
    struct rig *rig = *state;
    struct ask ask, off;
    snprintf(rig->file.instrument[0].serial, sizeof rig->file.instrument[0].serial, "MY2");
    opened(rig);
    ask_post(&ask, rig->port, MESSAGE_SET_VOLTAGE, PORT_NORMAL, 0.8);
    assert_int_equal(ask_wait(&ask), ERR_IDENTITY);
    assert_non_null(strstr(ask.request.error.message, "MY2"));
    ask_post(&off, rig->port, MESSAGE_SAFE_OFF, PORT_SAFE, 0); /* even then it is not ours to switch */
    assert_int_equal(ask_wait(&off), ERR_IDENTITY);
    assert_false(supply_heard(&rig->supply, "VOLT"));
    assert_false(supply_heard(&rig->supply, "OUTP"));
}

static void a_dead_link_is_not_hammered(void **state)
{
    struct rig *rig = *state;
    struct ask ask[50];
    snprintf(rig->file.instrument[0].model, sizeof rig->file.instrument[0].model, "other");
    opened(rig);
    for (int i = 0; i < 50; i++) {
        ask_post(&ask[i], rig->port, MESSAGE_STATE, PORT_NORMAL, 0);
        assert_int_equal(ask_wait(&ask[i]), ERR_IDENTITY);
    }
    assert_in_range(atomic_load(&rig->supply.peer.accepted), 1, 2);
}

static void the_queue_has_an_end_and_close_answers_all(void **state)
{
    struct rig *rig = *state;
    static struct ask ask[PORT_QUEUE_MAX + 20];
    opened(rig);
    atomic_store(&rig->supply.mute_measure, true);
    int full = 0, cancelled = 0, count = (int)(sizeof ask / sizeof *ask);
    for (int i = 0; i < count; i++)
        ask_post(&ask[i], rig->port, MESSAGE_MEASURE, PORT_NORMAL, QUANTITY_VOLTAGE);
    port_close(rig->port);
    rig->port = NULL;
    for (int i = 0; i < count; i++) {
        int code = ask_wait(&ask[i]);
        full += code == ERR_FULL;
        cancelled += code == ERR_CANCELLED;
    }
    assert_in_range(full, 1, 20);
    assert_int_equal(full + cancelled, count);
}

static void dropping_fences_what_waits_and_what_runs(void **state)
{
    struct rig *rig = *state;
    struct ask pending, waiting;
    opened(rig);
    atomic_store(&rig->supply.mute_measure, true);
    ask_post(&pending, rig->port, MESSAGE_MEASURE, PORT_NORMAL, QUANTITY_VOLTAGE);
    while (!supply_heard(&rig->supply, "MEAS"))
        usleep(1000);
    ask_post(&waiting, rig->port, MESSAGE_OUTPUT, PORT_NORMAL, 1);
    port_drop(rig->port, ERR_FENCED, "test");
    assert_int_equal(ask_wait(&waiting), ERR_FENCED);
    assert_int_equal(ask_wait(&pending), ERR_CANCELLED);
    assert_false(supply_heard(&rig->supply, "OUTP ON"));
}

int main(void)
{
#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_start, rig_stop)
    const struct CMUnitTest tests[] = {
        RIG(requests_are_served),
        RIG(safe_cuts_and_goes_first),
        RIG(safe_does_not_cut_safe),
        RIG(off_goes_out_to_an_instrument_that_has_gone_mute),
        RIG(a_broken_link_is_connected_again),
        RIG(another_instrument_is_refused),
        RIG(a_dead_link_is_not_hammered),
        RIG(the_queue_has_an_end_and_close_answers_all),
        RIG(dropping_fences_what_waits_and_what_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
