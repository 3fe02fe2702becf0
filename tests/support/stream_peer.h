/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_peer -- a tls_stream and, opposite, bare record keys that can send and receive whatever a test likes.
 */
#ifndef PORTSEAL_TESTS_STREAM_PEER_H
#define PORTSEAL_TESTS_STREAM_PEER_H

#include "portseal/record.h"
#include "portseal/tls_stream.h"

#define STREAM_PEER_SPANS 8

struct stream_peer {
	struct tls_stream *stream; /* under test */
	struct record_key seal;    /* what the stream opens */
	struct record_key open;    /* opens what the stream seals */
	struct buf wire;           /* on its way to the stream */
	struct buf sent;           /* what the stream sealed, answers included */
	struct iovec spans[STREAM_PEER_SPANS];
	struct tls_opened opened; /* of the last stream_peer_deliver */
	struct buf payload;       /* all payload that the stream opened */
};

void stream_peer_init(struct stream_peer *peer, enum tls_role role, uint16_t suite);
void stream_peer_clear(struct stream_peer *peer);

/* Puts one record on the wire. */
void stream_peer_send(struct stream_peer *peer, enum record_type type, const void *body, size_t len);
void stream_peer_send_text(struct stream_peer *peer, const char *text);

/* Puts a KeyUpdate on the wire and updates the key it was sealed with. */
void stream_peer_send_key_update(struct stream_peer *peer, uint8_t request);

/* Gives the wire to the stream, until it is empty or the stream says something else than PS_OK. */
enum ps_err stream_peer_deliver(struct stream_peer *peer);

/* Takes one record from what the stream sent. It fails the test if there is none. The body lies in peer->sent. */
struct record stream_peer_receive(struct stream_peer *peer);

/* The stream sent one KeyUpdate: follows it and returns its request_update. */
uint8_t stream_peer_receive_key_update(struct stream_peer *peer);

/* The stream sent one alert of this description, and nothing behind it. */
void stream_peer_receive_alert(struct stream_peer *peer, uint8_t level, enum alert alert);

/* The stream opened exactly this payload in all. */
void stream_peer_assert_payload(const struct stream_peer *peer, const char *text);

/* The stream seals this text as one record. */
void stream_peer_assert_sends(struct stream_peer *peer, const char *text);

/* What is on the wire is refused with this alert, and then the stream is dead in both directions. */
void stream_peer_assert_refused(struct stream_peer *peer, enum alert alert);

#endif
