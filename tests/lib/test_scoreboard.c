/* SPDX-License-Identifier: Apache-2.0 */
/* scoreboard: limits hold exactly, whoever races for them; the death of a role loses what it had, nothing else. */
#include "portseal/scoreboard.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS 32 /* of a race */
#define RACERS 4

static const uint8_t alice[SCOREBOARD_KEY_LEN] = { 1, 2, 3 };
static const uint8_t bob[SCOREBOARD_KEY_LEN] = { 9, 8, 7 };

static struct scoreboard *board_of(uint64_t connections, uint64_t per_client)
{
	const struct scoreboard_config config = { .connections = connections, .connections_per_client = per_client };
	struct scoreboard *board = NULL;

	assert_int_equal(scoreboard_new(&config, &board), PS_OK);
	return board;
}

static void live_in(struct scoreboard *board, unsigned slot, const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	assert_int_equal(scoreboard_admit(board, slot, client), SCOREBOARD_ADMITTED);
	scoreboard_take(board, slot, client);
}

static void test_a_new_board_is_empty(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(3, 0);
	assert_int_equal(scoreboard_total(board), 0);
	for (unsigned slot = 0; slot < SCOREBOARD_SLOTS; slot++)
		assert_int_equal(scoreboard_live(board, slot), 0);
	scoreboard_free(board);
}

static void test_freeing_no_board_is_harmless(void **state)
{
	(void)state;
	scoreboard_free(NULL);
}

static void test_the_limit_is_the_last_to_enter(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(3, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(scoreboard_admit(board, i, alice), SCOREBOARD_ADMITTED);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_FULL);
	assert_int_equal(scoreboard_total(board), 3);
	scoreboard_free(board);
}

static void test_queued_and_live_count_together(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(2, 0);
	live_in(board, 5, alice);
	assert_int_equal(scoreboard_admit(board, 5, alice), SCOREBOARD_ADMITTED);
	assert_int_equal(scoreboard_admit(board, 5, alice), SCOREBOARD_FULL);
	assert_int_equal(scoreboard_live(board, 5), 1);
	assert_int_equal(scoreboard_total(board), 2);
	scoreboard_free(board);
}

static void test_who_withdraws_makes_room(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(1, 1);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED);
	scoreboard_withdraw(board, 0, alice);
	assert_int_equal(scoreboard_total(board), 0);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED);
	scoreboard_free(board);
}

static void test_who_leaves_makes_room(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(1, 1);
	live_in(board, 0, alice);
	scoreboard_leave(board, 0, alice);
	assert_int_equal(scoreboard_live(board, 0), 0);
	assert_int_equal(scoreboard_total(board), 0);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED);
	scoreboard_free(board);
}

static void test_a_client_has_a_limit_of_its_own_over_all_slots(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(100, 2);
	live_in(board, 0, alice);
	live_in(board, 63, alice);
	assert_int_equal(scoreboard_admit(board, 7, alice), SCOREBOARD_CLIENT_FULL);
	assert_int_equal(scoreboard_total(board), 2);
	scoreboard_free(board);
}

static void test_a_full_client_does_not_hinder_another(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(100, 1);
	live_in(board, 0, alice);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_CLIENT_FULL);
	assert_int_equal(scoreboard_admit(board, 0, bob), SCOREBOARD_ADMITTED);
	scoreboard_free(board);
}

static void test_without_a_client_limit_clients_are_not_counted(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(1000, 0);
	for (unsigned i = 0; i < 1000; i++)
		live_in(board, 0, alice);
	assert_int_equal(scoreboard_live(board, 0), 1000);
	scoreboard_free(board);
}

/* Goal: the lines of a client's cell are wide enough; what goes comes back to nothing. */
static void test_one_client_may_hold_more_than_65536_in_one_slot(void **state)
{
	(void)state;
	const unsigned many = 65536 + 10;
	struct scoreboard *board = board_of(many, many);
	for (unsigned i = 0; i < many; i++)
		live_in(board, 1, alice);
	for (unsigned i = 0; i < many; i++)
		scoreboard_leave(board, 1, alice);
	for (unsigned i = 0; i < many; i++)
		assert_int_equal(scoreboard_admit(board, 1, alice), SCOREBOARD_ADMITTED);
	scoreboard_free(board);
}

