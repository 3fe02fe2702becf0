/* SPDX-License-Identifier: Apache-2.0 */
/* h2: streams between two connections back to back: bytes, ends, windows, limits and farewells. */
#include "portseal/h2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "h2_rig.h"

static uint8_t *noise(size_t len)
{
	uint8_t *bytes = malloc(len);
	uint32_t state = 0x9e3779b9;
	assert_non_null(bytes);
	for (size_t i = 0; i < len; i++) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		bytes[i] = (uint8_t)state;
	}
	return bytes;
}

static void assert_done(const struct rig_stream *side)
{
	assert_true(side->closed);
	assert_int_equal(side->end.fate, H2_FATE_DONE);
	assert_int_equal(side->end.code, H2_NO_ERROR);
}

static void test_a_stream_carries_bytes_both_ways_and_ends_cleanly(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct rig_stream *stream = h2_rig_open(rig, NULL, "hello", 5, true);
	h2_rig_until(rig, stream->closed && rig->served[0].closed);
	assert_done(stream);
	assert_done(&rig->served[0]);
	assert_int_equal(stream->status, 200);
	assert_string_equal(stream->field, "answered");
	assert_string_equal(rig->served[0].field, "asked");
	assert_string_equal(rig->served[0].authority, "echo");
	assert_true(stream->in_ended);
	assert_int_equal(buf_len(&stream->in), 5);
	assert_memory_equal(buf_front(&stream->in), "hello", 5);
	h2_rig_stop(rig);
}

static void test_fields_behind_the_body_arrive_before_its_end(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	rig->trails = true;
	struct rig_stream *stream = h2_rig_open(rig, NULL, "hello", 5, false);
	h2_rig_until(rig, buf_len(&stream->in) == 5);
	rig->trails = false;
	struct rig_stream *plain = h2_rig_open(rig, NULL, "hello", 5, true);
	h2_rig_until(rig, plain->closed);
	assert_string_equal(plain->trailer, "");
	rig->trails = true;
	h2_rig_send(stream, " again", 6, true);
	h2_rig_until(rig, stream->closed && rig->served[0].closed);
	assert_done(stream);
	assert_done(&rig->served[0]);
	assert_string_equal(stream->trailer, "trailed");
	assert_memory_equal(buf_front(&stream->in), "hello again", 11);
	h2_rig_stop(rig);
}

static void test_each_direction_ends_on_its_own(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct rig_stream *stream = h2_rig_open(rig, NULL, "", 0, true);
	h2_rig_until(rig, rig->n_served == 1 && rig->served[0].in_ended && stream->in_ended);
	h2_rig_stop(rig);

	rig = h2_rig_start(RIG_BOTH, 100, 0);
	rig->serve = RIG_KEEP;
	stream = h2_rig_open(rig, NULL, "", 0, true);
	h2_rig_until(rig, rig->n_served == 1 && rig->served[0].in_ended);
	h2_rig_turns(rig, 20);
	assert_false(stream->closed);
	h2_rig_send(&rig->served[0], "late", 4, true);
	h2_rig_until(rig, stream->closed);
	assert_done(stream);
	assert_memory_equal(buf_front(&stream->in), "late", 4);
	h2_rig_stop(rig);
}

static void test_a_bulk_stream_arrives_whole_and_grows_its_window(void **state)
{
	(void)state;
	const size_t len = (size_t)24 * 1024 * 1024;
	uint8_t *bytes = noise(len);
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct rig_stream *stream = h2_rig_open(rig, NULL, bytes, len, true);
	size_t most_window = 0;
	while (!stream->closed) {
		h2_rig_turn(rig);
		if (stream->stream != NULL && stream->stream->window > most_window)
			most_window = stream->stream->window;
	}
	assert_done(stream);
	assert_int_equal(buf_len(&stream->in), len);
	assert_memory_equal(buf_front(&stream->in), bytes, len);
	assert_true(most_window > H2_WINDOW_START);
	assert_true(most_window <= H2_WINDOW_MAX);
	assert_true(rig->served[0].most_held <= H2_WINDOW_MAX);
	free(bytes);
	h2_rig_stop(rig);
}

