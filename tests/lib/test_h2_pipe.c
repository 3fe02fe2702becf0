/* SPDX-License-Identifier: Apache-2.0 */
/* h2_pipe: bytes and ends between a stream and a socket, each direction on its own, and no end that was none. */
#include "portseal/h2_pipe.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "bridge_rig.h"
#include "h2_rig.h"
#include "portseal/net.h"

#define IDLE_MS 40
#define BULK ((size_t)24 * 1024 * 1024) /* more than the kernel and the largest window take */

/* A stream of the rig whose serving end is piped to a socket; the application is the test. */
struct piped {
	struct h2_rig *rig;
	struct rig_stream *client;
	struct h2_pipe *pipe;
	int app;
	bool ended;
	struct h2_pipe_report report;
};

static void on_end(void *owner, const struct h2_pipe_report *report)
{
	struct piped *piped = owner;
	assert_false(piped->ended);
	piped->ended = true;
	piped->report = *report;
	piped->pipe = NULL;
}

static void start(struct piped *piped, uint64_t idle_ms)
{
	const struct h2_response ok = { .status = 200, .content_length = -1 };
	int plain[2];

	*piped = (struct piped){ .rig = h2_rig_start(RIG_BOTH, 100, 0) };
	piped->rig->serve = RIG_HOLD;
	piped->client = h2_rig_open(piped->rig, NULL, "hello", 5, false);
	h2_rig_until(piped->rig, piped->rig->n_served == 1);
	h2_rig_turns(piped->rig, 5); /* the bytes are kept by now */
	h2_rig_tcp_pair(plain);
	piped->app = plain[0];
	struct rig_stream *served = &piped->rig->served[0];
	const struct h2_pipe_config config = {
		.loop = &piped->rig->loop,
		.watches = piped->rig->watches,
		.stream = served->stream,
		.plain_fd = plain[1],
		.idle_ms = idle_ms,
		.on_end = on_end,
		.owner = piped,
	};
	assert_int_equal(h2_respond(served->stream, &ok, false), PS_OK);
	assert_int_equal(h2_pipe_new(&config, &piped->pipe), PS_OK);
	served->closed = true; /* the pipe hears of it from here on */
}

static void stop(struct piped *piped)
{
	h2_rig_until(piped->rig, piped->ended);
	if (piped->app >= 0)
		(void)close(piped->app);
	h2_rig_stop(piped->rig);
}

/* -1: nothing yet; 0: the end; else how much. Any error but EAGAIN is told as -errno. */
static ssize_t app_read(struct piped *piped, void *bytes, size_t len)
{
	const ssize_t got = recv(piped->app, bytes, len, MSG_DONTWAIT);
	return got >= 0 ? got : errno == EAGAIN ? -1 : -errno;
}

static void app_expect(struct piped *piped, const char *text)
{
	char bytes[64];
	size_t have = 0;
	while (have < strlen(text)) {
		h2_rig_turn(piped->rig);
		const ssize_t got = app_read(piped, bytes + have, sizeof(bytes) - have);
		assert_true(got > 0 || got == -1);
		have += got > 0 ? (size_t)got : 0;
	}
	assert_memory_equal(bytes, text, strlen(text));
}

static void app_expect_end(struct piped *piped, ssize_t end)
{
	char byte;
	ssize_t got = -1;
	while (got == -1) {
		h2_rig_turn(piped->rig);
		got = app_read(piped, &byte, 1);
	}
	assert_int_equal(got, end);
}

