/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker -- the role of a sender that listens on local addresses and carries payload.
 *
 * All workers accept from the same sockets. Without descriptors it pauses accepting for a moment and says so once.
 *
 * Never:  holds a certificate's key, or dials.
 */
#ifndef PORTSEAL_SENDER_WORKER_H
#define PORTSEAL_SENDER_WORKER_H

#include "portseal/supervisor.h"

/* supervisor_config.run_worker; env->daemon is a struct tunnel_daemon. */
int worker_run(const struct role_env *env);

#endif