static void test_many_streams_at_once_each_get_their_own_bytes(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, RIG_STREAMS_MAX, 0);
	char text[32];
	h2_rig_until(rig, rig->n_capacity == 1);
	assert_int_equal(h2_capacity(rig->client), RIG_STREAMS_MAX);
	for (int i = 0; i < 1000; i++) {
		const int len = snprintf(text, sizeof(text), "stream %d", i);
		(void)h2_rig_open(rig, NULL, text, (size_t)len, false);
	}
	assert_int_equal(h2_capacity(rig->client), RIG_STREAMS_MAX - 1000);
	for (int i = 0; i < 1000; i++)
		h2_rig_until(rig, buf_len(&rig->opened[i].in) >= 8);
	assert_int_equal(h2_n_streams(rig->server), 1000);
	for (int i = 0; i < 1000; i++)
		h2_rig_send(&rig->opened[i], "!", 1, true);
	for (int i = 0; i < 1000; i++) {
		const int len = snprintf(text, sizeof(text), "stream %d!", i);
		h2_rig_until(rig, rig->opened[i].closed);
		assert_done(&rig->opened[i]);
		assert_int_equal(buf_len(&rig->opened[i].in), len);
		assert_memory_equal(buf_front(&rig->opened[i].in), text, (size_t)len);
	}
	assert_int_equal(h2_n_streams(rig->client), 0);
	h2_rig_stop(rig);
}

/* Its own window's worth is kept, and nothing else suffers. */
static void test_a_stalled_stream_stalls_no_other(void **state)
{
	(void)state;
	const size_t len = (size_t)8 * 1024 * 1024;
	uint8_t *bytes = noise(len);
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	rig->serve = RIG_KEEP;
	struct rig_stream *stalled = h2_rig_open(rig, NULL, bytes, len, true);
	h2_rig_until(rig, rig->n_served == 1);
	rig->serve = RIG_ECHO;
	struct rig_stream *busy = h2_rig_open(rig, NULL, bytes, len, true);
	h2_rig_until(rig, busy->closed);
	assert_done(busy);
	assert_int_equal(buf_len(&busy->in), len);
	assert_memory_equal(buf_front(&busy->in), bytes, len);
	assert_false(stalled->closed);
	assert_int_equal(rig->served[0].taken, H2_WINDOW_START);
	assert_int_equal(rig->server->kept, H2_WINDOW_START);
	h2_stream_consume(rig->served[0].stream, H2_WINDOW_START);
	h2_rig_until(rig, rig->served[0].taken > H2_WINDOW_START);
	free(bytes);
	h2_rig_stop(rig);
}

static void test_what_comes_before_anyone_takes_it_is_kept_and_given(void **state)
{
	(void)state;
	uint8_t *bytes = noise(200000);
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	const struct h2_response ok = { .status = 200, .content_length = -1 };
	rig->serve = RIG_HOLD;
	struct rig_stream *stream = h2_rig_open(rig, NULL, bytes, 200000, true);
	h2_rig_until(rig, rig->n_served == 1 && rig->served[0].stream->kept == H2_WINDOW_START);
	h2_rig_turns(rig, 20);
	assert_int_equal(rig->served[0].stream->kept, H2_WINDOW_START);
	assert_int_equal(rig->served[0].taken, 0);
	assert_int_equal(h2_respond(rig->served[0].stream, &ok, false), PS_OK);
	rig->served[0].echoes = true;
	h2_stream_attach(rig->served[0].stream, stream->stream->events, &rig->served[0]);
	assert_int_equal(rig->served[0].taken, H2_WINDOW_START);
	h2_rig_until(rig, stream->closed);
	assert_done(stream);
	assert_int_equal(buf_len(&stream->in), 200000);
	assert_memory_equal(buf_front(&stream->in), bytes, 200000);
	free(bytes);
	h2_rig_stop(rig);
}

