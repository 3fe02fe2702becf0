/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local -- the local connections of one worker, each from its accept to its end: the client's bytes stay unread until there
 * is a passage to its service, then a bridge joins it with a connection of its own, or a pipe with a stream.
 *
 * Owns:   the accepted sockets, until a bridge or a pipe has them; the passages.
 * Never:  dials, or sees a certificate's key. Logs exactly one end of each connection: closed or refused.
 */
#ifndef PORTSEAL_SENDER_LOCAL_H
#define PORTSEAL_SENDER_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "briefing.h"
#include "passage.h"
#include "portseal/bridge.h"
#include "portseal/handover.h"
#include "portseal/linger.h"

struct locals;
struct scoreboard;

struct locals_config {
	uv_loop_t *loop;
	struct watches *watches; /* borrowed, as what follows */
	struct bridge_scratch *scratch;
	struct linger_set *linger;
	int slot;                        /* where gatekeepers are asked */
	struct scoreboard *board;        /* where who lives here is counted, */
	unsigned index;                  /* in this slot */
	const struct briefing *briefing; /* its content changes with the generation */
};

enum ps_err locals_new(const struct locals_config *config, struct locals **locals) PS_MUST_CHECK;

/* Lets go of the loop; to be freed when it has run out. None is left: locals_count is 0. */
void locals_stop(struct locals *locals);
void locals_free(struct locals *locals);

/* Takes an accepted socket; no service is "". PS_E_AGAIN: the gatekeepers' queue is full: accept no more until locals_ask_again is PS_OK. */
enum ps_err locals_begin(struct locals *locals, const char *service, int fd, const char *peer) PS_MUST_CHECK;

/* Asks for those that the queue had no room for, or whom a gatekeeper of another generation told to. PS_E_AGAIN: there is
 * still no room. */
enum ps_err locals_ask_again(struct locals *locals) PS_MUST_CHECK;

/* A gatekeeper's answer; takes its descriptor. One that nobody waits for any more is closed. */
void locals_take(struct locals *locals, struct handover_message *message);

/* The briefing tells of another generation. */
void locals_renew(struct locals *locals);

/* Cuts all; each ends with the next turns of the loop. */
void locals_abort(struct locals *locals);

size_t locals_count(const struct locals *locals);
size_t locals_unasked(const struct locals *locals);

/* None is left and none will come: shuts the pool, or ends it at once. True when it is gone; call it until then. */
bool locals_end_pool(struct locals *locals, bool at_once);

#endif
