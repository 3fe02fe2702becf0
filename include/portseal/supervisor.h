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
#include "portseal/text.h"

#define SUPERVISOR_WORKERS_MAX SCOREBOARD_SLOTS

enum role_kind { ROLE_GATEKEEPER, ROLE_WORKER, ROLE_AUDITOR };
#define ROLE_KINDS 3

/* What a role finds when it starts. Descriptors are close-on-exec and non-blocking, and stay the role's until it exits. */
struct role_env {
	enum role_kind kind;
	unsigned index;           /* 0-based among its kind; a worker's slot */
	int control;              /* channel to the supervisor: role_message types */
	int slot;                 /* worker: its end of its slot's channel; gatekeeper: -1 */
	unsigned n_slots;         /* number of workers */
	const int *slots;         /* gatekeeper: the far ends, one for each worker; worker: NULL */
	int audit;                /* channel to the auditor (audit_record.h); -1 where there is none, and in the auditor */
	struct scoreboard *board; /* NULL when the daemon has none */
	uint32_t generation;      /* of the configuration it was started with; counts from 1 */
	bool on_trial;            /* gatekeeper: loads and says it is ready, but serves nobody until ROLE_GENERATION */
	void *daemon;             /* that generation's: supervisor_config.daemon or what `prepare` made */
};

/* supervisor -> role and role -> supervisor, over `control`. */
enum role_message {
	ROLE_READY = 1, /* role: serves from now on */
	ROLE_FATAL,     /* role: cannot start for a reason an operator must mend; body: the line to print (text, no NUL) */
	ROLE_DRAIN, /* supervisor: take nothing new, finish what runs within body uint64_t ms, then cut the rest; exit 0,
	                  * or 1 when something was cut */
	ROLE_RETIRE, /* supervisor to gatekeepers: another generation is in force: accept nothing more, finish every connection
	                  * that is on its way in, then exit 0. To the auditor: sign, let go of the file, exit 0 */
	ROLE_SLOT_DOWN,  /* supervisor to gatekeepers: body uint32_t slot: its worker is gone, prefer others */
	ROLE_SLOT_UP,    /* supervisor to gatekeepers: body uint32_t slot: serves (again) */
	ROLE_GENERATION, /* supervisor to workers and to gatekeepers on trial: body uint32_t: this generation of gatekeepers
	                  * is in force now */
	ROLE_CLIENT, /* supervisor to the auditor, with a descriptor: the far end of a role's audit channel; body uint64_t: its
	              * kind. It lives until the role has closed the other one. */
	ROLE_LOST,     /* supervisor to the auditor: body uint64_t: so many connections ended with their worker, untold */
	ROLE_OWN = 64, /* supervisor to workers: types from here on are the daemon's own (brief_worker) */
};

struct supervisor_config {
	const char *program; /* "portseal-relay": process names become "portseal-relay: gatekeeper 0" where possible */
	unsigned n_gatekeepers;
	unsigned n_workers;
	int (*run_gatekeeper)(const struct role_env *env); /* return value is the exit code */
	int (*run_worker)(const struct role_env *env);
	/* NULL: no auditor. One process; it ends last when the daemon drains, and is replaced (ROLE_RETIRE, then the next
	 * one) when another generation is put in force. */
	int (*run_auditor)(const struct role_env *env);
	void *daemon;                   /* handed to the roles */
	struct scoreboard *board;       /* borrowed, may be NULL */
	uint64_t drain_ms;              /* after TERM: roles still alive this long (plus a grace of 3 s) later are killed */
	enum role_kind drain_first;     /* the kind that is drained while the other still serves it */
	void (*on_ready)(void *daemon); /* every role is ready for the first time: log what is served; may be NULL */
	void (*on_drain)(void *daemon); /* draining begins: close listening sockets; may be NULL */

	/* Reload. `prepare` builds the next generation aside and whole, or says why not; NULL: HUP only warns. Then its
	 * gatekeepers are forked. When all of them are ready it is put in force: `commit` lets go of the old one, whose
	 * gatekeepers finish their handshakes and end; workers live on. When one of them says ROLE_FATAL, dies, or is not
	 * ready in time, the next generation ends and `abandon` lets go of it: nothing has changed. */
	enum ps_err (*prepare)(void *daemon, void **next, struct ps_cause *cause);
	void (*commit)(void *old, void *next);
	void (*abandon)(void *next);
	/* Workers live on: sends one of them what it must know of the generation that is in force now, in messages of types
	 * from ROLE_OWN on, before it is told ROLE_GENERATION. NULL: workers know no configuration. A failure: that worker is
	 * killed, and the next one is forked with the new generation. */
	enum ps_err (*brief_worker)(void *daemon, uint32_t generation, int control);
	uint64_t trial_ms; /* 0: half a minute */
	uint64_t
		retire_ms; /* gatekeepers that have not finished so long after they were told to are killed; 0: two minutes */
	/* A number that changes when a file of the configuration does; asked once a second. NULL or 0: not watched. */
	uint64_t (*fingerprint)(void *daemon);
	/* Adds ,"key":value of its own to the status object; may be NULL. */
	void (*add_status)(void *daemon, struct text *text);
	int status_fd; /* listening unix socket: whoever connects reads one JSON object; 0: none */
};

/* Runs until TERM or INT and everything is drained. Logs role deaths, restarts, drain (event=role-died role=worker
 * index=0 signal=9 connections=12; event=draining; event=stopped).
 * Returns the exit code: 0 drained, 1 drain_timeout cut something or a second signal ended it at once, 3 a role said
 * ROLE_FATAL during the first start (its line is printed as "PROGRAM: LINE"). ROLE_FATAL at a restart is logged as an
 * error and tried again with back-off. HUP reloads (during the start or a reload: once that is over): event=reloaded
 * generation=2, or event=reload-failed with the cause and the old generation in force; during a drain it is ignored. */
int supervisor_run(const struct supervisor_config *config);

#endif
