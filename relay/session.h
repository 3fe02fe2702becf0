/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session -- one HTTP/2 connection in a worker: its chain is good, and each of its requests asks for a right of its own.
 *
 * Each one is told of by one line event=accepted and one event=closed; each of its requests by a line of its own.
 */
#ifndef PORTSEAL_RELAY_SESSION_H
#define PORTSEAL_RELAY_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "audit_client.h"
#include "portseal/h2.h"
#include "portseal/handover.h"
#include "portseal/linger.h"
#include "standing.h"

struct messages;
struct sessions;

struct sessions_config {
	uv_loop_t *loop; /* borrowed, as everything here */
	struct standings *standings;
	struct watches *watches;
	struct linger_set *linger;
	struct h2_scratch *scratch;
	struct messages *messages;
	struct audit_client *audit; /* NULL: none is configured */
	/* A standing has become a question: it is to be asked now. */
	void (*ask)(void *owner);
	/* Is there a descriptor for one target more? */
	bool (*has_room)(void *owner);
	/* Called as each session ends: the counts of the scoreboard are the worker's business. */
	void (*on_end)(void *owner, const uint8_t client_pin[static IDENTITY_PIN_LEN]);
	void *owner;
};

enum ps_err sessions_new(const struct sessions_config *config, struct sessions **sessions) PS_MUST_CHECK;

/* Takes the socket, -1 where it was lost for want of descriptors; on_end follows in every case. */
void sessions_begin(struct sessions *sessions, const struct handover *handover, int fd, bool has_room);

size_t sessions_count(const struct sessions *sessions);

/* Requests under way, all sessions together. */
size_t sessions_exchanges(const struct sessions *sessions);

/* Says GOAWAY to all; what is under way may finish, and what needs nobody's judgement may still begin. */
void sessions_drain(struct sessions *sessions);

/* Cuts all of them: reason=drain. */
void sessions_abort(struct sessions *sessions);

/* When none is left. */
void sessions_free(struct sessions *sessions);

#endif
