/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench: the instruments, rails, test bus and SPI bridge of one socket, by role. Opening a bench starts one
 * port per physical link (in this process for links that only measure, in the keeper for links that can
 * energise). Everything that a sweep does to hardware goes through a bench_client: one per actor thread
 * (runner, sampler).
 */
#ifndef INSTRUMENTS_BENCH_H
#define INSTRUMENTS_BENCH_H

#include "daemon/base/clock.h"
#include "daemon/base/json.h"
#include "daemon/base/record.h"
#include "instruments/spi.h"

enum { BENCH_INSTRUMENTS_MAX = 32, BENCH_CHANNELS_MAX = 128, BENCH_INPUTS_MAX = 64, BENCH_NAME_MAX = 48 };
enum { BENCH_RULES_MAX = 4 };

enum instrument_class { CLASS_PSU, CLASS_SMU, CLASS_DMM, CLASS_SPI, CLASS_CHAMBER, CLASS_LA };

/* One settable or readable output/input of an instrument, with what the dialect states about it. Immutable
 * after load. */
struct bench_channel {
    int index;                 /* in struct bench_file */
    int instrument;            /* index of its instrument */
    int number;                /* the instrument's own channel number, from 1 */
    char name[BENCH_NAME_MAX]; /* "psu1.1" */
    char rail[BENCH_NAME_MAX]; /* net it feeds, or "" */
    bool can_source;
    double volt_min_v, volt_max_v, volt_step_v, limit_min_a, limit_max_a, settle_s, measure_s;
    double temp_min_c, temp_max_c; /* of a chamber's set point */
    double log_min_s, log_max_s;   /* periods of its own logger; 0: it has none */
};

struct interpose;

struct bench_instrument {
    char name[BENCH_NAME_MAX], driver[BENCH_NAME_MAX], dialect[BENCH_NAME_MAX], resource[256];
    char vendor[64], model[64], serial[64]; /* expected; serial "any" accepts all */
    int class;
    bool energises;              /* its port lives in the keeper */
    struct interpose *interpose; /* layers on its link (drivers/interpose.h), or NULL */
    int line_of; /* 1 + index of the earlier instrument whose line and port it shares; 0: one of its own */
};

/* A parsed bench file: pure data, no hardware touched. */
struct bench_file {
    char path[256], name[BENCH_NAME_MAX], socket[BENCH_NAME_MAX];
    bool simulated;
    int instrument_count, channel_count;
    struct bench_instrument instrument[BENCH_INSTRUMENTS_MAX];
    struct bench_channel channel[BENCH_CHANNELS_MAX];
    int spi_instrument; /* index or -1 */
    double spi_hz;
    int logic_instrument; /* analyzer, index or -1 */
    int logic_count;
    struct bench_input {
        char pin[BENCH_NAME_MAX]; /* of the chip */
        int input;                /* of the analyzer, from 0 */
    } logic[BENCH_INPUTS_MAX];
    int source_channel, meter_channel; /* of the analog test bus, index or -1 */
    char profile_path[256];
    char *json; /* canonical text, for the run's snapshot */
};

/* Reads and checks a bench file and the dialects it names; every mistake goes into problems. Caller:
 * bench_file_free. */
int bench_file_load(const char *path, struct bench_file **ret_file, struct json_problems *problems,
                    struct error *err);
void bench_file_free(struct bench_file *file);
/* Input of the logic analyzer that a pin of the chip is wired to; -1 when none. */
int bench_file_input(const struct bench_file *file, const char *pin);
/* Channel that feeds a rail, by rail name; NULL when none. */
const struct bench_channel *bench_file_rail(const struct bench_file *file, const char *rail);

struct bench;
struct bench_client;

struct bench_options {
    struct clock *clock;
    const char *keeper_socket; /* Unix socket of the keeper */
    const char *links_path; /* the simulator's links.json, for resources "sim:"; NULL without a simulator */
    const char *trace_dir;  /* wire traces, NULL none */
};

/* Opens every port, connects, checks identities. On failure nothing stays open. file is borrowed for the
 * bench's life. */
int bench_open(const struct bench_file *file, const struct bench_options *options, struct bench **ret_bench,
               struct error *err);
void bench_close(struct bench *bench);
const struct bench_file *bench_file_of(const struct bench *bench);
/* How the ports are, those of this process only: a list of instruments/port_health.h. Any thread; never
 * waits. */
cJSON *bench_ports_json(const struct bench *bench);

