/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_ops: what can be done with the instruments of a bench, class by class, as messages to their ports.
 * Limits of the dialect are refused here already, before anything travels; the keeper refuses them again. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/units.h"
#include "instruments/bench_private.h"

static struct message to_channel(int op, const struct bench_channel *ch)
{
    return (struct message){ .op = (uint16_t)op,
                             .instrument = (int16_t)ch->instrument,
                             .channel = (int16_t)ch->number };
}

static int call(struct bench_client *c, struct message *m, struct error *err)
{
    return bench_client_call(c, m, NULL, 0, NULL, 0, err);
}

static int check_span(const struct bench_channel *ch, const char *what, const char *unit, double value,
                      double min, double max, struct error *err)
{
    if (!ch->can_source)
        return error_set(err, ERR_UNSUPPORTED, "%s is no source", ch->name);
    if (value >= min && value <= max)
        return 0;
    return error_set(err, ERR_RANGE, "%s: %s %g %s is outside %g .. %g %s", ch->name, what, value, unit, min,
                     max, unit);
}

/* ---- Identity ---- */
int bench_identity(struct bench_client *client, int instrument, struct bench_identity *ret, struct error *err)
{
    const struct bench_file *file = bench_file_of(bench_of(client));
    if (instrument < 0 || instrument >= file->instrument_count)
        return error_set(err, ERR_INVALID, "no instrument %d", instrument);
    struct message m = { .op = MESSAGE_IDENTIFY, .instrument = (int16_t)instrument };
    char text[512] = "";
    int code = bench_client_call(client, &m, NULL, 0, text, sizeof text - 1, err);
    if (code)
        return code;
    struct bench_identity found = { 0 };
    char *const field[] = { found.vendor, found.model, found.serial, found.firmware };
    const char *next = text, *end = text + m.payload_length;
    for (int i = 0; i < 4 && next < end; i++) {
        snprintf(field[i], sizeof found.vendor, "%.63s", next);
        next += strlen(next) + 1;
    }
    *ret = found;
    return 0;
}

int bench_query(struct bench_client *client, int instrument, const char *command, char *answer, size_t size,
                struct error *err)
{
    const struct bench_file *file = bench_file_of(bench_of(client));
    if (instrument < 0 || instrument >= file->instrument_count)
        return error_set(err, ERR_INVALID, "no instrument %d", instrument);
    struct message m = { .op = MESSAGE_QUERY, .instrument = (int16_t)instrument };
    char text[MESSAGE_TEXT_MAX];
    int code = bench_client_call(client, &m, command, strlen(command), text, sizeof text, err);
    if (code)
        return code;
    if (m.payload_length >= size)
        return error_set(err, ERR_FULL, "answer of %u bytes is longer than %zu", m.payload_length, size);
    memcpy(answer, text, m.payload_length);
    answer[m.payload_length] = '\0';
    return 0;
}

/* ---- Supplies and sources ---- */
int psu_set_voltage(struct bench_client *c, const struct bench_channel *ch, double volt_v, struct error *err)
{
    struct message m = to_channel(MESSAGE_SET_VOLTAGE, ch);
    m.value[0] = volt_v;
    int code = check_span(ch, "voltage", "V", volt_v, ch->volt_min_v, ch->volt_max_v, err);
    return code ? code : call(c, &m, err);
}

int psu_set_current_limit(struct bench_client *c, const struct bench_channel *ch, double limit_a,
                          struct error *err)
{
    struct message m = to_channel(MESSAGE_SET_LIMIT, ch);
    m.value[0] = limit_a;
    int code = check_span(ch, "current limit", "A", limit_a, ch->limit_min_a, ch->limit_max_a, err);
    return code ? code : call(c, &m, err);
}

int psu_set_protection(struct bench_client *c, const struct bench_channel *ch, double ovp_v, bool ocp,
                       struct error *err)
{
    struct message m = to_channel(MESSAGE_SET_PROTECTION, ch);
    m.value[0] = ovp_v;
    m.value[1] = ocp;
    return call(c, &m, err);
}

int psu_output(struct bench_client *c, const struct bench_channel *ch, bool on, struct error *err)
{
    struct message m = to_channel(MESSAGE_OUTPUT, ch);
    m.value[0] = on;
    return call(c, &m, err);
}

static void take_state(const struct message *m, struct psu_state *ret)
{
    *ret = (struct psu_state){
        .on = m->flags & MESSAGE_ON,
        .limiting = m->flags & MESSAGE_LIMITING,
        .tripped = m->flags & MESSAGE_TRIPPED,
        .set_v = m->value[0],
        .limit_a = m->value[1],
    };
}

