/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_settings: what was set is put back after a reboot, a drop or a silence, before the next reading
 * counts; an output never comes back by itself. The notes alone, then ports with real drivers on simulated
 * gear that loses its power. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <sys/eventfd.h>

#include "daemon/base/record.h"
#include "instruments/port.h"
#include "instruments/settings.h"
#include "tests/unit/sim_rig.h"

/* ---- The notes alone ---- */
struct fake {
    int ops[16], count;
    double set_v, limit_a;
    bool on, stubborn;
};

static int serve_fake(void *context, struct message *m, struct error *err)
{
    struct fake *fake = context;
    (void)err;
    fake->ops[fake->count++] = m->op;
    if (m->op == MESSAGE_STATE) {
        m->value[0] = fake->set_v;
        m->value[1] = fake->limit_a;
        m->flags = fake->on ? MESSAGE_ON : 0;
    } else if (!fake->stubborn && m->op == MESSAGE_SET_VOLTAGE) {
        fake->set_v = m->value[0];
    } else if (!fake->stubborn && m->op == MESSAGE_SET_LIMIT) {
        fake->limit_a = m->value[0];
    }
    return 0;
}

static struct settings *notes(void)
{
    static struct bench_file file;
    struct settings *s = NULL;
    assert_int_equal(settings_open(&file, 0, &s, NULL), 0);
    return s;
}

static struct message did(struct settings *s, int op, double v0, double v1)
{
    struct message m = { .op = (uint16_t)op, .channel = 2, .value = { v0, v1, NAN } }, answer = m;
    settings_before(s, &m);
    settings_after(s, &m, &answer, 0, 0);
    return answer;
}

static void what_protects_is_put_back_first(void **state)
{
    (void)state;
    struct settings *s = notes();
    struct fake fake = { .set_v = 0, .limit_a = 1 };
    did(s, MESSAGE_SET_VOLTAGE, 0.8, 0);
    did(s, MESSAGE_SET_PROTECTION, 1.1, 1);
    did(s, MESSAGE_SET_LIMIT, 0.1, 0);
    s->doubtful = true;
    assert_int_equal(settings_restore(s, serve_fake, &fake, NULL), 0);
    static const int ORDER[] = { MESSAGE_STATE, MESSAGE_SET_LIMIT, MESSAGE_SET_PROTECTION,
                                 MESSAGE_SET_VOLTAGE, MESSAGE_STATE };
    assert_int_equal(fake.count, 5);
    assert_memory_equal(fake.ops, ORDER, sizeof ORDER);
    assert_false(s->doubtful);

    fake.count = 0; /* nothing was lost: set point and limit are left alone */
    assert_int_equal(settings_restore(s, serve_fake, &fake, NULL), 0);
    assert_int_equal(fake.count, 3);
    free(s);
}

static void what_does_not_come_back_is_an_error(void **state)
{
    (void)state;
    struct settings *s = notes();
    struct fake fake = { .stubborn = true, .limit_a = 1 };
    struct error err = { 0 };
    s->doubtful = true;
    did(s, MESSAGE_SET_VOLTAGE, 0.8, 0);
    assert_int_equal(settings_restore(s, serve_fake, &fake, &err), ERR_REFUSED);
    assert_non_null(strstr(err.message, "reads back 0 V"));
    assert_true(s->doubtful);
    free(s);
}

static void off_that_was_asked_for_is_no_loss(void **state)
{
    (void)state;
    static const int OFF[] = { MESSAGE_OUTPUT, MESSAGE_SAFE_OFF, MESSAGE_CLEAR_TRIP };
    for (int i = 0; i < 3; i++) {
        struct settings *s = notes();
        did(s, MESSAGE_OUTPUT, 1, 0);
        struct message off = { .op = (uint16_t)OFF[i], .channel = 2 };
        settings_before(s, &off); /* it may have failed: it was meant all the same */
        assert_int_equal(did(s, MESSAGE_STATE, 0, 0).flags, 0);
        free(s);
    }
}

