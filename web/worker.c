/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * worker: one queue, WORKER_THREADS threads.
 */
#include "web/worker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "db/query.h"

struct worker {
    pthread_mutex_t lock; /* guards all below but the threads and the path */
    pthread_cond_t changed;
    struct worker_job *first, **last;
    int queued;
    bool closing;
    char db_path[512];
    int thread_count;
    pthread_t thread[WORKER_THREADS];
};

static struct worker_job *take(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    while (worker->first == NULL && !worker->closing)
        pthread_cond_wait(&worker->changed, &worker->lock);
    struct worker_job *job = worker->first;
    if (job != NULL) {
        worker->first = job->next;
        if (worker->first == NULL)
            worker->last = &worker->first;
        worker->queued--;
    }
    pthread_mutex_unlock(&worker->lock);
    return job;
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    struct query *query = NULL;
    struct worker_job *job;

    while ((job = take(worker)) != NULL) {
        struct error err = { 0 };

        if (query == NULL)
            query_open(worker->db_path, &query, &err); /* tried again by the next job; the handler tells */
        job->run(job, query, &err);
    }
    query_close(query);
    return NULL;
}

int worker_open(const char *db_path, struct worker **ret_worker, struct error *err)
{
    struct worker *worker = calloc(1, sizeof *worker);

    if (worker == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the query threads");
    snprintf(worker->db_path, sizeof worker->db_path, "%s", db_path);
    worker->last = &worker->first;
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    for (int i = 0; i < WORKER_THREADS; i++) {
        int failure = pthread_create(&worker->thread[i], NULL, worker_main, worker);

        if (failure != 0) {
            worker_close(worker);
            return error_set_errno(err, failure, "cannot start a query thread");
        }
        worker->thread_count++;
    }
    *ret_worker = worker;
    return 0;
}

void worker_close(struct worker *worker)
{
    if (worker == NULL)
        return;
    pthread_mutex_lock(&worker->lock);
    worker->closing = true;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    for (int i = 0; i < worker->thread_count; i++)
        pthread_join(worker->thread[i], NULL);
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
}

bool worker_submit(struct worker *worker, struct worker_job *job)
{
    pthread_mutex_lock(&worker->lock);
    bool room = worker->queued < WORKER_QUEUE_MAX && !worker->closing;
    if (room) {
        job->next = NULL;
        *worker->last = job;
        worker->last = &job->next;
        worker->queued++;
        pthread_cond_signal(&worker->changed);
    }
    pthread_mutex_unlock(&worker->lock);
    return room;
}
