/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor -- starts the roles of a daemon as processes, restarts those that die, and ends them in order.
 *
 * A role is forked, runs `run` and exits with what it returns. Every worker slot has a channel (a socket pair) that the
 * supervisor keeps open for its whole life: when the worker dies, what is queued waits for its replacement, and the
 * gatekeepers hold no broken end. The first restart is immediate; a role that keeps dying within 10 s of its start is
 * restarted after 100 ms, doubling up to 10 s.
 *
 * Owns:   the children, the channels, the signals TERM, INT, HUP and CHLD. A role ignores these: it is told what to do
 *         over its control channel, and drains when that closes because the supervisor is gone.
 * Never:  parses a byte from the network, or holds a key.
 *
 * The one module of lib/ that logs: it is the main program of both daemons.
 */
#ifndef PORTSEAL_SUPERVISOR_H
#define PORTSEAL_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"
#include "portseal/scoreboard.h"

#define SUPERVISOR_WORKERS_MAX SCOREBOARD_SLOTS

enum role_kind { ROLE_GATEKEEPER, ROLE_WORKER };

/* What a role finds when it starts. Descriptors are close-on-exec and non-blocking, and stay the role's until it exits. */
struct role_env {
	enum role_kind kind;
	unsigned index;       /* 0-based among its kind; a worker's slot */
	int control;          /* channel to the supervisor: role_message types */
	int slot;             /* worker: its end of its slot's channel; gatekeeper: -1 */
	unsigned n_slots;     /* number of workers */
	const int *slots;     /* gatekeeper: the far ends, one for each worker; worker: NULL */
	struct scoreboard *board; /* NULL when the daemon has none */
	void *daemon;         /* supervisor_config.daemon */
};

/* supervisor -> role and role -> supervisor, over `control`. */
enum role_message {
	ROLE_READY = 1,  /* role: serves from now on */
	ROLE_FATAL,      /* role: cannot start for a reason an operator must mend; body: the line to print (text, no NUL) */
	ROLE_DRAIN,      /* supervisor: take nothing new, finish what runs within body uint64_t ms, then cut the rest; exit 0,
	                  * or 1 when something was cut */
	ROLE_SLOT_DOWN,  /* supervisor to gatekeepers: body uint32_t slot: its worker is gone, prefer others */
	ROLE_SLOT_UP,    /* supervisor to gatekeepers: body uint32_t slot: serves (again) */
};

struct supervisor_config {
	const char *program;   /* "portseal-relay": process names become "portseal-relay: gatekeeper 0" where possible */
	unsigned n_gatekeepers;
	unsigned n_workers;
	int (*run_gatekeeper)(const struct role_env *env); /* return value is the exit code */
	int (*run_worker)(const struct role_env *env);
	void *daemon;          /* handed to the roles */
	struct scoreboard *board; /* borrowed, may be NULL */
	uint64_t drain_ms;     /* after TERM: roles still alive this long (plus a grace of 3 s) later are killed */
	enum role_kind drain_first; /* the kind that is drained while the other still serves it */
	void (*on_ready)(void *daemon); /* every role is ready for the first time: log what is served; may be NULL */
	void (*on_drain)(void *daemon); /* draining begins: close listening sockets; may be NULL */
};

/* Runs until TERM or INT and everything is drained. Logs role deaths, restarts, drain (event=role-died role=worker
 * index=0 signal=9 connections=12; event=draining; event=stopped).
 * Returns the exit code: 0 drained, 1 drain_timeout cut something or a second signal ended it at once, 3 a role said
 * ROLE_FATAL during the first start (its line is printed as "PROGRAM: LINE"). ROLE_FATAL at a restart is logged as an
 * error and tried again with back-off. HUP is logged as not supported until reload comes. */
int supervisor_run(const struct supervisor_config *config);

#endif
