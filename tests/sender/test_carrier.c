/* SPDX-License-Identifier: Apache-2.0 */
/* carrier: from a task to its verdict, with a dial, a connection and a spool that the test plays in place of the real ones. */
#include "spool/carrier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "post.h"

/* What the carrier sees of the network. */
struct dial {
	struct dial_config config;
};

struct post {
	struct post_config config;
	size_t room;
	bool open;
};

struct post_message {
	struct post_message_config config;
};

#define MANY 16

static struct dial dials[MANY];
static size_t n_dials;
static size_t n_cancelled;
static struct post posts[MANY];
static size_t n_posts;
static struct post_message messages[MANY];
static size_t n_messages;
static size_t n_landed;
static size_t n_told;
static bool empty;
static enum ps_err spool_error;

enum ps_err dial_new(const struct dial_config *config, struct dial **dial)
{
	dials[n_dials].config = *config;
	*dial = &dials[n_dials++];
	return PS_OK;
}

void dial_cancel(struct dial *dial)
{
	assert_non_null(dial);
	n_cancelled++;
}

enum ps_err post_new(const struct post_config *config, struct post **post)
{
	posts[n_posts] = (struct post){ .config = *config, .open = true };
	*post = &posts[n_posts++];
	return PS_OK;
}

size_t post_room(const struct post *post)
{
	return post->room;
}

bool post_is_open(const struct post *post)
{
	return post->open;
}

void post_shut(struct post *post)
{
	post->open = false;
}

void post_abort(struct post *post)
{
	post->open = false;
}

enum ps_err post_begin(struct post *post, const struct post_message_config *config, struct post_message **message)
{
	if (!post->open)
		return PS_E_CLOSED;
	if (post->room == 0)
		return PS_E_LIMIT;
	post->room--;
	messages[n_messages].config = *config;
	*message = &messages[n_messages++];
	return PS_OK;
}

void courier_landed(struct courier_task *task)
{
	assert_int_equal(task->state, COURIER_FLYING);
	task->state = COURIER_LANDED;
	n_landed++;
}

/* A payload of `len` times 'x', in pieces of 3. */
enum ps_err spool_read(struct spool *spool, int64_t seq, uint64_t offset, void *out, size_t cap, size_t *n,
                       struct ps_cause *cause)
{
	(void)spool;
	(void)seq;
	if (spool_error != PS_OK)
		return ps_cause_set(cause, spool_error, "the disk is broken");
	*n = 8 - offset < 3 ? (size_t)(8 - offset) : 3;
	assert_in_range(*n, 0, cap);
	memset(out, 'x', *n);
	return PS_OK;
}

static struct sender_relay relays[2] = {
	{ .address = { .kind = ADDRESS_TCP, .host = "first", .port = 1 }, .server_name = "first.example" },
	{ .address = { .kind = ADDRESS_TCP, .host = "second", .port = 2 }, .server_name = "second.example" },
};
static struct carrier *carrier;
static struct terms *terms;
static struct courier_task tasks[MANY];

static void on_landed(void *owner)
{
	(void)owner;
	n_told++;
}

static void on_empty(void *owner)
{
	(void)owner;
	empty = true;
}

static struct terms *make_terms(size_t n_relays)
{
	struct terms *fresh = calloc(1, sizeof(*fresh));
	fresh->config = calloc(1, sizeof(*fresh->config));
	fresh->config->relays_list = (struct conf_list){ .at = relays, .n = n_relays };
	fresh->holds = 1;
	return fresh;
}

static int set_up_with(size_t n_relays)
{
	n_dials = n_cancelled = n_posts = n_messages = n_landed = n_told = 0;
	spool_error = PS_OK;
	empty = false;
	memset(tasks, 0, sizeof(tasks));
	terms = make_terms(n_relays);
	const struct carrier_config config = { .terms = terms, .on_landed = on_landed, .on_empty = on_empty };
	return carrier_new(&config, &carrier) == PS_OK ? 0 : -1;
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with(1);
}

static int set_up_two(void **state)
{
	(void)state;
	return set_up_with(2);
}

/* Every test has ended its connections. */
static int tear_down(void **state)
{
	(void)state;
	carrier_close(carrier);
	assert_true(empty);
	carrier_free(carrier);
	assert_int_equal(terms->holds, 1);
	terms_free(terms);
	assert_int_equal(n_told, n_landed);
	return 0;
}

