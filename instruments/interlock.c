/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * interlock: reading of rules, what is known of each channel, and the rules themselves. */
#include "instruments/interlock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_READING INT64_MIN

/* A poll shall not fall on the very instant at which a sampler reads. */
#define POLL_OFFSET_NS (137 * NS_PER_US)

void interlocks_init(struct interlocks *locks, const struct bench_file *file)
{
    *locks = (struct interlocks){ .file = file };
    for (int i = 0; i < BENCH_CHANNELS_MAX; i++) {
        struct interlock_channel *known = &locks->channel[i];
        known->set_v = NAN;
        known->state_ns = NO_READING;
        for (int q = 0; q < INTERLOCK_QUANTITIES; q++) {
            known->value[q] = NAN;
            known->time_ns[q] = known->asked_ns[q] = NO_READING;
        }
    }
}

/* ---- Reading of rules ---- */
static int read_rail(const struct interlocks *locks, const struct json_at *at, bool required)
{
    const char *rail = json_string(at, "rail", required, "");
    const struct bench_channel *ch = rail[0] ? bench_file_rail(locks->file, rail) : NULL;
    if (rail[0] && !ch) {
        struct json_at member = json_member(at, "rail", false);
        json_problem(&member, "", "nothing on this bench feeds a rail '%s'", rail);
    }
    return ch ? ch->index : -1;
}

static int read_chamber(const struct interlocks *locks, const struct json_at *at)
{
    const struct bench_file *file = locks->file;
    const char *name = json_string(at, "instrument", true, "");
    int number = (int)json_integer(at, "channel", false, 1, 999, 1);
    for (int i = 0; i < file->channel_count; i++) {
        const struct bench_channel *ch = &file->channel[i];
        const struct bench_instrument *in = &file->instrument[ch->instrument];
        if (strcmp(in->name, name) == 0 && ch->number == number && in->class == CLASS_CHAMBER)
            return i;
    }
    if (name[0])
        json_problem(at, "", "no chamber '%s' with a channel %d", name, number);
    return -1;
}

/* A rail, a chamber, or all rails. */
static int read_age_of(const struct interlocks *locks, const struct json_at *at)
{
    struct json_at chamber = json_member(at, "instrument", false), rail = json_member(at, "rail", false);
    if (chamber.node && rail.node)
        json_problem(&chamber, "", "a rail or a chamber, not both");
    struct json_at channel = json_member(at, "channel", false);
    if (channel.node && !chamber.node)
        json_problem(&channel, "", "is a chamber's: which \"instrument\"?");
    return chamber.node ? read_chamber(locks, at) : read_rail(locks, at, false);
}

static void read_rule(struct interlocks *locks, const struct json_at *at)
{
    static const char *const KINDS[] = { "current", "power", "voltage", "temperature", "age", NULL };
    static const char *const KNOWN[][10] = {
        [INTERLOCK_CURRENT] = { "rule", "name", "notes", "rail", "max_a", NULL },
        [INTERLOCK_POWER] = { "rule", "name", "notes", "max_w", NULL },
        [INTERLOCK_VOLTAGE] = { "rule", "name", "notes", "rail", "max_v", "settle_s", NULL },
        [INTERLOCK_TEMPERATURE] = { "rule", "name", "notes", "instrument", "channel", "min_c", "max_c",
                                    NULL },
        [INTERLOCK_AGE] = { "rule", "name", "notes", "rail", "instrument", "channel", "max_s", NULL },
    };
    struct interlock_rule rule = { .channel = -1, .min = -INFINITY, .max = INFINITY };
    rule.kind = json_choice(at, "rule", true, KINDS, -1);
    if (rule.kind < 0)
        return;
    json_only(at, KNOWN[rule.kind]);
    switch (rule.kind) {
    case INTERLOCK_CURRENT:
        rule.channel = read_rail(locks, at, true);
        rule.max = json_double(at, "max_a", true, 0, 1000, INFINITY);
        break;
    case INTERLOCK_POWER:
        rule.max = json_double(at, "max_w", true, 0, 100e3, INFINITY);
        break;
    case INTERLOCK_VOLTAGE:
        rule.channel = read_rail(locks, at, true);
        rule.max = json_double(at, "max_v", true, 0, 1000, INFINITY);
        rule.settle_ns = (int64_t)(json_double(at, "settle_s", false, 0, 100, 0.2) * 1e9);
        break;
    case INTERLOCK_TEMPERATURE:
        rule.channel = read_chamber(locks, at);
        rule.min = json_double(at, "min_c", false, -273.15, 1000, -INFINITY);
        rule.max = json_double(at, "max_c", true, -273.15, 1000, INFINITY);
        break;
    default:
        rule.channel = read_age_of(locks, at);
        rule.max = json_double(at, "max_s", true, 0.5, 3600, INFINITY);
    }
    snprintf(rule.name, sizeof rule.name, "%.*s", BENCH_NAME_MAX - 1,
             json_string(at, "name", false, KINDS[rule.kind]));
    locks->rule[locks->count++] = rule;
}

