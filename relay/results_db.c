/* SPDX-License-Identifier: Apache-2.0 */
#include "results_db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "portseal/file.h"

#define APPLICATION_ID 0x50534d52 /* "PSMR" */
#define SCHEMA_VERSION 1
#define PAGE_SIZE 4096
#define PAGES_MIN 16
#define BUSY_MS 2000
#define BUSY_NAP_MS 5
#define SET_UP_BYTE (1 << 20) /* of PATH.lock, behind those of the slots: whoever holds it sets the database up */
#define PURGED_PER_BATCH 128
#define PATH_LEN_MAX 1024

enum state { STATE_UNDER_WAY = 1, STATE_DONE = 2, STATE_UNKNOWN = 3 };

enum statement { FIND, INSERT, TAKE_OVER, RECORD, RELEASE, PURGE, N_STATEMENTS };

static const char *const schema = "CREATE TABLE IF NOT EXISTS result("
								  " client BLOB NOT NULL, service TEXT NOT NULL, key TEXT NOT NULL,"
								  " state INTEGER NOT NULL, owner INTEGER NOT NULL, expires INTEGER NOT NULL,"
								  " status INTEGER, receipt TEXT, sha256 BLOB, time INTEGER, reply BLOB,"
								  " PRIMARY KEY(client, service, key));"
								  "CREATE INDEX IF NOT EXISTS result_expires ON result(expires);";

static const char *const statements[N_STATEMENTS] = {
	[FIND] = "SELECT state, expires, status, receipt, sha256, time, reply FROM result"
			 " WHERE client = ?1 AND service = ?2 AND key = ?3",
	[INSERT] = "INSERT INTO result(client, service, key, state, owner, expires) VALUES(?1, ?2, ?3, 1, ?4, ?5)",
	[TAKE_OVER] =
		"UPDATE result SET state = 1, owner = ?4, expires = ?5 WHERE client = ?1 AND service = ?2 AND key = ?3",
	[RECORD] =
		"UPDATE result SET state = 2, expires = ?4, status = ?5, receipt = ?6, sha256 = ?7, time = ?8, reply = ?9"
		" WHERE client = ?1 AND service = ?2 AND key = ?3",
	[RELEASE] = "DELETE FROM result WHERE client = ?1 AND service = ?2 AND key = ?3 AND state = 1",
	[PURGE] = "DELETE FROM result WHERE rowid IN"
			  " (SELECT rowid FROM result WHERE expires <= ?1 AND (state <> 1 OR owner = ?2) LIMIT ?3)",
};

struct results_db {
	struct results_db_config config;
	char path[PATH_LEN_MAX];
	int lock_fd;
	sqlite3 *sqlite;
	sqlite3_stmt *prepared[N_STATEMENTS];
};

static enum ps_err fail(const struct results_db *db, int code, struct ps_cause *cause)
{
	const int primary = code & 0xff;
	const bool told = db->sqlite != NULL && (sqlite3_errcode(db->sqlite) & 0xff) == primary;
	const char *why = told ? sqlite3_errmsg(db->sqlite) : sqlite3_errstr(code);

	if (primary == SQLITE_FULL)
		return ps_cause_set(cause, PS_E_LIMIT, "%s: full: the disk is, or it has reached messages.max_size", db->path);
	if (primary == SQLITE_NOTADB || primary == SQLITE_CORRUPT)
		return ps_cause_set(cause, PS_E_IO, "%s: damaged, or no database of results: move it away (%s)", db->path, why);
	if (primary == SQLITE_NOMEM)
		return ps_cause_set(cause, PS_E_NOMEM, "%s: out of memory", db->path);
	return ps_cause_set(cause, PS_E_IO, "%s: %s", db->path, why);
}

static int set_lock(const struct results_db *db, short type, off_t at)
{
	struct flock byte = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

	return fcntl(db->lock_fd, F_OFD_SETLK, &byte);
}

/* Held as long as the process lives: no other may believe that what is under way here was left behind. */
static enum ps_err take_lock(struct results_db *db, struct ps_cause *cause)
{
	char path[PATH_LEN_MAX + sizeof(".lock")];

