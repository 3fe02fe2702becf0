/* SPDX-License-Identifier: Apache-2.0 */
#include "children.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "introduce.h"
#include "portseal/channel.h"
#include "portseal/clock.h"
#include "portseal/log.h"

#define SHORT_LIFE_MS 10000
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 10000
#define RETIRE_MS 120000
#define GATEKEEPER_YIELDS 10 /* steps of niceness below the supervisor and the workers */
#define PROCESS_NAME_MAX 16  /* of the kernel, with its NUL */

const char *children_kind_name(enum role_kind kind)
{
	static const char *const names[ROLE_KINDS] = { "gatekeeper", "worker", "auditor" };

	return names[kind];
}

static enum ps_err open_slots(struct children *children)
{
	for (unsigned slot = 0; slot < children->config->n_workers; slot++) {
		int ends[2];
		enum ps_err err = channel_pair(ends);

		if (err != PS_OK)
			return err;
		children->near[slot] = ends[0];
		children->far[slot] = ends[1];
	}
	return PS_OK;
}

/* A free place, or NULL. */
static struct child *find_place(struct children *children)
{
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].standing == CHILD_VACANT)
			return &children->at[i];
	return children->n < CHILDREN_MAX ? &children->at[children->n++] : NULL;
}

static enum ps_err add(struct children *children, const struct child *pattern, unsigned n)
{
	for (unsigned index = 0; index < n; index++) {
		struct child *place = find_place(children);

		if (place == NULL)
			return PS_E_LIMIT;
		*place = *pattern;
		place->index = index;
		place->control = place->audit = -1;
	}
	return PS_OK;
}

enum ps_err children_open(struct children *children, const struct supervisor_config *config, int signals)
{
	struct child pattern = { .standing = CHILD_IN_FORCE, .generation = 1, .daemon = config->daemon };
	enum ps_err err;

	assert(config->n_workers <= SUPERVISOR_WORKERS_MAX && config->n_gatekeepers <= CHILDREN_MAX - config->n_workers);
	*children = (struct children){ .config = config, .signals = signals };
	for (unsigned slot = 0; slot < SUPERVISOR_WORKERS_MAX; slot++)
		children->near[slot] = children->far[slot] = -1;
	err = open_slots(children);
	if (err != PS_OK) {
		int saved = errno;

		children_close(children);
		errno = saved;
		return err;
	}
	pattern.kind = ROLE_AUDITOR;
	err = add(children, &pattern, config->run_auditor != NULL ? 1 : 0);
	pattern.kind = ROLE_WORKER;
	if (err == PS_OK)
		err = add(children, &pattern, config->n_workers);
	pattern.kind = ROLE_GATEKEEPER;
	return err == PS_OK ? add(children, &pattern, config->n_gatekeepers) : err;
}

static void close_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

void children_close(struct children *children)
{
	for (unsigned i = 0; i < children->n; i++) {
		close_open(children->at[i].control);
		close_open(children->at[i].audit);
	}
	for (unsigned slot = 0; slot < children->config->n_workers; slot++) {
		close_open(children->near[slot]);
		close_open(children->far[slot]);
	}
}

static void keep_only_own_descriptors(const struct children *children, const struct child *self)
{
	close(children->signals);
	for (unsigned i = 0; i < children->n; i++) {
		close_open(children->at[i].control);
		close_open(children->at[i].audit);
	}
	for (unsigned slot = 0; slot < children->config->n_workers; slot++) {
		if (self->kind != ROLE_GATEKEEPER)
			close(children->far[slot]);
		if (self->kind != ROLE_WORKER || slot != self->index)
			close(children->near[slot]);
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

/* A handshake is milliseconds of arithmetic, and strangers choose how many there are: it takes what the workers leave. At
 * ten steps that is still about a tenth of a processor that is wanted by both, so that nobody starves at the door. */
static void yield_to_workers(void)
{
	/* Lowering our own priority needs no privilege; if it fails all the same, the role is as good as before. */
	(void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + GATEKEEPER_YIELDS);
}

/* Where the kernel shares processors out by sessions first (sched_autogroup), niceness counts within one alone, and what
 * the gatekeepers use would be taken from their own workers. */
static void leave_session(void)
{
	(void)setsid(); /* fails for nobody that was just forked */
}

static int run(const struct supervisor_config *config, const struct role_env *env)
{
	if (env->kind == ROLE_AUDITOR)
		return config->run_auditor(env);
	return env->kind == ROLE_WORKER ? config->run_worker(env) : config->run_gatekeeper(env);
}

static _Noreturn void run_role(const struct children *children, const struct child *self, int control, int audit)
{
	const struct supervisor_config *config = children->config;
	struct role_env env = {
		.kind = self->kind,
		.index = self->index,
		.control = control,
		.slot = self->kind == ROLE_WORKER ? children->near[self->index] : -1,
		.n_slots = config->n_workers,
		.slots = self->kind == ROLE_GATEKEEPER ? children->far : NULL,
		.audit = audit,
		.board = config->board,
		.generation = self->generation,
		.on_trial = self->standing == CHILD_TRIAL,
		.daemon = self->daemon,
	};
	char name[PROCESS_NAME_MAX];

	keep_only_own_descriptors(children, self);
	set_role_signals();
	snprintf(name, sizeof(name), "%s-%u", children_kind_name(self->kind), self->index);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	if (self->kind == ROLE_GATEKEEPER)
		yield_to_workers();
	else if (self->kind == ROLE_WORKER)
		leave_session();
	exit(run(config, &env));
}

static void tell(const struct child *child, enum role_message type, uint32_t number)
{
	/* A gatekeeper that does not read its control channel is not told: what it sends to the slot waits in its queue. */
	if (channel_send(child->control, type, &number, sizeof(number), -1) != PS_OK)
		log_event(LOG_DEBUG, "control-full", "%s %u", children_kind_name(child->kind), child->index);
}

void children_tell(const struct children *children, enum role_kind kind, enum role_message type, uint32_t number)
{
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].kind == kind && children->at[i].pid > 0)
			tell(&children->at[i], type, number);
}

