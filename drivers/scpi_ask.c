/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * scpi_ask: identities taken apart, and raw lines passed on. */
#include "drivers/scpi_ask.h"

#include <stdio.h>
#include <string.h>

/* "vendor,model,serial,firmware[,more]", or a model alone, to four texts, each with its NUL. */
int scpi_ask_identity(const struct dialect *dialect, const char *identity, struct message *m,
                      uint8_t *payload, size_t room, struct error *err)
{
    size_t n = strlen(identity) + 1, vendor = strlen(dialect->vendor) + 1;
    if (n + vendor + 4 > room)
        return error_set(err, ERR_INTERNAL, "no room for an identity");
    memset(payload, 0, n + vendor + 4);
    if (dialect->identity_is_model) {
        memcpy(payload, dialect->vendor, vendor);
        memcpy(payload + vendor, identity, n);
        m->payload_length = (uint32_t)(vendor + n + 2);
        return 0;
    }
    int field = 0;
    size_t out = 0;
    bool started = false;
    for (size_t i = 0; i + 1 < n; i++) {
        char c = identity[i];
        if (c == ',' && field < 3) {
            payload[out++] = '\0';
            field++;
            started = false;
        } else if (started || c != ' ') {
            payload[out++] = (uint8_t)c;
            started = true;
        }
    }
    for (; field < 4; field++)
        payload[out++] = '\0';
    m->payload_length = (uint32_t)out;
    return 0;
}

int scpi_ask_query(struct scpi_talk *talk, struct message *m, uint8_t *payload, size_t room,
                   bool *ret_changed, struct error *err)
{
    char text[SCPI_MESSAGE_MAX];
    if (m->payload_length >= sizeof text)
        return error_set(err, ERR_RANGE, "command is longer than %zu bytes", sizeof text - 1);
    memcpy(text, payload, m->payload_length);
    text[m->payload_length] = '\0';
    if (strpbrk(text, "\r\n"))
        return error_set(err, ERR_INVALID, "a raw command is one line");
    if (!strchr(text, '?')) {
        int code = scpi_talk_set(talk, text, err);
        *ret_changed = true;
        if (!code)
            m->payload_length = 0;
        return code;
    }
    int code = scpi_talk_query(talk, text, talk->dialect->timeout_s, err);
    if (code)
        return code;
    if (talk->link.answer_length > room)
        return error_set(err, ERR_FULL, "answer of %zu bytes is longer than %zu", talk->link.answer_length,
                         room);
    memcpy(payload, talk->link.answer, talk->link.answer_length);
    m->payload_length = (uint32_t)talk->link.answer_length;
    return 0;
}
