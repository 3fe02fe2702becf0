/* SPDX-License-Identifier: Apache-2.0 */
/* h2: a peer made by hand that breaks rules or goes beyond limits loses its connection, with the right code. */
#include "portseal/h2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_rig.h"

#define ENOUGH 45000 /* of anything is beyond every limit */

static struct h2_rig *hostile(void)
{
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 0);
	h2_rig_preface(rig);
	return rig;
}

/* The server ends for this reason, after a GOAWAY with this code, and tells it by this name. */
static void assert_ends(struct h2_rig *rig, enum h2_end end, enum h2_code code, const char *abuse)
{
	const struct rig_frame frame = h2_rig_await(rig, NGHTTP2_GOAWAY);
	assert_int_equal(frame.body[7], code);
	h2_rig_until(rig, rig->server_ended);
	assert_int_equal(rig->server_report.end, end);
	assert_int_equal(rig->server_report.code, code);
	if (abuse == NULL)
		assert_null(rig->server_report.abuse);
	else
		assert_string_equal(rig->server_report.abuse, abuse);
	h2_rig_stop(rig);
}

static void assert_abuse(struct h2_rig *rig, const char *name)
{
	assert_ends(rig, H2_PEER_ABUSE, H2_ENHANCE_YOUR_CALM, name);
}

static void flood(struct h2_rig *rig, uint8_t type, uint8_t flags, uint32_t id, const void *body, size_t len)
{
	for (int i = 0; i < ENOUGH; i++) {
		h2_rig_frame(rig, type, flags, id, body, len);
		if (i % 256 == 0)
			h2_rig_turn(rig);
	}
}

static void test_a_well_behaved_peer_is_served(void **state)
{
	(void)state;
	struct h2_rig *rig = hostile();
	h2_rig_connect(rig, 1, false);
	h2_rig_frame(rig, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "hello", 5);
	assert_int_equal(h2_rig_await(rig, NGHTTP2_HEADERS).id, 1);
	const struct rig_frame data = h2_rig_await(rig, NGHTTP2_DATA);
	assert_int_equal(data.len, 5);
	assert_memory_equal(data.body, "hello", 5);
	h2_rig_stop(rig);
}

static void test_a_rapid_reset_is_abuse(void **state)
{
	(void)state;
	const uint8_t cancel[4] = { 0, 0, 0, H2_CANCEL };
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 0);
	rig->serve = RIG_HOLD;
	h2_rig_preface(rig);
	for (uint32_t id = 1; id < 2 * 1100; id += 2) {
		h2_rig_connect(rig, id, false);
		h2_rig_frame(rig, NGHTTP2_RST_STREAM, 0, id, cancel, sizeof(cancel));
		if (id % 64 == 1)
			h2_rig_turns(rig, 2);
	}
	assert_abuse(rig, "reset-flood");
}

static void test_floods_of_small_frames_are_abuse_each_by_its_name(void **state)
{
	(void)state;
	static const struct {
		uint8_t type, flags;
		uint32_t id;
		size_t len;
		const char *name;
	} floods[] = {
		{ NGHTTP2_PING, 0, 0, 8, "ping-flood" },
		{ NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, 8, "ping-flood" },
		{ NGHTTP2_SETTINGS, 0, 0, 0, "settings-flood" },
		{ NGHTTP2_PRIORITY, 0, 1, 5, "priority-flood" },
		{ NGHTTP2_WINDOW_UPDATE, 0, 0, 4, "window-update-flood" },
		{ NGHTTP2_DATA, 0, 1, 0, "empty-frame-flood" },
		{ 0x77, 0, 0, 3, "unknown-frame-flood" },
	};
	static const uint8_t body[8] = { 0, 0, 0, 3 };
	for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
		struct h2_rig *rig = hostile();
		h2_rig_connect(rig, 1, false);
		const uint8_t one[4] = { 0, 0, 0, 1 };
		flood(rig, floods[i].type, floods[i].flags, floods[i].id, floods[i].type == NGHTTP2_WINDOW_UPDATE ? one : body,
		      floods[i].len);
		assert_abuse(rig, floods[i].name);
	}
}

