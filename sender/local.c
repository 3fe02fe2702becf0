/* SPDX-License-Identifier: Apache-2.0 */
#include "local.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "local_log.h"
#include "portseal/h2_pipe.h"
#include "portseal/net.h"
#include "portseal/scoreboard.h"

#define PATIENCE_MS 30000 /* for the relay's answer, on top of what dialling every relay may last */
#define BRIEF_MS 100      /* whoever waits no longer is not watched: what befell him meanwhile is met afterwards */

enum local_state {
	LOCAL_WAITING, /* for its passage */
	LOCAL_BRIDGED, /* a bridge owns both sockets */
	LOCAL_PIPED,   /* a pipe owns its socket, and a stream of the pool */
	LOCAL_OVER,    /* logged; the handles are closing */
};

struct local {
	struct locals *locals;
	struct local *next, *prev;
	enum local_state state;
	struct local_facts facts;
	struct passage *passage;
	int fd;             /* -1 once the bridge or the pipe has it */
	struct watch watch; /* while waiting for long: has the client gone away? */
	uv_timer_t deadline;
	bool timer_closed;
	union {
		struct bridge *bridge;
		struct h2_pipe *pipe;
	} carrier;
};

struct locals {
	struct locals_config config;
	struct passages *passages;
	struct local *first, *last; /* in the order of their beginning */
	size_t n;
};

static void free_when_over(struct local *local)
{
	if (local->state == LOCAL_OVER && local->timer_closed)
		free(local);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct local *local = handle->data;

	local->timer_closed = true;
	free_when_over(local);
}

static void stop_waiting(struct local *local)
{
	watch_stop(&local->watch);
	uv_close((uv_handle_t *)&local->deadline, on_timer_closed);
}

static void end(struct local *local)
{
	struct locals *locals = local->locals;

	if (local->state == LOCAL_WAITING)
		stop_waiting(local);
	local->state = LOCAL_OVER;
	if (local->prev != NULL)
		local->prev->next = local->next;
	else
		locals->first = local->next;
	if (local->next != NULL)
		local->next->prev = local->prev;
	else
		locals->last = local->prev;
	locals->n--;
	scoreboard_leave_slot(locals->config.board, locals->config.index);
	passage_end(local->passage);
	if (local->fd >= 0)
		close(local->fd);
	free_when_over(local);
}

static void on_pipe_end(void *owner, const struct h2_pipe_report *report)
{
	struct local *local = owner;

	local_log_pipe_closed(&local->facts, report);
	end(local);
}

static void on_bridge_end(void *owner, const struct bridge_report *report)
{
	struct local *local = owner;

	local_log_closed(&local->facts, report);
	end(local);
}

/* Nothing was carried yet. */
static void close_early(struct local *local, enum bridge_end why)
{
	const struct bridge_report report = { .end = why, .peer_alert = ALERT_NONE, .sent_alert = ALERT_NONE };

	local_log_closed(&local->facts, &report);
	end(local);
}

static void on_deadline(uv_timer_t *timer)
{
	struct local *local = timer->data;

	local_log_refused(&local->facts, "no-answer", "no relay took it in time");
	end(local);
}

/* Told of a half-closed client, too, which may well wait for a reply: only a broken connection counts. */
static void on_event(void *owner, uint32_t events)
{
	struct local *local = owner;

	if ((events & (EPOLLERR | EPOLLHUP)) != 0)
		close_early(local, BRIDGE_PLAIN_RESET);
	else
		(void)!watch_set(&local->watch, 0); /* cannot fail: it is watched */
}

/* Whether he has gone away is worth knowing from now on. */
static void on_long_wait(uv_timer_t *timer)
{
	struct local *local = timer->data;
	const struct briefing *briefing = local->locals->config.briefing;

	(void)!watch_set(&local->watch, EPOLLRDHUP); /* else it is met later */
	(void)uv_timer_start(timer, on_deadline, briefing->n_relays * briefing->patience_ms + PATIENCE_MS, 0);
}

static uint64_t fresh_conn(void)
{
	uint64_t conn = 0;

	while ((conn & UINT32_MAX) == 0)
		if (getrandom(&conn, sizeof(conn), 0) != (ssize_t)sizeof(conn))
			conn = uv_hrtime();
	return conn;
}

static struct local *add(struct locals *locals, const char *service, int fd, const char *peer)
{
	struct local *local = calloc(1, sizeof(*local));

	if (local == NULL)
		return NULL;
	watch_begin(&local->watch, locals->config.watches, fd, on_event, local);
	(void)uv_timer_init(locals->config.loop, &local->deadline);
	local->deadline.data = local;
	local->locals = locals;
	local->fd = fd;
	local->state = LOCAL_WAITING;
	local->facts = (struct local_facts){
		.conn = fresh_conn(),
		.started_ms = uv_now(locals->config.loop),
		.loop = locals->config.loop,
	};
	(void)snprintf(local->facts.peer, sizeof(local->facts.peer), "%s", peer);
	(void)snprintf(local->facts.service, sizeof(local->facts.service), "%s", service);
	local->prev = locals->last;
	if (locals->last != NULL)
		locals->last->next = local;
	else
		locals->first = local;
	locals->last = local;
	locals->n++;
	scoreboard_join_slot(locals->config.board, locals->config.index);
	return local;
}

