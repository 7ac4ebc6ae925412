/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_modbus_line: instruments of three models on one simulated line, behind one port, in virtual time; what
 * an open line must not take for its own answer; and what a bench file is told about its lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "drivers/modbus_link.h"
#include "instruments/port.h"
#include "tests/unit/sim_rig.h"

enum { SUPPLY, INPUTS, OVEN, UNITS };

struct line {
    struct sim_rig sim;
    struct bench_file *file;
    struct port *port;
    int done_fd;
    unsigned flags; /* of the last answer */
};

/* %s: options of the first resource; more members of the first instrument; "pty" or "tcp". */
static const char BENCH[] =
    "{\"format\":\"nightbench-bench\",\"version\":1,\"name\":\"line\",\"socket\":\"S1\",\"simulated\":true,"
    "\"instruments\":["
    "{\"name\":\"supply\",\"class\":\"psu\",\"driver\":\"modbus\",\"dialect\":\"modbus/riden-rd6006\","
    "\"resource\":\"sim:rs485?unit=1%s\"%s,\"simulate\":{\"model\":\"rd6006\",\"unit\":1,\"link\":\"%s\"}},"
    "{\"name\":\"inputs\",\"class\":\"dmm\",\"driver\":\"modbus\",\"dialect\":\"modbus/waveshare-ai8\","
    "\"resource\":\"sim:rs485?unit=2\",\"simulate\":{\"model\":\"waveshare-ai8\",\"unit\":2,\"nets\":["
    "\"VDD\"]}},"
    "{\"name\":\"oven\",\"class\":\"chamber\",\"driver\":\"modbus\",\"dialect\":\"modbus/eurotherm-32xx\","
    "\"resource\":\"sim:rs485?unit=3\",\"simulate\":{\"model\":\"eurotherm-32xx\",\"unit\":3,\"tau_s\":0.1}}]"
    ","
    "\"rails\":{\"VDD\":{\"instrument\":\"supply\",\"channel\":1}}}";

static int start(void **state, const char *link, const char *options, const char *more)
{
    struct line *line = calloc(1, sizeof *line);
    char bench[2048], path[80];
    struct error err = { 0 };
    *state = line;
    snprintf(bench, sizeof bench, BENCH, options, more, link);
    line->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (sim_rig_start(&line->sim, bench))
        return -1;
    snprintf(path, sizeof path, "%s/bench.json", line->sim.dir);
    const struct port_options port = { .clock = line->sim.env.clock, .links_path = line->sim.links };
    if (bench_file_load(path, &line->file, NULL, &err) || port_open(line->file, 0, &port, &line->port, &err))
        fprintf(stderr, "%s\n", err.message);
    return line->port ? 0 : -1;
}

static int start_rtu(void **state)
{
    return start(state, "pty", "", "");
}

static int start_tcp(void **state)
{
    return start(state, "tcp", "", "");
}

static int start_slow(void **state)
{
    return start(state, "pty", "&gap=0.05", "");
}

static int start_faulty(void **state)
{
    return start(state, "pty", "", ",\"interpose\":[{\"layer\":\"fault\",\"seed\":3,\"silence\":0.05}]");
}

static int stop(void **state)
{
    struct line *line = *state;
    port_close(line->port);
    bench_file_free(line->file);
    int code = sim_rig_stop(&line->sim);
    close(line->done_fd);
    free(line);
    return code;
}

static void on_done(struct port_request *request)
{
    const struct line *line = request->context;
    uint64_t one = 1;
    if (write(line->done_fd, &one, sizeof one) == sizeof one)
        clock_notify(line->sim.env.clock, clock_actor_slot(line->sim.env.actor));
}