static struct courier_task *post(size_t i)
{
	tasks[i].message = (struct spool_message){ .seq = (int64_t)i, .id = "key", .service = "app", .len = 8 };
	carrier_post(carrier, &tasks[i]);
	return &tasks[i];
}

static void dialled(size_t i)
{
	struct dial_result result = { .outcome = { .code = OUTCOME_DONE }, .fd = -1 };
	dials[i].config.on_done(dials[i].config.owner, &result);
}

static void not_dialled(size_t i, enum outcome_code code)
{
	struct dial_result result = { .fd = -1 };
	outcome_set(&result.outcome, code, "it failed");
	dials[i].config.on_done(dials[i].config.owner, &result);
}

static void make_room(size_t i, size_t room)
{
	posts[i].room = room;
	posts[i].config.on_room(posts[i].config.owner);
}

static void end_post(size_t i, enum outcome_code code)
{
	struct outcome outcome = { .code = OUTCOME_DONE };
	if (code != OUTCOME_DONE)
		outcome_set(&outcome, code, "it ended");
	posts[i].open = false;
	posts[i].config.on_end(posts[i].config.owner, &outcome);
}

static void done(size_t i, const struct post_result *result)
{
	messages[i].config.on_done(messages[i].config.owner, result);
}

/* Dialled and ready, with a task under way. */
static struct courier_task *post_on_a_line(void)
{
	struct courier_task *task = post(0);
	dialled(0);
	make_room(0, 4);
	assert_int_equal(n_messages, 1);
	return task;
}

static void assert_verdict(const struct courier_task *task, enum verdict_fate fate, enum verdict_scope scope,
                           bool uncertain, bool unsent, const char *reason)
{
	assert_int_equal(task->state, COURIER_LANDED);
	assert_string_equal(task->verdict.reason, reason);
	assert_int_equal(task->verdict.fate, fate);
	assert_int_equal(task->verdict.scope, scope);
	assert_int_equal(task->verdict.uncertain, uncertain);
	assert_int_equal(task->verdict.unsent, unsent);
}

static void test_many_tasks_share_one_connection(void **state)
{
	(void)state;
	post(0);
	post(1);
	assert_int_equal(n_dials, 1);
	assert_int_equal(dials[0].config.offer, DIAL_OFFER_H2);
	dialled(0);
	assert_int_equal(n_messages, 0);
	make_room(0, 1);
	assert_int_equal(n_messages, 1);
	make_room(0, 1);
	assert_int_equal(n_messages, 2);
	post(2);
	assert_int_equal(n_dials, 1);
	make_room(0, 5);
	assert_int_equal(n_messages, 3);
	assert_string_equal(messages[0].config.key, "key");
	assert_string_equal(messages[0].config.service, "app");
	assert_int_equal(messages[0].config.length, 8);
	for (size_t i = 0; i < 3; i++)
		done(i, &(struct post_result){ .fate = POST_DELIVERED, .status = 200 });
	assert_int_equal(n_landed, 3);
	end_post(0, OUTCOME_DONE);
}

static void test_a_payload_is_read_to_its_end(void **state)
{
	uint8_t room[100];
	size_t n;
	(void)state;
	post_on_a_line();
	const struct post_message_config *config = &messages[0].config;
	assert_int_equal(config->on_read(config->owner, room, sizeof(room), &n), POST_MORE);
	assert_int_equal(config->on_read(config->owner, room, sizeof(room), &n), POST_MORE);
	assert_int_equal(config->on_read(config->owner, room, sizeof(room), &n), POST_END);
	assert_int_equal(n, 2);
	done(0, &(struct post_result){ .fate = POST_DELIVERED, .has_receipt = true, .receipt = { .id = "abc" } });
	assert_verdict(&tasks[0], VERDICT_DELIVERED, VERDICT_MESSAGE, false, false, "delivered");
	assert_string_equal(tasks[0].receipt, "abc");
	end_post(0, OUTCOME_DONE);
}

