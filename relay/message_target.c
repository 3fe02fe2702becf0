/* SPDX-License-Identifier: Apache-2.0 */
#include "message_target.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "portseal/buf.h"
#include "portseal/net.h"
#include "problem.h"

#define SETTLE_MAX_MS 32 /* between two looks whether all was acknowledged */

enum target_state {
	TARGET_CONNECTING,
	TARGET_WRITING,   /* payload comes */
	TARGET_SETTLING,  /* all written; is all acknowledged? */
	TARGET_DELIVERED, /* it is */
	TARGET_FAILED,    /* on_failed was told, or will be */
};

struct message_target {
	struct message_target_config config;
	enum target_state state;
	struct connector *connector;
	int fd;
	bool is_tcp;
	bool finished;  /* the payload is whole */
	bool reading;   /* on_readable is waited for */
	bool has_bytes; /* of the reply, unread */
	struct watch watch;
	uv_timer_t settle;
	uv_timer_t idle; /* of a reply that ends by silence */
	int open_handles;
	struct reply_end reply;
	struct buf kept;
	uint64_t taken;
	uint64_t settle_ms;
	const char *reason; /* of the failure that is to be told */
	char *detail;
};

static void on_handle_closed(uv_handle_t *handle)
{
	struct message_target *target = handle->data;

	if (--target->open_handles > 0)
		return;
	buf_release(&target->kept);
	free(target->detail);
	free(target);
}

static void on_told(uv_timer_t *timer)
{
	struct message_target *target = timer->data;

	target->config.events->on_failed(target->config.owner, target->reason, target->detail);
}

/* Told from the loop: it may be found out within a call of the owner's. */
static void fail(struct message_target *target, const char *reason, const char *detail)
{
	if (target->state == TARGET_FAILED)
		return;
	target->state = TARGET_FAILED;
	target->reason = reason;
	target->detail = detail != NULL ? strdup(detail) : NULL;
	watch_stop(&target->watch);
	(void)uv_timer_stop(&target->idle);
	(void)uv_timer_start(&target->settle, on_told, 0, 0);
}

static void wait_for_events(struct message_target *target)
{
	uint32_t mask = 0;

	if (target->state == TARGET_FAILED || target->state == TARGET_CONNECTING)
		return;
	if (target->state == TARGET_WRITING && buf_len(&target->kept) > 0)
		mask |= EPOLLOUT;
	if (target->reading)
		mask |= EPOLLIN;
	if (mask == 0)
		watch_stop(&target->watch);
	else if (watch_set(&target->watch, mask) != PS_OK)
		fail(target, "no-memory", NULL);
}

static void fail_broken(struct message_target *target, int number)
{
	if (number == ETIMEDOUT)
		fail(target, "target-timeout", "the application's host does not answer any more");
	else
		fail(target, "target-reset", "the application broke the connection off");
}

/* Linux counts what the other host has not acknowledged. On a unix socket, what was written is there. */
static bool all_is_acknowledged(struct message_target *target, int *number)
{
	socklen_t len = sizeof(*number);
	int left = 0;

	*number = 0;
	if (getsockopt(target->fd, SOL_SOCKET, SO_ERROR, number, &len) != 0 || *number != 0)
		return false;
	return !target->is_tcp || (ioctl(target->fd, SIOCOUTQ, &left) == 0 && left == 0);
}

static void on_settle(uv_timer_t *timer)
{
	struct message_target *target = timer->data;
	int number;

	(void)uv_timer_stop(timer); /* it may be somebody else who looks */
	if (all_is_acknowledged(target, &number)) {
		target->state = TARGET_DELIVERED;
		target->config.events->on_delivered(target->config.owner);
	} else if (number != 0) {
		fail_broken(target, number);
	} else {
		(void)uv_timer_start(timer, on_settle, target->settle_ms, 0);
		target->settle_ms = target->settle_ms * 2 < SETTLE_MAX_MS ? target->settle_ms * 2 : SETTLE_MAX_MS;
	}
}

static void begin_to_settle(struct message_target *target)
{
	target->state = TARGET_SETTLING;
	if (reply_rule_half_closes(target->config.reply) && shutdown(target->fd, SHUT_WR) != 0 && errno == ENOTCONN) {
		fail_broken(target, 0);
		return;
	}
	target->settle_ms = 1;
	(void)uv_timer_start(&target->settle, on_settle, 0, 0);
}

/* Returns how many bytes the socket took; -1: it is broken. */
static ssize_t write_some(struct message_target *target, const uint8_t *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		const ssize_t n = send(target->fd, bytes + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -1;
		if (n < 0)
			break;
		done += (size_t)n;
	}
	target->taken += done;
	return (ssize_t)done;
}

static void on_writable(struct message_target *target)
{
	const ssize_t n = write_some(target, buf_front(&target->kept), buf_len(&target->kept));

	if (n < 0) {
		fail_broken(target, errno);
		return;
	}
	buf_consume(&target->kept, (size_t)n);
	if (buf_len(&target->kept) == 0)
		buf_release(&target->kept);
	if (buf_len(&target->kept) == 0 && target->finished)
		begin_to_settle(target);
	if (n > 0 && target->state != TARGET_FAILED)
		target->config.events->on_taken(target->config.owner, (size_t)n);
}

/* Something came: bytes, the end, or a failure. */
static void look(struct message_target *target)
{
	uint8_t byte;
	const ssize_t n = recv(target->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		fail_broken(target, errno);
		return;
	}
	target->reading = false;
	if (n == 0)
		reply_end_close(&target->reply);
	target->has_bytes = n > 0;
	/* An application that answers has often acknowledged with the same packet. */
	if (target->state == TARGET_SETTLING)
		on_settle(&target->settle);
	if (target->state != TARGET_FAILED && target->config.reply.kind != REPLY_NONE)
		target->config.events->on_readable(target->config.owner);
}

