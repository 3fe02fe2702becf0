/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "each_aead.h"
#include "hex.h"
#include "rfc8448.h"
#include "stream_peer.h"
#include "tls/tls_stream_private.h"

#define SUITE SUITE_AES_128_GCM_SHA256

static const uint16_t all_suites[] = { SUITE_AES_128_GCM_SHA256, SUITE_AES_256_GCM_SHA384,
	                                   SUITE_CHACHA20_POLY1305_SHA256 };

#define N_SUITES (sizeof(all_suites) / sizeof(all_suites[0]))

static void test_both_sides_of_rfc_8448_understand_each_other(void **state)
{
	struct traffic_secrets secrets = { .suite = SUITE };
	struct tls_stream *client;
	struct iovec spans[2];
	struct tls_opened opened;
	struct buf reply = BUF_INIT;
	uint8_t wire[512], want[64];

	(void)state;
	(void)hex_decode(RFC8448_CLIENT_SECRET, secrets.client, sizeof(secrets.client));
	(void)hex_decode(RFC8448_SERVER_SECRET, secrets.server, sizeof(secrets.server));
	size_t len =
		hex_decode(RFC8448_TICKET_RECORD RFC8448_SERVER_DATA_RECORD RFC8448_SERVER_CLOSE_RECORD, wire, sizeof(wire));
	size_t want_len = hex_decode(RFC8448_PAYLOAD, want, sizeof(want));
	assert_int_equal(tls_stream_new(TLS_CLIENT, &secrets, &client), PS_OK);
	assert_int_equal(tls_stream_open(client, wire, len, spans, 2, &opened, &reply), PS_E_CLOSED);
	assert_int_equal(opened.consumed, len);
	assert_int_equal(opened.n_spans, 1);
	assert_int_equal(opened.payload, want_len);
	assert_memory_equal(spans[0].iov_base, want, want_len);
	assert_int_equal(buf_len(&reply), 0);

	assert_int_equal(tls_stream_seal(client, want, want_len, &reply), PS_OK);
	assert_int_equal(tls_stream_close(client, &reply), PS_OK);
	len = hex_decode(RFC8448_CLIENT_DATA_RECORD RFC8448_CLIENT_CLOSE_RECORD, wire, sizeof(wire));
	assert_int_equal(buf_len(&reply), len);
	assert_memory_equal(buf_front(&reply), wire, len);
	buf_release(&reply);
	tls_stream_free(client);
}

static void test_an_unknown_suite_is_refused(void **state)
{
	const struct traffic_secrets secrets = { .suite = 0x1304 };
	struct tls_stream *stream;

	(void)state;
	assert_int_equal(tls_stream_new(TLS_SERVER, &secrets, &stream), PS_E_PROTO);
}

static void test_data_of_many_records_goes_both_ways(void **state)
{
	const size_t sizes[] = { 0, 1, 16383, 16384, 16385, 100000 };
	uint8_t *data = malloc(100000);

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < 100000; i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t s = 0; s < N_SUITES; s++) {
		struct stream_peer a;
		stream_peer_init(&a, TLS_SERVER, all_suites[s]);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			size_t got = 0;
			assert_int_equal(tls_stream_seal(a.stream, data, sizes[i], &a.sent), PS_OK);
			assert_in_range(tls_stream_sealed_max(sizes[i]), buf_len(&a.sent), buf_len(&a.sent) + 5 + RECORD_EXPANSION);
			while (buf_len(&a.sent) > 0) {
				struct record record = stream_peer_receive(&a);
				assert_memory_equal(record.body, data + got, record.body_len);
				stream_peer_send(&a, RECORD_APPLICATION_DATA, record.body, record.body_len);
				got += record.body_len;
			}
			assert_int_equal(got, sizes[i]);
			assert_int_equal(stream_peer_deliver(&a), PS_OK);
			assert_int_equal(buf_len(&a.payload), sizes[i]);
			assert_memory_equal(buf_front(&a.payload), data, sizes[i]);
			buf_reset(&a.payload);
		}
		stream_peer_clear(&a);
	}
	free(data);
}

