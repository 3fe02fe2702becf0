/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "audit_memory.h"
#include "carriage.h"
#include "message.h"
#include "portseal/buf.h"
#include "portseal/channel.h"
#include "portseal/log.h"
#include "portseal/net.h"
#include "relay.h"
#include "session.h"
#include "standing.h"

#define TAKES_PER_TURN 32
#define LOOK_MS 10
#define TICK_MS 250
#define DESCRIPTORS_KEPT (64 + LINGER_MAX) /* for what is no connection */
#define EXIT_CUT 1

struct worker {
	const struct role_env *env;
	struct relay *relay;
	uv_loop_t loop;
	struct watches *watches;
	struct linger_set *linger;
	struct bridge_scratch *scratch;
	struct standings *standings;
	struct carriages *carriages;
	struct h2_scratch *h2_scratch;
	struct sessions *sessions;
	struct results *results; /* NULL: no store is configured */
	struct messages *messages;
	struct audit_client *audit; /* NULL: none is configured */
	size_t most;                /* descriptors for connections and targets */
	uv_timer_t tick;            /* asks for judgements, looks for what expired */
	uv_poll_t control;
	uv_poll_t slot;
	uv_timer_t deadline; /* while draining: cuts what is left */
	uv_timer_t look;     /* while draining: ends when nothing is left */
	bool draining;
	bool cut;
};

static void watch_slot(struct worker *worker);

static size_t connections(const struct worker *worker)
{
	return carriages_count(worker->carriages) + sessions_count(worker->sessions);
}

/* A connection to a service takes two, one of HTTP/2 takes one, and another for each of its streams; a message whose client
 * has left takes one. */
static bool has_room(const struct worker *worker)
{
	return 2 * carriages_count(worker->carriages) + sessions_count(worker->sessions) +
	           sessions_exchanges(worker->sessions) + messages_left(worker->messages) + 2 <=
	       worker->most;
}

static bool has_room_for_target(void *owner)
{
	return has_room(owner);
}

static void on_connection_end(void *owner, const uint8_t client_pin[static IDENTITY_PIN_LEN])
{
	struct worker *worker = owner;

	scoreboard_leave(worker->env->board, worker->env->index, client_pin);
	watch_slot(worker);
}

static void ask(void *owner)
{
	struct worker *worker = owner;

	standings_ask(worker->standings, worker->env->slot, uv_now(&worker->loop));
	watch_slot(worker);
}

static void on_tick(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	standings_expire(worker->standings, (int64_t)time(NULL));
	standings_ask(worker->standings, worker->env->slot, uv_now(&worker->loop));
	standings_give_up(worker->standings, uv_now(&worker->loop));
	watch_slot(worker);
}

/* True when there may be more. */
static bool take_one(struct worker *worker)
{
	struct handover_message message;
	enum ps_err err = handover_receive(worker->env->slot, &message);

	if (err == PS_E_PROTO)
		log_event(LOG_ERROR, "handover-malformed", "a gatekeeper sent what is no hand-over; it was dropped");
	if (err != PS_OK && err != PS_E_LIMIT)
		return err == PS_E_PROTO;
	if (message.type == HANDOVER_CONNECTION) {
		scoreboard_take(worker->env->board, worker->env->index, message.body.connection.client_pin);
		if (message.body.connection.is_h2)
			sessions_begin(worker->sessions, &message.body.connection, message.fd, has_room(worker));
		else
			carriages_begin(worker->carriages, &message.body.connection, message.fd, has_room(worker));
		ps_wipe(&message.body.connection.secrets, sizeof(message.body.connection.secrets));
		/* A gatekeeper that retires may have let in whom the rules in force refuse: asked now, not at the next tick. */
		if (standings_are_open(worker->standings))
			standings_ask(worker->standings, worker->env->slot, uv_now(&worker->loop));
	} else if (message.type == HANDOVER_JUDGED) {
		standings_answer(worker->standings, &message.body.judged);
	}
	return true;
}

/* A socket that arrives when no descriptor is free is lost: what we cannot hold stays in the queue, where gatekeepers
 * see that it is full. But judgements come by the same queue, and whose right is gone must not stay for want of room:
 * while any is awaited, newcomers are turned away instead. */
