/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/carrier.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "post.h"

TAILQ_HEAD(parcels, parcel);
LIST_HEAD(lines, line);

struct parcel {
	TAILQ_ENTRY(parcel) entry; /* while it waits for a connection */
	struct carrier *carrier;
	struct courier_task *task;
	struct line *line; /* NULL while it waits */
	uint64_t offset;   /* bytes read from the spool */
	struct ps_cause unreadable;
};

/* One connection. */
struct line {
	LIST_ENTRY(line) entry;
	struct carrier *carrier;
	struct terms *terms; /* held */
	char relay[ADDRESS_TEXT_MAX];
	struct post *post;
	bool used; /* a message was begun on it */
};

struct carrier {
	struct carrier_config config;
	struct terms *terms; /* held */
	struct parcels waiting;
	struct lines lines;
	struct line *open; /* the one that takes parcels; NULL: none */
	struct dial *dial;
	struct terms *dial_terms; /* held while it dials */
	uint32_t dial_relay;      /* the relay that is dialled: index in the configuration */
	bool closing;
};

static void look_empty(struct carrier *carrier)
{
	if (carrier->closing && carrier->dial == NULL && LIST_EMPTY(&carrier->lines))
		carrier->config.on_empty(carrier->config.owner);
}

/* The task's verdict is set. */
static void land(struct parcel *parcel)
{
	struct carrier *carrier = parcel->carrier;
	struct courier_task *task = parcel->task;

	free(parcel);
	courier_landed(task);
	carrier->config.on_landed(carrier->config.owner);
}

static void land_waiting(struct carrier *carrier, const struct outcome *outcome)
{
	struct parcel *parcel;

	while ((parcel = TAILQ_FIRST(&carrier->waiting)) != NULL) {
		TAILQ_REMOVE(&carrier->waiting, parcel, entry);
		verdict_of_outcome(&parcel->task->verdict, outcome, true);
		land(parcel);
	}
}

static void on_dialled(void *owner, const struct dial_result *result);

static enum post_read on_read(void *owner, uint8_t *room, size_t max, size_t *n)
{
	struct parcel *parcel = owner;
	const struct spool_message *message = &parcel->task->message;

	*n = 0;
	if (parcel->offset == message->len)
		return POST_END;
	if (spool_read(parcel->carrier->config.spool, message->seq, parcel->offset, room, max, n, &parcel->unreadable) !=
	    PS_OK)
		return POST_FAILED;
	if (*n == 0 || *n > message->len - parcel->offset) {
		(void)ps_cause_set(&parcel->unreadable, PS_E_CONFIG, "the payload in the spool is not whole");
		return POST_FAILED;
	}
	parcel->offset += *n;
	return parcel->offset == message->len ? POST_END : POST_MORE;
}

static void judge(struct parcel *parcel, const struct post_result *result)
{
	struct verdict *verdict = &parcel->task->verdict;
	const enum verdict_scope scope = post_is_open(parcel->line->post) ? VERDICT_SERVICE : VERDICT_RELAY;

	switch (result->fate) {
	case POST_DELIVERED:
		verdict_of_status(verdict, 200, NULL, NULL, 0);
		break;
	case POST_ANSWERED:
		/* 410: an earlier try was delivered, and only the application's reply is not there any more. */
		verdict_of_status(verdict, result->status == 410 && result->has_receipt ? 200 : result->status, result->reason,
		                  result->outcome.cause.text, result->retry_after_s * 1000);
		break;
	case POST_UNPROCESSED:
		verdict_of_break(verdict, VERDICT_RELAY, true, "unprocessed", result->outcome.cause.text);
		break;
	case POST_UNKNOWN:
		verdict_of_break(verdict, scope, false, "broken-off", result->outcome.cause.text);
		break;
	case POST_CANCELLED:
		verdict_of_break(verdict, VERDICT_MESSAGE, true, "spool-unreadable", parcel->unreadable.text);
		break;
	}
}

static void on_done(void *owner, const struct post_result *result)
{
	struct parcel *parcel = owner;
	struct courier_task *task = parcel->task;

	judge(parcel, result);
	if (result->has_receipt)
		(void)snprintf(task->receipt, sizeof(task->receipt), "%s", result->receipt.id);
	task->reply_len = result->reply_len;
	land(parcel);
}

