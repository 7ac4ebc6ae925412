/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * http_stream: what the library asks for is read from the hub.
 */
#include "web/http_stream.h"

#include <stdlib.h>

#include "web/http_reply.h"

enum { HTTP_STREAM_BLOCK = 16 << 10 }; /* bytes handed over at once */

struct stream {
    struct hub_stream *events;
    const struct auth *auth;
    uint64_t revocations;
};

static void pause_connection(void *context)
{
    MHD_suspend_connection(context);
}

static void resume_connection(void *context)
{
    MHD_resume_connection(context);
}

static ssize_t read_stream(void *context, uint64_t position, char *out, size_t size)
{
    struct stream *stream = context;

    (void)position;
    if (stream->auth != NULL && auth_revocations(stream->auth) != stream->revocations)
        return MHD_CONTENT_READER_END_OF_STREAM;
    ssize_t count = hub_stream_read(stream->events, out, size);
    return count < 0 ? MHD_CONTENT_READER_END_OF_STREAM : count;
}

static void free_stream(void *context)
{
    struct stream *stream = context;

    hub_stream_close(stream->events);
    free(stream);
}

int http_stream_start(struct MHD_Connection *connection, struct hub *hub, uint64_t last_id,
                      const struct auth *auth, uint64_t revocations, enum MHD_Result *ret_result,
                      struct error *err)
{
    struct stream *stream = calloc(1, sizeof *stream);

    *ret_result = MHD_NO; /* closes the connection */
    if (stream == NULL)
        return 0;
    stream->auth = auth;
    stream->revocations = revocations;
    int rc =
        hub_stream_open(hub, last_id, pause_connection, resume_connection, connection, &stream->events, err);
    if (rc != 0) {
        free(stream);
        return rc;
    }
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HTTP_STREAM_BLOCK,
                                                                      read_stream, stream, free_stream);
    if (response == NULL) {
        free_stream(stream);
        return 0;
    }
    http_add_security_headers(response);
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    *ret_result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return 0;
}
