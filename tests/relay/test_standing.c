/* SPDX-License-Identifier: Apache-2.0 */
/* standing: whoever lives is asked about after each reload, until an answer of the generation in force has come. */
#include "standing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/channel.h"

#define MEMBERS 3
#define CROWD 2000
#define NOT_AFTER 1000
#define ASKED_AT 7

struct fall {
	struct standing_member *member;
	enum refusal refusal;
	char detail[PS_CAUSE_MAX];
};

static struct standings *standings;
static struct standing_member members[MEMBERS];
static struct fall falls[MEMBERS];
static unsigned n_falls;
static struct standing_member *known[MEMBERS];
static unsigned n_known;
static unsigned n_late;
static bool leave_at_once;
static int near, far;
static struct handover_message got;

static void on_fall(struct standing_member *member, enum refusal refusal, const char *detail)
{
	assert_in_range(n_falls, 0, MEMBERS - 1);
	falls[n_falls].member = member;
	falls[n_falls].refusal = refusal;
	snprintf(falls[n_falls].detail, sizeof(falls[n_falls].detail), "%s", detail);
	n_falls++;
	if (leave_at_once)
		standings_leave(standings, member);
}

static void on_known(struct standing_member *member)
{
	assert_in_range(n_known, 0, MEMBERS - 1);
	known[n_known++] = member;
}

static void on_late(struct standing_member *member)
{
	(void)member;
	n_late++;
}

static const struct standing_holder holder = { on_fall, on_known, on_late };

