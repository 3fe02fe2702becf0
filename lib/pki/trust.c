/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trust -- loads anchors and revocation lists, and finds the list that counts for an issuer.
 */
#include "portseal/trust.h"

#include <stdlib.h>
#include <string.h>

#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>

#include "portseal/certificate.h"
#include "portseal/crl.h"

struct trust {
	mbedtls_x509_crt anchors;
	size_t n_anchors;
	bool asks_revocation;
	enum crl_policy crl_policy;
	struct crl **crls;
	size_t n_crls;
};

static enum ps_err load_anchors(struct trust *trust, const char *path, struct ps_cause *cause)
{
	char name[CERTIFICATE_NAME_MAX];
	enum ps_err err = certificate_read(path, &trust->anchors, cause);

	for (mbedtls_x509_crt *at = &trust->anchors; err == PS_OK && at != NULL; at = at->next) {
		trust->n_anchors++;
		if (!certificate_may_issue(at)) {
			certificate_name(&at->subject, name);
			err = ps_cause_set(cause, PS_E_CONFIG,
			                   "%s: %s is not an authority, expected version 3, CA:TRUE and key usage keyCertSign",
			                   path, name);
		}
	}
	return err;
}

/* A list in the name of an anchor must be signed by it. One in another name may be an intermediate's, which shows only
 * when a chain presents that. */
static enum ps_err check_crl(struct trust *trust, struct crl *crl, const char *path, struct ps_cause *cause)
{
	char name[CERTIFICATE_NAME_MAX];
	bool named = false;

	for (mbedtls_x509_crt *at = &trust->anchors; at != NULL; at = at->next) {
		named = named || certificate_same_name(crl_issuer(crl), &at->subject);
		if (crl_is_signed_by(crl, at))
			return PS_OK;
	}
	if (!named)
		return PS_OK;
	certificate_name(crl_issuer(crl), name);
	return ps_cause_set(
		cause, PS_E_CONFIG,
		"%s: the list in the name of %s is not signed by that authority, or its key usage lacks cRLSign", path, name);
}

/* Takes the lists, and the array they come in. */
static enum ps_err append_crls(struct trust *trust, struct crl **crls, size_t n)
{
	struct crl **grown = reallocarray(trust->crls, trust->n_crls + n, sizeof(struct crl *));

	if (grown == NULL) {
		for (size_t i = 0; i < n; i++)
			crl_free(crls[i]);
	} else {
		memcpy(grown + trust->n_crls, crls, n * sizeof(struct crl *));
		trust->crls = grown;
		trust->n_crls += n;
	}
	free(crls);
	return grown != NULL ? PS_OK : PS_E_NOMEM;
}

static enum ps_err load_crls(struct trust *trust, const char *path, struct ps_cause *cause)
{
	size_t first = trust->n_crls;
	struct crl **crls = NULL;
	size_t n = 0;
	enum ps_err err = crl_read(path, &crls, &n, cause);

	if (err == PS_OK)
		err = append_crls(trust, crls, n);
	for (size_t i = first; err == PS_OK && i < trust->n_crls; i++)
		err = check_crl(trust, trust->crls[i], path, cause);
	return err;
}

enum ps_err trust_new(const struct trust_config *config, struct trust **trust, struct ps_cause *cause)
{
	struct trust *fresh = calloc(1, sizeof *fresh);
	enum ps_err err;

	if (fresh == NULL)
		return PS_E_NOMEM;
	mbedtls_x509_crt_init(&fresh->anchors);
	if (psa_crypto_init() != PSA_SUCCESS)
		err = ps_cause_set(cause, PS_E_BUG, "the cryptographic library cannot start");
	else
		err = load_anchors(fresh, config->ca_path, cause);
	fresh->asks_revocation = config->n_crl_paths > 0;
	fresh->crl_policy = config->crl_policy;
	for (size_t i = 0; err == PS_OK && i < config->n_crl_paths; i++)
		err = load_crls(fresh, config->crl_paths[i], cause);
	if (err != PS_OK) {
		trust_free(fresh);
		return err;
	}
	*trust = fresh;
	return PS_OK;
}

