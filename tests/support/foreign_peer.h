/* SPDX-License-Identifier: Apache-2.0 */
/*
 * foreign_peer -- another implementation of TLS as a subprocess, opposite a tls_stream.
 *
 * mbedTLS shakes hands over loopback, hands out the traffic secrets and is gone; from then on the stream carries the
 * connection. Everything waits for events, and a minute without one fails the test.
 */
#ifndef PORTSEAL_TESTS_FOREIGN_PEER_H
#define PORTSEAL_TESTS_FOREIGN_PEER_H

#include <stdbool.h>
#include <sys/types.h>

#include "portseal/tls_stream.h"

struct foreign_peer {
	pid_t pid;
	int to, from; /* its stdin; its stdout and stderr */
	int sock;
	struct tls_stream *stream;
	struct buf to_peer; /* for its stdin */
	struct buf output;  /* all that it printed */
	struct buf wire_in, wire_out;
	struct buf payload; /* all that the stream opened */
	enum ps_err end;    /* what tls_stream_open said last */
	bool cut;           /* the socket came to its end */
};

/* Whether the program is on PATH. */
bool foreign_peer_exists(const char *program);

/* Starts a client: %PORT% in its arguments is where it finds us; we are the server. */
struct foreign_peer *foreign_peer_client(const char *const *argv, uint16_t suite);

/* Starts a server: %PORT% is a free port, %CERT% and %KEY% are files. It is ready once it printed `ready`. */
struct foreign_peer *foreign_peer_server(const char *const *argv, const char *ready, uint16_t suite);

/* Ends the subprocess and frees all. */
void foreign_peer_free(struct foreign_peer *peer);

/* Gives the peer a command or text to send. */
void foreign_peer_type(struct foreign_peer *peer, const void *bytes, size_t len);
void foreign_peer_type_end(struct foreign_peer *peer);

/* Sends what is in wire_out, which tls_stream's functions append to. */
void foreign_peer_await_sent(struct foreign_peer *peer);
void foreign_peer_await_payload(struct foreign_peer *peer, size_t len);
void foreign_peer_await_output(struct foreign_peer *peer, const void *bytes, size_t len);
/* The same, but false if the peer ends without having said it. */
bool foreign_peer_says(struct foreign_peer *peer, const void *bytes, size_t len);
void foreign_peer_await_key_update(struct foreign_peer *peer);
void foreign_peer_await_end(struct foreign_peer *peer);

#endif
