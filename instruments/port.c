/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * port: queue, thread and connection keeping of one physical link. */
#include "instruments/port.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "drivers/driver.h"
#include "instruments/bench_private.h"
#include "instruments/port_health.h"
#include "instruments/settings.h"

#define BACKOFF_FIRST_NS (100 * NS_PER_MS)
#define BACKOFF_LAST_NS  (5 * NS_PER_S)

struct queue {
    struct port_request *first, *last;
};

/* One instrument of the port. All but `instrument`, `index`, `driver` and `health` is the thread's own. */
struct station {
    const struct bench_instrument *instrument;
    int index; /* in the bench file */
    const struct driver *driver;
    struct port_health health; /* atomics: written here, read by anybody */
    struct driver_config config;
    void *state; /* of the driver; NULL while not connected */
    bool dirty;  /* the next answer may belong to an earlier question */
    bool known;  /* the instrument that the bench file means was here when last asked */
    struct settings *settings;
    int64_t retry_ns, backoff_ns;
    struct error connect_error;
};

struct port {
    /* set before the thread starts */
    struct clock *clock;
    struct station station[BENCH_INSTRUMENTS_MAX];
    int station_count;
    int rank, wake_fd, cut_fd;
    pthread_t thread;

    _Atomic int64_t busy_ns; /* host time since which one request is in work, or waits to be taken; 0: idle */

    /* guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t started;
    struct queue queue[PORT_PRIORITIES];
    int queued;
    int running; /* priority of the request in work, PORT_PRIORITIES when idle or connecting */
    bool ready, stop;
    int start_code, slot;
    struct error start_error;

    /* the thread's own */
    struct transport_env env;
    struct interpose layers; /* of env */
    void *line;              /* of env */
};

