/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * bench_file: reading and checking of bench files: instruments, what their dialects say about their channels,
 * and how the fixture wires them to rails, test bus and SPI. Touches no hardware. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drivers/driver.h"
#include "instruments/bench_private.h"
#include "instruments/interlock.h"

static const char *const CLASSES[] = { [CLASS_PSU] = "psu",
                                       [CLASS_SMU] = "smu",
                                       [CLASS_DMM] = "dmm",
                                       [CLASS_SPI] = "spi",
                                       [CLASS_CHAMBER] = "chamber",
                                       [CLASS_LA] = "la",
                                       NULL };

/* Folder of the bench file with its trailing slash, or "". */
static int folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (int)(slash - path) + 1 : 0;
}

void bench_dialect_path(const struct bench_file *file, const char *dialect, char *out, size_t size)
{
    out[0] = '\0';
    if (!dialect[0])
        return;
    snprintf(out, size, "%.*s../instruments/%s.json", folder(file->path), file->path, dialect);
    if (access(out, R_OK) != 0)
        snprintf(out, size, "configs/instruments/%s.json", dialect);
}

static void copy(char *out, size_t size, const struct json_at *at, const char *key, bool required,
                 const char *fallback)
{
    const char *text = json_string(at, key, required, fallback);
    if (strlen(text) >= size) {
        struct json_at member = json_member(at, key, false);
        json_problem(&member, "", "longer than %zu characters", size - 1);
    }
    snprintf(out, size, "%s", text);
}

static int find_instrument(const struct bench_file *file, const char *name)
{
    for (int i = 0; i < file->instrument_count; i++) {
        if (strcmp(file->instrument[i].name, name) == 0)
            return i;
    }
    return -1;
}

static void add_channels(struct bench_file *file, int instrument,
                         const struct driver_description *description, const struct json_at *at)
{
    for (int i = 0; i < description->channel_count; i++) {
        if (file->channel_count == BENCH_CHANNELS_MAX) {
            json_problem(at, "", "more than %d channels on the bench", BENCH_CHANNELS_MAX);
            return;
        }
        struct bench_channel *ch = &file->channel[file->channel_count];
        *ch = description->channel[i];
        ch->index = file->channel_count++;
        ch->instrument = instrument;
        char name[BENCH_NAME_MAX + 16];
        snprintf(name, sizeof name, "%s.%d", file->instrument[instrument].name, ch->number);
        snprintf(ch->name, sizeof ch->name, "%.*s", (int)sizeof ch->name - 1, name);
    }
}

/* The dialect beside which the wrong name was meant, or NULL; in `room`. */
static const char *nearest_dialect(const struct bench_file *file, const char *wrong,
                                   char room[BENCH_NAME_MAX])
{
    enum { DIALECTS_MAX = 200 };
    const char *names[DIALECTS_MAX + 1] = { NULL };
    char path[sizeof file->path + 32];
    struct dirent **entries = NULL;
    int count = 0;

    snprintf(path, sizeof path, "%.*s../instruments", folder(file->path), file->path);
    int found = scandir(path, &entries, NULL, alphasort);
    if (found < 0)
        found = scandir("configs/instruments", &entries, NULL, alphasort);
    for (int i = 0; i < found && count < DIALECTS_MAX; i++) {
        char *end = strstr(entries[i]->d_name, ".json");
        if (end == NULL)
            continue;
        *end = '\0';
        names[count++] = entries[i]->d_name;
    }
    const char *nearest = json_nearest(wrong, names);
    snprintf(room, BENCH_NAME_MAX, "%.*s", BENCH_NAME_MAX - 1, nearest ? nearest : "");
    for (int i = 0; i < found; i++)
        free(entries[i]);
    free(entries);
    return nearest ? room : NULL;
}

