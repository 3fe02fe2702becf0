/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_frames -- nghttp2's session and its callbacks: frames become events of streams.
 *
 * nghttp2 keeps the rules of RFC 9113: it answers SETTINGS and PING, refuses what is malformed, and counts windows.
 */
#include <string.h>

#include "h2_private.h"

#define OUTBOUND_ACKS_MAX 1000 /* more than h2_watch lets pass to a peer that reads */
#define CHURN_MS 1000          /* a stream reset within it after its beginning counts */
#define SETTINGS_MAX 5
#define NEVER_REACHED (UINT64_C(1) << 40) /* h2_watch counts resets */

static struct h2_stream *stream_of(struct h2 *h2, int32_t id)
{
	/* When it is over, its streams are gone, whatever nghttp2 still thinks. */
	return id == 0 || h2_is_over(h2) ? NULL : nghttp2_session_get_stream_user_data(h2->session, id);
}

static void count(struct h2 *h2, enum h2_rule rule)
{
	const char *abuse = h2_watch_count(&h2->watch, rule, uv_now(h2->timer.loop));
	if (abuse != NULL)
		h2_accuse(h2, abuse);
}

/* Streams take turns, whatever a request's `priority` says. */
static int take_turns(struct h2 *h2, const struct h2_stream *stream)
{
	const nghttp2_extpri each_in_turn = { .urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1 };
	const int ignore_client_signal = 1;

	return nghttp2_session_change_extpri_stream_priority(h2->session, stream->id, &each_in_turn, ignore_client_signal);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct h2 *h2 = user_data;

	h2_header_begin(h2);
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct h2_stream *stream = h2_stream_new(h2, frame->hd.stream_id);
	if (stream == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (nghttp2_session_set_stream_user_data(session, stream->id, stream) == 0 && take_turns(h2, stream) == 0)
		return 0;
	(void)nghttp2_session_set_stream_user_data(session, stream->id, NULL);
	h2_stream_close(stream, H2_FATE_RESET_HERE, H2_INTERNAL_ERROR);
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
	struct h2 *h2 = user_data;

	(void)session;
	(void)frame;
	(void)flags;
	/* What is too much is left out but still decoded: the next block rests on it. Four times too much is no mistake. */
	if (!h2_header_add(h2, name, name_len, value, value_len) && h2->list_size > (size_t)4 * H2_HEADER_LIST_MAX)
		h2_accuse(h2, "header-flood");
	/* A record can hold 16,000 fields more. Each would be checked byte by byte. */
	return h2_is_over(h2) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* A request that must not go further than this. */
static void refuse_request(struct h2_stream *stream)
{
	const struct h2_response too_large = { .status = 431, .content_length = -1 };

	if (h2_answer(stream, &too_large, NULL, 0) != PS_OK)
		h2_stream_reset(stream, H2_INTERNAL_ERROR);
}

static void take_request(struct h2 *h2, struct h2_stream *stream)
{
	struct h2_header header;

	if (h2->header_overflow) {
		refuse_request(stream);
		return;
	}
	h2_header_read(h2, &header);
	h2->events->on_request(h2->owner, stream, &header.request);
	if (stream->events == NULL && !stream->discards)
		h2_stream_reset(stream, H2_INTERNAL_ERROR);
}

static void take_response(struct h2 *h2, struct h2_stream *stream)
{
	struct h2_header header;

	h2_header_read(h2, &header);
	if (!stream->answered && header.response.status < 200)
		return; /* the announcement of an answer */
	if (h2->header_overflow) {
		h2_stream_reset(stream, H2_ENHANCE_YOUR_CALM);
		return;
	}
	if (stream->answered) {
		if (!stream->reset_here && stream->events != NULL && stream->events->on_trailer != NULL)
			stream->events->on_trailer(stream->owner, stream, header.response.fields, header.response.n_fields);
		return;
	}
	stream->answered = true;
	if (stream->events != NULL && stream->events->on_response != NULL)
		stream->events->on_response(stream->owner, stream, &header.response);
}

static void take_header(struct h2 *h2, struct h2_stream *stream, const nghttp2_frame *frame)
{
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		take_request(h2, stream);
	else if (h2->role == H2_CLIENT)
		take_response(h2, stream);
	h2_header_begin(h2);
}

static void take_reset(struct h2 *h2, struct h2_stream *stream, uint32_t code)
{
	const uint64_t age = uv_now(h2->timer.loop) - stream->began_ms;

	stream->reset_there = true;
	stream->code = code;
	if (age > CHURN_MS)
		h2_watch_refund(&h2->watch, H2_RULE_RESET, 1);
}

static void tell_capacity(struct h2 *h2)
{
	const bool has = h2_capacity(h2) > 0;
	const bool is_news = has && !h2->had_capacity;

	h2->had_capacity = has;
	if (is_news && h2->settled && h2->events->on_capacity != NULL)
		h2->events->on_capacity(h2->owner);
}

static void take_goaway(struct h2 *h2, uint32_t code)
{
	if (h2->report.code == H2_NO_ERROR)
		h2->report.code = code;
	if (code != H2_NO_ERROR)
		h2_blame(h2, H2_PEER_GOAWAY);
	if (h2->goaway_told)
		return;
	h2->goaway_told = true;
	if (h2->events->on_goaway != NULL)
		h2->events->on_goaway(h2->owner);
}

static void take_settings(struct h2 *h2)
{
	if (!h2->settled)
		h2->had_capacity = false; /* it is told once in any case */
	h2->settled = true;
	tell_capacity(h2);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct h2 *h2 = user_data;
	struct h2_stream *stream = stream_of(h2, frame->hd.stream_id);
	const bool is_ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
	const uint8_t type = frame->hd.type;

	(void)session;
	if (h2_is_over(h2))
		return 0;
	if (type == NGHTTP2_SETTINGS && !is_ack)
		take_settings(h2);
	else if (type == NGHTTP2_GOAWAY)
		take_goaway(h2, frame->goaway.error_code);
	else if (type == NGHTTP2_PING && is_ack)
		h2_notice_read(h2);
	if (stream == NULL)
		return 0;
	if (type == NGHTTP2_HEADERS || type == NGHTTP2_RST_STREAM)
		h2_body_give(stream);
	if (type == NGHTTP2_HEADERS)
		take_header(h2, stream, frame);
	else if (type == NGHTTP2_RST_STREAM)
		take_reset(h2, stream, frame->rst_stream.error_code);
	if ((type == NGHTTP2_DATA || type == NGHTTP2_HEADERS) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
		h2_stream_take_end(stream);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len,
                   void *user_data)
{
	struct h2 *h2 = user_data;
	struct h2_stream *stream = stream_of(h2, id);

	(void)session;
	(void)flags;
	if (stream == NULL || h2_is_over(h2))
		h2_window_discarded(h2, len);
	else
		h2_stream_take(stream, (uint8_t *)(uintptr_t)bytes, len); /* it lies in the scratch area, which is ours */
	return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user_data)
{
	(void)session;
	(void)frame;
	(void)error;
	count(user_data, H2_RULE_MALFORMED);
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct h2 *h2 = user_data;
	struct h2_stream *stream = stream_of(h2, frame->hd.stream_id);

	(void)session;
	if (frame->hd.type == NGHTTP2_DATA)
		h2_watch_refund(&h2->watch, H2_RULE_WINDOW, 4);
	if (frame->hd.type == NGHTTP2_HEADERS && stream != NULL)
		stream->sent = true;
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != H2_NO_ERROR) {
		h2->report.code = frame->goaway.error_code;
		h2_blame(h2, H2_PEER_HTTP);
	}
	return 0;
}

static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user_data)
{
	struct h2_stream *stream = stream_of(user_data, frame->hd.stream_id);

	(void)session;
	(void)error;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST && stream != NULL)
		stream->unsent = true;
	return 0;
}

