/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_sql.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "portseal/text.h"

/* What an operator can do about it. */
struct meaning {
	int code;
	enum ps_err err;
	const char *text;
};

static const struct meaning meanings[] = {
	{ SQLITE_FULL, PS_E_LIMIT, "no space is left on its disk" },
	{ SQLITE_READONLY, PS_E_CONFIG, "it cannot be written: is it, or its directory, read-only or another user's?" },
	{ SQLITE_CANTOPEN, PS_E_CONFIG, "it cannot be opened: may this user read and write it and its directory?" },
	{ SQLITE_PERM, PS_E_CONFIG, "this user may not read and write it" },
	{ SQLITE_CORRUPT, PS_E_CONFIG,
	  "it is damaged: move it away with its -wal file, and save what can be read by sqlite3's .recover" },
	{ SQLITE_NOTADB, PS_E_CONFIG, "it is no spool but some other file: name another path, or move it away" },
	{ SQLITE_BUSY, PS_E_AGAIN, "another process keeps it locked" },
	{ SQLITE_LOCKED, PS_E_AGAIN, "another process keeps it locked" },
	{ SQLITE_NOMEM, PS_E_NOMEM, "out of memory" },
};

/* The errno of the last failure at the database or its log: SQLite tells it for the file, not for the connection. */
static int number_of_system(sqlite3 *db)
{
	static const int which[] = { SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER };
	int number = 0;

	for (size_t i = 0; i < 2 && number == 0 && db != NULL; i++) {
		sqlite3_file *file = NULL;

		if (sqlite3_file_control(db, "main", which[i], &file) == SQLITE_OK && file != NULL && file->pMethods != NULL)
			(void)file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &number);
	}
	return number != 0 ? number : sqlite3_system_errno(db);
}

/* SQLite says "I/O error" where the system said more. */
static int code_of_system(int code, int number)
{
	if (code != SQLITE_IOERR && code != SQLITE_CANTOPEN)
		return code;
	if (number == ENOSPC || number == EDQUOT || number == EFBIG)
		return SQLITE_FULL;
	if (number == EROFS)
		return SQLITE_READONLY;
	return code;
}

enum ps_err spool_sql_fail(struct spool *spool, int code, const char *doing, struct ps_cause *cause)
{
	char path[TEXT_QUOTED_MAX];
	char detail[TEXT_QUOTED_MAX];
	const int number = number_of_system(spool->db);
	const int plain = code_of_system(code & 0xff, number);

	(void)text_escaped(path, spool->path);
	(void)text_escaped(detail, spool->db != NULL ? sqlite3_errmsg(spool->db) : sqlite3_errstr(code));
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].code == plain)
			return ps_cause_set(cause, meanings[i].err, "%s: %s: %s (%s)", path, doing, meanings[i].text, detail);
	if (plain == SQLITE_IOERR && number != 0)
		return ps_cause_errno(cause, PS_E_IO, number, "%s: %s: %s", path, doing, detail);
	return ps_cause_set(cause, PS_E_IO, "%s: %s: %s", path, doing, detail);
}

sqlite3_stmt *spool_sql(struct spool *spool, const char *text)
{
	struct spool_statement *at = spool->statements;

	while (at->text != NULL && at->text != text)
		at++;
	assert(at < spool->statements + SPOOL_SQL_MAX - 1);
	if (at->prepared == NULL &&
	    sqlite3_prepare_v3(spool->db, text, -1, SQLITE_PREPARE_PERSISTENT, &at->prepared, NULL) != SQLITE_OK)
		return NULL;
	at->text = text;
	(void)sqlite3_reset(at->prepared);
	return at->prepared;
}

enum ps_err spool_sql_row(struct spool *spool, sqlite3_stmt *statement, const char *doing, struct ps_cause *cause)
{
	if (statement == NULL)
		return spool_sql_fail(spool, sqlite3_extended_errcode(spool->db), doing, cause);
	const int code = sqlite3_step(statement);
	if (code == SQLITE_ROW)
		return PS_OK;
	/* What is reset holds no lock: a reader that forgot to would keep the log from being checkpointed. */
	if (code == SQLITE_DONE) {
		(void)sqlite3_reset(statement);
		return PS_E_CLOSED;
	}
	const enum ps_err err = spool_sql_fail(spool, code, doing, cause);
	(void)sqlite3_reset(statement);
	return err;
}

enum ps_err spool_sql_done(struct spool *spool, sqlite3_stmt *statement, const char *doing, struct ps_cause *cause)
{
	const enum ps_err err = spool_sql_row(spool, statement, doing, cause);

	assert(err != PS_OK);
	return err == PS_E_CLOSED ? PS_OK : err;
}

enum ps_err spool_sql_run(struct spool *spool, const char *text, const char *doing, struct ps_cause *cause)
{
	return spool_sql_done(spool, spool_sql(spool, text), doing, cause);
}

static void take_text(sqlite3_stmt *row, int column, char *out, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(row, column);

	(void)snprintf(out, size, "%s", text == NULL ? "" : text);
}

static uint64_t take_count(sqlite3_stmt *row, int column)
{
	const int64_t value = sqlite3_column_int64(row, column);

	return value < 0 ? 0 : (uint64_t)value;
}

void spool_sql_message(sqlite3_stmt *row, struct spool_message *message)
{
	const int state = sqlite3_column_int(row, 3);

	*message = (struct spool_message){
		.seq = sqlite3_column_int64(row, 0),
		.state = state == SPOOL_WAITING || state == SPOOL_UNDER_WAY ? (enum spool_state)state : SPOOL_DEAD,
		.len = take_count(row, 4),
		.kept_ms = sqlite3_column_int64(row, 5),
		.expires_ms = sqlite3_column_int64(row, 6),
		.since_ms = sqlite3_column_int64(row, 7),
		.due_ms = sqlite3_column_int64(row, 8),
		.attempts = take_count(row, 9),
		.uncertain = take_count(row, 10),
	};
	take_text(row, 1, message->id, sizeof(message->id));
	take_text(row, 2, message->service, sizeof(message->service));
	take_text(row, 11, message->reason, sizeof(message->reason));
	take_text(row, 12, message->detail, sizeof(message->detail));
}
