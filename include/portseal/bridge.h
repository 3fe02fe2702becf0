/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridge -- joins a sealed socket (TLS records) and a plain one, both ways, until both directions have ended.
 *
 * One read takes as many records as there are, opens them in place in a scratch area shared by all bridges of a loop,
 * and one write passes them on; what the other side does not take is kept, and reading pauses until it is gone: that is
 * the back-pressure, and it bounds the memory of a connection. How much one read takes follows the connection: one record
where little comes, a quarter of a megabyte where more waits than was read. An idle bridge owns no buffer.
 *
 * Each direction ends on its own: close_notify becomes a FIN towards the plain side, a FIN there becomes close_notify.
 * A sealed side that ends without close_notify was cut: what came is passed on as far as the plain socket takes it at
 * once, then it is reset, never cleanly ended (a unix socket knows no reset: it is just closed); so it is when the process
 * dies, too. A plain side that is reset, or refuses a write, becomes a fatal alert (internal_error), never close_notify;
 * what it wrote before is delivered first. If its own FIN came before, close_notify has been said and no alert can follow:
 * then both are just closed.
 *
 * Once one socket is lost, what is still to be written to the other may stall for ten seconds (or idle_ms, if less).
 *
 * Owns:   both sockets, the tls_stream, what is buffered between them.
 * Never:  connects, shakes hands, or logs.
 */
#ifndef PORTSEAL_BRIDGE_H
#define PORTSEAL_BRIDGE_H

#include <stdint.h>
#include <uv.h>

#include "portseal/alert.h"
#include "portseal/err.h"
#include "portseal/linger.h"
#include "portseal/tls_stream.h"
#include "portseal/watch.h"

struct bridge;
struct bridge_scratch; /* the working memory of one loop's bridges */

enum ps_err bridge_scratch_new(struct bridge_scratch **scratch) PS_MUST_CHECK;
void bridge_scratch_free(struct bridge_scratch *scratch);

/* How a bridge ended: the first thing that went wrong, or BRIDGE_DONE. */
enum bridge_end {
	BRIDGE_DONE,             /* both directions ended cleanly */
	BRIDGE_SEALED_TRUNCATED, /* the sealed side ended without close_notify */
	BRIDGE_SEALED_RESET,     /* the sealed side's connection broke: reset, timed out */
	BRIDGE_SEALED_ALERT,     /* the sealed side sent a fatal alert */
	BRIDGE_SEALED_PROTOCOL,  /* the sealed side broke the protocol, or a record was forged */
	BRIDGE_PLAIN_RESET,      /* the plain side's connection broke */
	BRIDGE_IDLE,             /* no byte either way for idle_ms */
	BRIDGE_ABORTED,          /* bridge_abort was called */
	BRIDGE_NO_MEMORY,        /* none left, or the cipher failed */
};

struct bridge_report {
	enum bridge_end end;
	uint64_t to_plain;  /* payload bytes that the plain socket took */
	uint64_t to_sealed; /* payload bytes sealed; the last may not have been written if it did not end well */
	uint8_t peer_alert; /* for BRIDGE_SEALED_ALERT */
	uint8_t sent_alert; /* ALERT_NONE when none */
};

struct bridge_config {
	uv_loop_t *loop;
	struct watches *watches; /* borrowed, as the next two; of this loop */
	struct bridge_scratch *scratch;
	struct linger_set *linger; /* takes the sealed socket after an alert */
	int sealed_fd;             /* taken */
	struct tls_stream *stream; /* taken */
	int plain_fd;              /* taken; connected, and nobody else has it */
	uint64_t idle_ms;          /* 0: never */
	/* Called exactly once, when both sockets are closed or given away; the bridge is freed after it returns. */
	void (*on_end)(void *owner, const struct bridge_report *report);
	void *owner;
};

/* Takes the sockets and the stream, also on failure: then they are closed and freed, the last memory with libuv's next
 * callbacks, and on_end is not called. */
enum ps_err bridge_new(const struct bridge_config *config, struct bridge **bridge) PS_MUST_CHECK;

/* Ends it now: `alert` to the sealed side (internal_error unless there is a better reason), reset to the plain side;
 * on_end follows, from the loop, with BRIDGE_ABORTED (or with what went wrong before). Harmless while it is ending; not
 * after on_end. */
void bridge_abort(struct bridge *bridge, enum alert alert);

/* What bridge_buffered says at most: both sides stalled after a bulk transfer, and a part of a record. */
#define BRIDGE_BUFFERED_MAX ((size_t)(256 + 256 + 32) * 1024)

/* Bytes of memory it owns at this moment beyond its own struct: 0 when idle. */
size_t bridge_buffered(const struct bridge *bridge);

#endif
