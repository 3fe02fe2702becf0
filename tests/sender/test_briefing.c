/* SPDX-License-Identifier: Apache-2.0 */
/*
 * briefing: what a worker is told of the next generation arrives as it was sent, and nothing else passes for it.
 */
#include "briefing.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/channel.h"
#include "portseal/supervisor.h"

static struct {
	int near, far;
	struct briefing sent, got;
	struct stat files[2]; /* what the doors' descriptors are */
} fixture;

static int set_up(void **state)
{
	(void)state;
	int ends[2];

	memset(&fixture, 0, sizeof(fixture));
	if (channel_pair(ends) != PS_OK)
		return -1;
	fixture.near = ends[0];
	fixture.far = ends[1];
	fixture.sent = (struct briefing){ .generation = 7, .n_doors = 2, .idle_ms = 1000, .patience_ms = 2000 };
	memcpy(fixture.sent.doors[0].service, "app", sizeof("app"));
	for (int i = 0; i < 2; i++) {
		int pipe_ends[2];

		if (pipe2(pipe_ends, O_CLOEXEC) != 0)
			return -1;
		close(pipe_ends[1]);
		fixture.sent.doors[i].fd = pipe_ends[0];
		fstat(pipe_ends[0], &fixture.files[i]);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	briefing_clear(&fixture.sent);
	briefing_clear(&fixture.got);
	close(fixture.near);
	close(fixture.far);
	return 0;
}

/* All that waits in the channel. */
static enum ps_err take_all(void)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	enum ps_err err = PS_OK;
	uint32_t type;
	size_t body_len;
	int fd;

	while (err == PS_OK && channel_receive(fixture.near, &type, body, &body_len, &fd) == PS_OK)
		err = briefing_take(&fixture.got, type, body, body_len, fd);
	return err;
}

static void test_a_briefing_arrives_with_its_doors(void **state)
{
	(void)state;
	assert_int_equal(briefing_send(fixture.far, &fixture.sent), PS_OK);
	assert_int_equal(take_all(), PS_OK);
	assert_int_equal(fixture.got.generation, 7);
	assert_int_equal(fixture.got.n_doors, 2);
	assert_int_equal(fixture.got.idle_ms, 1000);
	assert_int_equal(fixture.got.patience_ms, 2000);
	assert_string_equal(fixture.got.doors[0].service, "app");
	assert_string_equal(fixture.got.doors[1].service, "");
	for (int i = 0; i < 2; i++) {
		struct stat file;

		assert_int_equal(fstat(fixture.got.doors[i].fd, &file), 0);
		assert_int_equal(file.st_ino, fixture.files[i].st_ino);
	}
}

static void test_a_briefing_of_many_doors_fits_the_channel(void **state)
{
	(void)state;
	struct briefing *many = calloc(1, sizeof(*many));

	assert_non_null(many);
	many->generation = 8;
	many->n_doors = GENERATION_SOCKETS_MAX / 4; /* of what a channel holds unread */
	for (uint32_t i = 0; i < many->n_doors; i++)
		many->doors[i].fd = fixture.sent.doors[0].fd;
	assert_int_equal(briefing_send(fixture.far, many), PS_OK);
	assert_int_equal(take_all(), PS_OK);
	assert_int_equal(fixture.got.n_doors, GENERATION_SOCKETS_MAX / 4);
	free(many);
}

static void test_a_worker_that_never_reads_is_given_up(void **state)
{
	(void)state;
	enum ps_err err = PS_OK;

	for (int i = 0; i < 1000 && err == PS_OK; i++)
		err = briefing_send(fixture.far, &fixture.sent);
	assert_int_equal(err, PS_E_AGAIN);
}

static void test_a_new_beginning_closes_the_doors_of_one_unfinished(void **state)
{
	(void)state;
	assert_int_equal(briefing_send(fixture.far, &fixture.sent), PS_OK);
	assert_int_equal(take_all(), PS_OK);
	const int before = fixture.got.doors[0].fd;

	fixture.sent.generation = 8;
	assert_int_equal(briefing_send(fixture.far, &fixture.sent), PS_OK);
	assert_int_equal(take_all(), PS_OK);
	assert_int_equal(fixture.got.generation, 8);
	assert_int_equal(fixture.got.doors[0].fd, before); /* the lowest free number: it was closed */
}

static void refuse(uint32_t type, const void *body, size_t body_len)
{
	const int fd = dup(STDIN_FILENO);

	assert_int_equal(briefing_take(&fixture.got, type, body, body_len, fd), PS_E_PROTO);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_what_is_no_briefing_is_dropped_and_its_descriptor_closed(void **state)
{
	(void)state;
	const uint8_t zeros[sizeof(struct briefing)] = { 0 };
	uint8_t door[2 * sizeof(uint32_t) + HANDOVER_SERVICE_MAX];
	const size_t head_len = offsetof(struct briefing, doors);

	for (size_t len = 0; len < sizeof(zeros); len += len < head_len + 4 ? 1 : 97)
		if (len != head_len)
			refuse(ROLE_OWN, zeros, len);
	refuse(ROLE_OWN + 1, zeros, sizeof(door)); /* there is no such door */
	refuse(ROLE_OWN + 2, zeros, 0);

	assert_int_equal(briefing_send(fixture.far, &fixture.sent), PS_OK);
	assert_int_equal(take_all(), PS_OK);
	memset(door, 0, sizeof(door));
	door[0] = 7;
	refuse(ROLE_OWN + 1, door, sizeof(door)); /* it came already */
	briefing_clear(&fixture.got);
	fixture.got.n_doors = 1;
	fixture.got.doors[0].fd = -1;
	memset(door + 2 * sizeof(uint32_t), 'x', HANDOVER_SERVICE_MAX);
	refuse(ROLE_OWN + 1, door, sizeof(door)); /* the name has no end */
	door[0] = 6;
	door[sizeof(door) - 1] = 0;
	refuse(ROLE_OWN + 1, door, sizeof(door)); /* of another generation */
	door[0] = 7;
	assert_int_equal(briefing_take(&fixture.got, ROLE_OWN + 1, door, sizeof(door), -1),
	                 PS_OK); /* its socket was lost */
}

static void test_more_doors_than_there_are_places_are_refused(void **state)
{
	(void)state;
	struct briefing head = { .generation = 1, .n_doors = GENERATION_SOCKETS_MAX + 1 };

	refuse(ROLE_OWN, &head, offsetof(struct briefing, doors));
}

#define on_channel(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_channel(test_a_briefing_arrives_with_its_doors),
		on_channel(test_a_briefing_of_many_doors_fits_the_channel),
		on_channel(test_a_worker_that_never_reads_is_given_up),
		on_channel(test_a_new_beginning_closes_the_doors_of_one_unfinished),
		on_channel(test_what_is_no_briefing_is_dropped_and_its_descriptor_closed),
		on_channel(test_more_doors_than_there_are_places_are_refused),
	};
	return cmocka_run_group_tests_name("briefing", tests, NULL, NULL);
}
