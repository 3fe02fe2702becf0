/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "portseal/text.h"
#include "spool/spool_sql.h"
#include "spool/stage.h"

/* A random UUID (RFC 9562, section 5.4). */
static enum ps_err make_id(char id[static SPOOL_ID_SIZE], struct ps_cause *cause)
{
	uint8_t random[16];
	struct text text;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return ps_cause_errno(cause, PS_E_IO, errno, "no random number");
	random[6] = (uint8_t)((random[6] & 0x0f) | 0x40);
	random[8] = (uint8_t)((random[8] & 0x3f) | 0x80);
	text_init(&text, id, SPOOL_ID_SIZE);
	for (size_t i = 0; i < sizeof(random); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text_add(&text, "-");
		text_add_hex(&text, &random[i], 1);
	}
	return PS_OK;
}

static enum ps_err check_room(struct spool *spool, const struct spool_put_config *config, uint64_t len,
                              struct ps_cause *cause)
{
	char path[TEXT_QUOTED_MAX];
	struct spool_totals totals;
	const enum ps_err err = spool_totals(spool, &totals, cause);

	if (err != PS_OK)
		return err;
	if (totals.messages >= config->max_messages)
		return ps_cause_set(cause, PS_E_LIMIT,
		                    "%s: full: it holds %" PRIu64 " messages, and spool.max_messages allows no more",
		                    text_escaped(path, spool_path(spool)), totals.messages);
	if (len > config->max_bytes || totals.bytes > config->max_bytes - len)
		return ps_cause_set(cause, PS_E_LIMIT,
		                    "%s: full: it holds %" PRIu64 " bytes, and with these %" PRIu64
		                    " it would exceed spool.max_bytes",
		                    text_escaped(path, spool_path(spool)), totals.bytes, len);
	return PS_OK;
}

static int64_t expiry_of(const struct spool_put_config *config)
{
	if (config->ttl_ms == 0 || config->ttl_ms > (uint64_t)(INT64_MAX - config->now_ms))
		return INT64_MAX;
	return config->now_ms + (int64_t)config->ttl_ms;
}

static enum ps_err insert_message(struct spool *spool, const struct spool_put_config *config, uint64_t len,
                                  const char *id, struct ps_cause *cause)
{
	static const char insert[] = "INSERT INTO message (id, service, state, len, kept_ms, expires_ms, since_ms, due_ms)"
								 " VALUES (?, ?, 0, ?, ?, ?, ?, ?)";
	sqlite3_stmt *row = spool_sql(spool, insert);

	if (row != NULL) {
		(void)sqlite3_bind_text(row, 1, id, -1, SQLITE_STATIC);
		(void)sqlite3_bind_text(row, 2, config->service, -1, SQLITE_STATIC);
		(void)sqlite3_bind_int64(row, 3, (int64_t)len);
		(void)sqlite3_bind_int64(row, 4, config->now_ms);
		(void)sqlite3_bind_int64(row, 5, expiry_of(config));
		(void)sqlite3_bind_int64(row, 6, config->now_ms);
		(void)sqlite3_bind_int64(row, 7, config->now_ms);
	}
	return spool_sql_done(spool, row, "the message cannot be kept", cause);
}

static enum ps_err insert_part(struct spool *spool, int64_t seq, int64_t n, const void *bytes, size_t len,
                               struct ps_cause *cause)
{
	static const char insert[] = "INSERT INTO part (message, n, bytes) VALUES (?, ?, ?)";
	sqlite3_stmt *row = spool_sql(spool, insert);

	if (row != NULL) {
		(void)sqlite3_bind_int64(row, 1, seq);
		(void)sqlite3_bind_int64(row, 2, n);
		(void)sqlite3_bind_blob(row, 3, bytes, (int)len, SQLITE_STATIC);
	}
	const enum ps_err err = spool_sql_done(spool, row, "the message cannot be kept", cause);
	if (row != NULL)
		(void)sqlite3_clear_bindings(row);
	return err;
}

static enum ps_err insert_parts(struct spool *spool, const struct spool_stage *stage, struct ps_cause *cause)
{
	const int64_t seq = sqlite3_last_insert_rowid(spool->db);
	uint8_t *part = malloc(SPOOL_PART);
	enum ps_err err = part == NULL ? ps_cause_set(cause, PS_E_NOMEM, "out of memory") : PS_OK;

	for (uint64_t at = 0; err == PS_OK && at < stage->len; at += SPOOL_PART) {
		const uint64_t left = stage->len - at;
		const size_t len = left < SPOOL_PART ? (size_t)left : SPOOL_PART;

		err = spool_stage_read(stage, at, part, len, cause);
		if (err == PS_OK)
			err = insert_part(spool, seq, (int64_t)(at / SPOOL_PART), part, len, cause);
	}
	if (part != NULL)
		ps_wipe(part, SPOOL_PART);
	free(part);
	return err;
}

enum ps_err spool_add(struct spool *spool, const struct spool_put_config *config, const struct spool_stage *stage,
                      char id[static SPOOL_ID_SIZE], struct ps_cause *cause)
{
	enum ps_err err = make_id(id, cause);

	if (err == PS_OK)
		err = check_room(spool, config, stage->len, cause);
	if (err == PS_OK)
		err = insert_message(spool, config, stage->len, id, cause);
	if (err == PS_OK)
		err = insert_parts(spool, stage, cause);
	return err;
}

enum ps_err spool_put(struct spool *spool, const struct spool_put_config *config, const struct spool_stage *stage,
                      char id[static SPOOL_ID_SIZE], struct ps_cause *cause)
{
	enum ps_err err = spool_begin(spool, cause);

	if (err != PS_OK)
		return err;
	err = spool_add(spool, config, stage, id, cause);
	if (err == PS_OK)
		err = spool_commit(spool, cause);
	if (err != PS_OK)
		spool_rollback(spool);
	return err;
}
