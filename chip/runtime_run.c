/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * runtime_run: loads programs, starts them, waits for them and fetches their results; one at a time, and in
 * batches where the bridge waits the estimated run time by itself so that the host's latency costs nothing.
 */
#include "chip/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip/runtime_wire.h"

enum {
    REPORT_WORDS = 5,     /* STATUS, ERR, IRQEN, CYC_LO, CYC_HI lie side by side */
    RUN_MARGIN_NS = 2000, /* beyond the estimate, before the first look */
    POLL_MIN_NS = 20000,
    HANG_FACTOR = 4, /* a run that takes this many times its estimate, and a little, hangs */
    HANG_MIN_NS = 10000000,
    ABORT_NS = 100000,
    RESULT_BYTES_MAX = 256
};

/* The chip's words about a run. */
struct run_report {
    uint32_t status, err_bits, cycles;
};

static uint32_t status_bit(const struct chip *chip, const char *field)
{
    return wire_field(chip, PROFILE_SCOPE_CHIP, "STATUS", field, 1);
}

/* Errors that make a result worthless. BUSY and CRC tell of the link, and the link repeats by itself. */
static uint32_t fatal_bits(const struct chip *chip)
{
    static const char *const names[] = { "ILLOP", "BUSTO", "UVLO", "RANGE" };
    uint32_t mask = 0;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        mask |= wire_field(chip, PROFILE_SCOPE_CHIP, "ERR", names[i], 1);
    return mask;
}

/* Of an error of the chip itself: no driver has said who and what it was. */
static void name_error(struct error *err, int64_t elapsed_ns)
{
    error_at(err, "chip", "START", elapsed_ns);
}

static int refuse(const struct chip *chip, uint32_t err_bits, struct error *err)
{
    int index = profile_register_index(chip->profile, PROFILE_SCOPE_CHIP, "ERR");
    char names[100] = "";

    for (int i = 0; index >= 0 && i < chip->profile->reg[index].field_count; i++) {
        const struct profile_field *f = &chip->profile->reg[index].field[i];
        if (err_bits >> f->bit & 1)
            snprintf(names + strlen(names), sizeof names - strlen(names), " %s", f->name);
    }
    return error_set(err, ERR_REFUSED, "the chip ended the run with ERR = %02X:%s", (unsigned)err_bits,
                     names);
}

int64_t chip_run_ns(const struct chip *chip, const struct chip_program *program)
{
    return (int64_t)((double)program->cycles / chip_clock_hz(chip) * 1e9) + 1;
}

/* ---- Loading ---- */

