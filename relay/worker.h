/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker -- the role that carries: it takes connections that were judged, connects them to their targets and forwards.
 *
 * Never:  holds a long-term key, or runs X.509 or handshake code.
 */
#ifndef PORTSEAL_RELAY_WORKER_H
#define PORTSEAL_RELAY_WORKER_H

#include "portseal/supervisor.h"

/* The role's life; env->daemon is a struct relay. Returns its exit code. */
int worker_run(const struct role_env *env);

#endif
