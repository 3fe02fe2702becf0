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

#define CHILDREN_MAX (2 * SUPERVISOR_WORKERS_MAX)

struct child {
	enum role_kind kind;
	unsigned index;
	pid_t pid;   /* 0: not running */
	int control; /* -1: not running, or the role closed it */
	bool ready;  /* runs and said so */
	bool told_to_drain;
	uint64_t forked_ms;
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
};

uint64_t children_now_ms(void);
const char *children_kind_name(enum role_kind kind);

/* Opens the slots and lists the roles; none runs yet. `children` borrows the configuration. */
enum ps_err children_open(struct children *children, const struct supervisor_config *config, int signals) PS_MUST_CHECK;
void children_close(struct children *children);

/* Forks each role that does not run and whose time has come. */
void children_start_due(struct children *children);
/* When the next one is to be forked; UINT64_MAX when all run. */
uint64_t children_next_start_ms(const struct children *children);

struct child *children_find(struct children *children, pid_t pid);
bool children_any_alive(const struct children *children, enum role_kind kind);
bool children_all_ready(const struct children *children);
void children_tell_gatekeepers(const struct children *children, enum role_message type, uint32_t slot);

/* The process is gone: lets go of its channel and of what the scoreboard says of it, and sets when it is forked again.
 * Returns how many connections went with it. */
uint64_t children_bury(struct children *children, struct child *child);

/* Kills every one that runs, without waiting. */
void children_kill_all(const struct children *children);

#endif
