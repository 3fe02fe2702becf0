/* SPDX-License-Identifier: Apache-2.0 */
/* identity: the names of a certificate as data. */
#include "portseal/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <mbedtls/oid.h>

#include "mint.h"

#define SAN_DER(der_) \
	{ \
		MINT_OID(MBEDTLS_OID_SUBJECT_ALT_NAME), MINT_DER(der_) \
	}

static int clear(void **state)
{
	(void)state;
	mint_free_all();
	return 0;
}

static enum ps_err identify(const struct mint_spec *spec, struct identity **identity, struct ps_cause *cause)
{
	mbedtls_x509_crt *leaf = mint_chain((const struct mint_cert *[]){ mint_certificate(spec, NULL), NULL });

	assert_non_null(leaf);
	return identity_new(leaf, identity, cause);
}

static bool has_name(const struct identity *identity, enum identity_kind kind, const char *value)
{
	for (size_t i = 0; i < identity->n_names; i++) {
		if (identity->names[i].kind == kind && strcmp(identity->names[i].value, value) == 0)
			return true;
	}
	return false;
}

static void test_every_kind_of_name_is_read(void **state)
{
	(void)state;
	struct identity *identity = NULL;
	struct mint_spec spec = {
		.subject = "CN=alice,OU=finance,O=Example",
		.kind = MINT_SENDER,
		.dns = { "a.example.com", "b.example.com" },
		.uri = { "spiffe://example.com/billing/till" },
		.ip = { "192.0.2.7", "2001:db8::1" },
		.email = "alice@example.com",
	};

	assert_int_equal(identify(&spec, &identity, NULL), PS_OK);
	assert_int_equal(identity->n_names, 8);
	assert_true(has_name(identity, IDENTITY_CN, "alice"));
	assert_true(has_name(identity, IDENTITY_OU, "finance"));
	assert_true(has_name(identity, IDENTITY_DNS, "a.example.com"));
	assert_true(has_name(identity, IDENTITY_DNS, "b.example.com"));
	assert_true(has_name(identity, IDENTITY_URI, "spiffe://example.com/billing/till"));
	assert_true(has_name(identity, IDENTITY_IP, "192.0.2.7"));
	assert_true(has_name(identity, IDENTITY_IP, "2001:db8::1"));
	assert_true(has_name(identity, IDENTITY_EMAIL, "alice@example.com"));
	assert_non_null(strstr(identity->subject, "CN=alice"));
	assert_int_equal(identity->serial_len, 16);
	assert_int_equal(identity->not_before, 1577836800);
	assert_int_equal(identity->not_after, 2493072000);
	identity_free(identity);
}

static void test_two_common_names_are_both_read(void **state)
{
	(void)state;
	struct identity *identity = NULL;
	struct mint_spec spec = { .subject = "CN=alice,O=bob", .kind = MINT_SENDER };

	/* The organisation is turned into a second CN. */
	spec.patch_from = "\x06\x03\x55\x04\x0a\x0c\x03"
					  "bob";
	spec.patch_to = "\x06\x03\x55\x04\x03\x0c\x03"
					"bob";
	spec.patch_len = 10;
	struct mint_cert *ca = mint_ca("CN=CA");
	mbedtls_x509_crt *leaf = mint_chain((const struct mint_cert *[]){ mint_certificate(&spec, ca), NULL });
	assert_non_null(leaf);
	assert_int_equal(identity_new(leaf, &identity, NULL), PS_OK);
	assert_true(has_name(identity, IDENTITY_CN, "alice"));
	assert_true(has_name(identity, IDENTITY_CN, "bob"));
	identity_free(identity);
}

