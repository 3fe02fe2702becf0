/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "introduce.h"
#include "portseal/channel.h"
#include "portseal/clock.h"
#include "portseal/log.h"
#include "reload.h"
#include "status.h"

#define KILL_GRACE_MS 3000
#define LONGEST_TURN_MS 60000
#define OWN_POLLED 2 /* signals and status */
#define EXIT_CUT 1
#define EXIT_CONFIG 3

enum phase {
	PHASE_STARTING, /* not every role has been ready yet */
	PHASE_SERVING,
	PHASE_DRAIN_FIRST, /* the kind that goes first drains */
	PHASE_DRAIN_SECOND,
	PHASE_DRAIN_AUDITOR, /* nobody has anything more to tell it */
	PHASE_OVER,
};

struct supervisor {
	const struct supervisor_config *config;
	enum phase phase;
	int signals;
	struct children children;
	struct reload reload;
	uint64_t drain_end_ms;
	uint64_t kill_ms; /* when draining: the end of all patience */
	int exit_code;
};

static bool is_draining(const struct supervisor *supervisor)
{
	return supervisor->phase >= PHASE_DRAIN_FIRST;
}

static void stop_at_once(struct supervisor *supervisor, int exit_code)
{
	supervisor->exit_code = exit_code;
	supervisor->phase = PHASE_OVER;
	children_kill_all(&supervisor->children);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

static void on_ready(struct supervisor *supervisor, struct child *child)
{
	child->ready = child->pid > 0;
	/* Also when it starts for the first time: an earlier attempt may have died while gatekeepers were there. */
	if (child->kind == ROLE_WORKER)
		children_tell(&supervisor->children, ROLE_GATEKEEPER, ROLE_SLOT_UP, child->index);
	if (child->standing != CHILD_IN_FORCE)
		return;
	if (child->replaced) {
		child->replaced = false;
		return;
	}
	if (supervisor->phase != PHASE_STARTING) {
		log_event(LOG_INFO, "role-restarted", "%s %u", children_kind_name(child->kind), child->index);
		return;
	}
	if (!children_all_ready(&supervisor->children))
		return;
	supervisor->phase = PHASE_SERVING;
	if (supervisor->config->on_ready != NULL)
		supervisor->config->on_ready(supervisor->config->daemon);
}

static void on_fatal(struct supervisor *supervisor, const struct child *child, const uint8_t *body, size_t body_len)
{
	struct ps_cause cause;

	if (child->standing == CHILD_TRIAL) {
		ps_cause_set(&cause, PS_E_CONFIG, "%.*s", (int)body_len, (const char *)body);
		reload_fail(&supervisor->reload, cause.text);
		return;
	}
	if (supervisor->phase == PHASE_STARTING) {
		fprintf(stderr, "%s: %.*s\n", supervisor->config->program, (int)body_len, (const char *)body);
		stop_at_once(supervisor, EXIT_CONFIG);
		return;
	}
	log_event(LOG_ERROR, "role-failed", "%s %u: %.*s", children_kind_name(child->kind), child->index, (int)body_len,
	          (const char *)body);
}

static void on_control(struct supervisor *supervisor, struct child *child)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	uint32_t type;
	size_t body_len;
	enum ps_err err;
	int fd;

	while ((err = channel_receive(child->control, &type, body, &body_len, &fd)) == PS_OK) {
		if (fd >= 0)
			close(fd);
		if (type == ROLE_READY)
			on_ready(supervisor, child);
		else if (type == ROLE_FATAL)
			on_fatal(supervisor, child, body, body_len);
		if (supervisor->phase == PHASE_OVER)
			return;
	}
	if (err == PS_E_CLOSED) { /* it ends; until then poll() would return at once each time */
		close(child->control);
		child->control = -1;
	}
}

