/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridge_flow -- one read and one write at a time of a bridge's two directions.
 *
 * Never:  decides when to wait or when it is over (bridge.c), or reads for a side that has bytes pending.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "bridge_private.h"

static bool is_transient(int number)
{
	return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

void bridge_touch(struct bridge *bridge)
{
	bridge->last_ms = uv_now(bridge->timer.loop);
}

static bool is_sealed(const struct bridge_side *side)
{
	return side == &side->bridge->sealed;
}

void bridge_side_break(struct bridge_side *side)
{
	side->broken = true;
	buf_release(&side->pending);
	bridge_touch(side->bridge);
	bridge_blame(side->bridge, is_sealed(side) ? BRIDGE_SEALED_RESET : BRIDGE_PLAIN_RESET);
}

/* Writes the spans as far as the socket takes them; how much that was. Breaks the side on errors. */
static size_t side_write(struct bridge_side *side, struct iovec *spans, size_t n_spans)
{
	const struct msghdr message = { .msg_iov = spans, .msg_iovlen = n_spans };
	const ssize_t sent = sendmsg(side->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0) {
		if (!is_transient(errno))
			bridge_side_break(side);
		return 0;
	}
	bridge_touch(side->bridge);
	if (!is_sealed(side))
		side->bridge->report.to_plain += (uint64_t)sent;
	return (size_t)sent;
}

void bridge_side_flush(struct bridge_side *side)
{
	if (!side->broken && buf_len(&side->pending) > 0) {
		struct iovec span = { .iov_base = buf_front(&side->pending), .iov_len = buf_len(&side->pending) };
		const size_t sent = side_write(side, &span, 1);
		if (!side->broken)
			buf_consume(&side->pending, sent);
	}
	if (side->broken || buf_len(&side->pending) == 0)
		buf_release(&side->pending);
}

/* Passes the spans on, in order behind what is pending; what a broken side cannot take is discarded. */
static enum ps_err side_pass(struct bridge_side *side, struct iovec *spans, size_t n_spans, size_t len)
{
	size_t sent = 0;
	if (len > 0 && !side->broken && buf_len(&side->pending) == 0)
		sent = side_write(side, spans, n_spans);
	return side->broken || sent == len ? PS_OK : buf_append_rest(&side->pending, spans, n_spans, sent);
}

/* What tls_stream_open says about the sealed side, as an end of the bridge. */
static enum bridge_end end_of_open(struct bridge *bridge, enum ps_err err)
{
	switch (err) {
	case PS_OK:
		return BRIDGE_DONE;
	case PS_E_CLOSED:
		bridge->sealed.flow = FLOW_ENDING;
		return BRIDGE_DONE;
	case PS_E_IO:
		bridge->report.peer_alert = tls_stream_peer_alert(bridge->stream);
		return BRIDGE_SEALED_ALERT;
	case PS_E_PROTO:
		return BRIDGE_SEALED_PROTOCOL;
	default:
		return BRIDGE_NO_MEMORY;
	}
}

/* Opens the whole records of the scratch area and passes their payload on; the rest is kept. */
static enum bridge_end open_records(struct bridge *bridge, size_t len)
{
	struct bridge_scratch *scratch = bridge->scratch;
	const size_t replies_before = buf_len(&bridge->sealed.pending);
	struct tls_opened opened;
	size_t done = 0;
	enum ps_err err;

	do {
		err = tls_stream_open(bridge->stream, scratch->bytes + done, len - done, scratch->spans, BRIDGE_SPANS, &opened,
		                      &bridge->sealed.pending);
		if (side_pass(&bridge->plain, scratch->spans, opened.n_spans, opened.payload) != PS_OK)
			return BRIDGE_NO_MEMORY;
		done += opened.consumed;
	} while (err == PS_OK && opened.more);

	if (err == PS_OK && buf_append(&bridge->partial, scratch->bytes + done, len - done) != PS_OK)
		return BRIDGE_NO_MEMORY;
	if (buf_len(&bridge->sealed.pending) > replies_before)
		bridge_side_flush(&bridge->sealed);
	return end_of_open(bridge, err);
}

/* A read that was filled is followed by a larger one; one that found little, or whose bytes the other side did not take,
 * by a smaller one. */
static void adapt(struct bridge_side *side, size_t got, size_t asked, const struct bridge_side *sink)
{
	unsigned appetite = side->appetite;

	if (got < asked / 4 || buf_len(&sink->pending) > 0)
		appetite /= 2;
	else if (got == asked)
		appetite *= 2;
	if (appetite > BRIDGE_READ_MAX)
		appetite = BRIDGE_READ_MAX;
	side->appetite = (uint8_t)(appetite < BRIDGE_READ_MIN ? BRIDGE_READ_MIN : appetite);
}

enum bridge_end bridge_read_sealed(struct bridge *bridge)
{
	uint8_t *in = bridge->scratch->bytes;
	const size_t before = buf_len(&bridge->partial);
	const size_t asked = bridge->sealed.appetite * (size_t)TLS_FRAME_LEN;
	assert(before < BRIDGE_RECORD_LEN);

	const ssize_t got = recv(bridge->sealed.fd, in + before, asked, MSG_DONTWAIT);
	if (got < 0)
		return is_transient(errno) ? BRIDGE_DONE : BRIDGE_SEALED_RESET;
	if (got == 0)
		return BRIDGE_SEALED_TRUNCATED;
	bridge_touch(bridge);

	if (before > 0)
		memcpy(in, buf_front(&bridge->partial), before);
	buf_reset(&bridge->partial); /* keeps the memory, for a bulk transfer leaves a part of a record nearly each time */
	const enum bridge_end end = open_records(bridge, before + (size_t)got);
	if (buf_len(&bridge->partial) == 0)
		buf_release(&bridge->partial);
	adapt(&bridge->sealed, (size_t)got, asked, &bridge->plain);
	return end;
}

/* Seals what was read into the frames and passes it on. */
static enum bridge_end seal_payload(struct bridge *bridge, size_t len)
{
	struct buf update = BUF_INIT;
	size_t sealed_len;

	assert(buf_len(&bridge->sealed.pending) == 0);
	enum ps_err err = tls_stream_seal_frames(bridge->stream, bridge->scratch->bytes, len, &update, &sealed_len);
	if (err == PS_OK) {
		struct iovec spans[2] = {
			{ .iov_base = buf_front(&update), .iov_len = buf_len(&update) },
			{ .iov_base = bridge->scratch->bytes, .iov_len = sealed_len },
		};
		const size_t first = buf_len(&update) == 0 ? 1 : 0;
		bridge->report.to_sealed += len;
		err = side_pass(&bridge->sealed, spans + first, 2 - first, spans[0].iov_len + sealed_len);
	}
	buf_release(&update);
	return err == PS_OK ? BRIDGE_DONE : BRIDGE_NO_MEMORY;
}

/* The plain side's clean end. */
static enum bridge_end end_plain(struct bridge *bridge)
{
	/* TRAP: once a write met the reset, recv() reports a clean end of what never had one. */
	if (bridge->plain.broken)
		return BRIDGE_PLAIN_RESET;
	bridge->plain.flow = FLOW_ENDING;
	if (tls_stream_close(bridge->stream, &bridge->sealed.pending) != PS_OK)
		return BRIDGE_NO_MEMORY;
	bridge_side_flush(&bridge->sealed);
	return BRIDGE_DONE;
}

enum bridge_end bridge_read_plain(struct bridge *bridge)
{
	struct iovec *places = bridge->scratch->spans;
	struct msghdr message = { .msg_iov = places, .msg_iovlen = bridge->plain.appetite };
	const size_t asked = bridge->plain.appetite * (size_t)TLS_FRAME_PAYLOAD;

	tls_stream_frames(bridge->scratch->bytes, bridge->plain.appetite, places);
	const ssize_t got = recvmsg(bridge->plain.fd, &message, MSG_DONTWAIT);
	if (got < 0)
		return is_transient(errno) ? BRIDGE_DONE : BRIDGE_PLAIN_RESET;
	if (got == 0)
		return end_plain(bridge);

	bridge_touch(bridge);
	if (bridge->sealed.broken)
		return BRIDGE_DONE;
	const enum bridge_end end = seal_payload(bridge, (size_t)got);
	adapt(&bridge->plain, (size_t)got, asked, &bridge->sealed);
	return end;
}
