/* SPDX-License-Identifier: Apache-2.0 */
#include "message_count.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SLOTS 3

static const uint8_t alice[IDENTITY_PIN_LEN] = { 1 };
static const uint8_t bob[IDENTITY_PIN_LEN] = { 2 };

static struct message_count *start(void)
{
	struct message_count *count = NULL;

	assert_int_equal(message_count_new(SLOTS, &count), PS_OK);
	message_count_start(count, 0);
	return count;
}

/* Another worker takes so many for alice, and ends or is killed; how many it got. */
static int take_elsewhere(struct message_count *count, unsigned slot, int n, uint64_t limit)
{
	const pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		int taken = 0;
		message_count_start(count, slot);
		for (int i = 0; i < n; i++)
			taken += message_count_take(count, alice, limit) ? 1 : 0;
		_exit(taken);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_a_client_has_as_many_as_the_limit_says(void **state)
{
	(void)state;
	struct message_count *count = start();

	for (int i = 0; i < 5; i++)
		assert_true(message_count_take(count, alice, 5));
	assert_false(message_count_take(count, alice, 5));
	assert_false(message_count_take(count, alice, 5)); /* what was refused is not counted */
	message_count_leave(count, alice);
	assert_true(message_count_take(count, alice, 5));
	assert_true(message_count_take(count, alice, 7));  /* a reload may have raised it, */
	assert_false(message_count_take(count, alice, 3)); /* or lowered */
	message_count_free(count);
}

static void test_others_have_their_own(void **state)
{
	(void)state;
	struct message_count *count = start();

	assert_true(message_count_take(count, alice, 1));
	assert_true(message_count_take(count, bob, 1));
	assert_false(message_count_take(count, bob, 1));
	message_count_free(count);
}

static void test_all_workers_count_together(void **state)
{
	(void)state;
	struct message_count *count = start();

	assert_true(message_count_take(count, alice, 10));
	assert_int_equal(take_elsewhere(count, 1, 6, 10), 6);
	assert_int_equal(take_elsewhere(count, 2, 6, 10), 3);
	assert_false(message_count_take(count, alice, 10));
	message_count_free(count);
}

static void test_what_a_dead_worker_had_ends_with_the_next_one_of_its_slot(void **state)
{
	(void)state;
	struct message_count *count = start();

	assert_true(message_count_take(count, alice, 10));
	assert_int_equal(take_elsewhere(count, 1, 9, 10), 9);
	assert_false(message_count_take(count, alice, 10));
	assert_int_equal(take_elsewhere(count, 1, 20, 10), 9); /* and not ours */
	message_count_free(count);
}

static void test_an_end_too_many_does_not_wrap(void **state)
{
	(void)state;
	struct message_count *count = start();

	message_count_leave(count, alice);
	assert_true(message_count_take(count, alice, 1));
	assert_false(message_count_take(count, alice, 1));
	message_count_free(count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_client_has_as_many_as_the_limit_says),
		cmocka_unit_test(test_others_have_their_own),
		cmocka_unit_test(test_all_workers_count_together),
		cmocka_unit_test(test_what_a_dead_worker_had_ends_with_the_next_one_of_its_slot),
		cmocka_unit_test(test_an_end_too_many_does_not_wrap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