static enum h2_fate fate_of(const struct h2_stream *stream, uint32_t code)
{
	if (stream->reset_here)
		return H2_FATE_RESET_HERE;
	if (stream->h2->role == H2_CLIENT && (stream->unsent || code == H2_REFUSED_STREAM))
		return H2_FATE_UNPROCESSED;
	if (stream->reset_there)
		return H2_FATE_RESET;
	return code == H2_NO_ERROR && stream->in_ended && stream->out_ended ? H2_FATE_DONE : H2_FATE_RESET_HERE;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user_data)
{
	struct h2 *h2 = user_data;
	struct h2_stream *stream = stream_of(h2, id);

	(void)session;
	if (stream == NULL)
		return 0;
	/* Neither side asked for this reset: the peer broke a rule, perhaps to be rid of a request that costs us (as in
	 * CVE-2025-8671) without having to reset it. */
	const bool provoked = !stream->reset_here && !stream->reset_there && code != H2_NO_ERROR;
	h2_stream_close(stream, fate_of(stream, code), code);
	if (provoked && h2->role == H2_SERVER)
		count(h2, H2_RULE_MALFORMED);
	if (h2->role == H2_CLIENT && !h2_is_over(h2))
		tell_capacity(h2);
	return 0;
}

static int set_options(nghttp2_option **option)
{
	const int error = nghttp2_option_new(option);

	if (error != 0)
		return error;
	nghttp2_option_set_no_auto_window_update(*option, 1);
	nghttp2_option_set_no_closed_streams(*option, 1);
	nghttp2_option_set_max_outbound_ack(*option, OUTBOUND_ACKS_MAX);
#ifdef PORTSEAL_NGHTTP2_COUNTS_RESETS
	nghttp2_option_set_stream_reset_rate_limit(*option, NEVER_REACHED, NEVER_REACHED);
#endif
	return 0;
}

static void set_callbacks(nghttp2_session_callbacks *callbacks)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, h2_body_frame_len);
	nghttp2_session_callbacks_set_send_data_callback(callbacks, h2_body_send);
}

/* What we say first: our settings, and a window for the connection. A server declines the priorities of RFC 7540: a peer
 * would make a tree of them, and each frame that we send cost us a walk through its depth. */
static int introduce(struct h2 *h2, uint32_t max_streams)
{
	const bool serves = h2->role == H2_SERVER;
	const nghttp2_settings_entry settings[SETTINGS_MAX] = {
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW_START },
		{ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, H2_FRAME_BODY_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEADER_LIST_MAX },
		{ serves ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH, serves ? max_streams : 0 },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 }, /* a server's alone: it stands last */
	};
	const int error =
		nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, serves ? SETTINGS_MAX : SETTINGS_MAX - 1);

	return error != 0 ? error
	                  : nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, H2_WINDOW_CONNECTION);
}

enum ps_err h2_session_new(struct h2 *h2, uint32_t max_streams)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int error = nghttp2_session_callbacks_new(&callbacks);

	if (error == 0)
		error = set_options(&option);
	if (error == 0) {
		set_callbacks(callbacks);
		error = h2->role == H2_SERVER ? nghttp2_session_server_new2(&h2->session, callbacks, h2, option)
		                              : nghttp2_session_client_new2(&h2->session, callbacks, h2, option);
	}
	if (error == 0)
		error = introduce(h2, max_streams);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return error == 0 ? PS_OK : PS_E_NOMEM;
}