static void test_a_header_block_without_end_is_abuse(void **state)
{
	(void)state;
	struct h2_rig *rig = hostile();
	uint8_t block[100] = { 0x10, 1, 'x', 96 };
	memset(block + 4, 'y', 96);
	h2_rig_frame(rig, NGHTTP2_HEADERS, 0, 1, block, sizeof(block));
	for (int i = 0; i < 20; i++)
		h2_rig_frame(rig, NGHTTP2_CONTINUATION, 0, 1, block, sizeof(block));
	assert_abuse(rig, "continuation-flood");
}

/* A field of the dynamic table, a byte for each repetition. */
static void test_a_header_bomb_is_abuse(void **state)
{
	(void)state;
	struct h2_rig *rig = hostile();
	uint8_t block[1004] = { 0x40, 1, 'x', 100 };
	memset(block + 4, 'y', 100);
	memset(block + 104, 0x80 | 62, sizeof(block) - 104);
	h2_rig_frame(rig, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, block, sizeof(block));
	assert_abuse(rig, "header-flood");
}

static void test_too_many_fields_are_answered_431_and_the_next_request_is_served(void **state)
{
	(void)state;
	struct h2_rig *rig = hostile();
	uint8_t block[200];
	const uint8_t head[] = { 0x10, 7,   ':', 'm', 'e', 't',  'h', 'o',  'd', 7,   'C', 'O',
		                     'N',  'N', 'E', 'C', 'T', 0x10, 10,  ':',  'a', 'u', 't', 'h',
		                     'o',  'r', 'i', 't', 'y', 1,    'e', 0x40, 1,   'x', 1,   'y' };
	memset(block, 0x80 | 62, sizeof(block));
	memcpy(block, head, sizeof(head));
	h2_rig_frame(rig, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, block, sizeof(block));
	const struct rig_frame answer = h2_rig_await(rig, NGHTTP2_HEADERS);
	assert_int_equal(answer.id, 1);
	assert_true(answer.flags & NGHTTP2_FLAG_END_STREAM);
	assert_int_equal(rig->n_served, 0);
	h2_rig_connect(rig, 3, true);
	assert_int_equal(h2_rig_await(rig, NGHTTP2_HEADERS).id, 3);
	assert_int_equal(rig->n_served, 1);
	h2_rig_stop(rig);
}

static void test_malformed_requests_are_reset_and_a_flood_of_them_is_abuse(void **state)
{
	(void)state;
	struct h2_rig *rig = hostile();
	h2_rig_headers(rig, 1, true, ":method", "CONNECT", ":path", "/x", ":authority", "echo", NULL);
	const struct rig_frame reset = h2_rig_await(rig, NGHTTP2_RST_STREAM);
	assert_int_equal(reset.id, 1);
	assert_int_equal(reset.body[3], H2_PROTOCOL_ERROR);
	for (uint32_t id = 3; id < 600; id += 2) {
		h2_rig_headers(rig, id, true, ":method", "GET", "Upper", "case", NULL);
		if (id % 32 == 1)
			h2_rig_turn(rig);
	}
	assert_int_equal(rig->n_served, 0);
	assert_abuse(rig, "malformed-flood");
}

/* An inch of window at a time costs us a frame for each byte. */
/* Well-formed requests, each followed by what makes us reset it (CVE-2025-8671). */
static void test_resets_that_are_provoked_are_abuse(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 0);
	rig->serve = RIG_HOLD;
	h2_rig_preface(rig);
	for (uint32_t id = 1; id < 2 * 1100; id += 2) {
		h2_rig_headers(rig, id, false, ":method", "POST", ":scheme", "https", ":path", "/x", ":authority", "echo",
		               "content-length", "1", NULL);
		h2_rig_frame(rig, NGHTTP2_DATA, 0, id, "xyz", 3);
		if (id % 64 == 1)
			h2_rig_turns(rig, 2);
	}
	assert_abuse(rig, "malformed-flood");
}

