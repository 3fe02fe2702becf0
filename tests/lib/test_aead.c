/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hex.h"
#include "portseal/aead.h"

struct known_answer {
	const char *source;
	enum suite_id suite;
	const char *key, *nonce, *aad, *plain, *sealed;
};

#define GCM_KEY "feffe9928665731c6d6a8f9467308308"
#define GCM_NONCE "cafebabefacedbaddecaf888"
#define GCM_AAD "feedfacedeadbeeffeedfacedeadbeefabaddad2"
#define GCM_PLAIN \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" \
	"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"

static const struct known_answer answers[] = {
	{
		.source = "McGrew and Viega, test case 4",
		.suite = SUITE_AES_128_GCM_SHA256,
		.key = GCM_KEY,
		.nonce = GCM_NONCE,
		.aad = GCM_AAD,
		.plain = GCM_PLAIN,
		.sealed = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
				  "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
				  "5bc94fbc3221a5db94fae95ae7121a47",
	},
	{
		.source = "McGrew and Viega, test case 16",
		.suite = SUITE_AES_256_GCM_SHA384,
		.key = GCM_KEY GCM_KEY,
		.nonce = GCM_NONCE,
		.aad = GCM_AAD,
		.plain = GCM_PLAIN,
		.sealed = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
				  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
				  "76fc6ece0f4e1768cddf8853bb2d551b",
	},
	{
		.source = "RFC 8439, section 2.8.2",
		.suite = SUITE_CHACHA20_POLY1305_SHA256,
		.key = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
		.nonce = "070000004041424344454647",
		.aad = "50515253c0c1c2c3c4c5c6c7",
		.plain = "4c616469657320616e642047656e746c656d656e206f662074686520636c6173"
				 "73206f66202739393a204966204920636f756c64206f6666657220796f75206f"
				 "6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73"
				 "637265656e20776f756c642062652069742e",
		.sealed = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
				  "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
				  "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
				  "3ff4def08e4b7a9de576d26586cec64b6116"
				  "1ae10b594f09e26a7e902ecbd0600691",
	},
};

#define N_ANSWERS (sizeof(answers) / sizeof(answers[0]))

struct decoded {
	struct aead_key *key;
	uint8_t nonce[SUITE_IV_LEN], aad[32], plain[128], sealed[128 + SUITE_TAG_LEN];
	size_t aad_len, len;
};

static struct decoded decode(const struct known_answer *answer)
{
	const struct suite *suite = suite_find((uint16_t)answer->suite);
	struct decoded decoded = { 0 };
	uint8_t key[SUITE_KEY_MAX];

	assert_int_equal(hex_decode(answer->key, key, sizeof(key)), suite->key_len);
	assert_int_equal(hex_decode(answer->nonce, decoded.nonce, sizeof(decoded.nonce)), SUITE_IV_LEN);
	decoded.aad_len = hex_decode(answer->aad, decoded.aad, sizeof(decoded.aad));
	decoded.len = hex_decode(answer->plain, decoded.plain, sizeof(decoded.plain));
	assert_int_equal(hex_decode(answer->sealed, decoded.sealed, sizeof(decoded.sealed)), decoded.len + SUITE_TAG_LEN);
	assert_int_equal(aead_provider()->key_new(suite, key, &decoded.key), PS_OK);
	return decoded;
}

static void test_seal_gives_the_published_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ANSWERS; i++) {
		struct decoded it = decode(&answers[i]);
		uint8_t text[sizeof(it.sealed)];

		memcpy(text, it.plain, it.len);
		assert_int_equal(aead_provider()->seal(it.key, it.nonce, it.aad, it.aad_len, text, it.len), PS_OK);
		assert_memory_equal(text, it.sealed, it.len + SUITE_TAG_LEN);
		aead_provider()->key_free(it.key);
	}
}

static void test_open_takes_the_published_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ANSWERS; i++) {
		struct decoded it = decode(&answers[i]);

		assert_int_equal(aead_provider()->open(it.key, it.nonce, it.aad, it.aad_len, it.sealed, it.len), PS_OK);
		assert_memory_equal(it.sealed, it.plain, it.len);
		aead_provider()->key_free(it.key);
	}
}

static void test_open_refuses_other_text_nonce_and_aad(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ANSWERS; i++) {
		struct decoded it = decode(&answers[i]);
		uint8_t *const touched[] = { it.sealed, it.sealed + it.len, it.nonce, it.aad };

		for (size_t j = 0; j < sizeof(touched) / sizeof(touched[0]); j++) {
			uint8_t text[sizeof(it.sealed)];
			*touched[j] ^= 1;
			memcpy(text, it.sealed, sizeof(text));
			assert_int_equal(aead_provider()->open(it.key, it.nonce, it.aad, it.aad_len, text, it.len), PS_E_PROTO);
			*touched[j] ^= 1;
		}
		aead_provider()->key_free(it.key);
	}
}

/* A worker holds two keys for each of its connections. */
static void test_thousands_of_keys_live_at_once(void **state)
{
	enum { N_KEYS = 5000 };
	static struct aead_key *keys[N_KEYS];
	const struct suite *suite = suite_find(SUITE_AES_128_GCM_SHA256);
	const uint8_t bytes[SUITE_KEY_MAX] = { 1 };

	(void)state;
	for (size_t i = 0; i < N_KEYS; i++)
		assert_int_equal(aead_provider()->key_new(suite, bytes, &keys[i]), PS_OK);
	for (size_t i = 0; i < N_KEYS; i++)
		aead_provider()->key_free(keys[i]);
}

static void test_freeing_no_key_is_harmless(void **state)
{
	(void)state;
	aead_provider()->key_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seal_gives_the_published_answers),
		cmocka_unit_test(test_open_takes_the_published_answers),
		cmocka_unit_test(test_open_refuses_other_text_nonce_and_aad),
		cmocka_unit_test(test_thousands_of_keys_live_at_once),
		cmocka_unit_test(test_freeing_no_key_is_harmless),
	};

	return cmocka_run_group_tests_name("aead", tests, NULL, NULL);
}
