/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl -- copies what is asked of a revocation list into sorted serials, and lets go of mbedTLS's far larger form.
 */
#include "portseal/crl.h"

#include <stdlib.h>
#include <string.h>

#include <mbedtls/error.h>
#include <mbedtls/md.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/sha256.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>

#include "portseal/buf.h"
#include "portseal/certificate.h"
#include "portseal/file.h"

#define SERIAL_MAX 20 /* RFC 5280, section 4.1.2.2 */
#define KEY_ID_LEN 32
#define OID_CERTIFICATE_ISSUER "\x55\x1d\x1d"
#define OID_DELTA_CRL "\x55\x1d\x1b"
#define OID_DISTRIBUTION_POINT "\x55\x1d\x1c"

/* Unused bytes are zero, so that whole structs compare. */
struct serial {
	uint8_t len;
	uint8_t bytes[SERIAL_MAX];
};

struct crl {
	uint8_t *issuer_raw;
	mbedtls_x509_name issuer; /* points into issuer_raw */
	int64_t this_update;
	int64_t next_update;
	struct serial *serials;
	size_t n_serials;

	mbedtls_md_type_t md;
	mbedtls_pk_type_t signature_type;
	mbedtls_pk_rsassa_pss_options pss; /* for MBEDTLS_PK_RSASSA_PSS */
	uint8_t hash[MBEDTLS_MD_MAX_SIZE]; /* of what was signed */
	uint8_t *signature;
	size_t signature_len;

	bool asked; /* `by_key` was asked, and the answer was `signed_by_key` */
	uint8_t by_key[KEY_ID_LEN];
	bool signed_by_key;
};

static bool serial_set(struct serial *serial, const mbedtls_x509_buf *from)
{
	const unsigned char *at = from->p;
	size_t len = from->len;

	for (; len > 1 && at[0] == 0; len--) /* a leading zero only keeps the number positive */
		at++;
	if (len == 0 || len > SERIAL_MAX)
		return false;
	memset(serial, 0, sizeof *serial);
	serial->len = (uint8_t)len;
	memcpy(serial->bytes, at, len);
	return true;
}

static int serial_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct serial));
}

bool crl_lists(const struct crl *crl, const mbedtls_x509_buf *serial)
{
	struct serial wanted;

	if (crl->n_serials == 0 || !serial_set(&wanted, serial))
		return false;
	return bsearch(&wanted, crl->serials, crl->n_serials, sizeof wanted, serial_compare) != NULL;
}

/* Copies one attribute, its pointers moved from the old bytes to ours. */
static void copy_attribute(const struct crl *crl, const mbedtls_x509_crl *from, const mbedtls_x509_name *attribute,
                           mbedtls_x509_name *copy)
{
	*copy = *attribute;
	copy->next = NULL;
	if (attribute->oid.p != NULL)
		copy->oid.p = crl->issuer_raw + (attribute->oid.p - from->issuer_raw.p);
	if (attribute->val.p != NULL)
		copy->val.p = crl->issuer_raw + (attribute->val.p - from->issuer_raw.p);
}

static enum ps_err copy_issuer(struct crl *crl, const mbedtls_x509_crl *from)
{
	mbedtls_x509_name *last = &crl->issuer;

	crl->issuer_raw = malloc(from->issuer_raw.len + 1);
	if (crl->issuer_raw == NULL)
		return PS_E_NOMEM;
	memcpy(crl->issuer_raw, from->issuer_raw.p, from->issuer_raw.len);
	copy_attribute(crl, from, &from->issuer, last);
	for (const mbedtls_x509_name *at = from->issuer.next; at != NULL; at = at->next) {
		mbedtls_x509_name *copy = malloc(sizeof *copy);
		if (copy == NULL)
			return PS_E_NOMEM;
		copy_attribute(crl, from, at, copy);
		last->next = copy;
		last = copy;
	}
	return PS_OK;
}

/* Does the entry speak of a certificate of the list's own issuer, in words that we know? */
static bool is_plain_entry(const mbedtls_x509_crl_entry *entry)
{
	bool indirect;

	if (entry->entry_ext.p == NULL)
		return true;
	/* entry_ext begins at its tag, but its len counts only the content. */
	size_t len = (size_t)(entry->raw.p + entry->raw.len - entry->entry_ext.p);
	return certificate_find_extension(entry->entry_ext.p, len, OID_CERTIFICATE_ISSUER,
	                                  sizeof OID_CERTIFICATE_ISSUER - 1, &indirect) == PS_OK &&
	       !indirect && !certificate_has_critical(entry->entry_ext.p, len);
}

