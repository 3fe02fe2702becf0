/* SPDX-License-Identifier: Apache-2.0 */
/* judge: every chain that must not enter, and the few that may. */
#include "portseal/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <mbedtls/oid.h>

#include "mint.h"

#define LIST(...) ((const struct mint_cert *[]){ __VA_ARGS__, NULL })
#define NAME_CONSTRAINTS_DER \
	"\x30\x0f\xa0\x0d\x30\x0b\x82\x09" \
	"a.example"
#define OID_UNKNOWN "\x2a\x03\x04\x05"

static int clear(void **state)
{
	(void)state;
	mint_free_all();
	return 0;
}

static struct trust *trust_of(const struct mint_cert *const *anchors, const char *crl_pem)
{
	const char *directory = mint_directory();
	struct trust *trust = NULL;
	struct ps_cause cause = { "" };
	const char *crl = crl_pem != NULL ? mint_write(directory, "ca.crl", crl_pem) : NULL;

	if (trust_load(mint_write(directory, "ca.crt", mint_pem(anchors)), crl, &trust, &cause) != PS_OK)
		fail_msg("trust: %s", cause.text);
	return trust;
}

/* The chain is judged by fresh trust; what it says goes to `verdict`. */
static enum refusal judge_with(const struct mint_cert *const *anchors, const char *crl_pem, enum peer_purpose purpose,
                               const struct mint_cert *const *chain, int64_t now, struct verdict *verdict)
{
	struct trust *trust = trust_of(anchors, crl_pem);
	struct identity *identity = NULL;
	mbedtls_x509_crt *parsed = mint_chain(chain);

	assert_non_null(parsed);
	memset(verdict, 0xff, sizeof *verdict);
	judge_chain(trust, purpose, parsed, now, verdict, &identity);
	identity_free(identity);
	trust_free(trust);
	assert_int_equal(verdict->rule, -1);
	if (verdict->refusal == REFUSAL_NONE)
		assert_string_equal(verdict->detail.text, "");
	else
		assert_string_not_equal(verdict->detail.text, "");
	return verdict->refusal;
}

static void assert_verdict(const struct mint_cert *const *anchors, const struct mint_cert *const *chain,
                           enum refusal expected)
{
	struct verdict verdict;
	enum refusal got = judge_with(anchors, NULL, PURPOSE_CLIENT, chain, MINT_NOW, &verdict);

	if (got != expected)
		print_error("%s\n", verdict.detail.text);
	assert_string_equal(refusal_name(got), refusal_name(expected));
}

static void test_leaf_of_the_anchor_enters(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");

	assert_verdict(LIST(ca), LIST(mint_sender(ca, "CN=alice")), REFUSAL_NONE);
}

static void test_relay_certificate_enters_as_a_server_only(void **state)
{
	(void)state;
	struct verdict verdict;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *relay = mint_relay(ca, "CN=relay", "relay.example.com");
	struct mint_cert *sender = mint_sender(ca, "CN=alice");

	assert_int_equal(judge_with(LIST(ca), NULL, PURPOSE_SERVER, LIST(relay), MINT_NOW, &verdict), REFUSAL_NONE);
	assert_int_equal(judge_with(LIST(ca), NULL, PURPOSE_CLIENT, LIST(relay), MINT_NOW, &verdict),
	                 REFUSAL_WRONG_PURPOSE);
	assert_int_equal(judge_with(LIST(ca), NULL, PURPOSE_SERVER, LIST(sender), MINT_NOW, &verdict),
	                 REFUSAL_WRONG_PURPOSE);
}

static void test_no_certificate_is_refused(void **state)
{
	(void)state;
	struct trust *trust = trust_of(LIST(mint_ca("CN=CA")), NULL);
	struct identity *identity = (struct identity *)1;
	struct verdict verdict;
	mbedtls_x509_crt empty;

	judge_chain(trust, PURPOSE_CLIENT, NULL, MINT_NOW, &verdict, &identity);
	assert_int_equal(verdict.refusal, REFUSAL_NO_CERTIFICATE);
	assert_null(identity);
	mbedtls_x509_crt_init(&empty);
	judge_chain(trust, PURPOSE_CLIENT, &empty, MINT_NOW, &verdict, &identity);
	assert_int_equal(verdict.refusal, REFUSAL_NO_CERTIFICATE);
	trust_free(trust);
}

static void test_refused_chain_still_tells_who_it_claims_to_be(void **state)
{
	(void)state;
	struct trust *trust = trust_of(LIST(mint_ca("CN=CA")), NULL);
	struct identity *identity = NULL;
	struct verdict verdict;
	char label[IDENTITY_LABEL_MAX];

	judge_chain(trust, PURPOSE_CLIENT, mint_chain(LIST(mint_sender(mint_ca("CN=Other"), "CN=mallory"))), MINT_NOW,
	            &verdict, &identity);
	assert_int_equal(verdict.refusal, REFUSAL_UNKNOWN_CA);
	assert_non_null(identity);
	identity_label(identity, label);
	assert_string_equal(label, "mallory");
	assert_non_null(strstr(verdict.detail.text, "CN=Other"));
	identity_free(identity);
	trust_free(trust);
}

