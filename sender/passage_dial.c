/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passage_dial -- what is dialled for all passages of a worker together, and what an answer means for each.
 */
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "outcome.h"
#include "passage_internal.h"

#define GAP_MS 250  /* between attempts that somebody waits for */
#define WARM_MS 200 /* within it a link that nobody waits for is dialled: not all senders' at once */

static uint32_t chance(void)
{
	uint32_t number = 0;

	(void)!getrandom(&number, sizeof(number), 0);
	return number;
}

bool passages_want_own(const struct passages *passages, const struct passage *passage)
{
	return passage->service[0] == '\0' || passages->relays.at[passage->relay].speech == RELAY_RAW;
}

enum dial_offer passages_offer(const struct passages *passages, const struct passage *passage)
{
	if (passage->service[0] == '\0' || passages->config.briefing->protocol == SENDER_PROTOCOL_TLS)
		return DIAL_OFFER_TLS;
	return passages->config.briefing->protocol == SENDER_PROTOCOL_H2 ? DIAL_OFFER_H2 : DIAL_OFFER_BOTH;
}

static const struct passage *first_waiting(const struct passages *all, uint32_t relay, size_t *n)
{
	const struct passage *first = NULL, *passage;

	*n = 0;
	for (passage = TAILQ_FIRST(&all->waiting); passage != NULL; passage = TAILQ_NEXT(passage, link)) {
		if (passage->relay != relay)
			continue;
		if (first == NULL)
			first = passage;
		++*n;
	}
	return first;
}

static void dial_shared(struct passages *all, uint32_t relay, enum dial_offer offer, const char *service)
{
	relays_attempt(&all->relays, relay);
	(void)!dials_ask(all->dials, relay, offer, service, NULL); /* without memory: at the next look */
	passages_arm(all, uv_now(all->config.loop) + GAP_MS);
}

/* Somebody waits, and what is on its way does not suffice. */
static void tend_waiting(struct passages *all, uint32_t relay, const struct passage *first)
{
	const struct relays_one *one = &all->relays.at[relay];
	const uint64_t now_ms = uv_now(all->config.loop);

	if (one->n_failures > 0 && now_ms < one->failed_ms + GAP_MS)
		passages_arm(all, one->failed_ms + GAP_MS);
	else
		dial_shared(all, relay, passages_offer(all, first), first->service);
}

/* Nobody waits, but the next one should not have to. */
static void tend_warm(struct passages *all, uint32_t relay)
{
	const struct relays_one *one = &all->relays.at[relay];
	const uint64_t now_ms = uv_now(all->config.loop);
	const uint64_t due_ms =
		one->n_failures > 0 && one->rest_ms > all->warm_ms[relay] ? one->rest_ms : all->warm_ms[relay];

	if (now_ms < due_ms)
		passages_arm(all, due_ms);
	else
		dial_shared(all, relay, DIAL_OFFER_H2, "");
}

void passages_tend(struct passages *passages, uint32_t relay)
{
	const struct briefing *briefing = passages->config.briefing;
	const size_t n_coming = dials_shared(passages->dials, relay);
	const size_t n_links = pool_count(passages->pool, relay) + n_coming;
	const size_t helpful = (pool_streams(passages->pool, relay) + POOL_STREAMS - 1) / POOL_STREAMS;
	const size_t wanted = helpful > briefing->pool_min ? helpful : (size_t)briefing->pool_min;
	size_t n_waiting;
	const struct passage *first = first_waiting(passages, relay, &n_waiting);

	if (passages->relays.at[relay].speech == RELAY_RAW || n_links >= briefing->pool_max)
		return;
	/* One is enough to find out which protocol it speaks. */
	if (passages->relays.at[relay].speech == RELAY_UNKNOWN && n_coming > 0)
		return;
	if (n_waiting > (n_coming + pool_count_opening(passages->pool, relay)) * POOL_STREAMS)
		tend_waiting(passages, relay, first);
	else if (passages->relays.at[relay].speech == RELAY_H2 && n_links < wanted && !passages->shut &&
	         relays_is_wanted(&passages->relays, relay, uv_now(passages->config.loop)))
		tend_warm(passages, relay);
}

