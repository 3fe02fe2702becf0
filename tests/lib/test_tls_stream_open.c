/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may come in a stream besides payload, and which alert answers what may not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "each_aead.h"
#include "stream_peer.h"
#include "tls/tls_stream_private.h"

#define SUITE SUITE_AES_128_GCM_SHA256

static void assert_record_refused(enum tls_role role, enum record_type type, const void *body, size_t len,
                                  enum alert alert)
{
	struct stream_peer peer;

	stream_peer_init(&peer, role, SUITE);
	stream_peer_send_text(&peer, "before");
	stream_peer_send(&peer, type, body, len);
	stream_peer_assert_refused(&peer, alert);
	stream_peer_assert_payload(&peer, "before");
	stream_peer_clear(&peer);
}

static void test_key_updates_that_are_not_well_formed(void **state)
{
	(void)state;
	assert_record_refused(TLS_SERVER, RECORD_HANDSHAKE, "\x18\0\0\1\2", 5, ALERT_ILLEGAL_PARAMETER);
	assert_record_refused(TLS_SERVER, RECORD_HANDSHAKE, "\x18\0\0\1\xff", 5, ALERT_ILLEGAL_PARAMETER);
	assert_record_refused(TLS_SERVER, RECORD_HANDSHAKE, "\x18\0\0\0", 4, ALERT_DECODE_ERROR);
	assert_record_refused(TLS_SERVER, RECORD_HANDSHAKE, "\x18\0\0\2\0\0", 6, ALERT_DECODE_ERROR);
	assert_record_refused(TLS_SERVER, RECORD_HANDSHAKE, "\x18\1\0\1\0", 5, ALERT_DECODE_ERROR);
	assert_record_refused(TLS_SERVER, RECORD_HANDSHAKE, "\x18\0\0\1\0\x18", 6, ALERT_UNEXPECTED_MESSAGE);
	assert_record_refused(TLS_SERVER, RECORD_HANDSHAKE, "\x18\0\0\1\0\x18\0\0\1\0", 10, ALERT_UNEXPECTED_MESSAGE);
}

static void test_other_handshake_messages_are_unexpected(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		const uint8_t message[] = { (uint8_t)type, 0, 0, 1, 0 };
		if (type != HANDSHAKE_KEY_UPDATE)
			assert_record_refused(TLS_SERVER, RECORD_HANDSHAKE, message, 5, ALERT_UNEXPECTED_MESSAGE);
		if (type != HANDSHAKE_KEY_UPDATE && type != HANDSHAKE_NEW_SESSION_TICKET)
			assert_record_refused(TLS_CLIENT, RECORD_HANDSHAKE, message, 5, ALERT_UNEXPECTED_MESSAGE);
	}
}

static void test_a_key_update_may_be_spread_over_records(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	for (size_t i = 0; i < 5; i++)
		stream_peer_send(&peer, RECORD_HANDSHAKE, &"\x18\0\0\1\0"[i], 1);
	assert_int_equal(record_key_update(&peer.seal), PS_OK);
	stream_peer_send_text(&peer, "after");
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	stream_peer_assert_payload(&peer, "after");
	stream_peer_clear(&peer);
}

static void test_nothing_comes_between_parts_of_a_message(void **state)
{
	const struct {
		enum record_type type;
		const char *body;
		size_t len;
	} between[] = {
		{ RECORD_APPLICATION_DATA, "x", 1 },
		{ RECORD_APPLICATION_DATA, "", 0 },
		{ RECORD_ALERT, "\1\0", 2 },
	};

	(void)state;
	for (size_t part = 1; part < 5; part++) {
		for (size_t i = 0; i < sizeof(between) / sizeof(between[0]); i++) {
			struct stream_peer peer;
			stream_peer_init(&peer, TLS_SERVER, SUITE);
			stream_peer_send(&peer, RECORD_HANDSHAKE, "\x18\0\0\1", part);
			stream_peer_send(&peer, between[i].type, between[i].body, between[i].len);
			stream_peer_assert_refused(&peer, ALERT_UNEXPECTED_MESSAGE);
			stream_peer_assert_payload(&peer, "");
			stream_peer_clear(&peer);
		}
	}
}

