/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_window -- when the peer may send more (RFC 9113, section 5.2).
 *
 * A stream's window is given back as its bytes are consumed: one that stalls holds its own window's worth and no more.
 * The connection's is given back at receipt, while all streams together keep less than H2_KEPT_MAX.
 *
 * A window that is emptied in less than CYCLE_MS doubles: so it ends at what the stream moves in about twice that time,
 * which fills any link whose round trip is shorter, whatever the round trip is.
 */
#include "h2_private.h"

#define CYCLE_MS 250

static void give_back(struct h2 *h2, size_t len)
{
	if (nghttp2_session_consume_connection(h2->session, len) != 0)
		h2_lose(h2, H2_NO_MEMORY, ALERT_INTERNAL_ERROR);
	h2_stir(h2);
}

/* The connection's window, as far as what is kept allows. */
static void settle_connection(struct h2 *h2, size_t received)
{
	h2->withheld += received;
	if (h2->kept > H2_KEPT_MAX || h2->withheld == 0)
		return;
	give_back(h2, h2->withheld);
	h2->withheld = 0;
}

void h2_window_received(struct h2_stream *stream, size_t len)
{
	stream->kept += len;
	stream->h2->kept += len;
	stream->h2->report.in += len;
	settle_connection(stream->h2, len);
}

void h2_window_discarded(struct h2 *h2, size_t len)
{
	settle_connection(h2, len);
}

/* Doubles it, if there is no reason against it. */
static void grow(struct h2_stream *stream)
{
	struct h2 *h2 = stream->h2;
	const uint32_t more = stream->window;

	if (stream->window >= H2_WINDOW_MAX || h2->grown + more > H2_WINDOW_GROWTH || h2->kept > H2_KEPT_MAX / 4)
		return;
	if (nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, stream->id,
	                                          (int32_t)(stream->window + more)) != 0)
		return; /* it goes on with what it has */
	stream->window += more;
	h2->grown += more;
}

static void follow_pace(struct h2_stream *stream, size_t len)
{
	const uint64_t now = uv_now(stream->h2->timer.loop);

	stream->drained += (uint32_t)len;
	if (stream->drained < stream->window / 2)
		return;
	/* Half a window is when nghttp2 tells the peer. What it still keeps shows that its reader is the slower one. */
	if (now - stream->cycle_ms < CYCLE_MS && stream->kept < stream->window / 4)
		grow(stream);
	stream->cycle_ms = now;
	stream->drained = 0;
}

void h2_window_consumed(struct h2_stream *stream, size_t len)
{
	struct h2 *h2 = stream->h2;

	stream->kept -= len;
	h2->kept -= len;
	if (h2_is_over(h2))
		return;
	settle_connection(h2, 0);
	if (stream->in_ended || stream->reset_here || stream->reset_there)
		return;
	if (nghttp2_session_consume_stream(h2->session, stream->id, len) != 0)
		h2_lose(h2, H2_NO_MEMORY, ALERT_INTERNAL_ERROR);
	follow_pace(stream, len);
	h2_stir(h2);
}

void h2_window_forget(struct h2_stream *stream)
{
	struct h2 *h2 = stream->h2;

	h2->grown -= stream->window - H2_WINDOW_START;
	h2->kept -= stream->kept;
	stream->kept = 0;
	if (!h2_is_over(h2))
		settle_connection(h2, 0);
}
