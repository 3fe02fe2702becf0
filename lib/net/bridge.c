/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridge -- its life: what it waits for, when it is over, and how each socket is closed then.
 */
#include "portseal/bridge.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bridge_private.h"
#include "portseal/net.h"

/* Once a socket is known to be lost, what is still to be written elsewhere may stall for this long. */
#define STALL_MS 10000

enum close_how {
	CLOSE_NOW,
	CLOSE_RESET,  /* the other end must not take it for a clean end */
	CLOSE_LINGER, /* the other end may still be sending, and shall read our last bytes */
};

void bridge_blame(struct bridge *bridge, enum bridge_end end)
{
	if (bridge->report.end == BRIDGE_DONE)
		bridge->report.end = end;
}

static void dispose(struct bridge *bridge)
{
	buf_release(&bridge->sealed.pending);
	buf_release(&bridge->plain.pending);
	buf_release(&bridge->partial);
	tls_stream_free(bridge->stream);
	bridge->stream = NULL;
	if (bridge->on_end != NULL)
		bridge->on_end(bridge->owner, &bridge->report);
	free(bridge);
}

static void on_timer_closed(uv_handle_t *handle)
{
	dispose(handle->data);
}

/* The plain socket is ours alone; of the sealed one, whoever handed it over may still have a descriptor. The plain socket
 * has been armed to reset since the beginning. */
static void side_close(struct bridge_side *side, enum close_how how)
{
	if (side->fd < 0)
		return;
	if (how != CLOSE_RESET)
		net_disarm_reset(side->fd);
	if (how == CLOSE_LINGER || side == &side->bridge->sealed)
		watch_stop(&side->watch);
	if (how == CLOSE_LINGER)
		linger_close(side->bridge->linger, side->fd);
	else
		watch_close(&side->watch);
	side->fd = -1;
}

