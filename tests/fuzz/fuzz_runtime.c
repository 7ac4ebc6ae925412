/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_runtime: the chip's host library over a link that the input disturbs, to a chip that the input
 * disturbs, too. The chip is the unit tests' ideal one, so that what is not disturbed goes on to the end:
 * loading, running, looking. As long as nobody has lied with a right checksum, what is taken as a result is
 * the right one; as long as nothing was disturbed at all, everything succeeds. With lies, too, nothing waits
 * for ever, and outputs stay untouched on failure.
 *
 * Input: a byte for the bus, 12 calls of two bytes, then disturbances: how many transfers later, which, and a
 * byte of detail.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c
 * sources: daemon/base/hash.c daemon/base/rng.c chip
 * aims: chip/runtime*.c chip/backend_chip.c chip/bist.c
 * options: -max_len=1024
 * edges: 1000 */
#include "chip/runtime.h"

#include <math.h>

#include "chip/backend_chip.h"
#include "chip/backend_reference.h"
#include "chip/bist.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fixture_chip.h"
#include "tests/unit/fixture_network.h"

enum {
    CALLS = 12,
    TRANSFERS_MAX = 2000000,
    UNTOUCHED = 0x5A,
    INPUTS = 4,
    INPUT_BYTES = 64 * 68,
    MOST_RUNS = 9
};

/* Three layers on four cores, and an input that is more than one batch on a narrow bus. */
static const struct fixture_layer layers[] = { { 3, 8, 8, 12, 9 }, { 0, 1, 1, 24, 9 }, { 0, 1, 1, 2, 9 } };
static const struct network_shape shape = { 64, 68, 1 };
static const struct adc_config settings[] = { { 9, 4 }, { 8, 1 }, { 10, 2 } };
enum { SETTINGS = sizeof settings / sizeof *settings };

/* Made once. */
static struct {
    struct chip_profile *profile;
    struct network *network;
    struct mapping *mapping;
    struct reference *reference;
    uint8_t input[INPUTS][INPUT_BYTES];
    int32_t output[SETTINGS][INPUTS][BACKEND_OUTPUTS_MAX];
} made;

/* One input's chip and link. */
static struct {
    struct fake_chip fake;
    struct fuzz_input in;
    int transfers, hostile;   /* so many answers are still the input's own */
    unsigned gap, kind, what; /* transfers until the next disturbance, and that one */
    bool calm, honest;        /* nothing was disturbed; nobody has lied */
    bool whole;               /* the chip is as the last load has left it */
    int setting;              /* of that load */
} side;

/* ---- Disturbances ---- */

enum disturbance {
    BEND_ANSWER,
    BEND_COMMAND,
    NOBODY,
    LOSE_ANSWER,
    BRIDGE_BEFORE,
    BRIDGE_AFTER,
    SLOW,
    HANG,
    CHIP_ERROR,
    TIME_GOES_BY,
    FIRST_LIE,
    LIE_DATA = FIRST_LIE,
    LIE_STATUS,
    LIE_BIT,
    LIE_START,
    LIE_LONG,
    NOISE,
    DISTURBANCES
};

static void next_disturbance(void)
{
    enum { NEAR = 200, FAR_STEP = 50 };
    bool more = side.in.size >= 2;
    unsigned gap = fuzz_take(&side.in, 1);

    side.gap = gap < NEAR ? gap : NEAR + (gap - NEAR) * FAR_STEP;
    side.kind = more ? fuzz_take(&side.in, 1) % DISTURBANCES : DISTURBANCES;
    side.what = fuzz_take(&side.in, 1);
}

static void frame_again(uint8_t *rx, size_t n)
{
    if (n == 3) {
        rx[2] = framing_crc8(rx + 1, 1);
    } else if (n > 3) {
        uint16_t crc = framing_crc16(rx + 1, n - 3);
        rx[n - 2] = (uint8_t)(crc >> 8);
        rx[n - 1] = (uint8_t)crc;
    }
}

