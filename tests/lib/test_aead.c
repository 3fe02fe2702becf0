/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef PS_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

#include "each_aead.h"
#include "hex.h"
#include "portseal/record.h"
#include "tls/aead_private.h"

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

static const uint16_t all_suites[] = { SUITE_AES_128_GCM_SHA256, SUITE_AES_256_GCM_SHA384,
	                                   SUITE_CHACHA20_POLY1305_SHA256 };

#define N_SUITES (sizeof(all_suites) / sizeof(all_suites[0]))
#define TEXT_MAX (RECORD_MAX_CIPHERTEXT + 64)

/* The same every time, and good enough for a cipher. */
static void fill(uint8_t *bytes, size_t len, uint32_t seed)
{
	uint32_t state = seed * 2654435761u + 1;

	for (size_t i = 0; i < len; i++) {
		state = state * 1664525u + 1013904223u;
		bytes[i] = (uint8_t)(state >> 24);
	}
}

static struct aead_key *key_of(const struct aead_provider *provider, uint16_t suite, uint32_t seed)
{
	struct aead_key *key = NULL;
	uint8_t bytes[SUITE_KEY_MAX];

	fill(bytes, sizeof(bytes), seed);
	assert_int_equal(provider->key_new(suite_find(suite), bytes, &key), PS_OK);
	return key;
}

/* What one provider seals is what PSA seals, each opens the other's, and neither opens it with a changed tag. */
static void assert_agree(const struct aead_provider *one, struct aead_key *key, struct aead_key *psa_key, size_t len)
{
	static uint8_t ours[TEXT_MAX], theirs[TEXT_MAX], plain[TEXT_MAX];
	const size_t shift = len % 17; /* every alignment */
	uint8_t *text = ours + shift;
	uint8_t nonce[SUITE_IV_LEN], aad[RECORD_HEADER_LEN];

	fill(nonce, sizeof(nonce), (uint32_t)len);
	fill(aad, sizeof(aad), (uint32_t)len + 1);
	fill(plain, len, (uint32_t)len + 2);
	memcpy(text, plain, len);
	memcpy(theirs, plain, len);
	assert_int_equal(one->seal(key, nonce, aad, sizeof(aad), text, len), PS_OK);
	assert_int_equal(aead_psa.seal(psa_key, nonce, aad, sizeof(aad), theirs, len), PS_OK);
	assert_memory_equal(text, theirs, len + SUITE_TAG_LEN);

	assert_int_equal(one->open(key, nonce, aad, sizeof(aad), text, len), PS_OK);
	assert_memory_equal(text, plain, len);
	memcpy(text, theirs, len + SUITE_TAG_LEN);
	text[len + len % SUITE_TAG_LEN] ^= (uint8_t)(1 << len % 8);
	assert_int_equal(one->open(key, nonce, aad, sizeof(aad), text, len), PS_E_PROTO);
	theirs[len + len % SUITE_TAG_LEN] ^= (uint8_t)(1 << len % 8);
	assert_int_equal(aead_psa.open(psa_key, nonce, aad, sizeof(aad), theirs, len), PS_E_PROTO);
}

static void test_it_agrees_with_psa_on_every_length(void **state)
{
	static const size_t edges[] = { 511,  512,  513,  767,   768,   769,   1023, 1024,
		                            1025, 4095, 4097, 16383, 16384, 16385, 16400 };

	(void)state;
	for (size_t s = 0; s < N_SUITES; s++) {
		struct aead_key *key = key_of(aead_provider(), all_suites[s], (uint32_t)s);
		struct aead_key *psa_key = key_of(&aead_psa, all_suites[s], (uint32_t)s);

		for (size_t len = 0; len <= 320; len++)
			assert_agree(aead_provider(), key, psa_key, len);
		for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
			assert_agree(aead_provider(), key, psa_key, edges[i]);
		aead_provider()->key_free(key);
		aead_psa.key_free(psa_key);
	}
}

static void test_a_forged_text_leaves_nothing_deciphered(void **state)
{
	uint8_t plain[256], text[256 + SUITE_TAG_LEN];
	const uint8_t nonce[SUITE_IV_LEN] = { 4 };

	(void)state;
	for (size_t s = 0; s < N_SUITES; s++) {
		struct aead_key *key = key_of(aead_provider(), all_suites[s], 5);

		memset(plain, 'p', sizeof(plain));
		memcpy(text, plain, sizeof(plain));
		assert_int_equal(aead_provider()->seal(key, nonce, NULL, 0, text, sizeof(plain)), PS_OK);
		text[sizeof(plain)] ^= 0x80;
		assert_int_equal(aead_provider()->open(key, nonce, NULL, 0, text, sizeof(plain)), PS_E_PROTO);
		for (size_t i = 0; i < sizeof(plain); i++)
			assert_int_not_equal(text[i], 'p');
		aead_provider()->key_free(key);
	}
}

