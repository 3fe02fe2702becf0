/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool -- messages kept on disk until they are delivered: an SQLite database that several processes share.
 *
 *     spool_put ──▶ WAITING ──claim──▶ UNDER_WAY ──delivered──▶ gone
 *                    ▲  ▲ │               │  │
 *                    │  │ └───expired──▶ DEAD◀┴─given up
 *                    │  └────────────failed┘
 *                    └── queue retry ─────┘
 *
 * What a call has reported as done is on the disk (WAL, synchronous = FULL): neither a kill nor a power failure takes it
 * back. Many processes may put, list and drop at once; one at a time delivers (spool_serve).
 *
 * Clocks: times are the wall clock's, given by the caller, since they outlive the process. A wait is noted with its
 * beginning (since_ms): where the clock reads earlier than that it was set back, and spool_mend_clock makes the message due,
 * so that such a clock costs an early attempt and never a stall.
 *
 * Owns:   the database's connection and statements.
 * Never:  holds more of a payload in memory than SPOOL_STAGE_MEMORY, logs, or drops a message to make room.
 */
#ifndef PORTSEAL_SENDER_SPOOL_SPOOL_H
#define PORTSEAL_SENDER_SPOOL_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

#define SPOOL_ID_SIZE 37 /* a UUID and its NUL */
#define SPOOL_SERVICE_SIZE 64
#define SPOOL_REASON_SIZE 32
#define SPOOL_DETAIL_SIZE 256
#define SPOOL_PART 65536 /* a payload is stored in pieces of so many bytes */

struct spool;

enum spool_state {
	SPOOL_WAITING = 0,
	SPOOL_UNDER_WAY = 1, /* of the process that serves; after its end: fate unknown */
	SPOOL_DEAD = 2,      /* given up, with its reason; kept until somebody decides */
};

struct spool_message {
	int64_t seq; /* order in which they were kept */
	char id[SPOOL_ID_SIZE];
	char service[SPOOL_SERVICE_SIZE];
	enum spool_state state;
	uint64_t len;
	int64_t kept_ms;
	int64_t expires_ms; /* INT64_MAX: never */
	int64_t since_ms, due_ms;
	uint64_t attempts;
	uint64_t uncertain;             /* of these, how many ended without our learning what became of it */
	char reason[SPOOL_REASON_SIZE]; /* of the last failure; "" when there was none */
	char detail[SPOOL_DETAIL_SIZE];
};

/* Since the spool was made, but for the first two, which are now. */
struct spool_totals {
	uint64_t messages, bytes; /* in it, dead ones included */
	uint64_t kept, delivered, died, dropped;
	uint64_t uncertain; /* attempts whose fate we did not learn; only such a message can reach the application twice */
};

/* Results shared by all that follows: PS_E_LIMIT the disk (or a quota) is full; PS_E_CONFIG the file cannot be used as it
 * is: read-only, damaged, another program's, others may read it or write to its directory; PS_E_AGAIN others kept it locked; PS_E_IO, PS_E_NOMEM.
 * The cause names the file and what helps. Nothing is changed by a call that fails. */

/* Makes the file, mode 0600, where there is none. */
enum ps_err spool_open(const char *path, struct spool **spool, struct ps_cause *cause) PS_MUST_CHECK;
/* PS_E_CLOSED: there is none. */
enum ps_err spool_open_existing(const char *path, struct spool **spool, struct ps_cause *cause) PS_MUST_CHECK;
void spool_close(struct spool *spool);

/* How long another process' change is waited for before PS_E_AGAIN; 10 s at first. */
void spool_set_patience(struct spool *spool, int ms);
const char *spool_path(const struct spool *spool);

/* Looks at every page (about a second for a gigabyte): PS_E_CONFIG when it is damaged. */
enum ps_err spool_check(struct spool *spool, struct ps_cause *cause) PS_MUST_CHECK;

/* Several changes that are made as one: between begin and commit, those functions below that say so. */
enum ps_err spool_begin(struct spool *spool, struct ps_cause *cause) PS_MUST_CHECK;
enum ps_err spool_commit(struct spool *spool, struct ps_cause *cause) PS_MUST_CHECK;
void spool_rollback(struct spool *spool);

enum ps_err spool_totals(struct spool *spool, struct spool_totals *totals, struct ps_cause *cause) PS_MUST_CHECK;

/* Up to `cap` bytes from `offset` on, never over the end of a part; *n 0 at the end of the payload. */
enum ps_err spool_read(struct spool *spool, int64_t seq, uint64_t offset, void *out, size_t cap, size_t *n,
                       struct ps_cause *cause) PS_MUST_CHECK;

#endif
