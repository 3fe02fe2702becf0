/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reload: the next generation is in force whole, or nothing has changed. Each test runs a daemon of its own, whose roles
 * tell over a pipe what befalls them.
 */
#include "portseal/supervisor.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/channel.h"
#include "portseal/log.h"

#define PATIENCE_MS 10000
#define LINE_CAP 512
#define STATUS_CAP 65536
#define LOADS 4
#define LONG_MS 60000
#define SHORT_MS 100
#define SILENT_CLIENTS 20

/* What becomes of a load of the configuration; of several gatekeepers only the last fails. */
enum manner {
	SERVES,
	BROKEN,         /* it cannot be prepared */
	FATAL,          /* ROLE_FATAL */
	DIES,           /* before it is ready */
	HANGS,          /* never ready */
	IGNORES_RETIRE, /* serves, and never ends */
	WAITS_FOR_GATE, /* ready when the test opens the gate */
	UNTOLD,         /* its workers cannot be briefed */
};

struct scenario {
	enum manner loads[LOADS];
	unsigned n_gatekeepers, n_workers; /* 0: one */
	uint64_t trial_ms, retire_ms;      /* 0: a minute */
};

struct generation {
	uint64_t load; /* counts from 1, those that failed too */
	enum manner manner;
};

struct shared {
	_Atomic uint64_t fingerprint;
	_Atomic uint64_t loads;
};

static const struct scenario *scenario;
static struct shared *shared;
static pid_t supervisor_pid;
static int events[2], logged[2], gate[2], status_fd;
static struct sockaddr_un status_address;
static socklen_t status_len;

/* What runs in the daemon. */

static void say(const char *who, uint64_t which, const char *what, uint64_t number)
{
	char line[LINE_CAP];
	int len = snprintf(line, sizeof(line), "%s %" PRIu64 " %s %" PRIu64 "\n", who, which, what, number);

	(void)!write(events[1], line, (size_t)len);
}

static void role_says(const struct role_env *env, const char *what, uint64_t number)
{
	const struct generation *generation = env->daemon;

	if (env->kind == ROLE_WORKER)
		say("worker", env->index, what, number);
	else
		say("gatekeeper", 10 * generation->load + env->index, what, number);
}

/* True when the role is to end. */
static bool obey(const struct role_env *env, enum manner manner)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	uint32_t type, number = 0;
	size_t body_len;
	int fd;
	enum ps_err err = channel_receive(env->control, &type, body, &body_len, &fd);

	if (err != PS_OK)
		return err == PS_E_CLOSED;
	memcpy(&number, body, body_len < sizeof(number) ? body_len : sizeof(number));
	if (type == ROLE_OWN)
		role_says(env, "briefed", number);
	if (type == ROLE_GENERATION)
		role_says(env, "in-force", number);
	if (type == ROLE_RETIRE)
		role_says(env, "retire", 0);
	return type == ROLE_DRAIN || (type == ROLE_RETIRE && manner != IGNORES_RETIRE);
}

static int serve(const struct role_env *env, enum manner manner)
{
	struct pollfd polled = { env->control, POLLIN, 0 };

	if (manner != HANGS && channel_send(env->control, ROLE_READY, NULL, 0, -1) != PS_OK)
		return 99;
	while (poll(&polled, 1, -1) >= 0)
		if (obey(env, manner))
			return 0;
	return 99;
}

static int run_worker(const struct role_env *env)
{
	role_says(env, "started", (uint64_t)getpid());
	role_says(env, "generation", env->generation);
	return serve(env, SERVES);
}

static int run_gatekeeper(const struct role_env *env)
{
	static const char line[] = "pki/relay.key: no such file";
	const struct generation *generation = env->daemon;
	const unsigned n = scenario->n_gatekeepers > 0 ? scenario->n_gatekeepers : 1;
	enum manner manner = env->index == n - 1 ? generation->manner : SERVES;
	char byte;

	role_says(env, "started", (uint64_t)getpid());
	role_says(env, "on-trial", env->on_trial);
	if (manner == FATAL)
		(void)!channel_send(env->control, ROLE_FATAL, line, sizeof(line) - 1, -1);
	if (manner == FATAL || manner == DIES)
		return 3;
	if (manner == WAITS_FOR_GATE && read(gate[0], &byte, 1) != 1)
		return 99;
	return serve(env, manner);
}

