/* SPDX-License-Identifier: Apache-2.0 */
/* h2_body: a stream is given at once what one wake-up brought for it, in order, before its end; long frames both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge_rig.h"
#include "h2_rig.h"

#define FRAME 300

/* A stream of the server; the peer is the test. */
struct taker {
	struct buf in;
	char told[64]; /* "g": was given bytes; "e": END_STREAM; "c": closed */
	size_t most_spans;
	struct h2_stream *stream;
	struct h2_stream *resets; /* another one, as soon as this is given something */
	enum h2_fate fate;
};

static void tell(struct taker *taker, char what)
{
	const size_t len = strlen(taker->told);

	assert_true(len + 1 < sizeof(taker->told));
	taker->told[len] = what;
}

static void on_spans(void *owner, struct h2_stream *stream, struct iovec *spans, size_t n_spans)
{
	struct taker *taker = owner;

	tell(taker, 'g');
	for (size_t i = 0; i < n_spans; i++) {
		assert_int_equal(buf_append(&taker->in, spans[i].iov_base, spans[i].iov_len), PS_OK);
		h2_stream_consume(stream, spans[i].iov_len);
	}
	if (n_spans > taker->most_spans)
		taker->most_spans = n_spans;
	if (taker->resets != NULL)
		h2_stream_reset(taker->resets, H2_CANCEL);
}

static void on_body_end(void *owner, struct h2_stream *stream)
{
	(void)stream;
	tell(owner, 'e');
}

static void on_closed(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct taker *taker = owner;

	assert_ptr_equal(taker->stream, stream);
	taker->stream = NULL;
	taker->fate = end->fate;
	tell(taker, 'c');
}

static const struct h2_stream_events events = {
	.on_spans = on_spans,
	.on_body_end = on_body_end,
	.on_closed = on_closed,
};

/* Streams 1, 3 ... are open, each with a taker. */
static struct h2_rig *start(struct taker *takers, size_t n)
{
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 0);

	rig->serve = RIG_HOLD;
	h2_rig_preface(rig);
	for (size_t i = 0; i < n; i++)
		h2_rig_connect(rig, (uint32_t)(2 * i + 1), false);
	h2_rig_until(rig, rig->n_served == n);
	for (size_t i = 0; i < n; i++) {
		takers[i] = (struct taker){ .stream = rig->served[i].stream };
		rig->served[i].closed = true; /* the taker hears of it from here on */
		h2_stream_attach(takers[i].stream, &events, &takers[i]);
	}
	return rig;
}

static void stop(struct h2_rig *rig, struct taker *takers, size_t n)
{
	h2_rig_stop(rig);
	for (size_t i = 0; i < n; i++)
		buf_release(&takers[i].in);
}

/* The `i`th frame of a body. */
static void say(struct h2_rig *rig, uint32_t id, size_t i, uint8_t flags)
{
	uint8_t body[FRAME];

	memset(body, (int)(id * 16 + i), sizeof(body));
	h2_rig_frame(rig, NGHTTP2_DATA, flags, id, body, sizeof(body));
}

static void assert_body(const struct taker *taker, uint32_t id, size_t n)
{
	assert_int_equal(buf_len(&taker->in), n * FRAME);
	for (size_t i = 0; i < n * FRAME; i++)
		assert_int_equal(buf_front(&taker->in)[i], (uint8_t)(id * 16 + i / FRAME));
}

static void test_many_frames_of_one_read_are_given_at_once_and_their_end_behind(void **state)
{
	struct taker taker;
	struct h2_rig *rig = start(&taker, 1);

	(void)state;
	for (size_t i = 0; i < 40; i++)
		say(rig, 1, i, i == 39 ? NGHTTP2_FLAG_END_STREAM : 0);
	h2_rig_until(rig, strchr(taker.told, 'e') != NULL);
	assert_string_equal(taker.told, "ge");
	assert_int_equal(taker.most_spans, 40);
	assert_body(&taker, 1, 40);
	stop(rig, &taker, 1);
}

