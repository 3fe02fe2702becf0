/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trust -- whom we believe: the trust anchors, and the revocation lists of their authorities.
 *
 * A CRL's serials are kept sorted, so that 100,000 entries cost a binary search.
 */
#ifndef PORTSEAL_TRUST_H
#define PORTSEAL_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

struct crl;
struct mbedtls_x509_crt;
struct trust;

enum crl_policy {
	CRL_REQUIRED,   /* every issuer of a chain has a current list, or the chain is refused */
	CRL_IF_PRESENT, /* an issuer in whose name there is no list at all is not asked; any that is there must be current */
};

/* Paths are borrowed. */
struct trust_config {
	const char *ca_path;
	const char *const *crl_paths; /* PEM with several lists, or DER; of any number of issuers */
	size_t n_crl_paths;           /* 0: revocation is not asked */
	enum crl_policy crl_policy;
};

/* Loads the anchors (PEM with one or several, or DER) and the CRLs. Every certificate must parse; each must be a CA; a
 * CRL must be signed by one of the anchors or by an intermediate seen later (then it is verified when used). */
enum ps_err trust_new(const struct trust_config *config, struct trust **trust, struct ps_cause *cause) PS_MUST_CHECK;

/* The same with one file of CRLs, which are then required, or with none (NULL). */
enum ps_err trust_load(const char *ca_path, const char *crl_path, struct trust **trust, struct ps_cause *cause)
	PS_MUST_CHECK;
void trust_free(struct trust *trust);

struct mbedtls_x509_crt *trust_anchors(struct trust *trust);
size_t trust_n_anchors(const struct trust *trust);

/* Every list that was loaded, in the order of the files. */
size_t trust_n_crls(const struct trust *trust);
const struct crl *trust_crl(const struct trust *trust, size_t index);

enum crl_state {
	CRL_NOT_ASKED, /* no CRL path, or none of that issuer and CRL_IF_PRESENT */
	CRL_GOOD,
	CRL_REVOKED,
	CRL_EXPIRED, /* the newest CRL of that issuer is past its nextUpdate */
	CRL_MISSING, /* none of that issuer (or none with a good signature) */
};

/* Was `certificate` revoked by `issuer` (whose signature the CRL must bear), as of `now`? Of several CRLs of one issuer
 * the newest thisUpdate counts, of several of that moment each for whom it revokes. `detail` receives the issuer and the date for the log. */
enum crl_state trust_revocation(struct trust *trust, const struct mbedtls_x509_crt *certificate,
                                struct mbedtls_x509_crt *issuer, int64_t now, struct ps_cause *detail);

#endif
