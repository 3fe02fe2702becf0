/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "each_aead.h"
#include "hex.h"
#include "portseal/record.h"
#include "rfc8448.h"

static const uint16_t all_suites[] = { SUITE_AES_128_GCM_SHA256, SUITE_AES_256_GCM_SHA384,
	                                   SUITE_CHACHA20_POLY1305_SHA256 };

#define N_SUITES (sizeof(all_suites) / sizeof(all_suites[0]))

/* Both ends of one direction, and what went over it. */
struct pair {
	struct record_key sealer, opener;
	struct buf wire;
};

static struct pair pair_new(uint16_t suite_id)
{
	const uint8_t secret[SUITE_HASH_MAX] = { 7 };
	struct pair pair = { .wire = BUF_INIT };

	assert_int_equal(record_key_init(&pair.sealer, suite_find(suite_id), secret), PS_OK);
	assert_int_equal(record_key_init(&pair.opener, suite_find(suite_id), secret), PS_OK);
	return pair;
}

static void pair_clear(struct pair *pair)
{
	record_key_clear(&pair->sealer);
	record_key_clear(&pair->opener);
	buf_release(&pair->wire);
}

/* Seals an inner plaintext as it stands: content, type and padding are the test's. */
static void seal_inner(struct pair *pair, const uint8_t *inner, size_t len)
{
	uint8_t nonce[SUITE_IV_LEN];
	size_t ciphertext_len = len + SUITE_TAG_LEN;
	const uint8_t header[RECORD_HEADER_LEN] = { 23, 3, 3, (uint8_t)(ciphertext_len >> 8), (uint8_t)ciphertext_len };

	memcpy(nonce, pair->sealer.iv, sizeof(nonce));
	nonce[SUITE_IV_LEN - 1] ^= (uint8_t)pair->sealer.sequence++;
	assert_int_equal(buf_append(&pair->wire, header, sizeof(header)), PS_OK);
	assert_int_equal(buf_reserve(&pair->wire, ciphertext_len), PS_OK);
	uint8_t *text = pair->wire.data + pair->wire.end;
	memcpy(text, inner, len);
	assert_int_equal(pair->sealer.provider->seal(pair->sealer.aead, nonce, header, sizeof(header), text, len), PS_OK);
	pair->wire.end += ciphertext_len;
}

static enum ps_err open_front(struct pair *pair, struct record *record, enum alert *alert)
{
	*alert = ALERT_NONE;
	return record_open(&pair->opener, buf_front(&pair->wire), buf_len(&pair->wire), record, alert);
}

static void assert_refused(struct pair *pair, enum alert want)
{
	struct record record;
	enum alert alert;

	assert_int_equal(open_front(pair, &record, &alert), PS_E_PROTO);
	assert_int_equal(alert, want);
}

static struct record_key rfc8448_key(const char *secret_hex)
{
	struct record_key key;
	uint8_t secret[SUITE_HASH_MAX];

	(void)hex_decode(secret_hex, secret, sizeof(secret));
	assert_int_equal(record_key_init(&key, suite_find(SUITE_AES_128_GCM_SHA256), secret), PS_OK);
	return key;
}

struct rfc8448_record {
	enum record_type type;
	const char *body, *record;
};

static const struct rfc8448_record rfc8448_client[] = {
	{ RECORD_APPLICATION_DATA, RFC8448_PAYLOAD, RFC8448_CLIENT_DATA_RECORD },
	{ RECORD_ALERT, "0100", RFC8448_CLIENT_CLOSE_RECORD },
};

static const struct rfc8448_record rfc8448_server[] = {
	{ RECORD_HANDSHAKE, RFC8448_TICKET_MESSAGE, RFC8448_TICKET_RECORD },
	{ RECORD_APPLICATION_DATA, RFC8448_PAYLOAD, RFC8448_SERVER_DATA_RECORD },
	{ RECORD_ALERT, "0100", RFC8448_SERVER_CLOSE_RECORD },
};