static void flip(uint8_t *data, size_t bits, unsigned which)
{
    if (bits > 0)
        data[which % bits / 8] ^= (uint8_t)(1U << which % 8);
}

/* What reaches the host instead of the chip's answer. The first byte is nobody's: the wire turns around. */
static void bend(unsigned kind, unsigned what, uint8_t *rx, size_t n)
{
    size_t data = n > 4 ? n - 4 : 0;

    switch (kind) {
    case BEND_ANSWER:
        flip(rx + 1, n > 1 ? 8 * (n - 1) : 0, what * 37);
        return;
    case NOBODY:
    case LOSE_ANSWER:
        memset(rx, what & 1 ? 0xFF : 0x00, n);
        return;
    case NOISE:
        for (size_t i = 0; i < n; i++)
            rx[i] = (uint8_t)fuzz_take(&side.in, 1);
        return;
    case LIE_DATA:
        for (size_t i = 0; i < data && i < 1 + what; i++)
            rx[2 + i] = (uint8_t)fuzz_take(&side.in, 1);
        break;
    case LIE_BIT:
        flip(rx + 2, 8 * data, what * 37);
        break;
    case LIE_STATUS:
        if (n > 1)
            rx[1] = (uint8_t)(0xA0 | (what & 0x1F));
        break;
    default:
        return;
    }
    frame_again(rx, n);
}

static void disturb_chip(unsigned kind, unsigned what)
{
    static const double slow[] = { 0, 1.5, 3, 40 };

    switch (kind) {
    case SLOW:
        side.fake.slow = slow[what % 4];
        break;
    case HANG:
        side.fake.hang = !side.fake.hang;
        break;
    case CHIP_ERROR:
        side.fake.err |= what & 0x3F;
        break;
    case TIME_GOES_BY:
        side.fake.now_ns += 1000000LL * what;
        break;
    case LIE_START:
        side.fake.ignore_start = !side.fake.ignore_start;
        break;
    case LIE_LONG:
        side.hostile = (int)what;
        break;
    default:
        break;
    }
}

static int bridge_fails(unsigned what, struct error *err)
{
    static const int codes[] = { ERR_TIMEOUT, ERR_LINK,    ERR_GARBAGE,  ERR_NO_ANSWER,
                                 ERR_FENCED,  ERR_REFUSED, ERR_CANCELLED };

    return error_set(err, codes[what % (sizeof codes / sizeof *codes)], "the bridge has failed");
}

/* One transfer. What the chip sees is always one of: the command, nothing, a command with one wrong bit; so
 * that what its memories hold was sent. */
static int transfer(const struct spi_transfer *t, struct error *err)
{
    unsigned kind = DISTURBANCES, what = 0;
    uint8_t tx[SPI_TX_MAX];
    struct spi_transfer sent = *t;

    if (side.kind != DISTURBANCES && side.gap-- == 0) {
        kind = side.kind;
        what = side.what;
        side.calm = false;
        side.honest = side.honest && kind < FIRST_LIE;
        disturb_chip(kind, what);
        next_disturbance();
    }
    if (kind == BRIDGE_BEFORE)
        return bridge_fails(what, err);
    memcpy(tx, t->tx, t->tx_len);
    sent.tx = tx;
    if (kind == BEND_COMMAND)
        flip(tx, 8 * (size_t)t->tx_len, what * 37);
    if (kind != NOBODY)
        FUZZ_CHECK(fake_batch(&side.fake, &sent, 1, err) == 0);
    if (side.hostile > 0) {
        side.hostile--;
        bend(LIE_STATUS, fuzz_take(&side.in, 1), t->rx, t->rx_len);
        bend(LIE_DATA, 255, t->rx, t->rx_len);
    }
    if (t->rx_len > 0)
        bend(kind, what, t->rx, t->rx_len);
    return kind == BRIDGE_AFTER ? bridge_fails(what, err) : 0;
}