static struct generation *new_generation(void)
{
	struct generation *generation = calloc(1, sizeof(*generation));

	if (generation == NULL)
		abort();
	generation->load = ++shared->loads;
	if (generation->load <= LOADS)
		generation->manner = scenario->loads[generation->load - 1];
	return generation;
}

static enum ps_err on_prepare(void *daemon, void **next, struct ps_cause *cause)
{
	struct generation *generation = new_generation();

	(void)daemon;
	say("supervisor", generation->load, "prepare", 0);
	if (generation->manner == BROKEN) {
		free(generation);
		return ps_cause_set(cause, PS_E_CONFIG, "relay.conf:14: unknown key");
	}
	*next = generation;
	return PS_OK;
}

static void on_commit(void *old, void *next)
{
	struct generation *generation = next;

	say("supervisor", generation->load, "commit", 0);
	free(old);
}

static void on_abandon(void *next)
{
	struct generation *generation = next;

	say("supervisor", generation->load, "abandon", 0);
	free(generation);
}

static uint64_t on_fingerprint(void *daemon)
{
	(void)daemon;
	return shared->fingerprint;
}

static enum ps_err brief_worker(void *daemon, uint32_t number, int control)
{
	const struct generation *generation = daemon;

	if (generation->manner == UNTOLD)
		return PS_E_AGAIN;
	return channel_send(control, ROLE_OWN, &number, sizeof(number), -1);
}

static void on_ready(void *daemon)
{
	(void)daemon;
	say("supervisor", 0, "ready", 0);
}

static _Noreturn void supervise(void)
{
	const struct supervisor_config config = {
		.program = "portseal-test",
		.n_gatekeepers = scenario->n_gatekeepers > 0 ? scenario->n_gatekeepers : 1,
		.n_workers = scenario->n_workers > 0 ? scenario->n_workers : 1,
		.run_gatekeeper = run_gatekeeper,
		.run_worker = run_worker,
		.daemon = new_generation(),
		.drain_ms = LONG_MS,
		.drain_first = ROLE_GATEKEEPER,
		.on_ready = on_ready,
		.prepare = on_prepare,
		.commit = on_commit,
		.abandon = on_abandon,
		.trial_ms = scenario->trial_ms > 0 ? scenario->trial_ms : LONG_MS,
		.retire_ms = scenario->retire_ms > 0 ? scenario->retire_ms : LONG_MS,
		.fingerprint = on_fingerprint,
		.brief_worker = brief_worker,
		.status_fd = status_fd,
	};

	close(events[0]);
	close(logged[0]);
	dup2(logged[1], STDERR_FILENO);
	log_setup(LOG_INFO, LOG_TEXT, STDERR_FILENO);
	_exit(supervisor_run(&config));
}

/* What runs in the test. */

static int set_up(void **state)
{
	(void)state;
	supervisor_pid = 0;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	status_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	status_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	status_len = sizeof(status_address);
	/* An address of the family alone: the kernel makes up a name that is no file. */
	if (shared == MAP_FAILED || bind(status_fd, (struct sockaddr *)&status_address, sizeof(sa_family_t)) != 0 ||
	    getsockname(status_fd, (struct sockaddr *)&status_address, &status_len) != 0 || listen(status_fd, 64) != 0)
		return -1;
	return pipe2(events, O_CLOEXEC) == 0 && pipe2(logged, O_CLOEXEC) == 0 && pipe2(gate, O_CLOEXEC) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	if (supervisor_pid > 0) {
		kill(supervisor_pid, SIGKILL);
		waitpid(supervisor_pid, NULL, 0);
	}
	close(events[0]);
	close(logged[0]);
	close(gate[0]);
	close(gate[1]);
	close(status_fd);
	munmap(shared, sizeof(*shared));
	return 0;
}

static void start(const struct scenario *wanted)
{
	scenario = wanted;
	fflush(NULL); /* roles leave by exit() */
	supervisor_pid = fork();
	assert_true(supervisor_pid >= 0);
	if (supervisor_pid == 0)
		supervise();
	close(events[1]);
	close(logged[1]);
}

