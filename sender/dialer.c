/* SPDX-License-Identifier: Apache-2.0 */
#include "dialer.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "dial.h"
#include "generation.h"
#include "portseal/buf.h"
#include "portseal/clock.h"
#include "portseal/handover.h"
#include "portseal/log.h"
#include "portseal/rest.h"
#include "role.h"

struct dialer;

/* A worker's request while its dial runs. */
struct request {
	struct dialer *dialer;
	struct request *next;
	unsigned slot;
	struct handover_dial asked;
	uint64_t started_ms;
	struct dial *dial;
};

struct slot {
	uv_poll_t poll;
	struct dialer *dialer;
	unsigned index;
};

struct dialer {
	const struct role_env *env;
	struct generation *generation;
	struct dial_setup *setup;
	int64_t own_not_after;
	uv_loop_t loop;
	struct role_control control;
	uv_timer_t deadline; /* while draining */
	struct rest rest;
	struct slot *slots;
	unsigned n_slots; /* whose poll handle lives */
	struct request *requests;
	unsigned n_requests;
	bool listening; /* takes requests: not full, not draining */
	bool ending;    /* drains, or another generation is in force: finishes what runs and ends */
	bool cut;
};

static void on_slot(uv_poll_t *poll, int status, int events);

static void listen_to_slots(struct dialer *dialer, bool listening)
{
	if (dialer->listening == listening)
		return;
	dialer->listening = listening;
	for (unsigned i = 0; i < dialer->n_slots; i++) {
		if (listening)
			uv_poll_start(&dialer->slots[i].poll, UV_READABLE, on_slot);
		else
			uv_poll_stop(&dialer->slots[i].poll);
	}
}

static void close_handles(struct dialer *dialer)
{
	role_end(&dialer->control);
	for (unsigned i = 0; i < dialer->n_slots; i++)
		uv_close((uv_handle_t *)&dialer->slots[i].poll, NULL);
	dialer->n_slots = 0;
	uv_close((uv_handle_t *)&dialer->deadline, NULL);
	rest_end(&dialer->rest);
}

/* Frees the request; the dialer may take another one, or end. */
static void drop_request(struct request *request)
{
	struct dialer *dialer = request->dialer;
	struct request **at = &dialer->requests;

	while (*at != request)
		at = &(*at)->next;
	*at = request->next;
	free(request);
	dialer->n_requests--;
	rest_stir(&dialer->rest);
	if (!dialer->ending)
		listen_to_slots(dialer, true);
	else if (dialer->n_requests == 0)
		close_handles(dialer);
}

/* A worker that does not read its slot finds out by its own deadline. */
static void note_unanswered(enum ps_err err, uint64_t conn)
{
	struct log_line line;

	if (err == PS_OK)
		return;
	log_begin(&line, LOG_WARN, conn, "answer-lost");
	log_text(&line, "detail", ps_err_text(err));
	log_end(&line);
}

static void answer_failed(int slot, uint64_t conn, const struct outcome *outcome)
{
	struct handover_dial_failed failed = {
		.conn = conn,
		.exit_code = (uint32_t)outcome->code,
		.refusal = (uint32_t)outcome->refusal,
	};

	(void)snprintf(failed.text, sizeof(failed.text), "%s", outcome->cause.text);
	note_unanswered(handover_send_dial_failed(slot, &failed), conn);
}

/* One of the two generations is about to be the other's. */
static void answer_again(int slot, uint64_t conn)
{
	const struct handover_dial_failed failed = { .conn = conn, .again = 1 };

	note_unanswered(handover_send_dial_failed(slot, &failed), conn);
}

