/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "portseal/channel.h"
#include "portseal/log.h"

#define SHORT_LIFE_MS 10000
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 10000
#define KILL_GRACE_MS 3000
#define CHILDREN_MAX (2 * SUPERVISOR_WORKERS_MAX)
#define EXIT_CUT 1
#define EXIT_CONFIG 3

struct child {
	enum role_kind kind;
	unsigned index;
	pid_t pid;            /* 0: not running */
	int control;          /* -1: not running */
	bool ready;           /* said so since it was forked */
	bool told_to_drain;
	uint64_t forked_ms;
	uint64_t restart_ms;  /* when to fork it again, while pid is 0 */
	uint64_t backoff_ms;
};

enum phase {
	PHASE_STARTING,     /* not every role has been ready yet */
	PHASE_SERVING,
	PHASE_DRAIN_FIRST,  /* the kind that goes first drains */
	PHASE_DRAIN_SECOND,
	PHASE_OVER,
};

struct supervisor {
	const struct supervisor_config *config;
	enum phase phase;
	int signals;
	int near[SUPERVISOR_WORKERS_MAX]; /* the workers' ends of the slots */
	int far[SUPERVISOR_WORKERS_MAX];  /* the gatekeepers' ends */
	struct child children[CHILDREN_MAX];
	unsigned n_children;
	uint64_t kill_ms;     /* when draining: the end of all patience */
	uint64_t drain_end_ms;
	int exit_code;
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *kind_name(enum role_kind kind)
{
	return kind == ROLE_GATEKEEPER ? "gatekeeper" : "worker";
}

static bool is_draining(const struct supervisor *supervisor)
{
	return supervisor->phase >= PHASE_DRAIN_FIRST;
}


static void keep_only_own_descriptors(struct supervisor *supervisor, const struct child *self)
{
	close(supervisor->signals);
	for (unsigned i = 0; i < supervisor->n_children; i++)
		if (supervisor->children[i].control >= 0)
			close(supervisor->children[i].control);
	for (unsigned slot = 0; slot < supervisor->config->n_workers; slot++) {
		if (self->kind == ROLE_WORKER)
			close(supervisor->far[slot]);
		if (self->kind == ROLE_GATEKEEPER || slot != self->index)
			close(supervisor->near[slot]);
	}
}

static void set_role_signals(void)
{
	sigset_t none;

	/* A terminal's INT and a service manager's TERM reach every process of the group; only the supervisor acts. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void run_role(struct supervisor *supervisor, const struct child *self, int control)
{
	const struct supervisor_config *config = supervisor->config;
	struct role_env env = {
		.kind = self->kind,
		.index = self->index,
		.control = control,
		.slot = self->kind == ROLE_WORKER ? supervisor->near[self->index] : -1,
		.n_slots = config->n_workers,
		.slots = self->kind == ROLE_GATEKEEPER ? supervisor->far : NULL,
		.board = config->board,
		.daemon = config->daemon,
	};
	char name[16];

	keep_only_own_descriptors(supervisor, self);
	set_role_signals();
	snprintf(name, sizeof(name), "%s-%u", kind_name(self->kind), self->index);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	exit(self->kind == ROLE_WORKER ? config->run_worker(&env) : config->run_gatekeeper(&env));
}


static void tell_gatekeepers(struct supervisor *supervisor, enum role_message type, uint32_t slot)
{
	for (unsigned i = 0; i < supervisor->n_children; i++) {
		struct child *child = &supervisor->children[i];

		/* A gatekeeper that does not read its control channel learns it late: the slot's queue holds meanwhile. */
		if (child->kind == ROLE_GATEKEEPER && child->pid > 0 &&
		    channel_send(child->control, type, &slot, sizeof(slot), -1) != PS_OK)
			log_event(LOG_DEBUG, "control-full", "gatekeeper %u", child->index);
	}
}

