/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * profile_file: a chip's profile from its file, with the hash by which a run says which one it was. */
#include <stdlib.h>

#include "chip/profile.h"
#include "daemon/base/hash.h"
#include "daemon/base/text.h"

enum { PROFILE_FILE_MAX = 1 << 20 };

int profile_read(const char *path, struct chip_profile **ret_profile, struct json_problems *problems,
                 struct error *err)
{
    char *text = NULL;
    size_t length = 0;
    cJSON *document = NULL;
    uint8_t digest[SHA256_BYTES];
    int rc = text_read_file(path, PROFILE_FILE_MAX, &text, &length, err);

    if (rc)
        return rc;
    struct chip_profile *profile = calloc(1, sizeof *profile);
    rc = profile ? json_parse(text, length, &document, err) : error_set(err, ERR_MEMORY, "no memory");
    if (rc) {
        error_prefix(err, "%s", path);
    } else {
        struct json_at root = json_root(document, problems);
        profile_parse(&root, profile);
        rc = json_problems_error(problems, path, err);
    }
    if (!rc) {
        sha256(text, length, digest);
        hash_hex(digest, sizeof digest, profile->hash);
        *ret_profile = profile;
        profile = NULL;
    }
    cJSON_Delete(document);
    free(profile);
    free(text);
    return rc;
}

int profile_load(const char *path, struct chip_profile **ret_profile, struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);

    if (!problems)
        return error_set(err, ERR_MEMORY, "no memory for the chip profile %s", path);
    int rc = profile_read(path, ret_profile, problems, err);
    free(problems);
    return rc;
}

void profile_free(struct chip_profile *profile)
{
    free(profile);
}