static void test_names_with_bytes_that_no_name_has_are_refused(void **state)
{
	(void)state;
	struct {
		const char *what;
		struct mint_spec spec;
	} cases[] = {
		{ "NUL in the CN", { .patch_from = "aliceXadmin", .patch_to = "alice\0admin", .patch_len = 11 } },
		{ "ESC in the CN",
		  { .patch_from = "aliceXadmin",
		    .patch_to = "alice\x1b"
		                "admin",
		    .patch_len = 11 } },
		{ "DEL in the CN",
		  { .patch_from = "aliceXadmin",
		    .patch_to = "alice\x7f"
		                "admin",
		    .patch_len = 11 } },
		{ "C1 control in the CN",
		  { .patch_from = "aliceXadmin",
		    .patch_to = "alic\xc2\x9b"
		                "admin",
		    .patch_len = 11 } },
		{ "half a UTF-8 sequence in the CN",
		  { .patch_from = "aliceXadmin", .patch_to = "aliceXadmi\xc3", .patch_len = 11 } },
		{ "overlong UTF-8 in the CN",
		  { .patch_from = "aliceXadmin",
		    .patch_to = "alic\xc0\xaf"
		                "admin",
		    .patch_len = 11 } },
		{ "surrogate in the CN",
		  { .patch_from = "aliceXadmin",
		    .patch_to = "ali\xed\xa0\x80"
		                "admin",
		    .patch_len = 11 } },
		{ "newline in the OU", { .patch_from = "finance", .patch_to = "fin\nnce", .patch_len = 7 } },
		{ "newline in the O", { .patch_from = "Example", .patch_to = "Exa\nple", .patch_len = 7 } },
		{ "NUL in a DNS name",
		  { .extension = SAN_DER("\x30\x05\x82\x03"
		                         "a\0b") } },
		{ "space in a DNS name",
		  { .extension = SAN_DER("\x30\x05\x82\x03"
		                         "a b") } },
		{ "eight bits in a DNS name",
		  { .extension = SAN_DER("\x30\x05\x82\x03"
		                         "a\xe9"
		                         "b") } },
		{ "empty DNS name", { .extension = SAN_DER("\x30\x02\x82\x00") } },
		{ "newline in a URI",
		  { .extension = SAN_DER("\x30\x05\x86\x03"
		                         "a\nb") } },
		{ "NUL in an email",
		  { .extension = SAN_DER("\x30\x05\x81\x03"
		                         "a\0b") } },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct identity *identity = NULL;
		struct ps_cause cause = { "" };
		cases[i].spec.subject = "CN=aliceXadmin,OU=finance,O=Example";
		cases[i].spec.kind = MINT_SENDER;
		mbedtls_x509_crt *leaf =
			mint_chain((const struct mint_cert *[]){ mint_certificate(&cases[i].spec, mint_ca("CN=CA")), NULL });
		if (leaf == NULL)
			continue; /* mbedTLS refuses it already: it never gets here */
		print_message("%s\n", cases[i].what);
		assert_int_equal(identity_new(leaf, &identity, &cause), PS_E_PROTO);
		assert_null(identity);
		assert_string_not_equal(cause.text, "");
		assert_null(strpbrk(cause.text, "\n\x1b\x7f"));
	}
}

static void test_ip_address_of_odd_length_is_refused(void **state)
{
	(void)state;
	struct mint_spec spec = { .subject = "CN=a",
		                      .kind = MINT_SENDER,
		                      .extension = SAN_DER("\x30\x05\x87\x03"
		                                           "abc") };
	mbedtls_x509_crt *leaf = mint_chain((const struct mint_cert *[]){ mint_certificate(&spec, NULL), NULL });
	struct identity *identity = NULL;

	if (leaf != NULL)
		assert_int_equal(identity_new(leaf, &identity, NULL), PS_E_PROTO);
	assert_null(identity);
}

static void test_more_names_than_anyone_needs_are_refused(void **state)
{
	(void)state;
	char der[4 + 300 * 3] = { 0x30, (char)0x82, (char)(900 >> 8), (char)(900 & 0xff) };
	struct identity *identity = NULL;
	struct ps_cause cause;

	for (size_t i = 0; i < 300; i++)
		memcpy(der + 4 + i * 3, "\x82\x01x", 3);
	struct mint_spec spec = { .subject = "CN=a",
		                      .kind = MINT_SENDER,
		                      .extension = { MINT_OID(MBEDTLS_OID_SUBJECT_ALT_NAME), .der = der,
		                                     .der_len = sizeof der } };
	assert_int_equal(identify(&spec, &identity, &cause), PS_E_PROTO);
	assert_string_equal(cause.text, "the certificate has more than 256 names");
}

