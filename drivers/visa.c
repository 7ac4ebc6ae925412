/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * visa: taking VISA resource strings apart, and finding the USB device that one names. */
#include "drivers/visa.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PARTS_MAX = 7, TEXT_MAX = 256, ATTRIBUTE_MAX = 128 };

struct visa {
    char text[TEXT_MAX];
    char *part[PARTS_MAX]; /* between "::" */
    int count;
};

/* False when it is too long or has too many parts to be one. */
static bool split(const char *text, struct visa *v)
{
    size_t n = strlen(text);
    if (n >= sizeof v->text)
        return false;
    memcpy(v->text, text, n + 1);
    v->count = 0;
    for (char *p = v->text; p;) {
        char *end = strstr(p, "::");
        if (v->count == PARTS_MAX)
            return false;
        v->part[v->count++] = p;
        if (end)
            *end = '\0';
        p = end ? end + 2 : NULL;
    }
    return v->count > 1;
}

/* Whether the first part is the interface, with or without a board number. */
static bool is_interface(const char *part, const char *name)
{
    size_t n = strlen(name);
    return strncasecmp(part, name, n) == 0 && strspn(part + n, "0123456789") == strlen(part + n);
}

static int put(char *out, size_t size, struct error *err, const char *format, const char *a, const char *b)
{
    char text[2 * TEXT_MAX];
    int n = snprintf(text, sizeof text, "%s%s%s", format, a, b);
    if (n < 0 || (size_t)n >= size)
        return error_set(err, ERR_INVALID, "resource is longer than %zu characters", size - 1);
    memcpy(out, text, (size_t)n + 1);
    return 0;
}

static int tcpip(const struct visa *v, char *out, size_t size, struct error *err)
{
    char port[16];
    if (v->count != 4 || strcasecmp(v->part[3], "SOCKET") != 0)
        return error_set(err, ERR_UNSUPPORTED,
                         "VXI-11 and HiSLIP are not spoken; most instruments have a raw socket: "
                         "TCPIP::%s::5025::SOCKET",
                         v->part[1]);
    snprintf(port, sizeof port, ":%.14s", v->part[2]);
    return put(out, size, err, "tcp:", v->part[1], port);
}

/* A number counts from 1, as NI's VISA does on Linux: ASRL1 is /dev/ttyS0. */
static int asrl(const struct visa *v, char *out, size_t size, struct error *err)
{
    const char *what = v->part[0] + strlen("ASRL");
    char number[24];
    if (v->count != 2 || strcasecmp(v->part[1], "INSTR") != 0 || *what == '\0')
        return error_set(err, ERR_INVALID, "write ASRL/dev/ttyUSB0::INSTR");
    if (strspn(what, "0123456789") < strlen(what))
        return put(out, size, err, "serial:", what, "");
    snprintf(number, sizeof number, "%ld", strtol(what, NULL, 10) - 1);
    return put(out, size, err, "serial:/dev/ttyS", number, "");
}

/* "PRLGX-TCPIP::HOST::1234::GPIB::5::INSTR", "PRLGX-ASRL/dev/ttyUSB0::GPIB::5::INSTR": the adapter's part is
 * as pyvisa-py names it, the rest as for any board. */
static int prologix(const struct visa *v, char *out, size_t size, struct error *err)
{
    const char *adapter = v->part[0] + strlen("PRLGX-");
    bool tcp = is_interface(adapter, "TCPIP"), serial = strncasecmp(adapter, "ASRL/", 5) == 0;
    int first = tcp ? 3 : 1;
    char carrier[TEXT_MAX + 8], address[16];
    if ((!tcp && !serial) || v->count != first + 3 || !is_interface(v->part[first], "GPIB") ||
        strcasecmp(v->part[first + 2], "INSTR") != 0)
        return error_set(err, ERR_INVALID, "write PRLGX-TCPIP::HOST::1234::GPIB::ADDRESS::INSTR");
    if (tcp)
        snprintf(carrier, sizeof carrier, "tcp:%s:%s", v->part[1], v->part[2]);
    else
        snprintf(carrier, sizeof carrier, "serial:%s", adapter + strlen("ASRL"));
    snprintf(address, sizeof address, "/%.8s", v->part[first + 1]);
    return put(out, size, err, "prologix:", carrier, address);
}

/* One line of a file of sysfs; "" when there is none. */
static void attribute(const char *device, const char *name, char value[ATTRIBUTE_MAX])
{
    char path[512];
    value[0] = '\0';
    snprintf(path, sizeof path, "%s/device/../%s", device, name);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (!fgets(value, ATTRIBUTE_MAX, file))
        value[0] = '\0';
    value[strcspn(value, "\n")] = '\0';
    fclose(file);
}

static bool is_device(const char *device, const struct visa *v)
{
    char vendor[ATTRIBUTE_MAX], product[ATTRIBUTE_MAX], serial[ATTRIBUTE_MAX];
    attribute(device, "idVendor", vendor);
    attribute(device, "idProduct", product);
    attribute(device, "serial", serial);
    return *vendor && strtol(vendor, NULL, 16) == strtol(v->part[1], NULL, 0) &&
           strtol(product, NULL, 16) == strtol(v->part[2], NULL, 0) && strcmp(serial, v->part[3]) == 0;
}

static int usb(const struct visa *v, const char *sys_root, char *out, size_t size, struct error *err)
{
    if (v->count < 5 || v->count > 6 || strcasecmp(v->part[v->count - 1], "INSTR") != 0)
        return error_set(err, ERR_INVALID, "write USB::0xVENDOR::0xPRODUCT::SERIAL::INSTR");
    char pattern[256];
    glob_t found;
    int code = error_set(err, ERR_NO_ANSWER, "no USB instrument %s:%s with serial number %s", v->part[1],
                         v->part[2], v->part[3]);
    snprintf(pattern, sizeof pattern, "%.200s/class/usbmisc/usbtmc*", sys_root);
    if (glob(pattern, 0, NULL, &found) != 0)
        return code;
    for (size_t i = 0; i < found.gl_pathc && code == ERR_NO_ANSWER; i++) {
        if (is_device(found.gl_pathv[i], v))
            code = put(out, size, err, "usbtmc:/dev/", strrchr(found.gl_pathv[i], '/') + 1, "");
    }
    globfree(&found);
    return code;
}

int visa_resource(const char *text, const char *sys_root, char *out, size_t size, struct error *err)
{
    struct visa v;
    if (!split(text, &v))
        return error_set(err, ERR_NOT_FOUND, "'%s' is no VISA resource", text);
    int code = ERR_NOT_FOUND;
    if (is_interface(v.part[0], "TCPIP"))
        code = tcpip(&v, out, size, err);
    else if (strncasecmp(v.part[0], "ASRL", 4) == 0)
        code = asrl(&v, out, size, err);
    else if (is_interface(v.part[0], "USB"))
        code = usb(&v, sys_root, out, size, err);
    else if (strncasecmp(v.part[0], "PRLGX-", 6) == 0)
        code = prologix(&v, out, size, err);
    else if (is_interface(v.part[0], "GPIB"))
        code =
            error_set(err, ERR_UNSUPPORTED,
                      "GPIB is reached over an adapter: PRLGX-TCPIP::HOST::1234::GPIB::%s::INSTR", v.part[1]);
    else
        error_set(err, ERR_NOT_FOUND, "'%s' is no VISA resource", text);
    if (code && code != ERR_NOT_FOUND)
        error_prefix(err, "resource '%s'", text);
    return code;
}