/* Pages with a forbidden one before and behind. The sanitizers do not see what assembler reads. */
struct fenced {
	uint8_t *map, *begin, *end;
	size_t map_len;
};

static struct fenced fenced_new(size_t len)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t inside = (len + page - 1) / page * page;
	struct fenced fenced = { .map_len = inside + 2 * page };

	fenced.map = mmap(NULL, fenced.map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(fenced.map, MAP_FAILED);
	fenced.begin = fenced.map + page;
	fenced.end = fenced.begin + inside;
	assert_int_equal(mprotect(fenced.map, page, PROT_NONE), 0);
	assert_int_equal(mprotect(fenced.end, page, PROT_NONE), 0);
	return fenced;
}

static void seal_and_open_at(struct aead_key *key, const uint8_t *aad, uint8_t *text, size_t len)
{
	const uint8_t nonce[SUITE_IV_LEN] = { 9 };

	fill(text, len, 11);
	assert_int_equal(aead_provider()->seal(key, nonce, aad, RECORD_HEADER_LEN, text, len), PS_OK);
	assert_int_equal(aead_provider()->open(key, nonce, aad, RECORD_HEADER_LEN, text, len), PS_OK);
}

static void test_no_byte_outside_of_text_and_tag_is_touched(void **state)
{
	struct fenced text = fenced_new(RECORD_MAX_CIPHERTEXT);
	struct fenced aad = fenced_new(1);
	static const size_t longer[] = { 1024, 4095, RECORD_MAX_BODY + 1, RECORD_MAX_CIPHERTEXT - SUITE_TAG_LEN };

	(void)state;
	memset(aad.begin, 3, (size_t)(aad.end - aad.begin));
	for (size_t s = 0; s < N_SUITES; s++) {
		struct aead_key *key = key_of(aead_provider(), all_suites[s], 1);
		for (size_t i = 0; i < 600 + sizeof(longer) / sizeof(longer[0]); i++) {
			const size_t len = i < 600 ? i : longer[i - 600];
			seal_and_open_at(key, aad.begin, text.begin, len);
			seal_and_open_at(key, aad.end - RECORD_HEADER_LEN, text.end - SUITE_TAG_LEN - len, len);
		}
		aead_provider()->key_free(key);
	}
	assert_int_equal(munmap(text.map, text.map_len), 0);
	assert_int_equal(munmap(aad.map, aad.map_len), 0);
}

/* More keys than expanded forms, used in turn and freed in between. */
static void test_keys_that_take_turns_keep_their_own(void **state)
{
	enum { N_KEYS = 700, ROUNDS = 3 };
	static struct aead_key *keys[N_KEYS], *psa_keys[N_KEYS];

	(void)state;
	for (uint32_t i = 0; i < N_KEYS; i++) {
		keys[i] = key_of(aead_provider(), all_suites[i % N_SUITES], i);
		psa_keys[i] = key_of(&aead_psa, all_suites[i % N_SUITES], i);
	}
	for (size_t round = 0; round < ROUNDS; round++) {
		for (size_t i = round; i < N_KEYS; i++) {
			if (i % 7 == round) {
				aead_provider()->key_free(keys[i]);
				keys[i] = key_of(aead_provider(), all_suites[i % N_SUITES], (uint32_t)i);
			}
			assert_agree(aead_provider(), keys[i], psa_keys[i], 40);
			assert_agree(aead_provider(), keys[i / 2], psa_keys[i / 2], 3);
		}
	}
	for (size_t i = 0; i < N_KEYS; i++) {
		aead_provider()->key_free(keys[i]);
		aead_psa.key_free(psa_keys[i]);
	}
}

static void test_the_known_answers_come_out(void **state)
{
	struct ps_cause cause;

	(void)state;
	assert_int_equal(aead_known_answers(aead_provider(), &cause), PS_OK);
}

static enum ps_err seal_with_a_wrong_bit(struct aead_key *key, const uint8_t nonce[static SUITE_IV_LEN],
                                         const uint8_t *aad, size_t aad_len, uint8_t *text, size_t len)
{
	const enum ps_err err = aead_psa.seal(key, nonce, aad, aad_len, text, len);

	text[len > 1000 ? 1000 : len] ^= 1;
	return err;
}

