/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command -- what the commands that use the spool have in common: its place from the configuration, and their exit codes.
 */
#ifndef PORTSEAL_SENDER_SPOOL_COMMAND_H
#define PORTSEAL_SENDER_SPOOL_COMMAND_H

#include "config.h"
#include "outcome.h"
#include "spool/spool.h"

/* Of an error of the spool: 8 no space, 3 the file cannot be used, 1 anything else. */
enum outcome_code command_code(enum ps_err err);

/* The configuration of `options`, which must name a spool. On failure the outcome is set. */
enum ps_err command_load(const struct config_options *options, struct sender_config **config, struct outcome *outcome)
	PS_MUST_CHECK;

/* "waiting", "under-way", "dead" */
const char *command_state(enum spool_state state);

#endif
