/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2 -- its life: what it waits for, when it is over, and how its socket is closed then.
 */
#include "portseal/h2.h"

#include <stdlib.h>
#include <unistd.h>

#include "h2_private.h"
#include "portseal/net.h"

#define STALL_MS 10000         /* last words that nobody takes for so long are given up */
#define NOTICE_MS 1000         /* for the answer to the PING behind a shutdown notice */
#define CAPACITY_UNSETTLED 100 /* streams, before the peer's settings came (section 6.5.2 recommends no less) */
#define QUEUE_PER_STREAM 4     /* frames of ours that may wait for a peer that does not read, */
#define QUEUE_SLACK 1000       /* and beyond those */

enum ps_err h2_scratch_new(struct h2_scratch **scratch)
{
	struct h2_scratch *made = malloc(sizeof(*made));

	if (made == NULL)
		return PS_E_NOMEM;
	made->n_gathered = made->n_pieces = 0;
	*scratch = made;
	return PS_OK;
}

void h2_scratch_free(struct h2_scratch *scratch)
{
	if (scratch == NULL)
		return;
	ps_wipe(scratch, sizeof(*scratch));
	free(scratch);
}

static void on_turn(uv_idle_t *turn);

void h2_stir(struct h2 *h2)
{
	if (h2->state != H2_CLOSING)
		(void)uv_idle_start(&h2->turn, on_turn); /* no effect on one that is active; cannot fail otherwise */
}

void h2_blame(struct h2 *h2, enum h2_end end)
{
	if (h2->report.end == H2_DONE)
		h2->report.end = end;
}

void h2_lose(struct h2 *h2, enum h2_end end, enum alert last_alert)
{
	if (h2_is_over(h2))
		return;
	h2_blame(h2, end);
	h2->state = H2_LAST_WORDS;
	h2->last_alert = last_alert;
	h2->last_ms = uv_now(h2->timer.loop);
	h2_stir(h2);
}

/* GOAWAY, and then nothing more of this connection. */
static void terminate(struct h2 *h2, enum h2_end end, enum h2_code code, enum alert last_alert)
{
	if (h2_is_over(h2))
		return;
	if (nghttp2_session_terminate_session(h2->session, code) != 0)
		last_alert = ALERT_INTERNAL_ERROR; /* that must do, then */
	h2->report.code = code;
	h2_lose(h2, end, last_alert);
}

void h2_accuse(struct h2 *h2, const char *name)
{
	if (h2_is_over(h2))
		return;
	if (h2->report.end == H2_DONE)
		h2->report.abuse = name;
	terminate(h2, H2_PEER_ABUSE, H2_ENHANCE_YOUR_CALM, ALERT_CLOSE_NOTIFY);
}

void h2_fault(struct h2 *h2, int error)
{
	switch (error) {
	case NGHTTP2_ERR_FLOODED: /* more answers wait than it reads */
		h2_accuse(h2, "output-flood");
		break;
	case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
		terminate(h2, H2_PEER_HTTP, H2_PROTOCOL_ERROR, ALERT_CLOSE_NOTIFY);
		break;
	default:
		terminate(h2, H2_NO_MEMORY, H2_INTERNAL_ERROR, ALERT_INTERNAL_ERROR);
	}
}

static void dispose(struct h2 *h2)
{
	nghttp2_session_del(h2->session);
	tls_stream_free(h2->tls);
	buf_release(&h2->partial);
	buf_release(&h2->pending);
	buf_release(&h2->block);
	if (h2->events != NULL)
		h2->events->on_end(h2->owner, &h2->report);
	free(h2);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct h2 *h2 = handle->data;

	if (--h2->n_handles == 0)
		dispose(h2);
}

/* A close with bytes unread, or with bytes yet to come, is a reset that destroys what we wrote last. */
static void close_socket(struct h2 *h2)
{
	if (h2->broken || tls_stream_peer_closed(h2->tls)) {
		net_disarm_reset(h2->fd);
		(void)close(h2->fd);
	} else {
		linger_close(h2->linger, h2->fd);
	}
	h2->fd = -1;
}

static void finish(struct h2 *h2)
{
	h2->state = H2_CLOSING;
	watch_stop(&h2->socket); /* and no watch_close: whoever handed it over may still have a descriptor */
	uv_close((uv_handle_t *)&h2->turn, on_handle_closed);
	uv_close((uv_handle_t *)&h2->timer, on_handle_closed);
	close_socket(h2);
}

static void cut_streams(struct h2 *h2)
{
	struct h2_stream *stream;

	while ((stream = LIST_FIRST(&h2->streams)) != NULL) {
		const bool never_left = h2->role == H2_CLIENT && !stream->sent;
		h2_stream_close(stream, never_left ? H2_FATE_UNPROCESSED : H2_FATE_CUT, h2->report.code);
	}
}