static bool read_line(int fd, char line[static LINE_CAP])
{
	size_t len = 0;
	bool whole = false;

	while (!whole && len + 1 < LINE_CAP) {
		struct pollfd polled = { fd, POLLIN, 0 };
		assert_int_equal(poll(&polled, 1, PATIENCE_MS), 1);
		if (read(fd, line + len, 1) != 1)
			break;
		whole = line[len] == '\n';
		len += !whole;
	}
	line[len] = '\0';
	return whole;
}

/* Passes over events until this one; returns its number. `never`: must not come before. */
static uint64_t await_without(const char *event, const char *never)
{
	char line[LINE_CAP];

	for (;;) {
		if (!read_line(events[0], line))
			fail_msg("the daemon ended without \"%s\"", event);
		if (strncmp(line, event, strlen(event)) == 0 && line[strlen(event)] == ' ')
			return strtoull(line + strlen(event) + 1, NULL, 10);
		if (never != NULL && strstr(line, never) != NULL)
			fail_msg("\"%s\" before \"%s\"", line, event);
	}
}

static uint64_t await(const char *event)
{
	return await_without(event, NULL);
}

static void expect_in_log(const char *part)
{
	char line[LINE_CAP];

	do {
		if (!read_line(logged[0], line))
			fail_msg("the log ended without \"%s\"", part);
	} while (strstr(line, part) == NULL);
}

static void tell_daemon(int number)
{
	assert_int_equal(kill(supervisor_pid, number), 0);
}

/* Drains it; what is still told must not contain `never`. */
static void stop(int code, const char *never)
{
	char line[LINE_CAP];
	int status = -1;

	tell_daemon(SIGTERM);
	while (read_line(events[0], line))
		if (never != NULL)
			assert_null(strstr(line, never));
	assert_int_equal(waitpid(supervisor_pid, &status, 0), supervisor_pid);
	supervisor_pid = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), code);
}

static void start_and_reload(const struct scenario *wanted)
{
	start(wanted);
	(void)await("supervisor 0 ready");
	tell_daemon(SIGHUP);
}

static void test_gatekeepers_are_replaced_and_workers_live_on(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .n_gatekeepers = 2, .n_workers = 2 });
	assert_int_equal(await_without("supervisor 2 commit", "worker"), 0);
	expect_in_log("event=reloaded generation=2");
	stop(0, "worker 0 started");
}

static void test_the_old_gatekeepers_are_told_to_retire(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .n_gatekeepers = 1 });
	(void)await_without("gatekeeper 20 started", "retire");
	(void)await("gatekeeper 10 retire");
	stop(0, "gatekeeper 20 retire");
}

static void test_workers_hear_which_generation_is_in_force(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .n_gatekeepers = 1 });
	assert_int_equal(await("worker 0 in-force"), 2);
	tell_daemon(SIGHUP);
	assert_int_equal(await("worker 0 in-force"), 3);
	stop(0, NULL);
}

static void test_workers_are_briefed_before_they_hear_of_a_generation(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .n_gatekeepers = 1 });
	assert_int_equal(await_without("worker 0 briefed", "worker 0 in-force"), 2);
	assert_int_equal(await("worker 0 in-force"), 2);
	stop(0, NULL);
}

static void test_a_worker_that_cannot_be_briefed_is_replaced(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .loads = { SERVES, UNTOLD } });
	expect_in_log("event=role-hangs");
	(void)await("supervisor 2 commit");
	assert_int_equal(await_without("worker 0 generation", "worker 0 in-force"), 2);
	stop(0, NULL);
}

static void test_a_gatekeeper_on_trial_hears_when_it_is_in_force(void **state)
{
	(void)state;
	start(&(struct scenario){ .n_gatekeepers = 1 });
	assert_int_equal(await("gatekeeper 10 on-trial"), 0);
	(void)await("supervisor 0 ready");
	tell_daemon(SIGHUP);
	assert_int_equal(await("gatekeeper 20 on-trial"), 1);
	assert_int_equal(await("gatekeeper 20 in-force"), 2);
	stop(0, NULL);
}

static void test_a_gatekeeper_that_dies_later_is_not_on_trial_again(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .n_gatekeepers = 1 });
	pid_t pid = (pid_t)await("gatekeeper 20 started");
	(void)await("gatekeeper 20 in-force");
	expect_in_log("event=reloaded");
	assert_int_equal(kill(pid, SIGKILL), 0);
	(void)await("gatekeeper 20 started");
	assert_int_equal(await("gatekeeper 20 on-trial"), 0);
	expect_in_log("event=role-restarted");
	stop(0, NULL);
}

