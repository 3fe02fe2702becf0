/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send_many -- delivers every line, or every length-prefixed piece, of an input as a message of its own, several at once over
 * one connection; results and replies come in the order of the input.
 *
 * Owns:   what was read and not delivered. At most so many messages are under way, each held whole.
 * Never:  changes the caller's descriptors, or closes them.
 */
#ifndef PORTSEAL_SENDER_SEND_MANY_H
#define PORTSEAL_SENDER_SEND_MANY_H

#include <stdbool.h>

#include "dial.h"
#include "post.h"

#define SEND_MANY_IN_FLIGHT_MAX 1000
#define SEND_MANY_LEN_MAX ((size_t)64 * 1024 * 1024) /* of one message, and of one reply */

enum send_many_framing {
	SEND_MANY_LINES,    /* each with its newline; the last may have none. Replies follow each other as they are */
	SEND_MANY_PREFIXED, /* 4 bytes of length, big-endian, before each message and before each reply; a message without a
	                       reply gets a reply of length 0 */
};

struct send_many_config {
	enum send_many_framing framing;
	struct outcome_names names;
	uint64_t timeout_ms;
	unsigned in_flight;
	bool json;     /* results on stderr as JSON */
	bool progress; /* a line on stderr, for a person */
	int input_fd;
	const char *input_name;
	int output_fd;
};

struct send_many;

enum ps_err send_many_new(const struct send_many_config *config, struct send_many **many) PS_MUST_CHECK;

/* Goes on over this connection, whose socket is taken. True: it ended in good order before the input did: call it again with
 * another one. */
bool send_many_run(struct send_many *many, const struct dial_result *dial);

/* The worst of all; with its words. Prints the sum on stderr. */
void send_many_finish(struct send_many *many, struct outcome *outcome);

#endif
