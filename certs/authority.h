/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authority -- the directory of a certificate authority, while one command works in it.
 *
 *     DIR/ca.crt ca.key ca.crl   the authority
 *     DIR/NAME.crt NAME.key      what it issued
 *     DIR/index                  the ledger
 *     DIR/.lock                  held by the command that is at work; the others wait
 *
 * Owns:   the lock, the ledger in memory, the authority's certificate and key.
 * Never:  writes a file of the directory other than through batch.h.
 */
#ifndef CERTS_AUTHORITY_H
#define CERTS_AUTHORITY_H

#include <limits.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <stdbool.h>
#include <sys/types.h>

#include "ledger.h"
#include "portseal/buf.h"
#include "portseal/err.h"

#define AUTHORITY_FILE_CAP 256 /* NAME with its suffix */
#define AUTHORITY_PUBLIC_MODE 0644
#define AUTHORITY_PRIVATE_MODE 0600

struct authority {
	const char *dir; /* borrowed */
	int lock;
	struct ledger ledger;
	mbedtls_x509_crt certificate;
	mbedtls_pk_context key; /* empty until authority_unlock */
};

/* Touches nothing; authority_close is due from here on. */
void authority_init(struct authority *authority, const char *dir);

/* Waits for the lock, finishes what a killed run left, reads ledger and certificate. */
enum ps_err authority_open(struct authority *authority, struct ps_cause *cause) PS_MUST_CHECK;

/* Makes the directory where it is missing, waits for the lock, finishes what a killed run left: for init. */
enum ps_err authority_create(struct authority *authority, struct ps_cause *cause) PS_MUST_CHECK;

/* Takes this PEM for the authority's certificate, before it is written. */
enum ps_err authority_adopt(struct authority *authority, const struct buf *pem, struct ps_cause *cause) PS_MUST_CHECK;

/* Reads the private key (password_file may be NULL) and checks that it is the certificate's and that the certificate
 * is valid now: before signing. */
enum ps_err authority_unlock(struct authority *authority, const char *password_file, int64_t now,
                             struct ps_cause *cause) PS_MUST_CHECK;

void authority_close(struct authority *authority);

/* DIR/name followed by suffix (".crt"; "" for none). */
enum ps_err authority_path(const struct authority *authority, const char *name, const char *suffix,
                           char path[static PATH_MAX], struct ps_cause *cause) PS_MUST_CHECK;

bool authority_has(const struct authority *authority, const char *name, const char *suffix);

/* One file of a change; a change always carries the ledger as well. */
struct authority_file {
	const char *name;   /* NAME or "ca" */
	const char *suffix; /* ".crt", ".key", ".crl" */
	mode_t mode;
	const struct buf *content;
};

/* Replaces these files and the index together, whole or not at all. */
enum ps_err authority_commit(const struct authority *authority, const struct authority_file *files, size_t n_files,
                             struct ps_cause *cause) PS_MUST_CHECK;

/* Reads DIR/name.crt; PS_E_CONFIG unless this authority signed it. The certificate is the caller's to free, always. */
enum ps_err authority_read_issued(struct authority *authority, const char *name, mbedtls_x509_crt *certificate,
                                  struct ps_cause *cause) PS_MUST_CHECK;

/* When the authority's own certificate ends. */
int64_t authority_ends(const struct authority *authority);

/* The AuthorityKeyIdentifier of what it signs, in DER; returns its length, 0 if the authority's certificate bears no
 * identifier. */
#define AUTHORITY_KEY_ID_CAP 64
size_t authority_key_id(const struct authority *authority, uint8_t der[static AUTHORITY_KEY_ID_CAP]);

/* Seconds since 1970. */
int64_t authority_moment(const mbedtls_x509_time *time);

/* Lower-case hexadecimal of a serial as the ledger writes it. */
void authority_serial(const mbedtls_x509_buf *serial, char out[static LEDGER_SERIAL_CAP]);

#endif