static void log_death(const struct supervisor *supervisor, const struct child *child, int status, uint64_t lost)
{
	uint64_t now = clock_now_ms();
	struct log_line line;

	log_begin(&line, LOG_ERROR, 0, "role-died");
	log_word(&line, "role", children_kind_name(child->kind));
	log_number(&line, "index", child->index);
	if (WIFSIGNALED(status))
		log_number(&line, "signal", (uint64_t)WTERMSIG(status));
	else
		log_number(&line, "exit", (uint64_t)WEXITSTATUS(status));
	if (child->kind == ROLE_WORKER)
		log_number(&line, "connections", lost);
	if (!is_draining(supervisor))
		log_number(&line, "restart_ms", child->restart_ms > now ? child->restart_ms - now : 0);
	log_end(&line);
}

/* One death, expected (drain) or not. What it said before counts. */
static void on_death(struct supervisor *supervisor, struct child *child, int status)
{
	bool is_clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	bool counts = child->standing == CHILD_IN_FORCE;
	uint64_t lost;

	child->pid = 0;
	if (child->control >= 0)
		on_control(supervisor, child);
	if (child->standing == CHILD_TRIAL)
		reload_fail(&supervisor->reload, "one of its gatekeepers died before it was ready");
	lost = children_bury(&supervisor->children, child);
	if (supervisor->phase == PHASE_OVER || (!counts && child->told_to_drain))
		return;
	if (is_draining(supervisor) && !(child->told_to_drain && is_clean))
		supervisor->exit_code = EXIT_CUT;
	/* A role that cut connections while it drained has said so itself. */
	if (child->told_to_drain && WIFEXITED(status))
		return;
	log_death(supervisor, child, status, lost);
	introduce_tell_lost(&supervisor->children, lost);
	if (child->kind == ROLE_WORKER)
		children_tell(&supervisor->children, ROLE_GATEKEEPER, ROLE_SLOT_DOWN, child->index);
}

static void bury_the_dead(struct supervisor *supervisor)
{
	int status;
	pid_t pid;

	while (supervisor->phase != PHASE_OVER && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *child = children_find(&supervisor->children, pid);

		if (child != NULL)
			on_death(supervisor, child, status);
	}
}

static enum role_kind drain_second(const struct supervisor *supervisor)
{
	return supervisor->config->drain_first == ROLE_WORKER ? ROLE_GATEKEEPER : ROLE_WORKER;
}

static void drain_kind(struct supervisor *supervisor, enum role_kind kind)
{
	uint64_t now = clock_now_ms();
	uint64_t left_ms = supervisor->drain_end_ms > now ? supervisor->drain_end_ms - now : 0;

	for (unsigned i = 0; i < supervisor->children.n; i++) {
		struct child *child = &supervisor->children.at[i];

		if (child->kind == kind && child->pid != 0)
			children_drain(child, left_ms);
	}
}

static void begin_drain(struct supervisor *supervisor)
{
	log_event(LOG_INFO, "draining", "at most %" PRIu64 " ms", supervisor->config->drain_ms);
	supervisor->drain_end_ms = clock_now_ms() + supervisor->config->drain_ms;
	supervisor->kill_ms = supervisor->drain_end_ms + KILL_GRACE_MS;
	supervisor->phase = PHASE_DRAIN_FIRST;
	reload_stop(&supervisor->reload);
	if (supervisor->config->on_drain != NULL)
		supervisor->config->on_drain(supervisor->reload.daemon);
	drain_kind(supervisor, supervisor->config->drain_first);
}

static void go_on_draining(struct supervisor *supervisor)
{
	if (clock_now_ms() >= supervisor->kill_ms) {
		stop_at_once(supervisor, EXIT_CUT);
		return;
	}
	if (supervisor->phase == PHASE_DRAIN_FIRST &&
	    !children_any_alive(&supervisor->children, supervisor->config->drain_first)) {
		supervisor->phase = PHASE_DRAIN_SECOND;
		drain_kind(supervisor, drain_second(supervisor));
	}
	if (supervisor->phase == PHASE_DRAIN_SECOND &&
	    !children_any_alive(&supervisor->children, drain_second(supervisor))) {
		supervisor->phase = PHASE_DRAIN_AUDITOR;
		drain_kind(supervisor, ROLE_AUDITOR);
	}
	if (supervisor->phase == PHASE_DRAIN_AUDITOR && !children_any_alive(&supervisor->children, ROLE_AUDITOR))
		supervisor->phase = PHASE_OVER;
}

