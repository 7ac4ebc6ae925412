/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * webhook: picks events out of the daemon's ring as they are posted, and sends them one after the other.
 */
#include "daemon/webhook.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/json.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"

enum { CLOSE_S = 3, BATCH = 8, BODY_MAX = 1400, BACKOFF_FIRST_MS = 500 };

struct webhook {
    struct events *events;
    char url[1024];
    pthread_t thread;

    pthread_mutex_t lock; /* guards all below; never held across a transfer */
    pthread_cond_t wake;
    bool closing;
    int64_t close_ns; /* host time by which the thread has to be done */
    uint64_t last_id; /* of the newest event looked at */
    struct webhook_counts counts;
    unsigned first, count;
    char queue[WEBHOOK_QUEUE_MAX][BODY_MAX];
};

/* "end", "hold", "trip", or NULL: of no interest. */
static const char *word_of(const struct daemon_event *event)
{
    const char *word = NULL;
    cJSON *tree;

    if (strcmp(event->kind, "trip") == 0)
        return "trip";
    if (strcmp(event->kind, "state") != 0 || json_parse(event->json, strlen(event->json), &tree, NULL) != 0)
        return NULL;
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(tree, "state");
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(tree, "end")))
        word = cJSON_IsString(state) && strcmp(state->valuestring, "failed") == 0 ? "fail" : "end";
    else if (cJSON_IsString(state) && strncmp(state->valuestring, "h", 1) == 0) /* "hold", "held" */
        word = "hold";
    cJSON_Delete(tree);
    return word;
}

/* With the lock held. */
static void enqueue(struct webhook *webhook, const struct daemon_event *event)
{
    const char *word = word_of(event);
    char stamp[32];

    if (word == NULL)
        return;
    if (webhook->count == WEBHOOK_QUEUE_MAX) {
        webhook->counts.dropped++;
        return;
    }
    char *body = webhook->queue[(webhook->first + webhook->count++) % WEBHOOK_QUEUE_MAX];
    snprintf(body, BODY_MAX, "{\"event\":\"%s\",\"id\":%llu,\"wall\":\"%s\",\"data\":%s}", word,
             (unsigned long long)event->id, text_time(clock_wall_now(), stamp, sizeof stamp), event->json);
    pthread_cond_signal(&webhook->wake);
}

/* In the thread of whoever posted the event: the ring forgets fast while a run reports its progress. */
static void on_event(void *context)
{
    struct webhook *webhook = context;
    struct daemon_event batch[BATCH];
    int count;

    pthread_mutex_lock(&webhook->lock);
    do {
        count = events_read(webhook->events, webhook->last_id, batch, BATCH);
        for (int i = 0; i < count; i++) {
            webhook->last_id = batch[i].id;
            enqueue(webhook, &batch[i]);
        }
    } while (count == BATCH);
    pthread_mutex_unlock(&webhook->lock);
}

static size_t ignore_answer(char *data, size_t size, size_t count, void *context)
{
    (void)data, (void)context;
    return size * count;
}

/* Ends a transfer that the daemon's end must not wait for. */
static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct webhook *webhook = context;

    (void)a, (void)b, (void)c, (void)d;
    pthread_mutex_lock(&webhook->lock);
    bool late = webhook->closing && clock_host_now() > webhook->close_ns;
    pthread_mutex_unlock(&webhook->lock);
    return late;
}

static bool send_body(struct webhook *webhook, CURL *curl, const char *body, char *why, size_t why_size)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    long status = 0;

    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, webhook->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)WEBHOOK_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "nightbench");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore_answer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, webhook);
    CURLcode code = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK && status >= 200 && status <= 299)
        return true;
    if (code != CURLE_OK)
        snprintf(why, why_size, "%s", curl_easy_strerror(code));
    else
        snprintf(why, why_size, "HTTP status %ld", status);
    return false;
}

