/* SPDX-License-Identifier: Apache-2.0 */
/* trust, crl: anchors, and what their revocation lists say. */
#include "portseal/trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "mint.h"

#define LIST(...) ((const struct mint_cert *[]){ __VA_ARGS__, NULL })
#define OID_PARTIAL "\x55\x1d\x1c"
#define OID_DELTA "\x55\x1d\x1b"
#define OID_CERTIFICATE_ISSUER "\x55\x1d\x1d"
#define OID_REASON "\x55\x1d\x15"
#define OID_NUMBER "\x55\x1d\x14"

static int clear(void **state)
{
	(void)state;
	mint_free_all();
	return 0;
}

static enum ps_err load(const char *ca, const char *crl, struct trust **trust, struct ps_cause *cause)
{
	const char *directory = mint_directory();

	*trust = NULL;
	cause->text[0] = '\0';
	return trust_load(mint_write(directory, "ca.crt", ca), crl != NULL ? mint_write(directory, "ca.crl", crl) : NULL,
	                  trust, cause);
}

static void assert_load_refused(const char *ca, const char *crl, const char *why)
{
	struct trust *trust;
	struct ps_cause cause;

	assert_int_equal(load(ca, crl, &trust, &cause), PS_E_CONFIG);
	assert_null(trust);
	if (strstr(cause.text, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", cause.text, why);
}

static struct mint_cert *make_ca(const char *subject, unsigned key_usage)
{
	return mint_certificate(&(struct mint_spec){ .subject = subject, .kind = MINT_CA, .key_usage = key_usage }, NULL);
}

/* What the trust of `ca` with these lists says of `leaf`. */
static enum crl_state state_of(const struct mint_cert *ca, const char *crl, const struct mint_cert *leaf, int64_t now)
{
	struct trust *trust;
	struct ps_cause cause;

	if (load(mint_pem(LIST(ca)), crl, &trust, &cause) != PS_OK)
		fail_msg("%s", cause.text);
	enum crl_state state = trust_revocation(trust, mint_chain(LIST(leaf)), trust_anchors(trust), now, &cause);
	if (state != CRL_GOOD && state != CRL_NOT_ASKED)
		assert_string_not_equal(cause.text, "");
	trust_free(trust);
	return state;
}

static void test_several_anchors_are_counted(void **state)
{
	(void)state;
	struct trust *trust;
	struct ps_cause cause;

	assert_int_equal(load(mint_pem(LIST(mint_ca("CN=A"), mint_ca("CN=B"))), NULL, &trust, &cause), PS_OK);
	assert_int_equal(trust_n_anchors(trust), 2);
	trust_free(trust);
}

static void test_der_anchor_is_read(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=A");
	struct trust *trust = NULL;
	const char *path = mint_write_mode(mint_directory(), "ca.der", ca->der, ca->der_len, 0600);

	assert_int_equal(trust_load(path, NULL, &trust, NULL), PS_OK);
	assert_int_equal(trust_n_anchors(trust), 1);
	trust_free(trust);
}

static void test_anchors_that_cannot_serve_stop_the_start(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=A");
	struct mint_spec constrained = { .subject = "CN=B",
		                             .kind = MINT_CA,
		                             .extension = { MINT_OID("\x55\x1d\x1e"), .critical = true,
		                                            MINT_DER("\x30\x0f\xa0\x0d\x30\x0b\x82\x09"
		                                                     "a.example") } };

	assert_load_refused("", NULL, "empty file");
	assert_load_refused("hello\n", NULL, "not a certificate");
	assert_load_refused(mint_pem(LIST(mint_sender(ca, "CN=alice"))), NULL, "CN=alice is not an authority");
	assert_load_refused(mint_pem(LIST(ca, mint_sender(ca, "CN=alice"))), NULL, "CN=alice is not an authority");
	assert_load_refused(mint_pem(LIST(make_ca("CN=A", MBEDTLS_X509_KU_CRL_SIGN))), NULL, "keyCertSign");
	assert_load_refused(mint_pem(LIST(ca, mint_certificate(&constrained, NULL))), NULL, "1 of its certificates");
}

static void test_missing_file_is_named(void **state)
{
	(void)state;
	struct trust *trust = NULL;
	struct ps_cause cause = { "" };

	assert_int_equal(trust_load("/nonexistent/ca.crt", NULL, &trust, &cause), PS_E_IO);
	assert_non_null(strstr(cause.text, "/nonexistent/ca.crt"));
}

static void test_lists_that_cannot_answer_stop_the_start(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *same_name = mint_ca("CN=CA");
	const char *pem = mint_pem(LIST(ca));
	struct mint_cert *no_crl_sign = make_ca("CN=CA", MBEDTLS_X509_KU_KEY_CERT_SIGN);
	struct mint_crl_spec plain = { 0 };
	struct mint_crl_spec partial = { .extension = { MINT_OID(OID_PARTIAL), .critical = true, MINT_DER("\x30\x00") } };
	struct mint_crl_spec hidden = { .extension = { MINT_OID(OID_PARTIAL), MINT_DER("\x30\x00") } };
	struct mint_crl_spec delta = { .extension = { MINT_OID(OID_DELTA), MINT_DER("\x02\x01\x01") } };
	struct mint_crl_spec indirect = { .revoked = LIST(mint_sender(ca, "CN=a")),
		                              .entry_extension = { MINT_OID(OID_CERTIFICATE_ISSUER), MINT_DER("\x30\x00") } };
	struct mint_crl_spec strange = { .revoked = LIST(mint_sender(ca, "CN=a")),
		                             .entry_extension = { MINT_OID("\x2a\x03"), .critical = true,
		                                                  MINT_DER("\x05\x00") } };

	assert_load_refused(pem, "", "empty file");
	assert_load_refused(pem, "hello\n", "not a revocation list");
	assert_load_refused(pem, pem, "not a revocation list");
	assert_load_refused(pem, mint_crl(&partial, ca), "critical");
	assert_load_refused(pem, mint_crl(&hidden, ca), "partial");
	assert_load_refused(pem, mint_crl(&delta, ca), "delta");
	assert_load_refused(pem, mint_crl(&indirect, ca), "indirect");
	assert_load_refused(pem, mint_crl(&strange, ca), "critical");
	assert_load_refused(pem, mint_crl(&(struct mint_crl_spec){ .next_update = MINT_NEVER }, ca), "nextUpdate");
	assert_load_refused(pem, mint_crl(&(struct mint_crl_spec){ .broken_signature = true }, ca), "not signed");
	assert_load_refused(pem, mint_crl(&plain, same_name), "not signed");
	assert_load_refused(mint_pem(LIST(no_crl_sign)), mint_crl(&plain, no_crl_sign), "cRLSign");
}

static void test_without_a_list_revocation_is_not_asked(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");

	assert_int_equal(state_of(ca, NULL, mint_sender(ca, "CN=alice"), MINT_NOW), CRL_NOT_ASKED);
}

static void test_serial_on_the_list_is_revoked_and_another_is_not(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *alice = mint_sender(ca, "CN=alice");
	struct mint_crl_spec spec = { .revoked = LIST(mint_sender(ca, "CN=bob"), alice),
		                          .n_fillers = 1000,
		                          .extension = { MINT_OID(OID_NUMBER), MINT_DER("\x02\x01\x01") },
		                          .entry_extension = { MINT_OID(OID_REASON), MINT_DER("\x0a\x01\x01") } };
	const char *crl = mint_crl(&spec, ca);

	assert_int_equal(state_of(ca, crl, alice, MINT_NOW), CRL_REVOKED);
	assert_int_equal(state_of(ca, crl, mint_sender(ca, "CN=carol"), MINT_NOW), CRL_GOOD);
}

/* DER puts a zero byte before a number whose first bit is set; some lists do so without need. */
static void test_serial_with_a_sign_byte_is_found(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *leaf = mint_sender(ca, "CN=alice");
	struct trust *trust;
	struct ps_cause cause;
	mbedtls_x509_crt *parsed = mint_chain(LIST(leaf));
	uint8_t longer[32] = { 0 };

	assert_int_equal(
		load(mint_pem(LIST(ca)), mint_crl(&(struct mint_crl_spec){ .revoked = LIST(leaf) }, ca), &trust, &cause),
		PS_OK);
	memcpy(longer + 1, parsed->serial.p, parsed->serial.len);
	mbedtls_x509_crt padded = *parsed;
	padded.serial.p = longer;
	padded.serial.len++;
	assert_int_equal(trust_revocation(trust, &padded, trust_anchors(trust), MINT_NOW, &cause), CRL_REVOKED);
	trust_free(trust);
}

static void test_list_past_its_next_update_is_expired_but_still_revokes(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *alice = mint_sender(ca, "CN=alice");
	const char *crl = mint_crl(&(struct mint_crl_spec){ .next_update = MINT_NOW, .revoked = LIST(alice) }, ca);
	struct mint_cert *bob = mint_sender(ca, "CN=bob");

	assert_int_equal(state_of(ca, crl, bob, MINT_NOW), CRL_GOOD);
	assert_int_equal(state_of(ca, crl, bob, MINT_NOW + 1), CRL_EXPIRED);
	assert_int_equal(state_of(ca, crl, alice, MINT_NOW + 1), CRL_REVOKED);
}

static void test_list_from_the_future_is_not_there(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	const char *crl = mint_crl(&(struct mint_crl_spec){ .this_update = MINT_NOW + 1 }, ca);

	assert_int_equal(state_of(ca, crl, mint_sender(ca, "CN=alice"), MINT_NOW), CRL_MISSING);
}

static void test_newest_list_counts_in_any_order(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *alice = mint_sender(ca, "CN=alice");
	struct mint_crl_spec old = { .this_update = MINT_NOW - 2 * MINT_DAY, .next_update = MINT_NOW - MINT_DAY };
	struct mint_crl_spec new = { .this_update = MINT_NOW - MINT_DAY, .revoked = LIST(alice) };
	char both[8192];

	(void)snprintf(both, sizeof both, "%s%s", mint_crl(&old, ca), mint_crl(&new, ca));
	assert_int_equal(state_of(ca, both, alice, MINT_NOW), CRL_REVOKED);
	assert_int_equal(state_of(ca, both, mint_sender(ca, "CN=bob"), MINT_NOW), CRL_GOOD);
	(void)snprintf(both, sizeof both, "%s%s", mint_crl(&new, ca), mint_crl(&old, ca));
	assert_int_equal(state_of(ca, both, alice, MINT_NOW), CRL_REVOKED);
	assert_int_equal(state_of(ca, both, mint_sender(ca, "CN=bob"), MINT_NOW), CRL_GOOD);
}

/* Two revocations within a second, and both lists are here. */
static void test_of_lists_of_one_moment_each_counts_for_whom_it_revokes(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *alice = mint_sender(ca, "CN=alice");
	struct mint_cert *bob = mint_sender(ca, "CN=bob");
	struct mint_crl_spec first = { .this_update = MINT_NOW - 1, .next_update = MINT_NOW, .revoked = LIST(bob) };
	struct mint_crl_spec second = { .this_update = MINT_NOW - 1, .revoked = LIST(alice) };
	char both[8192];

	for (int i = 0; i < 2; i++) {
		(void)snprintf(both, sizeof both, "%s%s", mint_crl(i == 0 ? &first : &second, ca),
		               mint_crl(i == 0 ? &second : &first, ca));
		assert_int_equal(state_of(ca, both, alice, MINT_NOW), CRL_REVOKED);
		assert_int_equal(state_of(ca, both, bob, MINT_NOW), CRL_REVOKED);
		assert_int_equal(state_of(ca, both, mint_sender(ca, "CN=carol"), MINT_NOW), CRL_GOOD);
		/* The one that is good for longer says how long. */
		assert_int_equal(state_of(ca, both, mint_sender(ca, "CN=carol"), MINT_NOW + MINT_DAY), CRL_GOOD);
	}
}

#define QUESTIONS 2000

/* Of this process, for so many questions to a list with so many entries beside the one that is asked for. */
static int64_t microseconds_of_questions(size_t n_fillers)
{
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *alice = mint_sender(ca, "CN=alice");
	struct mint_crl_spec spec = { .revoked = LIST(alice), .n_fillers = n_fillers };
	mbedtls_x509_crt *revoked = mint_chain(LIST(alice));
	mbedtls_x509_crt *good = mint_chain(LIST(mint_sender(ca, "CN=bob")));
	struct trust *trust;
	struct ps_cause cause;
	struct timespec begin, end;

	assert_int_equal(load(mint_pem(LIST(ca)), mint_crl(&spec, ca), &trust, &cause), PS_OK);
	/* The list's signature is verified once, not for each question. */
	assert_int_equal(trust_revocation(trust, good, trust_anchors(trust), MINT_NOW, &cause), CRL_GOOD);
	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin), 0);
	for (int i = 0; i < QUESTIONS / 2; i++) {
		assert_int_equal(trust_revocation(trust, revoked, trust_anchors(trust), MINT_NOW, &cause), CRL_REVOKED);
		assert_int_equal(trust_revocation(trust, good, trust_anchors(trust), MINT_NOW, &cause), CRL_GOOD);
	}
	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end), 0);
	trust_free(trust);
	return (int64_t)(end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000;
}