static int batch(void *context, const struct spi_transfer *t, int count, struct error *err)
{
    const struct spi_bus *bus = context;
    int rc = 0;

    FUZZ_CHECK(count > 0 && count <= SPI_BATCH_MAX);
    for (int i = 0; i < count && rc == 0; i++) {
        FUZZ_CHECK(++side.transfers < TRANSFERS_MAX);
        FUZZ_CHECK(t[i].tx_len <= bus->tx_max && t[i].rx_len <= bus->rx_max);
        rc = transfer(&t[i], err);
    }
    return rc;
}

static int64_t now(void *context)
{
    (void)context;
    return side.fake.now_ns;
}

static int wait(void *context, int64_t duration_ns, struct error *err)
{
    (void)context;
    (void)err;
    FUZZ_CHECK(duration_ns >= 0);
    side.fake.now_ns += duration_ns;
    return 0;
}

/* ---- Calls ---- */

/* What a failed call must not have written. */
static void check(int code, const struct error *err, const void *output, size_t size)
{
    if (code == 0)
        return;
    fuzz_check_refusal(code, err, NULL);
    for (size_t i = 0; i < size; i++)
        FUZZ_CHECK(((const uint8_t *)output)[i] == UNTOUCHED);
}

#define CALL(function, output, ...)                                                                          \
    do {                                                                                                     \
        memset(&(output), UNTOUCHED, sizeof(output));                                                        \
        int code = function(chip, __VA_ARGS__, &(output), &err);                                             \
        check(code, &err, &(output), sizeof(output));                                                        \
    } while (0)

static void call(struct chip *chip, unsigned which, int core)
{
    struct error err = { 0 };
    struct chip_identity identity;
    struct chip_conversions conversions;
    struct chip_counters counters;
    struct {
        uint32_t cycles, bits;
    } run;
    uint8_t bytes[100];
    uint32_t value;
    int trim, rc;
    double celsius;

    switch (which % 14) {
    case 0:
        memset(&identity, UNTOUCHED, sizeof identity);
        check(chip_identify(chip, &identity, &err), &err, &identity, sizeof identity);
        return;
    case 1:
        CALL(chip_read, value, core, "STATUS");
        return;
    case 2:
        CALL(chip_trim_read, trim, core, (int)which / 14, "offset");
        return;
    case 3:
        CALL(chip_extin, conversions, core, (int)which / 14, 5);
        return;
    case 4:
        memset(&celsius, UNTOUCHED, sizeof celsius);
        check(chip_temperature(chip, &celsius, &err), &err, &celsius, sizeof celsius);
        return;
    case 5:
        CALL(chip_counters, counters, core);
        return;
    case 6:
        memset(&run, UNTOUCHED, sizeof run);
        check(chip_wait(chip, 1000 * (int64_t)which, &run.cycles, &run.bits, &err), &err, &run, sizeof run);
        return;
    case 7:
        rc = chip_write_verified(chip, CHIP_GLOBAL, "SCRATCH", which, &err);
        check(rc, &err, NULL, 0);
        FUZZ_CHECK(rc || !side.honest || side.fake.scratch == which);
        return;
    case 8:
        check(chip_trim_write(chip, core, (int)which / 14, "gain", (int)which - 100, &err), &err, NULL, 0);
        return;
    case 9:
        side.whole = false;
        check(chip_power(chip, which, true, false, &err), &err, NULL, 0);
        return;
    case 10:
        memset(bytes, UNTOUCHED, sizeof bytes);
        rc = chip_memory_read(chip, core, "DMEM", which, bytes, sizeof bytes, &err);
        check(rc, &err, NULL, 0);
        FUZZ_CHECK(rc || !side.honest || memcmp(bytes, side.fake.core[core].dmem + which, sizeof bytes) == 0);
        return;
    case 11:
        check(chip_testmux(chip, "off", "VREF", which & 16, &err), &err, NULL, 0);
        return;
    case 12:
        check(chip_write(chip, CHIP_ALL_CORES, "TRACEPTR", 0, &err), &err, NULL, 0);
        return;
    default:
        side.whole = false;
        check(chip_reset(chip, &err), &err, NULL, 0);
    }
}

/* ---- Programs ---- */

