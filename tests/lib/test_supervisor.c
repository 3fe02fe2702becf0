/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor: roles come up, are replaced when they die, and go in order. Each test runs a daemon of its own, whose roles
 * tell what befalls them over a pipe.
 */
#include "portseal/supervisor.h"

#include <dirent.h>
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/channel.h"
#include "portseal/log.h"

#define PATIENCE_MS 10000
#define LINE_CAP 512
#define FIRST_LIFE 1 /* of a role: how often it was started */
#define CONNECTIONS 2
#define QUEUED_TYPE 4711

enum manner {
	SERVES, /* ready at once, ends when told to drain */
	NEVER_READY,
	FAILS_AT_START, /* ROLE_FATAL */
	FAILS_IN_SECOND_LIFE,
	DIES_AT_START,
	DIES_IN_FIRST_LIFE, /* before it is ready */
	IGNORES_DRAIN,
	CUTS_IN_DRAIN,
	DRAINS_ON_SLOT_DOWN, /* gatekeeper: goes on until it hears of a dead worker */
	CLOSES_CONTROL,
	SENDS_TO_SLOT,        /* gatekeeper */
	TAKES_IN_SECOND_LIFE, /* worker: reads its slot only then */
	HOLDS_CONNECTIONS,    /* worker: CONNECTIONS of them, on the scoreboard */
	COUNTS_DESCRIPTORS,
};

struct scenario {
	enum manner gatekeeper, worker;
	unsigned n_gatekeepers, n_workers; /* 0: one */
	uint64_t drain_ms;                 /* 0: a minute */
	enum role_kind drain_first;
};

/* What both the test and the roles see. */
struct shared {
	_Atomic unsigned lives[2][SUPERVISOR_WORKERS_MAX];
};

struct daemon {
	const struct scenario *scenario;
	struct shared *shared;
	struct scoreboard *board;
	pid_t pid;       /* 0: ended */
	int events[2];   /* told by the roles and callbacks, one line each */
	int log[2];      /* its stderr */
	int n_inherited; /* descriptors that every role has from its start */
};

static struct daemon daemon_;

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (dir == NULL)
		return -1;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* What runs in the roles. */

static void say(const char *who, unsigned index, const char *what, uint64_t number)
{
	char line[LINE_CAP];
	int len = snprintf(line, sizeof(line), "%s %u %s %" PRIu64 "\n", who, index, what, number);

	(void)!write(daemon_.events[1], line, (size_t)len);
}

static void role_says(const struct role_env *env, const char *what, uint64_t number)
{
	say(env->kind == ROLE_WORKER ? "worker" : "gatekeeper", env->index, what, number);
}

static void must(enum ps_err err)
{
	if (err != PS_OK)
		abort();
}

/* True when the role is to end, with `exit_code`. */
static bool obey(const struct role_env *env, enum manner manner, int *exit_code)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	uint64_t number = 0;
	uint32_t type;
	size_t body_len;
	int fd;

	switch (channel_receive(env->control, &type, body, &body_len, &fd)) {
	case PS_OK:
		break;
	case PS_E_CLOSED:
		role_says(env, "orphaned", 0);
		return true;
	default:
		return false;
	}
	memcpy(&number, body, body_len < sizeof(number) ? body_len : sizeof(number));
	if (type == ROLE_SLOT_DOWN || type == ROLE_SLOT_UP) {
		role_says(env, type == ROLE_SLOT_DOWN ? "slot-down" : "slot-up", number);
		return type == ROLE_SLOT_DOWN && manner == DRAINS_ON_SLOT_DOWN;
	}
	role_says(env, "drain", number);
	*exit_code = manner == CUTS_IN_DRAIN ? 1 : 0;
	return manner != IGNORES_DRAIN && manner != DRAINS_ON_SLOT_DOWN;
}

static void take_from_slot(const struct role_env *env)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	uint32_t type;
	size_t body_len;
	int fd;

	if (channel_receive(env->slot, &type, body, &body_len, &fd) == PS_OK)
		role_says(env, "took", type);
}

