/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool -- the HTTP/2 connections of one worker to its relays ("links"), on which local connections are streams.
 *
 *     OPENING ──the relay's settings came──▶ OPEN ──its time has come──▶ STALE ──another is OPEN──┐
 *        │                                    └──not needed, GOAWAY────────────────────────────────▶ RETIRING ──▶ gone
 *        └───────────────the connection ended: refused, cut, closed; likewise from every state──────────────────▲
 *
 * A link that is RETIRING takes no new streams; those that it has may finish. The time of one has come when it is a day
 * old, or nine tenths of what was left of the certificates (theirs or ours) have passed: then it serves on until there is
 * another.
 *
 * Owns:   the links.
 * Never:  dials: that is passage's, who is told when one ends. Logs each link's begin and end.
 */
#ifndef PORTSEAL_SENDER_POOL_H
#define PORTSEAL_SENDER_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "portseal/err.h"
#include "portseal/h2.h"
#include "portseal/handover.h"
#include "portseal/linger.h"

#define POOL_STREAMS 64 /* on one link; with more another one helps */

struct pool;

/* For the log. */
struct pool_facts {
	uint64_t conn;
	uint32_t relay; /* index */
	char name[IDENTITY_LABEL_MAX];
	char address[ADDRESS_TEXT_MAX];
	uint16_t suite;
};

struct pool_config {
	uv_loop_t *loop;
	struct watches *watches;   /* borrowed */
	struct linger_set *linger; /* borrowed */
	/* A link opened, or can take streams again. */
	void (*on_room)(void *owner, uint32_t relay);
	/* One is gone, or takes no more streams. NULL report: it is still there, for the streams that it has. `opened`: it has
	 * been OPEN; else it is as if the dial had failed. */
	void (*on_loss)(void *owner, uint32_t relay, const struct h2_report *report, bool opened);
	void *owner;
};

enum ps_err pool_new(const struct pool_config *config, struct pool **pool) PS_MUST_CHECK;
/* No link is left: pool_count_all is 0. */
void pool_free(struct pool *pool);

/* Takes a connection that was dialled for HTTP/2, also on failure. */
enum ps_err pool_add(struct pool *pool, uint32_t relay, const struct handover *handover, int fd) PS_MUST_CHECK;

/* Opens a stream on the link to this relay that has the fewest. PS_E_LIMIT: none has room. PS_E_NOMEM. `facts` are good
 * until the stream's on_closed. */
enum ps_err pool_open(struct pool *pool, uint32_t relay, const struct h2_request *request,
                      const struct h2_stream_events *events, void *owner, struct h2_stream **stream,
                      const struct pool_facts **facts) PS_MUST_CHECK;

/* It did not answer: takes no new streams. Those that it has may be luckier. */
void pool_doubt(struct pool *pool, const struct pool_facts *facts);

/* Links to it that are OPEN or OPENING, and the streams on those and STALE ones. */
size_t pool_count(const struct pool *pool, uint32_t relay);
size_t pool_streams(const struct pool *pool, uint32_t relay);
size_t pool_count_opening(const struct pool *pool, uint32_t relay);
size_t pool_count_all(const struct pool *pool); /* RETIRING ones, too */

/* Retires those whose time has come, and of more than `min` to one relay those that had no stream for idle_ms. Returns when
 * to be called again, of the loop's clock; UINT64_MAX: with the next link. */
uint64_t pool_tend(struct pool *pool, size_t min, uint64_t idle_ms);

/* None takes new streams any more. */
void pool_retire(struct pool *pool);

/* Ends all with their streams. */
void pool_abort(struct pool *pool);

#endif
