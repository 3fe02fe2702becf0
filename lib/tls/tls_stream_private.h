/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_stream_private -- the inside of a tls_stream: for tls_stream.c (sealing), tls_stream_open.c (opening), their tests.
 */
#ifndef PORTSEAL_TLS_STREAM_PRIVATE_H
#define PORTSEAL_TLS_STREAM_PRIVATE_H

#include "portseal/record.h"
#include "portseal/tls_stream.h"

#define HANDSHAKE_HEADER_LEN 4

enum handshake_type {
	HANDSHAKE_NEW_SESSION_TICKET = 4,
	HANDSHAKE_KEY_UPDATE = 24,
};

/* A handshake message on its way in: it may be spread over records, and none is kept. */
struct handshake_in {
	uint8_t header[HANDSHAKE_HEADER_LEN];
	size_t have;   /* bytes of the header that came; 0 between messages */
	uint32_t left; /* bytes of the body still to come, once the header is whole */
};

struct tls_stream {
	enum tls_role role;
	const struct suite *suite;

	struct record_key seal; /* cleared when our direction ends */
	bool out_ended;         /* close_notify or a fatal alert ended our direction */
	bool update_owed;       /* the peer asked for a KeyUpdate and has not got it yet */

	struct record_key open; /* cleared when the peer's direction ends */
	enum ps_err in_end;     /* PS_OK while the peer may send; then what tls_stream_open says from now on */
	bool update_requested;  /* the peer was asked to update its key and has not done so yet */
	unsigned silent;        /* records of the peer in a row without payload in either direction */
	struct handshake_in handshake;
	uint8_t peer_alert;
	uint8_t sent_alert;
};

/* Ends our direction: nothing can be sealed afterwards. */
void tls_stream_end_out(struct tls_stream *stream);

/* Ends the peer's direction; tls_stream_open returns `end` from now on. */
void tls_stream_end_in(struct tls_stream *stream, enum ps_err end);

#endif
