/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * matrix: every driver, with every fault, in every phase: a port with its driver, a link that spoils
 * (fault_link.c), and the simulated instrument. A cell holds when each request ends within its deadline in a
 * documented state, no wrong value comes out as a good one, an output that is said to be off is off, and the
 * port finds back by itself once the fault has gone. Careless drivers must break cells, or the matrix is
 * worth nothing. */
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "instruments/port.h"
#include "tests/unit/sim_rig.h"
#include "tests/wire/lab/lab.h"

enum phase { PHASE_OPEN, PHASE_IDENTIFY, PHASE_SET, PHASE_TRANSFER, PHASE_OFF, PHASES };
static const char *const PHASE_NAMES[] = { "open", "identify", "set", "transfer", "off" };

enum { PREPARE_TRIES = 3, REQUESTS_WHILE_FAULTY = 2, RECOVERY_TRIES = 40 };

#define REQUEST_LIMIT_S  90.0 /* one request, its resynchronising and reconnecting included */
#define RECOVERY_LIMIT_S 60.0
#define PAUSE_S          1.0 /* between two tries to get it back */

/* ---- One bench and its port ---- */
struct cell {
    const struct lab_row *row;
    int fault, phase;
    struct sim_rig *rig;
    struct bench_file *file;
    struct port *port;
    int done_fd;
    struct lab_speech speech;
    struct lab_faults faults;
    double longest_s, truth; /* the reading without a fault */
    uint8_t bytes[3];        /* the same of a bridge */
    bool lost_power;         /* by a reboot, or by the instrument's own watchdog */
    bool ready, is_off;      /* works without a fault; was said to be off */
    bool restored;           /* switched on again after a loss of power that was told */
    char problem[700];       /* the first one; "" */
};

static bool energises(const struct lab_row *row)
{
    return row->class != CLASS_DMM && row->class != CLASS_CHAMBER;
}

static void __attribute__((format(printf, 2, 3))) broken(struct cell *c, const char *format, ...)
{
    va_list list;
    if (c->problem[0])
        return;
    va_start(list, format);
    vsnprintf(c->problem, sizeof c->problem, format, list);
    va_end(list);
}

static void on_done(struct port_request *request)
{
    const struct cell *c = request->context;
    uint64_t one = 1;
    if (write(c->done_fd, &one, sizeof one) == sizeof one)
        clock_notify(c->rig->env.clock, clock_actor_slot(c->rig->env.actor));
}

/* Posts and waits, in bench time; judges the time it took. */
static int post(struct cell *c, struct message *m, struct error *err)
{
    struct port_request request = { .message = *m,
                                    .payload = c->rig->payload,
                                    .room = sizeof c->rig->payload,
                                    .priority = m->op == MESSAGE_SAFE_OFF ? PORT_SAFE : PORT_NORMAL,
                                    .done = on_done,
                                    .context = c };
    struct pollfd fd = { .fd = c->done_fd, .events = POLLIN };
    int64_t start_ns = clock_now(c->rig->env.clock);
    uint64_t count;
    port_post(c->port, &request);
    clock_poll(c->rig->env.actor, &fd, 1, CLOCK_NEVER, 0);
    if (read(c->done_fd, &count, sizeof count) < 0)
        broken(c, "the request was never answered");
    double took_s = (double)(clock_now(c->rig->env.clock) - start_ns) / 1e9;
    c->longest_s = took_s > c->longest_s ? took_s : c->longest_s;
    if (took_s > REQUEST_LIMIT_S)
        broken(c, "operation %d took %.1f s", m->op, took_s);
    *m = request.message;
    *err = request.error;
    return request.message.code;
}

