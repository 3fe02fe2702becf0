/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

void stream_peer_init(struct stream_peer *peer, enum tls_role role, uint16_t suite)
{
	struct traffic_secrets secrets = { .suite = suite };
	const uint8_t *theirs = role == TLS_CLIENT ? secrets.server : secrets.client;
	const uint8_t *ours = role == TLS_CLIENT ? secrets.client : secrets.server;

	memset(secrets.client, 0xc1, sizeof(secrets.client));
	memset(secrets.server, 0x5e, sizeof(secrets.server));
	*peer = (struct stream_peer){ 0 };
	assert_int_equal(tls_stream_new(role, &secrets, &peer->stream), PS_OK);
	assert_int_equal(record_key_init(&peer->seal, suite_find(suite), theirs), PS_OK);
	assert_int_equal(record_key_init(&peer->open, suite_find(suite), ours), PS_OK);
}

void stream_peer_clear(struct stream_peer *peer)
{
	tls_stream_free(peer->stream);
	record_key_clear(&peer->seal);
	record_key_clear(&peer->open);
	buf_release(&peer->wire);
	buf_release(&peer->sent);
	buf_release(&peer->payload);
}

void stream_peer_send(struct stream_peer *peer, enum record_type type, const void *body, size_t len)
{
	assert_int_equal(record_seal(&peer->seal, type, body, len, &peer->wire), PS_OK);
}

void stream_peer_send_key_update(struct stream_peer *peer, uint8_t request)
{
	const uint8_t message[] = { 24, 0, 0, 1, request };

	stream_peer_send(peer, RECORD_HANDSHAKE, message, sizeof(message));
	assert_int_equal(record_key_update(&peer->seal), PS_OK);
}

enum ps_err stream_peer_deliver(struct stream_peer *peer)
{
	enum ps_err err;

	do {
		size_t len = buf_len(&peer->wire);
		err = tls_stream_open(peer->stream, buf_front(&peer->wire), len, peer->spans, STREAM_PEER_SPANS, &peer->opened,
		                      &peer->sent);
		size_t payload = 0;
		for (size_t i = 0; i < peer->opened.n_spans; i++) {
			payload += peer->spans[i].iov_len;
			assert_int_equal(buf_append(&peer->payload, peer->spans[i].iov_base, peer->spans[i].iov_len), PS_OK);
		}
		assert_int_equal(payload, peer->opened.payload);
		buf_consume(&peer->wire, peer->opened.consumed);
	} while (err == PS_OK && peer->opened.more);
	return err;
}

struct record stream_peer_receive(struct stream_peer *peer)
{
	struct record record;
	enum alert alert;

	assert_int_equal(record_open(&peer->open, buf_front(&peer->sent), buf_len(&peer->sent), &record, &alert), PS_OK);
	buf_consume(&peer->sent, record.wire_len);
	return record;
}

uint8_t stream_peer_receive_key_update(struct stream_peer *peer)
{
	const uint8_t header[] = { 24, 0, 0, 1 };
	struct record record = stream_peer_receive(peer);

	assert_int_equal(record.type, RECORD_HANDSHAKE);
	assert_int_equal(record.body_len, 5);
	assert_memory_equal(record.body, header, sizeof(header));
	assert_int_equal(record_key_update(&peer->open), PS_OK);
	return record.body[4];
}

void stream_peer_receive_alert(struct stream_peer *peer, uint8_t level, enum alert alert)
{
	struct record record = stream_peer_receive(peer);

	assert_int_equal(record.type, RECORD_ALERT);
	assert_int_equal(record.body_len, 2);
	assert_int_equal(record.body[0], level);
	assert_int_equal(record.body[1], alert);
	assert_int_equal(buf_len(&peer->sent), 0);
}

void stream_peer_send_text(struct stream_peer *peer, const char *text)
{
	stream_peer_send(peer, RECORD_APPLICATION_DATA, text, strlen(text));
}

void stream_peer_assert_payload(const struct stream_peer *peer, const char *text)
{
	assert_int_equal(buf_len(&peer->payload), strlen(text));
	assert_memory_equal(buf_front(&peer->payload), text, strlen(text));
}

void stream_peer_assert_sends(struct stream_peer *peer, const char *text)
{
	assert_int_equal(tls_stream_seal(peer->stream, (const uint8_t *)text, strlen(text), &peer->sent), PS_OK);
	struct record record = stream_peer_receive(peer);
	assert_int_equal(record.type, RECORD_APPLICATION_DATA);
	assert_int_equal(record.body_len, strlen(text));
	assert_memory_equal(record.body, text, strlen(text));
}

void stream_peer_assert_refused(struct stream_peer *peer, enum alert alert)
{
	assert_int_equal(stream_peer_deliver(peer), PS_E_PROTO);
	assert_int_equal(buf_len(&peer->wire), 0);
	stream_peer_receive_alert(peer, 2, alert);
	stream_peer_send_text(peer, "more");
	assert_int_equal(stream_peer_deliver(peer), PS_E_PROTO);
	assert_int_equal(buf_len(&peer->wire), 0);
	assert_int_equal(peer->opened.n_spans, 0);
	assert_int_equal(tls_stream_seal(peer->stream, (const uint8_t *)"x", 1, &peer->sent), PS_E_CLOSED);
	assert_int_equal(buf_len(&peer->sent), 0);
}