static void describe(struct bench_file *file, int index, const struct json_at *at)
{
    struct bench_instrument *in = &file->instrument[index];
    const struct driver *driver = driver_find(in->driver);
    if (!driver) {
        struct json_at member = json_member(at, "driver", false);
        json_problem(&member, json_nearest(in->driver, driver_names()), "no driver '%s'", in->driver);
        return;
    }
    if (!(driver->classes & 1u << in->class))
        json_problem(at, "", "driver '%s' serves no instrument of class '%s'", in->driver,
                     CLASSES[in->class]);
    if (driver->takes_dialect != (in->dialect[0] != '\0')) {
        json_problem(at, "",
                     driver->takes_dialect ? "driver '%s' needs a \"dialect\""
                                           : "driver '%s' takes no dialect",
                     in->driver);
        return;
    }
    struct driver_config config = { .class = in->class };
    struct driver_description description;
    struct error err = { 0 };
    snprintf(config.resource, sizeof config.resource, "%s", in->resource);
    bench_dialect_path(file, in->dialect, config.dialect_path, sizeof config.dialect_path);
    if (driver->describe(&config, &description, NULL, &err)) {
        struct json_at member = json_member(at, driver->takes_dialect ? "dialect" : "resource", false);
        char room[BENCH_NAME_MAX];
        const char *nearest =
            access(config.dialect_path, R_OK) ? nearest_dialect(file, in->dialect, room) : NULL;
        json_problem(&member, nearest ? nearest : "", "%.230s", err.message);
        return;
    }
    in->energises = description.energises;
    add_channels(file, index, &description, at);
}

/* Whether the two can have one line between them; says what is in the way. */
static void share_line(struct bench_file *file, int earlier, int index, const struct driver_line *theirs,
                       const struct driver_line *ours, const struct json_at *at)
{
    const struct bench_instrument *other = &file->instrument[earlier];
    struct json_at member = json_member(at, "resource", false);
    if (strcmp(theirs->settings, ours->settings) != 0)
        json_problem(&member, theirs->settings, "shares the line of '%s', but not its settings: %s",
                     other->name, ours->settings);
    for (int i = 0; i < ours->address_count * theirs->address_count; i++) {
        int address = ours->address[i / theirs->address_count];
        if (address == theirs->address[i % theirs->address_count])
            json_problem(&member, "", "unit %d of that line is '%s' already", address, other->name);
    }
    if (json_member(at, "interpose", false).node)
        json_problem(at, "", "shares the line of '%s': its layers belong there", other->name);
    file->instrument[index].line_of = other->line_of ? other->line_of : earlier + 1;
}

static void find_line(struct bench_file *file, int index, const struct json_at *at)
{
    struct bench_instrument *in = &file->instrument[index];
    const struct driver *driver = driver_find(in->driver);
    struct driver_line ours, theirs;
    if (!driver || !driver->line || driver->line(in->resource, &ours, NULL))
        return;
    for (int i = 0; i < index; i++) {
        const struct driver *other = driver_find(file->instrument[i].driver);
        if (other && other->line && other->line(file->instrument[i].resource, &theirs, NULL) == 0 &&
            strcmp(theirs.name, ours.name) == 0)
            share_line(file, i, index, &theirs, &ours, at);
    }
}

/* One port, so one process: what can energise takes the whole line to the keeper. */
static void keep_lines_together(struct bench_file *file)
{
    for (int i = 0; i < file->instrument_count; i++) {
        struct bench_instrument *in = &file->instrument[i];
        if (in->line_of)
            file->instrument[in->line_of - 1].energises |= in->energises;
    }
    for (int i = 0; i < file->instrument_count; i++) {
        struct bench_instrument *in = &file->instrument[i];
        if (in->line_of)
            in->energises = file->instrument[in->line_of - 1].energises;
    }
}

static void read_interpose(struct bench_instrument *in, const struct json_at *at)
{
    const struct driver *driver = driver_find(in->driver);
    struct json_at list = json_member(at, "interpose", false);
    if (!list.node || !driver)
        return;
    if (driver->link == DRIVER_OWN) {
        json_problem(&list, "", "driver '%s' opens a device of its own: no layer fits between", in->driver);
        return;
    }
    in->interpose = malloc(sizeof *in->interpose);
    if (in->interpose)
        interpose_read(&list, driver->link == DRIVER_LINES, in->interpose);
    else
        json_problem(&list, "", "no memory for its layers");
}

