/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch -- waits for the descriptors of connections, on a libuv loop, with no more system calls than there are changes.
 *
 * uv_poll asks the kernel three times about a descriptor before it waits for it, and takes it out and puts it back for
 * each other mask: a dozen calls for a connection that lives for one request. Here all of a loop's descriptors are in one
 * epoll set, level-triggered; a change is one call. Each turn takes one batch of events, so that timers and what else waits
 * in the loop have their turn.
 *
 * Who serves many runs the loop by watches_run: it waits in this set, in which libuv's own is one descriptor. Under uv_run
 * it is the other way round, which does the same; but the kernel then takes a long way to begin each watch.
 *
 * A watch is called with what it waits for and is so: EPOLLIN, EPOLLOUT, EPOLLRDHUP. Beside that, EPOLLERR and EPOLLHUP
 * are always told, also with a mask of 0, and with either of them all of the mask: whoever reads or writes then meets it.
 * They are told again and again: who does neither must stop watching, or the loop never sleeps.
 *
 * Once watch_stop or watch_close returns, no call comes, not even for what the kernel had told already; so it may be called
 * for any watch from within any call, and the memory may go.
 *
 * Owns:   the epoll set. The descriptors stay their owners', and are never read from or written to.
 * Never:  allocates for a watch, blocks, or calls back from within a function of this header.
 */
#ifndef PORTSEAL_WATCH_H
#define PORTSEAL_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <uv.h>

#include "portseal/err.h"

struct watches; /* all of one loop */

/* The loop goes on as long as something is watched. PS_E_LIMIT: no descriptor is left. PS_E_NOMEM. */
enum ps_err watches_new(uv_loop_t *loop, struct watches **watches) PS_MUST_CHECK;

/* As uv_run does with UV_RUN_DEFAULT: until nothing is left to wait for, or watches_stop (uv_stop does nothing) was called. */
void watches_run(struct watches *watches);
void watches_stop(struct watches *watches);

/* Nothing is watched any more. Runs the loop no further than libuv needs: the memory goes with its next callbacks. */
void watches_free(struct watches *watches);

/* Lies in what it serves. The fields are for watch.c; `mask` may be read. */
struct watch {
	struct watches *watches;
	void (*on_event)(void *owner, uint32_t events);
	void *owner;
	int fd;
	uint32_t mask; /* 0 also while it is not watched */
	bool watched;  /* the kernel knows of it */
};

/* Only says what is to be watched; nothing is waited for yet. The descriptor does not block. */
void watch_begin(struct watch *watch, struct watches *watches, int fd, void (*on_event)(void *owner, uint32_t events),
                 void *owner);

/* Waits for exactly this from now on: one system call, none if nothing changes. Fails only when it was not watched, and then
 * it still is not. PS_E_NOMEM; PS_E_LIMIT: fs.epoll.max_user_watches; PS_E_IO: the descriptor cannot be waited for. */
enum ps_err watch_set(struct watch *watch, uint32_t mask) PS_MUST_CHECK;

/* One system call, none if it is not watched. watch_set may follow. */
void watch_stop(struct watch *watch);

/* Stops and closes the descriptor, in one system call. Only for one that nobody else has, by dup, fork or SCM_RIGHTS: the
 * kernel takes out of the set what nobody has any more, and would go on telling of what somebody has. */
void watch_close(struct watch *watch);

#endif
