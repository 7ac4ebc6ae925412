/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_link: framing of IEEE 488.2 answers and the exchange of whole messages. */
#include "drivers/scpi_link.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* START: the first byte of an answer or of one of its elements, where alone a '#' begins a block.
 * INSIDE: anything else. QUOTED: within "...". HASH: after '#'. DIGITS: the length of a block. BLOCK: its
 * bytes. Events: any byte; BLOCK ends after block_left bytes and goes to INSIDE; a line feed in START,
 * INSIDE, QUOTED ends. */
enum framer_state { FRAMER_START, FRAMER_INSIDE, FRAMER_QUOTED, FRAMER_HASH, FRAMER_DIGITS, FRAMER_BLOCK };

static int after_plain(char byte)
{
    if (byte == ',' || byte == ';')
        return FRAMER_START;
    return byte == '"' ? FRAMER_QUOTED : FRAMER_INSIDE;
}

bool scpi_framer_take(struct scpi_framer *framer, char byte)
{
    framer->length++;
    switch (framer->state) {
    case FRAMER_HASH:
        framer->header_digits = byte >= '1' && byte <= '9' ? (size_t)(byte - '0') : 0;
        framer->block_left = 0;
        framer->state = framer->header_digits ? FRAMER_DIGITS : FRAMER_INSIDE; /* #0 ends at a line feed */
        return byte == '\n';
    case FRAMER_DIGITS:
        if (!isdigit((unsigned char)byte)) {
            framer->state = FRAMER_INSIDE;
            return byte == '\n';
        }
        framer->block_left = framer->block_left * 10 + (size_t)(byte - '0');
        if (--framer->header_digits == 0)
            framer->state = framer->block_left ? FRAMER_BLOCK : FRAMER_INSIDE;
        return false;
    case FRAMER_BLOCK:
        if (--framer->block_left == 0)
            framer->state = FRAMER_INSIDE;
        return false;
    case FRAMER_QUOTED:
        if (byte == '"')
            framer->state = FRAMER_INSIDE;
        return byte == '\n';
    case FRAMER_START:
        framer->state = byte == '#' ? FRAMER_HASH : byte == ' ' ? FRAMER_START : after_plain(byte);
        return byte == '\n';
    default:
        framer->state = after_plain(byte);
        return byte == '\n';
    }
}

int scpi_link_open(struct scpi_link *link, const struct transport_env *env, const char *name,
                   const char *resource, struct error *err)
{
    *link = (struct scpi_link){ .env = env };
    link->answer = malloc(SCPI_ANSWER_MAX + 1);
    link->rest = malloc(SCPI_ANSWER_MAX);
    int code = link->answer && link->rest ? transport_open(env, name, resource, &link->transport, err)
                                          : error_set(err, ERR_MEMORY, "answer buffer of %s", name);
    if (code)
        scpi_link_close(link);
    return code;
}

void scpi_link_close(struct scpi_link *link)
{
    transport_close(link->transport);
    free(link->answer);
    free(link->rest);
    *link = (struct scpi_link){ 0 };
}

static int64_t deadline(const struct scpi_link *link, double timeout_s)
{
    return clock_now(link->env->clock) + (int64_t)(timeout_s * 1e9);
}

void scpi_link_rest(struct scpi_link *link, double seconds)
{
    int64_t until_ns = deadline(link, seconds);
    if (seconds > 0 && until_ns > link->not_before)
        link->not_before = until_ns;
}

/* Some makes lose what comes too soon after the last exchange. */
static int wait_for_peer(const struct scpi_link *link, struct error *err)
{
    if (link->not_before == 0 || clock_now(link->env->clock) >= link->not_before)
        return 0;
    int code = clock_sleep_until(link->env->actor, link->not_before, link->env->cut_fd);
    return code ? error_set(err, code, "pause between commands") : 0;
}

int scpi_link_send(struct scpi_link *link, const char *text, double timeout_s, struct error *err)
{
    char line[SCPI_MESSAGE_MAX + 3];
    size_t n = strlen(text), end_n = link->crlf ? 2 : 1;
    if (n + end_n > SCPI_MESSAGE_MAX)
        return error_set(err, ERR_RANGE, "message of %zu bytes is longer than %d", n + end_n,
                         SCPI_MESSAGE_MAX);
    memcpy(line, text, n);
    memcpy(line + n, link->crlf ? "\r\n" : "\n", end_n);
    int code = wait_for_peer(link, err);
    if (!code)
        code = transport_write(link->transport, line, n + end_n, deadline(link, timeout_s), err);
    if (!code)
        scpi_link_rest(link, link->pause_s);
    return code;
}

/* The answer ends at `end`, its line feed included. */
static void finish(struct scpi_link *link, size_t end, size_t have)
{
    link->rest_length = have - end;
    memcpy(link->rest, link->answer + end, link->rest_length);
    end--;
    if (end > 0 && link->answer[end - 1] == '\r')
        end--;
    link->answer[end] = '\0';
    link->answer_length = end;
}

int scpi_link_receive(struct scpi_link *link, double timeout_s, struct error *err)
{
    struct scpi_framer framer = { 0 };
    size_t have = link->rest_length, seen = 0;
    int64_t end_ns = deadline(link, timeout_s);
    memcpy(link->answer, link->rest, have);
    link->rest_length = 0;
    for (;;) {
        while (seen < have) {
            if (scpi_framer_take(&framer, link->answer[seen++])) {
                finish(link, seen, have);
                scpi_link_rest(link, link->pause_s);
                return 0;
            }
        }
        if (have == SCPI_ANSWER_MAX)
            return error_set(err, ERR_GARBAGE, "answer has no end within %d bytes", SCPI_ANSWER_MAX);
        size_t n = 0;
        int code =
            transport_read(link->transport, link->answer + have, SCPI_ANSWER_MAX - have, end_ns, &n, err);
        if (code)
            return code;
        have += n;
    }
}

int scpi_link_query(struct scpi_link *link, const char *text, double timeout_s, struct error *err)
{
    transport_flush(link->transport);
    link->rest_length = 0;
    int code = scpi_link_send(link, text, timeout_s, err);
    if (!code)
        code = scpi_link_receive(link, timeout_s, err);
    if (!code && link->rest_length > 0)
        code = error_set(err, ERR_GARBAGE, "%zu bytes came after the end of an answer", link->rest_length);
    return code;
}
