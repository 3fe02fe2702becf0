/* SPDX-License-Identifier: Apache-2.0 */
#include "h2_rig.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/net.h"

#define DEADLINE_NS (UINT64_C(60) * 1000 * 1000 * 1000)

static void append(struct buf *buf, const void *bytes, size_t len)
{
	assert_int_equal(buf_append(buf, bytes, len), PS_OK);
}

static void on_body(void *owner, struct h2_stream *stream, uint8_t *bytes, size_t len)
{
	struct rig_stream *side = owner;

	side->taken += len;
	if (side->echoes) {
		append(&side->out, bytes, len);
		if (buf_len(&side->out) > side->most_held)
			side->most_held = buf_len(&side->out);
		h2_stream_ready(stream);
		return;
	}
	append(&side->in, bytes, len);
	if (!side->keeps)
		h2_stream_consume(stream, len);
}

static void on_body_end(void *owner, struct h2_stream *stream)
{
	struct rig_stream *side = owner;
	const struct h2_response done = { .status = 200, .content_length = -1 };

	assert_false(side->in_ended);
	side->in_ended = true;
	if (side->echoes) {
		side->out_ends = true;
		h2_stream_ready(stream);
	} else if (side->rig->serve == RIG_SINK && side >= side->rig->served &&
	           side < side->rig->served + RIG_STREAMS_MAX) {
		assert_int_equal(h2_answer(stream, &done, "taken", 5), PS_OK);
	}
}

static size_t on_pull(void *owner, struct h2_stream *stream, uint8_t *room, size_t max, bool *end)
{
	struct rig_stream *side = owner;
	const size_t len = buf_len(&side->out) < max ? buf_len(&side->out) : max;

	if (len > 0)
		memcpy(room, buf_front(&side->out), len);
	buf_consume(&side->out, len);
	if (side->echoes)
		h2_stream_consume(stream, len);
	*end = side->out_ends && buf_len(&side->out) == 0;
	if (*end && side->echoes && side->rig->trails)
		assert_int_equal(h2_stream_trail(stream, &(struct h2_field){ "x-after", "trailed" }, 1), PS_OK);
	return len;
}

static void on_response(void *owner, struct h2_stream *stream, const struct h2_response *response)
{
	struct rig_stream *side = owner;
	const char *field = h2_field_value(response->fields, response->n_fields, "x-test");

	(void)stream;
	side->status = response->status;
	if (field != NULL)
		(void)snprintf(side->field, sizeof(side->field), "%s", field);
}

static void on_closed(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct rig_stream *side = owner;

	assert_ptr_equal(side->stream, stream);
	assert_false(side->closed);
	side->closed = true;
	side->end = *end;
	side->stream = NULL;
}

static void on_trailer(void *owner, struct h2_stream *stream, const struct h2_field *fields, size_t n_fields)
{
	struct rig_stream *side = owner;
	const char *field = h2_field_value(fields, n_fields, "x-after");

	(void)stream;
	assert_false(side->in_ended);
	(void)snprintf(side->trailer, sizeof(side->trailer), "%s", field != NULL ? field : "");
}

static const struct h2_stream_events side_events = {
	.on_response = on_response,
	.on_body = on_body,
	.on_trailer = on_trailer,
	.on_body_end = on_body_end,
	.on_pull = on_pull,
	.on_closed = on_closed,
};
static const struct h2_stream_events hold_events = { .on_closed = on_closed };

