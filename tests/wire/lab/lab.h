/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * lab: drivers under test behind a link that the test owns. The program is linked with --wrap, so that every
 * transport that a driver opens goes through lab_on_open's function. Time is virtual: a second of waiting
 * costs microseconds. */
#ifndef TESTS_WIRE_LAB_LAB_H
#define TESTS_WIRE_LAB_LAB_H

#include "drivers/driver.h"

/* Opens what a driver gets for its resource. */
typedef int (*lab_open_fn)(void *context, const struct transport_env *env, const char *name,
                           const char *resource, struct transport **ret, struct error *err);
/* fn NULL: the real transports. Set while no driver is open. */
void lab_on_open(lab_open_fn fn, void *context);
int lab_open_real(const struct transport_env *env, const char *name, const char *resource,
                  struct transport **ret, struct error *err);

/* ---- Recorded logs (replay.c). Both return the number of failures. ---- */
int lab_record(const char *chk_path);
int lab_replay(const char *log_path);

/* ---- Faults (fault_link.c) ---- */
enum lab_fault {
    LAB_NONE,
    LAB_SILENT,     /* hears nothing, says nothing */
    LAB_SLOW,       /* a byte a second */
    LAB_GARBAGE,    /* noise of the answer's length */
    LAB_TRUNCATED,  /* the second half of three answers is lost */
    LAB_WRONG,      /* an answer of another kind */
    LAB_PREVIOUS,   /* each answer is the one to the question before */
    LAB_NAN,        /* the make's own word for "no value" */
    LAB_REBOOT,     /* power lost and back, once */
    LAB_OTHER,      /* the link breaks, and another unit of the make answers */
    LAB_BUSY,       /* the make's own word for "busy"; where it has none, answers come 20 s late */
    LAB_DISCONNECT, /* the link breaks, and nobody is there */
    LAB_ECHO,       /* what is sent comes back in front of the answer */
    LAB_BABBLE,     /* bytes that nobody asked for, without end */
    LAB_FAULTS
};
const char *lab_fault_name(int fault);

/* How a make says things; NULL or 0 where it cannot. */
struct lab_speech {
    bool is_text;                              /* answers are lines */
    char identity[24], other[24];              /* bytes that name this unit, and as many that name another */
    size_t (*nan)(uint8_t *answer, size_t n);  /* turns an answer into "no value"; returns its length */
    size_t (*busy)(uint8_t *answer, size_t n); /* turns an answer into "busy" */
    void (*seal)(uint8_t *answer, size_t n);   /* makes the check sum right again */
};

/* What one driver and model can do, and how it says things: a row of the matrix (rows.c). */
struct lab_row {
    const char *name, *driver, *dialect, *simulate;
    int class;
    double settings[2]; /* set point before and in the phase `set`; 0: none */
    double tolerance;   /* of a reading; 0: bytes */
    int quantity;
    struct lab_speech speech;
};
extern const struct lab_row lab_rows[];
extern const int lab_row_count;

/* Owned by the test, which changes it only while no request is under way. */
struct lab_faults {
    const struct lab_speech *speech;
    int kind; /* enum lab_fault */
    int skip; /* exchanges that are still good */
    uint64_t seed, draws, struck;
    bool rebooted, broken; /* once each */
    void (*reboot)(void *context);
    void *context;
};
/* For lab_on_open; context is the struct lab_faults. */
int lab_fault_open(void *context, const struct transport_env *env, const char *name, const char *resource,
                   struct transport **ret, struct error *err);

/* ---- The matrix (matrix.c): drivers x faults x phases. Returns the number of failures: cells that broke, or
 * with must_break models without such a cell. only: MODEL[.FAULT.PHASE], or NULL. ---- */
int lab_matrix(uint64_t seed, const char *only, bool must_break);
/* Prints the models of the matrix, one a line. */
void lab_models(void);

#endif
