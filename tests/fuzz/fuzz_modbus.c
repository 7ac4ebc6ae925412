/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_modbus: both ends of Modbus. First byte even: a slave that answers anything to the driver, in frames
 * whose header is right, so that the bytes reach what is behind it; a failed request leaves its message as it
 * was. Odd: a hostile client of the simulated slave, over TCP or RTU: no answer is longer than a frame, and
 * the question that follows is still answered rightly.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c drivers/modbus.c
 * sources: drivers/modbus_link.c drivers/modbus_line.c drivers/modbus_address.c drivers/modbus_map.c
 * sources: drivers/device.c
 * sources: drivers/dialect.c drivers/dialect_file.c drivers/dialect_check.c drivers/scpi_text.c
 * sources: drivers/sim/modbus_server.c tests/fuzz/fake_transport.c
 * aims: drivers/modbus*.c drivers/sim/modbus_server.c
 * options: -max_len=2048
 * edges: 410 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/driver.h"
#include "drivers/sim/modbus_server.h"
#include "tests/fuzz/fake_transport.h"
#include "tests/fuzz/fuzz.h"

enum { REQUESTS = 6, FRAMES_MAX = 24 };

static uint8_t stream[FRAMES_MAX * 264], payload[4096], answer[MODBUS_FRAME_MAX];
static size_t answer_n;
static const char *resource = "tcp:fuzz";

int64_t clock_wall_now(void)
{
    return 0;
}

/* ---- What the slave needs of the simulator ---- */
int64_t sim_now(const struct sim_loop *loop)
{
    (void)loop;
    return 0;
}

void sim_link_send(struct sim_link *link, int client, const void *bytes, size_t n, int64_t at_ns)
{
    (void)link;
    (void)client;
    (void)at_ns;
    FUZZ_CHECK(n > 0 && n <= sizeof answer);
    memcpy(answer, bytes, n);
    answer_n = n;
}

void sim_link_disconnect(struct sim_link *link, int client)
{
    (void)link;
    (void)client;
}

const char *sim_link_resource(const struct sim_link *link)
{
    (void)link;
    return resource;
}

static struct modbus_server server;

void *sim_link_context(const struct sim_link *link)
{
    (void)link;
    return &server;
}

static int read_one(void *device, int unit, int function, int address, uint16_t *ret_value)
{
    (void)device;
    FUZZ_CHECK(unit >= 0 && unit < 3 && (function == 3 || function == 4));
    *ret_value = (uint16_t)(address * 7);
    return address < 200 ? 0 : MODBUS_ILLEGAL_ADDRESS;
}

static int write_one(void *device, int unit, int address, uint16_t value)
{
    (void)device;
    (void)value;
    FUZZ_CHECK(unit >= 0 && unit < 3);
    return address < 200 ? 0 : MODBUS_ILLEGAL_ADDRESS;
}

static void fuzz_slave(bool rtu, const uint8_t *data, size_t size)
{
    static const struct modbus_server_model MODEL = { .read = read_one, .write = write_one };
    server = (struct modbus_server){ .model = &MODEL, .first_unit = 1, .units = 3 };
    resource = rtu ? "serial:fuzz" : "tcp:fuzz";
    modbus_server_attach(&server, NULL);
    for (size_t at = 0; at < size;) {
        size_t n = data[at] % 61u + 1;
        n = n < size - at ? n : size - at;
        modbus_server_bytes(&server, 0, data + at, n);
        at += n;
    }
    /* A new client asks register 5 of unit 2. */
    static const uint8_t TCP[] = { 0x12, 0x34, 0, 0, 0, 6, 2, 3, 0, 5, 0, 1 };
    uint8_t line[8] = { 2, 3, 0, 5, 0, 1 };
    uint16_t crc = modbus_crc(line, 6);
    line[6] = (uint8_t)crc;
    line[7] = (uint8_t)(crc >> 8);
    modbus_server_gone(&server, 0);
    answer_n = 0;
    modbus_server_bytes(&server, 0, rtu ? line : TCP, rtu ? sizeof line : sizeof TCP);
    FUZZ_CHECK(answer_n == (rtu ? 7u : 11u) && answer[rtu ? 4 : 10] == 35);
}

