/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_tail.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <mbedtls/sha256.h>

#include "portseal/audit_read.h"

static const char before_why[] = "\",\"why\":\"";

static void describe_torn(const char *bytes, struct audit_tail *tail)
{
	size_t shown = tail->torn < AUDIT_TORN_SHOWN ? (size_t)tail->torn : AUDIT_TORN_SHOWN;

	if (mbedtls_sha256((const uint8_t *)bytes, (size_t)tail->torn, tail->torn_sha256, 0) != 0)
		memset(tail->torn_sha256, 0, sizeof(tail->torn_sha256));
	memcpy(tail->torn_text, bytes, shown);
	for (size_t i = 0; i < shown; i++)
		if (tail->torn_text[i] == '\0')
			tail->torn_text[i] = ' ';
	tail->torn_text[shown] = '\0';
}

/* Our own words only: letters. */
static void read_why(const char *line, size_t len, struct audit_tail *tail)
{
	const char *at = memmem(line, len, before_why, sizeof(before_why) - 1);
	size_t n = 0;

	if (at == NULL)
		return;
	at += sizeof(before_why) - 1;
	for (; n + 1 < sizeof(tail->head_why) && at[n] >= 'a' && at[n] <= 'z'; n++)
		tail->head_why[n] = at[n];
	tail->head_why[n] = '\0';
}

/* The first line names the trail, the last whole one how far it had come. */
static enum ps_err read_ends(const char *bytes, struct audit_tail *tail, struct ps_cause *cause)
{
	const char *first_end = memchr(bytes, '\n', (size_t)tail->good);
	const char *last_end = bytes + tail->good - 1;
	const char *before = memrchr(bytes, '\n', (size_t)(last_end - bytes));
	const char *last = before == NULL ? bytes : before + 1;
	struct audit_read read;

	if (audit_read(bytes, (size_t)(first_end - bytes), &read) != PS_OK || !read.is_first)
		return ps_cause_set(cause, PS_E_CONFIG,
		                    "its first line does not begin an audit trail: move it away, or give another file");
	memcpy(tail->past.trail, read.trail, sizeof(read.trail));
	if (audit_read(last, (size_t)(last_end - last), &read) != PS_OK)
		return ps_cause_set(
			cause, PS_E_CONFIG,
			"its last whole line is none of an audit trail: look at it with audit verify, move it away");
	tail->past.chain.seq = read.seq;
	memcpy(tail->past.chain.hash, read.chain, sizeof(read.chain));
	if (read.is_head)
		read_why(last, read.hashed_len, tail);
	return PS_OK;
}

enum ps_err audit_tail_read(int fd, uint64_t size, struct audit_tail *tail, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;
	const char *newline;
	char *bytes;

	memset(tail, 0, sizeof(*tail));
	if (size == 0)
		return PS_OK;
	bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return ps_cause_errno(cause, PS_E_IO, errno, "it cannot be read");
	newline = memrchr(bytes, '\n', (size_t)size);
	tail->good = newline == NULL ? 0 : (uint64_t)(newline - bytes) + 1;
	tail->torn = size - tail->good;
	if (tail->good > 0)
		err = read_ends(bytes, tail, cause);
	if (err == PS_OK && tail->torn > 0)
		describe_torn(bytes + tail->good, tail);
	munmap(bytes, (size_t)size);
	return err;
}
