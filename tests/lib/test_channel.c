/* SPDX-License-Identifier: Apache-2.0 */
/* channel: whole messages with at most one descriptor; nothing that the other end does costs one of ours. */
#include "portseal/channel.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

struct received {
	uint32_t type;
	uint8_t body[CHANNEL_MESSAGE_MAX];
	size_t body_len;
	int fd;
};

struct fixture {
	int ends[2];
	int n_open; /* descriptors of this process when the test began */
};

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static int open_ends(void **state)
{
	static struct fixture fixture;

	fixture.n_open = count_descriptors();
	*state = &fixture;
	return channel_pair(fixture.ends) == PS_OK ? 0 : -1;
}

static int close_ends(void **state)
{
	const struct fixture *fixture = *state;

	close(fixture->ends[0]);
	if (fixture->ends[1] >= 0)
		close(fixture->ends[1]);
	assert_int_equal(count_descriptors(), fixture->n_open);
	return 0;
}

static enum ps_err receive(int end, struct received *got)
{
	*got = (struct received){ .type = 77, .body_len = 77, .fd = 77 };
	return channel_receive(end, &got->type, got->body, &got->body_len, &got->fd);
}

/* What no channel_send() would send: `n_fds` copies of standard input with `len` bytes. */
static void send_raw(int end, const void *bytes, size_t len, size_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec part = { (void *)(uintptr_t)bytes, len };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (n_fds > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		CMSG_FIRSTHDR(&message)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&message)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&message)->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memset(CMSG_DATA(CMSG_FIRSTHDR(&message)), 0, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(end, &message, 0), len);
}