static void read_instrument(struct bench_file *file, const struct json_at *at)
{
    static const char *const KNOWN[] = { "name",     "class",  "driver", "dialect",   "resource", "identity",
                                         "simulate", "spi_hz", "notes",  "interpose", NULL };
    static const char *const IDENTITY[] = { "vendor", "model", "serial", NULL };
    int index = file->instrument_count;
    struct bench_instrument *in = &file->instrument[index];
    json_only(at, KNOWN);
    copy(in->name, sizeof in->name, at, "name", true, "");
    if (find_instrument(file, in->name) >= 0)
        json_problem(at, "", "instrument '%s' is there twice", in->name);
    file->instrument_count++;
    in->class = json_choice(at, "class", true, CLASSES, CLASS_PSU);
    copy(in->driver, sizeof in->driver, at, "driver", true, "");
    copy(in->dialect, sizeof in->dialect, at, "dialect", false, "");
    copy(in->resource, sizeof in->resource, at, "resource", true, "");
    if (strncmp(in->resource, "sim:", 4) == 0 && !file->simulated) {
        struct json_at member = json_member(at, "resource", false);
        json_problem(&member, "\"simulated\": true", "'sim:' on a bench that is not simulated");
    }
    struct json_at identity = json_member(at, "identity", false);
    if (identity.node) {
        json_only(&identity, IDENTITY);
        copy(in->vendor, sizeof in->vendor, &identity, "vendor", false, "");
        copy(in->model, sizeof in->model, &identity, "model", false, "");
        copy(in->serial, sizeof in->serial, &identity, "serial", false, "any");
    }
    describe(file, index, at);
    read_interpose(in, at);
    find_line(file, index, at);
}

static void read_instruments(struct bench_file *file, const struct json_at *root)
{
    struct json_at list = json_member(root, "instruments", true);
    if (json_count(&list) > BENCH_INSTRUMENTS_MAX)
        json_problem(&list, "", "more than %d instruments", BENCH_INSTRUMENTS_MAX);
    for (int i = 0; i < json_count(&list) && i < BENCH_INSTRUMENTS_MAX; i++) {
        struct json_at at = json_element(&list, i);
        read_instrument(file, &at);
    }
}

/* {"instrument": ..., "channel": n} to the index of a channel; -1 with a problem reported. */
static int read_channel(struct bench_file *file, const struct json_at *at)
{
    static const char *const KNOWN[] = { "instrument", "channel", NULL };
    if (!at->node)
        return -1;
    json_only(at, KNOWN);
    const char *name = json_string(at, "instrument", true, "");
    int number = (int)json_integer(at, "channel", true, 1, 999, 1);
    int instrument = find_instrument(file, name);
    if (instrument < 0) {
        const char *names[BENCH_INSTRUMENTS_MAX + 1] = { NULL };
        for (int i = 0; i < file->instrument_count; i++)
            names[i] = file->instrument[i].name;
        json_problem(at, json_nearest(name, names), "no instrument '%s'", name);
        return -1;
    }
    for (int i = 0; i < file->channel_count; i++) {
        if (file->channel[i].instrument == instrument && file->channel[i].number == number)
            return i;
    }
    json_problem(at, "", "instrument '%s' has no channel %d", name, number);
    return -1;
}

static void read_rails(struct bench_file *file, const struct json_at *root)
{
    struct json_at rails = json_member(root, "rails", false);
    for (int i = 0; i < json_count(&rails); i++) {
        const char *rail = cJSON_GetArrayItem(rails.node, i)->string;
        struct json_at at = json_member(&rails, rail ? rail : "", false);
        int index = read_channel(file, &at);
        if (index < 0)
            continue;
        struct bench_channel *ch = &file->channel[index];
        if (!ch->can_source)
            json_problem(&at, "", "%s cannot feed a rail", ch->name);
        else if (ch->rail[0])
            json_problem(&at, "", "%s feeds %s already", ch->name, ch->rail);
        else if (strlen(rail) >= sizeof ch->rail)
            json_problem(&at, "", "rail name is longer than %zu characters", sizeof ch->rail - 1);
        else
            snprintf(ch->rail, sizeof ch->rail, "%s", rail);
    }
}

static void read_test_bus(struct bench_file *file, const struct json_at *root)
{
    static const char *const KNOWN[] = { "source", "meter", "net", NULL };
    struct json_at bus = json_member(root, "test_bus", false);
    if (!bus.node)
        return;
    json_only(&bus, KNOWN);
    struct json_at source = json_member(&bus, "source", false), meter = json_member(&bus, "meter", false);
    file->source_channel = read_channel(file, &source);
    file->meter_channel = read_channel(file, &meter);
    if (file->source_channel >= 0 && !file->channel[file->source_channel].can_source)
        json_problem(&source, "", "%s is no source", file->channel[file->source_channel].name);
    if (file->source_channel >= 0 && file->channel[file->source_channel].rail[0])
        json_problem(&source, "", "%s feeds rail %s", file->channel[file->source_channel].name,
                     file->channel[file->source_channel].rail);
}