static bool is_listening(const struct worker *worker)
{
	return has_room(worker) || standings_are_open(worker->standings);
}

static void on_slot(uv_poll_t *poll, int status, int events)
{
	struct worker *worker = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < TAKES_PER_TURN && is_listening(worker) && take_one(worker); i++)
		;
	/* A gatekeeper that retires may have taken a question: streams wait for the answer of another. */
	standings_ask(worker->standings, worker->env->slot, uv_now(&worker->loop));
	watch_slot(worker);
}

static void watch_slot(struct worker *worker)
{
	const bool listens = uv_is_active((uv_handle_t *)&worker->slot) != 0;

	/* libuv takes a descriptor out of epoll and puts it back for every start, also of what runs already. */
	if (worker->draining || listens == is_listening(worker))
		return;
	if (!listens)
		uv_poll_start(&worker->slot, UV_READABLE, on_slot);
	else
		uv_poll_stop(&worker->slot);
}

static void on_deadline(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	if (connections(worker) + messages_pending(worker->messages) == 0)
		return;
	worker->cut = true;
	log_event(LOG_WARN, "drain-timeout", "%zu connections are cut", connections(worker));
	carriages_abort(worker->carriages);
	sessions_abort(worker->sessions);
	messages_abort(worker->messages);
}

static void on_look(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	if (connections(worker) == 0 && messages_pending(worker->messages) == 0 && linger_count(worker->linger) == 0)
		watches_stop(worker->watches);
}

static void begin_drain(struct worker *worker, uint64_t ms)
{
	if (worker->draining)
		return;
	worker->draining = true;
	/* The gatekeepers are gone already: what they handed over last is in the queue. */
	while (has_room(worker) && take_one(worker))
		;
	uv_poll_stop(&worker->slot);
	sessions_drain(worker->sessions);
	standings_give_up(worker->standings, UINT64_MAX);
	uv_update_time(&worker->loop);
	uv_timer_start(&worker->deadline, on_deadline, ms, 0);
	uv_timer_start(&worker->look, on_look, 0, LOOK_MS);
}

static void on_control(uv_poll_t *poll, int status, int events)
{
	struct worker *worker = poll->data;
	uint8_t body[CHANNEL_MESSAGE_MAX];
	uint32_t type;
	uint64_t ms;
	uint32_t generation;
	size_t body_len;
	enum ps_err err;
	int fd;

	(void)status;
	(void)events;
	while ((err = channel_receive(worker->env->control, &type, body, &body_len, &fd)) == PS_OK) {
		if (fd >= 0)
			close(fd);
		if (type == ROLE_DRAIN && body_len == sizeof(ms)) {
			memcpy(&ms, body, sizeof(ms));
			begin_drain(worker, ms);
		}
		if (type == ROLE_GENERATION && body_len == sizeof(generation)) {
			memcpy(&generation, body, sizeof(generation));
			standings_set_generation(worker->standings, generation);
			on_tick(&worker->tick);
		}
	}
	if (err == PS_E_CLOSED) {
		/* The supervisor is gone: finish what runs, as if it had said so. */
		uv_poll_stop(poll);
		begin_drain(worker, worker->relay->config->timeouts.drain_ms);
	}
}

static bool start_poll(struct worker *worker, uv_poll_t *poll, int fd, uv_poll_cb on_event)
{
	if (uv_poll_init(&worker->loop, poll, fd) != 0)
		return false;
	poll->data = worker;
	return uv_poll_start(poll, UV_READABLE, on_event) == 0;
}

static size_t most_descriptors(uint64_t descriptors)
{
	return descriptors > DESCRIPTORS_KEPT + 2 ? (size_t)(descriptors - DESCRIPTORS_KEPT) : 2;
}

static enum ps_err start_messages(struct worker *worker)
{
	const struct relay_config *config = worker->relay->config;
	const struct results_db_config results = {
		.path = config->messages.store,
		.window_ms = config->messages.window_ms,
		.max_size = config->messages.max_size,
		.slot = worker->env->index,
		.n_slots = (unsigned)config->processes.workers,
	};
	struct messages_config messages = {
		.loop = &worker->loop,
		.watches = worker->watches,
		.linger = worker->linger,
		.rate = worker->relay->rate,
		.count = worker->relay->count,
		.max_reply = (size_t)config->messages.max_reply,
	};

