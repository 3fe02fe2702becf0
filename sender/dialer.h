/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dialer -- the gatekeeper of a sender: holds the key, dials the relay for the workers and judges it.
 *
 * All gatekeepers of the generation in force read the requests of all slots: whoever is free takes the next. Each runs DIALER_MAX dials at once; more
 * wait in the slots' queues.
 *
 * Never:  sees payload, or what a local client is.
 */
#ifndef PORTSEAL_SENDER_DIALER_H
#define PORTSEAL_SENDER_DIALER_H

#include "portseal/supervisor.h"

#define DIALER_MAX 64

/* supervisor_config.run_gatekeeper; env->daemon is a struct generation. */
int dialer_run(const struct role_env *env);

#endif