static int ask(struct cell *c, int op, double value, double second, struct message *ret, struct error *err)
{
    *ret = (struct message){
        .magic = MESSAGE_MAGIC, .op = (uint16_t)op, .channel = 1, .value = { value, second }
    };
    if (op == MESSAGE_SPI_BATCH) { /* reads the identity of the flash */
        static const struct message_spi READ_ID = { .tx_len = 1, .rx_len = 3 };
        memcpy(c->rig->payload, &READ_ID, sizeof READ_ID);
        c->rig->payload[sizeof READ_ID] = 0x9f;
        ret->count = 1;
        ret->payload_length = sizeof READ_ID + 1;
    }
    return post(c, ret, err);
}

static int set(struct cell *c, double value, struct message *m, struct error *err)
{
    switch (c->row->class) {
    case CLASS_DMM:
        return ask(c, MESSAGE_CONFIGURE, value, 1, m, err);
    case CLASS_SPI:
        return ask(c, MESSAGE_SPI_CLOCK, value, 0, m, err);
    case CLASS_CHAMBER:
        return ask(c, MESSAGE_SET_TEMPERATURE, value, 0, m, err);
    default:
        return ask(c, MESSAGE_SET_VOLTAGE, value, 0, m, err);
    }
}

static int transfer(struct cell *c, struct message *m, struct error *err)
{
    if (c->row->class == CLASS_SPI)
        return ask(c, MESSAGE_SPI_BATCH, 0, 0, m, err);
    return ask(c, MESSAGE_MEASURE, c->row->quantity, 0, m, err);
}

/* A value that came out as good is the right one. `off` is right too where power was lost. */
static void judge_value(struct cell *c, const struct message *m, double truth)
{
    if (c->row->class == CLASS_SPI) {
        if (m->payload_length != sizeof c->bytes || memcmp(c->rig->payload, c->bytes, sizeof c->bytes) != 0)
            broken(c, "wrong bytes as good ones: %02x %02x %02x", c->rig->payload[0], c->rig->payload[1],
                   c->rig->payload[2]);
        return;
    }
    bool flagged = m->flags & READING_NOT_A_NUMBER;
    bool without_power = c->lost_power && !c->restored && fabs(m->value[0]) < fabs(truth);
    if (!flagged && !without_power && !(fabs(m->value[0] - truth) <= c->row->tolerance))
        broken(c, "%g as a good value, %g is right", m->value[0], truth);
}

/* The documented ends of a request that meets a fault. */
static void judge_code(struct cell *c, int code, const struct error *err)
{
    static const int ENDS[] = { 0,           ERR_TIMEOUT, ERR_NO_ANSWER, ERR_GARBAGE,
                                ERR_REFUSED, ERR_LINK,    ERR_IDENTITY,  ERR_TRIPPED };
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++) {
        if (code == ENDS[i])
            return;
    }
    broken(c, "ends as %s: %s", error_name(code), err->message);
}

static void reboot(void *context)
{
    static const char REQUEST[] = "{\"op\":\"reboot\",\"link\":\"dut\"}\n";
    struct cell *c = context;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char answer[256];
    snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", c->rig->dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        send(fd, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) < 0 || recv(fd, answer, sizeof answer, 0) <= 0)
        fprintf(stderr, "the simulated instrument was not rebooted\n");
    close(fd);
}

/* ---- The course of a cell ---- */
static bool open_port(struct cell *c)
{
    const struct port_options options = { .clock = c->rig->env.clock,
                                          .links_path = c->rig->links,
                                          .trace_dir = getenv("LAB_TRACE") };
    struct error err = { 0 };
    if (port_open(c->file, 0, &options, &c->port, &err)) {
        broken(c, "port: %s", err.message);
        return false;
    }
    return true;
}

static void close_port(struct cell *c)
{
    port_close(c->port);
    c->port = NULL;
}

static bool has_set_point(const struct lab_row *row)
{
    return row->class == CLASS_PSU || row->class == CLASS_SMU || row->class == CLASS_CHAMBER;
}

