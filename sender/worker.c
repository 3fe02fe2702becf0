/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "briefing.h"
#include "local.h"
#include "portseal/buf.h"
#include "portseal/log.h"
#include "portseal/net.h"
#include "role.h"

#define ACCEPTS_PER_TURN 16
#define ANSWERS_PER_TURN 32
#define ASIDE_MS 1       /* for which who has more than its share leaves the doors to the others, */
#define ASIDE_EVERY_MS 5 /* once in so long */
#define PAUSE_MS 100
#define ASK_AGAIN_MS 5
#define LOOK_MS 10
#define DESCRIPTORS_KEPT 64 /* for the loop, the channels, the doors */

struct worker;

/* One listening socket; of its own memory, as libuv needs the handle a little longer than we do. */
struct door {
	uv_poll_t poll;
	struct worker *worker;
	struct door *next;
	char service[HANDOVER_SERVICE_MAX];
	int fd;
};

struct worker {
	const struct role_env *env;
	struct generation *forked_with;
	struct briefing briefing; /* of the generation in force */
	struct briefing coming;   /* of the next one, as far as it has come */
	uv_loop_t loop;
	struct role_control control;
	struct watches *watches;
	struct linger_set *linger;
	struct bridge_scratch *scratch;
	struct locals *locals;
	struct door *doors;
	uv_poll_t slot;
	bool has_slot;
	size_t most;         /* connections that the descriptors suffice for */
	uv_timer_t pause;    /* runs while nothing is accepted, or somebody must ask again */
	uint64_t aside_ms;   /* when the doors were left to the others last */
	bool short_told;     /* this lack of descriptors is in the log */
	uv_timer_t deadline; /* while draining: cuts what is left */
	uv_timer_t look;     /* while draining: ends when nothing is left */
	bool deadline_over;
	bool cut;
};

static void on_door(uv_poll_t *poll, int status, int events);

static void open_doors(struct worker *worker)
{
	for (struct door *door = worker->doors; door != NULL; door = door->next)
		uv_poll_start(&door->poll, UV_READABLE, on_door);
}

static void on_pause_over(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	if (locals_ask_again(worker->locals) == PS_E_AGAIN)
		uv_timer_start(&worker->pause, on_pause_over, PAUSE_MS, 0);
	else
		open_doors(worker);
}

static void pause_accepting(struct worker *worker, uint64_t ms)
{
	for (struct door *door = worker->doors; door != NULL; door = door->next)
		uv_poll_stop(&door->poll);
	uv_timer_start(&worker->pause, on_pause_over, ms, 0);
}

/* True when there may be more. */
static bool accept_one(struct door *door)
{
	struct worker *worker = door->worker;
	struct sockaddr_storage from;
	socklen_t from_len;
	char peer[ADDRESS_TEXT_MAX];
	int fd;

	enum ps_err err = PS_E_LIMIT;
	if (locals_count(worker->locals) < worker->most)
		err = net_accept(door->fd, &fd, &from, &from_len);
	if (err == PS_OK) {
		address_text((const struct sockaddr *)&from, from_len, peer);
		err = locals_begin(worker->locals, door->service, fd, peer);
		if (err == PS_OK)
			return true;
		pause_accepting(worker, PAUSE_MS);
		return false;
	}
	if (err == PS_E_IO) { /* the supervisor closed this door; the briefing that says so is on its way */
		uv_poll_stop(&door->poll);
		return false;
	}
	if (err == PS_E_AGAIN) {
		if (worker->short_told)
			log_event(LOG_INFO, "accept-resumed", "descriptors and memory are there again");
		worker->short_told = false;
		return false;
	}
	if (!worker->short_told)
		log_event(LOG_WARN, "accept-paused",
		          "no descriptors or memory for more connections: raise the limit of open files");
	worker->short_told = true;
	pause_accepting(worker, PAUSE_MS);
	return false;
}

/* All workers are woken by whoever comes, and the first takes all there are: four streams that begin together would share
 * one processor. So who has more than its share stands back for a moment; if the others are too busy to come, it goes
 * on. */
static bool stands_back(struct worker *worker)
{
	const struct role_env *env = worker->env;

	if (uv_now(&worker->loop) < worker->aside_ms + ASIDE_EVERY_MS ||
	    !scoreboard_is_crowded(env->board, env->index, env->n_slots))
		return false;
	worker->aside_ms = uv_now(&worker->loop);
	pause_accepting(worker, ASIDE_MS);
	return true;
}

static void on_door(uv_poll_t *poll, int status, int events)
{
	struct door *door = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN && !stands_back(door->worker) && accept_one(door); i++)
		;
}

