/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_spi: SPI payload through the serprog driver and the simulated bridge, in the bench's own (virtual)
 * time, against what framing and link allow: eight clocks for each byte of a transaction, and for each
 * command its bytes on the link and the bridge's own time, one after the other as the bridge takes them. What
 * is left is what driver and pipelining cost, and not how fast this machine simulates. Aim: at least 0.95. */
#include <stdio.h>

#include "tests/unit/sim_rig.h"

enum { BATCHES = 20, TRANSACTIONS = 100, PAYLOAD = 1024, FRAME = 8, ANSWER = 3, SERPROG = 7 + 1 };

#define LINK_BYTE_S 0.1e-6 /* of the simulated bridge: high-speed USB */
#define COMMAND_S   3e-6

static int batch(struct sim_rig *rig, struct error *err)
{
    static struct message_spi items[TRANSACTIONS];
    struct message m = { .magic = MESSAGE_MAGIC, .op = MESSAGE_SPI_BATCH, .count = TRANSACTIONS };
    for (int i = 0; i < TRANSACTIONS; i++) {
        items[i] = (struct message_spi){ .tx_len = FRAME + PAYLOAD, .rx_len = ANSWER };
        memset(rig->payload + sizeof items + (size_t)i * (FRAME + PAYLOAD), 0x03, FRAME + PAYLOAD);
    }
    memcpy(rig->payload, items, sizeof items);
    m.payload_length = (uint32_t)(sizeof items + TRANSACTIONS * (FRAME + PAYLOAD));
    return rig->driver->request(rig->state, &m, rig->payload, sizeof rig->payload, err);
}

int main(void)
{
    static const char BENCH[] =
        "{\"instruments\":[{\"name\":\"bridge\",\"simulate\":{\"model\":\"serprog\",\"link\":\"tcp\","
        "\"behind\":\"flash\",\"byte_s\":1e-7,\"op_s\":3e-6}},{\"name\":\"feed\",\"simulate\":{\"model\":"
        "\"e36312a\"}}],"
        "\"rails\":{\"VDD\":{\"instrument\":\"feed\",\"channel\":1}}}";
    struct sim_rig *rig = calloc(1, sizeof *rig);
    struct error err = { 0 };
    rig->config.class = CLASS_SPI;
    rig->config.spi_hz = 20e6;
    int code = sim_rig_start(rig, BENCH);
    if (!code)
        code = sim_rig_connect(rig, "serprog", "bridge", &err);
    struct message clock = { .magic = MESSAGE_MAGIC, .op = MESSAGE_SPI_CLOCK, .value = { 20e6 } };
    struct message drive = { .magic = MESSAGE_MAGIC, .op = MESSAGE_SPI_DRIVE, .value = { 1 } };
    if (!code)
        code = sim_rig_request(rig, &clock, &err);
    if (!code)
        code = sim_rig_request(rig, &drive, &err);
    int64_t start_ns = clock_now(rig->env.clock);
    for (int i = 0; i < BATCHES && !code; i++)
        code = batch(rig, &err);
    double took_s = (double)(clock_now(rig->env.clock) - start_ns) / 1e9;
    if (code) {
        fprintf(stderr, "bench_spi: no figure: %s\n", err.message);
        return 1;
    }
    double bytes = FRAME + PAYLOAD + ANSWER, clock_s = 8 * bytes / clock.value[0];
    double allowed_s = clock_s + LINK_BYTE_S * (bytes + SERPROG) + COMMAND_S;
    double each_s = took_s / (BATCHES * TRANSACTIONS);
    printf("SPI payload over simulated serprog at %.0f MHz: %.3f MB/s of bench time; framing and link allow "
           "%.3f MB/s, "
           "ratio %.3f (aim >= 0.95)%s; the SPI clock alone %.3f MB/s\n",
           clock.value[0] / 1e6, PAYLOAD / each_s / 1e6, PAYLOAD / allowed_s / 1e6, allowed_s / each_s,
           allowed_s / each_s < 0.95 ? ": missed" : "", PAYLOAD / clock_s / 1e6);
    return sim_rig_stop(rig);
}
