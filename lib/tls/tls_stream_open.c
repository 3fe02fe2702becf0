/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_stream_open -- the peer's direction of a tls_stream: payload, and everything that is not payload.
 */
#include "tls_stream_private.h"

#include <assert.h>
#include <string.h>

/*
 * Records in a row that carry nothing for the application: KeyUpdates, tickets, empty data. The largest ticket fills nine
 * records and servers send a few small ones; what pads an idle connection with empty records is asked for nowhere.
 * OpenSSL, BoringSSL and rustls stop at 32 as well. Payload in either direction starts the count again, because a peer
 * which only downloads may have to update its key every 2^24 records without ever sending data.
 */
#define SILENT_MAX 32

/* Bodies of a NewSessionTicket: lifetime, age_add, nonce<0..255>, ticket<1..2^16-1>, extensions<0..2^16-2>. */
#define TICKET_MIN (4 + 4 + 1 + 0 + 2 + 1 + 2)
#define TICKET_MAX (4 + 4 + 1 + 255 + 2 + 65535 + 2 + 65534)

#define UPDATE_NOT_REQUESTED 0
#define UPDATE_REQUESTED 1

static enum ps_err refuse(enum alert reason, enum alert *alert)
{
	*alert = reason;
	return PS_E_PROTO;
}

static enum ps_err check_length(uint32_t len, uint32_t min, uint32_t max, enum alert *alert)
{
	return len >= min && len <= max ? PS_OK : refuse(ALERT_DECODE_ERROR, alert);
}

/* Judges a message by its header, before its body comes: these two are all that may follow a handshake. */
static enum ps_err begin_message(struct tls_stream *stream, enum alert *alert)
{
	struct handshake_in *in = &stream->handshake;

	in->left = (uint32_t)in->header[1] << 16 | (uint32_t)in->header[2] << 8 | in->header[3];
	if (in->header[0] == HANDSHAKE_KEY_UPDATE)
		return check_length(in->left, 1, 1, alert);
	if (in->header[0] == HANDSHAKE_NEW_SESSION_TICKET && stream->role == TLS_CLIENT)
		return check_length(in->left, TICKET_MIN, TICKET_MAX, alert);
	return refuse(ALERT_UNEXPECTED_MESSAGE, alert);
}

/* `request` is the body of the KeyUpdate, `rest` what follows it in its record. */
static enum ps_err take_key_update(struct tls_stream *stream, uint8_t request, size_t rest, enum alert *alert)
{
	if (request != UPDATE_NOT_REQUESTED && request != UPDATE_REQUESTED)
		return refuse(ALERT_ILLEGAL_PARAMETER, alert);
	/* The old key ends with this message, so nothing may follow it in the record (section 5.1). */
	if (rest != 0)
		return refuse(ALERT_UNEXPECTED_MESSAGE, alert);

	enum ps_err err = record_key_update(&stream->open);
	if (err != PS_OK)
		return err;
	stream->update_requested = false;
	if (request == UPDATE_REQUESTED && !stream->out_ended)
		stream->update_owed = true;
	return PS_OK;
}

static enum ps_err take_handshake(struct tls_stream *stream, const uint8_t *bytes, size_t len, enum alert *alert)
{
	struct handshake_in *in = &stream->handshake;
	enum ps_err err = PS_OK;

	while (len > 0 && err == PS_OK) {
		if (in->have < HANDSHAKE_HEADER_LEN) {
			in->header[in->have++] = *bytes++;
			len--;
			if (in->have == HANDSHAKE_HEADER_LEN)
				err = begin_message(stream, alert);
			continue;
		}

		size_t part = len < in->left ? len : in->left;
		if (in->header[0] == HANDSHAKE_KEY_UPDATE)
			err = take_key_update(stream, bytes[0], len - part, alert);
		bytes += part;
		len -= part;
		in->left -= (uint32_t)part;
		if (in->left == 0)
			in->have = 0;
	}
	return err;
}

/* The level says nothing in TLS 1.3: all but the two closure alerts are fatal (section 6). */
static enum ps_err take_alert(struct tls_stream *stream, const struct record *record, enum alert *alert)
{
	if (record->body_len != 2)
		return refuse(ALERT_DECODE_ERROR, alert);

	uint8_t description = record->body[1];
	if (description == ALERT_USER_CANCELED)
		return PS_OK;
	if (description == ALERT_CLOSE_NOTIFY) {
		if (stream->handshake.have != 0)
			return refuse(ALERT_UNEXPECTED_MESSAGE, alert);
		return PS_E_CLOSED;
	}
	stream->peer_alert = description;
	tls_stream_end_out(stream);
	return PS_E_IO;
}