static void test_more_pieces_than_there_is_room_for_come_in_order(void **state)
{
	struct taker taker;
	struct h2_rig *rig = start(&taker, 1);

	(void)state;
	for (size_t i = 0; i < H2_PIECES + 10; i++)
		say(rig, 1, i, 0);
	h2_rig_until(rig, buf_len(&taker.in) == (H2_PIECES + 10) * (size_t)FRAME);
	assert_string_equal(taker.told, "gg");
	assert_body(&taker, 1, H2_PIECES + 10);
	stop(rig, &taker, 1);
}

static void test_interleaved_streams_are_each_given_their_own(void **state)
{
	struct taker takers[3];
	struct h2_rig *rig = start(takers, 3);

	(void)state;
	for (size_t i = 0; i < 10; i++)
		for (uint32_t id = 1; id <= 5; id += 2)
			say(rig, id, i, id == 3 && i == 9 ? NGHTTP2_FLAG_END_STREAM : 0);
	h2_rig_until(rig, takers[2].told[0] != '\0');
	assert_string_equal(takers[0].told, "g");
	assert_string_equal(takers[1].told, "ge");
	assert_string_equal(takers[2].told, "g");
	for (size_t i = 0; i < 3; i++)
		assert_body(&takers[i], (uint32_t)(2 * i + 1), 10);
	stop(rig, takers, 3);
}

static void test_a_reset_in_the_same_read_is_told_behind_the_bytes(void **state)
{
	static const uint8_t cancel[4] = { 0, 0, 0, H2_CANCEL };
	struct taker takers[2];
	struct h2_rig *rig = start(takers, 2);

	(void)state;
	say(rig, 1, 0, 0);
	say(rig, 3, 0, 0);
	say(rig, 1, 1, 0);
	h2_rig_frame(rig, NGHTTP2_RST_STREAM, 0, 1, cancel, sizeof(cancel));
	say(rig, 3, 1, 0);
	h2_rig_until(rig, takers[1].told[0] != '\0');
	assert_string_equal(takers[0].told, "gc");
	assert_int_equal(takers[0].fate, H2_FATE_RESET);
	assert_body(&takers[0], 1, 2);
	assert_string_equal(takers[1].told, "g");
	assert_body(&takers[1], 3, 2);
	stop(rig, takers, 2);
}

static void test_what_was_reset_here_meanwhile_is_given_nothing(void **state)
{
	struct taker takers[2];
	struct h2_rig *rig = start(takers, 2);

	(void)state;
	takers[0].resets = takers[1].stream;
	say(rig, 1, 0, 0);
	say(rig, 3, 0, 0);
	h2_rig_until(rig, takers[1].stream == NULL);
	assert_string_equal(takers[0].told, "g");
	assert_string_equal(takers[1].told, "c");
	assert_int_equal(takers[1].fate, H2_FATE_RESET_HERE);
	assert_int_equal(rig->server->kept, 0);
	stop(rig, takers, 2);
}

static void test_a_connection_that_is_lost_in_the_same_read_is_told_behind_the_bytes(void **state)
{
	struct taker taker;
	struct h2_rig *rig = start(&taker, 1);

	(void)state;
	say(rig, 1, 0, 0);
	say(rig, 1, 1, 0);
	h2_rig_frame(rig, NGHTTP2_DATA, 0, 0, "of no stream", 12);
	say(rig, 1, 2, 0);
	h2_rig_until(rig, rig->server_ended);
	assert_string_equal(taker.told, "gc");
	assert_int_equal(taker.fate, H2_FATE_CUT);
	assert_body(&taker, 1, 2);
	stop(rig, &taker, 1);
}

