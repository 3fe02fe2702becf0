/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linger -- closes a socket so that what was written last is still read: shuts down writing, discards what comes
 * until the peer closes, and closes. A plain close() would send a reset that destroys an alert under way.
 *
 * Owns:   the sockets given to it, for at most LINGER_MS, LINGER_BYTES and LINGER_MAX at once (then they are just closed).
 */
#ifndef PORTSEAL_LINGER_H
#define PORTSEAL_LINGER_H

#include <stddef.h>
#include <uv.h>

#include "portseal/err.h"

#define LINGER_MS 2000
#define LINGER_BYTES (1024 * 1024)
#define LINGER_MAX 256

struct linger_set; /* not `struct linger`: that is the system's, for SO_LINGER */

/* One for each loop. */
enum ps_err linger_new(uv_loop_t *loop, struct linger_set **linger) PS_MUST_CHECK;

/* Takes the socket. */
void linger_close(struct linger_set *linger, int fd);

size_t linger_count(const struct linger_set *linger);

/* Closes all at once. Runs the loop no further than libuv needs: the memory goes with the last close callback. */
void linger_free(struct linger_set *linger);

#endif
