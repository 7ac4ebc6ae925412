/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * backend_recording: a look-up in the place of a chip. Tensors are not recorded per sample, so it has none to
 * hand over.
 */
#include "chip/backend_recording.h"

#include <stdlib.h>

#include "chip/network.h"

struct backend_recording {
    backend_recording_fn lookup;
    void *lookup_context;
    size_t input_size; /* 0 before load */
    struct adc_config adc;
};

static int load(void *context, const struct network *network, const struct mapping *mapping,
                const struct adc_config *adc, struct error *err)
{
    struct backend_recording *b = context;

    (void)mapping;
    (void)err;
    b->input_size = network_input_size(network);
    b->adc = *adc;
    return 0;
}

static int infer(void *context, const uint8_t *const *input, int count, struct inference *ret,
                 struct error *err)
{
    struct backend_recording *b = context;

    if (b->input_size == 0)
        return error_set(err, ERR_CONFLICT, "no network is loaded");
    for (int i = 0; i < count; i++) {
        int rc = b->lookup(b->lookup_context, input[i], b->input_size, &b->adc, &ret[i], err);
        if (rc)
            return rc;
    }
    return 0;
}

static int tensors(void *context, const uint8_t *input, backend_tensor_fn sink, void *sink_context,
                   struct error *err)
{
    (void)context;
    (void)input;
    (void)sink;
    (void)sink_context;
    return error_set(err, ERR_UNSUPPORTED, "a recording holds results, not tensors");
}

static void close_recording(void *context)
{
    free(context);
}

int backend_recording_open(backend_recording_fn lookup, void *lookup_context, struct backend *ret_backend,
                           struct error *err)
{
    struct backend_recording *b = calloc(1, sizeof *b);

    if (!b)
        return error_set(err, ERR_MEMORY, "no memory for the recording back end");
    b->lookup = lookup;
    b->lookup_context = lookup_context;
    *ret_backend = (struct backend){ .name = "recording",
                                     .context = b,
                                     .load = load,
                                     .infer = infer,
                                     .tensors = tensors,
                                     .close = close_recording };
    return 0;
}