static int serve(const struct role_env *env, enum manner manner, bool takes)
{
	struct pollfd polled[2] = { { env->control, POLLIN, 0 }, { takes ? env->slot : -1, POLLIN, 0 } };
	int exit_code = 0;

	while (poll(polled, 2, -1) >= 0) {
		if (polled[1].revents != 0)
			take_from_slot(env);
		if (polled[0].revents != 0 && obey(env, manner, &exit_code))
			return exit_code;
	}
	return 99;
}

static void hold_connections(const struct role_env *env)
{
	static const uint8_t client[SCOREBOARD_KEY_LEN];

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		(void)scoreboard_admit(env->board, env->index, client);
		scoreboard_take(env->board, env->index, client);
	}
}

static int give_up(const struct role_env *env)
{
	static const char line[] = "pki/relay.key: no such file";

	must(channel_send(env->control, ROLE_FATAL, line, sizeof(line) - 1, -1));
	return 3;
}

static int run(const struct role_env *env, enum manner manner)
{
	unsigned life = ++daemon_.shared->lives[env->kind][env->index];

	role_says(env, "started", (uint64_t)getpid());
	if (manner == FAILS_AT_START || (manner == FAILS_IN_SECOND_LIFE && life == FIRST_LIFE + 1))
		return give_up(env);
	if (manner == DIES_AT_START || (manner == DIES_IN_FIRST_LIFE && life == FIRST_LIFE))
		return 9;
	if (manner == COUNTS_DESCRIPTORS)
		role_says(env, "descriptors", (uint64_t)(count_descriptors() - daemon_.n_inherited));
	if (manner == HOLDS_CONNECTIONS && life == FIRST_LIFE)
		hold_connections(env);
	if (manner == SENDS_TO_SLOT && life == FIRST_LIFE)
		must(channel_send(env->slots[0], QUEUED_TYPE, "x", 1, -1));
	if (manner != NEVER_READY)
		must(channel_send(env->control, ROLE_READY, NULL, 0, -1));
	if (manner == CLOSES_CONTROL) {
		close(env->control);
		for (;;)
			pause();
	}
	return serve(env, manner, manner == TAKES_IN_SECOND_LIFE && life > FIRST_LIFE);
}

static int run_gatekeeper(const struct role_env *env)
{
	const struct daemon *daemon = env->daemon;

	return run(env, daemon->scenario->gatekeeper);
}

static int run_worker(const struct role_env *env)
{
	const struct daemon *daemon = env->daemon;

	return run(env, daemon->scenario->worker);
}

/* What runs in the supervisor. */

static void on_ready(void *daemon)
{
	(void)daemon;
	say("supervisor", 0, "ready", 0);
}

static void on_drain(void *daemon)
{
	(void)daemon;
	say("supervisor", 0, "drain", 0);
}

static void supervise(struct daemon *daemon)
{
	const struct scenario *scenario = daemon->scenario;
	const struct supervisor_config config = {
		.program = "portseal-test",
		.n_gatekeepers = scenario->n_gatekeepers > 0 ? scenario->n_gatekeepers : 1,
		.n_workers = scenario->n_workers > 0 ? scenario->n_workers : 1,
		.run_gatekeeper = run_gatekeeper,
		.run_worker = run_worker,
		.daemon = daemon,
		.board = daemon->board,
		.drain_ms = scenario->drain_ms > 0 ? scenario->drain_ms : 60000,
		.drain_first = scenario->drain_first,
		.on_ready = on_ready,
		.on_drain = on_drain,
	};

	close(daemon->events[0]);
	close(daemon->log[0]);
	dup2(daemon->log[1], STDERR_FILENO);
	log_setup(LOG_INFO, LOG_TEXT, STDERR_FILENO);
	daemon->n_inherited = count_descriptors();
	_exit(supervisor_run(&config));
}

/* What runs in the test. */