/* A search that looked at each would take some thousand times as long: whatever else this machine does is far less. */
static void test_a_hundred_thousand_entries_cost_about_as_much_as_ten(void **state)
{
	int64_t few, many;

	(void)state;
	few = microseconds_of_questions(10);
	many = microseconds_of_questions(100000);
	print_message("%.2f us with 10 entries, %.2f us with 100,000\n", (double)few / QUESTIONS, (double)many / QUESTIONS);
	assert_in_range(many, 0, 20 * few + 20000);
}

/* The state of `leaf` under `issuer`, with the lists in two files (NULL: one only). */
static enum crl_state state_with(enum crl_policy policy, const char *first, const char *second,
                                 const struct mint_cert *issuer, const struct mint_cert *leaf, struct ps_cause *cause)
{
	const char *directory = mint_directory();
	const char *paths[] = { mint_write(directory, "1.crl", first),
		                    second != NULL ? mint_write(directory, "2.crl", second) : NULL };
	struct trust_config config = { .ca_path = mint_write(directory, "ca.crt", mint_pem(LIST(issuer))),
		                           .crl_paths = paths,
		                           .n_crl_paths = second != NULL ? 2 : 1,
		                           .crl_policy = policy };
	struct trust *trust = NULL;

	if (trust_new(&config, &trust, cause) != PS_OK)
		fail_msg("%s", cause->text);
	enum crl_state state = trust_revocation(trust, mint_chain(LIST(leaf)), trust_anchors(trust), MINT_NOW, cause);
	trust_free(trust);
	return state;
}