static void tell_of_slots(struct supervisor *supervisor, const struct child *gatekeeper)
{
	for (unsigned i = 0; i < supervisor->n_children; i++) {
		const struct child *child = &supervisor->children[i];
		uint32_t slot = child->index;

		if (child->kind == ROLE_WORKER && child->pid == 0 &&
		    channel_send(gatekeeper->control, ROLE_SLOT_DOWN, &slot, sizeof(slot), -1) != PS_OK)
			log_event(LOG_DEBUG, "control-full", "gatekeeper %u", gatekeeper->index);
	}
}

static void back_off(struct child *child)
{
	if (now_ms() - child->forked_ms >= SHORT_LIFE_MS)
		child->backoff_ms = 0;
	child->restart_ms = now_ms() + child->backoff_ms;
	if (child->backoff_ms == 0)
		child->backoff_ms = BACKOFF_FIRST_MS;
	else if (child->backoff_ms < BACKOFF_MAX_MS)
		child->backoff_ms = child->backoff_ms * 2 < BACKOFF_MAX_MS ? child->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void start_child(struct supervisor *supervisor, struct child *child)
{
	int ends[2] = { -1, -1 };
	pid_t pid;

	child->forked_ms = now_ms();
	if (channel_pair(ends) != PS_OK || (pid = fork()) < 0) {
		log_event(LOG_ERROR, "role-not-started", "%s %u: %s", kind_name(child->kind), child->index, strerror(errno));
		if (ends[0] >= 0) {
			close(ends[0]);
			close(ends[1]);
		}
		if (child->backoff_ms == 0)
			child->backoff_ms = BACKOFF_FIRST_MS;
		back_off(child);
		return;
	}
	if (pid == 0) {
		close(ends[0]);
		run_role(supervisor, child, ends[1]);
	}
	close(ends[1]);
	child->pid = pid;
	child->control = ends[0];
	child->ready = false;
	child->told_to_drain = false;
	if (child->kind == ROLE_GATEKEEPER)
		tell_of_slots(supervisor, child);
}

static void kill_all(struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->n_children; i++)
		if (supervisor->children[i].pid > 0)
			kill(supervisor->children[i].pid, SIGKILL);
}

static void log_death(const struct child *child, int status, uint64_t lost)
{
	struct log_line line;

	log_begin(&line, LOG_ERROR, 0, "role-died");
	log_word(&line, "role", kind_name(child->kind));
	log_number(&line, "index", child->index);
	if (WIFSIGNALED(status))
		log_number(&line, "signal", (uint64_t)WTERMSIG(status));
	else
		log_number(&line, "exit", (uint64_t)WEXITSTATUS(status));
	if (child->kind == ROLE_WORKER)
		log_number(&line, "connections", lost);
	log_number(&line, "restart_ms", child->restart_ms > now_ms() ? child->restart_ms - now_ms() : 0);
	log_end(&line);
}

/* One death, expected (drain) or not. */
static void bury(struct supervisor *supervisor, struct child *child, int status)
{
	uint64_t lost = 0;

	close(child->control);
	child->control = -1;
	child->pid = 0;
	if (child->kind == ROLE_WORKER && supervisor->config->board != NULL)
		lost = scoreboard_clear_slot(supervisor->config->board, child->index);
	if (supervisor->phase == PHASE_OVER)
		return;
	if (child->told_to_drain) {
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			supervisor->exit_code = EXIT_CUT;
		return;
	}
	back_off(child);
	log_death(child, status, lost);
	if (child->kind == ROLE_WORKER)
		tell_gatekeepers(supervisor, ROLE_SLOT_DOWN, child->index);
}

static void bury_the_dead(struct supervisor *supervisor)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < supervisor->n_children; i++)
			if (supervisor->children[i].pid == pid)
				bury(supervisor, &supervisor->children[i], status);
}


static bool any_alive(const struct supervisor *supervisor, enum role_kind kind)
{
	for (unsigned i = 0; i < supervisor->n_children; i++)
		if (supervisor->children[i].kind == kind && supervisor->children[i].pid > 0)
			return true;
	return false;
}

static enum role_kind drain_second(const struct supervisor *supervisor)
{
	return supervisor->config->drain_first == ROLE_WORKER ? ROLE_GATEKEEPER : ROLE_WORKER;
}

