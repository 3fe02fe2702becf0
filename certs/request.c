/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <arpa/inet.h>
#include <mbedtls/md.h>
#include <mbedtls/oid.h>
#include <stdbool.h>
#include <string.h>

#include "key.h"
#include "mbed.h"
#include "portseal/buf.h"
#include "portseal/file.h"

#define FILE_MAX_BYTES 65536

/* mbedTLS 3.6 parses the signature of a request and has no function to check it: hence the private fields. */
static enum ps_err check_signature(const char *path, mbedtls_x509_csr *request, struct ps_cause *cause)
{
	mbedtls_md_type_t digest = request->MBEDTLS_PRIVATE(sig_md);
	const mbedtls_x509_buf *signature = &request->MBEDTLS_PRIVATE(sig);
	const mbedtls_md_info_t *info = mbedtls_md_info_from_type(digest);
	uint8_t hash[MBEDTLS_MD_MAX_SIZE];
	if (digest != MBEDTLS_MD_SHA256 && digest != MBEDTLS_MD_SHA384 && digest != MBEDTLS_MD_SHA512)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: is not signed with SHA-256, SHA-384 or SHA-512", path);
	if (info == NULL || mbedtls_md(info, request->cri.p, request->cri.len, hash) != 0)
		return ps_cause_set(cause, PS_E_BUG, "%s: cannot be hashed", path);
	int ret = mbedtls_pk_verify_ext(request->MBEDTLS_PRIVATE(sig_pk), request->MBEDTLS_PRIVATE(sig_opts), &request->pk,
	                                digest, hash, mbedtls_md_get_size(info), signature->p, signature->len);
	if (ret != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: its signature is wrong: its author does not hold the key", path);
	return PS_OK;
}

enum ps_err request_read(const char *path, mbedtls_x509_csr *request, struct ps_cause *cause)
{
	struct buf file = BUF_INIT;
	enum ps_err err = file_read(path, FILE_MAX_BYTES, &file, cause);
	if (err != PS_OK) {
		err = err == PS_E_IO ? PS_E_CONFIG : err;
		goto done;
	}
	int ret = mbedtls_x509_csr_parse(request, buf_front(&file), buf_len(&file) + 1);
	if (ret != 0) /* DER must not have the NUL that PEM needs */
		ret = mbedtls_x509_csr_parse_der(request, buf_front(&file), buf_len(&file));
	if (ret != 0) {
		err = mbed_failed(cause, PS_E_CONFIG, path, ret);
		goto done;
	}
	err = key_check_strength(&request->pk, cause);
	if (err != PS_OK)
		err = ps_cause_prefix(cause, err, "%s", path);
	else
		err = check_signature(path, request, cause);
done:
	buf_release(&file);
	return err;
}

/* Turns foreign bytes into a C string. */
static enum ps_err copy_string(const mbedtls_asn1_buf *bytes, char *out, size_t cap, struct ps_cause *cause)
{
	if (bytes->len >= cap)
		return ps_cause_set(cause, PS_E_CONFIG, "a name in it is longer than %zu bytes", cap - 1);
	if (memchr(bytes->p, '\0', bytes->len) != NULL)
		return ps_cause_set(cause, PS_E_CONFIG, "a name in it contains a NUL byte");
	memcpy(out, bytes->p, bytes->len);
	out[bytes->len] = '\0';
	return PS_OK;
}

/* The only attribute of that type; NULL if there is none, PS_E_CONFIG if there are several. */
static enum ps_err find_attribute(const mbedtls_x509_name *subject, const char *oid, size_t oid_len,
                                  const mbedtls_x509_name **found, struct ps_cause *cause)
{
	*found = NULL;
	for (const mbedtls_x509_name *at = subject; at != NULL; at = at->next) {
		if (at->oid.len != oid_len || memcmp(at->oid.p, oid, oid_len) != 0)
			continue;
		if (*found != NULL)
			return ps_cause_set(cause, PS_E_CONFIG, "its subject has several names of the same kind");
		*found = at;
	}
	return PS_OK;
}

enum ps_err request_copy_cn(const mbedtls_x509_name *subject, struct names *names, struct ps_cause *cause)
{
	char cn[NAMES_CN_CAP];
	const mbedtls_x509_name *found = NULL;
	enum ps_err err = find_attribute(subject, MBEDTLS_OID_AT_CN, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN), &found, cause);
	if (err == PS_OK && found == NULL)
		err = ps_cause_set(cause, PS_E_CONFIG, "its subject has no common name: give --name");
	if (err == PS_OK)
		err = copy_string(&found->val, cn, sizeof(cn), cause);
	return err == PS_OK ? names_set_cn(names, cn, cause) : err;
}

enum ps_err request_copy_ou(const mbedtls_x509_name *subject, struct names *names, struct ps_cause *cause)
{
	char ou[NAMES_CN_CAP];
	const mbedtls_x509_name *found = NULL;
	enum ps_err err =
		find_attribute(subject, MBEDTLS_OID_AT_ORG_UNIT, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_ORG_UNIT), &found, cause);
	if (err != PS_OK || found == NULL)
		return err;
	err = copy_string(&found->val, ou, sizeof(ou), cause);
	return err == PS_OK ? names_set_ou(names, ou, cause) : err;
}

static enum ps_err copy_ip(const mbedtls_asn1_buf *address, struct names *names, struct ps_cause *cause)
{
	char text[INET6_ADDRSTRLEN];
	if ((address->len != 4 && address->len != 16) ||
	    inet_ntop(address->len == 4 ? AF_INET : AF_INET6, address->p, text, sizeof(text)) == NULL)
		return ps_cause_set(cause, PS_E_CONFIG, "an IP address in it has %zu bytes", address->len);
	return names_add_ip(names, text, cause);
}

enum ps_err request_copy_sans(const mbedtls_x509_sequence *sans, enum names_role role, struct names *names,
                              size_t *skipped, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;
	*skipped = 0;
	for (const mbedtls_x509_sequence *at = sans; err == PS_OK && at != NULL && at->buf.p != NULL; at = at->next) {
		char text[NAMES_TEXT_CAP];
		int kind = at->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK;
		bool is_uri = kind == MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER;
		if (kind == MBEDTLS_X509_SAN_IP_ADDRESS && role == ROLE_RELAY) {
			err = copy_ip(&at->buf, names, cause);
		} else if (kind == MBEDTLS_X509_SAN_DNS_NAME || (is_uri && role == ROLE_SENDER)) {
			err = copy_string(&at->buf, text, sizeof(text), cause);
			if (err == PS_OK)
				err = is_uri ? names_add_uri(names, text, cause) : names_add_dns(names, text, cause);
		} else {
			(*skipped)++;
		}
	}
	return err;
}
