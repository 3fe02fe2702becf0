/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message -- POST /messages/<service>: one payload for an application, and what became of it.
 *
 *     CLAIMING ──new──▶ CONNECTING ──▶ DELIVERING ──▶ REPLYING ──reply ended──▶ RECORDING ──▶ ANSWERED
 *        │                  ▲          payload, both ways      │                    ▲
 *        └──done──▶ COMPARING            without a key ────────┼────────────────────┼───────────▶ ANSWERED
 *                   the payload with the recorded one's: the same answer, or 422
 *
 * The payload goes to the application as it comes, hashed on its way. Delivered it is when the application's host has
 * acknowledged every byte, and, where there is a reply, when that has ended. Only then is there a receipt: in the header,
 * or behind the body where the reply had to begin before. Whatever else happens resets the application's connection and,
 * if an answer has begun, the stream.
 *
 * A message with a key whose client leaves when its payload is whole goes on, for the record.
 */
#ifndef PORTSEAL_RELAY_MESSAGE_H
#define PORTSEAL_RELAY_MESSAGE_H

#include <stddef.h>
#include <uv.h>

#include "exchange.h"
#include "message_count.h"
#include "message_rate.h"
#include "portseal/linger.h"
#include "results.h"

struct messages; /* of one worker */

struct messages_config {
	uv_loop_t *loop; /* borrowed, as all of it */
	struct watches *watches;
	struct linger_set *linger;
	struct results *results;   /* NULL: no key is taken */
	struct message_rate *rate; /* NULL: not limited */
	struct message_count *count;
	size_t max_reply; /* bytes of a reply that are kept for a repeat */
};

enum ps_err messages_new(const struct messages_config *config, struct messages **messages) PS_MUST_CHECK;

/* Those that go on without their client. */
size_t messages_left(const struct messages *messages);

/* Those, and what is still to be recorded. */
size_t messages_pending(const struct messages *messages);

/* Cuts those. */
void messages_abort(struct messages *messages);

void messages_free(struct messages *messages);

extern const struct exchange_kind message_kind;

#endif
