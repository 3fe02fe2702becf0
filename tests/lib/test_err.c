/* SPDX-License-Identifier: Apache-2.0 */
/* err: the words of a failure. */
#include "portseal/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_every_category_has_its_own_text(void **state)
{
	(void)state;
	for (int a = PS_OK; a <= PS_E_BUG; a++) {
		assert_string_not_equal(ps_err_text((enum ps_err)a), "unknown error");
		for (int b = a + 1; b <= PS_E_BUG; b++)
			assert_string_not_equal(ps_err_text((enum ps_err)a), ps_err_text((enum ps_err)b));
	}
}

static void test_a_number_that_is_no_category_still_has_a_text(void **state)
{
	(void)state;
	assert_string_equal(ps_err_text((enum ps_err)99), "unknown error");
}

static void test_set_formats_and_passes_the_code_on(void **state)
{
	(void)state;
	struct ps_cause cause;
	assert_int_equal(ps_cause_set(&cause, PS_E_CONFIG, "%s: mode %04o", "key", 0644U), PS_E_CONFIG);
	assert_string_equal(cause.text, "key: mode 0644");
}

static void test_a_null_cause_passes_the_code_on(void **state)
{
	(void)state;
	assert_int_equal(ps_cause_set(NULL, PS_E_IO, "x"), PS_E_IO);
	assert_int_equal(ps_cause_prefix(NULL, PS_E_AUTH, "x"), PS_E_AUTH);
	assert_int_equal(ps_cause_errno(NULL, PS_E_LIMIT, EMFILE, "x"), PS_E_LIMIT);
}

static void test_prefix_goes_before_what_a_lower_layer_said(void **state)
{
	(void)state;
	struct ps_cause cause;
	ps_cause_set(&cause, PS_E_CONFIG, "not a port");
	assert_int_equal(ps_cause_prefix(&cause, PS_E_CONFIG, "relay.conf:%d", 14), PS_E_CONFIG);
	assert_string_equal(cause.text, "relay.conf:14: not a port");
}

static void test_arguments_may_point_into_the_cause(void **state)
{
	(void)state;
	struct ps_cause cause;
	ps_cause_set(&cause, PS_E_IO, "inner");
	ps_cause_set(&cause, PS_E_IO, "outer (%s)", cause.text);
	assert_string_equal(cause.text, "outer (inner)");
}

static void test_errno_is_told_in_lower_case(void **state)
{
	(void)state;
	struct ps_cause cause;
	assert_int_equal(ps_cause_errno(&cause, PS_E_IO, ENOENT, "open %s", "a"), PS_E_IO);
	assert_string_equal(cause.text, "open a: no such file or directory");
}

static void test_a_newline_never_gets_into_a_cause(void **state)
{
	(void)state;
	struct ps_cause cause;
	ps_cause_set(&cause, PS_E_IO, "two\nlines\r\033");
	assert_string_equal(cause.text, "two lines  ");
}

static void test_a_long_cause_is_truncated_to_fit(void **state)
{
	(void)state;
	char longer[2 * PS_CAUSE_MAX];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	struct ps_cause cause;
	ps_cause_set(&cause, PS_E_IO, "%s", longer);
	assert_int_equal(strlen(cause.text), PS_CAUSE_MAX - 1);
	ps_cause_prefix(&cause, PS_E_IO, "%s", longer);
	assert_int_equal(strlen(cause.text), PS_CAUSE_MAX - 1);
}

static void test_truncation_leaves_no_half_character(void **state)
{
	(void)state;
	char longer[2 * PS_CAUSE_MAX];
	for (size_t pad = 0; pad < 4; pad++) {
		memset(longer, 'x', sizeof(longer));
		for (size_t i = pad; i + 3 < sizeof(longer); i += 3)
			memcpy(longer + i, "\xe2\x82\xac", 3);
		longer[sizeof(longer) - 4] = '\0';
		struct ps_cause cause;
		ps_cause_set(&cause, PS_E_IO, "%s", longer);
		const size_t whole = (PS_CAUSE_MAX - 1 - pad) / 3 * 3 + pad;
		assert_int_equal(strlen(cause.text), whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_category_has_its_own_text),
		cmocka_unit_test(test_a_number_that_is_no_category_still_has_a_text),
		cmocka_unit_test(test_set_formats_and_passes_the_code_on),
		cmocka_unit_test(test_a_null_cause_passes_the_code_on),
		cmocka_unit_test(test_prefix_goes_before_what_a_lower_layer_said),
		cmocka_unit_test(test_arguments_may_point_into_the_cause),
		cmocka_unit_test(test_errno_is_told_in_lower_case),
		cmocka_unit_test(test_a_newline_never_gets_into_a_cause),
		cmocka_unit_test(test_a_long_cause_is_truncated_to_fit),
		cmocka_unit_test(test_truncation_leaves_no_half_character),
	};
	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
