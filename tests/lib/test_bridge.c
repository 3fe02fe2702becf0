/* SPDX-License-Identifier: Apache-2.0 */
/* bridge: what goes in at one side comes out at the other, whole and in order, and nobody waits busily. */
#include "portseal/bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge_rig.h"
#include "each_aead.h"

#define MIB ((size_t)1024 * 1024)

/* More than the sockets of a stalled side and the bridge take together. */
#define TOO_MUCH (32 * MIB)

static const enum rig_kind kinds[] = { RIG_TCP, RIG_UNIX };
#define FOR_EACH_KIND(kind) for (const enum rig_kind *kind = kinds; kind < kinds + 2; kind++)

/* Ends an open bridge cleanly. */
static void finish(struct bridge_rig *rig)
{
	rig_peer_close(rig);
	rig_app_close(rig);
	rig_until(rig, rig->ended);
	assert_int_equal(rig->report.end, BRIDGE_DONE);
	assert_int_equal(rig->report.sent_alert, ALERT_NONE);
	rig_stop(rig);
}

static void test_bytes_pass_both_ways_at_once(void **state)
{
	(void)state;
	const size_t len = 4 * MIB;
	uint8_t *noise = rig_noise(len);
	FOR_EACH_KIND(kind)
	{
		struct bridge_rig rig;
		rig_start(&rig, *kind, 0);
		for (size_t at = 0, chunk; at < len; at += chunk) {
			chunk = 1 + (noise[at] | (size_t)noise[at + 1] << 8) % 40000;
			if (chunk > len - at)
				chunk = len - at;
			rig_peer_send(&rig, noise + at, chunk);
			rig_app_send(&rig, noise + at, chunk);
			rig_turn(&rig);
		}
		rig_until(&rig, buf_len(&rig.app.in) >= len && buf_len(&rig.peer.in) >= len);
		rig_assert_got(&rig.app, noise, len);
		rig_assert_got(&rig.peer, noise, len);
		rig_settle(&rig);
		assert_int_equal(bridge_buffered(rig.bridge), 0);
		finish(&rig);
		assert_int_equal(rig.report.to_plain, len);
		assert_int_equal(rig.report.to_sealed, len);
	}
	free(noise);
}

static void test_a_record_in_single_bytes_is_put_together(void **state)
{
	(void)state;
	struct bridge_rig rig;
	rig_start(&rig, RIG_TCP, 0);
	rig_peer_send(&rig, "in pieces", 9);
	struct buf record = rig.peer.out;
	rig.peer.out = BUF_INIT;
	for (size_t i = 0; i < buf_len(&record); i++) {
		assert_int_equal(buf_len(&rig.app.in), 0);
		assert_int_equal(buf_append(&rig.peer.out, buf_front(&record) + i, 1), PS_OK);
		rig_settle(&rig);
	}
	rig_assert_got(&rig.app, "in pieces", 9);
	assert_int_equal(bridge_buffered(rig.bridge), 0);
	buf_release(&record);
	finish(&rig);
}

static void test_thousands_of_tiny_records_pass_in_order(void **state)
{
	(void)state;
	struct bridge_rig rig;
	uint8_t *noise = rig_noise(5000);
	rig_start(&rig, RIG_TCP, 0);
	for (size_t i = 0; i < 5000; i++)
		rig_peer_send(&rig, noise + i, 1);
	rig_until(&rig, buf_len(&rig.app.in) >= 5000);
	rig_assert_got(&rig.app, noise, 5000);
	finish(&rig);
	free(noise);
}

static void test_the_application_answers_after_the_client_ended(void **state)
{
	(void)state;
	FOR_EACH_KIND(kind)
	{
		struct bridge_rig rig;
		rig_start(&rig, *kind, 0);
		rig_peer_send(&rig, "question", 8);
		rig_peer_close(&rig);
		rig_until(&rig, rig.app.eof);
		rig_assert_got(&rig.app, "question", 8);
		rig_settle(&rig);
		assert_int_equal(bridge_buffered(rig.bridge), 0);

		rig_app_send(&rig, "answer", 6);
		rig_app_close(&rig);
		rig_until(&rig, rig.peer_said != PS_OK);
		assert_int_equal(rig.peer_said, PS_E_CLOSED);
		rig_assert_got(&rig.peer, "answer", 6);
		rig_until(&rig, rig.ended);
		assert_int_equal(rig.report.end, BRIDGE_DONE);
		rig_stop(&rig);
	}
}

