/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serving -- which process delivers from a spool, and how the others wake it.
 *
 * Beside the spool lie two small files: SPOOL-lock, locked by the process that serves for as long as it lives, and
 * SPOOL-wake, a named pipe into which whoever has kept a message writes a byte.
 *
 * Owns:   their descriptors. The files stay: removing them would race with the next process.
 */
#ifndef PORTSEAL_SENDER_SPOOL_SERVING_H
#define PORTSEAL_SENDER_SPOOL_SERVING_H

#include <stdbool.h>

#include "portseal/err.h"

struct serving {
	int lock_fd;
	int wake_fd; /* readable when there is news; -1 where the file system has no pipes: then look from time to time */
};

/* PS_E_AGAIN: another process serves this spool already; the cause says which. */
enum ps_err serving_begin(const char *spool_path, struct serving *serving, struct ps_cause *cause) PS_MUST_CHECK;
void serving_end(struct serving *serving);
/* The pipe alone. */
void serving_end_wake(struct serving *serving);

/* Reads away what was written to wake us. */
void serving_hear(const struct serving *serving);

/* Wakes whoever serves. False: nobody does, as far as can be told. */
bool serving_wake(const char *spool_path);

/* Does a process serve it? */
bool serving_is_on(const char *spool_path);

#endif
