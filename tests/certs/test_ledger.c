/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "portseal-certs index 1\ncrl 7\n"
#define GOOD "cert 0a0b relay 20260101000000Z 20270101000000Z valid gate\n"
#define REVOKED "cert 0c sender 20260101000000Z 20270101000000Z revoked:20260601120000Z:keyCompromise two words\n"

static void refused_at(const char *text, const char *line)
{
	struct ledger ledger = LEDGER_INIT;
	struct ps_cause cause = { "" };
	assert_int_equal(ledger_parse(text, &ledger, &cause), PS_E_CONFIG);
	if (strncmp(cause.text, line, strlen(line)) != 0)
		fail_msg("\"%s\" does not begin with \"%s\"", cause.text, line);
	assert_null(ledger.entries);
}

static void test_what_is_printed_is_what_was_parsed(void **state)
{
	(void)state;
	struct ledger ledger = LEDGER_INIT;
	struct ps_cause cause = { "" };
	struct buf out = BUF_INIT;
	assert_int_equal(ledger_parse(HEAD GOOD REVOKED, &ledger, &cause), PS_OK);
	assert_int_equal(ledger_print(&ledger, &out), PS_OK);
	assert_int_equal(buf_append(&out, "", 1), PS_OK);
	assert_string_equal((const char *)buf_front(&out), HEAD GOOD REVOKED);
	buf_release(&out);
	ledger_clear(&ledger);
}

static void test_every_field_of_an_entry_is_read(void **state)
{
	(void)state;
	struct ledger ledger = LEDGER_INIT;
	struct ps_cause cause = { "" };
	assert_int_equal(ledger_parse(HEAD GOOD REVOKED, &ledger, &cause), PS_OK);
	assert_int_equal(ledger.crl_number, 7);
	assert_int_equal(ledger.n_entries, 2);
	const struct ledger_entry *entry = ledger_find_serial(&ledger, "0c");
	assert_non_null(entry);
	assert_int_equal(entry->role, ROLE_SENDER);
	assert_string_equal(entry->name, "two words");
	assert_int_equal(entry->validity.from, 1767225600);
	assert_int_equal(entry->validity.until, 1798761600);
	assert_int_equal(entry->revoked_at, 1780315200);
	assert_int_equal(entry->revoked->number, 1);
	assert_null(ledger_find_serial(&ledger, "0d"));
	ledger_clear(&ledger);
}

static void test_a_line_that_means_nothing_is_named(void **state)
{
	(void)state;
	refused_at(HEAD GOOD "nonsense\n", "line 4: ");
	refused_at(HEAD "\n" GOOD, "line 3: ");
	refused_at(HEAD "crl -1\n", "line 3: ");
	refused_at(HEAD "crl 99999999999\n", "line 3: ");
	refused_at("portseal-certs index 2\n", "line 1: ");
	refused_at("", "line 1: ");
}

static void test_each_field_out_of_its_range_is_refused(void **state)
{
	(void)state;
	refused_at(HEAD "cert 0A0B relay 20260101000000Z 20270101000000Z valid gate\n", "line 3: ");
	refused_at(HEAD "cert 0a0 relay 20260101000000Z 20270101000000Z valid gate\n", "line 3: ");
	refused_at(HEAD
	           "cert 000102030405060708090a0b0c0d0e0f1011121314 relay 20260101000000Z 20270101000000Z valid gate\n",
	           "line 3: ");
	refused_at(HEAD "cert 0a king 20260101000000Z 20270101000000Z valid gate\n", "line 3: ");
	refused_at(HEAD "cert 0a relay 20260230000000Z 20270101000000Z valid gate\n", "line 3: ");
	refused_at(HEAD "cert 0a relay 20260101000000Z never valid gate\n", "line 3: ");
	refused_at(HEAD "cert 0a relay 20260101000000Z 20270101000000Z good gate\n", "line 3: ");
	refused_at(HEAD "cert 0a relay 20260101000000Z 20270101000000Z revoked:20260601120000Z gate\n", "line 3: ");
	refused_at(HEAD "cert 0a relay 20260101000000Z 20270101000000Z revoked:20260601120000Z:boredom gate\n", "line 3: ");
	refused_at(HEAD "cert 0a relay 20260101000000Z 20270101000000Z valid ../gate\n", "line 3: ");
	refused_at(HEAD "cert 0a relay 20260101000000Z 20270101000000Z valid\n", "line 3: ");
}

static void test_a_serial_that_is_there_twice_is_refused(void **state)
{
	(void)state;
	refused_at(HEAD GOOD GOOD, "line 4: ");
}

static void test_every_truncation_is_refused_or_ends_at_a_line(void **state)
{
	(void)state;
	const char whole[] = HEAD GOOD REVOKED;
	char part[sizeof(whole)];
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		struct ledger ledger = LEDGER_INIT;
		memcpy(part, whole, len);
		part[len] = '\0';
		enum ps_err expected = len > 0 && part[len - 1] == '\n' ? PS_OK : PS_E_CONFIG;
		assert_int_equal(ledger_parse(part, &ledger, NULL), expected);
		ledger_clear(&ledger);
	}
}

static void test_a_state_follows_the_clock(void **state)
{
	(void)state;
	struct ledger_entry entry = { .validity = { 1000, 2000 } };
	assert_string_equal(ledger_state(&entry, 999), "not yet valid");
	assert_string_equal(ledger_state(&entry, 1000), "valid");
	assert_string_equal(ledger_state(&entry, 2000), "valid");
	assert_string_equal(ledger_state(&entry, 2001), "expired");
	entry.revoked = &ledger_reasons[0];
	assert_string_equal(ledger_state(&entry, 1500), "revoked");
}

static void test_an_unknown_reason_is_answered_with_the_known_ones(void **state)
{
	(void)state;
	struct ps_cause cause = { "" };
	assert_null(ledger_reason_find("boredom", &cause));
	assert_non_null(strstr(cause.text, "keyCompromise"));
	assert_non_null(strstr(cause.text, "privilegeWithdrawn"));
}

static void test_many_entries_are_kept_in_order(void **state)
{
	(void)state;
	struct ledger ledger = LEDGER_INIT;
	for (unsigned i = 0; i < 1000; i++) {
		struct ledger_entry entry = { .validity = { 1767225600, 1798761600 } };
		snprintf(entry.serial, sizeof(entry.serial), "%04x", i);
		assert_int_equal(ledger_add(&ledger, &entry), PS_OK);
	}
	assert_int_equal(ledger.n_entries, 1000);
	assert_ptr_equal(ledger_find_serial(&ledger, "03e7"), &ledger.entries[999]);
	ledger_clear(&ledger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_printed_is_what_was_parsed),
		cmocka_unit_test(test_every_field_of_an_entry_is_read),
		cmocka_unit_test(test_a_line_that_means_nothing_is_named),
		cmocka_unit_test(test_each_field_out_of_its_range_is_refused),
		cmocka_unit_test(test_a_serial_that_is_there_twice_is_refused),
		cmocka_unit_test(test_every_truncation_is_refused_or_ends_at_a_line),
		cmocka_unit_test(test_a_state_follows_the_clock),
		cmocka_unit_test(test_an_unknown_reason_is_answered_with_the_known_ones),
		cmocka_unit_test(test_many_entries_are_kept_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
