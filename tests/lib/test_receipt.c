/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "portseal/receipt.h"

#define ID "0123456789abcdef0123456789abcdef"
#define SHA ":47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:" /* of nothing */
#define GOOD "\"" ID "\";sha256=" SHA ";time=@1764225264"

/* A copy of exactly its length, so that a read past its end is seen. */
static enum ps_err parse(const char *value, struct receipt *receipt)
{
	const size_t len = strlen(value);
	char *copy = malloc(len + 1);
	enum ps_err err;

	assert_non_null(copy);
	memcpy(copy, value, len);
	err = receipt_parse(copy, len, receipt);
	free(copy);
	return err;
}

static void test_what_is_printed_is_understood(void **state)
{
	(void)state;
	uint8_t sha256[RECEIPT_SHA256_LEN];
	char text[RECEIPT_TEXT_MAX];
	struct receipt made, read;

	for (size_t i = 0; i < sizeof(sha256); i++)
		sha256[i] = (uint8_t)(i * 7 + 250);
	assert_int_equal(receipt_make(sha256, 1764225264, &made), PS_OK);
	const size_t len = receipt_print(&made, text);
	assert_int_equal(len, strlen(text));
	assert_int_equal(parse(text, &read), PS_OK);
	assert_string_equal(read.id, made.id);
	assert_memory_equal(read.sha256, sha256, sizeof(sha256));
	assert_int_equal(read.time, 1764225264);
}

static void test_it_is_printed_as_the_manual_says(void **state)
{
	(void)state;
	char text[RECEIPT_TEXT_MAX];
	struct receipt read;

	assert_int_equal(parse(GOOD, &read), PS_OK);
	receipt_print(&read, text);
	assert_string_equal(text, GOOD);
}

static void test_two_receipts_have_two_ids(void **state)
{
	(void)state;
	const uint8_t sha256[RECEIPT_SHA256_LEN] = { 0 };
	struct receipt one, other;

	assert_int_equal(receipt_make(sha256, 0, &one), PS_OK);
	assert_int_equal(receipt_make(sha256, 0, &other), PS_OK);
	assert_string_not_equal(one.id, other.id);
}

static void test_parameters_come_in_any_order_and_later_ones_are_passed_over(void **state)
{
	(void)state;
	static const char *const values[] = {
		"\"" ID "\";time=@1764225264;sha256=" SHA,
		GOOD ";relay=edge-1",
		"\"" ID "\";v=2;sha256=" SHA ";flag;time=@1764225264",
	};
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct receipt read;
		assert_int_equal(parse(values[i], &read), PS_OK);
		assert_string_equal(read.id, ID);
		assert_int_equal(read.time, 1764225264);
	}
}

static void test_every_truncation_is_refused(void **state)
{
	(void)state;
	/* But for the time's last digits, behind which a shorter time is a time. */
	for (size_t len = 0; len < strlen(GOOD) - strlen("764225264"); len++) {
		char value[sizeof(GOOD)] = GOOD;
		struct receipt read = { .time = -5 };
		value[len] = '\0';
		assert_int_equal(parse(value, &read), PS_E_PROTO);
		assert_int_equal(read.time, -5);
	}
}

static void test_fields_out_of_range_are_refused(void **state)
{
	(void)state;
	static const char *const values[] = {
		"\"" ID "0\";sha256=" SHA ";time=@1",
		"\"0123456789ABCDEF0123456789abcdef\";sha256=" SHA ";time=@1",
		"\"" ID "\";sha256=:47DE:;time=@1",
		"\"" ID "\";sha256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUA:;time=@1",
		"\"" ID "\";sha256=" SHA ";time=@",
		"\"" ID "\";sha256=" SHA ";time=@-1",
		"\"" ID "\";sha256=" SHA ";time=1",
		"\"" ID "\";sha256=" SHA ";time=@1234567890123456",
		"\"" ID "\";sha256=" SHA,
		"\"" ID "\";time=@1",
		GOOD " ",
		GOOD ";",
		GOOD ",",
	};
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct receipt read;
		assert_int_equal(parse(values[i], &read), PS_E_PROTO);
	}
}

static void test_times_are_printed_in_utc(void **state)
{
	(void)state;
	char text[RECEIPT_TIME_MAX];

	receipt_print_time(1764225264, text);
	assert_string_equal(text, "2025-11-27T06:34:24Z");
	receipt_print_time(INT64_MAX, text);
	assert_string_equal(text, "@9223372036854775807");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_printed_is_understood),
		cmocka_unit_test(test_it_is_printed_as_the_manual_says),
		cmocka_unit_test(test_two_receipts_have_two_ids),
		cmocka_unit_test(test_parameters_come_in_any_order_and_later_ones_are_passed_over),
		cmocka_unit_test(test_every_truncation_is_refused),
		cmocka_unit_test(test_fields_out_of_range_are_refused),
		cmocka_unit_test(test_times_are_printed_in_utc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