void interlocks_read(struct interlocks *locks, const struct json_at *list)
{
    if (!list->node)
        return;
    if (!cJSON_IsArray(list->node)) {
        json_problem(list, "[ { \"rule\": ... } ]", "interlocks are an array of rules");
        return;
    }
    for (int i = 0; i < json_count(list); i++) {
        struct json_at at = json_element(list, i);
        if (locks->count == INTERLOCK_RULES_MAX) {
            json_problem(&at, "", "more than %d interlocks", INTERLOCK_RULES_MAX);
            return;
        }
        read_rule(locks, &at);
    }
}

int interlocks_read_chip(struct interlocks *locks, const char *path, struct json_problems *problems,
                         struct error *err)
{
    cJSON *root = NULL;
    if (!path[0])
        return 0;
    int code = json_load(path, &root, err);
    if (code)
        return code;
    struct json_at at = json_root(root, problems);
    struct json_at list = json_member(&at, "interlocks", false);
    interlocks_read(locks, &list);
    code = json_problems_error(problems, path, err);
    cJSON_Delete(root);
    return code;
}

int interlocks_load_chip(struct interlocks *locks, const char *path, struct error *err)
{
    struct json_problems *problems = calloc(1, sizeof *problems);
    if (!problems)
        return error_set(err, ERR_MEMORY, "interlocks of %s", path);
    int code = interlocks_read_chip(locks, path, problems, err);
    free(problems);
    return code;
}

int interlocks_check_chip(const struct bench_file *file, struct json_problems *problems, struct error *err)
{
    cJSON *bench = NULL;
    struct interlocks *locks = malloc(sizeof *locks);
    struct json_problems *known = calloc(1, sizeof *known);
    int code = locks && known ? json_parse(file->json, strlen(file->json), &bench, err)
                              : error_set(err, ERR_MEMORY, "no memory to check the interlocks");
    if (!code) {
        /* Those of the bench file were found when it was loaded; here they count against the limit. */
        struct json_at root = json_root(bench, known);
        struct json_at list = json_member(&root, "interlocks", false);
        interlocks_init(locks, file);
        interlocks_read(locks, &list);
        code = interlocks_read_chip(locks, file->profile_path, problems, err);
    }
    cJSON_Delete(bench);
    free(known);
    free(locks);
    return code;
}

bool interlocks_watch_instrument(const struct interlocks *locks, int instrument)
{
    for (int i = 0; i < locks->count; i++) {
        int channel = locks->rule[i].channel;
        if (channel >= 0 && locks->file->channel[channel].instrument == instrument)
            return true;
    }
    return false;
}

/* ---- The rules ---- */
static bool breaks(char *text, size_t size, const struct interlock_rule *rule, const char *where,
                   double value, const char *unit)
{
    bool low = value < rule->min;
    snprintf(text, size, "interlock '%s': %s %.4g %s is %s %.4g %s", rule->name, where, value, unit,
             low ? "below" : "above", low ? rule->min : rule->max, unit);
    return true;
}

static const char *name_of(const struct bench_channel *ch)
{
    return ch->rail[0] ? ch->rail : ch->name;
}

/* Rails that are on: newest current times newest voltage, or the set one where nobody measures it. A current
 * from before the output came on is no reading of it. */
static double total_w(const struct interlocks *locks)
{
    double sum_w = 0;
    for (int i = 0; i < locks->file->channel_count; i++) {
        const struct interlock_channel *known = &locks->channel[i];
        if (!locks->file->channel[i].rail[0] || !known->on ||
            !(known->time_ns[QUANTITY_CURRENT] >= known->on_ns))
            continue;
        bool measured = known->time_ns[QUANTITY_VOLTAGE] >= known->set_ns;
        double volt_v = measured ? known->value[QUANTITY_VOLTAGE] : known->set_v;
        double watt_w = fabs(volt_v * known->value[QUANTITY_CURRENT]);
        sum_w += isnan(watt_w) ? 0 : watt_w;
    }
    return sum_w;
}