static enum ps_err begin(struct line *line, struct parcel *parcel)
{
	const struct spool_message *message = &parcel->task->message;
	const struct post_message_config config = {
		.service = message->service,
		.key = message->id,
		.length = (int64_t)message->len,
		.on_read = on_read,
		.on_done = on_done,
		.owner = parcel,
	};
	struct post_message *posted;
	const enum ps_err err = post_begin(line->post, &config, &posted);

	if (err != PS_OK)
		return err;
	line->used = true;
	parcel->line = line;
	TAILQ_REMOVE(&line->carrier->waiting, parcel, entry);
	return PS_OK;
}

static void land_unsent(struct parcel *parcel, const char *reason, const char *detail)
{
	verdict_of_break(&parcel->task->verdict, VERDICT_RELAY, true, reason, detail);
	land(parcel);
}

/* As many as the open connection takes now. */
static void hand_over(struct carrier *carrier)
{
	struct parcel *parcel;
	enum ps_err err = PS_OK;

	while (err == PS_OK && (parcel = TAILQ_FIRST(&carrier->waiting)) != NULL && post_room(carrier->open->post) > 0) {
		err = begin(carrier->open, parcel);
		if (err == PS_E_NOMEM) {
			TAILQ_REMOVE(&carrier->waiting, parcel, entry);
			land_unsent(parcel, "no-memory", "out of memory");
		}
	}
}

/* The relays are tried in their order: the first that is there gets what there is to carry. */
static void start_dial(struct carrier *carrier, uint32_t relay)
{
	const struct dial_config config = {
		.loop = carrier->config.loop,
		.setup = carrier->terms->setup,
		.offer = DIAL_OFFER_H2,
		.relay = relay,
		.on_done = on_dialled,
		.owner = carrier,
	};
	struct outcome outcome;

	if (dial_new(&config, &carrier->dial) != PS_OK) {
		carrier->dial = NULL;
		outcome_set(&outcome, OUTCOME_UNFORESEEN, "out of memory");
		land_waiting(carrier, &outcome);
		return;
	}
	carrier->dial_terms = terms_hold(carrier->terms);
	carrier->dial_relay = relay;
}

/* Hands what waits to the connection that is open, or dials one. */
static void carry_on(struct carrier *carrier)
{
	if (carrier->open != NULL)
		hand_over(carrier);
	if (carrier->open != NULL && !post_is_open(carrier->open->post))
		carrier->open = NULL;
	if (carrier->open == NULL && carrier->dial == NULL && !TAILQ_EMPTY(&carrier->waiting))
		start_dial(carrier, 0);
}

static void on_room(void *owner)
{
	const struct line *line = owner;

	carry_on(line->carrier);
}

/* What waited for this connection was not sent. It waits for another, unless this one said why not, or took nothing at
 * all: then another would hardly do better, and the courier shall pause. */
static void on_line_end(void *owner, const struct outcome *outcome)
{
	static const struct outcome took_nothing = {
		.code = OUTCOME_NO_RELAY,
		.cause = { "the relay ended the connection before it took a message: it may be draining" },
	};
	struct line *line = owner;
	struct carrier *carrier = line->carrier;

	LIST_REMOVE(line, entry);
	if (carrier->open == line)
		carrier->open = NULL;
	if (carrier->open == NULL && carrier->dial == NULL && (outcome->code != OUTCOME_DONE || !line->used))
		land_waiting(carrier, outcome->code != OUTCOME_DONE ? outcome : &took_nothing);
	terms_free(line->terms);
	free(line);
	carry_on(carrier);
	look_empty(carrier);
}

static enum ps_err open_line(struct carrier *carrier, struct terms *terms, const struct dial_result *result)
{
	const struct sender_relay *relay = &config_relays(terms->config)[carrier->dial_relay];
	struct line *line = calloc(1, sizeof(*line));