static void test_bytes_may_come_one_at_a_time(void **state)
{
	struct stream_peer peer;
	struct buf whole;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	stream_peer_send_text(&peer, "first");
	stream_peer_send_key_update(&peer, 0);
	stream_peer_send_text(&peer, "second");
	whole = peer.wire;
	peer.wire = BUF_INIT;
	while (buf_len(&whole) > 0) {
		assert_int_equal(buf_append(&peer.wire, buf_front(&whole), 1), PS_OK);
		buf_consume(&whole, 1);
		assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	}
	stream_peer_assert_payload(&peer, "firstsecond");
	buf_release(&whole);
	stream_peer_clear(&peer);
}

static void test_full_spans_stop_before_the_next_record(void **state)
{
	struct stream_peer peer;
	struct iovec span;
	struct tls_opened opened;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	stream_peer_send_text(&peer, "one");
	size_t first = buf_len(&peer.wire);
	stream_peer_send_text(&peer, "two");
	uint8_t *bytes = buf_front(&peer.wire);
	size_t len = buf_len(&peer.wire);

	assert_int_equal(tls_stream_open(peer.stream, bytes, len, &span, 1, &opened, &peer.sent), PS_OK);
	assert_int_equal(opened.more, true);
	assert_int_equal(opened.consumed, first);
	assert_memory_equal(span.iov_base, "one", 3);
	assert_int_equal(tls_stream_open(peer.stream, bytes + first, len - first - 1, &span, 1, &opened, &peer.sent),
	                 PS_OK);
	assert_int_equal(opened.n_spans, 0);
	assert_int_equal(tls_stream_open(peer.stream, bytes + first, len - first, &span, 1, &opened, &peer.sent), PS_OK);
	assert_int_equal(opened.more, false);
	assert_memory_equal(span.iov_base, "two", 3);
	stream_peer_clear(&peer);
}

static void test_a_bad_header_behind_full_spans_is_not_missed(void **state)
{
	const uint8_t header[] = { 23, 3, 3, 0xff, 0xff };
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	for (size_t i = 0; i < STREAM_PEER_SPANS; i++)
		stream_peer_send_text(&peer, "x");
	assert_int_equal(buf_append(&peer.wire, header, sizeof(header)), PS_OK);
	assert_int_equal(stream_peer_deliver(&peer), PS_E_PROTO);
	stream_peer_receive_alert(&peer, 2, ALERT_RECORD_OVERFLOW);
	stream_peer_assert_payload(&peer, "xxxxxxxx");
	stream_peer_clear(&peer);
}

static void test_a_forged_record_is_answered_after_the_payload_before_it(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	stream_peer_send_text(&peer, "genuine");
	stream_peer_send_text(&peer, "forged");
	peer.wire.data[peer.wire.end - 1] ^= 1;
	stream_peer_assert_refused(&peer, ALERT_BAD_RECORD_MAC);
	stream_peer_assert_payload(&peer, "genuine");
	stream_peer_clear(&peer);
}

static void test_the_peer_may_update_its_key_in_mid_stream(void **state)
{
	(void)state;
	for (size_t s = 0; s < N_SUITES; s++) {
		struct stream_peer peer;
		stream_peer_init(&peer, TLS_CLIENT, all_suites[s]);
		stream_peer_send_text(&peer, "old ");
		stream_peer_send_key_update(&peer, 0);
		stream_peer_send_text(&peer, "new ");
		stream_peer_send_key_update(&peer, 0);
		stream_peer_send_text(&peer, "newer");
		assert_int_equal(stream_peer_deliver(&peer), PS_OK);
		stream_peer_assert_payload(&peer, "old new newer");
		assert_int_equal(buf_len(&peer.sent), 0);
		stream_peer_clear(&peer);
	}
}