	(void)snprintf(path, sizeof(path), "%s.lock", db->path);
	db->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (db->lock_fd < 0)
		return ps_cause_errno(cause, PS_E_IO, errno, "%s", path);
	if (set_lock(db, F_WRLCK, (off_t)db->config.slot) == 0)
		return PS_OK;
	if (errno == EAGAIN || errno == EACCES)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: in use by another relay: each needs one of its own", db->path);
	return ps_cause_errno(cause, PS_E_IO, errno, "%s", path);
}

/* SQLite would make it readable for others, as the umask allows; its side files take the mode over. */
static enum ps_err make_private(struct results_db *db, struct ps_cause *cause)
{
	const enum ps_err err = file_check_place(db->path, cause);
	int fd;

	if (err != PS_OK)
		return err;
	fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return ps_cause_errno(cause, PS_E_IO, errno, "%s", db->path);
	close(fd);
	return file_check_private(db->path, cause);
}

static enum ps_err run(struct results_db *db, const char *sql, struct ps_cause *cause)
{
	const int code = sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? PS_OK : fail(db, code, cause);
}

static enum ps_err read_number(struct results_db *db, const char *sql, sqlite3_int64 *number, struct ps_cause *cause)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(db->sqlite, sql, -1, &statement, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code == SQLITE_ROW)
		*number = sqlite3_column_int64(statement, 0);
	(void)sqlite3_finalize(statement);
	return code == SQLITE_ROW ? PS_OK : fail(db, code, cause);
}

static enum ps_err set_up(struct results_db *db, struct ps_cause *cause)
{
	char sql[256];
	sqlite3_int64 id = 0;
	sqlite3_int64 version = 0;
	uint64_t pages = db->config.max_size / PAGE_SIZE;
	enum ps_err err;

	(void)snprintf(sql, sizeof(sql),
	               "PRAGMA page_size = %d; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
	               "PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 4194304; PRAGMA max_page_count = %llu;",
	               PAGE_SIZE, (unsigned long long)(pages < PAGES_MIN ? PAGES_MIN : pages));
	err = run(db, sql, cause);
	if (err == PS_OK)
		err = read_number(db, "PRAGMA application_id", &id, cause);
	if (err == PS_OK)
		err = read_number(db, "PRAGMA user_version", &version, cause);
	if (err != PS_OK)
		return err;
	if ((id != 0 && id != APPLICATION_ID) || version > SCHEMA_VERSION)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: is another program's database, or a later version's", db->path);
	(void)snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION_ID,
	               SCHEMA_VERSION);
	err = run(db, "BEGIN IMMEDIATE", cause);
	if (err == PS_OK)
		err = run(db, schema, cause);
	if (err == PS_OK && id == 0)
		err = run(db, sql, cause);
	if (err == PS_OK) {
		(void)snprintf(sql, sizeof(sql), "UPDATE result SET state = 3 WHERE state = 1 AND (owner = %u OR owner >= %u)",
		               db->config.slot, db->config.n_slots);
		err = run(db, sql, cause);
	}
	if (err == PS_OK)
		err = run(db, "COMMIT", cause);
	return err;
}

/* TRAP: two that make WAL of a new file at once do not wait for each other, whatever the busy timeout says: one fails. The
 * workers of a relay begin at once. */
static enum ps_err set_up_alone(struct results_db *db, struct ps_cause *cause)
{
	const struct timespec nap = { .tv_nsec = BUSY_NAP_MS * 1000000 };
	enum ps_err err;

	for (int waited_ms = 0; set_lock(db, F_WRLCK, SET_UP_BYTE) != 0; waited_ms += BUSY_NAP_MS) {
		if ((errno != EAGAIN && errno != EACCES) || waited_ms >= BUSY_MS)
			return ps_cause_errno(cause, PS_E_IO, errno, "%s.lock", db->path);
		(void)nanosleep(&nap, NULL);
	}
	err = set_up(db, cause);
	(void)set_lock(db, F_UNLCK, SET_UP_BYTE);
	return err;
}

