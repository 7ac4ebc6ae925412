/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * supply: a supply whose first channel works, that speaks the E36312A's dialect, in twenty commands, with the
 * faults that tests ask for. Not the simulator: small enough to be read beside a test. */
#ifndef TESTS_UNIT_SUPPLY_H
#define TESTS_UNIT_SUPPLY_H

#include "tests/unit/peer.h"

struct supply {
    struct peer peer;
    pthread_mutex_t lock;
    double volt_v;
    bool on;
    char errors[4][40];
    int error_count;
    char log[8192]; /* every line that came */
    atomic_bool mute_measure, stop_at_error, lie_about_output, not_a_number, late_measure, deaf, tripped,
        says_state; /* instead of a reading */
    const char *identity;
};

static inline void supply_part(struct supply *s, const char *part, char *answer, size_t size)
{
    double value;
    int channel;
    answer[0] = '\0';
    if (*part == ':')
        part++;
    if (strcmp(part, "*IDN?") == 0)
        snprintf(answer, size, "%s", s->identity);
    else if (strcmp(part, "SYST:ERR?") == 0) {
        snprintf(answer, size, "%s", s->error_count ? s->errors[0] : "+0,\"No error\"");
        if (s->error_count) {
            memmove(s->errors[0], s->errors[1], sizeof s->errors - sizeof s->errors[0]);
            s->error_count--;
        }
    } else if (sscanf(part, "VOLT %lf,(@1)", &value) == 1) {
        if (value > 6)
            snprintf(s->errors[s->error_count++], sizeof s->errors[0], "-222,\"Data out of range\"");
        else
            s->volt_v = value;
    } else if (strncmp(part, "VOLT? (@", 8) == 0)
        snprintf(answer, size, "%+.8E", s->volt_v);
    else if (strncmp(part, "CURR? (@", 8) == 0)
        snprintf(answer, size, "+1.00000000E-01");
    else if (strcmp(part, "OUTP ON,(@1)") == 0)
        s->on = true;
    else if (strcmp(part, "OUTP OFF,(@1)") == 0)
        s->on = false;
    else if (sscanf(part, "OUTP? (@%d)", &channel) == 1)
        snprintf(answer, size, "%d", channel == 1 && (atomic_load(&s->lie_about_output) ? !s->on : s->on));
    else if (strncmp(part, "MEAS:VOLT?", 10) == 0)
        snprintf(answer, size,
                 atomic_load(&s->says_state)     ? "ON"
                 : atomic_load(&s->not_a_number) ? "+9.91000000E+37"
                                                 : "%+.8E",
                 s->volt_v);
    else if (strstr(part, "COND?"))
        snprintf(answer, size, "%d", s->on ? 2 : 0);
    else if (strstr(part, "TRIP?"))
        snprintf(answer, size, "%d", strstr(part, "@1") && atomic_load(&s->tripped));
    else if (strcmp(part, "*CLS") == 0)
        s->error_count = 0;
    else if (s->error_count < 4)
        snprintf(s->errors[s->error_count++], sizeof s->errors[0], "-113,\"Undefined header\"");
}

static inline void supply_line(struct peer *peer, const char *line, size_t n)
{
    (void)n;
    struct supply *s = peer->context;
    char copy[512], answer[1024] = "", one[128];
    size_t length = 0;
    pthread_mutex_lock(&s->lock);
    if (strlen(s->log) + strlen(line) + 2 < sizeof s->log)
        strcat(strcat(s->log, line), "\n");
    bool measures = strstr(line, "MEAS") != NULL;
    bool silent = atomic_load(&s->deaf) || (measures && atomic_load(&s->mute_measure));
    snprintf(copy, sizeof copy, "%s", line);
    char *save = NULL;
    for (char *part = strtok_r(copy, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
        int before = s->error_count;
        supply_part(s, part, one, sizeof one);
        if (s->error_count > before && atomic_load(&s->stop_at_error))
            break;
        if (one[0])
            length +=
                (size_t)snprintf(answer + length, sizeof answer - length, "%s%s", length ? ";" : "", one);
    }
    pthread_mutex_unlock(&s->lock);
    if (silent || !length)
        return;
    if (measures && atomic_exchange(&s->late_measure, false))
        usleep(1300 * 1000); /* longer than the dialect waits */
    strcat(answer, "\n");
    peer_say(peer, answer, length / 2); /* always in pieces */
    peer_say(peer, answer + length / 2, length + 1 - length / 2);
}

/* Whether this text came over the wire. */
static inline bool supply_heard(struct supply *s, const char *text)
{
    pthread_mutex_lock(&s->lock);
    bool heard = strstr(s->log, text) != NULL;
    pthread_mutex_unlock(&s->lock);
    return heard;
}

static inline int supply_start(struct supply *s)
{
    pthread_mutex_init(&s->lock, NULL);
    if (!s->identity)
        s->identity = "Keysight Technologies,E36312A,MY1,1.0";
    s->peer.lines = true;
    s->peer.on_data = supply_line;
    s->peer.context = s;
    return peer_start(&s->peer);
}

static inline void supply_stop(struct supply *s)
{
    peer_stop(&s->peer);
    pthread_mutex_destroy(&s->lock);
}

#endif
