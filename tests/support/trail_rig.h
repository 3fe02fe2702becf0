/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trail_rig -- an audit trail on disk for tests: written by audit_file, changed by the test, verified again.
 */
#ifndef TRAIL_RIG_H
#define TRAIL_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/audit_file.h"
#include "portseal/audit_verify.h"
#include "portseal/credentials.h"

#define TRAIL_FINDINGS_MAX 64

struct trail_rig {
	const char *directory;
	const char *path; /* DIRECTORY/audit.log */
	struct credentials *credentials;
	struct credentials *others; /* of another relay */
	struct audit_file *file;
	/* Of the last trail_verify: */
	struct audit_verdict verdict;
	size_t n_findings, n_notes;
	struct {
		enum audit_finding finding;
		char file[32];
		uint64_t line;
		char text[256];
	} at[TRAIL_FINDINGS_MAX];
};

void trail_rig_begin(struct trail_rig *rig);
void trail_rig_end(struct trail_rig *rig);

/* Another process: what is known of the past comes from `past`, NULL for nothing. */
void trail_open(struct trail_rig *rig, const struct audit_past *past);
void trail_close(struct trail_rig *rig);

/* An accepted and a closed line, one batch; or so many records. */
void trail_add(struct trail_rig *rig, const char *client);
void trail_add_many(struct trail_rig *rig, size_t n);
void trail_sign(struct trail_rig *rig, const char *why);

/* The bytes of a file of the directory, NUL-terminated, kept until the end; and in again. */
char *trail_read(const struct trail_rig *rig, const char *name, size_t *len);
void trail_write(const struct trail_rig *rig, const char *name, const char *bytes, size_t len);

/* The bytes of one or several files in order (NULL ends), with the relay's certificate unless `blind`. */
void trail_verify_bytes(struct trail_rig *rig, const char *bytes, size_t len, bool blind);
void trail_verify(struct trail_rig *rig, const char *const *names, bool blind);

/* Index of the first such finding, or -1. */
int trail_found(const struct trail_rig *rig, enum audit_finding finding);

#endif
