/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2 -- one HTTP/2 connection over a sealed socket, either role (RFC 9113; framing by nghttp2, records by tls_stream).
 *
 * One read takes many records, opens them in place in a scratch area that all connections of a loop share, and hands
 * each stream its bytes; what the streams have to say is gathered at the end of the loop's turn, sealed as few records
 * and written at once. Streams take turns at sending.
 *
 * Flow control is real: a stream's window is given back by h2_stream_consume only. The connection's window is given back
 * at receipt, so that a stalled stream never stalls its neighbours, while what is not consumed stays below H2_KEPT_MAX.
 * A stream's window grows while its reader keeps up.
 *
 * A peer that abuses the protocol loses this connection and nothing else.
 *
 * No event is called from within h2_new, h2_open, h2_respond, h2_stream_reset, h2_shut or h2_abort: they come from the loop.
 *
 * Owns:   the socket, the tls_stream, the streams.
 * Never:  connects, shakes hands, judges, logs, or knows what a body means.
 */
#ifndef PORTSEAL_H2_H
#define PORTSEAL_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "portseal/alert.h"
#include "portseal/err.h"
#include "portseal/h2_stream.h"
#include "portseal/linger.h"
#include "portseal/tls_stream.h"
#include "portseal/watch.h"

struct h2;
struct h2_scratch; /* the working memory of one loop's connections */

enum ps_err h2_scratch_new(struct h2_scratch **scratch) PS_MUST_CHECK;
void h2_scratch_free(struct h2_scratch *scratch);

enum h2_role { H2_CLIENT, H2_SERVER };

/* How a connection ended: the first thing that went wrong, or H2_DONE. */
enum h2_end {
	H2_DONE,          /* by h2_shut, idle_ms, or the peer's close_notify; no stream was under way */
	H2_PEER_CUT,      /* the peer ended without close_notify */
	H2_PEER_RESET,    /* the connection broke: reset, timed out */
	H2_PEER_LEFT,     /* close_notify while streams were under way */
	H2_PEER_ALERT,    /* a fatal alert came */
	H2_PEER_GOAWAY,   /* a GOAWAY with an error code came, and then the end */
	H2_PEER_PROTOCOL, /* it broke TLS, or a record was forged */
	H2_PEER_HTTP,     /* it broke HTTP/2; or ours did */
	H2_PEER_ABUSE,    /* it went beyond a limit; `abuse` names it */
	H2_ABORTED,       /* h2_abort was called */
	H2_NO_MEMORY,     /* none left, or the cipher failed */
};

struct h2_report {
	enum h2_end end;
	const char *abuse; /* "reset-flood"; NULL unless H2_PEER_ABUSE */
	uint32_t code;     /* enum h2_code of the GOAWAY sent or received; H2_NO_ERROR */
	uint8_t peer_alert;
	uint8_t sent_alert;
	uint64_t in, out;   /* bytes of bodies, all streams together */
	uint64_t n_streams; /* all that ever were */
};

struct h2_events {
	/* Server: a request's header is whole and well-formed. The stream must be given events with on_closed before this
	 * returns (h2_stream_attach), or be answered whole (h2_answer), or it is reset. */
	void (*on_request)(void *owner, struct h2_stream *stream, const struct h2_request *request);
	/* Client: the peer's settings came (first call), or h2_capacity rose from 0. NULL: not asked. */
	void (*on_capacity)(void *owner);
	/* The peer opens (or takes) no more streams; those under way may finish. NULL: not asked. */
	void (*on_goaway)(void *owner);
	/* Once, last, after every stream's on_closed: the socket is closed or given away, h2 is freed afterwards. */
	void (*on_end)(void *owner, const struct h2_report *report);
};

struct h2_config {
	uv_loop_t *loop;
	struct watches *watches; /* borrowed, as the next two; of this loop */
	struct h2_scratch *scratch;
	struct linger_set *linger;
	int fd;                    /* taken */
	struct tls_stream *stream; /* taken */
	enum h2_role role;
	uint32_t max_streams; /* that the peer may have open at once; server */
	uint64_t idle_ms;     /* shut when no stream has been open for so long; 0: never */
	const struct h2_events *events;
	void *owner;
};

/* Takes socket and stream, also on failure: then they are closed and freed, and on_end is not called. */
enum ps_err h2_new(const struct h2_config *config, struct h2 **h2) PS_MUST_CHECK;

/* GOAWAY now; streams under way finish, then close_notify. on_end follows. Harmless again, and while it is ending. */
void h2_shut(struct h2 *h2);

/* Ends it now, all streams with it: GOAWAY and a fatal alert. Harmless while it is ending; not after on_end. */
void h2_abort(struct h2 *h2, enum alert alert);

/* Client: how many more streams can be opened now; 0 once it is shut or a GOAWAY came. */
size_t h2_capacity(const struct h2 *h2);

/* Streams under way. */
size_t h2_n_streams(const struct h2 *h2);

/* Client: sends a request, with END_STREAM if `end`. The request is copied. PS_E_LIMIT: no capacity now, wait for
 * on_capacity. PS_E_CLOSED: take another connection. PS_E_NOMEM. */
enum ps_err h2_open(struct h2 *h2, const struct h2_request *request, bool end, const struct h2_stream_events *events,
                    void *owner, struct h2_stream **stream) PS_MUST_CHECK;

/* What it keeps of bodies that were not consumed, over all streams, before it stops giving back the connection's window. */
#define H2_KEPT_MAX ((size_t)64 * 1024 * 1024)

/* Bytes of memory it owns at this moment beyond its structs and nghttp2's: 0 when idle. */
size_t h2_buffered(const struct h2 *h2);

#endif
