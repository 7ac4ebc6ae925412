/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_modbus: register maps, and the driver with them, against the slave of modbus_rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <math.h>

#include "drivers/modbus_map.h"
#include "tests/unit/modbus_rig.h"

/* ---- Register maps ---- */
static void every_map_is_in_order(void **state)
{
    (void)state;
    DIR *dir = opendir("configs/instruments/modbus");
    int count = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[512], file[280];
        struct modbus_map *map = NULL;
        struct error err = { 0 };
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "configs/instruments/modbus/%s", entry->d_name);
        if (modbus_map_load(path, &map, NULL, &err))
            fail_msg("%s", err.message);
        snprintf(file, sizeof file, "%s.json", map->name);
        assert_string_equal(file, entry->d_name);
        free(map);
        count++;
    }
    closedir(dir);
    assert_true(count >= 13);
}

static void a_wrong_map_is_refused_with_every_mistake(void **state)
{
    (void)state;
    static const char TEXT[] =
        "{\"format\":\"nightbench-modbus\",\"version\":1,\"name\":\"x\",\"vendor\":\"v\",\"model\":\"m\","
        "\"class\":\"psu\",\"tested\":\"no\",\"timeout_s\":0.1,\"gap_s\":0,\"retries\":0,"
        "\"identity\":{\"address\":0},"
        "\"registers\":{\"set_voltage\":{\"address\":8,\"scale\":0.001},\"set_limt\":{\"address\":9},"
        "\"output\":{\"address\":70000},\"trip\":{\"address\":16,\"scale\":0.1},\"mode\":{\"address\":17},"
        "\"measure_voltage\":{\"address\":1,\"scale\":1},\"measure_current\":{\"address\":1,\"scale\":1},"
        "\"set_temperature\":{\"address\":1,\"scale\":1}},"
        "\"channels\":{\"count\":1,\"voltage\":{\"min\":0,\"max\":70,\"step\":0.001},"
        "\"limit\":{\"min\":2,\"max\":1,\"step\":0.1},\"settle_s\":0,\"measure_s\":0,\"accuracy\":{}}}";
    static const char *const EXPECTED[] = { "set_limt",   "set_limit",       "70000",     "is a code",
                                            "no meaning", "70 does not fit", "above max", "ids",
                                            "voltage",    "current" };
    char path[] = "/tmp/nb-map-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, TEXT, sizeof TEXT - 1) == (ssize_t)sizeof TEXT - 1);
    close(fd);
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct modbus_map *map = NULL;
    assert_int_not_equal(modbus_map_load(path, &map, problems, NULL), 0);
    unlink(path);
    for (size_t e = 0; e < sizeof EXPECTED / sizeof *EXPECTED; e++) {
        bool found = false;
        for (int i = 0; i < problems->count; i++)
            found |= strstr(problems->item[i].reason, EXPECTED[e]) ||
                     strstr(problems->item[i].hint, EXPECTED[e]) ||
                     strstr(problems->item[i].pointer, EXPECTED[e]);
        if (!found)
            fail_msg("nothing is said about '%s'", EXPECTED[e]);
    }
    free(problems);
}

/* ---- The driver ---- */
static int open_driver(struct rig *rig, const char *map, int class, const char *options, struct error *err)
{
    snprintf(rig->config.dialect_path, sizeof rig->config.dialect_path, "configs/instruments/modbus/%s.json",
             map);
    rig->config.class = class;
    size_t n = strlen(rig->config.resource);
    snprintf(rig->config.resource + n, sizeof rig->config.resource - n, "%s", options);
    return driver_modbus.open(&rig->config, &rig->env, &rig->driver, err);
}

static int ask(struct rig *rig, int op, int channel, double value, double second, struct message *ret)
{
    struct error err = { 0 };
    *ret = (struct message){ .op = (uint16_t)op, .channel = (int16_t)channel, .value = { value, second } };
    return driver_modbus.request(rig->driver, ret, rig->payload, sizeof rig->payload, &err);
}

