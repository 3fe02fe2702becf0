/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hex.h"
#include "portseal/key_schedule.h"
#include "rfc8448.h"

static void assert_traffic_keys(const char *secret_hex, const char *key_hex, const char *iv_hex)
{
	const struct suite *suite = suite_find(SUITE_AES_128_GCM_SHA256);
	uint8_t secret[SUITE_HASH_MAX], want_key[SUITE_KEY_MAX], want_iv[SUITE_IV_LEN];
	uint8_t key[SUITE_KEY_MAX], iv[SUITE_IV_LEN];

	assert_int_equal(hex_decode(secret_hex, secret, sizeof(secret)), suite->hash_len);
	assert_int_equal(hex_decode(key_hex, want_key, sizeof(want_key)), suite->key_len);
	assert_int_equal(hex_decode(iv_hex, want_iv, sizeof(want_iv)), SUITE_IV_LEN);

	assert_int_equal(key_schedule_traffic(suite, secret, key, iv), PS_OK);
	assert_memory_equal(key, want_key, suite->key_len);
	assert_memory_equal(iv, want_iv, SUITE_IV_LEN);
}

static void test_traffic_keys_of_rfc_8448(void **state)
{
	(void)state;
	assert_traffic_keys(RFC8448_CLIENT_SECRET, RFC8448_CLIENT_KEY, RFC8448_CLIENT_IV);
	assert_traffic_keys(RFC8448_SERVER_SECRET, RFC8448_SERVER_KEY, RFC8448_SERVER_IV);
}

/* Expected values computed with Python's cryptography (HKDFExpand over the same HkdfLabel). */
static void assert_next_secret(enum suite_id id, const char *want_hex)
{
	const struct suite *suite = suite_find((uint16_t)id);
	uint8_t secret[SUITE_HASH_MAX], next[SUITE_HASH_MAX], want[SUITE_HASH_MAX];

	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)i;
	assert_int_equal(hex_decode(want_hex, want, sizeof(want)), suite->hash_len);
	assert_int_equal(key_schedule_next(suite, secret, next), PS_OK);
	assert_memory_equal(next, want, suite->hash_len);
}

static void test_next_secret_with_sha_256(void **state)
{
	(void)state;
	assert_next_secret(SUITE_CHACHA20_POLY1305_SHA256,
	                   "2cecd0a17506ef5fa73edc062d6e7b5397cf074ec1b4d8f99a120772932f0b45");
}

static void test_next_secret_with_sha_384(void **state)
{
	(void)state;
	assert_next_secret(SUITE_AES_256_GCM_SHA384, "401331b63e9d59f202e8f041042d9516f4cd7fa2e2ee1463"
	                                             "1d3b49fc340d7af37fc2c0c9f252d8036f81ec5b85cbe5db");
}

static void test_suites_are_found_by_number(void **state)
{
	(void)state;
	assert_string_equal(suite_find(0x1301)->name, "TLS_AES_128_GCM_SHA256");
	assert_string_equal(suite_find(0x1302)->name, "TLS_AES_256_GCM_SHA384");
	assert_string_equal(suite_find(0x1303)->name, "TLS_CHACHA20_POLY1305_SHA256");
	assert_null(suite_find(0x1304));
	assert_null(suite_find(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_traffic_keys_of_rfc_8448),
		cmocka_unit_test(test_next_secret_with_sha_256),
		cmocka_unit_test(test_next_secret_with_sha_384),
		cmocka_unit_test(test_suites_are_found_by_number),
	};

	return cmocka_run_group_tests_name("key_schedule", tests, NULL, NULL);
}