/* What a role must not miss: it is read, or the role ends. */
static void tell_or_kill(const struct child *child, enum role_message type, const void *body, size_t body_len)
{
	if (channel_send(child->control, type, body, body_len, -1) == PS_OK)
		return;
	log_event(LOG_ERROR, "role-hangs", "%s %u does not read what it is told: it is killed",
	          children_kind_name(child->kind), child->index);
	kill(child->pid, SIGKILL);
}

static bool brief(const struct children *children, const struct child *worker, uint32_t generation)
{
	if (children->config->brief_worker == NULL ||
	    children->config->brief_worker(worker->daemon, generation, worker->control) == PS_OK)
		return true;
	log_event(LOG_ERROR, "role-hangs", "worker %u does not take what it must know: it is killed", worker->index);
	kill(worker->pid, SIGKILL);
	return false;
}

void children_tell_generation(const struct children *children, uint32_t generation)
{
	for (unsigned i = 0; i < children->n; i++) {
		const struct child *child = &children->at[i];

		if (child->kind == ROLE_WORKER && child->pid > 0 && brief(children, child, generation))
			tell_or_kill(child, ROLE_GENERATION, &generation, sizeof(generation));
	}
}

static void tell_of_slots(const struct children *children, const struct child *gatekeeper)
{
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].kind == ROLE_WORKER && children->at[i].pid == 0)
			tell(gatekeeper, ROLE_SLOT_DOWN, children->at[i].index);
}

static void back_off(struct child *child)
{
	uint64_t now = clock_now_ms();

	if (now - child->forked_ms >= SHORT_LIFE_MS)
		child->backoff_ms = 0;
	child->restart_ms = now + child->backoff_ms;
	if (child->backoff_ms == 0)
		child->backoff_ms = BACKOFF_FIRST_MS;
	else
		child->backoff_ms = child->backoff_ms * 2 < BACKOFF_MAX_MS ? child->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void close_audit(struct child *child)
{
	close_open(child->audit);
	child->audit = -1;
}

static void start(struct children *children, struct child *child)
{
	int ends[2] = { -1, -1 };
	int audit = -1;
	pid_t pid = -1;

	child->forked_ms = clock_now_ms();
	if (channel_pair(ends) != PS_OK || introduce_open(children, child, &audit) != PS_OK || (pid = fork()) < 0) {
		log_event(LOG_ERROR, "role-not-started", "%s %u: %s", children_kind_name(child->kind), child->index,
		          strerror(errno));
		close_open(ends[0]);
		close_open(ends[1]);
		close_open(audit);
		close_audit(child);
		if (child->backoff_ms == 0)
			child->backoff_ms = BACKOFF_FIRST_MS;
		back_off(child);
		return;
	}
	if (pid == 0) {
		close(ends[0]);
		run_role(children, child, ends[1], audit);
	}
	close(ends[1]);
	close_open(audit);
	child->pid = pid;
	child->control = ends[0];
	child->told_to_drain = false;
	introduce(children, child);
	if (child->kind == ROLE_GATEKEEPER)
		tell_of_slots(children, child);
}

/* Does not run, but should. */
static bool is_due(const struct child *child)
{
	return child->pid == 0 && (child->standing == CHILD_IN_FORCE || child->standing == CHILD_TRIAL);
}

void children_start_auditor(struct children *children)
{
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].kind == ROLE_AUDITOR && is_due(&children->at[i]) &&
		    children->at[i].restart_ms <= clock_now_ms())
			start(children, &children->at[i]);
}

void children_start_due(struct children *children)
{
	for (unsigned i = 0; i < children->n; i++)
		if (is_due(&children->at[i]) && children->at[i].restart_ms <= clock_now_ms())
			start(children, &children->at[i]);
}

uint64_t children_next_start_ms(const struct children *children)
{
	uint64_t next_ms = UINT64_MAX;

	for (unsigned i = 0; i < children->n; i++)
		if (is_due(&children->at[i]) && children->at[i].restart_ms < next_ms)
			next_ms = children->at[i].restart_ms;
	return next_ms;
}

