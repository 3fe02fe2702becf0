/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge -- the one place that decides who a peer is and what it may reach. There is no path around it.
 *
 * Judges what a peer presented: chain, dates, purpose, revocation, names; then its right to a service. Pure: the same
 * input and time give the same verdict, online and offline. mbedTLS's own verdict is one input, and too permissive
 * a one: whatever it would let through wrongly is refused here.
 */
#ifndef PORTSEAL_JUDGE_H
#define PORTSEAL_JUDGE_H

#include <stdint.h>

#include "portseal/access.h"
#include "portseal/credentials.h"
#include "portseal/err.h"
#include "portseal/identity.h"
#include "portseal/refusal.h"
#include "portseal/trust.h"

#define JUDGE_PATH_MAX 9 /* the leaf and 8 intermediates */

struct verdict {
	enum refusal refusal;   /* REFUSAL_NONE: may enter */
	struct ps_cause detail; /* the particulars for the log: "expired on 2026-03-01, issuer CN=..." */
	int rule;               /* index of the rule that allowed, or -1 */

	/* Of a good chain, else empty. The path that was found, leaf first and without its anchor, in what was presented: what
	 * a peer shows beside it, as much as it likes, is of no use. It ends when the first certificate of it does, or the
	 * anchor. */
	size_t path_len;
	const struct mbedtls_x509_crt *path[JUDGE_PATH_MAX];
	int64_t path_ends;
};

/*
 * What is required of a chain, in the order in which the first failure is told:
 *   1. a path of names to a trust anchor, over at most 8 intermediates that may issue (version 3, CA:TRUE, keyCertSign,
 *      pathlen): else unknown-ca; each signature of it good: else bad-signature; of several paths one good one is enough
 *   2. a leaf of version 3, not an authority, with readable names (identity_new): else bad-certificate; so a self-signed
 *      leaf cannot be pinned as an anchor (anchors are authorities): pin its key in a rule instead
 *   3. no name constraints anywhere, critical or not; no key under RSA 2048 or EC 255 bits, no hash under SHA-256
 *   4. a leaf with the extended key usage of `purpose` by name, and digitalSignature where it has a key usage; above it
 *      an extended key usage, where there is one, names the purpose or any
 *   5. the dates of every certificate, the anchor's too
 *   6. with CRLs: none below the anchor revoked (told first), a current list of every issuer
 */

/* Judges the presented chain (leaf first, ->next the rest; NULL: none presented) for `purpose` at time `now`.
 * *identity is set to what the leaf says whenever it could be read, also for a refused one (so that the log can name
 * it), else NULL; the caller's to free. */
void judge_chain(struct trust *trust, enum peer_purpose purpose, struct mbedtls_x509_crt *chain, int64_t now,
                 struct verdict *verdict, struct identity **identity);

/* May this identity, whose chain was accepted, reach the service with these rules? If so, the verdict on the chain stands
 * and has a rule besides. */
void judge_access(const struct access_list *allow, const struct identity *identity, struct verdict *verdict);

/* Is `name` (DNS name or IP address as text) one the certificate was issued for (RFC 9525: SAN only, one leftmost
 * wildcard label, no CN)? Sets REFUSAL_WRONG_NAME with the names it does have. */
void judge_name(const struct identity *identity, const char *name, struct verdict *verdict);

#endif
