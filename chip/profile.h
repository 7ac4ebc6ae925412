/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * profile: a chip as data. A file in configs/chips/ says everything the rest of the program knows about a
 * type of chip: rails and the order in which they may come up, framing of its SPI, registers, memories,
 * cores, converters, trims, cost tables. A second chip is a second file. A profile is read once, checked as a
 * whole, and never changes after: threads share it freely.
 *
 * The file (every address may be a number or a string such as "0x3C"; optional members are marked ?):
 *
 *   { "format": "nightbench-chip", "version": 1, "type": "adelia2", "revision": 1,
 *     "rails": [ { "name": "VDDD", "role": "core|io|bias|reference", "group"?: "core", "nominal_v", "min_v",
 * "max_v", "abs_min_v"?: 0 or less, "abs_max_v", "limit_a", "ovp_v", "ramp_v_per_s", "settle_s" } ],
 *     "power_up":   [ ["VDDIO"], ["VDDD"], ["spi", "test_source"] ],   barriers: one after another; inside
 * one: together "power_down"?: [ ... ],                                           default: power_up backwards
 *     "emergency":  [ ["test_source", "spi"], ["VDDIO"], [...] ],
 *     "interlocks"?: [ ... ],   rules that the keeper watches: instruments/interlock.h
 *     "contact_check"?: { "force_v": up to 0.2, "limit_a": up to 0.02 },
 *     "pins"?: [ { "name", "kind": "supply|input|output|analog" } ],
 *     "spi": { "framing": "adl2|adi16", "mode", "clock_max_hz", "word_bits", "address_bits", "burst_words" },
 *     "identity": { "register": "ID", "value": "0x41440201", "revision_register"?, "die_registers"?:
 * ["DIEID_HI","DIEID_LO"] }, "registers": [ { "name", "address", "scope"?: "chip|core", "access"?:
 * "rw|ro|w1c", "fields"?: [ {"name","bit","width"?} ] } ], "memories"?: [ { "name", "address", "bytes",
 * "scope"?, "access"? } ], "cores"?: { "count", "rows", "columns", "converters", "address", "stride",
 * "digit_bits", "accumulator_bits" }, "adc"?: { "bits": [..], "gains": [..], "full_scale", "input_max" },
 *     "trims"?: [ { "name", "memory", "bit", "width", "stride", "signed", "neutral", "step", "unit" } ],
 *     "test_mux"?: [ { "name", "value" } ],
 *     "operating": { "supply_min_v", "supply_max_v", "clock_min_hz", "clock_max_hz", "temperature_min_c",
 * "temperature_max_c", "temperature_step_c"?: of register TEMP }, "accounting"?: { "operations_per_mac": 2 },
 * "cycles"?: { "instruction", "gather_bytes", "mvm", "mvm_per_bit", "bn_per_channel", "mov_bytes",
 * "padd_per_channel", "ldw", "extin" } }
 */
#ifndef CHIP_PROFILE_H
#define CHIP_PROFILE_H

#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/base/hash.h"
#include "daemon/base/json.h"

enum {
    PROFILE_NAME_MAX = 32,
    PROFILE_RAILS_MAX = 16,
    PROFILE_BARRIERS_MAX = 20,
    PROFILE_PINS_MAX = 64,
    PROFILE_REGISTERS_MAX = 96,
    PROFILE_FIELDS_MAX = 12,
    PROFILE_MEMORIES_MAX = 16,
    PROFILE_TRIMS_MAX = 8,
    PROFILE_MUX_MAX = 64,
    PROFILE_ADC_CHOICES_MAX = 8,
    PROFILE_CORES_MAX = 16,
    PROFILE_CELLS_MAX = 1 << 16 /* rows x columns of one core */
};

enum profile_role { PROFILE_ROLE_CORE, PROFILE_ROLE_IO, PROFILE_ROLE_BIAS, PROFILE_ROLE_REFERENCE };

struct profile_rail {
    char name[PROFILE_NAME_MAX];
    char group[PROFILE_NAME_MAX]; /* rails of one group move together ("core"); "" = none */
    enum profile_role role;
    double nominal_v, min_v, max_v; /* range in use */
    double abs_min_v, abs_max_v;    /* absolute maximum ratings */
    double limit_a, ovp_v, ramp_v_per_s, settle_s;
    int up_barrier; /* index into power_up: which barrier switches it on */
};

/* What a barrier switches: a rail (its index), or one of the two below. */
enum { PROFILE_ITEM_SPI = -1, PROFILE_ITEM_TEST_SOURCE = -2 };

struct profile_barrier {
    int count;
    int item[PROFILE_RAILS_MAX + 2];
};

struct profile_sequence {
    int count;
    struct profile_barrier barrier[PROFILE_BARRIERS_MAX];
};

/* Contact check: what each unpowered rail is forced with, and the current limit to begin with. At most what
 * harms no part and opens no junction. */
#define PROFILE_CONTACT_MAX_V 0.2
#define PROFILE_CONTACT_MAX_A 0.02
struct profile_contact {
    double force_v, limit_a;
};

enum profile_pin_kind { PROFILE_PIN_SUPPLY, PROFILE_PIN_INPUT, PROFILE_PIN_OUTPUT, PROFILE_PIN_ANALOG };

struct profile_pin {
    char name[PROFILE_NAME_MAX];
    enum profile_pin_kind kind;
};

enum profile_framing_kind {
    PROFILE_FRAMING_ADL2, /* command, 24-bit address, length, CRC-8; data with CRC-16; status after it */
    PROFILE_FRAMING_ADI16 /* 16-bit instruction: bit 15 read, 14..0 address; ascending bytes; no CRC, no
                             status */
};