static void on_request(void *owner, struct h2_stream *stream, const struct h2_request *request)
{
	struct h2_rig *rig = owner;
	const struct h2_field fields[] = { { "x-test", "answered" } };
	const struct h2_response ok = { .status = 200, .content_length = -1, .fields = fields, .n_fields = 1 };
	const char *field = h2_field_value(request->fields, request->n_fields, "x-test");

	assert_true(rig->n_served < RIG_STREAMS_MAX);
	struct rig_stream *side = &rig->served[rig->n_served++];
	side->rig = rig;
	side->stream = stream;
	side->echoes = rig->serve == RIG_ECHO;
	side->keeps = rig->serve == RIG_KEEP;
	(void)snprintf(side->authority, sizeof(side->authority), "%s", request->authority);
	(void)snprintf(side->path, sizeof(side->path), "%s", request->path);
	if (field != NULL)
		(void)snprintf(side->field, sizeof(side->field), "%s", field);
	h2_stream_attach(stream, rig->serve == RIG_HOLD || rig->serve == RIG_WHOLE ? &hold_events : &side_events, side);
	if (rig->serve == RIG_ECHO || rig->serve == RIG_KEEP)
		assert_int_equal(h2_respond(stream, &ok, false), PS_OK);
	if (rig->serve == RIG_WHOLE)
		assert_int_equal(h2_answer(stream, &ok, "no more", 7), PS_OK);
	if (rig->serve == RIG_REFUSE) {
		assert_int_equal(h2_answer(stream, &ok, "no", 2), PS_OK);
		h2_stream_attach(stream, NULL, NULL);
	}
}

static void on_capacity(void *owner)
{
	((struct h2_rig *)owner)->n_capacity++;
}

static void on_goaway(void *owner)
{
	((struct h2_rig *)owner)->n_goaway++;
}

static void on_client_end(void *owner, const struct h2_report *report)
{
	struct h2_rig *rig = owner;
	assert_false(rig->client_ended);
	rig->client_ended = true;
	rig->client_report = *report;
	rig->client = NULL;
}

static void on_server_end(void *owner, const struct h2_report *report)
{
	struct h2_rig *rig = owner;
	assert_false(rig->server_ended);
	rig->server_ended = true;
	rig->server_report = *report;
	rig->server = NULL;
}

static const struct h2_events client_events = { NULL, on_capacity, on_goaway, on_client_end };
static const struct h2_events server_events = { on_request, NULL, NULL, on_server_end };

void h2_rig_tcp_pair(int fds[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	const int listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&address, len), 0);
	fds[1] = accept(listener, NULL, NULL);
	assert_true(fds[1] >= 0);
	net_tune(fds[0], (struct sockaddr *)&address);
	net_tune(fds[1], (struct sockaddr *)&address);
	(void)close(listener);
}

static struct tls_stream *tls_of(enum tls_role role)
{
	const struct traffic_secrets secrets = { .suite = SUITE_AES_128_GCM_SHA256, .client = { 1 }, .server = { 2 } };
	struct tls_stream *stream = NULL;
	assert_int_equal(tls_stream_new(role, &secrets, &stream), PS_OK);
	return stream;
}

struct h2_rig *h2_rig_start(enum rig_sides sides, uint32_t max_streams, uint64_t idle_ms)
{
	struct h2_rig *rig = calloc(1, sizeof(*rig));
	int fds[2];

	assert_non_null(rig);
	rig->deadline = uv_hrtime() + DEADLINE_NS;
	rig->raw_fd = -1;
	h2_rig_tcp_pair(fds);
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	assert_int_equal(h2_scratch_new(&rig->scratch), PS_OK);
	assert_int_equal(linger_new(&rig->loop, &rig->linger), PS_OK);
	assert_int_equal(watches_new(&rig->loop, &rig->watches), PS_OK);
	struct h2_config config = {
		.loop = &rig->loop,
		.watches = rig->watches,
		.scratch = rig->scratch,
		.linger = rig->linger,
		.max_streams = max_streams,
		.idle_ms = idle_ms,
		.owner = rig,
	};
	if (sides != RIG_SERVER_ONLY) {
		config.fd = fds[0];
		config.role = H2_CLIENT;
		config.stream = tls_of(TLS_CLIENT);
		config.events = &client_events;
		assert_int_equal(h2_new(&config, &rig->client), PS_OK);
	}
	if (sides != RIG_CLIENT_ONLY) {
		config.fd = fds[1];
		config.role = H2_SERVER;
		config.stream = tls_of(TLS_SERVER);
		config.events = &server_events;
		assert_int_equal(h2_new(&config, &rig->server), PS_OK);
	}
	if (sides != RIG_BOTH) {
		rig->raw_fd = sides == RIG_SERVER_ONLY ? fds[0] : fds[1];
		rig->raw_tls = tls_of(sides == RIG_SERVER_ONLY ? TLS_CLIENT : TLS_SERVER);
	}
	return rig;
}

