/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_instrument: a hostile client of the simulated instruments: every model of drivers/sim on the real
 * world, with an event loop of our own. The first line names the model, then a byte says in which pieces the
 * client sends the rest. Afterwards voltages are finite, no work is left, and the instrument still answers a
 * sane question.
 *
 * sources: daemon/base drivers/sim/bridge_*.c drivers/sim/chip_*.c drivers/sim/models.c
 * sources: drivers/sim/modbus_server.c
 * sources: drivers/sim/scpi_*.c drivers/sim/sim_*.c drivers/sim/world*.c
 * aims: drivers/sim/bridge_*.c drivers/sim/scpi_*.c drivers/sim/sim_*.c
 * options: -max_len=2048
 * edges: 1400 */
#include <math.h>

#include "drivers/sim/scpi_server.h"
#include "tests/fuzz/fuzz.h"

enum { EVENTS_MAX = 4096, STEPS_MAX = 20000, ANSWER_MAX = 1 << 16, NETS = 4, CLIENT = 0, JUDGE = 1 };
enum { NAME_MAX_BYTES = 32, WAIT = 0xFF, SECOND_NS = 1000000000 };

/* ---- An event loop in one array ---- */
struct event {
    uint64_t id;
    int64_t at_ns;
    sim_timer_fn fn;
    void *context;
};

static struct {
    struct event event[EVENTS_MAX];
    int count;
    uint64_t next_id;
    int64_t now_ns;
    uint8_t answer[ANSWER_MAX]; /* to the judge */
    size_t answer_n;
    bool text; /* answers are lines */
} loop;

int64_t sim_now(const struct sim_loop *unused)
{
    (void)unused;
    return loop.now_ns;
}
bool sim_is_virtual(const struct sim_loop *unused)
{
    (void)unused;
    return true;
}
uint64_t sim_at(struct sim_loop *unused, int64_t at_ns, sim_timer_fn fn, void *context)
{
    (void)unused;
    if (loop.count == EVENTS_MAX)
        return 0;
    loop.event[loop.count++] = (struct event){ ++loop.next_id, at_ns, fn, context };
    return loop.next_id;
}
void sim_cancel(struct sim_loop *unused, uint64_t id)
{
    (void)unused;
    for (int i = 0; i < loop.count; i++) {
        if (loop.event[i].id == id) {
            loop.event[i] = loop.event[--loop.count];
            return;
        }
    }
}
void sim_link_send(struct sim_link *link, int client, const void *bytes, size_t n, int64_t at_ns)
{
    const char *text = bytes;

    (void)link;
    FUZZ_CHECK(at_ns >= loop.now_ns && n > 0);
    if (loop.text)
        FUZZ_CHECK(text[n - 1] == '\n');
    if (client != JUDGE || n > ANSWER_MAX - loop.answer_n)
        return;
    memcpy(loop.answer + loop.answer_n, bytes, n);
    loop.answer_n += n;
}
void sim_link_disconnect(struct sim_link *link, int client)
{
    (void)link;
    (void)client;
}
const char *sim_link_resource(const struct sim_link *link)
{
    (void)link;
    return "tcp:127.0.0.1:1";
}

void *sim_link_context(const struct sim_link *link)
{
    (void)link;
    return NULL;
}

/* Performs the earliest event; false when there is none. */
static bool step(void)
{
    int first = 0;

    for (int i = 1; i < loop.count; i++) {
        const struct event *a = &loop.event[i], *b = &loop.event[first];
        if (a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->id < b->id))
            first = i;
    }
    if (loop.count == 0)
        return false;
    struct event event = loop.event[first];
    loop.event[first] = loop.event[--loop.count];
    loop.now_ns = event.at_ns > loop.now_ns ? event.at_ns : loop.now_ns;
    event.fn(event.context, loop.now_ns);
    return true;
}

static void settle(void)
{
    int steps = 0;

    while (step())
        FUZZ_CHECK(++steps < STEPS_MAX); /* one message must not keep the simulator busy for ever */
}

/* ---- The bench ---- */
static struct world *make_world(struct world_net **nets)
{
    static const char *const names[NETS] = { "VDD", "VIO", "VREF", "BUS" };
    static const int kinds[NETS] = { WORLD_RAIL, WORLD_RAIL_IO, WORLD_REFERENCE, WORLD_TEST_BUS };
    struct error err = { 0 };
    struct world *world = NULL;

    FUZZ_CHECK(world_open(NULL, NULL, 1, &world, &err) == 0);
    for (int i = 0; i < NETS; i++) {
        struct world_net_options options = {
            .name = names[i], .kind = kinds[i], .abs_max_v = 1.3, .abs_min_v = -0.3, .capacitance_f = 1e-6
        };
        FUZZ_CHECK(world_net_add(world, &options, &nets[i], &err) == 0);
    }
    return world;
}

