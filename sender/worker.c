/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "local.h"
#include "portseal/buf.h"
#include "portseal/log.h"
#include "portseal/net.h"
#include "role.h"
#include "tunnel.h"

#define ACCEPTS_PER_TURN 16
#define ANSWERS_PER_TURN 32
#define PAUSE_MS 100
#define LOOK_MS 10
#define DESCRIPTORS_KEPT 64 /* for the loop, the channels, the doors */

struct worker;

struct door {
	uv_poll_t poll;
	struct worker *worker;
	uint32_t tunnel;
	int fd;
};

struct worker {
	const struct role_env *env;
	struct tunnel_daemon *daemon;
	uv_loop_t loop;
	struct role_control control;
	struct linger_set *linger;
	struct bridge_scratch *scratch;
	struct locals *locals;
	struct door *doors;
	size_t n_doors; /* whose poll handle lives */
	uv_poll_t slot;
	bool has_slot;
	size_t most;         /* connections that the descriptors suffice for */
	uv_timer_t pause;    /* runs while nothing is accepted */
	bool short_told;     /* this lack of descriptors is in the log */
	uv_timer_t deadline; /* while draining: cuts what is left */
	uv_timer_t look;     /* while draining: ends when nothing is left */
	bool deadline_over;
	bool cut;
};

static void on_door(uv_poll_t *poll, int status, int events);

static void open_doors(struct worker *worker)
{
	for (size_t i = 0; i < worker->n_doors; i++)
		uv_poll_start(&worker->doors[i].poll, UV_READABLE, on_door);
}

static void on_pause_over(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	if (locals_ask_again(worker->locals) == PS_E_AGAIN)
		uv_timer_start(&worker->pause, on_pause_over, PAUSE_MS, 0);
	else
		open_doors(worker);
}

static void pause_accepting(struct worker *worker)
{
	for (size_t i = 0; i < worker->n_doors; i++)
		uv_poll_stop(&worker->doors[i].poll);
	uv_timer_start(&worker->pause, on_pause_over, PAUSE_MS, 0);
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
		err = locals_begin(worker->locals, door->tunnel, fd, peer);
		if (err == PS_OK)
			return true;
		pause_accepting(worker);
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
	pause_accepting(worker);
	return false;
}

static void on_door(uv_poll_t *poll, int status, int events)
{
	struct door *door = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN && accept_one(door); i++)
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

static void close_doors(struct worker *worker)
{
	for (size_t i = 0; i < worker->n_doors; i++)
		uv_close((uv_handle_t *)&worker->doors[i].poll, NULL);
	worker->n_doors = 0;
	uv_timer_stop(&worker->pause);
	tunnel_close_listeners(worker->daemon);
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
	linger_free(worker->linger);
	worker->linger = NULL;
}

static void on_look(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	(void)!locals_ask_again(worker->locals);
	if (locals_count(worker->locals) == 0 && (worker->deadline_over || linger_count(worker->linger) == 0))
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

static void on_drain(void *owner, uint64_t within_ms)
{
	struct worker *worker = owner;

	close_doors(worker);
	uv_timer_start(&worker->deadline, on_deadline, within_ms, 0);
	uv_timer_start(&worker->look, on_look, 0, LOOK_MS);
}

static enum ps_err make_doors(struct worker *worker)
{
	const struct tunnel_daemon *daemon = worker->daemon;
	size_t n = 0;

	for (size_t i = 0; i < daemon->config->tunnels_list.n; i++)
		n += daemon->listeners[i].n_fds;
	assert(n > 0); /* a configuration without tunnels does not load */
	worker->doors = calloc(n, sizeof(*worker->doors));
	if (worker->doors == NULL)
		return PS_E_NOMEM;
	for (size_t i = 0; i < daemon->config->tunnels_list.n; i++)
		for (size_t j = 0; j < daemon->listeners[i].n_fds; j++) {
			struct door *door = &worker->doors[worker->n_doors];

			*door = (struct door){ .worker = worker, .tunnel = (uint32_t)i, .fd = daemon->listeners[i].fds[j] };
			if (uv_poll_init(&worker->loop, &door->poll, door->fd) != 0)
				return PS_E_NOMEM;
			door->poll.data = door;
			worker->n_doors++;
		}
	return PS_OK;
}

static enum ps_err listen_to_slot(struct worker *worker)
{
	if (uv_poll_init(&worker->loop, &worker->slot, worker->env->slot) != 0)
		return PS_E_NOMEM;
	worker->slot.data = worker;
	worker->has_slot = true;
	return uv_poll_start(&worker->slot, UV_READABLE, on_slot) == 0 ? PS_OK : PS_E_NOMEM;
}

/* A connection has two descriptors. The relay's comes in a message, and would be lost if there were no room for it. */
static size_t connections_allowed(void)
{
	const uint64_t files = net_raise_nofile();

	return files > 2 * DESCRIPTORS_KEPT ? (size_t)(files - DESCRIPTORS_KEPT) / 2 : 1;
}

static enum ps_err make_parts(struct worker *worker)
{
	enum ps_err err = linger_new(&worker->loop, &worker->linger);

	if (err == PS_OK)
		err = bridge_scratch_new(&worker->scratch);
	if (err != PS_OK)
		return err;
	const struct locals_config config = {
		.loop = &worker->loop,
		.scratch = worker->scratch,
		.linger = worker->linger,
		.slot = worker->env->slot,
		.config = worker->daemon->config,
	};
	err = locals_new(&config, &worker->locals);
	if (err == PS_OK)
		err = make_doors(worker);
	worker->most = connections_allowed();
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
	role_close_loop(&worker->loop);
	locals_free(worker->locals);
	bridge_scratch_free(worker->scratch);
	free(worker->doors);
	if (err != PS_OK)
		return role_fatal(worker->env, ps_err_text(err));
	return worker->cut ? ROLE_EXIT_CUT : ROLE_EXIT_DONE;
}

int worker_run(const struct role_env *env)
{
	struct tunnel_daemon *daemon = env->daemon;
	struct worker worker = { .env = env, .daemon = daemon };

	worker.control = (struct role_control){
		.env = env,
		.fallback_ms = daemon->config->timeouts.drain_ms,
		.on_drain = on_drain,
		.owner = &worker,
	};
	const int code = serve(&worker);
	tunnel_free(daemon);
	return code;
}
