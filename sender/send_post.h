/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send_post -- delivers one payload as a message over HTTP/2: from a descriptor to the relay, its reply to another one, with
 * flat memory.
 *
 * Never:  changes the caller's descriptors, or closes them.
 */
#ifndef PORTSEAL_SENDER_SEND_POST_H
#define PORTSEAL_SENDER_SEND_POST_H

#include "dial.h"
#include "post.h"

struct send_post_config {
	const struct dial_result *dial; /* its socket is taken */
	struct outcome_names names;
	uint64_t timeout_ms;
	int input_fd;
	const char *input_name;
	int output_fd;
	const char *key; /* NULL: none */
};

void send_post_run(const struct send_post_config *config, struct post_result *result);

#endif