static void side_clear(struct rig_stream *side)
{
	buf_release(&side->in);
	buf_release(&side->out);
}

void h2_rig_stop(struct h2_rig *rig)
{
	if (rig->client != NULL)
		h2_abort(rig->client, ALERT_INTERNAL_ERROR);
	if (rig->raw_fd >= 0)
		(void)close(rig->raw_fd);
	rig->raw_fd = -1;
	h2_rig_until(rig, rig->client == NULL && rig->server == NULL);
	for (size_t i = 0; i < rig->n_opened; i++)
		side_clear(&rig->opened[i]);
	for (size_t i = 0; i < rig->n_served; i++)
		side_clear(&rig->served[i]);
	buf_release(&rig->raw_out);
	buf_release(&rig->raw_wire);
	buf_release(&rig->raw_in);
	tls_stream_free(rig->raw_tls);
	linger_free(rig->linger);
	watches_free(rig->watches);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
	h2_scratch_free(rig->scratch);
	free(rig);
}

static void raw_write(struct h2_rig *rig)
{
	if (buf_len(&rig->raw_out) == 0)
		return;
	const ssize_t sent =
		send(rig->raw_fd, buf_front(&rig->raw_out), buf_len(&rig->raw_out), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent > 0)
		buf_consume(&rig->raw_out, (size_t)sent);
	else if (errno != EAGAIN)
		buf_reset(&rig->raw_out);
}

static void raw_read(struct h2_rig *rig)
{
	struct iovec spans[64];
	struct tls_opened opened;

	if (rig->raw_stalled || rig->raw_eof)
		return;
	assert_int_equal(buf_reserve(&rig->raw_wire, 100000), PS_OK);
	const ssize_t got =
		recv(rig->raw_fd, rig->raw_wire.data + rig->raw_wire.end, buf_room(&rig->raw_wire), MSG_DONTWAIT);
	if (got > 0)
		rig->raw_wire.end += (size_t)got;
	else if (got == 0 || errno != EAGAIN)
		rig->raw_eof = true;
	if (rig->raw_said != PS_OK)
		return;
	do {
		rig->raw_said = tls_stream_open(rig->raw_tls, buf_front(&rig->raw_wire), buf_len(&rig->raw_wire), spans, 64,
		                                &opened, &rig->raw_out);
		for (size_t i = 0; i < opened.n_spans; i++)
			append(&rig->raw_in, spans[i].iov_base, spans[i].iov_len);
		buf_consume(&rig->raw_wire, opened.consumed);
	} while (rig->raw_said == PS_OK && opened.more);
}

void h2_rig_turn(struct h2_rig *rig)
{
	if (uv_hrtime() > rig->deadline)
		fail_msg("too late: %zu streams opened, %zu served, client ended %d, server ended %d", rig->n_opened,
		         rig->n_served, rig->client_ended, rig->server_ended);
	if (rig->raw_fd >= 0)
		raw_write(rig);
	(void)uv_run(&rig->loop, UV_RUN_NOWAIT);
	if (rig->raw_fd >= 0)
		raw_read(rig);
}

void h2_rig_turns(struct h2_rig *rig, int n)
{
	for (int i = 0; i < n; i++)
		h2_rig_turn(rig);
}