/* Each reading says how far it is to be trusted: one that began too soon after a change, and one of an output
 * whose protection has tripped. */
static void readings_carry_their_doubts(void **state)
{
    (void)state;
    struct settings *s = notes();
    struct message set = { .op = MESSAGE_SET_VOLTAGE, .channel = 1, .value = { 1.0 } };
    struct message measure = { .op = MESSAGE_MEASURE, .channel = 1 }, answer = measure;
    const int64_t at_ns = 5 * NS_PER_S;
    s->channel[0].settle_s = 0.05;
    settings_after(s, &set, &answer, at_ns, at_ns);
    settings_after(s, &measure, &answer, at_ns + 49 * NS_PER_MS, at_ns + 70 * NS_PER_MS);
    assert_int_equal(answer.flags, READING_UNSETTLED);
    answer.flags = 0;
    settings_after(s, &measure, &answer, at_ns + 50 * NS_PER_MS, at_ns + 70 * NS_PER_MS);
    assert_int_equal(answer.flags, 0);
    settings_after(s, &set, &answer, 2 * at_ns, 2 * at_ns); /* the same set point again moves nothing */
    settings_after(s, &measure, &answer, 2 * at_ns, 2 * at_ns);
    assert_int_equal(answer.flags, 0);

    struct message look = { .op = MESSAGE_STATE, .channel = 1 }, tripped = { .flags = MESSAGE_TRIPPED };
    settings_after(s, &look, &tripped, 0, 0);
    settings_after(s, &measure, &answer, 3 * at_ns, 3 * at_ns);
    assert_int_equal(answer.flags, READING_TRIPPED);
    answer.flags = tripped.flags = 0;
    settings_after(s, &look, &tripped, 0, 0);
    settings_after(s, &measure, &answer, 3 * at_ns, 3 * at_ns);
    assert_int_equal(answer.flags, 0);
    free(s);
}

/* ---- Through a port ---- */
struct rig {
    struct sim_rig sim;
    struct bench_file file;
    struct port *port;
    int done_fd;
    uint8_t payload[512];
    struct error err;
};

static struct rig *start(const char *model, const char *dialect, int class)
{
    struct rig *rig = calloc(1, sizeof *rig);
    char bench[256];
    snprintf(bench, sizeof bench,
             "{\"instruments\": [{\"name\": \"dut\", \"simulate\": {\"model\": \"%s\"}}], \"rails\": {}}",
             model);
    assert_non_null(rig);
    assert_int_equal(sim_rig_start(&rig->sim, bench), 0);
    struct bench_instrument *in = &rig->file.instrument[0];
    rig->file.instrument_count = 1;
    rig->file.spi_instrument = -1;
    in->class = class;
    snprintf(rig->file.path, sizeof rig->file.path, "configs/benches/test.json");
    snprintf(in->name, sizeof in->name, "dut");
    snprintf(in->driver, sizeof in->driver, "scpi");
    snprintf(in->dialect, sizeof in->dialect, "%s", dialect);
    snprintf(in->resource, sizeof in->resource, "sim:");
    rig->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct port_options options = { .clock = rig->sim.env.clock, .links_path = rig->sim.links };
    assert_int_equal(port_open(&rig->file, 0, &options, &rig->port, NULL), 0);
    return rig;
}

static void end(struct rig *rig)
{
    port_close(rig->port);
    close(rig->done_fd);
    assert_int_equal(sim_rig_stop(&rig->sim), 0);
    free(rig);
}

static void on_done(struct port_request *request)
{
    struct rig *rig = request->context;
    uint64_t one = 1;
    assert_int_equal(write(rig->done_fd, &one, sizeof one), sizeof one);
    clock_notify(rig->sim.env.clock, clock_actor_slot(rig->sim.env.actor));
}

