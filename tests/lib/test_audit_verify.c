/* SPDX-License-Identifier: Apache-2.0 */
/* audit_verify: every change of a trail is found, where it was made. */
#include "portseal/audit_verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mint_store.h"
#include "trail_rig.h"

#define FILES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define LINES_MAX 64

static struct trail_rig rig;

/* begin, 6 lines of connections, a head, 4 more, a head, 2 not signed yet: 15 lines. */
static int begin(void **state)
{
	(void)state;
	trail_rig_begin(&rig);
	trail_open(&rig, NULL);
	for (int i = 0; i < 3; i++)
		trail_add(&rig, "al\"ice\n\\");
	trail_sign(&rig, "interval");
	trail_add(&rig, "bob");
	trail_add(&rig, "carol");
	trail_sign(&rig, "interval");
	trail_add(&rig, "dave");
	trail_close(&rig);
	return 0;
}

static int end(void **state)
{
	(void)state;
	trail_rig_end(&rig);
	return 0;
}

struct lines {
	char *bytes;
	size_t len;
	size_t n;
	struct {
		const char *at;
		size_t len; /* with its newline */
	} line[LINES_MAX];
};

static struct lines read_lines(void)
{
	struct lines lines = { .bytes = NULL };

	lines.bytes = trail_read(&rig, "audit.log", &lines.len);
	for (const char *at = lines.bytes; at < lines.bytes + lines.len; lines.n++) {
		lines.line[lines.n].at = at;
		lines.line[lines.n].len = (size_t)(strchr(at, '\n') - at) + 1;
		at += lines.line[lines.n].len;
	}
	return lines;
}

/* The lines with these indices, in this order; -1 ends. */
static void verify_order(const struct lines *lines, const int *order)
{
	char *bytes = mint_alloc(2 * lines->len);
	size_t len = 0;

	for (; *order >= 0; order++) {
		memcpy(bytes + len, lines->line[*order].at, lines->line[*order].len);
		len += lines->line[*order].len;
	}
	trail_verify_bytes(&rig, bytes, len, true);
}

static void test_a_trail_as_it_was_written_is_good(void **state)
{
	(void)state;
	trail_verify(&rig, FILES("audit.log"), false);
	assert_int_equal(rig.n_findings, 0);
	assert_int_equal(rig.n_notes, 0);
	assert_int_equal(rig.verdict.lines, 15);
	assert_int_equal(rig.verdict.first_seq, 1);
	assert_int_equal(rig.verdict.last_seq, 15);
	assert_int_equal(rig.verdict.heads, 2);
	assert_int_equal(rig.verdict.head_seq, 13);
	assert_int_equal(rig.verdict.unsigned_lines, 2);
}

static void test_every_single_changed_byte_is_found_at_its_line(void **state)
{
	const struct lines lines = read_lines();
	size_t offset = 0;

	(void)state;
	for (size_t line = 0; line < lines.n; line++) {
		bool is_head =
			memmem(lines.line[line].at, lines.line[line].len, "\"sig\":", 6) != NULL; /* signatures are dear */

		for (size_t i = 0; i < lines.line[line].len; i++, offset++) {
			char before = lines.bytes[offset];

			lines.bytes[offset] = (char)(before ^ (1 << (offset % 7)));
			trail_verify_bytes(&rig, lines.bytes, lines.len, !is_head);
			lines.bytes[offset] = before;
			if (rig.n_findings == 0)
				fail_msg("line %zu, byte %zu (%c) was changed and nobody noticed", line + 1, i, before);
			assert_int_equal(rig.at[0].line, line + 1);
			assert_in_range(rig.n_findings, 1, 2);
		}
	}
}

static void test_every_removed_line_is_missed(void **state)
{
	const struct lines lines = read_lines();

	(void)state;
	for (size_t gone = 0; gone + 1 < lines.n; gone++) {
		int order[LINES_MAX];
		size_t n = 0;

		for (size_t i = 0; i < lines.n; i++)
			if (i != gone)
				order[n++] = (int)i;
		order[n] = -1;
		verify_order(&lines, order);
		assert_int_equal(rig.n_findings, 1);
		assert_int_equal(rig.at[0].finding, AUDIT_MISSING);
		assert_int_equal(rig.at[0].line, gone + 1);
	}
}

static void test_every_repeated_line_is_found(void **state)
{
	const struct lines lines = read_lines();

	(void)state;
	for (size_t twice = 0; twice < lines.n; twice++) {
		int order[LINES_MAX];
		size_t n = 0;

		for (size_t i = 0; i < lines.n; i++) {
			order[n++] = (int)i;
			if (i == twice)
				order[n++] = (int)i;
		}
		order[n] = -1;
		verify_order(&lines, order);
		assert_int_equal(rig.n_findings, 1);
		assert_int_equal(rig.at[0].finding, AUDIT_MISPLACED);
		assert_int_equal(rig.at[0].line, twice + 2);
	}
}

static void test_any_two_lines_that_changed_places_are_found(void **state)
{
	const struct lines lines = read_lines();

	(void)state;
	for (size_t a = 0; a < lines.n; a++)
		for (size_t b = a + 1; b < lines.n; b++) {
			int order[LINES_MAX];

			for (size_t i = 0; i < lines.n; i++)
				order[i] = (int)(i == a ? b : i == b ? a : i);
			order[lines.n] = -1;
			verify_order(&lines, order);
			assert_in_range(rig.n_findings, 1, a == 0 ? lines.n : 7);
			assert_int_equal(rig.at[0].line, a + 1);
		}
}