static bool broken(const struct interlocks *locks, const struct interlock_rule *rule,
                   const struct bench_channel *ch, int quantity, uint32_t flags, char *text, size_t size)
{
    const struct interlock_channel *known = &locks->channel[ch->index];
    double value = known->value[quantity];
    if (rule->channel >= 0 && rule->channel != ch->index)
        return false;
    switch (rule->kind) {
    case INTERLOCK_CURRENT:
        return quantity == QUANTITY_CURRENT && fabs(value) > rule->max &&
               breaks(text, size, rule, name_of(ch), fabs(value), "A");
    case INTERLOCK_POWER: {
        double sum_w = quantity == QUANTITY_TEMPERATURE ? 0 : total_w(locks);
        return sum_w > rule->max && breaks(text, size, rule, "all rails", sum_w, "W");
    }
    case INTERLOCK_VOLTAGE: {
        /* A supply in its current limit says itself that it does not hold the voltage. The aperture must lie
         * after the settling. */
        int64_t from_ns = (known->set_ns > known->on_ns ? known->set_ns : known->on_ns) + rule->settle_ns;
        bool settled = known->time_ns[quantity] - (int64_t)(ch->measure_s * 1e9) >= from_ns;
        double off_v = fabs(known->set_v - value);
        return quantity == QUANTITY_VOLTAGE && known->on && settled && !(flags & READING_LIMITING) &&
               off_v > rule->max && breaks(text, size, rule, name_of(ch), off_v, "V (set - measured)");
    }
    case INTERLOCK_TEMPERATURE:
        return quantity == QUANTITY_TEMPERATURE && (value > rule->max || value < rule->min) &&
               breaks(text, size, rule, name_of(ch), value, "C");
    default:
        return false;
    }
}

static bool take_reading(struct interlocks *locks, const struct bench_channel *ch, const struct message *m,
                         double asked, char *text, size_t size)
{
    struct interlock_channel *known = &locks->channel[ch->index];
    if (!(asked >= 0 && asked < INTERLOCK_QUANTITIES))
        return true;
    int quantity = (int)asked;
    double value = m->value[0];
    if (m->flags & READING_OVERRANGE) /* more than the instrument can say */
        value = INFINITY;
    if (isnan(value))
        return true; /* says nothing; the rule of age will notice */
    known->value[quantity] = value;
    known->time_ns[quantity] = m->time_ns;
    for (int i = 0; i < locks->count; i++) {
        if (broken(locks, &locks->rule[i], ch, quantity, m->flags, text, size))
            return false;
    }
    return true;
}

static void take_switch(struct interlock_channel *known, bool on, int64_t now_ns)
{
    if (on && !known->on)
        known->on_ns = known->state_ns = now_ns;
    known->on = on;
}

bool interlocks_take(struct interlocks *locks, const struct bench_channel *ch, const struct message *answer,
                     double asked, char *text, size_t size)
{
    struct interlock_channel *known = &locks->channel[ch->index];
    if (answer->code)
        return true;
    switch (answer->op) {
    case MESSAGE_SET_VOLTAGE:
        known->set_v = asked;
        known->set_ns = answer->time_ns;
        return true;
    case MESSAGE_OUTPUT:
    case MESSAGE_SAFE_OFF:
        take_switch(known, answer->value[0] != 0, answer->time_ns);
        return true;
    case MESSAGE_STATE:
    case MESSAGE_CLEAR_TRIP:
        if (ch->can_source)
            take_switch(known, answer->flags & MESSAGE_ON, answer->time_ns);
        if (ch->can_source && isnan(known->set_v))
            known->set_v = answer->value[0];
        known->state_ns = answer->time_ns;
        return true;
    case MESSAGE_MEASURE:
        return take_reading(locks, ch, answer, asked, text, size);
    default:
        return true;
    }
}

/* ---- Age and polls ---- */
/* Of a chamber that has never answered: since it was asked first. */
static int64_t newest_ns(const struct interlock_channel *known)
{
    int64_t newest = known->on_ns;
    for (int q = 0; q < INTERLOCK_QUANTITIES; q++)
        newest = known->time_ns[q] > newest ? known->time_ns[q] : newest;
    return newest;
}

static bool is_chamber(const struct interlocks *locks, const struct bench_channel *ch)
{
    return locks->file->instrument[ch->instrument].class == CLASS_CHAMBER;
}

/* A chamber's own switch energises no chip. */
static bool any_on(const struct interlocks *locks)
{
    for (int c = 0; c < locks->file->channel_count; c++) {
        if (locks->channel[c].on && !is_chamber(locks, &locks->file->channel[c]))
            return true;
    }
    return false;
}

static bool age_concerns(const struct interlock_rule *rule, const struct bench_channel *ch)
{
    return rule->kind == INTERLOCK_AGE &&
           (rule->channel < 0 ? ch->rail[0] != '\0' : rule->channel == ch->index);
}