static void make_riden(struct rig *rig, int id)
{
    static const uint16_t LOW[20] = { 0, 0, 12345, 141, 0, 0, 0, 0, 500, 1000, 0, 0, 0, 0, 6400 };
    memcpy(rig->slave.reg, LOW, sizeof LOW);
    rig->slave.reg[0] = (uint16_t)id;
    rig->slave.reg[82] = 6200;
    rig->slave.reg[83] = 6200;
}

static void the_scale_is_that_of_the_model(void **state)
{
    static const struct {
        const char *map;
        int id, code, raw_v, raw_a;
    } MODELS[] = {
        { "riden-rd6006", 60062, 0, 435, 1250 },       { "riden-rd6006p", 60065, 0, 4350, 12500 },
        { "riden-rd6012", 60121, 0, 435, 125 },        { "riden-rd6018", 60181, 0, 435, 125 },
        { "riden-rd6006", 60121, ERR_IDENTITY, 0, 0 }, { "riden-rd6018", 60065, ERR_IDENTITY, 0, 0 },
        { "riden-rd6006", 31337, ERR_IDENTITY, 0, 0 },
    };
    struct rig *rig = *state;
    char resource[256];
    snprintf(resource, sizeof resource, "%s", rig->config.resource);
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++) {
        struct message m;
        struct error err = { 0 };
        make_riden(rig, MODELS[i].id);
        snprintf(rig->config.resource, sizeof rig->config.resource, "%s", resource);
        int code = open_driver(rig, MODELS[i].map, CLASS_PSU, "", &err);
        assert_int_equal(code, MODELS[i].code);
        if (code)
            continue;
        assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 1, 4.35, 0, &m), 0); /* truncated it would be 4.34 */
        assert_int_equal(ask(rig, MESSAGE_SET_LIMIT, 1, 1.25, 0, &m), 0);
        assert_int_equal(rig->slave.reg[8], MODELS[i].raw_v);
        assert_int_equal(rig->slave.reg[9], MODELS[i].raw_a);
        driver_modbus.close(rig->driver);
        rig->driver = NULL;
    }
}

static void a_supply_is_set_read_and_protected(void **state)
{
    struct rig *rig = *state;
    struct message m;
    make_riden(rig, 60062);
    assert_int_equal(open_driver(rig, "riden-rd6006", CLASS_PSU, "", NULL), 0);
    assert_int_equal(rig->slave.reg[18], 0); /* opening changes nothing */
    assert_int_equal(rig->slave.reg[8], 500);
    assert_int_equal(ask(rig, MESSAGE_IDENTIFY, 0, 0, 0, &m), 0);
    assert_memory_equal(rig->payload, "Riden\0RD6006\00000012345\0001.41", 27);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 1, 60.2, 0, &m), ERR_RANGE);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 1, -0.1, 0, &m), ERR_RANGE);
    assert_int_equal(ask(rig, MESSAGE_SET_LIMIT, 1, 6.1, 0, &m), ERR_RANGE);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 2, 1, 0, &m), ERR_INVALID);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 1, NAN, 0, &m), ERR_RANGE);
    assert_int_equal(rig->slave.reg[8], 500);

    assert_int_equal(ask(rig, MESSAGE_SET_LIMIT, 1, 0.5, 0, &m), 0);
    assert_int_equal(ask(rig, MESSAGE_SET_PROTECTION, 1, 3.6, 1, &m), 0);
    assert_int_equal(rig->slave.reg[82], 360);
    assert_int_equal(rig->slave.reg[83], 500);
    assert_int_equal(ask(rig, MESSAGE_SET_LIMIT, 1, 0.8, 0, &m), 0);
    assert_int_equal(rig->slave.reg[83], 800); /* OCP goes with the limit */
    assert_int_equal(ask(rig, MESSAGE_SET_PROTECTION, 1, NAN, 0, &m), 0);
    assert_int_equal(rig->slave.reg[82], 360);
    assert_int_equal(rig->slave.reg[83], 6000);

    assert_int_equal(ask(rig, MESSAGE_OUTPUT, 1, 1, 0, &m), 0);
    assert_int_equal(rig->slave.reg[18], 1);
    rig->slave.reg[10] = 333;
    rig->slave.reg[11] = 801;
    rig->slave.reg[17] = 1;
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 1, QUANTITY_VOLTAGE, 0, &m), 0);
    assert_true(fabs(m.value[0] - 3.33) < 1e-9 && m.flags == READING_LIMITING && m.value[1] > 0);
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 1, QUANTITY_CURRENT, 0, &m), 0);
    assert_true(fabs(m.value[0] - 0.801) < 1e-9);
    rig->slave.reg[16] = 2;
    rig->slave.reg[18] = 0;
    assert_int_equal(ask(rig, MESSAGE_STATE, 1, 0, 0, &m), 0);
    assert_true(m.flags == MESSAGE_TRIPPED && fabs(m.value[0] - 5) < 1e-9 && fabs(m.value[1] - 0.8) < 1e-9);
    assert_int_equal(ask(rig, MESSAGE_CLEAR_TRIP, 1, 0, 0, &m), ERR_TRIPPED);
    rig->slave.reg[16] = 0;
    assert_int_equal(ask(rig, MESSAGE_CLEAR_TRIP, 1, 0, 0, &m), 0);
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 1, QUANTITY_TEMPERATURE, 0, &m), ERR_UNSUPPORTED);
}

