/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_stream -- one request and its answer on an HTTP/2 connection, both bodies open at once (RFC 9113, section 5 and 8).
 *
 * Bodies come pushed and go pulled. A stream pointer is good until its on_closed returns.
 *
 * Owns:   nothing but what it keeps for events not yet attached, and an answer given whole.
 */
#ifndef PORTSEAL_H2_STREAM_H
#define PORTSEAL_H2_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "portseal/err.h"

struct h2_stream;

/* RFC 9113, section 7. */
enum h2_code {
	H2_NO_ERROR = 0,
	H2_PROTOCOL_ERROR = 1,
	H2_INTERNAL_ERROR = 2,
	H2_FLOW_CONTROL_ERROR = 3,
	H2_SETTINGS_TIMEOUT = 4,
	H2_STREAM_CLOSED = 5,
	H2_FRAME_SIZE_ERROR = 6,
	H2_REFUSED_STREAM = 7,
	H2_CANCEL = 8,
	H2_COMPRESSION_ERROR = 9,
	H2_CONNECT_ERROR = 10,
	H2_ENHANCE_YOUR_CALM = 11,
	H2_INADEQUATE_SECURITY = 12,
	H2_HTTP_1_1_REQUIRED = 13,
};

/* "ENHANCE_YOUR_CALM"; "UNKNOWN" for a number nobody assigned. */
const char *h2_code_name(uint32_t code);

struct h2_field {
	const char *name; /* lower case */
	const char *value;
};

/* Strings that come in are NUL-terminated, without control bytes, and good during the event only. */
struct h2_request {
	const char *method;     /* "CONNECT", "POST" */
	const char *scheme;     /* "https"; "" for CONNECT */
	const char *authority;  /* "billing" or "relay:8443"; "" when none came */
	const char *path;       /* "/messages/billing"; "" for CONNECT */
	int64_t content_length; /* -1: not told */
	const struct h2_field *fields;
	size_t n_fields;
};

struct h2_response {
	unsigned status;
	int64_t content_length; /* -1: not told */
	const struct h2_field *fields;
	size_t n_fields;
};

/* The value of the first field of that name, or NULL. */
const char *h2_field_value(const struct h2_field *fields, size_t n_fields, const char *name);

enum h2_fate {
	H2_FATE_DONE,        /* both directions ended with END_STREAM */
	H2_FATE_RESET,       /* the peer reset it; `code` says why. NO_ERROR after a whole answer: it wants no more body */
	H2_FATE_RESET_HERE,  /* h2_stream_reset, or it broke a rule */
	H2_FATE_UNPROCESSED, /* the peer did nothing with it (REFUSED_STREAM, GOAWAY): safe to repeat elsewhere */
	H2_FATE_CUT,         /* the connection ended */
};

struct h2_stream_end {
	enum h2_fate fate;
	uint32_t code; /* enum h2_code */
};

struct h2_stream_events {
	/* Client: the final answer's header. Events may be attached anew from here. */
	void (*on_response)(void *owner, struct h2_stream *stream, const struct h2_response *response);
	/* Bytes of the peer's body; they lie in memory that is used again afterwards. NULL: what comes is kept, as the
	 * window allows, and given to the first events that have on_body. */
	void (*on_body)(void *owner, struct h2_stream *stream, uint8_t *bytes, size_t len);
	/* Instead of on_body, for whoever has a use for more than one frame's bytes at once: all that a wake-up of the
	 * connection brought, told before anything else of the stream. NULL: on_body is called. */
	void (*on_spans)(void *owner, struct h2_stream *stream, struct iovec *spans, size_t n_spans);
	/* Client: fields behind the body; on_body_end follows. NULL: not asked. */
	void (*on_trailer)(void *owner, struct h2_stream *stream, const struct h2_field *fields, size_t n_fields);
	/* The peer's body ended cleanly. NULL together with on_body. */
	void (*on_body_end)(void *owner, struct h2_stream *stream);
	/* There is room to send: puts up to `max` bytes into `room` and returns how many. *end: nothing follows. 0 without
	 * *end: nothing now; h2_stream_ready asks for the next call. May call h2_stream_reset, then returns 0. NULL: nothing
	 * to send yet. */
	size_t (*on_pull)(void *owner, struct h2_stream *stream, uint8_t *room, size_t max, bool *end);
	/* Instead of on_pull, for whoever can fill several places in order, as a socket is read: the bytes are sealed where
	 * they lie, and never copied. NULL: on_pull is called. */
	size_t (*on_pull_spans)(void *owner, struct h2_stream *stream, struct iovec *places, size_t n_places, bool *end);
	/* Once, last. */
	void (*on_closed)(void *owner, struct h2_stream *stream, const struct h2_stream_end *end);
};

/* Sets who hears of the stream from now on (borrowed; static as a rule). What was kept is given within the call. */
void h2_stream_attach(struct h2_stream *stream, const struct h2_stream_events *events, void *owner);

uint32_t h2_stream_id(const struct h2_stream *stream);

/* Server: sends the answer's header, with END_STREAM if `end`; otherwise on_pull gives the body. Copied. Once. */
enum ps_err h2_respond(struct h2_stream *stream, const struct h2_response *response, bool end) PS_MUST_CHECK;

/* Server: the answer whole, body copied, content-length set. What still comes of the request is discarded. */
enum ps_err h2_answer(struct h2_stream *stream, const struct h2_response *response, const void *body, size_t len)
	PS_MUST_CHECK;

/* Server: fields to be sent behind the body. Copied. Called from within the on_pull that then sets *end. */
enum ps_err h2_stream_trail(struct h2_stream *stream, const struct h2_field *fields, size_t n_fields) PS_MUST_CHECK;

/* There is something to send: on_pull is called in this turn or the next, as soon as the windows allow. */
void h2_stream_ready(struct h2_stream *stream);

/* `len` bytes of those that on_body gave are done with: the peer may send as many again. */
void h2_stream_consume(struct h2_stream *stream, size_t len);

/* RST_STREAM. Only on_closed follows. Harmless again. */
void h2_stream_reset(struct h2_stream *stream, enum h2_code code);

/* Resets it if it is not over, and no event follows: the pointer is the caller's no more. */
void h2_stream_abandon(struct h2_stream *stream, enum h2_code code);

#endif
