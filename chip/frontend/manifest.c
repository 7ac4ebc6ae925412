/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * manifest: reading of data set recipes. All mistakes of a file are found in one pass. */
#include "chip/frontend/manifest.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/json.h"
#include "daemon/base/text.h"

static const char *const top_keys[] = { "format",
                                        "version",
                                        "name",
                                        "about",
                                        "seed",
                                        "examples",
                                        "clip_seconds_max",
                                        "snr_db",
                                        "noise_floor_db",
                                        "level_range_db",
                                        "active_fraction",
                                        "file_cap",
                                        "sources",
                                        NULL };
static const char *const source_keys[] = { "name", "package", "version", "bytes", "sha256", "licence",
                                           "role", "include", "exclude", "about", NULL };
static const char *const fraction_keys[] = { "noise", "speech", NULL };
static const char *const role_names[] = { [MANIFEST_NOISE] = "noise", [MANIFEST_SPEECH] = "speech", NULL };
static const char *const format_names[] = { "nightbench-dataset-manifest", NULL };

static void copy_string(const struct json_at *at, const char *key, char *out, size_t size)
{
    const char *text = json_string(at, key, true, "");

    if (strlen(text) < size) {
        snprintf(out, size, "%s", text);
    } else {
        struct json_at member = json_member(at, key, true);

        json_problem(&member, "", "longer than %zu characters", size - 1);
    }
}

static void read_patterns(const struct json_at *at, const char *key, bool required,
                          struct manifest_patterns *out)
{
    struct json_at list = json_member(at, key, required);

    if (!list.node)
        return;
    if (json_count(&list) > MANIFEST_PATTERNS_MAX) {
        json_problem(&list, "", "more than %d patterns", MANIFEST_PATTERNS_MAX);
        return;
    }
    for (int i = 0; i < json_count(&list); i++) {
        struct json_at item = json_element(&list, i);

        if (cJSON_IsString(item.node) && strlen(item.node->valuestring) < MANIFEST_TEXT_MAX)
            snprintf(out->glob[out->count++], MANIFEST_TEXT_MAX, "%s", item.node->valuestring);
        else
            json_problem(&item, "", "is not a string shorter than %d", MANIFEST_TEXT_MAX);
    }
}

static void read_source(const struct json_at *at, struct manifest_source *source)
{
    json_only(at, source_keys);
    copy_string(at, "name", source->name, sizeof source->name);
    copy_string(at, "package", source->package, sizeof source->package);
    copy_string(at, "version", source->version, sizeof source->version);
    copy_string(at, "sha256", source->sha256, sizeof source->sha256);
    copy_string(at, "licence", source->licence, sizeof source->licence);
    source->role = (enum manifest_role)json_choice(at, "role", true, role_names, MANIFEST_NOISE);
    read_patterns(at, "include", true, &source->include);
    read_patterns(at, "exclude", false, &source->exclude);
    if (strchr(source->package, '/') || source->package[0] == '.')
        json_problem(at, "", "\"%s\" is no package name", source->package);
}

static void read_sources(const struct json_at *at, struct manifest *manifest)
{
    struct json_at list = json_member(at, "sources", true);
    int per_role[MANIFEST_ROLES] = { 0 };

    if (json_count(&list) > MANIFEST_SOURCES_MAX) {
        json_problem(&list, "", "more than %d sources", MANIFEST_SOURCES_MAX);
        return;
    }
    for (int i = 0; i < json_count(&list); i++) {
        struct json_at item = json_element(&list, i);
        struct manifest_source *source = &manifest->source[manifest->source_count++];

        read_source(&item, source);
        per_role[source->role]++;
    }
    if (!per_role[MANIFEST_NOISE] || !per_role[MANIFEST_SPEECH])
        json_problem(&list, "", "needs sources of both roles, speech and noise");
}

static void read_mixing(const struct json_at *at, struct manifest *manifest)
{
    struct json_at fractions = json_member(at, "active_fraction", true);
    double snr_db[2] = { 0, 0 };

    if (json_doubles(at, "snr_db", true, snr_db, 2) != 2 || !(snr_db[0] <= snr_db[1]))
        json_problem(at, "", "snr_db is not [lowest, highest]");
    manifest->snr_min_db = snr_db[0];
    manifest->snr_max_db = snr_db[1];
    manifest->noise_floor_db = json_double(at, "noise_floor_db", true, -90, 0, -30);
    manifest->level_range_db = json_double(at, "level_range_db", true, 0, 60, 30);
    manifest->file_cap = json_double(at, "file_cap", true, 0.001, 1, 1);
    if (!fractions.node)
        return;
    json_only(&fractions, fraction_keys);
    for (int role = 0; role < MANIFEST_ROLES; role++)
        manifest->active_fraction[role] = json_double(&fractions, role_names[role], true, 0, 1, 0);
}

static void read_manifest(const cJSON *root, struct json_problems *problems, struct manifest *manifest)
{
    struct json_at at = json_root(root, problems);

    json_only(&at, top_keys);
    json_choice(&at, "format", true, format_names, 0);
    json_integer(&at, "version", true, 1, 1, 1);
    copy_string(&at, "name", manifest->name, sizeof manifest->name);
    manifest->seed = json_integer(&at, "seed", true, 0, INT64_C(1) << 53, 0);
    manifest->examples = (int)json_integer(&at, "examples", true, 2, MANIFEST_EXAMPLES_MAX, 2);
    manifest->clip_seconds_max = (int)json_integer(&at, "clip_seconds_max", true, 1, 600, 60);
    if (manifest->examples % 2)
        json_problem(&at, "", "examples must be even: half of each class");
    read_mixing(&at, manifest);
    read_sources(&at, manifest);
}

static int parse(const char *path, const char *text, size_t length, struct manifest *manifest,
                 struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);
    uint8_t hash[SHA256_BYTES];
    cJSON *root;
    int code;

    if (!problems)
        return error_set(err, ERR_MEMORY, "%s: no memory", path);
    code = json_parse(text, length, &root, err);
    if (code) {
        error_prefix(err, "%s", path);
        goto out;
    }
    read_manifest(root, problems, manifest);
    code = json_problems_error(problems, path, err);
    cJSON_Delete(root);
    sha256(text, length, hash);
    hash_hex(hash, SHA256_BYTES, manifest->hash);

out:
    free(problems);
    return code;
}

int manifest_load(const char *path, struct manifest **ret_manifest, struct error *err)
{
    struct manifest *manifest = NULL;
    char *text;
    size_t length;
    int code = text_read_file(path, MANIFEST_BYTES_MAX, &text, &length, err);

    if (code)
        return code;
    manifest = calloc(1, sizeof *manifest);
    code = manifest ? parse(path, text, length, manifest, err)
                    : error_set(err, ERR_MEMORY, "%s: no memory", path);
    free(text);
    if (code) {
        free(manifest);
        return code;
    }
    *ret_manifest = manifest;
    return 0;
}

static bool any_matches(const struct manifest_patterns *patterns, const char *path)
{
    for (int i = 0; i < patterns->count; i++) {
        if (fnmatch(patterns->glob[i], path, 0) == 0)
            return true;
    }
    return false;
}

bool manifest_selects(const struct manifest_source *source, const char *path)
{
    return any_matches(&source->include, path) && !any_matches(&source->exclude, path);
}
