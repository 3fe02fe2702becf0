/* SPDX-License-Identifier: Apache-2.0 */
#include "passage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "passage_internal.h"
#include "problem.h"

#define STATUS_OK 200
#define STATUS_UNAVAILABLE 503
#define TRIES_MAX 8 /* connects: of a relay that cuts each of them, one asks no further */

/* Out of the count of its relay, if that is still of the generation in force. */
static void leave(struct passage *passage)
{
	struct passages *all = passage->all;

	if (passage->relay != RELAYS_NONE && passage->generation == all->config.briefing->generation)
		all->relays.at[passage->relay].outstanding--;
	passage->relay = RELAYS_NONE;
}

static void enter(struct passage *passage, uint32_t relay)
{
	struct passages *all = passage->all;

	if (passage->generation != all->config.briefing->generation)
		passage->tried = 0; /* it counted other relays */
	passage->generation = all->config.briefing->generation;
	passage->relay = relay;
	all->relays.at[relay].outstanding++;
}

void passage_note(struct passage *passage, const char *reason, const char *detail)
{
	if (passage->failure == NULL)
		passage->failure = malloc(sizeof(*passage->failure));
	if (passage->failure == NULL)
		return;
	(void)snprintf(passage->failure->reason, sizeof(passage->failure->reason), "%s", reason);
	(void)snprintf(passage->failure->detail, sizeof(passage->failure->detail), "%s", detail);
}

/* Told from the loop, as its owner may be in the middle of something. */
static void refuse(struct passage *passage)
{
	struct passages *all = passage->all;

	passage->state = PASSAGE_REFUSED;
	TAILQ_INSERT_TAIL(&all->refused, passage, link);
	passages_arm(all, 0);
}

static void tell_refused(struct passages *all)
{
	struct passage *passage;

	while ((passage = TAILQ_FIRST(&all->refused)) != NULL) {
		const struct passage_failure none = { .reason = "no-memory" };
		const struct passage_failure *failure = passage->failure != NULL ? passage->failure : &none;

		TAILQ_REMOVE(&all->refused, passage, link);
		passage->told = true;
		all->config.events->on_refused(passage->owner, failure->reason, failure->detail);
	}
}

static bool dial_own(struct passage *passage)
{
	struct passages *all = passage->all;

	passage->state = PASSAGE_DIALLING;
	relays_attempt(&all->relays, passage->relay);
	return dials_ask(all->dials, passage->relay, passages_offer(all, passage), passage->service, passage) == PS_OK;
}

void passage_seek(struct passage *passage)
{
	struct passages *all = passage->all;
	const bool same = passage->generation == all->config.briefing->generation;

	leave(passage);
	const uint32_t relay = passage->n_tries >= TRIES_MAX
	                           ? RELAYS_NONE
	                           : relays_choose(&all->relays, same ? passage->tried : 0, uv_now(all->config.loop));
	if (relay == RELAYS_NONE) {
		refuse(passage);
		return;
	}
	enter(passage, relay);
	if (passages_want_own(all, passage)) {
		if (dial_own(passage))
			passages_arm(all, uv_now(all->config.loop) + 1);
		else
			refuse(passage);
	} else if (!passage_ask(passage)) {
		passage->state = PASSAGE_WAITING;
		TAILQ_INSERT_TAIL(&all->waiting, passage, link);
		passages_tend(all, relay);
	}
}

void passage_go_raw(struct passage *passage, const struct handover *handover, int fd)
{
	passage->state = PASSAGE_THROUGH;
	passage->all->config.events->on_raw(passage->owner, handover, fd);
}

/* The whole answer is here, or all that will come of it. */
static void conclude(struct passage *passage)
{
	static const struct {
		unsigned status;
		const char *reason;
	} words[] = {
		{ 403, "not-allowed" },
		{ 404, "unknown-service" },
		{ 502, "application-unreachable" },
		{ STATUS_UNAVAILABLE, "relay-unavailable" },
		{ 504, "application-timeout" },
		{ 0, "relay-failed" },
	};
	struct problem problem;
	size_t at = 0;

	while (words[at].status != 0 && words[at].status != passage->status)
		at++;
	if (problem_parse((const char *)buf_front(&passage->body), buf_len(&passage->body), &problem) != PS_OK)
		problem = (struct problem){ .reason = "" };
	if (problem.detail[0] == '\0')
		(void)snprintf(problem.detail, sizeof(problem.detail), "the relay answered %u", passage->status);
	passage_note(passage, problem.reason[0] != '\0' ? problem.reason : words[at].reason, problem.detail);
	buf_release(&passage->body);
	passage->body = BUF_INIT;
	if (passage->status == STATUS_UNAVAILABLE) {
		passage->tried |= 1u << passage->relay;
		passage_seek(passage);
	} else {
		refuse(passage);
	}
}

