/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_sim_links: what the simulated instruments do to who talks to them: one client, faults, reboots,
 * nonsense, and the same again for the same seed. */
#include "tests/unit/sim_lab.h"

static void a_second_client_is_refused_and_the_first_may_return(void **state)
{
    (void)state;
    struct fixture f;
    struct client first, second;
    char line[64];
    setup(&f, 1);
    assert_int_equal(try_connect(&f, "psu", &first), 0);
    ask(&f, &first, "*OPC?");
    assert_int_equal(try_connect(&f, "psu", &second), 0);
    assert_int_equal(hear(&f, &second, 1, line, sizeof line), 0);
    hang_up(&f, &second);
    for (int i = 0; i < 20; i++) {
        hang_up(&f, &first);
        assert_int_equal(try_connect(&f, "psu", &first), 0);
        assert_string_equal(ask(&f, &first, "*OPC?"), "1");
    }
    hang_up(&f, &first);
    halt(&f);
    teardown(&f);
}

static void faults_hit_the_answers_they_were_told_to(void **state)
{
    (void)state;
    struct fixture f;
    struct client psu;
    char line[256];
    setup(&f, 1);
    struct sim_link *link = sim_link_find(f.loop, "psu");
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_string_equal(ask(&f, &psu, "VOLT 1.25,(@1);:VOLT? (@1)"), "+1.25000000E+00");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_SILENCE, .count = 1, .skip = 1 });
    assert_string_equal(ask(&f, &psu, "VOLT? (@1)"), "+1.25000000E+00");
    tell(&f, &psu, "VOLT? (@1)");
    assert_int_equal(hear(&f, &psu, 1, line, sizeof line), 0);
    assert_string_equal(ask(&f, &psu, "VOLT? (@1)"), "+1.25000000E+00");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_WRONG, .count = 1 });
    assert_string_equal(ask(&f, &psu, "VOLT? (@1)"), "+4.25000000E+00");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_GARBAGE, .count = 1 });
    const char *garbage = ask(&f, &psu, "VOLT? (@1)");
    assert_int_equal(strlen(garbage), strlen("+1.25000000E+00"));
    assert_string_not_equal(garbage, "+1.25000000E+00");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_DELAY, .count = 1, .value = 2.5 });
    int64_t start_ns = clock_now(f.clock);
    ask(&f, &psu, "VOLT? (@1)");
    assert_near((double)(clock_now(f.clock) - start_ns) * 1e-9, 2.503, 1e-3);

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_DEAF, .count = 1 });
    tell(&f, &psu, "VOLT 2,(@1)");
    pass_time(&f, 0.1);
    assert_string_equal(ask(&f, &psu, "VOLT? (@1)"), "+1.25000000E+00");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_TRUNCATE, .count = 1 });
    tell(&f, &psu, "VOLT? (@1)");
    assert_int_equal(hear(&f, &psu, 1, line, sizeof line), 0);
    assert_string_equal(line, "+1.25000");

    sim_link_fault(link, &(struct sim_fault){ .kind = SIM_FAULT_DISCONNECT, .count = 1 });
    tell(&f, &psu, "VOLT? (@1)");
    struct pollfd in = { .fd = psu.fd, .events = POLLIN };
    assert_int_equal(clock_poll(f.actor, &in, 1, clock_now(f.clock) + NS_PER_S, 0), 1);
    assert_int_equal(recv(psu.fd, line, sizeof line, 0), 0);
    hang_up(&f, &psu);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_string_equal(ask(&f, &psu, "VOLT? (@1)"), "+1.25000000E+00");
    hang_up(&f, &psu);
    halt(&f);
    teardown(&f);
}

static void a_reboot_forgets_everything_and_switches_off(void **state)
{
    (void)state;
    struct fixture f;
    struct client psu;
    char line[64];
    setup(&f, 1);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_string_equal(ask(&f, &psu, "VOLT 0.9,(@1);:OUTP ON,(@1);:OUTP? (@1);NOPE"), "1");
    pass_time(&f, 0.1);
    tell(&f, &psu, "MEAS:CURR? (@1);:MEAS:VOLT? (@1)");
    pass_time(&f, 10e-3); /* it is measuring */
    sim_link_reboot(sim_link_find(f.loop, "psu"));
    assert_int_equal(hear(&f, &psu, 1, line, sizeof line), 0);
    assert_int_equal(recv(psu.fd, line, sizeof line, MSG_DONTWAIT), 0); /* end of file */
    hang_up(&f, &psu);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_string_equal(ask(&f, &psu, "*ESR?;:OUTP? (@1);:VOLT? (@1);:SYST:ERR:COUN?"),
                        "128;0;+0.00000000E+00;0");
    assert_near(ask_number(&f, &psu, "MEAS:VOLT? (@1)"), 0, 0.01);
    hang_up(&f, &psu);
    halt(&f);
    teardown(&f);
}

