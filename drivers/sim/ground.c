/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * ground: ground truth, faults and hands on the socket, for tests. */
#include "drivers/sim/ground.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/json.h"

enum { CLIENTS_MAX = 8, LINE_MAX_BYTES = 4096 };

struct ground_client {
    int fd; /* -1: free */
    char line[LINE_MAX_BYTES];
    size_t n;
};

struct ground {
    struct sim_loop *loop;
    struct world *world;
    int listen_fd;
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    struct ground_client client[CLIENTS_MAX];
};

/* An operation gives its result, or NULL after having set err. */
typedef cJSON *(*operation)(struct ground *ground, const struct json_at *at, struct error *err);

static cJSON *op_truth(struct ground *ground, const struct json_at *at, struct error *err)
{
    (void)at;
    (void)err;
    return world_ground_truth(ground->world);
}

static cJSON *op_outputs(struct ground *ground, const struct json_at *at, struct error *err)
{
    (void)at;
    (void)err;
    return world_outputs(ground->world);
}

static cJSON *op_now(struct ground *ground, const struct json_at *at, struct error *err)
{
    (void)at;
    (void)err;
    return json_number((double)sim_now(ground->loop));
}

static cJSON *op_fault(struct ground *ground, const struct json_at *at, struct error *err)
{
    const char *name = json_string(at, "link", true, "");
    const char *kind = json_string(at, "kind", true, "");
    struct sim_link *link = sim_link_find(ground->loop, name);
    struct sim_fault fault = { .kind = sim_fault_kind(kind),
                               .count = (int)json_integer(at, "count", false, -1, 1000000, 1),
                               .skip = (int)json_integer(at, "skip", false, 0, 1000000, 0),
                               .value = json_double(at, "value", false, 0, 1e6, 0) };
    if (!link)
        error_set(err, ERR_NOT_FOUND, "no link %s", name);
    else if (fault.kind < 0)
        error_set(err, ERR_INVALID, "no fault %s", kind);
    else
        sim_link_fault(link, &fault);
    return link && fault.kind >= 0 ? cJSON_CreateTrue() : NULL;
}

static cJSON *op_reboot(struct ground *ground, const struct json_at *at, struct error *err)
{
    const char *name = json_string(at, "link", true, "");
    struct sim_link *link = sim_link_find(ground->loop, name);
    if (!link) {
        error_set(err, ERR_NOT_FOUND, "no link %s", name);
        return NULL;
    }
    sim_link_reboot(link);
    return cJSON_CreateTrue();
}

static cJSON *op_plug(struct ground *ground, const struct json_at *at, struct error *err)
{
    (void)at;
    (void)err;
    world_plug(ground->world, true);
    return cJSON_CreateBool(world_plugged(ground->world));
}

static cJSON *op_unplug(struct ground *ground, const struct json_at *at, struct error *err)
{
    (void)at;
    (void)err;
    world_plug(ground->world, false);
    return cJSON_CreateBool(world_plugged(ground->world));
}

static cJSON *op_contact(struct ground *ground, const struct json_at *at, struct error *err)
{
    static const char *const states[] = { "good", "open", "short", NULL };
    const char *name = json_string(at, "net", true, "");
    int state = json_choice(at, "state", true, states, -1);
    struct world_net *net = world_net_find(ground->world, name);
    if (!net || state < 0) {
        error_set(err, ERR_INVALID, net ? "state is good, open or short" : "no net %s", name);
        return NULL;
    }
    world_contact(ground->world, net, state);
    return cJSON_CreateTrue();
}

static cJSON *op_ambient(struct ground *ground, const struct json_at *at, struct error *err)
{
    (void)err;
    world_set_ambient(ground->world, json_double(at, "celsius", true, -60, 200, 25));
    return cJSON_CreateTrue();
}

static cJSON *op_quit(struct ground *ground, const struct json_at *at, struct error *err)
{
    (void)at;
    (void)err;
    sim_loop_stop(ground->loop);
    return cJSON_CreateTrue();
}

static const struct {
    const char *name;
    operation run;
} operations[] = {
    { "truth", op_truth },     { "outputs", op_outputs }, { "now", op_now },       { "fault", op_fault },
    { "reboot", op_reboot },   { "plug", op_plug },       { "unplug", op_unplug }, { "contact", op_contact },
    { "ambient", op_ambient }, { "quit", op_quit },
};