static void drain_kind(struct supervisor *supervisor, enum role_kind kind)
{
	uint64_t now = now_ms();
	uint64_t left_ms = supervisor->drain_end_ms > now ? supervisor->drain_end_ms - now : 0;

	for (unsigned i = 0; i < supervisor->n_children; i++) {
		struct child *child = &supervisor->children[i];

		if (child->kind != kind || child->pid == 0)
			continue;
		child->told_to_drain = true;
		if (channel_send(child->control, ROLE_DRAIN, &left_ms, sizeof(left_ms), -1) != PS_OK)
			kill(child->pid, SIGKILL);
	}
}

static void begin_drain(struct supervisor *supervisor)
{
	log_event(LOG_INFO, "draining", "at most %" PRIu64 " ms", supervisor->config->drain_ms);
	supervisor->drain_end_ms = now_ms() + supervisor->config->drain_ms;
	supervisor->kill_ms = supervisor->drain_end_ms + KILL_GRACE_MS;
	supervisor->phase = PHASE_DRAIN_FIRST;
	if (supervisor->config->on_drain != NULL)
		supervisor->config->on_drain(supervisor->config->daemon);
	drain_kind(supervisor, supervisor->config->drain_first);
}

static void go_on_draining(struct supervisor *supervisor)
{
	if (now_ms() >= supervisor->kill_ms) {
		supervisor->exit_code = EXIT_CUT;
		kill_all(supervisor);
	}
	if (supervisor->phase == PHASE_DRAIN_FIRST && !any_alive(supervisor, supervisor->config->drain_first)) {
		supervisor->phase = PHASE_DRAIN_SECOND;
		drain_kind(supervisor, drain_second(supervisor));
	}
	if (supervisor->phase == PHASE_DRAIN_SECOND && !any_alive(supervisor, drain_second(supervisor)))
		supervisor->phase = PHASE_OVER;
}

static void stop_at_once(struct supervisor *supervisor, int exit_code)
{
	supervisor->exit_code = exit_code;
	supervisor->phase = PHASE_OVER;
	kill_all(supervisor);
	for (unsigned i = 0; i < supervisor->n_children; i++)
		if (supervisor->children[i].pid > 0)
			waitpid(supervisor->children[i].pid, NULL, 0);
}


static void on_ready(struct supervisor *supervisor, struct child *child)
{
	child->ready = true;
	if (supervisor->phase != PHASE_STARTING) {
		log_event(LOG_INFO, "role-restarted", "%s %u", kind_name(child->kind), child->index);
		if (child->kind == ROLE_WORKER)
			tell_gatekeepers(supervisor, ROLE_SLOT_UP, child->index);
		return;
	}
	for (unsigned i = 0; i < supervisor->n_children; i++)
		if (!supervisor->children[i].ready)
			return;
	supervisor->phase = PHASE_SERVING;
	if (supervisor->config->on_ready != NULL)
		supervisor->config->on_ready(supervisor->config->daemon);
}

static void on_fatal(struct supervisor *supervisor, const struct child *child, const uint8_t *body, size_t body_len)
{
	if (supervisor->phase == PHASE_STARTING) {
		fprintf(stderr, "%s: %.*s\n", supervisor->config->program, (int)body_len, (const char *)body);
		stop_at_once(supervisor, EXIT_CONFIG);
		return;
	}
	log_event(LOG_ERROR, "role-failed", "%s %u: %.*s", kind_name(child->kind), child->index, (int)body_len,
	          (const char *)body);
}

static void on_control(struct supervisor *supervisor, struct child *child)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	uint32_t type;
	size_t body_len;
	int fd;

	while (child->control >= 0 && channel_receive(child->control, &type, body, &body_len, &fd) == PS_OK) {
		if (fd >= 0)
			close(fd);
		if (type == ROLE_READY)
			on_ready(supervisor, child);
		else if (type == ROLE_FATAL)
			on_fatal(supervisor, child, body, body_len);
		if (supervisor->phase == PHASE_OVER)
			return;
	}
}

