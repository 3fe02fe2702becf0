/* SPDX-License-Identifier: Apache-2.0 */
/*
 * introduce -- gives the auditor its end of every other role's audit channel.
 *
 * The supervisor keeps that end as long as the role lives: what a dead auditor did not read waits for the next one.
 *
 * Owns:   child->audit of every child.
 */
#ifndef PORTSEAL_INTRODUCE_H
#define PORTSEAL_INTRODUCE_H

#include "children.h"

/* Before the fork: *near is for the role, -1 where there is no auditor or the role is one. */
enum ps_err introduce_open(const struct children *children, struct child *child, int *near) PS_MUST_CHECK;

/* After it: a role is made known to the auditor that runs, an auditor hears of every role. One that does not read is
 * killed: the next one hears of all. */
void introduce(struct children *children, const struct child *child);

/* A worker died with so many connections: their ends will not be told by anybody else. */
void introduce_tell_lost(struct children *children, uint64_t connections);

#endif
