/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_take.h"

#include <stdio.h>
#include <string.h>

#include "spool/spool_sql.h"

#define READING "cannot be read"
#define WRITING "cannot be changed"
#define SHRINK_FROM 1024 /* free pages: fewer are soon used again */

enum ps_err spool_reclaim(struct spool *spool, int64_t now_ms, uint64_t *n, struct ps_cause *cause)
{
	static const char update[] =
		"UPDATE message SET state = 0, since_ms = ?1, due_ms = ?1, uncertain = uncertain + 1, reason = 'interrupted',"
		" detail = 'the sender ended while it was under way' WHERE state = 1";
	sqlite3_stmt *row = spool_sql(spool, update);

	if (row != NULL)
		(void)sqlite3_bind_int64(row, 1, now_ms);
	const enum ps_err err = spool_sql_done(spool, row, WRITING, cause);
	if (err == PS_OK)
		*n = (uint64_t)sqlite3_changes64(spool->db);
	return err;
}

enum ps_err spool_next_service(struct spool *spool, char service[static SPOOL_SERVICE_SIZE], struct ps_cause *cause)
{
	/* One step in the index each, however many messages there are. */
	static const char ask[] = "SELECT service FROM message WHERE state = 0 AND service > ? ORDER BY service LIMIT 1";
	sqlite3_stmt *row = spool_sql(spool, ask);

	if (row != NULL)
		(void)sqlite3_bind_text(row, 1, service, -1, SQLITE_TRANSIENT);
	const enum ps_err err = spool_sql_row(spool, row, READING, cause);
	if (err != PS_OK)
		return err;
	const char *found = (const char *)sqlite3_column_text(row, 0);
	const size_t len = (size_t)sqlite3_column_bytes(row, 0);
	/* What does not fit would be cut, and what is cut stands before itself: it would be found again for ever. */
	const bool fits = found != NULL && len < SPOOL_SERVICE_SIZE && strlen(found) == len;
	if (fits)
		memcpy(service, found, len + 1);
	(void)sqlite3_reset(row);
	return fits ? PS_OK : spool_sql_fail(spool, SQLITE_CORRUPT, READING, cause);
}

enum ps_err spool_mend_clock(struct spool *spool, int64_t now_ms, struct ps_cause *cause)
{
	static const char update[] = "UPDATE message SET since_ms = ?1, due_ms = ?1 WHERE state = 0 AND since_ms > ?1";
	sqlite3_stmt *row = spool_sql(spool, update);

	if (row != NULL)
		(void)sqlite3_bind_int64(row, 1, now_ms);
	return spool_sql_done(spool, row, WRITING, cause);
}

static enum ps_err mark_under_way(struct spool *spool, int64_t seq, struct ps_cause *cause)
{
	static const char update[] = "UPDATE message SET state = 1, attempts = attempts + 1 WHERE seq = ?";
	sqlite3_stmt *row = spool_sql(spool, update);

	if (row != NULL)
		(void)sqlite3_bind_int64(row, 1, seq);
	return spool_sql_done(spool, row, WRITING, cause);
}

enum ps_err spool_claim(struct spool *spool, struct spool_claim *claim, struct spool_message *message,
                        struct ps_cause *cause)
{
	static const char any[] = "SELECT " SPOOL_SQL_COLUMNS " FROM message"
							  " WHERE state = 0 AND service = ?1 ORDER BY due_ms, seq LIMIT 1";
	static const char oldest[] = "SELECT " SPOOL_SQL_COLUMNS " FROM message"
								 " WHERE service = ?1 AND state < 2 ORDER BY seq LIMIT 1";
	sqlite3_stmt *row = spool_sql(spool, claim->ordered ? oldest : any);
	struct spool_message found;

	claim->due_ms = INT64_MAX;
	if (row != NULL)
		(void)sqlite3_bind_text(row, 1, claim->service, -1, SQLITE_STATIC);
	enum ps_err err = spool_sql_row(spool, row, READING, cause);
	if (err != PS_OK)
		return err;
	spool_sql_message(row, &found);
	(void)sqlite3_reset(row);
	if (found.state == SPOOL_WAITING && found.due_ms > claim->now_ms)
		claim->due_ms = found.due_ms;
	if (found.state != SPOOL_WAITING || found.due_ms > claim->now_ms)
		return PS_E_CLOSED;
	err = mark_under_way(spool, found.seq, cause);
	if (err != PS_OK)
		return err;
	found.state = SPOOL_UNDER_WAY;
	found.attempts++;
	*message = found;
	return PS_OK;
}

