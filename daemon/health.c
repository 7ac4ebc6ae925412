/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * health: the keeper's status, and two lists that become one.
 */
#include "daemon/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instruments/keeper_client.h"

static int ask_keeper(struct health *health, const char *keeper_path, struct error *err)
{
    cJSON *status, *port;
    char *text;

    int code = keeper_client_status(keeper_path, &text, err);
    if (code != 0)
        return code;
    code = json_parse(text, strlen(text), &status, err);
    free(text);
    if (code != 0)
        return error_prefix(err, "the keeper's status");
    const cJSON *generation = cJSON_GetObjectItemCaseSensitive(status, "generation");
    const cJSON *reason = cJSON_GetObjectItemCaseSensitive(status, "reason");
    cJSON *ports = cJSON_GetObjectItemCaseSensitive(status, "ports");
    snprintf(health->reason, sizeof health->reason, "%s", cJSON_IsString(reason) ? reason->valuestring : "");
    health->latched = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(status, "latched"));
    health->generation = cJSON_IsNumber(generation) ? generation->valueint : 0;
    health->armed = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(status, "armed"));
    while ((port = cJSON_DetachItemFromArray(ports, 0)) != NULL)
        cJSON_AddItemToArray(health->ports, port);
    cJSON_Delete(status);
    return 0;
}

int health_read(const struct bench *bench, const char *keeper_path, struct health *ret_health,
                struct error *err)
{
    struct health health = { .ports = bench != NULL ? bench_ports_json(bench) : cJSON_CreateArray() };

    if (health.ports == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the state of the ports");
    int code = keeper_path != NULL ? ask_keeper(&health, keeper_path, err) : 0;
    if (code != 0) {
        health_free(&health);
        return code;
    }
    *ret_health = health;
    return 0;
}

void health_free(struct health *health)
{
    cJSON_Delete(health->ports);
    health->ports = NULL;
}