int psu_read_state(struct bench_client *c, const struct bench_channel *ch, struct psu_state *ret,
                   struct error *err)
{
    struct message m = to_channel(MESSAGE_STATE, ch);
    int code = call(c, &m, err);
    if (!code)
        take_state(&m, ret);
    return code;
}

int psu_clear_trip(struct bench_client *c, const struct bench_channel *ch, struct error *err)
{
    struct message m = to_channel(MESSAGE_CLEAR_TRIP, ch);
    return call(c, &m, err);
}

/* ---- Measuring ---- */
enum { READS_AT_ONCE = 48 };

static const int UNITS[] = {
    [QUANTITY_VOLTAGE] = UNIT_VOLT, [QUANTITY_CURRENT] = UNIT_AMPERE, [QUANTITY_TEMPERATURE] = UNIT_CELSIUS
};

/* Chambers know temperatures and nothing else; nobody else does. */
static int check_quantity(const struct bench_file *file, const struct bench_read *read, struct error *err)
{
    bool chamber = file->instrument[read->channel->instrument].class == CLASS_CHAMBER;
    if (read->quantity < QUANTITY_VOLTAGE || read->quantity > QUANTITY_TEMPERATURE ||
        chamber != (read->quantity == QUANTITY_TEMPERATURE))
        return error_set(err, ERR_UNSUPPORTED, "%s does not measure that quantity", read->channel->name);
    return 0;
}

static void take_reading(const struct bench_file *file, const struct message *m, struct bench_read *read)
{
    read->reading = (struct reading){
        .value = m->value[0],
        .uncertainty = m->value[1],
        .range = m->value[2],
        .time_ns = m->time_ns,
        .wall_ns = clock_wall_now(),
        .unit = UNITS[read->quantity],
        .flags = m->flags | (file->simulated ? READING_SIMULATED : 0),
    };
    read->code = 0;
}

/* Posts up to READS_AT_ONCE, then collects them: links work side by side. err keeps the first failure. */
static int read_some(struct bench_client *client, struct bench_read *reads, int count, struct error *err)
{
    const struct bench_file *file = bench_file_of(bench_of(client));
    struct bench_call *posted[READS_AT_ONCE];
    int first = 0;
    for (int i = 0; i < count; i++) {
        struct message m = to_channel(MESSAGE_MEASURE, reads[i].channel);
        struct error own = { 0 };
        m.value[0] = reads[i].quantity;
        posted[i] = NULL;
        reads[i].reading = (struct reading){ .value = NAN, .uncertainty = NAN, .range = NAN };
        reads[i].code = check_quantity(file, &reads[i], &own);
        if (!reads[i].code)
            reads[i].code = bench_client_post(client, &m, NULL, 0, &posted[i], &own);
        if (reads[i].code && !first) {
            first = reads[i].code;
            *err = own;
        }
    }
    for (int i = 0; i < count; i++) {
        struct message m;
        struct error own = { 0 };
        if (!posted[i])
            continue;
        reads[i].code = bench_client_collect(client, posted[i], &m, NULL, 0, &own);
        if (!reads[i].code)
            take_reading(file, &m, &reads[i]);
        else if (!first) {
            first = reads[i].code;
            *err = own;
        }
    }
    return first;
}

int bench_read_many(struct bench_client *client, struct bench_read *reads, int count, struct error *err)
{
    int first = 0;
    struct error detail = { 0 };
    for (int done = 0; done < count; done += READS_AT_ONCE) {
        int part = count - done < READS_AT_ONCE ? count - done : READS_AT_ONCE;
        struct error own = { 0 };
        int code = read_some(client, reads + done, part, &own);
        if (code && !first) {
            first = code;
            detail = own;
        }
    }
    if (first && err)
        *err = detail;
    return first;
}

int dmm_configure(struct bench_client *c, const struct bench_channel *ch, double range_v, double nplc,
                  struct error *err)
{
    struct message m = to_channel(MESSAGE_CONFIGURE, ch);
    m.value[0] = range_v;
    m.value[1] = nplc;
    return call(c, &m, err);
}

/* ---- SPI ---- */
static int to_bridge(struct bench_client *client, int op, struct message *ret, struct error *err)
{
    int instrument = bench_file_of(bench_of(client))->spi_instrument;
    if (instrument < 0)
        return error_set(err, ERR_UNSUPPORTED, "this bench has no SPI bridge");
    *ret = (struct message){ .op = (uint16_t)op, .instrument = (int16_t)instrument };
    return 0;
}