static void raise_fd(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void lower_fd(int fd)
{
    uint64_t count;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

/* A port of one instrument serves whatever it is asked. */
static struct station *station_of(struct port *port, const struct port_request *request)
{
    for (int i = 0; i < port->station_count; i++) {
        if (port->station[i].index == request->message.instrument)
            return &port->station[i];
    }
    return &port->station[0];
}

/* Says what was asked, where the driver has not said how it put it to the instrument. */
static void name_error(struct error *error, const struct station *station, const char *word,
                       int64_t elapsed_ns)
{
    error_at(error, station->instrument->name, error->command[0] != '\0' ? NULL : word,
             error->elapsed_ns > 0 ? error->elapsed_ns : elapsed_ns);
}

static void complete(struct port_request *request, int code, const struct error *error)
{
    request->message.code = code;
    if (code && error && error != &request->error)
        request->error = *error;
    request->done(request);
}

static void refuse(struct port *port, struct port_request *request, int code, const char *why)
{
    error_set(&request->error, code, "%s", why);
    name_error(&request->error, station_of(port, request), message_word(request->message.op), 0);
    complete(request, code, &request->error);
}

void port_post(struct port *port, struct port_request *request)
{
    request->next = NULL;
    pthread_mutex_lock(&port->lock);
    bool stopped = port->stop;
    bool full = port->queued >= PORT_QUEUE_MAX && request->priority != PORT_SAFE;
    if (!stopped && !full) {
        struct queue *queue = &port->queue[request->priority];
        if (queue->last)
            queue->last->next = request;
        else
            queue->first = request;
        queue->last = request;
        port->queued++;
        int64_t idle = 0;
        atomic_compare_exchange_strong(&port->busy_ns, &idle, clock_host_now());
        /* Raised under the lock, as it is lowered: a cut can neither hit a safe request nor miss a normal
         * one. */
        if (request->priority == PORT_SAFE && port->running != PORT_SAFE)
            raise_fd(port->cut_fd);
        raise_fd(port->wake_fd);
    }
    pthread_mutex_unlock(&port->lock);
    if (stopped)
        refuse(port, request, ERR_CANCELLED, "the port is closing");
    else if (full)
        refuse(port, request, ERR_FULL, "the port's queue is full");
    else
        clock_notify(port->clock, port->slot);
}

static struct port_request *take_all(struct port *port, int priority)
{
    struct port_request *list = port->queue[priority].first;
    port->queue[priority] = (struct queue){ 0 };
    for (struct port_request *r = list; r; r = r->next)
        port->queued--;
    return list;
}

static void refuse_all(struct port *port, struct port_request *list, int code, const char *why)
{
    while (list) {
        struct port_request *next = list->next;
        refuse(port, list, code, why);
        list = next;
    }
}

void port_drop(struct port *port, int code, const char *why)
{
    pthread_mutex_lock(&port->lock);
    struct port_request *list = take_all(port, PORT_NORMAL);
    if (port->running == PORT_NORMAL)
        raise_fd(port->cut_fd);
    pthread_mutex_unlock(&port->lock);
    clock_notify(port->clock, port->slot);
    refuse_all(port, list, code, why);
}

/* Next request by priority, or NULL. Marks it running; a cut that was meant for the one before is lowered
 * here. */
static struct port_request *next_request(struct port *port, bool *ret_stop)
{
    pthread_mutex_lock(&port->lock);
    struct port_request *request = NULL;
    port->running = PORT_PRIORITIES;
    for (int priority = 0; priority < PORT_PRIORITIES && !request && !port->stop; priority++) {
        struct queue *queue = &port->queue[priority];
        request = queue->first;
        if (!request)
            continue;
        queue->first = request->next;
        if (!queue->first)
            queue->last = NULL;
        port->queued--;
        port->running = priority;
    }
    atomic_store(&port->busy_ns, request != NULL ? clock_host_now() : 0);
    if (request)
        lower_fd(port->cut_fd);
    else
        lower_fd(port->wake_fd);
    *ret_stop = port->stop;
    pthread_mutex_unlock(&port->lock);
    return request;
}

/* ---- Connection ---- */
static int check_field(const char *what, const char *expected, const char *found, struct error *err)
{
    if (expected[0] == '\0' || strcmp(expected, "any") == 0 || strcmp(expected, found) == 0)
        return 0;
    return error_set(err, ERR_IDENTITY, "%s is '%s' where the bench file expects '%s'", what, found,
                     expected);
}

static int check_identity(struct station *station, struct error *err)
{
    uint8_t payload[512] = { 0 };
    struct message m = { .magic = MESSAGE_MAGIC, .op = MESSAGE_IDENTIFY };
    int code = station->driver->request(station->state, &m, payload, sizeof payload - 1, err);
    if (code)
        return code;
    const char *vendor = (const char *)payload;
    const char *model = vendor + strlen(vendor) + 1, *serial = model + strlen(model) + 1;
    code = check_field("vendor", station->instrument->vendor, vendor, err);
    if (!code)
        code = check_field("model", station->instrument->model, model, err);
    if (!code)
        code = check_field("serial number", station->instrument->serial, serial, err);
    return code;
}

static void disconnect(struct station *station)
{
    if (station->state)
        station->driver->close(station->state);
    station->state = NULL;
    atomic_store(&station->health.connected, false);
    station->dirty = false;
}

static int connect_now(struct port *port, struct station *station, struct error *err)
{
    struct error failure = { 0 };
    int64_t begin_ns = clock_now(port->clock);
    int code = station->driver->open(&station->config, &port->env, &station->state, &failure);
    if (!code) {
        code = check_identity(station, &failure);
        if (code == 0 || code == ERR_IDENTITY)
            station->known = code == 0; /* another one is not ours to switch, not even off */
        if (code)
            disconnect(station);
    }
    station->settings->doubtful = true;
    if (!code) {
        station->backoff_ns = 0;
        atomic_store(&station->health.connected, true);
        atomic_fetch_add(&station->health.connects, 1);
        return 0;
    }
    name_error(&failure, station, "connect", clock_now(port->clock) - begin_ns);
    if (code != ERR_CANCELLED) {
        int64_t next_ns = station->backoff_ns ? 2 * station->backoff_ns : BACKOFF_FIRST_NS;
        station->backoff_ns = next_ns < BACKOFF_LAST_NS ? next_ns : BACKOFF_LAST_NS;
        station->retry_ns = clock_now(port->clock) + station->backoff_ns;
        station->connect_error = failure;
    }
    *err = failure;
    return code;
}

/* A normal request does not knock at a dead link before the back-off has passed; a safe one always tries. */
static int be_connected(struct port *port, struct station *station, int priority, struct error *err)
{
    if (station->state)
        return 0;
    if (priority != PORT_SAFE && station->backoff_ns && clock_now(port->clock) < station->retry_ns) {
        *err = station->connect_error;
        return err->code;
    }
    return connect_now(port, station, err);
}

/* Brings a doubtful link to a message boundary, by a new connection when it must. */
static int be_clean(struct station *station, struct error *err)
{
    if (!station->dirty)
        return 0;
    int code = station->driver->resync(station->state, err);
    if (!code)
        station->dirty = false;
    station->settings->doubtful = true; /* silence may have been a reboot */
    return code;
}

static int request_for_settings(void *context, struct message *message, struct error *err)
{
    struct station *station = context;
    uint8_t nothing[1];
    return station->driver->request(station->state, message, nothing, 0, err);
}

/* Makes a link that is new, or was in doubt, what it was, and serves the request. Switching off does not wait
 * for that. */
static int serve_known(struct port *port, struct station *station, struct port_request *request,
                       struct error *err)
{
    struct message asked = request->message;
    int64_t begin_ns = clock_now(port->clock);
    int code = 0;
    if (station->settings->doubtful && request->priority != PORT_SAFE)
        code = settings_restore(station->settings, request_for_settings, station, err);
    if (!code)
        code = settings_check(station->settings, &asked, err);
    if (!code)
        code =
            station->driver->request(station->state, &request->message, request->payload, request->room, err);
    if (!code)
        settings_after(station->settings, &asked, &request->message, begin_ns, clock_now(port->clock));
    return code;
}

static bool injects_faults(const struct port *port)
{
    return interpose_find(port->env.interpose, &interpose_fault) != NULL;
}

static bool in_doubt(int code)
{
    return code == ERR_TIMEOUT || code == ERR_GARBAGE || code == ERR_CANCELLED;
}

/* Before anything is waited for on a link that is broken or in doubt: the instrument may not answer, but it
 * may still hear. What comes after this confirms, or fails to. */
static void tell_off(struct port *port, struct station *station, const struct port_request *request)
{
    struct error ignored;
    if (station->known && request->priority == PORT_SAFE && request->message.op == MESSAGE_SAFE_OFF &&
        station->driver->off_unheard != NULL)
        station->driver->off_unheard(&station->config, &port->env, station->state, request->message.channel,
                                     &ignored);
}

static int attempt(struct port *port, struct station *station, struct port_request *request,
                   struct error *err)
{
    settings_before(station->settings, &request->message);
    if (!station->state || station->dirty)
        tell_off(port, station, request);
    int code = be_connected(port, station, request->priority, err);
    if (code)
        return code;
    code = be_clean(station, err);
    if (code && code != ERR_CANCELLED && request->priority == PORT_SAFE) {
        /* The instrument does not answer, but it may still hear: the message goes out, complete, and then the
         * link is tried afresh. */
        struct message blind = request->message;
        struct error ignored;
        if (station->driver->request(station->state, &blind, request->payload, request->room, &ignored) ==
            0) {
            request->message = blind;
            return 0;
        }
        disconnect(station);
        code = connect_now(port, station, err);
    }
    if (code) {
        if (code != ERR_CANCELLED)
            disconnect(station);
        return code;
    }
    code = serve_known(port, station, request, err);
    if (code == 0 && request->message.op == MESSAGE_MEASURE && injects_faults(port))
        request->message.flags |= READING_SIMULATED;
    if (in_doubt(code))
        station->dirty = true;
    if (code == ERR_LINK)
        disconnect(station);
    return code;
}

static void serve(struct port *port, struct port_request *request)
{
    struct station *station = station_of(port, request);
    struct error error = { 0 };
    const char *word = message_word(request->message.op);
    int64_t begin_ns = clock_now(port->clock);
    int code = attempt(port, station, request, &error);
    /* A link that was dropped while idle shows only now: a safe request tries once more on a new connection.
     */
    if (code == ERR_LINK && request->priority == PORT_SAFE)
        code = attempt(port, station, request, &error);
    request->message.time_ns = clock_now(port->clock);
    if (code) {
        tell_off(port, station, request); /* what resynchronising has woken may hear now */
        name_error(&error, station, word, request->message.time_ns - begin_ns);
    }
    port_health_ended(&station->health, station->instrument->name, code ? &error : NULL);
    complete(request, code, &error);
}

static void run(struct port *port, struct clock_actor *actor)
{
    struct error ignored = { 0 };
    int code = 0;
    atomic_store(&port->busy_ns, clock_host_now());
    /* One that was cut: whoever cut it finds the port unconnected and connects. */
    for (int i = 0; i < port->station_count && code != ERR_CANCELLED; i++)
        code = connect_now(port, &port->station[i], &ignored);
    for (;;) {
        bool stop;
        struct port_request *request = next_request(port, &stop);
        if (stop)
            return;
        if (request) {
            serve(port, request);
            continue;
        }
        struct pollfd wake = { .fd = port->wake_fd, .events = POLLIN };
        if (clock_poll(actor, &wake, 1, CLOCK_NEVER, 0) < 0) {
            /* The virtual clock has evicted this actor (its process was taken for stopped) or is gone. */
            pthread_mutex_lock(&port->lock);
            port->stop = true;
            struct port_request *list[PORT_PRIORITIES];
            for (int i = 0; i < PORT_PRIORITIES; i++)
                list[i] = take_all(port, i);
            pthread_mutex_unlock(&port->lock);
            for (int i = 0; i < PORT_PRIORITIES; i++)
                refuse_all(port, list[i], ERR_FENCED, "the clock has dropped this port");
            return;
        }
    }
}

static void *thread_main(void *argument)
{
    struct port *port = argument;
    struct clock_actor *actor = NULL;
    struct error error = { 0 };
    int code = clock_actor_open(port->clock, port->station[0].instrument->name, port->rank, &actor, &error);
    pthread_mutex_lock(&port->lock);
    port->start_code = code;
    port->start_error = error;
    port->slot = code ? -1 : clock_actor_slot(actor);
    port->ready = true;
    pthread_cond_signal(&port->started);
    pthread_mutex_unlock(&port->lock);
    if (code)
        return NULL;
    port->env.actor = actor;
    if (injects_faults(port))
        log_warning("%s: faults are injected on its link: nothing that it says is a measurement",
                    port->station[0].instrument->name);
    run(port, actor);
    for (int i = 0; i < port->station_count; i++)
        disconnect(&port->station[i]);
    clock_actor_close(actor);
    return NULL;
}

static int add_station(struct port *port, const struct bench_file *file, int index, struct error *err)
{
    const struct bench_instrument *in = &file->instrument[index];
    struct station *station = &port->station[port->station_count];
    *station = (struct station){ .instrument = in, .index = index, .driver = driver_find(in->driver) };
    if (!station->driver)
        return error_set(err, ERR_INVALID, "instrument '%s': no driver '%s'", in->name, in->driver);
    int code = settings_open(file, index, &station->settings, err);
    if (code)
        return code;
    port->station_count++;
    struct driver_config *config = &station->config;
    config->class = in->class;
    config->spi_hz = file->spi_instrument == index ? file->spi_hz : 0;
    snprintf(config->name, sizeof config->name, "%s", in->name);
    snprintf(config->resource, sizeof config->resource, "%s", in->resource);
    bench_dialect_path(file, in->dialect, config->dialect_path, sizeof config->dialect_path);
    return 0;
}

static int configure(struct port *port, const struct bench_file *file, int instrument,
                     const struct port_options *options, struct error *err)
{
    const struct bench_instrument *in = &file->instrument[instrument];
    port->clock = options->clock;
    port->rank = CLOCK_RANK_PORT + instrument;
    port->running = PORT_PRIORITIES;
    if (in->interpose)
        port->layers = *in->interpose;
    port->env = (struct transport_env){
        .clock = options->clock,
        .cut_fd = port->cut_fd,
        .links_path = options->links_path,
        .trace_dir = options->trace_dir,
        .interpose = in->interpose ? &port->layers : NULL,
        .line = &port->line,
    };
    int code = add_station(port, file, instrument, err);
    for (int i = instrument + 1; i < file->instrument_count && !code; i++) {
        if (file->instrument[i].line_of == instrument + 1)
            code = add_station(port, file, i, err);
    }
    return code;
}

static void release(struct port *port)
{
    for (int i = 0; i < port->station_count; i++)
        free(port->station[i].settings);
    if (port->wake_fd >= 0)
        close(port->wake_fd);
    if (port->cut_fd >= 0)
        close(port->cut_fd);
    pthread_cond_destroy(&port->started);
    pthread_mutex_destroy(&port->lock);
    free(port);
}

int port_open(const struct bench_file *file, int instrument, const struct port_options *options,
              struct port **ret, struct error *err)
{
    const struct bench_instrument *in = &file->instrument[instrument];
    struct port *port = calloc(1, sizeof *port);
    if (!port)
        return error_set(err, ERR_MEMORY, "port of '%s'", in->name);
    pthread_mutex_init(&port->lock, NULL);
    pthread_cond_init(&port->started, NULL);
    port->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    port->cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (port->wake_fd < 0 || port->cut_fd < 0) {
        int code = error_set_errno(err, errno, "port of '%s'", in->name);
        release(port);
        return code;
    }
    int code = configure(port, file, instrument, options, err);
    int failure = code ? 0 : pthread_create(&port->thread, NULL, thread_main, port);
    if (failure)
        code = error_set_errno(err, failure, "thread of port '%s'", in->name);
    if (code) {
        release(port);
        return code;
    }
    pthread_mutex_lock(&port->lock);
    while (!port->ready)
        pthread_cond_wait(&port->started, &port->lock);
    pthread_mutex_unlock(&port->lock);
    if (port->start_code) {
        code = port->start_code;
        if (err)
            *err = port->start_error;
        pthread_join(port->thread, NULL);
        release(port);
        return code;
    }
    *ret = port;
    return 0;
}

cJSON *port_health_of(const struct port *port, int instrument)
{
    for (int i = 0; i < port->station_count; i++) {
        const struct station *station = &port->station[i];
        if (station->index == instrument)
            return port_health_json(&station->health, atomic_load(&port->busy_ns), station->instrument->name);
    }
    return cJSON_CreateNull();
}

void port_close(struct port *port)
{
    if (!port)
        return;
    pthread_mutex_lock(&port->lock);
    port->stop = true;
    struct port_request *list[PORT_PRIORITIES];
    for (int i = 0; i < PORT_PRIORITIES; i++)
        list[i] = take_all(port, i);
    raise_fd(port->cut_fd);
    raise_fd(port->wake_fd);
    pthread_mutex_unlock(&port->lock);
    clock_notify(port->clock, port->slot);
    for (int i = 0; i < PORT_PRIORITIES; i++)
        refuse_all(port, list[i], ERR_CANCELLED, "the port is closing");
    pthread_join(port->thread, NULL);
    release(port);
}