static void read_spi(struct bench_file *file, const struct json_at *root)
{
    static const char *const KNOWN[] = { "instrument", NULL };
    struct json_at spi = json_member(root, "spi", false);
    if (!spi.node)
        return;
    json_only(&spi, KNOWN);
    const char *name = json_string(&spi, "instrument", true, "");
    int index = find_instrument(file, name);
    if (index < 0 || file->instrument[index].class != CLASS_SPI) {
        json_problem(&spi, "", "no instrument '%s' of class 'spi'", name);
        return;
    }
    file->spi_instrument = index;
    struct json_at list = json_member(root, "instruments", true);
    struct json_at at = json_element(&list, index);
    file->spi_hz = json_double(&at, "spi_hz", true, 1, 1e9, 1e6);
}

/* "logic": which pin of the chip is wired to which input of the analyzer. */
static void read_logic(struct bench_file *file, const struct json_at *root)
{
    static const char *const KNOWN[] = { "instrument", "inputs", NULL };
    struct json_at logic = json_member(root, "logic", false);
    if (!logic.node)
        return;
    json_only(&logic, KNOWN);
    const char *name = json_string(&logic, "instrument", true, "");
    int index = find_instrument(file, name);
    if (index < 0 || file->instrument[index].class != CLASS_LA) {
        json_problem(&logic, "", "no instrument '%s' of class 'la'", name);
        return;
    }
    file->logic_instrument = index;
    struct json_at inputs = json_member(&logic, "inputs", true);
    if (json_count(&inputs) > BENCH_INPUTS_MAX)
        json_problem(&inputs, "", "more than %d inputs", BENCH_INPUTS_MAX);
    for (int i = 0; i < json_count(&inputs) && i < BENCH_INPUTS_MAX; i++) {
        struct bench_input *input = &file->logic[file->logic_count];
        const char *pin = cJSON_GetArrayItem(inputs.node, i)->string;
        if (!pin || strlen(pin) >= sizeof input->pin) {
            json_problem(&inputs, "{\"IRQ\": 0}", "pin %d has no name, or one that is too long", i);
            continue;
        }
        snprintf(input->pin, sizeof input->pin, "%s", pin);
        input->input = (int)json_integer(&inputs, pin, true, 0, BENCH_INPUTS_MAX - 1, 0);
        for (int other = 0; other < file->logic_count; other++) {
            if (file->logic[other].input == input->input)
                json_problem(&inputs, "", "%s and %s are both wired to input %d", file->logic[other].pin, pin,
                             input->input);
        }
        file->logic_count++;
    }
}

/* A path in the file is meant from the working directory or, failing that, from the folder above configs/. */
static void read_chip(struct bench_file *file, const struct json_at *root)
{
    static const char *const KNOWN[] = { "profile", "simulate", "notes", NULL };
    struct json_at chip = json_member(root, "chip", false);
    if (!chip.node)
        return;
    json_only(&chip, KNOWN);
    copy(file->profile_path, sizeof file->profile_path, &chip, "profile", true, "");
    char beside[sizeof file->profile_path + sizeof file->path + 8];
    snprintf(beside, sizeof beside, "%.*s../../%s", folder(file->path), file->path, file->profile_path);
    if (access(file->profile_path, R_OK) != 0 && access(beside, R_OK) == 0 &&
        strlen(beside) < sizeof file->profile_path)
        memcpy(file->profile_path, beside, strlen(beside) + 1);
}

/* The rules are kept by the keeper (daemon/keeper/observer.c); here they are only checked. A chamber that a
 * rule watches belongs to the keeper, which alone can act on it. */
static void read_interlocks(struct bench_file *file, const struct json_at *root)
{
    struct json_at list = json_member(root, "interlocks", false);
    struct interlocks *locks = list.node ? malloc(sizeof *locks) : NULL;
    if (!locks)
        return;
    interlocks_init(locks, file);
    interlocks_read(locks, &list);
    for (int i = 0; i < file->instrument_count; i++)
        file->instrument[i].energises |= interlocks_watch_instrument(locks, i);
    free(locks);
}

/* What is done between the points of every sweep on this bench. The steps are a campaign's business, and
 * checked with each; by its name a campaign replaces one. */
