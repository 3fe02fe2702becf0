/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/linger.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "portseal/net.h"

#define READ_SIZE 16384 /* discarded in one turn of the loop */

/* One socket that waits for its peer to close. */
struct lingering {
	uv_poll_t poll;
	struct linger_set *linger;
	struct lingering *previous, *next;
	int fd;
	uint64_t deadline_ms; /* on the loop's clock */
	size_t left;          /* bytes it may still send us */
};

/* All wait equally long, so the list is in the order of the deadlines. */
struct linger_set {
	uv_loop_t *loop;
	uv_timer_t timer; /* runs while the list is not empty, for its first */
	struct lingering *first, *last;
	size_t count;
	size_t n_handles; /* libuv's, also those that are closing: they hold the memory */
	bool freed;
};

static void handle_gone(struct linger_set *linger)
{
	if (--linger->n_handles == 0 && linger->freed)
		free(linger);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct lingering *one = handle->data;
	struct linger_set *linger = one->linger;

	free(one);
	handle_gone(linger);
}

static void on_timer_closed(uv_handle_t *handle)
{
	handle_gone(handle->data);
}

static void take_out(struct lingering *one)
{
	struct linger_set *linger = one->linger;

	*(one->previous == NULL ? &linger->first : &one->previous->next) = one->next;
	*(one->next == NULL ? &linger->last : &one->next->previous) = one->previous;
	linger->count--;
}

static void finish(struct lingering *one)
{
	take_out(one);
	(void)uv_poll_stop(&one->poll);
	(void)close(one->fd);
	uv_close((uv_handle_t *)&one->poll, on_poll_closed);
}

static void on_timer(uv_timer_t *timer);

static void arm(struct linger_set *linger)
{
	uint64_t now = uv_now(linger->loop);
	uint64_t deadline;

	if (linger->first == NULL) {
		(void)uv_timer_stop(&linger->timer);
		return;
	}
	deadline = linger->first->deadline_ms;
	(void)uv_timer_start(&linger->timer, on_timer, deadline > now ? deadline - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct linger_set *linger = timer->data;

	while (linger->first != NULL && linger->first->deadline_ms <= uv_now(linger->loop))
		finish(linger->first);
	arm(linger);
}

/* Reads and forgets one share. True when there is nothing left to wait for. */
static bool discard(int fd, size_t *left)
{
	uint8_t waste[READ_SIZE];
	ssize_t n = recv(fd, waste, sizeof(waste), MSG_DONTWAIT);

	if (n < 0)
		return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
	if (n == 0 || (size_t)n >= *left)
		return true;
	*left -= (size_t)n;
	return false;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct lingering *one = poll->data;
	struct linger_set *linger = one->linger;

	(void)events;
	if (status == 0 && !discard(one->fd, &one->left))
		return;
	finish(one);
	arm(linger);
}

/* False: nothing of the loop's holds the socket. */
static bool watch(struct linger_set *linger, int fd)
{
	struct lingering *one = calloc(1, sizeof(*one));

	if (one == NULL)
		return false;
	if (uv_poll_init(linger->loop, &one->poll, fd) != 0) {
		free(one);
		return false;
	}
	one->poll.data = one;
	one->linger = linger;
	one->fd = fd;
	one->left = LINGER_BYTES;
	uv_update_time(linger->loop);
	one->deadline_ms = uv_now(linger->loop) + LINGER_MS;
	one->previous = linger->last;
	*(linger->last == NULL ? &linger->first : &linger->last->next) = one;
	linger->last = one;
	linger->count++;
	linger->n_handles++;
	if (uv_poll_start(&one->poll, UV_READABLE, on_readable) != 0)
		finish(one);
	return true;
}

enum ps_err linger_new(uv_loop_t *loop, struct linger_set **linger)
{
	struct linger_set *made = calloc(1, sizeof(*made));

	if (made == NULL)
		return PS_E_NOMEM;
	if (uv_timer_init(loop, &made->timer) != 0) {
		free(made);
		return PS_E_BUG;
	}
	made->loop = loop;
	made->timer.data = made;
	made->n_handles = 1;
	*linger = made;
	return PS_OK;
}

void linger_close(struct linger_set *linger, int fd)
{
	net_disarm_reset(fd); /* whoever carried it may have armed one, against dying with it */
	if (linger->count >= LINGER_MAX || shutdown(fd, SHUT_WR) != 0 || !watch(linger, fd)) {
		(void)close(fd);
		return;
	}
	arm(linger);
}

size_t linger_count(const struct linger_set *linger)
{
	return linger->count;
}

void linger_free(struct linger_set *linger)
{
	if (linger == NULL)
		return;
	while (linger->first != NULL)
		finish(linger->first);
	linger->freed = true;
	uv_close((uv_handle_t *)&linger->timer, on_timer_closed);
}
