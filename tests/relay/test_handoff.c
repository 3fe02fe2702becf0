/* SPDX-License-Identifier: Apache-2.0 */
/* handoff: each connection goes to one worker, or is refused and counted nowhere. */
#include "handoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/channel.h"

#define N_SLOTS 3
#define FILLER 4711 /* a type of message that is no hand-over */

static struct scoreboard *board;
static struct role_env env;
static struct handoff handoff;
static struct handover handover;
static struct ps_cause cause;
static int far[N_SLOTS], near[N_SLOTS];

static int open_slots(uint64_t connections, uint64_t per_client)
{
	const struct scoreboard_config limits = { .connections = connections, .connections_per_client = per_client };

	for (int slot = 0; slot < N_SLOTS; slot++) {
		int ends[2];

		if (channel_pair(ends) != PS_OK)
			return -1;
		near[slot] = ends[0];
		far[slot] = ends[1];
	}
	if (scoreboard_new(&limits, &board) != PS_OK)
		return -1;
	env = (struct role_env){ .kind = ROLE_GATEKEEPER, .n_slots = N_SLOTS, .slots = far, .board = board };
	handover = (struct handover){ .secrets.suite = SUITE_AES_128_GCM_SHA256, .client_pin = "alice" };
	cause.text[0] = '\0';
	handoff_init(&handoff, &env);
	return 0;
}

static int open_roomy(void **state)
{
	(void)state;
	return open_slots(100000, 0);
}

static int open_for_two(void **state)
{
	(void)state;
	return open_slots(2, 0);
}

static int open_for_one_each(void **state)
{
	(void)state;
	return open_slots(100, 1);
}

static int close_slots(void **state)
{
	(void)state;
	for (int slot = 0; slot < N_SLOTS; slot++) {
		close(near[slot]);
		close(far[slot]);
	}
	scoreboard_free(board);
	return 0;
}

static enum refusal hand_over(uint64_t conn)
{
	handover.conn = conn;
	return handoff_send(&handoff, &handover, STDIN_FILENO, &cause);
}

/* The next connection that waits in a slot; 0: none. */
static uint64_t taken_from(int slot)
{
	struct handover_message message;

	if (handover_receive(near[slot], &message) != PS_OK)
		return 0;
	assert_int_equal(message.type, HANDOVER_CONNECTION);
	close(message.fd);
	return message.body.connection.conn;
}

static void fill(int slot)
{
	static const uint8_t body[CHANNEL_MESSAGE_MAX];

	while (channel_send(far[slot], FILLER, body, sizeof(body), -1) == PS_OK)
		;
	while (channel_send(far[slot], FILLER, NULL, 0, -1) == PS_OK)
		;
}

static void test_workers_take_turns(void **state)
{
	(void)state;
	for (uint64_t conn = 1; conn <= 2 * N_SLOTS; conn++)
		assert_int_equal(hand_over(conn), REFUSAL_NONE);
	for (int slot = 0; slot < N_SLOTS; slot++) {
		assert_int_equal(taken_from(slot), slot + 1);
		assert_int_equal(taken_from(slot), slot + 1 + N_SLOTS);
		assert_int_equal(taken_from(slot), 0);
	}
}

static void test_gatekeepers_begin_with_different_workers(void **state)
{
	(void)state;
	for (unsigned index = 0; index < 2 * N_SLOTS; index++) {
		env.index = index;
		handoff_init(&handoff, &env);
		assert_int_equal(hand_over(1), REFUSAL_NONE);
		assert_int_equal(taken_from((int)(index % N_SLOTS)), 1);
	}
}

static void test_what_is_handed_over_is_counted(void **state)
{
	(void)state;
	assert_int_equal(hand_over(1), REFUSAL_NONE);
	assert_int_equal(hand_over(2), REFUSAL_NONE);
	assert_int_equal(scoreboard_total(board), 2);
}

static void test_a_worker_that_is_down_is_passed_over(void **state)
{
	(void)state;
	handoff_set_down(&handoff, 1, true);
	for (uint64_t conn = 1; conn <= 4; conn++)
		assert_int_equal(hand_over(conn), REFUSAL_NONE);
	assert_int_equal(taken_from(1), 0);
	assert_int_equal(taken_from(0), 1);
	assert_int_equal(taken_from(2), 2);
	assert_int_equal(taken_from(0), 3);
	assert_int_equal(taken_from(2), 4);
}

