/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge -- searches a path from the peer's certificate to a trust anchor, and checks all that is required of it.
 *
 * Never:  reads the machine's clock, or keeps anything from one peer to the next.
 */
#include "portseal/judge.h"

#include <string.h>

#include <mbedtls/x509_crt.h>

#include "portseal/certificate.h"

#define PRESENTED_MAX 16                       /* certificates looked at */
#define INTERMEDIATES_MAX (JUDGE_PATH_MAX - 1) /* between leaf and anchor */
#define PATH_MAX_LEN (JUDGE_PATH_MAX + 1)
#define SIGNATURES_MAX 16 /* verified for one peer, about 1 ms each */
#define STEPS_MAX 256     /* of the search by name */

#define FLAGS_WEAK (MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY)
#define FLAGS_DATES (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE)

/* How far a refused path got: of several, the refusal of the one that got farthest is told. */
enum progress { PROGRESS_NONE, PROGRESS_NAMED, PROGRESS_SIGNED };

/*
 * The search for a path. mbedTLS builds one itself, but takes the first certificate whose name fits, never goes back
 * (so that cross-signed authorities fail), and looks at the machine's clock. Here paths are found by name, which costs
 * nothing, and each link of a path is then verified by mbedTLS, from the anchor down: no key is used before an
 * authority vouched for it, and a stranger's chain costs one signature.
 */
struct search {
	struct trust *trust;
	enum peer_purpose purpose;
	int64_t now;
	enum ps_err identity_err;
	const struct ps_cause *identity_cause;

	mbedtls_x509_crt *presented[PRESENTED_MAX];
	size_t n_presented;
	mbedtls_x509_crt *path[PATH_MAX_LEN]; /* leaf first */
	size_t path_len;
	unsigned signatures_left;
	unsigned steps_left;

	enum progress progress; /* of `verdict` */
	struct verdict verdict;
};

static void refuse(struct verdict *verdict, enum refusal refusal)
{
	verdict->refusal = refusal;
	verdict->rule = -1;
	verdict->path_len = 0;
	verdict->path_ends = 0;
}

static bool same_bytes(const mbedtls_x509_crt *a, const mbedtls_x509_crt *b)
{
	return a->raw.len == b->raw.len && memcmp(a->raw.p, b->raw.p, a->raw.len) == 0;
}

static bool is_self_issued(const mbedtls_x509_crt *certificate)
{
	return certificate_same_name(&certificate->subject, &certificate->issuer);
}

struct link_seen {
	const mbedtls_x509_crt *parent;
	bool parent_used;
};

static int see_link(void *seen_, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
	struct link_seen *seen = seen_;

	(void)flags;
	if (depth == 1 && certificate == seen->parent)
		seen->parent_used = true;
	return 0;
}

/* Copies of both, each alone in its list: mbedTLS has nothing else to choose from. The copies share what the originals
 * own, and are not freed. */
static enum refusal verify_link(const mbedtls_x509_crt *child, const mbedtls_x509_crt *parent)
{
	mbedtls_x509_crt only_child = *child;
	mbedtls_x509_crt only_parent = *parent;
	struct link_seen seen = { .parent = &only_parent };
	uint32_t flags = 0;

	only_child.next = NULL;
	only_parent.next = NULL;
	int ret = mbedtls_x509_crt_verify_with_profile(&only_child, &only_parent, NULL, &mbedtls_x509_crt_profile_default,
	                                               NULL, &flags, see_link, &seen);
	if (ret != 0 && ret != MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)
		return REFUSAL_INTERNAL;
	flags &= ~(uint32_t)FLAGS_DATES; /* by the machine's clock; judged by ours later */
	/* An anchor shown as a leaf is trusted without its issuer being looked at; it is refused later, as an authority. */
	if (!seen.parent_used && !same_bytes(child, parent))
		return REFUSAL_BAD_SIGNATURE;
	if ((flags & ~(uint32_t)FLAGS_WEAK) != 0)
		return REFUSAL_BAD_SIGNATURE;
	return flags != 0 ? REFUSAL_WEAK_KEY : REFUSAL_NONE;
}

static enum refusal check_signatures(struct search *search, struct ps_cause *detail)
{
	char subject[CERTIFICATE_NAME_MAX];
	char issuer[CERTIFICATE_NAME_MAX];
	enum refusal weak = REFUSAL_NONE;

