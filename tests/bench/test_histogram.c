/* SPDX-License-Identifier: Apache-2.0 */
/* histogram: what it says about many durations is near enough to what they were. */
#include "histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct histogram histogram;

static int setup(void **state)
{
	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	return 0;
}

static void test_an_empty_one_says_zero(void **state)
{
	(void)state;
	assert_int_equal(histogram_quantile(&histogram, 500), 0);
	assert_int_equal(histogram_quantile(&histogram, 1000), 0);
}

static void test_small_durations_are_exact(void **state)
{
	(void)state;
	for (uint64_t ns = 1; ns <= 100; ns++)
		histogram_add(&histogram, ns);
	assert_int_equal(histogram.total, 100);
	assert_int_equal(histogram_quantile(&histogram, 10), 1);
	assert_int_equal(histogram_quantile(&histogram, 500), 50);
	assert_int_equal(histogram_quantile(&histogram, 990), 99);
	assert_int_equal(histogram_quantile(&histogram, 1000), 100);
}

static void test_any_duration_alone_is_its_own_quantile(void **state)
{
	(void)state;
	for (unsigned int power = 0; power < 41; power++) {
		setup(NULL);
		const uint64_t ns = (UINT64_C(1) << power) + (UINT64_C(1) << power) / 3;
		histogram_add(&histogram, ns);
		assert_int_equal(histogram_quantile(&histogram, 500), ns);
		assert_int_equal(histogram_quantile(&histogram, 999), ns);
	}
}

static void test_a_quantile_is_off_by_at_most_one_part_in_64(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 10000; i++)
		histogram_add(&histogram, i * 12345);
	static const unsigned int per_milles[] = { 1, 10, 250, 500, 900, 990, 999 };
	for (size_t i = 0; i < sizeof(per_milles) / sizeof(per_milles[0]); i++) {
		const uint64_t exact = (uint64_t)per_milles[i] * 10 * 12345;
		assert_in_range(histogram_quantile(&histogram, per_milles[i]), exact, exact + exact / HISTOGRAM_PARTS);
	}
}

static void test_one_outlier_in_a_thousand_shows_only_behind_p999(void **state)
{
	(void)state;
	for (int i = 0; i < 999; i++)
		histogram_add(&histogram, 50);
	histogram_add(&histogram, 1000000);
	assert_int_equal(histogram_quantile(&histogram, 999), 50);
	assert_int_equal(histogram_quantile(&histogram, 1000), 1000000);
}

static void test_what_is_too_large_counts_as_the_largest(void **state)
{
	(void)state;
	histogram_add(&histogram, UINT64_MAX);
	histogram_add(&histogram, HISTOGRAM_MAX_NS);
	assert_int_equal(histogram.total, 2);
	assert_int_equal(histogram_quantile(&histogram, 500), HISTOGRAM_MAX_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_an_empty_one_says_zero, setup),
		cmocka_unit_test_setup(test_small_durations_are_exact, setup),
		cmocka_unit_test_setup(test_any_duration_alone_is_its_own_quantile, setup),
		cmocka_unit_test_setup(test_a_quantile_is_off_by_at_most_one_part_in_64, setup),
		cmocka_unit_test_setup(test_one_outlier_in_a_thousand_shows_only_behind_p999, setup),
		cmocka_unit_test_setup(test_what_is_too_large_counts_as_the_largest, setup),
	};
	return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
