/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger -- the index of everything an authority has issued, one line a certificate, in the file DIR/index.
 *
 *     portseal-certs index 1
 *     crl 4
 *     cert SERIAL relay|sender NOTBEFORE NOTAFTER valid NAME
 *     cert SERIAL relay|sender NOTBEFORE NOTAFTER revoked:WHEN:REASON NAME
 *
 * Never:  touches a file; authority.h reads it and batch.h replaces it whole.
 */
#ifndef CERTS_LEDGER_H
#define CERTS_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "names.h"
#include "portseal/buf.h"
#include "portseal/err.h"
#include "stamp.h"

#define LEDGER_SERIAL_CAP 41 /* 20 bytes in hexadecimal (RFC 5280, section 4.1.2.2) and NUL */

/* RFC 5280, section 5.3.1. Number and word of a reason; the table ends with a NULL word. */
struct ledger_reason {
	int number;
	const char *word;
};

extern const struct ledger_reason ledger_reasons[];

/* NULL with a cause that lists the words. */
const struct ledger_reason *ledger_reason_find(const char *word, struct ps_cause *cause);

struct ledger_entry {
	char serial[LEDGER_SERIAL_CAP]; /* lower-case hexadecimal, whole bytes */
	enum names_role role;
	struct stamp_span validity;
	const struct ledger_reason *revoked; /* NULL while it is not */
	int64_t revoked_at;
	char name[NAMES_CN_CAP];
};

struct ledger {
	uint64_t crl_number; /* of the last list written */
	struct ledger_entry *entries;
	size_t n_entries;
	size_t cap;
};

#define LEDGER_INIT ((struct ledger){ 0, NULL, 0, 0 })

void ledger_clear(struct ledger *ledger);

/* Reads NUL-terminated text into an empty ledger. PS_E_CONFIG: "line 3: ...", and the ledger stays empty. */
enum ps_err ledger_parse(const char *text, struct ledger *ledger, struct ps_cause *cause) PS_MUST_CHECK;

/* Appends the text that ledger_parse reads. */
enum ps_err ledger_print(const struct ledger *ledger, struct buf *out) PS_MUST_CHECK;

/* Copies the entry. */
enum ps_err ledger_add(struct ledger *ledger, const struct ledger_entry *entry) PS_MUST_CHECK;

/* NULL where no certificate has that serial. */
struct ledger_entry *ledger_find_serial(const struct ledger *ledger, const char *serial);

/* "valid", "expired", "not yet valid" or "revoked". */
const char *ledger_state(const struct ledger_entry *entry, int64_t now);

#endif
