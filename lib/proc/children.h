/* SPDX-License-Identifier: Apache-2.0 */
/*
 * children -- the supervisor's roles as processes, with the descriptors by which they are reached.
 *
 * Owns:   each role's process and control channel, and both ends of every slot.
 * Never:  decides when a role is drained or the daemon ends: that is supervisor.c, its only user.
 */
#ifndef PORTSEAL_CHILDREN_H
#define PORTSEAL_CHILDREN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "portseal/supervisor.h"

/* The auditor, workers, and gatekeepers of the generation in force, of one on trial and of several that retire. */
#define CHILDREN_MAX (6 * SUPERVISOR_WORKERS_MAX + 1)

enum child_standing {
	CHILD_VACANT, /* the place is free */
	CHILD_TRIAL,  /* of a generation that is not in force yet */
	CHILD_IN_FORCE,
	CHILD_RETIRING, /* of a generation that is no longer in force: finishes what it has, is not forked again */
};

struct child {
	enum child_standing standing;
	enum role_kind kind;
	unsigned index;
	uint32_t generation;
	void *daemon; /* its generation's */
	pid_t pid;    /* 0: not running */
	int control;  /* -1: not running, or the role closed it */
	bool ready;   /* runs and said so */
	bool told_to_drain;
	bool replaced; /* auditor: ends so that the next one starts at once */
	int audit;     /* the auditor's end of its audit channel (introduce.h); -1: none */
	uint64_t forked_ms;
	uint64_t retired_ms; /* when it was told to */
	uint64_t restart_ms; /* when to fork it again, while pid is 0 */
	uint64_t backoff_ms;
};

struct children {
	const struct supervisor_config *config;
	int signals;                      /* the supervisor's, closed in every role */
	int near[SUPERVISOR_WORKERS_MAX]; /* the workers' ends of the slots */
	int far[SUPERVISOR_WORKERS_MAX];  /* the gatekeepers' ends */
	struct child at[CHILDREN_MAX];
	unsigned n;
	uint64_t untold; /* connections that ended with their worker, not told to an auditor yet */
};

const char *children_kind_name(enum role_kind kind);

/* Adds gatekeepers of another generation, on trial. PS_E_LIMIT: too many of earlier ones still retire. */
enum ps_err children_add_trial(struct children *children, uint32_t generation, void *daemon) PS_MUST_CHECK;
/* Ends those on trial at once and frees their places when they are buried. */
void children_drop_trial(struct children *children);
/* Those on trial are in force and told so, the gatekeepers that were are told to retire. */
void children_promote_trial(struct children *children, void *daemon);
/* Kills those that retire for longer than they may. */
void children_end_overdue(struct children *children);
/* When one of them will be overdue; UINT64_MAX: none retires. */
uint64_t children_next_overdue_ms(const struct children *children);
bool children_trial_ready(const struct children *children);

/* Opens the slots and lists the roles; none runs yet. `children` borrows the configuration. */
enum ps_err children_open(struct children *children, const struct supervisor_config *config, int signals) PS_MUST_CHECK;
void children_close(struct children *children);

/* Forks each role that does not run and whose time has come. */
void children_start_due(struct children *children);
/* The same of the auditor alone: while the others drain, it is still needed. */
void children_start_auditor(struct children *children);
/* When the next one is to be forked; UINT64_MAX when all run. */
uint64_t children_next_start_ms(const struct children *children);

struct child *children_find(struct children *children, pid_t pid);
bool children_any_alive(const struct children *children, enum role_kind kind);
bool children_all_ready(const struct children *children);
void children_tell(const struct children *children, enum role_kind kind, enum role_message type, uint32_t number);
/* Tells the workers which generation is in force. One that does not read is killed: it would never ask whether those
 * it carries may stay. */
void children_tell_generation(const struct children *children, uint32_t generation);

/* The process is gone: lets go of its channel and of what the scoreboard says of it, and sets when it is forked again.
 * Returns how many connections went with it. */
uint64_t children_bury(struct children *children, struct child *child);

/* Tells one that runs to drain within `ms`. */
void children_drain(struct child *child, uint64_t ms);

/* Kills every one that runs, without waiting. */
void children_kill_all(const struct children *children);

#endif
