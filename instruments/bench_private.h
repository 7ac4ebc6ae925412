/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_private: what the files of the bench share among themselves. */
#ifndef INSTRUMENTS_BENCH_PRIVATE_H
#define INSTRUMENTS_BENCH_PRIVATE_H

#include "instruments/bench.h"
#include "instruments/message.h"

/* DIALECT.json in ../instruments beside the bench file's folder, else below configs/instruments; "" for no
 * dialect. */
void bench_dialect_path(const struct bench_file *file, const char *dialect, char *out, size_t size);

/* ---- Requests of a client: post several, then collect each. ---- */
/* One in flight; handle from bench_client_post, given back by bench_client_collect. */
struct bench_call;
/* Copies the payload. message->instrument says which port, -1 the keeper. */
int bench_client_post(struct bench_client *client, const struct message *message, const void *payload,
                      size_t n, struct bench_call **ret_call, struct error *err);
/* Waits for the answer; its payload goes to out (room bytes, may be NULL), its length to
 * message->payload_length. */
int bench_client_collect(struct bench_client *client, struct bench_call *call, struct message *ret_message,
                         void *out, size_t room, struct error *err);
/* Post and collect; message holds the answer on success. payload in and out may be the same buffer. */
int bench_client_call(struct bench_client *client, struct message *message, const void *payload, size_t n,
                      void *out, size_t room, struct error *err);
/* Scratch of one message's payload, MESSAGE_PAYLOAD_MAX bytes, for the client's thread. */
uint8_t *bench_client_scratch(struct bench_client *client);

#endif
