/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_file -- the file of an audit trail: lines are added to a batch, and a batch is written whole or not at all.
 *
 * The file is opened when it is needed, and again whenever another one, or none, is at its path: then the chain goes on
 * in a new file, whose first line names the last of the old one. A last line without its end, as a crash leaves it, is
 * set aside, and a line says so. What could not be written is counted, and a line says that, too.
 *
 * Owns:   the descriptor, locked against a second writer, and the chain.
 * Never:  starts a new chain where it knows of an old one; leaves a part of a batch behind, but when it is killed.
 */
#ifndef PORTSEAL_AUDIT_FILE_H
#define PORTSEAL_AUDIT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "portseal/audit_line.h"
#include "portseal/credentials.h"
#include "portseal/err.h"

struct audit_file;

/* How far a trail had come; trail "": nothing is known. */
struct audit_past {
	char trail[AUDIT_TRAIL_LEN + 1];
	struct audit_chain chain;
};

struct audit_file_config {
	const char *path;                /* borrowed */
	struct credentials *credentials; /* borrowed; whose key signs */
	bool sync_always;                /* a batch is on the disk before it counts as written */
	struct audit_past past;          /* of an earlier process */
};

enum ps_err audit_file_new(const struct audit_file_config *config, struct audit_file **file) PS_MUST_CHECK;
/* What was not written is gone. */
void audit_file_free(struct audit_file *file);

/* Opens it now if it is not open. PS_E_CONFIG: it is no audit trail, another process writes it; PS_E_IO. */
enum ps_err audit_file_open(struct audit_file *file, struct ps_cause *cause) PS_MUST_CHECK;

/* Each adds one line to the batch. PS_E_NOMEM; a head: PS_E_BUG. */
enum ps_err audit_file_add(struct audit_file *file, const struct audit_entry *entry) PS_MUST_CHECK;
enum ps_err audit_file_add_head(struct audit_file *file, const char *why) PS_MUST_CHECK;
/* So many records are lost: a line will say so when one can be written again. */
void audit_file_lose(struct audit_file *file, uint64_t n, const char *why);

/* Writes the batch with whatever must come before it. On failure none of it stays, its entries count as lost, and the
 * chain is where it was. PS_OK where there is nothing to write. */
enum ps_err audit_file_commit(struct audit_file *file, struct ps_cause *cause) PS_MUST_CHECK;

/* Another file is at the path, or none, or this one has another size than we left it: the next commit opens what is
 * there. Signs a last head in the old file first, where that can be done. True when it did so. */
bool audit_file_follow(struct audit_file *file);

/* To the disk. */
enum ps_err audit_file_sync(struct audit_file *file, struct ps_cause *cause) PS_MUST_CHECK;

struct audit_file_state {
	struct audit_past past; /* what is written */
	uint64_t unsigned_lines;
	uint64_t head_seq; /* 0: none since this process began */
	uint8_t head[AUDIT_HASH_LEN];
	uint64_t lost; /* to be told */
	bool unsynced;
	uint64_t torn_bytes; /* set aside when it was opened */
};
void audit_file_state(const struct audit_file *file, struct audit_file_state *state);

/* Could it be opened for writing by this process? The cause says why not. Makes nothing. */
enum ps_err audit_file_probe(const char *path, struct ps_cause *cause) PS_MUST_CHECK;

#endif