static void set_window(struct h2_rig *rig, uint16_t size)
{
	const uint8_t setting[6] = { 0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0, 0, (uint8_t)(size >> 8), (uint8_t)size };
	h2_rig_frame(rig, NGHTTP2_SETTINGS, 0, 0, setting, sizeof(setting));
}

/* Stream 3 has more to say than one frame holds, and so has stream 1, for which it is to wait. */
static void assert_take_turns(struct h2_rig *rig)
{
	static const uint8_t body[16384];
	for (uint32_t id = 1; id <= 3; id += 2)
		for (int i = 0; i < 2; i++)
			h2_rig_frame(rig, NGHTTP2_DATA, 0, id, body, sizeof(body));
	h2_rig_until(rig, rig->n_served == 2 && rig->served[0].taken == 2 * sizeof(body) &&
	                      rig->served[1].taken == 2 * sizeof(body));
	h2_rig_turns(rig, 5);
	set_window(rig, 65535);
	const struct rig_frame first = h2_rig_await(rig, NGHTTP2_DATA);
	assert_int_equal(first.len, sizeof(body));
	assert_int_equal(h2_rig_await(rig, NGHTTP2_DATA).id, first.id == 1 ? 3 : 1);
	h2_rig_stop(rig);
}

static struct h2_rig *hostile_without_window(void)
{
	struct h2_rig *rig = hostile();
	set_window(rig, 0);
	return rig;
}

/* A tree of 1,000 streams, each below the other, makes every frame dear: nobody builds one here. */
static void test_no_stream_stands_below_another(void **state)
{
	(void)state;
	static const uint8_t request[] = { 0,   0,   0,   1,   15,  0x10, 7,   ':', 'm', 'e',  't', 'h', 'o',
		                               'd', 7,   'C', 'O', 'N', 'N',  'E', 'C', 'T', 0x10, 10,  ':', 'a',
		                               'u', 't', 'h', 'o', 'r', 'i',  't', 'y', 4,   'e',  'c', 'h', 'o' };
	struct h2_rig *rig = hostile_without_window();
	h2_rig_connect(rig, 1, false);
	h2_rig_frame(rig, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_PRIORITY, 3, request, sizeof(request));
	h2_rig_frame(rig, NGHTTP2_PRIORITY, 0, 3, request, 5);
	assert_take_turns(rig);
}

static void test_no_stream_goes_before_another(void **state)
{
	(void)state;
	struct h2_rig *rig = hostile_without_window();
	h2_rig_headers(rig, 1, false, ":method", "CONNECT", ":authority", "echo", "priority", "u=0", NULL);
	h2_rig_headers(rig, 3, false, ":method", "CONNECT", ":authority", "echo", "priority", "u=7", NULL);
	assert_take_turns(rig);
}

static void let_pass(struct h2 *h2, uint64_t ms)
{
	h2->last_ms -= ms;
	h2_stir(h2);
}

/* Idle, then the shutdown notice, then the patience with what is left. */
static void assert_is_left_in_the_end(struct h2_rig *rig)
{
	let_pass(rig->server, 60000);
	h2_rig_until(rig, rig->server->notice_open);
	let_pass(rig->server, 1000);
	h2_rig_until(rig, !rig->server->notice_open);
	let_pass(rig->server, 10000);
	h2_rig_until(rig, rig->server_ended);
	assert_int_equal(rig->server_report.end, H2_DONE);
	h2_rig_stop(rig);
}

static void test_half_a_header_block_keeps_no_idle_connection(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 60000);
	const uint8_t half[4] = { 0x10, 1, 'x', 96 };
	h2_rig_preface(rig);
	h2_rig_frame(rig, NGHTTP2_HEADERS, 0, 1, half, sizeof(half));
	h2_rig_until(rig, rig->server->n_streams == 1);
	assert_is_left_in_the_end(rig);
}