/* Takes those who wait for this relay (and this service, unless NULL) out of the list, in their order. */
static void take_waiting(struct passages *all, uint32_t relay, const char *service, struct passage_list *out)
{
	struct passage *passage, *next;

	TAILQ_INIT(out);
	for (passage = TAILQ_FIRST(&all->waiting); passage != NULL; passage = next) {
		next = TAILQ_NEXT(passage, link);
		if (passage->relay != relay || (service != NULL && strcmp(passage->service, service) != 0))
			continue;
		TAILQ_REMOVE(&all->waiting, passage, link);
		TAILQ_INSERT_TAIL(out, passage, link);
	}
}

static void seek_all(struct passage_list *list)
{
	struct passage *passage;

	while ((passage = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, passage, link);
		passage_seek(passage);
	}
}

static void fail_one(struct passage *passage, uint32_t relay, const char *reason, const char *detail)
{
	passage_note(passage, reason, detail);
	passage->tried |= 1u << relay;
}

static void fail_waiting(struct passages *all, uint32_t relay, const char *service, const char *reason,
                         const char *detail)
{
	struct passage_list list;
	struct passage *passage;

	take_waiting(all, relay, service, &list);
	for (passage = TAILQ_FIRST(&list); passage != NULL; passage = TAILQ_NEXT(passage, link))
		fail_one(passage, relay, reason, detail);
	seek_all(&list);
}

void passages_on_room(void *owner, uint32_t relay)
{
	struct passages *all = owner;
	struct passage_list list;
	struct passage *passage;

	relays_worked(&all->relays, relay);
	take_waiting(all, relay, NULL, &list);
	while ((passage = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, passage, link);
		if (passage_ask(passage))
			continue;
		TAILQ_INSERT_HEAD(&list, passage, link);
		break;
	}
	TAILQ_CONCAT(&list, &all->waiting, link); /* they came first */
	TAILQ_CONCAT(&all->waiting, &list, link);
	passages_arm(all, 0);
}

/* It let us in by TLS, and then would not have us: the reason is in the alert, if there is one. */
static void fail_opening(struct passages *all, uint32_t relay, const struct h2_report *report)
{
	const struct outcome_names names = { .relay = all->relay_texts[relay] };
	struct outcome outcome = { .refusal = REFUSAL_NONE };

	relays_failed(&all->relays, relay, uv_now(all->config.loop), chance());
	if (report != NULL && report->end == H2_PEER_ALERT)
		outcome_of_alert(&outcome, report->peer_alert, &names);
	else
		outcome_set(&outcome, OUTCOME_UNDELIVERED, "%s ended the connection before it took a stream",
		            all->relay_texts[relay]);
	fail_waiting(all, relay, NULL, outcome.refusal != REFUSAL_NONE ? refusal_name(outcome.refusal) : "relay-failed",
	             outcome.cause.text);
}

void passages_on_loss(void *owner, uint32_t relay, const struct h2_report *report, bool opened)
{
	struct passages *all = owner;

	if (relay >= all->relays.n)
		return;
	if (!opened)
		fail_opening(all, relay, report);
	all->warm_ms[relay] = uv_now(all->config.loop) + chance() % WARM_MS;
	passages_arm(all, 0);
}

static const char *reason_of(const struct handover_dial_failed *failed)
{
	if (failed->refusal != REFUSAL_NONE)
		return refusal_name((enum refusal)failed->refusal);
	switch (failed->exit_code) {
	case DIALS_NO_ANSWER:
		return "no-answer";
	case OUTCOME_NO_RELAY:
		return "relay-not-reached";
	case OUTCOME_UNDELIVERED:
	case OUTCOME_REFUSED:
		return "relay-failed";
	default:
		return "internal";
	}
}

