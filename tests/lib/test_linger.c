/* SPDX-License-Identifier: Apache-2.0 */
/* linger: what was written last arrives; nobody can hold a socket of ours longer or feed it more than is allowed. */
#include "portseal/linger.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	uv_loop_t loop;
	struct linger_set *linger;
};

static struct fixture fixture;

static int open_loop(void **state)
{
	(void)state;
	return uv_loop_init(&fixture.loop) == 0 && linger_new(&fixture.loop, &fixture.linger) == PS_OK ? 0 : -1;
}

static int close_loop(void **state)
{
	(void)state;
	linger_free(fixture.linger);
	(void)uv_run(&fixture.loop, UV_RUN_DEFAULT);
	return uv_loop_close(&fixture.loop);
}

/* A TCP connection over loopback, for resets are TCP's. */
static void tcp_pair(int *ours, int *theirs)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	*theirs = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(*theirs, (struct sockaddr *)&at, sizeof(at)), 0);
	*ours = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(*ours >= 0);
	close(listener);
}

/* Turns of the loop until `count` sockets are left; at most some thousand. */
static void run_until(size_t count)
{
	for (int i = 0; i < 4096 && linger_count(fixture.linger) > count; i++)
		(void)uv_run(&fixture.loop, UV_RUN_ONCE);
	assert_int_equal(linger_count(fixture.linger), count);
}

static void assert_closed(int fd)
{
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}

/* Goal: the peer has sent what we never read. A plain close() would answer with a reset, and "alert" be lost. */
static void test_what_was_written_last_is_read_in_spite_of_unread_input(void **state)
{
	(void)state;
	char bytes[16] = "";
	int ours, theirs;
	tcp_pair(&ours, &theirs);
	assert_int_equal(send(theirs, "unread", 6, 0), 6);
	assert_int_equal(send(ours, "alert", 5, 0), 5);
	linger_close(fixture.linger, ours);
	assert_int_equal(linger_count(fixture.linger), 1);
	(void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
	assert_int_equal(recv(theirs, bytes, sizeof(bytes), MSG_WAITALL), 5);
	assert_string_equal(bytes, "alert");
	assert_int_equal(send(theirs, "more", 4, MSG_NOSIGNAL), 4);
	assert_int_equal(recv(theirs, bytes, sizeof(bytes), 0), 0);
	close(theirs);
	run_until(0);
	assert_closed(ours);
}

static void test_a_peer_that_stays_is_cut_after_the_time(void **state)
{
	(void)state;
	int ours, theirs;
	uint64_t began = uv_hrtime();
	tcp_pair(&ours, &theirs);
	linger_close(fixture.linger, ours);
	run_until(0);
	assert_in_range((uv_hrtime() - began) / 1000000, LINGER_MS - 10, LINGER_MS + 1500);
	assert_closed(ours);
	close(theirs);
}

static void test_a_peer_that_floods_is_cut_after_the_bytes(void **state)
{
	(void)state;
	static const uint8_t waste[65536];
	size_t sent = 0;
	int ours, theirs;
	tcp_pair(&ours, &theirs);
	linger_close(fixture.linger, ours);
	while (linger_count(fixture.linger) == 1 && sent < 64 * LINGER_BYTES) {
		ssize_t n = send(theirs, waste, sizeof(waste), MSG_NOSIGNAL | MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
		(void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(linger_count(fixture.linger), 0);
	assert_true(sent >= LINGER_BYTES);
	assert_closed(ours);
	close(theirs);
}

static void test_a_peer_that_resets_is_let_go(void **state)
{
	(void)state;
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	int ours, theirs;
	tcp_pair(&ours, &theirs);
	linger_close(fixture.linger, ours);
	assert_int_equal(setsockopt(theirs, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(theirs);
	run_until(0);
	assert_closed(ours);
}

static void test_one_too_many_is_just_closed(void **state)
{
	(void)state;
	int theirs[LINGER_MAX], pair[2];
	for (size_t i = 0; i < LINGER_MAX; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
		theirs[i] = pair[1];
		linger_close(fixture.linger, pair[0]);
	}
	assert_int_equal(linger_count(fixture.linger), LINGER_MAX);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	linger_close(fixture.linger, pair[0]);
	assert_closed(pair[0]);
	close(pair[1]);
	for (size_t i = 0; i < LINGER_MAX; i += 2) /* in another order than they came */
		close(theirs[i]);
	run_until(LINGER_MAX / 2);
	for (size_t i = 1; i < LINGER_MAX; i += 2)
		close(theirs[i]);
	run_until(0);
}

static void test_freeing_closes_what_is_left(void **state)
{
	(void)state;
	struct linger_set *linger;
	int ours, theirs;
	assert_int_equal(linger_new(&fixture.loop, &linger), PS_OK);
	tcp_pair(&ours, &theirs);
	linger_close(linger, ours);
	linger_free(linger);
	assert_closed(ours);
	close(theirs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_written_last_is_read_in_spite_of_unread_input),
		cmocka_unit_test(test_a_peer_that_stays_is_cut_after_the_time),
		cmocka_unit_test(test_a_peer_that_floods_is_cut_after_the_bytes),
		cmocka_unit_test(test_a_peer_that_resets_is_let_go),
		cmocka_unit_test(test_one_too_many_is_just_closed),
		cmocka_unit_test(test_freeing_closes_what_is_left),
	};
	return cmocka_run_group_tests_name("linger", tests, open_loop, close_loop);
}