/* Keys that differ only behind the bytes that choose the bucket. */
static void test_a_bucket_that_is_full_refuses(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(1000, 5);
	uint8_t key[SCOREBOARD_KEY_LEN] = { 0 };
	unsigned admitted = 0;
	for (key[31] = 1; key[31] < 100; key[31]++)
		if (scoreboard_admit(board, 0, key) == SCOREBOARD_ADMITTED)
			admitted++;
	assert_int_equal(admitted, 16);
	assert_int_equal(scoreboard_total(board), 16);
	key[31] = 1; /* one of those inside */
	assert_int_equal(scoreboard_admit(board, 0, key), SCOREBOARD_ADMITTED);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED); /* of another bucket */
	scoreboard_free(board);
}

static void test_a_cell_that_is_empty_again_serves_another_client(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(1000, 1);
	uint8_t key[SCOREBOARD_KEY_LEN] = { 0 };
	for (unsigned i = 0; i < 200; i++) {
		key[31] = (uint8_t)i;
		live_in(board, 0, key);
		scoreboard_leave(board, 0, key);
	}
	scoreboard_free(board);
}

static void test_clearing_a_slot_tells_and_forgets_what_lived_there(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(10, 0);
	for (unsigned i = 0; i < 3; i++)
		live_in(board, 4, alice);
	live_in(board, 5, alice);
	assert_int_equal(scoreboard_clear_slot(board, 4), 3);
	assert_int_equal(scoreboard_live(board, 4), 0);
	assert_int_equal(scoreboard_live(board, 5), 1);
	assert_int_equal(scoreboard_total(board), 1);
	scoreboard_free(board);
}

static void test_clearing_a_slot_leaves_what_is_queued(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(10, 0);
	assert_int_equal(scoreboard_admit(board, 4, alice), SCOREBOARD_ADMITTED);
	assert_int_equal(scoreboard_clear_slot(board, 4), 0);
	assert_int_equal(scoreboard_total(board), 1);
	scoreboard_free(board);
}

static void test_clearing_a_slot_frees_the_clients_places_of_that_slot_only(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(10, 3);
	live_in(board, 4, alice);
	live_in(board, 4, alice);
	live_in(board, 5, alice);
	assert_int_equal(scoreboard_clear_slot(board, 4), 2);
	assert_int_equal(scoreboard_admit(board, 4, alice), SCOREBOARD_ADMITTED);
	assert_int_equal(scoreboard_admit(board, 4, alice), SCOREBOARD_ADMITTED);
	assert_int_equal(scoreboard_admit(board, 4, alice), SCOREBOARD_CLIENT_FULL);
	scoreboard_free(board);
}

static void join(struct scoreboard *board, unsigned slot, int n)
{
	for (int i = 0; i < n; i++)
		scoreboard_join_slot(board, slot);
}

static void test_a_slot_is_crowded_by_two_more_than_the_emptiest(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(UINT64_MAX, 0);
	assert_false(scoreboard_is_crowded(board, 0, 2));
	join(board, 0, 1);
	assert_false(scoreboard_is_crowded(board, 0, 2));
	join(board, 0, 1);
	assert_true(scoreboard_is_crowded(board, 0, 2));
	assert_false(scoreboard_is_crowded(board, 1, 2));
	assert_false(scoreboard_is_crowded(board, 0, 1)); /* it is alone */
	join(board, 1, 1);
	assert_false(scoreboard_is_crowded(board, 0, 2));
	assert_true(scoreboard_is_crowded(board, 0, 3));
	scoreboard_leave_slot(board, 1);
	assert_true(scoreboard_is_crowded(board, 0, 2));
	assert_int_equal(scoreboard_total(board), 2);
	assert_int_equal(scoreboard_clear_slot(board, 0), 2);
	assert_int_equal(scoreboard_total(board), 0);
	scoreboard_free(board);
}

static void test_an_eighth_more_is_no_crowd(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(UINT64_MAX, 0);
	join(board, 0, 91);
	join(board, 1, 80);
	assert_false(scoreboard_is_crowded(board, 0, 2));
	join(board, 0, 1);
	assert_true(scoreboard_is_crowded(board, 0, 2));
	scoreboard_free(board);
}