/* Somebody without the key who computes every chain anew is found by the signatures. */
static void test_a_trail_that_was_computed_anew_fails_at_its_heads(void **state)
{
	struct lines lines = read_lines();
	char *forged = mint_alloc(2 * lines.len);
	uint8_t before[AUDIT_HASH_LEN] = { 0 };
	size_t len = 0;

	(void)state;
	for (size_t i = 0; i < lines.n; i++) {
		char *at = forged + len;
		char *done = strstr(lines.line[i].at, "done");
		struct audit_read read;
		char hex[2 * AUDIT_HASH_LEN + 1];
		struct text text;

		if (i < 3 && done != NULL && done < lines.line[i].at + lines.line[i].len)
			memcpy(done, "gone", 4);
		memcpy(at, lines.line[i].at, lines.line[i].len);
		assert_int_equal(audit_read(at, lines.line[i].len - 1, &read), PS_OK);
		audit_line_hash(before, at, read.hashed_len, before);
		text_init(&text, hex, sizeof(hex));
		text_add_hex(&text, before, sizeof(before));
		memcpy(at + read.hashed_len + strlen(",\"chain\":\""), hex, strlen(hex));
		len += lines.line[i].len;
	}
	trail_verify_bytes(&rig, forged, len, false);
	assert_int_equal(rig.n_findings, 2);
	assert_int_equal(rig.at[0].finding, AUDIT_BAD_HEAD);
	assert_int_equal(rig.at[0].line, 8);
	assert_int_equal(rig.verdict.head_seq, 0);
}

static void test_every_length_of_a_torn_last_line_is_no_tampering(void **state)
{
	const struct lines lines = read_lines();
	size_t whole = (size_t)(lines.line[lines.n - 1].at - lines.bytes);

	(void)state;
	for (size_t len = whole + 1; len < lines.len; len++) {
		trail_verify_bytes(&rig, lines.bytes, len, true);
		assert_int_equal(rig.n_findings, 0);
		assert_int_equal(rig.n_notes, 1);
		assert_int_equal(rig.at[0].finding, AUDIT_NOTE_TORN);
		assert_int_equal(rig.at[0].line, lines.n);
		assert_int_equal(rig.verdict.lines, lines.n - 1);
	}
}

static void test_a_torn_line_is_tampering_where_another_file_follows(void **state)
{
	const struct lines lines = read_lines();

	(void)state;
	trail_write(&rig, "audit.1", lines.bytes, lines.len - 10);
	trail_verify(&rig, FILES("audit.1", "audit.log"), false);
	assert_int_not_equal(trail_found(&rig, AUDIT_CUT_SHORT), -1);
}

static void test_a_certificate_of_another_relay_proves_nothing(void **state)
{
	struct credentials *own = rig.credentials;

	(void)state;
	rig.credentials = rig.others;
	trail_verify(&rig, FILES("audit.log"), false);
	rig.credentials = own;
	assert_int_equal(rig.n_findings, 2);
	assert_int_equal(rig.at[0].finding, AUDIT_UNKNOWN_KEY);
	assert_int_equal(rig.verdict.unsigned_lines, 15);
}

static void test_without_a_certificate_the_chain_alone_is_judged(void **state)
{
	(void)state;
	trail_verify(&rig, FILES("audit.log"), true);
	assert_int_equal(rig.n_findings, 0);
	assert_int_equal(rig.verdict.head_seq, 0);
	assert_int_equal(rig.verdict.heads, 2);
}

static void test_text_of_any_kind_is_no_trail(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"hello\n",
		"{}\n",
		"{\"seq\":1}\n",
		"{\"seq\":1,\"time\":\"\",\"event\":\"begin\",\"chain\":\"00\"}\n",
		"{\"seq\":01,\"time\":\"\",\"event\":\"x\",\"chain\":\"00\"}\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		trail_verify_bytes(&rig, texts[i], strlen(texts[i]), false);
		assert_int_not_equal(rig.n_findings, 0);
	}
}

static void test_a_line_longer_than_any_is_unreadable_and_no_more(void **state)
{
	const struct lines lines = read_lines();
	const size_t long_len = 2 * AUDIT_LINE_MAX;
	char *bytes = mint_alloc(lines.len + long_len + 1);

	(void)state;
	memcpy(bytes, lines.bytes, lines.len);
	memset(bytes + lines.len, 'x', long_len);
	bytes[lines.len + long_len] = '\n';
	trail_verify_bytes(&rig, bytes, lines.len + long_len + 1, false);
	assert_int_equal(rig.n_findings, 1);
	assert_int_equal(rig.at[0].finding, AUDIT_UNREADABLE);
	assert_int_equal(rig.at[0].line, 16);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_trail_as_it_was_written_is_good),
		TEST(test_every_single_changed_byte_is_found_at_its_line),
		TEST(test_every_removed_line_is_missed),
		TEST(test_every_repeated_line_is_found),
		TEST(test_any_two_lines_that_changed_places_are_found),
		TEST(test_a_trail_that_was_computed_anew_fails_at_its_heads),
		TEST(test_every_length_of_a_torn_last_line_is_no_tampering),
		TEST(test_a_torn_line_is_tampering_where_another_file_follows),
		TEST(test_a_certificate_of_another_relay_proves_nothing),
		TEST(test_without_a_certificate_the_chain_alone_is_judged),
		TEST(test_text_of_any_kind_is_no_trail),
		TEST(test_a_line_longer_than_any_is_unreadable_and_no_more),
	};

	return cmocka_run_group_tests_name("audit_verify", tests, NULL, NULL);
}
