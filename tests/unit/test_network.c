/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_network: a network's two files, whole and broken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fixture_network.h"

static const struct fixture_layer SMALL[] = { { 3, 2, 2, 4, 9 }, { 0, 1, 1, 2, 9 } };
static const struct network_shape SMALL_INPUT = { 5, 6, 1 };

static void test_loads(void **state)
{
    struct network *n = fixture_network(SMALL, 2, SMALL_INPUT, 1), *same, *other;

    (void)state;
    assert_non_null(n);
    assert_int_equal(n->layer_count, 2);
    assert_int_equal(n->layer[0].out.height, 3);
    assert_int_equal(n->layer[0].out.width, 3);
    assert_int_equal(n->layer[1].rows, 36);
    assert_int_equal(network_macs(n), 9 * 9 * 4 + 36 * 2);
    assert_int_equal(network_input_size(n), 30);
    assert_true(n->layer[1].weight == n->layer[0].weight + 36);
    assert_true(n->layer[1].bias == n->layer[0].bias + 4);
    same = fixture_network(SMALL, 2, SMALL_INPUT, 1);
    other = fixture_network(SMALL, 2, SMALL_INPUT, 2);
    assert_string_equal(n->hash, same->hash);
    assert_string_not_equal(n->hash, other->hash);
    network_free(n);
    network_free(same);
    network_free(other);
    network_free(NULL);
}

static void test_argmax(void **state)
{
    const int32_t a[] = { 3, 7, 7 }, b[] = { -5, -9 };

    (void)state;
    assert_int_equal(network_argmax(a, 3), 1); /* the lowest index wins ties */
    assert_int_equal(network_argmax(b, 2), 0);
}

/* Loads a small network after one replacement in its description, or damage of its weights. */
static int load_changed(const char *from, const char *to, int weights_cut, int weights_flip,
                        struct error *err)
{
    char folder[] = "/tmp/nightbench-network-XXXXXX", path[300];
    char *text = NULL;
    size_t length;
    struct strbuf out = { NULL, 0, 0, false };
    struct network *n = NULL;

    assert_non_null(mkdtemp(folder));
    assert_int_equal(fixture_write(folder, SMALL, 2, SMALL_INPUT, 1, err), 0);
    snprintf(path, sizeof path, "%s/net.weights", folder);
    assert_int_equal(text_read_file(path, 1 << 20, &text, &length, err), 0);
    if (weights_flip >= 0)
        text[weights_flip] ^= 1;
    assert_int_equal(text_write_file(path, text, length - (size_t)weights_cut, err), 0);
    free(text);
    snprintf(path, sizeof path, "%s/net.json", folder);
    assert_int_equal(text_read_file(path, 1 << 20, &text, &length, err), 0);
    char *at = strstr(text, from);
    if (!at)
        fail_msg("'%s' is not in %s", from, text);
    strbuf_bytes(&out, text, (size_t)(at - text));
    strbuf_add(&out, "%s%s", to, at + strlen(from));
    assert_int_equal(text_write_file(path, out.text, out.length, err), 0);
    int rc = network_load(path, &n, err);
    network_free(n);
    strbuf_free(&out);
    free(text);
    fixture_remove(folder);
    return rc;
}

static void test_broken(void **state)
{
    static const struct {
        const char *from, *to, *message;
        int cut, flip, code;
    } cases[] = {
        { "\"op\"", "\"op\"", "", 0, -1, 0 },
        { "\"op\"", "\"op\"", "SHA-256", 0, 5, ERR_INVALID },
        { "\"op\"", "\"op\"", "bytes", 2, -1, ERR_INVALID },
        { "\"stride\":[2,2]", "\"stride\":[1,2]", "kernel, stride and pad give", 0, -1, ERR_INVALID },
        { "\"in\":[3,3,4]", "\"in\":[3,4,3]", "what comes before gives", 0, -1, ERR_INVALID },
        { "\"count\":36", "\"count\":35", "35", 0, -1, ERR_INVALID },
        { "\"offset\":36", "\"offset\":72", "offset", 0, -1, ERR_INVALID },
        { "\"weight_bits\":9", "\"weight_bits\":10", "weight_bits", 0, -1, ERR_INVALID },
        { "\"weight_bits\":9", "\"weight_bits\":6", "hold", 0, -1, ERR_RANGE },
        { "\"weight_scale\":[", "\"weight_scale\":[0,", "weight_scale", 0, -1, ERR_INVALID },
        { "\"output\":\"u8\"", "\"output\":\"i16\"", "i16", 0, -1, ERR_INVALID },
        { "\"bias\":[", "\"bias\":[200,", "bias", 0, -1, ERR_INVALID },
        { "\"classes\":[\"c0\",", "\"classes\":[", "classes", 0, -1, ERR_INVALID },
        { "\"weights_file\":\"net", "\"weights_file\":\"../net", "beside", 0, -1, ERR_INVALID },
        { "\"op\":\"conv\"", "\"op\":\"pool\"", "/layers/0/op", 0, -1, ERR_INVALID },
        { "\"pad\"", "\"padding\"", "padding", 0, -1, ERR_INVALID },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        int rc = load_changed(cases[i].from, cases[i].to, cases[i].cut, cases[i].flip, &err);
        if (rc != cases[i].code || (rc && !strstr(err.message, cases[i].message)))
            fail_msg("%s -> %s: %d %s", cases[i].from, cases[i].to, rc, err.message);
    }
}

static void test_trained(void **state)
{
    struct network *n = NULL;
    struct error err = { 0 };

    (void)state;
    if (network_load("configs/networks/adelia-vad-w9.json", &n, &err))
        fail_msg("%s", err.message);
    assert_int_equal(network_macs(n), 1238256);
    assert_int_equal(n->weight_count, 25650);
    assert_string_equal(n->class_name[1], "speech");
    network_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads),
        cmocka_unit_test(test_argmax),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_trained),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