int chip_adc(struct chip *chip, const struct adc_config *adc, struct error *err)
{
    int code = profile_gain_code(chip->profile, adc->gain);

    if (code < 0 || !profile_has_bits(chip->profile, adc->bits))
        return error_set(err, ERR_RANGE, "chip '%s' has no converter setting of %d bits at gain %d",
                         chip->profile->type, adc->bits, adc->gain);
    uint32_t value = wire_field(chip, PROFILE_SCOPE_CORE, "ADC", "BITS", (uint32_t)adc->bits) |
                     wire_field(chip, PROFILE_SCOPE_CORE, "ADC", "GAIN", (uint32_t)code);
    for (int core = 0; core < chip->profile->cores.count; core++) {
        int rc = chip_write_verified(chip, core, "ADC", value, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int write_words(struct chip *chip, int core, const char *memory, const uint32_t *words, int count,
                       struct error *err)
{
    uint8_t data[4 * ISA_WORDS_MAX];

    for (int i = 0; i < count; i++)
        wire_put(chip, words[i], data + i * chip->word_bytes);
    return chip_memory_write(chip, core, memory, 0, data, (size_t)(count * chip->word_bytes), true, err);
}

static int write_norms(struct chip *chip, const struct chip_program *program, struct error *err)
{
    for (int core = 0; core < program->core_count; core++) {
        const struct compile_core *c = &program->core[core];
        uint32_t words[COMPILE_NORMS_MAX];
        for (int i = 0; i < c->norm_count; i++)
            words[i] = compile_norm_word(c->norm[i]);
        int rc = c->norm_count ? write_words(chip, core, "BNP", words, c->norm_count, err) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

/* Back to one plain run: no break, no repeats, no test codes, no old errors. */
static int clear_modes(struct chip *chip, struct error *err)
{
    static const struct {
        const char *name;
        uint32_t value;
    } writes[] = { { "BREAK", 0 }, { "REPEAT", 0 }, { "BIST", 0 }, { "ERR", UINT32_MAX } };

    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        int rc = chip_write(chip, CHIP_GLOBAL, writes[i].name, writes[i].value, err);
        if (rc)
            return rc;
    }
    chip->modes = 0;
    return 0;
}

/* Weights go through the weight memory into the crossbars, by a program of two words, and are read back from
 * the crossbars. */
static int load_weights(struct chip *chip, const struct chip_program *program, struct error *err)
{
    const uint32_t words[] = { isa_word(ISA_LDW, 0, 0), isa_word(ISA_HALT, 0, 0) };
    uint32_t cycles = 0, err_bits = 0;
    int rc = 0;

    for (int core = 0; core < program->core_count && rc == 0; core++) {
        const struct compile_core *c = &program->core[core];
        if (!c->used)
            continue;
        rc = chip_memory_write(chip, core, "WMEM", 0, c->image, c->image_bytes, false, err);
        if (rc == 0)
            rc = write_words(chip, core, "IMEM", words, 2, err);
    }
    if (rc == 0)
        rc = chip_start(chip, err);
    int64_t expected_ns = (int64_t)(chip->profile->cycles.ldw / chip_clock_hz(chip) * 1e9);
    if (rc == 0)
        rc = chip_wait(chip, expected_ns, &cycles, &err_bits, err);
    uint8_t *back = rc ? NULL : malloc(COMPILE_IMAGE_MAX);
    if (rc == 0 && !back)
        rc = error_set(err, ERR_MEMORY, "no memory to verify weights");
    for (int core = 0; core < program->core_count && rc == 0; core++) {
        const struct compile_core *c = &program->core[core];
        if (!c->used)
            continue;
        rc = chip_memory_read(chip, core, "XBAR", 0, back, c->image_bytes, err);
        for (size_t i = 0; i < c->image_bytes && rc == 0; i++) {
            if (back[i] != c->image[i])
                rc = error_set(err, ERR_MISMATCH, "core %d, crossbar byte %zu: loaded %02X, reads %02X", core,
                               i, c->image[i], back[i]);
        }
    }
    free(back);
    return rc;
}

int chip_load(struct chip *chip, const struct chip_program *program, struct error *err)
{
    int rc;

    if (program->core_count != chip->profile->cores.count || program->core_count == 0)
        return error_set(err, ERR_UNSUPPORTED, "a program for %d cores; chip '%s' has %d",
                         program->core_count, chip->profile->type, chip->profile->cores.count);
    rc = chip_power(chip, program->core_mask, true, program->adc.gain > 1, err);
    if (rc == 0)
        rc = clear_modes(chip, err);
    for (int core = 0; core < program->core_count && rc == 0; core++)
        rc = chip_write_verified(chip, core, "CTRL", program->core[core].used, err);
    if (rc == 0)
        rc = load_weights(chip, program, err);
    for (int core = 0; core < program->core_count && rc == 0; core++) {
        if (program->core[core].used)
            rc = write_words(chip, core, "IMEM", program->core[core].word, program->core[core].word_count,
                             err);
    }
    if (rc == 0)
        rc = chip_load_adc(chip, program, err);
    return rc;
}

int chip_load_adc(struct chip *chip, const struct chip_program *program, struct error *err)
{
    int rc = chip_power(chip, program->core_mask, true, program->adc.gain > 1, err);

    if (rc == 0)
        rc = chip_adc(chip, &program->adc, err);
    return rc ? rc : write_norms(chip, program, err);
}

/* ---- Modes ---- */

/* A mode counts as in force from before it is asked for until the chip has said that it is off. */
static int note_off(struct chip *chip, unsigned mode, int rc)
{
    if (rc == 0)
        chip->modes &= ~mode;
    return rc;
}

int chip_break(struct chip *chip, int stage, int window, struct error *err)
{
    if (stage < 0)
        return note_off(chip, WIRE_MODE_BREAK, chip_write_verified(chip, CHIP_GLOBAL, "BREAK", 0, err));
    uint32_t value = wire_field(chip, PROFILE_SCOPE_CHIP, "BREAK", "ENABLE", 1) |
                     wire_field(chip, PROFILE_SCOPE_CHIP, "BREAK", "LAYER", (uint32_t)stage) |
                     wire_field(chip, PROFILE_SCOPE_CHIP, "BREAK", "WINDOW", (uint32_t)window);
    chip->modes |= WIRE_MODE_BREAK;
    return chip_write_verified(chip, CHIP_GLOBAL, "BREAK", value, err);
}

int chip_repeat(struct chip *chip, uint32_t n, struct error *err)
{
    if (n < 1 || n > 65535)
        return error_set(err, ERR_RANGE, "repeat %u; 1 to 65535 are possible", (unsigned)n);
    if (n == 1)
        return note_off(chip, WIRE_MODE_REPEAT, chip_write(chip, CHIP_GLOBAL, "REPEAT", n, err));
    chip->modes |= WIRE_MODE_REPEAT;
    return chip_write(chip, CHIP_GLOBAL, "REPEAT", n, err);
}

int chip_bist(struct chip *chip, int seed, struct error *err)
{
    if (seed < 0)
        return note_off(chip, WIRE_MODE_BIST, chip_write_verified(chip, CHIP_GLOBAL, "BIST", 0, err));
    uint32_t value = wire_field(chip, PROFILE_SCOPE_CHIP, "BIST", "ENABLE", 1) |
                     wire_field(chip, PROFILE_SCOPE_CHIP, "BIST", "SEED", (uint32_t)seed);
    chip->modes |= WIRE_MODE_BIST;
    return chip_write_verified(chip, CHIP_GLOBAL, "BIST", value, err);
}

/* A mode that could not be ended when its time was over, because the link was down, would make the runs that
 * follow other runs than they are taken for. */
static int end_modes(struct chip *chip, struct error *err)
{
    return chip->modes ? clear_modes(chip, err) : 0;
}

/* ---- One run ---- */

/* Puts the writes of one input into the batch, which goes out when it is full. The last word is filled up
 * with zeros: buffers are whole words. */
static int queue_input(struct chip *chip, const struct chip_program *program, const uint8_t *input,
                       struct error *err)
{
    int words = (program->input_bytes + chip->word_bytes - 1) / chip->word_bytes;
    uint8_t padded[4 * FRAMING_WORDS_MAX];

    for (int i = 0; i < program->input_count; i++) {
        uint32_t address, size;
        int rc = wire_memory(chip, program->input[i].core, "DMEM", &address, &size, err);
        for (int done = 0; done < words && rc == 0;) {
            int count = words - done < chip->burst ? words - done : chip->burst;
            int from = done * chip->word_bytes, bytes = count * chip->word_bytes;
            int there = program->input_bytes - from < bytes ? program->input_bytes - from : bytes;
            memset(padded, 0, (size_t)bytes);
            memcpy(padded, input + from, (size_t)there);
            if (wire_slots(chip) == 0 || wire_room(chip) < wire_cost(chip, count))
                rc = wire_send(chip, err);
            if (rc == 0)
                rc = wire_write(chip, address + (uint32_t)(program->input[i].offset + from), padded, count, 0,
                                err);
            done += count;
        }
        if (rc)
            return rc;
    }
    return 0;
}

static int queue_start(struct chip *chip, uint32_t delay_us, struct error *err)
{
    uint32_t address, value = wire_field(chip, PROFILE_SCOPE_CHIP, "CTRL", "START", 1);
    uint8_t data[4];
    int rc = wire_register(chip, CHIP_GLOBAL, "CTRL", &address, err);

    wire_put(chip, value, data);
    return rc ? rc : wire_write(chip, address, data, 1, delay_us, err);
}

static int queue_report(struct chip *chip, uint8_t *ret_data, struct error *err)
{
    uint32_t address;
    int rc = wire_register(chip, CHIP_GLOBAL, "STATUS", &address, err);

    return rc ? rc : wire_read(chip, address, REPORT_WORDS, ret_data, err);
}

static struct run_report decode_report(const struct chip *chip, const uint8_t *data)
{
    int word = chip->word_bytes;

    return (struct run_report){ wire_get(chip, data), wire_get(chip, data + word),
                                wire_get(chip, data + 3 * word) };
}

static int result_words(const struct chip *chip, const struct chip_program *program, int place)
{
    int bytes = program->output_values[place] * program->output_value_bytes;

    return (bytes + chip->word_bytes - 1) / chip->word_bytes;
}

static int queue_result(struct chip *chip, const struct chip_program *program, uint8_t *ret_data,
                        struct error *err)
{
    int rc = 0;

    for (int i = 0; i < program->output_count && rc == 0; i++) {
        uint32_t address, size;
        int words = result_words(chip, program, i);
        rc = wire_memory(chip, program->output[i].core, "DMEM", &address, &size, err);
        if (rc == 0)
            rc = wire_read(chip, address + (uint32_t)program->output[i].offset, words, ret_data, err);
        ret_data += words * chip->word_bytes;
    }
    return rc;
}

static void decode_result(const struct chip *chip, const struct chip_program *program, const uint8_t *data,
                          int32_t *ret_output)
{
    for (int i = 0; i < program->output_count; i++) {
        for (int v = 0; v < program->output_values[i]; v++)
            *ret_output++ =
                program->output_value_bytes == 2 ? (int16_t)(data[2 * v] << 8 | data[2 * v + 1]) : data[v];
        data += result_words(chip, program, i) * chip->word_bytes;
    }
}

static int check_result(const struct chip *chip, const struct chip_program *program, struct error *err)
{
    int bytes = 0;

    for (int i = 0; i < program->output_count; i++)
        bytes += result_words(chip, program, i) * chip->word_bytes;
    if (program->outputs > BACKEND_OUTPUTS_MAX || bytes > RESULT_BYTES_MAX)
        return error_set(err, ERR_UNSUPPORTED, "a result of %d values; at most %d are possible",
                         program->outputs, BACKEND_OUTPUTS_MAX);
    return 0;
}

int chip_input(struct chip *chip, const struct chip_program *program, const uint8_t *input, struct error *err)
{
    int rc = end_modes(chip, err);

    wire_begin(chip);
    if (rc == 0)
        rc = queue_input(chip, program, input, err);
    return rc ? rc : wire_send(chip, err);
}

int chip_start(struct chip *chip, struct error *err)
{
    wire_begin(chip);
    int rc = queue_start(chip, 0, err);

    return rc ? rc : wire_send(chip, err);
}

static int read_report(struct chip *chip, struct run_report *ret_report, struct error *err)
{
    uint8_t data[4 * REPORT_WORDS];

    wire_begin(chip);
    int rc = queue_report(chip, data, err);
    if (rc == 0)
        rc = wire_send(chip, err);
    if (rc == 0)
        *ret_report = decode_report(chip, data);
    return rc;
}

/* Stops a run that does not end, so that the chip takes commands again. Best effort: the error to report is
 * another. */
static void abort_run(struct chip *chip)
{
    uint32_t value = wire_field(chip, PROFILE_SCOPE_CHIP, "CTRL", "ABORT", 1);

    if (chip_write(chip, CHIP_GLOBAL, "CTRL", value, NULL) == 0)
        chip->bus->wait(chip->bus->context, ABORT_NS, NULL);
}

int chip_wait(struct chip *chip, int64_t expected_ns, uint32_t *ret_cycles, uint32_t *ret_err_bits,
              struct error *err)
{
    int64_t start_ns = chip->bus->now(chip->bus->context);
    int64_t deadline_ns = start_ns + HANG_FACTOR * expected_ns + HANG_MIN_NS;
    int64_t pause_ns = expected_ns + RUN_MARGIN_NS;
    struct run_report report;

    for (;;) {
        int rc = chip->bus->wait(chip->bus->context, pause_ns, err);
        if (rc == 0)
            rc = read_report(chip, &report, err);
        if (rc)
            return rc;
        if (!(report.status & status_bit(chip, "RUN")))
            break;
        int64_t now_ns = chip->bus->now(chip->bus->context);
        if (now_ns > deadline_ns) {
            abort_run(chip);
            error_set(err, ERR_HANG, "the chip is still busy %.3f ms after its start; %.3f ms were expected",
                      (double)(now_ns - start_ns) * 1e-6, (double)expected_ns * 1e-6);
            name_error(err, now_ns - start_ns);
            return ERR_HANG;
        }
        pause_ns = expected_ns / 8 > POLL_MIN_NS ? expected_ns / 8 : POLL_MIN_NS;
    }
    int rc = 0;
    if (report.err_bits & fatal_bits(chip))
        rc = refuse(chip, report.err_bits, err);
    else if (!(report.status & status_bit(chip, "DONE")))
        rc = error_set(err, ERR_HANG, "the chip took START and neither runs nor is done (STATUS %08X)",
                       (unsigned)report.status);
    if (rc) {
        name_error(err, chip->bus->now(chip->bus->context) - start_ns);
        return rc;
    }
    *ret_cycles = report.cycles;
    *ret_err_bits = report.err_bits;
    return 0;
}

int chip_run(struct chip *chip, const struct chip_program *program, uint32_t *ret_cycles,
             uint32_t *ret_err_bits, struct error *err)
{
    int rc = chip_start(chip, err);

    return rc ? rc : chip_wait(chip, chip_run_ns(chip, program), ret_cycles, ret_err_bits, err);
}

int chip_result(struct chip *chip, const struct chip_program *program, int32_t *ret_output, struct error *err)
{
    uint8_t data[RESULT_BYTES_MAX];
    int rc = check_result(chip, program, err);

    wire_begin(chip);
    if (rc == 0)
        rc = queue_result(chip, program, data, err);
    if (rc == 0)
        rc = wire_send(chip, err);
    if (rc == 0)
        decode_result(chip, program, data, ret_output);
    return rc;
}

/* ---- Many runs ---- */

static int infer_one(struct chip *chip, const struct chip_program *program, const uint8_t *input,
                     struct inference *ret, struct error *err)
{
    struct inference result = { .prediction = 0 };
    int rc = 0;

    for (int attempt = 0; attempt < CHIP_RUN_TRIES; attempt++) {
        /* Errors of an earlier run must not be taken for this one's. */
        rc = chip_write(chip, CHIP_GLOBAL, "ERR", UINT32_MAX, err);
        if (rc == 0)
            rc = chip_input(chip, program, input, err);
        if (rc == 0)
            rc = chip_run(chip, program, &result.cycles, &result.err_bits, err);
        if (rc == 0)
            rc = chip_result(chip, program, result.output, err);
        if (rc != ERR_REFUSED && rc != ERR_CONFLICT)
            break;
        if (rc == ERR_CONFLICT)
            abort_run(chip);
        chip->stats.reruns++;
    }
    if (rc)
        return rc;
    result.prediction = network_argmax(result.output, program->outputs);
    *ret = result;
    return 0;
}

enum { BATCH_SAMPLES_MAX = 64 };

/* Where the replies of a batch go. */
struct infer_batch {
    uint8_t report[BATCH_SAMPLES_MAX][4 * REPORT_WORDS];
    uint8_t result[BATCH_SAMPLES_MAX][RESULT_BYTES_MAX];
};

static bool sample_fits(const struct chip *chip, const struct chip_program *program)
{
    int words = (program->input_bytes + chip->word_bytes - 1) / chip->word_bytes;
    int bursts = (words + chip->burst - 1) / chip->burst;
    size_t bytes =
        (size_t)program->input_count * ((size_t)words * (size_t)chip->word_bytes + (size_t)bursts * 16);

    bytes += wire_cost(chip, 1) + wire_cost(chip, REPORT_WORDS) +
             (size_t)program->output_count * wire_cost(chip, RESULT_BYTES_MAX / 4);
    return wire_room(chip) >= bytes &&
           wire_slots(chip) >= program->input_count * bursts + 2 + program->output_count;
}

static int queue_sample(struct chip *chip, const struct chip_program *program, const uint8_t *input,
                        uint8_t *report, uint8_t *result, struct error *err)
{
    uint32_t delay_us = (uint32_t)((chip_run_ns(chip, program) + RUN_MARGIN_NS + 999) / 1000);
    int rc = queue_input(chip, program, input, err);

    if (rc == 0)
        rc = queue_start(chip, delay_us, err);
    if (rc == 0)
        rc = queue_report(chip, report, err);
    if (rc == 0)
        rc = queue_result(chip, program, result, err);
    return rc;
}

/* True when the chip says that this run ended, and ended well. */
static bool run_ended_well(const struct chip *chip, struct run_report report)
{
    return !(report.status & status_bit(chip, "RUN")) && report.status & status_bit(chip, "DONE") &&
           !(report.err_bits & fatal_bits(chip));
}

/* Samples of one batch; each that did not end well in its time runs once more by itself. */
static int infer_batch(struct chip *chip, const struct chip_program *program, const uint8_t *const *input,
                       int count, struct infer_batch *batch, struct inference *ret, struct error *err)
{
    int rc = wire_send(chip, err);

    /* A run outlasted its time, and what follows it in the batch was refused; or the link is too noisy for so
     * many transactions at once. One at a time may still do. */
    bool disturbed = rc == ERR_CONFLICT || rc == ERR_LINK || rc == ERR_GARBAGE;
    if (rc && !disturbed)
        return rc;
    if (disturbed)
        abort_run(chip);
    for (int i = 0; i < count; i++) {
        struct run_report report = { 0, 0, 0 };
        if (!disturbed)
            report = decode_report(chip, batch->report[i]);
        if (disturbed || !run_ended_well(chip, report)) {
            chip->stats.reruns++;
            rc = infer_one(chip, program, input[i], &ret[i], err);
            if (rc)
                return rc;
            continue;
        }
        ret[i] = (struct inference){ .cycles = report.cycles, .err_bits = report.err_bits };
        decode_result(chip, program, batch->result[i], ret[i].output);
        ret[i].prediction = network_argmax(ret[i].output, program->outputs);
    }
    return 0;
}

int chip_infer(struct chip *chip, const struct chip_program *program, const uint8_t *const *input, int count,
               struct inference *ret, struct error *err)
{
    struct infer_batch batch;
    int rc = check_result(chip, program, err);

    if (rc == 0)
        rc = end_modes(chip, err);
    for (int first = 0; first < count && rc == 0;) {
        int n = 0;
        wire_begin(chip);
        while (rc == 0 && n < BATCH_SAMPLES_MAX && first + n < count && sample_fits(chip, program)) {
            rc = queue_sample(chip, program, input[first + n], batch.report[n], batch.result[n], err);
            n++;
        }
        if (rc)
            return rc;
        if (n == 0) { /* a single input exceeds a batch */
            rc = infer_one(chip, program, input[first], &ret[first], err);
            n = 1;
        } else {
            rc = infer_batch(chip, program, input + first, n, &batch, ret + first, err);
        }
        first += n;
    }
    return rc;
}