static void on_response(void *owner, struct h2_stream *stream, const struct h2_response *response)
{
	struct passage *passage = owner;

	TAILQ_REMOVE(&passage->all->asked, passage, link);
	passage->status = response->status;
	passage->state = PASSAGE_ANSWERED;
	if (response->status != STATUS_OK)
		return;
	passage->state = PASSAGE_THROUGH;
	passage->stream = NULL;
	passage->all->config.events->on_stream(passage->owner, stream, passage->facts);
}

static void on_body(void *owner, struct h2_stream *stream, uint8_t *bytes, size_t len)
{
	struct passage *passage = owner;

	if (buf_len(&passage->body) + len <= PROBLEM_BODY_MAX)
		(void)!buf_append(&passage->body, bytes, len); /* without memory it is told without particulars */
	h2_stream_consume(stream, len);
}

static void on_body_end(void *owner, struct h2_stream *stream)
{
	struct passage *passage = owner;

	passage->stream = NULL;
	h2_stream_abandon(stream, H2_CANCEL);
	conclude(passage);
}

/* Before an answer: no byte was sent, so it may be tried anew, be it with the same relay. */
static void on_closed(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct passage *passage = owner;

	(void)stream;
	passage->stream = NULL;
	if (passage->state == PASSAGE_ANSWERED) {
		conclude(passage);
		return;
	}
	TAILQ_REMOVE(&passage->all->asked, passage, link);
	if (end->fate == H2_FATE_UNPROCESSED || end->fate == H2_FATE_CUT) {
		passage_note(passage, "relay-cut", "the connection to the relay ended before it answered");
		passage_seek(passage);
		return;
	}
	passage_note(passage, "relay-reset", h2_code_name(end->code));
	refuse(passage);
}

static const struct h2_stream_events stream_events = {
	.on_response = on_response,
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_closed = on_closed,
};

bool passage_ask(struct passage *passage)
{
	struct passages *all = passage->all;
	const struct h2_request request = {
		.method = "CONNECT", .scheme = "", .authority = passage->service, .path = "", .content_length = -1
	};

	if (pool_open(all->pool, passage->relay, &request, &stream_events, passage, &passage->stream, &passage->facts) !=
	    PS_OK)
		return false;
	passage->state = PASSAGE_ASKED;
	passage->asked_ms = uv_now(all->config.loop);
	passage->n_tries++;
	TAILQ_INSERT_TAIL(&all->asked, passage, link);
	passages_arm(all, passage->asked_ms + all->config.briefing->answer_ms);
	if (pool_streams(all->pool, passage->relay) > POOL_STREAMS)
		passages_arm(all, 0); /* another link might help */
	return true;
}

enum ps_err passage_begin(struct passages *passages, const char *service, void *owner, struct passage **passage)
{
	struct passage *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->all = passages;
	fresh->owner = owner;
	fresh->relay = RELAYS_NONE;
	fresh->generation = passages->config.briefing->generation;
	fresh->body = BUF_INIT;
	(void)snprintf(fresh->service, sizeof(fresh->service), "%s", service);
	passage_seek(fresh);
	*passage = fresh;
	return PS_OK;
}

void passage_end(struct passage *passage)
{
	struct passages *all = passage->all;

	leave(passage);
	if (passage->state == PASSAGE_WAITING)
		TAILQ_REMOVE(&all->waiting, passage, link);
	else if (passage->state == PASSAGE_REFUSED && !passage->told)
		TAILQ_REMOVE(&all->refused, passage, link);
	else if (passage->state == PASSAGE_DIALLING)
		dials_forget(all->dials, passage);
	else if (passage->state == PASSAGE_ASKED)
		TAILQ_REMOVE(&all->asked, passage, link);
	if (passage->stream != NULL)
		h2_stream_abandon(passage->stream, H2_CANCEL);
	buf_release(&passage->body);
	free(passage->failure);
	free(passage);
}

/* The link may have died without a word, or the relay cannot be reached any more: a fresh one is tried, once. */
static void give_up_waiting(struct passage *passage)
{
	struct passages *all = passage->all;
	struct h2_stream *stream = passage->stream;

	TAILQ_REMOVE(&all->asked, passage, link);
	passage->stream = NULL;
	pool_doubt(all->pool, passage->facts);
	h2_stream_abandon(stream, H2_CANCEL);
	passage_note(passage, "relay-timeout", "the relay did not answer in time");
	if (passage->n_timeouts++ > 0)
		passage->tried |= 1u << passage->relay;
	passage_seek(passage);
}