static enum ps_err copy_serials(struct crl *crl, const mbedtls_x509_crl *from, const char *path, struct ps_cause *cause)
{
	size_t n = 0;

	for (const mbedtls_x509_crl_entry *at = &from->entry; at != NULL && at->raw.p != NULL; at = at->next)
		n++;
	if (n == 0)
		return PS_OK;
	crl->serials = calloc(n, sizeof *crl->serials);
	if (crl->serials == NULL)
		return PS_E_NOMEM;
	for (const mbedtls_x509_crl_entry *at = &from->entry; at != NULL && at->raw.p != NULL; at = at->next) {
		if (!is_plain_entry(at))
			return ps_cause_set(cause, PS_E_CONFIG,
			                    "%s: an entry has a critical extension (an indirect list?), which is not supported",
			                    path);
		if (!serial_set(&crl->serials[crl->n_serials++], &at->serial))
			return ps_cause_set(cause, PS_E_CONFIG, "%s: an entry's serial number has %zu bytes, expected 1 to %d",
			                    path, at->serial.len, SERIAL_MAX);
	}
	qsort(crl->serials, crl->n_serials, sizeof *crl->serials, serial_compare);
	return PS_OK;
}

static enum ps_err copy_signature(struct crl *crl, const mbedtls_x509_crl *from, const char *path,
                                  struct ps_cause *cause)
{
	crl->md = from->MBEDTLS_PRIVATE(sig_md);
	crl->signature_type = from->MBEDTLS_PRIVATE(sig_pk);
	if (crl->md != MBEDTLS_MD_SHA256 && crl->md != MBEDTLS_MD_SHA384 && crl->md != MBEDTLS_MD_SHA512)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: signed with a weak hash, expected SHA-256, SHA-384 or SHA-512",
		                    path);
	if (crl->signature_type == MBEDTLS_PK_RSASSA_PSS)
		memcpy(&crl->pss, from->MBEDTLS_PRIVATE(sig_opts), sizeof crl->pss);
	if (mbedtls_md(mbedtls_md_info_from_type(crl->md), from->tbs.p, from->tbs.len, crl->hash) != 0)
		return PS_E_BUG;
	crl->signature_len = from->MBEDTLS_PRIVATE(sig).len;
	crl->signature = malloc(crl->signature_len + 1);
	if (crl->signature == NULL)
		return PS_E_NOMEM;
	memcpy(crl->signature, from->MBEDTLS_PRIVATE(sig).p, crl->signature_len);
	return PS_OK;
}

/* Is it a whole list? A delta or a partial one is critical by RFC 5280, and so does not parse; one that is marked so
 * without being critical must not pass for a whole one either. */
static bool is_complete(const mbedtls_x509_crl *from)
{
	bool delta, partial;

	return certificate_find_extension(from->crl_ext.p, from->crl_ext.len, OID_DELTA_CRL, sizeof OID_DELTA_CRL - 1,
	                                  &delta) == PS_OK &&
	       certificate_find_extension(from->crl_ext.p, from->crl_ext.len, OID_DISTRIBUTION_POINT,
	                                  sizeof OID_DISTRIBUTION_POINT - 1, &partial) == PS_OK &&
	       !delta && !partial;
}

static enum ps_err copy(struct crl *crl, const mbedtls_x509_crl *from, const char *path, struct ps_cause *cause)
{
	enum ps_err err;

	if (!is_complete(from))
		return ps_cause_set(cause, PS_E_CONFIG, "%s: a delta or partial list, expected a complete one", path);
	if (from->next_update.year == 0)
		return ps_cause_set(cause, PS_E_CONFIG,
		                    "%s: a list without nextUpdate, so nobody can tell when it is out of date", path);
	crl->this_update = certificate_time(&from->this_update);
	crl->next_update = certificate_time(&from->next_update);
	err = copy_issuer(crl, from);
	if (err == PS_OK)
		err = copy_signature(crl, from, path, cause);
	if (err == PS_OK)
		err = copy_serials(crl, from, path, cause);
	return err;
}

static enum ps_err copy_all(const mbedtls_x509_crl *list, const char *path, struct crl ***crls, size_t *n,
                            struct ps_cause *cause)
{
	size_t count = 0;
	enum ps_err err = PS_OK;