/* The connection was dialled, but its socket found no descriptor here. */
static void become_failure(struct handover_message *message)
{
	const uint64_t conn = message->body.connection.conn;

	ps_wipe(&message->body, sizeof(message->body));
	message->type = HANDOVER_DIAL_FAILED;
	message->body.failed =
		(struct handover_dial_failed){ .conn = conn, .exit_code = 1, .text = "no descriptors left for the connection" };
}

/* True when there may be more. */
static bool take_answer(struct worker *worker)
{
	struct handover_message message;
	const enum ps_err err = handover_receive(worker->env->slot, &message);

	if (err == PS_E_PROTO)
		log_event(LOG_ERROR, "answer-malformed", "a gatekeeper sent what is no answer; it was dropped");
	if (err == PS_E_CLOSED || err == PS_E_IO)
		uv_poll_stop(&worker->slot);
	if (err != PS_OK && err != PS_E_LIMIT)
		return err == PS_E_PROTO;
	if (err == PS_E_LIMIT)
		become_failure(&message);
	locals_take(worker->locals, &message);
	ps_wipe(&message, sizeof(message));
	if (locals_unasked(worker->locals) > 0 && !uv_is_active((uv_handle_t *)&worker->pause))
		uv_timer_start(&worker->pause, on_pause_over, ASK_AGAIN_MS, 0);
	return true;
}

static void on_slot(uv_poll_t *poll, int status, int events)
{
	struct worker *worker = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ANSWERS_PER_TURN && take_answer(worker); i++)
		;
}

static void on_door_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void close_all(struct door *doors)
{
	for (struct door *next; doors != NULL; doors = next) {
		next = doors->next;
		uv_close((uv_handle_t *)&doors->poll, on_door_closed);
		close(doors->fd);
	}
}

static void close_doors(struct worker *worker)
{
	close_all(worker->doors);
	worker->doors = NULL;
	uv_timer_stop(&worker->pause);
}

static void close_handles(struct worker *worker)
{
	role_end(&worker->control);
	close_doors(worker);
	if (worker->has_slot)
		uv_close((uv_handle_t *)&worker->slot, NULL);
	worker->has_slot = false;
	uv_close((uv_handle_t *)&worker->pause, NULL);
	uv_close((uv_handle_t *)&worker->deadline, NULL);
	uv_close((uv_handle_t *)&worker->look, NULL);
	locals_stop(worker->locals);
	linger_free(worker->linger);
	worker->linger = NULL;
	watches_stop(worker->watches);
}

static void on_look(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	(void)!locals_ask_again(worker->locals);
	if (locals_count(worker->locals) == 0 && locals_end_pool(worker->locals, worker->deadline_over) &&
	    (worker->deadline_over || linger_count(worker->linger) == 0))
		close_handles(worker);
}

static void on_deadline(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	worker->deadline_over = true;
	if (locals_count(worker->locals) == 0)
		return;
	worker->cut = true;
	log_event(LOG_WARN, "drain-timeout", "%zu connections are cut", locals_count(worker->locals));
	locals_abort(worker->locals);
}

/* Those who wait at a door believe that they are in, and a close would reset them. */
static void let_in_who_waits(struct worker *worker)
{
	for (struct door *door = worker->doors; door != NULL; door = door->next)
		while (accept_one(door))
			;
}

static void on_drain(void *owner, uint64_t within_ms)
{
	struct worker *worker = owner;

	let_in_who_waits(worker);
	close_doors(worker);
	uv_timer_start(&worker->deadline, on_deadline, within_ms, 0);
	uv_timer_start(&worker->look, on_look, 0, LOOK_MS);
}

/* A connection has two descriptors. The relay's comes in a message, and would be lost if there were no room for it. The
 * doors have two each while one generation replaces another. */
static size_t connections_allowed(const struct briefing *briefing)
{
	const uint64_t files = net_raise_nofile();
	const uint64_t kept = DESCRIPTORS_KEPT + 2 * (uint64_t)briefing->n_doors;

	return files > 2 * kept ? (size_t)(files - kept) / 2 : 1;
}

/* Takes the descriptor, also when it fails. */
static enum ps_err add_door(struct worker *worker, struct briefing_door *from)
{
	struct door *door = calloc(1, sizeof(*door));
	const int fd = from->fd;

	from->fd = -1;
	if (door == NULL || uv_poll_init(&worker->loop, &door->poll, fd) != 0) {
		free(door);
		close(fd);
		return PS_E_NOMEM;
	}
	door->poll.data = door;
	door->worker = worker;
	door->fd = fd;
	(void)snprintf(door->service, sizeof(door->service), "%s", from->service);
	door->next = worker->doors;
	worker->doors = door;
	return PS_OK;
}

