/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_verify -- reads the files of an audit trail in order and finds every line that is not as it was written, where
 * it was written.
 *
 * A line is good when its number and its chain follow from the line before it. After a bad one it goes on as well as
 * can be: what was done to one line is told once, and the lines behind it are judged by what can still be known.
 *
 * Owns:   where the chain is, between files.
 */
#ifndef PORTSEAL_AUDIT_VERIFY_H
#define PORTSEAL_AUDIT_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/audit_read.h"
#include "portseal/err.h"

struct mbedtls_x509_crt;

enum audit_finding {
	/* The trail is not what was written: */
	AUDIT_UNREADABLE,  /* no line of an audit trail */
	AUDIT_CHANGED,     /* the number fits, the chain does not: a byte of it was changed */
	AUDIT_MISSING,     /* lines before it are not there */
	AUDIT_MISPLACED,   /* an earlier number: moved here, or repeated */
	AUDIT_OTHER_TRAIL, /* the file begins a trail of its own, or goes on with another one */
	AUDIT_BAD_HEAD,    /* the signature is not the key's */
	AUDIT_UNKNOWN_KEY, /* no certificate given has the key that signed */
	AUDIT_CUT_SHORT,   /* not the last file, and its last line has no end */
	AUDIT_NO_LINES,    /* the file has not one whole line */
	/* Nothing wrong, but to be known: */
	AUDIT_NOTE_CONTINUES, /* the first file given continues one that was not */
	AUDIT_NOTE_TORN,      /* the last line of the last file has no end: it was being written; it does not count */
	AUDIT_NOTE_SET_ASIDE, /* the relay found such a line when it started, and set it aside */
	AUDIT_NOTE_GAP,       /* the relay says here that lines could not be written */
};
#define AUDIT_IS_NOTE(finding) ((finding) >= AUDIT_NOTE_CONTINUES)

/* `file` and `line` say where: line 1 is the first; 0 is the whole file. `text` is for a person. */
typedef void audit_finding_fn(void *owner, enum audit_finding finding, const char *file, uint64_t line,
                              const char *text);

struct audit_verify;

/* `certificates` are those whose keys may have signed, each with its ->next; NULL: signatures are not looked at. `head`
 * is one that was kept elsewhere (a chain), looked for on the way; NULL: none. All borrowed. */
struct audit_verify_config {
	struct mbedtls_x509_crt *certificates;
	const uint8_t *head;
	audit_finding_fn *on_finding;
	void *owner;
};

enum ps_err audit_verify_new(const struct audit_verify_config *config, struct audit_verify **verify) PS_MUST_CHECK;
void audit_verify_free(struct audit_verify *verify);

/* The files in the order in which they were written; `name` is for the findings. */
void audit_verify_file(struct audit_verify *verify, const char *name, bool is_last);
/* Its bytes, in pieces of any size. */
void audit_verify_bytes(struct audit_verify *verify, const char *bytes, size_t len);
void audit_verify_file_end(struct audit_verify *verify);

struct audit_verdict {
	uint64_t lines;    /* whole ones */
	uint64_t findings; /* that are no notes */
	uint64_t first_seq, last_seq;
	uint64_t lost; /* that the trail itself says were not written */
	uint64_t heads;
	uint64_t unsigned_lines; /* behind the last good head */
	bool head_found;         /* the one that was looked for */
	uint8_t last_chain[AUDIT_HASH_LEN];
	/* The last good head; seq 0: there is none. */
	uint64_t head_seq;
	char head_time[AUDIT_TIME_MAX];
	char head_key[IDENTITY_PIN_TEXT_MAX];
};

void audit_verify_verdict(const struct audit_verify *verify, struct audit_verdict *verdict);

#endif
