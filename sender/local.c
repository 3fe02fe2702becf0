/* SPDX-License-Identifier: Apache-2.0 */
#include "local.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "local_log.h"
#include "portseal/log.h"
#include "portseal/net.h"

#define ANSWER_GRACE_MS 2000 /* for the queue, on top of what a dial may last */

enum local_state {
	LOCAL_WAITING, /* for a gatekeeper's answer */
	LOCAL_BRIDGED, /* a bridge owns both sockets */
	LOCAL_OVER,    /* logged; the handles are closing */
};

struct local {
	struct locals *locals;
	struct local *next, *prev;
	enum local_state state;
	bool asked; /* the request is in the queue */
	struct local_facts facts;
	int fd;          /* -1 once the bridge has it */
	uv_poll_t watch; /* while waiting: has the client gone away? */
	uv_timer_t deadline;
	int open_handles;
	struct bridge *bridge;
};

struct locals {
	struct locals_config config;
	struct local *first, *last; /* in the order of their beginning */
	size_t n;
	size_t n_unasked;
};

static void free_when_over(struct local *local)
{
	if (local->state == LOCAL_OVER && local->open_handles == 0)
		free(local);
}

static void on_closed(uv_handle_t *handle)
{
	struct local *local = handle->data;

	local->open_handles--;
	free_when_over(local);
}

static void stop_waiting(struct local *local)
{
	uv_close((uv_handle_t *)&local->watch, on_closed);
	uv_close((uv_handle_t *)&local->deadline, on_closed);
	if (!local->asked)
		local->locals->n_unasked--;
	local->asked = true;
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
	if (local->fd >= 0)
		close(local->fd);
	free_when_over(local);
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

	local_log_refused(&local->facts, "no-answer", "no gatekeeper answered in time");
	end(local);
}

/* Told of a half-closed client, too, which may well wait for a reply: only a broken connection counts. */
static void on_watch(uv_poll_t *watch, int status, int events)
{
	struct local *local = watch->data;
	struct pollfd polled = { .fd = local->fd };

	(void)status;
	(void)events;
	if (poll(&polled, 1, 0) > 0 && (polled.revents & (POLLERR | POLLHUP)) != 0)
		close_early(local, BRIDGE_PLAIN_RESET);
	else
		uv_poll_stop(watch);
}

static enum ps_err ask(struct local *local)
{
	struct handover_dial dial = { .conn = local->facts.conn, .generation = local->locals->config.briefing->generation };
	memcpy(dial.service, local->facts.service, sizeof(dial.service));
	const enum ps_err err = handover_send_dial(local->locals->config.slot, &dial);

	if (err == PS_OK) {
		local->asked = true;
		local->locals->n_unasked--;
	}
	return err;
}

/* Random, as answers to a worker that died come to its replacement. */
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
	if (uv_poll_init(locals->config.loop, &local->watch, fd) != 0) {
		free(local);
		return NULL;
	}
	(void)uv_timer_init(locals->config.loop, &local->deadline);
	local->watch.data = local;
	local->deadline.data = local;
	local->open_handles = 2;
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
	locals->n_unasked++;
	return local;
}

enum ps_err locals_begin(struct locals *locals, const char *service, int fd, const char *peer)
{
	struct local *local;

	net_arm_reset(fd); /* until the bridge closes it cleanly; holds if this process dies, too */
	local = add(locals, service, fd, peer);
	if (local == NULL) {
		close(fd);
		return PS_E_NOMEM;
	}
	uv_poll_start(&local->watch, UV_DISCONNECT, on_watch);
	uv_timer_start(&local->deadline, on_deadline, locals->config.briefing->patience_ms + ANSWER_GRACE_MS, 0);
	return ask(local);
}

enum ps_err locals_ask_again(struct locals *locals)
{
	enum ps_err err = PS_OK;

	for (struct local *local = locals->first; local != NULL && err == PS_OK && locals->n_unasked > 0;
	     local = local->next)
		if (local->state == LOCAL_WAITING && !local->asked)
			err = ask(local);
	return err;
}

static struct local *find_waiting(const struct locals *locals, uint64_t conn)
{
	for (struct local *local = locals->first; local != NULL; local = local->next)
		if (local->state == LOCAL_WAITING && local->facts.conn == conn)
			return local;
	return NULL;
}

/* A worker that dies leaves the socket to the kernel, which tells the relay of it by an end without close_notify. */
static void start_bridge(struct local *local, const struct handover *handover, int relay_fd)
{
	struct locals *locals = local->locals;
	struct tls_stream *stream = NULL;

	stop_waiting(local);
	local->state = LOCAL_BRIDGED;
	if (tls_stream_new(TLS_CLIENT, &handover->secrets, &stream) != PS_OK) {
		close(relay_fd);
		close_early(local, BRIDGE_NO_MEMORY);
		return;
	}
	const struct bridge_config config = {
		.loop = locals->config.loop,
		.scratch = locals->config.scratch,
		.linger = locals->config.linger,
		.sealed_fd = relay_fd,
		.stream = stream,
		.plain_fd = local->fd,
		.idle_ms = locals->config.briefing->idle_ms,
		.on_end = on_bridge_end,
		.owner = local,
	};
	local->fd = -1;
	local_log_accepted(&local->facts, handover);
	if (bridge_new(&config, &local->bridge) != PS_OK)
		close_early(local, BRIDGE_NO_MEMORY);
}

static void take_failure(struct local *local, const struct handover_dial_failed *failed)
{
	if (failed->again == 0) {
		local_log_dial_failed(&local->facts, failed);
		end(local);
	} else if (local->asked) {
		local->asked = false;
		local->locals->n_unasked++;
	}
}

void locals_take(struct locals *locals, struct handover_message *message)
{
	struct local *local;

	switch (message->type) {
	case HANDOVER_CONNECTION:
		local = find_waiting(locals, message->body.connection.conn);
		if (local != NULL)
			start_bridge(local, &message->body.connection, message->fd);
		else
			close(message->fd);
		break;
	case HANDOVER_DIAL_FAILED:
		local = find_waiting(locals, message->body.failed.conn);
		if (local != NULL)
			take_failure(local, &message->body.failed);
		break;
	case HANDOVER_DIAL: /* ours to send */
	case HANDOVER_REJUDGE:
	case HANDOVER_JUDGED: /* a relay's */
		log_event(LOG_ERROR, "answer-malformed", "a gatekeeper sent what is no answer to a dial; it was dropped");
		break;
	}
}

void locals_abort(struct locals *locals)
{
	for (struct local *local = locals->first, *next; local != NULL; local = next) {
		next = local->next;
		if (local->state == LOCAL_BRIDGED)
			bridge_abort(local->bridge, ALERT_INTERNAL_ERROR);
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
	return locals->n_unasked;
}

enum ps_err locals_new(const struct locals_config *config, struct locals **locals)
{
	struct locals *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	*locals = fresh;
	return PS_OK;
}

void locals_free(struct locals *locals)
{
	free(locals);
}