bool interlocks_check_age(const struct interlocks *locks, int64_t now_ns, char *text, size_t size)
{
    for (int i = 0; i < locks->count; i++) {
        for (int c = 0; c < locks->file->channel_count; c++) {
            const struct bench_channel *ch = &locks->file->channel[c];
            if (!age_concerns(&locks->rule[i], ch))
                continue;
            /* What a chamber's temperature does to a chip that is off is nobody's concern here. */
            if (is_chamber(locks, ch) ? !any_on(locks) : !locks->channel[c].on)
                continue;
            double age_s = (double)(now_ns - newest_ns(&locks->channel[c])) / 1e9;
            if (age_s > locks->rule[i].max)
                return !breaks(text, size, &locks->rule[i], name_of(ch), age_s, "s without a reading");
        }
    }
    return true;
}

/* Bit per quantity that some rule needs of this channel. */
static unsigned needs(const struct interlocks *locks, const struct bench_channel *ch)
{
    unsigned bits = 0;
    for (int i = 0; i < locks->count; i++) {
        const struct interlock_rule *rule = &locks->rule[i];
        bool mine = rule->channel == ch->index;
        bool power = rule->kind == INTERLOCK_POWER && ch->rail[0];
        if (power || (mine && rule->kind == INTERLOCK_CURRENT))
            bits |= 1u << QUANTITY_CURRENT;
        if (age_concerns(rule, ch))
            bits |= 1u << (is_chamber(locks, ch) ? QUANTITY_TEMPERATURE : QUANTITY_VOLTAGE);
        if (mine && rule->kind == INTERLOCK_VOLTAGE)
            bits |= 1u << QUANTITY_VOLTAGE;
        if (mine && rule->kind == INTERLOCK_TEMPERATURE)
            bits |= 1u << QUANTITY_TEMPERATURE;
    }
    return bits;
}

static int64_t period_ns(const struct interlocks *locks, const struct bench_channel *ch)
{
    double period_s = (double)INTERLOCK_POLL_NS / 1e9;
    for (int i = 0; i < locks->count; i++) {
        if (age_concerns(&locks->rule[i], ch))
            period_s = fmin(period_s, locks->rule[i].max / 3);
    }
    return (int64_t)(period_s * 1e9);
}

static int64_t later_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When this quantity (-1: the state) of a channel is to be polled next. Chambers are always on. */
static int64_t poll_due_ns(const struct interlocks *locks, const struct bench_channel *ch, int quantity)
{
    const struct interlock_channel *known = &locks->channel[ch->index];
    int64_t last =
        quantity < 0 ? known->state_ns : later_of(known->time_ns[quantity], known->asked_ns[quantity]);
    return later_of(last, known->on_ns) + period_ns(locks, ch) + POLL_OFFSET_NS;
}

/* The earliest poll of all. */
static int64_t next_poll(const struct interlocks *locks, struct interlock_poll *ret)
{
    int64_t earliest_ns = CLOCK_NEVER;
    for (int c = 0; c < locks->file->channel_count; c++) {
        const struct bench_channel *ch = &locks->file->channel[c];
        unsigned bits = needs(locks, ch);
        bool chamber = bits & 1u << QUANTITY_TEMPERATURE;
        if (!locks->channel[c].on && !chamber)
            continue;
        for (int q = chamber ? 0 : -1; q < INTERLOCK_QUANTITIES; q++) {
            if (q >= 0 && !(bits & 1u << q))
                continue;
            int64_t due_ns = poll_due_ns(locks, ch, q);
            if (due_ns < earliest_ns) {
                earliest_ns = due_ns;
                *ret = (struct interlock_poll){ c, q < 0 ? MESSAGE_STATE : MESSAGE_MEASURE, q };
            }
        }
    }
    return earliest_ns;
}

bool interlocks_poll(struct interlocks *locks, int64_t now_ns, struct interlock_poll *ret)
{
    struct interlock_poll poll = { -1, 0, 0 };
    if (next_poll(locks, &poll) > now_ns)
        return false;
    struct interlock_channel *known = &locks->channel[poll.channel];
    if (known->on_ns == 0 && poll.quantity == QUANTITY_TEMPERATURE)
        known->on_ns = now_ns;
    if (poll.op == MESSAGE_STATE)
        known->state_ns = now_ns;
    else
        known->asked_ns[poll.quantity] = now_ns;
    *ret = poll;
    return true;
}

int64_t interlocks_due_ns(const struct interlocks *locks)
{
    struct interlock_poll ignored;
    return next_poll(locks, &ignored);
}
