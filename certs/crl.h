/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl -- the list of revoked certificates (RFC 5280, section 5: version 2, with number and reasons).
 *
 * Certificates that have expired stay on it: a reader whose clock is slow must not take them for good.
 */
#ifndef CERTS_CRL_H
#define CERTS_CRL_H

#include "authority.h"
#include "portseal/buf.h"
#include "portseal/err.h"
#include "stamp.h"

/* Raises the ledger's CRL number, and appends the PEM signed by the unlocked authority. */
enum ps_err crl_print(struct authority *authority, const struct stamp_span *validity, struct buf *pem,
                      struct ps_cause *cause) PS_MUST_CHECK;

#endif
