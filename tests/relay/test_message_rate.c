/* SPDX-License-Identifier: Apache-2.0 */
#include "message_rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW UINT64_C(5000000)

static const uint8_t alice[IDENTITY_PIN_LEN] = { 1 };
static const uint8_t bob[IDENTITY_PIN_LEN] = { 2 };

static struct message_rate *start(void)
{
	struct message_rate *rate = NULL;

	assert_int_equal(message_rate_new(&rate), PS_OK);
	return rate;
}

static void test_a_seconds_worth_may_come_at_once_and_then_one_at_a_time(void **state)
{
	(void)state;
	struct message_rate *rate = start();

	for (int i = 0; i < 10; i++)
		assert_int_equal(message_rate_take(rate, alice, "billing", 10, NOW), 0);
	assert_int_equal(message_rate_take(rate, alice, "billing", 10, NOW), 100);
	assert_int_equal(message_rate_take(rate, alice, "billing", 10, NOW + 50000), 50);
	assert_int_equal(message_rate_take(rate, alice, "billing", 10, NOW + 100000), 0);
	assert_int_equal(message_rate_take(rate, alice, "billing", 10, NOW + 100000), 100);
	message_rate_free(rate);
}

static void test_one_a_second_is_one_a_second(void **state)
{
	(void)state;
	struct message_rate *rate = start();

	assert_int_equal(message_rate_take(rate, alice, "billing", 1, NOW), 0);
	assert_int_equal(message_rate_take(rate, alice, "billing", 1, NOW), 1000);
	assert_int_equal(message_rate_take(rate, alice, "billing", 1, NOW + 1000000), 0);
	message_rate_free(rate);
}

static void test_others_and_other_services_have_their_own(void **state)
{
	(void)state;
	struct message_rate *rate = start();

	assert_int_equal(message_rate_take(rate, alice, "billing", 1, NOW), 0);
	assert_int_equal(message_rate_take(rate, bob, "billing", 1, NOW), 0);
	assert_int_equal(message_rate_take(rate, alice, "mail", 1, NOW), 0);
	message_rate_free(rate);
}

static void test_processes_share_the_allowance(void **state)
{
	(void)state;
	struct message_rate *rate = start();
	const pid_t child = fork();
	int status = 0;

	if (child == 0)
		_exit(message_rate_take(rate, alice, "billing", 1, NOW) == 0 ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(message_rate_take(rate, alice, "billing", 1, NOW), 1000);
	message_rate_free(rate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_seconds_worth_may_come_at_once_and_then_one_at_a_time),
		cmocka_unit_test(test_one_a_second_is_one_a_second),
		cmocka_unit_test(test_others_and_other_services_have_their_own),
		cmocka_unit_test(test_processes_share_the_allowance),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