	for (size_t i = search->path_len - 1; i > 0; i--) {
		const mbedtls_x509_crt *child = search->path[i - 1];
		const mbedtls_x509_crt *parent = search->path[i];

		certificate_name(&child->subject, subject);
		certificate_name(&parent->subject, issuer);
		if (search->signatures_left == 0) {
			(void)ps_cause_set(detail, PS_OK, "too many ways to an authority; stopped at %s", subject);
			return REFUSAL_BAD_SIGNATURE;
		}
		search->signatures_left--;
		enum refusal refusal = verify_link(child, parent);
		if (refusal == REFUSAL_WEAK_KEY && weak == REFUSAL_NONE) {
			weak = refusal;
			(void)ps_cause_set(
				detail, PS_OK,
				"%s (key of %zu bits) or its issuer %s (key of %zu bits) has too weak a key or signature", subject,
				mbedtls_pk_get_bitlen(&child->pk), issuer, mbedtls_pk_get_bitlen(&parent->pk));
		} else if (refusal == REFUSAL_BAD_SIGNATURE) {
			(void)ps_cause_set(detail, PS_OK, "%s is not signed by %s, which it names as its issuer", subject, issuer);
		} else if (refusal == REFUSAL_INTERNAL) {
			(void)ps_cause_set(detail, PS_OK, "the signature of %s could not be verified", subject);
		}
		if (refusal != REFUSAL_NONE && refusal != REFUSAL_WEAK_KEY)
			return refusal;
	}
	return weak;
}

static enum refusal check_shape(const struct search *search, struct ps_cause *detail)
{
	const mbedtls_x509_crt *leaf = search->path[0];
	char name[CERTIFICATE_NAME_MAX];

	certificate_name(&leaf->subject, name);
	if (search->identity_err != PS_OK) {
		*detail = *search->identity_cause;
		return search->identity_err == PS_E_PROTO ? REFUSAL_BAD_CERTIFICATE : REFUSAL_INTERNAL;
	}
	if (leaf->version != 3) {
		(void)ps_cause_set(detail, PS_OK, "%s has X.509 version %d, expected 3", name, leaf->version);
		return REFUSAL_BAD_CERTIFICATE;
	}
	if (mbedtls_x509_crt_get_ca_istrue(leaf) == 1) {
		(void)ps_cause_set(detail, PS_OK, "%s is an authority (CA:TRUE), which nobody may show as their own", name);
		return REFUSAL_BAD_CERTIFICATE;
	}
	for (size_t i = 0; i < search->path_len; i++) {
		if (!certificate_has_name_constraints(search->path[i]))
			continue;
		certificate_name(&search->path[i]->subject, name);
		(void)ps_cause_set(detail, PS_OK, "%s has name constraints, which are not supported", name);
		return REFUSAL_NAME_CONSTRAINTS;
	}
	return REFUSAL_NONE;
}

static enum refusal check_purpose(const struct search *search, struct ps_cause *detail)
{
	const char *wanted = certificate_purpose_name(search->purpose);
	char name[CERTIFICATE_NAME_MAX];

	certificate_name(&search->path[0]->subject, name);
	if (certificate_use(search->path[0], search->purpose) != CERTIFICATE_USE_NAMED) {
		(void)ps_cause_set(detail, PS_OK, "%s was not issued for %s (extended key usage)", name, wanted);
		return REFUSAL_WRONG_PURPOSE;
	}
	if (mbedtls_x509_crt_check_key_usage(search->path[0], MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0) {
		(void)ps_cause_set(detail, PS_OK, "the key usage of %s lacks digitalSignature", name);
		return REFUSAL_WRONG_PURPOSE;
	}
	for (size_t i = 1; i < search->path_len; i++) {
		if (certificate_use(search->path[i], search->purpose) != CERTIFICATE_USE_OTHER)
			continue;
		certificate_name(&search->path[i]->subject, name);
		(void)ps_cause_set(detail, PS_OK, "the authority %s may not issue for %s (extended key usage)", name, wanted);
		return REFUSAL_WRONG_PURPOSE;
	}
	return REFUSAL_NONE;
}

static enum refusal check_dates(const struct search *search, struct ps_cause *detail)
{
	char name[CERTIFICATE_NAME_MAX];
	char issuer[CERTIFICATE_NAME_MAX];
	char date[CERTIFICATE_DATE_MAX];

