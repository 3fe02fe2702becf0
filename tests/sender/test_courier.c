/* SPDX-License-Identifier: Apache-2.0 */
/* courier: which message goes when, with a clock that the test sets and a network that the test plays. */
#include "spool/courier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "spool/spool_queue.h"
#include "spool/spool_take.h"
#include "spool/stage.h"

#define NOON INT64_C(1764158400000)
#define POSTED_MAX 64

static char dir[64];
static char path[sizeof(dir) + sizeof("/spool.db")];
static struct spool *spool;
static struct courier *courier;
static struct ps_cause cause;
static struct courier_time now;
static uint64_t next_ms;
static struct spool_service services[] = { { .name = "ordered", .ordered = true } };
static struct spool_settings settings;

static struct courier_task *posted[POSTED_MAX];
static size_t n_posted;
static size_t n_settled;
static size_t n_expired;

static void on_post(void *owner, struct courier_task *task)
{
	(void)owner;
	assert_true(n_posted < POSTED_MAX);
	posted[n_posted++] = task;
}

static void on_settled(void *owner, const struct courier_task *task, uint64_t took_ms)
{
	(void)owner;
	(void)task;
	(void)took_ms;
	n_settled++;
}

static void on_expired(void *owner, const struct spool_message *message)
{
	(void)owner;
	(void)message;
	n_expired++;
}

/* Takes nothing off a wait. */
static uint64_t no_jitter(void *owner)
{
	(void)owner;
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/portseal-test-courier-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/spool.db", dir);
	if (spool_open(path, &spool, &cause) != PS_OK)
		return -1;
	settings = (struct spool_settings){ .in_flight = 4,
		                                .retry = { .first_ms = 1000, .max_ms = 60000 },
		                                .services_list = { .at = services, .n = 1 } };
	now = (struct courier_time){ .steady_ms = 5000, .wall_ms = NOON };
	n_posted = n_settled = n_expired = 0;
	const struct courier_config config = { .spool = spool,
		                                   .settings = &settings,
		                                   .post = on_post,
		                                   .on_settled = on_settled,
		                                   .on_expired = on_expired,
		                                   .random = no_jitter };
	return courier_new(&config, &courier) == PS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	char each[sizeof(path) + 8];
	(void)state;
	courier_free(courier);
	spool_close(spool);
	for (size_t i = 0; i < 3; i++) {
		snprintf(each, sizeof(each), "%s%s", path, suffixes[i]);
		unlink(each);
	}
	return rmdir(dir);
}

static void put(const char *service, uint64_t ttl_ms)
{
	const struct spool_put_config config = {
		.service = service, .now_ms = now.wall_ms, .ttl_ms = ttl_ms, .max_messages = 1000, .max_bytes = 1 << 20
	};
	struct spool_stage stage;
	char id[SPOOL_ID_SIZE];
	spool_stage_init(&stage, path, 100);
	assert_int_equal(spool_stage_add(&stage, service, strlen(service), &cause), PS_OK);
	assert_int_equal(spool_put(spool, &config, &stage, id, &cause), PS_OK);
	spool_stage_clear(&stage);
}

static void turn(void)
{
	cause.text[0] = '\0';
	const enum ps_err err = courier_turn(courier, &now, &next_ms, &cause);
	assert_string_equal(cause.text, "");
	assert_int_equal(err, PS_OK);
}

static void pass(uint64_t ms)
{
	now.steady_ms += ms;
	now.wall_ms += (int64_t)ms;
	turn();
}

/* The oldest that was posted and not landed. */
static struct courier_task *take_posted(void)
{
	assert_int_not_equal(n_posted, 0);
	struct courier_task *task = posted[0];
	n_posted--;
	for (size_t i = 0; i < n_posted; i++)
		posted[i] = posted[i + 1];
	return task;
}

static void land(unsigned status, uint64_t retry_after_ms)
{
	struct courier_task *task = take_posted();
	verdict_of_status(&task->verdict, status, NULL, NULL, retry_after_ms);
	courier_landed(task);
}

static void lose_relay(bool unsent)
{
	struct courier_task *task = take_posted();
	verdict_of_break(&task->verdict, VERDICT_RELAY, unsent, "relay-not-reached", "nobody listens");
	courier_landed(task);
}

