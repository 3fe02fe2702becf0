/* SPDX-License-Identifier: Apache-2.0 */
/*
 * describe -- certificates, requests, CRLs and keys, field by field, into a report.
 */
#ifndef CERTS_DESCRIBE_H
#define CERTS_DESCRIBE_H

#include <mbedtls/pk.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>
#include <mbedtls/x509_csr.h>
#include <stdint.h>

#include "report.h"

/* Each prints the fields of one object into the report; the caller opens and ends the object. */
void describe_certificate(struct report *report, const mbedtls_x509_crt *certificate, int64_t now);
void describe_request(struct report *report, const mbedtls_x509_csr *request);
void describe_crl(struct report *report, const mbedtls_x509_crl *crl, int64_t now);
void describe_key(struct report *report, const mbedtls_pk_context *key);

#endif
