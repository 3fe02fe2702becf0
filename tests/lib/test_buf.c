/* SPDX-License-Identifier: Apache-2.0 */
/* buf: bytes appended at the back come out at the front, whatever moves or grows meanwhile. */
#include "portseal/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_an_empty_one_owns_no_memory(void **state)
{
	(void)state;
	struct buf buf = BUF_INIT;
	assert_int_equal(buf_len(&buf), 0);
	assert_int_equal(buf_room(&buf), 0);
	assert_null(buf_front(&buf));
	assert_int_equal(buf_append(&buf, NULL, 0), PS_OK);
	assert_null(buf.data);
	buf_consume(&buf, 0);
	buf_release(&buf);
	assert_null(buf.data);
}

static void test_appended_bytes_come_out_in_order(void **state)
{
	(void)state;
	struct buf buf = BUF_INIT;
	assert_int_equal(buf_append(&buf, "abc", 3), PS_OK);
	assert_int_equal(buf_append(&buf, "def", 3), PS_OK);
	buf_consume(&buf, 2);
	assert_int_equal(buf_len(&buf), 4);
	assert_memory_equal(buf_front(&buf), "cdef", 4);
	buf_release(&buf);
}

static void test_consuming_everything_frees_the_whole_room(void **state)
{
	(void)state;
	struct buf buf = BUF_INIT;
	assert_int_equal(buf_append(&buf, "abc", 3), PS_OK);
	buf_consume(&buf, 3);
	assert_int_equal(buf_len(&buf), 0);
	assert_int_equal(buf_room(&buf), buf.cap);
	buf_release(&buf);
}

static void test_reserve_moves_to_the_front_before_it_grows(void **state)
{
	(void)state;
	struct buf buf = BUF_INIT;
	assert_int_equal(buf_reserve(&buf, 1), PS_OK);
	const size_t cap = buf.cap;
	memset(buf.data, 'x', cap);
	buf.data[cap - 1] = 'y';
	buf.end = cap;
	buf_consume(&buf, cap - 1);

	assert_int_equal(buf_reserve(&buf, cap - 1), PS_OK);
	assert_int_equal(buf.cap, cap);
	assert_int_equal(buf_len(&buf), 1);
	assert_int_equal(*buf_front(&buf), 'y');
	buf_release(&buf);
}

static void test_growing_keeps_the_content(void **state)
{
	(void)state;
	struct buf buf = BUF_INIT;
	for (unsigned i = 0; i < 10000; i++) {
		const uint8_t byte = (uint8_t)i;
		assert_int_equal(buf_append(&buf, &byte, 1), PS_OK);
		if (i % 3 == 0)
			buf_consume(&buf, 1);
	}
	assert_int_equal(buf_len(&buf), 10000 - 3334);
	for (size_t i = 0; i < buf_len(&buf); i++)
		assert_int_equal(buf_front(&buf)[i], (uint8_t)(3334 + i));
	buf_release(&buf);
}

static void test_a_size_that_cannot_exist_leaves_the_content(void **state)
{
	(void)state;
	struct buf buf = BUF_INIT;
	assert_int_equal(buf_append(&buf, "abc", 3), PS_OK);
	assert_int_equal(buf_reserve(&buf, SIZE_MAX), PS_E_NOMEM);
	assert_int_equal(buf_reserve(&buf, SIZE_MAX - 2), PS_E_NOMEM);
	assert_int_equal(buf_len(&buf), 3);
	assert_memory_equal(buf_front(&buf), "abc", 3);
	buf_release(&buf);
}

static void test_reset_keeps_the_memory(void **state)
{
	(void)state;
	struct buf buf = BUF_INIT;
	assert_int_equal(buf_append(&buf, "abc", 3), PS_OK);
	const uint8_t *data = buf.data;
	buf_reset(&buf);
	assert_int_equal(buf_len(&buf), 0);
	assert_ptr_equal(buf.data, data);
	buf_release(&buf);
}

static void test_what_a_socket_did_not_take_is_appended(void **state)
{
	(void)state;
	char whole[] = "abcdefg";
	struct iovec spans[] = { { whole, 2 }, { whole + 2, 0 }, { whole + 2, 4 }, { whole + 6, 1 } };

	for (size_t skip = 0; skip <= 7; skip++) {
		struct buf buf = BUF_INIT;
		assert_int_equal(buf_append(&buf, "<", 1), PS_OK);
		assert_int_equal(buf_append_rest(&buf, spans, 4, skip), PS_OK);
		assert_int_equal(buf_len(&buf), 1 + 7 - skip);
		assert_memory_equal(buf_front(&buf) + 1, whole + skip, 7 - skip);
		buf_release(&buf);
	}
}

static void test_a_released_one_can_be_used_again(void **state)
{
	(void)state;
	struct buf buf = BUF_INIT;
	assert_int_equal(buf_append(&buf, "abc", 3), PS_OK);
	buf_release(&buf);
	buf_release(&buf);
	assert_int_equal(buf.cap, 0);
	assert_int_equal(buf_append(&buf, "de", 2), PS_OK);
	assert_memory_equal(buf_front(&buf), "de", 2);
	buf_release(&buf);
}

static void test_wipe_zeroes_exactly_what_it_was_given(void **state)
{
	(void)state;
	char secret[] = "secret";
	ps_wipe(secret + 1, 4);
	assert_memory_equal(secret, "s\0\0\0\0t", 6);
	ps_wipe(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_one_owns_no_memory),
		cmocka_unit_test(test_appended_bytes_come_out_in_order),
		cmocka_unit_test(test_consuming_everything_frees_the_whole_room),
		cmocka_unit_test(test_reserve_moves_to_the_front_before_it_grows),
		cmocka_unit_test(test_growing_keeps_the_content),
		cmocka_unit_test(test_a_size_that_cannot_exist_leaves_the_content),
		cmocka_unit_test(test_reset_keeps_the_memory),
		cmocka_unit_test(test_what_a_socket_did_not_take_is_appended),
		cmocka_unit_test(test_a_released_one_can_be_used_again),
		cmocka_unit_test(test_wipe_zeroes_exactly_what_it_was_given),
	};
	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
