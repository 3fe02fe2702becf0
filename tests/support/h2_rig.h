/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_rig -- two HTTP/2 connections back to back over a socket, on one loop; or one of them and a peer that says whatever
 * frames the test makes by hand.
 *
 * The server's side of a stream is played by the rig: rig->serve says how.
 */
#ifndef PORTSEAL_TESTS_H2_RIG_H
#define PORTSEAL_TESTS_H2_RIG_H

#include "h2/h2_private.h"

#define RIG_STREAMS_MAX 1200

enum rig_serve {
	RIG_ECHO,  /* 200, and every byte back */
	RIG_SINK,  /* 200 whole, at the end of the request */
	RIG_HOLD,  /* attaches nothing that takes the body, and does not answer */
	RIG_KEEP,  /* 200; takes bytes and never consumes them */
	RIG_WHOLE, /* answers at once and whole, whatever comes */
	RIG_REFUSE /* as that, and hears no more of it */
};

/* One end of a stream. */
struct rig_stream {
	struct h2_rig *rig;
	struct h2_stream *stream; /* NULL once closed */
	bool echoes, keeps;
	struct buf in;  /* that came */
	struct buf out; /* to be sent; */
	bool out_ends;  /* END_STREAM behind it */
	bool in_ended;
	unsigned status;
	char field[64];   /* the value of "x-test" that came */
	char trailer[64]; /* the value of "x-after" */
	char authority[64];
	char path[64];
	size_t taken;     /* bytes that came in all */
	size_t most_held; /* of `out`, ever */
	bool closed;
	struct h2_stream_end end;
};

struct h2_rig {
	uv_loop_t loop;
	struct h2_scratch *scratch;
	struct watches *watches;
	struct linger_set *linger;
	struct h2 *client, *server; /* NULL once ended, or played by the test */
	bool client_ended, server_ended;
	struct h2_report client_report, server_report;
	int n_capacity, n_goaway;
	enum rig_serve serve;
	bool trails; /* RIG_ECHO: with a field behind the body */
	struct rig_stream opened[RIG_STREAMS_MAX];
	size_t n_opened;
	struct rig_stream served[RIG_STREAMS_MAX];
	size_t n_served;
	/* A peer by hand, opposite to the server or the client: */
	int raw_fd;
	struct tls_stream *raw_tls;
	struct buf raw_out, raw_wire, raw_in;
	enum ps_err raw_said;
	bool raw_eof, raw_stalled;
	uint64_t deadline;
};

void h2_rig_tcp_pair(int fds[2]);

enum rig_sides { RIG_BOTH, RIG_SERVER_ONLY, RIG_CLIENT_ONLY };

struct h2_rig *h2_rig_start(enum rig_sides sides, uint32_t max_streams, uint64_t idle_ms);
/* Ends what has not ended, checks that on_end came, and frees. */
void h2_rig_stop(struct h2_rig *rig);
void h2_rig_turn(struct h2_rig *rig);

#define h2_rig_until(rig, condition) \
	while (!(condition)) \
	h2_rig_turn(rig)

/* Opens a CONNECT (or with `path` a POST) to "echo". */
struct rig_stream *h2_rig_open(struct h2_rig *rig, const char *path, const void *body, size_t len, bool end);
void h2_rig_send(struct rig_stream *stream, const void *bytes, size_t len, bool end);
void h2_rig_turns(struct h2_rig *rig, int n);

/* By hand: a frame, and the preface with empty settings. */
void h2_rig_frame(struct h2_rig *rig, uint8_t type, uint8_t flags, uint32_t id, const void *body, size_t len);
void h2_rig_preface(struct h2_rig *rig);
/* A header block with literal fields: name, value, ..., NULL. With END_HEADERS. */
void h2_rig_headers(struct h2_rig *rig, uint32_t id, int end, ...) __attribute__((sentinel));
/* CONNECT echo */
void h2_rig_connect(struct h2_rig *rig, uint32_t id, bool end);
/* Waits for a frame of that type at the peer by hand, dropping others; its body lies in raw_in until the next call. */
struct rig_frame {
	uint8_t type, flags;
	uint32_t id;
	size_t len;
	uint8_t body[64]; /* the front of it */
};
struct rig_frame h2_rig_await(struct h2_rig *rig, uint8_t type);

#endif
