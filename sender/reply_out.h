/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply_out -- writes replies to a descriptor that may be slow and may be shared, without blocking the loop: what it does
 * not take is kept, and the owner is told as it goes.
 *
 * Owns:   what is kept; the owner's flow control bounds it.
 * Never:  changes the descriptor's flags.
 */
#ifndef PORTSEAL_SENDER_REPLY_OUT_H
#define PORTSEAL_SENDER_REPLY_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "portseal/buf.h"
#include "portseal/err.h"
#include "watch_fd.h"

struct reply_out {
	struct watch_fd watch;
	int fd;
	int kind;
	int failed; /* errno of a write; nothing more is written, all is dropped */
	struct buf kept;
	/* So many bytes more are done with. May be called from within reply_out_add. */
	void (*on_taken)(void *owner, size_t len);
	void *owner;
};

enum ps_err reply_out_init(struct reply_out *out, uv_loop_t *loop, int fd, void (*on_taken)(void *owner, size_t len),
                           void *owner) PS_MUST_CHECK;
enum ps_err reply_out_add(struct reply_out *out, const void *bytes, size_t len) PS_MUST_CHECK;
/* All that was added is written (or dropped, after a failure). */
bool reply_out_is_done(const struct reply_out *out);
/* The storage must live until libuv's next callbacks. */
void reply_out_close(struct reply_out *out);

#endif