static void test_an_answer_given_whole_discards_the_rest_of_the_request(void **state)
{
	(void)state;
	uint8_t *bytes = noise(4000000);
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	rig->serve = RIG_WHOLE;
	struct rig_stream *stream = h2_rig_open(rig, "/messages/x", bytes, 4000000, true);
	h2_rig_until(rig, stream->closed);
	assert_int_equal(stream->status, 200);
	assert_memory_equal(buf_front(&stream->in), "no more", 7);
	assert_int_equal(stream->end.fate, H2_FATE_RESET);
	assert_int_equal(stream->end.code, H2_NO_ERROR);
	h2_rig_until(rig, rig->server->kept == 0);
	/* Unless it is soon over: many a client loses its answer to a reset. */
	stream = h2_rig_open(rig, "/messages/x", bytes, 900000, true);
	h2_rig_until(rig, stream->closed);
	assert_done(stream);
	assert_memory_equal(buf_front(&stream->in), "no more", 7);
	h2_rig_until(rig, rig->server->kept == 0);
	rig->serve = RIG_SINK;
	stream = h2_rig_open(rig, "/messages/x", bytes, 1000000, true);
	h2_rig_until(rig, stream->closed);
	assert_done(stream);
	assert_memory_equal(buf_front(&stream->in), "taken", 5);
	assert_string_equal(rig->served[2].path, "/messages/x");
	free(bytes);
	h2_rig_stop(rig);
}

static void test_a_reset_reaches_the_other_side_with_its_code(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct rig_stream *stream = h2_rig_open(rig, NULL, "x", 1, false);
	h2_rig_until(rig, buf_len(&stream->in) == 1);
	h2_stream_reset(stream->stream, H2_CANCEL);
	h2_stream_reset(stream->stream, H2_CONNECT_ERROR); /* harmless */
	h2_rig_until(rig, stream->closed && rig->served[0].closed);
	assert_int_equal(stream->end.fate, H2_FATE_RESET_HERE);
	assert_int_equal(rig->served[0].end.fate, H2_FATE_RESET);
	assert_int_equal(rig->served[0].end.code, H2_CANCEL);

	stream = h2_rig_open(rig, NULL, "x", 1, false);
	h2_rig_until(rig, buf_len(&stream->in) == 1);
	h2_stream_reset(rig->served[1].stream, H2_CONNECT_ERROR);
	h2_rig_until(rig, stream->closed);
	assert_int_equal(stream->end.fate, H2_FATE_RESET);
	assert_int_equal(stream->end.code, H2_CONNECT_ERROR);
	h2_rig_stop(rig);
}

static void test_a_stream_reset_before_it_left_is_closed_and_the_next_one_works(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct rig_stream *first = h2_rig_open(rig, NULL, "x", 1, true);
	h2_stream_reset(first->stream, H2_CANCEL);
	struct rig_stream *second = h2_rig_open(rig, NULL, "y", 1, true);
	h2_rig_until(rig, first->closed && second->closed);
	assert_int_equal(first->end.fate, H2_FATE_RESET_HERE);
	assert_done(second);
	h2_rig_stop(rig);
}

static void test_an_abandoned_stream_is_heard_of_no_more(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct rig_stream *stream = h2_rig_open(rig, NULL, "x", 1, false);
	h2_rig_until(rig, buf_len(&stream->in) == 1);
	h2_stream_abandon(stream->stream, H2_CANCEL);
	h2_rig_until(rig, rig->served[0].closed && h2_n_streams(rig->client) == 0);
	assert_false(stream->closed);
	h2_rig_stop(rig);
}

static void test_no_more_streams_than_the_peer_allows(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 3, 0);
	struct rig_stream *refused = NULL;
	struct h2_stream *stream = NULL;
	const struct h2_request request = { .method = "CONNECT", .authority = "echo", .content_length = -1 };
	h2_rig_until(rig, rig->n_capacity == 1);
	for (int i = 0; i < 3; i++)
		refused = h2_rig_open(rig, NULL, "x", 1, false);
	assert_int_equal(h2_capacity(rig->client), 0);
	assert_int_equal(h2_open(rig->client, &request, true, NULL, NULL, &stream), PS_E_LIMIT);
	h2_rig_until(rig, rig->n_served == 3);
	assert_int_equal(rig->n_capacity, 1);
	h2_rig_send(refused, "", 0, true);
	h2_rig_until(rig, rig->n_capacity == 2);
	assert_int_equal(h2_capacity(rig->client), 1);
	h2_rig_stop(rig);
}

