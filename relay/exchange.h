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

#include "audit_client.h"
#include "portseal/h2.h"
#include "portseal/refusal.h"
#include "portseal/service_terms.h"
#include "problem.h"

struct claim;
struct exchange;
struct session; /* the HTTP/2 connection it came on: session.h */

struct exchange_kind {
	const char *name;  /* of the log: "connect" */
	const char *event; /* of the line that tells of its end; NULL: stream-refused and stream-closed */
	bool is_recorded;  /* exchange.c has the audit trail told that it begins, before it does, and how it ends */
	/* The header is at hand: keeps what is needed of it in exchange->work. False: exchange_refuse was called. NULL: nothing
	 * is needed. */
	bool (*prepare)(struct exchange *exchange, const struct h2_request *request);
	/* Its client may: carries it, and sees to it that exchange_refuse or exchange_close is called at the end; from the
	 * stream's on_closed at the latest. Until it attaches events of its own to exchange->stream, those of exchange.c close
	 * an exchange whose client gives up. */
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
	const char *service; /* its name, or what was asked for while that is not known; good as long as the exchange */
	struct claim *claim; /* the right to it, shared with others of the session; NULL until it is asked for */
	uint64_t started_ms;
	uint32_t id; /* the stream's */
	bool begun;
	bool recorded;           /* the audit trail has been asked */
	struct audit_wait *wait; /* and this is waited for; NULL: nothing is */
	bool cut;                /* by the end of the daemon */
	enum refusal fallen;     /* why it was aborted; REFUSAL_NONE: it was not */
	char *fall_detail;
	LIST_ENTRY(exchange) link;     /* among the session's */
	LIST_ENTRY(exchange) of_claim; /* among those of the same right */
};

/* A request came: finds its kind and service by method, authority and path, and answers it at once if there is none. */
void exchange_begin(struct session *session, struct h2_stream *stream, const struct h2_request *request);

/* The loop, linger set and so on that the worker's connections share: exchange_config(exchange)->loop. */
const struct sessions_config *exchange_config(const struct exchange *exchange);
const uint8_t *exchange_client_pin(const struct exchange *exchange); /* IDENTITY_PIN_LEN bytes */

/* The right is settled, or gone, or nobody says: begins it, or refuses it, or aborts what has begun. For claim.c. */
void exchange_settle(struct exchange *exchange);
void exchange_give_up(struct exchange *exchange);
void exchange_fall(struct exchange *exchange, enum refusal refusal, const char *detail);
/* The daemon ends: reason=drain. For session.c. */
void exchange_cut(struct exchange *exchange);

/* Answers with the problem, logs event=stream-refused with its reason and detail, and frees the exchange. Before an answer
 * was begun only. The detail is told to the client as well, `private_detail` (may be NULL) to the log alone. */
void exchange_refuse(struct exchange *exchange, const struct problem *problem, const char *private_detail);

struct exchange_closing {
	const char *reason;    /* "done"; replaced by the refusal's word if the exchange fell */
	uint64_t in;           /* payload bytes that the application took */
	uint64_t out;          /* payload bytes of the application */
	uint32_t code;         /* enum h2_code of a reset; H2_NO_ERROR: none */
	unsigned status;       /* of the answer */
	const char *detail;    /* NULL: none */
	const char *id;        /* of a receipt; NULL: none */
	const uint8_t *sha256; /* of the payload that it is for, AUDIT_HASH_LEN bytes; NULL: none */
};

/* Logs event=stream-opened: the application is reached, at `target`. */
void exchange_opened(const struct exchange *exchange, const char *target);

/* Logs event=stream-closed and frees the exchange; its stream is abandoned (with CANCEL) if it is still there. */
void exchange_close(struct exchange *exchange, const struct exchange_closing *closing);

#endif