/* A ticket of `len` bytes of body, sealed in records of at most `part` bytes. */
static void send_ticket(struct stream_peer *peer, size_t len, size_t part)
{
	uint8_t *message = calloc(1, 4 + len);

	assert_non_null(message);
	message[0] = HANDSHAKE_NEW_SESSION_TICKET;
	message[1] = (uint8_t)(len >> 16);
	message[2] = (uint8_t)(len >> 8);
	message[3] = (uint8_t)len;
	for (size_t at = 0; at < 4 + len; at += part) {
		size_t rest = 4 + len - at;
		stream_peer_send(peer, RECORD_HANDSHAKE, message + at, rest < part ? rest : part);
	}
	free(message);
}

static void test_a_client_skips_tickets_of_any_size(void **state)
{
	const size_t sizes[] = { 14, 201, 16380, 16381, 65535, 131337 };
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_CLIENT, SUITE);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		send_ticket(&peer, sizes[i], RECORD_MAX_BODY);
		stream_peer_send_text(&peer, "+");
	}
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	stream_peer_assert_payload(&peer, "++++++");
	assert_int_equal(buf_len(&peer.sent), 0);
	stream_peer_clear(&peer);
}

static void test_tickets_and_a_key_update_may_share_a_record(void **state)
{
	uint8_t messages[2 * (4 + 14) + 5] = { HANDSHAKE_NEW_SESSION_TICKET, 0, 0, 14 };
	struct stream_peer peer;

	(void)state;
	memcpy(messages + 18, messages, 18);
	memcpy(messages + 36, "\x18\0\0\1\1", 5);
	stream_peer_init(&peer, TLS_CLIENT, SUITE);
	stream_peer_send(&peer, RECORD_HANDSHAKE, messages, sizeof(messages));
	assert_int_equal(record_key_update(&peer.seal), PS_OK);
	stream_peer_send_text(&peer, "after");
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	stream_peer_assert_payload(&peer, "after");
	assert_int_equal(stream_peer_receive_key_update(&peer), 0);
	stream_peer_clear(&peer);
}

static void test_tickets_of_impossible_sizes_are_refused(void **state)
{
	(void)state;
	assert_record_refused(TLS_CLIENT, RECORD_HANDSHAKE, "\4\0\0\x0d", 4, ALERT_DECODE_ERROR);
	assert_record_refused(TLS_CLIENT, RECORD_HANDSHAKE, "\4\2\1\x0a", 4, ALERT_DECODE_ERROR);
	assert_record_refused(TLS_CLIENT, RECORD_HANDSHAKE, "\4\xff\xff\xff", 4, ALERT_DECODE_ERROR);
}

static void test_fatal_alerts_of_the_peer_are_named_whatever_their_level(void **state)
{
	(void)state;
	for (uint8_t level = 0; level < 4; level++) {
		const uint8_t alert[] = { level, ALERT_CERTIFICATE_REQUIRED };
		struct stream_peer peer;
		stream_peer_init(&peer, TLS_CLIENT, SUITE);
		assert_int_equal(tls_stream_peer_alert(peer.stream), ALERT_NONE);
		stream_peer_send_text(&peer, "before");
		stream_peer_send(&peer, RECORD_ALERT, alert, 2);
		assert_int_equal(stream_peer_deliver(&peer), PS_E_IO);
		stream_peer_assert_payload(&peer, "before");
		assert_int_equal(tls_stream_peer_alert(peer.stream), ALERT_CERTIFICATE_REQUIRED);
		assert_int_equal(tls_stream_peer_closed(peer.stream), false);
		assert_int_equal(buf_len(&peer.sent), 0);

		stream_peer_send_text(&peer, "after");
		assert_int_equal(stream_peer_deliver(&peer), PS_E_IO);
		assert_int_equal(buf_len(&peer.wire), 0);
		assert_int_equal(tls_stream_seal(peer.stream, alert, 1, &peer.sent), PS_E_CLOSED);
		stream_peer_clear(&peer);
	}
}

static void test_user_canceled_is_ignored(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	stream_peer_send(&peer, RECORD_ALERT, "\1\x5a", 2);
	stream_peer_send(&peer, RECORD_ALERT, "\1\0", 2);
	assert_int_equal(stream_peer_deliver(&peer), PS_E_CLOSED);
	assert_int_equal(tls_stream_peer_alert(peer.stream), ALERT_NONE);
	stream_peer_clear(&peer);
}