static void start_daemon(const struct scenario *scenario)
{
	const struct scoreboard_config limits = { .connections = 100 };

	daemon_.scenario = scenario;
	assert_int_equal(scoreboard_new(&limits, &daemon_.board), PS_OK);
	assert_int_equal(pipe2(daemon_.events, O_CLOEXEC), 0);
	assert_int_equal(pipe2(daemon_.log, O_CLOEXEC), 0);
	fflush(NULL); /* roles leave by exit() */
	daemon_.pid = fork();
	assert_true(daemon_.pid >= 0);
	if (daemon_.pid == 0)
		supervise(&daemon_);
	close(daemon_.events[1]);
	close(daemon_.log[1]);
}

static int open_shared(void **state)
{
	(void)state;
	daemon_ = (struct daemon){ .events = { -1, -1 }, .log = { -1, -1 } };
	daemon_.shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return daemon_.shared != MAP_FAILED ? 0 : -1;
}

static int close_daemon(void **state)
{
	(void)state;
	if (daemon_.pid > 0) {
		kill(daemon_.pid, SIGKILL);
		waitpid(daemon_.pid, NULL, 0);
	}
	close(daemon_.events[0]);
	close(daemon_.log[0]);
	scoreboard_free(daemon_.board);
	munmap(daemon_.shared, sizeof(struct shared));
	return 0;
}

/* False at the end of the pipe. */
static bool read_line(int fd, char line[static LINE_CAP])
{
	size_t len = 0;

	for (;;) {
		struct pollfd polled = { fd, POLLIN, 0 };
		assert_int_equal(poll(&polled, 1, PATIENCE_MS), 1);
		if (read(fd, line + len, 1) != 1)
			break;
		if (line[len] == '\n' || len + 2 == LINE_CAP) {
			line[len] = '\0';
			return true;
		}
		len++;
	}
	line[len] = '\0';
	return false;
}

/* Passes over events until this one; returns its number. */
static uint64_t await(const char *event)
{
	char line[LINE_CAP];

	for (;;) {
		if (!read_line(daemon_.events[0], line))
			fail_msg("the daemon ended without \"%s\"", event);
		if (strncmp(line, event, strlen(event)) == 0 && line[strlen(event)] == ' ')
			return strtoull(line + strlen(event) + 1, NULL, 10);
	}
}

/* The very next event; but when a gatekeeper reads that a slot is up is its own affair. */
static uint64_t expect(const char *event)
{
	char line[LINE_CAP];

	do
		assert_true(read_line(daemon_.events[0], line));
	while (strstr(line, " slot-up ") != NULL);
	assert_memory_equal(line, event, strlen(event));
	return strtoull(line + strlen(event), NULL, 10);
}

static void expect_no_more_events(void)
{
	char line[LINE_CAP];

	if (read_line(daemon_.events[0], line))
		fail_msg("unexpected: \"%s\"", line);
}

static void await_log(const char *part, char line[static LINE_CAP])
{
	do {
		if (!read_line(daemon_.log[0], line))
			fail_msg("the log ended without \"%s\"", part);
	} while (strstr(line, part) == NULL);
}

static void expect_in_log(const char *part)
{
	char line[LINE_CAP];

	await_log(part, line);
}

static void expect_not_in_log(const char *part)
{
	char line[LINE_CAP];

	while (read_line(daemon_.log[0], line))
		assert_null(strstr(line, part));
}

static void signal_daemon(int number)
{
	assert_int_equal(kill(daemon_.pid, number), 0);
}

static void expect_exit(int code)
{
	int status = -1;

	assert_int_equal(waitpid(daemon_.pid, &status, 0), daemon_.pid);
	daemon_.pid = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), code);
}

static void stop_daemon(int code)
{
	signal_daemon(SIGTERM);
	expect_exit(code);
}

static void kill_role(uint64_t pid)
{
	assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
}

static void test_it_is_ready_when_every_role_is(void **state)
{
	(void)state;
	char line[LINE_CAP];
	int started = 0;
	start_daemon(&(struct scenario){ .n_gatekeepers = 2, .n_workers = 3 });
	do {
		assert_true(read_line(daemon_.events[0], line));
		started += strstr(line, " started ") != NULL;
	} while (strcmp(line, "supervisor 0 ready 0") != 0);
	assert_int_equal(started, 5);
	stop_daemon(0);
}