/* The last reading is another one than the next: a driver that repeats itself is found out. */
static int leave_another_reading(struct cell *c)
{
    struct message m;
    struct error err = { 0 };
    int code = set(c, c->row->settings[1], &m, &err);
    sim_rig_wait(c->rig, 3);
    if (!code)
        code = transfer(c, &m, &err);
    if (!code)
        code = set(c, c->row->settings[0], &m, &err);
    sim_rig_wait(c->rig, 3);
    return code;
}

/* On, at the first set point, and read: what is right from now on. On a loaded machine a byte on its way may
 * miss a deadline of virtual time: then once more. */
static void prepare(struct cell *c)
{
    struct message m;
    struct error err = { 0 };
    int code = 0;
    if (c->row->class == CLASS_SPI)
        code = ask(c, MESSAGE_SPI_DRIVE, 1, 0, &m, &err);
    else if (energises(c->row))
        code = ask(c, MESSAGE_SET_LIMIT, 0.1, 0, &m, &err);
    if (!code && energises(c->row) && c->row->class != CLASS_SPI)
        ask(c, MESSAGE_CLEAR_TRIP, 0, 0, &m, &err); /* a watchdog acts when everybody is silent for long */
    if (!code && c->row->settings[0] > 0)
        code = set(c, c->row->settings[0], &m, &err);
    if (!code && energises(c->row) && c->row->class != CLASS_SPI)
        code = ask(c, MESSAGE_OUTPUT, 1, 0, &m, &err);
    sim_rig_wait(c->rig, 3);
    if (!code)
        code = transfer(c, &m, &err);
    if (code)
        return;
    c->truth = m.value[0];
    memcpy(c->bytes, c->rig->payload, sizeof c->bytes);
    c->ready = !has_set_point(c->row) || leave_another_reading(c) == 0;
}

static void one_request(struct cell *c)
{
    struct message m;
    struct error err = { 0 };
    int code;
    c->lost_power |= c->fault == LAB_REBOOT;
    switch (c->phase) {
    case PHASE_SET:
        code = set(c, c->row->settings[1], &m, &err);
        break;
    case PHASE_OFF:
        code = ask(c, MESSAGE_SAFE_OFF, 0, 0, &m, &err);
        c->is_off |= code == 0 && m.value[0] == 0;
        break;
    default:
        code = transfer(c, &m, &err);
        if (code == 0)
            judge_value(c, &m, c->truth);
        if (code == ERR_REFUSED && c->row->class == CLASS_SPI && c->phase != PHASE_TRANSFER)
            return; /* pins are released after a connect */
    }
    judge_code(c, code, &err);
}

static void arm(struct cell *c)
{
    c->faults.kind = c->fault;
    c->faults.skip = c->phase == PHASE_IDENTIFY ? 1 : 0;
}

/* Power was lost, and that was said. Settings must have been put back, the output must not; once it is on
 * again the readings are those of before. */
static int switch_on_again(struct cell *c, struct message *m, struct error *err)
{
    struct message state;
    int code = ask(c, MESSAGE_STATE, 0, 0, &state, err);
    if (!code && ((state.flags & MESSAGE_ON) || !(state.flags & MESSAGE_TRIPPED)))
        broken(c, "power was lost, and the state says %#x", state.flags);
    if (!code)
        ask(c, MESSAGE_CLEAR_TRIP, 0, 0, &state, err); /* of makes that latch it */
    if (!code)
        code = ask(c, MESSAGE_OUTPUT, 1, 0, &state, err);
    sim_rig_wait(c->rig, 3);
    if (!code)
        code = transfer(c, m, err);
    c->restored = code == 0;
    return code;
}

