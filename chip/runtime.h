/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * runtime: the chip's host library, over a struct spi_bus and nothing else, so that it builds and runs on
 * whatever host has the bridge. Registers, memories and trims go by the names of the profile. A chip handle
 * belongs to one thread at a time.
 *
 * Link errors (LINK, TIMEOUT, GARBAGE, NO_ANSWER) are retried a bounded number of times where sending again
 * is harmless; every command of ADL2 is, because a write with an error changes nothing and a repeated write
 * writes the same.
 */
#ifndef CHIP_RUNTIME_H
#define CHIP_RUNTIME_H

#include "chip/backend.h"
#include "chip/compile.h"
#include "chip/framing.h"
#include "instruments/spi.h"

enum { CHIP_GLOBAL = -1, CHIP_ALL_CORES = -2, CHIP_LINK_TRIES = 3, CHIP_RUN_TRIES = 2 };

struct chip;

/* profile and bus are borrowed until close. Sends nothing. */
int chip_open(const struct chip_profile *profile, struct spi_bus *bus, struct chip **ret_chip,
              struct error *err);
void chip_close(struct chip *chip);
const struct chip_profile *chip_profile_of(const struct chip *chip);

struct chip_identity {
    uint32_t id, revision;
    uint64_t die;    /* DIEID_HI:DIEID_LO; 0 where the chip has none */
    char serial[48]; /* "lot-wafer-x-y-serial" in decimal; "" where the chip has none */
};
/* Reads identity registers and compares with the profile: IDENTITY names both values; NO_ANSWER says nobody
 * is there. */
int chip_identify(struct chip *chip, struct chip_identity *ret_identity, struct error *err);
int chip_reset(struct chip *chip, struct error *err);

/* core: 0.., CHIP_GLOBAL, or (writes only) CHIP_ALL_CORES. */
int chip_read(struct chip *chip, int core, const char *reg, uint32_t *ret_value, struct error *err);
int chip_write(struct chip *chip, int core, const char *reg, uint32_t value, struct error *err);
/* Reads back and compares: MISMATCH. */
int chip_write_verified(struct chip *chip, int core, const char *reg, uint32_t value, struct error *err);
int chip_memory_read(struct chip *chip, int core, const char *memory, uint32_t offset, void *ret_data,
                     size_t bytes, struct error *err);
/* verify: reads back; MISMATCH names the first byte that differs. offset and bytes: multiples of a word. */
int chip_memory_write(struct chip *chip, int core, const char *memory, uint32_t offset, const void *data,
                      size_t bytes, bool verify, struct error *err);

/* Power domains: cores whose bit is set, converter reference, gain stage. */
int chip_power(struct chip *chip, uint32_t core_mask, bool reference, bool gain_stage, struct error *err);
/* The core clock: after a reset the chip does not divide it, and nothing here makes it. */
double chip_clock_hz(const struct chip *chip);

/* Trim codes of one converter, by the profile's trim name. */
int chip_trim_write(struct chip *chip, int core, int converter, const char *trim, int code,
                    struct error *err);
int chip_trim_read(struct chip *chip, int core, int converter, const char *trim, int *ret_code,
                   struct error *err);

/* Converts the voltage at the test input `count` times through one converter. */
struct chip_conversions {
    int count;
    int32_t sum;
    uint32_t sum_squares;
};
int chip_extin(struct chip *chip, int core, int converter, int count, struct chip_conversions *ret,
               struct error *err);
/* Selection by name of the profile's test_mux ("off", "VREF" ...); input: ATB0 is driven from outside. */
int chip_testmux(struct chip *chip, const char *atb0, const char *atb1, bool input, struct error *err);
int chip_temperature(struct chip *chip, double *ret_celsius, struct error *err);
/* Converter setting of all cores (chip_load does this too). */
int chip_adc(struct chip *chip, const struct adc_config *adc, struct error *err);

/* Everything: power domains, weights (through the crossbar, read back), instructions, norms, converter
 * setting. */
int chip_load(struct chip *chip, const struct chip_program *program, struct error *err);
/* Only what a changed converter setting changes. The program must come from the same network and mapping. */
int chip_load_adc(struct chip *chip, const struct chip_program *program, struct error *err);

/* Modes. One that could not be ended (the link was down) is ended by the next chip_input(), chip_infer() or
 * chip_load(): a new input is a plain run until a mode is asked for again.
 * Ends runs after batch norm of that window of that stage; stage -1: off. */
int chip_break(struct chip *chip, int stage, int window, struct error *err);
/* Every run executes n times: separates compute from transfer energy. 1..65535. */
int chip_repeat(struct chip *chip, uint32_t n, struct error *err);
/* seed -1: off. */
int chip_bist(struct chip *chip, int seed, struct error *err);

int chip_input(struct chip *chip, const struct chip_program *program, const uint8_t *input,
               struct error *err);
/* Starts, waits the estimate, polls to a deadline: HANG when the chip stays busy (it is aborted), REFUSED
 * when ERR is set. */
int chip_run(struct chip *chip, const struct chip_program *program, uint32_t *ret_cycles,
             uint32_t *ret_err_bits, struct error *err);
/* The two halves, for power measurement while the chip runs. */
int chip_start(struct chip *chip, struct error *err);
int chip_wait(struct chip *chip, int64_t expected_ns, uint32_t *ret_cycles, uint32_t *ret_err_bits,
              struct error *err);
int chip_result(struct chip *chip, const struct chip_program *program, int32_t *ret_output,
                struct error *err);
/* Many inputs, batched so that the wire never waits for the host. */
int chip_infer(struct chip *chip, const struct chip_program *program, const uint8_t *const *input, int count,
               struct inference *ret, struct error *err);

struct chip_counters {
    uint32_t mvms, conversions, clipped, memory_bytes;
};
int chip_counters(struct chip *chip, int core, struct chip_counters *ret, struct error *err);

/* What the link cost since open: retries show a marginal wire before it fails. */
struct chip_link_stats {
    int64_t transfers, batches, bytes, retries, reruns;
};
struct chip_link_stats chip_link_stats(const struct chip *chip);
/* Estimated time of one run at the clock in force. */
int64_t chip_run_ns(const struct chip *chip, const struct chip_program *program);

#endif
