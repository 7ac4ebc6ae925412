/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_hash: SHA-256 against the examples of FIPS 180-4 (NIST), in one piece and in odd pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/base/hash.h"

static const struct {
    const char *text, *hex;
} VECTORS[] = {
    { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};
static const char MILLION_A[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

static void vectors(void **state)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];

    (void)state;
    for (size_t i = 0; i < sizeof VECTORS / sizeof VECTORS[0]; i++) {
        sha256(VECTORS[i].text, strlen(VECTORS[i].text), digest);
        hash_hex(digest, sizeof digest, hex);
        assert_string_equal(hex, VECTORS[i].hex);
    }
}

static void pieces(void **state)
{
    static const size_t SIZES[] = { 1, 3, 55, 63, 64, 65, 1000 };
    static char text[1000];
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];

    (void)state;
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        struct sha256_ctx ctx;
        size_t left = 1000000;

        sha256_init(&ctx);
        while (left > 0) {
            size_t n = SIZES[i] < left ? SIZES[i] : left;

            sha256_update(&ctx, text, n);
            left -= n;
        }
        sha256_final(&ctx, digest);
        hash_hex(digest, sizeof digest, hex);
        assert_string_equal(hex, MILLION_A);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(vectors), cmocka_unit_test(pieces) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