/* The fault has gone: the port must find back, and whatever it says then is right. */
static void recover(struct cell *c)
{
    struct message m = { 0 }, state = { 0 };
    struct error err = { 0 };
    int64_t start_ns = clock_now(c->rig->env.clock);
    int code = -1;
    for (int i = 0; i < RECOVERY_TRIES && code; i++) {
        sim_rig_wait(c->rig, PAUSE_S);
        code = c->row->class == CLASS_SPI ? ask(c, MESSAGE_SPI_DRIVE, 1, 0, &m, &err) : 0;
        if (!code)
            code = transfer(c, &m, &err);
        if (code == ERR_TRIPPED && energises(c->row))
            code = switch_on_again(c, &m, &err);
    }
    double took_s = (double)(clock_now(c->rig->env.clock) - start_ns) / 1e9;
    if (!code && has_set_point(c->row) && energises(c->row)) {
        code = ask(c, MESSAGE_STATE, 0, 0, &state, &err);
        c->lost_power |= (state.flags & MESSAGE_TRIPPED) || !(state.flags & MESSAGE_ON);
        bool was_on = c->fault == LAB_REBOOT && (c->phase == PHASE_SET || c->phase == PHASE_TRANSFER);
        if (was_on && !c->restored && !(state.flags & MESSAGE_TRIPPED))
            broken(c, "lost its power while it was on, and nobody was told");
    }
    if (code || took_s > RECOVERY_LIMIT_S)
        broken(c, "not back after %.1f s: %s", took_s, code ? err.message : "too late");
    else if (c->row->class == CLASS_SPI || c->phase < PHASE_SET || c->phase == PHASE_TRANSFER)
        judge_value(c, &m, c->truth);
    if (c->is_off && (state.flags & MESSAGE_ON))
        broken(c, "was said to be off, and is on");
}

static void run_cell(struct cell *c)
{
    c->faults =
        (struct lab_faults){ .speech = &c->speech, .seed = c->faults.seed, .reboot = reboot, .context = c };
    if (!open_port(c))
        return;
    c->ready = c->restored = false;
    for (int i = 0; i < PREPARE_TRIES && !c->ready; i++)
        prepare(c);
    if (!c->ready)
        broken(c, "does not work before the fault");
    if (c->phase <= PHASE_IDENTIFY) {
        close_port(c);
        arm(c);
        if (!open_port(c))
            return;
    } else {
        arm(c);
    }
    for (int i = 0; i < REQUESTS_WHILE_FAULTY; i++)
        one_request(c);
    if (c->faults.struck == 0 && !c->faults.broken)
        broken(c, "the fault never acted");
    c->faults.kind = LAB_NONE;
    recover(c);
    struct message m;
    struct error err = { 0 };
    if (energises(c->row) && ask(c, MESSAGE_SAFE_OFF, 0, 0, &m, &err))
        broken(c, "not off at the end: %s", err.message);
    close_port(c);
}

static bool applies(const struct cell *c)
{
    if (c->fault == LAB_NAN && (!c->speech.nan || c->phase < PHASE_TRANSFER))
        return false;
    if (c->fault == LAB_OTHER && !c->speech.identity[0])
        return false;
    if (c->phase == PHASE_SET)
        return c->row->settings[1] > 0;
    return c->phase != PHASE_OFF || energises(c->row);
}

/* ---- A row ---- */
static bool fill_file(struct cell *c)
{
    struct bench_instrument *in = &c->file->instrument[0];
    struct message m;
    struct error err = { 0 };
    *c->file = (struct bench_file){ .instrument_count = 1, .spi_instrument = -1 };
    snprintf(c->file->path, sizeof c->file->path, "configs/benches/lab.json");
    *in = (struct bench_instrument){ .name = "dut", .resource = "sim:", .class = c->row->class };
    snprintf(in->driver, sizeof in->driver, "%s", c->row->driver);
    snprintf(in->dialect, sizeof in->dialect, "%s", c->row->dialect);
    c->speech = c->row->speech;
    c->faults = (struct lab_faults){ .speech = &c->speech, .seed = c->faults.seed };
    lab_on_open(lab_fault_open, &c->faults);
    if (!open_port(c) || ask(c, MESSAGE_IDENTIFY, 0, 0, &m, &err)) {
        fprintf(stderr, "%s: %s %s\n", c->row->name, c->problem, err.message);
        return false;
    }
    const char *vendor = (const char *)c->rig->payload, *model = vendor + strlen(vendor) + 1;
    const char *serial = model + strlen(model) + 1;
    snprintf(in->vendor, sizeof in->vendor, "%.63s", vendor);
    snprintf(in->model, sizeof in->model, "%.63s", model);
    snprintf(in->serial, sizeof in->serial, "%.63s", serial[0] ? serial : "any");
    if (c->speech.is_text) {
        snprintf(c->speech.identity, sizeof c->speech.identity, "%.23s", serial);
        snprintf(c->speech.other, sizeof c->speech.other, "%s", c->speech.identity);
        c->speech.other[strlen(c->speech.other) - 1] ^= 1;
    }
    close_port(c);
    return true;
}

