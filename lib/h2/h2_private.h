/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_private -- the inside of an HTTP/2 connection, shared by the files of lib/h2 and their tests alone:
 *
 *   h2.c          life and end: what it waits for, when it is over, how the socket is closed
 *   h2_wire.c     reads and opens, seals and writes
 *   h2_frames.c   nghttp2's callbacks: frames become events of streams
 *   h2_stream.c   what a stream's owner calls
 *   h2_body.c     the bytes of bodies: collected for their streams, pulled into frames
 *   h2_gather.c   frames in the places of the records that carry them
 *   h2_window.c   flow control
 *   h2_header.c   header blocks, both ways
 *   h2_watch.c    what a peer may do before it counts as abuse
 */
#ifndef PORTSEAL_H2_PRIVATE_H
#define PORTSEAL_H2_PRIVATE_H

#include <nghttp2/nghttp2.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "portseal/buf.h"
#include "portseal/h2.h"
#include "portseal/tls_stream.h"

#define H2_IN_SIZE (512 * 1024)
#define H2_FRAME_HEADER_LEN 9
#define H2_FRAME_BODY_MAX (64 * 1024)           /* of a DATA frame, both ways: SETTINGS_MAX_FRAME_SIZE */
#define H2_FRAME_BODY_SMALL (16 * 1024)         /* of one whose stream has not shown that it has more to say */
#define H2_FRAME_MAX (H2_FRAME_BODY_MAX + 1024) /* more than one frame, or what nghttp2 gives at once */

/* What is sealed and written at once, in records: as much as the socket took the last times, between these. The frame that
 * is begun before that much is reached goes along. */
#define H2_SHARE_MIN 4
#define H2_SHARE_MAX 32
#define H2_PLACES (H2_SHARE_MAX + H2_FRAME_MAX / TLS_FRAME_PAYLOAD + 1)
#define H2_BODY_PLACES (H2_FRAME_MAX / TLS_FRAME_PAYLOAD + 2) /* over which one frame may lie */
#define H2_SPANS 64
#define H2_PIECES 128

#define H2_HEADER_LIST_MAX 16384 /* bytes of one header block's fields, as section 6.5.2 counts them */
#define H2_FIELDS_MAX 96

#define H2_DISCARDED_MAX ((size_t)1024 * 1024) /* of a request that was answered already */

#define H2_WINDOW_START (64 * 1024)                 /* of each stream */
#define H2_WINDOW_MAX (4 * 1024 * 1024)             /* that a stream's grows to */
#define H2_WINDOW_GROWTH ((size_t)32 * 1024 * 1024) /* all streams of a connection together */
#define H2_WINDOW_CONNECTION (16 * 1024 * 1024)

/* Bytes of a body, in `in`, that its stream is yet to be given. */
struct h2_piece {
	struct h2_stream *stream;
	struct iovec bytes;
};

struct h2_scratch {
	uint8_t in[H2_IN_SIZE];
	uint8_t records[H2_PLACES * TLS_FRAME_LEN]; /* what is gathered, each byte where it will be sealed */
	size_t n_gathered;                          /* bytes of payload */
	uint8_t body[H2_FRAME_BODY_MAX];            /* given in one run, on its way there */
	struct iovec spans[H2_SPANS];
	struct h2_piece pieces[H2_PIECES]; /* none between two wake-ups */
	size_t n_pieces;
	struct iovec given[H2_PIECES];
};

enum h2_state {
	H2_RUNNING,
	H2_LEAVING,    /* h2_shut: the peer is told, streams under way finish */
	H2_LAST_WORDS, /* it is lost or over; what is left to say is being written, nothing is read */
	H2_CLOSING,    /* nothing but libuv's close callbacks is awaited */
};

/* What a peer is counted for: h2_watch.c has the figures. */
enum h2_rule {
	H2_RULE_RESET,
	H2_RULE_PING,
	H2_RULE_SETTINGS,
	H2_RULE_PRIORITY,
	H2_RULE_WINDOW,
	H2_RULE_EMPTY,
	H2_RULE_UNKNOWN,
	H2_RULE_MALFORMED,
	H2_RULE_SLIVER,
	H2_RULE_COUNT,
};

