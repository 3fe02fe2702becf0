/* SPDX-License-Identifier: Apache-2.0 */
/* credentials: what we may show, and the words about what we may not. */
#include "portseal/credentials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <mbedtls/pk.h>

#include "mint.h"

#define LIST(...) ((const struct mint_cert *[]){ __VA_ARGS__, NULL })
#define ENCRYPTED_PKCS8 "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAwAA==\n-----END ENCRYPTED PRIVATE KEY-----\n"
#define ENCRYPTED_SEC1 \
	"-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n" \
	"DEK-Info: AES-128-CBC,000102030405060708090A0B0C0D0E0F\n\nAAAAAAAAAAAAAAAAAAAAAA==\n-----END EC PRIVATE KEY-----\n"

static int clear(void **state)
{
	(void)state;
	mint_free_all();
	return 0;
}

static enum ps_err load(const char *certificate, const char *key, unsigned mode, enum peer_purpose purpose,
                        struct credentials **credentials, struct ps_cause *cause)
{
	const char *directory = mint_directory();

	*credentials = NULL;
	return credentials_load(mint_write(directory, "own.crt", certificate),
	                        mint_write_mode(directory, "own.key", key, strlen(key), mode), purpose, credentials, cause);
}

static void assert_refused(const char *certificate, const char *key, const char *why)
{
	struct credentials *credentials;
	struct ps_cause cause = { "" };

	assert_int_equal(load(certificate, key, 0600, PURPOSE_SERVER, &credentials, &cause), PS_E_CONFIG);
	assert_null(credentials);
	if (strstr(cause.text, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", cause.text, why);
}

static void assert_spec_refused(const struct mint_spec *spec, const char *why)
{
	struct mint_cert *cert = mint_certificate(spec, mint_ca("CN=CA"));

	assert_refused(mint_pem(LIST(cert)), mint_key_pem(cert), why);
}

static void test_certificate_with_its_key_is_loaded(void **state)
{
	(void)state;
	static const enum mint_key_kind kinds[] = { MINT_P256, MINT_P384, MINT_P521, MINT_RSA2048 };

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct mint_cert *ca = mint_ca("CN=CA");
		struct mint_spec spec = { .subject = "CN=relay", .kind = MINT_RELAY, .key = mint_key(kinds[i]) };
		struct mint_cert *relay = mint_certificate(&spec, ca);
		struct credentials *credentials;
		struct ps_cause cause;

		if (load(mint_pem(LIST(relay, ca)), mint_key_pem(relay), 0600, PURPOSE_SERVER, &credentials, &cause) != PS_OK)
			fail_msg("%s", cause.text);
		assert_non_null(credentials_chain(credentials)->next);
		assert_int_equal(credentials_not_after(credentials), 2493072000);
		assert_int_equal(mbedtls_pk_get_bitlen(credentials_key(credentials)), mbedtls_pk_get_bitlen(relay->key));
		credentials_free(credentials);
	}
}

static void test_purpose_is_the_one_we_use_it_for(void **state)
{
	(void)state;
	struct mint_cert *alice = mint_sender(mint_ca("CN=CA"), "CN=alice");
	struct credentials *credentials;

	assert_int_equal(load(mint_pem(LIST(alice)), mint_key_pem(alice), 0600, PURPOSE_CLIENT, &credentials, NULL), PS_OK);
	credentials_free(credentials);
	assert_refused(mint_pem(LIST(alice)), mint_key_pem(alice), "not issued for serverAuth");
	assert_refused(mint_pem(LIST(alice)), mint_key_pem(alice), "portseal-certs relay NAME");
}

static void test_a_client_shows_what_it_has_and_the_server_judges(void **state)
{
	(void)state;
	struct mint_spec expired = {
		.subject = "CN=late", .kind = MINT_RELAY, .not_before = INT64_C(1577836800), .not_after = INT64_C(1577923200)
	};
	struct mint_cert *late = mint_certificate(&expired, mint_ca("CN=CA"));
	struct credentials *credentials;

	assert_int_equal(load(mint_pem(LIST(late)), mint_key_pem(late), 0600, PURPOSE_CLIENT, &credentials, NULL), PS_OK);
	credentials_free(credentials);
}

static void test_certificates_that_cannot_be_shown_are_refused(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *relay = mint_relay(ca, "CN=relay", "relay.example.com");

	assert_refused("", mint_key_pem(relay), "empty file");
	assert_refused("hello\n", mint_key_pem(relay), "not a certificate");
	assert_refused(mint_pem(LIST(ca, relay)), mint_key_pem(relay), "expected our own first");
	assert_spec_refused(&(struct mint_spec){ .subject = "CN=r", .kind = MINT_RELAY, .version_1 = true }, "version 1");
	assert_spec_refused(
		&(struct mint_spec){ .subject = "CN=r", .kind = MINT_RELAY, .key_usage = MBEDTLS_X509_KU_KEY_ENCIPHERMENT },
		"lacks digitalSignature");
	assert_spec_refused(&(struct mint_spec){ .subject = "CN=r", .kind = MINT_RELAY, .purposes = MINT_PURPOSE_ANY },
	                    "serverAuth");
	assert_spec_refused(&(struct mint_spec){ .subject = "CN=r",
	                                         .kind = MINT_RELAY,
	                                         .not_before = INT64_C(1577836800),
	                                         .not_after = INT64_C(1577923200) },
	                    "expired on 2020-01-02T00:00:00Z");
	assert_spec_refused(&(struct mint_spec){ .subject = "CN=r",
	                                         .kind = MINT_RELAY,
	                                         .not_before = INT64_C(4070908800),
	                                         .not_after = INT64_C(4102444800) },
	                    "not valid before 2099-01-01T00:00:00Z");
}

static void test_keys_that_cannot_be_used_are_refused(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *relay = mint_relay(ca, "CN=relay", "relay.example.com");
	const char *pem = mint_pem(LIST(relay));

	assert_refused(pem, "", "empty file");
	assert_refused(pem, "hello\n", "not a private key");
	assert_refused(pem, mint_key_pem(ca), "does not belong to the certificate");
	assert_refused(pem, ENCRYPTED_PKCS8, "encrypted with a password");
	assert_refused(pem, ENCRYPTED_SEC1, "encrypted with a password");
	assert_spec_refused(&(struct mint_spec){ .subject = "CN=r", .kind = MINT_RELAY, .key = mint_key(MINT_P224) },
	                    "key of 224 bits");
	assert_spec_refused(&(struct mint_spec){ .subject = "CN=r", .kind = MINT_RELAY, .key = mint_key(MINT_RSA1024) },
	                    "key of 1024 bits");
}

static void test_key_that_others_may_read_is_refused(void **state)
{
	(void)state;
	struct mint_cert *relay = mint_relay(mint_ca("CN=CA"), "CN=relay", "relay.example.com");
	struct credentials *credentials;
	struct ps_cause cause;

	assert_int_equal(load(mint_pem(LIST(relay)), mint_key_pem(relay), 0644, PURPOSE_SERVER, &credentials, &cause),
	                 PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "own.key"));
}

static void test_free_of_nothing_is_harmless(void **state)
{
	(void)state;
	credentials_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_certificate_with_its_key_is_loaded, clear),
		cmocka_unit_test_teardown(test_purpose_is_the_one_we_use_it_for, clear),
		cmocka_unit_test_teardown(test_a_client_shows_what_it_has_and_the_server_judges, clear),
		cmocka_unit_test_teardown(test_certificates_that_cannot_be_shown_are_refused, clear),
		cmocka_unit_test_teardown(test_keys_that_cannot_be_used_are_refused, clear),
		cmocka_unit_test_teardown(test_key_that_others_may_read_is_refused, clear),
		cmocka_unit_test(test_free_of_nothing_is_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
