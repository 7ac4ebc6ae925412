/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * simbench: reads what the simulator needs of a bench file and of a chip profile, and wires the virtual
 * bench. Other members of these files are the daemon's business and are not looked at. */
#include "drivers/sim/simbench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/text.h"
#include "drivers/sim/chipmodel.h"
#include "drivers/sim/device.h"

static const double RAIL_MIN_V = -0.3;      /* rating of a rail whose profile states none [K: usual] */
static const double TEST_BUS_F = 100e-12;   /* cable and pad */
static const double KELVIN_PER_WATT = 30.0; /* die to ambient, a small package in a socket [K: order] */
static const double THERMAL_TAU_S = 2.0;
enum { PATH_MAX_BYTES = 512 };

struct simbench {
    struct sim_loop *loop;
    struct world *world;
    cJSON *root, *profile;
    struct {
        const struct sim_device_model *model;
        void *device;
        struct sim_link *link;
    } item[SIM_LINKS_MAX];
    int item_n;
    cJSON *empty; /* stands in for absent "simulate" objects */
};

/* ---- Nets ---- */

static const cJSON *profile_rail(const struct simbench *bench, const char *name)
{
    const cJSON *rail;
    cJSON_ArrayForEach(rail, cJSON_GetObjectItemCaseSensitive(bench->profile, "rails"))
    {
        const cJSON *own = cJSON_GetObjectItemCaseSensitive(rail, "name");
        if (cJSON_IsString(own) && strcmp(own->valuestring, name) == 0)
            return rail;
    }
    return NULL;
}

static int net_kind(const char *role)
{
    static const struct {
        const char *role;
        int kind;
    } kinds[] = { { "io", WORLD_RAIL_IO }, { "bias", WORLD_BIAS }, { "reference", WORLD_REFERENCE } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(role, kinds[i].role) == 0)
            return kinds[i].kind;
    return WORLD_RAIL;
}

static int add_rail(struct simbench *bench, const char *name, struct json_problems *problems,
                    struct error *err)
{
    struct world_net *net;
    struct json_at at = json_root(profile_rail(bench, name), problems);
    struct world_net_options options = { .name = name, .abs_min_v = RAIL_MIN_V };
    if (at.node) {
        options.kind = net_kind(json_string(&at, "role", false, "core"));
        options.abs_max_v = json_double(&at, "abs_max_v", true, 0, 1000, 0);
        options.abs_min_v = json_double(&at, "abs_min_v", false, -1000, 0, RAIL_MIN_V);
    }
    return world_net_add(bench->world, &options, &net, err);
}

static int add_nets(struct simbench *bench, const struct json_at *root, struct json_problems *problems,
                    struct error *err)
{
    const cJSON *rail;
    struct json_at rails = json_member(root, "rails", true), bus = json_member(root, "test_bus", false);
    cJSON_ArrayForEach(rail, rails.node)
    {
        int code = add_rail(bench, rail->string, problems, err);
        if (code)
            return code;
    }
    if (!bus.node)
        return 0;
    struct world_net *net;
    struct world_net_options options = { .name = json_string(&bus, "net", false, "ATB0"),
                                         .kind = WORLD_TEST_BUS,
                                         .capacitance_f = TEST_BUS_F };
    return world_net_add(bench->world, &options, &net, err);
}

/* ---- Wires ---- */

/* Adds the wire when this place names that instrument. */
static void add_wire(struct simbench *bench, const struct json_at *root, const struct json_at *place,
                     const char *net, struct sim_device_setup *setup)
{
    if (!place->node || strcmp(json_string(place, "instrument", true, ""), setup->name) != 0)
        return;
    if (setup->wire_count == SIM_WIRES_MAX) {
        json_problem(place, "", "more than %d channels of %s are wired", SIM_WIRES_MAX, setup->name);
        return;
    }
    struct json_at leads = json_member(root, "leads", false), lead = json_member(&leads, net, false);
    setup->wire[setup->wire_count++] =
        (struct sim_wire){ .channel = (int)json_integer(place, "channel", false, 1, 64, 1),
                           .net = world_net_find(bench->world, net),
                           .lead_ohm = json_double(&lead, "ohm", false, 0, 1000, 0),
                           .remote_sense = json_boolean(&lead, "remote_sense", false, false) };
}

static void add_wires(struct simbench *bench, const struct json_at *root, struct sim_device_setup *setup)
{
    const cJSON *rail;
    struct json_at rails = json_member(root, "rails", true), bus = json_member(root, "test_bus", false);
    cJSON_ArrayForEach(rail, rails.node)
    {
        struct json_at place = json_member(&rails, rail->string, true);
        add_wire(bench, root, &place, rail->string, setup);
    }
    if (!bus.node)
        return;
    const char *net = json_string(&bus, "net", false, "ATB0");
    struct json_at source = json_member(&bus, "source", false), meter = json_member(&bus, "meter", false);
    add_wire(bench, root, &source, net, setup);
    add_wire(bench, root, &meter, net, setup);
}