/* Each of these is a leaf with one thing wrong, rightly signed by the anchor. */
static void test_leaves_with_one_thing_wrong_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		struct mint_spec spec;
		enum refusal refusal;
	} cases[] = {
		{ "signature broken", { .broken_signature = true }, REFUSAL_BAD_SIGNATURE },
		{ "version 1", { .version_1 = true }, REFUSAL_BAD_CERTIFICATE },
		{ "a CA", { .kind = MINT_CA, .purposes = MINT_PURPOSE_CLIENT }, REFUSAL_BAD_CERTIFICATE },
		{ "NUL in the CN", { .patch_from = "ice", .patch_to = "i\0e", .patch_len = 3 }, REFUSAL_BAD_CERTIFICATE },
		{ "control byte in the CN",
		  { .patch_from = "ice", .patch_to = "i\ne", .patch_len = 3 },
		  REFUSAL_BAD_CERTIFICATE },
		{ "no extended key usage", { .purposes = MINT_PURPOSE_NONE }, REFUSAL_WRONG_PURPOSE },
		{ "only any extended key usage", { .purposes = MINT_PURPOSE_ANY }, REFUSAL_WRONG_PURPOSE },
		{ "for servers", { .purposes = MINT_PURPOSE_SERVER }, REFUSAL_WRONG_PURPOSE },
		{ "key usage without digitalSignature",
		  { .key_usage = MBEDTLS_X509_KU_KEY_ENCIPHERMENT },
		  REFUSAL_WRONG_PURPOSE },
		{ "name constraints, not critical",
		  { .extension = { MINT_OID(MBEDTLS_OID_NAME_CONSTRAINTS), MINT_DER(NAME_CONSTRAINTS_DER) } },
		  REFUSAL_NAME_CONSTRAINTS },
		{ "expired", { .not_after = MINT_NOW - 1 }, REFUSAL_EXPIRED },
		{ "not yet valid", { .not_before = MINT_NOW + 1 }, REFUSAL_NOT_YET_VALID },
		{ "SHA-1", { .md = MBEDTLS_MD_SHA1 }, REFUSAL_WEAK_KEY },
		/* What is wrong is told in this order. */
		{ "broken and expired", { .broken_signature = true, .not_after = MINT_NOW - 1 }, REFUSAL_BAD_SIGNATURE },
		{ "CA and expired", { .kind = MINT_CA, .not_after = MINT_NOW - 1 }, REFUSAL_BAD_CERTIFICATE },
		{ "for servers and expired",
		  { .purposes = MINT_PURPOSE_SERVER, .not_after = MINT_NOW - 1 },
		  REFUSAL_WRONG_PURPOSE },
	};
	struct mint_cert *ca = mint_ca("CN=CA");

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct mint_spec spec = cases[i].spec;
		spec.subject = "CN=alice";
		print_message("%s\n", cases[i].what);
		assert_verdict(LIST(ca), LIST(mint_certificate(&spec, ca)), cases[i].refusal);
	}
}

static void test_leaves_that_are_unusual_but_right_enter(void **state)
{
	(void)state;
	static const struct mint_spec cases[] = {
		{ .purposes = MINT_PURPOSE_CLIENT | MINT_PURPOSE_SERVER },
		{ .purposes = MINT_PURPOSE_CLIENT | MINT_PURPOSE_ANY },
		{ .key_usage = MINT_NO_KEY_USAGE },
		{ .md = MBEDTLS_MD_SHA512 },
		{ .not_after = MINT_NOW },
		{ .not_before = MINT_NOW },
		{ .extension = { MINT_OID(OID_UNKNOWN), MINT_DER("\x05\x00") } },
	};
	struct mint_cert *ca = mint_ca("CN=CA");

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct mint_spec spec = cases[i];
		spec.subject = "CN=alice";
		spec.kind = MINT_SENDER;
		assert_verdict(LIST(ca), LIST(mint_certificate(&spec, ca)), REFUSAL_NONE);
	}
}

