/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "portseal/file.h"
#include "portseal/text.h"
#include "spool/spool_sql.h"

#define APPLICATION_ID 0x5073536c /* "PsSl" */
#define VERSION 1
#define BUSY_MS 10000 /* the longest that another process' change is waited for */
#define WAL_TRIES 100 /* for the switch to WAL, of which the busy handler knows nothing */
#define WAL_WAIT_MS 20
#define STRINGIFY(x) #x
#define NUMBER(x) STRINGIFY(x)

/* None of them writes to a spool that is there: on a full disk it must still open. */
static const char *const settings[] = {
	"PRAGMA synchronous = FULL",   "PRAGMA foreign_keys = OFF", "PRAGMA trusted_schema = OFF",
	"PRAGMA cell_size_check = ON", "PRAGMA cache_size = -2000", "PRAGMA journal_size_limit = 4194304",
};

/* `totals` is kept by triggers, so that no way in or out can forget it. */
static const char schema[] =
	"CREATE TABLE message ("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" id TEXT NOT NULL UNIQUE,"
	" service TEXT NOT NULL,"
	" state INTEGER NOT NULL,"
	" len INTEGER NOT NULL,"
	" kept_ms INTEGER NOT NULL,"
	" expires_ms INTEGER NOT NULL,"
	" since_ms INTEGER NOT NULL,"
	" due_ms INTEGER NOT NULL,"
	" attempts INTEGER NOT NULL DEFAULT 0,"
	" uncertain INTEGER NOT NULL DEFAULT 0,"
	" reason TEXT,"
	" detail TEXT) STRICT;"
	"CREATE INDEX message_due ON message (state, service, due_ms, seq);"
	"CREATE INDEX message_order ON message (service, seq) WHERE state < 2;"
	"CREATE INDEX message_expiry ON message (expires_ms) WHERE state = 0;"
	"CREATE TABLE part ("
	" message INTEGER NOT NULL,"
	" n INTEGER NOT NULL,"
	" bytes BLOB NOT NULL,"
	" UNIQUE (message, n)) STRICT;"
	"CREATE TABLE totals ("
	" one INTEGER PRIMARY KEY CHECK (one = 1),"
	" messages INTEGER NOT NULL, bytes INTEGER NOT NULL, kept INTEGER NOT NULL, delivered INTEGER NOT NULL,"
	" died INTEGER NOT NULL, dropped INTEGER NOT NULL, uncertain INTEGER NOT NULL) STRICT;"
	"INSERT INTO totals VALUES (1, 0, 0, 0, 0, 0, 0, 0);"
	"CREATE TRIGGER message_in AFTER INSERT ON message BEGIN"
	" UPDATE totals SET messages = messages + 1, bytes = bytes + new.len, kept = kept + 1;"
	"END;"
	"CREATE TRIGGER message_out AFTER DELETE ON message BEGIN"
	" DELETE FROM part WHERE message = old.seq;"
	" UPDATE totals SET messages = messages - 1, bytes = bytes - old.len;"
	"END;"
	"CREATE TRIGGER message_dies AFTER UPDATE OF state ON message WHEN new.state = 2 AND old.state <> 2 BEGIN"
	" UPDATE totals SET died = died + 1;"
	"END;"
	"CREATE TRIGGER message_uncertain AFTER UPDATE OF uncertain ON message BEGIN"
	" UPDATE totals SET uncertain = uncertain + new.uncertain - old.uncertain;"
	"END;"
	"PRAGMA application_id = " NUMBER(APPLICATION_ID) ";"
													  "PRAGMA user_version = " NUMBER(VERSION) ";";

/* One number of a PRAGMA; -1 with *err set. */
static int64_t ask_number(struct spool *spool, const char *pragma, enum ps_err *err, struct ps_cause *cause)
{
	sqlite3_stmt *statement = NULL;
	int64_t value = -1;
	int code = sqlite3_prepare_v2(spool->db, pragma, -1, &statement, NULL);

	if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW)
		value = sqlite3_column_int64(statement, 0);
	if (code != SQLITE_ROW && *err == PS_OK)
		*err = spool_sql_fail(spool, code, "cannot be read", cause);
	(void)sqlite3_finalize(statement);
	return value;
}

static enum ps_err execute(struct spool *spool, const char *text, struct ps_cause *cause)
{
	const int code = sqlite3_exec(spool->db, text, NULL, NULL, NULL);

	return code == SQLITE_OK ? PS_OK : spool_sql_fail(spool, code, "cannot be opened", cause);
}

static bool has_tables(struct spool *spool, enum ps_err *err, struct ps_cause *cause)
{
	return ask_number(spool, "PRAGMA application_id", err, cause) == APPLICATION_ID &&
	       ask_number(spool, "PRAGMA user_version", err, cause) == VERSION;
}

/* Whoever comes first makes the tables; whoever waited behind it finds them. */
static enum ps_err make_tables(struct spool *spool, struct ps_cause *cause)
{
	char path[TEXT_QUOTED_MAX];
	enum ps_err err = PS_OK;