static struct spool_message only_message(void)
{
	struct spool_message message;
	assert_int_equal(spool_walk(spool, 0, &message, &cause), PS_OK);
	return message;
}

static uint64_t messages_left(void)
{
	struct spool_totals totals;
	assert_int_equal(spool_totals(spool, &totals, &cause), PS_OK);
	return totals.messages;
}

static void test_no_more_than_in_flight_are_posted(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++)
		put("app", 0);
	turn();
	assert_int_equal(n_posted, 4);
	land(200, 0);
	turn();
	assert_int_equal(n_posted, 4);
	assert_int_equal(n_settled, 1);
	assert_int_equal(messages_left(), 5);
}

static void test_services_take_turns(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++)
		put("crowd", 0);
	put("lonely", 0);
	turn();
	assert_int_equal(n_posted, 4);
	assert_string_equal(posted[0]->message.service, "crowd");
	assert_string_equal(posted[1]->message.service, "lonely");
}

static void test_an_ordered_service_has_one_in_flight_and_waits_for_it(void **state)
{
	(void)state;
	put("ordered", 0);
	put("ordered", 0);
	turn();
	assert_int_equal(n_posted, 1);
	const int64_t first = posted[0]->message.seq;
	land(502, 0);
	turn();
	assert_int_equal(n_posted, 0);
	pass(1000);
	assert_int_equal(n_posted, 1);
	assert_int_equal(posted[0]->message.seq, first);
	land(204, 0);
	turn();
	assert_int_equal(n_posted, 1);
	assert_int_not_equal(posted[0]->message.seq, first);
}

static void test_waits_double_up_to_the_longest(void **state)
{
	static const uint64_t waits[] = { 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };
	(void)state;
	put("app", 0);
	turn();
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		land(503, 0);
		turn();
		pass(waits[i] - 1);
		assert_int_equal(n_posted, 0);
		pass(1);
		assert_int_equal(n_posted, 1);
	}
	assert_int_equal(only_message().attempts, 9);
}

static void test_a_service_that_failed_gets_one_probe_and_then_all(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++)
		put("app", 0);
	turn();
	for (int i = 0; i < 4; i++)
		land(502, 0);
	turn();
	assert_int_equal(n_posted, 0);
	pass(1000);
	assert_int_equal(n_posted, 1);
	land(200, 0);
	turn();
	assert_int_equal(n_posted, 4);
}

static void test_a_dead_service_does_not_hold_up_its_neighbour(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++)
		put("dead", 0);
	put("well", 0);
	turn();
	for (int i = 0; i < 4; i++)
		land(strcmp(posted[0]->message.service, "dead") == 0 ? 504 : 200, 0);
	for (int i = 0; i < 4; i++)
		put("well", 0);
	turn();
	assert_int_equal(n_posted, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(posted[i]->message.service, "well");
}

static void test_a_relay_that_is_not_reached_pauses_all_and_costs_no_attempt(void **state)
{
	(void)state;
	put("a", 0);
	put("b", 0);
	turn();
	lose_relay(true);
	lose_relay(true);
	turn();
	assert_int_equal(n_posted, 0);
	pass(999);
	assert_int_equal(n_posted, 0);
	pass(1);
	assert_int_equal(n_posted, 1);
	assert_int_equal(posted[0]->message.attempts, 1);
	lose_relay(true);
	turn();
	pass(1000);
	assert_int_equal(n_posted, 0);
	pass(1000);
	assert_int_equal(n_posted, 1);
	land(200, 0);
	turn();
	assert_int_equal(n_posted, 1);
}

static void test_a_break_after_the_request_is_uncertain(void **state)
{
	struct spool_totals totals;
	(void)state;
	put("app", 0);
	turn();
	lose_relay(false);
	turn();
	assert_int_equal(only_message().uncertain, 1);
	assert_int_equal(only_message().attempts, 1);
	assert_string_equal(only_message().reason, "relay-not-reached");
	assert_int_equal(spool_totals(spool, &totals, &cause), PS_OK);
	assert_int_equal(totals.uncertain, 1);
}

