/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auditor -- the role that writes the audit trail: it owns the file, chains the lines and signs heads with the relay's
 * key.
 *
 * What gatekeepers and workers tell in one turn of its loop is one batch: written at once, then answered. Nothing is
 * answered as written before it is.
 *
 * Never:  accepts a connection, or believes what a role says without checking it.
 */
#ifndef PORTSEAL_RELAY_AUDITOR_H
#define PORTSEAL_RELAY_AUDITOR_H

#include "portseal/supervisor.h"

/* The role's life; env->daemon is a struct relay whose configuration has an audit file. Returns its exit code. */
int auditor_run(const struct role_env *env);

#endif