static int set_up(void **state)
{
	int ends[2];

	(void)state;
	memset(members, 0, sizeof(members));
	n_falls = n_known = n_late = 0;
	leave_at_once = false;
	if (channel_pair(ends) != PS_OK || standings_new(&standings) != PS_OK)
		return -1;
	near = ends[0];
	far = ends[1];
	standings_set_generation(standings, 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	standings_free(standings);
	close(near);
	close(far);
	return 0;
}

static void join(struct standing_member *member, const char *client, const char *service, uint32_t generation)
{
	struct handover handover = { .generation = generation, .not_after = NOT_AFTER };

	snprintf((char *)handover.client_pin, sizeof(handover.client_pin), "%s", client);
	snprintf(handover.service_name, sizeof(handover.service_name), "%s", service);
	handover.presented.len = (uint32_t)snprintf((char *)handover.presented.der, 64, "chain of %s", client);
	assert_int_equal(standings_join(standings, &handover, &holder, member), PS_OK);
}

/* The id of the next question. */
static uint64_t expect_question(const char *client, const char *service, uint32_t generation)
{
	char chain[64];

	snprintf(chain, sizeof(chain), "chain of %s", client);
	assert_int_equal(handover_receive(far, &got), PS_OK);
	assert_int_equal(got.type, HANDOVER_REJUDGE);
	assert_int_equal(got.body.rejudge.generation, generation);
	assert_string_equal(got.body.rejudge.asked, service);
	assert_int_equal(got.body.rejudge.presented.len, strlen(chain));
	assert_memory_equal(got.body.rejudge.presented.der, chain, strlen(chain));
	return got.body.rejudge.id;
}

static void expect_no_question(void)
{
	assert_int_equal(handover_receive(far, &got), PS_E_AGAIN);
}

static void answer(uint64_t id, uint32_t generation, enum refusal refusal, int64_t not_after)
{
	const struct handover_judged judged = {
		.id = id, .generation = generation, .refusal = refusal, .not_after = not_after, .detail = "because"
	};

	standings_answer(standings, &judged);
}

static uint64_t ask_of_generation_2(const char *client)
{
	standings_set_generation(standings, 2);
	standings_ask(standings, near, ASKED_AT);
	return expect_question(client, "app", 2);
}

static void test_nobody_is_asked_about_before_a_reload(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	standings_ask(standings, near, ASKED_AT);
	expect_no_question();
}

static void test_whoever_lives_is_asked_about_once_after_a_reload(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	(void)ask_of_generation_2("alice");
	standings_ask(standings, near, ASKED_AT + 1);
	expect_no_question();
}

static void test_connections_of_one_client_to_one_service_share_a_question(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	join(&members[1], "alice", "app", 1);
	(void)ask_of_generation_2("alice");
	expect_no_question();
}

static void test_another_service_of_the_same_client_is_another_question(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	join(&members[1], "alice", "other", 1);
	standings_set_generation(standings, 2);
	standings_ask(standings, near, ASKED_AT);
	assert_int_equal(handover_receive(far, &got), PS_OK);
	assert_int_equal(handover_receive(far, &got), PS_OK);
	expect_no_question();
}

static void test_an_answer_that_refuses_fells_every_member(void **state)
{
	(void)state;
	leave_at_once = true;
	for (unsigned i = 0; i < MEMBERS; i++)
		join(&members[i], "alice", "app", 1);
	answer(ask_of_generation_2("alice"), 2, REFUSAL_REVOKED, NOT_AFTER);
	assert_int_equal(n_falls, MEMBERS);
	for (unsigned i = 0; i < MEMBERS; i++) {
		assert_int_equal(falls[i].refusal, REFUSAL_REVOKED);
		assert_string_equal(falls[i].detail, "because");
		assert_null(members[i].standing);
	}
}

static void test_an_answer_fells_nobody_else(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	uint64_t id = ask_of_generation_2("alice");
	join(&members[1], "bob", "app", 2);
	answer(id, 2, REFUSAL_NOT_ALLOWED, NOT_AFTER);
	assert_int_equal(n_falls, 1);
	assert_ptr_equal(falls[0].member, &members[0]);
}

static void test_an_answer_that_allows_lets_stay(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	answer(ask_of_generation_2("alice"), 2, REFUSAL_NONE, NOT_AFTER);
	standings_ask(standings, near, ASKED_AT + STANDING_PATIENCE_MS);
	expect_no_question();
	assert_int_equal(n_falls, 0);
}

/* A gatekeeper that is about to retire took the question. */
static void test_an_answer_of_an_earlier_generation_is_asked_again(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	answer(ask_of_generation_2("alice"), 1, REFUSAL_REVOKED, NOT_AFTER);
	assert_int_equal(n_falls, 0);
	standings_ask(standings, near, ASKED_AT);
	(void)expect_question("alice", "app", 2);
}

/* A gatekeeper that took it may have died, and an answer may find the queue full. */
static void test_a_question_without_an_answer_is_asked_again_in_time(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	uint64_t id = ask_of_generation_2("alice");
	standings_ask(standings, near, ASKED_AT + STANDING_PATIENCE_MS - 1);
	expect_no_question();
	standings_ask(standings, near, ASKED_AT + STANDING_PATIENCE_MS);
	assert_int_equal(expect_question("alice", "app", 2), id);
	standings_ask(standings, near, ASKED_AT + STANDING_PATIENCE_MS + 1);
	expect_no_question();
}

static void test_a_second_reload_asks_again_whoever_was_asked_about(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	uint64_t id = ask_of_generation_2("alice");
	standings_set_generation(standings, 3);
	standings_ask(standings, near, ASKED_AT);
	(void)expect_question("alice", "app", 3);
	answer(id, 2, REFUSAL_NONE, NOT_AFTER); /* to the first question: does not count any more */
	standings_ask(standings, near, ASKED_AT);
	(void)expect_question("alice", "app", 3);
}

static void test_who_was_let_in_by_the_new_generation_is_not_asked_about(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 2); /* before this worker heard of it */
	standings_set_generation(standings, 2);
	standings_ask(standings, near, ASKED_AT);
	expect_no_question();
}

static void test_who_is_handed_over_late_by_the_old_generation_is_asked_about(void **state)
{
	(void)state;
	standings_set_generation(standings, 2);
	join(&members[0], "alice", "app", 2);
	join(&members[1], "alice", "app", 1);
	standings_ask(standings, near, ASKED_AT);
	(void)expect_question("alice", "app", 2);
}

static void test_who_has_left_is_not_asked_about(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	standings_set_generation(standings, 2);
	standings_leave(standings, &members[0]);
	standings_leave(standings, &members[0]);
	standings_ask(standings, near, ASKED_AT);
	expect_no_question();
}

