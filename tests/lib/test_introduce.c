/* SPDX-License-Identifier: Apache-2.0 */
/*
 * introduce: what a role tells an auditor outlives the auditor, and the auditor outlives the roles. The daemon's roles
 * write what befalls them into a pipe, one letter each.
 */
#include "portseal/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/channel.h"
#include "portseal/log.h"

#define TOLD 200
#define PATIENCE_MS 60000
#define CLIENTS 2 /* one gatekeeper, one worker */

static int events[2];
static pid_t supervisor;
static void *shared;
static _Atomic unsigned *lives; /* of the auditor, seen by all */

static void say(char letter)
{
	(void)!write(events[1], &letter, 1);
}

/* A role tells the auditor its letter, and ends when it is told to. */
static int run_teller(const struct role_env *env, char letter)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	struct pollfd polled = { env->control, POLLIN, 0 };
	uint32_t type = 0;
	size_t len;
	int fd;

	if (channel_send(env->audit, TOLD, &letter, 1, -1) != PS_OK ||
	    channel_send(env->control, ROLE_READY, NULL, 0, -1) != PS_OK)
		return 9;
	while (type != ROLE_DRAIN && poll(&polled, 1, -1) > 0)
		if (channel_receive(env->control, &type, body, &len, &fd) == PS_E_CLOSED)
			return 0;
	say(letter);
	return 0;
}

static int run_gatekeeper(const struct role_env *env)
{
	return run_teller(env, 'g');
}

static int run_worker(const struct role_env *env)
{
	return run_teller(env, 'w');
}

static void hear(int client)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	struct pollfd polled = { client, POLLIN, 0 };
	uint32_t type;
	size_t len;
	int fd;

	(void)poll(&polled, 1, PATIENCE_MS);
	if (channel_receive(client, &type, body, &len, &fd) == PS_OK && type == TOLD && len == 1)
		say((char)(body[0] - 'a' + 'A'));
}

/* In its first life it dies with every word unheard. Then it hears the roles it is told of, and ends when it may. */
static int run_auditor(const struct role_env *env)
{
	unsigned life = ++*lives;
	unsigned n_clients = 0;
	struct pollfd polled = { env->control, POLLIN, 0 };

	if (env->audit != -1 || channel_send(env->control, ROLE_READY, NULL, 0, -1) != PS_OK)
		return 9;
	while (poll(&polled, 1, -1) > 0) {
		uint8_t body[CHANNEL_MESSAGE_MAX];
		uint32_t type;
		size_t len;
		int fd;

		if (channel_receive(env->control, &type, body, &len, &fd) != PS_OK)
			return 0;
		if (type == ROLE_CLIENT && ++n_clients == CLIENTS && life == 1)
			raise(SIGKILL);
		if (type == ROLE_CLIENT && life > 1)
			hear(fd);
		if (type == ROLE_DRAIN) {
			say('a');
			return 0;
		}
	}
	return 0;
}

/* Before this, TERM ends all at once: nothing is drained that never served. */
static void on_ready(void *daemon)
{
	(void)daemon;
	say('r');
}

static int begin(void **state)
{
	const struct supervisor_config config = {
		.program = "portseal-test",
		.n_gatekeepers = 1,
		.n_workers = 1,
		.run_gatekeeper = run_gatekeeper,
		.run_worker = run_worker,
		.run_auditor = run_auditor,
		.drain_ms = PATIENCE_MS,
		.drain_first = ROLE_GATEKEEPER,
		.on_ready = on_ready,
	};

	(void)state;
	shared = mmap(NULL, sizeof(*lives), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	lives = shared;
	if (shared == MAP_FAILED || pipe2(events, O_CLOEXEC) != 0)
		return -1;
	supervisor = fork();
	if (supervisor == 0) {
		int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);

		close(events[0]);
		log_setup(LOG_ERROR, LOG_TEXT, quiet);
		_exit(supervisor_run(&config));
	}
	close(events[1]);
	return supervisor > 0 ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	kill(supervisor, SIGKILL);
	waitpid(supervisor, NULL, 0);
	close(events[0]);
	munmap(shared, sizeof(*lives));
	return 0;
}

static unsigned char next_event(void)
{
	struct pollfd polled = { events[0], POLLIN, 0 };
	unsigned char letter = 0;

	assert_int_equal(poll(&polled, 1, PATIENCE_MS), 1);
	(void)!read(events[0], &letter, 1);
	return letter;
}

static void test_the_next_auditor_hears_what_a_dead_one_did_not_and_ends_last(void **state)
{
	int heard = 0;
	int status;

	(void)state;
	for (int i = 0; i < 3; i++)
		heard += next_event(); /* in any order */
	assert_int_equal(heard, 'G' + 'W' + 'r');
	assert_int_equal(*lives, 2);
	assert_int_equal(kill(supervisor, SIGTERM), 0);
	assert_int_equal(next_event(), 'g');
	assert_int_equal(next_event(), 'w');
	assert_int_equal(next_event(), 'a');
	assert_int_equal(waitpid(supervisor, &status, 0), supervisor);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_next_auditor_hears_what_a_dead_one_did_not_and_ends_last, begin, end),
	};

	return cmocka_run_group_tests_name("introduce", tests, NULL, NULL);
}
