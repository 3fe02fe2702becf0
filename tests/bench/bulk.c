/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulk -- streams of as many bytes as go, in one direction; every byte is compared where it arrives.
 *
 * Upwards the clock stops when the backend has confirmed the last block: what lies in somebody's buffers does not count.
 *
 * Owns:   the streams of one run, one epoll loop.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "load.h"
#include "pattern.h"

#define EVENTS 16

enum stream_state {
	STREAM_CONNECTING,
	STREAM_MOVING,
	STREAM_CONFIRMING, /* everything is sent */
	STREAM_DONE,
};

struct stream {
	enum stream_state state;
	int fd;
	uint64_t offset;
	uint64_t confirmed; /* blocks */
};

struct run {
	const struct load_options *options;
	int epoll;
	struct stream *streams;
	uint32_t n_open;
	uint64_t start_ns, end_ns, last_ns;
	uint64_t bytes, errors;
};

static uint8_t buffer[PATTERN_CHUNK];

static void finish(struct run *run, struct stream *stream, bool is_right)
{
	stream->state = STREAM_DONE;
	close(stream->fd);
	run->n_open--;
	run->last_ns = clock_ns();
	if (!is_right)
		run->errors++;
}

static void watch(const struct run *run, struct stream *stream, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = stream };
	epoll_ctl(run->epoll, EPOLL_CTL_MOD, stream->fd, &event);
}

static void on_connected(const struct run *run, struct stream *stream)
{
	const uint8_t mode = run->options->down ? LOAD_SOURCE : LOAD_SINK;
	stream->state = STREAM_MOVING;
	if (!load_send_whole(stream->fd, &mode, 1))
		return; /* the next event says what is wrong */
	watch(run, stream, run->options->down ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

static void pull(struct run *run, struct stream *stream)
{
	const ssize_t got = recv(stream->fd, buffer, sizeof(buffer), 0);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || !pattern_matches(stream->offset, buffer, (size_t)got)) {
		finish(run, stream, false);
		return;
	}
	stream->offset += (uint64_t)got;
	run->bytes += (uint64_t)got;
	if (clock_ns() >= run->end_ns)
		finish(run, stream, true);
}

static void finish_if_confirmed(struct run *run, struct stream *stream)
{
	if (stream->state == STREAM_CONFIRMING && stream->confirmed == stream->offset / LOAD_BLOCK)
		finish(run, stream, true);
}

/* Ends with a whole block: only such are confirmed. */
static void push(struct run *run, struct stream *stream)
{
	size_t len = PATTERN_CHUNK;
	const uint64_t to_block = LOAD_BLOCK - stream->offset % LOAD_BLOCK;
	const bool is_late = clock_ns() >= run->end_ns;
	if (is_late && to_block == LOAD_BLOCK && stream->offset > 0) {
		stream->state = STREAM_CONFIRMING;
		watch(run, stream, EPOLLIN);
		finish_if_confirmed(run, stream);
		return;
	}
	if (is_late && to_block < len)
		len = (size_t)to_block;
	const ssize_t sent = send(stream->fd, pattern_at(stream->offset), len, MSG_NOSIGNAL);
	if (sent > 0)
		stream->offset += (uint64_t)sent;
	else if (errno != EAGAIN)
		finish(run, stream, false);
}

static void take_confirmations(struct run *run, struct stream *stream)
{
	const ssize_t got = recv(stream->fd, buffer, sizeof(buffer), 0);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		finish(run, stream, false);
		return;
	}
	stream->confirmed += (uint64_t)got;
	run->bytes += (uint64_t)got * LOAD_BLOCK;
	finish_if_confirmed(run, stream);
}

static void on_event(struct run *run, struct stream *stream, uint32_t events)
{
	if (stream->state == STREAM_DONE)
		return;
	if ((events & EPOLLERR) != 0) {
		finish(run, stream, false);
		return;
	}
	if (stream->state == STREAM_CONNECTING) {
		on_connected(run, stream);
		return;
	}
	if ((events & EPOLLIN) != 0 && run->options->down)
		pull(run, stream);
	else if ((events & EPOLLIN) != 0)
		take_confirmations(run, stream);
	if ((events & EPOLLOUT) != 0 && stream->state == STREAM_MOVING)
		push(run, stream);
}

static void drive(struct run *run)
{
	struct epoll_event events[EVENTS];
	while (run->n_open > 0 && clock_ns() < run->end_ns + LOAD_GRACE_NS) {
		const int n = epoll_wait(run->epoll, events, EVENTS, 100);
		for (int i = 0; i < n; i++)
			on_event(run, events[i].data.ptr, events[i].events);
	}
	for (uint32_t i = 0; run->n_open > 0; i++) {
		if (run->streams[i].state != STREAM_DONE)
			finish(run, &run->streams[i], false);
	}
}

static bool open_streams(struct run *run)
{
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	run->streams = calloc(run->options->connections, sizeof(*run->streams));
	if (run->epoll < 0 || run->streams == NULL)
		return false;
	for (; run->n_open < run->options->connections; run->n_open++) {
		struct stream *stream = &run->streams[run->n_open];
		struct epoll_event event = { .events = EPOLLOUT, .data.ptr = stream };
		stream->fd = load_connect(&run->options->address);
		if (stream->fd < 0 || epoll_ctl(run->epoll, EPOLL_CTL_ADD, stream->fd, &event) != 0)
			return false;
	}
	return true;
}

int load_bulk(const struct load_options *options)
{
	struct run run = { .options = options, .start_ns = clock_ns() };
	int status = 1;
	run.end_ns = run.start_ns + options->duration_ns;
	run.last_ns = run.start_ns + 1;
	if (open_streams(&run)) {
		drive(&run);
		const double seconds = (double)(run.last_ns - run.start_ns) / (double)CLOCK_SECOND;
		printf("{\"bytes\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.6f, \"mb_per_second\": %.1f}\n",
		       run.bytes, run.errors, seconds, (double)run.bytes / seconds / 1e6);
		status = run.bytes == 0 || run.errors > 0;
	} else {
		perror("portseal-load: bulk");
	}
	if (run.epoll >= 0)
		close(run.epoll);
	free(run.streams);
	return status;
}