static void test_records_that_are_not_well_formed(void **state)
{
	(void)state;
	assert_record_refused(TLS_SERVER, RECORD_ALERT, "\1", 1, ALERT_DECODE_ERROR);
	assert_record_refused(TLS_SERVER, RECORD_ALERT, "\1\0\0", 3, ALERT_DECODE_ERROR);
	assert_record_refused(TLS_SERVER, RECORD_ALERT, "\1\0\1\0", 4, ALERT_DECODE_ERROR);
	assert_record_refused(TLS_SERVER, RECORD_ALERT, "", 0, ALERT_UNEXPECTED_MESSAGE);
	assert_record_refused(TLS_CLIENT, RECORD_HANDSHAKE, "", 0, ALERT_UNEXPECTED_MESSAGE);
	assert_record_refused(TLS_CLIENT, RECORD_CHANGE_CIPHER_SPEC, "\1", 1, ALERT_UNEXPECTED_MESSAGE);
	assert_record_refused(TLS_CLIENT, (enum record_type)24, "\1", 1, ALERT_UNEXPECTED_MESSAGE);
	assert_record_refused(TLS_CLIENT, (enum record_type)255, "\1", 1, ALERT_UNEXPECTED_MESSAGE);
}

static void test_plaintext_records_are_unexpected(void **state)
{
	const uint8_t change_cipher_spec[] = { 20, 3, 3, 0, 1, 1 };
	const uint8_t plain_alert[] = { 21, 3, 3, 0, 2, 2, 48 };
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	assert_int_equal(buf_append(&peer.wire, change_cipher_spec, sizeof(change_cipher_spec)), PS_OK);
	stream_peer_assert_refused(&peer, ALERT_UNEXPECTED_MESSAGE);
	stream_peer_clear(&peer);

	stream_peer_init(&peer, TLS_SERVER, SUITE);
	assert_int_equal(buf_append(&peer.wire, plain_alert, sizeof(plain_alert)), PS_OK);
	stream_peer_assert_refused(&peer, ALERT_UNEXPECTED_MESSAGE);
	stream_peer_clear(&peer);
}

static void test_empty_data_is_allowed(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	for (unsigned i = 0; i < 32; i++)
		stream_peer_send_text(&peer, "");
	stream_peer_send_text(&peer, "x");
	for (unsigned i = 0; i < 32; i++)
		stream_peer_send_text(&peer, "");
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	stream_peer_assert_payload(&peer, "x");
	assert_int_equal(peer.opened.n_spans, 1);
	stream_peer_clear(&peer);
}

static void test_a_flood_of_records_without_payload_is_refused(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	for (unsigned i = 0; i < 11; i++) {
		stream_peer_send_key_update(&peer, 0);
		stream_peer_send_text(&peer, "");
		stream_peer_send(&peer, RECORD_ALERT, "\1\x5a", 2);
	}
	stream_peer_assert_refused(&peer, ALERT_UNEXPECTED_MESSAGE);
	stream_peer_clear(&peer);
}

static void test_a_peer_that_only_downloads_may_update_for_ever(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	for (unsigned i = 0; i < 100; i++) {
		stream_peer_send_key_update(&peer, 0);
		assert_int_equal(stream_peer_deliver(&peer), PS_OK);
		stream_peer_assert_sends(&peer, "download");
	}
	stream_peer_clear(&peer);
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_updates_that_are_not_well_formed),
		cmocka_unit_test(test_other_handshake_messages_are_unexpected),
		cmocka_unit_test(test_a_key_update_may_be_spread_over_records),
		cmocka_unit_test(test_nothing_comes_between_parts_of_a_message),
		cmocka_unit_test(test_a_client_skips_tickets_of_any_size),
		cmocka_unit_test(test_tickets_and_a_key_update_may_share_a_record),
		cmocka_unit_test(test_tickets_of_impossible_sizes_are_refused),
		cmocka_unit_test(test_fatal_alerts_of_the_peer_are_named_whatever_their_level),
		cmocka_unit_test(test_user_canceled_is_ignored),
		cmocka_unit_test(test_records_that_are_not_well_formed),
		cmocka_unit_test(test_plaintext_records_are_unexpected),
		cmocka_unit_test(test_empty_data_is_allowed),
		cmocka_unit_test(test_a_flood_of_records_without_payload_is_refused),
		cmocka_unit_test(test_a_peer_that_only_downloads_may_update_for_ever),
	};

	return cmocka_run_group_tests_name("tls_stream_open", tests, NULL, NULL);
}

int main(void)
{
	return with_each_aead(run_group);
}