/* Which line each input of an analyzer is on. */
static void add_pins(const struct json_at *root, struct sim_device_setup *setup)
{
    struct json_at logic = json_member(root, "logic", false), inputs = json_member(&logic, "inputs", false);
    const cJSON *input;
    if (!logic.node || strcmp(json_string(&logic, "instrument", true, ""), setup->name) != 0)
        return;
    cJSON_ArrayForEach(input, inputs.node)
    {
        int index = (int)json_integer(&inputs, input->string, true, 0, SIM_PINS_MAX - 1, 0);
        setup->pin[index] = input->string;
    }
}

/* ---- Devices ---- */

/* The line that "sim:LINE?..." names, or NULL. */
static const char *line_name(const struct json_at *at, char room[64])
{
    const char *resource = json_string(at, "resource", false, "");
    if (strncmp(resource, "sim:", 4) != 0 || strcspn(resource + 4, "?") == 0)
        return NULL;
    snprintf(room, 64, "%.*s", (int)strcspn(resource + 4, "?"), resource + 4);
    return room;
}

/* The link of a device of the same protocol that is on that line already, or NULL. */
static struct sim_link *line_of(const struct simbench *bench, const char *line,
                                const struct sim_device_model *model)
{
    for (int i = 0; line && i < bench->item_n; i++)
        if (strcmp(sim_link_name(bench->item[i].link), line) == 0 &&
            bench->item[i].model->ops.on_bytes == model->ops.on_bytes && model->attach)
            return bench->item[i].link;
    return NULL;
}

static int add_device(struct simbench *bench, const struct simbench_options *options,
                      const struct json_at *root, const struct json_at *at, struct error *err)
{
    static const char *const link_kinds[] = { "tcp", "pty", NULL };
    struct json_at simulate = json_member(at, "simulate", false);
    const char *name = json_string(at, "name", true, "");
    const char *model_name = json_string(&simulate, "model", true, "");
    if (!simulate.node && strncmp(json_string(at, "resource", true, ""), "sim:", 4) != 0)
        return 0; /* it is real, or simulates itself (sigrok:demo) */
    if (bench->item_n == SIM_LINKS_MAX)
        return error_set(err, ERR_FULL, "more than %d instruments", SIM_LINKS_MAX);
    const struct sim_device_model *model = sim_model_find(model_name);
    if (!model) {
        json_problem(&simulate, json_nearest(model_name, sim_model_names()), "no simulated model \"%s\"",
                     model_name);
        return 0;
    }
    struct sim_device_setup setup = { .name = name,
                                      .options = simulate.node ? simulate.node : bench->empty,
                                      .seed = options->seed,
                                      .loop = bench->loop,
                                      .world = bench->world };
    add_wires(bench, root, &setup);
    add_pins(root, &setup);
    char room[64];
    const char *line = line_name(at, room);
    struct sim_link *shared = line_of(bench, line, model);
    struct sim_link_options link = {
        .name = line ? line : name,
        .kind = json_choice(&simulate, "link", false, link_kinds, model->default_link),
        .port = (int)json_integer(&simulate, "port", false, 0, 65535, 0),
        .clients_max = (int)json_integer(&simulate, "clients", false, 1, SIM_CLIENTS_MAX, model->clients_max),
        .whole = json_boolean(&simulate, "whole", false, options->whole)
    };
    void *device;
    int code = model->open(&setup, &device, err);
    if (code)
        return error_prefix(err, "%s", name);
    bench->item[bench->item_n].model = model;
    bench->item[bench->item_n].device = device;
    bench->item[bench->item_n++].link = shared;
    if (!shared)
        code =
            sim_link_open(bench->loop, &link, &model->ops, device, &bench->item[bench->item_n - 1].link, err);
    if (!code && model->attach)
        model->attach(device, bench->item[bench->item_n - 1].link);
    return code;
}

static int write_links(const struct simbench *bench, const char *dir, struct error *err)
{
    char path[PATH_MAX_BYTES];
    cJSON *root = cJSON_CreateObject();
    for (int i = 0; i < bench->item_n; i++)
        if (!cJSON_HasObjectItem(root, sim_link_name(bench->item[i].link)))
            cJSON_AddStringToObject(root, sim_link_name(bench->item[i].link),
                                    sim_link_resource(bench->item[i].link));
    char *text = json_print(root, true);
    cJSON_Delete(root);
    if (!text)
        return error_set(err, ERR_MEMORY, "links.json");
    snprintf(path, sizeof path, "%s/links.json", dir);
    int code = text_write_file(path, text, strlen(text), err);
    free(text);
    return code;
}

/* ---- The chip ---- */

/* Lays objects over objects, member by member. */
static void overlay(cJSON *base, const cJSON *over)
{
    const cJSON *member;
    cJSON_ArrayForEach(member, over)
    {
        cJSON *own = cJSON_GetObjectItemCaseSensitive(base, member->string);
        if (cJSON_IsObject(own) && cJSON_IsObject(member))
            overlay(own, member);
        else {
            cJSON_DeleteItemFromObjectCaseSensitive(base, member->string);
            cJSON_AddItemToObject(base, member->string, cJSON_Duplicate(member, true));
        }
    }
}

