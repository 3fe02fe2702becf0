/* SPDX-License-Identifier: Apache-2.0 */
/*
 * many_input -- an input cut into messages: lines, or pieces behind their length (4 bytes, big-endian).
 *
 * Owns:   what was read and not taken: at most one message and one read more.
 * Never:  changes the descriptor.
 */
#ifndef PORTSEAL_SENDER_MANY_INPUT_H
#define PORTSEAL_SENDER_MANY_INPUT_H

#include <stdbool.h>
#include <uv.h>

#include "portseal/buf.h"
#include "portseal/err.h"
#include "watch_fd.h"

enum many_input_fault {
	MANY_INPUT_TOO_LONG = -1,  /* a message of more than SEND_MANY_LEN_MAX */
	MANY_INPUT_CUT = -2,       /* it ended within a message */
	MANY_INPUT_NO_MEMORY = -3, /* none left */
};

struct many_input {
	struct watch_fd watch;
	int fd;
	bool lines;
	bool ended;
	int error;     /* errno, or an enum many_input_fault: nothing follows */
	size_t looked; /* bytes of `read` in which no newline is */
	struct buf read;
};

/* on_ready: many_input_take may find another one. */
enum ps_err many_input_init(struct many_input *input, uv_loop_t *loop, int fd, bool lines,
                            void (*on_ready)(void *owner), void *owner) PS_MUST_CHECK;

/* The next message, into the empty `message`. False: none now; on_ready follows unless it is over. */
bool many_input_take(struct many_input *input, struct buf *message);

/* Nothing follows: its end was reached, or it failed. */
bool many_input_is_over(const struct many_input *input);

/* What failed, for a person. */
const char *many_input_error(const struct many_input *input);

void many_input_close(struct many_input *input);

#endif