static bool has_unread(int fd)
{
	uint8_t byte;
	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* A close with bytes unread, or with bytes yet to come, is a reset that destroys what we wrote last. */
static enum close_how sealed_close_how(const struct bridge *bridge)
{
	if (bridge->sealed.broken || bridge->sealed.fd < 0)
		return CLOSE_NOW;
	const bool silent = bridge->sealed.flow != FLOW_OPEN && !has_unread(bridge->sealed.fd);
	return silent ? CLOSE_NOW : CLOSE_LINGER;
}

/* The application keeps a clean end that it was given, even if its answer found nobody any more. */
static enum close_how plain_close_how(const struct bridge *bridge)
{
	if (bridge->report.end == BRIDGE_DONE)
		return CLOSE_NOW;
	return bridge->sealed.flow == FLOW_ENDED && !bridge->plain.broken ? CLOSE_LINGER : CLOSE_RESET;
}

static void bridge_finish(struct bridge *bridge)
{
	bridge->state = BRIDGE_CLOSING;
	side_close(&bridge->sealed, sealed_close_how(bridge));
	side_close(&bridge->plain, plain_close_how(bridge));
	uv_close((uv_handle_t *)&bridge->timer, on_timer_closed);
}

/* 0: without limit. */
static uint64_t silence_limit(const struct bridge *bridge)
{
	const struct bridge_side *sealed = &bridge->sealed;
	const struct bridge_side *plain = &bridge->plain;
	const bool lost =
		bridge->state == BRIDGE_LAST_WORDS || sealed->hung || sealed->broken || plain->hung || plain->broken;
	if (!lost)
		return bridge->idle_ms;
	return bridge->idle_ms != 0 && bridge->idle_ms < STALL_MS ? bridge->idle_ms : STALL_MS;
}

static void on_timer(uv_timer_t *timer);

/* The timer is not touched when bytes move: when it expires, it sleeps again for what is left. */
static void watch_silence(struct bridge *bridge)
{
	const uint64_t limit = silence_limit(bridge);
	if (limit == 0)
		return;
	const uint64_t silent = uv_now(bridge->timer.loop) - bridge->last_ms;
	const uint64_t left = silent < limit ? limit - silent : 0;
	if (!uv_is_active((uv_handle_t *)&bridge->timer) || uv_timer_get_due_in(&bridge->timer) > left)
		(void)uv_timer_start(&bridge->timer, on_timer, left, 0);
}

/* The alert that tells the peer; what broke the protocol has been answered by the stream already. */
static enum ps_err say_last_words(struct bridge *bridge)
{
	const enum ps_err err = tls_stream_fail(bridge->stream, bridge->last_words, &bridge->sealed.pending);
	bridge->report.sent_alert = tls_stream_sent_alert(bridge->stream);
	return err;
}

static bool peer_can_be_told(enum bridge_end end)
{
	return end != BRIDGE_SEALED_TRUNCATED && end != BRIDGE_SEALED_RESET && end != BRIDGE_SEALED_ALERT;
}

/* Resets the plain side and tells the sealed one, behind what is pending for it. */
static void bridge_fail(struct bridge *bridge, enum bridge_end end)
{
	bridge_blame(bridge, end);
	if (bridge->sealed.broken || !peer_can_be_told(end)) {
		bridge->sealed.broken = true;
		bridge_finish(bridge);
		return;
	}
	side_close(&bridge->plain, CLOSE_RESET);
	bridge->state = BRIDGE_LAST_WORDS;
	bridge_touch(bridge);
	if (say_last_words(bridge) != PS_OK) {
		bridge_finish(bridge);
		return;
	}
	bridge_side_flush(&bridge->sealed);
}

/* Ends it now: the peer is told as far as it can be at once. */
static void bridge_cut(struct bridge *bridge, enum bridge_end end)
{
	if (bridge->state == BRIDGE_RUNNING)
		bridge_fail(bridge, end);
	if (bridge->state != BRIDGE_CLOSING)
		bridge_finish(bridge);
}

static enum bridge_end end_of_silence(const struct bridge *bridge)
{
	if (bridge->sealed.hung)
		return BRIDGE_SEALED_RESET;
	return bridge->plain.hung ? BRIDGE_PLAIN_RESET : BRIDGE_IDLE;
}

static void on_timer(uv_timer_t *timer)
{
	struct bridge *bridge = timer->data;
	if (uv_now(timer->loop) - bridge->last_ms < silence_limit(bridge)) {
		watch_silence(bridge);
		return;
	}
	bridge_cut(bridge, end_of_silence(bridge));
}

/* A side whose own direction ended is read no more: its error would be met only if something came for it. */
static void break_if_lost(struct bridge_side *side, const struct bridge_side *source)
{
	if (side->hung && !side->broken && side->flow != FLOW_OPEN && source->flow != FLOW_ENDED)
		bridge_side_break(side);
}

/* Passes on the clean end of `source` once everything before it is written. */
static void pass_end(struct bridge_side *source, struct bridge_side *sink)
{
	if (source->flow != FLOW_ENDING || buf_len(&sink->pending) > 0)
		return;
	(void)shutdown(sink->fd, SHUT_WR); /* fails only on a broken connection, which the other direction will meet */
	source->flow = FLOW_ENDED;
}

static bool is_over(const struct bridge *bridge)
{
	if (bridge->state == BRIDGE_LAST_WORDS)
		return bridge->sealed.broken || buf_len(&bridge->sealed.pending) == 0;
	const bool up_over = bridge->sealed.flow == FLOW_ENDED || bridge->plain.broken;
	const bool down_over = bridge->plain.flow == FLOW_ENDED || bridge->sealed.broken;
	return up_over && down_over;
}

/* Reads only what can be passed on. */
static bool wants_read(const struct bridge_side *side, const struct bridge_side *sink)
{
	return side->fd >= 0 && side->bridge->state == BRIDGE_RUNNING && side->flow == FLOW_OPEN &&
	       buf_len(&sink->pending) == 0;
}

/* Waits exactly for what can be used. A side with nothing to do is watched for errors and hang-ups. */
static enum ps_err side_wait(struct bridge_side *side, const struct bridge_side *sink)
{
	if (side->fd < 0)
		return PS_OK;
	uint32_t mask = wants_read(side, sink) ? EPOLLIN : 0;
	if (buf_len(&side->pending) > 0)
		mask |= EPOLLOUT;
	if (mask != 0 || !side->unwatched)
		return watch_set(&side->watch, mask);
	watch_stop(&side->watch);
	return PS_OK;
}

/* After anything happened: goes on, or ends. */
static void bridge_settle(struct bridge *bridge)
{
	struct bridge_side *sealed = &bridge->sealed;
	struct bridge_side *plain = &bridge->plain;

	if (bridge->state == BRIDGE_CLOSING)
		return;
	if (bridge->state == BRIDGE_RUNNING) {
		pass_end(sealed, plain);
		pass_end(plain, sealed);
		break_if_lost(sealed, plain);
		break_if_lost(plain, sealed);
	}
	if (is_over(bridge)) {
		bridge_finish(bridge);
		return;
	}
	if (side_wait(sealed, plain) != PS_OK || side_wait(plain, sealed) != PS_OK) {
		bridge_cut(bridge, BRIDGE_NO_MEMORY);
		return;
	}
	watch_silence(bridge);
}

/* A hang-up would be reported again and again to a side that has nothing to do. */
static void note_hang_up(struct bridge_side *side, uint32_t events)
{
	side->unwatched = true;
	if (side->hung || (events & EPOLLERR) == 0)
		return;
	side->hung = true;
	bridge_touch(side->bridge);
}

static void on_event(void *owner, uint32_t events)
{
	struct bridge_side *side = owner;
	struct bridge *bridge = side->bridge;
	const bool is_sealed = side == &bridge->sealed;
	const bool lost = (events & EPOLLERR) != 0;
	enum bridge_end end = BRIDGE_DONE;

	if (lost || side->watch.mask == 0)
		note_hang_up(side, events);
	if (lost || (events & EPOLLOUT) != 0)
		bridge_side_flush(side);
	if ((lost || (events & EPOLLIN) != 0) && wants_read(side, is_sealed ? &bridge->plain : &bridge->sealed))
		end = is_sealed ? bridge_read_sealed(bridge) : bridge_read_plain(bridge);
	if (end != BRIDGE_DONE)
		bridge_fail(bridge, end);
	bridge_settle(bridge);
}

/* Both are read from the beginning. */
static enum ps_err side_init(struct bridge *bridge, struct bridge_side *side, struct watches *watches, int fd)
{
	side->bridge = bridge;
	side->fd = fd;
	side->appetite = BRIDGE_READ_MIN;
	watch_begin(&side->watch, watches, fd, on_event, side);
	return watch_set(&side->watch, EPOLLIN);
}

static enum ps_err refuse(const struct bridge_config *config)
{
	(void)close(config->sealed_fd);
	(void)close(config->plain_fd);
	tls_stream_free(config->stream);
	return PS_E_NOMEM;
}

enum ps_err bridge_new(const struct bridge_config *config, struct bridge **bridge)
{
	struct bridge *made = calloc(1, sizeof(*made));
	/* Should this process die, the kernel's close must not look like a clean end; not to the sealed peer either: there
	 * are TLS clients that take a bare FIN for one. */
	net_arm_reset(config->plain_fd);
	net_arm_reset(config->sealed_fd);
	if (made == NULL)
		return refuse(config);
	made->stream = config->stream;
	made->scratch = config->scratch;
	made->linger = config->linger;
	made->last_words = ALERT_INTERNAL_ERROR;
	made->idle_ms = config->idle_ms;
	made->last_ms = uv_now(config->loop);
	made->report = (struct bridge_report){ .end = BRIDGE_DONE, .peer_alert = ALERT_NONE, .sent_alert = ALERT_NONE };

	(void)uv_timer_init(config->loop, &made->timer); /* cannot fail */
	made->timer.data = made;
	const enum ps_err sealed_err = side_init(made, &made->sealed, config->watches, config->sealed_fd);
	const enum ps_err plain_err = side_init(made, &made->plain, config->watches, config->plain_fd);
	if (sealed_err != PS_OK || plain_err != PS_OK) {
		made->sealed.broken = true; /* nothing is to be told */
		bridge_blame(made, BRIDGE_NO_MEMORY);
		bridge_finish(made); /* on_end is not set yet */
		return sealed_err != PS_OK ? sealed_err : plain_err;
	}
	made->on_end = config->on_end;
	made->owner = config->owner;
	bridge_settle(made);
	*bridge = made;
	return PS_OK;
}

void bridge_abort(struct bridge *bridge, enum alert alert)
{
	bridge->last_words = alert;
	bridge_cut(bridge, BRIDGE_ABORTED);
}

size_t bridge_buffered(const struct bridge *bridge)
{
	return bridge->partial.cap + bridge->sealed.pending.cap + bridge->plain.pending.cap;
}