static void assert_opens(const char *secret, const struct rfc8448_record *records, size_t n_records)
{
	struct record_key key = rfc8448_key(secret);

	for (size_t i = 0; i < n_records; i++) {
		uint8_t wire[256], body[256];
		struct record record;
		enum alert alert;
		size_t wire_len = hex_decode(records[i].record, wire, sizeof(wire));
		size_t body_len = hex_decode(records[i].body, body, sizeof(body));

		assert_int_equal(record_open(&key, wire, wire_len, &record, &alert), PS_OK);
		assert_int_equal(record.type, records[i].type);
		assert_int_equal(record.wire_len, wire_len);
		assert_int_equal(record.body_len, body_len);
		assert_memory_equal(record.body, body, body_len);
	}
	record_key_clear(&key);
}

static void assert_seals(const char *secret, const struct rfc8448_record *records, size_t n_records)
{
	struct record_key key = rfc8448_key(secret);

	for (size_t i = 0; i < n_records; i++) {
		uint8_t wire[256], body[256];
		struct buf out = BUF_INIT;
		size_t wire_len = hex_decode(records[i].record, wire, sizeof(wire));
		size_t body_len = hex_decode(records[i].body, body, sizeof(body));

		assert_int_equal(record_seal(&key, records[i].type, body, body_len, &out), PS_OK);
		assert_int_equal(buf_len(&out), wire_len);
		assert_memory_equal(buf_front(&out), wire, wire_len);
		buf_release(&out);
	}
	record_key_clear(&key);
}

static void test_records_of_rfc_8448_open(void **state)
{
	(void)state;
	assert_opens(RFC8448_CLIENT_SECRET, rfc8448_client, 2);
	assert_opens(RFC8448_SERVER_SECRET, rfc8448_server, 3);
}

static void test_records_of_rfc_8448_are_sealed_byte_for_byte(void **state)
{
	(void)state;
	assert_seals(RFC8448_CLIENT_SECRET, rfc8448_client, 2);
	assert_seals(RFC8448_SERVER_SECRET, rfc8448_server, 3);
}

static void test_bodies_of_every_edge_size_come_back(void **state)
{
	const size_t sizes[] = { 0, 1, 15, 16, 17, 255, 16383, 16384 };
	uint8_t *body = malloc(RECORD_MAX_BODY);

	(void)state;
	assert_non_null(body);
	for (size_t i = 0; i < RECORD_MAX_BODY; i++)
		body[i] = (uint8_t)(i * 31);
	for (size_t s = 0; s < N_SUITES; s++) {
		struct pair pair = pair_new(all_suites[s]);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct record record;
			enum alert alert;
			assert_int_equal(record_seal(&pair.sealer, RECORD_APPLICATION_DATA, body, sizes[i], &pair.wire), PS_OK);
			assert_int_equal(buf_len(&pair.wire), sizes[i] + RECORD_EXPANSION);
			assert_int_equal(open_front(&pair, &record, &alert), PS_OK);
			assert_int_equal(record.body_len, sizes[i]);
			assert_memory_equal(record.body, body, sizes[i]);
			buf_consume(&pair.wire, record.wire_len);
		}
		pair_clear(&pair);
	}
	free(body);
}

static void test_records_in_one_buffer_open_in_order(void **state)
{
	struct pair pair = pair_new(SUITE_AES_256_GCM_SHA384);

	(void)state;
	for (uint8_t i = 0; i < 20; i++)
		assert_int_equal(record_seal(&pair.sealer, RECORD_APPLICATION_DATA, &i, 1, &pair.wire), PS_OK);
	for (uint8_t i = 0; i < 20; i++) {
		struct record record;
		enum alert alert;
		assert_int_equal(open_front(&pair, &record, &alert), PS_OK);
		assert_int_equal(record.body[0], i);
		buf_consume(&pair.wire, record.wire_len);
	}
	assert_int_equal(buf_len(&pair.wire), 0);
	pair_clear(&pair);
}