static int batch(void *context, const struct spi_transfer *transfer, int count, struct error *err)
{
    struct bench_client *client = context;
    struct message m;
    int code = to_bridge(client, MESSAGE_SPI_BATCH, &m, err);
    if (code || count == 0)
        return code;
    if (count < 0 || count > SPI_BATCH_MAX)
        return error_set(err, ERR_RANGE, "batch of %d SPI transactions; at most %d", count, SPI_BATCH_MAX);
    uint8_t *payload = bench_client_scratch(client);
    size_t n = (size_t)count * sizeof(struct message_spi), bytes = 0, rx = 0;
    for (int i = 0; i < count; i++) {
        struct message_spi item = { transfer[i].tx_len, transfer[i].rx_len, transfer[i].delay_us };
        bytes += (size_t)item.tx_len + item.rx_len;
        rx += item.rx_len;
        if (item.tx_len > SPI_TX_MAX || item.rx_len > SPI_RX_MAX || bytes > SPI_BATCH_BYTES)
            return error_set(err, ERR_RANGE,
                             "SPI transaction %d of %u bytes out, %u in is too long for a batch", i,
                             item.tx_len, item.rx_len);
        memcpy(payload + (size_t)i * sizeof item, &item, sizeof item);
        if (item.tx_len > 0)
            memcpy(payload + n, transfer[i].tx, item.tx_len);
        n += item.tx_len;
    }
    m.count = (uint32_t)count;
    code = bench_client_call(client, &m, payload, n, payload, MESSAGE_PAYLOAD_MAX, err);
    if (code)
        return code;
    if (m.payload_length != rx)
        return error_set(err, ERR_INTERNAL, "SPI batch brought %u bytes, %zu were asked for",
                         m.payload_length, rx);
    for (int i = 0; i < count; i++) {
        if (transfer[i].rx_len > 0)
            memcpy(transfer[i].rx, payload, transfer[i].rx_len);
        payload += transfer[i].rx_len;
    }
    return 0;
}

static int64_t spi_now(void *context)
{
    return bench_now(context);
}

static int spi_wait(void *context, int64_t duration_ns, struct error *err)
{
    return bench_wait(context, duration_ns, err);
}

int bench_spi(struct bench_client *client, struct spi_bus *ret_bus, struct error *err)
{
    struct message m;
    int code = to_bridge(client, MESSAGE_SPI_CLOCK, &m, err);
    if (code)
        return code;
    m.value[0] = bench_file_of(bench_of(client))->spi_hz;
    code = call(client, &m, err);
    if (code)
        return code;
    *ret_bus = (struct spi_bus){
        .context = client,
        .batch = batch,
        .now = spi_now,
        .wait = spi_wait,
        .clock_hz = m.value[0],
        .tx_max = (int)m.value[1],
        .rx_max = (int)m.value[2],
    };
    return 0;
}

int spi_set_clock(struct bench_client *client, double hz, double *ret_hz, struct error *err)
{
    struct message m;
    int code = to_bridge(client, MESSAGE_SPI_CLOCK, &m, err);
    if (code)
        return code;
    m.value[0] = hz;
    code = call(client, &m, err);
    if (!code && ret_hz)
        *ret_hz = m.value[0];
    return code;
}

int spi_drive(struct bench_client *client, bool on, struct error *err)
{
    struct message m;
    int code = to_bridge(client, MESSAGE_SPI_DRIVE, &m, err);
    if (code)
        return code;
    m.value[0] = on;
    return call(client, &m, err);
}

/* ---- Safety ---- */
int bench_undo_register(struct bench_client *client, int kind, const struct bench_channel *channel,
                        int barrier, int emergency_barrier, struct error *err)
{
    struct message m = { .op = MESSAGE_KEEPER_UNDO,
                         .instrument = -1,
                         .value = { kind, channel ? channel->index : -1, barrier, emergency_barrier } };
    return call(client, &m, err);
}

int bench_safe(struct bench_client *client, bool emergency, int *ret_missed, struct error *err)
{
    struct message m = { .op = MESSAGE_KEEPER_SAFE, .instrument = -1, .value = { emergency } };
    int code = call(client, &m, err);
    if (!code && ret_missed)
        *ret_missed = (int)m.value[0];
    return code;
}
