/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_server: running messages: input, queue, pace, answers, errors and the common commands. */
#include "drivers/sim/scpi_server.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/rng.h"
#include "drivers/sim/scpi_parse.h"

enum esr_bit {
    ESR_OPC = 0x01,
    ESR_QYE = 0x04,
    ESR_DDE = 0x08,
    ESR_EXE = 0x10,
    ESR_CME = 0x20,
    ESR_PON = 0x80
};

static const struct {
    int code;
    const char *text;
} errors[] = {
    { -100, "Command error" },           { -101, "Invalid character" },
    { -104, "Data type error" },         { -108, "Parameter not allowed" },
    { -109, "Missing parameter" },       { -113, "Undefined header" },
    { -131, "Invalid suffix" },          { -141, "Invalid character data" },
    { -200, "Execution error" },         { -213, "Init ignored" },
    { -221, "Settings conflict" },       { -222, "Data out of range" },
    { -224, "Illegal parameter value" }, { -230, "Data corrupt or stale" },
    { -350, "Queue overflow" },          { -363, "Input buffer overrun" },
    { -410, "Query INTERRUPTED" },       { -420, "Query UNTERMINATED" },
};

static const char *error_text(int code)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code)
            return errors[i].text;
    return "Device error";
}

static void queue_error(struct scpi_server *server, int code)
{
    static const uint8_t class_bit[] = { 0, ESR_CME, ESR_EXE, ESR_DDE, ESR_QYE };
    int class = -code / 100;
    if (class >= 1 && class <= 4)
        server->esr |= class_bit[class];
    if (server->error_n == SCPI_ERRORS_MAX) {
        code = -350; /* replaces the last one */
        server->error_n--;
    }
    server->error[server->error_n].code = code;
    snprintf(server->error[server->error_n].text, sizeof server->error[0].text, "%s", error_text(code));
    server->error_n++;
}

void scpi_server_error(struct scpi_call *call, int code)
{
    queue_error(call->server, code);
}

/* ---- Answers ---- */

static void begin_value(struct scpi_server *server)
{
    if (server->item_n > 0)
        strbuf_add(&server->answer, ",");
    else if (server->answered)
        strbuf_add(&server->answer, ";");
    server->item_n++;
    server->answered = true;
}

void scpi_server_answer(struct scpi_call *call, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    begin_value(call->server);
    strbuf_add(&call->server->answer, "%s", text);
}

void scpi_server_answer_number(struct scpi_call *call, double value)
{
    if (call->server->model->plain_numbers)
        scpi_server_answer(call, "%.4f", value);
    else
        scpi_server_answer(call, "%+.8E", isfinite(value) ? value : 9.91e37);
}

void scpi_server_answer_block(struct scpi_call *call, const void *bytes, size_t n)
{
    char length[24];
    int digits = snprintf(length, sizeof length, "%zu", n);
    begin_value(call->server);
    strbuf_add(&call->server->answer, "#%d%s", digits, length);
    strbuf_bytes(&call->server->answer, bytes, n);
}

void scpi_server_wait(struct scpi_call *call, double seconds, scpi_handler resume)
{
    call->wait_s = seconds;
    call->resume = resume;
}

/* ---- Common commands ---- */

static double pending_s(const struct scpi_server *server)
{
    int64_t left_ns = server->pending_until_ns - sim_now(server->loop);
    return left_ns > 0 ? (double)left_ns * 1e-9 : 0;
}

static uint8_t status_byte(const struct scpi_server *server)
{
    uint8_t stb = (uint8_t)((server->error_n ? 0x04 : 0) | (server->esr & server->ese ? 0x20 : 0));
    return (uint8_t)(stb | (stb & server->sre & ~0x40 ? 0x40 : 0));
}

static void idn_query(struct scpi_call *call)
{
    const struct scpi_model *model = call->server->model;
    scpi_server_answer(call, "%s,%s,%s,%s", model->vendor, model->model, call->server->serial,
                       model->firmware);
}

static void rst(struct scpi_call *call)
{
    call->server->selected = 1;
    call->server->pending_until_ns = 0;
    if (call->server->model->reset)
        call->server->model->reset(call->server);
}

static void cls(struct scpi_call *call)
{
    call->server->error_n = 0;
    call->server->esr = 0;
    call->server->opc_armed = false;
}

static void opc_done(struct scpi_call *call)
{
    call->server->esr |= ESR_OPC;
}

static void opc(struct scpi_call *call)
{
    /* Overlapped operations end by themselves: *ESR? looks at the time. */
    if (pending_s(call->server) > 0)
        call->server->opc_armed = true;
    else
        opc_done(call);
}

static void one(struct scpi_call *call)
{
    scpi_server_answer(call, "1");
}

