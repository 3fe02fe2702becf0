/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_fd -- waits on a loop until a descriptor that is not ours alone, such as stdin, can be read or written. It stays
 * as it is: libuv itself would make it non-blocking, for everybody who shares it.
 *
 * Regular files are always ready; there is nothing to wait for.
 */
#ifndef PORTSEAL_SENDER_WATCH_FD_H
#define PORTSEAL_SENDER_WATCH_FD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "portseal/err.h"

struct watch_fd {
	uv_poll_t poll;
	int epoll_fd; /* -1: it is always ready */
	int fd;
	uint32_t events;
	void (*on_ready)(void *owner);
	void *owner;
};

enum watch_events { WATCH_READABLE, WATCH_WRITABLE };

/* Borrows the descriptor. PS_E_IO leaves errno; then there is nothing to close. */
enum ps_err watch_fd_init(struct watch_fd *watch, uv_loop_t *loop, int fd, enum watch_events events,
                          void (*on_ready)(void *owner), void *owner) PS_MUST_CHECK;

/* True if a read or write would not block now. */
bool watch_fd_is_ready(const struct watch_fd *watch);

/* on_ready follows once. */
void watch_fd_start(struct watch_fd *watch);

/* The storage must live until libuv's next callbacks. */
void watch_fd_close(struct watch_fd *watch);

#endif