static void test_a_requested_update_is_answered_once(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	stream_peer_send_key_update(&peer, 1);
	stream_peer_send_key_update(&peer, 1);
	stream_peer_send_text(&peer, "data");
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	assert_int_equal(stream_peer_receive_key_update(&peer), 0);
	assert_int_equal(buf_len(&peer.sent), 0);
	stream_peer_assert_sends(&peer, "under the new key");
	stream_peer_clear(&peer);
}

static void test_an_answer_waits_while_bytes_are_unsent(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	assert_int_equal(tls_stream_seal(peer.stream, (const uint8_t *)"x", 1, &peer.sent), PS_OK);
	size_t unsent = buf_len(&peer.sent);
	for (unsigned i = 0; i < 10; i++) {
		stream_peer_send_key_update(&peer, 1);
		assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	}
	assert_int_equal(buf_len(&peer.sent), unsent);

	(void)stream_peer_receive(&peer);
	assert_int_equal(tls_stream_seal(peer.stream, (const uint8_t *)"y", 1, &peer.sent), PS_OK);
	assert_int_equal(stream_peer_receive_key_update(&peer), 0);
	assert_int_equal(stream_peer_receive(&peer).body[0], 'y');
	assert_int_equal(buf_len(&peer.sent), 0);
	stream_peer_clear(&peer);
}

static void test_no_answer_to_a_request_after_close_notify(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	assert_int_equal(tls_stream_close(peer.stream, &peer.sent), PS_OK);
	stream_peer_receive_alert(&peer, 1, ALERT_CLOSE_NOTIFY);
	stream_peer_send_key_update(&peer, 1);
	stream_peer_send_text(&peer, "still coming");
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	stream_peer_assert_payload(&peer, "still coming");
	assert_int_equal(buf_len(&peer.sent), 0);
	stream_peer_clear(&peer);
}

static void test_our_update_with_and_without_request(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_CLIENT, SUITE);
	assert_int_equal(tls_stream_update_key(peer.stream, false, &peer.sent), PS_OK);
	assert_int_equal(stream_peer_receive_key_update(&peer), 0);
	stream_peer_assert_sends(&peer, "one");
	assert_int_equal(tls_stream_update_key(peer.stream, true, &peer.sent), PS_OK);
	assert_int_equal(stream_peer_receive_key_update(&peer), 1);
	stream_peer_assert_sends(&peer, "two");
	stream_peer_clear(&peer);
}

static void test_our_key_is_updated_before_its_limit(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	peer.stream->seal.sequence = peer.stream->suite->seal_limit - 3;
	peer.open.sequence = peer.stream->seal.sequence;
	stream_peer_assert_sends(&peer, "the last but one");
	stream_peer_assert_sends(&peer, "the last");
	assert_int_equal(tls_stream_seal(peer.stream, (const uint8_t *)"n", 1, &peer.sent), PS_OK);
	assert_int_equal(stream_peer_receive_key_update(&peer), 0);
	assert_int_equal(stream_peer_receive(&peer).body[0], 'n');
	assert_int_equal(peer.stream->seal.sequence, 1);
	stream_peer_clear(&peer);
}

/* Reads `len` bytes of a pattern into frames and seals them; what goes on the wire. */
static enum ps_err seal_frames(struct stream_peer *peer, size_t len)
{
	enum { N_FRAMES = 4 };
	static uint8_t frames[N_FRAMES * TLS_FRAME_LEN];
	struct iovec places[N_FRAMES];
	size_t sealed_len = 1;

	tls_stream_frames(frames, N_FRAMES, places);
	for (size_t i = 0; i < len; i++)
		((uint8_t *)places[i / TLS_FRAME_PAYLOAD].iov_base)[i % TLS_FRAME_PAYLOAD] = (uint8_t)(i * 11);
	const enum ps_err err = tls_stream_seal_frames(peer->stream, frames, len, &peer->sent, &sealed_len);
	assert_int_equal(buf_append(&peer->sent, frames, sealed_len), PS_OK);
	return err;
}

