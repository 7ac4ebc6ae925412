/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * files: reading, and telling what is wrong.
 */
#include "daemon/files.h"

#include <stdlib.h>

#include "daemon/base/log.h"
#include "instruments/interlock.h"

/* Every mistake of a file; `problems` is empty afterwards. */
static void tell(const char *path, struct json_problems *problems)
{
    for (int i = 0; i < problems->count && i < JSON_PROBLEMS_MAX; i++) {
        const struct json_problem *problem = &problems->item[i];
        log_warning("%s%s: %s%s%s", path, problem->pointer, problem->reason,
                    problem->hint[0] != '\0' ? "; " : "", problem->hint);
    }
    *problems = (struct json_problems){ 0 };
}

int files_load(const char *bench_path, struct bench_file **ret_bench, struct chip_profile **ret_profile,
               struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);
    struct error rules = { .code = 0 };

    if (problems == NULL)
        return error_set(err, ERR_MEMORY, "no memory to read the bench file");
    int code = bench_file_load(bench_path, ret_bench, problems, err);
    tell(bench_path, problems);
    if (code == 0) {
        const struct bench_file *bench = *ret_bench;
        code = profile_read(bench->profile_path, ret_profile, problems, err);
        tell(bench->profile_path, problems);
        (void)interlocks_check_chip(bench, problems, &rules); /* what the keeper would refuse at its start */
        tell(bench->profile_path, problems);
    }
    free(problems);
    if (code == 0 && rules.code != 0) {
        *err = rules;
        code = rules.code;
    }
    return code;
}