struct rig_stream *h2_rig_open(struct h2_rig *rig, const char *path, const void *body, size_t len, bool end)
{
	const struct h2_field fields[] = { { "x-test", "asked" } };
	const struct h2_request request = {
		.method = path == NULL ? "CONNECT" : "POST",
		.scheme = path == NULL ? "" : "https",
		.authority = "echo",
		.path = path == NULL ? "" : path,
		.content_length = -1,
		.fields = fields,
		.n_fields = 1,
	};

	assert_true(rig->n_opened < RIG_STREAMS_MAX);
	struct rig_stream *side = &rig->opened[rig->n_opened++];
	side->rig = rig;
	append(&side->out, body, len);
	side->out_ends = end;
	assert_int_equal(h2_open(rig->client, &request, false, &side_events, side, &side->stream), PS_OK);
	return side;
}

void h2_rig_send(struct rig_stream *stream, const void *bytes, size_t len, bool end)
{
	append(&stream->out, bytes, len);
	stream->out_ends = end;
	h2_stream_ready(stream->stream);
}

static void raw_say(struct h2_rig *rig, const void *bytes, size_t len)
{
	assert_int_equal(tls_stream_seal(rig->raw_tls, bytes, len, &rig->raw_out), PS_OK);
}

void h2_rig_frame(struct h2_rig *rig, uint8_t type, uint8_t flags, uint32_t id, const void *body, size_t len)
{
	uint8_t *frame = malloc(9 + len);
	assert_non_null(frame);
	const uint8_t header[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
		                        (uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id };
	memcpy(frame, header, 9);
	if (len > 0)
		memcpy(frame + 9, body, len);
	raw_say(rig, frame, 9 + len);
	free(frame);
}

void h2_rig_preface(struct h2_rig *rig)
{
	if (rig->server != NULL)
		raw_say(rig, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
	h2_rig_frame(rig, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

static void put_string(struct buf *block, const char *string)
{
	const uint8_t len = (uint8_t)strlen(string);
	assert_true(len < 127);
	append(block, &len, 1);
	append(block, string, len);
}

void h2_rig_headers(struct h2_rig *rig, uint32_t id, int end, ...)
{
	const uint8_t literal = 0x10; /* never indexed, new name */
	struct buf block = BUF_INIT;
	const char *name;
	va_list list;

	va_start(list, end);
	while ((name = va_arg(list, const char *)) != NULL) {
		append(&block, &literal, 1);
		put_string(&block, name);
		put_string(&block, va_arg(list, const char *));
	}
	va_end(list);
	h2_rig_frame(rig, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | (end != 0 ? NGHTTP2_FLAG_END_STREAM : 0), id,
	             buf_front(&block), buf_len(&block));
	buf_release(&block);
}

void h2_rig_connect(struct h2_rig *rig, uint32_t id, bool end)
{
	h2_rig_headers(rig, id, end, ":method", "CONNECT", ":authority", "echo", NULL);
}

static size_t frame_len(const struct buf *in)
{
	const uint8_t *at = buf_front(in);
	return buf_len(in) < 9 ? SIZE_MAX : 9 + ((size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2]);
}

struct rig_frame h2_rig_await(struct h2_rig *rig, uint8_t type)
{
	struct rig_frame frame = { .type = UINT8_MAX };

	while (frame.type != type) {
		h2_rig_until(rig, buf_len(&rig->raw_in) >= frame_len(&rig->raw_in) || rig->raw_eof || rig->raw_said != PS_OK);
		if (buf_len(&rig->raw_in) < frame_len(&rig->raw_in))
			fail_msg("the connection ended before a frame of type %u came", type);
		const uint8_t *at = buf_front(&rig->raw_in);
		const size_t whole = frame_len(&rig->raw_in);
		frame = (struct rig_frame){
			.type = at[3],
			.flags = at[4],
			.id = (uint32_t)at[5] << 24 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 8 | at[8],
			.len = whole - 9,
		};
		memcpy(frame.body, at + 9, frame.len < sizeof(frame.body) ? frame.len : sizeof(frame.body));
		buf_consume(&rig->raw_in, whole);
	}
	return frame;
}