static void on_failed(struct passages *all, const struct dials_asked *asked, const struct handover_dial_failed *failed)
{
	const uint32_t relay = asked->request.relay;
	/* The relay works: it is this service that it does not know. */
	const bool of_service = failed->refusal == REFUSAL_UNKNOWN_SERVICE || failed->refusal == REFUSAL_NOT_ALLOWED;
	struct passage *passage = asked->tag;

	if (of_service)
		relays_worked(&all->relays, relay);
	else
		relays_failed(&all->relays, relay, uv_now(all->config.loop), chance());
	if (all->config.briefing->protocol == SENDER_PROTOCOL_AUTO && asked->request.offer == DIAL_OFFER_H2)
		all->relays.at[relay].speech = RELAY_UNKNOWN; /* it may have been replaced by one that speaks none */
	if (asked->shared)
		fail_waiting(all, relay, of_service ? asked->request.service : NULL, reason_of(failed), failed->text);
	if (passage == NULL)
		return;
	fail_one(passage, relay, reason_of(failed), failed->text);
	passage_seek(passage);
}

static void wait_in_line(struct passage *passage)
{
	passage->state = PASSAGE_WAITING;
	TAILQ_INSERT_TAIL(&passage->all->waiting, passage, link);
}

static void on_h2(struct passages *all, const struct dials_asked *asked, struct handover_message *message)
{
	const uint32_t relay = asked->request.relay;
	struct passage *passage = asked->tag;

	all->relays.at[relay].speech = RELAY_H2;
	if (passage != NULL)
		wait_in_line(passage);
	if (all->shut && TAILQ_EMPTY(&all->waiting))
		close(message->fd);
	else if (pool_add(all->pool, relay, &message->body.connection, message->fd) != PS_OK)
		fail_waiting(all, relay, NULL, "no-memory", "");
}

static void on_raw(struct passages *all, const struct dials_asked *asked, struct handover_message *message)
{
	const uint32_t relay = asked->request.relay;
	struct passage *passage = asked->tag;
	struct passage_list list;

	relays_worked(&all->relays, relay);
	if (asked->request.offer == DIAL_OFFER_BOTH)
		all->relays.at[relay].speech = RELAY_RAW;
	if (passage == NULL && asked->shared) {
		take_waiting(all, relay, asked->request.service, &list);
		passage = TAILQ_FIRST(&list);
		if (passage != NULL)
			TAILQ_REMOVE(&list, passage, link);
		TAILQ_CONCAT(&all->waiting, &list, link);
	}
	if (passage != NULL)
		passage_go_raw(passage, &message->body.connection, message->fd);
	else
		close(message->fd);
	if (asked->shared) { /* whoever waits dials for himself */
		take_waiting(all, relay, NULL, &list);
		seek_all(&list);
	}
}

/* Asked in an earlier generation: what came of it says nothing of the relays of now. */
static void on_stale(const struct dials_asked *asked, struct handover_message *message)
{
	struct passage *passage = asked->tag;

	if (message->type == HANDOVER_CONNECTION && message->body.connection.is_h2 == 0 && passage != NULL) {
		passage_go_raw(passage, &message->body.connection, message->fd);
		return;
	}
	if (message->fd >= 0)
		close(message->fd);
	if (passage != NULL)
		passage_seek(passage);
}

void passages_on_answer(void *owner, const struct dials_asked *asked, struct handover_message *message)
{
	struct passages *all = owner;

	if (asked->request.generation != all->config.briefing->generation)
		on_stale(asked, message);
	else if (message->type == HANDOVER_DIAL_FAILED)
		on_failed(all, asked, &message->body.failed);
	else if (message->body.connection.is_h2 != 0)
		on_h2(all, asked, message);
	else
		on_raw(all, asked, message);
	passages_arm(all, 0);
}
