/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/audit_verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/x509_crt.h>

#include "portseal/seal.h"

#define BASES_MAX 4
#define NAME_CAP 256

/* What a line may follow. Behind a bad line there are several: nobody knows which byte of it was changed. */
struct base {
	uint64_t seq; /* of the line that follows */
	uint8_t hash[AUDIT_HASH_LEN];
};

struct audit_verify {
	struct audit_verify_config config;
	struct audit_verdict verdict;
	struct base bases[BASES_MAX];
	size_t n_bases; /* 0: nothing is known, as before the first line */
	char trail[AUDIT_TRAIL_LEN + 1];
	/* The file: */
	char name[NAME_CAP];
	bool is_last;
	uint64_t line;   /* whole ones so far */
	uint64_t unread; /* of them unreadable, right before this place */
	/* The line that is not whole yet: */
	bool too_long;
	size_t len;
	char part[AUDIT_LINE_MAX];
};

enum ps_err audit_verify_new(const struct audit_verify_config *config, struct audit_verify **verify)
{
	struct audit_verify *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	*verify = fresh;
	return PS_OK;
}

void audit_verify_free(struct audit_verify *verify)
{
	free(verify);
}

static void find(struct audit_verify *verify, enum audit_finding finding, uint64_t line, const char *format, ...)
	PS_PRINTF(4, 5);
static void find(struct audit_verify *verify, enum audit_finding finding, uint64_t line, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!AUDIT_IS_NOTE(finding))
		verify->verdict.findings++;
	verify->config.on_finding(verify->config.owner, finding, verify->name, line, text);
}

static bool follows(const struct base *base, const struct audit_read *read, const char *line)
{
	uint8_t hash[AUDIT_HASH_LEN];

	if (base->seq != read->seq)
		return false;
	audit_line_hash(base->hash, line, read->hashed_len, hash);
	return memcmp(hash, read->chain, sizeof(hash)) == 0;
}

static void add_base(struct audit_verify *verify, uint64_t seq, const uint8_t hash[static AUDIT_HASH_LEN])
{
	struct base *base = &verify->bases[verify->n_bases++];

	base->seq = seq;
	memcpy(base->hash, hash, sizeof(base->hash));
}

/* The line is bad: what comes next may rest on its chain as it stands (another byte was changed, or lines before it are
 * missing), under its number or the one it should have; on the chain that its bytes give (the chain was changed); or
 * on the line before it (this one was put here). */
static void branch(struct audit_verify *verify, const struct audit_read *read, const char *line)
{
	struct base before = verify->bases[0];
	uint8_t computed[AUDIT_HASH_LEN];

	audit_line_hash(before.hash, line, read->hashed_len, computed);
	verify->n_bases = 0;
	add_base(verify, before.seq, before.hash);
	add_base(verify, before.seq + 1, read->chain);
	add_base(verify, before.seq + 1, computed);
	if (read->seq > before.seq)
		add_base(verify, read->seq + 1, read->chain);
}

static void tell_bad(struct audit_verify *verify, const struct audit_read *read)
{
	uint64_t expected = verify->bases[0].seq;

	if (read->seq == expected)
		find(verify, AUDIT_CHANGED, verify->line, "number %" PRIu64 " was changed, or put in another's place",
		     read->seq);
	else if (read->seq > expected)
		find(verify, AUDIT_MISSING, verify->line,
		     "number %" PRIu64 " stands where %" PRIu64 " should: %" PRIu64 " to %" PRIu64 " are %s", read->seq,
		     expected, expected, read->seq - 1,
		     verify->line == 1 ? "missing: is a file missing before this one?" : "missing or elsewhere");
	else
		find(verify, AUDIT_MISPLACED, verify->line,
		     "number %" PRIu64 " stands where %" PRIu64 " should: it was moved, repeated or changed", read->seq,
		     expected);
}

static void check_head(struct audit_verify *verify, const struct audit_read *read)
{
	struct mbedtls_x509_crt *certificate = verify->config.certificates;
	char pin[IDENTITY_PIN_TEXT_MAX];

	verify->verdict.heads++;
	if (certificate == NULL)
		return;
	for (; certificate != NULL; certificate = certificate->next) {
		seal_pin(certificate, pin);
		if (strcmp(pin, read->key) == 0)
			break;
	}
	if (certificate == NULL) {
		find(verify, AUDIT_UNKNOWN_KEY, verify->line,
		     "signed with the key %.44s, of which no certificate was given (--cert)", read->key);
	} else if (seal_verify(certificate, read->chain, read->sig, read->sig_len) != PS_OK) {
		find(verify, AUDIT_BAD_HEAD, verify->line, "the signature is not that of the key it names");
	} else {
		verify->verdict.head_seq = read->seq;
		verify->verdict.unsigned_lines = 0;
		memcpy(verify->verdict.head_time, read->time, sizeof(read->time));
		memcpy(verify->verdict.head_key, read->key, sizeof(read->key));
	}
}

/* The number behind "lost": of a line whose bytes are proved. */
static uint64_t lost_of(const char *line, size_t len)
{
	static const char key[] = ",\"lost\":";
	const char *at = memmem(line, len, key, sizeof(key) - 1);

	return at == NULL ? 0 : strtoull(at + sizeof(key) - 1, NULL, 10);
}

static void tell_notes(struct audit_verify *verify, const struct audit_read *read, const char *line)
{
	if (strcmp(read->event, AUDIT_GAP) == 0) {
		uint64_t lost = lost_of(line, read->hashed_len);

		verify->verdict.lost += lost;
		find(verify, AUDIT_NOTE_GAP, verify->line, "the relay says: %" PRIu64 " records could not be written", lost);
	} else if (strcmp(read->event, AUDIT_TORN) == 0) {
		find(verify, AUDIT_NOTE_SET_ASIDE, verify->line,
		     "the relay says: it found a last line without its end here when it started, and set it aside");
	}
}