static void test_a_worker_that_dies_later_starts_with_the_new_generation(void **state)
{
	(void)state;
	start(&(struct scenario){ .n_gatekeepers = 1 });
	pid_t pid = (pid_t)await("worker 0 started");
	assert_int_equal(await("worker 0 generation"), 1);
	(void)await("supervisor 0 ready");
	tell_daemon(SIGHUP);
	(void)await("worker 0 in-force");
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(await("worker 0 generation"), 2);
	expect_in_log("event=role-restarted");
	stop(0, NULL);
}

static void test_what_cannot_be_prepared_changes_nothing(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .loads = { SERVES, BROKEN } });
	expect_in_log("event=reload-failed detail=\"generation 1 stays in force: relay.conf:14: unknown key\"");
	stop(0, "gatekeeper 20");
}

static void test_one_gatekeeper_that_cannot_start_changes_nothing(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .loads = { SERVES, FATAL }, .n_gatekeepers = 3 });
	(void)await_without("supervisor 2 abandon", "in-force");
	expect_in_log("event=reload-failed detail=\"generation 1 stays in force: pki/relay.key: no such file\"");
	stop(0, "retire");
}

static void test_one_gatekeeper_that_dies_changes_nothing(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .loads = { SERVES, DIES }, .n_gatekeepers = 3 });
	(void)await_without("supervisor 2 abandon", "in-force");
	expect_in_log("event=reload-failed");
	stop(0, "retire");
}

static void test_one_gatekeeper_that_hangs_changes_nothing(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .loads = { SERVES, HANGS }, .n_gatekeepers = 3, .trial_ms = SHORT_MS });
	(void)await_without("supervisor 2 abandon", "in-force");
	expect_in_log("not ready in time");
	stop(0, "retire");
}

static void test_a_reload_after_one_that_failed_succeeds(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .loads = { SERVES, FATAL, BROKEN, SERVES } });
	expect_in_log("pki/relay.key");
	tell_daemon(SIGHUP);
	expect_in_log("relay.conf:14");
	tell_daemon(SIGHUP);
	expect_in_log("event=reloaded generation=2");
	(void)await("supervisor 4 commit");
	stop(0, NULL);
}

static void test_hangups_during_a_trial_are_one_more_reload_after_it(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .loads = { SERVES, WAITS_FOR_GATE } });
	(void)await("gatekeeper 20 started");
	for (int i = 0; i < 5; i++)
		tell_daemon(SIGHUP);
	assert_int_equal(write(gate[1], "x", 1), 1);
	(void)await("supervisor 2 commit");
	(void)await("supervisor 3 commit");
	stop(0, "supervisor 4 prepare");
}

static void test_a_hangup_during_the_start_is_a_reload_after_it(void **state)
{
	(void)state;
	start(&(struct scenario){ .loads = { WAITS_FOR_GATE } });
	(void)await("gatekeeper 10 started");
	tell_daemon(SIGHUP);
	assert_int_equal(write(gate[1], "x", 1), 1);
	(void)await_without("supervisor 0 ready", "prepare");
	(void)await("supervisor 2 commit");
	stop(0, NULL);
}

static void test_a_drain_during_a_trial_abandons_it(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .loads = { SERVES, HANGS } });
	(void)await("gatekeeper 20 started");
	tell_daemon(SIGTERM);
	(void)await_without("supervisor 2 abandon", "commit");
	int status = -1;
	assert_int_equal(waitpid(supervisor_pid, &status, 0), supervisor_pid);
	supervisor_pid = 0;
	assert_int_equal(status, 0);
}

static void test_a_gatekeeper_that_never_finishes_is_killed(void **state)
{
	(void)state;
	start_and_reload(&(struct scenario){ .loads = { IGNORES_RETIRE }, .retire_ms = SHORT_MS });
	expect_in_log("event=role-killed detail=\"gatekeeper 0 of generation 1 did not finish\"");
	stop(0, NULL);
}