static void test_an_answered_request_without_end_keeps_no_idle_connection(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 60000);
	rig->serve = RIG_REFUSE;
	h2_rig_preface(rig);
	h2_rig_connect(rig, 1, false);
	assert_int_equal(h2_rig_await(rig, NGHTTP2_HEADERS).id, 1);
	assert_is_left_in_the_end(rig);
}

static void test_tiny_windows_are_abuse(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 0);
	const uint8_t no_window[6] = { 0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0, 0, 0, 0 };
	const uint8_t one[4] = { 0, 0, 0, 1 };
	static uint8_t body[4000];
	h2_rig_preface(rig);
	h2_rig_frame(rig, NGHTTP2_SETTINGS, 0, 0, no_window, sizeof(no_window));
	h2_rig_connect(rig, 1, false);
	h2_rig_frame(rig, NGHTTP2_DATA, 0, 1, body, sizeof(body));
	for (int i = 0; i < 2500; i++) {
		h2_rig_frame(rig, NGHTTP2_WINDOW_UPDATE, 0, 1, one, sizeof(one));
		h2_rig_turn(rig);
	}
	assert_abuse(rig, "tiny-window");
}

static void test_window_games_are_errors(void **state)
{
	(void)state;
	const uint8_t zero[4] = { 0 };
	const uint8_t huge[4] = { 0x7f, 0xff, 0xff, 0xff };
	struct h2_rig *rig = hostile();
	h2_rig_frame(rig, NGHTTP2_WINDOW_UPDATE, 0, 0, zero, sizeof(zero));
	assert_ends(rig, H2_PEER_HTTP, H2_PROTOCOL_ERROR, NULL);
	rig = hostile();
	h2_rig_frame(rig, NGHTTP2_WINDOW_UPDATE, 0, 0, huge, sizeof(huge));
	assert_ends(rig, H2_PEER_HTTP, H2_FLOW_CONTROL_ERROR, NULL);
	/* More than the window allows. */
	static uint8_t body[16384];
	rig = h2_rig_start(RIG_SERVER_ONLY, 100, 0);
	rig->serve = RIG_HOLD;
	h2_rig_preface(rig);
	h2_rig_connect(rig, 1, false);
	for (int i = 0; i < 5; i++)
		h2_rig_frame(rig, NGHTTP2_DATA, 0, 1, body, sizeof(body));
	const struct rig_frame reset = h2_rig_await(rig, NGHTTP2_RST_STREAM);
	assert_int_equal(reset.body[3], H2_FLOW_CONTROL_ERROR);
	h2_rig_stop(rig);
}

static void test_what_is_no_preface_is_told_so(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 0);
	h2_rig_frame(rig, NGHTTP2_SETTINGS, 0, 0, "POST / HTTP/1.1\r\n\r\n", 19);
	assert_ends(rig, H2_PEER_HTTP, H2_PROTOCOL_ERROR, NULL);
}

static void test_frames_that_cannot_be_end_the_connection(void **state)
{
	(void)state;
	static const struct {
		uint8_t type;
		uint32_t id;
		size_t len;
		enum h2_code code;
	} frames[] = {
		{ NGHTTP2_DATA, 0, 5, H2_PROTOCOL_ERROR },         { NGHTTP2_HEADERS, 2, 5, H2_PROTOCOL_ERROR },
		{ NGHTTP2_PING, 0, 7, H2_FRAME_SIZE_ERROR },       { NGHTTP2_SETTINGS, 0, 5, H2_FRAME_SIZE_ERROR },
		{ NGHTTP2_PUSH_PROMISE, 1, 8, H2_PROTOCOL_ERROR }, { NGHTTP2_RST_STREAM, 9, 4, H2_PROTOCOL_ERROR },
		{ NGHTTP2_CONTINUATION, 1, 4, H2_PROTOCOL_ERROR }, { NGHTTP2_DATA, 1, 16385, H2_FRAME_SIZE_ERROR },
	};
	static uint8_t body[16385];
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct h2_rig *rig = hostile();
		h2_rig_frame(rig, frames[i].type, 0, frames[i].id, body, frames[i].len);
		assert_ends(rig, H2_PEER_HTTP, frames[i].code, NULL);
	}
}

