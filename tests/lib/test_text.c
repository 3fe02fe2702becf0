/* SPDX-License-Identifier: Apache-2.0 */
/* text: nothing overflows, nothing is split, and no foreign byte acts on the reader's terminal. */
#include "portseal/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *escaped(const char *bytes, size_t len)
{
	static char out[256];
	struct text text;
	text_init(&text, out, sizeof(out));
	text_add_escaped(&text, bytes, len);
	return out;
}

static const char *json(const char *bytes, size_t len)
{
	static char out[256];
	struct text text;
	text_init(&text, out, sizeof(out));
	text_add_json(&text, bytes, len);
	return out;
}

static void test_pieces_are_joined(void **state)
{
	(void)state;
	char out[32];
	struct text text;
	text_init(&text, out, sizeof(out));
	assert_string_equal(out, "");
	text_add(&text, "conn=");
	text_addf(&text, "%d", 7);
	text_add_bytes(&text, " abc", 3);
	text_add_hex(&text, (const uint8_t *)"\x00\xaf", 2);
	assert_string_equal(out, "conn=7 ab00af");
	assert_int_equal(text.len, strlen(out));
	assert_false(text.cut);
}

static void test_a_text_that_just_fits_is_not_cut(void **state)
{
	(void)state;
	char out[6];
	struct text text;
	text_init(&text, out, sizeof(out));
	text_add(&text, "12345");
	assert_string_equal(out, "12345");
	assert_false(text.cut);

	text_init(&text, out, sizeof(out));
	text_addf(&text, "%s", "12345");
	assert_string_equal(out, "12345");
	assert_false(text.cut);
}

static void test_a_text_that_does_not_fit_ends_in_an_ellipsis(void **state)
{
	(void)state;
	char out[6];
	struct text text;
	text_init(&text, out, sizeof(out));
	text_add(&text, "123456");
	assert_string_equal(out, "12…");
	assert_true(text.cut);
	text_add(&text, "7");
	text_addf(&text, "%d", 8);
	assert_string_equal(out, "12…");

	text_init(&text, out, sizeof(out));
	text_addf(&text, "%s", "123456");
	assert_string_equal(out, "12…");
	assert_true(text.cut);
}

static void test_a_later_piece_cuts_into_an_earlier_one(void **state)
{
	(void)state;
	char out[6];
	struct text text;
	text_init(&text, out, sizeof(out));
	text_add(&text, "1234");
	text_add(&text, "56");
	assert_string_equal(out, "12…");
}

static void test_no_storage_is_too_small(void **state)
{
	(void)state;
	for (size_t cap = 1; cap <= 4; cap++) {
		char out[8] = "#######";
		struct text text;
		text_init(&text, out, cap);
		text_add(&text, "abcdef");
		text_add_escaped(&text, "\n", 1);
		assert_string_equal(out, cap == 4 ? "…" : "");
		assert_true(text.cut);
		assert_int_equal(out[cap], '#');
	}
}

static void test_a_cut_never_splits_a_character(void **state)
{
	(void)state;
	char out[8]; /* room for 4 bytes and the ellipsis: one euro sign, not two */
	struct text text;
	text_init(&text, out, sizeof(out));
	text_add(&text, "€€€");
	assert_string_equal(out, "€…");
	text_init(&text, out, sizeof(out));
	text_addf(&text, "%s", "€€€");
	assert_string_equal(out, "€…");
}

static void test_a_cut_never_splits_an_escape(void **state)
{
	(void)state;
	char out[8];
	struct text text;
	text_init(&text, out, sizeof(out));
	text_add(&text, "abc");
	text_add_escaped(&text, "\"\"\"", 3);
	assert_string_equal(out, "abc…");
	text_init(&text, out, sizeof(out));
	text_add_json(&text, "\001", 1); /* six bytes that fit and leave no room for the ellipsis */
	text_add(&text, "xyz");
	assert_string_equal(out, "…");
}

