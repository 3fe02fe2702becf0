/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool_sql -- the inside of struct spool: its statements, and what SQLite's codes mean. SQLite is called by the spool's
 * own files only.
 */
#ifndef PORTSEAL_SENDER_SPOOL_SPOOL_SQL_H
#define PORTSEAL_SENDER_SPOOL_SPOOL_SQL_H

#include <sqlite3.h>
#include <stdint.h>

#include "spool/spool.h"

#define SPOOL_SQL_MAX 40 /* statements prepared at most */

/* A statement's text lies in a constant, whose address names it. */
struct spool_statement {
	const char *text;
	sqlite3_stmt *prepared;
};

struct spool {
	sqlite3 *db;
	char *path;
	struct spool_statement statements[SPOOL_SQL_MAX];
};

/* Turns SQLite's result into ours; the cause is "spool.db: DOING: why, and what helps". */
enum ps_err spool_sql_fail(struct spool *spool, int code, const char *doing, struct ps_cause *cause);

/* A reset statement, prepared at its first use; NULL with the error in the connection. `text` is a string constant. */
sqlite3_stmt *spool_sql(struct spool *spool, const char *text);

/* Runs a statement without parameters or rows. */
enum ps_err spool_sql_run(struct spool *spool, const char *text, const char *doing, struct ps_cause *cause)
	PS_MUST_CHECK;

/* Steps a statement that has no rows, its parameters being bound; a NULL statement fails. */
enum ps_err spool_sql_done(struct spool *spool, sqlite3_stmt *statement, const char *doing, struct ps_cause *cause)
	PS_MUST_CHECK;

/* Steps to the next row: PS_E_CLOSED behind the last. */
enum ps_err spool_sql_row(struct spool *spool, sqlite3_stmt *statement, const char *doing, struct ps_cause *cause)
	PS_MUST_CHECK;

/* The columns of a message in the order in which spool_sql_message takes them. */
#define SPOOL_SQL_COLUMNS \
	"seq, id, service, state, len, kept_ms, expires_ms, since_ms, due_ms, attempts, uncertain, reason, detail"
void spool_sql_message(sqlite3_stmt *row, struct spool_message *message);

#endif
