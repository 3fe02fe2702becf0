/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_pipe -- joins an HTTP/2 stream and a plain socket, both ways, until both directions have ended.
 *
 * What comes of the stream is written straight from where it was opened; only what the socket does not take is kept, at
 * most the stream's window, and the window is given back as the socket takes it. What the socket gives is read straight
 * into the frame that carries it, when the windows have room: that is the back-pressure. An idle pipe owns no buffer.
 *
 * Each direction ends on its own: END_STREAM becomes a FIN, a FIN becomes END_STREAM. A stream that was reset, or whose
 * connection was cut, resets the plain socket, never ends it cleanly; so it is when the process dies, too. A plain side that
 * is reset becomes RST_STREAM with CONNECT_ERROR, as RFC 9113, section 8.5, has it.
 *
 * Owns:   the socket, what is kept for it, and the stream's events.
 * Never:  connects, answers the request, or logs.
 */
#ifndef PORTSEAL_H2_PIPE_H
#define PORTSEAL_H2_PIPE_H

#include <stdint.h>
#include <uv.h>

#include "portseal/err.h"
#include "portseal/h2_stream.h"
#include "portseal/watch.h"

struct h2_pipe;

/* How a pipe ended: the first thing that went wrong, or H2_PIPE_DONE. */
enum h2_pipe_end {
	H2_PIPE_DONE,         /* both directions ended cleanly */
	H2_PIPE_STREAM_RESET, /* the peer reset the stream; `code` says why */
	H2_PIPE_STREAM_CUT,   /* the stream's connection ended */
	H2_PIPE_UNPROCESSED,  /* the peer did nothing with the stream */
	H2_PIPE_PLAIN_RESET,  /* the plain side's connection broke */
	H2_PIPE_IDLE,         /* no byte either way for idle_ms */
	H2_PIPE_ABORTED,      /* h2_pipe_abort was called */
	H2_PIPE_NO_MEMORY,
};

struct h2_pipe_report {
	enum h2_pipe_end end;
	uint32_t code;      /* enum h2_code of the reset, the peer's or ours; H2_NO_ERROR when none */
	uint64_t to_plain;  /* bytes that the plain socket took */
	uint64_t to_stream; /* bytes given to the stream; the last may not have been written if it did not end well */
};

struct h2_pipe_config {
	uv_loop_t *loop;
	struct watches *watches;  /* borrowed; of this loop */
	struct h2_stream *stream; /* its events are taken over */
	int plain_fd;             /* taken; connected, and nobody else has it */
	uint64_t idle_ms;         /* 0: never */
	/* Called exactly once, from the loop, when the socket is closed and the stream over; the pipe is freed after it
	 * returns. */
	void (*on_end)(void *owner, const struct h2_pipe_report *report);
	void *owner;
};

/* Call it right after h2_respond with 200 (server), or from the on_response that brought it (client). On failure the
 * socket is reset, the stream abandoned, and on_end is not called. */
enum ps_err h2_pipe_new(const struct h2_pipe_config *config, struct h2_pipe **pipe) PS_MUST_CHECK;

/* Ends it now: RST_STREAM with `code`, reset to the plain side; on_end follows from the loop, with H2_PIPE_ABORTED or what
 * went wrong before. Harmless while it is ending; not after on_end. */
void h2_pipe_abort(struct h2_pipe *pipe, enum h2_code code);

/* Bytes of memory it owns at this moment beyond its own struct. */
size_t h2_pipe_buffered(const struct h2_pipe *pipe);

#endif