static void test_weak_keys_are_refused_wherever_they_stand(void **state)
{
	(void)state;
	static const enum mint_key_kind weak[] = { MINT_RSA1024, MINT_P224 };

	for (size_t i = 0; i < 2; i++) {
		mbedtls_pk_context *key = mint_key(weak[i]);
		struct mint_cert *good = mint_ca("CN=CA");
		struct mint_cert *bad =
			mint_certificate(&(struct mint_spec){ .subject = "CN=Weak", .kind = MINT_CA, .key = key }, NULL);
		struct mint_spec leaf = { .subject = "CN=alice", .kind = MINT_SENDER, .key = key };
		struct mint_spec middle = { .subject = "CN=Middle", .kind = MINT_CA, .key = key };
		struct mint_cert *between = mint_certificate(&middle, good);

		assert_verdict(LIST(good), LIST(mint_certificate(&leaf, good)), REFUSAL_WEAK_KEY);
		assert_verdict(LIST(bad), LIST(mint_sender(bad, "CN=alice")), REFUSAL_WEAK_KEY);
		assert_verdict(LIST(good), LIST(mint_sender(between, "CN=alice"), between), REFUSAL_WEAK_KEY);
	}
}

static void test_rsa_of_2048_bits_enters(void **state)
{
	(void)state;
	mbedtls_pk_context *key = mint_key(MINT_RSA2048);
	struct mint_cert *ca =
		mint_certificate(&(struct mint_spec){ .subject = "CN=CA", .kind = MINT_CA, .key = key }, NULL);
	struct mint_spec leaf = { .subject = "CN=alice", .kind = MINT_SENDER, .key = key };

	assert_verdict(LIST(ca), LIST(mint_certificate(&leaf, ca)), REFUSAL_NONE);
}

static void test_authority_with_the_same_name_and_another_key_is_bad_signature(void **state)
{
	(void)state;
	assert_verdict(LIST(mint_ca("CN=CA")), LIST(mint_sender(mint_ca("CN=CA"), "CN=alice")), REFUSAL_BAD_SIGNATURE);
}

static void test_unsigned_text_does_not_shape_the_answer(void **state)
{
	(void)state;
	struct mint_spec forged = { .subject = "CN=alice", .kind = MINT_CA, .not_after = MINT_NOW - 1 };

	assert_verdict(LIST(mint_ca("CN=CA")), LIST(mint_certificate(&forged, mint_ca("CN=CA"))), REFUSAL_BAD_SIGNATURE);
	assert_verdict(LIST(mint_ca("CN=CA")), LIST(mint_certificate(&forged, mint_ca("CN=Other"))), REFUSAL_UNKNOWN_CA);
}

static void test_self_signed_leaf_is_unknown_ca(void **state)
{
	(void)state;
	struct mint_spec self = { .subject = "CN=alice", .kind = MINT_SENDER };

	assert_verdict(LIST(mint_ca("CN=CA")), LIST(mint_certificate(&self, NULL)), REFUSAL_UNKNOWN_CA);
}

static void test_presented_root_is_no_anchor(void **state)
{
	(void)state;
	struct mint_cert *own = mint_ca("CN=Mallory");

	assert_verdict(LIST(mint_ca("CN=CA")), LIST(mint_sender(own, "CN=alice"), own), REFUSAL_UNKNOWN_CA);
}

static void test_anchor_shown_as_a_leaf_is_refused(void **state)
{
	(void)state;
	struct mint_spec spec = { .subject = "CN=CA",
		                      .kind = MINT_CA,
		                      .purposes = MINT_PURPOSE_CLIENT,
		                      .key_usage = MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_DIGITAL_SIGNATURE };
	struct mint_cert *ca = mint_certificate(&spec, NULL);

	assert_verdict(LIST(ca), LIST(ca), REFUSAL_BAD_CERTIFICATE);
}

static void test_intermediates_in_any_order_enter(void **state)
{
	(void)state;
	struct mint_cert *root = mint_ca("CN=Root");
	struct mint_cert *one = mint_certificate(&(struct mint_spec){ .subject = "CN=One", .kind = MINT_CA }, root);
	struct mint_cert *two = mint_certificate(&(struct mint_spec){ .subject = "CN=Two", .kind = MINT_CA }, one);
	struct mint_cert *leaf = mint_sender(two, "CN=alice");

	assert_verdict(LIST(root), LIST(leaf, two, one), REFUSAL_NONE);
	assert_verdict(LIST(root), LIST(leaf, one, two), REFUSAL_NONE);
	assert_verdict(LIST(root), LIST(leaf, two, one, root), REFUSAL_NONE);
	assert_verdict(LIST(root), LIST(leaf, two), REFUSAL_UNKNOWN_CA);
	assert_verdict(LIST(root), LIST(leaf), REFUSAL_UNKNOWN_CA);
}

static void test_intermediate_as_anchor_is_enough(void **state)
{
	(void)state;
	struct mint_cert *one =
		mint_certificate(&(struct mint_spec){ .subject = "CN=One", .kind = MINT_CA }, mint_ca("CN=R"));

	assert_verdict(LIST(one), LIST(mint_sender(one, "CN=alice")), REFUSAL_NONE);
	assert_verdict(LIST(one), LIST(mint_sender(one, "CN=alice"), one), REFUSAL_NONE);
}