struct profile_spi {
    enum profile_framing_kind kind;
    int mode;
    double clock_max_hz;
    int word_bits;    /* 32 or 8: what one address step of word_bits / 8 holds */
    int address_bits; /* 24 or 15 */
    int burst_words;  /* longest burst */
};

enum profile_scope { PROFILE_SCOPE_CHIP, PROFILE_SCOPE_CORE };
enum profile_access { PROFILE_ACCESS_RW, PROFILE_ACCESS_RO, PROFILE_ACCESS_W1C };

struct profile_field {
    char name[PROFILE_NAME_MAX];
    int bit, width;
};

struct profile_register {
    char name[PROFILE_NAME_MAX];
    uint32_t address; /* inside its scope */
    enum profile_scope scope;
    enum profile_access access;
    int field_count;
    struct profile_field field[PROFILE_FIELDS_MAX];
};

struct profile_memory {
    char name[PROFILE_NAME_MAX];
    uint32_t address, bytes;
    enum profile_scope scope;
    enum profile_access access;
};

struct profile_cores {
    int count; /* 0: a chip without arrays */
    int rows, columns, converters;
    uint32_t address, stride; /* of core 0, and to the next */
    int digit_bits;           /* bits of one cell: 3 */
    int accumulator_bits;     /* partial sums: 30 */
};

struct profile_adc {
    int bits_count, bits[PROFILE_ADC_CHOICES_MAX];
    int gain_count, gain[PROFILE_ADC_CHOICES_MAX]; /* index in this list = the register's code */
    int full_scale;                                /* input 1.0 x digit 1: 464 */
    int input_max;                                 /* code of input 1.0: 255 */
};

/* A trim of each converter: `width` bits at `bit` of the word at memory + converter * stride. */
struct profile_trim {
    char name[PROFILE_NAME_MAX]; /* "offset", "gain" */
    int memory;                  /* index */
    int bit, width;
    uint32_t stride;
    bool is_signed;
    int neutral; /* code that changes nothing */
    double step; /* effect of one code, in `unit` */
    char unit[PROFILE_NAME_MAX];
};

struct profile_mux {
    char name[PROFILE_NAME_MAX];
    uint32_t value;
};

struct profile_operating {
    double supply_min_v, supply_max_v, clock_min_hz, clock_max_hz, temperature_min_c, temperature_max_c;
    double temperature_step_c; /* one code of register TEMP; 0: no sensor */
};

/* Core cycles: what the estimates of run time are made from. */
struct profile_cycles {
    int instruction;      /* every instruction */
    int gather_bytes;     /* bytes gathered per cycle */
    int mvm, mvm_per_bit; /* mvm + mvm_per_bit * bits */
    int bn_per_channel;
    int mov_bytes; /* bytes moved per cycle */
    int padd_per_channel;
    int ldw;
    int extin; /* one conversion of an external voltage */
};

struct chip_profile {
    char type[PROFILE_NAME_MAX];
    int revision;
    char hash[SHA256_HEX]; /* of the file's text */
    int rail_count;
    struct profile_rail rail[PROFILE_RAILS_MAX];
    struct profile_sequence power_up, power_down, emergency;
    bool has_contact_check;
    struct profile_contact contact_check;
    int pin_count;
    struct profile_pin pin[PROFILE_PINS_MAX];
    struct profile_spi spi;
    /* Indices into registers; -1 where the chip has none. */
    int identity_register, revision_register, die_register[2];
    uint32_t identity_value;
    int register_count;
    struct profile_register reg[PROFILE_REGISTERS_MAX];
    int memory_count;
    struct profile_memory memory[PROFILE_MEMORIES_MAX];
    struct profile_cores cores;
    struct profile_adc adc;
    int trim_count;
    struct profile_trim trim[PROFILE_TRIMS_MAX];
    int mux_count;
    struct profile_mux mux[PROFILE_MUX_MAX];
    struct profile_operating operating;
    int operations_per_mac;
    struct profile_cycles cycles;
};

/* Reads and checks a file; the error names the first problem and how many more there are. Free with
 * profile_free(). */
int profile_load(const char *path, struct chip_profile **ret_profile, struct error *err);
/* The same, and every mistake by its place. problems: empty. */
int profile_read(const char *path, struct chip_profile **ret_profile, struct json_problems *problems,
                 struct error *err);
/* The same from a parsed document, collecting every problem; hash is left empty. Returns 0 or ERR_INVALID. */
int profile_parse(const struct json_at *root, struct chip_profile *ret_profile);
void profile_free(struct chip_profile *profile);

/* Index of a name, or -1. Registers and memories are looked up in both scopes: names are unique per scope. */
int profile_rail_index(const struct chip_profile *profile, const char *name);
int profile_register_index(const struct chip_profile *profile, enum profile_scope scope, const char *name);
int profile_memory_index(const struct chip_profile *profile, const char *name);
int profile_trim_index(const struct chip_profile *profile, const char *name);
int profile_mux_index(const struct chip_profile *profile, const char *name);
const struct profile_field *profile_field(const struct profile_register *reg, const char *name);
/* Address on the wire of `offset` in `scope`; core is ignored for the chip's own scope. */
uint32_t profile_address(const struct chip_profile *profile, enum profile_scope scope, int core,
                         uint32_t offset);
/* Register code of a gain or -1; true when the chip offers these bits. */
int profile_gain_code(const struct chip_profile *profile, int gain);
bool profile_has_bits(const struct chip_profile *profile, int bits);
/* Bytes of a memory by name, 0 when the chip has none. */
uint32_t profile_memory_bytes(const struct chip_profile *profile, const char *name);

#endif
