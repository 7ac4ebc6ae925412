/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * store_torture: what the store has acknowledged survives.
 *
 *     store_torture power N [must-lose]   N power cuts over one recorded campaign of two lives
 *     store_torture io STRIDE             the n-th operation on a file fails, for every STRIDE-th n
 *     store_torture memory STRIDE         the n-th allocation fails; each once, and for good
 *
 * Ends with one line of figures, and 0 when nothing was lost or damaged (with must-lose: when something was).
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "db/migrations.h"
#include "db/recorder.h"
#include "tests/fault/disk_image.h"
#include "tests/fault/store_campaign.h"
#include "tests/fault/store_memory.h"

enum { SEED = 20260131, RESUME_EVERY = 64, WORKERS = 2, PATH_TEXT = 256, SHOWN = 5 };

struct tally {
    _Atomic int64_t at[WORKERS]; /* what a worker is doing, should it die */
    _Atomic int refused;         /* lives that ended with an error */
    _Atomic int cuts, lost, damaged, resumed, shown;
};

static char scratch[32]; /* removed at the end */

/* ---- Folders ---- */

static void clear_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    char path[2 * PATH_TEXT];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (unlink(path) != 0 && errno == EISDIR) {
            clear_folder(path);
            rmdir(path);
        }
    }
    if (dir != NULL)
        closedir(dir);
}

static void make_scratch(void)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    snprintf(scratch, sizeof scratch, "%s/nb-torture.XXXXXX", base);
    if (mkdtemp(scratch) == NULL) {
        perror(scratch);
        exit(2);
    }
}

static void folder_for(int worker, char *out, size_t size)
{
    snprintf(out, size, "%s/%d", scratch, worker);
    mkdir(out, 0755);
    clear_folder(out);
}

/* ---- Power cuts ---- */

static void show(struct tally *tally, const char *what, int op, int kind, const struct error *err)
{
    if (atomic_fetch_add(&tally->shown, 1) < SHOWN)
        printf("  %s: cut before operation %d, kind %d: %s\n", what, op, kind, err->message);
}

/* Judges what is in the folder; now and then the next life goes on from there and must come to a whole run.
 */
static int judge(const char *folder, const struct disk_promise *promise, bool resume, struct error *err)
{
    char db[PATH_TEXT];
    struct disk_promise before = *promise;

    snprintf(db, sizeof db, "%s/t.db", folder);
    int code = campaign_judge(db, &before, false, err);
    if (code != 0 || !resume)
        return code;
    code = campaign_live(&(struct campaign_life){ .db_path = db }, &before, err);
    return code != 0 ? code : campaign_judge(db, promise, true, err);
}

static void cut_share(const struct disk_log *log, int cuts, int worker, struct tally *tally)
{
    struct disk_image *image = disk_image_new(log);
    struct error err;
    char folder[64];

    for (int k = worker; k < cuts; k += WORKERS) {
        int op = 1 + (int)((int64_t)k * log->ops / cuts), kind = k / WORKERS % CUT_KINDS;
        bool resume = k / WORKERS % RESUME_EVERY == 0;
        struct rng rng;

        rng_init(&rng, SEED, "power cut", (uint64_t)k, 0, 0);
        disk_image_advance(image, op);
        folder_for(worker, folder, sizeof folder);
        if (disk_image_write(image, (enum disk_cut)kind, &rng, folder) != 0) {
            perror(folder);
            exit(2);
        }
        int code = judge(folder, disk_image_promise(image), resume, &err);
        tally->cuts++;
        tally->resumed += resume;
        if (code == 0)
            continue;
        if (code == ERR_MISMATCH)
            tally->lost++;
        else
            tally->damaged++;
        show(tally, code == ERR_MISMATCH ? "lost" : "damaged", op, kind, &err);
    }
    disk_image_free(image);
}

/* From an empty folder, or from a store of an older schema, then two lives: the first dies between two
 * points, the second ends the run. */
static int record(struct disk_log *log, int schema, struct error *err)
{
    char folder[64], db[PATH_TEXT];
    struct disk_promise promise = { 0 };

    folder_for(WORKERS, folder, sizeof folder);
    snprintf(db, sizeof db, "%s/t.db", folder);
    disk_shim_record(log, folder);
    struct campaign_life life = {
        .db_path = db, .stop_after = CAMPAIGN_POINTS / 3, .log = log, .checkpoint = true
    };
    int code = schema == 0 ? 0 : campaign_old_store(db, schema, log, &promise, err);
    if (code == 0)
        code = campaign_live(&life, &promise, err);
    life.stop_after = 0;
    if (code == 0)
        code = campaign_live(&life, &promise, err);
    disk_shim_record(NULL, NULL);
    return code != 0 ? code : campaign_judge(db, &promise, true, err);
}

static int torture_power(int cuts, int schema, bool must_lose)
{
    struct disk_log *log = disk_log_new();
    struct tally *tally =
        mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct error err;
    int marks = 0, status, bad = 0;
    int64_t begin = clock_host_now();

    if (record(log, schema, &err) != 0) {
        printf("the campaign could not be recorded: %s\n", err.message);
        return 1;
    }
    for (int i = 0; i < log->ops; i++)
        marks += log->op[i].kind == DISK_MARK;
    printf("recorded from schema %d: %d operations on %d files, %d promises\n", schema, log->ops - marks,
           log->files, marks);
    fflush(stdout);
    for (int worker = 0; worker < WORKERS; worker++) {
        if (fork() == 0) {
            cut_share(log, cuts, worker, tally);
            fflush(stdout);
            _exit(0);
        }
    }
    for (int worker = 0; worker < WORKERS; worker++) {
        if (wait(&status) < 0 || status != 0)
            bad++;
    }
    printf("power cuts: %d, lost %d, damaged %d, continued to the end %d, crashed %d, %.1f s\n", tally->cuts,
           tally->lost, tally->damaged, tally->resumed, bad, (double)(clock_host_now() - begin) / 1e9);
    disk_log_free(log);
    if (must_lose)
        return bad == 0 && tally->damaged == 0 && tally->lost > 0 ? 0 : 1;
    return bad == 0 && tally->damaged == 0 && tally->lost == 0 && tally->cuts == cuts ? 0 : 1;
}