	for (size_t i = 0; i < search->path_len; i++) {
		const mbedtls_x509_crt *at = search->path[i];
		int64_t from = certificate_time(&at->valid_from);
		int64_t to = certificate_time(&at->valid_to);
		bool expired = search->now > to;

		if (!expired && search->now >= from)
			continue;
		certificate_name(&at->subject, name);
		certificate_name(&at->issuer, issuer);
		certificate_date(expired ? to : from, date);
		(void)ps_cause_set(detail, PS_OK, "%s %s %s, issuer %s", name, expired ? "expired on" : "is not valid before",
		                   date, issuer);
		return expired ? REFUSAL_EXPIRED : REFUSAL_NOT_YET_VALID;
	}
	return REFUSAL_NONE;
}

static enum refusal check_revocation(const struct search *search, struct ps_cause *detail)
{
	static const enum refusal refusals[] = {
		[CRL_NOT_ASKED] = REFUSAL_NONE,      [CRL_GOOD] = REFUSAL_NONE,           [CRL_REVOKED] = REFUSAL_REVOKED,
		[CRL_EXPIRED] = REFUSAL_CRL_EXPIRED, [CRL_MISSING] = REFUSAL_CRL_MISSING,
	};
	enum refusal first = REFUSAL_NONE;

	/* A revocation anywhere in the path is a surer answer than a list that is stale or missing elsewhere. */
	for (size_t i = 0; i + 1 < search->path_len; i++) {
		struct ps_cause cause = { "" };
		enum crl_state state =
			trust_revocation(search->trust, search->path[i], search->path[i + 1], search->now, &cause);
		enum refusal refusal = refusals[state];
		if (refusal == REFUSAL_REVOKED || (refusal != REFUSAL_NONE && first == REFUSAL_NONE)) {
			*detail = cause;
			first = refusal;
		}
		if (refusal == REFUSAL_REVOKED)
			break;
	}
	return first;
}

/* The anchor, last of the path, is ours and not told. */
static void tell_path(const struct search *search, struct verdict *verdict)
{
	verdict->path_len = search->path_len - 1;
	verdict->path_ends = INT64_MAX;
	for (size_t i = 0; i < search->path_len; i++) {
		int64_t end = certificate_time(&search->path[i]->valid_to);

		if (end < verdict->path_ends)
			verdict->path_ends = end;
		if (i < verdict->path_len)
			verdict->path[i] = search->path[i];
	}
}

/* Signatures first: nothing that a stranger wrote into an unsigned certificate shapes the answer. */
static void judge_path(struct search *search)
{
	struct verdict verdict = { .refusal = REFUSAL_NONE, .rule = -1 };
	enum refusal signatures = check_signatures(search, &verdict.detail);
	enum progress progress = PROGRESS_NAMED;

	verdict.refusal = signatures;
	if (signatures == REFUSAL_NONE || signatures == REFUSAL_WEAK_KEY) {
		struct ps_cause detail = { "" };
		enum refusal shape = check_shape(search, &detail);
		progress = PROGRESS_SIGNED;
		if (shape != REFUSAL_NONE) {
			verdict.refusal = shape;
			verdict.detail = detail;
		}
	}
	if (verdict.refusal == REFUSAL_NONE)
		verdict.refusal = check_purpose(search, &verdict.detail);
	if (verdict.refusal == REFUSAL_NONE)
		verdict.refusal = check_dates(search, &verdict.detail);
	if (verdict.refusal == REFUSAL_NONE)
		verdict.refusal = check_revocation(search, &verdict.detail);
	if (verdict.refusal == REFUSAL_NONE)
		tell_path(search, &verdict);
	if (verdict.refusal == REFUSAL_NONE || progress > search->progress) {
		search->verdict = verdict;
		search->progress = progress;
	}
}

static bool is_on_path(const struct search *search, const mbedtls_x509_crt *certificate)
{
	for (size_t i = 0; i < search->path_len; i++) {
		if (search->path[i] == certificate)
			return true;
	}
	return false;
}

/* May it stand above the present path: an authority whose pathlen allows for what is below (RFC 5280, 4.2.1.9)? */
static bool may_stand_above(struct search *search, const mbedtls_x509_crt *issuer)
{
	char name[CERTIFICATE_NAME_MAX];
	int below = 0;

	for (size_t i = 1; i < search->path_len; i++)
		below += is_self_issued(search->path[i]) ? 0 : 1;
	int limit = issuer->MBEDTLS_PRIVATE(max_pathlen); /* 0: none, else one more than written */
	bool authority = certificate_may_issue(issuer);
	if (authority && (limit == 0 || below < limit))
		return true;
	if (search->progress == PROGRESS_NONE) {
		certificate_name(&issuer->subject, name);
		(void)ps_cause_set(&search->verdict.detail, PS_OK, "%s %s", name,
		                   authority ? "may not issue to so many authorities below it (pathlen)"
		                             : "issued a certificate without being an authority (CA:TRUE, keyCertSign)");
	}
	return false;
}

static bool is_issuer_of(const mbedtls_x509_crt *issuer, const mbedtls_x509_crt *child)
{
	return certificate_same_name(&issuer->subject, &child->issuer);
}

static bool is_settled(const struct search *search)
{
	return search->verdict.refusal == REFUSAL_NONE || search->signatures_left == 0 || search->steps_left == 0;
}

static void try_anchors(struct search *search, const mbedtls_x509_crt *top)
{
	for (mbedtls_x509_crt *at = trust_anchors(search->trust); at != NULL && !is_settled(search); at = at->next) {
		if (!is_issuer_of(at, top) || !may_stand_above(search, at))
			continue;
		search->path[search->path_len++] = at;
		judge_path(search);
		search->path_len--;
	}
}

/* Recursion ends at INTERMEDIATES_MAX. */
static void extend_path(struct search *search)
{
	const mbedtls_x509_crt *top = search->path[search->path_len - 1];

	if (search->steps_left > 0)
		search->steps_left--;
	try_anchors(search, top);
	if (search->path_len > INTERMEDIATES_MAX)
		return;
	for (size_t i = 0; i < search->n_presented && !is_settled(search); i++) {
		mbedtls_x509_crt *at = search->presented[i];
		if (is_on_path(search, at) || !is_issuer_of(at, top) || !may_stand_above(search, at))
			continue;
		search->path[search->path_len++] = at;
		extend_path(search);
		search->path_len--;
	}
}

static bool is_anchor(const struct search *search, const mbedtls_x509_crt *certificate)
{
	for (const mbedtls_x509_crt *at = trust_anchors(search->trust); at != NULL; at = at->next) {
		if (same_bytes(at, certificate))
			return true;
	}
	return false;
}

static void search_path(struct search *search, mbedtls_x509_crt *chain)
{
	char subject[CERTIFICATE_NAME_MAX];
	char issuer[CERTIFICATE_NAME_MAX];

	certificate_name(&chain->subject, subject);
	certificate_name(&chain->issuer, issuer);
	refuse(&search->verdict, REFUSAL_UNKNOWN_CA);
	(void)ps_cause_set(&search->verdict.detail, PS_OK, "no way from %s, issuer %s, to a trusted authority (%zu known)",
	                   subject, issuer, trust_n_anchors(search->trust));
	search->path[0] = chain;
	search->path_len = 1;
	/* An anchor among the presented ones adds nothing; it is found as an anchor. */
	for (mbedtls_x509_crt *at = chain->next; at != NULL; at = at->next) {
		if (search->n_presented == PRESENTED_MAX) {
			refuse(&search->verdict, REFUSAL_BAD_CERTIFICATE);
			(void)ps_cause_set(&search->verdict.detail, PS_OK, "%s comes with more than %d further certificates",
			                   subject, PRESENTED_MAX);
			return;
		}
		if (!is_anchor(search, at))
			search->presented[search->n_presented++] = at;
	}
	extend_path(search);
}

void judge_chain(struct trust *trust, enum peer_purpose purpose, mbedtls_x509_crt *chain, int64_t now,
                 struct verdict *verdict, struct identity **identity)
{
	struct ps_cause identity_cause = { "" };
	struct search search = {
		.trust = trust,
		.purpose = purpose,
		.now = now,
		.identity_cause = &identity_cause,
		.signatures_left = SIGNATURES_MAX,
		.steps_left = STEPS_MAX,
	};

	*identity = NULL;
	if (chain == NULL || chain->raw.p == NULL) {
		refuse(verdict, REFUSAL_NO_CERTIFICATE);
		(void)ps_cause_set(&verdict->detail, PS_OK, "it showed no certificate");
		return;
	}
	search.identity_err = identity_new(chain, identity, &identity_cause);
	search_path(&search, chain);
	*verdict = search.verdict;
}

void judge_access(const struct access_list *allow, const struct identity *identity, struct verdict *verdict)
{
	int rule = access_match(allow, identity);

	if (rule >= 0) {
		verdict->refusal = REFUSAL_NONE;
		verdict->rule = rule;
		(void)ps_cause_set(&verdict->detail, PS_OK, "%s", "");
		return;
	}
	refuse(verdict, REFUSAL_NOT_ALLOWED);
	if (allow->n_rules == 0)
		(void)ps_cause_set(&verdict->detail, PS_OK, "the service allows nobody");
	else if (allow->n_rules == 1)
		(void)ps_cause_set(&verdict->detail, PS_OK, "the only rule asks for another %s",
		                   access_rule_fails(&allow->rules[0], identity));
	else
		(void)ps_cause_set(&verdict->detail, PS_OK, "none of its %zu rules matches", allow->n_rules);
}