/* The first generation is not watched: the reload by signal switches the watch on. */
static void test_files_that_change_are_a_reload(void **state)
{
	(void)state;
	start(&(struct scenario){ .loads = { SERVES } });
	(void)await("supervisor 0 ready");
	shared->fingerprint = 1;
	tell_daemon(SIGHUP);
	expect_in_log("event=reloaded generation=2");
	shared->fingerprint = 2;
	expect_in_log("event=files-changed");
	expect_in_log("event=reloaded generation=3");
	stop(0, "supervisor 4 prepare");
}

static int connect_to_status(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&status_address, status_len), 0);
	return fd;
}

static void read_status(int fd, char text[static STATUS_CAP])
{
	size_t len = 0;
	ssize_t got;

	while (len + 1 < STATUS_CAP && (got = read(fd, text + len, STATUS_CAP - 1 - len)) > 0)
		len += (size_t)got;
	text[len] = '\0';
	close(fd);
}

static void test_the_status_tells_the_generation_and_the_last_failure(void **state)
{
	(void)state;
	char text[STATUS_CAP];
	start_and_reload(&(struct scenario){ .loads = { SERVES, BROKEN } });
	expect_in_log("event=reload-failed");
	read_status(connect_to_status(), text);
	assert_non_null(strstr(text, "\"generation\":1,"));
	assert_non_null(strstr(text, "\"ok\":false,\"cause\":\"relay.conf:14: unknown key\""));
	stop(0, NULL);
}

static void test_who_asks_for_the_status_and_does_not_read_hinders_nobody(void **state)
{
	(void)state;
	char text[STATUS_CAP];
	int silent[SILENT_CLIENTS];
	start(&(struct scenario){ .loads = { SERVES } });
	(void)await("supervisor 0 ready");
	for (int i = 0; i < SILENT_CLIENTS; i++)
		silent[i] = connect_to_status();
	read_status(connect_to_status(), text);
	assert_non_null(strstr(text, "\"state\":\"serving\""));
	tell_daemon(SIGHUP);
	(void)await("supervisor 2 commit");
	for (int i = 0; i < SILENT_CLIENTS; i++)
		close(silent[i]);
	stop(0, NULL);
}

static void test_the_status_of_many_roles_is_whole(void **state)
{
	(void)state;
	static char text[STATUS_CAP];
	start(&(struct scenario){ .n_gatekeepers = 40, .n_workers = SUPERVISOR_WORKERS_MAX });
	(void)await("supervisor 0 ready");
	read_status(connect_to_status(), text);
	assert_in_range(strlen(text), 4, STATUS_CAP - 2);
	assert_string_equal(text + strlen(text) - 4, "}]}\n");
	stop(0, NULL);
}

#define on_daemon(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_daemon(test_gatekeepers_are_replaced_and_workers_live_on),
		on_daemon(test_the_old_gatekeepers_are_told_to_retire),
		on_daemon(test_workers_hear_which_generation_is_in_force),
		on_daemon(test_workers_are_briefed_before_they_hear_of_a_generation),
		on_daemon(test_a_worker_that_cannot_be_briefed_is_replaced),
		on_daemon(test_a_gatekeeper_on_trial_hears_when_it_is_in_force),
		on_daemon(test_a_gatekeeper_that_dies_later_is_not_on_trial_again),
		on_daemon(test_a_worker_that_dies_later_starts_with_the_new_generation),
		on_daemon(test_what_cannot_be_prepared_changes_nothing),
		on_daemon(test_one_gatekeeper_that_cannot_start_changes_nothing),
		on_daemon(test_one_gatekeeper_that_dies_changes_nothing),
		on_daemon(test_one_gatekeeper_that_hangs_changes_nothing),
		on_daemon(test_a_reload_after_one_that_failed_succeeds),
		on_daemon(test_hangups_during_a_trial_are_one_more_reload_after_it),
		on_daemon(test_a_hangup_during_the_start_is_a_reload_after_it),
		on_daemon(test_a_drain_during_a_trial_abandons_it),
		on_daemon(test_a_gatekeeper_that_never_finishes_is_killed),
		on_daemon(test_files_that_change_are_a_reload),
		on_daemon(test_the_status_tells_the_generation_and_the_last_failure),
		on_daemon(test_who_asks_for_the_status_and_does_not_read_hinders_nobody),
		on_daemon(test_the_status_of_many_roles_is_whole),
	};
	return cmocka_run_group_tests_name("reload", tests, NULL, NULL);
}
