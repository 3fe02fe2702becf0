/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridge_rig -- a bridge between a TLS peer and an application, both played by the test in the same thread.
 *
 * Whatever the ends have to write goes out, and what comes is collected, turn by turn, while the test waits with
 * rig_until. A turn that comes too late fails the test instead of hanging.
 */
#ifndef PORTSEAL_TESTS_BRIDGE_RIG_H
#define PORTSEAL_TESTS_BRIDGE_RIG_H

#include <stdbool.h>

#include "portseal/bridge.h"

enum rig_kind { RIG_TCP, RIG_UNIX };

/* One end of a socket, opposite to the bridge. */
struct rig_end {
	int fd;
	bool stalled;   /* does not read */
	struct buf out; /* to be written */
	struct buf in;  /* application: what came; peer: payload that came */
	bool eof;
	int error; /* errno of the read that failed */
};

struct bridge_rig {
	uv_loop_t loop;
	struct bridge_scratch *scratch;
	struct linger_set *linger;
	struct watches *watches;
	struct bridge *bridge;
	bool ended;
	struct bridge_report report;
	struct rig_end app;
	struct rig_end peer;
	struct tls_stream *stream; /* the peer's */
	struct buf wire;           /* what the peer received and could not open yet */
	enum ps_err peer_said;     /* of the last tls_stream_open */
	uint64_t deadline;         /* uv_hrtime */
};

void rig_start(struct bridge_rig *rig, enum rig_kind kind, uint64_t idle_ms);

/* Checks that on_end came, and takes all apart. */
void rig_stop(struct bridge_rig *rig);

void rig_turn(struct bridge_rig *rig);

#define rig_until(rig, condition) \
	while (!(condition)) \
	rig_turn(rig)

/* Turns until nothing happens any more and the loop would sleep; one that spins makes it too late. */
void rig_settle(struct bridge_rig *rig);

/* Queue bytes at an end. */
void rig_app_send(struct bridge_rig *rig, const void *bytes, size_t len);
void rig_peer_send(struct bridge_rig *rig, const void *payload, size_t len);

/* close_notify, and a FIN once it is written. */
void rig_peer_close(struct bridge_rig *rig);
void rig_app_close(struct bridge_rig *rig); /* a FIN */

/* Close the socket of an end altogether, by a reset or as it comes. */
void rig_reset(struct rig_end *end);
void rig_drop(struct rig_end *end);

/* `len` bytes that look alike nowhere (to be freed). */
uint8_t *rig_noise(size_t len);

/* What came at this end. */
void rig_assert_got(const struct rig_end *end, const void *bytes, size_t len);

/* The peer reads a fatal alert, the application a reset: nobody takes it for a clean end. */
void rig_assert_peer_alerted(struct bridge_rig *rig, enum alert alert);
void rig_assert_app_reset(struct bridge_rig *rig);

#endif