static void assert_receives_pattern(struct stream_peer *peer, size_t len)
{
	for (size_t at = 0; at < len; at += TLS_FRAME_PAYLOAD) {
		const size_t want = len - at < TLS_FRAME_PAYLOAD ? len - at : TLS_FRAME_PAYLOAD;
		const struct record record = stream_peer_receive(peer);
		assert_int_equal(record.type, RECORD_APPLICATION_DATA);
		assert_int_equal(record.body_len, want);
		for (size_t i = 0; i < want; i++)
			assert_int_equal(record.body[i], (uint8_t)((at + i) * 11));
	}
	assert_int_equal(buf_len(&peer->sent), 0);
}

static void test_frames_are_sealed_where_they_lie(void **state)
{
	static const size_t sizes[] = {
		0, 1, 100, TLS_FRAME_PAYLOAD - 1, TLS_FRAME_PAYLOAD, TLS_FRAME_PAYLOAD + 1, 4 * TLS_FRAME_PAYLOAD
	};
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(seal_frames(&peer, sizes[i]), PS_OK);
		assert_receives_pattern(&peer, sizes[i]);
	}
	stream_peer_assert_sends(&peer, "and copies as before");
	assert_int_equal(tls_stream_close(peer.stream, &peer.sent), PS_OK);
	stream_peer_receive_alert(&peer, 1, ALERT_CLOSE_NOTIFY);
	assert_int_equal(seal_frames(&peer, 1), PS_E_CLOSED);
	assert_int_equal(buf_len(&peer.sent), 0);
	stream_peer_clear(&peer);
}

static void test_a_key_that_would_not_last_for_the_frames_is_updated_before_them(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	peer.stream->seal.sequence = peer.stream->suite->seal_limit - 4;
	peer.open.sequence = peer.stream->seal.sequence;
	assert_int_equal(seal_frames(&peer, 3 * TLS_FRAME_PAYLOAD), PS_OK); /* the last record stays for the update */
	assert_receives_pattern(&peer, 3 * TLS_FRAME_PAYLOAD);
	assert_int_equal(seal_frames(&peer, 1), PS_OK);
	assert_int_equal(stream_peer_receive_key_update(&peer), 0);
	assert_receives_pattern(&peer, 1);

	peer.stream->seal.sequence = peer.stream->suite->seal_limit - 4;
	peer.open.sequence = peer.stream->seal.sequence;
	assert_int_equal(seal_frames(&peer, 3 * TLS_FRAME_PAYLOAD + 1), PS_OK);
	assert_int_equal(stream_peer_receive_key_update(&peer), 0);
	assert_receives_pattern(&peer, 3 * TLS_FRAME_PAYLOAD + 1);
	assert_int_equal(peer.stream->seal.sequence, 4);
	stream_peer_clear(&peer);
}

static void test_an_update_that_is_owed_comes_before_the_frames(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	stream_peer_send_text(&peer, "x");
	assert_int_equal(buf_append(&peer.sent, "u", 1), PS_OK); /* unsent: the answer has to wait */
	stream_peer_send_key_update(&peer, 1);
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	buf_consume(&peer.sent, 1);
	assert_int_equal(seal_frames(&peer, 5), PS_OK);
	assert_int_equal(stream_peer_receive_key_update(&peer), 0);
	assert_receives_pattern(&peer, 5);
	stream_peer_clear(&peer);
}

static void test_the_last_record_of_a_key_may_be_an_alert(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	peer.stream->seal.sequence = peer.stream->suite->seal_limit - 2;
	peer.open.sequence = peer.stream->seal.sequence;
	stream_peer_assert_sends(&peer, "the last");
	assert_int_equal(tls_stream_close(peer.stream, &peer.sent), PS_OK);
	stream_peer_receive_alert(&peer, 1, ALERT_CLOSE_NOTIFY);
	stream_peer_clear(&peer);
}