static int ask(struct line *line, int unit, int op, double value, double *ret)
{
    struct port_request request = {
        .message = { .magic = MESSAGE_MAGIC,
                     .op = (uint16_t)op,
                     .instrument = (int16_t)unit,
                     .channel = 1,
                     .value = { value } },
        .payload = line->sim.payload,
        .room = sizeof line->sim.payload,
        .priority = op == MESSAGE_SAFE_OFF ? PORT_SAFE : PORT_NORMAL,
        .done = on_done,
        .context = line,
    };
    struct pollfd fd = { .fd = line->done_fd, .events = POLLIN };
    uint64_t count;
    port_post(line->port, &request);
    assert_true(clock_poll(line->sim.env.actor, &fd, 1, CLOCK_NEVER, 0) == 1);
    assert_true(read(line->done_fd, &count, sizeof count) == sizeof count);
    if (ret)
        *ret = request.message.value[0];
    line->flags = request.message.flags;
    return request.message.code;
}

static void must(struct line *line, int unit, int op, double value, double *ret)
{
    int code = ask(line, unit, op, value, ret);
    if (code)
        fail_msg("unit %d, operation %d: %s", unit, op, error_name(code));
}

/* Each of them says what only it can say. */
static void check_all(struct line *line, double volt_v, double temp_c)
{
    double value = NAN;
    must(line, SUPPLY, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &value);
    assert_true(fabs(value - volt_v) < 0.05);
    must(line, INPUTS, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &value);
    assert_true(fabs(value - volt_v) < 0.05);
    must(line, OVEN, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, &value);
    assert_true(fabs(value - temp_c) < 0.5);
}

static void power(struct line *line)
{
    must(line, SUPPLY, MESSAGE_SET_LIMIT, 0.5, NULL);
    must(line, SUPPLY, MESSAGE_SET_VOLTAGE, 1.8, NULL);
    must(line, OVEN, MESSAGE_SET_TEMPERATURE, 60, NULL);
    must(line, SUPPLY, MESSAGE_OUTPUT, 1, NULL);
    sim_rig_wait(&line->sim, 3);
}

static void three_models_share_a_line(void **state)
{
    struct line *line = *state;
    for (int i = 0; i < UNITS; i++) {
        assert_int_equal(line->file->instrument[i].line_of, i ? 1 : 0);
        assert_true(line->file->instrument[i].energises); /* the supply takes the line to the keeper */
    }
    power(line);
    for (int i = 0; i < 10; i++)
        check_all(line, 1.8, 60);
    must(line, SUPPLY, MESSAGE_SAFE_OFF, 0, NULL);
    sim_rig_wait(&line->sim, 3);
    check_all(line, 0, 60);
}

/* The late answer of one unit is not taken for that of another one. */
static void a_late_unit_does_not_answer_for_others(void **state)
{
    struct line *line = *state;
    double value = NAN;
    power(line);
    for (int i = 0; i < UNITS; i++) {
        /* later than it may, and sooner than the next one's time is over */
        assert_int_equal(sim_rig_fault(&line->sim, "rs485", "delay", 20, 0.45), 0);
        int code = ask(line, i, MESSAGE_MEASURE, i == OVEN ? QUANTITY_TEMPERATURE : QUANTITY_VOLTAGE, &value);
        assert_true(code == 0 || code == ERR_TIMEOUT);
        assert_int_equal(sim_rig_fault(&line->sim, "rs485", "none", 0, 0), 0);
        check_all(line, 1.8, 60);
    }
}

static void a_lost_line_is_lost_for_all_and_comes_back(void **state)
{
    struct line *line = *state;
    double value = NAN;
    power(line);
    check_all(line, 1.8, 60);
    assert_false(line->flags & READING_SIMULATED); /* the driver has not been told; the bench adds it */
    assert_int_equal(sim_rig_fault(&line->sim, "rs485", "disconnect", 1, 0), 0);
    assert_int_equal(ask(line, INPUTS, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &value), ERR_LINK);
    sim_rig_wait(&line->sim, 1);
    must(line, INPUTS, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &value); /* while others hold the lost line */
    assert_int_equal(ask(line, OVEN, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, &value), ERR_LINK);
    must(line, SUPPLY, MESSAGE_SAFE_OFF, 0, NULL); /* a safe request tries again at once */
    sim_rig_wait(&line->sim, 3);
    check_all(line, 0, 60);
}