static void app_say(struct piped *piped, const char *text)
{
	assert_int_equal(send(piped->app, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void app_reset(struct piped *piped)
{
	net_arm_reset(piped->app);
	(void)close(piped->app);
	piped->app = -1;
}

static void test_what_was_kept_goes_first_and_both_ways_end_cleanly(void **state)
{
	(void)state;
	struct piped piped;
	start(&piped, 0);
	h2_rig_send(piped.client, " again", 6, true);
	app_expect(&piped, "hello again");
	app_expect_end(&piped, 0);
	app_say(&piped, "good");
	h2_rig_until(piped.rig, buf_len(&piped.client->in) == 4);
	app_say(&piped, "bye");
	(void)shutdown(piped.app, SHUT_WR);
	h2_rig_until(piped.rig, piped.client->closed);
	assert_int_equal(piped.client->end.fate, H2_FATE_DONE);
	assert_memory_equal(buf_front(&piped.client->in), "goodbye", 7);
	h2_rig_until(piped.rig, piped.ended);
	assert_int_equal(piped.report.end, H2_PIPE_DONE);
	assert_int_equal(piped.report.to_plain, 11);
	assert_int_equal(piped.report.to_stream, 7);
	stop(&piped);
}

static void test_an_application_that_ends_first_still_gets_the_rest(void **state)
{
	(void)state;
	struct piped piped;
	start(&piped, 0);
	(void)shutdown(piped.app, SHUT_WR);
	h2_rig_until(piped.rig, piped.client->in_ended);
	assert_false(piped.client->closed);
	h2_rig_send(piped.client, " late", 5, true);
	app_expect(&piped, "hello late");
	app_expect_end(&piped, 0);
	h2_rig_until(piped.rig, piped.ended);
	assert_int_equal(piped.report.end, H2_PIPE_DONE);
	stop(&piped);
}

static void test_a_reset_stream_resets_the_application(void **state)
{
	(void)state;
	struct piped piped;
	start(&piped, 0);
	app_expect(&piped, "hello");
	h2_stream_reset(piped.client->stream, H2_CANCEL);
	app_expect_end(&piped, -ECONNRESET);
	h2_rig_until(piped.rig, piped.ended);
	assert_int_equal(piped.report.end, H2_PIPE_STREAM_RESET);
	assert_int_equal(piped.report.code, H2_CANCEL);
	stop(&piped);
}

static void test_a_cut_connection_resets_the_application(void **state)
{
	(void)state;
	struct piped piped;
	start(&piped, 0);
	app_expect(&piped, "hello");
	h2_abort(piped.rig->client, ALERT_INTERNAL_ERROR);
	app_expect_end(&piped, -ECONNRESET);
	h2_rig_until(piped.rig, piped.ended);
	assert_int_equal(piped.report.end, H2_PIPE_STREAM_CUT);
	stop(&piped);
}

static void test_a_reset_application_resets_the_stream_behind_what_it_said(void **state)
{
	(void)state;
	struct piped piped;
	start(&piped, 0);
	app_expect(&piped, "hello");
	app_say(&piped, "last");
	h2_rig_until(piped.rig, buf_len(&piped.client->in) == 4);
	app_reset(&piped);
	h2_rig_until(piped.rig, piped.client->closed);
	assert_false(piped.client->in_ended);
	assert_int_equal(piped.client->end.fate, H2_FATE_RESET);
	assert_int_equal(piped.client->end.code, H2_CONNECT_ERROR);
	h2_rig_until(piped.rig, piped.ended);
	assert_int_equal(piped.report.end, H2_PIPE_PLAIN_RESET);
	stop(&piped);
}

/* It said all it had to say, and then wants no more: that is no failure of what it said. */
static void test_an_application_that_ends_and_leaves_is_told_without_error(void **state)
{
	(void)state;
	struct piped piped;
	start(&piped, 0);
	app_expect(&piped, "hello");
	app_say(&piped, "all");
	(void)shutdown(piped.app, SHUT_WR);
	h2_rig_until(piped.rig, piped.client->in_ended);
	app_reset(&piped);
	h2_rig_until(piped.rig, piped.client->closed);
	assert_int_equal(piped.client->end.fate, H2_FATE_RESET);
	assert_int_equal(piped.client->end.code, H2_NO_ERROR);
	assert_memory_equal(buf_front(&piped.client->in), "all", 3);
	h2_rig_until(piped.rig, piped.ended);
	assert_int_equal(piped.report.end, H2_PIPE_PLAIN_RESET);
	stop(&piped);
}

static void test_silence_ends_both(void **state)
{
	(void)state;
	struct piped piped;
	start(&piped, IDLE_MS);
	app_expect(&piped, "hello");
	app_expect_end(&piped, -ECONNRESET);
	h2_rig_until(piped.rig, piped.client->closed && piped.ended);
	assert_int_equal(piped.client->end.code, H2_CANCEL);
	assert_int_equal(piped.report.end, H2_PIPE_IDLE);
	stop(&piped);
}

static void test_an_abort_resets_both(void **state)
{
	(void)state;
	struct piped piped;
	start(&piped, 0);
	app_expect(&piped, "hello");
	h2_pipe_abort(piped.pipe, H2_CANCEL);
	h2_pipe_abort(piped.pipe, H2_INTERNAL_ERROR); /* harmless */
	assert_false(piped.ended);
	app_expect_end(&piped, -ECONNRESET);
	h2_rig_until(piped.rig, piped.client->closed && piped.ended);
	assert_int_equal(piped.client->end.code, H2_CANCEL);
	assert_int_equal(piped.report.end, H2_PIPE_ABORTED);
	assert_int_equal(piped.report.code, H2_CANCEL);
	stop(&piped);
}

/* What is kept is at most a window; when it reads again, everything arrives. */
static void test_an_application_that_does_not_read_holds_its_stream_back(void **state)
{
	(void)state;
	uint8_t *bytes = rig_noise(BULK);
	uint8_t *got = malloc(BULK + 5);
	size_t have = 0;
	struct piped piped;

	assert_non_null(got);
	start(&piped, 0);
	h2_rig_send(piped.client, bytes, BULK, true);
	size_t before = SIZE_MAX;
	while (buf_len(&piped.client->out) != before) {
		before = buf_len(&piped.client->out);
		h2_rig_turns(piped.rig, 200);
		assert_true(h2_pipe_buffered(piped.pipe) <= 2 * (size_t)H2_WINDOW_MAX);
		assert_true(piped.rig->server->kept <= (size_t)H2_WINDOW_MAX);
	}
	assert_true(before > 0);
	while (have < BULK + 5) {
		h2_rig_turn(piped.rig);
		const ssize_t more = app_read(&piped, got + have, BULK + 5 - have);
		assert_true(more > 0 || more == -1);
		have += more > 0 ? (size_t)more : 0;
	}
	assert_memory_equal(got + 5, bytes, BULK);
	app_expect_end(&piped, 0);
	assert_int_equal(h2_pipe_buffered(piped.pipe), 0);
	(void)close(piped.app);
	piped.app = -1;
	h2_rig_until(piped.rig, piped.ended);
	assert_int_equal(piped.report.end, H2_PIPE_DONE);
	stop(&piped);
	free(bytes);
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_kept_goes_first_and_both_ways_end_cleanly),
		cmocka_unit_test(test_an_application_that_ends_first_still_gets_the_rest),
		cmocka_unit_test(test_a_reset_stream_resets_the_application),
		cmocka_unit_test(test_a_cut_connection_resets_the_application),
		cmocka_unit_test(test_a_reset_application_resets_the_stream_behind_what_it_said),
		cmocka_unit_test(test_an_application_that_ends_and_leaves_is_told_without_error),
		cmocka_unit_test(test_silence_ends_both),
		cmocka_unit_test(test_an_abort_resets_both),
		cmocka_unit_test(test_an_application_that_does_not_read_holds_its_stream_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