static void check_memories(const struct chip_program *program)
{
    for (int i = 0; i < program->core_count; i++) {
        const struct compile_core *want = &program->core[i];
        const struct fake_core *got = &side.fake.core[i];

        FUZZ_CHECK(got->enable == want->used);
        if (!want->used)
            continue;
        FUZZ_CHECK(memcmp(got->xbar, want->image, want->image_bytes) == 0);
        for (int k = 0; k < want->word_count; k++)
            FUZZ_CHECK((uint32_t)(got->imem[4 * k] << 24 | got->imem[4 * k + 1] << 16 |
                                  got->imem[4 * k + 2] << 8 | got->imem[4 * k + 3]) == want->word[k]);
        for (int k = 0; k < want->norm_count; k++)
            FUZZ_CHECK(got->bnp[4 * k + 3] == (uint8_t)want->norm[k].bias);
    }
}

static void load(struct backend *backend, unsigned which)
{
    struct error err = { 0 };
    int setting = (int)(which % SETTINGS);
    int rc = backend->load(backend->context, made.network, made.mapping, &settings[setting], &err);

    check(rc, &err, NULL, 0);
    FUZZ_CHECK(rc == 0 || !side.calm);
    FUZZ_CHECK((rc == 0) == (backend_chip_program(backend) != NULL));
    side.whole = rc == 0;
    side.setting = setting;
    if (rc == 0 && side.honest)
        check_memories(backend_chip_program(backend));
}

static void check_output(const int32_t *output, int input)
{
    if (!side.honest || !side.whole)
        return;
    for (int i = 0; i < made.network->class_count; i++)
        FUZZ_CHECK(output[i] == made.output[side.setting][input][i]);
}

static void infer(struct backend *backend, unsigned which)
{
    const uint8_t *input[MOST_RUNS];
    struct inference result[MOST_RUNS];
    struct error err = { 0 };
    int count = 1 + (int)(which % MOST_RUNS);

    for (int i = 0; i < count; i++)
        input[i] = made.input[(which + (unsigned)i) % INPUTS];
    int rc = backend->infer(backend->context, input, count, result, &err);
    check(rc, &err, NULL, 0);
    FUZZ_CHECK(rc == 0 || !side.calm || !side.whole);
    for (int i = 0; i < count && rc == 0; i++) {
        FUZZ_CHECK(result[i].prediction >= 0 && result[i].prediction < made.network->class_count);
        check_output(result[i].output, (int)((which + (unsigned)i) % INPUTS));
    }
}

/* As the power measurement does it, and with other modes, too, which stay on. */
static void pieces(struct chip *chip, const struct chip_program *program, unsigned which)
{
    struct error err = { 0 };
    int32_t output[BACKEND_OUTPUTS_MAX];
    struct {
        uint32_t cycles, bits;
    } run;
    int input = (int)(which % INPUTS), rc;

    rc = chip_input(chip, program, made.input[input], &err);
    if (rc == 0 && which & 8)
        rc = chip_repeat(chip, which >> 4, &err);
    if (rc == 0 && which & 16)
        rc = chip_break(chip, (int)(which >> 5 & 1), (int)(which >> 6), &err);
    if (rc == 0 && which & 32)
        rc = chip_bist(chip, (int)which, &err);
    memset(&run, UNTOUCHED, sizeof run);
    if (rc == 0) {
        rc = chip_run(chip, program, &run.cycles, &run.bits, &err);
        check(rc, &err, &run, sizeof run);
    }
    memset(output, UNTOUCHED, sizeof output);
    if (rc == 0) {
        rc = chip_result(chip, program, output, &err);
        check(rc, &err, output, sizeof output);
    }
    check(rc, &err, NULL, 0);
}

static int see(void *context, const struct backend_tensor *tensor, struct error *err)
{
    int *seen = context;

    (void)err;
    FUZZ_CHECK(tensor->bytes ==
               (size_t)(tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->type_bits / 8));
    ++*seen;
    return 0;
}

