/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chip_adelia2: what the parts of the simulated adelia2 share. The chip follows docs/chip-adelia2.md and acts
 * on its pins alone: volts, SPI bytes, the test bus. Nothing here knows a network, a label or a file. Parts:
 *
 *   chip_adelia2_die.c    who this die is: population, seeded draws, power-up contents
 *   chip_adelia2_spi.c    frames on the wire
 *   chip_adelia2_regs.c   address map, registers, memories, run control
 *   chip_adelia2_exec.c   the six units and their instructions
 *   chip_adelia2_array.c  crossbar product and converters
 *   chip_adelia2_power.c  leakage, energy, speed limit, power states, test bus
 *   chip_adelia2.c        the model in the virtual bench
 *
 * All but the last work on struct adelia2 alone, so that a test can hold a chip in its hand. One thread. */
#ifndef DRIVERS_SIM_CHIP_ADELIA2_H
#define DRIVERS_SIM_CHIP_ADELIA2_H

#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/base/json.h"

enum {
    A2_APUS = 6,
    A2_ROWS = 256,
    A2_COLS = 64,
    A2_ADCS = 32,
    A2_IMEM_WORDS = 256,
    A2_DMEM_BYTES = 8192,
    A2_XBAR_BYTES = A2_ROWS * A2_COLS / 2,
    A2_BNP_WORDS = 64,
    A2_ADCT_WORDS = 2 * A2_ADCS,
    A2_TRACE_CODES = 512,
    A2_VECTOR_BYTES = 2048,
    A2_LAYER_REGS = 28,
    A2_BURST_WORDS = 256,
    A2_COLUMN_STEP = 16,                         /* columns that the product's inner loop takes at once */
    A2_WEIGHT_STRIDE = A2_COLS + A2_COLUMN_STEP, /* a row of effective weights, with room to read past */
    A2_STEPS_MAX = 4000000, /* instructions of one execution; beyond, the model gives up: RUN stays */
    A2_REPEATS_EXECUTED = 4 /* of REPEAT, see adelia2_exec_run() */
};

#define A2_ID         0x41440201u
#define A2_REVISION   1u
#define A2_CLOCK_HZ   100e6
#define A2_FS_DIGITS  464                  /* converter full scale: input 1.0 times digit 1 */
#define A2_FSI        (A2_FS_DIGITS * 255) /* the same in input codes */
#define A2_VDD_NOM_V  0.8
#define A2_VREF_NOM_V 0.6
#define A2_T_NOM_C    25.0

enum a2_rail { A2_VDDIO, A2_VDDD, A2_VDDM, A2_VDDA, A2_VDDADC, A2_VREF, A2_VBN, A2_VBP, A2_RAILS };
extern const char *const adelia2_rail_name[A2_RAILS];

/* ERR register. */
enum {
    A2_ERR_BUSY = 1 << 0,
    A2_ERR_CRC = 1 << 1,
    A2_ERR_ILLOP = 1 << 2,
    A2_ERR_BUSTO = 1 << 3,
    A2_ERR_UVLO = 1 << 4,
    A2_ERR_DMEM = 1 << 5
};

/* Status byte of a frame. */
enum {
    A2_ST_ALIVE = 0xA0,
    A2_ST_BUSY = 1 << 0,
    A2_ST_CRC = 1 << 1,
    A2_ST_ADDRESS = 1 << 2,
    A2_ST_LOCKED = 1 << 3,
    A2_ST_COMMAND = 1 << 4
};

/* Imperfections of a population of dies; each can be 0 (or false). */
struct adelia2_population {
    double mismatch_sigma; /* relative, per cell */
    double adc_offset_lsb; /* sigma, LSB of 10 bit */
    double adc_gain_sigma; /* relative */
    double adc_noise_lsb;  /* rms, LSB of 10 bit */
    double pga_noise;      /* rms behind a gain above 1, in units of the converter's whole range */
    double inl_lsb;        /* sigma of the second and third order bow, LSB of 10 bit */
    double bit_flip;       /* probability that each of the three low bits of a code is wrong */
    double ir_drop;        /* relative loss of a column's signal at full scale */
    double die_spread;     /* 1: the documented spread of leakage, speed and references; 0: nominal dies */
    double vref_tracking;  /* 1: the array's signal follows VREF as in the ideal formula; 0: it does not */
    bool drift;            /* converter offsets move with temperature */
    bool sensitivity;      /* the array's gain depends on VDDA and temperature */
    bool timing;           /* errors and hang above the highest clock */
    bool self_heating;     /* the world's business; listed so that a bench file may name it here */
};