static void test_eight_intermediates_enter_and_nine_do_not(void **state)
{
	(void)state;
	struct mint_cert *root = mint_ca("CN=Root");
	struct mint_cert *made[9];
	const struct mint_cert *chain[11] = { NULL };
	const struct mint_cert *issuer = root;

	for (int i = 0; i < 9; i++) {
		char subject[16];
		(void)snprintf(subject, sizeof subject, "CN=I%d", i);
		issuer = made[i] = mint_certificate(&(struct mint_spec){ .subject = subject, .kind = MINT_CA }, issuer);
	}
	for (size_t n = 8; n <= 9; n++) {
		chain[0] = mint_sender(made[n - 1], "CN=alice");
		for (size_t i = 0; i < n; i++)
			chain[1 + i] = made[n - 1 - i];
		assert_verdict(LIST(root), chain, n == 8 ? REFUSAL_NONE : REFUSAL_UNKNOWN_CA);
	}
}

static void test_more_certificates_than_anyone_needs_are_refused(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *other = mint_ca("CN=Other");
	const struct mint_cert *chain[19] = { mint_sender(ca, "CN=alice") };

	for (size_t i = 1; i < 17; i++)
		chain[i] = other;
	assert_verdict(LIST(ca), chain, REFUSAL_NONE);
	chain[17] = other;
	assert_verdict(LIST(ca), chain, REFUSAL_BAD_CERTIFICATE);
}

/* Each of these is an intermediate with one thing wrong, rightly signed, and a leaf it signed. */
static void test_intermediates_with_one_thing_wrong_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		struct mint_spec spec;
		enum refusal refusal;
	} cases[] = {
		{ "signature broken", { .kind = MINT_CA, .broken_signature = true }, REFUSAL_BAD_SIGNATURE },
		{ "not a CA", { .kind = MINT_SENDER }, REFUSAL_UNKNOWN_CA },
		{ "version 1", { .kind = MINT_CA, .version_1 = true }, REFUSAL_UNKNOWN_CA },
		{ "no keyCertSign", { .kind = MINT_CA, .key_usage = MBEDTLS_X509_KU_CRL_SIGN }, REFUSAL_UNKNOWN_CA },
		{ "for servers", { .kind = MINT_CA, .purposes = MINT_PURPOSE_SERVER }, REFUSAL_WRONG_PURPOSE },
		{ "name constraints, not critical",
		  { .kind = MINT_CA, .extension = { MINT_OID(MBEDTLS_OID_NAME_CONSTRAINTS), MINT_DER(NAME_CONSTRAINTS_DER) } },
		  REFUSAL_NAME_CONSTRAINTS },
		{ "expired", { .kind = MINT_CA, .not_after = MINT_NOW - 1 }, REFUSAL_EXPIRED },
		{ "not yet valid", { .kind = MINT_CA, .not_before = MINT_NOW + 1 }, REFUSAL_NOT_YET_VALID },
		{ "SHA-1", { .kind = MINT_CA, .md = MBEDTLS_MD_SHA1 }, REFUSAL_WEAK_KEY },
		{ "any extended key usage (right)", { .kind = MINT_CA, .purposes = MINT_PURPOSE_ANY }, REFUSAL_NONE },
		{ "for clients (right)", { .kind = MINT_CA, .purposes = MINT_PURPOSE_CLIENT }, REFUSAL_NONE },
		{ "pathlen 0 (right)", { .kind = MINT_CA, .has_pathlen = true }, REFUSAL_NONE },
	};
	struct mint_cert *root = mint_ca("CN=Root");

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct mint_spec spec = cases[i].spec;
		spec.subject = "CN=Middle";
		struct mint_cert *middle = mint_certificate(&spec, root);
		print_message("%s\n", cases[i].what);
		assert_verdict(LIST(root), LIST(mint_sender(middle, "CN=alice"), middle), cases[i].refusal);
	}
}

static void test_anchors_with_one_thing_wrong_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		struct mint_spec spec;
		enum refusal refusal;
	} cases[] = {
		{ "for servers", { .purposes = MINT_PURPOSE_SERVER }, REFUSAL_WRONG_PURPOSE },
		{ "name constraints, not critical",
		  { .extension = { MINT_OID(MBEDTLS_OID_NAME_CONSTRAINTS), MINT_DER(NAME_CONSTRAINTS_DER) } },
		  REFUSAL_NAME_CONSTRAINTS },
		{ "expired", { .not_after = MINT_NOW - 1 }, REFUSAL_EXPIRED },
		{ "not yet valid", { .not_before = MINT_NOW + 1 }, REFUSAL_NOT_YET_VALID },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct mint_spec spec = cases[i].spec;
		spec.subject = "CN=CA";
		spec.kind = MINT_CA;
		struct mint_cert *ca = mint_certificate(&spec, NULL);
		print_message("%s\n", cases[i].what);
		assert_verdict(LIST(ca), LIST(mint_sender(ca, "CN=alice")), cases[i].refusal);
	}
}

