/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dial_setup -- the inside of struct dial_setup (dial.h): what all dials of one process share.
 */
#ifndef PORTSEAL_SENDER_DIAL_SETUP_H
#define PORTSEAL_SENDER_DIAL_SETUP_H

#include "dial.h"
#include "portseal/connector.h"
#include "portseal/credentials.h"
#include "portseal/handshake.h"
#include "portseal/trust.h"

#define DIAL_ALPN_PREFIX "portseal/"
#define DIAL_ALPN_H2 "h2"
#define DIAL_ALPN_BOTH DIAL_ALPN_H2 ","
#define DIAL_ALPN_MAX 256 /* an ALPN name has at most 255 bytes (RFC 7301, section 3.1) */
#define DIAL_OFFER_TEXT_MAX (DIAL_ALPN_MAX + sizeof(DIAL_ALPN_BOTH))

struct dial_setup {
	const struct sender_config *config; /* borrowed */
	struct connector_memory *memories;  /* one for each relay */
	struct credentials *credentials;
	struct trust *trust;
	struct handshake_setup *shared;
};

/* "portseal/<service>"; dial_setup_new has checked that the name is short enough. */
void dial_setup_alpn(const char *service, char out[static DIAL_ALPN_MAX]);

/* What the handshake is asked to offer: "h2,portseal/<service>", one of both, or "" for nothing. */
void dial_setup_offer(enum dial_offer offer, const char *service, char out[static DIAL_OFFER_TEXT_MAX]);

#endif