static void answer_connected(const struct request *request, const struct dial_result *result)
{
	struct handover handover = {
		.conn = request->asked.conn,
		.started_ms = request->started_ms,
		.is_h2 = result->h2,
		.secrets = result->secrets,
		.not_after =
			request->dialer->own_not_after < result->not_after ? request->dialer->own_not_after : result->not_after,
	};

	memcpy(handover.client_pin, result->pin, sizeof(handover.client_pin));
	(void)snprintf(handover.peer, sizeof(handover.peer), "%s", result->peer);
	(void)snprintf(handover.client, sizeof(handover.client), "%s", result->relay);
	note_unanswered(handover_send(request->dialer->env->slots[request->slot], &handover, result->fd),
	                request->asked.conn);
	ps_wipe(&handover, sizeof(handover));
	close(result->fd);
}

static void on_dialled(void *owner, const struct dial_result *result)
{
	struct request *request = owner;

	if (result->outcome.code == OUTCOME_DONE)
		answer_connected(request, result);
	else
		answer_failed(request->dialer->env->slots[request->slot], request->asked.conn, &result->outcome);
	drop_request(request);
}

static enum ps_err start_dial(struct dialer *dialer, struct request *request)
{
	const struct dial_config config = {
		.loop = &dialer->loop,
		.setup = dialer->setup,
		.service = request->asked.service[0] == '\0' ? NULL : request->asked.service,
		.offer = (enum dial_offer)request->asked.offer,
		.relay = request->asked.relay,
		.on_done = on_dialled,
		.owner = request,
	};

	return dial_new(&config, &request->dial);
}

/* HTTP/2 alone is for any service. */
static bool is_service_of_ours(const struct sender_config *config, const struct handover_dial *asked)
{
	if (asked->offer == DIAL_OFFER_H2 && asked->service[0] == '\0')
		return true;
	for (size_t i = 0; i < config->tunnels_list.n; i++) {
		const char *ours = config_tunnels(config)[i].service;

		if (strcmp(ours == NULL ? "" : ours, asked->service) == 0)
			return true;
	}
	return false;
}

static bool makes_sense(const struct sender_config *config, const struct handover_dial *asked)
{
	return asked->relay < config->relays_list.n && asked->offer <= DIAL_OFFER_H2 && is_service_of_ours(config, asked);
}

static void take_request(struct dialer *dialer, unsigned slot, const struct handover_dial *asked)
{
	struct request *request = NULL;
	struct outcome outcome;

	if (asked->generation != dialer->env->generation) {
		answer_again(dialer->env->slots[slot], asked->conn);
		return;
	}
	if (!makes_sense(dialer->generation->config, asked)) {
		outcome_set(&outcome, OUTCOME_UNFORESEEN, "a worker asked for a relay or a service that is not there");
		answer_failed(dialer->env->slots[slot], asked->conn, &outcome);
		return;
	}
	request = calloc(1, sizeof(*request));
	if (request != NULL)
		*request = (struct request){
			.dialer = dialer,
			.slot = slot,
			.asked = *asked,
			.started_ms = clock_now_ms(),
		};
	if (request == NULL || start_dial(dialer, request) != PS_OK) {
		free(request);
		outcome_set(&outcome, OUTCOME_UNFORESEEN, "the dial could not begin: %s", ps_err_text(PS_E_NOMEM));
		answer_failed(dialer->env->slots[slot], asked->conn, &outcome);
		return;
	}
	request->next = dialer->requests;
	dialer->requests = request;
	dialer->n_requests++;
}

/* One a turn: so the other gatekeepers, woken as well, get their share. */
static void on_slot(uv_poll_t *poll, int status, int events)
{
	const struct slot *slot = poll->data;
	struct dialer *dialer = slot->dialer;
	struct handover_message message;

	(void)status;
	(void)events;
	if (!dialer->listening)
		return;
	const enum ps_err err = handover_receive(dialer->env->slots[slot->index], &message);
	if (err == PS_E_PROTO)
		log_event(LOG_ERROR, "request-malformed", "worker %u sent what is no request; it was dropped", slot->index);
	if (err == PS_E_CLOSED || err == PS_E_IO)
		uv_poll_stop(poll); /* the supervisor keeps the other end for life: it is gone, and control says so, too */
	if (err != PS_OK)
		return;
	if (message.type == HANDOVER_DIAL)
		take_request(dialer, slot->index, &message.body.dial);
	if (message.fd >= 0)
		close(message.fd);
	ps_wipe(&message, sizeof(message));
	if (dialer->n_requests == DIALER_MAX)
		listen_to_slots(dialer, false);
}