static int ask(struct rig *rig, int op, double v0, double v1, struct message *ret)
{
    struct port_request request = {
        .message = { .magic = MESSAGE_MAGIC, .op = (uint16_t)op, .channel = 1, .value = { v0, v1, NAN } },
        .payload = rig->payload,
        .room = sizeof rig->payload,
        .priority = op == MESSAGE_SAFE_OFF ? PORT_SAFE : PORT_NORMAL,
        .done = on_done,
        .context = rig,
    };
    struct pollfd fd = { .fd = rig->done_fd, .events = POLLIN };
    uint64_t count;
    if (op == MESSAGE_QUERY)
        request.message.payload_length = (uint32_t)strlen((char *)rig->payload);
    port_post(rig->port, &request);
    clock_poll(rig->sim.env.actor, &fd, 1, CLOCK_NEVER, 0);
    assert_int_equal(read(rig->done_fd, &count, sizeof count), sizeof count);
    rig->err = request.error;
    if (ret)
        *ret = request.message;
    return request.message.code;
}

static void good(struct rig *rig, int op, double v0, double v1, struct message *ret)
{
    if (ask(rig, op, v0, v1, ret))
        fail_msg("operation %d: %s", op, rig->err.message);
}

static void control(struct rig *rig, const char *text)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char answer[256] = "";
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", rig->sim.dir);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_true(read(fd, answer, sizeof answer - 1) > 0);
    assert_non_null(strstr(answer, "\"ok\":true"));
    close(fd);
}

/* The first request after a drop meets the dead connection; it is not asked twice, as it may have acted. */
static int ask_again(struct rig *rig, int op, double v0, double v1, struct message *ret)
{
    int code = ask(rig, op, v0, v1, ret);
    for (int i = 0; i < 5 && (code == ERR_LINK || code == ERR_TIMEOUT); i++) {
        sim_rig_wait(&rig->sim, 1);
        code = ask(rig, op, v0, v1, ret);
    }
    return code;
}

static void power_up(struct rig *rig)
{
    good(rig, MESSAGE_SET_LIMIT, 0.25, 0, NULL);
    good(rig, MESSAGE_SET_PROTECTION, 2.5, 1, NULL);
    good(rig, MESSAGE_SET_VOLTAGE, 1.2, 0, NULL);
    good(rig, MESSAGE_OUTPUT, 1, 0, NULL);
    sim_rig_wait(&rig->sim, 0.2);
}

static void question(struct rig *rig, const char *text)
{
    struct message m;
    snprintf((char *)rig->payload, sizeof rig->payload, "%s", text);
    good(rig, MESSAGE_QUERY, 0, 0, &m);
    rig->payload[m.payload_length] = '\0';
}

static void a_reboot_is_a_trip_and_nothing_comes_on_by_itself(void **state)
{
    (void)state;
    struct rig *rig = start("e36312a", "keysight-e36312a", CLASS_PSU);
    struct message m;
    power_up(rig);
    control(rig, "{\"op\":\"reboot\",\"link\":\"dut\"}\n");
    assert_int_equal(ask_again(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0, &m), ERR_TRIPPED);
    assert_non_null(strstr(rig->err.message, "rebooted"));
    good(rig, MESSAGE_STATE, 0, 0, &m);
    assert_true(!(m.flags & MESSAGE_ON) && (m.flags & MESSAGE_TRIPPED));
    assert_true(m.value[0] == 1.2 && fabs(m.value[1] - 0.25) < 1e-3);
    question(rig, "VOLT:PROT? (@1);:CURR:PROT:STAT? (@1)");
    assert_string_equal((char *)rig->payload, "+2.50000000E+00;1");
    assert_int_equal(ask(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0, &m),
                     ERR_TRIPPED); /* until somebody acts */
    good(rig, MESSAGE_OUTPUT, 1, 0, NULL);
    sim_rig_wait(&rig->sim, 0.2);
    good(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0, &m);
    assert_true(fabs(m.value[0] - 1.2) < 0.01);
    good(rig, MESSAGE_STATE, 0, 0, &m);
    assert_false(m.flags & MESSAGE_TRIPPED);
    end(rig);
}