static void read_rules(const struct json_at *root)
{
    static const char *const KNOWN[] = { "name", "every", "steps", NULL };
    struct json_at list = json_member(root, "rules", false);
    int count = json_count(&list);
    if (list.node && (!cJSON_IsArray(list.node) || count > BENCH_RULES_MAX)) {
        json_problem(
            &list,
            "[ { \"name\": \"daily\", \"every\": \"24h\", \"steps\": [ { \"step\": \"calibrate\" } ] } ]",
            "must be a list of at most %d rules", BENCH_RULES_MAX);
        return;
    }
    for (int i = 0; i < count; i++) {
        struct json_at item = json_element(&list, i), name = json_member(&item, "name", false);
        const char *text = json_string(&item, "name", true, "");
        json_only(&item, KNOWN);
        json_string(&item, "every", true, "");
        json_member(&item, "steps", true);
        for (int k = 0; k < i && text[0]; k++) {
            const cJSON *other = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(list.node, k), "name");
            if (cJSON_IsString(other) && strcmp(other->valuestring, text) == 0)
                json_problem(&name, "", "rule %d is called \"%.60s\", too", k, text);
        }
    }
}

static void read_all(struct bench_file *file, const struct json_at *root)
{
    static const char *const KNOWN[] = { "format",     "version",     "name",  "socket",
                                         "simulated",  "instruments", "rails", "spi",
                                         "test_bus",   "leads",       "chip",  "notes",
                                         "interlocks", "logic",       "rules", NULL };
    static const char *const FORMAT[] = { "nightbench-bench", NULL };
    json_only(root, KNOWN);
    json_choice(root, "format", true, FORMAT, 0);
    json_integer(root, "version", true, 1, 1, 1);
    copy(file->name, sizeof file->name, root, "name", true, "");
    copy(file->socket, sizeof file->socket, root, "socket", true, "");
    file->simulated = json_boolean(root, "simulated", true, false);
    file->spi_instrument = file->logic_instrument = file->source_channel = file->meter_channel = -1;
    read_instruments(file, root);
    read_rails(file, root);
    read_test_bus(file, root);
    read_spi(file, root);
    read_logic(file, root);
    read_chip(file, root);
    read_interlocks(file, root);
    read_rules(root);
    keep_lines_together(file);
}

int bench_file_load(const char *path, struct bench_file **ret_file, struct json_problems *problems,
                    struct error *err)
{
    struct bench_file *file = calloc(1, sizeof *file);
    if (!file)
        return error_set(err, ERR_MEMORY, "bench file %s", path);
    if (strlen(path) >= sizeof file->path) {
        free(file);
        return error_set(err, ERR_RANGE, "path of the bench file is longer than %zu characters",
                         sizeof file->path - 1);
    }
    snprintf(file->path, sizeof file->path, "%s", path);
    cJSON *root = NULL;
    int code = json_load(path, &root, err);
    if (code)
        goto failed;
    struct json_problems *own = problems ? NULL : calloc(1, sizeof *own);
    struct json_problems *into = problems ? problems : own;
    if (!into) {
        code = error_set(err, ERR_MEMORY, "bench file %s", path);
        goto failed;
    }
    struct json_at at = json_root(root, into);
    int before = into->count;
    read_all(file, &at);
    code = into->count > before ? json_problems_error(into, path, err) : 0;
    free(own);
    if (code)
        goto failed;
    file->json = json_print(root, false);
    if (!file->json) {
        code = error_set(err, ERR_MEMORY, "bench file %s", path);
        goto failed;
    }
    cJSON_Delete(root);
    *ret_file = file;
    return 0;

failed:
    cJSON_Delete(root);
    bench_file_free(file);
    return code;
}

void bench_file_free(struct bench_file *file)
{
    if (!file)
        return;
    for (int i = 0; i < file->instrument_count; i++)
        free(file->instrument[i].interpose);
    free(file->json);
    free(file);
}

int bench_file_input(const struct bench_file *file, const char *pin)
{
    for (int i = 0; i < file->logic_count; i++) {
        if (strcmp(file->logic[i].pin, pin) == 0)
            return file->logic[i].input;
    }
    return -1;
}

const struct bench_channel *bench_file_rail(const struct bench_file *file, const char *rail)
{
    for (int i = 0; i < file->channel_count; i++) {
        if (file->channel[i].rail[0] && strcmp(file->channel[i].rail, rail) == 0)
            return &file->channel[i];
    }
    return NULL;
}