static void test_the_client_goes_on_after_the_application_ended(void **state)
{
	(void)state;
	FOR_EACH_KIND(kind)
	{
		struct bridge_rig rig;
		rig_start(&rig, *kind, 0);
		rig_app_send(&rig, "greeting", 8);
		rig_app_close(&rig);
		rig_until(&rig, rig.peer_said != PS_OK && rig.peer.eof);
		assert_int_equal(rig.peer_said, PS_E_CLOSED);
		rig_assert_got(&rig.peer, "greeting", 8);
		rig_settle(&rig);
		assert_int_equal(bridge_buffered(rig.bridge), 0);

		rig_peer_send(&rig, "more", 4);
		rig_peer_close(&rig);
		rig_until(&rig, rig.app.eof);
		rig_assert_got(&rig.app, "more", 4);
		rig_until(&rig, rig.ended);
		assert_int_equal(rig.report.end, BRIDGE_DONE);
		rig_stop(&rig);
	}
}

static void test_both_end_at_the_same_time(void **state)
{
	(void)state;
	FOR_EACH_KIND(kind)
	{
		struct bridge_rig rig;
		rig_start(&rig, *kind, 0);
		rig_app_close(&rig);
		rig_peer_close(&rig);
		rig_until(&rig, rig.ended && rig.app.eof && rig.peer.eof);
		assert_int_equal(rig.report.end, BRIDGE_DONE);
		assert_int_equal(rig.peer_said, PS_E_CLOSED);
		rig_stop(&rig);
	}
}

/* A unix socket tells of such a close by a hang-up that stays: neither an error nor a reason to spin. */
static void test_an_application_that_answered_and_is_gone_ends_cleanly(void **state)
{
	(void)state;
	FOR_EACH_KIND(kind)
	{
		struct bridge_rig rig;
		rig_start(&rig, *kind, 0);
		rig_app_send(&rig, "answer", 6);
		rig_until(&rig, buf_len(&rig.app.out) == 0);
		rig_drop(&rig.app);
		rig_until(&rig, rig.peer_said != PS_OK);
		assert_int_equal(rig.peer_said, PS_E_CLOSED);
		rig_assert_got(&rig.peer, "answer", 6);
		rig_settle(&rig);
		rig_peer_close(&rig);
		rig_until(&rig, rig.ended);
		assert_int_equal(rig.report.end, BRIDGE_DONE);
		rig_stop(&rig);
	}
}

static void test_a_stalled_application_stops_the_client(void **state)
{
	(void)state;
	uint8_t *noise = rig_noise(TOO_MUCH);
	FOR_EACH_KIND(kind)
	{
		struct bridge_rig rig;
		rig_start(&rig, *kind, 0);
		rig.app.stalled = true;
		rig_peer_send(&rig, noise, TOO_MUCH);
		rig_settle(&rig);
		assert_int_not_equal(buf_len(&rig.peer.out), 0);
		assert_int_not_equal(bridge_buffered(rig.bridge), 0);

		/* The other direction goes on meanwhile. */
		rig_app_send(&rig, "still here", 10);
		rig_until(&rig, buf_len(&rig.peer.in) >= 10);

		rig.app.stalled = false;
		rig_until(&rig, buf_len(&rig.app.in) >= TOO_MUCH);
		rig_assert_got(&rig.app, noise, TOO_MUCH);
		rig_settle(&rig);
		assert_int_equal(bridge_buffered(rig.bridge), 0);
		finish(&rig);
	}
	free(noise);
}

static void test_a_stalled_client_stops_the_application(void **state)
{
	(void)state;
	uint8_t *noise = rig_noise(TOO_MUCH);
	FOR_EACH_KIND(kind)
	{
		struct bridge_rig rig;
		rig_start(&rig, *kind, 0);
		rig.peer.stalled = true;
		rig_app_send(&rig, noise, TOO_MUCH);
		rig_settle(&rig);
		assert_int_not_equal(buf_len(&rig.app.out), 0);

		rig_peer_send(&rig, "still here", 10);
		rig_until(&rig, buf_len(&rig.app.in) >= 10);

		rig.peer.stalled = false;
		rig_until(&rig, buf_len(&rig.peer.in) >= TOO_MUCH);
		rig_assert_got(&rig.peer, noise, TOO_MUCH);
		finish(&rig);
	}
	free(noise);
}

