/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_target -- the application's side of one message: connects, gives it the payload, knows when its host has every
 * byte, and finds the end of its reply.
 *
 *     CONNECTING ──▶ WRITING ──end of the payload, all written──▶ SETTLING ──all acknowledged──▶ DELIVERED
 *         └─────────────┴──────────────────────────────────────────┴──────────────────────────────▶ FAILED
 *
 * The reply is read when it is asked for, from the first byte written on, whatever the state.
 *
 * Owns:   the connection, and what of the payload the socket did not take.
 * Never:  ends cleanly what was not delivered whole: such a connection is reset, also when the process dies.
 */
#ifndef PORTSEAL_RELAY_MESSAGE_TARGET_H
#define PORTSEAL_RELAY_MESSAGE_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "portseal/address.h"
#include "portseal/connector.h"
#include "portseal/err.h"
#include "portseal/linger.h"
#include "reply_end.h"

struct message_target;

/* All come from the loop. on_failed ends it: nothing follows, but message_target_end is still to be called. */
struct message_target_events {
	void (*on_connected)(void *owner);
	/* The socket took so many bytes more of what was kept. */
	void (*on_taken)(void *owner, size_t len);
	/* The application's host has acknowledged every byte. */
	void (*on_delivered)(void *owner);
	/* message_target_read has something: bytes, or the end. */
	void (*on_readable)(void *owner);
	/* `reason` is the log's word: "target-refused", "target-reset". */
	void (*on_failed)(void *owner, const char *reason, const char *detail);
};

struct message_target_config {
	uv_loop_t *loop; /* borrowed, as the rest */
	struct watches *watches;
	struct linger_set *linger;
	const struct address *address; /* until the call returns */
	uint64_t connect_ms;
	struct reply_rule reply;
	const struct message_target_events *events;
	void *owner;
};

enum ps_err message_target_new(const struct message_target_config *config, struct message_target **target)
	PS_MUST_CHECK;

/* Bytes of the payload, once it is connected; returns how many the socket took at once, on_taken tells of the rest. The
 * caller's flow control bounds what is kept. */
size_t message_target_write(struct message_target *target, const uint8_t *bytes, size_t len);

/* The payload is whole. */
void message_target_finish(struct message_target *target);

/* Reads of the reply: returns how many bytes came, and whether it has ended. 0 without an end: on_readable follows. */
size_t message_target_read(struct message_target *target, uint8_t *room, size_t max, bool *ended);

/* Bytes of the reply wait to be read. */
bool message_target_has_reply(const struct message_target *target);

/* Nothing of the payload is kept: it is not the application that is waited for. */
bool message_target_is_hungry(const struct message_target *target);

uint64_t message_target_taken(const struct message_target *target);

/* Closes it: cleanly if it was delivered and `clean` is set, else by a reset. No event follows. NULL is harmless. */
void message_target_end(struct message_target *target, bool clean);

#endif