/* Follows the frames as they come, whatever nghttp2 makes of them. */
struct h2_watch {
	uint8_t magic_left; /* of the client's preface */
	uint8_t have;       /* bytes of the frame's header that came */
	uint8_t header[9];
	uint8_t n_continued; /* CONTINUATION frames in a row */
	uint32_t body_left;
	uint64_t refilled_ms;
	int32_t tokens[H2_RULE_COUNT];
};

struct h2_stream {
	struct h2 *h2;
	int32_t id;
	bool answered;  /* server: h2_respond was called; client: the final answer came */
	bool discards;  /* what comes is nobody's */
	bool sent;      /* client: its header has left nghttp2 */
	bool unsent;    /* client: its header never will */
	bool in_ended;  /* END_STREAM came */
	bool in_told;   /* and was told */
	bool out_ended; /* END_STREAM was given to nghttp2 */
	bool trails;    /* with a trailer, not with the body */
	bool reset_here;
	bool reset_there;
	bool collects; /* some of the scratch area's pieces are its own */
	bool fills;    /* its last DATA frame was as long as it could be */
	bool wakes;    /* in the list of those that have something to send */
	uint32_t code; /* of the reset */
	size_t discarded;
	uint32_t window;  /* its size for the peer's bytes */
	uint32_t drained; /* bytes consumed since cycle_ms */
	size_t kept;      /* given (or held) and not consumed */
	uint64_t cycle_ms;
	uint64_t began_ms;
	const struct h2_stream_events *events; /* NULL: nobody hears of it */
	void *owner;
	struct buf held;   /* of the peer's body, while nobody takes it */
	struct buf answer; /* given whole */
	LIST_ENTRY(h2_stream) link;
	TAILQ_ENTRY(h2_stream) wake;
};

struct h2 {
	enum h2_state state;
	enum h2_role role;
	nghttp2_session *session;
	struct tls_stream *tls;
	struct h2_scratch *scratch;
	struct linger_set *linger;
	int fd;
	bool broken;   /* nothing more can be written */
	uint8_t share; /* records that the next write carries at most */
	bool settled;  /* client: the peer's settings came */
	bool had_capacity;
	bool goaway_told;
	bool notice_open; /* the shutdown notice is out, the last GOAWAY is not */
	bool header_overflow;
	bool last_said;        /* the alert that ends our direction is sealed */
	enum alert last_alert; /* ALERT_CLOSE_NOTIFY unless something is wrong */
	struct buf partial;    /* the front of a record not yet whole */
	struct buf pending;    /* sealed, to be written before anything else */
	struct buf block;      /* the header block that is coming: NAME NUL VALUE NUL ... */
	size_t n_fields;
	size_t list_size;
	size_t kept;     /* by all streams */
	size_t withheld; /* of the connection's window, because too much is kept */
	size_t grown;    /* of the streams' windows beyond H2_WINDOW_START */
	size_t n_streams;
	size_t n_owned; /* of them; the others are requests that are not whole yet, or answered already */
	LIST_HEAD(h2_streams, h2_stream) streams;
	TAILQ_HEAD(h2_wakes, h2_stream) wakes;
	struct h2_watch watch;
	struct watch socket;
	uv_idle_t turn; /* active: there is something to do at the end of this turn */
	uv_timer_t timer;
	uint64_t idle_ms;
	uint64_t last_ms; /* when the last stream ended or lost its owner; when bytes moved, while it is ending */
	unsigned n_handles;
	struct h2_report report;
	const struct h2_events *events;
	void *owner;
};

/* h2.c */
/* Something is to be done at the end of this turn: frames to be sent, an end to be made. */
void h2_stir(struct h2 *h2);
/* Records why it ends, unless something went wrong before. */
void h2_blame(struct h2 *h2, enum h2_end end);
/* Nothing is read any more; what nghttp2 and tls_stream have to say still goes out. */
void h2_lose(struct h2 *h2, enum h2_end end, enum alert last_alert);
/* H2_PEER_ABUSE: GOAWAY with ENHANCE_YOUR_CALM. `name` is static. */
void h2_accuse(struct h2 *h2, const char *name);
/* The peer has read the shutdown notice: all that it opened before is here. */
void h2_notice_read(struct h2 *h2);
/* nghttp2 said one of its errors. */
void h2_fault(struct h2 *h2, int error);
static inline bool h2_is_over(const struct h2 *h2)
{
	return h2->state >= H2_LAST_WORDS;
}

