/* SPDX-License-Identifier: Apache-2.0 */
/* h2_gather: whatever lies over the edge of a record's place goes on in the next one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2/h2_private.h"

static uint8_t pattern[H2_FRAME_MAX];

static int set_up(void **state)
{
	struct h2_scratch *scratch = calloc(1, sizeof(*scratch));

	assert_non_null(scratch);
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(1 + i % 251);
	*state = scratch;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

/* What tls_stream_seal_frames will take for the payload, from `from` on. */
static void payload_of(const struct h2_scratch *scratch, size_t from, uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const size_t at = from + i;
		bytes[i] = scratch->records[at / TLS_FRAME_PAYLOAD * TLS_FRAME_LEN + TLS_FRAME_FRONT + at % TLS_FRAME_PAYLOAD];
	}
}

static void assert_put(struct h2_scratch *scratch, size_t gathered, size_t skip, size_t len)
{
	static uint8_t got[H2_FRAME_MAX];

	memset(scratch->records, 0, sizeof(scratch->records));
	scratch->n_gathered = gathered;
	h2_gather_put(scratch, skip, pattern, len);
	payload_of(scratch, gathered + skip, got, len);
	assert_memory_equal(got, pattern, len);
}

static void test_bytes_lie_where_their_records_are_sealed(void **state)
{
	const size_t places[] = { 0,
		                      1,
		                      TLS_FRAME_PAYLOAD - H2_FRAME_HEADER_LEN - 1,
		                      TLS_FRAME_PAYLOAD - H2_FRAME_HEADER_LEN,
		                      TLS_FRAME_PAYLOAD - 4,
		                      TLS_FRAME_PAYLOAD - 1,
		                      TLS_FRAME_PAYLOAD,
		                      H2_SHARE_MAX * (size_t)TLS_FRAME_PAYLOAD - 1 };
	const size_t lengths[] = { 0, 1, 17, TLS_FRAME_PAYLOAD, TLS_FRAME_PAYLOAD + 1, H2_FRAME_BODY_MAX, H2_FRAME_MAX };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		for (size_t j = 0; j < sizeof(lengths) / sizeof(lengths[0]); j++) {
			assert_put(*state, places[i], 0, lengths[j]);
			if (lengths[j] <= H2_FRAME_BODY_MAX)
				assert_put(*state, places[i], H2_FRAME_HEADER_LEN, lengths[j]);
		}
	}
}

static void test_places_are_as_long_as_what_was_asked_for(void **state)
{
	struct h2_scratch *scratch = *state;
	struct iovec places[H2_BODY_PLACES];

	scratch->n_gathered =
		TLS_FRAME_PAYLOAD - H2_FRAME_HEADER_LEN; /* the header fills the record, the body begins the next */
	assert_int_equal(h2_gather_places(scratch, H2_FRAME_HEADER_LEN, TLS_FRAME_PAYLOAD + 1, places), 2);
	assert_ptr_equal(places[0].iov_base, scratch->records + TLS_FRAME_LEN + TLS_FRAME_FRONT);
	assert_int_equal(places[0].iov_len, TLS_FRAME_PAYLOAD);
	assert_ptr_equal(places[1].iov_base, scratch->records + 2 * (size_t)TLS_FRAME_LEN + TLS_FRAME_FRONT);
	assert_int_equal(places[1].iov_len, 1);
	assert_int_equal(h2_gather_places(scratch, 0, 0, places), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bytes_lie_where_their_records_are_sealed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_places_are_as_long_as_what_was_asked_for, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("h2_gather", tests, NULL, NULL);
}