static void test_lists_of_several_files_all_count(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *other = mint_ca("CN=Other");
	struct mint_cert *alice = mint_sender(ca, "CN=alice");
	struct mint_crl_spec old = { .this_update = MINT_NOW - 2 * MINT_DAY, .next_update = MINT_NOW - MINT_DAY };
	struct mint_crl_spec fresh = { .this_update = MINT_NOW - MINT_DAY, .revoked = LIST(alice) };
	struct ps_cause cause;

	assert_int_equal(state_with(CRL_REQUIRED, mint_crl(&(struct mint_crl_spec){ 0 }, other), mint_crl(&fresh, ca), ca,
	                            alice, &cause),
	                 CRL_REVOKED);
	/* An old list beside a newer one does no harm, whichever is named first. */
	assert_int_equal(
		state_with(CRL_REQUIRED, mint_crl(&old, ca), mint_crl(&fresh, ca), ca, mint_sender(ca, "CN=bob"), &cause),
		CRL_GOOD);
	assert_int_equal(
		state_with(CRL_REQUIRED, mint_crl(&fresh, ca), mint_crl(&old, ca), ca, mint_sender(ca, "CN=bob"), &cause),
		CRL_GOOD);
}

static void test_if_present_asks_only_issuers_that_have_a_list(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *alice = mint_sender(ca, "CN=alice");
	const char *of_another = mint_crl(&(struct mint_crl_spec){ 0 }, mint_ca("CN=Other"));
	struct ps_cause cause;

	assert_int_equal(state_with(CRL_REQUIRED, of_another, NULL, ca, alice, &cause), CRL_MISSING);
	assert_string_equal(cause.text, "no revocation list of CN=CA");
	assert_int_equal(state_with(CRL_IF_PRESENT, of_another, NULL, ca, alice, &cause), CRL_NOT_ASKED);
	assert_int_equal(state_with(CRL_IF_PRESENT, of_another,
	                            mint_crl(&(struct mint_crl_spec){ .revoked = LIST(alice) }, ca), ca, alice, &cause),
	                 CRL_REVOKED);
}

