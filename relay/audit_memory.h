/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_memory -- how far the audit trail has come, in memory that outlives the auditor: the next one goes on from there,
 * whatever became of the file, and the supervisor tells it to whoever asks for the status.
 *
 * Only the auditor writes. Gatekeepers and workers let go of it right after their fork.
 */
#ifndef PORTSEAL_RELAY_AUDIT_MEMORY_H
#define PORTSEAL_RELAY_AUDIT_MEMORY_H

#include <stdint.h>

#include "portseal/audit_file.h"
#include "portseal/audit_record.h"
#include "portseal/text.h"

struct audit_memory;

struct audit_report {
	struct audit_past past;
	uint64_t unsigned_lines;
	uint64_t lost_in_all; /* since the relay started */
	uint64_t head_seq;    /* 0: none was signed since the relay started */
	uint8_t head[AUDIT_HASH_LEN];
	int64_t failing_since; /* seconds since 1970; 0: it is written */
	char cause[AUDIT_CAUSE_MAX];
};

enum ps_err audit_memory_new(struct audit_memory **memory) PS_MUST_CHECK;
/* In this process; NULL is harmless. */
void audit_memory_free(struct audit_memory *memory);

/* An auditor killed between two steps leaves the report that was whole last. */
void audit_memory_store(struct audit_memory *memory, const struct audit_report *report);
void audit_memory_load(const struct audit_memory *memory, struct audit_report *report);

/* ,"audit":{...} */
void audit_memory_tell(const struct audit_memory *memory, const char *path, struct text *text);

#endif
