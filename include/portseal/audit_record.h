/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_record -- what roles and the auditor say to each other over a role's audit channel (see supervisor.h).
 *
 *     role                       auditor
 *       │◀─────────── HELLO ──────── │  it (again) reads this channel
 *       ├── RESUME, then records ──▶ │  every record without an answer, in order; what came before RESUME is void
 *       │◀─────────── ANSWER ─────── │  all up to this number are written, or cannot be
 *
 * Never:  trusts what it received: lengths, strings and numbers are checked as if a stranger had sent them.
 */
#ifndef PORTSEAL_AUDIT_RECORD_H
#define PORTSEAL_AUDIT_RECORD_H

#include <stdint.h>

#include "portseal/audit_line.h"
#include "portseal/err.h"

#define AUDIT_RECORD_MAX 4096
#define AUDIT_CAUSE_MAX 160

enum audit_message_type {
	AUDIT_MESSAGE_RECORD = 200,
	AUDIT_MESSAGE_RESUME,
	AUDIT_MESSAGE_HELLO,
	AUDIT_MESSAGE_ANSWER,
};

enum audit_policy {
	AUDIT_REFUSE,   /* whose line cannot be written is refused */
	AUDIT_CONTINUE, /* goes on, and the gap is counted */
};

struct audit_hello {
	uint64_t
		number; /* of that auditor; RESUME brings it back, as one to an auditor that died may still lie in the channel */
	uint64_t policy;
};

struct audit_answer {
	uint64_t upto;    /* the number of a record: it and all before it that were not answered yet */
	uint32_t written; /* 0: they cannot be; `cause` says why */
	uint32_t policy;
	char cause[AUDIT_CAUSE_MAX];
};

/* One record as it travels: a fixed part, then strings that each end in NUL. */
struct audit_record {
	uint64_t id;   /* 1, 2, 3 ... of its channel */
	uint64_t lost; /* so many before it had no room in their role */
	struct audit_entry entry;
	struct audit_who who; /* entry.who points here */
};

/* Writes at most AUDIT_RECORD_MAX bytes. Strings too long for a record are cut. `again` of the entry travels as well. */
size_t audit_record_pack(uint64_t id, uint64_t lost, const struct audit_entry *entry,
                         uint8_t out[static AUDIT_RECORD_MAX]);

/* Marks a packed one. */
void audit_record_set_again(uint8_t *packed);

/* The strings of the entry point into `bytes`. PS_E_PROTO. */
enum ps_err audit_record_unpack(const uint8_t *bytes, size_t len, struct audit_record *record) PS_MUST_CHECK;

enum ps_err audit_hello_unpack(const uint8_t *bytes, size_t len, struct audit_hello *hello) PS_MUST_CHECK;
enum ps_err audit_answer_unpack(const uint8_t *bytes, size_t len, struct audit_answer *answer) PS_MUST_CHECK;

#endif