static void switching_on_again_is_refused_once(void **state)
{
    (void)state;
    struct rig *rig = start("e36312a", "keysight-e36312a", CLASS_PSU);
    struct message m;
    power_up(rig);
    control(rig, "{\"op\":\"reboot\",\"link\":\"dut\"}\n");
    assert_int_equal(ask_again(rig, MESSAGE_OUTPUT, 1, 0, &m), ERR_TRIPPED);
    good(rig, MESSAGE_STATE, 0, 0, &m);
    assert_false(m.flags & MESSAGE_ON);
    good(rig, MESSAGE_OUTPUT, 0, 0, NULL);
    good(rig, MESSAGE_STATE, 0, 0, &m);
    assert_false(m.flags & MESSAGE_TRIPPED);
    end(rig);
}

static void a_drop_alone_changes_nothing(void **state)
{
    (void)state;
    struct rig *rig = start("e36312a", "keysight-e36312a", CLASS_PSU);
    struct message m;
    power_up(rig);
    assert_int_equal(sim_rig_fault(&rig->sim, "dut", "disconnect", 1, 0), 0);
    assert_int_equal(ask_again(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0, &m), 0);
    assert_true(fabs(m.value[0] - 1.2) < 0.01);
    good(rig, MESSAGE_STATE, 0, 0, &m);
    assert_true((m.flags & MESSAGE_ON) && !(m.flags & MESSAGE_TRIPPED));
    end(rig);
}

static void off_does_not_wait_for_settings(void **state)
{
    (void)state;
    struct rig *rig = start("e36312a", "keysight-e36312a", CLASS_PSU);
    struct message m;
    power_up(rig);
    assert_int_equal(sim_rig_fault(&rig->sim, "dut", "disconnect", 1, 0), 0);
    ask(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0, &m);
    good(rig, MESSAGE_SAFE_OFF, 0, 0, &m);
    good(rig, MESSAGE_STATE, 0, 0, &m);
    assert_int_equal(m.flags & (MESSAGE_ON | MESSAGE_TRIPPED), 0);
    end(rig);
}

static void a_meter_gets_its_range_back(void **state)
{
    (void)state;
    struct rig *rig = start("34461a", "keysight-34461a", CLASS_DMM);
    struct message m;
    good(rig, MESSAGE_CONFIGURE, 10, 1, NULL);
    control(rig, "{\"op\":\"reboot\",\"link\":\"dut\"}\n");
    assert_int_equal(ask_again(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, 0, &m), 0);
    assert_true(m.value[2] == 10);
    question(rig, "VOLT:DC:NPLC?;:VOLT:DC:RANG?");
    assert_string_equal((char *)rig->payload, "+1.00000000E+00;+1.00000000E+01");
    end(rig);
}

static void a_chamber_that_stood_still_is_a_trip(void **state)
{
    (void)state;
    struct rig *rig = start("thermostream", "intest-thermostream", CLASS_CHAMBER);
    struct message m;
    good(rig, MESSAGE_SET_TEMPERATURE, 60, NAN, NULL);
    good(rig, MESSAGE_OUTPUT, 1, 0, NULL);
    control(rig, "{\"op\":\"reboot\",\"link\":\"dut\"}\n");
    assert_int_equal(ask_again(rig, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, 0, &m), ERR_TRIPPED);
    good(rig, MESSAGE_STATE, 0, 0, &m);
    assert_true(m.value[0] == 60 && (m.flags & MESSAGE_TRIPPED));
    end(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_protects_is_put_back_first),
        cmocka_unit_test(what_does_not_come_back_is_an_error),
        cmocka_unit_test(off_that_was_asked_for_is_no_loss),
        cmocka_unit_test(readings_carry_their_doubts),
        cmocka_unit_test(a_reboot_is_a_trip_and_nothing_comes_on_by_itself),
        cmocka_unit_test(switching_on_again_is_refused_once),
        cmocka_unit_test(a_drop_alone_changes_nothing),
        cmocka_unit_test(off_does_not_wait_for_settings),
        cmocka_unit_test(a_meter_gets_its_range_back),
        cmocka_unit_test(a_chamber_that_stood_still_is_a_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