static void the_gap_is_kept_between_units(void **state)
{
    struct line *line = *state;
    double value;
    must(line, INPUTS, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &value);
    int64_t start_ns = clock_now(line->sim.env.clock);
    must(line, OVEN, MESSAGE_MEASURE, QUANTITY_TEMPERATURE, &value);
    must(line, INPUTS, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &value);
    assert_true(clock_now(line->sim.env.clock) - start_ns >= 100 * NS_PER_MS);
}

/* A terminal's bytes take their way while it goes from hand to hand: what the one before had sent must not be
 * taken for the first bytes of the next one, or virtual time would not wait for those. */
static void a_terminal_changes_hands_with_bytes_on_their_way(void **state)
{
    struct line *line = *state;
    struct sim_rig *sim = &line->sim;
    const struct modbus_link_pace pace = { .timeout_s = 0.2, .gap_s = 0.002 };
    port_close(line->port);
    line->port = NULL;
    for (int i = 0; i < 60; i++) {
        struct transport *wire = NULL;
        struct modbus_link *link = NULL;
        uint16_t words[2];
        assert_int_equal(transport_open(&sim->env, "line", "sim:rs485", &wire, NULL), 0);
        sim_rig_wait(sim, 0.001); /* the simulator knows whose it is */
        assert_int_equal(transport_write(wire, "\xff", 1, clock_now(sim->env.clock) + NS_PER_S, NULL), 0);
        transport_close(wire);
        assert_int_equal(modbus_link_open(&sim->env, "line", "sim:rs485?unit=1", &pace, &link, NULL), 0);
        for (int k = 0; k < 3; k++)
            assert_int_equal(modbus_link_read(link, 1, 3, 0, 2, words, NULL), 0);
        modbus_link_close(link);
    }
}

/* Whoever tries faults on a real bench must not take what comes for measurements. */
static void readings_behind_the_fault_layer_say_so(void **state)
{
    struct line *line = *state;
    double value;
    int good = 0;
    for (int i = 0; i < 100; i++) {
        if (ask(line, i % 2 ? INPUTS : SUPPLY, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &value))
            continue;
        assert_true(line->flags & READING_SIMULATED);
        good++;
    }
    assert_true(good > 50);
    assert_true(ask(line, SUPPLY, MESSAGE_STATE, 0, &value) || !(line->flags & READING_SIMULATED));
}

/* Somebody asked, and went away before the answer came: it is not ours. */
static void an_answer_to_a_predecessor_is_not_ours(void **state)
{
    struct line *line = *state;
    struct sim_rig *sim = &line->sim;
    const struct modbus_link_pace pace = { .timeout_s = 0.1, .gap_s = 0.002 };
    struct modbus_link *link = NULL;
    uint16_t first[2], again[2], stale[2];
    port_close(line->port);
    line->port = NULL;
    assert_int_equal(modbus_link_open(&sim->env, "inputs", "sim:rs485?unit=1", &pace, &link, NULL), 0);
    assert_int_equal(modbus_link_read(link, 1, 3, 0, 2, first, NULL), 0);
    assert_int_equal(modbus_link_read(link, 1, 3, 8, 2, stale, NULL), 0);
    assert_memory_not_equal(first, stale, sizeof first);
    assert_int_equal(sim_rig_fault(sim, "rs485", "delay", 1, 0.15), 0);
    assert_int_equal(modbus_link_read(link, 1, 3, 8, 2, again, NULL), ERR_TIMEOUT);
    modbus_link_close(link);
    assert_int_equal(modbus_link_open(&sim->env, "inputs", "sim:rs485?unit=1", &pace, &link, NULL), 0);
    assert_int_equal(modbus_link_read(link, 1, 3, 0, 2, again, NULL), 0);
    assert_memory_equal(first, again, sizeof first);
    modbus_link_close(link);
}