static void test_it_is_not_ready_while_one_role_is_not(void **state)
{
	(void)state;
	char line[LINE_CAP];
	start_daemon(&(struct scenario){ .gatekeeper = NEVER_READY });
	(void)await("gatekeeper 0 slot-up"); /* so the worker was ready */
	stop_daemon(0);
	while (read_line(daemon_.events[0], line))
		assert_null(strstr(line, "supervisor"));
}

static void test_a_signal_during_the_start_ends_all_at_once(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .worker = NEVER_READY });
	(void)await("gatekeeper 0 started");
	stop_daemon(0);
	expect_not_in_log("event=draining");
}

static void test_a_role_that_cannot_start_ends_the_daemon_with_its_line(void **state)
{
	(void)state;
	char line[LINE_CAP];
	start_daemon(&(struct scenario){ .gatekeeper = FAILS_AT_START, .n_workers = 2 });
	expect_exit(3);
	assert_true(read_line(daemon_.log[0], line));
	assert_string_equal(line, "portseal-test: pki/relay.key: no such file");
	assert_false(read_line(daemon_.log[0], line));
}

static void test_a_worker_that_dies_is_replaced_at_once(void **state)
{
	(void)state;
	char line[LINE_CAP];
	start_daemon(&(struct scenario){ .worker = SERVES });
	uint64_t pid = await("worker 0 started");
	(void)await("supervisor 0 ready");
	kill_role(pid);
	assert_int_not_equal(await("worker 0 started"), pid);
	await_log("event=role-died", line);
	assert_non_null(strstr(line, " error event=role-died role=worker index=0 signal=9 connections=0 restart_ms=0"));
	expect_in_log("event=role-restarted");
	stop_daemon(0);
}

static void test_a_gatekeeper_that_dies_is_replaced(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .n_gatekeepers = 2 });
	uint64_t pid = await("gatekeeper 1 started");
	(void)await("supervisor 0 ready");
	kill_role(pid);
	assert_int_not_equal(await("gatekeeper 1 started"), pid);
	expect_in_log("event=role-died role=gatekeeper index=1 signal=9 restart_ms=0");
	expect_in_log("event=role-restarted");
	stop_daemon(0);
}

static void test_every_gatekeeper_hears_that_a_worker_is_gone_and_back(void **state)
{
	(void)state;
	int down = 0, up = 0;
	char line[LINE_CAP];
	start_daemon(&(struct scenario){ .n_gatekeepers = 2, .n_workers = 2 });
	uint64_t pid = await("worker 1 started");
	(void)await("supervisor 0 ready");
	kill_role(pid);
	while (down < 2 || up < 2) {
		assert_true(read_line(daemon_.events[0], line));
		down += strstr(line, "slot-down 1") != NULL;
		up += down > 0 && strstr(line, "slot-up 1") != NULL;
		assert_null(strstr(line, "slot-down 0"));
	}
	stop_daemon(0);
}

/* Otherwise gatekeepers would pass over a worker that serves. */
static void test_gatekeepers_hear_of_a_worker_whose_first_start_failed(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .worker = DIES_IN_FIRST_LIFE });
	(void)await("gatekeeper 0 slot-down");
	(void)await("gatekeeper 0 slot-up");
	stop_daemon(0);
}

static void test_what_waits_in_a_slot_outlives_its_worker(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .gatekeeper = SENDS_TO_SLOT, .worker = TAKES_IN_SECOND_LIFE });
	uint64_t pid = await("worker 0 started");
	(void)await("supervisor 0 ready");
	kill_role(pid);
	assert_int_equal(await("worker 0 took"), QUEUED_TYPE);
	stop_daemon(0);
}

static void test_the_connections_of_a_dead_worker_are_counted_off(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .worker = HOLDS_CONNECTIONS });
	uint64_t pid = await("worker 0 started");
	(void)await("supervisor 0 ready");
	assert_int_equal(scoreboard_live(daemon_.board, 0), CONNECTIONS);
	kill_role(pid);
	expect_in_log("signal=9 connections=2 restart_ms=0");
	assert_int_equal(scoreboard_total(daemon_.board), 0);
	stop_daemon(0);
}