static void test_an_answer_about_who_has_left_is_harmless(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	uint64_t id = ask_of_generation_2("alice");
	standings_leave(standings, &members[0]);
	answer(id, 2, REFUSAL_REVOKED, NOT_AFTER);
	answer(UINT64_MAX, 2, REFUSAL_REVOKED, NOT_AFTER);
	assert_int_equal(n_falls, 0);
}

static void test_what_ends_falls_in_its_next_second(void **state)
{
	(void)state;
	leave_at_once = true;
	join(&members[0], "alice", "app", 1);
	join(&members[1], "alice", "app", 1);
	standings_expire(standings, NOT_AFTER);
	assert_int_equal(n_falls, 0);
	standings_expire(standings, NOT_AFTER + 1);
	assert_int_equal(n_falls, 2);
	assert_int_equal(falls[0].refusal, REFUSAL_EXPIRED);
}

static void test_an_answer_sets_another_end(void **state)
{
	(void)state;
	join(&members[0], "alice", "app", 1);
	answer(ask_of_generation_2("alice"), 2, REFUSAL_NONE, INT64_MAX);
	standings_expire(standings, INT64_MAX);
	assert_int_equal(n_falls, 0);
}

static void test_a_full_queue_only_delays(void **state)
{
	(void)state;
	static struct standing_member crowd[CROWD];
	char name[16];
	unsigned n_asked = 0;
	for (unsigned i = 0; i < CROWD; i++) {
		snprintf(name, sizeof(name), "client %u", i);
		join(&crowd[i], name, "app", 1);
	}
	standings_set_generation(standings, 2);
	for (unsigned round = 0; round < CROWD; round++) {
		standings_ask(standings, near, ASKED_AT);
		if (round == 0)
			assert_int_equal(channel_send(near, 1, "x", 1, -1), PS_E_AGAIN); /* it is full */
		if (handover_receive(far, &got) != PS_OK)
			break;
		n_asked++;
	}
	assert_int_equal(n_asked, CROWD);
	expect_no_question();
}

/* alice's connection of HTTP/2, in members[0], asks for a service. */
static void join_service(struct standing_member *member, const char *asked)
{
	if (members[0].standing == NULL) {
		struct handover handover = { .generation = 1, .not_after = NOT_AFTER, .is_h2 = 1, .client_pin = "alice" };
		handover.presented.len = (uint32_t)snprintf((char *)handover.presented.der, 64, "chain of alice");
		assert_int_equal(standings_join(standings, &handover, &holder, &members[0]), PS_OK);
	}
	assert_int_equal(standings_join_service(standings, members[0].standing, asked, 99, &holder, member), PS_OK);
}

static void answer_terms(uint64_t id, enum refusal refusal, bool keep)
{
	struct handover_judged judged = {
		.id = id, .generation = 1, .refusal = refusal, .keep = keep, .not_after = NOT_AFTER
	};

	snprintf(judged.service_name, sizeof(judged.service_name), "app");
	snprintf(judged.detail, sizeof(judged.detail), "because");
	judged.terms.idle_ms = 77;
	standings_answer(standings, &judged);
}

static void test_a_service_is_asked_for_once_and_its_terms_come_with_the_answer(void **state)
{
	(void)state;
	join_service(&members[1], "app:80");
	assert_int_equal(standing_verdict(members[1].standing), STANDING_OPEN);
	assert_string_equal(standing_service(members[1].standing), "app:80");
	standings_ask(standings, near, ASKED_AT);
	uint64_t id = expect_question("alice", "app:80", 1);
	assert_int_equal(got.body.rejudge.conn, 99);
	expect_no_question();
	answer_terms(id, REFUSAL_NONE, false);
	assert_int_equal(n_known, 1);
	assert_ptr_equal(known[0], &members[1]);
	assert_int_equal(standing_verdict(members[1].standing), STANDING_ALLOWED);
	assert_string_equal(standing_service(members[1].standing), "app");
	assert_int_equal(standing_terms(members[1].standing)->idle_ms, 77);
	join_service(&members[2], "app:80");
	assert_int_equal(standing_verdict(members[2].standing), STANDING_ALLOWED);
	standings_ask(standings, near, ASKED_AT + 1);
	expect_no_question();
}

