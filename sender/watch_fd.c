/* SPDX-License-Identifier: Apache-2.0 */
#include "watch_fd.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch_fd *watch = poll->data;

	(void)status;
	(void)events;
	(void)uv_poll_stop(poll);
	watch->on_ready(watch->owner);
}

enum ps_err watch_fd_init(struct watch_fd *watch, uv_loop_t *loop, int fd, enum watch_events events,
                          void (*on_ready)(void *owner), void *owner)
{
	struct epoll_event event = { .events = 0 };
	int epoll_fd;

	*watch = (struct watch_fd){
		.epoll_fd = -1,
		.fd = fd,
		.events = EPOLLONESHOT | (events == WATCH_READABLE ? EPOLLIN : EPOLLOUT),
		.on_ready = on_ready,
		.owner = owner,
	};
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return PS_E_IO;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
		close(epoll_fd);
		return errno == EPERM ? PS_OK : PS_E_IO; /* a regular file */
	}
	if (uv_poll_init(loop, &watch->poll, epoll_fd) != 0) {
		close(epoll_fd);
		errno = ENOMEM;
		return PS_E_IO;
	}
	watch->poll.data = watch;
	watch->epoll_fd = epoll_fd;
	return PS_OK;
}

bool watch_fd_is_ready(const struct watch_fd *watch)
{
	struct pollfd polled = { .fd = watch->fd, .events = (watch->events & EPOLLIN) != 0 ? POLLIN : POLLOUT };

	return watch->epoll_fd < 0 || poll(&polled, 1, 0) != 0;
}

void watch_fd_start(struct watch_fd *watch)
{
	struct epoll_event event = { .events = watch->events };

	assert(watch->epoll_fd >= 0);
	(void)epoll_ctl(watch->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
	(void)uv_poll_start(&watch->poll, UV_READABLE, on_poll);
}

static void on_closed(uv_handle_t *handle)
{
	(void)handle;
}

void watch_fd_close(struct watch_fd *watch)
{
	if (watch->epoll_fd < 0)
		return;
	uv_close((uv_handle_t *)&watch->poll, on_closed);
	close(watch->epoll_fd);
	watch->epoll_fd = -1;
}