static void check_world(struct world *world, struct world_net *const *nets)
{
    for (int i = 0; i < NETS; i++) {
        double volt = world_volt(world, nets[i]);

        FUZZ_CHECK(isfinite(volt) && fabs(volt) < 1000);
        FUZZ_CHECK(isfinite(world_current(world, nets[i])) && isfinite(world_energy(world, nets[i])));
    }
}

/* Whatever was said before: one question, one answer. */
static void check_scpi_alive(const struct sim_device_model *model, void *device)
{
    static const uint8_t ask[] = "\n*CLS\n*IDN?\n";

    loop.answer_n = 0;
    model->ops.on_bytes(device, JUDGE, ask, sizeof ask - 1);
    settle();
    FUZZ_CHECK(loop.answer_n > 8 && loop.answer[loop.answer_n - 1] == '\n');
    FUZZ_CHECK(memchr(loop.answer, ',', loop.answer_n) != NULL);
    FUZZ_CHECK(memchr(loop.answer, '\n', loop.answer_n) == loop.answer + loop.answer_n - 1);
}

/* A new connection starts at a command. */
static void check_bridge_alive(const struct sim_device_model *model, void *device)
{
    static const uint8_t sync = 0x10;

    model->ops.on_close(device, CLIENT);
    settle();
    model->ops.on_open(device, JUDGE);
    loop.answer_n = 0;
    model->ops.on_bytes(device, JUDGE, &sync, 1);
    settle();
    FUZZ_CHECK(loop.answer_n == 2 && loop.answer[0] == 0x15 && loop.answer[1] == 0x06);
}

/* The next piece: of one size, or up to a byte of its own, after which the client waits for the answers. */
static size_t next_piece(const struct fuzz_input *in, size_t size, bool waits)
{
    const uint8_t *end = waits ? memchr(in->data, WAIT, in->size) : NULL;

    if (waits)
        return end != NULL ? (size_t)(end - in->data) : in->size;
    return size < in->size ? size : in->size;
}

static void feed(const struct sim_device_model *model, void *device, struct fuzz_input *in)
{
    size_t piece = fuzz_take(in, 1) + 1u;
    bool waits = piece == WAIT + 1;

    while (in->size > 0) {
        size_t n = next_piece(in, piece, waits);

        if (n > 0)
            model->ops.on_bytes(device, CLIENT, in->data, n);
        in->data += n;
        in->size -= n;
        if (waits) {
            settle();
            loop.now_ns += SECOND_NS; /* some are deaf for a while after an answer */
            fuzz_take(in, 1);
        }
        for (size_t i = 0; i < piece % 5; i++)
            step();
    }
    if (piece % 7 == 0 && model->ops.on_close != NULL)
        model->ops.on_close(device, CLIENT); /* while it works */
    settle();
}

/* By name: an index would mean another model whenever one is added. */
static const struct sim_device_model *take_model(struct fuzz_input *in)
{
    char name[NAME_MAX_BYTES];
    const uint8_t *end = in->size > 0 ? memchr(in->data, '\n', in->size) : NULL;
    size_t n = end != NULL ? (size_t)(end - in->data) : sizeof name;

    if (n >= sizeof name)
        return NULL;
    memcpy(name, in->data, n);
    name[n] = '\0';
    in->data += n + 1;
    in->size -= n + 1;
    return sim_model_find(name);
}

/* The n67.. look at every message before they hand it on. */
static bool speaks_scpi(const struct sim_device_model *model)
{
    return model->ops.on_bytes == scpi_server_bytes || strncmp(model->name, "n67", 3) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const behind[] = { "{}", "{\"behind\":\"flash\"}" };
    struct fuzz_input in = { data, size };
    struct world_net *nets[NETS];
    struct error err = { 0 };
    cJSON *options = NULL;
    void *device = NULL;
    const struct sim_device_model *model = take_model(&in);

    if (model == NULL)
        return -1;
    bool bridge = strcmp(model->name, "serprog") == 0, scpi = speaks_scpi(model);
    loop.count = 0;
    loop.now_ns = 0;
    loop.text = scpi;
    struct world *world = make_world(nets);
    /* An odd number of bytes go to a flash, an even one to a socket. */
    const char *text = behind[bridge && in.size % 2];
    FUZZ_CHECK(json_parse(text, strlen(text), &options, &err) == 0);
    struct sim_device_setup setup = {
        .name = "dut", .options = options, .seed = 1, .world = world, .wire_count = NETS
    };
    for (int i = 0; i < NETS; i++)
        setup.wire[i] = (struct sim_wire){ .channel = i + 1, .net = nets[i], .lead_ohm = 0.05 };
    FUZZ_CHECK(model->open(&setup, &device, &err) == 0);
    if (model->ops.on_open != NULL)
        model->ops.on_open(device, CLIENT);
    feed(model, device, &in);
    check_world(world, nets);
    if (bridge)
        check_bridge_alive(model, device);
    else if (scpi)
        check_scpi_alive(model, device);
    model->close(device);
    world_close(world);
    cJSON_Delete(options);
    return 0;
}