static enum ps_err prepare(struct results_db *db, struct ps_cause *cause)
{
	for (int i = 0; i < N_STATEMENTS; i++) {
		const int code =
			sqlite3_prepare_v3(db->sqlite, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &db->prepared[i], NULL);
		if (code != SQLITE_OK)
			return fail(db, code, cause);
	}
	return PS_OK;
}

enum ps_err results_db_open(const struct results_db_config *config, struct results_db **db, struct ps_cause *cause)
{
	struct results_db *made = calloc(1, sizeof(*made));
	enum ps_err err;
	int code;

	if (made == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	made->config = *config;
	made->lock_fd = -1;
	(void)snprintf(made->path, sizeof(made->path), "%s", config->path);
	made->config.path = made->path;
	err = make_private(made, cause);
	if (err == PS_OK)
		err = take_lock(made, cause);
	if (err == PS_OK) {
		code = sqlite3_open_v2(made->path, &made->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
		err = code == SQLITE_OK ? PS_OK : fail(made, code, cause);
	}
	if (err == PS_OK)
		(void)sqlite3_busy_timeout(made->sqlite, BUSY_MS);
	if (err == PS_OK)
		err = set_up_alone(made, cause);
	if (err == PS_OK)
		err = prepare(made, cause);
	if (err != PS_OK) {
		results_db_close(made);
		return err;
	}
	*db = made;
	return PS_OK;
}

void results_db_close(struct results_db *db)
{
	if (db == NULL)
		return;
	for (int i = 0; i < N_STATEMENTS; i++)
		(void)sqlite3_finalize(db->prepared[i]);
	(void)sqlite3_close(db->sqlite);
	if (db->lock_fd >= 0)
		close(db->lock_fd);
	free(db);
}

/* Runs a statement that returns no row. */
static enum ps_err step(struct results_db *db, enum statement which, struct ps_cause *cause)
{
	sqlite3_stmt *statement = db->prepared[which];
	const int code = sqlite3_step(statement);
	const enum ps_err err = code == SQLITE_DONE ? PS_OK : fail(db, code, cause);

	(void)sqlite3_reset(statement);
	(void)sqlite3_clear_bindings(statement);
	return err;
}

static sqlite3_stmt *bind_key(struct results_db *db, enum statement which, const struct results_key *key)
{
	sqlite3_stmt *statement = db->prepared[which];

	(void)sqlite3_bind_blob(statement, 1, key->client, sizeof(key->client), SQLITE_STATIC);
	(void)sqlite3_bind_text(statement, 2, key->service, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(statement, 3, key->key, -1, SQLITE_STATIC);
	return statement;
}

enum ps_err results_db_begin(struct results_db *db, int64_t now_ms, struct ps_cause *cause)
{
	enum ps_err err = run(db, "BEGIN IMMEDIATE", cause);

	if (err != PS_OK)
		return err;
	(void)sqlite3_bind_int64(db->prepared[PURGE], 1, now_ms);
	(void)sqlite3_bind_int64(db->prepared[PURGE], 2, db->config.slot);
	(void)sqlite3_bind_int64(db->prepared[PURGE], 3, PURGED_PER_BATCH);
	return step(db, PURGE, cause);
}

enum ps_err results_db_commit(struct results_db *db, struct ps_cause *cause)
{
	return run(db, "COMMIT", cause);
}

void results_db_undo(struct results_db *db)
{
	if (sqlite3_get_autocommit(db->sqlite) == 0)
		(void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
}

/* What a row of FIND says; a record that makes no sense is damage. */
static enum ps_err read_record(struct results_db *db, sqlite3_stmt *row, struct results_record *record,
                               struct ps_cause *cause)
{
	const char *id = (const char *)sqlite3_column_text(row, 3);
	const void *sha256 = sqlite3_column_blob(row, 4);
	const int reply_len = sqlite3_column_bytes(row, 6);
	struct results_record read = {
		.status = (unsigned)sqlite3_column_int(row, 2),
		.receipt.time = sqlite3_column_int64(row, 5),
		.reply_kept = sqlite3_column_type(row, 6) != SQLITE_NULL,
	};

	if (id == NULL || strlen(id) != RECEIPT_ID_LEN || sha256 == NULL ||
	    sqlite3_column_bytes(row, 4) != RECEIPT_SHA256_LEN)
		return fail(db, SQLITE_CORRUPT, cause);
	memcpy(read.receipt.id, id, RECEIPT_ID_LEN + 1);
	memcpy(read.receipt.sha256, sha256, RECEIPT_SHA256_LEN);
	if (reply_len > 0 && buf_append(&read.reply, sqlite3_column_blob(row, 6), (size_t)reply_len) != PS_OK)
		return fail(db, SQLITE_NOMEM, cause);
	*record = read;
	return PS_OK;
}

/* Takes it: as new, or over from a row that is there. */
static enum ps_err take(struct results_db *db, enum statement which, const struct results_key *key, int64_t now_ms,
                        struct ps_cause *cause)
{
	sqlite3_stmt *statement = bind_key(db, which, key);

	(void)sqlite3_bind_int64(statement, 4, db->config.slot);
	(void)sqlite3_bind_int64(statement, 5, now_ms + (int64_t)db->config.window_ms);
	return step(db, which, cause);
}

enum ps_err results_db_claim(struct results_db *db, const struct results_key *key, int64_t now_ms,
                             enum results_found *found, struct results_record *record, struct ps_cause *cause)
{
	sqlite3_stmt *row = bind_key(db, FIND, key);
	const int code = sqlite3_step(row);
	const int state = code == SQLITE_ROW ? sqlite3_column_int(row, 0) : 0;
	const bool over = code == SQLITE_ROW && sqlite3_column_int64(row, 1) <= now_ms;
	enum ps_err err = code == SQLITE_ROW || code == SQLITE_DONE ? PS_OK : fail(db, code, cause);

	if (err == PS_OK && state == STATE_DONE && !over)
		err = read_record(db, row, record, cause);
	(void)sqlite3_reset(row);
	(void)sqlite3_clear_bindings(row);
	if (err != PS_OK)
		return err;
	if (state == STATE_UNDER_WAY || (state == STATE_DONE && !over)) {
		*found = state == STATE_DONE ? RESULTS_DONE : RESULTS_UNDER_WAY;
		return PS_OK;
	}
	*found = state == STATE_UNKNOWN && !over ? RESULTS_REPEAT_UNKNOWN : RESULTS_NEW;
	return take(db, state == 0 ? INSERT : TAKE_OVER, key, now_ms, cause);
}

enum ps_err results_db_record(struct results_db *db, const struct results_key *key, const struct results_record *record,
                              int64_t now_ms, struct ps_cause *cause)
{
	sqlite3_stmt *statement = bind_key(db, RECORD, key);
	const struct buf *reply = &record->reply;

	(void)sqlite3_bind_int64(statement, 4, now_ms + (int64_t)db->config.window_ms);
	(void)sqlite3_bind_int(statement, 5, (int)record->status);
	(void)sqlite3_bind_text(statement, 6, record->receipt.id, -1, SQLITE_STATIC);
	(void)sqlite3_bind_blob(statement, 7, record->receipt.sha256, RECEIPT_SHA256_LEN, SQLITE_STATIC);
	(void)sqlite3_bind_int64(statement, 8, record->receipt.time);
	/* Without a value it stays NULL: not kept. An empty reply is a value. */
	if (record->reply_kept)
		(void)sqlite3_bind_blob64(statement, 9, buf_len(reply) > 0 ? buf_front(reply) : (const uint8_t *)"",
		                          buf_len(reply), SQLITE_STATIC);
	return step(db, RECORD, cause);
}

enum ps_err results_db_release(struct results_db *db, const struct results_key *key, struct ps_cause *cause)
{
	(void)bind_key(db, RELEASE, key);
	return step(db, RELEASE, cause);
}
