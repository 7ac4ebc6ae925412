/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_interpose: each layer against the simulated link that needs it: without the layer the instrument
 * cannot be used, with it it can; the fault layer against a good link; and what bench files are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>

#include "daemon/base/json.h"
#include "tests/unit/sim_rig.h"

static const char BENCH[] = "{\"instruments\":[{\"name\":\"psu\",\"simulate\":{\"model\":\"e36312a\"}},"
                            "{\"name\":\"elog\",\"simulate\":{\"model\":\"n6705c\"}}],"
                            "\"rails\":{\"VDD\":{\"instrument\":\"psu\",\"channel\":1},"
                            "\"VDDA\":{\"instrument\":\"elog\",\"channel\":1}}}";

static int start(void **state)
{
    struct sim_rig *rig = calloc(1, sizeof *rig);
    *state = rig;
    snprintf(rig->config.dialect_path, sizeof rig->config.dialect_path,
             "configs/instruments/keysight-e36312a.json");
    rig->config.class = CLASS_PSU;
    return sim_rig_start(rig, BENCH);
}

static int stop(void **state)
{
    struct sim_rig *rig = *state;
    int code = sim_rig_stop(rig);
    free(rig);
    return code;
}

/* The layers of a list as a bench file has it, for a driver of lines; problems NULL: it must be good. */
static struct interpose layers_of(const char *text, struct json_problems *problems)
{
    struct json_problems own = { 0 };
    struct interpose layers;
    cJSON *root = NULL;
    assert_int_equal(json_parse(text, strlen(text), &root, NULL), 0);
    struct json_at at = json_root(root, problems ? problems : &own);
    interpose_read(&at, true, &layers);
    if (own.count)
        fail_msg("%s: %s", own.item[0].pointer, own.item[0].reason);
    cJSON_Delete(root);
    return layers;
}

static int connect_psu(struct sim_rig *rig)
{
    struct error err = { 0 };
    return sim_rig_connect(rig, "scpi", "psu", &err);
}

static void disconnect_psu(struct sim_rig *rig)
{
    if (rig->state)
        rig->driver->close(rig->state);
    rig->state = NULL;
}

static int ask(struct sim_rig *rig, int op, double value, double *ret)
{
    struct message m = { .magic = MESSAGE_MAGIC, .op = (uint16_t)op, .channel = 1, .value = { value } };
    struct error err = { 0 };
    int code = sim_rig_request(rig, &m, &err);
    if (ret)
        *ret = m.value[0];
    return code;
}

static double set_and_measure(struct sim_rig *rig, double volt_v)
{
    double value = NAN;
    if (ask(rig, MESSAGE_SET_VOLTAGE, volt_v, NULL) || ask(rig, MESSAGE_OUTPUT, 1, NULL))
        return NAN;
    sim_rig_wait(rig, 1);
    return ask(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &value) ? NAN : value;
}

/* With the quirk the layer is needed: without it no answer is good, with it all are. */
static void cures(struct sim_rig *rig, const char *quirk, double value, const char *list)
{
    struct interpose layers = layers_of(list, NULL);
    assert_int_equal(sim_rig_fault(rig, "psu", quirk, -1, value), 0);
    bool good = connect_psu(rig) == 0 && fabs(set_and_measure(rig, 1.2) - 1.2) < 0.02;
    if (good)
        fail_msg("'%s' does not matter without its layer", quirk);
    disconnect_psu(rig);
    sim_rig_wait(rig, 5);
    rig->env.interpose = &layers;
    assert_int_equal(connect_psu(rig), 0);
    for (int i = 1; i <= 5; i++)
        assert_true(fabs(set_and_measure(rig, 0.3 * i) - 0.3 * i) < 0.02);
    disconnect_psu(rig);
    rig->env.interpose = NULL;
}

static void an_echo_is_taken_away(void **state)
{
    cures(*state, "echo", 0, "[{\"layer\":\"echo\"}]");
}

static void commands_are_kept_apart(void **state)
{
    cures(*state, "overrun", 0.05, "[{\"layer\":\"delay\",\"between_s\":0.06}]");
}

static void lines_get_another_end(void **state)
{
    cures(*state, "cr", 0, "[{\"layer\":\"terminator\",\"send\":\"\\r\",\"receive\":\"\\r\"}]");
}

/* The first one of the list is the driver's neighbour: the other way round the echo is not what was sent. */
static void layers_act_in_their_order(void **state)
{
    struct sim_rig *rig = *state;
    static const char *const LISTS[] = {
        "[{\"layer\":\"echo\"},{\"layer\":\"terminator\",\"send\":\"\\r\\n\"}]",
        "[{\"layer\":\"terminator\",\"send\":\"\\r\\n\"},{\"layer\":\"echo\"}]",
    };
    assert_int_equal(sim_rig_fault(rig, "psu", "echo", -1, 0), 0);
    for (int i = 0; i < 2; i++) {
        struct interpose layers = layers_of(LISTS[i], NULL);
        rig->env.interpose = &layers;
        assert_int_equal(connect_psu(rig) == 0, i);
        disconnect_psu(rig);
        sim_rig_wait(rig, 5);
    }
    rig->env.interpose = NULL;
}