/* Those asked first time out first. Returns when the next one will, UINT64_MAX: nobody. */
static uint64_t expire_asked(struct passages *all)
{
	const uint64_t answer_ms = all->config.briefing->answer_ms;
	struct passage *passage;

	while ((passage = TAILQ_FIRST(&all->asked)) != NULL && uv_now(all->config.loop) >= passage->asked_ms + answer_ms)
		give_up_waiting(passage);
	return passage == NULL ? UINT64_MAX : passage->asked_ms + answer_ms;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void on_timer(uv_timer_t *timer)
{
	struct passages *all = timer->data;
	uint64_t next_ms = earlier(dials_expire(all->dials), expire_asked(all));
	const uint64_t pool_ms = pool_tend(all->pool, all->config.briefing->pool_min, all->config.briefing->pool_idle_ms);

	next_ms = earlier(next_ms, pool_ms);
	for (uint32_t i = 0; i < all->relays.n; i++)
		passages_tend(all, i);
	tell_refused(all);
	if (next_ms != UINT64_MAX)
		passages_arm(all, next_ms);
}

void passages_arm(struct passages *passages, uint64_t at_ms)
{
	const uint64_t now_ms = uv_now(passages->config.loop);
	const uint64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;
	const uv_handle_t *handle = (const uv_handle_t *)&passages->timer;

	if (uv_is_closing(handle) || (uv_is_active(handle) && uv_timer_get_due_in(&passages->timer) <= wait_ms))
		return;
	uv_timer_start(&passages->timer, on_timer, wait_ms, 0);
}

void passages_take(struct passages *passages, struct handover_message *message)
{
	dials_take(passages->dials, message);
}

enum ps_err passages_send(struct passages *passages)
{
	return dials_send(passages->dials);
}

size_t passages_unsent(const struct passages *passages)
{
	return dials_unsent(passages->dials);
}

/* What is known of a relay stays known if its address does. */
static void learn_relays(struct passages *all)
{
	const struct briefing *briefing = all->config.briefing;
	const struct relays before = all->relays;
	struct relays after = { .balance = briefing->balance, .n = briefing->n_relays };

	for (uint32_t i = 0; i < after.n; i++)
		for (uint32_t j = 0; j < before.n; j++)
			if (strcmp(briefing->relays[i], all->relay_texts[j]) == 0)
				after.at[i].speech = before.at[j].speech;
	for (uint32_t i = 0; i < after.n; i++)
		if (briefing->protocol != SENDER_PROTOCOL_AUTO)
			after.at[i].speech = briefing->protocol == SENDER_PROTOCOL_H2 ? RELAY_H2 : RELAY_RAW;
	all->relays = after;
	memcpy(all->relay_texts, briefing->relays, sizeof(all->relay_texts));
	memset(all->warm_ms, 0, sizeof(all->warm_ms));
}

void passages_renew(struct passages *passages)
{
	struct passage_list waiting = TAILQ_HEAD_INITIALIZER(waiting);
	struct passage *passage;

	learn_relays(passages);
	pool_retire(passages->pool);
	TAILQ_CONCAT(&waiting, &passages->waiting, link);
	dials_renew(passages->dials);
	while ((passage = TAILQ_FIRST(&waiting)) != NULL) {
		TAILQ_REMOVE(&waiting, passage, link);
		passage_seek(passage);
	}
	passages_arm(passages, 0);
}

void passages_shut(struct passages *passages)
{
	passages->shut = true;
	pool_retire(passages->pool);
}

void passages_abort(struct passages *passages)
{
	passages->shut = true;
	pool_abort(passages->pool);
}

bool passages_is_over(const struct passages *passages)
{
	return pool_count_all(passages->pool) == 0;
}

void passages_stop(struct passages *passages)
{
	if (!uv_is_closing((uv_handle_t *)&passages->timer))
		uv_close((uv_handle_t *)&passages->timer, NULL);
}

static enum ps_err make_parts(struct passages *passages)
{
	const struct passages_config *config = &passages->config;
	const struct pool_config pool = {
		.loop = config->loop,
		.watches = config->watches,
		.linger = config->linger,
		.on_room = passages_on_room,
		.on_loss = passages_on_loss,
		.owner = passages,
	};
	const struct dials_config dials = {
		.loop = config->loop,
		.slot = config->slot,
		.briefing = config->briefing,
		.on_answer = passages_on_answer,
		.owner = passages,
	};
	const enum ps_err err = pool_new(&pool, &passages->pool);

	return err == PS_OK ? dials_new(&dials, &passages->dials) : err;
}

enum ps_err passages_new(const struct passages_config *config, struct passages **passages)
{
	struct passages *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	TAILQ_INIT(&fresh->waiting);
	TAILQ_INIT(&fresh->asked);
	TAILQ_INIT(&fresh->refused);
	const enum ps_err err = make_parts(fresh);
	if (err != PS_OK) {
		passages_free(fresh);
		return err;
	}
	(void)uv_timer_init(config->loop, &fresh->timer);
	fresh->timer.data = fresh;
	*passages = fresh;
	return PS_OK;
}

void passages_free(struct passages *passages)
{
	if (passages == NULL)
		return;
	pool_free(passages->pool);
	dials_free(passages->dials);
	free(passages);
}
