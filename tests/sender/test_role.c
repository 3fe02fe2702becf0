/* SPDX-License-Identifier: Apache-2.0 */
/* role: what the supervisor says is taken, and its death is noticed whatever else it left. */
#include "role.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/channel.h"

#define FALLBACK_MS 123
#define WORD 77

static struct {
	uv_loop_t loop;
	struct role_env env;
	struct role_control control;
	int supervisor;
	unsigned n_words;
	unsigned n_drains;
	uint64_t within_ms;
} rig;

static void on_drain(void *owner, uint64_t within_ms)
{
	(void)owner;
	rig.n_drains++;
	rig.within_ms = within_ms;
}

static void on_word(void *owner, uint32_t type, const uint8_t *body, size_t body_len, int fd)
{
	(void)owner;
	(void)body;
	assert_int_equal(type, WORD);
	assert_int_equal(body_len, 0);
	assert_int_equal(fd, -1);
	rig.n_words++;
}

static int start(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(channel_pair(ends), PS_OK);
	rig.supervisor = ends[0];
	rig.env.control = ends[1];
	rig.n_words = rig.n_drains = 0;
	rig.control =
		(struct role_control){ .env = &rig.env, .fallback_ms = FALLBACK_MS, .on_drain = on_drain, .on_word = on_word };
	assert_int_equal(uv_loop_init(&rig.loop), 0);
	assert_int_equal(role_begin(&rig.control, &rig.loop), PS_OK); /* and says ROLE_READY */
	return 0;
}

static int stop(void **state)
{
	(void)state;
	role_end(&rig.control);
	role_close_loop(&rig.loop);
	close(rig.env.control);
	return 0;
}

static void say(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(channel_send(rig.supervisor, WORD, NULL, 0, -1), PS_OK);
}

static void test_words_are_taken_and_a_drain_ends_the_listening(void **state)
{
	const uint64_t within_ms = 456;

	(void)state;
	say(3);
	assert_int_equal(channel_send(rig.supervisor, ROLE_DRAIN, &within_ms, sizeof(within_ms), -1), PS_OK);
	say(1);
	(void)uv_run(&rig.loop, UV_RUN_DEFAULT);
	assert_int_equal(rig.n_words, 3);
	assert_int_equal(rig.n_drains, 1);
	assert_int_equal(rig.within_ms, within_ms);
	close(rig.supervisor);
}

static void test_a_supervisor_that_dies_with_words_unread_on_both_sides_is_noticed(void **state)
{
	(void)state;
	say(3);
	close(rig.supervisor); /* our ROLE_READY lies there */
	for (int i = 0; i < 100 && rig.n_drains == 0; i++)
		(void)uv_run(&rig.loop, UV_RUN_NOWAIT);
	assert_int_equal(rig.n_words, 3);
	assert_int_equal(rig.n_drains, 1);
	assert_int_equal(rig.within_ms, FALLBACK_MS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(test_words_are_taken_and_a_drain_ends_the_listening),
		TEST(test_a_supervisor_that_dies_with_words_unread_on_both_sides_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
