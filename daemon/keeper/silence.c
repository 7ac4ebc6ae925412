/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * silence: counting and judging of missing heartbeats. */
#include "daemon/keeper/silence.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "instruments/keeper_client.h"

enum { PROC_TEXT = 512, DIRECTORY_BYTES = 4096 };

/* False when there is no such file, or when it says nothing. */
static bool read_proc(int pid, const char *name, char text[PROC_TEXT])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, PROC_TEXT - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

/* 0 when there is none. */
static char state_of(const char *stat)
{
    const char *name_end = strrchr(stat, ')'); /* the name may hold anything */
    return name_end && name_end[1] == ' ' ? name_end[2] : '\0';
}

static bool could_run(char state)
{
    return state == 'R' || state == 'D';
}

struct silence_sample silence_sample(int pid)
{
    struct silence_sample sample = { 0 };
    char stat[PROC_TEXT], schedstat[PROC_TEXT];
    if (!read_proc(pid, "stat", stat) || !read_proc(pid, "schedstat", schedstat))
        return sample;
    sample.state = state_of(stat);
    sample.ran_ns = strtoll(schedstat, NULL, 10);
    return sample;
}

bool silence_runs(int pid)
{
    char path[64], stat[PROC_TEXT], entries[DIRECTORY_BYTES];
    bool runs = false;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t n;
    while (fd >= 0 && !runs && (n = getdents64(fd, entries, sizeof entries)) > 0) {
        uint16_t length;
        for (ssize_t at = 0; at < n && !runs; at += length) {
            memcpy(&length, entries + at + offsetof(struct dirent64, d_reclen), sizeof length);
            int tid = atoi(entries + at + offsetof(struct dirent64, d_name));
            runs = tid > 0 && read_proc(tid, "stat", stat) && could_run(state_of(stat));
        }
    }
    if (fd >= 0)
        close(fd);
    return runs;
}

void silence_look(struct silence *silence, int pid, int64_t beat_ns, int64_t now_ns, int64_t period_ns)
{
    int64_t passed_ns = now_ns - silence->looked_ns;
    if (beat_ns != silence->beat_ns || silence->looked_ns == 0) {
        *silence = (struct silence){ .beat_ns = beat_ns, .at_beat = silence_sample(pid) };
        passed_ns = 0;
    }
    silence->counted_ns += passed_ns < 2 * period_ns ? passed_ns : 2 * period_ns;
    silence->looked_ns = now_ns;
}

void silence_excuse(struct silence *silence, int64_t now_ns)
{
    silence->counted_ns = 0;
    silence->looked_ns = now_ns;
}

enum silence_verdict silence_verdict(int64_t counted_ns, int64_t limit_ns, int64_t starved_limit_ns,
                                     const struct silence_sample *at_beat, const struct silence_sample *now)
{
    if (counted_ns <= limit_ns)
        return SILENCE_NONE;
    bool waits = could_run(now->state) && at_beat->state != 0 &&
                 now->ran_ns - at_beat->ran_ns < SILENCE_RAN_MS * NS_PER_MS;
    return waits && counted_ns <= starved_limit_ns ? SILENCE_STARVED : SILENCE_HANGS;
}

enum silence_verdict silence_judge(struct silence *silence, int pid, int64_t limit_ns, bool *ret_news)
{
    *ret_news = false;
    if (silence->counted_ns <= limit_ns)
        return SILENCE_NONE;
    struct silence_sample now = silence_sample(pid);
    int64_t starved_limit_ns = (int64_t)(SILENCE_STARVED_LIMIT_MS * keeper_client_time_scale()) * NS_PER_MS;
    enum silence_verdict verdict =
        silence_verdict(silence->counted_ns, limit_ns, starved_limit_ns, &silence->at_beat, &now);
    *ret_news = verdict == SILENCE_STARVED && !silence->told;
    silence->told |= *ret_news;
    return verdict;
}
