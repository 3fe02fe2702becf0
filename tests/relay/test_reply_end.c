/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reply_end.h"

static struct reply_end begin(const char *rule)
{
	struct reply_rule parsed;
	struct reply_end reply;

	assert_int_equal(reply_rule_parse(rule, &parsed, NULL), PS_OK);
	reply_end_init(&reply, parsed);
	return reply;
}

static size_t take(struct reply_end *reply, const char *text)
{
	return reply_end_take(reply, (const uint8_t *)text, strlen(text));
}

static void test_each_word_of_the_manual_is_understood(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum reply_kind kind;
		uint32_t idle_ms;
	} rows[] = {
		{ "until-close", REPLY_UNTIL_CLOSE, 0 }, { "none", REPLY_NONE, 0 },     { "line", REPLY_LINE, 0 },
		{ "idle:200ms", REPLY_IDLE, 200 },       { "idle:1ms", REPLY_IDLE, 1 }, { "idle:10m", REPLY_IDLE, 600000 },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reply_rule rule;
		assert_int_equal(reply_rule_parse(rows[i].text, &rule, NULL), PS_OK);
		assert_int_equal(rule.kind, rows[i].kind);
		assert_int_equal(rule.idle_ms, rows[i].idle_ms);
	}
}

static void test_what_is_no_rule_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"", "until", "Line", "none ", "idle", "idle:", "idle:0", "idle:5", "idle:-1s", "idle:11m", "idle:4294967297ms"
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct reply_rule rule = { .kind = REPLY_LINE };
		struct ps_cause cause;
		assert_int_equal(reply_rule_parse(texts[i], &rule, &cause), PS_E_CONFIG);
		assert_int_equal(rule.kind, REPLY_LINE);
	}
}

static void test_until_close_only_the_close_ends_it(void **state)
{
	(void)state;
	struct reply_end reply = begin("until-close");

	assert_int_equal(take(&reply, "a\nb\n"), 4);
	assert_int_equal(take(&reply, ""), 0);
	assert_int_equal(reply_end_patience(&reply), 0);
	reply_end_silence(&reply);
	assert_false(reply.ended);
	reply_end_close(&reply);
	assert_true(reply.ended);
	assert_int_equal(reply.len, 4);
	assert_int_equal(take(&reply, "late"), 0);
}

static void test_none_has_ended_before_it_begins(void **state)
{
	(void)state;
	struct reply_end reply = begin("none");

	assert_true(reply.ended);
	assert_int_equal(take(&reply, "unasked"), 0);
	assert_int_equal(reply.len, 0);
}

static void test_a_line_ends_behind_its_newline(void **state)
{
	(void)state;
	struct reply_end reply = begin("line");

	assert_int_equal(take(&reply, "par"), 3);
	assert_false(reply.ended);
	assert_int_equal(take(&reply, "t\nand more\n"), 2);
	assert_true(reply.ended);
	assert_int_equal(reply.len, 5);
	assert_int_equal(take(&reply, "x"), 0);
}

static void test_an_empty_line_is_a_line(void **state)
{
	(void)state;
	struct reply_end reply = begin("line");

	assert_int_equal(take(&reply, "\n"), 1);
	assert_true(reply.ended);
}

static void test_a_line_without_a_newline_ends_with_the_close(void **state)
{
	(void)state;
	struct reply_end reply = begin("line");

	assert_int_equal(take(&reply, "half"), 4);
	reply_end_close(&reply);
	assert_true(reply.ended);
	assert_int_equal(reply.len, 4);
}

static void test_silence_ends_only_what_has_begun(void **state)
{
	(void)state;
	struct reply_end reply = begin("idle:200ms");

	assert_int_equal(reply_end_patience(&reply), 0);
	reply_end_silence(&reply);
	assert_false(reply.ended);
	assert_int_equal(take(&reply, "a\n"), 2);
	assert_int_equal(reply_end_patience(&reply), 200);
	assert_int_equal(take(&reply, "b"), 1);
	reply_end_silence(&reply);
	assert_true(reply.ended);
	assert_int_equal(reply_end_patience(&reply), 0);
}

static void test_a_fin_tells_the_end_only_where_the_reply_needs_no_open_connection(void **state)
{
	(void)state;

	assert_true(reply_rule_half_closes(begin("until-close").rule));
	assert_true(reply_rule_half_closes(begin("none").rule));
	assert_false(reply_rule_half_closes(begin("line").rule));
	assert_false(reply_rule_half_closes(begin("idle:1s").rule));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_word_of_the_manual_is_understood),
		cmocka_unit_test(test_what_is_no_rule_is_refused),
		cmocka_unit_test(test_until_close_only_the_close_ends_it),
		cmocka_unit_test(test_none_has_ended_before_it_begins),
		cmocka_unit_test(test_a_line_ends_behind_its_newline),
		cmocka_unit_test(test_an_empty_line_is_a_line),
		cmocka_unit_test(test_a_line_without_a_newline_ends_with_the_close),
		cmocka_unit_test(test_silence_ends_only_what_has_begun),
		cmocka_unit_test(test_a_fin_tells_the_end_only_where_the_reply_needs_no_open_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