static void test_a_payload_that_cannot_be_read_is_never_sent_as_if_whole(void **state)
{
	uint8_t room[100];
	size_t n;
	(void)state;
	post_on_a_line();
	spool_error = PS_E_IO;
	const struct post_message_config *config = &messages[0].config;
	assert_int_equal(config->on_read(config->owner, room, sizeof(room), &n), POST_FAILED);
	done(0, &(struct post_result){ .fate = POST_CANCELLED });
	assert_verdict(&tasks[0], VERDICT_RETRY, VERDICT_MESSAGE, false, true, "spool-unreadable");
	assert_string_equal(tasks[0].verdict.detail, "the disk is broken");
	end_post(0, OUTCOME_DONE);
}

static void test_an_answer_is_the_relays_word(void **state)
{
	struct post_result result = { .fate = POST_ANSWERED, .status = 429, .reason = "rate-limited", .retry_after_s = 7 };
	(void)state;
	outcome_set(&result.outcome, OUTCOME_LIMIT, "too many");
	post_on_a_line();
	done(0, &result);
	assert_verdict(&tasks[0], VERDICT_RETRY, VERDICT_SERVICE, false, false, "rate-limited");
	assert_int_equal(tasks[0].verdict.retry_after_ms, 7000);
	assert_string_equal(tasks[0].verdict.detail, "too many");
	end_post(0, OUTCOME_DONE);
}

static void test_gone_with_a_receipt_is_delivered_before(void **state)
{
	(void)state;
	post_on_a_line();
	done(0, &(struct post_result){ .fate = POST_ANSWERED, .status = 410, .has_receipt = true });
	assert_int_equal(tasks[0].verdict.fate, VERDICT_DELIVERED);
	end_post(0, OUTCOME_DONE);
}

static void test_a_stream_that_broke_concerns_its_service_and_a_connection_all(void **state)
{
	(void)state;
	post_on_a_line();
	post(1);
	done(0, &(struct post_result){ .fate = POST_UNKNOWN });
	assert_verdict(&tasks[0], VERDICT_RETRY, VERDICT_SERVICE, true, false, "broken-off");
	posts[0].open = false;
	done(1, &(struct post_result){ .fate = POST_UNKNOWN });
	assert_verdict(&tasks[1], VERDICT_RETRY, VERDICT_RELAY, true, false, "broken-off");
	end_post(0, OUTCOME_NO_RELAY);
}

static void test_what_the_relay_did_nothing_with_is_unsent(void **state)
{
	(void)state;
	post_on_a_line();
	done(0, &(struct post_result){ .fate = POST_UNPROCESSED });
	assert_verdict(&tasks[0], VERDICT_RETRY, VERDICT_RELAY, false, true, "unprocessed");
	end_post(0, OUTCOME_DONE);
}

static void test_a_relay_that_is_not_reached_lands_all_that_waits_unsent(void **state)
{
	(void)state;
	post(0);
	post(1);
	not_dialled(0, OUTCOME_NO_RELAY);
	assert_verdict(&tasks[0], VERDICT_RETRY, VERDICT_RELAY, false, true, "relay-not-reached");
	assert_verdict(&tasks[1], VERDICT_RETRY, VERDICT_RELAY, false, true, "relay-not-reached");
	assert_string_equal(tasks[1].verdict.detail, "it failed");
	assert_false(tasks[0].verdict.mendable);
	assert_int_equal(n_dials, 1);
	post(2);
	assert_int_equal(n_dials, 2);
	not_dialled(1, OUTCOME_WRONG_RELAY);
	assert_verdict(&tasks[2], VERDICT_RETRY, VERDICT_RELAY, false, true, "wrong-relay");
	assert_true(tasks[2].verdict.mendable);
}

static void test_the_second_relay_is_tried_when_the_first_is_not_there(void **state)
{
	(void)state;
	post(0);
	assert_int_equal(dials[0].config.relay, 0);
	not_dialled(0, OUTCOME_NO_RELAY);
	assert_int_equal(n_landed, 0);
	assert_int_equal(dials[1].config.relay, 1);
	dialled(1);
	assert_string_equal(posts[0].config.names.server_name, "second.example");
	make_room(0, 1);
	done(0, &(struct post_result){ .fate = POST_DELIVERED });
	end_post(0, OUTCOME_DONE);
	post(1);
	assert_int_equal(dials[2].config.relay, 0);
	not_dialled(2, OUTCOME_NO_RELAY);
	not_dialled(3, OUTCOME_NO_RELAY);
	assert_int_equal(n_landed, 2);
}

