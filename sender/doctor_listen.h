/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_listen -- ends our direction of a fresh connection without a byte of payload, and hears what comes back.
 *
 * In TLS 1.3 a refused client has finished its handshake before it is judged: what the relay thinks of it is heard only
 * now. An application that reads the end of file usually ends too, which shows that it is there.
 */
#ifndef PORTSEAL_SENDER_DOCTOR_LISTEN_H
#define PORTSEAL_SENDER_DOCTOR_LISTEN_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"
#include "portseal/suite.h"

enum heard_what {
	HEARD_SILENCE, /* for the whole time */
	HEARD_REPLY,   /* payload: not waited for more */
	HEARD_END,     /* close_notify, before any payload */
	HEARD_ALERT,
	HEARD_CUT,    /* end of TCP, or a reset, without either */
	HEARD_BROKEN, /* a record that cannot be opened */
};

struct heard {
	enum heard_what what;
	uint8_t alert;    /* HEARD_ALERT */
	size_t reply_len; /* HEARD_REPLY */
};

/* Borrows the socket, which is connected and right behind its handshake. */
enum ps_err doctor_listen(int fd, const struct traffic_secrets *secrets, uint64_t wait_ms, struct heard *heard)
	PS_MUST_CHECK;

#endif
