/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/tls_stream.h"

#include <assert.h>
#include <stdlib.h>

#include "tls_stream_private.h"

#define ALERT_LEVEL_WARNING 1
#define ALERT_LEVEL_FATAL 2

#define KEY_UPDATE_LEN (HANDSHAKE_HEADER_LEN + 1)
#define KEY_UPDATE_SEALED_LEN (KEY_UPDATE_LEN + RECORD_EXPANSION)

/* No suite updates after fewer records than this. */
#define RECORDS_BETWEEN_UPDATES (UINT64_C(1) << 22)

static enum ps_err init_keys(struct tls_stream *stream, const struct traffic_secrets *secrets)
{
	bool client = stream->role == TLS_CLIENT;
	const uint8_t *ours = client ? secrets->client : secrets->server;
	const uint8_t *theirs = client ? secrets->server : secrets->client;

	enum ps_err err = record_key_init(&stream->seal, stream->suite, ours);
	if (err == PS_OK)
		err = record_key_init(&stream->open, stream->suite, theirs);
	return err;
}

enum ps_err tls_stream_new(enum tls_role role, const struct traffic_secrets *secrets, struct tls_stream **stream)
{
	const struct suite *suite = suite_find(secrets->suite);
	if (suite == NULL)
		return PS_E_PROTO;
	struct tls_stream *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return PS_E_NOMEM;

	made->role = role;
	made->suite = suite;
	made->peer_alert = ALERT_NONE;
	made->sent_alert = ALERT_NONE;
	enum ps_err err = init_keys(made, secrets);
	if (err != PS_OK) {
		tls_stream_free(made);
		return err;
	}
	*stream = made;
	return PS_OK;
}

void tls_stream_free(struct tls_stream *stream)
{
	if (stream == NULL)
		return;
	record_key_clear(&stream->seal);
	record_key_clear(&stream->open);
	free(stream);
}

void tls_stream_end_out(struct tls_stream *stream)
{
	stream->out_ended = true;
	record_key_clear(&stream->seal);
}

void tls_stream_end_in(struct tls_stream *stream, enum ps_err end)
{
	stream->in_end = end;
	record_key_clear(&stream->open);
}

/* Whether so many records may not follow. The last record of a key is kept for the KeyUpdate, or the alert, that ends it. */
static bool key_is_used_up(const struct tls_stream *stream, uint64_t n_records)
{
	return stream->seal.sequence + n_records >= stream->suite->seal_limit;
}

enum ps_err tls_stream_update_key(struct tls_stream *stream, bool request, struct buf *out)
{
	const uint8_t message[KEY_UPDATE_LEN] = { HANDSHAKE_KEY_UPDATE, 0, 0, 1, request ? 1 : 0 };

	if (stream->out_ended)
		return PS_E_CLOSED;
	enum ps_err err = record_seal(&stream->seal, RECORD_HANDSHAKE, message, sizeof(message), out);
	if (err != PS_OK)
		return err;

	err = record_key_update(&stream->seal);
	if (err != PS_OK) {
		/* The peer would read what follows under a key that we do not have. */
		out->end -= KEY_UPDATE_SEALED_LEN;
		tls_stream_end_out(stream);
		return err;
	}
	stream->update_owed = false;
	if (request)
		stream->update_requested = true;
	return PS_OK;
}

/* The KeyUpdate that has to come before so many records. */
static enum ps_err update_in_time(struct tls_stream *stream, uint64_t n_records, struct buf *out)
{
	const bool due = stream->update_owed || key_is_used_up(stream, n_records);

	return due ? tls_stream_update_key(stream, false, out) : PS_OK;
}

static enum ps_err seal_one(struct tls_stream *stream, const uint8_t *payload, size_t len, struct buf *out)
{
	const enum ps_err err = update_in_time(stream, 1, out);
	if (err != PS_OK)
		return err;
	return record_seal(&stream->seal, RECORD_APPLICATION_DATA, payload, len, out);
}

enum ps_err tls_stream_seal(struct tls_stream *stream, const uint8_t *payload, size_t len, struct buf *out)
{
	if (stream->out_ended)
		return PS_E_CLOSED;
	if (len == 0)
		return PS_OK;
	enum ps_err err = buf_reserve(out, tls_stream_sealed_max(len));
	if (err != PS_OK)
		return err;