enum ps_err trust_load(const char *ca_path, const char *crl_path, struct trust **trust, struct ps_cause *cause)
{
	struct trust_config config = { .ca_path = ca_path,
		                           .crl_paths = &crl_path,
		                           .n_crl_paths = crl_path != NULL ? 1 : 0 };

	return trust_new(&config, trust, cause);
}

void trust_free(struct trust *trust)
{
	if (trust == NULL)
		return;
	for (size_t i = 0; i < trust->n_crls; i++)
		crl_free(trust->crls[i]);
	free(trust->crls);
	mbedtls_x509_crt_free(&trust->anchors);
	free(trust);
}

mbedtls_x509_crt *trust_anchors(struct trust *trust)
{
	return &trust->anchors;
}

size_t trust_n_anchors(const struct trust *trust)
{
	return trust->n_anchors;
}

size_t trust_n_crls(const struct trust *trust)
{
	return trust->n_crls;
}

const struct crl *trust_crl(const struct trust *trust, size_t index)
{
	return trust->crls[index];
}

/* The newest list that `issuer` signed and that is not from the future; `detail` says what stood in the way. *named: is
 * there any in its name? */
static struct crl *newest_crl(struct trust *trust, mbedtls_x509_crt *issuer, int64_t now, bool *named,
                              struct ps_cause *detail)
{
	char name[CERTIFICATE_NAME_MAX];
	char date[CERTIFICATE_DATE_MAX];
	struct crl *newest = NULL;

	*named = false;
	certificate_name(&issuer->subject, name);
	(void)ps_cause_set(detail, PS_OK, "no revocation list of %s", name);
	for (size_t i = 0; i < trust->n_crls; i++) {
		struct crl *crl = trust->crls[i];
		if (!certificate_same_name(crl_issuer(crl), &issuer->subject))
			continue;
		*named = true;
		if (!crl_is_signed_by(crl, issuer)) {
			(void)ps_cause_set(detail, PS_OK, "the revocation list in the name of %s is not signed by it", name);
		} else if (crl_this_update(crl) > now) {
			certificate_date(crl_this_update(crl), date);
			(void)ps_cause_set(detail, PS_OK, "the revocation list of %s is from the future: %s", name, date);
		} else if (newest == NULL || crl_is_newer(crl, newest)) {
			newest = crl;
		}
	}
	return newest;
}

/* By the newest, or by another of the same moment: an authority that revokes two within a second issues two lists of one
 * thisUpdate, and both may be here. */
static bool is_listed(struct trust *trust, const mbedtls_x509_crt *certificate, mbedtls_x509_crt *issuer,
                      const struct crl *newest)
{
	for (size_t i = 0; i < trust->n_crls; i++) {
		struct crl *crl = trust->crls[i];

		if (crl_this_update(crl) == crl_this_update(newest) && crl_is_signed_by(crl, issuer) &&
		    crl_lists(crl, &certificate->serial))
			return true;
	}
	return false;
}

enum crl_state trust_revocation(struct trust *trust, const mbedtls_x509_crt *certificate, mbedtls_x509_crt *issuer,
                                int64_t now, struct ps_cause *detail)
{
	char subject[CERTIFICATE_NAME_MAX];
	char name[CERTIFICATE_NAME_MAX];
	char date[CERTIFICATE_DATE_MAX];

	bool named;

	if (!trust->asks_revocation)
		return CRL_NOT_ASKED;
	struct crl *crl = newest_crl(trust, issuer, now, &named, detail);
	if (crl == NULL)
		return named || trust->crl_policy == CRL_REQUIRED ? CRL_MISSING : CRL_NOT_ASKED;

	certificate_name(&issuer->subject, name);
	/* Asked first: what a list revoked stays revoked, even when the list itself is stale. */
	if (is_listed(trust, certificate, issuer, crl)) {
		certificate_name(&certificate->subject, subject);
		certificate_date(crl_this_update(crl), date);
		(void)ps_cause_set(detail, PS_OK, "%s was revoked by %s, list of %s", subject, name, date);
		return CRL_REVOKED;
	}
	if (now > crl_next_update(crl)) {
		certificate_date(crl_next_update(crl), date);
		(void)ps_cause_set(detail, PS_OK, "the revocation list of %s was to be renewed by %s (nextUpdate)", name, date);
		return CRL_EXPIRED;
	}
	return CRL_GOOD;
}