/* ---- The driver ---- */
static size_t make_stream(struct fuzz_input *answers)
{
    size_t n = 0;
    for (int i = 0; i < FRAMES_MAX && answers->size > 0; i++) {
        size_t length = fuzz_take(answers, 1), number = (size_t)i + 1;
        uint8_t *frame = stream + n;
        length = length % 254 + 1 < answers->size ? length % 254 + 1 : answers->size;
        frame[0] = (uint8_t)(number >> 8);
        frame[1] = (uint8_t)number;
        frame[2] = frame[3] = frame[4] = 0;
        frame[5] = (uint8_t)length;
        memcpy(frame + 6, answers->data, length);
        answers->data += length;
        answers->size -= length;
        n += 6 + length;
    }
    return n;
}

static void fuzz_driver(const uint8_t *data, size_t size)
{
    static const char *const MAPS[] = { "riden-rd6006", "waveshare-ai8", "watlow-f4t", "adam-4024" };
    static const int CLASSES[] = { CLASS_PSU, CLASS_DMM, CLASS_CHAMBER, CLASS_SMU };
    static const uint16_t OPS[] = { MESSAGE_IDENTIFY,       MESSAGE_SET_VOLTAGE, MESSAGE_SET_LIMIT,
                                    MESSAGE_SET_PROTECTION, MESSAGE_OUTPUT,      MESSAGE_STATE,
                                    MESSAGE_MEASURE,        MESSAGE_QUERY,       MESSAGE_SET_TEMPERATURE,
                                    MESSAGE_SAFE_OFF,       MESSAGE_CLEAR_TRIP };
    static const double VALUES[] = { 0, 1, 2, NAN, -1, 1e300, 12.34, 70000 };
    struct transport_env env = { .cut_fd = -1 };
    struct driver_config config = { .name = "unit", .resource = "modbus-tcp:fuzz:1" };
    struct fuzz_input choice = { data, size < 32 ? size : 32 };
    struct fuzz_input answers = { data + choice.size, size - choice.size };
    struct error err = { 0 };
    void *state = NULL;
    unsigned which = fuzz_take(&choice, 1) % 4;
    config.class = CLASSES[which];
    snprintf(config.dialect_path, sizeof config.dialect_path, "configs/instruments/modbus/%s.json",
             MAPS[which]);
    size_t n = make_stream(&answers);
    fake_transport_feed(stream, n, fuzz_take(&choice, 1) + 1u, false);
    int code = driver_modbus.open(&config, &env, &state, &err);
    if (code) {
        fuzz_check_refusal(code, &err, state);
        return;
    }
    for (int i = 0; i < REQUESTS; i++) {
        struct message m = { .op = OPS[fuzz_take(&choice, 1) % (sizeof OPS / sizeof *OPS)],
                             .channel = (int16_t)(fuzz_take(&choice, 1) % 10),
                             .value = { VALUES[fuzz_take(&choice, 1) % 8],
                                        VALUES[fuzz_take(&choice, 1) % 8] } };
        if (m.op == MESSAGE_QUERY)
            m.payload_length = (uint32_t)snprintf((char *)payload, 32, "read 1 3 %d 9", i);
        struct message before = m;
        err = (struct error){ 0 };
        code = driver_modbus.request(state, &m, payload, sizeof payload, &err);
        if (code) {
            fuzz_check_refusal(code, &err, NULL);
            FUZZ_CHECK(memcmp(&before, &m, sizeof m) == 0);
        }
    }
    driver_modbus.close(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 2)
        fuzz_slave(data[0] & 2, data + 1, size - 1);
    else
        fuzz_driver(data + 1, size - 1);
    return 0;
}
