/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_modbus: reads through our Modbus driver against the same reads by bare libmodbus, in one run, each
 * from a server of libmodbus in a thread of its own, in turns; the fastest tenth of the rounds counts, which
 * a busy machine disturbs least. A read of the driver is a whole request: it also decodes the value, its
 * uncertainty, mode and trip. */
#include <arpa/inet.h>
#include <modbus/modbus.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/driver.h"
#include "drivers/modbus_line.h"

enum { ROUNDS = 200, READS = 200, REGISTERS = 200 };

struct server {
    int listen_fd, port;
    pthread_t thread;
};

static void *serve(void *argument)
{
    struct server *server = argument;
    modbus_t *context = modbus_new_tcp("127.0.0.1", server->port);
    modbus_mapping_t *map = modbus_mapping_new(0, 0, REGISTERS, REGISTERS);
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    int fd = accept(server->listen_fd, NULL, NULL), n;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    map->tab_registers[0] = 60062; /* an RD6006 */
    modbus_set_socket(context, fd);
    while ((n = modbus_receive(context, request)) >= 0)
        modbus_reply(context, request, n, map);
    close(fd);
    modbus_mapping_free(map);
    modbus_free(context);
    return NULL;
}

static int start(struct server *server)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server->listen_fd, (struct sockaddr *)&address, length) < 0 ||
        listen(server->listen_fd, 2) < 0 ||
        getsockname(server->listen_fd, (struct sockaddr *)&address, &length) < 0)
        return -1;
    server->port = ntohs(address.sin_port);
    return pthread_create(&server->thread, NULL, serve, server);
}

static double bare_round(modbus_t *context, int count)
{
    uint16_t words[REGISTERS];
    int64_t begin_ns = clock_host_now();
    for (int i = 0; i < READS; i++) {
        if (modbus_read_registers(context, 10, count, words) != count)
            return 0;
    }
    return (double)(clock_host_now() - begin_ns) * 1e-9;
}

static double driver_round(void *state)
{
    int64_t begin_ns = clock_host_now();
    for (int i = 0; i < READS; i++) {
        struct message m = { .op = MESSAGE_MEASURE, .channel = 1, .value = { QUANTITY_VOLTAGE } };
        uint8_t payload[16];
        if (driver_modbus.request(state, &m, payload, sizeof payload, NULL))
            return 0;
    }
    return (double)(clock_host_now() - begin_ns) * 1e-9;
}

static int by_number(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(void)
{
    struct server server[2];
    struct transport_env env = { .cut_fd = -1 };
    struct driver_config config = { .name = "rd",
                                    .class = CLASS_PSU,
                                    .dialect_path = "configs/instruments/modbus/riden-rd6006.json" };
    struct error err = { 0 };
    void *state = NULL;
    modbus_line_reserve();
    if (start(&server[0]) || start(&server[1]))
        return 1;
    modbus_t *bare = modbus_new_tcp("127.0.0.1", server[0].port);
    if (modbus_connect(bare) < 0)
        return 1;
    snprintf(config.resource, sizeof config.resource, "modbus-tcp:127.0.0.1:%d", server[1].port);
    if (clock_open(NULL, &env.clock, &err) || clock_actor_open(env.clock, "bench", 0, &env.actor, &err) ||
        driver_modbus.open(&config, &env, &state, &err)) {
        fprintf(stderr, "bench_modbus: %s\n", err.message);
        return 1;
    }
    static double bare_s[ROUNDS], driver_s[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        bare_s[i] = bare_round(bare, 9); /* both read registers 10 .. 18 */
        driver_s[i] = driver_round(state);
        if (bare_s[i] <= 0 || driver_s[i] <= 0)
            return 1;
    }
    qsort(bare_s, ROUNDS, sizeof *bare_s, by_number);
    qsort(driver_s, ROUNDS, sizeof *driver_s, by_number);
    double ratio = bare_s[ROUNDS / 10] / driver_s[ROUNDS / 10];
    printf("modbus: %.0f reads/s through the driver, %.0f by bare libmodbus (fastest tenth of %d rounds); "
           "ratio %.2f, aim 0.90%s\n",
           READS / driver_s[ROUNDS / 10], READS / bare_s[ROUNDS / 10], ROUNDS, ratio,
           ratio < 0.9 ? ": missed" : "");
    driver_modbus.close(state);
    modbus_close(bare);
    modbus_free(bare);
    for (int i = 0; i < 2; i++) {
        pthread_join(server[i].thread, NULL);
        close(server[i].listen_fd);
    }
    clock_actor_close(env.actor);
    clock_close(env.clock);
    return 0;
}