static int overlay_text(cJSON *chip, const char *text, struct error *err)
{
    cJSON *over;
    if (!text)
        return 0;
    int code = json_parse(text, strlen(text), &over, err);
    if (code)
        return error_prefix(err, "--chip"), code;
    if (!cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(chip, "simulate")))
        cJSON_AddItemToObject(chip, "simulate", cJSON_CreateObject());
    overlay(cJSON_GetObjectItemCaseSensitive(chip, "simulate"), over);
    cJSON_Delete(over);
    return 0;
}

/* As written, or beside the folder of the bench file ("configs/benches/x.json" names "configs/chips/y.json").
 */
static void find_profile(const char *bench_path, const char *profile, char *path, size_t size)
{
    char installed[PATH_MAX_BYTES];
    snprintf(path, size, "%s", text_find_file(profile, installed, sizeof installed));
    if (access(path, R_OK) == 0 || *profile == '/')
        return;
    /* When none is there, the last one tried is named by the error. */
    char folder[PATH_MAX_BYTES];
    snprintf(folder, sizeof folder, "%s", bench_path);
    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(folder, '/');
        if (!slash)
            return;
        *slash = '\0';
        if (snprintf(path, size, "%s/%s", folder, profile) < (int)size && access(path, R_OK) == 0)
            return;
    }
}

static int add_chip(struct simbench *bench, const struct simbench_options *options,
                    const struct json_at *root, const char *profile_path, struct error *err)
{
    struct json_at chip = json_member(root, "chip", false), simulate = json_member(&chip, "simulate", false);
    if (!simulate.node)
        return 0; /* an empty socket, or a bridge with something else behind it */
    const char *name = json_string(&simulate, "model", true, "");
    const struct chip_model *model = chip_model_find(name);
    if (!model) {
        json_problem(&simulate, "", "no simulated chip \"%s\"", name);
        return 0;
    }
    int die = (int)json_integer(&simulate, "die", false, 0, 1000000, 1);
    struct chip_setup setup = { .profile_path = profile_path,
                                .options = simulate.node,
                                .seed = options->seed,
                                .die = options->die >= 0 ? options->die : die,
                                .loop = bench->loop,
                                .world = bench->world };
    struct json_at population = json_member(&simulate, "population", false);
    if (json_boolean(&population, "self_heating", false, false))
        world_set_thermal(bench->world, KELVIN_PER_WATT, THERMAL_TAU_S);
    int code = world_chip_open(bench->world, model, &setup, err);
    if (!code && !json_boolean(&simulate, "plugged", false, true))
        world_plug(bench->world, false);
    return code;
}

int simbench_open(const struct simbench_options *options, struct sim_loop *loop, struct world *world,
                  struct simbench **ret_bench, struct error *err)
{
    char profile_path[PATH_MAX_BYTES] = "";
    struct simbench *bench = calloc(1, sizeof *bench);
    struct json_problems *problems = calloc(1, sizeof *problems);
    int code = 0;
    if (!bench || !problems) {
        code = error_set(err, ERR_MEMORY, "virtual bench");
        goto failed;
    }
    bench->loop = loop;
    bench->world = world;
    bench->empty = cJSON_CreateObject();
    code = json_load(options->bench_path, &bench->root, err);
    if (code)
        goto failed;
    cJSON *chip = cJSON_GetObjectItemCaseSensitive(bench->root, "chip");
    if (chip)
        code = overlay_text(chip, options->chip_overlay, err);
    const cJSON *profile = cJSON_GetObjectItemCaseSensitive(chip, "profile");
    if (!code && cJSON_IsString(profile)) {
        find_profile(options->bench_path, profile->valuestring, profile_path, sizeof profile_path);
        code = json_load(profile_path, &bench->profile, err);
    }
    struct json_at root = json_root(bench->root, problems);
    if (!code)
        code = add_nets(bench, &root, problems, err);
    struct json_at instruments = json_member(&root, "instruments", true);
    for (int i = 0; !code && i < json_count(&instruments); i++) {
        struct json_at at = json_element(&instruments, i);
        code = add_device(bench, options, &root, &at, err);
    }
    if (!code)
        code = add_chip(bench, options, &root, profile_path, err);
    if (!code && problems->count)
        code = json_problems_error(problems, options->bench_path, err);
    if (!code)
        code = write_links(bench, options->dir, err);
    if (code)
        goto failed;
    free(problems);
    *ret_bench = bench;
    return 0;

failed:
    free(problems);
    simbench_close(bench);
    return code;
}

void simbench_close(struct simbench *bench)
{
    if (!bench)
        return;
    for (int i = 0; i < bench->item_n; i++)
        bench->item[i].model->close(bench->item[i].device);
    cJSON_Delete(bench->root);
    cJSON_Delete(bench->profile);
    cJSON_Delete(bench->empty);
    free(bench);
}
