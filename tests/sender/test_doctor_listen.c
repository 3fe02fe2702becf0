/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor_listen.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/buf.h"
#include "portseal/tls_stream.h"

#define LONG_MS 20000
#define SHORT_MS 20

static const struct traffic_secrets secrets = { .suite = SUITE_AES_128_GCM_SHA256, .client = { 1 }, .server = { 2 } };

/* The relay's end, which has said what it says before it is listened to. */
struct far {
	int fds[2]; /* ours, the relay's */
	struct tls_stream *stream;
	struct buf says;
};

static void start(struct far *far)
{
	far->says = BUF_INIT;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, far->fds), 0);
	assert_int_equal(tls_stream_new(TLS_SERVER, &secrets, &far->stream), PS_OK);
}

static struct heard hear(struct far *far, uint64_t wait_ms, bool closes)
{
	struct heard heard = { .what = HEARD_BROKEN };

	if (buf_len(&far->says) > 0)
		assert_int_equal(write(far->fds[1], buf_front(&far->says), buf_len(&far->says)), (long)buf_len(&far->says));
	if (closes)
		assert_int_equal(shutdown(far->fds[1], SHUT_WR), 0);
	assert_int_equal(doctor_listen(far->fds[0], &secrets, wait_ms, &heard), PS_OK);
	return heard;
}

static void stop(struct far *far)
{
	close(far->fds[0]);
	close(far->fds[1]);
	tls_stream_free(far->stream);
	buf_release(&far->says);
}

static void test_our_direction_ends_without_a_byte_of_payload(void **state)
{
	uint8_t wire[256];
	struct iovec spans[1];
	struct tls_opened opened;
	struct far far;

	(void)state;
	start(&far);
	(void)hear(&far, SHORT_MS, false);
	const ssize_t n = read(far.fds[1], wire, sizeof(wire));
	assert_true(n > 0);
	assert_int_equal(tls_stream_open(far.stream, wire, (size_t)n, spans, 1, &opened, &far.says), PS_E_CLOSED);
	assert_int_equal(opened.payload, 0);
	assert_int_equal(opened.consumed, n);
	stop(&far);
}

static void test_silence_is_heard_when_the_time_is_over(void **state)
{
	struct far far;

	(void)state;
	start(&far);
	assert_int_equal(hear(&far, SHORT_MS, false).what, HEARD_SILENCE);
	stop(&far);
}

static void test_a_reply_is_counted_and_not_waited_behind(void **state)
{
	struct far far;

	(void)state;
	start(&far);
	assert_int_equal(tls_stream_seal(far.stream, (const uint8_t *)"220 ready", 9, &far.says), PS_OK);
	const struct heard heard = hear(&far, LONG_MS, false);
	assert_int_equal(heard.what, HEARD_REPLY);
	assert_int_equal(heard.reply_len, 9);
	stop(&far);
}

static void test_close_notify_is_an_end(void **state)
{
	struct far far;

	(void)state;
	start(&far);
	assert_int_equal(tls_stream_close(far.stream, &far.says), PS_OK);
	assert_int_equal(hear(&far, LONG_MS, false).what, HEARD_END);
	stop(&far);
}

static void test_an_alert_is_named_though_the_connection_ends_behind_it(void **state)
{
	struct far far;

	(void)state;
	start(&far);
	assert_int_equal(tls_stream_fail(far.stream, ALERT_ACCESS_DENIED, &far.says), PS_OK);
	const struct heard heard = hear(&far, LONG_MS, true);
	assert_int_equal(heard.what, HEARD_ALERT);
	assert_int_equal(heard.alert, ALERT_ACCESS_DENIED);
	stop(&far);
}

static void test_an_end_without_tls_is_a_cut(void **state)
{
	struct far far;

	(void)state;
	start(&far);
	assert_int_equal(hear(&far, LONG_MS, true).what, HEARD_CUT);
	stop(&far);
}

static void test_half_a_record_and_then_the_end_is_a_cut(void **state)
{
	struct far far;

	(void)state;
	start(&far);
	assert_int_equal(tls_stream_close(far.stream, &far.says), PS_OK);
	far.says.end--;
	assert_int_equal(hear(&far, LONG_MS, true).what, HEARD_CUT);
	stop(&far);
}

static void test_a_forged_record_is_broken(void **state)
{
	struct far far;

	(void)state;
	start(&far);
	assert_int_equal(tls_stream_seal(far.stream, (const uint8_t *)"x", 1, &far.says), PS_OK);
	far.says.data[far.says.end - 1] ^= 1;
	assert_int_equal(hear(&far, LONG_MS, false).what, HEARD_BROKEN);
	stop(&far);
}

static void test_a_relay_that_closed_already_is_still_heard(void **state)
{
	struct heard heard = { .what = HEARD_SILENCE };
	struct far far;

	(void)state;
	start(&far);
	assert_int_equal(tls_stream_fail(far.stream, ALERT_UNKNOWN_CA, &far.says), PS_OK);
	assert_int_equal(write(far.fds[1], buf_front(&far.says), buf_len(&far.says)), (long)buf_len(&far.says));
	assert_int_equal(shutdown(far.fds[1], SHUT_RDWR), 0);
	assert_int_equal(doctor_listen(far.fds[0], &secrets, LONG_MS, &heard), PS_OK);
	assert_int_equal(heard.what, HEARD_ALERT);
	assert_int_equal(heard.alert, ALERT_UNKNOWN_CA);
	stop(&far);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_our_direction_ends_without_a_byte_of_payload),
		cmocka_unit_test(test_silence_is_heard_when_the_time_is_over),
		cmocka_unit_test(test_a_reply_is_counted_and_not_waited_behind),
		cmocka_unit_test(test_close_notify_is_an_end),
		cmocka_unit_test(test_an_alert_is_named_though_the_connection_ends_behind_it),
		cmocka_unit_test(test_an_end_without_tls_is_a_cut),
		cmocka_unit_test(test_half_a_record_and_then_the_end_is_a_cut),
		cmocka_unit_test(test_a_forged_record_is_broken),
		cmocka_unit_test(test_a_relay_that_closed_already_is_still_heard),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
