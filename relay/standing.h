/* SPDX-License-Identifier: Apache-2.0 */
/*
 * standing -- who holds the living connections of a worker, so that all of them can be judged again.
 *
 * Connections of one client to one service share a standing: the chain it presented is kept once and judged once,
 * however many connections it has.
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

struct standing;
struct standings;

/* Part of each connection. */
struct standing_member {
	struct standing *standing;
	LIST_ENTRY(standing_member) link;
};

/* `on_fall` is called for each member whose right is gone: refusal and detail say why. It may leave at once. */
typedef void standing_fall_fn(void *owner, struct standing_member *member, enum refusal refusal, const char *detail);

enum ps_err standings_new(standing_fall_fn *on_fall, void *owner, struct standings **standings) PS_MUST_CHECK;
void standings_free(struct standings *standings);

/* The connection belongs to whoever the hand-over says. */
enum ps_err standings_join(struct standings *standings, const struct handover *handover, struct standing_member *member)
	PS_MUST_CHECK;
/* Harmless when it never joined. */
void standings_leave(struct standings *standings, struct standing_member *member);

/* The service's name, for the log. */
const char *standing_service(const struct standing *standing);

/* Who it is, for the audit trail; NULL where none is written. */
const struct audit_who *standing_who(const struct standing *standing);

/* Another generation is in force: everyone who was admitted or judged by an earlier one is due again. */
void standings_set_generation(struct standings *standings, uint32_t generation);

/* Asks for those that are due over the slot, as far as its queue takes them, and again for those whose answer has not
 * come for STANDING_PATIENCE_MS: whoever was asked may have died. `now_ms` is a monotonic clock's. */
void standings_ask(struct standings *standings, int slot, uint64_t now_ms);

/* Is any of them due, or asked for and not answered yet? */
bool standings_are_open(const struct standings *standings);

/* A gatekeeper's answer. */
void standings_answer(struct standings *standings, const struct handover_judged *judged);

/* Lets fall whose certificates (or what else the verdict rests on) ended by `now`, seconds since 1970. */
void standings_expire(struct standings *standings, int64_t now);

#endif
