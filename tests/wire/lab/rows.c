/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * rows: the drivers and models of the fault matrix, and how each make says "no value" and "busy". */
#include <string.h>

#include "tests/wire/lab/lab.h"

static size_t scpi_nan(uint8_t *answer, size_t n)
{
    static const char NOT_A_NUMBER[] = "+9.91000000E+37";
    size_t number = 0;
    while (number < n && strchr("+-.0123456789E", answer[number]))
        number++;
    if (number == 0 || (answer[number] != '\n' && answer[number] != ';'))
        return n;
    memmove(answer + sizeof NOT_A_NUMBER - 1, answer + number, n - number);
    memcpy(answer, NOT_A_NUMBER, sizeof NOT_A_NUMBER - 1);
    return n - number + sizeof NOT_A_NUMBER - 1;
}

static void rtu_seal(uint8_t *frame, size_t n)
{
    uint16_t crc = 0xffff;
    for (size_t i = 0; i + 2 < n; i++) {
        crc ^= frame[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
    }
    frame[n - 2] = (uint8_t)crc;
    frame[n - 1] = (uint8_t)(crc >> 8);
}

static size_t rtu_busy(uint8_t *frame, size_t n)
{
    if (n < 5)
        return n;
    frame[1] |= 0x80;
    frame[2] = 6;
    rtu_seal(frame, 5);
    return 5;
}

static size_t tcp_busy(uint8_t *frame, size_t n)
{
    if (n < 9)
        return n;
    frame[5] = 3;
    frame[7] |= 0x80;
    frame[8] = 6;
    return 9;
}

static size_t serprog_busy(uint8_t *answer, size_t n)
{
    if (n == 2 && answer[0] == 0x15)
        return n; /* SYNCNOP */
    answer[0] = 0x15;
    return 1;
}

static size_t buspirate_busy(uint8_t *answer, size_t n)
{
    (void)n;
    answer[0] = 0x00;
    return 1;
}

#define SCPI_SPEECH                                                                                          \
    {                                                                                                        \
        .is_text = true, .nan = scpi_nan                                                                     \
    }
#define RTU_SPEECH .busy = rtu_busy, .seal = rtu_seal

const struct lab_row lab_rows[] = {
    { "e36312a",
      "scpi",
      "keysight-e36312a",
      "{\"model\":\"e36312a\"}",
      CLASS_PSU,
      { 1.0, 1.2 },
      0.02,
      QUANTITY_VOLTAGE,
      SCPI_SPEECH },
    { "n6705c",
      "scpi",
      "keysight-n6705c-n6784a",
      "{\"model\":\"n6705c\"}",
      CLASS_PSU,
      { 1.0, 1.2 },
      0.02,
      QUANTITY_VOLTAGE,
      SCPI_SPEECH },
    { "2450",
      "scpi",
      "keithley-2450",
      "{\"model\":\"2450\"}",
      CLASS_SMU,
      { 0.5, 0.7 },
      0.02,
      QUANTITY_VOLTAGE,
      SCPI_SPEECH },
    { "34461a",
      "scpi",
      "keysight-34461a",
      "{\"model\":\"34461a\"}",
      CLASS_DMM,
      { 1, 10 },
      0.001,
      QUANTITY_VOLTAGE,
      SCPI_SPEECH },
    { "dp832",
      "scpi",
      "rigol-dp832",
      "{\"model\":\"dp832\"}",
      CLASS_PSU,
      { 1.0, 1.2 },
      0.03,
      QUANTITY_VOLTAGE,
      SCPI_SPEECH },
    { "ka3005p",
      "korad",
      "",
      "{\"model\":\"ka3005p\"}",
      CLASS_PSU,
      { 1.0, 1.2 },
      0.05,
      QUANTITY_VOLTAGE,
      { .identity = "KA3005P", .other = "KA3003P" } },
    { "rd6006",
      "modbus",
      "modbus/riden-rd6006",
      "{\"model\":\"rd6006\",\"link\":\"tcp\"}",
      CLASS_PSU,
      { 1.0, 1.2 },
      0.05,
      QUANTITY_VOLTAGE,
      { .identity = "\x01\x37\xa5\xf2", .other = "\x01\x37\xa5\xf3", .busy = tcp_busy } },
    { "dps5005",
      "modbus",
      "modbus/rdtech-dps5005",
      "{\"model\":\"dps5005\"}",
      CLASS_PSU,
      { 1.0, 1.2 },
      0.05,
      QUANTITY_VOLTAGE,
      { .identity = "\x02\x13\x8d", .other = "\x02\x14\x8d", RTU_SPEECH } },
    { "waveshare-ai8",
      "modbus",
      "modbus/waveshare-ai8",
      "{\"model\":\"waveshare-ai8\",\"nets\":[\"VDD\"]}",
      CLASS_DMM,
      { 0, 0 },
      0.01,
      QUANTITY_VOLTAGE,
      { RTU_SPEECH } },
    { "eurotherm-32xx",
      "modbus",
      "modbus/eurotherm-32xx",
      "{\"model\":\"eurotherm-32xx\",\"tau_s\":0.2}",
      CLASS_CHAMBER,
      { 40, 50 },
      0.5,
      QUANTITY_TEMPERATURE,
      { RTU_SPEECH } },
    { "watlow-f4",
      "modbus",
      "modbus/watlow-f4",
      "{\"model\":\"watlow-f4\",\"tau_s\":0.2}",
      CLASS_CHAMBER,
      { 40, 50 },
      0.5,
      QUANTITY_TEMPERATURE,
      { RTU_SPEECH } },
    { "adam-4017",
      "modbus",
      "modbus/adam-4017",
      "{\"model\":\"adam-4017\",\"nets\":[\"VDD\"]}",
      CLASS_DMM,
      { 0, 0 },
      0.01,
      QUANTITY_VOLTAGE,
      { RTU_SPEECH } },
    { "thermostream",
      "scpi",
      "intest-thermostream",
      "{\"model\":\"thermostream\",\"tau_s\":0.2}",
      CLASS_CHAMBER,
      { 40, 50 },
      0.5,
      QUANTITY_TEMPERATURE,
      { .is_text = true } },
    { "serprog",
      "serprog",
      "",
      "{\"model\":\"serprog\",\"link\":\"tcp\",\"behind\":\"flash\"}",
      CLASS_SPI,
      { 2e6, 1e6 },
      0,
      0,
      { .identity = "nightbench-sim", .other = "nightbench-sum", .busy = serprog_busy } },
    { "buspirate",
      "buspirate",
      "",
      "{\"model\":\"buspirate\",\"behind\":\"flash\"}",
      CLASS_SPI,
      { 2e6, 1e6 },
      0,
      0,
      { .identity = "BBIO1", .other = "BBIO2", .busy = buspirate_busy } },
    { "mpsse",
      "mpsse",
      "",
      "{\"model\":\"mpsse\",\"behind\":\"flash\"}",
      CLASS_SPI,
      { 2e6, 1e6 },
      0,
      0,
      { .is_text = false } }, /* it has no name, and no word for busy */
};
const int lab_row_count = sizeof lab_rows / sizeof *lab_rows;