static void test_pin_is_of_the_key_and_not_of_the_certificate(void **state)
{
	(void)state;
	mbedtls_pk_context *key = mint_key(MINT_P256);
	struct identity *one = NULL, *two = NULL, *other = NULL;

	assert_int_equal(identify(&(struct mint_spec){ .subject = "CN=a", .key = key }, &one, NULL), PS_OK);
	assert_int_equal(identify(&(struct mint_spec){ .subject = "CN=b", .key = key }, &two, NULL), PS_OK);
	assert_int_equal(identify(&(struct mint_spec){ .subject = "CN=a" }, &other, NULL), PS_OK);
	assert_memory_equal(one->pin, two->pin, IDENTITY_PIN_LEN);
	assert_memory_not_equal(one->pin, other->pin, IDENTITY_PIN_LEN);
	identity_free(one);
	identity_free(two);
	identity_free(other);
}

static void test_label_prefers_the_cn_then_uri_dns_email_ip_and_last_the_serial(void **state)
{
	(void)state;
	struct {
		struct mint_spec spec;
		const char *label;
	} cases[] = {
		{ { .subject = "CN=alice,O=x", .uri = { "urn:u" } }, "alice" },
		{ { .subject = "O=x", .uri = { "urn:u" }, .dns = { "d.example" } }, "urn:u" },
		{ { .subject = "O=x", .dns = { "d.example" }, .email = "e@example" }, "d.example" },
		{ { .subject = "O=x", .email = "e@example", .ip = { "192.0.2.1" } }, "e@example" },
		{ { .subject = "O=x", .ip = { "192.0.2.1" } }, "192.0.2.1" },
	};
	char label[IDENTITY_LABEL_MAX];
	struct identity *identity;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(identify(&cases[i].spec, &identity, NULL), PS_OK);
		identity_label(identity, label);
		assert_string_equal(label, cases[i].label);
		identity_free(identity);
	}
	assert_int_equal(identify(&(struct mint_spec){ .subject = "O=x" }, &identity, NULL), PS_OK);
	identity_label(identity, label);
	assert_int_equal(strlen(label), 32);
	assert_int_equal(strspn(label, "0123456789abcdef"), 32);
	identity_free(identity);
}

static void test_label_of_a_long_name_is_cut(void **state)
{
	(void)state;
	struct identity *identity;
	char label[IDENTITY_LABEL_MAX];
	char name[256] = "";
	char uri[300];

	memset(name, 'x', 200);
	(void)snprintf(uri, sizeof uri, "urn:%s", name);
	assert_int_equal(identify(&(struct mint_spec){ .subject = "O=x", .uri = { uri } }, &identity, NULL), PS_OK);
	identity_label(identity, label);
	assert_in_range(strlen(label), 100, IDENTITY_LABEL_MAX - 1);
	identity_free(identity);
}

static void test_free_of_nothing_is_harmless(void **state)
{
	(void)state;
	identity_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_every_kind_of_name_is_read, clear),
		cmocka_unit_test_teardown(test_two_common_names_are_both_read, clear),
		cmocka_unit_test_teardown(test_names_with_bytes_that_no_name_has_are_refused, clear),
		cmocka_unit_test_teardown(test_ip_address_of_odd_length_is_refused, clear),
		cmocka_unit_test_teardown(test_more_names_than_anyone_needs_are_refused, clear),
		cmocka_unit_test_teardown(test_pin_is_of_the_key_and_not_of_the_certificate, clear),
		cmocka_unit_test_teardown(test_label_prefers_the_cn_then_uri_dns_email_ip_and_last_the_serial, clear),
		cmocka_unit_test_teardown(test_label_of_a_long_name_is_cut, clear),
		cmocka_unit_test(test_free_of_nothing_is_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
