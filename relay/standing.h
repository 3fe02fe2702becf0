/* SPDX-License-Identifier: Apache-2.0 */
/*
 * standing -- who holds the living connections of a worker, so that all of them can be judged again.
 *
 * Connections of one client to one service share a standing: the chain it presented is kept once and judged once,
 * however many connections it has. A connection of HTTP/2 has one for its chain alone, and for each service that its
 * streams ask for one more, which begins as a question. With each generation it is one again: what lives stays until the
 * answer, but a stream that comes waits for it.
 *
 * Owns:   the presented chains.
 * Never:  judges; a gatekeeper does. Never ends a connection; its owner does when it is told.
 */
#ifndef PORTSEAL_RELAY_STANDING_H
#define PORTSEAL_RELAY_STANDING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "portseal/err.h"
#include "portseal/handover.h"

#define STANDING_PATIENCE_MS 5000 /* more than a full queue of the dearest questions takes */
#define STANDING_WAIT_MS (2 * STANDING_PATIENCE_MS)

struct standing;
struct standings;

struct standing_member;

/* What becomes of a member. It may leave at once. */
struct standing_holder {
	/* Its right is gone, or was asked for and is not: refusal and detail say why. Perhaps again, if it stays. */
	void (*on_fall)(struct standing_member *member, enum refusal refusal, const char *detail);
	/* It was judged, perhaps anew, and what lives may stay; standing_verdict says whether anything may begin. NULL where
	 * nothing waits for it. */
	void (*on_known)(struct standing_member *member);
	/* It has not been judged for STANDING_WAIT_MS: whatever waits for that should not any longer. Again and again, until
	 * it is judged. NULL likewise. */
	void (*on_late)(struct standing_member *member);
};

/* Part of each connection. */
struct standing_member {
	struct standing *standing;
	const struct standing_holder *holder;
	LIST_ENTRY(standing_member) link;
};

enum ps_err standings_new(struct standings **standings) PS_MUST_CHECK;
void standings_free(struct standings *standings);

/* The connection belongs to whoever the hand-over says, and is good as it says. */
enum ps_err standings_join(struct standings *standings, const struct handover *handover,
                           const struct standing_holder *holder, struct standing_member *member) PS_MUST_CHECK;

/* The same client as of `chain` asks for a service by this name (shorter than HANDOVER_ASKED_MAX). If nobody asked before,
 * it is STANDING_OPEN until the holder is told; `conn` is whom the gatekeeper tells of. */
enum ps_err standings_join_service(struct standings *standings, const struct standing *chain, const char *asked,
                                   uint64_t conn, const struct standing_holder *holder, struct standing_member *member)
	PS_MUST_CHECK;

enum standing_verdict { STANDING_OPEN, STANDING_ALLOWED, STANDING_REFUSED };

/* What the generation in force says, for whoever comes now; living ones may be kept in spite of it. STANDING_OPEN: it was
 * not asked, or has not answered. */
enum standing_verdict standing_verdict(const struct standing *standing);
enum refusal standing_refusal(const struct standing *standing); /* REFUSAL_NONE unless it is STANDING_REFUSED */
const char *standing_detail(const struct standing *standing);   /* "" where there is none */

/* How to carry what is for the service, once it is STANDING_ALLOWED. */
const struct service_terms *standing_terms(const struct standing *standing);

/* Harmless when it never joined. */
void standings_leave(struct standings *standings, struct standing_member *member);

/* The service's name, for the log; what was asked for while it is not known; "" of a chain alone. */
const char *standing_service(const struct standing *standing);

/* Who it is, for the audit trail; NULL where none is written. */
const struct audit_who *standing_who(const struct standing *standing);

/* Another generation is in force: everyone who was admitted or judged by an earlier one is due again. */
void standings_set_generation(struct standings *standings, uint32_t generation);

/* Somebody waits for it: it is asked for before those for whom nobody does. Harmless where it is judged. */
void standings_want(struct standings *standings, struct standing *standing);

/* Asks for those that are due over the slot, as far as its queue takes them, and again for those whose answer has not
 * come for STANDING_PATIENCE_MS: whoever was asked may have died. `now_ms` is a monotonic clock's. */
void standings_ask(struct standings *standings, int slot, uint64_t now_ms);

/* Tells the members of those that have waited too long for an answer. UINT64_MAX: no answer will come any more. */
void standings_give_up(struct standings *standings, uint64_t now_ms);

/* Is any of them due, or asked for and not answered yet? */
bool standings_are_open(const struct standings *standings);

/* A gatekeeper's answer. */
void standings_answer(struct standings *standings, const struct handover_judged *judged);

/* Lets fall whose certificates (or what else the verdict rests on) ended by `now`, seconds since 1970. */
void standings_expire(struct standings *standings, int64_t now);

#endif