/* One per actor thread; actor is borrowed. */
int bench_client_open(struct bench *bench, struct clock_actor *actor, struct bench_client **ret_client,
                      struct error *err);
void bench_client_close(struct bench_client *client);
struct bench *bench_of(const struct bench_client *client);
/* Makes every present and later call of this client return ERR_CANCELLED until cleared (abort). Any thread.
 */
void bench_client_cancel(struct bench_client *client, bool cancelled);
/* The last requests of this client as a JSON list (instruments/history.h), for the record of an error.
 * Client's thread. */
struct strbuf;
void bench_client_history(const struct bench_client *client, struct strbuf *out);
/* While on, calls and waits go on as if nobody had cancelled: the way to the safe state. The
 * client's thread. */
void bench_client_shield(struct bench_client *client, bool on);
int64_t bench_now(const struct bench_client *client);
int bench_wait(struct bench_client *client, int64_t duration_ns, struct error *err);

/* ---- Identity ---- */
struct bench_identity {
    char vendor[64], model[64], serial[64], firmware[64];
};
int bench_identity(struct bench_client *client, int instrument, struct bench_identity *ret,
                   struct error *err);
/* Raw command to a SCPI instrument; answer "" when the command is no query. */
int bench_query(struct bench_client *client, int instrument, const char *command, char *answer, size_t size,
                struct error *err);

/* ---- Supplies and sources (CLASS_PSU, CLASS_SMU). Volts and amperes; limits of the dialect are enforced
 * here and in the keeper (ERR_RANGE), output on without a registered undo is refused by the keeper
 * (ERR_REFUSED). ---- */
int psu_set_voltage(struct bench_client *c, const struct bench_channel *ch, double volt_v, struct error *err);
int psu_set_current_limit(struct bench_client *c, const struct bench_channel *ch, double limit_a,
                          struct error *err);
/* Programs OVP (V) and OCP (on/off at the current limit) and reads them back; NAN: leave. UNSUPPORTED where
 * absent. */
int psu_set_protection(struct bench_client *c, const struct bench_channel *ch, double ovp_v, bool ocp,
                       struct error *err);
/* Switches and reads back. */
int psu_output(struct bench_client *c, const struct bench_channel *ch, bool on, struct error *err);
struct psu_state {
    bool on, limiting, tripped;
    double set_v, limit_a;
};
int psu_read_state(struct bench_client *c, const struct bench_channel *ch, struct psu_state *ret,
                   struct error *err);
int psu_clear_trip(struct bench_client *c, const struct bench_channel *ch, struct error *err);

/* ---- Measuring. Issues every read before it collects any. ---- */
enum bench_quantity { QUANTITY_VOLTAGE, QUANTITY_CURRENT, QUANTITY_TEMPERATURE };
struct bench_read {
    const struct bench_channel *channel;
    int quantity;
    struct reading reading; /* filled; uncertainty from the dialect's accuracy row */
    int code;               /* per read: 0 or an error code; reading.value is NaN then */
};
/* Returns 0 when all succeeded, else the first error (err names it); each item says for itself. */
int bench_read_many(struct bench_client *client, struct bench_read *reads, int count, struct error *err);
/* Meter setting: range_v (NAN auto), nplc. */
int dmm_configure(struct bench_client *c, const struct bench_channel *ch, double range_v, double nplc,
                  struct error *err);

/* ---- SPI ---- */
/* Bus of the socket for this client's thread. */
int bench_spi(struct bench_client *client, struct spi_bus *ret_bus, struct error *err);
int spi_set_clock(struct bench_client *client, double hz, double *ret_hz, struct error *err);
/* Drives or tri-states the bridge's pins (serprog S_PIN_STATE). */
int spi_drive(struct bench_client *client, bool on, struct error *err);

/* ---- Safety: the keeper's undo list ---- */
/* Registers, before it is done, how an energising act is undone: kind "output_off" for a channel,
 * "spi_release" for the bridge. Steps of a higher barrier number run first; inside a barrier they may run in
 * parallel. emergency_barrier orders e-stop. */
enum undo_kind { UNDO_OUTPUT_OFF, UNDO_SPI_RELEASE };
int bench_undo_register(struct bench_client *client, int kind, const struct bench_channel *channel,
                        int barrier, int emergency_barrier, struct error *err);
/* Runs the whole list through the keeper and waits for it (ordered power-down), or in emergency order.
 * ret_missed: steps whose read-back did not confirm. */
int bench_safe(struct bench_client *client, bool emergency, int *ret_missed, struct error *err);

#endif