static void test_a_role_that_keeps_dying_is_restarted_ever_more_slowly(void **state)
{
	static const uint64_t longest[] = { 0, 100, 200, 400 };
	(void)state;
	char line[LINE_CAP];
	start_daemon(&(struct scenario){ .worker = DIES_AT_START });
	for (size_t i = 0; i < sizeof(longest) / sizeof(longest[0]); i++) {
		await_log("event=role-died role=worker index=0 exit=9", line);
		const char *field = strstr(line, "restart_ms=");
		assert_non_null(field);
		assert_in_range(strtoull(field + strlen("restart_ms="), NULL, 10), longest[i] / 2, longest[i]);
	}
	stop_daemon(0);
}

static void test_a_role_that_cannot_start_again_is_tried_again(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .worker = FAILS_IN_SECOND_LIFE });
	uint64_t pid = await("worker 0 started");
	(void)await("supervisor 0 ready");
	kill_role(pid);
	expect_in_log("event=role-failed detail=\"worker 0: pki/relay.key: no such file\"");
	expect_in_log("event=role-died role=worker index=0 exit=3");
	expect_in_log("event=role-restarted");
	stop_daemon(0);
}

static void test_drain_asks_the_gatekeepers_before_the_workers(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .drain_first = ROLE_GATEKEEPER });
	(void)await("supervisor 0 ready");
	signal_daemon(SIGTERM);
	(void)await("supervisor 0 drain");
	assert_in_range(expect("gatekeeper 0 drain"), 1, 60000);
	assert_in_range(expect("worker 0 drain"), 1, 60000);
	expect_exit(0);
	expect_no_more_events();
	expect_in_log("event=draining");
	expect_in_log("event=stopped");
}

static void test_drain_asks_the_workers_first_where_that_is_the_order(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .drain_first = ROLE_WORKER });
	(void)await("supervisor 0 ready");
	signal_daemon(SIGINT);
	(void)await("supervisor 0 drain");
	(void)expect("worker 0 drain");
	(void)expect("gatekeeper 0 drain");
	expect_exit(0);
}

static void test_a_drain_that_cut_something_exits_1(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .worker = CUTS_IN_DRAIN });
	(void)await("supervisor 0 ready");
	stop_daemon(1);
	expect_in_log("something was cut");
}

static void test_a_worker_that_dies_before_its_drain_exits_1(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .gatekeeper = DRAINS_ON_SLOT_DOWN });
	uint64_t pid = await("worker 0 started");
	(void)await("supervisor 0 ready");
	signal_daemon(SIGTERM);
	(void)await("gatekeeper 0 drain");
	kill_role(pid);
	expect_exit(1);
	expect_in_log("event=role-died role=worker index=0 signal=9");
	assert_int_equal(daemon_.shared->lives[ROLE_WORKER][0], FIRST_LIFE);
}

static void test_a_role_that_ignores_the_drain_is_killed(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .worker = IGNORES_DRAIN, .drain_ms = 1 });
	(void)await("supervisor 0 ready");
	stop_daemon(1);
	(void)await("worker 0 drain");
	expect_no_more_events();
}

static void test_a_second_signal_ends_at_once(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .gatekeeper = IGNORES_DRAIN });
	(void)await("supervisor 0 ready");
	signal_daemon(SIGTERM);
	(void)await("gatekeeper 0 drain");
	stop_daemon(1);
	expect_no_more_events();
}

static void test_a_role_that_closed_its_control_channel_is_killed_at_the_drain(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .worker = CLOSES_CONTROL });
	(void)await("supervisor 0 ready");
	stop_daemon(1);
}

static void test_hangup_changes_nothing_yet(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .worker = SERVES });
	(void)await("supervisor 0 ready");
	signal_daemon(SIGHUP);
	expect_in_log("event=reload-ignored");
	stop_daemon(0);
	expect_not_in_log("event=role-died");
}

