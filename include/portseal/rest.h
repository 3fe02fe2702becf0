/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rest -- gives a role's free memory back to the system once it has had nothing to do for a while.
 *
 * A handshake takes tens of kilobytes for milliseconds. After a crowd of them the allocator would keep a process at the
 * size of the crowd, as what lives on lies in between.
 *
 * Owns:   one timer, which runs only after something was stirred.
 */
#ifndef PORTSEAL_REST_H
#define PORTSEAL_REST_H

#include <stdbool.h>
#include <uv.h>

#define REST_AFTER_MS 500

/* Caller's storage, until the loop has run the timer's close. */
struct rest {
	uv_timer_t timer;
	bool stirred; /* since the timer began */
};

void rest_init(struct rest *rest, uv_loop_t *loop);

/* Something was done. Costs next to nothing. Harmless once it is closing. */
void rest_stir(struct rest *rest);

/* Closes the timer with the next turns of the loop. Harmless when it is closing already. */
void rest_end(struct rest *rest);

#endif