	for (const mbedtls_x509_crl *at = list; at != NULL; at = at->next)
		count++;
	struct crl **fresh = calloc(count, sizeof(struct crl *));
	if (fresh == NULL)
		return PS_E_NOMEM;
	size_t i = 0;
	for (const mbedtls_x509_crl *at = list; at != NULL && err == PS_OK; at = at->next, i++) {
		fresh[i] = calloc(1, sizeof *fresh[i]);
		err = fresh[i] != NULL ? copy(fresh[i], at, path, cause) : PS_E_NOMEM;
	}
	if (err != PS_OK) {
		for (i = 0; i < count; i++)
			crl_free(fresh[i]);
		free(fresh);
		return err;
	}
	*crls = fresh;
	*n = count;
	return PS_OK;
}

static enum ps_err parse_failed(const char *path, int ret, struct ps_cause *cause)
{
	char words[128];

	if (ret == MBEDTLS_ERR_X509_ALLOC_FAILED)
		return PS_E_NOMEM;
	mbedtls_strerror(ret, words, sizeof words);
	return ps_cause_set(cause, PS_E_CONFIG,
	                    "%s: not a revocation list in PEM or DER that can be used; one with critical extensions "
	                    "(delta, partial or indirect) is not supported (%s)",
	                    path, words);
}

enum ps_err crl_read(const char *path, struct crl ***crls, size_t *n, struct ps_cause *cause)
{
	struct buf file = BUF_INIT;
	mbedtls_x509_crl list;
	enum ps_err err = file_read(path, CRL_FILE_MAX, &file, cause);

	mbedtls_x509_crl_init(&list);
	if (err == PS_OK && buf_len(&file) == 0)
		err = ps_cause_set(cause, PS_E_CONFIG, "%s: empty file, expected a revocation list", path);
	if (err == PS_OK) {
		/* file_read put a NUL behind the content, which mbedTLS wants to see counted for PEM only. */
		bool pem = strstr((const char *)buf_front(&file), "-----BEGIN X509 CRL-----") != NULL;
		int ret = mbedtls_x509_crl_parse(&list, buf_front(&file), buf_len(&file) + (pem ? 1 : 0));
		err = ret == 0 ? copy_all(&list, path, crls, n, cause) : parse_failed(path, ret, cause);
	}
	mbedtls_x509_crl_free(&list);
	buf_release(&file);
	return err;
}

void crl_free(struct crl *crl)
{
	if (crl == NULL)
		return;
	for (mbedtls_x509_name *at = crl->issuer.next; at != NULL;) {
		mbedtls_x509_name *next = at->next;
		free(at);
		at = next;
	}
	free(crl->issuer_raw);
	free(crl->serials);
	free(crl->signature);
	free(crl);
}

const mbedtls_x509_name *crl_issuer(const struct crl *crl)
{
	return &crl->issuer;
}

int64_t crl_this_update(const struct crl *crl)
{
	return crl->this_update;
}

int64_t crl_next_update(const struct crl *crl)
{
	return crl->next_update;
}

bool crl_is_newer(const struct crl *a, const struct crl *b)
{
	return a->this_update > b->this_update || (a->this_update == b->this_update && a->next_update > b->next_update);
}

bool crl_is_signed_by(struct crl *crl, mbedtls_x509_crt *issuer)
{
	uint8_t key[KEY_ID_LEN];

	if (!certificate_same_name(&crl->issuer, &issuer->subject) ||
	    mbedtls_x509_crt_check_key_usage(issuer, MBEDTLS_X509_KU_CRL_SIGN) != 0 ||
	    mbedtls_sha256(issuer->pk_raw.p, issuer->pk_raw.len, key, 0) != 0)
		return false;
	if (crl->asked && memcmp(key, crl->by_key, sizeof key) == 0)
		return crl->signed_by_key;

	const void *options = crl->signature_type == MBEDTLS_PK_RSASSA_PSS ? &crl->pss : NULL;
	const mbedtls_md_info_t *md = mbedtls_md_info_from_type(crl->md);
	crl->signed_by_key = mbedtls_pk_verify_ext(crl->signature_type, options, &issuer->pk, crl->md, crl->hash,
	                                           mbedtls_md_get_size(md), crl->signature, crl->signature_len) == 0;
	memcpy(crl->by_key, key, sizeof key);
	crl->asked = true;
	return crl->signed_by_key;
}