static void test_counts_never_fall_below_nothing(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(10, 2);
	scoreboard_leave(board, 0, alice);
	scoreboard_withdraw(board, 0, alice);
	assert_int_equal(scoreboard_clear_slot(board, 0), 0);
	assert_int_equal(scoreboard_total(board), 0);
	assert_int_equal(scoreboard_live(board, 0), 0);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_CLIENT_FULL);
	scoreboard_free(board);
}

/* Forks a racer that waits for the start (the end of `gate`), asks for `tries` places and exits with what it got. */
static pid_t fork_racer(struct scoreboard *board, const int gate[static 2], unsigned tries)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		int admitted = 0;
		char byte;
		close(gate[1]);
		(void)!read(gate[0], &byte, 1);
		for (unsigned i = 0; i < tries; i++)
			if (scoreboard_admit(board, 0, alice) == SCOREBOARD_ADMITTED)
				admitted++;
		_exit(admitted);
	}
	return pid;
}

static int race(struct scoreboard *board, unsigned tries)
{
	pid_t racers[RACERS];
	int gate[2], admitted = 0;

	assert_int_equal(pipe(gate), 0);
	for (int i = 0; i < RACERS; i++)
		racers[i] = fork_racer(board, gate, tries);
	close(gate[1]);
	for (int i = 0; i < RACERS; i++) {
		int status = 0;
		assert_int_equal(waitpid(racers[i], &status, 0), racers[i]);
		assert_true(WIFEXITED(status));
		admitted += WEXITSTATUS(status);
	}
	close(gate[0]);
	return admitted;
}

/* Neither two nor, as both see the other, none. */
static void test_processes_that_race_for_the_last_place_get_just_one(void **state)
{
	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct scoreboard *board = board_of(1, 0);
		assert_int_equal(race(board, 1), 1);
		assert_int_equal(scoreboard_total(board), 1);
		scoreboard_free(board);
	}
}

static void test_processes_that_race_fill_the_board_exactly(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(150, 0);
	assert_int_equal(race(board, 100), 150);
	scoreboard_free(board);
}

static void test_processes_that_race_as_one_client_get_its_limit_exactly(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(1000, 150);
	assert_int_equal(race(board, 100), 150);
	assert_int_equal(scoreboard_total(board), 150);
	scoreboard_free(board);
}

/* A role that enters and leaves until it is killed; says when it began. */
static pid_t fork_busy_role(struct scoreboard *board, unsigned slot, int say)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)!write(say, "x", 1);
		for (;;) {
			if (scoreboard_admit(board, slot, alice) != SCOREBOARD_ADMITTED)
				continue;
			scoreboard_take(board, slot, alice);
			scoreboard_leave(board, slot, alice);
		}
	}
	return pid;
}

static void kill_busy_roles(struct scoreboard *board)
{
	pid_t roles[2];
	char byte;
	int say[2];

	assert_int_equal(pipe(say), 0);
	for (unsigned slot = 0; slot < 2; slot++)
		roles[slot] = fork_busy_role(board, slot, say[1]);
	for (unsigned slot = 0; slot < 2; slot++)
		assert_int_equal(read(say[0], &byte, 1), 1);
	for (int i = 0; i < 200; i++) { /* contend, so that the lock is held by one or the other */
		if (scoreboard_admit(board, 2, bob) == SCOREBOARD_ADMITTED)
			scoreboard_withdraw(board, 2, bob);
	}
	for (unsigned slot = 0; slot < 2; slot++) {
		assert_int_equal(kill(roles[slot], SIGKILL), 0);
		assert_int_equal(waitpid(roles[slot], NULL, 0), roles[slot]);
		(void)scoreboard_clear_slot(board, slot);
	}
	close(say[0]);
	close(say[1]);
}

/* Each death may leave one count off by one, and no more: never a lock that nobody opens, nor a count that wrapped. */
static void test_roles_killed_at_work_leave_a_board_that_works(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(1000, 500);
	for (int round = 0; round < ROUNDS; round++)
		kill_busy_roles(board);
	assert_in_range(scoreboard_total(board), 0, 2 * ROUNDS);
	assert_int_equal(scoreboard_live(board, 0), 0);
	assert_int_equal(scoreboard_live(board, 1), 0);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED);
	assert_int_equal(scoreboard_admit(board, 0, bob), SCOREBOARD_ADMITTED);
	scoreboard_free(board);
}

