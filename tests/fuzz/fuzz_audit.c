/* SPDX-License-Identifier: Apache-2.0 */
/* The two readers of an audit trail's bytes: 'v' and a file for the verifier, fed whole and byte by byte, which must find
 * the same; 'r' and a role's record, which, if it is taken, becomes a line that can be read again. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portseal/audit_read.h"
#include "portseal/audit_record.h"
#include "portseal/audit_verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_finding(void *owner, enum audit_finding finding, const char *file, uint64_t line, const char *text)
{
	(void)owner;
	(void)finding;
	(void)line;
	assert(strlen(file) > 0 && strlen(text) > 0);
}

static void verify(const char *bytes, size_t len, size_t piece, struct audit_verdict *verdict)
{
	const struct audit_verify_config config = { .on_finding = on_finding };
	struct audit_verify *verify;

	if (audit_verify_new(&config, &verify) != PS_OK)
		abort();
	audit_verify_file(verify, "fuzz", true);
	for (size_t at = 0; at < len; at += piece)
		audit_verify_bytes(verify, bytes + at, len - at < piece ? len - at : piece);
	audit_verify_file_end(verify);
	audit_verify_verdict(verify, verdict);
	audit_verify_free(verify);
}

static void verify_both_ways(const char *bytes, size_t len)
{
	struct audit_verdict whole;
	struct audit_verdict pieces;

	verify(bytes, len, len + 1, &whole);
	verify(bytes, len, 1, &pieces);
	assert(whole.lines == pieces.lines && whole.findings == pieces.findings && whole.lost == pieces.lost);
	assert(whole.first_seq == pieces.first_seq && whole.last_seq == pieces.last_seq);
	assert(whole.heads == pieces.heads && whole.unsigned_lines == pieces.unsigned_lines);
	assert(whole.head_seq == pieces.head_seq);
	assert(memcmp(whole.last_chain, pieces.last_chain, sizeof(whole.last_chain)) == 0);
}

static void write_record(const uint8_t *bytes, size_t len)
{
	static char storage[AUDIT_LINE_MAX];
	struct audit_chain chain = { .seq = 0 };
	struct audit_record record;
	struct audit_read read;
	struct text text;

	if (audit_record_unpack(bytes, len, &record) != PS_OK)
		return;
	text_init(&text, storage, sizeof(storage));
	audit_line_begin(&text, &chain, 0, audit_event_name(record.entry.event));
	audit_line_entry(&text, &record.entry);
	audit_line_close(&text, &chain);
	assert(memchr(text.at, '\n', text.len) == text.at + text.len - 1);
	if (audit_read(text.at, text.len - 1, &read) != PS_OK)
		abort();
	assert(read.seq == 1 && memcmp(read.chain, chain.hash, sizeof(read.chain)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && data[0] == 'v')
		verify_both_ways((const char *)data + 1, size - 1);
	else if (size > 0)
		write_record(data + 1, size - 1);
	return 0;
}
