/* SPDX-License-Identifier: Apache-2.0 */
/*
 * results_db -- what became of messages that carried an idempotency key, in a database that all workers of a relay share and
 * that outlives them (SQLite, WAL, fsync at each commit).
 *
 *     nothing ──claim──▶ under way ──record──▶ done ──window──▶ nothing
 *        ▲                  │   │                └──claim: RESULTS_DONE
 *        └─────release──────┘   └──its worker died──▶ unknown ──claim: RESULTS_REPEAT_UNKNOWN──▶ under way
 *
 * A worker is known by its slot, and proves that it lives by a lock on one byte of PATH.lock. Whoever takes the slot over
 * finds what its predecessor left under way: whether the application had it, nobody knows.
 *
 * Blocking: for the pool of threads, one call at a time.
 *
 * Owns:   the database's handle and the lock.
 * Never:  logs.
 */
#ifndef PORTSEAL_RELAY_RESULTS_DB_H
#define PORTSEAL_RELAY_RESULTS_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "portseal/buf.h"
#include "portseal/err.h"
#include "portseal/identity.h"
#include "portseal/receipt.h"

#define RESULTS_KEY_MAX 128 /* characters */

struct results_db;

struct results_db_config {
	const char *path; /* borrowed */
	uint64_t window_ms;
	uint64_t max_size; /* bytes of the database's file */
	unsigned slot, n_slots;
};

struct results_key {
	uint8_t client[IDENTITY_PIN_LEN];
	char service[64];
	char key[RESULTS_KEY_MAX + 1];
};

enum results_found {
	RESULTS_NEW,            /* it is the caller's to deliver */
	RESULTS_REPEAT_UNKNOWN, /* likewise; an earlier try may have reached the application */
	RESULTS_UNDER_WAY,      /* somebody is delivering it */
	RESULTS_DONE,           /* the record says what became of it */
};

struct results_record {
	unsigned status; /* 200 or 204 */
	struct receipt receipt;
	bool reply_kept; /* false: it was longer than is kept */
	struct buf reply;
};

/* PS_E_CONFIG: others may read the file, it is no such database, or another relay uses it. PS_E_IO, PS_E_LIMIT (full). */
enum ps_err results_db_open(const struct results_db_config *config, struct results_db **db, struct ps_cause *cause)
	PS_MUST_CHECK;
void results_db_close(struct results_db *db);

/* A batch happens whole or not at all; after a failure within it, call results_db_undo. `now_ms` is the wall clock's. */
enum ps_err results_db_begin(struct results_db *db, int64_t now_ms, struct ps_cause *cause) PS_MUST_CHECK;
enum ps_err results_db_commit(struct results_db *db, struct ps_cause *cause) PS_MUST_CHECK;
void results_db_undo(struct results_db *db);

/* *record is filled for RESULTS_DONE; its reply is the caller's. */
enum ps_err results_db_claim(struct results_db *db, const struct results_key *key, int64_t now_ms,
                             enum results_found *found, struct results_record *record, struct ps_cause *cause)
	PS_MUST_CHECK;
enum ps_err results_db_record(struct results_db *db, const struct results_key *key, const struct results_record *record,
                              int64_t now_ms, struct ps_cause *cause) PS_MUST_CHECK;
enum ps_err results_db_release(struct results_db *db, const struct results_key *key, struct ps_cause *cause)
	PS_MUST_CHECK;

#endif
