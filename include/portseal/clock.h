/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock -- what time it is, in milliseconds.
 */
#ifndef PORTSEAL_CLOCK_H
#define PORTSEAL_CLOCK_H

#include <stdint.h>

/* The monotonic clock's, for durations and deadlines: the same in every process of this host, never set back, and of no
 * meaning behind its next start. Where a loop turns, uv_now() is cheaper and as good. */
uint64_t clock_now_ms(void);

/* The wall clock's, since 1970, for what outlives the process: it may be set, forward or back. */
int64_t clock_wall_ms(void);

#endif
