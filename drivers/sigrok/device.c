/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * device: finds the device that a resource means, opens it and sets what the resource says. */
#include "drivers/sigrok/device.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 64 };

/* One KEY=VALUE of a resource, taken apart. */
struct option {
    char group[KEY_BYTES], name[KEY_BYTES];
    const struct sr_key_info *info;
    const char *value;
};

const char *device_text(const char *text)
{
    return text ? text : "";
}

int device_error(const struct device *device, struct error *err, int code, int sr_code, const char *what)
{
    return error_set(err, code, "%s: %s%s%s", what, sr_strerror(sr_code), device->log[0] ? "; " : "",
                     device->log);
}

__attribute__((format(printf, 3, 0))) static int keep_complaint(void *context, int level, const char *format,
                                                                va_list args)
{
    struct device *device = context;
    if (level > SR_LOG_WARN)
        return SR_OK;
    vsnprintf(device->log, sizeof device->log, format, args);
    device->log[strcspn(device->log, "\r\n")] = '\0';
    return SR_OK;
}

static int find_driver(struct device *device, const char *name, struct error *err)
{
    struct sr_dev_driver **list = sr_driver_list(device->context);
    for (; *list; list++) {
        if (strcmp((*list)->name, name) != 0)
            continue;
        int failure = sr_driver_init(device->context, *list);
        device->driver = *list;
        return failure ? device_error(device, err, ERR_IO, failure, name) : 0;
    }
    return error_set(err, ERR_INVALID, "libsigrok has no driver '%s'; sigrok-cli --list-supported shows all",
                     name);
}

static int take_apart(const char *text, struct option *ret, struct error *err)
{
    const char *equal = strchr(text, '='), *slash = strchr(text, '/');
    if (!equal)
        return error_set(err, ERR_INVALID, "'%s' is no KEY=VALUE", text);
    const char *name = slash && slash < equal ? slash + 1 : text;
    size_t n = (size_t)(equal - name), group_n = name > text ? (size_t)(slash - text) : 0;
    if (n == 0 || n >= KEY_BYTES || group_n >= KEY_BYTES)
        return error_set(err, ERR_INVALID, "'%s' is no KEY=VALUE", text);
    *ret = (struct option){ .value = equal + 1 };
    memcpy(ret->group, text, group_n);
    memcpy(ret->name, name, n);
    ret->info = sr_key_info_name_get(SR_KEY_CONFIG, ret->name);
    return ret->info ? 0 : error_set(err, ERR_INVALID, "libsigrok has no key '%s'", ret->name);
}

/* A floating reference, or NULL when the text is no such value. */
static GVariant *parse_value(const struct option *option)
{
    char path[PATH_MAX], *end;
    const char *text = option->value;
    uint64_t number, divisor;
    double real;
    switch (option->info->datatype) {
    case SR_T_STRING: /* libserialport takes no links: /dev/serial/by-id/... is one */
        return g_variant_new_string(
            option->info->key == SR_CONF_CONN && text[0] == '/' && realpath(text, path) ? path : text);
    case SR_T_UINT64:
        return sr_parse_sizestring(text, &number) == SR_OK ? g_variant_new_uint64(number) : NULL;
    case SR_T_INT32:
        number = strtoull(text, &end, 10);
        return *end || end == text || number > INT32_MAX ? NULL : g_variant_new_int32((int32_t)number);
    case SR_T_BOOL:
        return g_variant_new_boolean(sr_parse_boolstring(text));
    case SR_T_FLOAT:
        real = strtod(text, &end);
        return *end || end == text ? NULL : g_variant_new_double(real);
    case SR_T_RATIONAL_PERIOD:
        return sr_parse_period(text, &number, &divisor) == SR_OK ? g_variant_new("(tt)", number, divisor)
                                                                 : NULL;
    case SR_T_RATIONAL_VOLT:
        return sr_parse_voltage(text, &number, &divisor) == SR_OK ? g_variant_new("(tt)", number, divisor)
                                                                  : NULL;
    default:
        return NULL;
    }
}

