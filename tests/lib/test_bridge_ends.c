/* SPDX-License-Identifier: Apache-2.0 */
/* bridge: whatever goes wrong at one side, the other learns that it was no clean end, after all that was genuine. */
#include "portseal/bridge.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "bridge_rig.h"
#include "each_aead.h"

#define TOO_MUCH ((size_t)32 * 1024 * 1024)
#define IDLE_MS 30

static void assert_ended(struct bridge_rig *rig, enum bridge_end end, uint8_t sent_alert)
{
	rig_until(rig, rig->ended);
	assert_int_equal(rig->report.end, end);
	assert_int_equal(rig->report.sent_alert, sent_alert);
	rig_stop(rig);
}

static void test_a_cut_client_resets_the_application_after_what_came(void **state)
{
	(void)state;
	struct bridge_rig rig;
	rig_start(&rig, RIG_TCP, 0);
	rig_peer_send(&rig, "genuine", 7);
	rig_until(&rig, buf_len(&rig.app.in) >= 7);
	(void)shutdown(rig.peer.fd, SHUT_WR);
	rig_assert_app_reset(&rig);
	rig_assert_got(&rig.app, "genuine", 7);
	assert_ended(&rig, BRIDGE_SEALED_TRUNCATED, ALERT_NONE);
}

static void test_a_client_cut_within_a_record_adds_nothing(void **state)
{
	(void)state;
	struct bridge_rig rig;
	rig_start(&rig, RIG_TCP, 0);
	rig_peer_send(&rig, "whole", 5);
	rig_peer_send(&rig, "broken off", 10);
	rig.peer.out.end -= 1;
	rig_until(&rig, buf_len(&rig.app.in) >= 5);
	rig_drop(&rig.peer);
	rig_assert_app_reset(&rig);
	rig_assert_got(&rig.app, "whole", 5);
	assert_ended(&rig, BRIDGE_SEALED_TRUNCATED, ALERT_NONE);
}

static void test_a_reset_client_resets_the_application(void **state)
{
	(void)state;
	struct bridge_rig rig;
	rig_start(&rig, RIG_TCP, 0);
	rig_peer_send(&rig, "genuine", 7);
	rig_until(&rig, buf_len(&rig.app.in) >= 7);
	rig_reset(&rig.peer);
	rig_assert_app_reset(&rig);
	assert_ended(&rig, BRIDGE_SEALED_RESET, ALERT_NONE);
}

/* Only the answer's own direction could tell, and the application is silent: the socket's error must do. */
static void test_a_client_lost_while_it_waits_for_the_answer_is_noticed(void **state)
{
	(void)state;
	struct bridge_rig rig;
	rig_start(&rig, RIG_TCP, 0);
	rig_peer_close(&rig);
	rig_until(&rig, rig.app.eof);
	rig_settle(&rig);
	rig_reset(&rig.peer);
	assert_ended(&rig, BRIDGE_SEALED_RESET, ALERT_NONE);
}

/* A client that sends, ends properly and is gone: the answer that nobody reads must not tear its message. */
static void test_a_client_that_never_reads_still_delivers_its_message(void **state)
{
	(void)state;
	uint8_t *noise = rig_noise(TOO_MUCH);
	for (size_t answer = 0; answer <= TOO_MUCH; answer += TOO_MUCH) {
		struct bridge_rig rig;
		rig_start(&rig, RIG_TCP, 0);
		rig.peer.stalled = true;
		rig_app_send(&rig, noise, 1000);
		rig_settle(&rig);

		rig_app_send(&rig, noise, answer);
		rig_peer_send(&rig, noise, 30000);
		assert_int_equal(tls_stream_close(rig.stream, &rig.peer.out), PS_OK);
		const size_t len = buf_len(&rig.peer.out);
		assert_int_equal(send(rig.peer.fd, buf_front(&rig.peer.out), len, 0), len);
		rig_drop(&rig.peer); /* with bytes unread: a reset */
		rig_until(&rig, rig.app.eof || rig.app.error != 0);
		assert_int_equal(rig.app.error, 0);
		rig_assert_got(&rig.app, noise, 30000);
		assert_ended(&rig, BRIDGE_SEALED_RESET, ALERT_NONE);
	}
	free(noise);
}