static void opc_query(struct scpi_call *call)
{
    scpi_server_wait(call, pending_s(call->server), one);
}

static void nothing(struct scpi_call *call)
{
    (void)call;
}

static void wai(struct scpi_call *call)
{
    scpi_server_wait(call, pending_s(call->server), nothing);
}

static void esr_query(struct scpi_call *call)
{
    struct scpi_server *server = call->server;
    if (server->opc_armed && pending_s(server) <= 0) {
        server->opc_armed = false;
        server->esr |= ESR_OPC;
    }
    scpi_server_answer(call, "%d", server->esr);
    server->esr = 0;
}

static void stb_query(struct scpi_call *call)
{
    scpi_server_answer(call, "%d", status_byte(call->server));
}

static void set_mask(struct scpi_call *call, uint8_t *mask)
{
    double value;
    if (scpi_server_number(call, 0, 0, 255, 0, &value))
        *mask = (uint8_t)value;
}

static void ese(struct scpi_call *call)
{
    set_mask(call, &call->server->ese);
}

static void ese_query(struct scpi_call *call)
{
    scpi_server_answer(call, "%d", call->server->ese);
}

static void sre(struct scpi_call *call)
{
    set_mask(call, &call->server->sre);
}

static void sre_query(struct scpi_call *call)
{
    scpi_server_answer(call, "%d", call->server->sre);
}

static void tst_query(struct scpi_call *call)
{
    scpi_server_answer(call, call->server->model->keithley_errors ? "0" : "+0");
}

static void error_query(struct scpi_call *call)
{
    struct scpi_server *server = call->server;
    bool keithley = server->model->keithley_errors;
    if (server->error_n == 0) {
        scpi_server_answer(call, keithley                       ? "0,\"No error;0;0 0\""
                                 : server->model->plain_numbers ? "0,\"No error\""
                                                                : "+0,\"No error\"");
        return;
    }
    scpi_server_answer(call, keithley ? "%d,\"%s;1;0 0\"" : "%d,\"%s\"", server->error[0].code,
                       server->error[0].text);
    memmove(server->error, server->error + 1, (size_t)--server->error_n * sizeof server->error[0]);
}

static void error_count_query(struct scpi_call *call)
{
    scpi_server_answer(call, "%d", call->server->error_n);
}

static void version_query(struct scpi_call *call)
{
    scpi_server_answer(call, "1999.0");
}

static const struct scpi_command common[] = {
    { "*IDN", NULL, idn_query },
    { "*RST", rst, NULL },
    { "*CLS", cls, NULL },
    { "*OPC", opc, opc_query },
    { "*WAI", wai, NULL },
    { "*ESR", NULL, esr_query },
    { "*STB", NULL, stb_query },
    { "*ESE", ese, ese_query },
    { "*SRE", sre, sre_query },
    { "*TST", NULL, tst_query },
    { "SYSTem:ERRor[:NEXT]", NULL, error_query },
    { "SYSTem:ERRor:COUNt", NULL, error_count_query },
    { "SYSTem:VERSion", NULL, version_query },
    { NULL, NULL, NULL },
};

/* ---- Messages ---- */

static void run(struct scpi_server *server);

static const struct scpi_command *find(const struct scpi_command *table, const char *header, int *ret_suffix)
{
    for (; table->pattern; table++)
        if (scpi_parse_match(table->pattern, header, ret_suffix))
            return table;
    return NULL;
}

/* Runs one program message unit. */
static void execute(struct scpi_server *server, char *unit)
{
    struct scpi_call *call = &server->call;
    char full[SCPI_MESSAGE_MAX];
    bool query;
    *call = (struct scpi_call){ .server = server, .suffix = 1 };
    server->item_n = 0;
    char *arguments = scpi_parse_header(unit, &query);
    scpi_parse_full_header(server->path, unit, full, sizeof full);
    const struct scpi_command *command = find(common, full, &call->suffix);
    if (!command)
        command = find(server->model->command, full, &call->suffix);
    scpi_handler handler = command ? (query ? command->query : command->set) : NULL;
    if (!handler) {
        queue_error(server, -113);
        return;
    }
    if (*unit != '*')
        scpi_parse_keep_path(full, server->path, sizeof server->path);
    int code = scpi_parse_arguments(arguments, call, server->model->channels);
    if (code) {
        queue_error(server, code);
        return;
    }
    if (call->channel_n == 0) {
        call->channel[0] = server->selected;
        call->channel_n = 1;
    }
    handler(call);
}

