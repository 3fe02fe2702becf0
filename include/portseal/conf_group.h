/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_group -- whole groups that several programs' configurations have in common: `log` and `processes`.
 *
 * Each is the `keys` of a CONF_GROUP whose field is the struct beside it.
 */
#ifndef PORTSEAL_CONF_GROUP_H
#define PORTSEAL_CONF_GROUP_H

#include <stdint.h>

#include "portseal/conf.h"
#include "portseal/log.h"

#define CONF_GROUP_PROCESSES_MAX 64

struct conf_group_log {
	enum log_level level;
	enum log_format format;
};
extern const struct conf_key conf_group_log_keys[];

struct conf_group_processes {
	uint64_t gatekeepers, workers; /* 0: the file says nothing of them */
};
extern const struct conf_key conf_group_processes_keys[];

/* Of what the file says nothing: one for each processor that this process may run on, at most
 * CONF_GROUP_PROCESSES_MAX. */
void conf_group_processes_complete(struct conf_group_processes *processes);

#endif
