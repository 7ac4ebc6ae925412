/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_energy: means and uncertainties of a window of the sampler's passes, and what is said when no pass
 * falls into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sweeps/energy.c"
#include "sweeps/sampler.c"

#define MS 1000000ll

/* Three rails, the first two on one instrument; passes of 10 ms, one after another. */
struct rig {
    struct sampler sampler;
    struct bench_channel channel[3];
    char event[256];
    int readings;
};

static void start(struct rig *rig)
{
    *rig = (struct rig){ .channel = { { .instrument = 4 }, { .instrument = 4 }, { .instrument = 7 } } };
    rig->sampler.rails = 3;
    for (int i = 0; i < 3; i++)
        rig->sampler.channel[i] = &rig->channel[i];
    pthread_mutex_init(&rig->sampler.lock, NULL);
    rig->sampler.pass = calloc(SAMPLER_PASSES_MAX, sizeof *rig->sampler.pass);
    assert_non_null(rig->sampler.pass);
}

static void stop(struct rig *rig)
{
    pthread_mutex_destroy(&rig->sampler.lock);
    free(rig->sampler.pass);
}

/* 1 V and the same current on every rail; the meters' error is all in the current. */
static void add(struct rig *rig, double current_a, double u_current_a)
{
    struct pass *pass = &rig->sampler.pass[rig->sampler.passes];

    *pass = (struct pass){ .begin_ns = 10 * MS * rig->sampler.passes,
                           .end_ns = 10 * MS * (rig->sampler.passes + 1) };
    for (int i = 0; i < 3; i++) {
        pass->volt_v[i] = 1.0f;
        pass->current_a[i] = (float)current_a;
        pass->u_current_a[i] = (float)u_current_a;
    }
    rig->sampler.passes++;
}

static void errors_of_one_instrument_add_up(void **state)
{
    struct sampler_window window;
    struct rig rig;

    (void)state;
    start(&rig);
    add(&rig, 1.0, 0.01);
    assert_true(sampler_window(&rig.sampler, 0, 10 * MS, &window));
    assert_true(fabs(window.total_w - 3.0) < 1e-6);
    /* 0.02 by one instrument, 0.01 by the other. */
    assert_true(fabs(window.u_total_w - hypot(0.02, 0.01)) < 1e-6);
    stop(&rig);
}

static void uncertainty_is_that_of_the_windows_own_passes(void **state)
{
    struct sampler_window window;
    struct rig rig;

    (void)state;
    start(&rig);
    add(&rig, 1.0, 0.01);
    add(&rig, 1.0, 0.03);
    add(&rig, 1.0, 0.50); /* another range, after the window */
    assert_true(sampler_window(&rig.sampler, 0, 20 * MS, &window));
    assert_int_equal(window.passes, 2);
    assert_true(fabs(window.u_current_a[0] - 0.02) < 1e-6);
    assert_true(fabs(window.u_power_w[2] - 0.02) < 1e-6);
    add(&rig, 1.0, NAN); /* unknown stays unknown */
    assert_true(sampler_window(&rig.sampler, 20 * MS, 40 * MS, &window));
    assert_true(isnan(window.u_power_w[0]) && isnan(window.u_total_w));
    stop(&rig);
}

static void scatter_averages_out(void **state)
{
    struct sampler_window window;
    struct rig rig;

    (void)state;
    start(&rig);
    for (int i = 0; i < 16; i++)
        add(&rig, i % 2 ? 1.1 : 0.9, 0.0);
    assert_true(sampler_window(&rig.sampler, 0, 160 * MS, &window));
    double sd = 0.1 * sqrt(16.0 / 15.0);
    assert_true(fabs(window.u_current_a[0] - sd / 4.0) < 1e-6);
    assert_true(fabs(window.u_total_w - sqrt(3.0) * sd / 4.0) < 1e-6);
    stop(&rig);
}

static int keep_event(void *context, const struct record_event *event, struct error *err)
{
    struct rig *rig = context;

    (void)err;
    snprintf(rig->event, sizeof rig->event, "%s: %s", event->kind, event->text);
    return 0;
}

static int count_reading(void *context, const struct record_reading *record, struct error *err)
{
    struct rig *rig = context;

    (void)record;
    (void)err;
    rig->readings++;
    return 0;
}

static void a_window_without_a_pass_is_told(void **state)
{
    struct rig rig;
    struct record_sink sink = { .context = &rig, .event = keep_event, .reading = count_reading };
    struct run_context context = { 0 };
    struct run_outcome outcome;
    struct error err = { 0 };

    (void)state;
    start(&rig);
    assert_int_equal(clock_open(NULL, &context.clock, &err), 0);
    judge_clear(&outcome.judged);
    struct run run = { .context = &context, .sink = &sink, .sampler = &rig.sampler };
    struct run_point point = { .outcome = &outcome, .step = 5, .attempt = 1 };
    assert_int_equal(energy_activity(&run, &point, 0, 5 * MS, 10, 2e-6, &err), 0);
    assert_int_equal(rig.readings, 1); /* the time is known all the same */
    assert_float_equal(outcome.judged.value[QUANTITY_TIME], 0.5e-3, 1e-12);
    assert_float_equal(outcome.judged.uncertainty[QUANTITY_TIME], 2e-6,
                       1e-9); /* the clock's is nothing beside it */
    assert_true(isnan(outcome.judged.value[QUANTITY_ENERGY]));
    assert_non_null(strstr(rig.event, "note: step 5"));
    assert_non_null(strstr(rig.event, "no pass over the rails"));
    clock_close(context.clock);
    stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_of_one_instrument_add_up),
        cmocka_unit_test(uncertainty_is_that_of_the_windows_own_passes),
        cmocka_unit_test(scatter_averages_out),
        cmocka_unit_test(a_window_without_a_pass_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