static void test_streams_beyond_the_limit_are_told_apart_as_unprocessed(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 1, 0);
	int unprocessed = 0;
	/* Before the settings are known, more is tried. */
	for (int i = 0; i < 5; i++)
		(void)h2_rig_open(rig, NULL, "x", 1, true);
	for (int i = 0; i < 5; i++) {
		h2_rig_until(rig, rig->opened[i].closed);
		unprocessed += rig->opened[i].end.fate == H2_FATE_UNPROCESSED;
	}
	assert_true(unprocessed > 0);
	assert_done(&rig->opened[0]);
	h2_rig_stop(rig);
}

static void test_a_server_that_shuts_finishes_the_streams_under_way(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct h2_stream *refused = NULL;
	const struct h2_request request = { .method = "CONNECT", .authority = "echo", .content_length = -1 };
	struct rig_stream *stream = h2_rig_open(rig, NULL, "one", 3, false);
	h2_rig_until(rig, buf_len(&stream->in) == 3);
	h2_shut(rig->server);
	h2_shut(rig->server);
	h2_rig_until(rig, rig->n_goaway == 1);
	assert_int_equal(h2_capacity(rig->client), 0);
	assert_int_equal(h2_open(rig->client, &request, true, NULL, NULL, &refused), PS_E_CLOSED);
	h2_rig_send(stream, " two", 4, true);
	h2_rig_until(rig, rig->client_ended && rig->server_ended);
	assert_done(stream);
	assert_memory_equal(buf_front(&stream->in), "one two", 7);
	assert_int_equal(rig->client_report.end, H2_DONE);
	assert_int_equal(rig->server_report.end, H2_DONE);
	assert_int_equal(rig->n_goaway, 1);
	assert_int_equal(rig->server_report.n_streams, 1);
	assert_int_equal(rig->server_report.in, 7);
	assert_int_equal(rig->server_report.out, 7);
	h2_rig_stop(rig);
}

static void test_a_client_that_shuts_finishes_the_streams_under_way(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct rig_stream *stream = h2_rig_open(rig, NULL, "one", 3, false);
	h2_rig_until(rig, buf_len(&stream->in) == 3);
	h2_shut(rig->client);
	h2_rig_send(stream, " two", 4, true);
	h2_rig_until(rig, rig->client_ended && rig->server_ended);
	assert_done(stream);
	assert_int_equal(rig->client_report.end, H2_DONE);
	assert_int_equal(rig->server_report.end, H2_DONE);
	h2_rig_stop(rig);
}

static void test_an_idle_connection_is_shut_and_a_busy_one_is_not(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 30);
	struct rig_stream *stream = h2_rig_open(rig, NULL, "x", 1, false);
	const uint64_t later = uv_hrtime() + UINT64_C(100) * 1000 * 1000;
	h2_rig_until(rig, uv_hrtime() > later);
	assert_false(rig->client_ended || rig->server_ended);
	h2_rig_send(stream, "", 0, true);
	h2_rig_until(rig, rig->client_ended && rig->server_ended);
	assert_int_equal(rig->client_report.end, H2_DONE);
	assert_int_equal(rig->server_report.end, H2_DONE);
	h2_rig_stop(rig);
}