static void on_signal(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGTERM:
		case SIGINT:
			if (supervisor->phase == PHASE_SERVING)
				begin_drain(supervisor);
			else if (supervisor->phase == PHASE_STARTING)
				stop_at_once(supervisor, 0);
			else if (is_draining(supervisor) && supervisor->phase != PHASE_OVER)
				stop_at_once(supervisor, EXIT_CUT);
			break;
		case SIGHUP:
			if (!is_draining(supervisor))
				log_event(LOG_WARN, "reload-ignored", "this version reads its configuration only at start");
			break;
		default: /* SIGCHLD: every turn of the loop buries the dead */
			break;
		}
	}
}


static int turn_timeout(const struct supervisor *supervisor)
{
	uint64_t now = now_ms();
	uint64_t until = is_draining(supervisor) ? supervisor->kill_ms : UINT64_MAX;

	for (unsigned i = 0; i < supervisor->n_children && !is_draining(supervisor); i++)
		if (supervisor->children[i].pid == 0 && supervisor->children[i].restart_ms < until)
			until = supervisor->children[i].restart_ms;
	if (until == UINT64_MAX)
		return -1;
	return until <= now ? 0 : (int)(until - now < 60000 ? until - now : 60000);
}

static void restart_due(struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->n_children; i++) {
		struct child *child = &supervisor->children[i];

		if (child->pid == 0 && child->restart_ms <= now_ms())
			start_child(supervisor, child);
	}
}

static void turn(struct supervisor *supervisor)
{
	struct pollfd polled[1 + CHILDREN_MAX];

	polled[0] = (struct pollfd){ supervisor->signals, POLLIN, 0 };
	for (unsigned i = 0; i < supervisor->n_children; i++)
		polled[1 + i] = (struct pollfd){ supervisor->children[i].control, POLLIN, 0 };
	if (poll(polled, 1 + supervisor->n_children, turn_timeout(supervisor)) < 0 && errno != EINTR)
		return;
	/* What a role said before it died counts: its words first, then its death. */
	for (unsigned i = 0; i < supervisor->n_children && supervisor->phase != PHASE_OVER; i++)
		if (polled[1 + i].revents != 0)
			on_control(supervisor, &supervisor->children[i]);
	if (supervisor->phase != PHASE_OVER)
		bury_the_dead(supervisor);
	if (supervisor->phase != PHASE_OVER)
		on_signal(supervisor);
	if (supervisor->phase == PHASE_OVER)
		return;
	if (is_draining(supervisor))
		go_on_draining(supervisor);
	else
		restart_due(supervisor);
}

static enum ps_err open_slots(struct supervisor *supervisor)
{
	for (unsigned slot = 0; slot < supervisor->config->n_workers; slot++) {
		int ends[2];
		enum ps_err err = channel_pair(ends);

		if (err != PS_OK)
			return err;
		supervisor->near[slot] = ends[0];
		supervisor->far[slot] = ends[1];
	}
	return PS_OK;
}

static void add_children(struct supervisor *supervisor, enum role_kind kind, unsigned n)
{
	for (unsigned index = 0; index < n; index++)
		supervisor->children[supervisor->n_children++] = (struct child){ .kind = kind, .index = index, .control = -1 };
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
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int supervisor_run(const struct supervisor_config *config)
{
	struct supervisor supervisor = { .config = config, .phase = PHASE_STARTING };

	supervisor.signals = open_signals();
	if (supervisor.signals < 0 || open_slots(&supervisor) != PS_OK) {
		fprintf(stderr, "%s: cannot start: %s\n", config->program, strerror(errno));
		return EXIT_CUT;
	}
	add_children(&supervisor, ROLE_WORKER, config->n_workers);
	add_children(&supervisor, ROLE_GATEKEEPER, config->n_gatekeepers);
	restart_due(&supervisor);
	while (supervisor.phase != PHASE_OVER)
		turn(&supervisor);
	if (supervisor.exit_code != EXIT_CONFIG)
		log_event(LOG_INFO, "stopped", "%s", supervisor.exit_code == 0 ? "everything was finished" : "something was cut");
	close(supervisor.signals);
	for (unsigned slot = 0; slot < config->n_workers; slot++) {
		close(supervisor.near[slot]);
		close(supervisor.far[slot]);
	}
	return supervisor.exit_code;
}
