/* SPDX-License-Identifier: Apache-2.0 */
/* dials: what is asked is answered once, by whoever was asked, or in the end by ourselves. The test plays the gatekeepers. */
#include "dials.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/channel.h"

#define PATIENCE_MS 50

static struct {
	uv_loop_t loop;
	int near, far;
	struct briefing briefing;
	struct dials *dials;
	unsigned n_answers;
	struct dials_asked asked;
	struct handover_dial_failed failed;
	int fd;
} fixture;

static int tag;

static void on_answer(void *owner, const struct dials_asked *asked, struct handover_message *message)
{
	(void)owner;
	fixture.n_answers++;
	fixture.asked = *asked;
	fixture.fd = message->fd;
	if (message->type == HANDOVER_DIAL_FAILED)
		fixture.failed = message->body.failed;
}

static int set_up(void **state)
{
	(void)state;
	int ends[2];

	memset(&fixture, 0, sizeof(fixture));
	fixture.fd = -1;
	if (uv_loop_init(&fixture.loop) != 0 || channel_pair(ends) != PS_OK)
		return -1;
	fixture.near = ends[0];
	fixture.far = ends[1];
	fixture.briefing.generation = 3;
	fixture.briefing.patience_ms = PATIENCE_MS;
	const struct dials_config config = {
		.loop = &fixture.loop, .slot = fixture.near, .briefing = &fixture.briefing, .on_answer = on_answer
	};
	return dials_new(&config, &fixture.dials) == PS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	dials_free(fixture.dials);
	close(fixture.near);
	close(fixture.far);
	if (fixture.fd >= 0)
		close(fixture.fd);
	return uv_loop_close(&fixture.loop);
}

/* What a gatekeeper hears. */
static struct handover_dial hear(void)
{
	struct handover_message message;

	assert_int_equal(handover_receive(fixture.far, &message), PS_OK);
	assert_int_equal(message.type, HANDOVER_DIAL);
	return message.body.dial;
}

static void say(struct handover_message *message)
{
	dials_take(fixture.dials, message);
}

static void say_failed(uint64_t number, bool again)
{
	say(&(struct handover_message){
		.type = HANDOVER_DIAL_FAILED, .fd = -1, .body.failed = { .conn = number, .again = again, .exit_code = 4 } });
}

static void say_connected(uint64_t number, int fd)
{
	say(&(struct handover_message){ .type = HANDOVER_CONNECTION, .fd = fd, .body.connection = { .conn = number } });
}

static void ask(void)
{
	assert_int_equal(dials_ask(fixture.dials, 1, DIAL_OFFER_BOTH, "app", &tag), PS_OK);
}

static void test_a_request_says_what_is_wanted_and_its_answer_comes_back(void **state)
{
	(void)state;
	ask();
	const struct handover_dial heard = hear();
	assert_int_equal(heard.relay, 1);
	assert_int_equal(heard.offer, DIAL_OFFER_BOTH);
	assert_int_equal(heard.generation, 3);
	assert_string_equal(heard.service, "app");
	say_failed(heard.conn, false);
	assert_int_equal(fixture.n_answers, 1);
	assert_ptr_equal(fixture.asked.tag, &tag);
	assert_int_equal(fixture.failed.exit_code, 4);
	say_failed(heard.conn, false);
	assert_int_equal(fixture.n_answers, 1); /* once */
}