static void test_visible_text_stays(void **state)
{
	(void)state;
	static const char plain[] = "alice@example.com Zoë 東京 😀 €";
	assert_string_equal(escaped(plain, strlen(plain)), plain);
	assert_string_equal(json(plain, strlen(plain)), plain);
}

static void test_quotes_and_backslashes_are_escaped(void **state)
{
	(void)state;
	assert_string_equal(escaped("a\"b\\c", 5), "a\\\"b\\\\c");
	assert_string_equal(json("a\"b\\c", 5), "a\\\"b\\\\c");
}

static void test_a_forged_line_stays_on_its_line(void **state)
{
	(void)state;
	assert_string_equal(escaped("x\r\n2026 info", 12), "x\\x0d\\x0a2026 info");
	assert_string_equal(json("x\r\n\t\b\f", 6), "x\\r\\n\\t\\b\\f");
}

static void test_every_ascii_control_is_escaped(void **state)
{
	(void)state;
	for (int c = 0; c < 0x80; c++) {
		const char byte = (char)c;
		const char *out = escaped(&byte, 1);
		if (c < 0x20 || c == 0x7f)
			assert_int_equal(strlen(out), 4);
		for (; *out != '\0'; out++)
			assert_in_range((unsigned char)*out, 0x20, 0x7e);
	}
}

static void test_terminal_sequences_lose_their_escape(void **state)
{
	(void)state;
	assert_string_equal(escaped("\033[2J", 4), "\\x1b[2J");
	assert_string_equal(escaped("\x9b"
	                            "2J",
	                            3),
	                    "\\x9b2J");
	assert_string_equal(escaped("\xc2\x9b"
	                            "2J",
	                            4),
	                    "\\xc2\\x9b2J");
	assert_string_equal(json("\033[2J\x7f", 5), "\\u001b[2J\\u007f");
	assert_string_equal(json("\xc2\x9b"
	                         "2J",
	                         4),
	                    "\\u009b2J");
}