static bool is_scan_option(const struct device *device, const struct option *option)
{
    GArray *keys = sr_driver_scan_options_list(device->driver);
    bool found = false;
    for (guint i = 0; keys && i < keys->len && !option->group[0]; i++)
        found |= g_array_index(keys, uint32_t, i) == option->info->key;
    if (keys)
        g_array_free(keys, TRUE);
    return found;
}

static const struct sr_channel_group *find_group(const struct device *device, const char *name)
{
    for (GSList *l = sr_dev_inst_channel_groups_get(device->instance); l; l = l->next) {
        const struct sr_channel_group *group = l->data;
        if (strcmp(group->name, name) == 0)
            return group;
    }
    return NULL;
}

static int set_option(const struct device *device, const struct option *option, struct error *err)
{
    const struct sr_channel_group *group = NULL;
    GVariant *value = parse_value(option);
    char what[2 * KEY_BYTES + 8];
    if (!value)
        return error_set(err, ERR_INVALID, "'%s' is no value of '%s'", option->value, option->name);
    if (option->group[0] && !(group = find_group(device, option->group))) {
        g_variant_unref(g_variant_ref_sink(value));
        return error_set(err, ERR_INVALID, "the device has no channel group '%s'", option->group);
    }
    int failure = sr_config_set(device->instance, group, option->info->key, value);
    snprintf(what, sizeof what, "%s%s%s", option->group, option->group[0] ? "/" : "", option->name);
    return failure ? device_error(device, err, ERR_INVALID, failure, what) : 0;
}

/* Scans with the options that the driver scans with; exactly one device must be there. */
static int scan(struct device *device, char **parts, struct error *err)
{
    GSList *options = NULL, *found = NULL;
    struct sr_config config[16];
    unsigned n = 0;
    int code = 0;
    for (; *parts && !code; parts++) {
        struct option option;
        code = take_apart(*parts, &option, err);
        if (code || !is_scan_option(device, &option))
            continue;
        GVariant *value = parse_value(&option);
        if (!value)
            code = error_set(err, ERR_INVALID, "'%s' is no value of '%s'", option.value, option.name);
        else if (n == sizeof config / sizeof *config)
            code = error_set(err, ERR_FULL, "more than %u options", n);
        if (code)
            break;
        config[n] = (struct sr_config){ .key = option.info->key, .data = g_variant_ref_sink(value) };
        options = g_slist_append(options, &config[n++]);
    }
    if (!code)
        found = sr_driver_scan(device->driver, options);
    g_slist_free(options);
    while (n > 0)
        g_variant_unref(config[--n].data);
    if (!code && !found)
        code = error_set(err, ERR_NO_ANSWER, "no device of driver '%s' answers%s%s", device->driver->name,
                         device->log[0] ? "; " : "", device->log);
    if (!code && found->next)
        code = error_set(err, ERR_CONFLICT, "%u devices of driver '%s' answer: say which, with conn=...",
                         g_slist_length(found), device->driver->name);
    if (!code)
        device->instance = found->data;
    g_slist_free(found);
    return code;
}

int device_open(struct device *device, const char *text, struct error *err)
{
    char **parts = g_strsplit(text, ":", 0);
    sr_log_callback_set(keep_complaint, device);
    sr_log_loglevel_set(SR_LOG_WARN);
    device->loop = g_main_context_new();
    g_main_context_push_thread_default(device->loop);
    int failure = sr_init(&device->context);
    int code = failure ? device_error(device, err, ERR_IO, failure, "libsigrok") : 0;
    if (!code)
        code = find_driver(device, device_text(parts[0]), err);
    if (!code)
        code = scan(device, parts + 1, err);
    failure = code ? 0 : sr_dev_open(device->instance);
    if (failure)
        code = device_error(device, err, ERR_NO_ANSWER, failure, "the device does not open");
    for (char **part = parts; !code && part[0] && part[1]; part++) {
        struct option option;
        code = take_apart(part[1], &option, err);
        if (!code && !is_scan_option(device, &option))
            code = set_option(device, &option, err);
    }
    g_strfreev(parts);
    return code;
}
