/* SPDX-License-Identifier: Apache-2.0 */
/* certificate: a chain survives packing whole, and what packing did not write is refused. */
#include "portseal/certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <mbedtls/x509_crt.h>

#include "mint.h"

#define CAP 16384

static uint8_t packed[CAP];
static size_t packed_len, leaf_len;
static const mbedtls_x509_crt *chain;

static enum ps_err pack(const mbedtls_x509_crt *certificates, uint8_t *out, size_t cap, size_t *len)
{
	const mbedtls_x509_crt *each[4] = { NULL };
	size_t n = 0;

	for (const mbedtls_x509_crt *at = certificates; at != NULL; at = at->next)
		each[n++] = at;
	return certificate_chain_pack(each, n, out, cap, len);
}

static int mint_one(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *alice = mint_sender(ca, "CN=alice");
	chain = mint_chain((const struct mint_cert *[]){ alice, ca, NULL });
	leaf_len = alice->der_len;
	return pack(chain, packed, sizeof(packed), &packed_len) == PS_OK ? 0 : -1;
}

static int free_all(void **state)
{
	(void)state;
	mint_free_all();
	return 0;
}

/* In a block of exactly its size, so that a sanitizer sees the first byte read beyond it. */
static enum ps_err unpack(const uint8_t *bytes, size_t len)
{
	uint8_t *exact = malloc(len > 0 ? len : 1);
	mbedtls_x509_crt *unpacked = NULL;

	assert_non_null(exact);
	memcpy(exact, bytes, len);
	enum ps_err err = certificate_chain_unpack(exact, len, &unpacked);
	free(exact);
	if (err != PS_OK)
		assert_null(unpacked);
	certificate_chain_free(unpacked);
	return err;
}

static void test_a_chain_survives_packing(void **state)
{
	(void)state;
	uint8_t again[CAP];
	size_t again_len;
	mbedtls_x509_crt *unpacked = NULL;
	assert_int_equal(certificate_chain_unpack(packed, packed_len, &unpacked), PS_OK);
	assert_non_null(unpacked->next);
	assert_null(unpacked->next->next);
	assert_int_equal(unpacked->raw.len, leaf_len);
	assert_int_equal(pack(unpacked, again, sizeof(again), &again_len), PS_OK);
	assert_int_equal(again_len, packed_len);
	assert_memory_equal(again, packed, packed_len);
	certificate_chain_free(unpacked);
}

static void test_an_unpacked_chain_needs_the_bytes_no_more(void **state)
{
	(void)state;
	uint8_t *bytes = malloc(packed_len);
	mbedtls_x509_crt *unpacked = NULL;
	assert_non_null(bytes);
	memcpy(bytes, packed, packed_len);
	assert_int_equal(certificate_chain_unpack(bytes, packed_len, &unpacked), PS_OK);
	free(bytes);
	assert_memory_equal(unpacked->raw.p, packed, leaf_len);
	certificate_chain_free(unpacked);
}

static void test_a_chain_that_just_fits_is_packed(void **state)
{
	(void)state;
	uint8_t out[CAP];
	size_t len = 4711;
	assert_int_equal(pack(chain, out, packed_len, &len), PS_OK);
	assert_int_equal(len, packed_len);
}

static void test_a_chain_that_does_not_fit_is_refused(void **state)
{
	(void)state;
	uint8_t out[CAP];
	size_t len = 4711;
	for (size_t cap = 0; cap < packed_len; cap++)
		assert_int_equal(pack(chain, out, cap, &len), PS_E_LIMIT);
	assert_int_equal(len, 4711);
}

static void test_no_certificate_is_packed_as_nothing(void **state)
{
	(void)state;
	uint8_t out[1];
	size_t len = 4711;
	assert_int_equal(pack(NULL, out, sizeof(out), &len), PS_OK);
	assert_int_equal(len, 0);
}

/* A cut between two certificates leaves a whole, shorter chain. */
static void test_every_truncation_is_refused(void **state)
{
	(void)state;
	for (size_t len = 1; len < packed_len; len++)
		assert_int_equal(unpack(packed, len), len == leaf_len ? PS_OK : PS_E_PROTO);
}

static void test_bytes_behind_the_chain_are_refused(void **state)
{
	(void)state;
	uint8_t longer[CAP] = { 0 };
	memcpy(longer, packed, packed_len);
	for (size_t more = 1; more < 8; more++)
		assert_int_equal(unpack(longer, packed_len + more), PS_E_PROTO);
}

static void test_a_length_beyond_the_end_is_refused(void **state)
{
	(void)state;
	static const uint8_t lengths[][6] = {
		{ 0x30, 0x84, 0xff, 0xff, 0xff, 0xff }, { 0x30, 0x84, 0x7f, 0xff, 0xff, 0xff },
		{ 0x30, 0x83, 0x00, 0xff, 0xff, 0x00 }, { 0x30, 0x80, 0x00, 0x00, 0x00, 0x00 },
		{ 0x30, 0x04, 0x00, 0x00, 0x00, 0x00 }, { 0x30, 0x00, 0x30, 0x00, 0x30, 0x00 },
	};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		assert_int_equal(unpack(lengths[i], sizeof(lengths[i])), PS_E_PROTO);
}

/* What still parses is what packing would write, byte for byte. */
static void test_flipped_bits_are_refused_or_kept_as_they_are(void **state)
{
	(void)state;
	uint8_t again[CAP];
	for (size_t at = 0; at < packed_len; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			mbedtls_x509_crt *unpacked = NULL;
			size_t len = 0;
			packed[at] ^= (uint8_t)(1U << bit);
			if (certificate_chain_unpack(packed, packed_len, &unpacked) == PS_OK) {
				assert_int_equal(pack(unpacked, again, sizeof(again), &len), PS_OK);
				assert_int_equal(len, packed_len);
				assert_memory_equal(again, packed, packed_len);
			}
			certificate_chain_free(unpacked);
			packed[at] ^= (uint8_t)(1U << bit);
		}
	}
}

static void test_freeing_no_chain_is_harmless(void **state)
{
	(void)state;
	certificate_chain_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_chain_survives_packing),
		cmocka_unit_test(test_an_unpacked_chain_needs_the_bytes_no_more),
		cmocka_unit_test(test_a_chain_that_just_fits_is_packed),
		cmocka_unit_test(test_a_chain_that_does_not_fit_is_refused),
		cmocka_unit_test(test_no_certificate_is_packed_as_nothing),
		cmocka_unit_test(test_every_truncation_is_refused),
		cmocka_unit_test(test_bytes_behind_the_chain_are_refused),
		cmocka_unit_test(test_a_length_beyond_the_end_is_refused),
		cmocka_unit_test(test_flipped_bits_are_refused_or_kept_as_they_are),
		cmocka_unit_test(test_freeing_no_chain_is_harmless),
	};
	return cmocka_run_group_tests_name("certificate", tests, mint_one, free_all);
}
