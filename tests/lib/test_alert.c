/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "portseal/alert.h"

static void test_alerts_have_the_names_of_the_rfc(void **state)
{
	(void)state;
	assert_string_equal(alert_name(0), "close_notify");
	assert_string_equal(alert_name(20), "bad_record_mac");
	assert_string_equal(alert_name(48), "unknown_ca");
	assert_string_equal(alert_name(116), "certificate_required");
	assert_string_equal(alert_name(120), "no_application_protocol");
}

static void test_unassigned_numbers_are_named_by_number(void **state)
{
	const char *first = alert_name(173);

	(void)state;
	assert_string_equal(alert_name(254), "alert_254");
	assert_string_equal(alert_name(1), "alert_1");
	assert_string_equal(first, "alert_173");
}

static void test_no_alert_is_not_a_number(void **state)
{
	(void)state;
	assert_string_equal(alert_name(ALERT_NONE), "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alerts_have_the_names_of_the_rfc),
		cmocka_unit_test(test_unassigned_numbers_are_named_by_number),
		cmocka_unit_test(test_no_alert_is_not_a_number),
	};

	return cmocka_run_group_tests_name("alert", tests, NULL, NULL);
}