/* What the kernel still holds for a slow application is not destroyed by closing its socket. */
static void test_a_slow_application_still_gets_the_message_of_a_client_that_is_gone(void **state)
{
	(void)state;
	const size_t len = 500000;
	struct bridge_rig rig;
	uint8_t *noise = rig_noise(len);
	rig_start(&rig, RIG_TCP, 0);
	rig.peer.stalled = true;
	rig.app.stalled = true;
	rig_app_send(&rig, noise, 1000);
	rig_peer_send(&rig, noise, len);
	rig_settle(&rig);
	assert_int_equal(buf_len(&rig.peer.out), 0);
	rig_peer_close(&rig);
	rig_drop(&rig.peer);
	rig_until(&rig, rig.ended);
	rig.app.stalled = false;
	rig_until(&rig, rig.app.eof || rig.app.error != 0);
	assert_int_equal(rig.app.error, 0);
	rig_assert_got(&rig.app, noise, len);
	assert_ended(&rig, BRIDGE_SEALED_RESET, ALERT_NONE);
	free(noise);
}

static void test_an_application_reset_anywhere_is_an_alert(void **state)
{
	(void)state;
	const size_t positions[] = { 0, 1, 100, 16383, 16384, 16385, 49152, 65537, 300000, 2000003 };
	uint8_t *noise = rig_noise(2000003);
	for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
		struct bridge_rig rig;
		rig_start(&rig, RIG_TCP, 0);
		rig_app_send(&rig, noise, positions[i]);
		rig_until(&rig, buf_len(&rig.peer.in) >= positions[i]);
		rig_reset(&rig.app);
		rig_assert_peer_alerted(&rig, ALERT_INTERNAL_ERROR);
		rig_assert_got(&rig.peer, noise, positions[i]);
		assert_ended(&rig, BRIDGE_PLAIN_RESET, ALERT_INTERNAL_ERROR);
	}
	free(noise);
}

/* A reset behind the alert would make many a system forget the alert. */
static void test_a_client_that_goes_on_sending_reads_the_alert_and_a_clean_end(void **state)
{
	(void)state;
	struct bridge_rig rig;
	uint8_t *noise = rig_noise(120000);
	rig_start(&rig, RIG_TCP, 0);
	rig_settle(&rig);
	rig_peer_send(&rig, noise, 120000);
	const ssize_t sent = send(rig.peer.fd, buf_front(&rig.peer.out), buf_len(&rig.peer.out), MSG_DONTWAIT);
	assert_int_equal(sent, buf_len(&rig.peer.out));
	buf_reset(&rig.peer.out);
	rig_reset(&rig.app);
	rig_assert_peer_alerted(&rig, ALERT_INTERNAL_ERROR);
	rig_until(&rig, rig.peer.eof || rig.peer.error != 0);
	assert_int_equal(rig.peer.error, 0);
	assert_ended(&rig, BRIDGE_PLAIN_RESET, ALERT_INTERNAL_ERROR);
	free(noise);
}

/* The kernel answers bytes that were never read by a reset, also where the application itself ended well. */
static void test_an_answer_before_the_reset_is_delivered_before_the_alert(void **state)
{
	(void)state;
	for (int kind = RIG_TCP; kind <= RIG_UNIX; kind++) {
		struct bridge_rig rig;
		rig_start(&rig, (enum rig_kind)kind, 0);
		rig.app.stalled = true;
		rig_peer_send(&rig, "never read", 10);
		rig_settle(&rig);
		rig_app_send(&rig, "too large", 9);
		while (buf_len(&rig.app.out) > 0)
			rig_turn(&rig);
		rig_drop(&rig.app);
		rig_assert_peer_alerted(&rig, ALERT_INTERNAL_ERROR);
		rig_assert_got(&rig.peer, "too large", 9);
		assert_ended(&rig, BRIDGE_PLAIN_RESET, ALERT_INTERNAL_ERROR);
	}
}

/* The write meets the reset first and takes the error away: recv() then reports an end that looks clean. */
static void test_a_reset_met_by_a_write_is_no_clean_end(void **state)
{
	(void)state;
	struct bridge_rig rig;
	uint8_t *noise = rig_noise(TOO_MUCH);
	rig_start(&rig, RIG_TCP, 0);
	rig.app.stalled = true;
	rig.peer.stalled = true;
	rig_peer_send(&rig, noise, TOO_MUCH);
	rig_app_send(&rig, noise, TOO_MUCH);
	rig_settle(&rig);
	rig_reset(&rig.app); /* both directions are stalled: no read is due */
	rig_settle(&rig);
	rig.peer.stalled = false;
	rig_assert_peer_alerted(&rig, ALERT_INTERNAL_ERROR);
	assert_memory_equal(buf_front(&rig.peer.in), noise, buf_len(&rig.peer.in));
	assert_true(buf_len(&rig.peer.in) >= rig.report.to_sealed);
	assert_ended(&rig, BRIDGE_PLAIN_RESET, ALERT_INTERNAL_ERROR);
	free(noise);
}

