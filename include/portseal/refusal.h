/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refusal -- the reasons for which a peer is refused: one table of name (log and metric label), alert and meaning.
 */
#ifndef PORTSEAL_REFUSAL_H
#define PORTSEAL_REFUSAL_H

#include "portseal/alert.h"

enum refusal {
	REFUSAL_NONE = 0, /* not refused */
	/* before or during the handshake */
	REFUSAL_NOT_TLS,
	REFUSAL_CLOSED_BEFORE_HELLO,
	REFUSAL_HANDSHAKE_TIMEOUT,
	REFUSAL_TLS_VERSION,
	REFUSAL_TLS_FAILED,
	REFUSAL_PEER_ALERT,
	/* the peer's certificate */
	REFUSAL_NO_CERTIFICATE,
	REFUSAL_UNKNOWN_CA,
	REFUSAL_BAD_SIGNATURE,
	REFUSAL_EXPIRED,
	REFUSAL_NOT_YET_VALID,
	REFUSAL_REVOKED,
	REFUSAL_CRL_EXPIRED,
	REFUSAL_CRL_MISSING,
	REFUSAL_WRONG_PURPOSE,
	REFUSAL_WEAK_KEY,
	REFUSAL_NAME_CONSTRAINTS,
	REFUSAL_BAD_CERTIFICATE, /* malformed: not v3, a CA as a leaf, a NUL or control byte in a name */
	REFUSAL_WRONG_NAME,      /* sender only: the relay's certificate has other names */
	/* its rights */
	REFUSAL_NOT_ALLOWED,
	REFUSAL_UNKNOWN_SERVICE,
	REFUSAL_UNKNOWN_PROTOCOL, /* it speaks none that leads anywhere here: HTTP/1.1 */
	/* our limits */
	REFUSAL_TOO_MANY_HANDSHAKES,
	REFUSAL_TOO_MANY_CONNECTIONS,
	REFUSAL_RATE_LIMITED,
	REFUSAL_AUDIT_FAILED, /* what is not on record does not enter */
	REFUSAL_INTERNAL,     /* our own fault: memory, a library's failure */
	REFUSAL_COUNT,
};

/* "unknown-ca": the word of the log. */
const char *refusal_name(enum refusal refusal);

/* The alert that tells the peer: ALERT_UNKNOWN_CA. ALERT_NONE where nothing can be said. */
enum alert refusal_alert(enum refusal refusal);

/* "no trusted authority signed this certificate": for a person, without the particulars. */
const char *refusal_text(enum refusal refusal);

#endif