/* In TLS 1.3 the relay judges us after our handshake is over. */
static void test_a_refusal_behind_the_handshake_lands_what_waits(void **state)
{
	(void)state;
	post(0);
	dialled(0);
	end_post(0, OUTCOME_REFUSED);
	assert_verdict(&tasks[0], VERDICT_RETRY, VERDICT_RELAY, false, true, "refused");
	assert_int_equal(n_dials, 1);
}

static void test_a_relay_that_lets_in_and_takes_nothing_is_not_dialled_without_end(void **state)
{
	(void)state;
	post(0);
	dialled(0);
	end_post(0, OUTCOME_DONE);
	assert_verdict(&tasks[0], VERDICT_RETRY, VERDICT_RELAY, false, true, "relay-not-reached");
	assert_int_equal(n_dials, 1);
}

static void test_behind_a_goaway_the_rest_goes_another_way_at_once(void **state)
{
	(void)state;
	post_on_a_line();
	posts[0].open = false;
	post(1);
	assert_int_equal(n_dials, 2);
	dialled(1);
	make_room(1, 1);
	assert_int_equal(n_messages, 2);
	done(0, &(struct post_result){ .fate = POST_DELIVERED });
	end_post(0, OUTCOME_DONE);
	done(1, &(struct post_result){ .fate = POST_DELIVERED });
	end_post(1, OUTCOME_DONE);
	assert_int_equal(n_landed, 2);
}

static void test_new_terms_make_new_connections_and_old_ones_finish(void **state)
{
	struct terms *next = make_terms(1);
	(void)state;
	post_on_a_line();
	carrier_use_terms(carrier, next);
	terms_free(terms);
	terms = next;
	assert_false(posts[0].open);
	post(1);
	assert_int_equal(n_dials, 2);
	done(0, &(struct post_result){ .fate = POST_DELIVERED });
	end_post(0, OUTCOME_DONE);
	not_dialled(1, OUTCOME_NO_RELAY);
	assert_int_equal(n_landed, 2);
}

static void test_new_terms_dial_anew_what_was_being_dialled(void **state)
{
	struct terms *next = make_terms(1);
	(void)state;
	post(0);
	carrier_use_terms(carrier, next);
	terms_free(terms);
	terms = next;
	assert_int_equal(n_cancelled, 1);
	assert_int_equal(n_dials, 2);
	not_dialled(1, OUTCOME_NO_RELAY);
	assert_int_equal(n_landed, 1);
}

static void test_an_abort_lands_all_at_once(void **state)
{
	(void)state;
	post_on_a_line();
	posts[0].room = 0;
	post(1);
	carrier_abort(carrier);
	assert_verdict(&tasks[1], VERDICT_RETRY, VERDICT_RELAY, false, true, "unforeseen");
	assert_false(empty);
	done(0, &(struct post_result){ .fate = POST_UNKNOWN });
	assert_verdict(&tasks[0], VERDICT_RETRY, VERDICT_RELAY, true, false, "broken-off");
	end_post(0, OUTCOME_DONE);
	assert_true(empty);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_many_tasks_share_one_connection),
		TEST(test_a_payload_is_read_to_its_end),
		TEST(test_a_payload_that_cannot_be_read_is_never_sent_as_if_whole),
		TEST(test_an_answer_is_the_relays_word),
		TEST(test_gone_with_a_receipt_is_delivered_before),
		TEST(test_a_stream_that_broke_concerns_its_service_and_a_connection_all),
		TEST(test_what_the_relay_did_nothing_with_is_unsent),
		TEST(test_a_relay_that_is_not_reached_lands_all_that_waits_unsent),
		cmocka_unit_test_setup_teardown(test_the_second_relay_is_tried_when_the_first_is_not_there, set_up_two,
		                                tear_down),
		TEST(test_a_refusal_behind_the_handshake_lands_what_waits),
		TEST(test_a_relay_that_lets_in_and_takes_nothing_is_not_dialled_without_end),
		TEST(test_behind_a_goaway_the_rest_goes_another_way_at_once),
		TEST(test_new_terms_make_new_connections_and_old_ones_finish),
		TEST(test_new_terms_dial_anew_what_was_being_dialled),
		TEST(test_an_abort_lands_all_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