static void test_a_write_refused_after_the_application_ended_closes_both(void **state)
{
	(void)state;
	struct bridge_rig rig;
	rig_start(&rig, RIG_TCP, 0);
	rig_app_send(&rig, "bye", 3);
	rig_until(&rig, buf_len(&rig.app.out) == 0);
	rig_drop(&rig.app);
	rig_until(&rig, rig.peer_said != PS_OK);
	assert_int_equal(rig.peer_said, PS_E_CLOSED);
	rig_assert_got(&rig.peer, "bye", 3);
	rig_peer_send(&rig, "nobody reads this", 17);
	assert_ended(&rig, BRIDGE_PLAIN_RESET, ALERT_NONE);
}

static void test_a_stalled_client_cannot_keep_a_lost_bridge(void **state)
{
	(void)state;
	struct bridge_rig rig;
	uint8_t *noise = rig_noise(TOO_MUCH);
	rig_start(&rig, RIG_TCP, IDLE_MS * 10);
	rig.peer.stalled = true;
	rig_app_send(&rig, noise, TOO_MUCH);
	while (rig.bridge != NULL && bridge_buffered(rig.bridge) == 0)
		rig_turn(&rig);
	rig_reset(&rig.app);
	rig_until(&rig, rig.ended);
	assert_int_equal(rig.report.end, BRIDGE_PLAIN_RESET);
	rig_stop(&rig);
	free(noise);
}

static void test_a_forged_record_is_answered_and_resets_the_application(void **state)
{
	(void)state;
	struct bridge_rig rig;
	rig_start(&rig, RIG_TCP, 0);
	rig_peer_send(&rig, "genuine", 7);
	rig_peer_send(&rig, "forged!", 7);
	rig.peer.out.data[rig.peer.out.end - 1] ^= 1;
	rig_assert_app_reset(&rig);
	rig_assert_got(&rig.app, "genuine", 7);
	rig_assert_peer_alerted(&rig, ALERT_BAD_RECORD_MAC);
	assert_ended(&rig, BRIDGE_SEALED_PROTOCOL, ALERT_BAD_RECORD_MAC);
}

static void test_an_alert_waits_for_what_is_pending_before_it(void **state)
{
	(void)state;
	struct bridge_rig rig;
	uint8_t *noise = rig_noise(TOO_MUCH);
	rig_start(&rig, RIG_TCP, 0);
	rig.peer.stalled = true;
	rig_app_send(&rig, noise, TOO_MUCH);
	rig_settle(&rig);
	rig_peer_send(&rig, "forged!", 7);
	rig.peer.out.data[rig.peer.out.end - 1] ^= 1;
	rig_assert_app_reset(&rig);
	rig.peer.stalled = false;
	rig_assert_peer_alerted(&rig, ALERT_BAD_RECORD_MAC);
	rig_until(&rig, rig.ended);
	rig_assert_got(&rig.peer, noise, (size_t)rig.report.to_sealed);
	assert_ended(&rig, BRIDGE_SEALED_PROTOCOL, ALERT_BAD_RECORD_MAC);
	free(noise);
}

static void test_the_peers_alert_is_reported_and_resets_the_application(void **state)
{
	(void)state;
	struct bridge_rig rig;
	rig_start(&rig, RIG_TCP, 0);
	rig_peer_send(&rig, "genuine", 7);
	assert_int_equal(tls_stream_fail(rig.stream, ALERT_ACCESS_DENIED, &rig.peer.out), PS_OK);
	rig_assert_app_reset(&rig);
	rig_assert_got(&rig.app, "genuine", 7);
	rig_until(&rig, rig.ended);
	assert_int_equal(rig.report.peer_alert, ALERT_ACCESS_DENIED);
	assert_ended(&rig, BRIDGE_SEALED_ALERT, ALERT_NONE);
}

static void test_silence_ends_it_for_both(void **state)
{
	(void)state;
	struct bridge_rig rig;
	const uint64_t start = uv_hrtime();
	rig_start(&rig, RIG_TCP, IDLE_MS);
	rig_assert_app_reset(&rig);
	assert_in_range((uv_hrtime() - start) / 1000000, IDLE_MS - 1, 1000);
	rig_assert_peer_alerted(&rig, ALERT_INTERNAL_ERROR);
	assert_ended(&rig, BRIDGE_IDLE, ALERT_INTERNAL_ERROR);
}