static void take_payload(struct tls_stream *stream, const struct record *record, struct iovec *spans,
                         struct tls_opened *opened)
{
	spans[opened->n_spans++] = (struct iovec){ .iov_base = record->body, .iov_len = record->body_len };
	opened->payload += record->body_len;
	stream->silent = 0;
}

static enum ps_err take_record(struct tls_stream *stream, const struct record *record, struct iovec *spans,
                               struct tls_opened *opened, enum alert *alert)
{
	bool data = record->type == RECORD_APPLICATION_DATA;

	/* Only data may be empty, and nothing may come between the parts of a handshake message (section 5.1). */
	if (data ? stream->handshake.have != 0 : record->body_len == 0)
		return refuse(ALERT_UNEXPECTED_MESSAGE, alert);
	if (data && record->body_len != 0) {
		take_payload(stream, record, spans, opened);
		return PS_OK;
	}
	if (++stream->silent > SILENT_MAX)
		return refuse(ALERT_UNEXPECTED_MESSAGE, alert);

	switch (record->type) {
	case RECORD_APPLICATION_DATA:
		return PS_OK;
	case RECORD_HANDSHAKE:
		return take_handshake(stream, record->body, record->body_len, alert);
	case RECORD_ALERT:
		return take_alert(stream, record, alert);
	default:
		return refuse(ALERT_UNEXPECTED_MESSAGE, alert);
	}
}

/* Whether record_open would say more than PS_E_AGAIN. */
static bool record_waits(const uint8_t *bytes, size_t len)
{
	size_t need = record_wire_len(bytes, len);

	return need != 0 && (need <= len || need > RECORD_HEADER_LEN + RECORD_MAX_CIPHERTEXT);
}

static enum ps_err open_records(struct tls_stream *stream, uint8_t *bytes, size_t len, struct iovec *spans,
                                size_t max_spans, struct tls_opened *opened, enum alert *alert)
{
	enum ps_err err = PS_OK;
	struct record record;

	while (err == PS_OK) {
		uint8_t *rest = bytes + opened->consumed;
		size_t rest_len = len - opened->consumed;
		if (opened->n_spans == max_spans) {
			opened->more = record_waits(rest, rest_len);
			return PS_OK;
		}
		err = record_open(&stream->open, rest, rest_len, &record, alert);
		if (err == PS_E_AGAIN)
			return PS_OK;
		if (err == PS_OK) {
			opened->consumed += record.wire_len;
			err = take_record(stream, &record, spans, opened, alert);
		}
	}
	return err;
}

/* Sends the KeyUpdate that the peer asked for, or asks it for one. */
static enum ps_err update_keys(struct tls_stream *stream, struct buf *reply)
{
	if (stream->out_ended)
		return PS_OK;
	bool request = stream->open.sequence >= stream->suite->request_limit && !stream->update_requested;
	bool owed = stream->update_owed && buf_len(reply) == 0;

	return request || owed ? tls_stream_update_key(stream, request, reply) : PS_OK;
}

/* Ends the peer's direction, and ours with an alert if the peer or a fault of ours is why. */
static enum ps_err end(struct tls_stream *stream, enum ps_err err, enum alert alert, struct buf *reply)
{
	tls_stream_end_in(stream, err);
	if (err == PS_E_CLOSED || err == PS_E_IO)
		return err;
	enum ps_err sealed = tls_stream_fail(stream, err == PS_E_PROTO ? alert : ALERT_INTERNAL_ERROR, reply);
	return sealed == PS_OK ? err : sealed;
}

enum ps_err tls_stream_open(struct tls_stream *stream, uint8_t *bytes, size_t len, struct iovec *spans,
                            size_t max_spans, struct tls_opened *opened, struct buf *reply)
{
	enum alert alert = ALERT_INTERNAL_ERROR;

	assert(max_spans > 0);
	*opened = (struct tls_opened){ 0 };
	enum ps_err err = stream->in_end;
	if (err == PS_OK) {
		err = open_records(stream, bytes, len, spans, max_spans, opened, &alert);
		if (err == PS_OK)
			err = update_keys(stream, reply);
		if (err != PS_OK)
			err = end(stream, err, alert, reply);
	}
	if (err != PS_OK)
		opened->consumed = len;
	return err;
}
