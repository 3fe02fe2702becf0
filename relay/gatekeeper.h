/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatekeeper -- the role that accepts, shakes hands and judges. It alone holds the private key.
 *
 * Never:  sees a message, or opens a connection to an application.
 */
#ifndef PORTSEAL_RELAY_GATEKEEPER_H
#define PORTSEAL_RELAY_GATEKEEPER_H

#include "portseal/supervisor.h"

/* The role's life; env->daemon is a struct relay. Returns its exit code. */
int gatekeeper_run(const struct role_env *env);

#endif