static void test_if_present_still_refuses_a_list_that_cannot_answer(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *alice = mint_sender(ca, "CN=alice");
	struct mint_crl_spec old = { .next_update = MINT_NOW - MINT_DAY };
	struct mint_crl_spec early = { .this_update = MINT_NOW + MINT_DAY };
	struct ps_cause cause;

	assert_int_equal(state_with(CRL_IF_PRESENT, mint_crl(&old, ca), NULL, ca, alice, &cause), CRL_EXPIRED);
	assert_string_equal(cause.text,
	                    "the revocation list of CN=CA was to be renewed by 2027-01-14T08:00:00Z (nextUpdate)");
	assert_int_equal(state_with(CRL_IF_PRESENT, mint_crl(&early, ca), NULL, ca, alice, &cause), CRL_MISSING);
}

static void test_list_of_an_intermediate_is_verified_when_used(void **state)
{
	(void)state;
	struct mint_cert *root = mint_ca("CN=Root");
	struct mint_spec spec = { .subject = "CN=Middle", .kind = MINT_CA };
	struct mint_cert *middle = mint_certificate(&spec, root);
	struct mint_cert *impostor = mint_certificate(&spec, root);
	struct mint_cert *alice = mint_sender(middle, "CN=alice");
	struct trust *trust;
	struct ps_cause cause;
	const char *crl = mint_crl(&(struct mint_crl_spec){ .revoked = LIST(alice) }, middle);

	assert_int_equal(load(mint_pem(LIST(root)), crl, &trust, &cause), PS_OK);
	for (int round = 0; round < 2; round++) { /* the second is answered from memory */
		assert_int_equal(trust_revocation(trust, mint_chain(LIST(alice)), mint_chain(LIST(middle)), MINT_NOW, &cause),
		                 CRL_REVOKED);
		assert_int_equal(trust_revocation(trust, mint_chain(LIST(alice)), mint_chain(LIST(impostor)), MINT_NOW, &cause),
		                 CRL_MISSING);
	}
	trust_free(trust);
}

