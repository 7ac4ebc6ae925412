/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_visa: VISA strings and what they stand for, and the search for a USB device below a made-up /sys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/visa.h"

static void strings_and_what_they_stand_for(void **state)
{
    (void)state;
    static const struct {
        const char *text, *resource;
        int code;
    } CASES[] = {
        { "TCPIP::10.0.0.5::5025::SOCKET", "tcp:10.0.0.5:5025", 0 },
        { "TCPIP0::psu.lab::5555::socket", "tcp:psu.lab:5555", 0 },
        { "tcpip::h::1::SOCKET", "tcp:h:1", 0 },
        { "TCPIP::10.0.0.5::INSTR", NULL, ERR_UNSUPPORTED },
        { "TCPIP::10.0.0.5::hislip0::INSTR", NULL, ERR_UNSUPPORTED },
        { "ASRL/dev/ttyUSB0::INSTR", "serial:/dev/ttyUSB0", 0 },
        { "ASRL/dev/serial/by-id/usb-FTDI::INSTR", "serial:/dev/serial/by-id/usb-FTDI", 0 },
        { "ASRL1::INSTR", "serial:/dev/ttyS0", 0 },
        { "ASRL::INSTR", NULL, ERR_INVALID },
        { "ASRL/dev/ttyUSB0::SOCKET", NULL, ERR_INVALID },
        { "GPIB0::22::INSTR", NULL, ERR_UNSUPPORTED },
        { "PRLGX-TCPIP::10.0.0.9::1234::GPIB::5::INSTR", "prologix:tcp:10.0.0.9:1234/5", 0 },
        { "prlgx-tcpip0::gpib.lab::1234::GPIB0::30::INSTR", "prologix:tcp:gpib.lab:1234/30", 0 },
        { "PRLGX-ASRL/dev/ttyUSB0::GPIB::5::INSTR", "prologix:serial:/dev/ttyUSB0/5", 0 },
        { "PRLGX-TCPIP::10.0.0.9::1234::INTFC", NULL, ERR_INVALID },
        { "PRLGX-USB::GPIB::5::INSTR", NULL, ERR_INVALID },
        { "USB0::0x1AB1::0x0E11::DP8A1::INSTR", NULL, ERR_NO_ANSWER },
        { "USB0::0x1AB1::INSTR", NULL, ERR_INVALID },
        { "TCPIPX::a::1::SOCKET", NULL, ERR_NOT_FOUND },
        { "tcp:[::1]:5025", NULL, ERR_NOT_FOUND },
        { "a::b::c::d::e::f::g::h", NULL, ERR_NOT_FOUND },
        { "", NULL, ERR_NOT_FOUND },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char out[256] = "";
        struct error err = { 0 };
        int code = visa_resource(CASES[i].text, "/nonexistent", out, sizeof out, &err);
        if (code != CASES[i].code || (code == 0 && strcmp(out, CASES[i].resource) != 0))
            fail_msg("%s: %d '%s' (%s)", CASES[i].text, code, out, err.message);
    }
}

static void too_long_is_refused(void **state)
{
    (void)state;
    char out[20];
    assert_int_equal(visa_resource("TCPIP::a-rather-long-name::5025::SOCKET", "/", out, sizeof out, NULL),
                     ERR_INVALID);
    char text[400] = "TCPIP::";
    memset(text + 7, 'a', 380);
    assert_int_equal(visa_resource(text, "/", out, sizeof out, NULL), ERR_NOT_FOUND);
}

static void put(const char *root, const char *path, const char *text)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s", root, path);
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void add_device(const char *root, int n, const char *vendor, const char *product, const char *serial)
{
    char command[512], path[64];
    snprintf(command, sizeof command,
             "mkdir -p %s/class/usbmisc %s/dev%d/if0 %s/class/usbmisc/usbtmc%d && "
             "ln -s %s/dev%d/if0 %s/class/usbmisc/usbtmc%d/device",
             root, root, n, root, n, root, n, root, n);
    assert_int_equal(system(command), 0);
    const char *const names[] = { "idVendor", "idProduct", "serial" }, *const values[] = { vendor, product,
                                                                                           serial };
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "dev%d/%s", n, names[i]);
        put(root, path, values[i]);
    }
}

static void the_device_with_that_serial_number(void **state)
{
    (void)state;
    char root[] = "/tmp/nb-visa.XXXXXX", out[64], command[64];
    assert_non_null(mkdtemp(root));
    add_device(root, 0, "1ab1\n", "0e11\n", "DP8A1\n");
    add_device(root, 1, "1ab1\n", "0e11\n", "DP8A2\n");
    assert_int_equal(visa_resource("USB::0x1AB1::0x0E11::DP8A2::INSTR", root, out, sizeof out, NULL), 0);
    assert_string_equal(out, "usbtmc:/dev/usbtmc1");
    assert_int_equal(visa_resource("USB0::6833::3601::DP8A1::0::INSTR", root, out, sizeof out, NULL), 0);
    assert_string_equal(out, "usbtmc:/dev/usbtmc0");
    assert_int_equal(visa_resource("USB::0x1AB1::0x0E11::DP8A3::INSTR", root, out, sizeof out, NULL),
                     ERR_NO_ANSWER);
    assert_int_equal(visa_resource("USB::0x1AB1::0x0E12::DP8A2::INSTR", root, out, sizeof out, NULL),
                     ERR_NO_ANSWER);
    snprintf(command, sizeof command, "rm -rf %s", root);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_and_what_they_stand_for),
        cmocka_unit_test(too_long_is_refused),
        cmocka_unit_test(the_device_with_that_serial_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