	if (has_tables(spool, &err, cause) || err != PS_OK)
		return err;
	err = execute(spool, "BEGIN IMMEDIATE", cause);
	if (err != PS_OK)
		return err;
	const int64_t version = ask_number(spool, "PRAGMA user_version", &err, cause);
	const int64_t application = ask_number(spool, "PRAGMA application_id", &err, cause);
	const int64_t tables = ask_number(spool, "SELECT count(*) FROM sqlite_schema", &err, cause);

	if (err == PS_OK && application == 0 && version == 0 && tables == 0)
		err = execute(spool, schema, cause);
	else if (err == PS_OK && application != APPLICATION_ID)
		err = ps_cause_set(cause, PS_E_CONFIG, "%s: it is a database, but not a spool: name another path",
		                   text_escaped(path, spool->path));
	else if (err == PS_OK && version != VERSION)
		err = ps_cause_set(cause, PS_E_CONFIG,
		                   "%s: its format is %lld and this program knows %d: another version made it",
		                   text_escaped(path, spool->path), (long long)version, VERSION);
	if (err == PS_OK)
		err = execute(spool, "COMMIT", cause);
	if (err != PS_OK)
		spool_rollback(spool);
	return err;
}

/* Two processes that meet at a new file may find it locked here, without being made to wait. */
static enum ps_err switch_to_wal(struct spool *spool, struct ps_cause *cause)
{
	int code = SQLITE_BUSY;

	for (int i = 0; i < WAL_TRIES && (code & 0xff) == SQLITE_BUSY; i++) {
		if (i > 0)
			(void)poll(NULL, 0, WAL_WAIT_MS);
		code = sqlite3_exec(spool->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
	}
	return code == SQLITE_OK ? PS_OK : spool_sql_fail(spool, code, "cannot be opened", cause);
}

static enum ps_err connect_to(struct spool *spool, struct ps_cause *cause)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	const int code = sqlite3_open_v2(spool->path, &spool->db, flags, NULL);
	enum ps_err err = code == SQLITE_OK ? PS_OK : spool_sql_fail(spool, code, "cannot be opened", cause);

	if (err != PS_OK)
		return err;
	(void)sqlite3_busy_timeout(spool->db, BUSY_MS);
	/* The log stays when the last process closes it: on a full disk none could be made, and nothing be dropped. */
	int persist = 1;
	(void)sqlite3_file_control(spool->db, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
	/* It takes effect before the first page is written, and would write to any later one. */
	if (err == PS_OK && ask_number(spool, "PRAGMA page_count", &err, cause) == 0)
		err = execute(spool, "PRAGMA auto_vacuum = INCREMENTAL", cause);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]) && err == PS_OK; i++)
		err = execute(spool, settings[i], cause);
	if (err == PS_OK && sqlite3_db_readonly(spool->db, "main") == 1)
		err = spool_sql_fail(spool, SQLITE_READONLY, "cannot be opened", cause);
	if (err == PS_OK)
		err = switch_to_wal(spool, cause);
	if (err == PS_OK)
		err = make_tables(spool, cause);
	return err;
}

/* A file that SQLite made would have the umask's mode. */
static enum ps_err make_file(const char *path, struct ps_cause *cause)
{
	const enum ps_err err = file_write(path, "", 0, 0600, FILE_KEEP_EXISTING, cause);

	return err == PS_E_CONFIG ? PS_OK : err; /* there is one already */
}

static enum ps_err check_file(const char *path, struct ps_cause *cause)
{
	char escaped[TEXT_QUOTED_MAX];
	struct stat status;
	enum ps_err err;

	if (stat(path, &status) != 0)
		return ps_cause_errno(cause, errno == ENOENT ? PS_E_CLOSED : PS_E_CONFIG, errno, "%s",
		                      text_escaped(escaped, path));
	if (!S_ISREG(status.st_mode))
		return ps_cause_set(cause, PS_E_CONFIG, "%s: is no regular file: name another path",
		                    text_escaped(escaped, path));
	err = file_check_place(path, cause);
	return err == PS_OK ? file_check_private(path, cause) : err;
}

enum ps_err spool_open_existing(const char *path, struct spool **spool, struct ps_cause *cause)
{
	struct spool *fresh = NULL;
	enum ps_err err = check_file(path, cause);

	if (err != PS_OK)
		return err;
	fresh = calloc(1, sizeof(*fresh));
	if (fresh == NULL || (fresh->path = strdup(path)) == NULL) {
		free(fresh);
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	}
	err = connect_to(fresh, cause);
	if (err != PS_OK) {
		spool_close(fresh);
		return err;
	}
	*spool = fresh;
	return PS_OK;
}

enum ps_err spool_open(const char *path, struct spool **spool, struct ps_cause *cause)
{
	char escaped[TEXT_QUOTED_MAX];
	struct stat status;