static void look(struct chip *chip, struct backend *backend, unsigned which)
{
    struct error err = { 0 };
    int seen = 0, rc;

    if (which % 2 == 0) {
        rc = backend->tensors(backend->context, made.input[which / 2 % INPUTS], see, &seen, &err);
        check(rc, &err, NULL, 0);
        FUZZ_CHECK(rc || seen > made.network->layer_count);
        return;
    }
    struct bist_report report;
    memset(&report, UNTOUCHED, sizeof report);
    rc = bist_run(chip, backend_chip_program(backend), made.reference, made.network, made.mapping, (int)which,
                  &report, &err);
    check(rc, &err, &report, sizeof report);
    FUZZ_CHECK(rc || !side.honest || !side.whole || (report.checked > 0 && report.mismatched == 0));
}

static void program_call(struct chip *chip, struct backend *backend, unsigned which, unsigned detail)
{
    if (which % 4 == 0)
        load(backend, detail);
    else if (which % 4 == 1)
        infer(backend, detail);
    else if (backend_chip_program(backend) != NULL && which % 4 == 2)
        pieces(chip, backend_chip_program(backend), detail);
    else if (backend_chip_program(backend) != NULL)
        look(chip, backend, detail);
}

/* ---- The target ---- */

static void make(void)
{
    const uint8_t *input[INPUTS];
    struct inference result[INPUTS];
    struct backend reference = { 0 };
    struct error err = { 0 };

    FUZZ_CHECK(profile_load(FIXTURE_PROFILE, &made.profile, &err) == 0);
    made.network = fixture_network(layers, sizeof layers / sizeof *layers, shape, 7);
    FUZZ_CHECK(made.network != NULL);
    FUZZ_CHECK(mapping_create(made.network, made.profile, &made.mapping, &err) == 0);
    FUZZ_CHECK(reference_open(made.network, made.mapping, made.profile, &made.reference, &err) == 0);
    FUZZ_CHECK(backend_reference_open(made.profile, &reference, &err) == 0);
    for (int i = 0; i < INPUTS; i++)
        fixture_input(made.input[i], INPUT_BYTES, (uint64_t)i);
    for (int i = 0; i < INPUTS; i++)
        input[i] = made.input[i];
    for (int s = 0; s < SETTINGS; s++) {
        FUZZ_CHECK(reference.load(reference.context, made.network, made.mapping, &settings[s], &err) == 0);
        FUZZ_CHECK(reference.infer(reference.context, input, INPUTS, result, &err) == 0);
        for (int i = 0; i < INPUTS; i++)
            memcpy(made.output[s][i], result[i].output, sizeof result[i].output);
    }
    reference.close(reference.context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int widths[] = { SPI_TX_MAX, 64, 24 }; /* of the bus, bytes; the last just takes a report */
    struct fuzz_input choice = { data, size < 1 + 2 * CALLS ? size : 1 + 2 * CALLS };
    struct error err = { 0 };
    struct backend backend = { 0 };
    struct chip *chip = NULL;

    if (made.network == NULL)
        make();
    memset(&side, 0, sizeof side);
    side.calm = side.honest = true;
    side.in = (struct fuzz_input){ data + choice.size, size - choice.size };
    next_disturbance();
    int width = widths[fuzz_take(&choice, 1) % 3];
    struct spi_bus bus = {
        .batch = batch, .now = now, .wait = wait, .clock_hz = 10e6, .tx_max = width, .rx_max = width
    };
    bus.context = &bus;
    FUZZ_CHECK(chip_open(made.profile, &bus, &chip, &err) == 0);
    FUZZ_CHECK(backend_chip_open(chip, &backend, &err) == 0);
    for (int i = 0; i < CALLS && choice.size > 0; i++) {
        unsigned which = fuzz_take(&choice, 1), detail = fuzz_take(&choice, 1);
        if (which >= 128)
            program_call(chip, &backend, which, detail);
        else
            call(chip, which, (int)(detail % 5) - 1);
    }
    struct chip_link_stats stats = chip_link_stats(chip);
    FUZZ_CHECK(stats.transfers >= side.transfers && stats.retries >= 0);
    backend.close(backend.context);
    chip_close(chip);
    return 0;
}