static void test_an_answer_that_nobody_asked_for_is_closed(void **state)
{
	(void)state;
	const int fd = dup(STDIN_FILENO);
	say_connected(4711, fd);
	assert_int_equal(fixture.n_answers, 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_who_has_gone_is_not_told(void **state)
{
	(void)state;
	ask();
	dials_forget(fixture.dials, &tag);
	say_connected(hear().conn, dup(STDIN_FILENO));
	assert_int_equal(fixture.n_answers, 1);
	assert_null(fixture.asked.tag);
	assert_false(fixture.asked.shared);
	assert_true(fixture.fd >= 0);
}

static void test_only_shared_ones_under_way_to_a_relay_are_counted(void **state)
{
	(void)state;
	ask();
	assert_int_equal(dials_shared(fixture.dials, 1), 0);
	assert_int_equal(dials_ask(fixture.dials, 1, DIAL_OFFER_H2, "", NULL), PS_OK);
	assert_int_equal(dials_shared(fixture.dials, 1), 1);
	assert_int_equal(dials_shared(fixture.dials, 0), 0);
	(void)hear();
	say_failed(hear().conn, false);
	assert_true(fixture.asked.shared);
	assert_int_equal(dials_shared(fixture.dials, 1), 0);
}

static void test_a_gatekeeper_of_another_generation_is_asked_again(void **state)
{
	(void)state;
	ask();
	say_failed(hear().conn, true);
	assert_int_equal(fixture.n_answers, 0);
	assert_int_equal(dials_unsent(fixture.dials), 1);
	assert_int_equal(dials_send(fixture.dials), PS_OK);
	assert_int_equal(hear().generation, 3);
}

static void test_when_the_generation_has_changed_the_asker_decides(void **state)
{
	(void)state;
	ask();
	const uint64_t number = hear().conn;
	fixture.briefing.generation = 4;
	say_failed(number, true);
	assert_int_equal(fixture.n_answers, 1);
	assert_int_equal(fixture.failed.again, 1);
}

static void test_what_was_not_sent_is_given_back_when_the_generation_changes(void **state)
{
	(void)state;
	ask();
	say_failed(hear().conn, true);
	ask();
	fixture.briefing.generation = 4;
	dials_renew(fixture.dials);
	assert_int_equal(fixture.n_answers, 1); /* the other one was sent, and will be answered */
	assert_int_equal(fixture.failed.again, 1);
	assert_int_equal(dials_unsent(fixture.dials), 0);
	say_failed(hear().conn, false);
	assert_int_equal(fixture.n_answers, 2);
}

static void test_a_full_queue_is_sent_later(void **state)
{
	(void)state;
	unsigned n = 0;

	while (dials_unsent(fixture.dials) == 0 && n++ < 10000)
		ask();
	assert_int_equal(dials_send(fixture.dials), PS_E_AGAIN);
	for (unsigned i = 1; i < n; i++)
		(void)hear();
	assert_int_equal(dials_send(fixture.dials), PS_OK);
	(void)hear();
	assert_int_equal(dials_unsent(fixture.dials), 0);
}

static void pass_time(uint64_t ms)
{
	const uint64_t until = uv_now(&fixture.loop) + ms;

	while (uv_now(&fixture.loop) < until) {
		(void)usleep(1000);
		uv_update_time(&fixture.loop);
	}
}

static void test_what_nobody_answers_in_time_has_failed(void **state)
{
	(void)state;
	ask();
	const uint64_t due_ms = dials_expire(fixture.dials);
	assert_int_equal(fixture.n_answers, 0);
	assert_int_equal(due_ms, uv_now(&fixture.loop) + PATIENCE_MS + 2000);
	pass_time(PATIENCE_MS + 2000);
	assert_true(dials_expire(fixture.dials) == UINT64_MAX);
	assert_int_equal(fixture.n_answers, 1);
	assert_true(fixture.failed.exit_code == DIALS_NO_ANSWER);
	say_connected(hear().conn, dup(STDIN_FILENO)); /* too late: it is closed */
	assert_int_equal(fixture.n_answers, 1);
}

#define on_slot(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_slot(test_a_request_says_what_is_wanted_and_its_answer_comes_back),
		on_slot(test_an_answer_that_nobody_asked_for_is_closed),
		on_slot(test_who_has_gone_is_not_told),
		on_slot(test_only_shared_ones_under_way_to_a_relay_are_counted),
		on_slot(test_a_gatekeeper_of_another_generation_is_asked_again),
		on_slot(test_when_the_generation_has_changed_the_asker_decides),
		on_slot(test_what_was_not_sent_is_given_back_when_the_generation_changes),
		on_slot(test_a_full_queue_is_sent_later),
		on_slot(test_what_nobody_answers_in_time_has_failed),
	};
	return cmocka_run_group_tests_name("dials", tests, NULL, NULL);
}