	if (line == NULL) {
		(void)close(result->fd);
		return PS_E_NOMEM;
	}
	address_print(&relay->address, line->relay);
	const struct post_config config = {
		.loop = carrier->config.loop,
		.fd = result->fd,
		.secrets = &result->secrets,
		.names = { .relay = line->relay, .server_name = relay->server_name },
		.timeout_ms = terms->config->timeouts.progress_ms,
		.on_room = on_room,
		.on_end = on_line_end,
		.owner = line,
	};
	line->carrier = carrier;
	const enum ps_err err = post_new(&config, &line->post);
	if (err != PS_OK) {
		free(line);
		return err;
	}
	line->terms = terms_hold(terms);
	LIST_INSERT_HEAD(&carrier->lines, line, entry);
	carrier->open = line;
	return PS_OK;
}

static void on_dialled(void *owner, const struct dial_result *result)
{
	struct carrier *carrier = owner;
	struct terms *terms = carrier->dial_terms;
	struct outcome outcome = result->outcome;

	carrier->dial = NULL;
	carrier->dial_terms = NULL;
	if (outcome.code == OUTCOME_DONE && open_line(carrier, terms, result) != PS_OK)
		outcome_set(&outcome, OUTCOME_UNFORESEEN, "out of memory");
	const bool more = carrier->dial_relay + 1 < terms->config->relays_list.n;
	terms_free(terms);
	if (outcome.code != OUTCOME_DONE && more)
		start_dial(carrier, carrier->dial_relay + 1);
	else if (outcome.code != OUTCOME_DONE)
		land_waiting(carrier, &outcome);
	carry_on(carrier);
}

void carrier_post(struct carrier *carrier, struct courier_task *task)
{
	struct parcel *parcel = calloc(1, sizeof(*parcel));

	if (parcel == NULL) { /* lands at once */
		verdict_of_break(&task->verdict, VERDICT_RELAY, true, "no-memory", "out of memory");
		courier_landed(task);
		carrier->config.on_landed(carrier->config.owner);
		return;
	}
	parcel->carrier = carrier;
	parcel->task = task;
	TAILQ_INSERT_TAIL(&carrier->waiting, parcel, entry);
	carry_on(carrier);
}

static void cancel_dial(struct carrier *carrier)
{
	if (carrier->dial == NULL)
		return;
	dial_cancel(carrier->dial);
	carrier->dial = NULL;
	terms_free(carrier->dial_terms);
	carrier->dial_terms = NULL;
}

void carrier_use_terms(struct carrier *carrier, struct terms *terms)
{
	cancel_dial(carrier);
	terms_free(carrier->terms);
	carrier->terms = terms_hold(terms);
	if (carrier->open != NULL)
		post_shut(carrier->open->post);
	carrier->open = NULL;
	carry_on(carrier);
}

void carrier_close(struct carrier *carrier)
{
	assert(TAILQ_EMPTY(&carrier->waiting));
	carrier->closing = true;
	cancel_dial(carrier);
	for (struct line *line = LIST_FIRST(&carrier->lines); line != NULL; line = LIST_NEXT(line, entry))
		post_shut(line->post);
	look_empty(carrier);
}

void carrier_abort(struct carrier *carrier)
{
	const struct outcome outcome = { .code = OUTCOME_UNFORESEEN, .cause = { "the sender ends" } };

	carrier->closing = true;
	cancel_dial(carrier);
	land_waiting(carrier, &outcome);
	for (struct line *line = LIST_FIRST(&carrier->lines); line != NULL; line = LIST_NEXT(line, entry))
		post_abort(line->post);
	look_empty(carrier);
}

enum ps_err carrier_new(const struct carrier_config *config, struct carrier **carrier)
{
	struct carrier *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	fresh->terms = terms_hold(config->terms);
	TAILQ_INIT(&fresh->waiting);
	LIST_INIT(&fresh->lines);
	*carrier = fresh;
	return PS_OK;
}

void carrier_free(struct carrier *carrier)
{
	if (carrier == NULL)
		return;
	assert(carrier->dial == NULL && LIST_EMPTY(&carrier->lines) && TAILQ_EMPTY(&carrier->waiting));
	terms_free(carrier->terms);
	free(carrier);
}
