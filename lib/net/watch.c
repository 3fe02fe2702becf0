/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/watch.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH_MAX 256

struct watches {
	uv_poll_t poll; /* of the set, under uv_run; keeps the loop running while something is in it */
	int set_fd;
	size_t n_watched;
	struct epoll_event batch[BATCH_MAX];
	size_t n_fetched; /* of the batch; 0 between two batches */
	size_t n_told;
	bool stopped;
};

static void tell(struct watch *watch, uint32_t events)
{
	events &= watch->mask | EPOLLERR | EPOLLHUP; /* the mask may have changed since the kernel was asked */
	if (events == 0)
		return;
	if ((events & (EPOLLERR | EPOLLHUP)) != 0)
		events |= watch->mask;
	watch->on_event(watch->owner, events);
}

/* Under watches_run: one of the loop's own descriptors has something. */
static bool takes_loop(struct watches *watches)
{
	for (size_t i = 0; i < watches->n_fetched; i++) {
		if (watches->batch[i].data.ptr != watches)
			continue;
		watches->batch[i].data.ptr = NULL;
		return true;
	}
	return false;
}

static void take_batch(struct watches *watches, int timeout_ms)
{
	const int n = epoll_wait(watches->set_fd, watches->batch, BATCH_MAX, timeout_ms);

	uv_update_time(watches->poll.loop);
	watches->n_fetched = n > 0 ? (size_t)n : 0;
	watches->n_told = 0;
	/* Its channels come first: what was said there goes for the bytes that came with it. */
	if (takes_loop(watches))
		(void)uv_run(watches->poll.loop, UV_RUN_NOWAIT);
	while (watches->n_told < watches->n_fetched) {
		const struct epoll_event *event = &watches->batch[watches->n_told++];
		if (event->data.ptr != NULL)
			tell(event->data.ptr, event->events);
	}
	watches->n_fetched = 0;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	take_batch(poll->data, 0);
}

/* What was fetched for it is not told. */
static void blank(struct watch *watch)
{
	struct watches *watches = watch->watches;

	for (size_t i = watches->n_told; i < watches->n_fetched; i++)
		if (watches->batch[i].data.ptr == watch)
			watches->batch[i].data.ptr = NULL;
}

static void leave(struct watch *watch)
{
	struct watches *watches = watch->watches;

	blank(watch);
	watch->watched = false;
	watch->mask = 0;
	if (--watches->n_watched == 0)
		uv_unref((uv_handle_t *)&watches->poll);
}

static void enter(struct watch *watch)
{
	struct watches *watches = watch->watches;

	watch->watched = true;
	if (watches->n_watched++ == 0)
		uv_ref((uv_handle_t *)&watches->poll);
}

static enum ps_err category(int number)
{
	switch (number) {
	case ENOMEM:
		return PS_E_NOMEM;
	case ENOSPC:
	case EMFILE:
	case ENFILE:
		return PS_E_LIMIT;
	default:
		return PS_E_IO;
	}
}

void watch_begin(struct watch *watch, struct watches *watches, int fd, void (*on_event)(void *owner, uint32_t events),
                 void *owner)
{
	*watch = (struct watch){ .watches = watches, .fd = fd, .on_event = on_event, .owner = owner };
}

enum ps_err watch_set(struct watch *watch, uint32_t mask)
{
	struct epoll_event event = { .events = mask, .data.ptr = watch };

	if (watch->watched && watch->mask == mask)
		return PS_OK;
	if (epoll_ctl(watch->watches->set_fd, watch->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, watch->fd, &event) != 0)
		return category(errno);
	if (!watch->watched)
		enter(watch);
	watch->mask = mask;
	return PS_OK;
}

void watch_stop(struct watch *watch)
{
	if (!watch->watched)
		return;
	(void)epoll_ctl(watch->watches->set_fd, EPOLL_CTL_DEL, watch->fd, NULL); /* fails for none that is in the set */
	leave(watch);
}

void watch_close(struct watch *watch)
{
	if (watch->watched)
		leave(watch);
	(void)close(watch->fd);
	watch->fd = -1;
}

/* How long the loop needs not run while none of its descriptors has something; -1: for ever. */
static int loop_timeout(const uv_loop_t *loop)
{
#if UV_VERSION_HEX < 0x012d00
	/* TRAP: what is to be waited for is said to the kernel when the loop runs; only later releases tell that it must. */
	if (loop->watcher_queue[0] != (const void *)&loop->watcher_queue)
		return 0;
#endif
	return uv_backend_timeout(loop);
}

void watches_run(struct watches *watches)
{
	uv_loop_t *loop = watches->poll.loop;
	const int loop_fd = uv_backend_fd(loop);
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = watches };

	/* One of the two waits for the other, and both calls fail for no descriptor that is a set. */
	(void)uv_poll_stop(&watches->poll);
	(void)epoll_ctl(watches->set_fd, EPOLL_CTL_ADD, loop_fd, &event);
	for (;;) {
		if (loop_timeout(loop) == 0)
			(void)uv_run(loop, UV_RUN_NOWAIT);
		const bool is_alive = uv_loop_alive(loop) != 0;
		if (watches->stopped || (!is_alive && watches->n_watched == 0))
			break;
		take_batch(watches, is_alive ? loop_timeout(loop) : -1);
	}
	(void)epoll_ctl(watches->set_fd, EPOLL_CTL_DEL, loop_fd, NULL);
	(void)uv_poll_start(&watches->poll, UV_READABLE, on_ready);
}

void watches_stop(struct watches *watches)
{
	watches->stopped = true;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

enum ps_err watches_new(uv_loop_t *loop, struct watches **watches)
{
	struct watches *made = calloc(1, sizeof(*made));

	if (made == NULL)
		return PS_E_NOMEM;
	made->poll.data = made;
	made->set_fd = epoll_create1(EPOLL_CLOEXEC);
	if (made->set_fd < 0 || uv_poll_init(loop, &made->poll, made->set_fd) != 0) {
		const enum ps_err err = made->set_fd < 0 ? category(errno) : PS_E_NOMEM;
		if (made->set_fd >= 0)
			(void)close(made->set_fd);
		free(made);
		return err;
	}
	(void)uv_poll_start(&made->poll, UV_READABLE, on_ready); /* cannot fail here */
	uv_unref((uv_handle_t *)&made->poll);
	*watches = made;
	return PS_OK;
}

void watches_free(struct watches *watches)
{
	if (watches == NULL)
		return;
	assert(watches->n_watched == 0);
	uv_close((uv_handle_t *)&watches->poll, on_closed);
	(void)close(watches->set_fd);
}
