/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_serprog: a bridge that answers anything to the serprog driver: the handshake, then messages. The first
 * bytes of the input choose the messages, the rest is what the bridge says. A failed request leaves its
 * message as it was, and no opcode goes out that the bridge does not offer.
 *
 * sources: daemon/base/error.c daemon/base/text.c drivers/device.c drivers/serprog.c
 *
 * sources: tests/fuzz/fake_transport.c
 *
 * aims: drivers/serprog.c
 * options: -max_len=2048
 * edges: 140 */
#include <math.h>

#include "drivers/driver.h"
#include "tests/fuzz/fake_transport.h"
#include "tests/fuzz/fuzz.h"

enum { REQUESTS = 4 };

static uint8_t payload[MESSAGE_PAYLOAD_MAX];

/* A batch whose lengths, and now and then whose count or size, come from the input. */
static void make_batch(struct message *message, struct fuzz_input *choice)
{
    struct message_spi items[8] = { { 0 } };
    uint32_t count = fuzz_take(choice, 1) % 8, tx = 0;

    for (uint32_t i = 0; i < count; i++) {
        items[i].tx_len = (uint16_t)(fuzz_take(choice, 1) * (i % 2 ? 1 : 37));
        items[i].rx_len = (uint16_t)(fuzz_take(choice, 1) * (i % 3 ? 1 : 41));
        items[i].delay_us = i % 4 == 3;
        tx += items[i].tx_len;
    }
    memcpy(payload, items, count * sizeof *items);
    message->count = fuzz_take(choice, 1) == 0x42 ? 0x10000001 : count;
    message->payload_length = (uint32_t)(count * sizeof *items) + tx;
}

static void check_request(void *state, struct fuzz_input *choice)
{
    static const uint16_t ops[] = { MESSAGE_IDENTIFY, MESSAGE_SPI_BATCH, MESSAGE_SPI_CLOCK, MESSAGE_SPI_DRIVE,
                                    MESSAGE_SAFE_OFF, MESSAGE_QUERY,     MESSAGE_SPI_BATCH, 0xFFFF };
    static const double values[] = { 0, 1, 1e6, -1, NAN, 1e300, 4e9, 0.5 };
    struct message message = { .magic = MESSAGE_MAGIC, .op = ops[fuzz_take(choice, 1) % 8] };
    struct error err = { 0 };

    message.value[0] = values[fuzz_take(choice, 1) % 8];
    if (message.op == MESSAGE_SPI_BATCH)
        make_batch(&message, choice);
    struct message before = message;
    int code = driver_serprog.request(state, &message, payload, sizeof payload, &err);
    if (code != 0) {
        fuzz_check_refusal(code, &err, NULL);
        FUZZ_CHECK(memcmp(&before, &message, sizeof before) == 0);
        return;
    }
    FUZZ_CHECK(message.payload_length <= sizeof payload);
    if (message.op == MESSAGE_SPI_CLOCK)
        FUZZ_CHECK(message.value[0] >= 0 && message.value[1] >= 1 && message.value[2] >= 1);
    if (message.op == MESSAGE_IDENTIFY)
        FUZZ_CHECK(message.payload_length > 0 && payload[message.payload_length - 1] == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct transport_env env = { .cut_fd = -1 };
    struct driver_config config = { .name = "bridge", .resource = "tcp:fuzz", .class = CLASS_SPI };
    struct error err = { 0 };
    struct fuzz_input choice = { data, size < 64 ? size : 64 };
    struct fuzz_input answers = { data + choice.size, size - choice.size };
    size_t piece = fuzz_take(&choice, 1) + 1u;
    void *state = NULL;

    config.spi_hz = piece % 2 ? 1e6 : 0;
    fake_transport_feed(answers.data, answers.size, piece, false);
    int code = driver_serprog.open(&config, &env, &state, &err);
    if (code != 0) {
        fuzz_check_refusal(code, &err, state);
        return 0;
    }
    for (int i = 0; i < REQUESTS; i++)
        check_request(state, &choice);
    driver_serprog.close(state);
    return 0;
}