/* It asks and asks, and never reads an answer: what waits for it is bounded. */
static void test_who_asks_and_never_reads_is_left(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_SERVER_ONLY, 100, 0);
	static const uint8_t window[6] = { 0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7f, 0xff, 0xff, 0xff };
	static uint8_t body[16384];
	rig->raw_stalled = true;
	h2_rig_preface(rig);
	h2_rig_frame(rig, NGHTTP2_SETTINGS, 0, 0, window, sizeof(window));
	h2_rig_connect(rig, 1, false);
	for (int i = 0; i < 2000; i++) {
		h2_rig_frame(rig, NGHTTP2_DATA, 0, 1, body, sizeof(body));
		h2_rig_turn(rig);
		if (rig->server != NULL)
			assert_true(h2_buffered(rig->server) < 4 * H2_WINDOW_START + 2 * H2_SHARE_MIN * (size_t)TLS_FRAME_PAYLOAD);
	}
	h2_rig_stop(rig);
}

static void test_a_client_is_as_wary_of_its_server(void **state)
{
	(void)state;
	struct h2_rig *rig = h2_rig_start(RIG_CLIENT_ONLY, 0, 0);
	h2_rig_frame(rig, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	for (int i = 0; i < 1000; i++)
		h2_rig_frame(rig, NGHTTP2_PING, 0, 0, "12345678", 8);
	h2_rig_until(rig, rig->client_ended);
	assert_int_equal(rig->client_report.end, H2_PEER_ABUSE);
	assert_string_equal(rig->client_report.abuse, "ping-flood");
	h2_rig_stop(rig);
}

static void test_a_goaway_with_an_error_is_told(void **state)
{
	(void)state;
	struct h2_rig *rig = hostile();
	const uint8_t goaway[8] = { 0, 0, 0, 0, 0, 0, 0, H2_INTERNAL_ERROR };
	h2_rig_frame(rig, NGHTTP2_GOAWAY, 0, 0, goaway, sizeof(goaway));
	h2_rig_until(rig, rig->server_ended);
	assert_int_equal(rig->server_report.end, H2_PEER_GOAWAY);
	assert_int_equal(rig->server_report.code, H2_INTERNAL_ERROR);
	h2_rig_stop(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_well_behaved_peer_is_served),
		cmocka_unit_test(test_a_rapid_reset_is_abuse),
		cmocka_unit_test(test_floods_of_small_frames_are_abuse_each_by_its_name),
		cmocka_unit_test(test_a_header_block_without_end_is_abuse),
		cmocka_unit_test(test_a_header_bomb_is_abuse),
		cmocka_unit_test(test_too_many_fields_are_answered_431_and_the_next_request_is_served),
		cmocka_unit_test(test_malformed_requests_are_reset_and_a_flood_of_them_is_abuse),
		cmocka_unit_test(test_resets_that_are_provoked_are_abuse),
		cmocka_unit_test(test_no_stream_stands_below_another),
		cmocka_unit_test(test_no_stream_goes_before_another),
		cmocka_unit_test(test_half_a_header_block_keeps_no_idle_connection),
		cmocka_unit_test(test_an_answered_request_without_end_keeps_no_idle_connection),
		cmocka_unit_test(test_tiny_windows_are_abuse),
		cmocka_unit_test(test_window_games_are_errors),
		cmocka_unit_test(test_what_is_no_preface_is_told_so),
		cmocka_unit_test(test_frames_that_cannot_be_end_the_connection),
		cmocka_unit_test(test_who_asks_and_never_reads_is_left),
		cmocka_unit_test(test_a_client_is_as_wary_of_its_server),
		cmocka_unit_test(test_a_goaway_with_an_error_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