static void test_pathlen_bounds_the_authorities_below(void **state)
{
	(void)state;
	struct mint_spec bounded = { .subject = "CN=Root", .kind = MINT_CA, .has_pathlen = true, .pathlen = 1 };
	struct mint_cert *root = mint_certificate(&bounded, NULL);
	struct mint_cert *one = mint_certificate(&(struct mint_spec){ .subject = "CN=One", .kind = MINT_CA }, root);
	struct mint_cert *two = mint_certificate(&(struct mint_spec){ .subject = "CN=Two", .kind = MINT_CA }, one);

	assert_verdict(LIST(root), LIST(mint_sender(one, "CN=alice"), one), REFUSAL_NONE);
	assert_verdict(LIST(root), LIST(mint_sender(two, "CN=alice"), two, one), REFUSAL_UNKNOWN_CA);
}

static void test_cross_signed_authority_is_followed_to_the_anchor_we_know(void **state)
{
	(void)state;
	mbedtls_pk_context *key = mint_key(MINT_P256);
	struct mint_spec middle = { .subject = "CN=Middle", .kind = MINT_CA, .key = key };
	struct mint_cert *ours = mint_ca("CN=Ours");
	struct mint_cert *by_ours = mint_certificate(&middle, ours);
	struct mint_cert *by_theirs = mint_certificate(&middle, mint_ca("CN=Theirs"));
	struct mint_cert *leaf = mint_sender(by_ours, "CN=alice");

	assert_verdict(LIST(ours), LIST(leaf, by_theirs, by_ours), REFUSAL_NONE);
	assert_verdict(LIST(ours), LIST(leaf, by_ours, by_theirs), REFUSAL_NONE);
	assert_verdict(LIST(ours), LIST(leaf, by_theirs), REFUSAL_UNKNOWN_CA);
}

static void test_valid_path_is_found_next_to_an_expired_one(void **state)
{
	(void)state;
	mbedtls_pk_context *key = mint_key(MINT_P256);
	struct mint_spec old = { .subject = "CN=CA", .kind = MINT_CA, .key = key, .not_after = MINT_NOW - 1 };
	struct mint_spec renewed = { .subject = "CN=CA", .kind = MINT_CA, .key = key };
	struct mint_cert *expired = mint_certificate(&old, NULL);
	struct mint_cert *valid = mint_certificate(&renewed, NULL);
	struct mint_cert *leaf = mint_sender(valid, "CN=alice");

	assert_verdict(LIST(expired, valid), LIST(leaf), REFUSAL_NONE);
	assert_verdict(LIST(valid, expired), LIST(leaf), REFUSAL_NONE);
	assert_verdict(LIST(expired), LIST(leaf), REFUSAL_EXPIRED);
}

static void test_same_named_anchors_are_all_tried(void **state)
{
	(void)state;
	struct mint_cert *old = mint_ca("CN=CA");
	struct mint_cert *new = mint_ca("CN=CA");

	assert_verdict(LIST(old, new), LIST(mint_sender(old, "CN=alice")), REFUSAL_NONE);
	assert_verdict(LIST(old, new), LIST(mint_sender(new, "CN=alice")), REFUSAL_NONE);
}

static void test_sixteen_signatures_are_verified_for_one_peer_and_no_more(void **state)
{
	(void)state;
	const struct mint_cert *anchors[18] = { NULL };
	const struct mint_cert *leaf;

	for (size_t i = 0; i < 16; i++)
		anchors[i] = mint_ca("CN=CA");
	leaf = mint_sender(anchors[15], "CN=alice");
	assert_verdict(anchors, LIST(leaf), REFUSAL_NONE);
	anchors[16] = anchors[15];
	anchors[15] = anchors[14];
	assert_verdict(anchors, LIST(leaf), REFUSAL_BAD_SIGNATURE);
}

static void test_flood_of_same_named_intermediates_is_bounded(void **state)
{
	(void)state;
	struct mint_cert *ca = mint_ca("CN=CA");
	struct mint_cert *forger = mint_ca("CN=CA");
	struct mint_spec same = { .subject = "CN=CA", .kind = MINT_CA, .key = forger->key };
	const struct mint_cert *chain[18] = { mint_sender(forger, "CN=alice") };

	for (size_t i = 1; i < 17; i++)
		chain[i] = mint_certificate(&same, forger);
	assert_verdict(LIST(ca), chain, REFUSAL_BAD_SIGNATURE);
}

