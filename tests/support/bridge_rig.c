/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge_rig.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/net.h"

#define DEADLINE_NS (UINT64_C(20) * 1000 * 1000 * 1000)
#define QUIET_TURNS 20
#define SPANS 64

static void on_end(void *owner, const struct bridge_report *report)
{
	struct bridge_rig *rig = owner;
	assert_false(rig->ended);
	rig->ended = true;
	rig->report = *report;
	rig->bridge = NULL;
}

static void tcp_pair(int fds[2])
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

static void socket_pair(enum rig_kind kind, int fds[2])
{
	if (kind == RIG_TCP)
		tcp_pair(fds);
	else
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
}

void rig_start(struct bridge_rig *rig, enum rig_kind kind, uint64_t idle_ms)
{
	const struct traffic_secrets secrets = { .suite = SUITE_AES_128_GCM_SHA256, .client = { 1 }, .server = { 2 } };
	int sealed[2];
	int plain[2];

	*rig = (struct bridge_rig){ .deadline = uv_hrtime() + DEADLINE_NS };
	socket_pair(kind, sealed);
	socket_pair(kind, plain);
	rig->peer.fd = sealed[0];
	rig->app.fd = plain[0];
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	assert_int_equal(bridge_scratch_new(&rig->scratch), PS_OK);
	assert_int_equal(linger_new(&rig->loop, &rig->linger), PS_OK);
	assert_int_equal(watches_new(&rig->loop, &rig->watches), PS_OK);
	assert_int_equal(tls_stream_new(TLS_CLIENT, &secrets, &rig->stream), PS_OK);

	struct bridge_config config = {
		.loop = &rig->loop,
		.watches = rig->watches,
		.scratch = rig->scratch,
		.linger = rig->linger,
		.sealed_fd = sealed[1],
		.plain_fd = plain[1],
		.idle_ms = idle_ms,
		.on_end = on_end,
		.owner = rig,
	};
	assert_int_equal(tls_stream_new(TLS_SERVER, &secrets, &config.stream), PS_OK);
	assert_int_equal(bridge_new(&config, &rig->bridge), PS_OK);
}

static void end_clear(struct rig_end *end)
{
	rig_drop(end);
	buf_release(&end->in);
	buf_release(&end->out);
}

void rig_stop(struct bridge_rig *rig)
{
	rig_until(rig, rig->ended);
	end_clear(&rig->app);
	end_clear(&rig->peer);
	buf_release(&rig->wire);
	tls_stream_free(rig->stream);
	linger_free(rig->linger);
	watches_free(rig->watches);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
	bridge_scratch_free(rig->scratch);
}

static void end_write(struct rig_end *end)
{
	if (end->fd < 0 || buf_len(&end->out) == 0)
		return;
	const ssize_t sent = send(end->fd, buf_front(&end->out), buf_len(&end->out), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent > 0)
		buf_consume(&end->out, (size_t)sent);
	else if (errno != EAGAIN)
		buf_reset(&end->out);
}

static void end_read(struct rig_end *end, struct buf *into)
{
	if (end->fd < 0 || end->stalled || end->eof || end->error != 0)
		return;
	assert_int_equal(buf_reserve(into, 100000), PS_OK);
	const ssize_t got = recv(end->fd, into->data + into->end, buf_room(into), MSG_DONTWAIT);
	if (got > 0)
		into->end += (size_t)got;
	else if (got == 0)
		end->eof = true;
	else if (errno != EAGAIN)
		end->error = errno;
}

static void peer_open(struct bridge_rig *rig)
{
	struct iovec spans[SPANS];
	struct tls_opened opened;

	if (rig->peer_said != PS_OK)
		return;
	do {
		rig->peer_said = tls_stream_open(rig->stream, buf_front(&rig->wire), buf_len(&rig->wire), spans, SPANS, &opened,
		                                 &rig->peer.out);
		for (size_t i = 0; i < opened.n_spans; i++)
			assert_int_equal(buf_append(&rig->peer.in, spans[i].iov_base, spans[i].iov_len), PS_OK);
		buf_consume(&rig->wire, opened.consumed);
	} while (rig->peer_said == PS_OK && opened.more);
}

