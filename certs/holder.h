/* SPDX-License-Identifier: Apache-2.0 */
/*
 * holder -- gives somebody a certificate: NAME.crt, NAME.key where the key is made here, and the line in the index.
 */
#ifndef CERTS_HOLDER_H
#define CERTS_HOLDER_H

#include <mbedtls/pk.h>
#include <stdbool.h>

#include "authority.h"
#include "names.h"
#include "portseal/err.h"
#include "stamp.h"

struct holder_order {
	enum names_role role;
	struct names *names;            /* borrowed */
	struct stamp_span validity;     /* ends with the authority at the latest, which is said */
	mbedtls_pk_context *public_key; /* NULL: make a key and write NAME.key */
	bool force;                     /* replace what is there */
};

/* Signs with the unlocked authority, puts the files in place and tells on stdout what was written. PS_E_CONFIG for
 * files that are there already, or a NAME.key that is not public_key's. */
enum ps_err holder_issue(struct authority *authority, const struct holder_order *order, struct ps_cause *cause)
	PS_MUST_CHECK;

#endif