static void test_both_ends_are_close_on_exec_and_do_not_block(void **state)
{
	const struct fixture *fixture = *state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fcntl(fixture->ends[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		assert_int_equal(fcntl(fixture->ends[i], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	}
}

static void test_a_message_arrives_as_it_was_sent(void **state)
{
	const struct fixture *fixture = *state;
	struct received got;
	assert_int_equal(channel_send(fixture->ends[0], 42, "hello", 5, -1), PS_OK);
	assert_int_equal(receive(fixture->ends[1], &got), PS_OK);
	assert_int_equal(got.type, 42);
	assert_int_equal(got.body_len, 5);
	assert_memory_equal(got.body, "hello", 5);
	assert_int_equal(got.fd, -1);
}

static void test_messages_go_both_ways_and_keep_their_bounds(void **state)
{
	const struct fixture *fixture = *state;
	struct received got;
	assert_int_equal(channel_send(fixture->ends[1], 1, "ab", 2, -1), PS_OK);
	assert_int_equal(channel_send(fixture->ends[1], 2, "c", 1, -1), PS_OK);
	assert_int_equal(receive(fixture->ends[0], &got), PS_OK);
	assert_int_equal(got.type, 1);
	assert_int_equal(got.body_len, 2);
	assert_int_equal(receive(fixture->ends[0], &got), PS_OK);
	assert_int_equal(got.type, 2);
	assert_int_equal(got.body_len, 1);
}

static void test_a_message_may_have_no_body(void **state)
{
	const struct fixture *fixture = *state;
	struct received got;
	assert_int_equal(channel_send(fixture->ends[0], 7, NULL, 0, -1), PS_OK);
	assert_int_equal(receive(fixture->ends[1], &got), PS_OK);
	assert_int_equal(got.type, 7);
	assert_int_equal(got.body_len, 0);
}

static void test_the_longest_message_arrives(void **state)
{
	const struct fixture *fixture = *state;
	static uint8_t body[CHANNEL_MESSAGE_MAX];
	struct received got;
	memset(body, 'x', sizeof(body));
	assert_int_equal(channel_send(fixture->ends[0], 1, body, sizeof(body), -1), PS_OK);
	assert_int_equal(receive(fixture->ends[1], &got), PS_OK);
	assert_int_equal(got.body_len, sizeof(body));
	assert_memory_equal(got.body, body, sizeof(body));
}

static void test_a_longer_message_is_not_sent(void **state)
{
	const struct fixture *fixture = *state;
	static const uint8_t body[CHANNEL_MESSAGE_MAX + 1];
	struct received got;
	assert_int_equal(channel_send(fixture->ends[0], 1, body, sizeof(body), -1), PS_E_LIMIT);
	assert_int_equal(receive(fixture->ends[1], &got), PS_E_AGAIN);
}

static void test_a_descriptor_arrives_as_a_copy_that_works(void **state)
{
	const struct fixture *fixture = *state;
	struct received got;
	char bytes[4] = "";
	int line[2];
	assert_int_equal(pipe(line), 0);
	assert_int_equal(channel_send(fixture->ends[0], 1, "b", 1, line[1]), PS_OK);
	close(line[1]);
	assert_int_equal(receive(fixture->ends[1], &got), PS_OK);
	assert_true(got.fd >= 0);
	assert_int_equal(write(got.fd, "abc", 3), 3);
	close(got.fd);
	assert_int_equal(read(line[0], bytes, sizeof(bytes)), 3);
	assert_string_equal(bytes, "abc");
	assert_int_equal(read(line[0], bytes, sizeof(bytes)), 0);
	close(line[0]);
}

static void test_a_received_descriptor_is_close_on_exec(void **state)
{
	const struct fixture *fixture = *state;
	struct received got;
	assert_int_equal(channel_send(fixture->ends[0], 1, NULL, 0, STDIN_FILENO), PS_OK);
	assert_int_equal(receive(fixture->ends[1], &got), PS_OK);
	assert_int_equal(fcntl(got.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(got.fd);
}

static void test_an_empty_queue_says_again(void **state)
{
	const struct fixture *fixture = *state;
	struct received got;
	assert_int_equal(receive(fixture->ends[0], &got), PS_E_AGAIN);
	assert_int_equal(got.type, 77);
	assert_int_equal(got.body_len, 77);
	assert_int_equal(got.fd, 77);
}

static void test_a_full_queue_says_again_and_loses_nothing(void **state)
{
	const struct fixture *fixture = *state;
	static const uint8_t body[CHANNEL_MESSAGE_MAX];
	struct received got;
	uint32_t n = 0;
	enum ps_err err;
	while ((err = channel_send(fixture->ends[0], n, body, sizeof(body), -1)) == PS_OK && n < 100000)
		n++;
	assert_int_equal(err, PS_E_AGAIN);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(receive(fixture->ends[1], &got), PS_OK);
		assert_int_equal(got.type, i);
	}
	assert_int_equal(receive(fixture->ends[1], &got), PS_E_AGAIN);
}

static void test_an_end_that_closed_is_closed_for_sender_and_receiver(void **state)
{
	struct fixture *fixture = *state;
	struct received got;
	close(fixture->ends[1]);
	fixture->ends[1] = -1;
	assert_int_equal(channel_send(fixture->ends[0], 1, "x", 1, -1), PS_E_CLOSED);
	assert_int_equal(receive(fixture->ends[0], &got), PS_E_CLOSED);
}

static void test_what_was_sent_before_the_end_closed_arrives_first(void **state)
{
	struct fixture *fixture = *state;
	struct received got;
	assert_int_equal(channel_send(fixture->ends[1], 5, "last", 4, -1), PS_OK);
	close(fixture->ends[1]);
	fixture->ends[1] = -1;
	assert_int_equal(receive(fixture->ends[0], &got), PS_OK);
	assert_int_equal(got.type, 5);
	assert_int_equal(receive(fixture->ends[0], &got), PS_E_CLOSED);
}

/* The kernel tells of the reset before it tells of the message. */
static void test_last_words_arrive_from_an_end_that_did_not_read_ours(void **state)
{
	struct fixture *fixture = *state;
	struct received got;
	assert_int_equal(channel_send(fixture->ends[0], 1, "unread", 6, -1), PS_OK);
	assert_int_equal(channel_send(fixture->ends[1], 5, "last", 4, -1), PS_OK);
	close(fixture->ends[1]);
	fixture->ends[1] = -1;
	assert_int_equal(receive(fixture->ends[0], &got), PS_OK);
	assert_int_equal(got.type, 5);
	assert_int_equal(receive(fixture->ends[0], &got), PS_E_CLOSED);
}

static void test_a_message_that_is_too_long_is_dropped_with_its_descriptor(void **state)
{
	const struct fixture *fixture = *state;
	static const uint8_t bytes[sizeof(uint32_t) + CHANNEL_MESSAGE_MAX + 1];
	const int n_open = count_descriptors();
	struct received got;
	send_raw(fixture->ends[0], bytes, sizeof(bytes), 1);
	assert_int_equal(receive(fixture->ends[1], &got), PS_E_PROTO);
	assert_int_equal(got.fd, 77);
	assert_int_equal(count_descriptors(), n_open);
}

static void test_a_message_shorter_than_its_type_is_dropped_with_its_descriptor(void **state)
{
	const struct fixture *fixture = *state;
	const int n_open = count_descriptors();
	struct received got;
	for (size_t len = 1; len < sizeof(uint32_t); len++) {
		send_raw(fixture->ends[0], "abc", len, 1);
		assert_int_equal(receive(fixture->ends[1], &got), PS_E_PROTO);
	}
	assert_int_equal(count_descriptors(), n_open);
}

/* It reads as zero bytes, like an end that closed. */
static void test_a_message_of_nothing_but_a_descriptor_is_dropped_with_it(void **state)
{
	const struct fixture *fixture = *state;
	const int n_open = count_descriptors();
	struct received got;
	send_raw(fixture->ends[0], "", 0, 1);
	assert_int_equal(receive(fixture->ends[1], &got), PS_E_PROTO);
	assert_int_equal(count_descriptors(), n_open);
}

/* Two that we have room to see, and more than that, which the kernel cuts off. */
static void test_surplus_descriptors_are_all_closed(void **state)
{
	static const size_t counts[] = { 2, 3, 4, 5, 64 };
	const struct fixture *fixture = *state;
	const int n_open = count_descriptors();
	struct received got;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		send_raw(fixture->ends[0], "typebody", 8, counts[i]);
		assert_int_equal(receive(fixture->ends[1], &got), PS_E_PROTO);
		assert_int_equal(got.fd, 77);
		assert_int_equal(count_descriptors(), n_open);
	}
}

static void test_a_message_after_a_bad_one_arrives(void **state)
{
	const struct fixture *fixture = *state;
	struct received got;
	send_raw(fixture->ends[0], "typebody", 8, 2);
	assert_int_equal(channel_send(fixture->ends[0], 9, "good", 4, -1), PS_OK);
	assert_int_equal(receive(fixture->ends[1], &got), PS_E_PROTO);
	assert_int_equal(receive(fixture->ends[1], &got), PS_OK);
	assert_int_equal(got.type, 9);
}

#define on_channel(test) cmocka_unit_test_setup_teardown(test, open_ends, close_ends)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_channel(test_both_ends_are_close_on_exec_and_do_not_block),
		on_channel(test_a_message_arrives_as_it_was_sent),
		on_channel(test_messages_go_both_ways_and_keep_their_bounds),
		on_channel(test_a_message_may_have_no_body),
		on_channel(test_the_longest_message_arrives),
		on_channel(test_a_longer_message_is_not_sent),
		on_channel(test_a_descriptor_arrives_as_a_copy_that_works),
		on_channel(test_a_received_descriptor_is_close_on_exec),
		on_channel(test_an_empty_queue_says_again),
		on_channel(test_a_full_queue_says_again_and_loses_nothing),
		on_channel(test_an_end_that_closed_is_closed_for_sender_and_receiver),
		on_channel(test_what_was_sent_before_the_end_closed_arrives_first),
		on_channel(test_last_words_arrive_from_an_end_that_did_not_read_ours),
		on_channel(test_a_message_that_is_too_long_is_dropped_with_its_descriptor),
		on_channel(test_a_message_shorter_than_its_type_is_dropped_with_its_descriptor),
		on_channel(test_a_message_of_nothing_but_a_descriptor_is_dropped_with_it),
		on_channel(test_surplus_descriptors_are_all_closed),
		on_channel(test_a_message_after_a_bad_one_arrives),
	};
	return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
