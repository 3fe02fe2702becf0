/* SPDX-License-Identifier: Apache-2.0 */
/* expiring_clients: one line a day for each client whose certificate expires soon. */
#include "expiring_clients.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW INT64_C(1800000000)
#define DAY INT64_C(86400)
#define MINUTE INT64_C(60)

static int make(void **state)
{
	struct expiring_clients *clients = NULL;

	assert_int_equal(expiring_clients_new(&clients), PS_OK);
	*state = clients;
	return 0;
}

static int clear(void **state)
{
	expiring_clients_free(*state);
	return 0;
}

/* A client with the `number` in its pin, in the same set as all the others. */
static struct identity client(uint8_t number, int64_t days)
{
	struct identity identity = { .not_after = NOW + days * DAY };

	identity.pin[IDENTITY_PIN_LEN - 1] = number;
	return identity;
}

static void test_a_client_with_time_left_is_never_told(void **state)
{
	struct identity alice = client(1, 31);

	assert_false(expiring_clients_is_news(*state, &alice, NOW));
	assert_true(expiring_clients_is_news(*state, &alice, NOW + DAY));
}

static void test_a_client_is_told_once_a_day(void **state)
{
	struct identity alice = client(1, 10);

	assert_true(expiring_clients_is_news(*state, &alice, NOW));
	assert_false(expiring_clients_is_news(*state, &alice, NOW + 1));
	assert_false(expiring_clients_is_news(*state, &alice, NOW + DAY - 1));
	assert_true(expiring_clients_is_news(*state, &alice, NOW + DAY));
	assert_false(expiring_clients_is_news(*state, &alice, NOW + DAY + 1));
}

static void test_each_client_is_told_for_itself(void **state)
{
	struct identity alice = client(1, 10);
	struct identity bob = client(2, 10);

	assert_true(expiring_clients_is_news(*state, &alice, NOW));
	assert_true(expiring_clients_is_news(*state, &bob, NOW));
	assert_false(expiring_clients_is_news(*state, &alice, NOW));
	assert_false(expiring_clients_is_news(*state, &bob, NOW));
}

static void test_a_crowd_forgets_whoever_was_told_longest_ago(void **state)
{
	for (uint8_t i = 1; i <= 5; i++) {
		struct identity identity = client(i, 10);
		assert_true(expiring_clients_is_news(*state, &identity, NOW + i * MINUTE));
	}
	struct identity second = client(2, 10);
	struct identity first = client(1, 10);

	assert_false(expiring_clients_is_news(*state, &second, NOW + 10 * MINUTE));
	assert_true(expiring_clients_is_news(*state, &first, NOW + 10 * MINUTE));
}

/* So many processes, each told of the same clients: every client is told by one of them. */
static void test_processes_tell_once_between_them(void **state)
{
	enum { PROCESSES = 4, CLIENTS = 4 };
	int told = 0;

	for (int i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();

		assert_return_code(pid, errno);
		if (pid == 0) {
			int mine = 0;

			for (int number = 1; number <= CLIENTS; number++) {
				struct identity identity = client((uint8_t)number, 10);

				mine += expiring_clients_is_news(*state, &identity, NOW);
			}
			_exit(mine);
		}
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status = 0;

		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status));
		told += WEXITSTATUS(status);
	}
	assert_int_equal(told, CLIENTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_client_with_time_left_is_never_told, make, clear),
		cmocka_unit_test_setup_teardown(test_a_client_is_told_once_a_day, make, clear),
		cmocka_unit_test_setup_teardown(test_each_client_is_told_for_itself, make, clear),
		cmocka_unit_test_setup_teardown(test_processes_tell_once_between_them, make, clear),
		cmocka_unit_test_setup_teardown(test_a_crowd_forgets_whoever_was_told_longest_ago, make, clear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
