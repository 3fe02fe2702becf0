/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "problem.h"

static enum ps_err parse(const char *body, size_t len, struct problem *problem)
{
	char *copy = malloc(len + 1);
	enum ps_err err;

	assert_non_null(copy);
	memcpy(copy, body, len);
	err = problem_parse(copy, len, problem);
	free(copy);
	return err;
}

static void assert_read(const char *body, const char *reason, const char *detail)
{
	struct problem problem;

	assert_int_equal(parse(body, strlen(body), &problem), PS_OK);
	assert_string_equal(problem.reason, reason);
	assert_string_equal(problem.detail, detail);
}

static void test_what_the_relay_says_is_understood(void **state)
{
	(void)state;

	assert_read(
		"{\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403,\"reason\":\"not-allowed\",\"detail\":\"ask \\\"it\\\"\"}\n",
		"not-allowed", "ask \"it\"");
}

static void test_a_detail_that_is_too_long_is_cut(void **state)
{
	(void)state;
	char body[2000] = "{\"detail\":\"";
	struct problem problem;

	memset(body + 11, 'x', 1000);
	memcpy(body + 1011, "\",\"reason\":\"idle\"}", 18);
	assert_int_equal(parse(body, 1029, &problem), PS_OK);
	assert_int_equal(strlen(problem.detail), PROBLEM_DETAIL_MAX - 1);
	assert_string_equal(problem.reason, "idle");
}

static void test_members_of_others_are_passed_over(void **state)
{
	(void)state;

	assert_read("{}", "", "");
	assert_read(" { \"type\" : \"about:blank\", \"n\":[1,{\"reason\":\"no\"},[]], \"reason\":\"revoked\"}\r\n",
	            "revoked", "");
	assert_read("{\"status\":403,\"x\":null,\"y\":-1.5e3,\"detail\":\"\\u0041\\u00e9\\/\"}", "", "A?/");
	assert_read("{\"reason\":5,\"detail\":[\"x\"]}", "", "");
	assert_read("{\"reason\":\"a word\"}", "", "");
	assert_read("{\"x\":{\"a\":{\"b\":[]}},\"reason\":\"idle\"}", "idle", "");
}

static void test_every_truncation_is_refused(void **state)
{
	(void)state;
	static const char whole[] = "{\"status\":403,\"reason\":\"not-\\u0061llowed\",\"x\":[1,\"\\\"\"],\"detail\":\"d\"}";
	struct problem problem;

	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		assert_int_equal(parse(whole, len, &problem), PS_E_PROTO);
		assert_string_equal(problem.reason, "");
	}
}

static void test_what_is_no_object_is_refused(void **state)
{
	(void)state;
	static const char *const bodies[] = { "[]",          "\"x\"",      "{\"a\"}",        "{\"a\":}",           "{,}",
		                                  "{\"a\":1,}",  "{\"a\":1}x", "{\"a\":\"\n\"}", "{\"a\":\"\\x\"}",    "{a:1}",
		                                  "{\"a\":1 2}", "{\"a\":]}",  "<html>",         "{\"a\":\"\\u00g0\"}" };

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct problem problem;
		assert_int_equal(parse(bodies[i], strlen(bodies[i]), &problem), PS_E_PROTO);
	}
}

static void test_depth_is_bounded(void **state)
{
	(void)state;
	char body[4096] = "{\"a\":";
	struct problem problem;

	memset(body + 5, '[', 2000);
	memset(body + 2005, ']', 2000);
	body[4005] = '}';
	assert_int_equal(parse(body, 4006, &problem), PS_E_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_relay_says_is_understood),
		cmocka_unit_test(test_a_detail_that_is_too_long_is_cut),
		cmocka_unit_test(test_members_of_others_are_passed_over),
		cmocka_unit_test(test_every_truncation_is_refused),
		cmocka_unit_test(test_what_is_no_object_is_refused),
		cmocka_unit_test(test_depth_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