	while (len > 0) {
		size_t body_len = len < RECORD_MAX_BODY ? len : RECORD_MAX_BODY;
		err = seal_one(stream, payload, body_len, out);
		if (err != PS_OK) {
			tls_stream_end_out(stream);
			return err;
		}
		payload += body_len;
		len -= body_len;
	}
	stream->silent = 0;
	return PS_OK;
}

_Static_assert(TLS_FRAME_FRONT == RECORD_HEADER_LEN && TLS_FRAME_PAYLOAD == RECORD_MAX_BODY &&
                   TLS_FRAME_LEN == RECORD_MAX_BODY + RECORD_EXPANSION,
               "a frame is the place of a full record");

void tls_stream_frames(uint8_t *frames, size_t n, struct iovec *places)
{
	for (size_t i = 0; i < n; i++)
		places[i] =
			(struct iovec){ .iov_base = frames + i * TLS_FRAME_LEN + TLS_FRAME_FRONT, .iov_len = TLS_FRAME_PAYLOAD };
}

static enum ps_err seal_frames(struct tls_stream *stream, uint8_t *frame, size_t len, size_t *sealed_len)
{
	uint8_t *const first = frame;
	enum ps_err err = PS_OK;

	while (len > 0 && err == PS_OK) {
		const size_t body_len = len < TLS_FRAME_PAYLOAD ? len : TLS_FRAME_PAYLOAD;
		err = record_seal_in_place(&stream->seal, RECORD_APPLICATION_DATA, frame, body_len);
		frame += body_len + RECORD_EXPANSION;
		len -= body_len;
	}
	*sealed_len = (size_t)(frame - first);
	return err;
}

enum ps_err tls_stream_seal_frames(struct tls_stream *stream, uint8_t *frames, size_t len, struct buf *before,
                                   size_t *sealed_len)
{
	const uint64_t n_records = (len + TLS_FRAME_PAYLOAD - 1) / TLS_FRAME_PAYLOAD;

	*sealed_len = 0;
	if (stream->out_ended)
		return PS_E_CLOSED;
	if (len == 0)
		return PS_OK;
	assert(n_records < RECORDS_BETWEEN_UPDATES);
	/* There is no place between the frames: a KeyUpdate comes before all of them, a little too early. */
	enum ps_err err = update_in_time(stream, n_records, before);
	if (err == PS_OK)
		err = seal_frames(stream, frames, len, sealed_len);
	if (err == PS_OK)
		stream->silent = 0;
	else
		tls_stream_end_out(stream);
	return err;
}

size_t tls_stream_sealed_max(size_t len)
{
	size_t records = len / RECORD_MAX_BODY + (len % RECORD_MAX_BODY != 0);
	size_t updates = 1 + records / RECORDS_BETWEEN_UPDATES;

	return len + records * RECORD_EXPANSION + updates * KEY_UPDATE_SEALED_LEN;
}

static enum ps_err end_with_alert(struct tls_stream *stream, uint8_t level, enum alert alert, struct buf *out)
{
	const uint8_t message[2] = { level, (uint8_t)alert };

	if (stream->out_ended)
		return PS_OK;
	enum ps_err err = record_seal(&stream->seal, RECORD_ALERT, message, sizeof(message), out);
	if (err != PS_OK)
		return err;
	if (level == ALERT_LEVEL_FATAL)
		stream->sent_alert = (uint8_t)alert;
	tls_stream_end_out(stream);
	return PS_OK;
}

enum ps_err tls_stream_close(struct tls_stream *stream, struct buf *out)
{
	return end_with_alert(stream, ALERT_LEVEL_WARNING, ALERT_CLOSE_NOTIFY, out);
}

enum ps_err tls_stream_fail(struct tls_stream *stream, enum alert alert, struct buf *out)
{
	if (stream->in_end == PS_OK)
		tls_stream_end_in(stream, PS_E_PROTO);
	return end_with_alert(stream, ALERT_LEVEL_FATAL, alert, out);
}

uint8_t tls_stream_peer_alert(const struct tls_stream *stream)
{
	return stream->peer_alert;
}

uint8_t tls_stream_sent_alert(const struct tls_stream *stream)
{
	return stream->sent_alert;
}

bool tls_stream_peer_closed(const struct tls_stream *stream)
{
	return stream->in_end == PS_E_CLOSED;
}

const struct suite *tls_stream_suite(const struct tls_stream *stream)
{
	return stream->suite;
}