/* The first line of a file: true when nothing more is to be said of how it hangs together. */
static bool check_first(struct audit_verify *verify, const struct audit_read *read)
{
	bool is_very_first = verify->n_bases == 0;

	if (is_very_first && !read->is_first) {
		find(verify, AUDIT_MISSING, verify->line, "number %" PRIu64 ": the beginning of this file is missing",
		     read->seq);
		add_base(verify, read->seq + 1, read->chain);
		return true;
	}
	if (is_very_first) {
		memcpy(verify->trail, read->trail, sizeof(verify->trail));
		add_base(verify, read->seq, read->previous);
		if (strcmp(read->event, AUDIT_CONTINUED) == 0)
			find(verify, AUDIT_NOTE_CONTINUES, verify->line,
			     "continues a file that was not given, which ends with number %" PRIu64, read->seq - 1);
		return false;
	}
	if (read->is_first && strcmp(read->trail, verify->trail) != 0) {
		find(verify, AUDIT_OTHER_TRAIL, verify->line, "another trail %s here: %s",
		     strcmp(read->event, AUDIT_BEGIN) == 0 ? "begins" : "goes on", read->trail);
		memcpy(verify->trail, read->trail, sizeof(verify->trail));
		verify->n_bases = 0;
		add_base(verify, read->seq, read->previous);
	}
	return false;
}

static void note_position(struct audit_verify *verify, const struct audit_read *read)
{
	if (verify->verdict.first_seq == 0)
		verify->verdict.first_seq = read->seq;
	if (read->seq > verify->verdict.last_seq) {
		verify->verdict.last_seq = read->seq;
		memcpy(verify->verdict.last_chain, read->chain, sizeof(read->chain));
	}
	if (verify->config.head != NULL && memcmp(verify->config.head, read->chain, AUDIT_HASH_LEN) == 0)
		verify->verdict.head_found = true;
}

/* That was told already. Its number can be right (one line may have become two), its chain rests on what cannot be read. */
static bool is_behind_unreadable(const struct audit_verify *verify, const struct audit_read *read)
{
	return verify->n_bases == 0 || (verify->unread > 0 && read->seq >= verify->bases[0].seq &&
	                                read->seq <= verify->bases[0].seq + verify->unread);
}

static void check_line(struct audit_verify *verify, const char *line, size_t len)
{
	struct audit_read read;

	verify->line++;
	verify->verdict.lines++;
	verify->verdict.unsigned_lines++;
	if (verify->too_long || audit_read(line, len, &read) != PS_OK) {
		find(verify, AUDIT_UNREADABLE, verify->line,
		     "this is no line of an audit trail; the one behind it cannot be checked either");
		verify->unread++;
		return;
	}
	if (verify->line == 1 && check_first(verify, &read))
		return;
	bool good = false;
	for (size_t i = 0; i < verify->n_bases && !good; i++)
		good = follows(&verify->bases[i], &read, line);
	if (good) {
		note_position(verify, &read);
		tell_notes(verify, &read, line);
		verify->n_bases = 0;
		add_base(verify, read.seq + 1, read.chain);
	} else if (is_behind_unreadable(verify, &read)) {
		verify->n_bases = 0;
		add_base(verify, read.seq + 1, read.chain);
	} else {
		tell_bad(verify, &read);
		branch(verify, &read, line);
	}
	verify->unread = 0;
	if (read.is_head && good)
		check_head(verify, &read);
}

void audit_verify_file(struct audit_verify *verify, const char *name, bool is_last)
{
	(void)snprintf(verify->name, sizeof(verify->name), "%s", name);
	verify->is_last = is_last;
	verify->line = 0;
	verify->len = 0;
	verify->too_long = false;
}

void audit_verify_bytes(struct audit_verify *verify, const char *bytes, size_t len)
{
	while (len > 0) {
		const char *newline = memchr(bytes, '\n', len);
		size_t n = newline == NULL ? len : (size_t)(newline - bytes);

		if (n > sizeof(verify->part) - verify->len) {
			verify->too_long = true;
			verify->len = 0;
		} else if (!verify->too_long) {
			memcpy(verify->part + verify->len, bytes, n);
			verify->len += n;
		}
		bytes += n;
		len -= n;
		if (newline == NULL)
			return;
		check_line(verify, verify->part, verify->len);
		verify->len = 0;
		verify->too_long = false;
		bytes++;
		len--;
	}
}

void audit_verify_file_end(struct audit_verify *verify)
{
	struct audit_read read;

	if (verify->len > 0 || verify->too_long) {
		/* A write that was cut short leaves a part of a line, never a whole one with something behind it. */
		if (verify->len > 1 && audit_read(verify->part, verify->len - 1, &read) == PS_OK)
			find(verify, AUDIT_CHANGED, verify->line + 1, "the end of the line was changed");
		else if (verify->is_last)
			find(verify, AUDIT_NOTE_TORN, verify->line + 1,
			     "%zu bytes without the end of a line: it was being written and does not count", verify->len);
		else
			find(verify, AUDIT_CUT_SHORT, verify->line + 1, "the last line of the file has no end");
	}
	if (verify->line == 0)
		find(verify, AUDIT_NO_LINES, 0, "there is no line in it");
}

void audit_verify_verdict(const struct audit_verify *verify, struct audit_verdict *verdict)
{
	*verdict = verify->verdict;
}
