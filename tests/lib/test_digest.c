/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "portseal/digest.h"

/* FIPS 180-4, examples of its annex: "abc", and a million times "a". */
static const uint8_t of_abc[DIGEST_LEN] = { 0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
	                                        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
	                                        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad };
static const uint8_t of_million[DIGEST_LEN] = { 0xcd, 0xc7, 0x6e, 0x5c, 0x99, 0x14, 0xfb, 0x92, 0x81, 0xa1, 0xc7,
	                                            0xe2, 0x84, 0xd7, 0x3e, 0x67, 0xf1, 0x80, 0x9a, 0x48, 0xa4, 0x97,
	                                            0x20, 0x0e, 0x04, 0x6d, 0x39, 0xcc, 0xc7, 0x11, 0x2c, 0xd0 };

static void test_pieces_make_the_same_digest_as_the_whole(void **state)
{
	(void)state;
	static const char *const pieces[] = { "a", "", "bc" };
	uint8_t sha256[DIGEST_LEN];
	struct digest *digest = NULL;

	assert_int_equal(digest_new(&digest), PS_OK);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		digest_add(digest, pieces[i], strlen(pieces[i]));
	assert_int_equal(digest_end(digest, sha256), PS_OK);
	assert_memory_equal(sha256, of_abc, sizeof(sha256));
	digest_free(digest);
}

static void test_a_long_message_is_right(void **state)
{
	(void)state;
	uint8_t piece[999]; /* of an odd length, so that blocks lie across pieces */
	uint8_t sha256[DIGEST_LEN];
	struct digest *digest = NULL;

	memset(piece, 'a', sizeof(piece));
	assert_int_equal(digest_new(&digest), PS_OK);
	for (size_t left = 1000000; left > 0;) {
		const size_t len = left < sizeof(piece) ? left : sizeof(piece);
		digest_add(digest, piece, len);
		left -= len;
	}
	assert_int_equal(digest_end(digest, sha256), PS_OK);
	assert_memory_equal(sha256, of_million, sizeof(sha256));
	digest_free(digest);
}

static void test_nothing_follows_the_end(void **state)
{
	(void)state;
	uint8_t sha256[DIGEST_LEN];
	struct digest *digest = NULL;

	digest_free(NULL);
	assert_int_equal(digest_new(&digest), PS_OK);
	assert_int_equal(digest_end(digest, sha256), PS_OK);
	digest_add(digest, "x", 1);
	assert_int_equal(digest_end(digest, sha256), PS_E_BUG);
	digest_free(digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_make_the_same_digest_as_the_whole),
		cmocka_unit_test(test_a_long_message_is_right),
		cmocka_unit_test(test_nothing_follows_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