/* h2_wire.c */
/* One read, and all that follows from it. */
void h2_wire_read(struct h2 *h2);
/* Writes what is pending and then, as long as the socket takes it, what nghttp2 has to send: at most a share of it.
 * True: there is more, and the socket may take it. */
bool h2_wire_write(struct h2 *h2);
/* Seals what nghttp2 has to say last and the alert that ends our direction, and writes what it can. True: all is written,
 * or nothing can be. */
bool h2_wire_end(struct h2 *h2);
/* The socket takes nothing any more. */
void h2_wire_break(struct h2 *h2);

/* h2_frames.c */
enum ps_err h2_session_new(struct h2 *h2, uint32_t max_streams) PS_MUST_CHECK;

/* h2_stream.c */
struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id);
/* Who hears of it; events NULL: nobody. */
void h2_stream_own(struct h2_stream *stream, const struct h2_stream_events *events, void *owner);
/* Tells its end and frees it. */
void h2_stream_close(struct h2_stream *stream, enum h2_fate fate, uint32_t code);
void h2_stream_take(struct h2_stream *stream, uint8_t *bytes, size_t len);
void h2_stream_take_end(struct h2_stream *stream);

/* h2_gather.c */
/* Where `len` bytes lie that come `skip` bytes behind what is gathered: at most H2_BODY_PLACES places, for at most
 * H2_FRAME_MAX bytes. How many places. */
size_t h2_gather_places(struct h2_scratch *scratch, size_t skip, size_t len, struct iovec *places);
/* Copies them there. */
void h2_gather_put(struct h2_scratch *scratch, size_t skip, const uint8_t *bytes, size_t len);

/* h2_body.c */
/* Bytes for a stream whose events have on_spans: it gets all that this wake-up brings at once. */
void h2_body_collect(struct h2_stream *stream, uint8_t *bytes, size_t len);
/* Gives it what was collected, before anything else is told of it. */
void h2_body_give(struct h2_stream *stream);
/* The wake-up is over: gives all streams theirs. */
void h2_body_give_all(struct h2_scratch *scratch);
/* nghttp2's callbacks for DATA frames that we send. */
ssize_t h2_body_frame_len(nghttp2_session *session, uint8_t type, int32_t id, int32_t connection_window,
                          int32_t stream_window, uint32_t peer_max, void *user_data);
ssize_t h2_body_read(nghttp2_session *session, int32_t id, uint8_t *room, size_t max, uint32_t *flags,
                     nghttp2_data_source *source, void *user_data);
int h2_body_send(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t len,
                 nghttp2_data_source *source, void *user_data);

/* h2_window.c */
void h2_window_received(struct h2_stream *stream, size_t len);
void h2_window_consumed(struct h2_stream *stream, size_t len);
void h2_window_forget(struct h2_stream *stream); /* it ends */
/* Bytes that were nobody's. */
void h2_window_discarded(struct h2 *h2, size_t len);

/* h2_header.c */
void h2_header_begin(struct h2 *h2);
/* False: more than the limits allow; the rest is not kept. */
bool h2_header_add(struct h2 *h2, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len);
struct h2_header {
	struct h2_request request;
	struct h2_response response; /* status 0: none came */
	struct h2_field fields[H2_FIELDS_MAX];
};
void h2_header_read(const struct h2 *h2, struct h2_header *header);
enum ps_err h2_header_submit_request(struct h2 *h2, const struct h2_request *request, bool end,
                                     struct h2_stream *stream) PS_MUST_CHECK;
enum ps_err h2_header_submit_trailer(struct h2_stream *stream, const struct h2_field *fields, size_t n_fields)
	PS_MUST_CHECK;
enum ps_err h2_header_submit_response(struct h2_stream *stream, const struct h2_response *response, bool end)
	PS_MUST_CHECK;

/* h2_watch.c */
void h2_watch_init(struct h2_watch *watch, enum h2_role role, uint64_t now_ms);
/* The name of what it did too much of, or NULL. */
const char *h2_watch_bytes(struct h2_watch *watch, const uint8_t *bytes, size_t len, uint64_t now_ms);
const char *h2_watch_count(struct h2_watch *watch, enum h2_rule rule, uint64_t now_ms);
void h2_watch_refund(struct h2_watch *watch, enum h2_rule rule, int32_t tokens);

#endif