static void test_a_worker_that_is_up_again_has_its_turn(void **state)
{
	(void)state;
	handoff_set_down(&handoff, 0, true);
	handoff_set_down(&handoff, 0, false);
	assert_int_equal(hand_over(1), REFUSAL_NONE);
	assert_int_equal(taken_from(0), 1);
}

static void test_a_slot_that_does_not_exist_changes_nothing(void **state)
{
	(void)state;
	handoff_set_down(&handoff, N_SLOTS, true);
	handoff_set_down(&handoff, UINT32_MAX, true);
	for (unsigned slot = 0; slot < SUPERVISOR_WORKERS_MAX; slot++)
		assert_false(handoff.down[slot]);
}

static void test_with_all_workers_down_one_finds_it_when_it_is_back(void **state)
{
	(void)state;
	for (uint32_t slot = 0; slot < N_SLOTS; slot++)
		handoff_set_down(&handoff, slot, true);
	assert_int_equal(hand_over(1), REFUSAL_NONE);
	assert_int_equal(taken_from(0), 1);
}

static void test_a_full_queue_leads_to_the_next_worker(void **state)
{
	(void)state;
	fill(0);
	assert_int_equal(hand_over(1), REFUSAL_NONE);
	assert_int_equal(taken_from(1), 1);
	assert_int_equal(scoreboard_total(board), 1);
}

static void test_a_full_queue_leads_even_to_a_worker_that_is_down(void **state)
{
	(void)state;
	fill(0);
	fill(1);
	handoff_set_down(&handoff, 2, true);
	assert_int_equal(hand_over(1), REFUSAL_NONE);
	assert_int_equal(taken_from(2), 1);
}

static void test_with_all_queues_full_it_is_refused_and_not_counted(void **state)
{
	(void)state;
	for (int slot = 0; slot < N_SLOTS; slot++)
		fill(slot);
	assert_int_equal(hand_over(1), REFUSAL_INTERNAL);
	assert_string_equal(cause.text, "no worker takes connections at the moment");
	assert_int_equal(scoreboard_total(board), 0);
}

static void test_over_the_limit_of_connections_it_is_refused(void **state)
{
	(void)state;
	assert_int_equal(hand_over(1), REFUSAL_NONE);
	assert_int_equal(hand_over(2), REFUSAL_NONE);
	assert_int_equal(hand_over(3), REFUSAL_TOO_MANY_CONNECTIONS);
	assert_string_equal(cause.text, "limits.connections is reached");
	assert_int_equal(taken_from(2), 0);
	assert_int_equal(scoreboard_total(board), 2);
}

static void test_over_the_limit_of_its_client_it_is_refused(void **state)
{
	(void)state;
	assert_int_equal(hand_over(1), REFUSAL_NONE);
	assert_int_equal(hand_over(2), REFUSAL_TOO_MANY_CONNECTIONS);
	assert_string_equal(cause.text, "limits.connections_per_client is reached");
	memcpy(handover.client_pin, "bob\0\0", 6);
	assert_int_equal(hand_over(3), REFUSAL_NONE);
}

#define on_roomy(test) cmocka_unit_test_setup_teardown(test, open_roomy, close_slots)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_roomy(test_workers_take_turns),
		on_roomy(test_gatekeepers_begin_with_different_workers),
		on_roomy(test_what_is_handed_over_is_counted),
		on_roomy(test_a_worker_that_is_down_is_passed_over),
		on_roomy(test_a_worker_that_is_up_again_has_its_turn),
		on_roomy(test_a_slot_that_does_not_exist_changes_nothing),
		on_roomy(test_with_all_workers_down_one_finds_it_when_it_is_back),
		on_roomy(test_a_full_queue_leads_to_the_next_worker),
		on_roomy(test_a_full_queue_leads_even_to_a_worker_that_is_down),
		on_roomy(test_with_all_queues_full_it_is_refused_and_not_counted),
		cmocka_unit_test_setup_teardown(test_over_the_limit_of_connections_it_is_refused, open_for_two, close_slots),
		cmocka_unit_test_setup_teardown(test_over_the_limit_of_its_client_it_is_refused, open_for_one_each,
		                                close_slots),
	};
	return cmocka_run_group_tests_name("handoff", tests, NULL, NULL);
}
