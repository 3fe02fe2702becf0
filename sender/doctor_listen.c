/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor_listen.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "doctor_report.h"
#include "portseal/buf.h"
#include "portseal/clock.h"
#include "portseal/record.h"
#include "portseal/tls_stream.h"

#define SPANS_MAX 8

/* One look at what lies in `wire`. False: nothing to tell yet. */
static bool look(struct tls_stream *stream, struct buf *wire, struct buf *reply, struct heard *heard)
{
	struct iovec spans[SPANS_MAX];
	struct tls_opened opened;
	enum ps_err err;

	do {
		err = tls_stream_open(stream, buf_front(wire), buf_len(wire), spans, SPANS_MAX, &opened, reply);
		buf_consume(wire, opened.consumed);
		if (opened.payload > 0) {
			*heard = (struct heard){ .what = HEARD_REPLY, .alert = ALERT_NONE, .reply_len = opened.payload };
			return true;
		}
	} while (err == PS_OK && opened.more);
	if (err == PS_OK)
		return false;
	heard->what = err == PS_E_CLOSED ? HEARD_END : err == PS_E_IO ? HEARD_ALERT : HEARD_BROKEN;
	heard->alert = tls_stream_peer_alert(stream);
	return true;
}

static bool wait_readable(int fd, uint64_t deadline_ms)
{
	struct pollfd polled = { .fd = fd, .events = POLLIN };
	uint64_t now = clock_now_ms();

	while (now < deadline_ms) {
		const uint64_t left_ms = deadline_ms - now;

		if (poll(&polled, 1, left_ms < INT32_MAX ? (int)left_ms : INT32_MAX) > 0)
			return true;
		now = clock_now_ms();
	}
	return false;
}

static enum ps_err hear(int fd, struct tls_stream *stream, uint64_t wait_ms, struct buf *wire, struct heard *heard)
{
	const uint64_t deadline_ms = clock_now_ms() + wait_ms;
	struct buf reply = BUF_INIT; /* answers to a KeyUpdate: nothing follows from us, so they need not go out */
	bool over = false;

	while (!over && wait_readable(fd, deadline_ms)) {
		if (buf_reserve(wire, RECORD_MAX_CIPHERTEXT) != PS_OK) {
			buf_release(&reply);
			return PS_E_NOMEM;
		}
		const ssize_t n = recv(fd, wire->data + wire->end, buf_room(wire), MSG_DONTWAIT);
		if (n > 0) {
			wire->end += (size_t)n;
			over = look(stream, wire, &reply, heard);
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			heard->what = HEARD_CUT;
			over = true;
		}
	}
	buf_release(&reply);
	return PS_OK;
}

enum ps_err doctor_listen(int fd, const struct traffic_secrets *secrets, uint64_t wait_ms, struct heard *heard)
{
	struct heard found = { .what = HEARD_SILENCE, .alert = ALERT_NONE };
	struct tls_stream *stream = NULL;
	struct buf out = BUF_INIT;
	struct buf wire = BUF_INIT;
	enum ps_err err = tls_stream_new(TLS_CLIENT, secrets, &stream);

	if (err == PS_OK)
		err = tls_stream_close(stream, &out);
	if (err == PS_OK) {
		/* A relay that refused us may have closed already: what it said is read all the same. */
		(void)send(fd, buf_front(&out), buf_len(&out), MSG_NOSIGNAL | MSG_DONTWAIT);
		err = hear(fd, stream, wait_ms, &wire, &found);
	}
	buf_release(&wire);
	buf_release(&out);
	tls_stream_free(stream);
	if (err == PS_OK)
		*heard = found;
	return err;
}