/* With the lock held. Waits until the next try is due, or the daemon ends. */
static void back_off(struct webhook *webhook, int tries)
{
    int64_t wait_ms = BACKOFF_FIRST_MS;

    while (--tries > 0 && wait_ms < WEBHOOK_BACKOFF_MAX_S * 1000)
        wait_ms *= 2;
    if (wait_ms > WEBHOOK_BACKOFF_MAX_S * 1000)
        wait_ms = WEBHOOK_BACKOFF_MAX_S * 1000;
    int64_t until_ns = clock_host_now() + wait_ms * NS_PER_MS;
    struct timespec until = { .tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S };
    while (!webhook->closing && clock_host_now() < until_ns)
        pthread_cond_timedwait(&webhook->wake, &webhook->lock, &until);
}

static void *webhook_main(void *context)
{
    struct webhook *webhook = context;
    CURL *curl = curl_easy_init();
    char body[BODY_MAX], why[160];
    bool ailing = false;
    int tries = 0;

    pthread_mutex_lock(&webhook->lock);
    while (curl != NULL && (webhook->count > 0 || !webhook->closing)) {
        if (webhook->count == 0) {
            pthread_cond_wait(&webhook->wake, &webhook->lock);
            continue;
        }
        bool last_chance = webhook->closing;
        memcpy(body, webhook->queue[webhook->first], sizeof body);
        pthread_mutex_unlock(&webhook->lock);
        bool ok = send_body(webhook, curl, body, why, sizeof why);
        tries++;
        if (!ok && !ailing)
            log_warning("webhook: %s: %s; trying again", webhook->url, why);
        if (ok && ailing)
            log_notice("webhook: %s answers again", webhook->url);
        ailing = !ok;
        pthread_mutex_lock(&webhook->lock);
        if (!ok && tries < WEBHOOK_TRIES && !last_chance) {
            back_off(webhook, tries);
            continue;
        }
        webhook->counts.sent += ok;
        webhook->counts.failed += !ok;
        webhook->first = (webhook->first + 1) % WEBHOOK_QUEUE_MAX;
        webhook->count--;
        tries = 0;
        if (last_chance && clock_host_now() > webhook->close_ns)
            break;
    }
    if (webhook->count > 0)
        log_warning("webhook: %u messages were not delivered", webhook->count);
    pthread_mutex_unlock(&webhook->lock);
    curl_easy_cleanup(curl);
    return NULL;
}

int webhook_open(struct events *events, const char *url, struct webhook **ret_webhook, struct error *err)
{
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return error_set(err, ERR_INVALID, "--webhook takes an http:// or https:// address, not '%s'", url);
    struct webhook *webhook = calloc(1, sizeof *webhook);

    if (webhook == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the webhook");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    webhook->events = events;
    webhook->last_id = events_last(events);
    snprintf(webhook->url, sizeof webhook->url, "%s", url);
    pthread_mutex_init(&webhook->lock, NULL);
    clock_host_cond_init(&webhook->wake);
    int code = events_subscribe(events, on_event, webhook);
    if (code != 0) {
        error_set(err, code, "no room for one more listener to the daemon's events");
        goto out_free;
    }
    code = pthread_create(&webhook->thread, NULL, webhook_main, webhook);
    if (code != 0) {
        code = error_set_errno(err, code, "cannot start the webhook's thread");
        events_unsubscribe(events, webhook);
        goto out_free;
    }
    *ret_webhook = webhook;
    return 0;

out_free:
    pthread_cond_destroy(&webhook->wake);
    pthread_mutex_destroy(&webhook->lock);
    free(webhook);
    return code;
}

void webhook_close(struct webhook *webhook)
{
    if (webhook == NULL)
        return;
    events_unsubscribe(webhook->events, webhook);
    pthread_mutex_lock(&webhook->lock);
    webhook->closing = true;
    webhook->close_ns = clock_host_now() + CLOSE_S * NS_PER_S;
    pthread_cond_signal(&webhook->wake);
    pthread_mutex_unlock(&webhook->lock);
    pthread_join(webhook->thread, NULL);
    pthread_cond_destroy(&webhook->wake);
    pthread_mutex_destroy(&webhook->lock);
    free(webhook);
}

struct webhook_counts webhook_counts(struct webhook *webhook)
{
    pthread_mutex_lock(&webhook->lock);
    struct webhook_counts counts = webhook->counts;
    pthread_mutex_unlock(&webhook->lock);
    return counts;
}