/* The time that remains until something must be done though nothing happens. UINT64_MAX: for ever. */
static uint64_t time_left(const struct h2 *h2)
{
	const uint64_t since = uv_now(h2->timer.loop) - h2->last_ms;
	uint64_t limit = UINT64_MAX;

	if (h2->state == H2_LAST_WORDS)
		limit = STALL_MS;
	else if (h2->state == H2_LEAVING && h2->notice_open)
		limit = NOTICE_MS;
	else if (h2->state == H2_LEAVING)
		limit = h2->n_owned == 0 ? STALL_MS : UINT64_MAX;
	else if (h2->n_owned == 0 && h2->idle_ms > 0)
		limit = h2->idle_ms;
	if (limit == UINT64_MAX)
		return limit;
	return since < limit ? limit - since : 0;
}

static void on_timer(uv_timer_t *timer);

/* The timer is not touched when something happens: when it expires, it sleeps again for what is left. */
static void watch_time(struct h2 *h2)
{
	const uint64_t left = time_left(h2);

	if (left == UINT64_MAX)
		return;
	if (!uv_is_active((uv_handle_t *)&h2->timer) || uv_timer_get_due_in(&h2->timer) > left)
		(void)uv_timer_start(&h2->timer, on_timer, left, 0);
}

static void watch_socket(struct h2 *h2)
{
	const uint32_t reads = h2_is_over(h2) ? 0 : EPOLLIN;
	const uint32_t writes = buf_len(&h2->pending) > 0 ? EPOLLOUT : 0;

	if (watch_set(&h2->socket, reads | writes) == PS_OK)
		return;
	h2_wire_break(h2);
	h2_lose(h2, H2_NO_MEMORY, ALERT_INTERNAL_ERROR);
	h2_stir(h2);
}

static void wake_streams(struct h2 *h2)
{
	struct h2_stream *stream;

	while ((stream = TAILQ_FIRST(&h2->wakes)) != NULL) {
		TAILQ_REMOVE(&h2->wakes, stream, wake);
		stream->wakes = false;
		/* Fails where it is not waiting: before it is answered, or while its last frame is still due. */
		(void)nghttp2_session_resume_data(h2->session, stream->id);
	}
}

static void go_on(struct h2 *h2)
{
	wake_streams(h2);
	if (h2_wire_write(h2))
		h2_stir(h2);
	if (h2_is_over(h2))
		return;
	if (buf_len(&h2->pending) > 0 &&
	    nghttp2_session_get_outbound_queue_size(h2->session) > QUEUE_PER_STREAM * h2->n_streams + QUEUE_SLACK)
		h2_accuse(h2, "output-flood");
	else if (!nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session))
		h2_lose(h2, H2_DONE, ALERT_CLOSE_NOTIFY);
}

/* After anything happened: goes on, or ends. */
static void settle(struct h2 *h2)
{
	if (!h2_is_over(h2))
		go_on(h2);
	if (h2->state == H2_LAST_WORDS) {
		cut_streams(h2);
		if (h2_wire_end(h2)) {
			finish(h2);
			return;
		}
	}
	if (buf_len(&h2->block) == 0)
		buf_release(&h2->block);
	watch_socket(h2);
	watch_time(h2);
}

static void on_turn(uv_idle_t *turn)
{
	(void)uv_idle_stop(turn);
	settle(turn->data);
}

static void on_event(void *owner, uint32_t events)
{
	struct h2 *h2 = owner;

	if (!h2_is_over(h2) && (events & EPOLLIN) != 0)
		h2_wire_read(h2);
	h2_stir(h2);
}

static void submit_last_goaway(struct h2 *h2)
{
	const int32_t last = h2->role == H2_SERVER ? nghttp2_session_get_last_proc_stream_id(h2->session) : 0;

	h2->notice_open = false;
	if (nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, last, H2_NO_ERROR, NULL, 0) != 0)
		h2_lose(h2, H2_NO_MEMORY, ALERT_INTERNAL_ERROR);
	h2_stir(h2);
}

static void on_timer(uv_timer_t *timer)
{
	struct h2 *h2 = timer->data;

	if (time_left(h2) > 0) {
		watch_time(h2);
		return;
	}
	if (h2->state == H2_LAST_WORDS)
		finish(h2);
	else if (h2->state == H2_LEAVING && h2->notice_open)
		submit_last_goaway(h2);
	else if (h2->state == H2_LEAVING)
		h2_lose(h2, H2_DONE, ALERT_CLOSE_NOTIFY); /* what is left is nobody's, and its peer does not end it */
	else
		h2_shut(h2);
}