/* The longest DATA frame of 60 KB that are echoed to a peer which takes frames of `max`. */
static size_t longest_echoed(uint8_t max_kb)
{
	const uint8_t settings[12] = { 0,
		                           NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
		                           0,
		                           0x10,
		                           0,
		                           0,
		                           0,
		                           NGHTTP2_SETTINGS_MAX_FRAME_SIZE,
		                           0,
		                           0,
		                           (uint8_t)(max_kb * 4) };
	static uint8_t body[60000];
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 0);
	struct rig_frame frame;
	size_t longest = 0;
	size_t len = 0;

	rig->serve = RIG_ECHO;
	h2_rig_preface(rig);
	h2_rig_frame(rig, NGHTTP2_SETTINGS, 0, 0, settings, sizeof(settings));
	h2_rig_frame(rig, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0); /* now it takes long ones */
	h2_rig_connect(rig, 1, false);
	h2_rig_frame(rig, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, body, sizeof(body));
	do {
		frame = h2_rig_await(rig, NGHTTP2_DATA);
		longest = frame.len > longest ? frame.len : longest;
		len += frame.len;
	} while ((frame.flags & NGHTTP2_FLAG_END_STREAM) == 0);
	assert_int_equal(len, sizeof(body));
	assert_int_equal(rig->served[0].taken, sizeof(body));
	h2_rig_stop(rig);
	return longest;
}

static void test_long_frames_are_taken_and_sent_to_those_alone_who_take_them(void **state)
{
	(void)state;
	assert_int_equal(longest_echoed(16), 16384);
	assert_in_range(longest_echoed(32), 16385, 32768);
	assert_in_range(longest_echoed(60), 32769, 61440);
}

static void test_a_frame_longer_than_we_said_ends_the_connection(void **state)
{
	static uint8_t body[H2_FRAME_BODY_MAX + 1];
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 0);

	(void)state;
	h2_rig_preface(rig);
	h2_rig_frame(rig, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
	h2_rig_connect(rig, 1, false);
	h2_rig_frame(rig, NGHTTP2_DATA, 0, 1, body, sizeof(body));
	h2_rig_until(rig, rig->server_ended);
	assert_int_equal(rig->server_report.code, H2_FRAME_SIZE_ERROR);
	h2_rig_stop(rig);
}

/* Frames longer than 16 KB between two of ours, and a small request beside them. */
static void test_bulk_between_ours_comes_whole_with_a_request_beside_it(void **state)
{
	const size_t len = (size_t)3 * 1024 * 1024;
	uint8_t *bytes = rig_noise(len);
	struct h2_rig *rig = h2_rig_start(RIG_BOTH, 100, 0);

	(void)state;
	rig->serve = RIG_ECHO;
	struct rig_stream *bulk = h2_rig_open(rig, NULL, bytes, len, true);
	h2_rig_until(rig, buf_len(&bulk->in) > 0);
	struct rig_stream *small = h2_rig_open(rig, NULL, "small", 5, true);
	h2_rig_until(rig, small->closed);
	assert_false(bulk->closed);
	assert_int_equal(small->end.fate, H2_FATE_DONE);
	h2_rig_until(rig, bulk->closed);
	assert_int_equal(bulk->end.fate, H2_FATE_DONE);
	assert_int_equal(buf_len(&bulk->in), len);
	assert_memory_equal(buf_front(&bulk->in), bytes, len);
	h2_rig_stop(rig);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_frames_of_one_read_are_given_at_once_and_their_end_behind),
		cmocka_unit_test(test_more_pieces_than_there_is_room_for_come_in_order),
		cmocka_unit_test(test_interleaved_streams_are_each_given_their_own),
		cmocka_unit_test(test_a_reset_in_the_same_read_is_told_behind_the_bytes),
		cmocka_unit_test(test_what_was_reset_here_meanwhile_is_given_nothing),
		cmocka_unit_test(test_a_connection_that_is_lost_in_the_same_read_is_told_behind_the_bytes),
		cmocka_unit_test(test_long_frames_are_taken_and_sent_to_those_alone_who_take_them),
		cmocka_unit_test(test_a_frame_longer_than_we_said_ends_the_connection),
		cmocka_unit_test(test_bulk_between_ours_comes_whole_with_a_request_beside_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