static void on_event(void *owner, uint32_t events)
{
	struct message_target *target = owner;

	if ((events & EPOLLOUT) != 0 && target->state == TARGET_WRITING && buf_len(&target->kept) > 0)
		on_writable(target);
	if ((events & EPOLLIN) != 0 && target->reading && target->state != TARGET_FAILED)
		look(target);
	wait_for_events(target);
}

static void on_connected(void *owner, enum connect_result result, int fd, const char *peer,
                         const struct ps_cause *cause)
{
	struct message_target *target = owner;

	(void)peer;
	target->connector = NULL;
	if (result != CONNECT_OK) {
		fail(target, problem_of_connect(result).reason, cause->text);
		return;
	}
	target->fd = fd;
	net_arm_reset(fd);
	watch_begin(&target->watch, target->config.watches, fd, on_event, target);
	target->state = TARGET_WRITING;
	target->reading = true; /* an application that goes is heard of while nothing is written */
	wait_for_events(target);
	if (target->state == TARGET_FAILED)
		return;
	target->config.events->on_connected(target->config.owner);
}

static void init_timer(struct message_target *target, uv_timer_t *timer)
{
	(void)uv_timer_init(target->config.loop, timer);
	timer->data = target;
	target->open_handles++;
}

enum ps_err message_target_new(const struct message_target_config *config, struct message_target **target)
{
	struct message_target *made = calloc(1, sizeof(*made));
	const struct connector_config connector = {
		.loop = config->loop,
		.watches = config->watches,
		.address = config->address,
		.timeout_ms = config->connect_ms,
		.on_done = on_connected,
		.owner = made,
	};

	if (made == NULL)
		return PS_E_NOMEM;
	made->config = *config;
	made->config.address = NULL;
	made->fd = -1;
	made->is_tcp = config->address->kind == ADDRESS_TCP;
	made->kept = BUF_INIT;
	reply_end_init(&made->reply, config->reply);
	const enum ps_err err = connector_new(&connector, &made->connector);
	if (err != PS_OK) {
		free(made);
		return err;
	}
	init_timer(made, &made->settle);
	init_timer(made, &made->idle);
	*target = made;
	return PS_OK;
}

size_t message_target_write(struct message_target *target, const uint8_t *bytes, size_t len)
{
	size_t taken = 0;

	if (target->state != TARGET_WRITING)
		return 0;
	if (buf_len(&target->kept) == 0) {
		const ssize_t n = write_some(target, bytes, len);
		/* A broken socket shows at the next look, from the loop. */
		taken = n > 0 ? (size_t)n : 0;
	}
	if (taken < len && buf_append(&target->kept, bytes + taken, len - taken) != PS_OK)
		fail(target, "no-memory", NULL);
	wait_for_events(target);
	return taken;
}

void message_target_finish(struct message_target *target)
{
	target->finished = true;
	if (target->state == TARGET_WRITING && buf_len(&target->kept) == 0)
		begin_to_settle(target);
	wait_for_events(target);
}

static void on_silence(uv_timer_t *timer)
{
	struct message_target *target = timer->data;

	reply_end_silence(&target->reply);
	target->config.events->on_readable(target->config.owner);
}

static size_t take_reply(struct message_target *target, const uint8_t *bytes, size_t n)
{
	const size_t of_reply = reply_end_take(&target->reply, bytes, n);
	const uint32_t patience = reply_end_patience(&target->reply);

	if (patience > 0)
		(void)uv_timer_start(&target->idle, on_silence, patience, 0);
	else
		(void)uv_timer_stop(&target->idle);
	return of_reply;
}

size_t message_target_read(struct message_target *target, uint8_t *room, size_t max, bool *ended)
{
	ssize_t n = -1;

	*ended = false;
	if (target->state == TARGET_FAILED || target->fd < 0)
		return 0;
	if (!target->reply.ended) {
		do
			n = recv(target->fd, room, max, MSG_DONTWAIT);
		while (n < 0 && errno == EINTR);
		if (n < 0 && errno != EAGAIN) {
			fail_broken(target, errno);
			return 0;
		}
		if (n == 0)
			reply_end_close(&target->reply);
	}
	const size_t len = n > 0 ? take_reply(target, room, (size_t)n) : 0;
	target->has_bytes = false;
	*ended = target->reply.ended;
	target->reading = len == 0 && !*ended;
	wait_for_events(target);
	return len;
}

bool message_target_has_reply(const struct message_target *target)
{
	return target->has_bytes;
}

bool message_target_is_hungry(const struct message_target *target)
{
	return buf_len(&target->kept) == 0;
}

uint64_t message_target_taken(const struct message_target *target)
{
	return target->taken;
}

void message_target_end(struct message_target *target, bool clean)
{
	if (target == NULL)
		return;
	connector_cancel(target->connector);
	target->connector = NULL;
	uv_close((uv_handle_t *)&target->settle, on_handle_closed);
	uv_close((uv_handle_t *)&target->idle, on_handle_closed);
	if (target->fd >= 0 && clean && target->state == TARGET_DELIVERED) {
		watch_stop(&target->watch);
		linger_close(target->config.linger, target->fd);
	} else if (target->fd >= 0) {
		watch_close(&target->watch); /* armed: a reset */
	}
	target->fd = -1;
	target->state = TARGET_FAILED;
}