static void test_what_one_process_counts_another_sees(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(10, 5);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		bool is_in = scoreboard_admit(board, 3, alice) == SCOREBOARD_ADMITTED;
		scoreboard_take(board, 3, alice);
		scoreboard_free(board);
		_exit(is_in ? 0 : 1);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(scoreboard_live(board, 3), 1);
	assert_int_equal(scoreboard_total(board), 1);
	scoreboard_free(board);
}

static void set_limits(struct scoreboard *board, uint64_t connections, uint64_t per_client, bool holds)
{
	const struct scoreboard_config limits = { .connections = connections, .connections_per_client = per_client };

	assert_int_equal(scoreboard_set_limits(board, &limits), holds);
}

static void test_a_limit_that_is_lowered_cuts_nobody_and_admits_nobody(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(3, 0);
	for (unsigned i = 0; i < 3; i++)
		live_in(board, 0, alice);
	set_limits(board, 2, 0, true);
	assert_int_equal(scoreboard_total(board), 3);
	scoreboard_leave(board, 0, alice);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_FULL);
	scoreboard_leave(board, 0, alice);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED);
	scoreboard_free(board);
}

static void test_a_limit_that_is_raised_admits_more(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(1, 0);
	live_in(board, 0, alice);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_FULL);
	set_limits(board, 2, 0, true);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_FULL);
	scoreboard_free(board);
}

static void test_a_clients_limit_changes_in_both_directions(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(100, 1);
	live_in(board, 0, alice);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_CLIENT_FULL);
	set_limits(board, 100, 2, true);
	live_in(board, 0, alice);
	set_limits(board, 100, 1, true);
	scoreboard_leave(board, 0, alice);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_CLIENT_FULL);
	set_limits(board, 100, 0, true);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED);
	scoreboard_free(board);
}

static void test_a_clients_limit_that_was_none_at_the_start_stays_none(void **state)
{
	(void)state;
	struct scoreboard *board = board_of(100, 0);
	set_limits(board, 100, 1, false);
	live_in(board, 0, alice);
	assert_int_equal(scoreboard_admit(board, 0, alice), SCOREBOARD_ADMITTED);
	scoreboard_free(board);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_new_board_is_empty),
		cmocka_unit_test(test_freeing_no_board_is_harmless),
		cmocka_unit_test(test_the_limit_is_the_last_to_enter),
		cmocka_unit_test(test_queued_and_live_count_together),
		cmocka_unit_test(test_who_withdraws_makes_room),
		cmocka_unit_test(test_who_leaves_makes_room),
		cmocka_unit_test(test_a_client_has_a_limit_of_its_own_over_all_slots),
		cmocka_unit_test(test_a_full_client_does_not_hinder_another),
		cmocka_unit_test(test_without_a_client_limit_clients_are_not_counted),
		cmocka_unit_test(test_one_client_may_hold_more_than_65536_in_one_slot),
		cmocka_unit_test(test_a_bucket_that_is_full_refuses),
		cmocka_unit_test(test_a_cell_that_is_empty_again_serves_another_client),
		cmocka_unit_test(test_clearing_a_slot_tells_and_forgets_what_lived_there),
		cmocka_unit_test(test_a_slot_is_crowded_by_two_more_than_the_emptiest),
		cmocka_unit_test(test_an_eighth_more_is_no_crowd),
		cmocka_unit_test(test_clearing_a_slot_leaves_what_is_queued),
		cmocka_unit_test(test_clearing_a_slot_frees_the_clients_places_of_that_slot_only),
		cmocka_unit_test(test_counts_never_fall_below_nothing),
		cmocka_unit_test(test_processes_that_race_for_the_last_place_get_just_one),
		cmocka_unit_test(test_processes_that_race_fill_the_board_exactly),
		cmocka_unit_test(test_processes_that_race_as_one_client_get_its_limit_exactly),
		cmocka_unit_test(test_roles_killed_at_work_leave_a_board_that_works),
		cmocka_unit_test(test_what_one_process_counts_another_sees),
		cmocka_unit_test(test_a_limit_that_is_lowered_cuts_nobody_and_admits_nobody),
		cmocka_unit_test(test_a_limit_that_is_raised_admits_more),
		cmocka_unit_test(test_a_clients_limit_changes_in_both_directions),
		cmocka_unit_test(test_a_clients_limit_that_was_none_at_the_start_stays_none),
	};
	return cmocka_run_group_tests_name("scoreboard", tests, NULL, NULL);
}
