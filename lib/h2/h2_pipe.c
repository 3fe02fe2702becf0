/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_pipe -- between a stream, which pushes and pulls, and a plain socket, which is waited for.
 */
#include "portseal/h2_pipe.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "portseal/buf.h"
#include "portseal/net.h"

/* Once the plain socket is known to be lost, what is still to be read from it may stall for this long. */
#define STALL_MS 10000

/* One direction, named after where its bytes come from. */
enum pipe_flow {
	PIPE_OPEN,   /* more may come */
	PIPE_ENDING, /* its source ended cleanly; what is pending at its sink must still be written */
	PIPE_ENDED,  /* the end is passed on */
};

struct h2_pipe {
	struct h2_stream *stream; /* NULL once it is over */
	int fd;                   /* -1 once closed */
	enum pipe_flow in;        /* from the stream */
	enum pipe_flow out;       /* from the socket */
	bool readable;            /* the socket has something, or its end; the stream is to pull it */
	bool broken;              /* the socket takes nothing any more */
	bool hung;                /* an error waits at the socket */
	bool unwatched;           /* an idle wait would be woken without end */
	bool failed;              /* a reset of the plain side is due, or done */
	bool timer_closed;
	struct buf pending; /* for the socket */
	uint64_t idle_ms;
	uint64_t last_ms; /* when bytes moved last, or the socket was lost */
	struct watch watch;
	uv_timer_t timer;
	struct h2_pipe_report report;
	void (*on_end)(void *owner, const struct h2_pipe_report *report);
	void *owner;
};

