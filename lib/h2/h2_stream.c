/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_stream -- what a stream's owner calls, and how bytes reach it and leave it.
 */
#include "portseal/h2_stream.h"

#include <assert.h>
#include <stdlib.h>

#include "h2_private.h"

struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id)
{
	struct h2_stream *stream = calloc(1, sizeof(*stream));

	if (stream == NULL)
		return NULL;
	stream->h2 = h2;
	stream->id = id;
	stream->window = H2_WINDOW_START;
	stream->began_ms = stream->cycle_ms = uv_now(h2->timer.loop);
	LIST_INSERT_HEAD(&h2->streams, stream, link);
	h2->n_streams++;
	h2->report.n_streams++;
	return stream;
}

void h2_stream_own(struct h2_stream *stream, const struct h2_stream_events *events, void *owner)
{
	struct h2 *h2 = stream->h2;

	if (stream->events == NULL && events != NULL)
		h2->n_owned++;
	if (stream->events != NULL && events == NULL) {
		h2->n_owned--;
		if (!h2_is_over(h2))
			h2->last_ms = uv_now(h2->timer.loop);
		h2_stir(h2);
	}
	stream->events = events;
	stream->owner = owner;
}

static void unwake(struct h2_stream *stream)
{
	if (stream->wakes)
		TAILQ_REMOVE(&stream->h2->wakes, stream, wake);
	stream->wakes = false;
}

void h2_stream_close(struct h2_stream *stream, enum h2_fate fate, uint32_t code)
{
	struct h2 *h2 = stream->h2;
	const struct h2_stream_end end = { .fate = fate, .code = code };

	h2_body_give(stream);
	unwake(stream);
	LIST_REMOVE(stream, link);
	stream->reset_here = true; /* whatever its owner still calls has no effect */
	if (stream->events != NULL)
		stream->events->on_closed(stream->owner, stream, &end);
	h2_stream_own(stream, NULL, NULL);
	h2_window_forget(stream);
	buf_release(&stream->held);
	buf_release(&stream->answer);
	free(stream);
	h2->n_streams--;
	h2->last_ms = uv_now(h2->timer.loop);
	h2_stir(h2);
}

static bool takes_body(const struct h2_stream *stream)
{
	return stream->events != NULL && (stream->events->on_body != NULL || stream->events->on_spans != NULL);
}

/* Answered before it had said all: the rest is not needed (section 8.1). TRAP: many a client loses the answer if RST_STREAM
 * comes right behind it. So what comes is taken, as if it were wanted, until it is too much. */
static void discard(struct h2_stream *stream, size_t len)
{
	stream->discarded += len;
	h2_window_received(stream, len);
	h2_window_consumed(stream, len);
	if (stream->discarded > H2_DISCARDED_MAX && stream->out_ended)
		h2_stream_reset(stream, H2_NO_ERROR);
}

void h2_stream_take(struct h2_stream *stream, uint8_t *bytes, size_t len)
{
	if (stream->reset_here) {
		h2_window_discarded(stream->h2, len);
		return;
	}
	if (stream->discards) {
		discard(stream, len);
		return;
	}
	h2_window_received(stream, len);
	if (takes_body(stream) && stream->events->on_spans != NULL)
		h2_body_collect(stream, bytes, len);
	else if (takes_body(stream))
		stream->events->on_body(stream->owner, stream, bytes, len);
	else if (buf_append(&stream->held, bytes, len) != PS_OK)
		h2_stream_reset(stream, H2_INTERNAL_ERROR);
}

void h2_stream_take_end(struct h2_stream *stream)
{
	h2_body_give(stream);
	stream->in_ended = true;
	if (stream->reset_here || stream->discards || stream->in_told || !takes_body(stream))
		return;
	stream->in_told = true;
	stream->events->on_body_end(stream->owner, stream);
}

static void give_held(struct h2_stream *stream)
{
	struct buf held = stream->held; /* what is attached next from within must not meet it again */
	struct iovec span = { .iov_base = buf_front(&held), .iov_len = buf_len(&held) };

	stream->held = BUF_INIT;
	if (span.iov_len > 0 && stream->events->on_spans != NULL)
		stream->events->on_spans(stream->owner, stream, &span, 1);
	else if (span.iov_len > 0)
		stream->events->on_body(stream->owner, stream, span.iov_base, span.iov_len);
	buf_release(&held);
}

