/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names -- what a certificate says about its holder, checked before anything is signed.
 *
 * NAME is the common name and a file name at once: text without control bytes, without "/", not hidden.
 *
 * Never:  lets a byte into a certificate that these functions did not look at.
 */
#ifndef CERTS_NAMES_H
#define CERTS_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"
#include "portseal/text.h"

#define NAMES_TEXT_CAP 513     /* bytes of one name with its NUL; a URI is the longest */
#define NAMES_CN_CAP 201       /* 64 characters, which may be several bytes each */
#define NAMES_CN_CHARACTERS 64 /* RFC 5280, appendix A.1: ub-common-name, ub-organizational-unit-name */
#define NAMES_SANS_MAX 64
#define NAMES_SUBJECT_CAP 1400 /* both texts, three characters a byte */

enum names_role { ROLE_RELAY, ROLE_SENDER };

/* "relay" or "sender". */
const char *names_role_text(enum names_role role);
enum ps_err names_role_parse(const char *string, enum names_role *role, struct ps_cause *cause) PS_MUST_CHECK;

enum san_kind { SAN_DNS, SAN_IP, SAN_URI };

struct san {
	enum san_kind kind;
	char text[NAMES_TEXT_CAP];
	uint8_t address[16]; /* SAN_IP only, in network order */
	size_t address_len;  /* 4 or 16 */
};

struct names {
	char cn[NAMES_CN_CAP];
	char ou[NAMES_CN_CAP]; /* "" where there is none */
	struct san sans[NAMES_SANS_MAX];
	size_t n_sans;
};

/* Also fit to be the base of a file name; "ca" is reserved. */
enum ps_err names_set_cn(struct names *names, const char *cn, struct ps_cause *cause) PS_MUST_CHECK;

/* The name of an authority: a common name that no file is called by. */
enum ps_err names_set_authority(struct names *names, const char *cn, struct ps_cause *cause) PS_MUST_CHECK;
enum ps_err names_set_ou(struct names *names, const char *ou, struct ps_cause *cause) PS_MUST_CHECK;

/* Host name or *.host name in ASCII; what reads as an IP address is refused. A name already there is not added twice. */
enum ps_err names_add_dns(struct names *names, const char *dns, struct ps_cause *cause) PS_MUST_CHECK;
enum ps_err names_add_ip(struct names *names, const char *ip, struct ps_cause *cause) PS_MUST_CHECK;

/* scheme:rest in ASCII (RFC 3986). */
enum ps_err names_add_uri(struct names *names, const char *uri, struct ps_cause *cause) PS_MUST_CHECK;

/* Adds the common name itself as address or host name: for a relay that was given no other name. */
enum ps_err names_add_cn_as_host(struct names *names, struct ps_cause *cause) PS_MUST_CHECK;

/* "OU=...,CN=..." with every byte that could mean something written as \XX (RFC 4514, section 2.4). */
void names_subject(const struct names *names, struct text *out);

#endif
