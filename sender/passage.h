/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passage -- a local connection's way to its service: a stream on a link of the pool, or a connection of its own.
 *
 *     WAITING ──a link has room──▶ ASKED (CONNECT service) ──200──▶ THROUGH
 *        │ ▲                         │
 *        │ └──not processed, cut, 503, no answer in time: elsewhere, as no byte was sent
 *        ├──the relay speaks no HTTP/2, or none is wanted: a dial of its own──▶ THROUGH
 *        └──every relay was tried──▶ REFUSED ◀──403, 404, 502, 504──
 *
 * Which protocol a relay speaks is found out by the first dial to it, which offers both. Those who wait for a link share
 * dials: one is enough for many streams. A relay that fails is left for the next one, and a passage is refused only when
 * every relay has failed it.
 *
 * Owns:   the pool, what was asked of gatekeepers, what is known of the relays.
 * Never:  touches the local socket: its bytes stay unread until the passage is THROUGH.
 */
#ifndef PORTSEAL_SENDER_PASSAGE_H
#define PORTSEAL_SENDER_PASSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "briefing.h"
#include "pool.h"
#include "portseal/err.h"
#include "portseal/h2.h"
#include "portseal/handover.h"
#include "portseal/linger.h"

struct passage;
struct passages; /* all of one worker */

struct passage_events {
	/* THROUGH: a connection of its own; the descriptor is the receiver's. */
	void (*on_raw)(void *owner, const struct handover *handover, int fd);
	/* THROUGH: a stream, right from its on_response: attach events to it now. */
	void (*on_stream)(void *owner, struct h2_stream *stream, const struct pool_facts *facts);
	/* REFUSED. Both are words for the log; the detail may be "". */
	void (*on_refused)(void *owner, const char *reason, const char *detail);
};

struct passages_config {
	uv_loop_t *loop;
	struct watches *watches;         /* borrowed */
	struct linger_set *linger;       /* borrowed */
	int slot;                        /* where gatekeepers are asked */
	const struct briefing *briefing; /* borrowed; its content changes with the generation */
	const struct passage_events *events;
};

enum ps_err passages_new(const struct passages_config *config, struct passages **passages) PS_MUST_CHECK;
void passages_free(struct passages *passages);

/* No event is called before it returns. `service` is "" for none: a connection of its own, without ALPN. */
enum ps_err passage_begin(struct passages *passages, const char *service, void *owner, struct passage **passage)
	PS_MUST_CHECK;

/* The local connection is over, or does not want to wait any longer. Frees it. */
void passage_end(struct passage *passage);

/* A message of the slot's; takes its descriptor. */
void passages_take(struct passages *passages, struct handover_message *message);

/* Sends requests that the slot's queue had no room for. PS_E_AGAIN: there is still none. */
enum ps_err passages_send(struct passages *passages) PS_MUST_CHECK;
size_t passages_unsent(const struct passages *passages);

/* The briefing tells of another generation: links are replaced, and whoever waits is sent on his way anew. */
void passages_renew(struct passages *passages);

/* No passage is left, and none will begin: the links are shut, or at once ended. */
void passages_shut(struct passages *passages);
void passages_abort(struct passages *passages);
bool passages_is_over(const struct passages *passages);

/* Lets go of the loop; to be freed when it has run out. */
void passages_stop(struct passages *passages);

#endif