void rig_turn(struct bridge_rig *rig)
{
	if (uv_hrtime() > rig->deadline)
		fail_msg(
			"too late (or awake for nothing): peer has %zu bytes (%s), application %zu (eof %d, errno %d), ended %d",
			buf_len(&rig->peer.in), ps_err_text(rig->peer_said), buf_len(&rig->app.in), rig->app.eof, rig->app.error,
			rig->ended);
	end_write(&rig->app);
	end_write(&rig->peer);
	(void)uv_run(&rig->loop, UV_RUN_NOWAIT);
	if (rig->bridge != NULL && bridge_buffered(rig->bridge) > BRIDGE_BUFFERED_MAX)
		fail_msg("the bridge holds %zu bytes", bridge_buffered(rig->bridge));
	end_read(&rig->app, &rig->app.in);
	end_read(&rig->peer, &rig->wire);
	peer_open(rig);
}

static size_t progress(const struct bridge_rig *rig)
{
	return buf_len(&rig->app.in) + buf_len(&rig->peer.in) + buf_len(&rig->wire) - buf_len(&rig->app.out) -
	       buf_len(&rig->peer.out);
}

/* Whether the loop would be woken at once: by something new, or again and again. */
static bool would_wake(const struct bridge_rig *rig)
{
	struct pollfd ask = { .fd = uv_backend_fd(&rig->loop), .events = POLLIN };
	return poll(&ask, 1, 0) != 0;
}

void rig_settle(struct bridge_rig *rig)
{
	for (int quiet = 0; quiet < QUIET_TURNS; quiet++) {
		const size_t before = progress(rig);
		rig_turn(rig);
		if (progress(rig) != before || would_wake(rig))
			quiet = 0;
	}
}

void rig_app_send(struct bridge_rig *rig, const void *bytes, size_t len)
{
	assert_int_equal(buf_append(&rig->app.out, bytes, len), PS_OK);
}

void rig_peer_send(struct bridge_rig *rig, const void *payload, size_t len)
{
	assert_int_equal(tls_stream_seal(rig->stream, payload, len, &rig->peer.out), PS_OK);
}

void rig_peer_close(struct bridge_rig *rig)
{
	assert_int_equal(tls_stream_close(rig->stream, &rig->peer.out), PS_OK);
	rig_until(rig, buf_len(&rig->peer.out) == 0);
	(void)shutdown(rig->peer.fd, SHUT_WR);
}

void rig_app_close(struct bridge_rig *rig)
{
	rig_until(rig, buf_len(&rig->app.out) == 0);
	(void)shutdown(rig->app.fd, SHUT_WR);
}

void rig_drop(struct rig_end *end)
{
	if (end->fd >= 0)
		(void)close(end->fd);
	end->fd = -1;
}

void rig_reset(struct rig_end *end)
{
	net_arm_reset(end->fd);
	rig_drop(end);
}

uint8_t *rig_noise(size_t len)
{
	uint8_t *bytes = malloc(len);
	uint32_t noise = 0x9e3779b9;
	assert_non_null(bytes);
	for (size_t i = 0; i < len; i++) {
		noise ^= noise << 13;
		noise ^= noise >> 17;
		noise ^= noise << 5;
		bytes[i] = (uint8_t)noise;
	}
	return bytes;
}

void rig_assert_got(const struct rig_end *end, const void *bytes, size_t len)
{
	assert_int_equal(buf_len(&end->in), len);
	if (len > 0 && memcmp(buf_front(&end->in), bytes, len) != 0)
		fail_msg("other bytes came than were sent");
}

void rig_assert_peer_alerted(struct bridge_rig *rig, enum alert alert)
{
	rig_until(rig, rig->peer_said != PS_OK || rig->peer.eof || rig->peer.error != 0);
	assert_int_equal(rig->peer_said, PS_E_IO);
	assert_int_equal(tls_stream_peer_alert(rig->stream), alert);
}

void rig_assert_app_reset(struct bridge_rig *rig)
{
	rig_until(rig, rig->app.eof || rig->app.error != 0);
	assert_false(rig->app.eof);
	assert_int_equal(rig->app.error, ECONNRESET);
}