struct child *children_find(struct children *children, pid_t pid)
{
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].pid == pid)
			return &children->at[i];
	return NULL;
}

bool children_any_alive(const struct children *children, enum role_kind kind)
{
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].kind == kind && children->at[i].pid > 0)
			return true;
	return false;
}

bool children_all_ready(const struct children *children)
{
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].standing == CHILD_IN_FORCE && !children->at[i].ready)
			return false;
	return true;
}

enum ps_err children_add_trial(struct children *children, uint32_t generation, void *daemon)
{
	struct child pattern = {
		.standing = CHILD_TRIAL, .kind = ROLE_GATEKEEPER, .generation = generation, .daemon = daemon
	};
	enum ps_err err = add(children, &pattern, children->config->n_gatekeepers);

	if (err != PS_OK)
		children_drop_trial(children);
	return err;
}

void children_drop_trial(struct children *children)
{
	for (unsigned i = 0; i < children->n; i++) {
		struct child *child = &children->at[i];

		if (child->standing != CHILD_TRIAL)
			continue;
		child->standing = child->pid > 0 ? CHILD_RETIRING : CHILD_VACANT;
		child->told_to_drain = true;
		child->retired_ms = clock_now_ms();
		if (child->pid > 0)
			kill(child->pid, SIGKILL);
	}
}

void children_drain(struct child *child, uint64_t ms)
{
	child->told_to_drain = true;
	if (channel_send(child->control, ROLE_DRAIN, &ms, sizeof(ms), -1) != PS_OK)
		kill(child->pid, SIGKILL);
}

/* The next one starts when it has ended: there is one file, and one writer of it. */
static void replace(struct child *auditor)
{
	auditor->told_to_drain = true;
	auditor->replaced = true;
	auditor->retired_ms = clock_now_ms();
	tell_or_kill(auditor, ROLE_RETIRE, NULL, 0);
}

static void retire(struct child *child)
{
	child->standing = CHILD_RETIRING;
	child->told_to_drain = true;
	child->retired_ms = clock_now_ms();
	tell_or_kill(child, ROLE_RETIRE, NULL, 0);
}

static bool is_ending(const struct child *child)
{
	return child->standing == CHILD_RETIRING || (child->replaced && child->pid > 0 && child->told_to_drain);
}

static uint64_t overdue_ms(const struct children *children, const struct child *child)
{
	return child->retired_ms + (children->config->retire_ms > 0 ? children->config->retire_ms : RETIRE_MS);
}

void children_end_overdue(struct children *children)
{
	for (unsigned i = 0; i < children->n; i++) {
		struct child *child = &children->at[i];

		if (!is_ending(child) || clock_now_ms() < overdue_ms(children, child))
			continue;
		log_event(LOG_WARN, "role-killed", "%s %u of generation %u did not finish", children_kind_name(child->kind),
		          child->index, child->generation);
		kill(child->pid, SIGKILL);
		child->retired_ms = clock_now_ms(); /* it takes a moment to die: once is enough */
	}
}

uint64_t children_next_overdue_ms(const struct children *children)
{
	uint64_t next_ms = UINT64_MAX;

	for (unsigned i = 0; i < children->n; i++) {
		const struct child *child = &children->at[i];

		if (is_ending(child) && overdue_ms(children, child) < next_ms)
			next_ms = overdue_ms(children, child);
	}
	return next_ms;
}

void children_promote_trial(struct children *children, void *daemon)
{
	for (unsigned i = 0; i < children->n; i++) {
		struct child *child = &children->at[i];

		if (child->standing == CHILD_TRIAL) {
			child->standing = CHILD_IN_FORCE;
			tell_or_kill(child, ROLE_GENERATION, &child->generation, sizeof(child->generation));
		} else if (child->standing == CHILD_IN_FORCE && child->kind != ROLE_GATEKEEPER) {
			/* A worker lives on; only its replacement, should it die, starts with the new one. */
			child->generation++;
			child->daemon = daemon;
			if (child->kind == ROLE_AUDITOR && child->pid > 0)
				replace(child);
		} else if (child->standing == CHILD_IN_FORCE) {
			if (child->pid > 0)
				retire(child);
			else
				child->standing = CHILD_VACANT;
		}
	}
}

bool children_trial_ready(const struct children *children)
{
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].standing == CHILD_TRIAL && !children->at[i].ready)
			return false;
	return true;
}

uint64_t children_bury(struct children *children, struct child *child)
{
	uint64_t lost = 0;

	close_open(child->control);
	close_audit(child);
	child->control = -1;
	child->pid = 0;
	child->ready = false;
	if (child->kind == ROLE_WORKER && children->config->board != NULL)
		lost = scoreboard_clear_slot(children->config->board, child->index);
	if (child->standing == CHILD_RETIRING)
		child->standing = CHILD_VACANT;
	else if (child->replaced && child->told_to_drain)
		child->restart_ms = 0;
	else
		back_off(child);
	return lost;
}

void children_kill_all(const struct children *children)
{
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].pid > 0)
			kill(children->at[i].pid, SIGKILL);
}