void h2_stream_attach(struct h2_stream *stream, const struct h2_stream_events *events, void *owner)
{
	h2_body_give(stream);
	h2_stream_own(stream, events, owner);
	if (takes_body(stream) && !stream->reset_here) {
		give_held(stream);
		if (stream->in_ended)
			h2_stream_take_end(stream);
	}
	if (events != NULL && (events->on_pull != NULL || events->on_pull_spans != NULL))
		h2_stream_ready(stream);
}

uint32_t h2_stream_id(const struct h2_stream *stream)
{
	return (uint32_t)stream->id;
}

enum ps_err h2_respond(struct h2_stream *stream, const struct h2_response *response, bool end)
{
	assert(stream->h2->role == H2_SERVER);
	if (stream->reset_here || stream->answered || h2_is_over(stream->h2))
		return PS_E_CLOSED;
	const enum ps_err err = h2_header_submit_response(stream, response, end);
	if (err != PS_OK)
		return err;
	stream->answered = true;
	stream->out_ended = end;
	h2_stir(stream->h2);
	return PS_OK;
}

enum ps_err h2_answer(struct h2_stream *stream, const struct h2_response *response, const void *body, size_t len)
{
	struct h2_response whole = *response;

	if (whole.content_length < 0 && (len > 0 || whole.status != 204))
		whole.content_length = (int64_t)len;
	enum ps_err err = buf_append(&stream->answer, body, len);
	if (err == PS_OK)
		err = h2_respond(stream, &whole, len == 0);
	if (err != PS_OK) {
		buf_release(&stream->answer);
		return err;
	}
	h2_window_consumed(stream, stream->kept);
	buf_release(&stream->held);
	stream->discards = true;
	return PS_OK;
}

enum ps_err h2_stream_trail(struct h2_stream *stream, const struct h2_field *fields, size_t n_fields)
{
	assert(stream->h2->role == H2_SERVER && !stream->trails);
	const enum ps_err err = h2_header_submit_trailer(stream, fields, n_fields);
	stream->trails = err == PS_OK;
	return err;
}

void h2_stream_ready(struct h2_stream *stream)
{
	struct h2 *h2 = stream->h2;

	if (stream->wakes || stream->reset_here || stream->out_ended || h2_is_over(h2))
		return;
	stream->wakes = true;
	TAILQ_INSERT_TAIL(&h2->wakes, stream, wake);
	h2_stir(h2);
}

void h2_stream_consume(struct h2_stream *stream, size_t len)
{
	assert(len <= stream->kept || stream->discards);
	if (!stream->discards)
		h2_window_consumed(stream, len);
}

void h2_stream_reset(struct h2_stream *stream, enum h2_code code)
{
	struct h2 *h2 = stream->h2;

	if (stream->reset_here || h2_is_over(h2))
		return;
	stream->reset_here = true;
	stream->code = code;
	if (nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream->id, code) != 0)
		h2_lose(h2, H2_NO_MEMORY, ALERT_INTERNAL_ERROR);
	h2_stir(h2);
}

void h2_stream_abandon(struct h2_stream *stream, enum h2_code code)
{
	h2_stream_own(stream, NULL, NULL);
	h2_stream_reset(stream, code);
}

const char *h2_code_name(uint32_t code)
{
	static const char *const names[] = {
		[H2_NO_ERROR] = "NO_ERROR",
		[H2_PROTOCOL_ERROR] = "PROTOCOL_ERROR",
		[H2_INTERNAL_ERROR] = "INTERNAL_ERROR",
		[H2_FLOW_CONTROL_ERROR] = "FLOW_CONTROL_ERROR",
		[H2_SETTINGS_TIMEOUT] = "SETTINGS_TIMEOUT",
		[H2_STREAM_CLOSED] = "STREAM_CLOSED",
		[H2_FRAME_SIZE_ERROR] = "FRAME_SIZE_ERROR",
		[H2_REFUSED_STREAM] = "REFUSED_STREAM",
		[H2_CANCEL] = "CANCEL",
		[H2_COMPRESSION_ERROR] = "COMPRESSION_ERROR",
		[H2_CONNECT_ERROR] = "CONNECT_ERROR",
		[H2_ENHANCE_YOUR_CALM] = "ENHANCE_YOUR_CALM",
		[H2_INADEQUATE_SECURITY] = "INADEQUATE_SECURITY",
		[H2_HTTP_1_1_REQUIRED] = "HTTP_1_1_REQUIRED",
	};

	return code < sizeof(names) / sizeof(names[0]) ? names[code] : "UNKNOWN";
}
