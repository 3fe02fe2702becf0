/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit_tail.h"
#include "portseal/buf.h"
#include "portseal/clock.h"
#include "portseal/seal.h"

#define FILE_MODE 0600
#define PATH_CAP 4096

struct audit_file {
	struct audit_file_config config;
	int fd; /* -1: to be opened */
	struct stat opened;
	uint64_t offset; /* where the next batch goes */
	bool has_rest;   /* bytes behind `offset` that do not count */
	bool sync_failed;
	struct audit_past written;
	bool knows;             /* `written` is all that there is: we wrote it, and nobody else may */
	struct audit_tail tail; /* as it was found */
	bool is_new;            /* the file's first line is still to be written */
	bool told_open;         /* what opening it means has been written */
	struct audit_file_state state;
	char lost_why[128];
	/* The batch: */
	struct buf batch;
	struct audit_chain chain; /* behind it */
	bool is_broken;           /* for want of memory a line of it is missing */
	uint64_t n_lines;         /* since the last head, once it is written */
	uint64_t n_entries;
	uint64_t lost_told; /* by a line of it */
	uint64_t head_seq;  /* in it; 0: none */
	uint8_t head[AUDIT_HASH_LEN];
};

enum ps_err audit_file_new(const struct audit_file_config *config, struct audit_file **file)
{
	struct audit_file *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	fresh->fd = -1;
	fresh->written = config->past;
	fresh->chain = config->past.chain;
	*file = fresh;
	return PS_OK;
}