static void test_both_stalled_hold_no_more_than_promised(void **state)
{
	(void)state;
	struct bridge_rig rig;
	uint8_t *noise = rig_noise(TOO_MUCH);
	rig_start(&rig, RIG_TCP, 0);
	rig.app.stalled = true;
	rig.peer.stalled = true;
	rig_app_send(&rig, noise, TOO_MUCH);
	rig_peer_send(&rig, noise, TOO_MUCH);
	rig_settle(&rig); /* each turn checks BRIDGE_BUFFERED_MAX */
	assert_int_not_equal(bridge_buffered(rig.bridge), 0);
	bridge_abort(rig.bridge, ALERT_INTERNAL_ERROR);
	rig_until(&rig, rig.ended);
	assert_int_equal(rig.report.end, BRIDGE_ABORTED);
	rig_stop(&rig);
	free(noise);
}

static void test_a_key_update_is_answered_behind_what_is_pending(void **state)
{
	(void)state;
	struct bridge_rig rig;
	uint8_t *noise = rig_noise(TOO_MUCH);
	rig_start(&rig, RIG_TCP, 0);
	rig.peer.stalled = true;
	rig_app_send(&rig, noise, TOO_MUCH);
	rig_settle(&rig);
	for (int i = 0; i < 3; i++)
		assert_int_equal(tls_stream_update_key(rig.stream, true, &rig.peer.out), PS_OK);
	rig_peer_send(&rig, "new key", 7);
	rig_until(&rig, buf_len(&rig.app.in) >= 7);
	rig_assert_got(&rig.app, "new key", 7);

	rig.peer.stalled = false;
	rig_until(&rig, buf_len(&rig.peer.in) >= TOO_MUCH || rig.peer_said != PS_OK);
	rig_assert_got(&rig.peer, noise, TOO_MUCH);
	finish(&rig);
	free(noise);
}

static void test_the_end_waits_for_what_is_pending_before_it(void **state)
{
	(void)state;
	uint8_t *noise = rig_noise(TOO_MUCH);
	FOR_EACH_KIND(kind)
	{
		struct bridge_rig rig;
		rig_start(&rig, *kind, 0);
		rig.app.stalled = true;
		rig_peer_send(&rig, noise, TOO_MUCH);
		rig_settle(&rig);
		rig.app.stalled = false;
		rig_peer_close(&rig);
		rig_until(&rig, rig.app.eof || rig.app.error != 0);
		assert_int_equal(rig.app.error, 0);
		rig_assert_got(&rig.app, noise, TOO_MUCH);

		rig.peer.stalled = true;
		rig_app_send(&rig, noise, TOO_MUCH);
		rig_settle(&rig);
		rig.peer.stalled = false;
		rig_app_close(&rig);
		rig_until(&rig, rig.peer_said != PS_OK);
		assert_int_equal(rig.peer_said, PS_E_CLOSED);
		rig_assert_got(&rig.peer, noise, TOO_MUCH);
		rig_until(&rig, rig.ended);
		assert_int_equal(rig.report.end, BRIDGE_DONE);
		rig_stop(&rig);
	}
	free(noise);
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_pass_both_ways_at_once),
		cmocka_unit_test(test_a_record_in_single_bytes_is_put_together),
		cmocka_unit_test(test_thousands_of_tiny_records_pass_in_order),
		cmocka_unit_test(test_the_application_answers_after_the_client_ended),
		cmocka_unit_test(test_the_client_goes_on_after_the_application_ended),
		cmocka_unit_test(test_both_end_at_the_same_time),
		cmocka_unit_test(test_an_application_that_answered_and_is_gone_ends_cleanly),
		cmocka_unit_test(test_a_stalled_application_stops_the_client),
		cmocka_unit_test(test_a_stalled_client_stops_the_application),
		cmocka_unit_test(test_both_stalled_hold_no_more_than_promised),
		cmocka_unit_test(test_a_key_update_is_answered_behind_what_is_pending),
		cmocka_unit_test(test_the_end_waits_for_what_is_pending_before_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	return with_each_aead(run_group);
}