/* Without an echo the layer says so instead of eating answers. */
static void a_missing_echo_is_told(void **state)
{
    struct sim_rig *rig = *state;
    struct interpose layers = layers_of("[{\"layer\":\"echo\"}]", NULL);
    struct error err = { 0 };
    rig->env.interpose = &layers;
    assert_int_not_equal(sim_rig_connect(rig, "scpi", "psu", &err), 0);
    assert_non_null(strstr(err.message, "echo"));
    rig->env.interpose = NULL;
}

static void a_trace_shows_its_place(void **state)
{
    struct sim_rig *rig = *state;
    char list[400], outer[80], inner[80], *text = NULL;
    size_t n = 0;
    snprintf(outer, sizeof outer, "%s/outer.wire", rig->dir);
    snprintf(inner, sizeof inner, "%s/inner.wire", rig->dir);
    snprintf(list, sizeof list,
             "[{\"layer\":\"terminator\",\"send\":\"\\r\\n\"},{\"layer\":\"trace\",\"file\":\"%s\"}]", inner);
    struct interpose layers = layers_of(list, NULL);
    rig->env.interpose = &layers;
    assert_int_equal(connect_psu(rig), 0);
    disconnect_psu(rig);
    assert_int_equal(text_read_file(inner, 1 << 20, &text, &n, NULL), 0);
    assert_non_null(strstr(text, "> *IDN?\\r\\n"));
    free(text);
    snprintf(list, sizeof list,
             "[{\"layer\":\"trace\",\"file\":\"%s\"},{\"layer\":\"terminator\",\"send\":\"\\r\\n\"}]", outer);
    layers = layers_of(list, NULL);
    assert_int_equal(connect_psu(rig), 0);
    disconnect_psu(rig);
    assert_int_equal(text_read_file(outer, 1 << 20, &text, &n, NULL), 0);
    assert_non_null(strstr(text, "> *IDN?\\n"));
    assert_null(strstr(text, "\\r"));
    free(text);
    rig->env.interpose = NULL;
}

/* A layer over a socket pair; the other end goes to ret_fd. */
static struct transport *over_pair(struct sim_rig *rig, struct interpose *layers, int *ret_fd)
{
    struct transport_stream *stream = calloc(1, sizeof *stream);
    struct transport *wire = NULL;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    *stream =
        (struct transport_stream){ .base.ops = &transport_tcp, .env = &rig->env, .fd = pair[0], .link = -1 };
    rig->env.interpose = layers;
    assert_int_equal(interpose_wrap(&rig->env, "psu", &stream->base, &wire, NULL), 0);
    rig->env.interpose = NULL;
    *ret_fd = pair[1];
    return wire;
}

/* A block is no text: its bytes pass, whatever they are. */
static void blocks_pass_a_terminator(void **state)
{
    struct sim_rig *rig = *state;
    struct interpose layers =
        layers_of("[{\"layer\":\"terminator\",\"send\":\"\",\"receive\":\"\\r\\n\"}]", NULL);
    static const char SENT[] = "#15\r\na\r\n;1\r\r\n", WANTED[] = "#15\r\na\r\n;1\r\n";
    char got[64];
    size_t n = 0, part;
    int fd;
    struct transport *wire = over_pair(rig, &layers, &fd);
    for (size_t i = 0; i < sizeof SENT - 1; i++) { /* byte by byte: an end may be torn */
        assert_int_equal(write(fd, SENT + i, 1), 1);
        int code = transport_read(wire, got + n, sizeof got - n, clock_now(rig->env.clock), &part, NULL);
        n += code ? 0 : part;
    }
    assert_int_equal(n, sizeof WANTED - 1);
    assert_memory_equal(got, WANTED, n);
    assert_int_equal(transport_write(wire, "x?\n", 3, clock_now(rig->env.clock), NULL), 0);
    assert_int_equal(read(fd, got, sizeof got), 2);
    transport_close(wire);
    close(fd);
}

/* ---- Faults ---- */
struct night {
    int good, failed, wrong;
    uint64_t struck;
};

static void live_through(struct sim_rig *rig, const char *list, struct night *ret)
{
    struct interpose layers = layers_of(list, NULL);
    *ret = (struct night){ 0 };
    rig->env.interpose = &layers;
    for (int i = 0; i < 200; i++) {
        double value = NAN;
        int code = rig->state ? 0 : connect_psu(rig);
        if (!code)
            code = ask(rig, MESSAGE_MEASURE, QUANTITY_VOLTAGE, &value);
        ret->good += code == 0;
        ret->failed += code != 0;
        ret->wrong += code == 0 && !(fabs(value - 1.2) < 0.02);
        if (code && rig->state && rig->driver->resync(rig->state, NULL))
            disconnect_psu(rig);
    }
    disconnect_psu(rig);
    rig->env.interpose = NULL;
    ret->struck = interpose_find(&layers, &interpose_fault)->fault.struck;
}