/* From now on this generation's doors are open, and no others. */
static enum ps_err put_in_force(struct worker *worker, const struct briefing *briefing)
{
	struct door *old = worker->doors;
	enum ps_err err = PS_OK;

	worker->briefing = *briefing;
	worker->doors = NULL;
	log_setup(briefing->log_level, briefing->log_format, STDERR_FILENO);
	for (uint32_t i = 0; i < briefing->n_doors; i++) {
		struct briefing_door *from = &worker->briefing.doors[i];
		const enum ps_err door_err = from->fd < 0 ? PS_E_LIMIT : add_door(worker, from);

		if (door_err != PS_OK)
			err = door_err;
	}
	close_all(old);
	worker->most = connections_allowed(briefing);
	return err;
}

static void on_word(void *owner, uint32_t type, const uint8_t *body, size_t body_len, int fd)
{
	struct worker *worker = owner;

	if (type >= ROLE_OWN) {
		if (briefing_take(&worker->coming, type, body, body_len, fd) != PS_OK)
			log_event(LOG_ERROR, "briefing-malformed", "the supervisor sent what is no briefing; it was dropped");
		return;
	}
	if (fd >= 0)
		close(fd);
	if (type != ROLE_GENERATION || worker->coming.generation <= worker->briefing.generation)
		return;
	if (put_in_force(worker, &worker->coming) != PS_OK)
		log_event(LOG_ERROR, "door-lost", "no descriptor or memory for a listening socket: other workers serve it");
	worker->coming.n_doors = 0; /* the doors are ours now */
	locals_renew(worker->locals);
	if (!uv_is_active((uv_handle_t *)&worker->pause))
		on_pause_over(&worker->pause);
}

static enum ps_err listen_to_slot(struct worker *worker)
{
	if (uv_poll_init(&worker->loop, &worker->slot, worker->env->slot) != 0)
		return PS_E_NOMEM;
	worker->slot.data = worker;
	worker->has_slot = true;
	return uv_poll_start(&worker->slot, UV_READABLE, on_slot) == 0 ? PS_OK : PS_E_NOMEM;
}

static enum ps_err make_parts(struct worker *worker)
{
	enum ps_err err = watches_new(&worker->loop, &worker->watches);

	if (err == PS_OK)
		err = linger_new(&worker->loop, &worker->linger);
	if (err == PS_OK)
		err = bridge_scratch_new(&worker->scratch);
	if (err != PS_OK)
		return err;
	const struct locals_config config = {
		.loop = &worker->loop,
		.watches = worker->watches,
		.scratch = worker->scratch,
		.linger = worker->linger,
		.slot = worker->env->slot,
		.board = worker->env->board,
		.index = worker->env->index,
		.briefing = &worker->briefing,
	};
	briefing_of(worker->forked_with, worker->env->generation, &worker->coming);
	err = locals_new(&config, &worker->locals);
	if (err == PS_OK)
		err = put_in_force(worker, &worker->coming);
	worker->coming.n_doors = 0;
	if (err == PS_OK)
		locals_renew(worker->locals);
	if (err == PS_OK)
		err = listen_to_slot(worker);
	return err;
}

static int serve(struct worker *worker)
{
	uv_timer_t *const timers[] = { &worker->pause, &worker->deadline, &worker->look };

	if (uv_loop_init(&worker->loop) != 0)
		return role_fatal(worker->env, "cannot start: no event loop");
	for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
		(void)uv_timer_init(&worker->loop, timers[i]);
		timers[i]->data = worker;
	}
	enum ps_err err = make_parts(worker);
	if (err == PS_OK) {
		open_doors(worker);
		err = role_begin(&worker->control, &worker->loop);
	}
	if (err != PS_OK)
		close_handles(worker);
	if (err == PS_OK)
		watches_run(worker->watches);
	watches_free(worker->watches);
	role_close_loop(&worker->loop);
	locals_free(worker->locals);
	bridge_scratch_free(worker->scratch);
	briefing_clear(&worker->coming);
	if (err != PS_OK)
		return role_fatal(worker->env, ps_err_text(err));
	return worker->cut ? ROLE_EXIT_CUT : ROLE_EXIT_DONE;
}

int worker_run(const struct role_env *env)
{
	struct generation *generation = env->daemon;
	struct worker *worker = calloc(1, sizeof(*worker));

	if (worker == NULL)
		return role_fatal(env, ps_err_text(PS_E_NOMEM));
	worker->env = env;
	worker->forked_with = generation;
	worker->control = (struct role_control){
		.env = env,
		.fallback_ms = generation->config->timeouts.drain_ms,
		.on_drain = on_drain,
		.on_word = on_word,
		.owner = worker,
	};
	generation_keep_doors(generation);
	const int code = serve(worker);
	generation_free(generation);
	free(worker);
	return code;
}