static void a_lie_is_caught(void **state)
{
    struct rig *rig = *state;
    struct message m;
    make_riden(rig, 60062);
    assert_int_equal(open_driver(rig, "riden-rd6006", CLASS_PSU, "", NULL), 0);
    spoil(rig, LIE, 1);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 1, 1.8, 0, &m), ERR_REFUSED);
    spoil(rig, LIE, 1);
    assert_int_equal(ask(rig, MESSAGE_OUTPUT, 1, 1, 0, &m), ERR_REFUSED);
    rig->slave.reg[18] = 1;
    spoil(rig, LIE, 1);
    assert_int_equal(ask(rig, MESSAGE_SAFE_OFF, 1, 0, 0, &m), 0);
    assert_true(m.value[0] == 1); /* the read back still says on */
    assert_int_equal(ask(rig, MESSAGE_SAFE_OFF, 1, 0, 0, &m), 0);
    assert_true(m.value[0] == 0 && rig->slave.reg[18] == 0);
}

static void units_on_one_bus_are_channels_of_one_instrument(void **state)
{
    struct rig *rig = *state;
    struct message m;
    struct driver_description d;
    for (int i = 0; i < 8; i++) {
        rig->slave.reg[i] = (uint16_t)(100 * i + 1);
        rig->slave.reg[0x1000 + i] = 0;
    }
    assert_int_equal(open_driver(rig, "waveshare-ai8", CLASS_DMM, "?units=1,2", NULL), 0);
    assert_int_equal(driver_modbus.describe(&rig->config, &d, NULL, NULL), 0);
    assert_int_equal(d.channel_count, 16);
    assert_false(d.energises);
    for (int channel = 1; channel <= 16; channel++) {
        assert_int_equal(ask(rig, MESSAGE_MEASURE, channel, QUANTITY_VOLTAGE, 0, &m), 0);
        assert_true(fabs(m.value[0] - (0.1 * ((channel - 1) % 8) + 0.001)) < 1e-9 && m.flags == 0);
    }
    rig->slave.reg[3] = 5000;
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 4, QUANTITY_VOLTAGE, 0, &m), 0);
    assert_true(m.flags == READING_OVERRANGE);
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 17, QUANTITY_VOLTAGE, 0, &m), ERR_INVALID);
    driver_modbus.close(rig->driver);
    rig->driver = NULL;
    rig->slave.reg[0x1003] = 3; /* a channel that counts microamperes */
    assert_int_equal(driver_modbus.open(&rig->config, &rig->env, &rig->driver, NULL), ERR_IDENTITY);
    rig->slave.reg[0x1003] = 0;
    if (rig->slave.rtu)
        return;
    atomic_store(&rig->slave.units, 1); /* the second unit has gone */
    assert_int_equal(driver_modbus.open(&rig->config, &rig->env, &rig->driver, NULL), ERR_TIMEOUT);
}