static void test_rsa_authority_signs_lists_too(void **state)
{
	(void)state;
	struct mint_spec spec = { .subject = "CN=CA", .kind = MINT_CA, .key = mint_key(MINT_RSA2048) };
	struct mint_cert *ca = mint_certificate(&spec, NULL);
	struct mint_cert *alice = mint_sender(ca, "CN=alice");

	assert_int_equal(state_of(ca, mint_crl(&(struct mint_crl_spec){ .revoked = LIST(alice) }, ca), alice, MINT_NOW),
	                 CRL_REVOKED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_several_anchors_are_counted, clear),
		cmocka_unit_test_teardown(test_der_anchor_is_read, clear),
		cmocka_unit_test_teardown(test_anchors_that_cannot_serve_stop_the_start, clear),
		cmocka_unit_test_teardown(test_missing_file_is_named, clear),
		cmocka_unit_test_teardown(test_lists_that_cannot_answer_stop_the_start, clear),
		cmocka_unit_test_teardown(test_without_a_list_revocation_is_not_asked, clear),
		cmocka_unit_test_teardown(test_serial_on_the_list_is_revoked_and_another_is_not, clear),
		cmocka_unit_test_teardown(test_serial_with_a_sign_byte_is_found, clear),
		cmocka_unit_test_teardown(test_list_past_its_next_update_is_expired_but_still_revokes, clear),
		cmocka_unit_test_teardown(test_list_from_the_future_is_not_there, clear),
		cmocka_unit_test_teardown(test_newest_list_counts_in_any_order, clear),
		cmocka_unit_test_teardown(test_of_lists_of_one_moment_each_counts_for_whom_it_revokes, clear),
		cmocka_unit_test_teardown(test_a_hundred_thousand_entries_cost_about_as_much_as_ten, clear),
		cmocka_unit_test_teardown(test_lists_of_several_files_all_count, clear),
		cmocka_unit_test_teardown(test_if_present_asks_only_issuers_that_have_a_list, clear),
		cmocka_unit_test_teardown(test_if_present_still_refuses_a_list_that_cannot_answer, clear),
		cmocka_unit_test_teardown(test_list_of_an_intermediate_is_verified_when_used, clear),
		cmocka_unit_test_teardown(test_rsa_authority_signs_lists_too, clear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