struct adelia2_adc {
    float offset_lsb; /* LSB of 10 bit */
    float gain;       /* about 1 */
    float bow2_lsb;   /* INL, even */
    float bow3_lsb;   /* INL, odd */
    float drift_lsb_per_c;
};

/* What one die is, drawn once. */
struct adelia2_die {
    uint64_t seed;
    int number;
    double leak_factor[A2_RAILS];
    double vt_v;     /* of the speed path */
    double speed_hz; /* factor of the alpha-power law */
    double bandgap_v;
    double ptat_error_c;
    double sensor_error_c;
    uint32_t id_hi, id_lo;
    float mismatch[A2_APUS][A2_ROWS * A2_COLS]; /* factor 1 + eps */
    struct adelia2_adc adc[A2_APUS][A2_ADCS];
};

/* What a run changes in a unit: while it lasts, the host sees what was there before. */
struct adelia2_data {
    uint8_t dmem[A2_DMEM_BYTES];
    int32_t psum[A2_BNP_WORDS];
    int16_t trace[A2_TRACE_CODES];
    uint32_t trace_next;
    uint32_t adct[A2_ADCT_WORDS];
    uint32_t mvm_count, conversion_count, clip_count, memory_count;
    uint32_t pc, layer;
    bool done, waiting, saturated;
    int32_t ext_sum;
    uint32_t ext_square;
};

enum a2_state { A2_IDLE, A2_READY, A2_WAITING, A2_STOPPED, A2_HALTED };

/* Execution state of one unit. */
struct adelia2_unit {
    enum a2_state state;
    uint64_t cycle;
    uint32_t pc;
    uint32_t loop_first, loop_end, loop_left; /* loop_left 0: not in a loop */
    uint16_t reg[A2_LAYER_REGS];
    uint32_t out_y, out_x, window;
    uint32_t layer;
    uint32_t mvm_index; /* k, since START */
    uint32_t token[A2_APUS];
    int wait_from;
    uint8_t vector[A2_VECTOR_BYTES];
};

struct adelia2_apu {
    bool enabled;
    uint32_t adc_config;
    uint32_t ext_command;
    uint32_t imem[A2_IMEM_WORDS];
    uint8_t wmem[A2_XBAR_BYTES];
    uint8_t xbar[A2_XBAR_BYTES];
    uint32_t bnp[A2_BNP_WORDS];
    struct adelia2_data data, before;
    struct adelia2_unit unit;
    float weight[A2_ROWS * A2_WEIGHT_STRIDE]; /* cell times mismatch, rebuilt when the crossbar is loaded */
};

/* Events that cost energy. */
struct adelia2_events {
    double cells, conversions_9b, digital, dmem_bytes;
};

struct adelia2_run {
    bool active;
    bool counts; /* a START run (INFCNT, CYC), not an EXTIN */
    int64_t start_ns;
    int64_t end_ns; /* CLOCK_NEVER: hangs */
    uint64_t cycles;
    double core_hz;
    uint32_t err;
    uint32_t apus; /* mask */
};

/* Where dynamic charge goes; NULL function: nowhere. */
struct adelia2_sink {
    void (*charge)(void *context, enum a2_rail rail, double coulomb, int64_t t0_ns, int64_t t1_ns);
    double (*atb_volt)(void *context); /* the test bus, when it is an input */
    void (*changed)(void *context);    /* static currents or the test bus have changed */
    void *context;
};

struct adelia2 {
    struct adelia2_population population;
    struct adelia2_die die;
    struct adelia2_sink sink;

    double rail_v[A2_RAILS];
    double temp_c;
    bool damaged;
    bool logic_on;    /* VDDD is above the reset threshold */
    bool memory_kept; /* VDDM has stayed above the retention threshold */

    uint32_t clkdiv, err, irqen, infcnt, pwren, testmux, scratch, repeat, brk, bist;
    bool done;
    uint64_t cycles;
    bool reset_armed; /* the transaction before was 66 */

    struct adelia2_run run;
    uint64_t run_number;  /* since the model was opened: keys the noise, never repeats */
    uint64_t stopped_run; /* number of the last one that did not come to its end */
    double timing_error;  /* probability per partial sum in this run */
    struct adelia2_events events;

    double energy_j[A2_RAILS]; /* dynamic, since reset */
    double run_energy_j[A2_RAILS];
    uint64_t spi_frames, spi_errors;

