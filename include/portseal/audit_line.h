/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_line -- one line of the audit trail: what it tells, as JSON, and how it hangs on the line before it.
 *
 *     {"seq":7,"time":"2026-11-22T09:33:07.347Z","event":"accepted",...,"chain":"HEX"}
 *
 * chain = SHA-256("portseal-audit-1\n" | chain of the line before, 32 bytes | every byte before ,"chain":). Lines of
 * rotated files are one chain. A head is a line that also has ,"sig":"HEX" behind its chain (seal.h).
 *
 * Never:  allocates, or believes a text: everything is escaped.
 */
#ifndef PORTSEAL_AUDIT_LINE_H
#define PORTSEAL_AUDIT_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"
#include "portseal/text.h"

struct identity;

#define AUDIT_HASH_LEN 32
#define AUDIT_WHO_MAX 1536
#define AUDIT_LINE_MAX 32768 /* more than any record becomes when every byte of it must be escaped */
#define AUDIT_TRAIL_LEN 32   /* hexadecimal digits of a trail's random name */

/* Who: strings that each end in NUL. pin (base64), serial (hex), client, subject, issuer, then names ("DNS=a.example").
 * What has no room is left out, and `cut` is set; pin and serial always fit. */
struct audit_who {
	uint16_t len; /* 0: nothing is known */
	uint8_t cut;
	char text[AUDIT_WHO_MAX]; /* only `len` bytes count */
};

void audit_who_set(struct audit_who *who, const struct identity *identity);

/* Five strings at least, the last of them whole: false for what another process made up. */
bool audit_who_is_good(const struct audit_who *who);

enum audit_event {
	AUDIT_ACCEPTED, /* a connection, stream or message may begin; told before it does */
	AUDIT_REFUSED,  /* one may not */
	AUDIT_CLOSED,   /* one that was accepted has ended */
	AUDIT_EVENT_COUNT,
};

/* NULL, 0 and false leave a field out, but for the numbers that an event always has. Borrows everything. */
struct audit_entry {
	enum audit_event event;
	uint64_t conn;
	uint32_t stream; /* of HTTP/2 */
	uint32_t status; /* HTTP status: refused streams, messages */
	uint64_t in;     /* closed: bytes to the application */
	uint64_t out;    /* closed: bytes from it */
	uint64_t ms;     /* refused, closed: since it began */
	const char *peer;
	const char *service;
	const char *reason;  /* refused, closed: the word of the log */
	const char *detail;  /* for a person */
	const char *receipt; /* closed, of a message: the id that the client gets */
	const struct audit_who *who;
	bool has_sha256;
	bool again;                     /* sent twice by its role, for an auditor died: may stand in the trail twice */
	uint8_t sha256[AUDIT_HASH_LEN]; /* of a message's payload */
};

/* "accepted" */
const char *audit_event_name(enum audit_event event);

/* Where a chain is: behind the line with this number. */
struct audit_chain {
	uint64_t seq;
	uint8_t hash[AUDIT_HASH_LEN];
};

/* A line is begun, filled by any of the middle ones, and closed, which moves the chain on. `text` has room for
 * AUDIT_LINE_MAX. `ms` is since 1970. */
void audit_line_begin(struct text *text, const struct audit_chain *chain, int64_t ms, const char *event);
void audit_line_text(struct text *text, const char *key, const char *value);
void audit_line_number(struct text *text, const char *key, uint64_t value);
void audit_line_bytes(struct text *text, const char *key, const uint8_t *bytes, size_t len); /* in hexadecimal */
void audit_line_entry(struct text *text, const struct audit_entry *entry);
void audit_line_close(struct text *text, struct audit_chain *chain);
/* Instead of the last one, for a head: `sign` is called with the line's chain and adds the signature in hexadecimal.
 * On failure neither the text (but for what was begun) nor the chain counts. */
typedef enum ps_err audit_sign_fn(void *owner, const uint8_t chain[static AUDIT_HASH_LEN], struct text *text);
enum ps_err audit_line_close_signed(struct text *text, struct audit_chain *chain, audit_sign_fn *sign, void *owner)
	PS_MUST_CHECK;

/* The chain of a line with these bytes (up to ,"chain":) behind `before`. */
void audit_line_hash(const uint8_t before[static AUDIT_HASH_LEN], const void *bytes, size_t len,
                     uint8_t out[static AUDIT_HASH_LEN]);

/* The words of the lines that the auditor writes of itself. */
#define AUDIT_BEGIN "begin"         /* the first line of a trail: trail, previous (zeros) */
#define AUDIT_CONTINUED "continued" /* the first line of a further file: trail, previous: chain of the file before */
#define AUDIT_RESUMED "resumed"     /* an auditor started and goes on in a file that has lines */
#define AUDIT_TORN "torn"           /* a last line without its end was set aside: bytes, sha256, text */
#define AUDIT_GAP "gap"             /* lost: so many lines could not be written; why */
#define AUDIT_HEAD "head"           /* why, key (SPKI pin), and a signature */

#endif
