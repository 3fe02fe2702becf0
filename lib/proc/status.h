/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status -- tells whoever connects to the status socket how the daemon is, as one JSON object.
 *
 * Never:  reads a byte from the one who asks.
 */
#ifndef PORTSEAL_STATUS_H
#define PORTSEAL_STATUS_H

#include <stdbool.h>

#include "portseal/supervisor.h"
#include "reload.h"

/* Answers everybody who waits at config->status_fd. */
void status_answer(const struct supervisor_config *config, const struct reload *reload, bool draining);

#endif