struct tally {
    int cells, broken;
    double longest_s;
};

/* All cells of one row. only: "FAULT.PHASE" or NULL. must_break: one broken cell is enough, and silent. */
static bool run_row(const struct lab_row *row, uint64_t seed, const char *only, bool must_break,
                    struct tally *tally)
{
    struct cell c = { .row = row, .rig = calloc(1, sizeof *c.rig), .file = calloc(1, sizeof *c.file) };
    char bench[512], name[40];
    snprintf(bench, sizeof bench,
             "{\"instruments\":[{\"name\":\"dut\",\"simulate\":%s},{\"name\":\"feed\",\"simulate\":{"
             "\"model\":\"e36312a\"}}],"
             "\"rails\":{\"VDD\":{\"instrument\":\"%s\",\"channel\":1}}}",
             row->simulate, row->class == CLASS_PSU || row->class == CLASS_SMU ? "dut" : "feed");
    c.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c.faults.seed = seed;
    bool ok = c.rig && c.file && sim_rig_start(c.rig, bench) == 0 && fill_file(&c);
    for (c.fault = LAB_NONE + 1; ok && c.fault < LAB_FAULTS; c.fault++) {
        for (c.phase = 0; c.phase < PHASES && !(must_break && tally->broken); c.phase++) {
            snprintf(name, sizeof name, "%s.%s", lab_fault_name(c.fault), PHASE_NAMES[c.phase]);
            if (!applies(&c) || (only && strcmp(only, name) != 0))
                continue;
            c.problem[0] = '\0';
            c.is_off = c.lost_power = false;
            run_cell(&c);
            tally->cells++;
            tally->broken += c.problem[0] != '\0';
            if (c.problem[0] && !must_break)
                fprintf(stderr, "%s.%s: %s\n", row->name, name, c.problem);
            if (c.port)
                close_port(&c);
        }
    }
    tally->longest_s = c.longest_s > tally->longest_s ? c.longest_s : tally->longest_s;
    if (c.port)
        close_port(&c);
    sim_rig_stop(c.rig);
    lab_on_open(NULL, NULL);
    close(c.done_fd);
    free(c.rig);
    free(c.file);
    return ok;
}

int lab_matrix(uint64_t seed, const char *only, bool must_break)
{
    struct tally all = { 0 };
    int failures = 0;
    size_t length = only ? strcspn(only, ".") : 0;
    printf("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < lab_row_count; i++) {
        const struct lab_row *row = &lab_rows[i];
        if (only && (strlen(row->name) != length || strncmp(row->name, only, length) != 0))
            continue;
        struct tally tally = { 0 };
        failures += !run_row(row, seed, only && only[length] ? only + length + 1 : NULL, must_break, &tally);
        printf("%s: %d cells, %d broken, longest request %.1f s of bench time\n", row->name, tally.cells,
               tally.broken, tally.longest_s);
        fflush(stdout);
        failures += must_break ? tally.broken == 0 : tally.broken;
        all.cells += tally.cells;
        all.broken += tally.broken;
    }
    printf("%d cells, %d broken\n", all.cells, all.broken);
    return failures;
}

void lab_models(void)
{
    for (int i = 0; i < lab_row_count; i++)
        printf("%s\n", lab_rows[i].name);
}