static void on_stop(struct supervisor *supervisor)
{
	if (supervisor->phase == PHASE_SERVING)
		begin_drain(supervisor);
	else if (supervisor->phase == PHASE_STARTING)
		stop_at_once(supervisor, 0);
	else if (supervisor->phase != PHASE_OVER)
		stop_at_once(supervisor, EXIT_CUT);
}

static void on_signal(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		bury_the_dead(supervisor); /* SIGCHLD, and before any other: who is dead already did not die of a drain */
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			on_stop(supervisor);
		else if (info.ssi_signo == SIGHUP && supervisor->phase == PHASE_SERVING)
			reload_begin(&supervisor->reload);
		else if (info.ssi_signo == SIGHUP && supervisor->phase == PHASE_STARTING)
			reload_remember(&supervisor->reload);
	}
}

static int turn_timeout(const struct supervisor *supervisor)
{
	uint64_t now = clock_now_ms();
	uint64_t until = is_draining(supervisor) ? supervisor->kill_ms : children_next_start_ms(&supervisor->children);
	uint64_t reload_ms = supervisor->phase == PHASE_SERVING ? reload_next_ms(&supervisor->reload) : UINT64_MAX;

	if (reload_ms < until)
		until = reload_ms;
	if (until == UINT64_MAX)
		return -1;
	return until <= now ? 0 : (int)(until - now < LONGEST_TURN_MS ? until - now : LONGEST_TURN_MS);
}

static void turn(struct supervisor *supervisor)
{
	struct pollfd polled[OWN_POLLED + CHILDREN_MAX];
	struct children *children = &supervisor->children;
	unsigned n = children->n;

	polled[0] = (struct pollfd){ supervisor->signals, POLLIN, 0 };
	polled[1] = (struct pollfd){ supervisor->config->status_fd > 0 ? supervisor->config->status_fd : -1, POLLIN, 0 };
	for (unsigned i = 0; i < n; i++)
		polled[OWN_POLLED + i] = (struct pollfd){ children->at[i].control, POLLIN, 0 };
	if (poll(polled, OWN_POLLED + n, turn_timeout(supervisor)) < 0 && errno != EINTR)
		return;
	for (unsigned i = 0; i < n && supervisor->phase != PHASE_OVER; i++)
		if (polled[OWN_POLLED + i].revents != 0)
			on_control(supervisor, &children->at[i]);
	if ((polled[1].revents & POLLIN) != 0)
		status_answer(supervisor->config, &supervisor->reload, is_draining(supervisor));
	if (supervisor->phase != PHASE_OVER)
		on_signal(supervisor);
	if (supervisor->phase == PHASE_OVER)
		return;
	if (is_draining(supervisor)) {
		go_on_draining(supervisor);
		if (supervisor->phase < PHASE_DRAIN_AUDITOR)
			children_start_auditor(&supervisor->children);
		return;
	}
	if (supervisor->phase == PHASE_SERVING)
		reload_go_on(&supervisor->reload);
	children_start_due(children);
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -1;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL); /* whoever started us may have ignored it, and then no death is ever told */
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int supervisor_run(const struct supervisor_config *config)
{
	struct supervisor supervisor = { .config = config, .phase = PHASE_STARTING };

	supervisor.signals = open_signals();
	if (supervisor.signals < 0 || children_open(&supervisor.children, config, supervisor.signals) != PS_OK) {
		fprintf(stderr, "%s: cannot start: %s\n", config->program, strerror(errno));
		return EXIT_CUT;
	}
	reload_init(&supervisor.reload, config, &supervisor.children);
	children_start_due(&supervisor.children);
	while (supervisor.phase != PHASE_OVER)
		turn(&supervisor);
	if (supervisor.exit_code != EXIT_CONFIG)
		log_event(LOG_INFO, "stopped", "%s",
		          supervisor.exit_code == 0 ? "everything was finished" : "something was cut");
	children_close(&supervisor.children);
	close(supervisor.signals);
	return supervisor.exit_code;
}
