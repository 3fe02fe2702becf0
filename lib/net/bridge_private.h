/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridge_private -- what bridge.c (life and end of a bridge) and bridge_flow.c (its two directions) share.
 */
#ifndef PORTSEAL_BRIDGE_PRIVATE_H
#define PORTSEAL_BRIDGE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "portseal/bridge.h"
#include "portseal/buf.h"
#include "portseal/record.h"

/* What one wake-up of a side reads, in full records: as much as came the last times, between these. Sealed, the most still
 * fits the 256 KiB a buf grows to. */
#define BRIDGE_READ_MIN 1
#define BRIDGE_READ_MAX 15

#define BRIDGE_RECORD_LEN ((size_t)RECORD_HEADER_LEN + RECORD_MAX_CIPHERTEXT)

/* What one wake-up of the sealed side works on: what was read now and the part of a record that was left before. */
#define BRIDGE_IN_SIZE (BRIDGE_READ_MAX * (size_t)TLS_FRAME_LEN + BRIDGE_RECORD_LEN)

/* The payload of more records than this goes out in several writes. */
#define BRIDGE_SPANS 256

/* A wake-up serves one direction, so that both use the same bytes, which stay in the processor's cache. */
struct bridge_scratch {
	uint8_t bytes
		[BRIDGE_IN_SIZE]; /* from the sealed side, opened in place; or frames from the plain side, sealed in place */
	struct iovec spans[BRIDGE_SPANS];
};

/* One direction, named after where its bytes come from. */
enum bridge_flow {
	FLOW_OPEN,   /* more may come */
	FLOW_ENDING, /* its source ended cleanly; what is pending at its sink, and then the end, must still be written */
	FLOW_ENDED,  /* the end is written */
};

enum bridge_state {
	BRIDGE_RUNNING,
	BRIDGE_LAST_WORDS, /* the plain side is gone; what is pending for the sealed one, an alert last, is being written */
	BRIDGE_CLOSING,    /* nothing but libuv's close callback is awaited */
};

struct bridge_side {
	struct bridge *bridge;
	struct watch watch;
	int fd;                /* -1 once closed or given away */
	enum bridge_flow flow; /* what comes from this side */
	uint8_t appetite;      /* full records that the next read takes at most */
	struct buf pending;    /* what must be written to this side before anything else */
	bool broken;           /* it takes nothing any more: what is meant for it is discarded, an EOF proves nothing */
	bool hung;             /* an error waits at its socket, to be met by the next read or write */
	bool unwatched;        /* an idle wait would be woken without end */
};

struct bridge {
	enum bridge_state state;
	struct bridge_side sealed;
	struct bridge_side plain;
	struct buf partial; /* the front of a record not yet whole */
	struct tls_stream *stream;
	struct bridge_scratch *scratch;
	struct linger_set *linger;
	enum alert last_words; /* what tells the peer when it fails */
	uv_timer_t timer;
	uint64_t idle_ms;
	uint64_t last_ms; /* uv_now when bytes moved last, or a side was lost */
	struct bridge_report report;
	void (*on_end)(void *owner, const struct bridge_report *report);
	void *owner;
};

/* Records why the bridge ends, unless something went wrong before. */
void bridge_blame(struct bridge *bridge, enum bridge_end end);

/* Bytes moved, or a side was lost: the time of silence starts again. */
void bridge_touch(struct bridge *bridge);

/* The side takes nothing any more. */
void bridge_side_break(struct bridge_side *side);

/* Writes what is pending at this side, as far as it goes. */
void bridge_side_flush(struct bridge_side *side);

/* Read once and pass on what came. Return what ends the bridge now, or BRIDGE_DONE: it goes on. */
enum bridge_end bridge_read_sealed(struct bridge *bridge) PS_MUST_CHECK;
enum bridge_end bridge_read_plain(struct bridge *bridge) PS_MUST_CHECK;

#endif