enum ps_err spool_settle_delivered(struct spool *spool, int64_t seq, struct ps_cause *cause)
{
	static const char delete[] = "DELETE FROM message WHERE seq = ?";
	static const char count[] = "UPDATE totals SET delivered = delivered + 1";
	sqlite3_stmt *row = spool_sql(spool, delete);

	if (row != NULL)
		(void)sqlite3_bind_int64(row, 1, seq);
	const enum ps_err err = spool_sql_done(spool, row, WRITING, cause);
	return err == PS_OK ? spool_sql_run(spool, count, WRITING, cause) : err;
}

enum ps_err spool_settle_failed(struct spool *spool, int64_t seq, const struct spool_failure *failure,
                                struct ps_cause *cause)
{
	static const char update[] = "UPDATE message SET state = ?2, since_ms = ?3, due_ms = ?4, reason = ?5, detail = ?6,"
								 " uncertain = uncertain + ?7, attempts = attempts - ?8 WHERE seq = ?1";
	sqlite3_stmt *row = spool_sql(spool, update);

	if (row != NULL) {
		(void)sqlite3_bind_int64(row, 1, seq);
		(void)sqlite3_bind_int(row, 2, failure->dead ? SPOOL_DEAD : SPOOL_WAITING);
		(void)sqlite3_bind_int64(row, 3, failure->now_ms);
		(void)sqlite3_bind_int64(row, 4, failure->due_ms);
		(void)sqlite3_bind_text(row, 5, failure->reason, -1, SQLITE_TRANSIENT);
		(void)sqlite3_bind_text(row, 6, failure->detail, -1, SQLITE_TRANSIENT);
		(void)sqlite3_bind_int(row, 7, failure->uncertain ? 1 : 0);
		(void)sqlite3_bind_int(row, 8, failure->unsent ? 1 : 0);
	}
	return spool_sql_done(spool, row, WRITING, cause);
}

enum ps_err spool_expire(struct spool *spool, int64_t now_ms, struct spool_message *message, struct ps_cause *cause)
{
	static const char ask[] = "SELECT " SPOOL_SQL_COLUMNS " FROM message WHERE state = 0 AND expires_ms <= ? LIMIT 1";
	static const char update[] = "UPDATE message SET state = 2, reason = 'expired', detail = ?2 WHERE seq = ?1";
	sqlite3_stmt *row = spool_sql(spool, ask);
	struct spool_message found;

	if (row != NULL)
		(void)sqlite3_bind_int64(row, 1, now_ms);
	enum ps_err err = spool_sql_row(spool, row, READING, cause);
	if (err != PS_OK)
		return err;
	spool_sql_message(row, &found);
	(void)sqlite3_reset(row);
	char last[SPOOL_REASON_SIZE + SPOOL_DETAIL_SIZE + sizeof(": ")];
	if (found.reason[0] == '\0')
		(void)snprintf(last, sizeof(last), "never tried");
	else
		(void)snprintf(last, sizeof(last), "%s: %s", found.reason, found.detail);
	row = spool_sql(spool, update);
	if (row != NULL) {
		(void)sqlite3_bind_int64(row, 1, found.seq);
		(void)sqlite3_bind_text(row, 2, last, -1, SQLITE_TRANSIENT);
	}
	err = spool_sql_done(spool, row, WRITING, cause);
	if (err == PS_OK)
		*message = found;
	return err;
}

enum ps_err spool_shrink(struct spool *spool, struct ps_cause *cause)
{
	static const char ask[] = "PRAGMA freelist_count";
	sqlite3_stmt *row = spool_sql(spool, ask);
	const enum ps_err err = spool_sql_row(spool, row, READING, cause);

	if (err != PS_OK)
		return err;
	const int n = sqlite3_column_int(row, 0);
	(void)sqlite3_reset(row);
	if (n < SHRINK_FROM)
		return PS_OK;
	/* Each step frees a page; sqlite3_exec goes through them all. */
	const int code = sqlite3_exec(spool->db, "PRAGMA incremental_vacuum(4096)", NULL, NULL, NULL);

	return code == SQLITE_OK ? PS_OK : spool_sql_fail(spool, code, WRITING, cause);
}
