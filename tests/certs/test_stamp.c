/* SPDX-License-Identifier: Apache-2.0 */
#include "stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1795340000) /* 2026-11-22 */
#define DAY INT64_C(86400)

static void test_a_moment_is_read_and_printed_alike(void **state)
{
	(void)state;
	static const char *const stamps[] = { "20000101000000Z", "20240229235959Z", "20380119031408Z", "99991231235959Z" };
	for (size_t i = 0; i < sizeof(stamps) / sizeof(stamps[0]); i++) {
		char out[STAMP_CAP];
		int64_t moment = 0;
		assert_int_equal(stamp_parse(stamps[i], &moment, NULL), PS_OK);
		stamp_print(moment, out);
		assert_string_equal(out, stamps[i]);
	}
}

static void test_what_is_no_moment_is_refused(void **state)
{
	(void)state;
	static const char *const stamps[] = { "",
		                                  "20260101000000",
		                                  "20260101000000z",
		                                  "2026010100000Z",
		                                  "20260229000000Z",
		                                  "20261301000000Z",
		                                  "20260100000000Z",
		                                  "20260101240000Z",
		                                  "20260101006000Z",
		                                  "20260101000060Z",
		                                  "19991231235959Z",
		                                  "2026 101000000Z",
		                                  "+0260101000000Z" };
	for (size_t i = 0; i < sizeof(stamps) / sizeof(stamps[0]); i++) {
		int64_t moment = 1;
		if (stamp_parse(stamps[i], &moment, NULL) != PS_E_CONFIG)
			fail_msg("\"%s\" was accepted", stamps[i]);
		assert_int_equal(moment, 1);
	}
}

static struct stamp_span span_of(struct stamp_wish wish)
{
	struct stamp_span span = { 0, 0 };
	struct ps_cause cause = { "" };
	if (stamp_span_of(&wish, NOW, 300, 10, &span, &cause) != PS_OK)
		fail_msg("%s", cause.text);
	return span;
}

static void test_a_validity_begins_in_the_past_and_lasts_full_days(void **state)
{
	(void)state;
	struct stamp_span span = span_of((struct stamp_wish){ NULL, NULL, NULL, NULL });
	assert_int_equal(span.from, NOW - 300);
	assert_int_equal(span.until, NOW + 10 * DAY);
	span = span_of((struct stamp_wish){ .days = "3" });
	assert_int_equal(span.until, NOW + 3 * DAY);
	span = span_of((struct stamp_wish){ .lasts = "1500ms" });
	assert_int_equal(span.until, NOW + 2);
}

static void test_days_are_counted_from_not_before(void **state)
{
	(void)state;
	struct stamp_span span = span_of((struct stamp_wish){ .days = "1", .not_before = "20200101000000Z" });
	assert_int_equal(span.from, 1577836800);
	assert_int_equal(span.until, 1577836800 + DAY);
}

static void test_wishes_that_contradict_each_other_are_refused(void **state)
{
	(void)state;
	const struct stamp_wish wishes[] = {
		{ .days = "1", .lasts = "1s" },
		{ .days = "1", .not_after = "20300101000000Z" },
		{ .lasts = "1s", .not_after = "20300101000000Z" },
		{ .not_before = "20300101000000Z", .not_after = "20300101000000Z" },
		{ .not_after = "20200101000000Z" },
		{ .not_before = "99991231000000Z", .days = "2" },
		{ .days = "0" },
		{ .days = "36501" },
		{ .lasts = "0" },
		{ .lasts = "36501d" },
	};
	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		struct stamp_span span = { 0, 0 };
		struct ps_cause cause = { "" };
		assert_int_equal(stamp_span_of(&wishes[i], NOW, 300, 10, &span, &cause), PS_E_CONFIG);
		assert_int_equal(span.until, 0);
		assert_string_not_equal(cause.text, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_moment_is_read_and_printed_alike),
		cmocka_unit_test(test_what_is_no_moment_is_refused),
		cmocka_unit_test(test_a_validity_begins_in_the_past_and_lasts_full_days),
		cmocka_unit_test(test_days_are_counted_from_not_before),
		cmocka_unit_test(test_wishes_that_contradict_each_other_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
