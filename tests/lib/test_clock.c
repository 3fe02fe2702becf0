/* SPDX-License-Identifier: Apache-2.0 */
/* clock: two clocks in milliseconds, told apart. */
#include "portseal/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

/* Between two readings of the system's own, whatever the load. */
static void test_the_monotonic_clock_is_in_milliseconds(void **state)
{
	struct timespec before, after;

	(void)state;
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &before), 0);
	const uint64_t now_ms = clock_now_ms();
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &after), 0);
	assert_in_range(now_ms, (uint64_t)before.tv_sec * 1000 + (uint64_t)before.tv_nsec / 1000000,
	                (uint64_t)after.tv_sec * 1000 + (uint64_t)after.tv_nsec / 1000000);
}

static void test_the_monotonic_clock_never_goes_back(void **state)
{
	(void)state;
	for (uint64_t i = 0, last_ms = clock_now_ms(); i < 10000; i++) {
		const uint64_t now_ms = clock_now_ms();
		assert_in_range(now_ms, last_ms, UINT64_MAX);
		last_ms = now_ms;
	}
}

static void test_the_wall_clock_counts_since_1970(void **state)
{
	struct timespec before, after;

	(void)state;
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &before), 0);
	const int64_t wall_ms = clock_wall_ms();
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &after), 0);
	assert_in_range((uint64_t)wall_ms, (uint64_t)before.tv_sec * 1000 + (uint64_t)before.tv_nsec / 1000000,
	                (uint64_t)after.tv_sec * 1000 + (uint64_t)after.tv_nsec / 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_monotonic_clock_is_in_milliseconds),
		cmocka_unit_test(test_the_monotonic_clock_never_goes_back),
		cmocka_unit_test(test_the_wall_clock_counts_since_1970),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
