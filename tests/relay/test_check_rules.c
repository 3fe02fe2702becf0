/* SPDX-License-Identifier: Apache-2.0 */
/* check_rules: rules that can never be the one that allows are found, and no others. */
#include "findings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define RULES(...) ((struct access_rule[]){ __VA_ARGS__ })
#define SIXTY_FOUR "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* What is found of a service with these rules; "" for nothing. Two findings where one is expected fail. */
static const char *found(struct access_rule *rules, size_t n)
{
	static char text[PS_CAUSE_MAX];
	struct relay_service service = { .name = "a", .allow = { .rules = rules, .n_rules = n } };
	struct relay_config config = { .services_list = { .at = &service, .n = 1 } };
	struct findings findings = { .items = NULL };

	check_rules(&config, &findings);
	assert_in_range(findings.n, 0, 1);
	assert_int_equal(findings.n_warnings, findings.n);
	text[0] = '\0';
	if (findings.n == 1)
		memcpy(text, findings.items[0].text.text, sizeof(text));
	findings_clear(&findings);
	return text;
}

static void test_rules_that_differ_are_no_finding(void **state)
{
	(void)state;
	assert_string_equal(found(RULES({ .cn = "alice" }, { .cn = "bob" }, { .ou = "alice" }, { .dns = "alice" }), 4), "");
	assert_string_equal(found(RULES({ .uri = "spiffe://x/*" }, { .uri = "spiffe://x/**" }), 2), "");
}

static void test_whoever_comes_after_any_is_never_needed(void **state)
{
	(void)state;
	assert_string_equal(found(RULES({ .any = true }, { .cn = "alice" }), 2),
	                    "service a: rule 2 of allow is never needed: whoever it lets in, rule 1 lets in already");
	assert_string_equal(found(RULES({ .cn = "alice" }, { .any = true }), 2), "");
}

static void test_a_rule_that_stands_twice_is_found(void **state)
{
	(void)state;
	assert_string_equal(found(RULES({ .cn = "x" }, { .dns = "a.example" }, { .dns = "A.Example" }), 3),
	                    "service a: rule 3 of allow is never needed: whoever it lets in, rule 2 lets in already");
	assert_string_equal(found(RULES({ .cn = "alice" }, { .cn = "Alice" }), 2), "");
}

static void test_a_narrower_rule_behind_a_wider_one_is_found(void **state)
{
	(void)state;
	assert_string_equal(found(RULES({ .ou = "finance" }, { .ou = "finance", .cn = "bob" }), 2),
	                    "service a: rule 2 of allow is never needed: whoever it lets in, rule 1 lets in already");
	assert_string_equal(found(RULES({ .ou = "finance", .cn = "bob" }, { .ou = "finance" }), 2), "");
}

static void test_a_name_that_no_certificate_has_room_for_is_found(void **state)
{
	(void)state;
	assert_string_equal(found(RULES({ .cn = SIXTY_FOUR }), 1), "");
	assert_string_equal(
		found(RULES({ .cn = SIXTY_FOUR "a" }), 1),
		"service a: rule 1 of allow matches nobody: its cn has 65 characters, a certificate's at most 64");
	/* 64 characters, of which one has two bytes */
	assert_string_equal(found(RULES({ .ou = "\xc3\xa4"
	                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }),
	                          1),
	                    "");
}

static void test_rules_on_trial_are_looked_at_as_well(void **state)
{
	(void)state;
	struct relay_service service = { .name = "a",
		                             .would_allow = { .rules = RULES({ .any = true }, { .cn = "x" }), .n_rules = 2 } };
	struct relay_config config = { .services_list = { .at = &service, .n = 1 } };
	struct findings findings = { .items = NULL };

	check_rules(&config, &findings);
	assert_int_equal(findings.n, 1);
	assert_non_null(strstr(findings.items[0].text.text, "rule 2 of would_allow"));
	findings_clear(&findings);
}

static void test_more_findings_than_anyone_reads_are_counted(void **state)
{
	(void)state;
	struct findings findings = { .items = NULL };

	for (int i = 0; i < FINDINGS_MAX + 5; i++)
		findings_add(&findings, FINDING_WARNING, "rules", "%d", i);
	assert_int_equal(findings.n, FINDINGS_MAX);
	assert_int_equal(findings.n_lost, 5);
	assert_int_equal(findings.n_warnings, FINDINGS_MAX + 5);
	findings_clear(&findings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_that_differ_are_no_finding),
		cmocka_unit_test(test_whoever_comes_after_any_is_never_needed),
		cmocka_unit_test(test_a_rule_that_stands_twice_is_found),
		cmocka_unit_test(test_a_narrower_rule_behind_a_wider_one_is_found),
		cmocka_unit_test(test_a_name_that_no_certificate_has_room_for_is_found),
		cmocka_unit_test(test_rules_on_trial_are_looked_at_as_well),
		cmocka_unit_test(test_more_findings_than_anyone_reads_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