static enum ps_err open_all_the_same(struct aead_key *key, const uint8_t nonce[static SUITE_IV_LEN], const uint8_t *aad,
                                     size_t aad_len, uint8_t *text, size_t len)
{
	(void)aead_psa.open(key, nonce, aad, aad_len, text, len);
	return PS_OK;
}

static enum ps_err is_not_here(struct ps_cause *cause)
{
	return ps_cause_set(cause, PS_E_CONFIG, "no such processor");
}

static struct aead_provider like_psa(void)
{
	struct aead_provider provider = aead_psa;
	provider.name = "other";
	return provider;
}

static void test_false_answers_are_noticed(void **state)
{
	struct aead_provider wrong_seal = like_psa(), wrong_open = like_psa();
	struct ps_cause cause;

	(void)state;
	wrong_seal.seal = seal_with_a_wrong_bit;
	wrong_open.open = open_all_the_same;
	assert_int_equal(aead_known_answers(&wrong_seal, &cause), PS_E_BUG);
	assert_non_null(strstr(cause.text, "false answers"));
	assert_int_equal(aead_known_answers(&wrong_open, &cause), PS_E_BUG);
}

static void test_a_provider_that_miscomputes_is_passed_over_and_named(void **state)
{
	struct aead_provider wrong = like_psa();
	const struct aead_provider *const candidates[] = { &wrong, &aead_psa };
	struct ps_cause cause;

	(void)state;
	wrong.seal = seal_with_a_wrong_bit;
	assert_int_equal(aead_select_among(candidates, 2, &cause), PS_OK);
	assert_ptr_equal(aead_provider(), &aead_psa);
	assert_non_null(strstr(cause.text, "false answers"));
	assert_int_equal(aead_select_among(candidates, 1, &cause), PS_E_BUG);
}

static void test_a_provider_that_is_not_to_be_had_is_passed_over_in_silence(void **state)
{
	struct aead_provider absent = like_psa();
	const struct aead_provider *const candidates[] = { &absent, &aead_psa };
	struct ps_cause cause;

	(void)state;
	absent.start = is_not_here;
	assert_int_equal(aead_select_among(candidates, 2, &cause), PS_OK);
	assert_ptr_equal(aead_provider(), &aead_psa);
	assert_string_equal(cause.text, "");
}

static void test_choices_are_known_by_name(void **state)
{
	struct ps_cause cause;

	(void)state;
	assert_true(aead_is_choice("auto") && aead_is_choice("ipsec-mb") && aead_is_choice("psa"));
	assert_false(aead_is_choice("openssl"));
	assert_int_equal(aead_select("psa", &cause), PS_OK);
	assert_ptr_equal(aead_provider(), &aead_psa);
	assert_int_equal(aead_select("openssl", &cause), PS_E_CONFIG);
	assert_string_equal(cause.text, "\"openssl\" is not auto, ipsec-mb or psa");
	assert_ptr_equal(aead_provider(), &aead_psa);
	assert_int_equal(aead_select("auto", &cause), PS_OK);
	assert_string_equal(cause.text, "");
}

static void test_a_processor_without_aes_instructions_says_so(void **state)
{
	struct ps_cause cause;

	(void)state;
#ifdef PS_IPSEC_MB
	assert_int_equal(aead_ipsec_start(IMB_FLAG_AESNI_OFF, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "AES-NI"));
#else
	assert_int_equal(aead_select("ipsec-mb", &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "left out"));
#endif
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seal_gives_the_published_answers),
		cmocka_unit_test(test_open_takes_the_published_answers),
		cmocka_unit_test(test_open_refuses_other_text_nonce_and_aad),
		cmocka_unit_test(test_thousands_of_keys_live_at_once),
		cmocka_unit_test(test_freeing_no_key_is_harmless),
		cmocka_unit_test(test_it_agrees_with_psa_on_every_length),
		cmocka_unit_test(test_a_forged_text_leaves_nothing_deciphered),
		cmocka_unit_test(test_no_byte_outside_of_text_and_tag_is_touched),
		cmocka_unit_test(test_keys_that_take_turns_keep_their_own),
		cmocka_unit_test(test_the_known_answers_come_out),
	};

	return cmocka_run_group_tests_name("aead", tests, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest choosing[] = {
		cmocka_unit_test(test_false_answers_are_noticed),
		cmocka_unit_test(test_a_provider_that_miscomputes_is_passed_over_and_named),
		cmocka_unit_test(test_a_provider_that_is_not_to_be_had_is_passed_over_in_silence),
		cmocka_unit_test(test_choices_are_known_by_name),
		cmocka_unit_test(test_a_processor_without_aes_instructions_says_so),
	};

	return with_each_aead(run_group) + cmocka_run_group_tests_name("aead, choosing", choosing, NULL, NULL);
}