static void finish_message(struct scpi_server *server)
{
    int client = server->queue[0].client;
    if (server->answered && client >= 0) {
        strbuf_add(&server->answer, "\n");
        sim_link_send(server->link, client, server->answer.text, server->answer.length,
                      sim_now(server->loop));
    }
    strbuf_free(&server->answer);
    server->answer = (struct strbuf){ .text = NULL };
    server->answered = false;
    free(server->queue[0].text);
    memmove(server->queue, server->queue + 1, (size_t)--server->queue_n * sizeof server->queue[0]);
    server->rest = NULL;
}

/* Calls fn that much later. */
static void later(struct scpi_server *server, double seconds, sim_timer_fn fn)
{
    server->busy = true;
    sim_at(server->loop, sim_now(server->loop) + (int64_t)(seconds * 1e9), fn, server);
}

static void on_wait_end(void *context, int64_t now_ns)
{
    (void)now_ns;
    struct scpi_server *server = context;
    scpi_handler resume = server->call.resume;
    server->call.resume = NULL;
    if (resume)
        resume(&server->call);
    if (server->call.resume)
        later(server, server->call.wait_s, on_wait_end);
    else
        run(server);
}

/* A command acts after its processing time. */
static void on_processed(void *context, int64_t now_ns)
{
    (void)now_ns;
    struct scpi_server *server = context;
    if (*server->unit) /* a reboot has wiped it */
        execute(server, server->unit);
    if (server->call.resume)
        later(server, server->call.wait_s, on_wait_end);
    else
        run(server);
}

/* Starts the next command, until the queue is empty. */
static void run(struct scpi_server *server)
{
    server->busy = false;
    for (;;) {
        if (!server->rest) {
            if (server->queue_n == 0)
                return;
            server->rest = server->queue[0].text;
            *server->path = '\0';
        }
        if (!scpi_parse_unit(&server->rest, server->unit, sizeof server->unit)) {
            finish_message(server);
            continue;
        }
        if (*server->unit) {
            later(server, server->model->pace_s, on_processed);
            return;
        }
    }
}

static void enqueue(struct scpi_server *server, int client)
{
    char *text = server->queue_n < SCPI_QUEUE_MAX ? strdup(server->input[client].line) : NULL;
    if (!text || server->input[client].overrun) {
        queue_error(server, -363);
        free(text);
        return;
    }
    server->queue[server->queue_n].text = text;
    server->queue[server->queue_n++].client = client;
}

void scpi_server_bytes(void *instrument, int client, const uint8_t *bytes, size_t n)
{
    struct scpi_server *server = instrument;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            server->input[client].line[server->input[client].n] = '\0';
            enqueue(server, client);
            server->input[client].n = 0;
            server->input[client].overrun = false;
        } else if (server->input[client].n < SCPI_MESSAGE_MAX - 1) {
            /* A NUL would end the text early: it is no legal character anyway. */
            server->input[client].line[server->input[client].n++] = bytes[i] ? (char)bytes[i] : '?';
        } else {
            server->input[client].overrun = true;
        }
    }
    if (!server->busy)
        run(server);
}

void scpi_server_gone(void *instrument, int client)
{
    struct scpi_server *server = instrument;
    server->input[client].n = 0;
    server->input[client].overrun = false;
    for (int i = 0; i < server->queue_n; i++)
        if (server->queue[i].client == client)
            server->queue[i].client = -1; /* carried out, but nobody is told */
}

void scpi_server_reboot(void *instrument)
{
    struct scpi_server *server = instrument;
    for (int i = 0; i < server->queue_n; i++)
        free(server->queue[i].text);
    strbuf_free(&server->answer);
    server->answer = (struct strbuf){ .text = NULL };
    server->answered = false;
    server->queue_n = server->error_n = 0;
    server->rest = NULL;
    *server->unit = '\0'; /* a timer may be under way: it finds nothing to do */
    server->call.resume = NULL;
    server->esr = ESR_PON;
    server->ese = server->sre = 0;
    server->selected = 1;
    server->opc_armed = false;
    server->pending_until_ns = 0;
    if (server->model->reset)
        server->model->reset(server);
}

void scpi_server_attach(void *instrument, struct sim_link *link)
{
    struct scpi_server *server = instrument;
    server->link = link;
}

void scpi_server_init(struct scpi_server *server, const struct scpi_model *model,
                      const struct sim_device_setup *setup)
{
    struct rng rng;
    server->model = model;
    server->loop = setup->loop;
    server->selected = 1;
    server->esr = ESR_PON;
    snprintf(server->name, sizeof server->name, "%s", setup->name);
    rng_init(&rng, setup->seed, "serial", rng_entity(setup->name), 0, 0);
    snprintf(server->serial, sizeof server->serial, "%s%08u", model->serial_prefix,
             rng_below(&rng, 100000000));
}

void scpi_server_fini(struct scpi_server *server)
{
    for (int i = 0; i < server->queue_n; i++)
        free(server->queue[i].text);
    strbuf_free(&server->answer);
}