static void test_dates_come_from_the_given_clock(void **state)
{
	(void)state;
	struct verdict verdict;
	struct mint_spec spec = { .subject = "CN=CA", .kind = MINT_CA, .not_before = MINT_DAY, .not_after = 2 * MINT_DAY };
	struct mint_cert *ca = mint_certificate(&spec, NULL);
	struct mint_spec leaf_spec = {
		.subject = "CN=alice", .kind = MINT_SENDER, .not_before = MINT_DAY, .not_after = 2 * MINT_DAY
	};
	struct mint_cert *leaf = mint_certificate(&leaf_spec, ca);

	assert_int_equal(judge_with(LIST(ca), NULL, PURPOSE_CLIENT, LIST(leaf), MINT_DAY + 1, &verdict), REFUSAL_NONE);
	assert_int_equal(judge_with(LIST(ca), NULL, PURPOSE_CLIENT, LIST(leaf), MINT_DAY - 1, &verdict),
	                 REFUSAL_NOT_YET_VALID);
	assert_string_equal(verdict.detail.text, "CN=alice is not valid before 1970-01-02T00:00:00Z, issuer CN=CA");
	assert_int_equal(judge_with(LIST(ca), NULL, PURPOSE_CLIENT, LIST(leaf), 2 * MINT_DAY + 1, &verdict),
	                 REFUSAL_EXPIRED);
	assert_string_equal(verdict.detail.text, "CN=alice expired on 1970-01-03T00:00:00Z, issuer CN=CA");
}

static void test_critical_extension_nobody_knows_does_not_even_parse(void **state)
{
	(void)state;
	struct mint_spec spec = { .subject = "CN=a",
		                      .kind = MINT_SENDER,
		                      .extension = { MINT_OID(OID_UNKNOWN), .critical = true, MINT_DER("\x05\x00") } };

	assert_null(mint_chain(LIST(mint_certificate(&spec, NULL))));
	spec.extension = (struct mint_extension){ MINT_OID(MBEDTLS_OID_NAME_CONSTRAINTS), .critical = true,
		                                      MINT_DER(NAME_CONSTRAINTS_DER) };
	assert_null(mint_chain(LIST(mint_certificate(&spec, NULL))));
}

static void test_revocation_is_asked_of_every_authority_of_the_path(void **state)
{
	(void)state;
	struct verdict verdict;
	struct mint_cert *root = mint_ca("CN=Root");
	struct mint_cert *middle = mint_certificate(&(struct mint_spec){ .subject = "CN=Middle", .kind = MINT_CA }, root);
	struct mint_cert *leaf = mint_sender(middle, "CN=alice");
	struct mint_crl_spec none = { 0 }, stale = { .next_update = MINT_NOW - 1 },
						 future = { .this_update = MINT_NOW + 1 };
	struct mint_crl_spec with_leaf = { .revoked = LIST(leaf) }, with_middle = { .revoked = LIST(middle) };
	const struct {
		const struct mint_crl_spec *of_root, *of_middle;
		enum refusal refusal;
	} cases[] = {
		{ &none, &none, REFUSAL_NONE },
		{ &none, &with_leaf, REFUSAL_REVOKED },
		{ &with_middle, &none, REFUSAL_REVOKED },
		{ &with_leaf, &none, REFUSAL_NONE }, /* by an authority that did not issue it */
		{ &none, NULL, REFUSAL_CRL_MISSING },
		{ NULL, &none, REFUSAL_CRL_MISSING },
		{ &stale, &none, REFUSAL_CRL_EXPIRED },
		{ &none, &stale, REFUSAL_CRL_EXPIRED },
		{ &none, &future, REFUSAL_CRL_MISSING },
		{ &with_middle, NULL, REFUSAL_REVOKED }, /* the surer answer */
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char pem[4096];
		(void)snprintf(pem, sizeof pem, "%s%s", cases[i].of_root != NULL ? mint_crl(cases[i].of_root, root) : "",
		               cases[i].of_middle != NULL ? mint_crl(cases[i].of_middle, middle) : "");
		print_message("case %zu\n", i);
		assert_int_equal(judge_with(LIST(root), pem, PURPOSE_CLIENT, LIST(leaf, middle), MINT_NOW, &verdict),
		                 cases[i].refusal);
	}
}