/* A store that is new, and one of every older schema. */
static int every_schema(int cuts, bool must_lose)
{
    int schemas = migrations_newest(), rc = 0;

    for (int schema = 0; rc == 0 && schema < schemas; schema++)
        rc = torture_power((cuts + schemas - 1) / schemas, schema, must_lose);
    return rc;
}

/* ---- The n-th operation fails ---- */

struct sweep {
    const char *what;
    void (*arm)(int64_t countdown, bool sticky);
    int64_t (*operations)(void);
};

static void arm_disk(int64_t countdown, bool sticky)
{
    disk_shim_fault(&(struct disk_fault){ .countdown = countdown, .sticky = sticky });
}

static const struct sweep SWEEP_IO = { "operation on a file", arm_disk, disk_shim_operations };
static const struct sweep SWEEP_MEMORY = { "allocation", memory_fault, memory_operations };

/* One life with one fault: it may end with an error, but what it has acknowledged is there, and a life that
 * says it went well has recorded everything. */
static void live_with_fault(const struct sweep *sweep, int64_t n, bool sticky, int worker,
                            struct tally *tally)
{
    char folder[64], db[PATH_TEXT];
    struct disk_promise promise = { 0 };
    struct error err = { 0 };

    folder_for(worker, folder, sizeof folder);
    snprintf(db, sizeof db, "%s/t.db", folder);
    sweep->arm(n, sticky);
    int lived = campaign_live(&(struct campaign_life){ .db_path = db }, &promise, &err);
    sweep->arm(-1, false);
    tally->cuts++;
    tally->refused += lived != 0;
    int code = campaign_judge(db, &promise, lived == 0, &err);
    if (code == 0 && lived != 0) {
        struct disk_promise before = promise;

        code = campaign_live(&(struct campaign_life){ .db_path = db }, &before, &err);
        if (code == 0)
            code = campaign_judge(db, &promise, true, &err);
    }
    if (code == 0)
        return;
    if (code == ERR_MISMATCH)
        tally->lost++;
    else
        tally->damaged++;
    if (atomic_fetch_add(&tally->shown, 1) < SHOWN)
        printf("  %s %lld%s: %s\n", sweep->what, (long long)n, sticky ? " and later" : "", err.message);
}

static int torture_sweep(const struct sweep *sweep, int stride)
{
    struct tally *tally =
        mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char folder[64], db[PATH_TEXT];
    struct disk_promise promise = { 0 };
    struct error err;
    int status, bad = 0;
    int64_t begin = clock_host_now();

    folder_for(0, folder, sizeof folder);
    snprintf(db, sizeof db, "%s/t.db", folder);
    sweep->arm(-1, false);
    if (campaign_live(&(struct campaign_life){ .db_path = db }, &promise, &err) != 0) {
        printf("the campaign could not be recorded: %s\n", err.message);
        return 1;
    }
    int64_t operations = sweep->operations();
    fflush(stdout);
    for (int worker = 0; worker < WORKERS; worker++) {
        if (fork() != 0)
            continue;
        for (int64_t n = worker * stride; n < operations; n += WORKERS * stride) {
            tally->at[worker] = n;
            live_with_fault(sweep, n, false, worker, tally);
            live_with_fault(sweep, n, true, worker, tally);
        }
        fflush(stdout);
        _exit(0);
    }
    for (int worker = 0; worker < WORKERS; worker++) {
        if (wait(&status) >= 0 && status == 0)
            continue;
        printf("  crashed (status %d); at %lld or %lld\n", status, (long long)tally->at[0],
               (long long)tally->at[1]);
        bad++;
    }
    printf("failing %s: %d of 2 x %lld, lives that said so %d, lost %d, damaged %d, crashed %d, %.1f s\n",
           sweep->what, tally->cuts, (long long)operations, tally->refused, tally->lost, tally->damaged, bad,
           (double)(clock_host_now() - begin) / 1e9);
    return bad == 0 && tally->lost == 0 && tally->damaged == 0 && tally->refused > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int rc = 2;

    log_init("store_torture", LOG_ERR + 1);
    if (disk_shim_install() != 0)
        return 2;
    make_scratch();
    if (strcmp(what, "power") == 0 && argc > 2)
        rc = every_schema(atoi(argv[2]), argc > 3 && strcmp(argv[3], "must-lose") == 0);
    else if (strcmp(what, "io") == 0 && argc > 2)
        rc = torture_sweep(&SWEEP_IO, atoi(argv[2]));
    else if (strcmp(what, "memory") == 0 && argc > 2)
        rc = memory_can_fail() ? torture_sweep(&SWEEP_MEMORY, atoi(argv[2])) : 0;
    else
        fputs("usage: store_torture power N [must-lose] | io STRIDE | memory STRIDE\n", stderr);
    for (int worker = 0; worker <= WORKERS; worker++) {
        char folder[64];

        folder_for(worker, folder, sizeof folder);
        rmdir(folder);
    }
    rmdir(scratch);
    return rc;
}