static void test_a_peer_near_its_limit_is_asked_once(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	peer.seal.sequence = peer.stream->suite->request_limit - 1;
	peer.stream->open.sequence = peer.seal.sequence;
	peer.seal.suite = suite_find(SUITE_CHACHA20_POLY1305_SHA256); /* whose keys seal for longer */
	stream_peer_send_text(&peer, "a");
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	assert_int_equal(stream_peer_receive_key_update(&peer), 1);
	stream_peer_send_text(&peer, "b");
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	assert_int_equal(buf_len(&peer.sent), 0);

	const uint8_t update[] = { 24, 0, 0, 1, 0 };
	stream_peer_send(&peer, RECORD_HANDSHAKE, update, sizeof(update));
	peer.seal.suite = peer.stream->suite;
	assert_int_equal(record_key_update(&peer.seal), PS_OK);
	stream_peer_send_text(&peer, "c");
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	stream_peer_assert_payload(&peer, "abc");
	assert_int_equal(buf_len(&peer.sent), 0);
	stream_peer_clear(&peer);
}

static void test_a_peer_that_never_updates_is_refused_at_last(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	stream_peer_send_text(&peer, "x");
	peer.stream->open.sequence = peer.stream->suite->open_limit;
	peer.stream->update_requested = true;
	stream_peer_assert_refused(&peer, ALERT_UNEXPECTED_MESSAGE);
	stream_peer_clear(&peer);
}

static void test_close_notify_ends_the_peers_direction_only(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	stream_peer_send_text(&peer, "last words");
	stream_peer_send(&peer, RECORD_ALERT, "\1\0", 2);
	stream_peer_send_text(&peer, "ignored");
	assert_int_equal(tls_stream_peer_closed(peer.stream), false);
	assert_int_equal(stream_peer_deliver(&peer), PS_E_CLOSED);
	assert_int_equal(tls_stream_peer_closed(peer.stream), true);
	assert_int_equal(buf_len(&peer.wire), 0);
	stream_peer_assert_payload(&peer, "last words");

	stream_peer_send_text(&peer, "ignored too");
	assert_int_equal(stream_peer_deliver(&peer), PS_E_CLOSED);
	assert_int_equal(buf_len(&peer.wire), 0);
	stream_peer_assert_payload(&peer, "last words");
	stream_peer_assert_sends(&peer, "our half goes on");
	assert_int_equal(tls_stream_close(peer.stream, &peer.sent), PS_OK);
	stream_peer_receive_alert(&peer, 1, ALERT_CLOSE_NOTIFY);
	stream_peer_clear(&peer);
}

static void test_an_update_asked_before_close_notify_precedes_our_data(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	stream_peer_send_key_update(&peer, 1);
	stream_peer_send(&peer, RECORD_ALERT, "\1\0", 2);
	assert_int_equal(stream_peer_deliver(&peer), PS_E_CLOSED);
	assert_int_equal(tls_stream_seal(peer.stream, (const uint8_t *)"z", 1, &peer.sent), PS_OK);
	assert_int_equal(stream_peer_receive_key_update(&peer), 0);
	assert_int_equal(stream_peer_receive(&peer).body[0], 'z');
	stream_peer_clear(&peer);
}

static void test_closing_twice_adds_nothing_and_reading_goes_on(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_CLIENT, SUITE);
	assert_int_equal(tls_stream_close(peer.stream, &peer.sent), PS_OK);
	assert_int_equal(tls_stream_close(peer.stream, &peer.sent), PS_OK);
	assert_int_equal(tls_stream_fail(peer.stream, ALERT_INTERNAL_ERROR, &peer.sent), PS_OK);
	stream_peer_receive_alert(&peer, 1, ALERT_CLOSE_NOTIFY);
	assert_int_equal(tls_stream_seal(peer.stream, (const uint8_t *)"x", 1, &peer.sent), PS_E_CLOSED);
	assert_int_equal(tls_stream_update_key(peer.stream, false, &peer.sent), PS_E_CLOSED);
	stream_peer_clear(&peer);

	stream_peer_init(&peer, TLS_CLIENT, SUITE);
	assert_int_equal(tls_stream_close(peer.stream, &peer.sent), PS_OK);
	stream_peer_send_text(&peer, "answer");
	assert_int_equal(stream_peer_deliver(&peer), PS_OK);
	stream_peer_assert_payload(&peer, "answer");
	stream_peer_clear(&peer);
}

