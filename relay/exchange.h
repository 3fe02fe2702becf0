/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange -- one request on an HTTP/2 connection in a worker, from its header to its one line of the log.
 *
 *     request ──▶ prepare ──▶ may its client reach that service? ──▶ begin ──▶ exchange_close: event=stream-closed
 *        └───────────┴──────────────────────┴────────────────────────┴───────▶ exchange_refuse: event=stream-refused
 *
 * What becomes of it is its kind's business: CONNECT is a two-way stream (exchange_connect.c). A kind sees the request
 * once, in prepare; nothing of a header ever reaches an application. While the right is being asked for, the body that
 * comes is kept by the stream, as its window allows.
 *
 * Owns:   its place among the session's streams, and its part of the standing of its client and service.
 */
#ifndef PORTSEAL_RELAY_EXCHANGE_H
#define PORTSEAL_RELAY_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "portseal/h2.h"
#include "portseal/refusal.h"
#include "portseal/service_terms.h"
#include "problem.h"
#include "standing.h"

struct exchange;
struct session; /* the HTTP/2 connection it came on: session.h */

struct exchange_kind {
	const char *name; /* of the log: "connect" */
	/* The header is at hand: keeps what is needed of it in exchange->work. False: exchange_refuse was called. NULL: nothing
	 * is needed. */
	bool (*prepare)(struct exchange *exchange, const struct h2_request *request);
	/* Its client may: carries it. Attaches events of its own to exchange->stream, and sees to it that exchange_refuse or
	 * exchange_close is called at the end; from the stream's on_closed at the latest. */
	void (*begin)(struct exchange *exchange, const struct service_terms *terms);
	/* After begin: its right is gone, or the daemon ends. Resets the stream with `code` and ends it, at once or later. */
	void (*abort)(struct exchange *exchange, enum h2_code code);
	/* exchange->work is not needed any more; it may be NULL. */
	void (*release)(struct exchange *exchange);
};

struct exchange {
	struct session *session;
	struct h2_stream *stream; /* whoever is told on_closed, or abandons it, sets it to NULL */
	const struct exchange_kind *kind;
	void *work;          /* the kind's own */
	const char *service; /* its name; good as long as the exchange */
	struct standing_member member;
	uint64_t started_ms;
	bool begun;
	enum refusal fallen; /* why it was aborted; REFUSAL_NONE: it was not, or by the end of the daemon */
	char *fall_detail;
	LIST_ENTRY(exchange) link;
};

/* A request came: finds its kind and service by method, authority and path, and answers it at once if there is none. */
void exchange_begin(struct session *session, struct h2_stream *stream, const struct h2_request *request);

/* The loop, linger set and so on that the worker's connections share: exchange_config(exchange)->loop. */
const struct sessions_config *exchange_config(const struct exchange *exchange);

/* Answers with the problem, logs event=stream-refused with its reason and detail, and frees the exchange. Before an answer
 * was begun only. The detail is told to the client as well, `private_detail` (may be NULL) to the log alone. */
void exchange_refuse(struct exchange *exchange, const struct problem *problem, const char *private_detail);

struct exchange_closing {
	const char *reason; /* "done"; replaced by the refusal's word if the exchange fell */
	uint64_t in;        /* payload bytes that the application took */
	uint64_t out;       /* payload bytes of the application */
	uint32_t code;      /* enum h2_code of a reset; H2_NO_ERROR: none */
	unsigned status;    /* of the answer */
	const char *detail; /* NULL: none */
};

/* Logs event=stream-closed and frees the exchange; its stream is abandoned (with CANCEL) if it is still there. */
void exchange_close(struct exchange *exchange, const struct exchange_closing *closing);

#endif
