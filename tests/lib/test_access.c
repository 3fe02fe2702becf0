/* SPDX-License-Identifier: Apache-2.0 */
/* access: whom a rule lets in, and above all whom it does not. */
#include "portseal/access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array_) (sizeof(array_) / sizeof((array_)[0]))
#define PIN "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

struct match {
	const char *rule;
	const char *name;
	bool matches;
};

static struct identity one_name(struct identity_name *name, enum identity_kind kind, const char *value)
{
	*name = (struct identity_name){ .kind = kind, .len = strlen(value), .value = (char *)(uintptr_t)value };
	return (struct identity){ .names = name, .n_names = 1 };
}

static void assert_matches(const struct access_rule *rule, enum identity_kind kind, const char *value, bool expected)
{
	struct identity_name name;
	struct identity identity = one_name(&name, kind, value);

	if ((access_rule_fails(rule, &identity) == NULL) != expected)
		fail_msg("\"%s\" must %smatch", value, expected ? "" : "not ");
}

static void assert_table(enum identity_kind kind, const struct match *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct access_rule rule = { .dns = kind == IDENTITY_DNS ? cases[i].rule : NULL,
			                        .uri = kind == IDENTITY_URI ? cases[i].rule : NULL };
		print_message("%s against %s\n", cases[i].name, cases[i].rule);
		assert_int_equal(access_rule_check(&rule, NULL), PS_OK);
		assert_matches(&rule, kind, cases[i].name, cases[i].matches);
	}
}

static void test_cn_and_ou_match_exactly(void **state)
{
	(void)state;
	struct access_rule cn = { .cn = "alice" }, ou = { .ou = "finance" };

	assert_matches(&cn, IDENTITY_CN, "alice", true);
	assert_matches(&cn, IDENTITY_CN, "Alice", false);
	assert_matches(&cn, IDENTITY_CN, "alice2", false);
	assert_matches(&cn, IDENTITY_CN, "alic", false);
	assert_matches(&cn, IDENTITY_CN, "", false);
	assert_matches(&cn, IDENTITY_OU, "alice", false);
	assert_matches(&cn, IDENTITY_DNS, "alice", false);
	assert_matches(&ou, IDENTITY_OU, "finance", true);
	assert_matches(&ou, IDENTITY_CN, "finance", false);
	assert_matches(&ou, IDENTITY_OU, "finance ", false);
}

static void test_dns_wildcard_is_one_whole_label(void **state)
{
	(void)state;
	static const struct match cases[] = {
		{ "a.example.com", "a.example.com", true },
		{ "a.example.com", "A.EXAMPLE.com", true },
		{ "a.example.com", "b.example.com", false },
		{ "a.example.com", "a.example.com.", false },
		{ "a.example.com", "a.example.com.evil.org", false },
		{ "a.example.com", "xa.example.com", false },
		{ "*.tills.example.com", "t1.tills.example.com", true },
		{ "*.tills.example.com", "tills.example.com", false },
		{ "*.tills.example.com", ".tills.example.com", false },
		{ "*.tills.example.com", "a.b.tills.example.com", false },
		{ "*.tills.example.com", "*.tills.example.com", false },
		{ "*.tills.example.com", "t1.tills.example.org", false },
		{ "t1.tills.example.com", "*.tills.example.com", false },
		{ "a.*.example.com", "a.b.example.com", true },
		{ "a.*.example.com", "a..example.com", false },
		{ "a.*.example.com", "a.example.com", false },
	};

	assert_table(IDENTITY_DNS, cases, COUNT(cases));
}