    struct adelia2_apu apu[A2_APUS];
};

/* ---- chip_adelia2_die.c ---- */
/* Reads "population" of the bench file's simulate object (NULL: all perfect). Reports every mistake. */
int adelia2_die_population(const cJSON *options, struct adelia2_population *ret, struct error *err);
/* Draws everything about the die; leaves it unpowered. */
void adelia2_die_init(struct adelia2 *chip, const struct adelia2_population *population, uint64_t seed,
                      int die);
/* Memories as they come up after a power loss: a pattern of this die, of no use. */
void adelia2_die_scramble(struct adelia2 *chip);

/* ---- chip_adelia2_spi.c ---- */
/* One transaction. Writes take effect at end_ns (CS high). */
void adelia2_spi(struct adelia2 *chip, const uint8_t *mosi, size_t mosi_n, uint8_t *miso, size_t rx_n,
                 int64_t start_ns, int64_t end_ns);

/* ---- chip_adelia2_regs.c ---- */
/* Registers to their reset values; a run ends without a trace. Memories stay. */
void adelia2_regs_reset(struct adelia2 *chip);
/* Ends a run that is over at now_ns. Call before looking at anything. */
void adelia2_regs_advance(struct adelia2 *chip, int64_t now_ns);
/* Status bits that a burst at address would meet; 0 when it may proceed. */
uint8_t adelia2_regs_check(const struct adelia2 *chip, uint32_t address, unsigned words, bool write);
uint32_t adelia2_regs_read(const struct adelia2 *chip, uint32_t address);
void adelia2_regs_write(struct adelia2 *chip, uint32_t address, uint32_t value, int64_t now_ns);
/* The run stops here with these ERR bits; what it was writing is lost. */
void adelia2_regs_stop(struct adelia2 *chip, uint32_t err, int64_t now_ns);

/* ---- chip_adelia2_exec.c ---- */
/* Executes the programs of the units in mask, filling data, run.cycles, run.err and events. False: never
 * ends. */
bool adelia2_exec_run(struct adelia2 *chip, uint32_t mask);

/* ---- chip_adelia2_array.c ---- */
/* Effective weights from the crossbar's contents. */
void adelia2_array_load(struct adelia2 *chip, int apu);
struct a2_product {
    unsigned row, rows, column, columns;
    const uint8_t *input;
    uint32_t mvm_index;
};
/* Drives rows and converts columns: codes out, in column order. Counts clips. */
void adelia2_array_mvm(struct adelia2 *chip, int apu, const struct a2_product *product, int16_t *codes);
/* count conversions of volt through one converter: ext_sum and ext_square of the unit. */
void adelia2_array_extin(struct adelia2 *chip, int apu, unsigned converter, unsigned count, double volt);
unsigned adelia2_array_bits(const struct adelia2_apu *apu);
unsigned adelia2_array_gain(const struct adelia2 *chip, const struct adelia2_apu *apu);

/* ---- chip_adelia2_power.c ---- */
void adelia2_power_rail(struct adelia2 *chip, enum a2_rail rail, double volt, int64_t now_ns);
/* Static current into one rail with rail_v[A2_RAILS]. */
double adelia2_power_leakage(const struct adelia2 *chip, enum a2_rail rail, const double *rail_v,
                             double temp_c);
/* Highest clock that this die computes correctly at, with the rails as they are. */
double adelia2_power_fmax(const struct adelia2 *chip);
/* Lowest VDDD = VDDM for a clock, other things as they are. */
double adelia2_power_vmin(const struct adelia2 *chip, double clock_hz);
/* Probability of a wrong partial sum; negative: the sequencer stops dead. */
double adelia2_power_timing_error(const struct adelia2 *chip, double clock_hz);
/* True when a core rail is too low to compute. */
bool adelia2_power_low(const struct adelia2 *chip);
/* Draws the energy of chip->events over [t0, t1]. */
void adelia2_power_spend(struct adelia2 *chip, int64_t t0_ns, int64_t t1_ns, double repeats);
/* A run that was stopped early: takes this share of its energy back. */
void adelia2_power_refund(struct adelia2 *chip, double share);
void adelia2_power_spi(struct adelia2 *chip, size_t bytes, int64_t t0_ns, int64_t t1_ns);
bool adelia2_power_atb(const struct adelia2 *chip, double *ret_volt, double *ret_ohm);
/* TEMP register, 0.1 C. */
int adelia2_power_sensor(const struct adelia2 *chip);

#endif