static void test_records_swapped_or_repeated_are_refused(void **state)
{
	struct pair pair = pair_new(SUITE_AES_128_GCM_SHA256);
	struct record record;
	enum alert alert;

	(void)state;
	assert_int_equal(record_seal(&pair.sealer, RECORD_APPLICATION_DATA, NULL, 0, &pair.wire), PS_OK);
	uint8_t first[RECORD_EXPANSION];
	memcpy(first, buf_front(&pair.wire), sizeof(first));
	assert_int_equal(open_front(&pair, &record, &alert), PS_OK);
	memcpy(buf_front(&pair.wire), first, sizeof(first));
	assert_refused(&pair, ALERT_BAD_RECORD_MAC);
	pair_clear(&pair);
}

static void test_every_truncation_waits_and_touches_nothing(void **state)
{
	const uint8_t body[] = "a record cut anywhere";

	(void)state;
	for (size_t s = 0; s < N_SUITES; s++) {
		struct pair pair = pair_new(all_suites[s]);
		uint8_t before[128];
		struct record record;
		enum alert alert;

		assert_int_equal(record_seal(&pair.sealer, RECORD_ALERT, body, sizeof(body), &pair.wire), PS_OK);
		size_t len = buf_len(&pair.wire);
		memcpy(before, buf_front(&pair.wire), len);
		for (size_t cut = 0; cut < len; cut++) {
			assert_int_equal(record_open(&pair.opener, buf_front(&pair.wire), cut, &record, &alert), PS_E_AGAIN);
			assert_memory_equal(buf_front(&pair.wire), before, len);
			assert_int_equal(pair.opener.sequence, 0);
		}
		assert_int_equal(open_front(&pair, &record, &alert), PS_OK);
		assert_memory_equal(record.body, body, sizeof(body));
		pair_clear(&pair);
	}
}

static enum alert expected_for_flip(size_t byte, size_t bit)
{
	if (byte == 0)
		return ALERT_UNEXPECTED_MESSAGE;
	if (byte == 3 && bit == 7)
		return ALERT_RECORD_OVERFLOW;
	return ALERT_BAD_RECORD_MAC;
}

/* Behind the record lie zeros, so that a longer length finds its bytes. */
static void test_every_flipped_bit_is_refused(void **state)
{
	const uint8_t body[] = "every bit counts";
	static uint8_t bytes[RECORD_HEADER_LEN + RECORD_MAX_CIPHERTEXT];

	(void)state;
	for (size_t s = 0; s < N_SUITES; s++) {
		struct pair pair = pair_new(all_suites[s]);
		assert_int_equal(record_seal(&pair.sealer, RECORD_ALERT, body, sizeof(body), &pair.wire), PS_OK);
		for (size_t i = 0; i < 8 * buf_len(&pair.wire); i++) {
			struct record record;
			enum alert alert;
			memset(bytes, 0, sizeof(bytes));
			memcpy(bytes, buf_front(&pair.wire), buf_len(&pair.wire));
			bytes[i / 8] ^= (uint8_t)(1 << i % 8);
			assert_int_equal(record_open(&pair.opener, bytes, sizeof(bytes), &record, &alert), PS_E_PROTO);
			assert_int_equal(alert, expected_for_flip(i / 8, i % 8));
		}
		pair_clear(&pair);
	}
}

static void test_padding_is_removed(void **state)
{
	const uint8_t inner[100] = { 'h', 'i', 0, RECORD_APPLICATION_DATA };
	struct pair pair = pair_new(SUITE_CHACHA20_POLY1305_SHA256);
	struct record record;
	enum alert alert;

	(void)state;
	seal_inner(&pair, inner, sizeof(inner));
	assert_int_equal(open_front(&pair, &record, &alert), PS_OK);
	assert_int_equal(record.type, RECORD_APPLICATION_DATA);
	assert_int_equal(record.body_len, 3);
	assert_memory_equal(record.body, "hi", 3);
	assert_int_equal(record.wire_len, RECORD_HEADER_LEN + sizeof(inner) + SUITE_TAG_LEN);
	pair_clear(&pair);
}

static void test_a_record_without_content_type_is_unexpected(void **state)
{
	const uint8_t zeros[64] = { 0 };
	const size_t sizes[] = { 0, 1, 64 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct pair pair = pair_new(SUITE_AES_128_GCM_SHA256);
		seal_inner(&pair, zeros, sizes[i]);
		assert_refused(&pair, ALERT_UNEXPECTED_MESSAGE);
		pair_clear(&pair);
	}
}