static void test_a_refusal_of_ours_ends_both_directions(void **state)
{
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	assert_int_equal(tls_stream_sent_alert(peer.stream), ALERT_NONE);
	assert_int_equal(tls_stream_fail(peer.stream, ALERT_ACCESS_DENIED, &peer.sent), PS_OK);
	assert_int_equal(tls_stream_sent_alert(peer.stream), ALERT_ACCESS_DENIED);
	stream_peer_receive_alert(&peer, 2, ALERT_ACCESS_DENIED);
	stream_peer_send_text(&peer, "unheard");
	assert_int_equal(stream_peer_deliver(&peer), PS_E_PROTO);
	stream_peer_assert_payload(&peer, "");
	assert_int_equal(buf_len(&peer.sent), 0);
	stream_peer_clear(&peer);
}

static void test_keys_are_wiped_when_a_direction_ends(void **state)
{
	const struct record_key zeros = { 0 };
	struct stream_peer peer;

	(void)state;
	stream_peer_init(&peer, TLS_SERVER, SUITE);
	assert_int_equal(tls_stream_close(peer.stream, &peer.sent), PS_OK);
	assert_memory_equal(&peer.stream->seal, &zeros, sizeof(zeros));
	stream_peer_send(&peer, RECORD_ALERT, "\1\0", 2);
	assert_int_equal(stream_peer_deliver(&peer), PS_E_CLOSED);
	assert_memory_equal(&peer.stream->open, &zeros, sizeof(zeros));
	assert_int_equal(tls_stream_suite(peer.stream)->id, SUITE);
	stream_peer_clear(&peer);
}

static void test_freeing_no_stream_is_harmless(void **state)
{
	(void)state;
	tls_stream_free(NULL);
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_sides_of_rfc_8448_understand_each_other),
		cmocka_unit_test(test_an_unknown_suite_is_refused),
		cmocka_unit_test(test_data_of_many_records_goes_both_ways),
		cmocka_unit_test(test_bytes_may_come_one_at_a_time),
		cmocka_unit_test(test_full_spans_stop_before_the_next_record),
		cmocka_unit_test(test_a_bad_header_behind_full_spans_is_not_missed),
		cmocka_unit_test(test_a_forged_record_is_answered_after_the_payload_before_it),
		cmocka_unit_test(test_the_peer_may_update_its_key_in_mid_stream),
		cmocka_unit_test(test_a_requested_update_is_answered_once),
		cmocka_unit_test(test_an_answer_waits_while_bytes_are_unsent),
		cmocka_unit_test(test_no_answer_to_a_request_after_close_notify),
		cmocka_unit_test(test_our_update_with_and_without_request),
		cmocka_unit_test(test_our_key_is_updated_before_its_limit),
		cmocka_unit_test(test_frames_are_sealed_where_they_lie),
		cmocka_unit_test(test_a_key_that_would_not_last_for_the_frames_is_updated_before_them),
		cmocka_unit_test(test_an_update_that_is_owed_comes_before_the_frames),
		cmocka_unit_test(test_the_last_record_of_a_key_may_be_an_alert),
		cmocka_unit_test(test_a_peer_near_its_limit_is_asked_once),
		cmocka_unit_test(test_a_peer_that_never_updates_is_refused_at_last),
		cmocka_unit_test(test_close_notify_ends_the_peers_direction_only),
		cmocka_unit_test(test_an_update_asked_before_close_notify_precedes_our_data),
		cmocka_unit_test(test_closing_twice_adds_nothing_and_reading_goes_on),
		cmocka_unit_test(test_a_refusal_of_ours_ends_both_directions),
		cmocka_unit_test(test_keys_are_wiped_when_a_direction_ends),
		cmocka_unit_test(test_freeing_no_stream_is_harmless),
	};

	return cmocka_run_group_tests_name("tls_stream", tests, NULL, NULL);
}

int main(void)
{
	return with_each_aead(run_group);
}