static void test_direction_and_line_separators_are_escaped(void **state)
{
	(void)state;
	static const struct {
		const char *bytes, *escaped, *json;
	} rows[] = {
		{ "\xe2\x80\xaa", "\\xe2\\x80\\xaa", "\\u202a" },
		{ "\xe2\x80\xae", "\\xe2\\x80\\xae", "\\u202e" },
		{ "\xe2\x81\xa6", "\\xe2\\x81\\xa6", "\\u2066" },
		{ "\xe2\x81\xa9", "\\xe2\\x81\\xa9", "\\u2069" },
		{ "\xe2\x80\xa8", "\\xe2\\x80\\xa8", "\\u2028" },
		{ "\xe2\x80\xa9", "\\xe2\\x80\\xa9", "\\u2029" },
		{ "\xe2\x80\x8b", "\\xe2\\x80\\x8b", "\\u200b" },
		{ "\xef\xbb\xbf", "\\xef\\xbb\\xbf", "\\ufeff" },
		{ "\xc2\x80", "\\xc2\\x80", "\\u0080" },
		{ "\xc2\x9f", "\\xc2\\x9f", "\\u009f" },
		{ "\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81", "\\udb40\\udc41" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_string_equal(escaped(rows[i].bytes, strlen(rows[i].bytes)), rows[i].escaped);
		assert_string_equal(json(rows[i].bytes, strlen(rows[i].bytes)), rows[i].json);
	}
}

static void test_malformed_utf8_is_escaped_byte_by_byte(void **state)
{
	(void)state;
	static const struct {
		const char *bytes, *escaped;
		size_t json_replacements;
	} rows[] = {
		{ "\x80", "\\x80", 1 },                            /* continuation alone */
		{ "\xc0\x8a", "\\xc0\\x8a", 2 },                   /* overlong newline */
		{ "\xe0\x80\x8a", "\\xe0\\x80\\x8a", 3 },          /* overlong newline */
		{ "\xf0\x80\x80\x8a", "\\xf0\\x80\\x80\\x8a", 4 }, /* overlong newline */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", 3 },          /* surrogate */
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", 4 }, /* beyond U+10FFFF */
		{ "\xe2\x82", "\\xe2\\x82", 2 },                   /* truncated */
		{ "\xff", "\\xff", 1 },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const size_t len = strlen(rows[i].bytes);
		assert_string_equal(escaped(rows[i].bytes, len), rows[i].escaped);
		assert_int_equal(strlen(json(rows[i].bytes, len)), 3 * rows[i].json_replacements);
	}
}

static void test_a_broken_sequence_does_not_swallow_its_successor(void **state)
{
	(void)state;
	assert_string_equal(escaped("\xe2\n", 2), "\\xe2\\x0a");
	assert_string_equal(escaped("\xe2\x82"
	                            "A",
	                            3),
	                    "\\xe2\\x82A");
}

static void test_quoted_always_closes_its_quotes(void **state)
{
	(void)state;
	char out[TEXT_QUOTED_MAX];
	assert_string_equal(text_quoted(out, ""), "\"\"");
	assert_string_equal(text_quoted(out, "a\n"), "\"a\\x0a\"");
	assert_string_equal(text_escaped(out, "a\n"), "a\\x0a");

	char longer[2 * TEXT_QUOTED_MAX];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	text_quoted(out, longer);
	assert_int_equal(strlen(out), TEXT_QUOTED_MAX - 1);
	assert_string_equal(out + TEXT_QUOTED_MAX - 1 - 4, "…\"");
}

static void test_the_nearest_word_is_suggested(void **state)
{
	(void)state;
	static const char *const keys[] = { "listen", "tls", "services", "service", "limits", "log", "client_ca", NULL };
	assert_string_equal(text_nearest("lisen", keys), "listen");
	assert_string_equal(text_nearest("servcies", keys), "services");
	assert_string_equal(text_nearest("service", keys), "service");
	assert_string_equal(text_nearest("tsl", keys), "tls");
	assert_string_equal(text_nearest("client-ca", keys), "client_ca");
}

static void test_a_word_near_to_nothing_gets_no_suggestion(void **state)
{
	(void)state;
	static const char *const keys[] = { "listen", "tls", NULL };
	static const char *const none[] = { NULL };
	assert_null(text_nearest("certificate", keys));
	assert_null(text_nearest("", keys));
	assert_null(text_nearest("tls", none));
	assert_null(text_nearest("xyz", keys));
	char longest[200];
	memset(longest, 'l', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_null(text_nearest(longest, keys));
	const char *const longs[] = { longest, NULL };
	assert_null(text_nearest("listen", longs));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_are_joined),
		cmocka_unit_test(test_a_text_that_just_fits_is_not_cut),
		cmocka_unit_test(test_a_text_that_does_not_fit_ends_in_an_ellipsis),
		cmocka_unit_test(test_a_later_piece_cuts_into_an_earlier_one),
		cmocka_unit_test(test_no_storage_is_too_small),
		cmocka_unit_test(test_a_cut_never_splits_a_character),
		cmocka_unit_test(test_a_cut_never_splits_an_escape),
		cmocka_unit_test(test_visible_text_stays),
		cmocka_unit_test(test_quotes_and_backslashes_are_escaped),
		cmocka_unit_test(test_a_forged_line_stays_on_its_line),
		cmocka_unit_test(test_every_ascii_control_is_escaped),
		cmocka_unit_test(test_terminal_sequences_lose_their_escape),
		cmocka_unit_test(test_direction_and_line_separators_are_escaped),
		cmocka_unit_test(test_malformed_utf8_is_escaped_byte_by_byte),
		cmocka_unit_test(test_a_broken_sequence_does_not_swallow_its_successor),
		cmocka_unit_test(test_quoted_always_closes_its_quotes),
		cmocka_unit_test(test_the_nearest_word_is_suggested),
		cmocka_unit_test(test_a_word_near_to_nothing_gets_no_suggestion),
	};
	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
