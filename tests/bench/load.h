/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load -- what the modes of portseal-load share: options, sockets, what a backend understands.
 *
 * The first byte of a connection tells the backend what it is for:
 *
 *   LOAD_ECHO    every byte after it comes back
 *   LOAD_SINK    the bytes after it are the pattern; for each LOAD_BLOCK of them comes one byte. A wrong one: reset
 *   LOAD_SOURCE  the pattern comes, until the connection ends
 *
 * No mode needs a half-closed connection: not every proxy passes one on.
 */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define LOAD_ECHO 'E'
#define LOAD_SINK 'U'
#define LOAD_SOURCE 'D'
#define LOAD_BLOCK ((uint64_t)4 * 1024 * 1024)
#define LOAD_SIZE_MAX 4096               /* of a request */
#define LOAD_GRACE_NS (5 * CLOCK_SECOND) /* how long answers that are due are waited for after the end */

struct load_options {
	struct sockaddr_in address; /* where to connect, or where to listen */
	uint32_t connections;       /* at once */
	uint32_t size;              /* bytes of a request, 8 to LOAD_SIZE_MAX */
	uint32_t rate;              /* requests a second, all connections together */
	uint64_t duration_ns;
	bool down; /* bulk: from the backend to us */
};

/* Each is a mode: it prints one line of JSON on stdout and returns an exit code, 1 if anything was not as it must be. */
int load_backend(const struct load_options *options); /* until SIGTERM */
int load_kept(const struct load_options *options);    /* the next request when the last is answered */
int load_new(const struct load_options *options);     /* the same, each on a connection of its own */
int load_rate(const struct load_options *options);    /* requests by the clock; late answers delay none */
int load_bulk(const struct load_options *options);    /* as many bytes as go */
int load_hold(const struct load_options *options);    /* idle connections, until stdin ends */

/* A socket that connects to `address`, neither blocking nor waiting for more bytes to send; -1 and errno. */
int load_connect(const struct sockaddr_in *address);

/* The `len` bytes go into the socket's buffer whole, or this is false: requests are small against it. */
bool load_send_whole(int fd, const void *bytes, size_t len);

#endif