static void test_an_abort_cuts_every_stream_and_is_read_as_an_alert(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct rig_stream *one = h2_rig_open(rig, NULL, "x", 1, false);
	struct rig_stream *two = h2_rig_open(rig, NULL, "y", 1, false);
	h2_rig_until(rig, buf_len(&one->in) == 1 && buf_len(&two->in) == 1);
	h2_abort(rig->server, ALERT_CERTIFICATE_REVOKED);
	assert_false(rig->served[0].closed); /* it is told from the loop */
	h2_rig_until(rig, rig->client_ended && rig->server_ended);
	assert_int_equal(rig->server_report.end, H2_ABORTED);
	assert_int_equal(rig->server_report.sent_alert, ALERT_CERTIFICATE_REVOKED);
	assert_int_equal(rig->served[0].end.fate, H2_FATE_CUT);
	assert_int_equal(one->end.fate, H2_FATE_CUT);
	assert_int_equal(two->end.fate, H2_FATE_CUT);
	assert_int_equal(rig->client_report.peer_alert, ALERT_CERTIFICATE_REVOKED);
	h2_rig_stop(rig);
}

static void test_a_cut_connection_cuts_its_streams_never_ends_them(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct rig_stream *stream = h2_rig_open(rig, NULL, "x", 1, false);
	h2_rig_until(rig, buf_len(&stream->in) == 1);
	(void)shutdown(rig->client->fd, SHUT_WR);
	h2_rig_until(rig, rig->server_ended);
	assert_int_equal(rig->server_report.end, H2_PEER_CUT);
	assert_int_equal(rig->served[0].end.fate, H2_FATE_CUT);
	assert_false(rig->served[0].in_ended);
	h2_rig_until(rig, rig->client_ended);
	assert_false(stream->in_ended);
	assert_int_equal(stream->end.fate, H2_FATE_CUT);
	h2_rig_stop(rig);
}

static void test_an_idle_connection_owns_no_buffer(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);
	struct rig_stream *stream = h2_rig_open(rig, NULL, "x", 1, true);
	h2_rig_until(rig, stream->closed);
	h2_rig_turns(rig, 5);
	assert_int_equal(h2_buffered(rig->client), 0);
	assert_int_equal(h2_buffered(rig->server), 0);
	h2_rig_stop(rig);
}

static void test_each_code_has_its_name(void **state)
{
	(void)state;
	assert_string_equal(h2_code_name(H2_ENHANCE_YOUR_CALM), "ENHANCE_YOUR_CALM");
	assert_string_equal(h2_code_name(0), "NO_ERROR");
	assert_string_equal(h2_code_name(77), "UNKNOWN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_stream_carries_bytes_both_ways_and_ends_cleanly),
		cmocka_unit_test(test_fields_behind_the_body_arrive_before_its_end),
		cmocka_unit_test(test_each_direction_ends_on_its_own),
		cmocka_unit_test(test_a_bulk_stream_arrives_whole_and_grows_its_window),
		cmocka_unit_test(test_many_streams_at_once_each_get_their_own_bytes),
		cmocka_unit_test(test_a_stalled_stream_stalls_no_other),
		cmocka_unit_test(test_what_comes_before_anyone_takes_it_is_kept_and_given),
		cmocka_unit_test(test_an_answer_given_whole_discards_the_rest_of_the_request),
		cmocka_unit_test(test_a_reset_reaches_the_other_side_with_its_code),
		cmocka_unit_test(test_a_stream_reset_before_it_left_is_closed_and_the_next_one_works),
		cmocka_unit_test(test_an_abandoned_stream_is_heard_of_no_more),
		cmocka_unit_test(test_no_more_streams_than_the_peer_allows),
		cmocka_unit_test(test_streams_beyond_the_limit_are_told_apart_as_unprocessed),
		cmocka_unit_test(test_a_server_that_shuts_finishes_the_streams_under_way),
		cmocka_unit_test(test_a_client_that_shuts_finishes_the_streams_under_way),
		cmocka_unit_test(test_an_idle_connection_is_shut_and_a_busy_one_is_not),
		cmocka_unit_test(test_an_abort_cuts_every_stream_and_is_read_as_an_alert),
		cmocka_unit_test(test_a_cut_connection_cuts_its_streams_never_ends_them),
		cmocka_unit_test(test_an_idle_connection_owns_no_buffer),
		cmocka_unit_test(test_each_code_has_its_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
