/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_read -- takes a line of an audit trail apart, as far as the chain needs it: number, event, hash, signature.
 *
 * Only what audit_line writes is accepted, byte for byte: there is one way to write each line, so no byte can change
 * without being noticed.
 */
#ifndef PORTSEAL_AUDIT_READ_H
#define PORTSEAL_AUDIT_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/audit_line.h"
#include "portseal/err.h"
#include "portseal/identity.h"
#include "portseal/seal.h"

#define AUDIT_EVENT_NAME_MAX 24
#define AUDIT_TIME_MAX 25

struct audit_read {
	uint64_t seq;
	char time[AUDIT_TIME_MAX];
	char event[AUDIT_EVENT_NAME_MAX];
	size_t hashed_len; /* bytes that the chain covers */
	uint8_t chain[AUDIT_HASH_LEN];
	/* begin, continued: */
	bool is_first;
	char trail[AUDIT_TRAIL_LEN + 1];
	uint8_t previous[AUDIT_HASH_LEN];
	/* head: */
	bool is_head;
	char key[IDENTITY_PIN_TEXT_MAX];
	size_t sig_len;
	uint8_t sig[SEAL_MAX];
};

/* `line` without its newline. PS_E_PROTO: no line of an audit trail. */
enum ps_err audit_read(const char *line, size_t len, struct audit_read *read) PS_MUST_CHECK;

#endif
