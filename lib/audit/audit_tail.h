/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_tail -- where a trail ends in a file that an earlier process wrote.
 */
#ifndef PORTSEAL_AUDIT_TAIL_H
#define PORTSEAL_AUDIT_TAIL_H

#include <stdint.h>

#include "portseal/audit_file.h"
#include "portseal/text.h"

#define AUDIT_TORN_SHOWN 256

struct audit_tail {
	uint64_t good;          /* bytes up to the end of the last whole line */
	uint64_t torn;          /* bytes behind them */
	struct audit_past past; /* of that line; trail "": there is none */
	char head_why[16];      /* that line is a head, and why: "stop"; "": it is none */
	uint8_t torn_sha256[AUDIT_HASH_LEN];
	char torn_text[AUDIT_TORN_SHOWN + 1]; /* its beginning, NULs as blanks */
};

/* PS_E_CONFIG: this is no audit trail. PS_E_IO. */
enum ps_err audit_tail_read(int fd, uint64_t size, struct audit_tail *tail, struct ps_cause *cause) PS_MUST_CHECK;

#endif