static void test_the_largest_inner_plaintext_opens_and_one_more_overflows(void **state)
{
	static uint8_t inner[RECORD_MAX_BODY + 2];
	struct pair pair = pair_new(SUITE_AES_128_GCM_SHA256);
	struct record record;
	enum alert alert;

	(void)state;
	inner[10] = RECORD_APPLICATION_DATA;
	seal_inner(&pair, inner, RECORD_MAX_BODY + 1);
	assert_int_equal(open_front(&pair, &record, &alert), PS_OK);
	assert_int_equal(record.body_len, 10);
	buf_consume(&pair.wire, record.wire_len);
	seal_inner(&pair, inner, RECORD_MAX_BODY + 2);
	assert_refused(&pair, ALERT_RECORD_OVERFLOW);
	pair_clear(&pair);
}

/* What is wrong with a header is known when the header is there. */
static void assert_header_refused(uint8_t type, uint16_t len, enum alert want)
{
	struct pair pair = pair_new(SUITE_AES_128_GCM_SHA256);
	const uint8_t header[] = { type, 3, 3, (uint8_t)(len >> 8), (uint8_t)len };

	assert_int_equal(buf_append(&pair.wire, header, sizeof(header)), PS_OK);
	assert_refused(&pair, want);
	pair_clear(&pair);
}

static void test_lengths_out_of_range_are_refused_at_the_header(void **state)
{
	(void)state;
	assert_header_refused(RECORD_APPLICATION_DATA, RECORD_MAX_CIPHERTEXT + 1, ALERT_RECORD_OVERFLOW);
	assert_header_refused(RECORD_APPLICATION_DATA, UINT16_MAX, ALERT_RECORD_OVERFLOW);
	assert_header_refused(RECORD_APPLICATION_DATA, SUITE_TAG_LEN - 1, ALERT_BAD_RECORD_MAC);
	assert_header_refused(RECORD_APPLICATION_DATA, 0, ALERT_BAD_RECORD_MAC);
}

static void test_plaintext_records_are_unexpected(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		if (type != RECORD_APPLICATION_DATA)
			assert_header_refused((uint8_t)type, 1, ALERT_UNEXPECTED_MESSAGE);
	}
}

static void test_any_version_is_accepted_if_it_was_sealed(void **state)
{
	struct pair pair = pair_new(SUITE_AES_128_GCM_SHA256);
	const uint8_t header[RECORD_HEADER_LEN] = { 23, 3, 1, 0, 1 + SUITE_TAG_LEN };
	uint8_t wire[RECORD_EXPANSION] = { 23, 3, 1, 0, 1 + SUITE_TAG_LEN, RECORD_APPLICATION_DATA };
	struct record record;
	enum alert alert;

	(void)state;
	assert_int_equal(
		aead_provider()->seal(pair.sealer.aead, pair.sealer.iv, header, sizeof(header), wire + RECORD_HEADER_LEN, 1),
		PS_OK);
	assert_int_equal(record_open(&pair.opener, wire, sizeof(wire), &record, &alert), PS_OK);
	assert_int_equal(record.type, RECORD_APPLICATION_DATA);
	pair_clear(&pair);
}

static void test_an_updated_key_is_another_key_from_zero(void **state)
{
	(void)state;
	for (size_t s = 0; s < N_SUITES; s++) {
		struct pair pair = pair_new(all_suites[s]);
		struct record record;
		enum alert alert;

		assert_int_equal(record_seal(&pair.sealer, RECORD_APPLICATION_DATA, NULL, 0, &pair.wire), PS_OK);
		buf_reset(&pair.wire);
		assert_int_equal(record_key_update(&pair.sealer), PS_OK);
		assert_int_equal(pair.sealer.sequence, 0);
		assert_int_equal(record_seal(&pair.sealer, RECORD_APPLICATION_DATA, NULL, 0, &pair.wire), PS_OK);
		assert_refused(&pair, ALERT_BAD_RECORD_MAC);

		buf_reset(&pair.wire);
		assert_int_equal(record_key_update(&pair.opener), PS_OK);
		assert_int_equal(record_seal(&pair.sealer, RECORD_APPLICATION_DATA, NULL, 0, &pair.wire), PS_OK);
		pair.opener.sequence = 1;
		assert_int_equal(open_front(&pair, &record, &alert), PS_OK);
		pair_clear(&pair);
	}
}