void h2_notice_read(struct h2 *h2)
{
	if (h2->notice_open)
		submit_last_goaway(h2);
}

/* A server first says that it will leave, so that nobody's request is lost on the way: those that were sent before the
 * peer read that are here when it has answered the PING. */
void h2_shut(struct h2 *h2)
{
	if (h2->state != H2_RUNNING)
		return;
	h2->state = H2_LEAVING;
	h2->last_ms = uv_now(h2->timer.loop);
	if (h2->role == H2_CLIENT) {
		submit_last_goaway(h2);
		return;
	}
	h2->notice_open = true;
	if (nghttp2_submit_shutdown_notice(h2->session) != 0 ||
	    nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL) != 0)
		h2_lose(h2, H2_NO_MEMORY, ALERT_INTERNAL_ERROR);
	h2_stir(h2);
}

void h2_abort(struct h2 *h2, enum alert alert)
{
	terminate(h2, H2_ABORTED, alert == ALERT_INTERNAL_ERROR ? H2_INTERNAL_ERROR : H2_INADEQUATE_SECURITY, alert);
}

size_t h2_capacity(const struct h2 *h2)
{
	if (h2->role != H2_CLIENT || h2->state != H2_RUNNING || h2->goaway_told ||
	    !nghttp2_session_check_request_allowed(h2->session))
		return 0;
	const size_t limit = h2->settled
	                         ? nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
	                         : CAPACITY_UNSETTLED;
	return h2->n_streams < limit ? limit - h2->n_streams : 0;
}

size_t h2_n_streams(const struct h2 *h2)
{
	return h2->n_streams;
}

enum ps_err h2_open(struct h2 *h2, const struct h2_request *request, bool end, const struct h2_stream_events *events,
                    void *owner, struct h2_stream **stream)
{
	if (h2->state != H2_RUNNING || h2->goaway_told || !nghttp2_session_check_request_allowed(h2->session))
		return PS_E_CLOSED;
	if (h2_capacity(h2) == 0) {
		h2->had_capacity = false;
		return PS_E_LIMIT;
	}
	struct h2_stream *made = h2_stream_new(h2, 0);
	if (made == NULL)
		return PS_E_NOMEM;
	const enum ps_err err = h2_header_submit_request(h2, request, end, made);
	if (err != PS_OK) {
		h2_stream_close(made, H2_FATE_UNPROCESSED, H2_INTERNAL_ERROR); /* it has no events yet */
		return err;
	}
	h2_stream_own(made, events, owner);
	made->out_ended = end;
	h2->had_capacity = h2_capacity(h2) > 0;
	h2_stir(h2);
	*stream = made;
	return PS_OK;
}

size_t h2_buffered(const struct h2 *h2)
{
	return h2->partial.cap + h2->pending.cap + h2->block.cap + h2->kept;
}

static enum ps_err refuse(const struct h2_config *config)
{
	(void)close(config->fd);
	tls_stream_free(config->stream);
	return PS_E_NOMEM;
}

static void init(struct h2 *h2, const struct h2_config *config)
{
	h2->role = config->role;
	h2->tls = config->stream;
	h2->scratch = config->scratch;
	h2->linger = config->linger;
	h2->fd = config->fd;
	h2->share = H2_SHARE_MIN;
	h2->idle_ms = config->idle_ms;
	h2->last_ms = uv_now(config->loop);
	h2->last_alert = ALERT_CLOSE_NOTIFY;
	h2->report = (struct h2_report){ .peer_alert = ALERT_NONE, .sent_alert = ALERT_NONE };
	LIST_INIT(&h2->streams);
	TAILQ_INIT(&h2->wakes);
	h2_watch_init(&h2->watch, config->role, h2->last_ms);
	(void)uv_timer_init(config->loop, &h2->timer); /* these two cannot fail */
	(void)uv_idle_init(config->loop, &h2->turn);
	watch_begin(&h2->socket, config->watches, config->fd, on_event, h2);
	h2->turn.data = h2->timer.data = h2;
	h2->n_handles = 2;
}

enum ps_err h2_new(const struct h2_config *config, struct h2 **h2)
{
	struct h2 *made = calloc(1, sizeof(*made));

	if (made == NULL)
		return refuse(config);
	/* Should this process die, the kernel's close must not look like a clean end. */
	net_arm_reset(config->fd);
	init(made, config);
	enum ps_err err = watch_set(&made->socket, EPOLLIN);
	if (err == PS_OK)
		err = h2_session_new(made, config->max_streams);
	if (err != PS_OK) {
		made->broken = true; /* nothing is to be told */
		finish(made);
		return err;
	}
	made->events = config->events;
	made->owner = config->owner;
	h2_stir(made);
	*h2 = made;
	return PS_OK;
}
