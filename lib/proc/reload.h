/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reload -- replaces the generation in force by the next one, as a whole or not at all.
 *
 *     IDLE ──HUP, or a file changed──▶ TRIAL ──all its gatekeepers ready──▶ IDLE, generation + 1
 *                                        └──one failed, or too slow──────▶ IDLE, nothing changed
 *
 * Owns:   the next generation while it is on trial, and what is known of the last reload.
 */
#ifndef PORTSEAL_RELOAD_H
#define PORTSEAL_RELOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "children.h"

struct reload {
	const struct supervisor_config *config;
	struct children *children;
	void *daemon; /* of the generation in force */
	uint32_t generation;
	time_t since; /* when it was put in force */
	bool on_trial;
	bool again; /* asked for while one was on trial, or during the start */
	void *next;
	uint64_t trial_end_ms;
	time_t tried;            /* when a reload was last tried; 0: never */
	struct ps_cause failure; /* of that one; "": it succeeded */
	uint64_t fingerprint;    /* of the files as they were loaded */
	uint64_t seen;           /* of the files at the last look */
	uint64_t look_ms;        /* when to look again */
};

void reload_init(struct reload *reload, const struct supervisor_config *config, struct children *children);

/* HUP, or a file that changed. */
void reload_begin(struct reload *reload);

/* HUP during the start: a reload follows it. */
void reload_remember(struct reload *reload);

/* A gatekeeper on trial cannot start. */
void reload_fail(struct reload *reload, const char *why);

/* Each turn of the loop: commits, gives up, looks at the files. */
void reload_go_on(struct reload *reload);

/* When it must be called again at the latest; UINT64_MAX: on events only. */
uint64_t reload_next_ms(const struct reload *reload);

/* Draining begins: whatever is on trial ends. */
void reload_stop(struct reload *reload);

#endif
