/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * interpose: the registry of layers, the reading of their lists, and what layers have in common. */
#include "drivers/interpose.h"

#include <stdlib.h>
#include <string.h>

#define INTERPOSE_ADDRESS(name) &interpose_##name,
static const struct interpose_ops *const LAYERS[] = { INTERPOSE_LIST(INTERPOSE_ADDRESS) };
#define INTERPOSE_NAME(name) #name,
static const char *const NAMES[] = { INTERPOSE_LIST(INTERPOSE_NAME) NULL };

void interpose_read(const struct json_at *list, bool is_lines, struct interpose *ret)
{
    *ret = (struct interpose){ 0 };
    if (!cJSON_IsArray(list->node)) {
        json_problem(list, "[{\"layer\": \"delay\", \"between_s\": 0.1}]", "must be a list of layers");
        return;
    }
    if (json_count(list) > INTERPOSE_LAYERS_MAX)
        json_problem(list, "", "more than %d layers", INTERPOSE_LAYERS_MAX);
    for (int i = 0; i < json_count(list) && i < INTERPOSE_LAYERS_MAX; i++) {
        struct json_at at = json_element(list, i);
        int kind = json_choice(&at, "layer", true, NAMES, -1);
        if (kind < 0)
            continue;
        struct interpose_layer *layer = &ret->layer[ret->count++];
        layer->ops = LAYERS[kind];
        if (interpose_find(ret, layer->ops) != layer)
            json_problem(&at, "", "layer '%s' is there twice", NAMES[kind]);
        if (layer->ops->lines_only && !is_lines)
            json_problem(&at, "", "layer '%s' is for lines of text; this driver sends bytes", NAMES[kind]);
        layer->ops->read(&at, layer);
    }
}

const struct interpose_layer *interpose_find(const struct interpose *layers, const struct interpose_ops *ops)
{
    for (int i = 0; layers && i < layers->count; i++) {
        if (layers->layer[i].ops == ops)
            return &layers->layer[i];
    }
    return NULL;
}

int interpose_wrap(const struct transport_env *env, const char *name, struct transport *inner,
                   struct transport **ret, struct error *err)
{
    int code = 0;
    for (int i = env->interpose ? env->interpose->count - 1 : -1; i >= 0 && !code; i--) {
        struct interpose_layer *layer = &env->interpose->layer[i];
        code = layer->ops->open(env, name, layer, inner, &inner, err);
    }
    if (!code)
        *ret = inner;
    return code;
}

int interpose_new(size_t size, const struct transport_ops *ops, const struct transport_env *env,
                  struct transport *inner, void *ret_link, struct error *err)
{
    struct interpose_link *link = calloc(1, size);
    if (!link) {
        transport_close(inner);
        return error_set(err, ERR_MEMORY, "layer '%s'", ops->prefix);
    }
    *link = (struct interpose_link){ .base.ops = ops, .env = env, .inner = inner };
    memcpy(ret_link, &link, sizeof link);
    return 0;
}

int interpose_pass_read(struct transport *transport, void *data, size_t size, int64_t deadline_ns,
                        size_t *ret_n, struct error *err)
{
    return transport_read(((struct interpose_link *)transport)->inner, data, size, deadline_ns, ret_n, err);
}

int interpose_pass_write(struct transport *transport, const void *data, size_t n, int64_t deadline_ns,
                         struct error *err)
{
    return transport_write(((struct interpose_link *)transport)->inner, data, n, deadline_ns, err);
}

void interpose_pass_flush(struct transport *transport)
{
    transport_flush(((struct interpose_link *)transport)->inner);
}

void interpose_pass_close(struct transport *transport)
{
    transport_close(((struct interpose_link *)transport)->inner);
    free(transport);
}

int interpose_pass_fd(const struct transport *transport)
{
    const struct transport *inner = ((const struct interpose_link *)transport)->inner;
    return inner->ops->fd(inner);
}