	message_count_start(worker->relay->count, worker->env->index);
	if (results.path != NULL && results_new(&worker->loop, &results, &worker->results) != PS_OK)
		return PS_E_NOMEM;
	messages.results = worker->results;
	return messages_new(&messages, &worker->messages);
}

static bool start(struct worker *worker)
{
	struct carriages_config carriages = {
		.loop = &worker->loop,
		.on_end = on_connection_end,
		.owner = worker,
	};
	struct sessions_config sessions = {
		.loop = &worker->loop,
		.ask = ask,
		.has_room = has_room_for_target,
		.on_end = on_connection_end,
		.owner = worker,
	};

	uv_timer_init(&worker->loop, &worker->deadline);
	uv_timer_init(&worker->loop, &worker->look);
	uv_timer_init(&worker->loop, &worker->tick);
	worker->tick.data = worker;
	worker->most = most_descriptors(net_raise_nofile());
	worker->deadline.data = worker;
	worker->look.data = worker;
	if (watches_new(&worker->loop, &worker->watches) != PS_OK || linger_new(&worker->loop, &worker->linger) != PS_OK ||
	    bridge_scratch_new(&worker->scratch) != PS_OK || standings_new(&worker->standings) != PS_OK ||
	    h2_scratch_new(&worker->h2_scratch) != PS_OK || start_messages(worker) != PS_OK ||
	    uv_timer_start(&worker->tick, on_tick, TICK_MS, TICK_MS) != 0)
		return false;
	standings_set_generation(worker->standings, worker->env->generation);
	audit_memory_free(worker->relay->audit_memory);
	if (audit_client_new(&worker->loop, worker->env->audit, &worker->audit) != PS_OK)
		return false;
	carriages.audit = worker->audit;
	carriages.standings = worker->standings;
	carriages.watches = worker->watches;
	carriages.linger = worker->linger;
	carriages.scratch = worker->scratch;
	sessions.standings = worker->standings;
	sessions.watches = worker->watches;
	sessions.linger = worker->linger;
	sessions.scratch = worker->h2_scratch;
	sessions.messages = worker->messages;
	sessions.audit = worker->audit;
	return carriages_new(&carriages, &worker->carriages) == PS_OK &&
	       sessions_new(&sessions, &worker->sessions) == PS_OK &&
	       start_poll(worker, &worker->control, worker->env->control, on_control) &&
	       start_poll(worker, &worker->slot, worker->env->slot, on_slot);
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void finish(struct worker *worker)
{
	results_stop(worker->results);
	audit_client_free(worker->audit);
	linger_free(worker->linger);
	watches_free(worker->watches);
	uv_walk(&worker->loop, close_handle, NULL);
	uv_run(&worker->loop, UV_RUN_DEFAULT);
	uv_loop_close(&worker->loop);
	carriages_free(worker->carriages);
	sessions_free(worker->sessions);
	messages_free(worker->messages);
	results_free(worker->results);
	h2_scratch_free(worker->h2_scratch);
	standings_free(worker->standings);
	bridge_scratch_free(worker->scratch);
}

int worker_run(const struct role_env *env)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	struct rlimit no_core = { 0, 0 };
	int exit_code = EXIT_CUT;

	if (worker == NULL || uv_loop_init(&worker->loop) != 0) {
		free(worker);
		return EXIT_CUT;
	}
	worker->env = env;
	worker->relay = env->daemon;
	relay_close_sockets(worker->relay);
	relay_keep_own_sockets(worker->relay);
	setrlimit(RLIMIT_CORE, &no_core); /* a dump would hold traffic keys and payload */
	if (start(worker) && channel_send(env->control, ROLE_READY, NULL, 0, -1) == PS_OK) {
		watches_run(worker->watches);
		exit_code = worker->cut ? EXIT_CUT : 0;
	}
	finish(worker);
	free(worker);
	return exit_code;
}
