/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_queue.h"

#include <string.h>

#include "spool/spool_sql.h"

#define READING "cannot be read"
#define WRITING "cannot be changed"

enum ps_err spool_walk(struct spool *spool, int64_t seq, struct spool_message *message, struct ps_cause *cause)
{
	static const char ask[] = "SELECT " SPOOL_SQL_COLUMNS " FROM message WHERE seq > ? ORDER BY seq LIMIT 1";
	sqlite3_stmt *row = spool_sql(spool, ask);

	if (row != NULL)
		(void)sqlite3_bind_int64(row, 1, seq);
	const enum ps_err err = spool_sql_row(spool, row, READING, cause);
	if (err != PS_OK)
		return err;
	spool_sql_message(row, message);
	(void)sqlite3_reset(row);
	return PS_OK;
}

/* The first of at most two rows; PS_E_LIMIT when there is a second. */
static enum ps_err find_one(struct spool *spool, const char *query, const char *id, struct spool_message *message,
                            struct ps_cause *cause)
{
	sqlite3_stmt *row = spool_sql(spool, query);
	struct spool_message found;

	if (row != NULL)
		(void)sqlite3_bind_text(row, 1, id, -1, SQLITE_TRANSIENT);
	enum ps_err err = spool_sql_row(spool, row, READING, cause);
	if (err != PS_OK)
		return err;
	spool_sql_message(row, &found);
	err = spool_sql_row(spool, row, READING, cause);
	if (err == PS_OK) {
		(void)sqlite3_reset(row);
		return PS_E_LIMIT;
	}
	if (err != PS_E_CLOSED)
		return err;
	*message = found;
	return PS_OK;
}

enum ps_err spool_find(struct spool *spool, const char *id, struct spool_message *message, struct ps_cause *cause)
{
	static const char whole[] = "SELECT " SPOOL_SQL_COLUMNS " FROM message WHERE id = ?1";
	static const char beginning[] =
		"SELECT " SPOOL_SQL_COLUMNS " FROM message WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 2";

	if (id[0] == '\0')
		return PS_E_CLOSED;
	return find_one(spool, strlen(id) == SPOOL_ID_SIZE - 1 ? whole : beginning, id, message, cause);
}

static enum ps_err changed(struct spool *spool, sqlite3_stmt *row, uint64_t *n, struct ps_cause *cause)
{
	const enum ps_err err = spool_sql_done(spool, row, WRITING, cause);

	if (err == PS_OK)
		*n = (uint64_t)sqlite3_changes64(spool->db);
	return err;
}

static enum ps_err changed_one(struct spool *spool, sqlite3_stmt *row, struct ps_cause *cause)
{
	uint64_t n = 0;
	const enum ps_err err = changed(spool, row, &n, cause);

	return err == PS_OK && n == 0 ? PS_E_CLOSED : err;
}

#define REVIVE \
	"UPDATE message SET since_ms = ?1, due_ms = ?1, expires_ms = CASE state WHEN 2 THEN ?2 ELSE expires_ms END, state = 0" \
	" WHERE state <> 1"

static void bind_retry(sqlite3_stmt *row, const struct spool_retry *retry)
{
	if (row == NULL)
		return;
	(void)sqlite3_bind_int64(row, 1, retry->now_ms);
	(void)sqlite3_bind_int64(row, 2, retry->ttl_ms == 0 ? INT64_MAX : retry->now_ms + (int64_t)retry->ttl_ms);
}

enum ps_err spool_retry(struct spool *spool, int64_t seq, const struct spool_retry *retry, struct ps_cause *cause)
{
	static const char update[] = REVIVE " AND seq = ?3";
	sqlite3_stmt *row = spool_sql(spool, update);

	bind_retry(row, retry);
	if (row != NULL)
		(void)sqlite3_bind_int64(row, 3, seq);
	return changed_one(spool, row, cause);
}

enum ps_err spool_retry_all(struct spool *spool, const struct spool_retry *retry, uint64_t *n, struct ps_cause *cause)
{
	static const char update[] = REVIVE;
	sqlite3_stmt *row = spool_sql(spool, update);

	bind_retry(row, retry);
	return changed(spool, row, n, cause);
}

/* In one transaction: the message, and that it was dropped. */
static enum ps_err drop(struct spool *spool, sqlite3_stmt *row, uint64_t *n, struct ps_cause *cause)
{
	static const char count[] = "UPDATE totals SET dropped = dropped + ?";
	enum ps_err err = spool_begin(spool, cause);

	if (err != PS_OK)
		return err;
	err = changed(spool, row, n, cause);
	if (err == PS_OK) {
		sqlite3_stmt *counting = spool_sql(spool, count);

		if (counting != NULL)
			(void)sqlite3_bind_int64(counting, 1, (int64_t)*n);
		err = spool_sql_done(spool, counting, WRITING, cause);
	}
	if (err == PS_OK)
		err = spool_commit(spool, cause);
	if (err != PS_OK)
		spool_rollback(spool);
	return err;
}

enum ps_err spool_drop(struct spool *spool, int64_t seq, bool served, struct ps_cause *cause)
{
	static const char delete[] = "DELETE FROM message WHERE seq = ?1 AND (state <> 1 OR ?2 = 0)";
	sqlite3_stmt *row = spool_sql(spool, delete);
	uint64_t n = 0;

	if (row != NULL) {
		(void)sqlite3_bind_int64(row, 1, seq);
		(void)sqlite3_bind_int(row, 2, served ? 1 : 0);
	}
	const enum ps_err err = drop(spool, row, &n, cause);
	return err == PS_OK && n == 0 ? PS_E_CLOSED : err;
}

enum ps_err spool_drop_dead(struct spool *spool, uint64_t *n, struct ps_cause *cause)
{
	static const char delete[] = "DELETE FROM message WHERE state = 2";

	return drop(spool, spool_sql(spool, delete), n, cause);
}