static void test_a_right_that_never_was_falls_and_is_remembered(void **state)
{
	(void)state;
	join_service(&members[1], "app");
	standings_ask(standings, near, ASKED_AT);
	answer_terms(expect_question("alice", "app", 1), REFUSAL_NOT_ALLOWED, true);
	assert_int_equal(n_falls, 1);
	assert_ptr_equal(falls[0].member, &members[1]);
	join_service(&members[2], "app");
	assert_int_equal(standing_verdict(members[2].standing), STANDING_REFUSED);
	assert_int_equal(standing_refusal(members[2].standing), REFUSAL_NOT_ALLOWED);
	assert_string_equal(standing_detail(members[2].standing), "because");
	assert_int_equal(n_falls, 1);
}

static void test_what_lives_is_kept_where_the_answer_says_so_and_newcomers_are_not(void **state)
{
	(void)state;
	join_service(&members[1], "app");
	standings_ask(standings, near, ASKED_AT);
	answer_terms(expect_question("alice", "app", 1), REFUSAL_NONE, true);
	standings_expire(standings, NOT_AFTER + 1);
	assert_int_equal(n_falls, 1); /* the chain's, of whom nobody said that it may stay */
	assert_ptr_equal(falls[0].member, &members[0]);
	assert_int_equal(standing_verdict(members[1].standing), STANDING_REFUSED);
	assert_int_equal(standing_refusal(members[1].standing), REFUSAL_EXPIRED);
}

/* alice's stream in members[1] may; then there is generation 2. Returns the id of the question. */
static uint64_t allow_and_reload(bool keep)
{
	join_service(&members[1], "app");
	standings_ask(standings, near, ASKED_AT);
	answer_terms(expect_question("alice", "app", 1), REFUSAL_NONE, keep);
	standings_set_generation(standings, 2);
	standings_ask(standings, near, ASKED_AT);
	for (int i = 0; i < 2; i++) { /* the chain's, too */
		assert_int_equal(handover_receive(far, &got), PS_OK);
		if (got.body.rejudge.asked[0] != '\0')
			return got.body.rejudge.id;
	}
	fail_msg("nobody asks for the service");
	return 0;
}

static void test_what_comes_after_a_reload_waits_for_the_new_verdict(void **state)
{
	(void)state;
	const uint64_t id = allow_and_reload(false);
	n_known = 0;
	join_service(&members[2], "app");
	assert_int_equal(standing_verdict(members[2].standing), STANDING_OPEN);
	answer(id, 1, REFUSAL_NONE, NOT_AFTER); /* of a gatekeeper that retires */
	assert_int_equal(standing_verdict(members[2].standing), STANDING_OPEN);
	assert_int_equal(n_known, 0);
	answer(id, 2, REFUSAL_NONE, NOT_AFTER);
	assert_int_equal(standing_verdict(members[2].standing), STANDING_ALLOWED);
	assert_int_equal(n_known, 2); /* both hear of it: one lives already */
}

static void test_what_was_refused_waits_for_the_new_verdict_as_well(void **state)
{
	(void)state;
	join_service(&members[1], "app");
	standings_ask(standings, near, ASKED_AT);
	answer_terms(expect_question("alice", "app", 1), REFUSAL_NOT_ALLOWED, false);
	assert_int_equal(standing_verdict(members[1].standing), STANDING_REFUSED);
	standings_set_generation(standings, 2);
	assert_int_equal(standing_verdict(members[1].standing), STANDING_OPEN);
}

static void test_what_waits_beside_the_living_hears_that_it_may_not(void **state)
{
	(void)state;
	const uint64_t id = allow_and_reload(true);
	struct handover_judged refusal = {
		.id = id, .generation = 2, .refusal = REFUSAL_NOT_ALLOWED, .keep = 1, .not_after = NOT_AFTER
	};
	n_known = 0;
	join_service(&members[2], "app");
	standings_answer(standings, &refusal);
	assert_int_equal(n_falls, 0);
	assert_int_equal(n_known, 2);
	assert_int_equal(standing_verdict(members[2].standing), STANDING_REFUSED);
}

