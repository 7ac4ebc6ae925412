/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fake_keys: the answers that were given under an Idempotency-Key, the last few of them.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/api/fake.h"

static int fake_recall(void *context, const struct command_key *key, struct command_answer *ret,
                       struct error *err)
{
    struct fake *fake = context;
    int rc = 0;

    pthread_mutex_lock(&fake->lock);
    for (int i = 0; i < fake->keys && i < FAKE_KEYS && rc == 0; i++) {
        if (strcmp(fake->key[i].text, key->text) != 0)
            continue;
        rc = 1;
        *ret = fake->answer[i];
        ret->body = strdup(ret->body);
        if (memcmp(fake->key[i].request, key->request, sizeof key->request) != 0) {
            free(ret->body);
            rc = error_set(err, ERR_CONFLICT, "this Idempotency-Key has come with another request");
        }
    }
    pthread_mutex_unlock(&fake->lock);
    return rc;
}

static int fake_remember(void *context, const struct command_key *key, const struct command_answer *answer,
                         struct error *err)
{
    struct fake *fake = context;

    (void)err;
    pthread_mutex_lock(&fake->lock);
    int slot = fake->keys++ % FAKE_KEYS;
    free((void *)(uintptr_t)fake->key[slot].text);
    free(fake->answer[slot].body);
    fake->key[slot] = *key;
    fake->key[slot].text = strdup(key->text);
    fake->answer[slot] = *answer;
    fake->answer[slot].body = strdup(answer->body);
    pthread_mutex_unlock(&fake->lock);
    return 0;
}

void fake_keys_serve(struct command *command)
{
    command->recall = fake_recall;
    command->remember = fake_remember;
}

void fake_keys_free(struct fake *fake)
{
    for (int i = 0; i < FAKE_KEYS; i++) {
        free((void *)(uintptr_t)fake->key[i].text);
        free(fake->answer[i].body);
    }
}