static void faults_strike_and_no_wrong_value_comes_through(void **state)
{
    static const char *const KINDS[] = {
        "silence", "slow", "garbage", "truncation", "duplicate", "disconnect"
    };
    struct sim_rig *rig = *state;
    char list[200];
    struct night first;
    assert_int_equal(connect_psu(rig), 0);
    assert_true(fabs(set_and_measure(rig, 1.2) - 1.2) < 0.02);
    disconnect_psu(rig);
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        snprintf(list, sizeof list, "[{\"layer\":\"fault\",\"seed\":7,\"%s\":0.1}]", KINDS[i]);
        live_through(rig, list, &first);
        if (first.struck < 10 || first.wrong || first.good < 50)
            fail_msg("%s: struck %d times, %d good, %d wrong", KINDS[i], (int)first.struck, first.good,
                     first.wrong);
        if (strcmp(KINDS[i], "silence") == 0 || strcmp(KINDS[i], "disconnect") == 0)
            assert_true(first.failed > 0); /* the others may be mended by the driver */
    }
}

/* One letter a message: x where the link broke, and was made anew. */
static void course_of(struct sim_rig *rig, int seed, char course[201])
{
    char list[100];
    int fd;
    snprintf(list, sizeof list, "[{\"layer\":\"fault\",\"seed\":%d,\"disconnect\":0.1}]", seed);
    struct interpose layers = layers_of(list, NULL);
    struct transport *wire = over_pair(rig, &layers, &fd);
    for (int i = 0; i < 200; i++) {
        int code = transport_write(wire, "x", 1, clock_now(rig->env.clock), NULL);
        assert_true(code == 0 || code == ERR_LINK);
        course[i] = code ? 'x' : '.';
        if (code) {
            transport_close(wire);
            close(fd);
            wire = over_pair(rig, &layers, &fd);
        }
    }
    course[200] = '\0';
    transport_close(wire);
    close(fd);
}

static void a_night_of_faults_can_be_repeated(void **state)
{
    char first[201], again[201], other[201];
    course_of(*state, 7, first);
    course_of(*state, 7, again);
    course_of(*state, 8, other);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    assert_non_null(strstr(first, "x.")); /* a new connection does not begin anew */
}

/* ---- Bench files ---- */
static void mistakes_are_told_at_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *list, *pointer, *said;
    } ROWS[] = {
        { "{}", "", "must be a list" },
        { "[{\"layer\":\"delai\"}]", "/0/layer", "" },
        { "[{}]", "/0", "layer" },
        { "[{\"layer\":\"delay\"}]", "/0", "between_s" },
        { "[{\"layer\":\"delay\",\"between_s\":5}]", "/0/between_s", "" },
        { "[{\"layer\":\"echo\",\"on\":true}]", "/0", "on" },
        { "[{\"layer\":\"echo\"},{\"layer\":\"echo\"}]", "/1", "there twice" },
        { "[{\"layer\":\"terminator\",\"receive\":\"\"}]", "/0/receive", "1 to 4 characters" },
        { "[{\"layer\":\"trace\",\"file\":\"a.wire\"}]", "/0/file", "absolute path" },
        { "[{\"layer\":\"fault\",\"seed\":1}]", "/0", "0 < sum <= 1" },
        { "[{\"layer\":\"fault\",\"silence\":0.1}]", "/0", "seed" },
        { "[{\"layer\":\"fault\",\"seed\":1,\"silence\":0.6,\"slow\":0.6}]", "/0", "1.2 together" },
    };
    static struct json_problems problems;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        problems.count = 0;
        layers_of(ROWS[i].list, &problems);
        const struct json_problem *p = &problems.item[0];
        if (problems.count != 1 || strncmp(p->pointer, ROWS[i].pointer, strlen(ROWS[i].pointer)) != 0 ||
            (!strstr(p->reason, ROWS[i].said) && !strstr(p->pointer, ROWS[i].said)))
            fail_msg("%s: %d problems, %s: %s", ROWS[i].list, problems.count, p->pointer, p->reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_echo_is_taken_away, start, stop),
        cmocka_unit_test_setup_teardown(commands_are_kept_apart, start, stop),
        cmocka_unit_test_setup_teardown(lines_get_another_end, start, stop),
        cmocka_unit_test_setup_teardown(layers_act_in_their_order, start, stop),
        cmocka_unit_test_setup_teardown(a_missing_echo_is_told, start, stop),
        cmocka_unit_test_setup_teardown(a_trace_shows_its_place, start, stop),
        cmocka_unit_test_setup_teardown(blocks_pass_a_terminator, start, stop),
        cmocka_unit_test_setup_teardown(faults_strike_and_no_wrong_value_comes_through, start, stop),
        cmocka_unit_test_setup_teardown(a_night_of_faults_can_be_repeated, start, stop),
        cmocka_unit_test(mistakes_are_told_at_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