static void on_deadline(uv_timer_t *timer)
{
	struct dialer *dialer = timer->data;

	dialer->cut = true;
	for (struct request *request = dialer->requests, *next; request != NULL; request = next) {
		next = request->next;
		dial_cancel(request->dial);
		free(request);
	}
	dialer->requests = NULL;
	dialer->n_requests = 0;
	close_handles(dialer);
}

static void begin_end(struct dialer *dialer)
{
	dialer->ending = true;
	listen_to_slots(dialer, false);
	if (dialer->n_requests == 0)
		close_handles(dialer);
}

static void on_drain(void *owner, uint64_t within_ms)
{
	struct dialer *dialer = owner;

	if (dialer->n_requests > 0)
		uv_timer_start(&dialer->deadline, on_deadline, within_ms, 0);
	begin_end(dialer);
}

static void on_word(void *owner, uint32_t type, const uint8_t *body, size_t body_len, int fd)
{
	struct dialer *dialer = owner;

	(void)body;
	(void)body_len;
	if (fd >= 0)
		close(fd);
	if (type == ROLE_GENERATION && !dialer->ending)
		listen_to_slots(dialer, true);
	else if (type == ROLE_RETIRE && !dialer->ending)
		begin_end(dialer);
}

static enum ps_err open_slots(struct dialer *dialer)
{
	const unsigned n = dialer->env->n_slots;

	dialer->slots = calloc(n, sizeof(*dialer->slots));
	if (dialer->slots == NULL)
		return PS_E_NOMEM;
	for (unsigned i = 0; i < n; i++) {
		struct slot *slot = &dialer->slots[i];

		*slot = (struct slot){ .dialer = dialer, .index = i };
		if (uv_poll_init(&dialer->loop, &slot->poll, dialer->env->slots[i]) != 0)
			return PS_E_NOMEM;
		slot->poll.data = slot;
		dialer->n_slots++;
	}
	if (!dialer->env->on_trial)
		listen_to_slots(dialer, true);
	return PS_OK;
}

static int serve(struct dialer *dialer)
{
	if (uv_loop_init(&dialer->loop) != 0)
		return role_fatal(dialer->env, "cannot start: no event loop");
	(void)uv_timer_init(&dialer->loop, &dialer->deadline);
	dialer->deadline.data = dialer;
	rest_init(&dialer->rest, &dialer->loop);
	enum ps_err err = open_slots(dialer);
	if (err == PS_OK)
		err = role_begin(&dialer->control, &dialer->loop);
	if (err != PS_OK)
		close_handles(dialer);
	role_close_loop(&dialer->loop);
	free(dialer->slots);
	if (err != PS_OK)
		return role_fatal(dialer->env, ps_err_text(err));
	return dialer->cut ? ROLE_EXIT_CUT : ROLE_EXIT_DONE;
}

int dialer_run(const struct role_env *env)
{
	struct generation *generation = env->daemon;
	const struct sender_config *config = generation->config;
	struct dialer dialer = { .env = env, .generation = generation };
	struct ps_cause cause;
	int code;

	dialer.control = (struct role_control){
		.env = env,
		.fallback_ms = config->timeouts.drain_ms,
		.on_drain = on_drain,
		.on_word = on_word,
		.owner = &dialer,
	};
	log_setup(config->log.level, config->log.format, STDERR_FILENO);
	generation_close_doors(generation);
	if (dial_setup_new(config, &dialer.setup, &cause) == PS_OK) {
		dialer.own_not_after = dial_setup_not_after(dialer.setup);
		code = serve(&dialer);
	} else {
		code = role_fatal(env, cause.text);
	}
	dial_setup_free(dialer.setup);
	generation_free(generation);
	return code;
}
