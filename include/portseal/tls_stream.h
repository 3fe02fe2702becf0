/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_stream -- both directions of a TLS 1.3 connection after its handshake (RFC 8446, sections 4.6, 5 and 6).
 *
 * Turns bytes of the socket into bytes of the application and back; answers KeyUpdate, skips NewSessionTicket,
 * tells alerts and close_notify apart from a cut. Does no I/O: the caller reads, writes and waits.
 *
 * Owns:   the keys of both directions and what was learnt about each direction's end.
 * Never:  allocates per record, holds payload (an idle stream owns no buffer), blocks, or logs.
 */
#ifndef PORTSEAL_TLS_STREAM_H
#define PORTSEAL_TLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "portseal/alert.h"
#include "portseal/buf.h"
#include "portseal/err.h"
#include "portseal/suite.h"

struct tls_stream;

enum tls_role { TLS_CLIENT, TLS_SERVER };

/* Copies the secrets. Both directions start at record 0: no ticket was sent. PS_E_PROTO: no suite of ours. */
enum ps_err tls_stream_new(enum tls_role role, const struct traffic_secrets *secrets, struct tls_stream **stream)
	PS_MUST_CHECK;
void tls_stream_free(struct tls_stream *stream);

/* What one call of tls_stream_open made of its input. */
struct tls_opened {
	size_t consumed; /* bytes of the input that are done with; the rest is a record not yet whole */
	size_t n_spans;  /* payload spans filled, pointing into the input */
	size_t payload;  /* bytes in all spans together */
	bool more;       /* stopped because the spans were full: call again with the rest */
};

/* Opens the whole records of bytes[0..len) in place and describes their payload, in order, in at most max_spans spans
 * (at least one; adjacent spans are not merged). What must be answered (KeyUpdate) is sealed behind `reply`; send it. An
 * answer to a KeyUpdate waits while `reply` still holds bytes unsent, so that a peer which only asks fills no memory:
 * then the next tls_stream_seal or tls_stream_open sends it.
 *
 *   PS_OK        go on (also when nothing was whole)
 *   PS_E_CLOSED  close_notify came: the payload before it is in the spans, nothing follows in this direction
 *   PS_E_IO      the peer sent a fatal alert: tls_stream_peer_alert() names it; nothing can be sealed any more
 *   PS_E_PROTO   the peer broke the protocol: the right alert is sealed behind `reply` already; send it, then close
 *   PS_E_NOMEM, PS_E_BUG: this connection cannot go on
 * In all cases *opened is valid and its payload is genuine and may be delivered. Anything but PS_OK is the end of this
 * direction: further calls swallow their input and return the same again. */
enum ps_err tls_stream_open(struct tls_stream *stream, uint8_t *bytes, size_t len, struct iovec *spans,
                            size_t max_spans, struct tls_opened *opened, struct buf *reply) PS_MUST_CHECK;

/* Seals payload behind `out` as as many records as it takes, updating the key in time. PS_E_CLOSED once this direction
 * has ended: by tls_stream_close, tls_stream_fail or a fatal alert, ours or the peer's. PS_E_NOMEM before the first
 * record leaves all as it was; any other error ends this direction. `out` must not contain the payload. */
enum ps_err tls_stream_seal(struct tls_stream *stream, const uint8_t *payload, size_t len, struct buf *out)
	PS_MUST_CHECK;

/* Bytes that tls_stream_seal appends at most for `len` bytes of payload. */
size_t tls_stream_sealed_max(size_t len);

/* A frame is the place of one record: payload that is read behind its first TLS_FRAME_FRONT bytes is sealed where it lies,
 * and no byte of it is copied. */
#define TLS_FRAME_FRONT 5
#define TLS_FRAME_PAYLOAD 16384
#define TLS_FRAME_LEN (TLS_FRAME_PAYLOAD + 22)

/* Describes n places for payload, one behind the other: what to read into. */
void tls_stream_frames(uint8_t *frames, size_t n, struct iovec *places);

/* Seals `len` bytes of payload that were read into frames, each full but the last. *sealed_len bytes at `frames` are then
 * to be sent, behind what was put behind `before`: a KeyUpdate at most, from time to time. PS_E_CLOSED as
 * tls_stream_seal's; any other error ends this direction, and the payload is lost. */
enum ps_err tls_stream_seal_frames(struct tls_stream *stream, uint8_t *frames, size_t len, struct buf *before,
                                   size_t *sealed_len) PS_MUST_CHECK;

/* close_notify: this direction is finished, the other goes on. A second call adds nothing. */
enum ps_err tls_stream_close(struct tls_stream *stream, struct buf *out) PS_MUST_CHECK;

/* A fatal alert: nothing can be sealed afterwards, and what still comes from the peer is swallowed (tls_stream_open
 * returns PS_E_PROTO). Adds nothing when this direction has ended already. */
enum ps_err tls_stream_fail(struct tls_stream *stream, enum alert alert, struct buf *out) PS_MUST_CHECK;

/* Updates the sending key now and asks the peer to update too when `request` is set (section 4.6.3). Nothing needs to
 * call this for safety: both directions are updated in time on their own. */
enum ps_err tls_stream_update_key(struct tls_stream *stream, bool request, struct buf *out) PS_MUST_CHECK;

/* The peer's fatal alert, or ALERT_NONE. */
uint8_t tls_stream_peer_alert(const struct tls_stream *stream);

/* The fatal alert that this side sealed, or ALERT_NONE. */
uint8_t tls_stream_sent_alert(const struct tls_stream *stream);

/* True once close_notify came. */
bool tls_stream_peer_closed(const struct tls_stream *stream);

const struct suite *tls_stream_suite(const struct tls_stream *stream);

#endif
