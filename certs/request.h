/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request -- certificate signing requests of other hosts (RFC 2986), and the names found in them or in a certificate.
 *
 * A request proves one thing: that its author holds the key. Everything else in it is a wish.
 */
#ifndef CERTS_REQUEST_H
#define CERTS_REQUEST_H

#include <mbedtls/x509.h>
#include <mbedtls/x509_csr.h>
#include <stddef.h>

#include "names.h"
#include "portseal/err.h"

/* Reads PEM or DER, checks the request's own signature and the strength of its key. PS_E_CONFIG says which of them
 * fails. The request is the caller's to free, always. */
enum ps_err request_read(const char *path, mbedtls_x509_csr *request, struct ps_cause *cause) PS_MUST_CHECK;

/* The only common name of a subject, as NAME. */
enum ps_err request_copy_cn(const mbedtls_x509_name *subject, struct names *names, struct ps_cause *cause)
	PS_MUST_CHECK;

/* The organizational unit, if there is one. */
enum ps_err request_copy_ou(const mbedtls_x509_name *subject, struct names *names, struct ps_cause *cause)
	PS_MUST_CHECK;

/* The alternative names of the kinds that suit the role: DNS and IP for a relay, DNS and URI for a sender. The others
 * are counted in *skipped. PS_E_CONFIG for a name that this authority would not accept from the command line. */
enum ps_err request_copy_sans(const mbedtls_x509_sequence *sans, enum names_role role, struct names *names,
                              size_t *skipped, struct ps_cause *cause) PS_MUST_CHECK;

#endif
