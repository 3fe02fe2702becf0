/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refusal -- one table: the word of the log, the alert on the wire, the text for a person.
 */
#include "portseal/refusal.h"

#include <assert.h>

struct refusal_entry {
	const char *name;
	enum alert alert;
	const char *text;
};

/* The alerts are those that clients explain well. A list of revocations that is stale or missing is our operator's
 * fault and not the certificate's, hence certificate_unknown ("some other issue", RFC 8446, section 6.2). A limit of
 * ours is internal_error: nothing is wrong with the peer, and trying again later is right. */
static const struct refusal_entry entries[REFUSAL_COUNT] = {
	[REFUSAL_NONE] = { "none", ALERT_NONE, "not refused" },
	[REFUSAL_NOT_TLS] = { "not-tls", ALERT_NONE, "what the peer sent is not TLS" },
	[REFUSAL_CLOSED_BEFORE_HELLO] = { "closed-before-hello", ALERT_NONE,
	                                  "the peer closed before it had sent a whole ClientHello" },
	[REFUSAL_HANDSHAKE_TIMEOUT] = { "handshake-timeout", ALERT_NONE, "the handshake took too long" },
	[REFUSAL_TLS_VERSION] = { "tls-version", ALERT_PROTOCOL_VERSION, "the peer does not speak TLS 1.3" },
	[REFUSAL_TLS_FAILED] = { "tls-failed", ALERT_HANDSHAKE_FAILURE, "the handshake failed" },
	[REFUSAL_PEER_ALERT] = { "peer-alert", ALERT_NONE, "the peer ended the handshake with an alert" },
	[REFUSAL_NO_CERTIFICATE] = { "no-certificate", ALERT_CERTIFICATE_REQUIRED, "the peer showed no certificate" },
	[REFUSAL_UNKNOWN_CA] = { "unknown-ca", ALERT_UNKNOWN_CA, "no trusted authority signed this certificate" },
	[REFUSAL_BAD_SIGNATURE] = { "bad-signature", ALERT_BAD_CERTIFICATE,
	                            "the certificate names a trusted authority, which did not sign it" },
	[REFUSAL_EXPIRED] = { "expired", ALERT_CERTIFICATE_EXPIRED, "a certificate has expired" },
	[REFUSAL_NOT_YET_VALID] = { "not-yet-valid", ALERT_CERTIFICATE_EXPIRED, "a certificate is not valid yet" },
	[REFUSAL_REVOKED] = { "revoked", ALERT_CERTIFICATE_REVOKED, "a certificate was revoked" },
	[REFUSAL_CRL_EXPIRED] = { "crl-expired", ALERT_CERTIFICATE_UNKNOWN,
	                          "the revocation list of the authority is out of date" },
	[REFUSAL_CRL_MISSING] = { "crl-missing", ALERT_CERTIFICATE_UNKNOWN,
	                          "there is no revocation list of the authority" },
	[REFUSAL_WRONG_PURPOSE] = { "wrong-purpose", ALERT_UNSUPPORTED_CERTIFICATE,
	                            "the certificate was issued for another purpose" },
	[REFUSAL_WEAK_KEY] = { "weak-key", ALERT_UNSUPPORTED_CERTIFICATE, "a key or signature is too weak" },
	[REFUSAL_NAME_CONSTRAINTS] = { "name-constraints", ALERT_BAD_CERTIFICATE,
	                               "a certificate has name constraints, which are not supported" },
	[REFUSAL_BAD_CERTIFICATE] = { "bad-certificate", ALERT_BAD_CERTIFICATE, "the certificate is malformed" },
	[REFUSAL_WRONG_NAME] = { "wrong-name", ALERT_BAD_CERTIFICATE, "the certificate was issued for other names" },
	[REFUSAL_NOT_ALLOWED] = { "not-allowed", ALERT_ACCESS_DENIED, "no rule allows this certificate" },
	[REFUSAL_UNKNOWN_SERVICE] = { "unknown-service", ALERT_UNRECOGNIZED_NAME, "there is no such service" },
	[REFUSAL_UNKNOWN_PROTOCOL] = { "unknown-protocol", ALERT_NO_APPLICATION_PROTOCOL,
	                               "the peer offers no protocol that is spoken here" },
	[REFUSAL_TOO_MANY_HANDSHAKES] = { "too-many-handshakes", ALERT_INTERNAL_ERROR,
	                                  "too many handshakes are under way" },
	[REFUSAL_TOO_MANY_CONNECTIONS] = { "too-many-connections", ALERT_INTERNAL_ERROR, "too many connections" },
	[REFUSAL_RATE_LIMITED] = { "rate-limited", ALERT_INTERNAL_ERROR, "too many connections in too short a time" },
	[REFUSAL_AUDIT_FAILED] = { "audit-failed", ALERT_INTERNAL_ERROR, "the audit trail cannot be written" },
	[REFUSAL_INTERNAL] = { "internal", ALERT_INTERNAL_ERROR, "a fault of our own" },
};

static const struct refusal_entry *entry_of(enum refusal refusal)
{
	assert((unsigned)refusal < REFUSAL_COUNT);
	return &entries[refusal];
}

const char *refusal_name(enum refusal refusal)
{
	return entry_of(refusal)->name;
}

enum alert refusal_alert(enum refusal refusal)
{
	return entry_of(refusal)->alert;
}

const char *refusal_text(enum refusal refusal)
{
	return entry_of(refusal)->text;
}
