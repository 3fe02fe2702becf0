/* SPDX-License-Identifier: Apache-2.0 */
#include "claim.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "portseal/clock.h"
#include "session_internal.h"

static struct claim *of_member(struct standing_member *member)
{
	return (struct claim *)((char *)member - offsetof(struct claim, member));
}

/* Each may end on the way, and others only later. */
static void for_each_exchange(struct claim *claim, void (*what)(struct exchange *exchange, enum refusal, const char *),
                              enum refusal refusal, const char *detail)
{
	struct exchange *next;

	for (struct exchange *exchange = LIST_FIRST(&claim->exchanges); exchange != NULL; exchange = next) {
		next = LIST_NEXT(exchange, of_claim);
		what(exchange, refusal, detail);
	}
}

static void settle(struct exchange *exchange, enum refusal refusal, const char *detail)
{
	(void)refusal;
	(void)detail;
	exchange_settle(exchange);
}

static void on_fall(struct standing_member *member, enum refusal refusal, const char *detail)
{
	for_each_exchange(of_member(member), exchange_fall, refusal, detail);
}

static void on_known(struct standing_member *member)
{
	for_each_exchange(of_member(member), settle, REFUSAL_NONE, NULL);
}

static void give_up(struct exchange *exchange, enum refusal refusal, const char *detail)
{
	(void)refusal;
	(void)detail;
	exchange_give_up(exchange);
}

static void on_late(struct standing_member *member)
{
	for_each_exchange(of_member(member), give_up, REFUSAL_NONE, NULL);
}

static const struct standing_holder holder = { on_fall, on_known, on_late };

static void forget(struct claim *claim)
{
	standings_leave(claim->session->all->config.standings, &claim->member);
	LIST_REMOVE(claim, link);
	claim->session->n_claims--;
	free(claim);
}

static struct claim *find(const struct session *session, const char *asked)
{
	struct claim *claim;

	LIST_FOREACH(claim, &session->claims, link)
	if (strcmp(claim->asked, asked) == 0)
		return claim;
	return NULL;
}

/* The one that nobody uses for longest. */
static struct claim *find_idle(const struct session *session)
{
	struct claim *idle = NULL;
	struct claim *claim;

	LIST_FOREACH(claim, &session->claims, link)
	if (claim->n_exchanges == 0 && (idle == NULL || claim->used_ms < idle->used_ms))
		idle = claim;
	return idle;
}

static bool may_ask(struct session *session, uint64_t now_ms)
{
	const uint64_t seconds = (now_ms - session->questions_ms) / 1000;
	const uint64_t filled = session->questions + seconds * CLAIM_QUESTIONS_S;

	session->questions_ms += seconds * 1000;
	session->questions = filled < CLAIM_QUESTIONS ? (unsigned)filled : CLAIM_QUESTIONS;
	if (session->questions == 0)
		return false;
	session->questions--;
	return true;
}

static enum ps_err add(struct session *session, const char *asked, struct claim **added)
{
	const size_t size = strlen(asked) + 1;
	struct claim *idle = find_idle(session);

	if (session->all->draining)
		return PS_E_CLOSED;
	if ((session->n_claims == CLAIMS_MAX && idle == NULL) || !may_ask(session, clock_now_ms()))
		return PS_E_LIMIT;
	struct claim *claim = calloc(1, sizeof(*claim) + size);
	if (claim == NULL)
		return PS_E_NOMEM;
	claim->session = session;
	LIST_INIT(&claim->exchanges);
	memcpy(claim->asked, asked, size);
	const enum ps_err err = standings_join_service(session->all->config.standings, session->member.standing, asked,
	                                               session->conn, &holder, &claim->member);
	if (err != PS_OK) {
		free(claim);
		return err;
	}
	if (session->n_claims == CLAIMS_MAX)
		forget(idle);
	LIST_INSERT_HEAD(&session->claims, claim, link);
	session->n_claims++;
	*added = claim;
	return PS_OK;
}

enum ps_err claim_hold(struct session *session, const char *asked, struct exchange *exchange)
{
	struct claim *claim = find(session, asked);
	const enum ps_err err = claim != NULL ? PS_OK : add(session, asked, &claim);

	if (err != PS_OK)
		return err;
	LIST_INSERT_HEAD(&claim->exchanges, exchange, of_claim);
	claim->n_exchanges++;
	exchange->claim = claim;
	exchange->service = standing_service(claim->member.standing);
	if (standing_verdict(claim->member.standing) == STANDING_OPEN) {
		standings_want(session->all->config.standings, claim->member.standing);
		session->all->config.ask(session->all->config.owner);
	}
	return PS_OK;
}

void claim_release(struct exchange *exchange)
{
	struct claim *claim = exchange->claim;

	if (claim == NULL)
		return;
	LIST_REMOVE(exchange, of_claim);
	claim->n_exchanges--;
	claim->used_ms = clock_now_ms();
	exchange->claim = NULL;
}

void claims_clear(struct session *session)
{
	for (struct claim *claim = LIST_FIRST(&session->claims), *next; claim != NULL; claim = next) {
		next = LIST_NEXT(claim, link);
		forget(claim);
	}
}
