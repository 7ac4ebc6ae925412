/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_server: the IEEE 488.2 side of a simulated instrument: messages, headers, paths, parameters, the error
 * queue, the status registers, and the pace. A model is a table of patterns and handlers. An instrument's
 * struct starts with a struct scpi_server, so that the device callbacks below fit all models. Commands run
 * one after the other, each taking its time; a handler that measures asks to be resumed at the end of its
 * aperture. */
#ifndef DRIVERS_SIM_SCPI_SERVER_H
#define DRIVERS_SIM_SCPI_SERVER_H

#include "daemon/base/text.h"
#include "drivers/sim/device.h"

enum {
    SCPI_ARGS_MAX = 12,
    SCPI_CHANNELS_MAX = 8,
    SCPI_ERRORS_MAX = 20,
    SCPI_MESSAGE_MAX = 4096, /* bytes of one program message */
    SCPI_QUEUE_MAX = 32      /* messages that wait */
};

struct scpi_server;
struct scpi_call;
typedef void (*scpi_handler)(struct scpi_call *call);

struct scpi_call {
    struct scpi_server *server;
    const char *arg[SCPI_ARGS_MAX]; /* upper case outside quotes, without the channel list */
    int arg_n;
    int channel[SCPI_CHANNELS_MAX]; /* of "(@1,2:4)", or the selected one */
    int channel_n;
    int suffix; /* of the header's numeric node ('#' in the pattern), 1 when left out */
    double wait_s;
    scpi_handler resume;
};

struct scpi_command {
    const char
        *pattern; /* "[SOURce]:VOLTage[:LEVel]": upper case is the short form, [] optional, # a number */
    scpi_handler set, query;
};

struct scpi_model {
    const char *vendor, *model, *firmware, *serial_prefix;
    const struct scpi_command *command; /* ends with a NULL pattern */
    int channels;
    double pace_s;                   /* one command */
    bool keithley_errors;            /* `0,"No error;0;0 0"` instead of `+0,"No error"` */
    bool plain_numbers;              /* `3.3000` instead of `+3.30000000E+00`, `0,"No error"` */
    void (*reset)(void *instrument); /* *RST */
};

struct scpi_server {
    const struct scpi_model *model;
    struct sim_loop *loop;
    struct sim_link *link;
    char name[SIM_NAME_MAX], serial[24];
    int selected; /* channel of INSTrument:NSELect */
    struct {
        char line[SCPI_MESSAGE_MAX];
        size_t n;
        bool overrun;
    } input[SIM_CLIENTS_MAX];
    struct {
        char *text;
        int client;
    } queue[SCPI_QUEUE_MAX];
    int queue_n;
    bool busy;
    const char *rest;            /* of the message in work */
    char unit[SCPI_MESSAGE_MAX]; /* the command in work: its arguments stay until it has ended */
    char path[128];
    int path_n;
    struct scpi_call call;
    struct strbuf answer;
    bool answered;            /* something stands in answer */
    int item_n;               /* values of the query in work */
    int64_t pending_until_ns; /* of an overlapped operation (INITiate) */
    struct {
        int code;
        char text[80];
    } error[SCPI_ERRORS_MAX];
    int error_n;
    uint8_t esr, ese, sre;
    bool opc_armed;
};

void scpi_server_init(struct scpi_server *server, const struct scpi_model *model,
                      const struct sim_device_setup *setup);
void scpi_server_fini(struct scpi_server *server);

/* Device callbacks: context is the instrument. */
void scpi_server_attach(void *instrument, struct sim_link *link);
void scpi_server_bytes(void *instrument, int client, const uint8_t *bytes, size_t n);
void scpi_server_gone(void *instrument, int client);
void scpi_server_reboot(void *instrument);

/* ---- For handlers ---- */
/* One value of the answer; values of one query are joined by commas. */
void scpi_server_answer(struct scpi_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "+3.30000000E+00", or "3.3000" */
void scpi_server_answer_number(struct scpi_call *call, double value);
/* A definite-length block as the answer. */
void scpi_server_answer_block(struct scpi_call *call, const void *bytes, size_t n);
void scpi_server_error(struct scpi_call *call, int code);
/* Calls resume after that long; the message goes on after it. */
void scpi_server_wait(struct scpi_call *call, double seconds, scpi_handler resume);
/* Argument i as a number with unit suffix, MIN, MAX or DEF. False: the error is queued. */
bool scpi_server_number(struct scpi_call *call, int i, double min, double max, double def, double *ret_value);
bool scpi_server_boolean(struct scpi_call *call, int i, bool *ret_value);
/* Whether argument i is that keyword, short or long ("VOLTage"). */
bool scpi_server_keyword(const struct scpi_call *call, int i, const char *keyword);
/* Argument i is MIN or MAX of a query: answers the bound. */
bool scpi_server_bound_asked(struct scpi_call *call, int i, double min, double max);

#endif