static void chambers(void **state)
{
    struct rig *rig = *state;
    struct message m;
    assert_int_equal(open_driver(rig, "eurotherm-32xx", CLASS_CHAMBER, "", NULL), 0);
    rig->slave.reg[1] = (uint16_t)-123;
    assert_int_equal(ask(rig, MESSAGE_SET_TEMPERATURE, 1, -40.04, 0, &m), 0);
    assert_int_equal((int16_t)rig->slave.reg[24], -400);
    assert_true(m.value[0] == -40);
    assert_int_equal(ask(rig, MESSAGE_SET_TEMPERATURE, 1, 500, 0, &m), ERR_RANGE);
    assert_int_equal(ask(rig, MESSAGE_STATE, 1, 0, 0, &m), 0);
    assert_true(fabs(m.value[0] + 40) < 1e-9 && fabs(m.value[1] + 12.3) < 1e-9 && m.flags == 0);
    driver_modbus.close(rig->driver);
    rig->driver = NULL;

    assert_int_equal(open_driver(rig, "watlow-f4t", CLASS_CHAMBER, "", NULL), 0); /* low word first */
    assert_int_equal(ask(rig, MESSAGE_SET_TEMPERATURE, 2, 12.5, 0, &m), 0);
    assert_int_equal(rig->slave.reg[2782 + 160], 0x0000);
    assert_int_equal(rig->slave.reg[2783 + 160], 0x4148);
    rig->slave.reg[2820 + 160] = 0;
    rig->slave.reg[2821 + 160] = 0x7fc0; /* NaN: the sensor is broken */
    assert_int_equal(ask(rig, MESSAGE_MEASURE, 2, QUANTITY_TEMPERATURE, 0, &m), 0);
    assert_true(isnan(m.value[0]) && m.flags == READING_NOT_A_NUMBER);
}

static void an_output_without_a_switch(void **state)
{
    struct rig *rig = *state;
    struct message m;
    memset(rig->slave.reg, 0, 8);
    assert_int_equal(open_driver(rig, "adam-4024", CLASS_SMU, "", NULL), 0);
    assert_int_equal(ask(rig, MESSAGE_SET_VOLTAGE, 2, 5, 0, &m), 0);
    assert_int_equal(rig->slave.reg[1], 0); /* waits for the output to be switched on */
    assert_int_equal(ask(rig, MESSAGE_OUTPUT, 2, 1, 0, &m), 0);
    assert_int_equal(rig->slave.reg[1], 2048);
    assert_int_equal(ask(rig, MESSAGE_SAFE_OFF, 2, 0, 0, &m), 0);
    assert_int_equal(rig->slave.reg[1], 0);
    assert_int_equal(ask(rig, MESSAGE_SET_LIMIT, 2, 0.1, 0, &m), ERR_UNSUPPORTED);
}

static void raw_registers_for_people(void **state)
{
    struct rig *rig = *state;
    struct message m = { .op = MESSAGE_QUERY };
    make_riden(rig, 60062);
    assert_int_equal(open_driver(rig, "riden-rd6006", CLASS_PSU, "", NULL), 0);
    m.payload_length = (uint32_t)snprintf((char *)rig->payload, 80, "read 1 3 8 2");
    assert_int_equal(driver_modbus.request(rig->driver, &m, rig->payload, sizeof rig->payload, NULL), 0);
    assert_memory_equal(rig->payload, "500 1000", m.payload_length);
    m.payload_length = (uint32_t)snprintf((char *)rig->payload, 80, "write 1 6 18 1");
    assert_int_equal(driver_modbus.request(rig->driver, &m, rig->payload, sizeof rig->payload, NULL),
                     ERR_INVALID);
    assert_int_equal(rig->slave.reg[18], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_map_is_in_order),
        cmocka_unit_test(a_wrong_map_is_refused_with_every_mistake),
        MODBUS_BOTH(the_scale_is_that_of_the_model),
        MODBUS_BOTH(a_supply_is_set_read_and_protected),
        MODBUS_BOTH(a_lie_is_caught),
        MODBUS_BOTH(units_on_one_bus_are_channels_of_one_instrument),
        MODBUS_BOTH(chambers),
        MODBUS_BOTH(an_output_without_a_switch),
        MODBUS_BOTH(raw_registers_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