static void test_retry_after_is_heeded_within_reason(void **state)
{
	(void)state;
	put("app", 0);
	turn();
	land(429, 30000);
	turn();
	pass(29999);
	assert_int_equal(n_posted, 0);
	pass(1);
	assert_int_equal(n_posted, 1);
	land(429, UINT64_MAX);
	turn();
	pass(VERDICT_RETRY_AFTER_MAX_MS);
	assert_int_equal(n_posted, 1);
}

static void test_what_can_never_succeed_is_dead_at_once_and_kept(void **state)
{
	(void)state;
	put("app", 0);
	turn();
	land(413, 0);
	turn();
	assert_int_equal(only_message().state, SPOOL_DEAD);
	assert_string_equal(only_message().reason, "message-too-long");
	pass(3600000);
	assert_int_equal(n_posted, 0);
}

static void test_a_dead_letter_lets_the_next_of_its_order_pass(void **state)
{
	(void)state;
	put("ordered", 0);
	put("ordered", 0);
	turn();
	land(400, 0);
	turn();
	assert_int_equal(n_posted, 1);
	assert_int_equal(posted[0]->message.seq, 2);
}

static void test_what_expired_is_buried_and_not_sent(void **state)
{
	(void)state;
	put("app", 1000);
	now.steady_ms += 1000;
	now.wall_ms += 1000;
	turn();
	assert_int_equal(n_posted, 0);
	assert_int_equal(n_expired, 1);
	assert_int_equal(only_message().state, SPOOL_DEAD);
	assert_string_equal(only_message().detail, "never tried");
}

static void test_a_clock_set_back_stalls_nothing(void **state)
{
	(void)state;
	put("app", 0);
	turn();
	land(502, 0);
	turn();
	now.wall_ms -= 86400000;
	pass(1000);
	assert_int_equal(n_posted, 1);
	land(502, 0);
	turn();
	put("app", 0);
	pass(2000);
	assert_int_equal(n_posted, 1);
	land(200, 0);
	turn();
	assert_int_equal(n_posted, 1);
	land(200, 0);
	turn();
	assert_int_equal(messages_left(), 0);
}

static void test_a_clock_that_is_right_again_stalls_nothing(void **state)
{
	(void)state;
	now.wall_ms += 86400000;
	put("app", 0); /* kept tomorrow, as it seems */
	now.wall_ms -= 86400000;
	turn();
	assert_int_equal(n_posted, 1);
}

static void test_the_next_turn_is_due_when_the_next_message_is(void **state)
{
	(void)state;
	turn();
	assert_int_equal(next_ms, COURIER_LOOK_MS);
	put("app", 0);
	turn();
	land(409, 0);
	turn();
	assert_int_equal(next_ms, 1000);
}

/* A settlement that the spool does not take is kept, told as an error, written later and never sent again. */
static void test_what_cannot_be_written_is_kept_and_not_sent_again(void **state)
{
	sqlite3 *other = NULL;
	(void)state;
	put("app", 0);
	put("app", 0);
	turn();
	land(200, 0);
	spool_set_patience(spool, 0);
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(courier_turn(courier, &now, &next_ms, &cause), PS_E_AGAIN);
	assert_int_equal(next_ms, 1000);
	assert_int_equal(n_settled, 0);
	assert_int_equal(courier_n_landed(courier), 1);
	assert_int_equal(n_posted, 1);
	sqlite3_close(other);
	turn();
	assert_int_equal(n_settled, 1);
	assert_int_equal(messages_left(), 1);
	assert_int_equal(courier_n_landed(courier), 0);
}

static void test_a_draining_courier_claims_nothing_more(void **state)
{
	(void)state;
	put("app", 0);
	turn();
	courier_drain(courier);
	put("app", 0);
	turn();
	assert_int_equal(n_posted, 1);
	assert_int_equal(courier_n_flying(courier), 1);
	land(200, 0);
	turn();
	assert_int_equal(n_posted, 0);
	assert_int_equal(courier_n_flying(courier), 0);
	assert_int_equal(messages_left(), 1);
}

