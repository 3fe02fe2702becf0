/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_wire -- between the socket and nghttp2: reads and opens records, gathers frames, seals and writes them.
 *
 * Never:  decides when to wait or when it is over (h2.c).
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "h2_private.h"

#define WRITES_PER_TURN 2 /* then others of the loop have theirs */

static bool is_transient(int number)
{
	return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

void h2_wire_break(struct h2 *h2)
{
	h2->broken = true;
	buf_release(&h2->pending);
}

/* The payload of one record. False: what follows is not to be read. */
static bool feed(struct h2 *h2, const uint8_t *bytes, size_t len)
{
	const char *abuse = h2_watch_bytes(&h2->watch, bytes, len, uv_now(h2->timer.loop));

	if (abuse != NULL) {
		h2_accuse(h2, abuse);
		return false;
	}
	const ssize_t taken = nghttp2_session_mem_recv(h2->session, bytes, len);
	if (taken < 0)
		h2_fault(h2, (int)taken);
	return !h2_is_over(h2);
}

/* What tls_stream_open says of the end of the peer's direction. */
static void take_end(struct h2 *h2, enum ps_err err)
{
	switch (err) {
	case PS_OK:
		return;
	case PS_E_CLOSED:
		h2_lose(h2, h2->n_streams == 0 ? H2_DONE : H2_PEER_LEFT, ALERT_CLOSE_NOTIFY);
		return;
	case PS_E_IO:
		h2->report.peer_alert = tls_stream_peer_alert(h2->tls);
		h2_wire_break(h2);
		h2_lose(h2, H2_PEER_ALERT, ALERT_CLOSE_NOTIFY);
		return;
	case PS_E_PROTO: /* it is answered already */
		h2_lose(h2, H2_PEER_PROTOCOL, ALERT_CLOSE_NOTIFY);
		return;
	default:
		h2_lose(h2, H2_NO_MEMORY, ALERT_INTERNAL_ERROR);
	}
}

/* How the peer's direction goes on, once what it said is fed. */
static enum ps_err open_records(struct h2 *h2, size_t len)
{
	struct h2_scratch *scratch = h2->scratch;
	struct tls_opened opened;
	size_t done = 0;
	enum ps_err err;

	do {
		err = tls_stream_open(h2->tls, scratch->in + done, len - done, scratch->spans, H2_SPANS, &opened, &h2->pending);
		for (size_t i = 0; i < opened.n_spans; i++)
			if (!feed(h2, scratch->spans[i].iov_base, scratch->spans[i].iov_len))
				return PS_OK;
		done += opened.consumed;
	} while (err == PS_OK && opened.more);

	if (err == PS_OK && buf_append(&h2->partial, scratch->in + done, len - done) != PS_OK)
		err = PS_E_NOMEM;
	return err;
}

void h2_wire_read(struct h2 *h2)
{
	uint8_t *in = h2->scratch->in;
	const size_t before = buf_len(&h2->partial);
	assert(before < H2_IN_SIZE);

	const ssize_t got = recv(h2->fd, in + before, H2_IN_SIZE - before, MSG_DONTWAIT);
	if (got < 0 && is_transient(errno))
		return;
	if (got <= 0) {
		h2_wire_break(h2);
		h2_lose(h2, got == 0 ? H2_PEER_CUT : H2_PEER_RESET, ALERT_CLOSE_NOTIFY);
		return;
	}
	if (before > 0)
		memcpy(in, buf_front(&h2->partial), before);
	buf_reset(&h2->partial); /* keeps the memory, for a bulk transfer leaves a part of a record nearly each time */
	const enum ps_err err = open_records(h2, before + (size_t)got);
	h2_body_give_all(h2->scratch); /* ends are told behind it, and the area is used again */
	take_end(h2, err);
	if (buf_len(&h2->partial) == 0)
		buf_release(&h2->partial);
	h2_stir(h2);
}

/* Writes as much as the socket takes of the spans; how much that was. */
static size_t write_some(struct h2 *h2, struct iovec *spans, size_t n_spans)
{
	const struct msghdr message = { .msg_iov = spans, .msg_iovlen = n_spans };
	const ssize_t sent = sendmsg(h2->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0) {
		if (!is_transient(errno)) {
			h2_wire_break(h2);
			h2_lose(h2, H2_PEER_RESET, ALERT_CLOSE_NOTIFY);
		}
		return 0;
	}
	if (h2_is_over(h2))
		h2->last_ms = uv_now(h2->timer.loop);
	return (size_t)sent;
}

/* True: nothing is pending. */
static bool flush(struct h2 *h2)
{
	if (h2->broken)
		return false;
	if (buf_len(&h2->pending) > 0) {
		struct iovec span = { .iov_base = buf_front(&h2->pending), .iov_len = buf_len(&h2->pending) };
		const size_t sent = write_some(h2, &span, 1);
		if (h2->broken)
			return false;
		buf_consume(&h2->pending, sent);
	}
	if (buf_len(&h2->pending) > 0)
		return false;
	buf_release(&h2->pending);
	return true;
}

/* As many frames as one write carries; how many bytes they have. */
static size_t gather(struct h2 *h2)
{
	struct h2_scratch *scratch = h2->scratch;
	const size_t enough = h2->share * (size_t)TLS_FRAME_PAYLOAD;
	size_t before;

	scratch->n_gathered = 0;
	do {
		const uint8_t *frame;
		before = scratch->n_gathered;
		const ssize_t len = nghttp2_session_mem_send(h2->session, &frame); /* a DATA frame goes by h2_body_send */
		if (len < 0)
			h2_fault(h2, (int)len);
		if (len <= 0)
			continue;
		assert((size_t)len <= H2_FRAME_MAX);
		h2_gather_put(scratch, 0, frame, (size_t)len);
		scratch->n_gathered += (size_t)len;
	} while (scratch->n_gathered > before && scratch->n_gathered < enough);
	return scratch->n_gathered;
}

/* A write that was full and went out whole is followed by a larger one; one that did not, and had to be kept, by a smaller
 * one. */
static void adapt(struct h2 *h2, size_t len)
{
	const unsigned share = h2->share;

	if (buf_len(&h2->pending) > 0)
		h2->share = (uint8_t)(share / 2 < H2_SHARE_MIN ? H2_SHARE_MIN : share / 2);
	else if (len >= share * (size_t)TLS_FRAME_PAYLOAD)
		h2->share = (uint8_t)(share * 2 > H2_SHARE_MAX ? H2_SHARE_MAX : share * 2);
}

/* Seals what is gathered where it lies, and writes it; what the socket does not take is kept. */
static enum ps_err seal_and_write(struct h2 *h2, size_t len)
{
	uint8_t *records = h2->scratch->records;
	struct buf update = BUF_INIT;
	size_t sealed_len;

	enum ps_err err = tls_stream_seal_frames(h2->tls, records, len, &update, &sealed_len);
	if (err == PS_OK) {
		struct iovec spans[2] = {
			{ .iov_base = buf_front(&update), .iov_len = buf_len(&update) },
			{ .iov_base = records, .iov_len = sealed_len },
		};
		const size_t first = buf_len(&update) == 0 ? 1 : 0;
		const size_t sent = write_some(h2, spans + first, 2 - first);
		if (!h2->broken && sent < spans[0].iov_len + sealed_len)
			err = buf_append_rest(&h2->pending, spans + first, 2 - first, sent);
		adapt(h2, len);
	}
	buf_release(&update);
	return err;
}

/* Nothing is pending. */
static void send_gathered(struct h2 *h2, size_t len)
{
	if (seal_and_write(h2, len) == PS_OK)
		return;
	h2_wire_break(h2);
	h2_lose(h2, H2_NO_MEMORY, ALERT_INTERNAL_ERROR);
}

bool h2_wire_write(struct h2 *h2)
{
	for (int i = 0; i < WRITES_PER_TURN; i++) {
		if (!flush(h2))
			return false;
		const size_t len = gather(h2);
		if (len > 0)
			send_gathered(h2, len); /* also when it ended meanwhile: nghttp2 takes it for sent */
		if (len == 0 || h2_is_over(h2))
			return false;
	}
	return buf_len(&h2->pending) == 0;
}

static void say_last_words(struct h2 *h2)
{
	const size_t len = gather(h2);

	h2->last_said = true;
	if (len > 0)
		send_gathered(h2, len);
	if (h2->broken)
		return;
	const enum ps_err err = h2->last_alert == ALERT_CLOSE_NOTIFY
	                            ? tls_stream_close(h2->tls, &h2->pending)
	                            : tls_stream_fail(h2->tls, h2->last_alert, &h2->pending);
	h2->report.sent_alert = tls_stream_sent_alert(h2->tls);
	if (err != PS_OK)
		h2_wire_break(h2);
}

bool h2_wire_end(struct h2 *h2)
{
	if (!h2->last_said && flush(h2))
		say_last_words(h2);
	return (h2->last_said && flush(h2)) || h2->broken;
}
