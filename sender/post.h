/* SPDX-License-Identifier: Apache-2.0 */
/*
 * post -- sends messages to a relay's services over one HTTP/2 connection, many at once, each with a fate of its own.
 *
 *     POST /messages/<service>  ──▶  200 with the application's reply, or 204; portseal-receipt
 *                                    else a problem that says why not (RFC 9457)
 *
 * The payload is asked for piece by piece as the application takes it, the reply handed on as it comes: neither is held. A
 * payload whose source fails ends in a reset, never in a clean end. The receipt must be for exactly the bytes sent.
 *
 * No event is called from within a call of this header, but on_read from post_begin never and from post_ready maybe.
 *
 * Owns:   the connection.
 * Never:  dials, repeats a message, reads files, prints.
 */
#ifndef PORTSEAL_SENDER_POST_H
#define PORTSEAL_SENDER_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "outcome.h"
#include "portseal/err.h"
#include "portseal/receipt.h"
#include "portseal/suite.h"
#include "problem.h"

#define POST_KEY_MAX 128 /* characters of an idempotency key: printable ASCII without space, '"' and '\' */
#define POST_LENGTH_UNKNOWN INT64_C(-1)

struct post;
struct post_message;

struct post_config {
	uv_loop_t *loop;
	int fd;                                /* taken */
	const struct traffic_secrets *secrets; /* copied */
	struct outcome_names names;            /* borrowed, strings too; its service is not looked at */
	uint64_t timeout_ms; /* of a message, without progress, while it is the relay that is waited for */
	/* post_room rose from 0: when the relay's settings came, and later. */
	void (*on_room)(void *owner);
	/* Once, last, after every message's on_done: the connection is gone, and freed afterwards. OUTCOME_DONE: it was ended
	 * by post_shut, or by the relay in good order; else why (a refusal of our certificate, say). */
	void (*on_end)(void *owner, const struct outcome *outcome);
	void *owner;
};

/* Takes the socket, also on failure. */
enum ps_err post_new(const struct post_config *config, struct post **post) PS_MUST_CHECK;

/* How many more messages can be begun now. */
size_t post_room(const struct post *post);

/* True while it may take messages, now or later; false once it is ending: dial another for what is left. */
bool post_is_open(const struct post *post);

/* Lets those under way end, then the connection; on_end follows. */
void post_shut(struct post *post);

/* Ends it now: on_done (POST_UNKNOWN) and on_end follow from the loop. Harmless while it is ending; not after on_end. */
void post_abort(struct post *post);

enum post_read {
	POST_MORE,   /* `n` bytes, at least one */
	POST_WAIT,   /* nothing now: post_ready() asks again */
	POST_END,    /* `n` bytes, the last ones; may be none */
	POST_FAILED, /* the source failed: the message is reset, and its fate is POST_CANCELLED */
};

enum post_fate {
	POST_DELIVERED,   /* 200 or 204, and the reply is complete */
	POST_ANSWERED,    /* the relay's answer is an error: `status` and `reason` say which */
	POST_UNPROCESSED, /* the relay did nothing with it: it can be repeated at once, elsewhere */
	POST_UNKNOWN,     /* broken off: it may have been delivered, or not */
	POST_CANCELLED,   /* its source failed: it was not delivered whole */
};

struct post_result {
	enum post_fate fate;
	struct outcome outcome; /* OUTCOME_DONE, or exit code and text for a person */
	unsigned status;        /* 0: no answer came */
	char reason[PROBLEM_REASON_MAX];
	bool has_receipt; /* of a delivered message; also with POST_UNKNOWN, if the reply was cut off, and with 410 */
	struct receipt receipt;
	uint64_t sent;          /* bytes of payload given to the connection */
	uint64_t reply_len;     /* of the application's */
	uint64_t retry_after_s; /* as the relay says; 0: it does not */
};

struct post_message_config {
	const char *service; /* borrowed until the call returns, as the key */
	const char *key;     /* idempotency-key; NULL: none */
	int64_t length;      /* of the payload, or POST_LENGTH_UNKNOWN */
	/* Puts up to `max` bytes of the payload into `room`. */
	enum post_read (*on_read)(void *owner, uint8_t *room, size_t max, size_t *n);
	/* Bytes of the application's reply: post_taken() when they are done with, in this call or later. NULL: discarded. */
	void (*on_reply)(void *owner, const uint8_t *bytes, size_t len);
	/* Once, last. */
	void (*on_done)(void *owner, const struct post_result *result);
	void *owner;
};

/* PS_E_LIMIT: post_room is 0; PS_E_CLOSED: it takes no more; PS_E_NOMEM. */
enum ps_err post_begin(struct post *post, const struct post_message_config *config, struct post_message **message)
	PS_MUST_CHECK;

void post_ready(struct post_message *message);
void post_taken(struct post_message *message, size_t len);

/* True for what may stand as an idempotency key. */
bool post_is_key(const char *key);

#endif
