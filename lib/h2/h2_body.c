/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_body -- the bytes of bodies: what one wake-up brings is collected for its stream; what goes is pulled into place.
 *
 * Never:  copies a byte of them, except of what is given in one run.
 */
#include <assert.h>

#include "h2_private.h"

#define SLIVER 64 /* a DATA frame of fewer bytes, when there were more, is as dear as a full one */

void h2_body_collect(struct h2_stream *stream, uint8_t *bytes, size_t len)
{
	struct h2_scratch *scratch = stream->h2->scratch;

	if (scratch->n_pieces == H2_PIECES)
		h2_body_give_all(scratch);
	scratch->pieces[scratch->n_pieces++] =
		(struct h2_piece){ .stream = stream, .bytes = { .iov_base = bytes, .iov_len = len } };
	stream->collects = true;
}

void h2_body_give(struct h2_stream *stream)
{
	struct h2_scratch *scratch = stream->h2->scratch;
	size_t n_given = 0;
	size_t n_left = 0;

	if (!stream->collects)
		return;
	for (size_t i = 0; i < scratch->n_pieces; i++) {
		if (scratch->pieces[i].stream == stream)
			scratch->given[n_given++] = scratch->pieces[i].bytes;
		else
			scratch->pieces[n_left++] = scratch->pieces[i];
	}
	scratch->n_pieces = n_left;
	stream->collects = false;
	/* It was reset since, or nobody hears of it any more: the windows are settled when it is closed. */
	if (!stream->reset_here && stream->events != NULL)
		stream->events->on_spans(stream->owner, stream, scratch->given, n_given);
}

void h2_body_give_all(struct h2_scratch *scratch)
{
	while (scratch->n_pieces > 0)
		h2_body_give(scratch->pieces[0].stream);
}

static int32_t least(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

/* TRAP: nghttp2 keeps room for the longest frame that a connection ever was allowed, though it is not used: so a long one
 * is allowed only to a stream that just filled a short one. */
ssize_t h2_body_frame_len(nghttp2_session *session, uint8_t type, int32_t id, int32_t connection_window,
                          int32_t stream_window, uint32_t peer_max, void *user_data)
{
	const struct h2 *h2 = user_data;
	const struct h2_stream *stream = h2_is_over(h2) ? NULL : nghttp2_session_get_stream_user_data(session, id);
	const int32_t most = stream != NULL && stream->fills ? H2_FRAME_BODY_MAX : H2_FRAME_BODY_SMALL;

	(void)type;
	return least(least(most, (int32_t)peer_max), least(connection_window, stream_window));
}

static size_t read_answer(struct h2_stream *stream, size_t max, bool *end)
{
	const size_t len = buf_len(&stream->answer) < max ? buf_len(&stream->answer) : max;

	h2_gather_put(stream->h2->scratch, H2_FRAME_HEADER_LEN, buf_front(&stream->answer), len);
	buf_consume(&stream->answer, len);
	*end = buf_len(&stream->answer) == 0;
	if (*end)
		buf_release(&stream->answer);
	return len;
}

/* What the stream's owner has to say, behind room for the frame's header. */
static size_t pull(struct h2_stream *stream, size_t max, bool *end)
{
	struct h2_scratch *scratch = stream->h2->scratch;
	const struct h2_stream_events *events = stream->events;
	struct iovec places[H2_BODY_PLACES];

	if (events == NULL || stream->reset_here)
		return 0;
	if (events->on_pull_spans != NULL) {
		const size_t n = h2_gather_places(scratch, H2_FRAME_HEADER_LEN, max, places);
		return events->on_pull_spans(stream->owner, stream, places, n, end);
	}
	if (events->on_pull == NULL)
		return 0;
	const size_t len = events->on_pull(stream->owner, stream, scratch->body, max, end);
	h2_gather_put(scratch, H2_FRAME_HEADER_LEN, scratch->body, len);
	return len;
}

/* The bytes of the frame that is made now go straight to where they are gathered: nghttp2's own room is left alone.
 * h2_body_send follows at once. */
ssize_t h2_body_read(nghttp2_session *session, int32_t id, uint8_t *room, size_t max, uint32_t *flags,
                     nghttp2_data_source *source, void *user_data)
{
	struct h2_stream *stream = source->ptr;
	struct h2 *h2 = user_data;
	bool end = false;

	(void)session;
	(void)id;
	(void)room;
	if (h2_is_over(h2))
		return NGHTTP2_ERR_DEFERRED; /* the stream may be gone */
	assert(max <= H2_FRAME_BODY_MAX);
	const size_t len = buf_len(&stream->answer) > 0 ? read_answer(stream, max, &end) : pull(stream, max, &end);
	if (stream->reset_here || (len == 0 && !end))
		return NGHTTP2_ERR_DEFERRED;
	stream->fills = len == max;
	h2->report.out += len;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (end) {
		stream->out_ended = true;
		*flags |= NGHTTP2_DATA_FLAG_EOF | (stream->trails ? NGHTTP2_DATA_FLAG_NO_END_STREAM : 0U);
	} else if (len < SLIVER && len == max) {
		const char *abuse = h2_watch_count(&h2->watch, H2_RULE_SLIVER, uv_now(h2->timer.loop));
		if (abuse != NULL)
			h2_accuse(h2, abuse);
	}
	return (ssize_t)len;
}

/* In front of the bytes goes their header. */
int h2_body_send(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t len,
                 nghttp2_data_source *source, void *user_data)
{
	struct h2_scratch *scratch = ((struct h2 *)user_data)->scratch;

	(void)session;
	(void)source;
	assert(frame->data.padlen == 0);
	(void)frame;
	h2_gather_put(scratch, 0, header, H2_FRAME_HEADER_LEN);
	scratch->n_gathered += H2_FRAME_HEADER_LEN + len;
	return NGHTTP2_ERR_PAUSE; /* whether there is room for another is asked by whoever gathers */
}
