/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf -- a growable run of bytes with a front to consume and a back to append.
 *
 * Never:  leaves a copy behind when it grows or gives memory back; it may have held a key.
 */
#include "portseal/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 256

void ps_wipe(void *bytes, size_t len)
{
	if (len == 0)
		return;
	memset(bytes, 0, len);
	/* The compiler must assume that this reads the zeros. */
	__asm__ __volatile__("" : : "r"(bytes) : "memory");
}

/* Doubles while that is representable, so that appending stays linear. */
static size_t grown_cap(size_t cap, size_t needed)
{
	size_t grown = cap < FIRST_CAP ? FIRST_CAP : cap;
	while (grown < needed)
		grown = grown > SIZE_MAX / 2 ? needed : grown * 2;
	return grown;
}

enum ps_err buf_reserve(struct buf *buf, size_t more)
{
	if (buf_room(buf) >= more)
		return PS_OK;

	const size_t len = buf_len(buf);
	if (more > SIZE_MAX - len)
		return PS_E_NOMEM;
	if (len + more <= buf->cap) {
		memmove(buf->data, buf->data + buf->start, len);
		buf->start = 0;
		buf->end = len;
		return PS_OK;
	}

	const size_t cap = grown_cap(buf->cap, len + more);
	uint8_t *data = malloc(cap); /* not realloc: it may leave the old bytes unwiped */
	if (data == NULL)
		return PS_E_NOMEM;
	if (len > 0)
		memcpy(data, buf_front(buf), len);
	buf_release(buf);
	*buf = (struct buf){ .data = data, .start = 0, .end = len, .cap = cap };
	return PS_OK;
}

enum ps_err buf_append(struct buf *buf, const void *bytes, size_t len)
{
	if (len == 0)
		return PS_OK;
	const enum ps_err err = buf_reserve(buf, len);
	if (err != PS_OK)
		return err;
	memcpy(buf->data + buf->end, bytes, len);
	buf->end += len;
	return PS_OK;
}

enum ps_err buf_append_rest(struct buf *buf, const struct iovec *spans, size_t n_spans, size_t skip)
{
	size_t len = 0;
	for (size_t i = 0; i < n_spans; i++)
		len += spans[i].iov_len;
	assert(skip <= len);

	enum ps_err err = buf_reserve(buf, len - skip);
	for (size_t i = 0; i < n_spans && err == PS_OK; i++) {
		const size_t skipped = skip < spans[i].iov_len ? skip : spans[i].iov_len;
		err = buf_append(buf, (const uint8_t *)spans[i].iov_base + skipped, spans[i].iov_len - skipped);
		skip -= skipped;
	}
	return err;
}

void buf_consume(struct buf *buf, size_t len)
{
	assert(len <= buf_len(buf));
	buf->start += len;
	if (buf->start == buf->end)
		buf_reset(buf);
}

void buf_reset(struct buf *buf)
{
	buf->start = 0;
	buf->end = 0;
}

void buf_release(struct buf *buf)
{
	ps_wipe(buf->data, buf->cap);
	free(buf->data);
	*buf = BUF_INIT;
}