static cJSON *answer(struct ground *ground, const char *line, size_t n, struct error *err)
{
    cJSON *root = NULL, *result = NULL;
    struct json_problems *problems = calloc(1, sizeof *problems);
    if (!problems || json_parse(line, n, &root, err)) {
        free(problems);
        return NULL;
    }
    struct json_at at = json_root(root, problems);
    const char *name = json_string(&at, "op", true, "");
    operation run = NULL;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operations[i].name, name) == 0)
            run = operations[i].run;
    if (run)
        result = run(ground, &at, err);
    else
        error_set(err, ERR_UNSUPPORTED, "no operation %s", name);
    if (result && problems->count) {
        json_problems_error(problems, "control", err);
        cJSON_Delete(result);
        result = NULL;
    }
    cJSON_Delete(root);
    free(problems);
    return result;
}

/* Tests read their answers: a peer that does not is dropped rather than waited for. */
static bool reply(struct ground *ground, int fd, const char *line, size_t n)
{
    struct error err = { 0 };
    cJSON *result = answer(ground, line, n, &err);
    cJSON *root = cJSON_CreateObject();
    cJSON_AddBoolToObject(root, "ok", result != NULL);
    if (result)
        cJSON_AddItemToObject(root, "result", result);
    else
        cJSON_AddStringToObject(root, "error", err.message);
    char *text = json_print(root, false);
    cJSON_Delete(root);
    if (!text)
        return false;
    size_t length = strlen(text), done = 0;
    text[length] = '\n'; /* in place of the NUL: the length is kept */
    bool ok = true;
    while (ok && done <= length) {
        ssize_t count = send(fd, text + done, length + 1 - done, MSG_NOSIGNAL);
        if (count > 0)
            done += (size_t)count;
        else
            ok = count < 0 && errno == EINTR;
    }
    free(text);
    return ok;
}

static void drop(struct ground *ground, struct ground_client *client)
{
    sim_fd_remove(ground->loop, client->fd);
    close(client->fd);
    client->fd = -1;
}

static void on_client(void *context, int fd, uint32_t events)
{
    (void)events;
    struct ground *ground = context;
    struct ground_client *client = NULL;
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (ground->client[i].fd == fd)
            client = &ground->client[i];
    if (!client)
        return;
    ssize_t n = recv(fd, client->line + client->n, sizeof client->line - client->n, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(ground, client);
        return;
    }
    client->n += (size_t)n;
    for (;;) {
        char *end = memchr(client->line, '\n', client->n);
        if (!end && client->n < sizeof client->line)
            return;
        if (!end || !reply(ground, fd, client->line, (size_t)(end - client->line))) {
            drop(ground, client);
            return;
        }
        client->n -= (size_t)(end + 1 - client->line);
        memmove(client->line, end + 1, client->n);
    }
}

static void on_accept(void *context, int fd, uint32_t events)
{
    (void)events;
    struct ground *ground = context;
    int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    for (int i = 0; accepted >= 0 && i < CLIENTS_MAX; i++) {
        if (ground->client[i].fd >= 0)
            continue;
        if (sim_fd_add(ground->loop, accepted, EPOLLIN, on_client, ground, NULL))
            break;
        ground->client[i].fd = accepted;
        ground->client[i].n = 0;
        return;
    }
    if (accepted >= 0)
        close(accepted);
}

int ground_open(struct sim_loop *loop, struct world *world, const char *path, struct ground **ret_ground,
                struct error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct ground *ground = calloc(1, sizeof *ground);
    if (!ground)
        return error_set(err, ERR_MEMORY, "control socket");
    int code;
    ground->loop = loop;
    ground->world = world;
    ground->listen_fd = -1;
    for (int i = 0; i < CLIENTS_MAX; i++)
        ground->client[i].fd = -1;
    if (strlen(path) >= sizeof address.sun_path) {
        code = error_set(err, ERR_RANGE, "socket path is too long: %s", path);
        goto failed;
    }
    strcpy(address.sun_path, path);
    unlink(path);
    ground->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (ground->listen_fd < 0 || bind(ground->listen_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(ground->listen_fd, CLIENTS_MAX) < 0) {
        code = error_set_errno(err, errno, "%s", path);
        goto failed;
    }
    strcpy(ground->path, path);
    code = sim_fd_add(loop, ground->listen_fd, EPOLLIN, on_accept, ground, err);
    if (code)
        goto failed;
    *ret_ground = ground;
    return 0;

failed:
    ground_close(ground);
    return code;
}

void ground_close(struct ground *ground)
{
    if (!ground)
        return;
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (ground->client[i].fd >= 0)
            drop(ground, &ground->client[i]);
    if (ground->listen_fd >= 0) {
        sim_fd_remove(ground->loop, ground->listen_fd);
        close(ground->listen_fd);
    }
    if (*ground->path)
        unlink(ground->path);
    free(ground);
}
