/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_rng: Philox against the known-answer vectors of Random123, streams, and the shape of the
 * distributions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "daemon/base/rng.c"

/* Lines "philox4x32 10" of tests/kat_vectors in Random123: counter, key, result. */
static const uint32_t KNOWN[][10] = {
    { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
    { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e,
      0xa20bc7c6, 0x6d5451fd },
    { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb,
      0x5001e420, 0x24126ea1 },
};

static void known_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
        uint32_t out[4];

        philox(KNOWN[i], KNOWN[i] + 4, out);
        assert_memory_equal(out, KNOWN[i] + 6, sizeof out);
    }
}

static void streams_depend_on_their_names_alone(void **state)
{
    struct rng one, again, other;
    uint32_t first[8];

    (void)state;
    rng_init(&one, 42, "noise", 1, 2, 3);
    for (int i = 0; i < 8; i++)
        first[i] = rng_u32(&one);
    rng_init_hashed(&again, 42, rng_entity("noise"), 1, 2, 3);
    for (int i = 0; i < 8; i++)
        assert_int_equal(rng_u32(&again), first[i]);
    for (int change = 0; change < 6; change++) {
        int same = 0;

        rng_init(&other, change == 0 ? 43 : 42, change == 1 ? "noisf" : "noise", change == 2 ? 2 : 1,
                 change == 3 ? 1 : 2,
                 change == 4   ? 4
                 : change == 5 ? 3 + (1ull << 32)
                               : 3);
        for (int i = 0; i < 8; i++)
            same += rng_u32(&other) == first[i];
        assert_int_equal(same, 0);
    }
}

/* With n = 200,000 draws the standard error of a mean is 1/447; five of them bound each check. */
static void distributions(void **state)
{
    enum { N = 200000 };
    struct rng rng;
    double sum = 0, square = 0, fourth = 0;
    int beyond3 = 0, counts[7] = { 0 };

    (void)state;
    rng_init(&rng, 7, "test_rng", 0, 0, 0);
    print_message("seed 7\n");
    for (int i = 0; i < N; i++) {
        double x = rng_normal(&rng);

        sum += x;
        square += x * x;
        fourth += x * x * x * x;
        beyond3 += fabs(x) > 3;
    }
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(square / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
    assert_true(fabs(beyond3 - N * 0.0026998) < 5 * sqrt(N * 0.0027));
    for (int i = 0; i < N; i++) {
        double u = rng_uniform(&rng);

        assert_true(u >= 0 && u < 1);
        counts[rng_below(&rng, 7)]++;
    }
    for (int i = 0; i < 7; i++)
        assert_true(fabs(counts[i] - N / 7.0) < 5 * sqrt(N * 6 / 49.0));
    for (int i = 0; i < 100; i++)
        assert_int_equal(rng_below(&rng, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(streams_depend_on_their_names_alone),
        cmocka_unit_test(distributions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
