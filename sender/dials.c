/* SPDX-License-Identifier: Apache-2.0 */
#include "dials.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "portseal/log.h"

#define ANSWER_GRACE_MS 2000 /* for the queue, on top of what a dial may last */

struct asked {
	struct asked *next;
	struct dials_asked facts;
	bool sent;
	uint64_t deadline_ms;
};

struct dials {
	struct dials_config config;
	struct asked *first, **last; /* in the order of asking */
	size_t n_unsent;
};

/* Random, as answers to a worker that died come to its replacement. */
static uint64_t fresh_number(void)
{
	uint64_t number = 0;

	while ((number & UINT32_MAX) == 0)
		if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
			number = uv_hrtime();
	return number;
}

static enum ps_err send_one(struct dials *dials, struct asked *asked)
{
	const enum ps_err err = handover_send_dial(dials->config.slot, &asked->facts.request);

	if (err == PS_OK) {
		asked->sent = true;
		dials->n_unsent--;
	}
	return err;
}

enum ps_err dials_ask(struct dials *dials, uint32_t relay, enum dial_offer offer, const char *service, void *tag)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	if (asked == NULL)
		return PS_E_NOMEM;
	asked->facts.tag = tag;
	asked->facts.request.conn = fresh_number();
	asked->facts.request.generation = dials->config.briefing->generation;
	asked->facts.request.relay = relay;
	asked->facts.request.offer = offer;
	(void)snprintf(asked->facts.request.service, sizeof(asked->facts.request.service), "%s", service);
	asked->facts.shared = tag == NULL;
	asked->deadline_ms = uv_now(dials->config.loop) + dials->config.briefing->patience_ms + ANSWER_GRACE_MS;
	*dials->last = asked;
	dials->last = &asked->next;
	dials->n_unsent++;
	(void)!send_one(dials, asked); /* else later: dials_unsent tells */
	return PS_OK;
}

void dials_forget(struct dials *dials, const void *tag)
{
	for (struct asked *asked = dials->first; asked != NULL; asked = asked->next)
		if (asked->facts.tag == tag)
			asked->facts.tag = NULL;
}

static void drop(struct dials *dials, struct asked **at)
{
	struct asked *asked = *at;

	*at = asked->next;
	if (dials->last == &asked->next)
		dials->last = at;
	dials->n_unsent -= !asked->sent;
	free(asked);
}

/* It is no longer under way when its asker hears of it: he may ask for another at once. */
static void answer(struct dials *dials, struct asked **at, struct handover_message *message)
{
	const struct dials_asked facts = (*at)->facts;

	drop(dials, at);
	dials->config.on_answer(dials->config.owner, &facts, message);
}

static struct asked **find(struct dials *dials, uint64_t number)
{
	struct asked **at = &dials->first;

	while (*at != NULL && (*at)->facts.request.conn != number)
		at = &(*at)->next;
	return at;
}

static void take_answer(struct dials *dials, uint64_t number, struct handover_message *message)
{
	struct asked **at = find(dials, number);

	if (*at == NULL) {
		if (message->fd >= 0)
			close(message->fd);
	} else if (message->type == HANDOVER_DIAL_FAILED && message->body.failed.again != 0 &&
	           (*at)->facts.request.generation == dials->config.briefing->generation) {
		dials->n_unsent += (*at)->sent;
		(*at)->sent = false;
	} else {
		answer(dials, at, message);
	}
}

void dials_take(struct dials *dials, struct handover_message *message)
{
	if (message->type == HANDOVER_CONNECTION)
		take_answer(dials, message->body.connection.conn, message);
	else if (message->type == HANDOVER_DIAL_FAILED)
		take_answer(dials, message->body.failed.conn, message);
	else
		log_event(LOG_ERROR, "answer-malformed", "a gatekeeper sent what is no answer to a dial; it was dropped");
}

enum ps_err dials_send(struct dials *dials)
{
	enum ps_err err = PS_OK;

	for (struct asked *asked = dials->first; asked != NULL && err == PS_OK && dials->n_unsent > 0; asked = asked->next)
		if (!asked->sent)
			err = send_one(dials, asked);
	return err;
}

void dials_renew(struct dials *dials)
{
	struct asked **at = &dials->first;

	while (*at != NULL) {
		struct handover_message again = { .type = HANDOVER_DIAL_FAILED, .fd = -1, .body.failed = { .again = 1 } };

		if ((*at)->sent || (*at)->facts.request.generation == dials->config.briefing->generation)
			at = &(*at)->next;
		else
			answer(dials, at,
			       &again); /* `at` is where the next one hangs now; what is asked for meanwhile hangs at the end */
	}
}

size_t dials_unsent(const struct dials *dials)
{
	return dials->n_unsent;
}

/* Those asked first expire first, as long as patience is the same; where a reload changed it, a little later. */
uint64_t dials_expire(struct dials *dials)
{
	while (dials->first != NULL && uv_now(dials->config.loop) >= dials->first->deadline_ms) {
		struct handover_message late = {
			.type = HANDOVER_DIAL_FAILED,
			.fd = -1,
			.body.failed = { .conn = dials->first->facts.request.conn,
			                 .exit_code = DIALS_NO_ANSWER,
			                 .text = "no gatekeeper answered in time" },
		};

		answer(dials, &dials->first, &late);
	}
	return dials->first == NULL ? UINT64_MAX : dials->first->deadline_ms;
}

size_t dials_shared(const struct dials *dials, uint32_t relay)
{
	size_t n = 0;

	for (const struct asked *asked = dials->first; asked != NULL; asked = asked->next)
		n += asked->facts.shared && asked->facts.request.relay == relay;
	return n;
}

enum ps_err dials_new(const struct dials_config *config, struct dials **dials)
{
	struct dials *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	fresh->last = &fresh->first;
	*dials = fresh;
	return PS_OK;
}

void dials_free(struct dials *dials)
{
	if (dials == NULL)
		return;
	while (dials->first != NULL)
		drop(dials, &dials->first);
	free(dials);
}
