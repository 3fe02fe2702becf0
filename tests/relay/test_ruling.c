/* SPDX-License-Identifier: Apache-2.0 */
/* ruling: the chain, then the service, then its rules; whatever is missing refuses. */
#include "ruling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "mint.h"

enum { BILLING, MAIL, EMPTY, N_SERVICES };

static struct access_rule alice_only[] = { { .cn = "alice" } };
static struct access_rule everybody[] = { { .any = true } };
static struct relay_service services[N_SERVICES] = {
	[BILLING] = { .name = "billing", .allow = { .rules = alice_only, .n_rules = 1 } },
	[MAIL] = { .name = "mail", .allow = { .rules = everybody, .n_rules = 1 } },
	[EMPTY] = { .name = "empty" },
};
static const struct relay_config config = { .services_list = { .at = services, .n = N_SERVICES } };
static struct trust *trust;
static mbedtls_x509_crt *alice, *bob, *mallory;
static struct verdict verdict;

static mbedtls_x509_crt *chain_of(const struct mint_cert *issuer, const char *subject)
{
	return mint_chain((const struct mint_cert *[]){ mint_sender(issuer, subject), NULL });
}

static int mint_all(void **state)
{
	(void)state;
	const struct mint_cert *ca = mint_ca("CN=CA");
	alice = chain_of(ca, "CN=alice");
	bob = chain_of(ca, "CN=bob");
	mallory = chain_of(mint_ca("CN=CA"), "CN=alice");
	const char *pem = mint_pem((const struct mint_cert *[]){ ca, NULL });
	return trust_load(mint_write(mint_directory(), "ca.crt", pem), NULL, &trust, NULL) == PS_OK ? 0 : -1;
}

static int free_all(void **state)
{
	(void)state;
	trust_free(trust);
	mint_free_all();
	return 0;
}

static enum refusal rule_at(mbedtls_x509_crt *chain, int service, int64_t now)
{
	struct identity *identity = NULL;

	memset(&verdict, 0xa5, sizeof(verdict)); /* nothing of an earlier verdict may show through */
	ruling_make(&config, trust, chain, service, now, &verdict, &identity);
	if (verdict.refusal == REFUSAL_NONE)
		assert_non_null(identity);
	else
		assert_int_not_equal(verdict.detail.text[0], '\0');
	identity_free(identity);
	return verdict.refusal;
}

static enum refusal rule(mbedtls_x509_crt *chain, int service)
{
	return rule_at(chain, service, MINT_NOW);
}

static void test_a_service_is_found_by_its_whole_name(void **state)
{
	(void)state;
	assert_int_equal(ruling_find_service(&config, "billing"), BILLING);
	assert_int_equal(ruling_find_service(&config, "mail"), MAIL);
	assert_int_equal(ruling_find_service(&config, "bill"), CONFIG_NO_SERVICE);
	assert_int_equal(ruling_find_service(&config, "billing2"), CONFIG_NO_SERVICE);
	assert_int_equal(ruling_find_service(&config, "Billing"), CONFIG_NO_SERVICE);
	assert_int_equal(ruling_find_service(&config, ""), CONFIG_NO_SERVICE);
}

static void test_who_a_rule_names_may_stay(void **state)
{
	(void)state;
	assert_int_equal(rule(alice, BILLING), REFUSAL_NONE);
	assert_int_equal(verdict.rule, 0);
	assert_int_equal(rule(bob, MAIL), REFUSAL_NONE);
}

static void test_who_no_rule_names_may_not(void **state)
{
	(void)state;
	assert_int_equal(rule(bob, BILLING), REFUSAL_NOT_ALLOWED);
	assert_int_equal(rule(alice, EMPTY), REFUSAL_NOT_ALLOWED);
}

static void test_a_service_that_is_gone_lets_nobody_stay(void **state)
{
	(void)state;
	assert_int_equal(rule(alice, CONFIG_NO_SERVICE), REFUSAL_UNKNOWN_SERVICE);
}

/* Whoever asks without a right learns nothing of which services there are. */
static void test_the_chain_is_judged_before_the_service(void **state)
{
	(void)state;
	const enum refusal refusal = rule(mallory, MAIL);
	assert_int_not_equal(refusal, REFUSAL_NONE);
	assert_int_equal(rule(mallory, CONFIG_NO_SERVICE), refusal);
	assert_int_equal(rule(mallory, BILLING), refusal);
}

static void test_no_chain_is_refused_even_where_everybody_may(void **state)
{
	(void)state;
	mbedtls_x509_crt empty;
	mbedtls_x509_crt_init(&empty);
	assert_int_equal(rule(&empty, MAIL), REFUSAL_NO_CERTIFICATE);
	assert_int_equal(rule(NULL, MAIL), REFUSAL_NO_CERTIFICATE);
}

static void test_the_clock_counts(void **state)
{
	(void)state;
	assert_int_equal(rule_at(alice, BILLING, MINT_NOW + 40 * 365 * MINT_DAY), REFUSAL_EXPIRED);
	assert_int_equal(rule_at(alice, BILLING, MINT_NOW - 40 * 365 * MINT_DAY), REFUSAL_NOT_YET_VALID);
}

static void test_a_proxy_client_means_a_service_by_name_with_a_port_or_by_alias(void **state)
{
	(void)state;
	static const char *aliases[] = { "db.example.com:5432" };
	services[MAIL].authority.at = aliases;
	services[MAIL].authority.n = 1;
	assert_int_equal(ruling_find_asked(&config, "billing"), BILLING);
	assert_int_equal(ruling_find_asked(&config, "billing:80"), BILLING);
	assert_int_equal(ruling_find_asked(&config, "DB.example.COM:5432"), MAIL);
	assert_int_equal(ruling_find_asked(&config, "db.example.com:5433"), CONFIG_NO_SERVICE);
	assert_int_equal(ruling_find_asked(&config, "db.example.com"), CONFIG_NO_SERVICE);
	assert_int_equal(ruling_find_asked(&config, "billing:80x"), CONFIG_NO_SERVICE);
	assert_int_equal(ruling_find_asked(&config, "127.0.0.1:22"), CONFIG_NO_SERVICE);
	assert_int_equal(ruling_find_asked(&config, ":"), CONFIG_NO_SERVICE);
	services[MAIL].authority.n = 0;
}

static void test_without_a_service_yet_the_chain_alone_is_judged(void **state)
{
	(void)state;
	assert_int_equal(rule_at(bob, CONFIG_NONE_YET, MINT_NOW), REFUSAL_NONE);
	assert_int_equal(rule_at(mallory, CONFIG_NONE_YET, MINT_NOW), REFUSAL_BAD_SIGNATURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_service_is_found_by_its_whole_name),
		cmocka_unit_test(test_who_a_rule_names_may_stay),
		cmocka_unit_test(test_who_no_rule_names_may_not),
		cmocka_unit_test(test_a_service_that_is_gone_lets_nobody_stay),
		cmocka_unit_test(test_the_chain_is_judged_before_the_service),
		cmocka_unit_test(test_no_chain_is_refused_even_where_everybody_may),
		cmocka_unit_test(test_the_clock_counts),
		cmocka_unit_test(test_a_proxy_client_means_a_service_by_name_with_a_port_or_by_alias),
		cmocka_unit_test(test_without_a_service_yet_the_chain_alone_is_judged),
	};
	return cmocka_run_group_tests_name("ruling", tests, mint_all, free_all);
}
