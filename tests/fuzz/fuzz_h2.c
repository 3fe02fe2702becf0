/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_h2 -- a peer that holds the keys and sends any frames to a server: the input is what its records hold.
 *
 * The first byte says how the server's streams behave. The preface and empty settings come first, so that the input is frames
 * from its first byte. After each part the loop turns; at the end the peer is gone, and the server must have ended once, with
 * every stream closed.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "h2/h2_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* its caller is the fuzzer */

#define PART 512
#define TURNS 4

struct world {
	uv_loop_t loop;
	struct h2 *server;
	bool consumes, answers, pulls;
	size_t n_open, unconsumed;
	unsigned n_ends;
};

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void on_body(void *owner, struct h2_stream *stream, uint8_t *bytes, size_t len)
{
	const struct world *world = owner;
	for (size_t i = 0; i < len; i++)
		(void)*(volatile uint8_t *)&bytes[i]; /* all of it can be read */
	if (world->consumes)
		h2_stream_consume(stream, len);
}

static void on_body_end(void *owner, struct h2_stream *stream)
{
	(void)owner;
	h2_stream_ready(stream);
}

static size_t on_pull(void *owner, struct h2_stream *stream, uint8_t *room, size_t max, bool *end)
{
	const struct world *world = owner;
	(void)stream;
	if (max > 0)
		room[0] = 'x';
	*end = !world->pulls;
	return max > 0 ? 1 : 0;
}

static void on_closed(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct world *world = owner;
	(void)stream;
	require(end->fate <= H2_FATE_CUT);
	require(world->n_open > 0);
	world->n_open--;
}

static const struct h2_stream_events stream_events = {
	.on_body = on_body, .on_body_end = on_body_end, .on_pull = on_pull, .on_closed = on_closed
};

static void on_request(void *owner, struct h2_stream *stream, const struct h2_request *request)
{
	struct world *world = owner;
	const struct h2_response ok = { .status = 200, .content_length = -1 };

	require(request->method[0] != '\0' && request->n_fields <= H2_FIELDS_MAX);
	world->n_open++;
	h2_stream_attach(stream, &stream_events, world);
	require((world->answers ? h2_answer(stream, &ok, "whole", 5) : h2_respond(stream, &ok, false)) == PS_OK);
}

static void on_end(void *owner, const struct h2_report *report)
{
	struct world *world = owner;
	require(report->end <= H2_NO_MEMORY && report->end != H2_NO_MEMORY);
	world->n_ends++;
	world->server = NULL;
}

static void turn(struct world *world, int fd)
{
	uint8_t waste[4096];
	for (int i = 0; i < TURNS; i++) {
		(void)uv_run(&world->loop, UV_RUN_NOWAIT);
		while (recv(fd, waste, sizeof(waste), MSG_DONTWAIT) > 0)
			;
	}
}

static void say(struct world *world, struct tls_stream *peer, int fd, const uint8_t *bytes, size_t len)
{
	struct buf sealed = BUF_INIT;
	require(tls_stream_seal(peer, bytes, len, &sealed) == PS_OK);
	(void)send(fd, buf_front(&sealed), buf_len(&sealed), MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_release(&sealed);
	turn(world, fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t settings[9] = { 0, 0, 0, NGHTTP2_SETTINGS, 0, 0, 0, 0, 0 };
	static const struct h2_events events = { .on_request = on_request, .on_end = on_end };
	const struct traffic_secrets secrets = { .suite = SUITE_AES_128_GCM_SHA256, .client = { 1 }, .server = { 2 } };
	struct world world = { .consumes = true };
	struct tls_stream *peer = NULL;
	struct linger_set *linger = NULL;
	struct h2_scratch *scratch = NULL;
	struct watches *watches = NULL;
	int fds[2];

	if (size == 0)
		return 0;
	world.consumes = (data[0] & 1) == 0;
	world.answers = (data[0] & 2) != 0;
	world.pulls = (data[0] & 4) != 0;
	require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0 && uv_loop_init(&world.loop) == 0);
	require(linger_new(&world.loop, &linger) == PS_OK && h2_scratch_new(&scratch) == PS_OK);
	require(watches_new(&world.loop, &watches) == PS_OK);
	require(tls_stream_new(TLS_CLIENT, &secrets, &peer) == PS_OK);
	struct h2_config config = { .loop = &world.loop,
		                        .watches = watches,
		                        .scratch = scratch,
		                        .linger = linger,
		                        .fd = fds[0],
		                        .role = H2_SERVER,
		                        .max_streams = 10,
		                        .events = &events,
		                        .owner = &world };
	require(tls_stream_new(TLS_SERVER, &secrets, &config.stream) == PS_OK);
	require(h2_new(&config, &world.server) == PS_OK);

	say(&world, peer, fds[1], (const uint8_t *)NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
	say(&world, peer, fds[1], settings, sizeof(settings));
	for (size_t at = 1; at < size; at += PART)
		say(&world, peer, fds[1], data + at, size - at < PART ? size - at : PART);
	(void)close(fds[1]);
	while (world.server != NULL)
		(void)uv_run(&world.loop, UV_RUN_ONCE);
	require(world.n_ends == 1 && world.n_open == 0);
	linger_free(linger);
	watches_free(watches);
	(void)uv_run(&world.loop, UV_RUN_DEFAULT);
	require(uv_loop_close(&world.loop) == 0);
	h2_scratch_free(scratch);
	tls_stream_free(peer);
	return 0;
}
