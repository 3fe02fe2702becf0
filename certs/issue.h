/* SPDX-License-Identifier: Apache-2.0 */
/*
 * issue -- certificates as this authority writes them (RFC 5280): its own, relays' (serverAuth only), senders'
 * (clientAuth only).
 */
#ifndef CERTS_ISSUE_H
#define CERTS_ISSUE_H

#include <mbedtls/pk.h>

#include "authority.h"
#include "names.h"
#include "portseal/buf.h"
#include "portseal/err.h"
#include "stamp.h"

/* Appends the PEM of an authority's self-signed certificate; `key` is its own. */
enum ps_err issue_authority(const struct names *names, mbedtls_pk_context *key, const struct stamp_span *validity,
                            struct buf *pem, struct ps_cause *cause) PS_MUST_CHECK;

struct issue_order {
	enum names_role role;
	struct names *names;     /* borrowed */
	mbedtls_pk_context *key; /* the holder's; only the public half is used */
	struct stamp_span validity;
};

/* Signs with the unlocked authority under a new serial. Appends the PEM, and adds the certificate to the ledger in
 * memory: authority_commit makes both true. */
enum ps_err issue_certificate(struct authority *authority, const struct issue_order *order, struct buf *pem,
                              struct ps_cause *cause) PS_MUST_CHECK;

#endif