static void test_waits_are_jittered_by_half_and_never_overflow(void **state)
{
	(void)state;
	assert_int_equal(verdict_wait_ms(1000, 60000, 1, 0), 1000);
	assert_int_equal(verdict_wait_ms(1000, 60000, 1, 500), 500);
	assert_int_equal(verdict_wait_ms(1000, 60000, UINT64_MAX, 0), 60000);
	for (uint64_t random = 0; random < 5000; random++)
		assert_in_range(verdict_wait_ms(1000, 60000, 3, random * 7919), 2000, 4000);
}

static void test_each_answer_has_its_meaning(void **state)
{
	static const struct {
		unsigned status;
		enum verdict_fate fate;
		enum verdict_scope scope;
		bool uncertain;
		const char *reason;
	} rows[] = {
		{ 200, VERDICT_DELIVERED, VERDICT_MESSAGE, false, "delivered" },
		{ 204, VERDICT_DELIVERED, VERDICT_MESSAGE, false, "delivered" },
		{ 400, VERDICT_DEAD, VERDICT_MESSAGE, false, "bad-request" },
		{ 403, VERDICT_RETRY, VERDICT_SERVICE, false, "not-allowed" },
		{ 404, VERDICT_RETRY, VERDICT_SERVICE, false, "unknown-service" },
		{ 409, VERDICT_RETRY, VERDICT_MESSAGE, false, "under-way" },
		{ 413, VERDICT_DEAD, VERDICT_MESSAGE, false, "message-too-long" },
		{ 422, VERDICT_DEAD, VERDICT_MESSAGE, false, "bad-request" },
		{ 429, VERDICT_RETRY, VERDICT_SERVICE, false, "rate-limited" },
		{ 500, VERDICT_RETRY, VERDICT_SERVICE, true, "relay-failed" },
		{ 501, VERDICT_RETRY, VERDICT_SERVICE, false, "not-implemented" },
		{ 502, VERDICT_RETRY, VERDICT_SERVICE, true, "application-failed" },
		{ 503, VERDICT_RETRY, VERDICT_SERVICE, false, "unavailable" },
		{ 504, VERDICT_RETRY, VERDICT_SERVICE, true, "application-timeout" },
		{ 302, VERDICT_RETRY, VERDICT_SERVICE, true, "unexpected-answer" },
		{ 0, VERDICT_RETRY, VERDICT_SERVICE, true, "unexpected-answer" },
	};
	struct verdict verdict;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		verdict_of_status(&verdict, rows[i].status, NULL, NULL, 0);
		assert_int_equal(verdict.fate, rows[i].fate);
		assert_int_equal(verdict.scope, rows[i].scope);
		assert_int_equal(verdict.uncertain, rows[i].uncertain);
		assert_string_equal(verdict.reason, rows[i].reason);
	}
	verdict_of_status(&verdict, 403, "revoked", "its words", 0);
	assert_string_equal(verdict.reason, "revoked");
	assert_string_equal(verdict.detail, "its words");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_no_more_than_in_flight_are_posted),
		TEST(test_services_take_turns),
		TEST(test_an_ordered_service_has_one_in_flight_and_waits_for_it),
		TEST(test_waits_double_up_to_the_longest),
		TEST(test_a_service_that_failed_gets_one_probe_and_then_all),
		TEST(test_a_dead_service_does_not_hold_up_its_neighbour),
		TEST(test_a_relay_that_is_not_reached_pauses_all_and_costs_no_attempt),
		TEST(test_a_break_after_the_request_is_uncertain),
		TEST(test_retry_after_is_heeded_within_reason),
		TEST(test_what_can_never_succeed_is_dead_at_once_and_kept),
		TEST(test_a_dead_letter_lets_the_next_of_its_order_pass),
		TEST(test_what_expired_is_buried_and_not_sent),
		TEST(test_a_clock_set_back_stalls_nothing),
		TEST(test_a_clock_that_is_right_again_stalls_nothing),
		TEST(test_the_next_turn_is_due_when_the_next_message_is),
		TEST(test_what_cannot_be_written_is_kept_and_not_sent_again),
		TEST(test_a_draining_courier_claims_nothing_more),
		cmocka_unit_test(test_waits_are_jittered_by_half_and_never_overflow),
		cmocka_unit_test(test_each_answer_has_its_meaning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