static void test_bytes_either_way_keep_it_alive(void **state)
{
	(void)state;
	struct bridge_rig rig;
	size_t sent = 0;
	rig_start(&rig, RIG_TCP, IDLE_MS * 5);
	const uint64_t until = uv_hrtime() + UINT64_C(1000000) * IDLE_MS * 10;
	while (uv_hrtime() < until) {
		rig_app_send(&rig, "tick", 4);
		sent += 4;
		rig_until(&rig, buf_len(&rig.peer.in) >= sent || rig.ended);
		assert_false(rig.ended);
	}
	assert_ended(&rig, BRIDGE_IDLE, ALERT_INTERNAL_ERROR);
}

static void test_an_abort_tells_both(void **state)
{
	(void)state;
	struct bridge_rig rig;
	rig_start(&rig, RIG_TCP, 0);
	rig_turn(&rig);
	bridge_abort(rig.bridge, ALERT_INTERNAL_ERROR);
	assert_false(rig.ended); /* on_end comes from the loop */
	bridge_abort(rig.bridge, ALERT_INTERNAL_ERROR);
	rig_assert_app_reset(&rig);
	rig_assert_peer_alerted(&rig, ALERT_INTERNAL_ERROR);
	assert_ended(&rig, BRIDGE_ABORTED, ALERT_INTERNAL_ERROR);
}

static void test_an_abort_right_after_the_start_is_harmless(void **state)
{
	(void)state;
	struct bridge_rig rig;
	rig_start(&rig, RIG_UNIX, 0);
	bridge_abort(rig.bridge, ALERT_INTERNAL_ERROR);
	rig_assert_peer_alerted(&rig, ALERT_INTERNAL_ERROR);
	assert_ended(&rig, BRIDGE_ABORTED, ALERT_INTERNAL_ERROR);
}

static void assert_nobody_at(int fd)
{
	char byte;
	assert_int_not_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 1);
	assert_int_not_equal(errno, EAGAIN);
	(void)close(fd);
}

static void test_a_bridge_that_cannot_start_closes_what_it_took(void **state)
{
	(void)state;
	const struct traffic_secrets secrets = { .suite = SUITE_AES_128_GCM_SHA256 };
	int sealed[2];
	uv_loop_t loop;
	struct bridge *bridge = NULL;
	struct bridge_config config = { .loop = &loop, .plain_fd = -1 };

	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(watches_new(&loop, &config.watches), PS_OK);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sealed), 0);
	config.sealed_fd = sealed[1];
	assert_int_equal(tls_stream_new(TLS_SERVER, &secrets, &config.stream), PS_OK);
	assert_int_equal(bridge_new(&config, &bridge), PS_E_IO);
	assert_null(bridge);
	watches_free(config.watches);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	errno = 0;
	assert_nobody_at(sealed[0]);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_cut_client_resets_the_application_after_what_came),
		cmocka_unit_test(test_a_client_cut_within_a_record_adds_nothing),
		cmocka_unit_test(test_a_reset_client_resets_the_application),
		cmocka_unit_test(test_a_client_lost_while_it_waits_for_the_answer_is_noticed),
		cmocka_unit_test(test_a_client_that_never_reads_still_delivers_its_message),
		cmocka_unit_test(test_a_slow_application_still_gets_the_message_of_a_client_that_is_gone),
		cmocka_unit_test(test_an_application_reset_anywhere_is_an_alert),
		cmocka_unit_test(test_a_client_that_goes_on_sending_reads_the_alert_and_a_clean_end),
		cmocka_unit_test(test_an_answer_before_the_reset_is_delivered_before_the_alert),
		cmocka_unit_test(test_a_reset_met_by_a_write_is_no_clean_end),
		cmocka_unit_test(test_a_write_refused_after_the_application_ended_closes_both),
		cmocka_unit_test(test_a_stalled_client_cannot_keep_a_lost_bridge),
		cmocka_unit_test(test_a_forged_record_is_answered_and_resets_the_application),
		cmocka_unit_test(test_an_alert_waits_for_what_is_pending_before_it),
		cmocka_unit_test(test_the_peers_alert_is_reported_and_resets_the_application),
		cmocka_unit_test(test_silence_ends_it_for_both),
		cmocka_unit_test(test_bytes_either_way_keep_it_alive),
		cmocka_unit_test(test_an_abort_tells_both),
		cmocka_unit_test(test_an_abort_right_after_the_start_is_harmless),
		cmocka_unit_test(test_a_bridge_that_cannot_start_closes_what_it_took),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	return with_each_aead(run_group);
}
