/* SPDX-License-Identifier: Apache-2.0 */
/* units: what a person may write, and what is refused. */
#include "portseal/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define UNTOUCHED 424242

static void test_every_unit_of_time_is_understood(void **state)
{
	(void)state;
	static const struct {
		const char *string;
		uint64_t ms;
	} rows[] = {
		{ "0", 0 },
		{ "0s", 0 },
		{ "500ms", 500 },
		{ "10s", 10000 },
		{ "5m", 300000 },
		{ "24h", 86400000 },
		{ "30d", 2592000000 },
		{ "007s", 7000 },
		{ "18446744073709551615ms", UINT64_MAX },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t ms = UNTOUCHED;
		assert_int_equal(units_parse_duration(rows[i].string, &ms, NULL), PS_OK);
		assert_int_equal(ms, rows[i].ms);
	}
}

static void test_what_is_no_duration_is_refused(void **state)
{
	(void)state;
	static const char *const strings[] = {
		"",
		"s",
		"10",
		"10 s",
		" 10s",
		"10s ",
		"-1s",
		"+1s",
		"1.5s",
		"10sec",
		"10S",
		"1h30m",
		"0x1s",
		"00",
		"1e3s",
		"18446744073709551616ms",
		"18446744073709552s",
		"213503982335d",
	};
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		uint64_t ms = UNTOUCHED;
		assert_int_equal(units_parse_duration(strings[i], &ms, NULL), PS_E_CONFIG);
		assert_int_equal(ms, UNTOUCHED);
	}
}

static void test_the_cause_says_what_a_duration_looks_like(void **state)
{
	(void)state;
	struct ps_cause cause;
	uint64_t ms = 0;
	assert_int_equal(units_parse_duration("10 sec", &ms, &cause), PS_E_CONFIG);
	assert_string_equal(cause.text, "\"10 sec\" is not a duration such as 500ms, 10s, 5m or 24h");
}

static void test_sizes_are_powers_of_1024(void **state)
{
	(void)state;
	static const struct {
		const char *string;
		uint64_t bytes;
	} rows[] = {
		{ "0", 0 },          { "1500", 1500 },     { "64K", 65536 },
		{ "10M", 10485760 }, { "2G", 2147483648 }, { "18446744073709551615", UINT64_MAX },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t bytes = UNTOUCHED;
		assert_int_equal(units_parse_size(rows[i].string, &bytes, NULL), PS_OK);
		assert_int_equal(bytes, rows[i].bytes);
	}
}

static void test_what_is_no_size_is_refused(void **state)
{
	(void)state;
	static const char *const strings[] = { "",   "K",    "64 K", "64KB",         "64T",
		                                   "-1", "1.5M", "0x10", "17179869184G", "18446744073709551616" };
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		uint64_t bytes = UNTOUCHED;
		struct ps_cause cause;
		assert_int_equal(units_parse_size(strings[i], &bytes, &cause), PS_E_CONFIG);
		assert_int_equal(bytes, UNTOUCHED);
		assert_non_null(strstr(cause.text, "is not a size such as"));
	}
}

static void test_a_count_keeps_to_its_range(void **state)
{
	(void)state;
	uint64_t count = UNTOUCHED;
	assert_int_equal(units_parse_count("1", 1, 65535, &count, NULL), PS_OK);
	assert_int_equal(count, 1);
	assert_int_equal(units_parse_count("65535", 1, 65535, &count, NULL), PS_OK);
	assert_int_equal(count, 65535);
	assert_int_equal(units_parse_count("0", 1, 65535, &count, NULL), PS_E_CONFIG);
	assert_int_equal(units_parse_count("65536", 1, 65535, &count, NULL), PS_E_CONFIG);
	assert_int_equal(units_parse_count("7x", 1, 65535, &count, NULL), PS_E_CONFIG);
	assert_int_equal(units_parse_count("", 0, 65535, &count, NULL), PS_E_CONFIG);
	assert_int_equal(count, 65535);
}

static void test_the_cause_of_a_count_names_the_range_and_escapes(void **state)
{
	(void)state;
	struct ps_cause cause;
	uint64_t count = 0;
	assert_int_equal(units_parse_count("x\n", 1, 9, &count, &cause), PS_E_CONFIG);
	assert_string_equal(cause.text, "\"x\\x0a\" is not a whole number from 1 to 9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_unit_of_time_is_understood),
		cmocka_unit_test(test_what_is_no_duration_is_refused),
		cmocka_unit_test(test_the_cause_says_what_a_duration_looks_like),
		cmocka_unit_test(test_sizes_are_powers_of_1024),
		cmocka_unit_test(test_what_is_no_size_is_refused),
		cmocka_unit_test(test_a_count_keeps_to_its_range),
		cmocka_unit_test(test_the_cause_of_a_count_names_the_range_and_escapes),
	};
	return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