static void test_uri_wildcards_are_whole_plain_segments(void **state)
{
	(void)state;
	static const struct match cases[] = {
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing/till", true },
		{ "spiffe://example.com/billing/*", "SPIFFE://Example.COM/billing/till", true },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing/a/b", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing/", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing/a/", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/Billing/a", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com//billing/a", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.org/billing/a", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com.evil.org/billing/a", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com:80/billing/a", false },
		{ "spiffe://example.com/billing/*", "spiffe://a@example.com/billing/a", false },
		{ "spiffe://example.com/billing/*", "https://example.com/billing/a", false },
		{ "spiffe://example.com/billing/*", "spiffe:/example.com/billing/a", false },
		{ "spiffe://example.com/billing/*", "xspiffe://example.com/billing/a", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing/..", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing/.", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing/a%2Fb", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing/a?b", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing/a#b", false },
		{ "spiffe://example.com/billing/*", "spiffe://example.com/billing/*", false },
		{ "spiffe://example.com/billing/*", "", false },
		{ "spiffe://example.com/billing/*", "spiffe:", false },
		{ "spiffe://example.com/*/till", "spiffe://example.com/a/till", true },
		{ "spiffe://example.com/*/till", "spiffe://example.com/a/b/till", false },
		{ "spiffe://example.com/*/till", "spiffe://example.com//till", false },
		{ "spiffe://example.com/*/till", "spiffe://example.com/a/till/x", false },
		{ "spiffe://example.com/billing/**", "spiffe://example.com/billing/a", true },
		{ "spiffe://example.com/billing/**", "spiffe://example.com/billing/a/b/c", true },
		{ "spiffe://example.com/billing/**", "spiffe://example.com/billing/", false },
		{ "spiffe://example.com/billing/**", "spiffe://example.com/billing", false },
		{ "spiffe://example.com/billing/**", "spiffe://example.com/billing/a/../../admin", false },
		{ "spiffe://example.com/billing/**", "spiffe://example.com/billing/a//b", false },
		{ "spiffe://example.com/billing/**", "spiffe://example.com/billing/%2e%2e/admin", false },
		{ "spiffe://example.com/billing/**", "spiffe://example.com/billingx/a", false },
		{ "spiffe://example.com/a%2fb", "spiffe://example.com/a%2fb", true },
		{ "spiffe://example.com/a%2fb", "spiffe://example.com/a/b", false },
		{ "spiffe://example.com", "spiffe://example.com", true },
		{ "spiffe://example.com", "spiffe://example.com/", false },
		{ "urn:uuid:1", "urn:uuid:1", true },
		{ "urn:uuid:1", "URN:uuid:1", true },
		{ "urn:uuid:1", "urn:UUID:1", false },
		{ "urn:uuid:1", "urn:uuid:12", false },
		{ "urn:uuid:1", "urn://uuid:1", false },
	};

	assert_table(IDENTITY_URI, cases, COUNT(cases));
}

static void test_pin_matches_that_key_only(void **state)
{
	(void)state;
	struct access_rule rule = { .spki_sha256 = PIN };
	struct identity identity = { .n_names = 0 };

	assert_int_equal(access_rule_check(&rule, NULL), PS_OK);
	for (uint8_t i = 0; i < IDENTITY_PIN_LEN; i++)
		identity.pin[i] = i;
	assert_null(access_rule_fails(&rule, &identity));
	identity.pin[31] ^= 1;
	assert_string_equal(access_rule_fails(&rule, &identity), "spki_sha256");
}

static void test_all_keys_of_a_rule_must_match(void **state)
{
	(void)state;
	struct identity_name names[] = { { IDENTITY_CN, 5, (char *)(uintptr_t) "alice" },
		                             { IDENTITY_OU, 7, (char *)(uintptr_t) "finance" } };
	struct identity identity = { .names = names, .n_names = 2 };
	struct access_rule both = { .cn = "alice", .ou = "finance" };
	struct access_rule half = { .cn = "alice", .ou = "sales" };
	struct access_rule other = { .cn = "bob", .ou = "finance" };

	assert_null(access_rule_fails(&both, &identity));
	assert_string_equal(access_rule_fails(&half, &identity), "ou");
	assert_string_equal(access_rule_fails(&other, &identity), "cn");
}

static void test_any_lets_in_and_nothing_does_not(void **state)
{
	(void)state;
	struct identity nobody = { .n_names = 0 };
	struct access_rule any = { .any = true }, empty = { .any = false };

	assert_null(access_rule_fails(&any, &nobody));
	assert_string_equal(access_rule_fails(&empty, &nobody), "any");
	assert_int_equal(access_match(&(struct access_list){ NULL, 0 }, &nobody), -1);
	assert_int_equal(access_match(&(struct access_list){ &empty, 1 }, &nobody), -1);
}

static void test_match_is_the_first_rule_that_allows(void **state)
{
	(void)state;
	struct identity_name name;
	struct identity alice = one_name(&name, IDENTITY_CN, "alice");
	struct access_rule rules[] = { { .cn = "bob" }, { .cn = "alice" }, { .any = true } };

	assert_int_equal(access_match(&(struct access_list){ rules, 3 }, &alice), 1);
	assert_int_equal(access_match(&(struct access_list){ rules, 1 }, &alice), -1);
}

static void test_rules_that_cannot_be_meant_are_refused(void **state)
{
	(void)state;
	struct access_rule cases[] = {
		{ .cn = NULL },
		{ .any = true, .cn = "alice" },
		{ .cn = "" },
		{ .cn = "al*" },
		{ .cn = "J\xfcrgen" }, /* a file in Latin-1 */
		{ .cn = "al\nice" },
		{ .ou = "fin\x7f" },
		{ .ou = "" },
		{ .ou = "*" },
		{ .dns = "" },
		{ .dns = "*" },
		{ .dns = "*.*" },
		{ .dns = "a*.example.com" },
		{ .dns = "**.example.com" },
		{ .dns = "a..example.com" },
		{ .dns = ".example.com" },
		{ .dns = "example.com." },
		{ .dns = "exa mple.com" },
		{ .dns = "b\xc3\xbc.example.com" },
		{ .uri = "" },
		{ .uri = "*" },
		{ .uri = "spiffe" },
		{ .uri = "spiffe:" },
		{ .uri = "://example.com" },
		{ .uri = "1x://example.com" },
		{ .uri = "spiffe*://example.com/a" },
		{ .uri = "spiffe://*/a" },
		{ .uri = "spiffe://*.example.com/a" },
		{ .uri = "spiffe://u@example.com/a" },
		{ .uri = "spiffe://example.com/a*" },
		{ .uri = "spiffe://example.com/***" },
		{ .uri = "spiffe://example.com/**/a" },
		{ .uri = "spiffe://example.com/**/" },
		{ .uri = "spiffe://example.com/*?a" },
		{ .uri = "spiffe://example.com/a b" },
		{ .uri = "urn:a:*" },
		{ .spki_sha256 = "" },
		{ .spki_sha256 = "AAAA" },
		{ .spki_sha256 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" },
		{ .spki_sha256 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gAA==" },
		{ .spki_sha256 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdH!8=" },
		{ .spki_sha256 = "\nAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ps_cause cause = { "" };
		assert_int_equal(access_rule_check(&cases[i], &cause), PS_E_CONFIG);
		print_message("%s\n", cause.text);
		assert_string_not_equal(cause.text, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cn_and_ou_match_exactly),
		cmocka_unit_test(test_dns_wildcard_is_one_whole_label),
		cmocka_unit_test(test_uri_wildcards_are_whole_plain_segments),
		cmocka_unit_test(test_pin_matches_that_key_only),
		cmocka_unit_test(test_all_keys_of_a_rule_must_match),
		cmocka_unit_test(test_any_lets_in_and_nothing_does_not),
		cmocka_unit_test(test_match_is_the_first_rule_that_allows),
		cmocka_unit_test(test_rules_that_cannot_be_meant_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
