/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send_pump -- carries a payload from a descriptor to the relay and the reply to another one, both ways at once and with
 * flat memory, until both have ended.
 *
 * The end of the input becomes close_notify and the other direction goes on, until the relay's close_notify. Neither
 * direction waits for the other, so an application may reply while it is still being written to. What was received is
 * written out before a failure is told.
 *
 * Never:  blocks but in poll(2) and in writes to a regular file; makes the caller's descriptors non-blocking, as others may
 *         share them; closes them.
 */
#ifndef PORTSEAL_SENDER_SEND_PUMP_H
#define PORTSEAL_SENDER_SEND_PUMP_H

#include <stdint.h>

#include "outcome.h"
#include "portseal/tls_stream.h"

struct send_pump_config {
	int relay_fd; /* connected, non-blocking */
	struct tls_stream *stream;
	int input_fd;
	int output_fd;
	const char *input_name; /* for messages: the file's name or "stdin" */
	uint64_t timeout_ms;    /* without any progress, while it is the relay that is waited for */
	struct outcome_names names;
};

struct send_pump_report {
	struct outcome outcome;
	uint64_t sent;     /* payload bytes given to the relay's connection */
	uint64_t received; /* reply bytes written out */
};

void send_pump_run(const struct send_pump_config *config, struct send_pump_report *report);

#endif
