/* SPDX-License-Identifier: Apache-2.0 */
/* relays: which one is chosen, and how long one that failed rests. The clock is the test's. */
#include "relays.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BOTH 3u

static struct relays two(enum relays_balance balance)
{
	return (struct relays){ .balance = balance, .n = 2 };
}

static void test_the_first_one_is_first(void **state)
{
	(void)state;
	struct relays relays = two(RELAYS_ORDER);

	relays.at[0].outstanding = 1000;
	assert_int_equal(relays_choose(&relays, 0, 0), 0);
}

static void test_where_the_least_is_under_way(void **state)
{
	(void)state;
	struct relays relays = two(RELAYS_LEAST);

	assert_int_equal(relays_choose(&relays, 0, 0), 0);
	relays.at[0].outstanding = 1;
	assert_int_equal(relays_choose(&relays, 0, 0), 1);
	relays.at[1].outstanding = 1;
	assert_int_equal(relays_choose(&relays, 0, 0), 0);
}

static void test_what_was_tried_is_not_chosen(void **state)
{
	(void)state;
	struct relays relays = two(RELAYS_ORDER);

	assert_int_equal(relays_choose(&relays, 1, 0), 1);
	assert_int_equal(relays_choose(&relays, BOTH, 0), RELAYS_NONE);
}

static void test_one_that_failed_rests_and_is_chosen_again(void **state)
{
	(void)state;
	struct relays relays = two(RELAYS_ORDER);

	relays_failed(&relays, 0, 1000, 0);
	assert_true(relays_is_resting(&relays, 0, 1000));
	assert_int_equal(relays_choose(&relays, 0, 1000), 1);
	assert_int_equal(relays_choose(&relays, 0, 1074), 1);
	assert_int_equal(relays_choose(&relays, 0, 1075), 0);
}

static void test_only_one_finds_out_whether_it_works_again(void **state)
{
	(void)state;
	struct relays relays = two(RELAYS_ORDER);

	relays_failed(&relays, 0, 1000, 0);
	relays_attempt(&relays, 0);
	assert_int_equal(relays_choose(&relays, 0, 9000), 1);
	relays_worked(&relays, 0);
	assert_int_equal(relays_choose(&relays, 0, 9000), 0);
}

static void test_many_may_attempt_one_that_never_failed(void **state)
{
	(void)state;
	struct relays relays = two(RELAYS_ORDER);

	relays_attempt(&relays, 0);
	assert_int_equal(relays_choose(&relays, 0, 0), 0);
}

static void test_when_all_rest_the_first_to_wake_is_chosen(void **state)
{
	(void)state;
	struct relays relays = two(RELAYS_ORDER);

	relays_failed(&relays, 1, 1000, 0);
	relays_failed(&relays, 0, 1010, 0);
	assert_int_equal(relays_choose(&relays, 0, 1011), 1);
	assert_int_equal(relays_choose(&relays, 2, 1011), 0);
}

static void test_rests_grow_to_a_bound_and_differ_by_chance(void **state)
{
	(void)state;
	struct relays relays = two(RELAYS_ORDER);
	uint64_t before = 0;

	for (int i = 0; i < 7; i++) {
		relays_failed(&relays, 0, 0, 0);
		assert_in_range(relays.at[0].rest_ms, before + 1, 7500);
		before = relays.at[0].rest_ms;
	}
	for (int i = 0; i < 100; i++)
		relays_failed(&relays, 0, 0, 0);
	assert_int_equal(relays.at[0].rest_ms, 7500);
	relays_failed(&relays, 0, 0, 5000);
	assert_int_equal(relays.at[0].rest_ms, 12500);
	relays_failed(&relays, 0, 0, 5001);
	assert_int_equal(relays.at[0].rest_ms, 7500);
	relays_worked(&relays, 0);
	relays_failed(&relays, 0, 0, 0);
	assert_int_equal(relays.at[0].rest_ms, 75);
}

static void test_in_order_the_best_and_whatever_is_better_are_wanted(void **state)
{
	(void)state;
	struct relays relays = two(RELAYS_ORDER);

	assert_true(relays_is_wanted(&relays, 0, 0));
	assert_false(relays_is_wanted(&relays, 1, 0));
	relays_failed(&relays, 0, 0, 0);
	assert_true(relays_is_wanted(&relays, 0, 0));
	assert_true(relays_is_wanted(&relays, 1, 0));
	assert_true(relays_is_wanted(&relays, 1, 9000)); /* until the first has shown that it works */
}

static void test_where_the_least_is_under_way_every_one_is_wanted(void **state)
{
	(void)state;
	struct relays relays = two(RELAYS_LEAST);

	assert_true(relays_is_wanted(&relays, 0, 0));
	assert_true(relays_is_wanted(&relays, 1, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_one_is_first),
		cmocka_unit_test(test_where_the_least_is_under_way),
		cmocka_unit_test(test_what_was_tried_is_not_chosen),
		cmocka_unit_test(test_one_that_failed_rests_and_is_chosen_again),
		cmocka_unit_test(test_only_one_finds_out_whether_it_works_again),
		cmocka_unit_test(test_many_may_attempt_one_that_never_failed),
		cmocka_unit_test(test_when_all_rest_the_first_to_wake_is_chosen),
		cmocka_unit_test(test_rests_grow_to_a_bound_and_differ_by_chance),
		cmocka_unit_test(test_in_order_the_best_and_whatever_is_better_are_wanted),
		cmocka_unit_test(test_where_the_least_is_under_way_every_one_is_wanted),
	};
	return cmocka_run_group_tests_name("relays", tests, NULL, NULL);
}