	if (stat(path, &status) != 0 && errno == ENOENT) {
		enum ps_err err = file_check_place(path, cause);

		if (err != PS_OK)
			return err;
		err = make_file(path, cause);
		const int number = errno;

		if (err == PS_E_IO && (number == ENOSPC || number == EDQUOT))
			return ps_cause_errno(cause, PS_E_LIMIT, number, "%s", text_escaped(escaped, path));
		if (err != PS_OK)
			return err == PS_E_IO ? PS_E_CONFIG : err;
	}
	return spool_open_existing(path, spool, cause);
}

void spool_close(struct spool *spool)
{
	if (spool == NULL)
		return;
	for (struct spool_statement *at = spool->statements; at->text != NULL; at++)
		(void)sqlite3_finalize(at->prepared);
	/* With a limit, the last to close would cut the log to nothing: it is to stay as room for the next change. */
	if (spool->db != NULL)
		(void)sqlite3_exec(spool->db, "PRAGMA journal_size_limit = -1", NULL, NULL, NULL);
	(void)sqlite3_close(spool->db);
	free(spool->path);
	free(spool);
}

void spool_set_patience(struct spool *spool, int ms)
{
	(void)sqlite3_busy_timeout(spool->db, ms);
}

const char *spool_path(const struct spool *spool)
{
	return spool->path;
}

enum ps_err spool_check(struct spool *spool, struct ps_cause *cause)
{
	static const char ask[] = "PRAGMA quick_check(1)";
	char path[TEXT_QUOTED_MAX];
	char found[TEXT_QUOTED_MAX];
	sqlite3_stmt *statement = spool_sql(spool, ask);
	enum ps_err err = spool_sql_row(spool, statement, "cannot be checked", cause);

	if (err != PS_OK)
		return err == PS_E_CLOSED ? PS_OK : err;
	const char *text = (const char *)sqlite3_column_text(statement, 0);
	if (text == NULL || strcmp(text, "ok") != 0)
		err = ps_cause_set(
			cause, PS_E_CONFIG,
			"%s: it is damaged: move it away with its -wal file, and save what can be read by sqlite3's .recover (%s)",
			text_escaped(path, spool->path), text_escaped(found, text == NULL ? "" : text));
	(void)sqlite3_reset(statement);
	return err;
}

enum ps_err spool_begin(struct spool *spool, struct ps_cause *cause)
{
	return spool_sql_run(spool, "BEGIN IMMEDIATE", "cannot be changed", cause);
}

enum ps_err spool_commit(struct spool *spool, struct ps_cause *cause)
{
	const enum ps_err err = spool_sql_run(spool, "COMMIT", "cannot be written", cause);

	if (err != PS_OK)
		spool_rollback(spool);
	return err;
}

void spool_rollback(struct spool *spool)
{
	/* Some failures have rolled back by themselves. */
	if (sqlite3_get_autocommit(spool->db) == 0)
		(void)sqlite3_exec(spool->db, "ROLLBACK", NULL, NULL, NULL);
}

enum ps_err spool_totals(struct spool *spool, struct spool_totals *totals, struct ps_cause *cause)
{
	static const char ask[] = "SELECT messages, bytes, kept, delivered, died, dropped, uncertain FROM totals";
	sqlite3_stmt *row = spool_sql(spool, ask);
	const enum ps_err err = spool_sql_row(spool, row, "cannot be read", cause);
	uint64_t *const fields[] = { &totals->messages, &totals->bytes,   &totals->kept,     &totals->delivered,
		                         &totals->died,     &totals->dropped, &totals->uncertain };

	if (err != PS_OK)
		return err == PS_E_CLOSED ? spool_sql_fail(spool, SQLITE_CORRUPT, "cannot be read", cause) : err;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		*fields[i] = (uint64_t)sqlite3_column_int64(row, (int)i);
	(void)sqlite3_reset(row);
	return PS_OK;
}

enum ps_err spool_read(struct spool *spool, int64_t seq, uint64_t offset, void *out, size_t cap, size_t *n,
                       struct ps_cause *cause)
{
	static const char ask[] = "SELECT bytes FROM part WHERE message = ? AND n = ?";
	sqlite3_stmt *row = spool_sql(spool, ask);

	if (row != NULL) {
		(void)sqlite3_bind_int64(row, 1, seq);
		(void)sqlite3_bind_int64(row, 2, (int64_t)(offset / SPOOL_PART));
	}
	const enum ps_err err = spool_sql_row(spool, row, "cannot be read", cause);
	if (err != PS_OK) {
		*n = 0;
		return err == PS_E_CLOSED ? PS_OK : err;
	}
	const char *bytes = sqlite3_column_blob(row, 0);
	const size_t len = bytes == NULL ? 0 : (size_t)sqlite3_column_bytes(row, 0);
	const size_t at = (size_t)(offset % SPOOL_PART);
	const size_t left = at < len ? len - at : 0;

	*n = left < cap ? left : cap;
	if (*n > 0)
		memcpy(out, bytes + at, *n);
	(void)sqlite3_reset(row);
	return PS_OK;
}