/* ---- Bench files ---- */
static int load(const char *resource, const char *more, struct json_problems *problems)
{
    char path[] = "/tmp/nb-line.XXXXXX", text[1024];
    struct bench_file *file = NULL;
    int fd = mkstemp(path);
    int n =
        snprintf(text, sizeof text,
                 "{\"format\":\"nightbench-bench\",\"version\":1,\"name\":\"x\",\"socket\":\"S1\","
                 "\"simulated\":false,\"instruments\":["
                 "{\"name\":\"a\",\"class\":\"psu\",\"driver\":\"modbus\","
                 "\"dialect\":\"modbus/riden-rd6006\",\"resource\":\"modbus-rtu:/dev/ttyUSB0?units=1,2\"},"
                 "{\"name\":\"b\",\"class\":\"dmm\",\"driver\":\"modbus\","
                 "\"dialect\":\"modbus/waveshare-ai8\",\"resource\":\"%s\"%s}]}",
                 resource, more);
    assert_true(write(fd, text, (size_t)n) == n);
    close(fd);
    int code = bench_file_load(path, &file, problems, NULL);
    int line_of = code ? -1 : file->instrument[1].line_of;
    bench_file_free(file);
    unlink(path);
    return line_of;
}

static void what_shares_a_line_must_agree(void **state)
{
    (void)state;
    static const struct {
        const char *resource, *more, *said; /* said NULL: good */
        int line_of;
    } ROWS[] = {
        { "modbus-rtu:/dev/ttyUSB0?unit=3", "", NULL, 1 },
        { "modbus-rtu:/dev/ttyUSB1?unit=1", "", NULL, 0 },
        { "modbus-tcp:/dev/ttyUSB0:502?unit=1", "", NULL, 0 },
        { "modbus-rtu:/dev/ttyUSB0?unit=2", "", "unit 2 of that line is 'a' already", -1 },
        { "modbus-rtu:/dev/ttyUSB0?unit=3&baud=19200", "", "not its settings", -1 },
        { "modbus-rtu:/dev/ttyUSB0?unit=3&parity=E", "", "not its settings", -1 },
        { "modbus-rtu:/dev/ttyUSB0?unit=3", ",\"interpose\":[{\"layer\":\"echo\"}]", "layers belong there",
          -1 },
    };
    static struct json_problems problems;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        problems.count = 0;
        if (load(ROWS[i].resource, ROWS[i].more, &problems) != ROWS[i].line_of)
            fail_msg("%s: %s", ROWS[i].resource, problems.count ? problems.item[0].reason : "another line");
        if (ROWS[i].said && (problems.count != 1 || !strstr(problems.item[0].reason, ROWS[i].said)))
            fail_msg("%s: %d problems: %s", ROWS[i].resource, problems.count, problems.item[0].reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(three_models_share_a_line, start_rtu, stop),
        cmocka_unit_test_setup_teardown(three_models_share_a_line, start_tcp, stop),
        cmocka_unit_test_setup_teardown(a_late_unit_does_not_answer_for_others, start_rtu, stop),
        cmocka_unit_test_setup_teardown(a_lost_line_is_lost_for_all_and_comes_back, start_tcp, stop),
        cmocka_unit_test_setup_teardown(the_gap_is_kept_between_units, start_slow, stop),
        cmocka_unit_test_setup_teardown(a_terminal_changes_hands_with_bytes_on_their_way, start_rtu, stop),
        cmocka_unit_test_setup_teardown(readings_behind_the_fault_layer_say_so, start_faulty, stop),
        cmocka_unit_test_setup_teardown(an_answer_to_a_predecessor_is_not_ours, start_rtu, stop),
        cmocka_unit_test(what_shares_a_line_must_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