/* As a client may pad its chain differently with each connection, to have each kept and judged for itself. */
static void test_the_path_is_told_without_what_was_shown_beside_it(void **state)
{
	(void)state;
	struct mint_cert *root = mint_ca("CN=Root");
	struct mint_spec of_middle = { .subject = "CN=Middle", .kind = MINT_CA, .not_after = MINT_NOW + 5 };
	struct mint_cert *middle = mint_certificate(&of_middle, root);
	struct mint_cert *leaf = mint_sender(middle, "CN=alice");
	struct mint_cert *beside = mint_certificate(&(struct mint_spec){ .subject = "CN=Middle", .kind = MINT_CA }, NULL);
	mbedtls_x509_crt *chain = mint_chain(LIST(leaf, beside, mint_ca("CN=X"), middle, root));
	struct trust *trust = trust_of(LIST(root), NULL);
	struct identity_name name = { .kind = IDENTITY_CN, .len = 5, .value = (char *)(uintptr_t) "alice" };
	struct access_rule anybody = { .any = true };
	struct identity *identity = NULL;
	struct verdict verdict;

	memset(&verdict, 0xff, sizeof verdict);
	judge_chain(trust, PURPOSE_CLIENT, chain, MINT_NOW, &verdict, &identity);
	assert_int_equal(verdict.refusal, REFUSAL_NONE);
	judge_access(&(struct access_list){ &anybody, 1 }, &(struct identity){ .names = &name, .n_names = 1 }, &verdict);
	assert_int_equal(verdict.rule, 0);
	assert_int_equal(verdict.path_len, 2);
	assert_ptr_equal(verdict.path[0], chain);
	assert_int_equal(verdict.path[1]->raw.len, middle->der_len);
	assert_memory_equal(verdict.path[1]->raw.p, middle->der, middle->der_len);
	assert_int_equal(verdict.path_ends, MINT_NOW + 5);
	judge_access(&(struct access_list){ NULL, 0 }, &(struct identity){ .names = &name, .n_names = 1 }, &verdict);
	assert_int_equal(verdict.path_len, 0);
	identity_free(identity);
	trust_free(trust);
}

static void test_the_anchors_end_is_the_paths(void **state)
{
	(void)state;
	struct mint_spec of_root = { .subject = "CN=Root", .kind = MINT_CA, .not_after = MINT_NOW + 7 };
	struct mint_cert *root = mint_certificate(&of_root, NULL);
	struct verdict verdict;

	assert_int_equal(
		judge_with(LIST(root), NULL, PURPOSE_CLIENT, LIST(mint_sender(root, "CN=alice")), MINT_NOW, &verdict),
		REFUSAL_NONE);
	assert_int_equal(verdict.path_len, 1);
	assert_int_equal(verdict.path_ends, MINT_NOW + 7);
}

static void test_access_names_the_rule_or_refuses(void **state)
{
	(void)state;
	struct identity_name name = { .kind = IDENTITY_CN, .len = 5, .value = (char *)(uintptr_t) "alice" };
	struct identity identity = { .names = &name, .n_names = 1 };
	struct access_rule rules[] = { { .cn = "bob" }, { .cn = "alice" }, { .any = true } };
	struct verdict verdict;

	judge_access(&(struct access_list){ rules, 3 }, &identity, &verdict);
	assert_int_equal(verdict.refusal, REFUSAL_NONE);
	assert_int_equal(verdict.rule, 1);
	judge_access(&(struct access_list){ rules, 1 }, &identity, &verdict);
	assert_int_equal(verdict.refusal, REFUSAL_NOT_ALLOWED);
	assert_int_equal(verdict.rule, -1);
	assert_string_equal(verdict.detail.text, "the only rule asks for another cn");
	judge_access(&(struct access_list){ NULL, 0 }, &identity, &verdict);
	assert_int_equal(verdict.refusal, REFUSAL_NOT_ALLOWED);
}

