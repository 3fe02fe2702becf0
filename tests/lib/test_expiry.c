/* SPDX-License-Identifier: Apache-2.0 */
/* expiry: what of ours will expire, and at which stages that is told. */
#include "portseal/expiry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mint.h"

#define NOTICE (31 * MINT_DAY)
#define LIST(...) ((const struct mint_cert *[]){ __VA_ARGS__, NULL })

static int clear(void **state)
{
	(void)state;
	mint_free_all();
	return 0;
}

static void test_days_are_whole_ones(void **state)
{
	(void)state;
	assert_int_equal(expiry_days(MINT_NOW + 2 * MINT_DAY, MINT_NOW), 2);
	assert_int_equal(expiry_days(MINT_NOW + 2 * MINT_DAY - 1, MINT_NOW), 1);
	assert_int_equal(expiry_days(MINT_NOW, MINT_NOW), 0);
	assert_int_equal(expiry_days(MINT_NOW - 1, MINT_NOW), -1);
	assert_int_equal(expiry_days(MINT_NOW - MINT_DAY, MINT_NOW), -1);
	assert_int_equal(expiry_days(MINT_NOW - MINT_DAY - 1, MINT_NOW), -2);
}

static void test_stages_are_30_14_7_and_1_days(void **state)
{
	(void)state;
	static const struct {
		int64_t days, stage;
	} rows[] = {
		{ 31, EXPIRY_FAR }, { 30, 30 }, { 15, 30 }, { 14, 14 }, { 8, 14 },  { 7, 7 },
		{ 2, 7 },           { 1, 1 },   { 0, 1 },   { -1, -1 }, { -9, -1 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(expiry_stage(rows[i].days), rows[i].stage);
}

/* A year that ends: looked at every hour, it is told five times. */
static void test_each_stage_is_told_once(void **state)
{
	(void)state;
	struct expiry expiry = { .what = "ca", .at = MINT_NOW + 40 * MINT_DAY, .notice = NOTICE, .told = EXPIRY_FAR };
	int64_t told[8];
	size_t n = 0;

	for (int64_t now = MINT_NOW; now < MINT_NOW + 45 * MINT_DAY; now += 3600)
		if (expiry_is_news(&expiry, now)) {
			assert_in_range(n, 0, 7);
			told[n++] = expiry_days(expiry.at, now);
		}
	assert_int_equal(n, 5);
	assert_int_equal(told[0], 30);
	assert_int_equal(told[1], 14);
	assert_int_equal(told[2], 7);
	assert_int_equal(told[3], 1);
	assert_int_equal(told[4], -1);
}

static void test_what_is_late_at_the_start_is_told_once_at_its_stage(void **state)
{
	(void)state;
	struct expiry expiry = { .what = "crl", .at = MINT_NOW + 5 * MINT_DAY, .notice = NOTICE, .told = EXPIRY_FAR };

	assert_true(expiry_is_news(&expiry, MINT_NOW));
	assert_int_equal(expiry.told, 7);
	assert_false(expiry_is_news(&expiry, MINT_NOW + MINT_DAY));
}

/* A list that lives for 30 days is renewed before it is half that old. */
static void test_a_shorter_notice_is_kept(void **state)
{
	(void)state;
	struct expiry expiry = {
		.what = "crl", .at = MINT_NOW + 30 * MINT_DAY, .notice = 15 * MINT_DAY, .told = EXPIRY_FAR
	};

	assert_false(expiry_is_news(&expiry, MINT_NOW));
	assert_false(expiry_is_news(&expiry, MINT_NOW + 15 * MINT_DAY - 1));
	assert_true(expiry_is_news(&expiry, MINT_NOW + 15 * MINT_DAY));
}

/* A clock that is set back tells nothing twice. */
static void test_a_clock_set_back_tells_nothing_again(void **state)
{
	(void)state;
	struct expiry expiry = { .what = "ca", .at = MINT_NOW + 5 * MINT_DAY, .notice = NOTICE, .told = EXPIRY_FAR };

	assert_true(expiry_is_news(&expiry, MINT_NOW));
	assert_false(expiry_is_news(&expiry, MINT_NOW - 20 * MINT_DAY));
	assert_false(expiry_is_news(&expiry, MINT_NOW));
}

static void assert_item(const struct expiry *item, const char *what, const char *name, int64_t at)
{
	assert_string_equal(item->what, what);
	assert_string_equal(item->name, name);
	assert_int_equal(item->at, at);
	assert_int_equal(item->told, EXPIRY_FAR);
}

static void test_the_list_has_our_chain_each_anchor_and_the_newest_lists(void **state)
{
	(void)state;
	const char *directory = mint_directory();
	struct mint_spec root = { .subject = "CN=Root", .kind = MINT_CA, .not_after = MINT_NOW + 900 * MINT_DAY };
	struct mint_spec middle = { .subject = "CN=Middle", .kind = MINT_CA, .not_after = MINT_NOW + 800 * MINT_DAY };
	struct mint_spec relay = { .subject = "CN=relay", .kind = MINT_RELAY, .not_after = MINT_NOW + 700 * MINT_DAY };
	struct mint_crl_spec old = { .this_update = MINT_NOW - 9 * MINT_DAY, .next_update = MINT_NOW - MINT_DAY };
	struct mint_crl_spec new = { .this_update = MINT_NOW - MINT_DAY, .next_update = MINT_NOW + MINT_DAY };
	struct mint_cert *ca = mint_certificate(&root, NULL);
	struct mint_cert *issuer = mint_certificate(&middle, ca);
	const char *paths[] = { mint_write(directory, "new.crl", mint_crl(&new, ca)),
		                    mint_write(directory, "old.crl", mint_crl(&old, ca)) };
	struct trust_config config = { .ca_path = mint_write(directory, "ca.crt", mint_pem(LIST(ca))),
		                           .crl_paths = paths,
		                           .n_crl_paths = 2 };
	struct credentials *credentials = NULL;
	struct expiry_list list = { .items = NULL };
	struct trust *trust = NULL;
	struct ps_cause cause = { "" };
	char crt[256], key[256];

	mint_write_files(directory, "relay", LIST(mint_certificate(&relay, issuer), issuer));
	(void)snprintf(crt, sizeof crt, "%s/relay.crt", directory);
	(void)snprintf(key, sizeof key, "%s/relay.key", directory);
	assert_int_equal(credentials_load(crt, key, PURPOSE_SERVER, &credentials, &cause), PS_OK);
	assert_int_equal(trust_new(&config, &trust, &cause), PS_OK);

	assert_int_equal(expiry_list_fill(&list, credentials, trust), PS_OK);
	assert_int_equal(list.n, 4);
	assert_item(&list.items[0], "certificate", "CN=relay", relay.not_after);
	assert_item(&list.items[1], "intermediate", "CN=Middle", middle.not_after);
	assert_item(&list.items[2], "ca", "CN=Root", root.not_after);
	assert_item(&list.items[3], "crl", "CN=Root", new.next_update);
	assert_int_equal(list.items[3].notice, MINT_DAY);

	expiry_list_clear(&list);
	trust_free(trust);
	credentials_free(credentials);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_days_are_whole_ones),
		cmocka_unit_test(test_stages_are_30_14_7_and_1_days),
		cmocka_unit_test(test_each_stage_is_told_once),
		cmocka_unit_test(test_what_is_late_at_the_start_is_told_once_at_its_stage),
		cmocka_unit_test(test_a_shorter_notice_is_kept),
		cmocka_unit_test(test_a_clock_set_back_tells_nothing_again),
		cmocka_unit_test_teardown(test_the_list_has_our_chain_each_anchor_and_the_newest_lists, clear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