static bool is_transient(int number)
{
	return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

static void touch(struct h2_pipe *pipe)
{
	pipe->last_ms = uv_now(pipe->timer.loop);
}

static void blame(struct h2_pipe *pipe, enum h2_pipe_end end, uint32_t code)
{
	if (pipe->report.end != H2_PIPE_DONE)
		return;
	pipe->report.end = end;
	pipe->report.code = code;
}

static void dispose(struct h2_pipe *pipe)
{
	buf_release(&pipe->pending);
	if (pipe->on_end != NULL)
		pipe->on_end(pipe->owner, &pipe->report);
	free(pipe);
}

/* The pipe is gone when libuv has let go of it and the stream is over. */
static void dispose_if_over(struct h2_pipe *pipe)
{
	if (pipe->timer_closed && pipe->stream == NULL)
		dispose(pipe);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct h2_pipe *pipe = handle->data;

	pipe->timer_closed = true;
	dispose_if_over(pipe);
}

/* The socket has been armed to reset since the beginning. */
static void close_socket(struct h2_pipe *pipe)
{
	if (pipe->fd < 0)
		return;
	uv_close((uv_handle_t *)&pipe->timer, on_timer_closed);
	if (!pipe->failed)
		net_disarm_reset(pipe->fd);
	watch_close(&pipe->watch);
	pipe->fd = -1;
	buf_release(&pipe->pending);
}

/* Resets what is left of both sides. */
static void fail(struct h2_pipe *pipe, enum h2_pipe_end end, enum h2_code code)
{
	blame(pipe, end, code);
	pipe->failed = true;
	if (pipe->stream != NULL)
		h2_stream_reset(pipe->stream, code);
	close_socket(pipe);
}

/* The application keeps what it said before it was lost: if that was all it had to say, only the other direction is
 * told that nobody listens. */
static void lose_plain(struct h2_pipe *pipe)
{
	fail(pipe, H2_PIPE_PLAIN_RESET, pipe->out == PIPE_ENDED ? H2_NO_ERROR : H2_CONNECT_ERROR);
}

/* A write failed. What the socket still has to read comes first, its error last. */
static void break_plain(struct h2_pipe *pipe)
{
	const size_t discarded = buf_len(&pipe->pending);

	pipe->broken = true;
	touch(pipe);
	buf_release(&pipe->pending);
	if (pipe->stream == NULL || pipe->out == PIPE_ENDED) {
		lose_plain(pipe);
		return;
	}
	h2_stream_consume(pipe->stream, discarded);
	pipe->readable = true;
	h2_stream_ready(pipe->stream);
}

/* How much the socket took. */
static size_t write_some(struct h2_pipe *pipe, struct iovec *spans, size_t n_spans)
{
	const struct msghdr message = { .msg_iov = spans, .msg_iovlen = n_spans };
	const ssize_t sent = sendmsg(pipe->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0) {
		if (!is_transient(errno))
			break_plain(pipe);
		return 0;
	}
	touch(pipe);
	pipe->report.to_plain += (uint64_t)sent;
	return (size_t)sent;
}

static bool both_ended(const struct h2_pipe *pipe)
{
	return pipe->in == PIPE_ENDED && (pipe->out == PIPE_ENDED || pipe->stream == NULL);
}

static void on_timer(uv_timer_t *timer);

/* A socket with nothing to do is watched for errors and hang-ups. */
static enum ps_err watch_socket(struct h2_pipe *pipe)
{
	uint32_t mask = 0;

	if (pipe->out == PIPE_OPEN && !pipe->readable && pipe->stream != NULL)
		mask |= EPOLLIN;
	if (buf_len(&pipe->pending) > 0)
		mask |= EPOLLOUT;
	if (mask != 0 || !pipe->unwatched)
		return watch_set(&pipe->watch, mask);
	watch_stop(&pipe->watch);
	return PS_OK;
}

/* 0: without limit. */
static uint64_t silence_limit(const struct h2_pipe *pipe)
{
	if (!pipe->hung && !pipe->broken)
		return pipe->idle_ms;
	return pipe->idle_ms != 0 && pipe->idle_ms < STALL_MS ? pipe->idle_ms : STALL_MS;
}

static void watch_silence(struct h2_pipe *pipe)
{
	const uint64_t limit = silence_limit(pipe);

	if (limit == 0)
		return;
	const uint64_t silent = uv_now(pipe->timer.loop) - pipe->last_ms;
	const uint64_t left = silent < limit ? limit - silent : 0;
	if (!uv_is_active((uv_handle_t *)&pipe->timer) || uv_timer_get_due_in(&pipe->timer) > left)
		(void)uv_timer_start(&pipe->timer, on_timer, left, 0);
}

/* After anything happened: passes on an end, and goes on or ends. */
static void settle(struct h2_pipe *pipe)
{
	if (pipe->fd < 0)
		return;
	if (pipe->in == PIPE_ENDING && buf_len(&pipe->pending) == 0) {
		(void)shutdown(pipe->fd, SHUT_WR); /* fails only on a broken connection, which the other direction will meet */
		pipe->in = PIPE_ENDED;
	}
	if (both_ended(pipe)) {
		close_socket(pipe);
		return;
	}
	if (pipe->hung && !pipe->broken && pipe->out == PIPE_ENDED && pipe->in == PIPE_OPEN) {
		lose_plain(pipe); /* it is read no more: its error would be met only if something came for it */
		return;
	}
	if (watch_socket(pipe) != PS_OK) {
		fail(pipe, H2_PIPE_NO_MEMORY, H2_INTERNAL_ERROR);
		return;
	}
	watch_silence(pipe);
}

static void on_timer(uv_timer_t *timer)
{
	struct h2_pipe *pipe = timer->data;

	if (pipe->fd < 0)
		return;
	if (uv_now(timer->loop) - pipe->last_ms < silence_limit(pipe)) {
		watch_silence(pipe);
		return;
	}
	if (pipe->hung || pipe->broken)
		lose_plain(pipe);
	else
		fail(pipe, H2_PIPE_IDLE, H2_CANCEL);
}

static void flush(struct h2_pipe *pipe)
{
	if (buf_len(&pipe->pending) == 0 || pipe->broken)
		return;
	struct iovec span = { .iov_base = buf_front(&pipe->pending), .iov_len = buf_len(&pipe->pending) };
	const size_t sent = write_some(pipe, &span, 1);
	if (pipe->fd < 0 || pipe->broken)
		return;
	buf_consume(&pipe->pending, sent);
	if (buf_len(&pipe->pending) == 0)
		buf_release(&pipe->pending);
	if (pipe->stream != NULL)
		h2_stream_consume(pipe->stream, sent);
}

/* A hang-up would be reported again and again to a socket that has nothing to do. */
static void note_hang_up(struct h2_pipe *pipe, uint32_t events)
{
	pipe->unwatched = true;
	if (pipe->hung || (events & EPOLLERR) == 0)
		return;
	pipe->hung = true;
	touch(pipe);
}

static void on_event(void *owner, uint32_t events)
{
	struct h2_pipe *pipe = owner;
	const bool lost = (events & EPOLLERR) != 0;

	if (lost || pipe->watch.mask == 0)
		note_hang_up(pipe, events);
	if (lost || (events & EPOLLOUT) != 0)
		flush(pipe);
	if (pipe->fd >= 0 && pipe->stream != NULL && pipe->out == PIPE_OPEN && (lost || (events & EPOLLIN) != 0)) {
		/* It is read at the end of this turn, if the windows allow: then nothing has to be said to the kernel. */
		const bool waits = pipe->readable;
		pipe->readable = true;
		h2_stream_ready(pipe->stream);
		if (!waits && !lost && (events & EPOLLOUT) == 0)
			return;
	}
	settle(pipe);
}

static void on_spans(void *owner, struct h2_stream *stream, struct iovec *spans, size_t n_spans)
{
	struct h2_pipe *pipe = owner;
	size_t sent = 0;
	size_t len = 0;

	if (pipe->fd < 0)
		return; /* it is being reset */
	for (size_t i = 0; i < n_spans; i++)
		len += spans[i].iov_len;
	if (!pipe->broken && buf_len(&pipe->pending) == 0)
		sent = write_some(pipe, spans, n_spans);
	if (pipe->fd < 0)
		return;
	if (pipe->broken) {
		h2_stream_consume(stream, len);
		return;
	}
	h2_stream_consume(stream, sent);
	if (sent == len)
		return;
	if (buf_append_rest(&pipe->pending, spans, n_spans, sent) != PS_OK)
		fail(pipe, H2_PIPE_NO_MEMORY, H2_INTERNAL_ERROR);
	settle(pipe);
}

static void on_body_end(void *owner, struct h2_stream *stream)
{
	struct h2_pipe *pipe = owner;

	(void)stream;
	if (pipe->fd < 0 || pipe->in != PIPE_OPEN)
		return;
	pipe->in = PIPE_ENDING;
	settle(pipe);
}

/* The socket's clean end. */
static size_t end_plain(struct h2_pipe *pipe, bool *end)
{
	/* TRAP: once a write met the reset, recv() reports a clean end of what never had one. */
	if (pipe->broken) {
		lose_plain(pipe);
		return 0;
	}
	pipe->out = PIPE_ENDED;
	*end = true;
	settle(pipe);
	return 0;
}

static size_t on_pull_spans(void *owner, struct h2_stream *stream, struct iovec *places, size_t n_places, bool *end)
{
	struct h2_pipe *pipe = owner;
	struct msghdr message = { .msg_iov = places, .msg_iovlen = n_places };
	size_t max = 0;

	(void)stream;
	if (pipe->fd < 0 || pipe->out != PIPE_OPEN || !pipe->readable)
		return 0;
	for (size_t i = 0; i < n_places; i++)
		max += places[i].iov_len;
	const ssize_t got = recvmsg(pipe->fd, &message, MSG_DONTWAIT);
	if (got == 0)
		return end_plain(pipe, end);
	if (got < 0 && !is_transient(errno)) {
		lose_plain(pipe);
		return 0;
	}
	/* Less than there was room for: it was all, in all likelihood, and the next call need not ask the kernel. */
	if (got < (ssize_t)max) {
		pipe->readable = false;
		settle(pipe);
	}
	if (got < 0)
		return 0;
	touch(pipe);
	pipe->report.to_stream += (uint64_t)got;
	return (size_t)got;
}

static enum h2_pipe_end end_of_fate(enum h2_fate fate)
{
	switch (fate) {
	case H2_FATE_DONE:
		return H2_PIPE_DONE;
	case H2_FATE_CUT:
		return H2_PIPE_STREAM_CUT;
	case H2_FATE_UNPROCESSED:
		return H2_PIPE_UNPROCESSED;
	default:
		return H2_PIPE_STREAM_RESET;
	}
}

static void on_closed(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct h2_pipe *pipe = owner;
	/* A reset without an error behind a whole body: its reader went away, what it wrote is good. */
	const bool is_clean =
		end->fate == H2_FATE_DONE || (end->fate == H2_FATE_RESET && end->code == H2_NO_ERROR && pipe->in != PIPE_OPEN);

	(void)stream;
	pipe->stream = NULL;
	if (!is_clean)
		blame(pipe, end_of_fate(end->fate), end->code);
	if (pipe->fd < 0)
		dispose_if_over(pipe);
	else if (is_clean)
		settle(pipe);
	else
		fail(pipe, end_of_fate(end->fate), end->code);
}

static const struct h2_stream_events pipe_events = {
	.on_spans = on_spans,
	.on_body_end = on_body_end,
	.on_pull_spans = on_pull_spans,
	.on_closed = on_closed,
};

static enum ps_err refuse(const struct h2_pipe_config *config, enum ps_err err)
{
	(void)close(config->plain_fd);
	h2_stream_abandon(config->stream, H2_INTERNAL_ERROR);
	return err;
}

enum ps_err h2_pipe_new(const struct h2_pipe_config *config, struct h2_pipe **pipe)
{
	struct h2_pipe *made = calloc(1, sizeof(*made));

	/* Should this process die, the kernel's close must not look like a clean end. */
	net_arm_reset(config->plain_fd);
	if (made == NULL)
		return refuse(config, PS_E_NOMEM);
	watch_begin(&made->watch, config->watches, config->plain_fd, on_event, made);
	const enum ps_err err = watch_set(&made->watch, EPOLLIN);
	if (err != PS_OK) {
		free(made);
		return refuse(config, err);
	}
	(void)uv_timer_init(config->loop, &made->timer); /* cannot fail */
	made->timer.data = made;
	made->fd = config->plain_fd;
	made->stream = config->stream;
	made->idle_ms = config->idle_ms;
	made->last_ms = uv_now(config->loop);
	made->report = (struct h2_pipe_report){ .end = H2_PIPE_DONE, .code = H2_NO_ERROR };
	made->on_end = config->on_end;
	made->owner = config->owner;
	*pipe = made;
	h2_stream_attach(made->stream, &pipe_events, made);
	settle(made);
	return PS_OK;
}

void h2_pipe_abort(struct h2_pipe *pipe, enum h2_code code)
{
	if (pipe->fd >= 0)
		fail(pipe, H2_PIPE_ABORTED, code);
}

size_t h2_pipe_buffered(const struct h2_pipe *pipe)
{
	return pipe->pending.cap;
}