/* Whatever comes in, the instrument queues errors and answers the next honest question. */
static void nonsense_is_survived(void **state)
{
    (void)state;
    static const char *const words[] = { "VOLT", ":",        "?",   "(@",  "1:",   ")",  ";",    ",",
                                         "MEAS", "CURR",     "\"",  "'",   "9E99", "-1", "*",    "OUTP",
                                         " ",    "PROT",     "MAX", "NAN", "#",    "[]", "ISUM", "STAT",
                                         "1e-4", "READ? \"", "\t",  "\r",  "MV",   "INF" };
    struct fixture f;
    struct client client[4];
    static const char *const names[] = { "psu", "smu", "src", "dmm" };
    struct rng rng;
    uint64_t seed = (uint64_t)clock_wall_now();
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed, "nonsense", 0, 0, 0);
    setup(&f, 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(try_connect(&f, names[i], &client[i]), 0);
    for (int round = 0; round < 320; round++) {
        char line[256] = "";
        int n = (int)rng_below(&rng, 14);
        for (int i = 0; i < n; i++)
            strcat(line, words[rng_below(&rng, sizeof words / sizeof *words)]);
        if (n && rng_below(&rng, 4) == 0)
            line[rng_below(&rng, (uint32_t)strlen(line))] = (char)(1 + rng_below(&rng, 8));
        struct client *to = &client[round % 4];
        tell(&f, to, line);
        if (round % 16 < 12)
            continue;
        char answer[1024];
        tell(&f, to, "*CLS;*IDN?");
        do
            assert_true(hear(&f, to, 3600, answer, sizeof answer) > 0);
        while (!strstr(answer, ",MY") && !strstr(answer, "MODEL 2450"));
    }
    for (int i = 0; i < 4; i++)
        hang_up(&f, &client[i]);
    halt(&f);
    teardown(&f);
}

/* Everything said and everything that happened, as text: the same for the same seed. */
static char *evening(uint64_t seed)
{
    struct fixture f;
    struct client psu, smu;
    struct strbuf text = { .text = NULL };
    char path[128], *log;
    setup(&f, seed);
    assert_int_equal(try_connect(&f, "psu", &psu), 0);
    assert_int_equal(try_connect(&f, "smu", &smu), 0);
    tell(&f, &psu, "VOLT 1,(@1);:OUTP ON,(@1)");
    tell(&f, &smu, "VOLT 0.7,(@1);:OUTP ON,(@1)");
    for (int i = 0; i < 50; i++) {
        strbuf_add(&text, "%s\n", ask(&f, &psu, "MEAS:CURR? (@1)"));
        strbuf_add(&text, "%s %lld\n", ask(&f, &smu, "MEAS:VOLT? (@1,2)"), (long long)clock_now(f.clock));
    }
    hang_up(&f, &psu);
    hang_up(&f, &smu);
    halt(&f);
    snprintf(path, sizeof path, "%s/world.log", f.dir);
    assert_int_equal(text_read_file(path, 1 << 20, &log, NULL, NULL), 0);
    strbuf_add(&text, "%s", log);
    free(log);
    teardown(&f);
    assert_false(text.failed);
    return text.text;
}

static void two_evenings_with_one_seed_are_identical(void **state)
{
    (void)state;
    char *first = evening(11), *again = evening(11), *other = evening(12);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    free(first);
    free(again);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_client_is_refused_and_the_first_may_return),
        cmocka_unit_test(faults_hit_the_answers_they_were_told_to),
        cmocka_unit_test(a_reboot_forgets_everything_and_switches_off),
        cmocka_unit_test(nonsense_is_survived),
        cmocka_unit_test(two_evenings_with_one_seed_are_identical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