static void test_names_that_fit_and_names_that_do_not(void **state)
{
	(void)state;
	static const struct {
		enum identity_kind kind;
		const char *presented;
		const char *name;
		bool fits;
	} cases[] = {
		{ IDENTITY_DNS, "relay.example.com", "relay.example.com", true },
		{ IDENTITY_DNS, "relay.example.com", "RELAY.Example.COM", true },
		{ IDENTITY_DNS, "relay.example.com", "relay.example.com.", true },
		{ IDENTITY_DNS, "relay.example.com", "relay.example.com..", false },
		{ IDENTITY_DNS, "relay.example.com", "relay.example.co", false },
		{ IDENTITY_DNS, "relay.example.com", "xrelay.example.com", false },
		{ IDENTITY_DNS, "relay.example.com", "", false },
		{ IDENTITY_DNS, "relay.example.com", ".", false },
		{ IDENTITY_CN, "relay.example.com", "relay.example.com", false },
		{ IDENTITY_URI, "relay.example.com", "relay.example.com", false },
		{ IDENTITY_DNS, "*.example.com", "relay.example.com", true },
		{ IDENTITY_DNS, "*.example.com", "relay.EXAMPLE.com.", true },
		{ IDENTITY_DNS, "*.example.com", "a.relay.example.com", false },
		{ IDENTITY_DNS, "*.example.com", "example.com", false },
		{ IDENTITY_DNS, "*.example.com", ".example.com", false },
		{ IDENTITY_DNS, "*.example.com", "*.example.com", false },
		{ IDENTITY_DNS, "*.com", "example.com", false },
		{ IDENTITY_DNS, "*.com.", "example.com.", false },
		{ IDENTITY_DNS, "*", "localhost", false },
		{ IDENTITY_DNS, "*.*.com", "a.b.com", false },
		{ IDENTITY_DNS, "r*.example.com", "relay.example.com", false },
		{ IDENTITY_DNS, "*y.example.com", "relay.example.com", false },
		{ IDENTITY_DNS, "relay.*.com", "relay.example.com", false },
		{ IDENTITY_IP, "192.0.2.7", "192.0.2.7", true },
		{ IDENTITY_IP, "192.0.2.7", "192.0.2.8", false },
		{ IDENTITY_DNS, "192.0.2.7", "192.0.2.7", false },
		{ IDENTITY_DNS, "*.0.2.7", "192.0.2.7", false },
		{ IDENTITY_DNS, "*.0.2.7", "192.0.2.7.", false },
		{ IDENTITY_IP, "2001:db8::1", "2001:0DB8:0:0::1", true },
		{ IDENTITY_IP, "2001:db8::1", "2001:db8::2", false },
		{ IDENTITY_IP, "::ffff:192.0.2.7", "192.0.2.7", false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct identity_name name = { .kind = cases[i].kind,
			                          .len = strlen(cases[i].presented),
			                          .value = (char *)(uintptr_t)cases[i].presented };
		struct identity identity = { .names = &name, .n_names = 1 };
		struct verdict verdict;
		judge_name(&identity, cases[i].name, &verdict);
		print_message("%s against %s: %s\n", cases[i].name, cases[i].presented, verdict.detail.text);
		assert_int_equal(verdict.refusal, cases[i].fits ? REFUSAL_NONE : REFUSAL_WRONG_NAME);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_leaf_of_the_anchor_enters, clear),
		cmocka_unit_test_teardown(test_relay_certificate_enters_as_a_server_only, clear),
		cmocka_unit_test_teardown(test_no_certificate_is_refused, clear),
		cmocka_unit_test_teardown(test_refused_chain_still_tells_who_it_claims_to_be, clear),
		cmocka_unit_test_teardown(test_leaves_with_one_thing_wrong_are_refused, clear),
		cmocka_unit_test_teardown(test_leaves_that_are_unusual_but_right_enter, clear),
		cmocka_unit_test_teardown(test_weak_keys_are_refused_wherever_they_stand, clear),
		cmocka_unit_test_teardown(test_rsa_of_2048_bits_enters, clear),
		cmocka_unit_test_teardown(test_authority_with_the_same_name_and_another_key_is_bad_signature, clear),
		cmocka_unit_test_teardown(test_unsigned_text_does_not_shape_the_answer, clear),
		cmocka_unit_test_teardown(test_self_signed_leaf_is_unknown_ca, clear),
		cmocka_unit_test_teardown(test_presented_root_is_no_anchor, clear),
		cmocka_unit_test_teardown(test_anchor_shown_as_a_leaf_is_refused, clear),
		cmocka_unit_test_teardown(test_intermediates_in_any_order_enter, clear),
		cmocka_unit_test_teardown(test_intermediate_as_anchor_is_enough, clear),
		cmocka_unit_test_teardown(test_eight_intermediates_enter_and_nine_do_not, clear),
		cmocka_unit_test_teardown(test_more_certificates_than_anyone_needs_are_refused, clear),
		cmocka_unit_test_teardown(test_intermediates_with_one_thing_wrong_are_refused, clear),
		cmocka_unit_test_teardown(test_anchors_with_one_thing_wrong_are_refused, clear),
		cmocka_unit_test_teardown(test_pathlen_bounds_the_authorities_below, clear),
		cmocka_unit_test_teardown(test_cross_signed_authority_is_followed_to_the_anchor_we_know, clear),
		cmocka_unit_test_teardown(test_valid_path_is_found_next_to_an_expired_one, clear),
		cmocka_unit_test_teardown(test_same_named_anchors_are_all_tried, clear),
		cmocka_unit_test_teardown(test_sixteen_signatures_are_verified_for_one_peer_and_no_more, clear),
		cmocka_unit_test_teardown(test_flood_of_same_named_intermediates_is_bounded, clear),
		cmocka_unit_test_teardown(test_dates_come_from_the_given_clock, clear),
		cmocka_unit_test_teardown(test_critical_extension_nobody_knows_does_not_even_parse, clear),
		cmocka_unit_test_teardown(test_revocation_is_asked_of_every_authority_of_the_path, clear),
		cmocka_unit_test(test_the_path_is_told_without_what_was_shown_beside_it),
		cmocka_unit_test(test_the_anchors_end_is_the_paths),
		cmocka_unit_test(test_access_names_the_rule_or_refuses),
		cmocka_unit_test(test_names_that_fit_and_names_that_do_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