static void close_file(struct audit_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

void audit_file_free(struct audit_file *file)
{
	if (file == NULL)
		return;
	close_file(file);
	buf_release(&file->batch);
	free(file);
}

static void drop_batch(struct audit_file *file)
{
	buf_reset(&file->batch);
	file->is_broken = false;
	file->chain = file->written.chain;
	file->n_lines = file->state.unsigned_lines;
	file->n_entries = 0;
	file->lost_told = 0;
	file->head_seq = 0;
}

static enum ps_err name_trail(struct audit_file *file, struct ps_cause *cause)
{
	uint8_t random[AUDIT_TRAIL_LEN / 2];
	struct text text;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return ps_cause_errno(cause, PS_E_IO, errno, "no random bytes");
	text_init(&text, file->written.trail, sizeof(file->written.trail));
	text_add_hex(&text, random, sizeof(random));
	return PS_OK;
}

/* What the file holds, against what we know. Whoever knows more is right: a file that ends too early was cut, and the
 * chain goes on where it had been, so that a verifier misses what is gone. But what a file has beyond what we wrote to
 * it ourselves is of another hand: the chain does not go on behind that, or our next head would sign it. */
static enum ps_err take_up(struct audit_file *file, struct ps_cause *cause)
{
	const struct audit_past *found = &file->tail.past;
	bool known = file->written.trail[0] != '\0';

	if (found->trail[0] != '\0' && known && strcmp(found->trail, file->written.trail) != 0)
		return ps_cause_set(cause, PS_E_CONFIG,
		                    "it holds another trail than the one that is being written: move it away");
	file->is_new = file->tail.good == 0;
	if (found->trail[0] != '\0' && (!known || (!file->knows && found->chain.seq > file->written.chain.seq)))
		file->written = *found;
	else if (found->trail[0] == '\0' && !known)
		return name_trail(file, cause);
	return PS_OK;
}

static enum ps_err look(struct audit_file *file, struct ps_cause *cause)
{
	enum ps_err err;

	if (flock(file->fd, LOCK_EX | LOCK_NB) != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "another process writes it");
	if (fstat(file->fd, &file->opened) != 0)
		return ps_cause_errno(cause, PS_E_IO, errno, "it cannot be looked at");
	if (!S_ISREG(file->opened.st_mode))
		return ps_cause_set(cause, PS_E_CONFIG, "it is not a regular file");
	err = audit_tail_read(file->fd, (uint64_t)file->opened.st_size, &file->tail, cause);
	return err == PS_OK ? take_up(file, cause) : err;
}

enum ps_err audit_file_open(struct audit_file *file, struct ps_cause *cause)
{
	enum ps_err err;

	if (file->fd >= 0)
		return PS_OK;
	file->fd = open(file->config.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, FILE_MODE);
	if (file->fd < 0)
		return ps_cause_errno(cause, PS_E_IO, errno, "%s", file->config.path);
	err = look(file, cause);
	if (err != PS_OK) {
		close_file(file);
		return ps_cause_prefix(cause, err, "%s", file->config.path);
	}
	file->offset = file->tail.good;
	file->has_rest = file->tail.torn > 0;
	file->told_open = false;
	file->state.torn_bytes = file->tail.torn;
	file->chain = file->written.chain; /* the batch is empty while there is no file */
	return PS_OK;
}

static enum ps_err append(struct audit_file *file, const struct text *text)
{
	enum ps_err err = buf_append(&file->batch, text->at, text->len);

	file->n_lines++;
	file->is_broken = file->is_broken || err != PS_OK;
	return err;
}

static void begin_line(struct audit_file *file, struct text *text, char storage[static AUDIT_LINE_MAX],
                       const char *event)
{
	text_init(text, storage, AUDIT_LINE_MAX);
	audit_line_begin(text, &file->chain, clock_wall_ms(), event);
}

static enum ps_err end_line(struct audit_file *file, struct text *text)
{
	audit_line_close(text, &file->chain);
	return append(file, text);
}

static enum ps_err add_opening(struct audit_file *file)
{
	bool begins = file->written.chain.seq == 0;
	char storage[AUDIT_LINE_MAX];
	struct text text;

	begin_line(file, &text, storage, !file->is_new ? AUDIT_RESUMED : begins ? AUDIT_BEGIN : AUDIT_CONTINUED);
	if (file->is_new) {
		audit_line_text(&text, "trail", file->written.trail);
		audit_line_bytes(&text, "previous", file->chain.hash, sizeof(file->chain.hash));
	} else {
		audit_line_text(&text, "after", file->tail.head_why[0] != '\0' ? file->tail.head_why : "no stop");
		if (file->tail.past.chain.seq < file->written.chain.seq)
			audit_line_number(&text, "missing", file->written.chain.seq - file->tail.past.chain.seq);
		else if (file->tail.past.chain.seq > file->written.chain.seq)
			audit_line_number(&text, "foreign", file->tail.past.chain.seq - file->written.chain.seq);
	}
	audit_line_text(&text, "version", PS_VERSION);
	audit_line_number(&text, "pid", (uint64_t)getpid());
	return end_line(file, &text);
}

static enum ps_err add_torn(struct audit_file *file)
{
	char storage[AUDIT_LINE_MAX];
	struct text text;

	begin_line(file, &text, storage, AUDIT_TORN);
	audit_line_number(&text, "bytes", file->tail.torn);
	audit_line_bytes(&text, "sha256", file->tail.torn_sha256, sizeof(file->tail.torn_sha256));
	audit_line_text(&text, "text", file->tail.torn_text);
	return end_line(file, &text);
}

static enum ps_err add_gap(struct audit_file *file)
{
	char storage[AUDIT_LINE_MAX];
	struct text text;

	begin_line(file, &text, storage, AUDIT_GAP);
	audit_line_number(&text, "lost", file->state.lost);
	file->lost_told = file->state.lost;
	audit_line_text(&text, "why", file->lost_why);
	return end_line(file, &text);
}

/* What stands before the first line of a batch. */
static enum ps_err begin_batch(struct audit_file *file)
{
	enum ps_err err = PS_OK;

	if (buf_len(&file->batch) > 0)
		return PS_OK;
	if (!file->told_open)
		err = add_opening(file);
	if (err == PS_OK && !file->told_open && file->tail.torn > 0)
		err = add_torn(file);
	if (err == PS_OK && file->state.lost > 0)
		err = add_gap(file);
	return err;
}

/* A line cannot be made without knowing what it follows. */
static enum ps_err prepare(struct audit_file *file, struct ps_cause *cause)
{
	enum ps_err err = audit_file_open(file, cause);

	if (err == PS_OK && begin_batch(file) != PS_OK)
		err = ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	return err;
}

enum ps_err audit_file_add(struct audit_file *file, const struct audit_entry *entry)
{
	char storage[AUDIT_LINE_MAX];
	struct ps_cause cause;
	struct text text;
	enum ps_err err;

	file->n_entries++;
	err = prepare(file, &cause);
	if (err != PS_OK) {
		file->is_broken = true;
		return err;
	}
	begin_line(file, &text, storage, audit_event_name(entry->event));
	audit_line_entry(&text, entry);
	return end_line(file, &text);
}

static enum ps_err sign(void *owner, const uint8_t chain[static AUDIT_HASH_LEN], struct text *text)
{
	struct audit_file *file = owner;
	uint8_t signature[SEAL_MAX];
	size_t len;
	enum ps_err err = seal_sign(file->config.credentials, chain, signature, &len);

	if (err == PS_OK)
		text_add_hex(text, signature, len);
	return err;
}

enum ps_err audit_file_add_head(struct audit_file *file, const char *why)
{
	char storage[AUDIT_LINE_MAX];
	char pin[IDENTITY_PIN_TEXT_MAX];
	struct ps_cause cause;
	struct text text;
	enum ps_err err = prepare(file, &cause);

	if (err != PS_OK)
		return err;
	begin_line(file, &text, storage, AUDIT_HEAD);
	seal_pin(credentials_chain(file->config.credentials), pin);
	audit_line_text(&text, "key", pin);
	audit_line_text(&text, "why", why);
	err = audit_line_close_signed(&text, &file->chain, sign, file);
	if (err != PS_OK)
		return err;
	file->head_seq = file->chain.seq;
	memcpy(file->head, file->chain.hash, sizeof(file->head));
	err = append(file, &text);
	file->n_lines = 0;
	return err;
}

void audit_file_lose(struct audit_file *file, uint64_t n, const char *why)
{
	if (n == 0)
		return;
	file->state.lost += n;
	if (why != NULL)
		(void)snprintf(file->lost_why, sizeof(file->lost_why), "%s", why);
}

static enum ps_err write_all(struct audit_file *file, struct ps_cause *cause)
{
	const uint8_t *at = buf_front(&file->batch);
	size_t left = buf_len(&file->batch);
	off_t offset = (off_t)file->offset;

	while (left > 0) {
		ssize_t n = pwrite(file->fd, at, left, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ps_cause_errno(cause, PS_E_IO, n == 0 ? EIO : errno, "%s", file->config.path);
		at += n;
		left -= (size_t)n;
		offset += n;
		file->has_rest = file->has_rest || left > 0;
	}
	if (file->has_rest && ftruncate(file->fd, offset) != 0)
		return ps_cause_errno(cause, PS_E_IO, errno, "%s: its end cannot be cut", file->config.path);
	return PS_OK;
}

enum ps_err audit_file_sync(struct audit_file *file, struct ps_cause *cause)
{
	if (file->fd < 0 || (!file->state.unsynced && !file->sync_failed))
		return PS_OK;
	file->sync_failed = fdatasync(file->fd) != 0;
	if (file->sync_failed)
		return ps_cause_errno(cause, PS_E_IO, errno, "%s: it cannot be brought to the disk", file->config.path);
	file->state.unsynced = false;
	return PS_OK;
}

static enum ps_err write_batch(struct audit_file *file, struct ps_cause *cause)
{
	enum ps_err err = file->sync_failed ? audit_file_sync(file, cause) : PS_OK;

	if (err == PS_OK)
		err = write_all(file, cause);
	if (err != PS_OK)
		return err;
	file->has_rest = false;
	file->state.unsynced = true;
	return file->config.sync_always ? audit_file_sync(file, cause) : PS_OK;
}

/* None of the batch stays: a part of a line at the end would look as if we had been killed. */
static void undo(struct audit_file *file, const struct ps_cause *cause)
{
	uint64_t n_entries = file->n_entries;

	if (file->fd >= 0)
		file->has_rest = ftruncate(file->fd, (off_t)file->offset) != 0;
	drop_batch(file);
	audit_file_lose(file, n_entries, cause->text);
}

static void settle(struct audit_file *file)
{
	file->offset += buf_len(&file->batch);
	file->written.chain = file->chain;
	file->knows = true;
	file->told_open = true;
	file->is_new = false;
	file->state.lost -= file->lost_told;
	file->state.unsigned_lines = file->n_lines;
	if (file->head_seq != 0) {
		file->state.head_seq = file->head_seq;
		memcpy(file->state.head, file->head, sizeof(file->head));
	}
	drop_batch(file);
}

enum ps_err audit_file_commit(struct audit_file *file, struct ps_cause *cause)
{
	enum ps_err err = prepare(file, cause);

	if (err == PS_OK && file->is_broken)
		err = ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	if (err == PS_OK && buf_len(&file->batch) > 0)
		err = write_batch(file, cause);
	if (err == PS_OK)
		settle(file);
	else
		undo(file, cause);
	return err;
}

static bool is_elsewhere(const struct audit_file *file)
{
	struct stat there;

	if (stat(file->config.path, &there) != 0)
		return errno == ENOENT;
	return there.st_dev != file->opened.st_dev || there.st_ino != file->opened.st_ino;
}

static bool has_other_size(const struct audit_file *file)
{
	struct stat here;

	return !file->has_rest && fstat(file->fd, &here) == 0 && (uint64_t)here.st_size != file->offset;
}

bool audit_file_follow(struct audit_file *file)
{
	struct ps_cause cause;

	if (file->fd < 0)
		return false;
	if (has_other_size(file)) {
		drop_batch(file);
		close_file(file);
		return true;
	}
	if (!is_elsewhere(file))
		return false;
	/* Without it, the first line of the next file still says where this one ended. */
	if ((file->state.unsigned_lines > 0 && audit_file_add_head(file, "rotation") != PS_OK) ||
	    audit_file_commit(file, &cause) != PS_OK || audit_file_sync(file, &cause) != PS_OK)
		drop_batch(file);
	close_file(file);
	return true;
}

void audit_file_state(const struct audit_file *file, struct audit_file_state *state)
{
	*state = file->state;
	state->past = file->written;
}

enum ps_err audit_file_probe(const char *path, struct ps_cause *cause)
{
	char copy[PATH_CAP];
	struct stat st;

	if (strlen(path) >= sizeof(copy))
		return ps_cause_set(cause, PS_E_CONFIG, "the path is too long");
	memcpy(copy, path, strlen(path) + 1);
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return ps_cause_set(cause, PS_E_CONFIG, "%s: it is not a regular file", path);
	if (access(path, F_OK) == 0)
		return access(path, R_OK | W_OK) == 0 ? PS_OK : ps_cause_errno(cause, PS_E_IO, errno, "%s", path);
	if (errno != ENOENT)
		return ps_cause_errno(cause, PS_E_IO, errno, "%s", path);
	return access(dirname(copy), W_OK | X_OK) == 0 ? PS_OK : ps_cause_errno(cause, PS_E_IO, errno, "%s", copy);
}