static void test_a_key_stops_sealing_at_its_limit(void **state)
{
	struct pair pair = pair_new(SUITE_AES_128_GCM_SHA256);

	(void)state;
	pair.sealer.sequence = pair.sealer.suite->seal_limit - 1;
	assert_int_equal(record_seal(&pair.sealer, RECORD_ALERT, NULL, 0, &pair.wire), PS_OK);
	size_t sealed = buf_len(&pair.wire);
	assert_int_equal(record_seal(&pair.sealer, RECORD_ALERT, NULL, 0, &pair.wire), PS_E_LIMIT);
	assert_int_equal(buf_len(&pair.wire), sealed);
	pair_clear(&pair);
}

static void test_a_key_stops_opening_at_its_limit(void **state)
{
	struct pair pair = pair_new(SUITE_AES_128_GCM_SHA256);
	struct record record;
	enum alert alert;

	(void)state;
	pair.sealer.sequence = 0x1234;
	pair.opener.sequence = 0x1234;
	assert_int_equal(record_seal(&pair.sealer, RECORD_ALERT, NULL, 0, &pair.wire), PS_OK);
	assert_int_equal(open_front(&pair, &record, &alert), PS_OK);
	pair.opener.sequence = pair.opener.suite->open_limit;
	assert_refused(&pair, ALERT_UNEXPECTED_MESSAGE);
	pair_clear(&pair);
}

static void test_a_cleared_key_holds_nothing(void **state)
{
	const struct record_key zeros = { 0 };
	struct pair pair = pair_new(SUITE_AES_256_GCM_SHA384);

	(void)state;
	record_key_clear(&pair.sealer);
	assert_memory_equal(&pair.sealer, &zeros, sizeof(zeros));
	record_key_clear(&pair.sealer);
	pair_clear(&pair);
}

static void test_wire_len_needs_the_whole_header(void **state)
{
	const uint8_t header[] = { 23, 3, 3, 0x12, 0x34 };

	(void)state;
	for (size_t len = 0; len < sizeof(header); len++)
		assert_int_equal(record_wire_len(header, len), 0);
	assert_int_equal(record_wire_len(header, sizeof(header)), 5 + 0x1234);
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_of_rfc_8448_open),
		cmocka_unit_test(test_records_of_rfc_8448_are_sealed_byte_for_byte),
		cmocka_unit_test(test_bodies_of_every_edge_size_come_back),
		cmocka_unit_test(test_records_in_one_buffer_open_in_order),
		cmocka_unit_test(test_records_swapped_or_repeated_are_refused),
		cmocka_unit_test(test_every_truncation_waits_and_touches_nothing),
		cmocka_unit_test(test_every_flipped_bit_is_refused),
		cmocka_unit_test(test_padding_is_removed),
		cmocka_unit_test(test_a_record_without_content_type_is_unexpected),
		cmocka_unit_test(test_the_largest_inner_plaintext_opens_and_one_more_overflows),
		cmocka_unit_test(test_lengths_out_of_range_are_refused_at_the_header),
		cmocka_unit_test(test_plaintext_records_are_unexpected),
		cmocka_unit_test(test_any_version_is_accepted_if_it_was_sealed),
		cmocka_unit_test(test_an_updated_key_is_another_key_from_zero),
		cmocka_unit_test(test_a_key_stops_sealing_at_its_limit),
		cmocka_unit_test(test_a_key_stops_opening_at_its_limit),
		cmocka_unit_test(test_a_cleared_key_holds_nothing),
		cmocka_unit_test(test_wire_len_needs_the_whole_header),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}

int main(void)
{
	return with_each_aead(run_group);
}