/* A descriptor that was not accepted is closed, which is a reset. */
static void forget(struct local *local)
{
	local->locals->last = local->prev;
	if (local->prev != NULL)
		local->prev->next = NULL;
	else
		local->locals->first = NULL;
	local->locals->n--;
	stop_waiting(local);
	local->state = LOCAL_OVER;
	close(local->fd);
}

enum ps_err locals_begin(struct locals *locals, const char *service, int fd, const char *peer)
{
	struct local *local;

	net_arm_reset(fd); /* until it is closed cleanly; holds if this process dies, too */
	local = add(locals, service, fd, peer);
	if (local == NULL) {
		close(fd);
		return PS_E_NOMEM;
	}
	if (passage_begin(locals->passages, service, local, &local->passage) != PS_OK) {
		forget(local);
		return PS_E_NOMEM;
	}
	(void)uv_timer_start(&local->deadline, on_long_wait, BRIEF_MS, 0);
	return passages_unsent(locals->passages) > 0 ? PS_E_AGAIN : PS_OK;
}

enum ps_err locals_ask_again(struct locals *locals)
{
	return passages_send(locals->passages);
}

/* A worker that dies leaves the socket to the kernel, which tells the relay of it by an end without close_notify. */
static void on_raw(void *owner, const struct handover *handover, int relay_fd)
{
	struct local *local = owner;
	struct locals *locals = local->locals;
	struct tls_stream *stream = NULL;

	if (tls_stream_new(TLS_CLIENT, &handover->secrets, &stream) != PS_OK) {
		close(relay_fd);
		close_early(local, BRIDGE_NO_MEMORY);
		return;
	}
	const struct bridge_config config = {
		.loop = locals->config.loop,
		.watches = locals->config.watches,
		.scratch = locals->config.scratch,
		.linger = locals->config.linger,
		.sealed_fd = relay_fd,
		.stream = stream,
		.plain_fd = local->fd,
		.idle_ms = locals->config.briefing->idle_ms,
		.on_end = on_bridge_end,
		.owner = local,
	};
	const struct local_relay relay = { .name = handover->client,
		                               .address = handover->peer,
		                               .suite = handover->secrets.suite };
	stop_waiting(local);
	local->state = LOCAL_BRIDGED;
	local->fd = -1;
	local_log_accepted(&local->facts, &relay);
	if (bridge_new(&config, &local->carrier.bridge) != PS_OK)
		close_early(local, BRIDGE_NO_MEMORY);
}

static void on_stream(void *owner, struct h2_stream *stream, const struct pool_facts *facts)
{
	struct local *local = owner;
	const struct h2_pipe_config config = {
		.loop = local->locals->config.loop,
		.watches = local->locals->config.watches,
		.stream = stream,
		.plain_fd = local->fd,
		.idle_ms = local->locals->config.briefing->idle_ms,
		.on_end = on_pipe_end,
		.owner = local,
	};
	const struct local_relay relay = { .name = facts->name,
		                               .address = facts->address,
		                               .suite = facts->suite,
		                               .pool = facts->conn,
		                               .stream = h2_stream_id(stream) };

	stop_waiting(local);
	local->state = LOCAL_PIPED;
	local->fd = -1;
	local_log_accepted(&local->facts, &relay);
	if (h2_pipe_new(&config, &local->carrier.pipe) != PS_OK)
		close_early(local, BRIDGE_NO_MEMORY);
}

static void on_refused(void *owner, const char *reason, const char *detail)
{
	struct local *local = owner;

	local_log_refused(&local->facts, reason, detail);
	end(local);
}

static const struct passage_events passage_events = {
	.on_raw = on_raw,
	.on_stream = on_stream,
	.on_refused = on_refused,
};

void locals_take(struct locals *locals, struct handover_message *message)
{
	passages_take(locals->passages, message);
}

void locals_renew(struct locals *locals)
{
	passages_renew(locals->passages);
}

void locals_abort(struct locals *locals)
{
	for (struct local *local = locals->first, *next; local != NULL; local = next) {
		next = local->next;
		if (local->state == LOCAL_BRIDGED)
			bridge_abort(local->carrier.bridge, ALERT_INTERNAL_ERROR);
		else if (local->state == LOCAL_PIPED)
			h2_pipe_abort(local->carrier.pipe, H2_CANCEL);
		else
			close_early(local, BRIDGE_ABORTED);
	}
}

size_t locals_count(const struct locals *locals)
{
	return locals->n;
}

size_t locals_unasked(const struct locals *locals)
{
	return passages_unsent(locals->passages);
}

bool locals_end_pool(struct locals *locals, bool at_once)
{
	if (at_once)
		passages_abort(locals->passages);
	else
		passages_shut(locals->passages);
	return passages_is_over(locals->passages);
}

void locals_stop(struct locals *locals)
{
	if (locals != NULL)
		passages_stop(locals->passages);
}

enum ps_err locals_new(const struct locals_config *config, struct locals **locals)
{
	struct locals *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	const struct passages_config passages = {
		.loop = config->loop,
		.watches = config->watches,
		.linger = config->linger,
		.slot = config->slot,
		.briefing = config->briefing,
		.events = &passage_events,
	};
	const enum ps_err err = passages_new(&passages, &fresh->passages);
	if (err != PS_OK) {
		free(fresh);
		return err;
	}
	*locals = fresh;
	return PS_OK;
}

void locals_free(struct locals *locals)
{
	if (locals == NULL)
		return;
	passages_free(locals->passages);
	free(locals);
}
