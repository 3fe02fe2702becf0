/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_gather -- frames, one behind the other, in the places of the records that will carry them.
 *
 * Nothing is moved to be sealed: a place is as long as a record's payload, and between two of them is room for what a
 * record has around it (tls_stream_frames).
 */
#include <assert.h>
#include <string.h>

#include "h2_private.h"

size_t h2_gather_places(struct h2_scratch *scratch, size_t skip, size_t len, struct iovec *places)
{
	const size_t from = scratch->n_gathered + skip;
	size_t record = from / TLS_FRAME_PAYLOAD;
	size_t before = from % TLS_FRAME_PAYLOAD;
	size_t n = 0;

	assert(from + len <= H2_PLACES * (size_t)TLS_FRAME_PAYLOAD);
	while (len > 0) {
		const size_t room = TLS_FRAME_PAYLOAD - before;
		assert(n < H2_BODY_PLACES);
		places[n].iov_base = scratch->records + record * TLS_FRAME_LEN + TLS_FRAME_FRONT + before;
		places[n].iov_len = len < room ? len : room;
		len -= places[n++].iov_len;
		record++;
		before = 0;
	}
	return n;
}

void h2_gather_put(struct h2_scratch *scratch, size_t skip, const uint8_t *bytes, size_t len)
{
	struct iovec places[H2_BODY_PLACES];
	const size_t n = h2_gather_places(scratch, skip, len, places);

	for (size_t i = 0; i < n; i++) {
		memcpy(places[i].iov_base, bytes, places[i].iov_len);
		bytes += places[i].iov_len;
	}
}