/* A terminal sends INT to all processes of the daemon. */
static void test_roles_leave_signals_to_the_supervisor(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .worker = SERVES });
	pid_t pid = (pid_t)await("worker 0 started");
	(void)await("supervisor 0 ready");
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(kill(pid, SIGHUP), 0);
	signal_daemon(SIGTERM);
	(void)await("worker 0 drain");
	expect_exit(0);
	expect_not_in_log("event=role-died");
}

/* Of what the supervisor opened: the control channel, and its own end of its own slot. */
static void test_a_worker_holds_two_descriptors(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .worker = COUNTS_DESCRIPTORS, .n_workers = 3, .n_gatekeepers = 2 });
	uint64_t pid = await("worker 2 started");
	assert_int_equal(await("worker 2 descriptors"), 2);
	(void)await("supervisor 0 ready");
	kill_role(pid);
	assert_int_equal(await("worker 2 descriptors"), 2);
	stop_daemon(0);
}

/* The control channel and the far end of each slot. */
static void test_a_gatekeeper_holds_one_descriptor_and_one_for_each_slot(void **state)
{
	(void)state;
	start_daemon(&(struct scenario){ .gatekeeper = COUNTS_DESCRIPTORS, .n_workers = 3, .n_gatekeepers = 2 });
	uint64_t pid = await("gatekeeper 1 started");
	assert_int_equal(await("gatekeeper 1 descriptors"), 4);
	(void)await("supervisor 0 ready");
	kill_role(pid);
	assert_int_equal(await("gatekeeper 1 descriptors"), 4);
	stop_daemon(0);
}

/* Nobody may hold a supervisor's end but the supervisor, or this would not be heard. */
static void test_roles_hear_that_the_supervisor_was_killed(void **state)
{
	(void)state;
	int orphaned = 0;
	char line[LINE_CAP];
	start_daemon(&(struct scenario){ .n_gatekeepers = 2, .n_workers = 2 });
	(void)await("supervisor 0 ready");
	signal_daemon(SIGKILL);
	while (read_line(daemon_.events[0], line)) /* until the last role is gone */
		orphaned += strstr(line, "orphaned") != NULL;
	assert_int_equal(orphaned, 4);
}

#define on_daemon(test) cmocka_unit_test_setup_teardown(test, open_shared, close_daemon)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_daemon(test_it_is_ready_when_every_role_is),
		on_daemon(test_it_is_not_ready_while_one_role_is_not),
		on_daemon(test_a_signal_during_the_start_ends_all_at_once),
		on_daemon(test_a_role_that_cannot_start_ends_the_daemon_with_its_line),
		on_daemon(test_a_worker_that_dies_is_replaced_at_once),
		on_daemon(test_a_gatekeeper_that_dies_is_replaced),
		on_daemon(test_every_gatekeeper_hears_that_a_worker_is_gone_and_back),
		on_daemon(test_gatekeepers_hear_of_a_worker_whose_first_start_failed),
		on_daemon(test_what_waits_in_a_slot_outlives_its_worker),
		on_daemon(test_the_connections_of_a_dead_worker_are_counted_off),
		on_daemon(test_a_role_that_keeps_dying_is_restarted_ever_more_slowly),
		on_daemon(test_a_role_that_cannot_start_again_is_tried_again),
		on_daemon(test_drain_asks_the_gatekeepers_before_the_workers),
		on_daemon(test_drain_asks_the_workers_first_where_that_is_the_order),
		on_daemon(test_a_drain_that_cut_something_exits_1),
		on_daemon(test_a_worker_that_dies_before_its_drain_exits_1),
		on_daemon(test_a_role_that_ignores_the_drain_is_killed),
		on_daemon(test_a_second_signal_ends_at_once),
		on_daemon(test_a_role_that_closed_its_control_channel_is_killed_at_the_drain),
		on_daemon(test_hangup_changes_nothing_yet),
		on_daemon(test_roles_leave_signals_to_the_supervisor),
		on_daemon(test_a_worker_holds_two_descriptors),
		on_daemon(test_a_gatekeeper_holds_one_descriptor_and_one_for_each_slot),
		on_daemon(test_roles_hear_that_the_supervisor_was_killed),
	};
	return cmocka_run_group_tests_name("supervisor", tests, NULL, NULL);
}
