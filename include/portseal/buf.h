/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf -- a growable run of bytes with a front to consume and a back to append.
 *
 * Owns:   its memory. An empty one may own none at all (buf_release), which is how idle connections cost nothing.
 * Never:  shrinks on its own, or reads past what was appended.
 */
#ifndef PORTSEAL_BUF_H
#define PORTSEAL_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "portseal/err.h"

struct buf {
	uint8_t *data; /* NULL while it owns no memory */
	size_t start;  /* first byte not yet consumed */
	size_t end;    /* one past the last byte appended */
	size_t cap;    /* bytes owned */
};

#define BUF_INIT ((struct buf){ NULL, 0, 0, 0 })

static inline size_t buf_len(const struct buf *buf)
{
	return buf->end - buf->start;
}

static inline uint8_t *buf_front(const struct buf *buf)
{
	return buf->data == NULL ? NULL : buf->data + buf->start;
}

static inline size_t buf_room(const struct buf *buf)
{
	return buf->cap - buf->end;
}

/* Makes room for at least `more` bytes behind the end; moves the content to the front or grows as needed. */
enum ps_err buf_reserve(struct buf *buf, size_t more) PS_MUST_CHECK;

/* Appends a copy; PS_E_NOMEM leaves the content as it was. */
enum ps_err buf_append(struct buf *buf, const void *bytes, size_t len) PS_MUST_CHECK;

/* Appends what lies behind the first `skip` bytes of the spans: what a socket did not take of them. PS_E_NOMEM leaves the
 * content as it was. */
enum ps_err buf_append_rest(struct buf *buf, const struct iovec *spans, size_t n_spans, size_t skip) PS_MUST_CHECK;

/* Drops `len` bytes (at most buf_len) from the front. */
void buf_consume(struct buf *buf, size_t len);

/* Empties it and keeps the memory. */
void buf_reset(struct buf *buf);

/* Empties it, wipes and gives back the memory. Harmless on an empty one. */
void buf_release(struct buf *buf);

/* Overwrites `len` bytes with zeros in a way no compiler removes. */
void ps_wipe(void *bytes, size_t len);

#endif