static void test_who_is_waited_for_is_asked_about_first(void **state)
{
	(void)state;
	static struct standing_member crowd[CROWD];
	char name[16];
	for (unsigned i = 0; i < CROWD; i++) {
		snprintf(name, sizeof(name), "Client %u", i); /* stands before alice in every order */
		join(&crowd[i], name, "app", 1);
	}
	join_service(&members[1], "app");
	standings_want(standings, members[1].standing);
	standings_ask(standings, near, ASKED_AT);
	const uint64_t id = expect_question("alice", "app", 1);
	answer_terms(id, REFUSAL_NONE, false);
	standings_want(standings, members[1].standing); /* it is judged: harmless */
	standings_set_generation(standings, 2);
	standings_ask(standings, near, ASKED_AT);
	while (handover_receive(far, &got) == PS_OK) /* a queue full of the crowd */
		assert_int_not_equal(got.body.rejudge.id, id);
	standings_want(standings, members[1].standing);
	standings_ask(standings, near, ASKED_AT);
	assert_int_equal(expect_question("alice", "app", 2), id);
	answer(id, 1, REFUSAL_NONE, NOT_AFTER); /* of a gatekeeper that retires: it is still waited for */
	while (handover_receive(far, &got) == PS_OK)
		;
	standings_ask(standings, near, ASKED_AT);
	assert_int_equal(expect_question("alice", "app", 2), id);
}

static void test_nobody_waits_for_ever(void **state)
{
	(void)state;
	const uint64_t id = allow_and_reload(false);
	standings_give_up(standings, ASKED_AT);
	standings_give_up(standings, ASKED_AT + STANDING_WAIT_MS - 1);
	assert_int_equal(n_late, 0);
	standings_give_up(standings, ASKED_AT + STANDING_WAIT_MS);
	assert_int_equal(n_late, 2); /* the chain, and the service */
	answer(id, 2, REFUSAL_NONE, NOT_AFTER);
	standings_give_up(standings, ASKED_AT + STANDING_WAIT_MS + 1);
	assert_int_equal(n_late, 3); /* the chain */
	standings_set_generation(standings, 3);
	standings_give_up(standings, ASKED_AT + STANDING_WAIT_MS + 2);
	assert_int_equal(n_late, 4); /* the chain again: the service has just begun to wait */
	standings_give_up(standings, UINT64_MAX);
	assert_int_equal(n_late, 6);
}

#define on_slot(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_slot(test_nobody_is_asked_about_before_a_reload),
		on_slot(test_whoever_lives_is_asked_about_once_after_a_reload),
		on_slot(test_connections_of_one_client_to_one_service_share_a_question),
		on_slot(test_another_service_of_the_same_client_is_another_question),
		on_slot(test_an_answer_that_refuses_fells_every_member),
		on_slot(test_an_answer_fells_nobody_else),
		on_slot(test_an_answer_that_allows_lets_stay),
		on_slot(test_an_answer_of_an_earlier_generation_is_asked_again),
		on_slot(test_a_question_without_an_answer_is_asked_again_in_time),
		on_slot(test_a_second_reload_asks_again_whoever_was_asked_about),
		on_slot(test_who_was_let_in_by_the_new_generation_is_not_asked_about),
		on_slot(test_who_is_handed_over_late_by_the_old_generation_is_asked_about),
		on_slot(test_who_has_left_is_not_asked_about),
		on_slot(test_an_answer_about_who_has_left_is_harmless),
		on_slot(test_what_ends_falls_in_its_next_second),
		on_slot(test_an_answer_sets_another_end),
		on_slot(test_a_full_queue_only_delays),
		on_slot(test_a_service_is_asked_for_once_and_its_terms_come_with_the_answer),
		on_slot(test_a_right_that_never_was_falls_and_is_remembered),
		on_slot(test_what_lives_is_kept_where_the_answer_says_so_and_newcomers_are_not),
		on_slot(test_what_comes_after_a_reload_waits_for_the_new_verdict),
		on_slot(test_what_was_refused_waits_for_the_new_verdict_as_well),
		on_slot(test_what_waits_beside_the_living_hears_that_it_may_not),
		on_slot(test_who_is_waited_for_is_asked_about_first),
		on_slot(test_nobody_waits_for_ever),
	};
	return cmocka_run_group_tests_name("standing", tests, NULL, NULL);
}
