/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake_failure -- what mbedTLS's codes mean for us, for the peer and for a person.
 *
 * mbedTLS closes without an alert after most errors, and a TLS 1.3 server of its kind writes the rest under keys that
 * the client has left behind. So the alert is chosen here.
 */
#include "handshake_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <mbedtls/ecp.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
#include <mbedtls/x509.h>

#include "portseal/text.h"

#define QUOTE_MAX 48

struct meaning {
	int code;
	enum alert alert;
	enum refusal refusal;
	const char *text;
};

/* What mbedTLS found wrong with the peer's messages. */
static const struct meaning meanings[] = {
	{ MBEDTLS_ERR_SSL_INVALID_RECORD, ALERT_UNEXPECTED_MESSAGE, REFUSAL_TLS_FAILED, "it sent a malformed record" },
	{ MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, ALERT_UNEXPECTED_MESSAGE, REFUSAL_TLS_FAILED,
	  "it sent a message out of turn" },
	{ MBEDTLS_ERR_SSL_UNEXPECTED_RECORD, ALERT_UNEXPECTED_MESSAGE, REFUSAL_TLS_FAILED, "it sent a record out of turn" },
	{ MBEDTLS_ERR_SSL_DECODE_ERROR, ALERT_DECODE_ERROR, REFUSAL_TLS_FAILED,
	  "it sent a message that cannot be decoded" },
	{ MBEDTLS_ERR_SSL_BAD_INPUT_DATA, ALERT_DECODE_ERROR, REFUSAL_TLS_FAILED,
	  "it sent a message that cannot be decoded" },
	{ MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL, ALERT_DECODE_ERROR, REFUSAL_TLS_FAILED, "it sent a message that is too long" },
	{ MBEDTLS_ERR_SSL_FEATURE_UNAVAILABLE, ALERT_HANDSHAKE_FAILURE, REFUSAL_TLS_FAILED,
	  "it needs something of TLS that is not supported" },
	{ MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER, ALERT_ILLEGAL_PARAMETER, REFUSAL_TLS_FAILED,
	  "it sent a value that the protocol forbids" },
	{ MBEDTLS_ERR_SSL_UNSUPPORTED_EXTENSION, ALERT_UNSUPPORTED_EXTENSION, REFUSAL_TLS_FAILED,
	  "it sent an extension that nobody asked for" },
	{ MBEDTLS_ERR_SSL_INVALID_MAC, ALERT_BAD_RECORD_MAC, REFUSAL_TLS_FAILED, "it sent a record that does not decrypt" },
	{ MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, ALERT_HANDSHAKE_FAILURE, REFUSAL_TLS_FAILED,
	  "no cipher suite, group or signature algorithm in common" },
	{ MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL, ALERT_NO_APPLICATION_PROTOCOL, REFUSAL_TLS_FAILED,
	  "no application protocol (ALPN) in common" },
	{ MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION, ALERT_PROTOCOL_VERSION, REFUSAL_TLS_VERSION, "it does not offer TLS 1.3" },
	{ MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE, ALERT_CERTIFICATE_REQUIRED, REFUSAL_NO_CERTIFICATE,
	  "it showed no certificate" },
	{ MBEDTLS_ERR_SSL_ALLOC_FAILED, ALERT_INTERNAL_ERROR, REFUSAL_INTERNAL, "out of memory" },
	{ MBEDTLS_ERR_X509_ALLOC_FAILED, ALERT_INTERNAL_ERROR, REFUSAL_INTERNAL, "out of memory" },
	{ MBEDTLS_ERR_X509_FATAL_ERROR, ALERT_BAD_CERTIFICATE, REFUSAL_BAD_CERTIFICATE,
	  "its certificate chain is too long" },
	{ MBEDTLS_ERR_X509_UNKNOWN_VERSION, ALERT_UNSUPPORTED_CERTIFICATE, REFUSAL_BAD_CERTIFICATE,
	  "its certificate has an unknown version" },
	{ MBEDTLS_ERR_PK_UNKNOWN_PK_ALG, ALERT_UNSUPPORTED_CERTIFICATE, REFUSAL_BAD_CERTIFICATE,
	  "its certificate has a key that is neither RSA nor ECDSA" },
	{ MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE, ALERT_UNSUPPORTED_CERTIFICATE, REFUSAL_BAD_CERTIFICATE,
	  "its certificate has a key on an unknown curve" },
};

static const struct meaning bad_proof = { 0, ALERT_DECRYPT_ERROR, REFUSAL_BAD_SIGNATURE,
	                                      "it does not hold the key of the certificate that it showed" };
static const struct meaning bad_finished = { 0, ALERT_DECRYPT_ERROR, REFUSAL_TLS_FAILED,
	                                         "its Finished does not match: somebody changed the handshake" };
static const struct meaning bad_certificate = { 0, ALERT_BAD_CERTIFICATE, REFUSAL_BAD_CERTIFICATE,
	                                            "its certificate cannot be parsed" };
static const struct meaning bad_key_share = { 0, ALERT_ILLEGAL_PARAMETER, REFUSAL_TLS_FAILED,
	                                          "its key share is not valid" };
static const struct meaning bad_rsa = { 0, ALERT_DECRYPT_ERROR, REFUSAL_TLS_FAILED, "an RSA operation failed" };
static const struct meaning flood = { 0, ALERT_UNEXPECTED_MESSAGE, REFUSAL_TLS_FAILED,
	                                  "it sent more than a handshake can need" };
static const struct meaning unforeseen = { 0, ALERT_INTERNAL_ERROR, REFUSAL_INTERNAL, "mbedTLS failed" };

/* An mbedTLS code is the sum of a high-level one (a multiple of 0x80) and a low-level one. */
static int high_level(int code)
{
	return -(-code & 0xff80);
}

static bool is_between(int code, int first, int last)
{
	return code <= first && code >= last;
}

static const struct meaning *meaning_of_code(int code)
{
	int high = high_level(code);

	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
		if (meanings[i].code == high)
			return &meanings[i];
	}
	if (is_between(high, MBEDTLS_ERR_X509_FEATURE_UNAVAILABLE, MBEDTLS_ERR_X509_FATAL_ERROR) ||
	    is_between(high, MBEDTLS_ERR_PK_BUFFER_TOO_SMALL, MBEDTLS_ERR_PK_ALLOC_FAILED))
		return &bad_certificate;
	if (is_between(high, MBEDTLS_ERR_ECP_SIG_LEN_MISMATCH, MBEDTLS_ERR_ECP_BAD_INPUT_DATA))
		return &bad_key_share;
	if (is_between(high, MBEDTLS_ERR_RSA_BAD_INPUT_DATA, MBEDTLS_ERR_RSA_RNG_FAILED))
		return &bad_rsa;
	return &unforeseen;
}

/* mbedTLS uses one code for "nothing in common" and for "the signature is wrong": its state tells which. */
static const struct meaning *meaning_of(const struct handshake *hs, int code)
{
	int at = hs->ssl.MBEDTLS_PRIVATE(state);
	bool server = hs->role == TLS_SERVER;

	if (hs->bio.flooded)
		return &flood;
	if (high_level(code) != MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE)
		return meaning_of_code(code);
	if (at == (server ? MBEDTLS_SSL_CLIENT_CERTIFICATE_VERIFY : MBEDTLS_SSL_CERTIFICATE_VERIFY))
		return &bad_proof;
	if (at == (server ? MBEDTLS_SSL_CLIENT_FINISHED : MBEDTLS_SSL_SERVER_FINISHED))
		return &bad_finished;
	return meaning_of_code(code);
}

static const char *peer_of(const struct handshake *hs)
{
	return hs->role == TLS_SERVER ? "the client" : "the server";
}

static uint8_t received_alert(const struct handshake *hs, int code)
{
	const mbedtls_ssl_context *ssl = &hs->ssl;

	if (handshake_bio_plain_alert(&hs->bio) != ALERT_NONE)
		return handshake_bio_plain_alert(&hs->bio);
	if (code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
		return ALERT_CLOSE_NOTIFY;
	if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && ssl->MBEDTLS_PRIVATE(in_msgtype) == MBEDTLS_SSL_MSG_ALERT)
		return ssl->MBEDTLS_PRIVATE(in_msg)[1];
	return ALERT_NONE;
}

/* What the peer wants to say; "" where the alert's name says all there is. */
static const char *alert_meaning(uint8_t alert)
{
	switch (alert) {
	case ALERT_BAD_CERTIFICATE:
	case ALERT_UNSUPPORTED_CERTIFICATE:
	case ALERT_CERTIFICATE_REVOKED:
	case ALERT_CERTIFICATE_EXPIRED:
	case ALERT_CERTIFICATE_UNKNOWN:
		return ": it does not accept our certificate";
	case ALERT_UNKNOWN_CA:
		return ": it does not trust the authority that signed our certificate";
	case ALERT_CERTIFICATE_REQUIRED:
		return ": it asks for a certificate";
	case ALERT_ACCESS_DENIED:
		return ": it does not let us in";
	case ALERT_HANDSHAKE_FAILURE:
		return ": no TLS version, cipher suite, group or signature algorithm in common";
	case ALERT_PROTOCOL_VERSION:
		return ": it does not speak TLS 1.3";
	case ALERT_NO_APPLICATION_PROTOCOL:
		return ": no application protocol (ALPN) in common";
	case ALERT_UNRECOGNIZED_NAME:
		return ": it does not know the server name that it was asked for";
	case ALERT_CLOSE_NOTIFY:
	case ALERT_USER_CANCELED:
		return ": it gave up";
	default:
		return "";
	}
}

static void fail_by_alert(struct handshake *hs, uint8_t alert)
{
	struct handshake_failure *failure = &hs->failure;

	failure->refusal = alert == ALERT_PROTOCOL_VERSION ? REFUSAL_TLS_VERSION : REFUSAL_PEER_ALERT;
	failure->alert_received = alert;
	ps_cause_set(&failure->detail, PS_E_IO, "%s sent the alert %s%s", peer_of(hs), alert_name(alert),
	             alert_meaning(alert));
}

/* The first line of what came, as far as it is here already. */
static void quote_first_bytes(const struct handshake *hs, char *storage, size_t cap)
{
	uint8_t bytes[QUOTE_MAX];
	size_t len = hs->bio.received < sizeof(hs->bio.in.header) ? hs->bio.received : sizeof(hs->bio.in.header);
	ssize_t more;
	size_t shown = 0;
	struct text quote;

	memcpy(bytes, hs->bio.in.header, len);
	more = recv(hs->bio.fd, bytes + len, sizeof(bytes) - len, MSG_PEEK | MSG_DONTWAIT);
	len += more > 0 ? (size_t)more : 0;
	while (shown < len && bytes[shown] != '\r' && bytes[shown] != '\n')
		shown++;
	text_init(&quote, storage, cap);
	text_add_escaped(&quote, bytes, shown);
}

static void fail_not_tls(struct handshake *hs)
{
	char quote[QUOTE_MAX * 4 + 1];

	quote_first_bytes(hs, quote, sizeof(quote));
	hs->failure.refusal = REFUSAL_NOT_TLS;
	ps_cause_set(&hs->failure.detail, PS_E_PROTO, "%s does not speak TLS: it said \"%s\"", peer_of(hs), quote);
}

static void fail_by_end(struct handshake *hs)
{
	struct handshake_failure *failure = &hs->failure;
	const char *how = hs->bio.error == 0 ? "closed the connection" : "reset the connection";

	failure->refusal = REFUSAL_TLS_FAILED;
	if (hs->bio.received > 0) {
		ps_cause_set(&failure->detail, PS_E_IO, "%s %s in the middle of the handshake", peer_of(hs), how);
		return;
	}
	if (hs->role == TLS_SERVER)
		failure->refusal = REFUSAL_CLOSED_BEFORE_HELLO;
	ps_cause_set(&failure->detail, PS_E_IO, "%s %s without a word%s", peer_of(hs), how,
	             hs->role == TLS_SERVER ? "" : " (is it TLS at all, or a balancer with nothing behind it?)");
}

static bool is_end(const struct handshake *hs)
{
	int error = hs->bio.error;

	return hs->bio.eof || error == ECONNRESET || error == EPIPE || error == ENOTCONN;
}

static bool write_all(struct handshake *hs, const struct buf *out)
{
	ssize_t n = send(hs->bio.fd, buf_front(out), buf_len(out), MSG_NOSIGNAL | MSG_DONTWAIT);

	return n >= 0 && (size_t)n == buf_len(out);
}

bool handshake_write_sealed_alert(struct handshake *hs, enum alert alert)
{
	struct tls_stream *stream = NULL;
	struct buf out = BUF_INIT;
	bool written = false;

	if (buf_len(&hs->bio.out) == 0 && tls_stream_new(hs->role, &hs->secrets, &stream) == PS_OK &&
	    tls_stream_fail(stream, alert, &out) == PS_OK)
		written = write_all(hs, &out);
	tls_stream_free(stream);
	buf_release(&out);
	return written;
}

/* Writes the alert where the peer looks for it. One that mbedTLS wrote in time is not written again. */
static void send_alert(struct handshake *hs, enum alert alert)
{
	struct handshake_failure *failure = &hs->failure;

	if (hs->bio.muted) {
		if (handshake_write_sealed_alert(hs, alert))
			failure->alert_sent = (uint8_t)alert;
		return;
	}
	if (!hs->bio.answered)
		(void)mbedtls_ssl_send_alert_message(&hs->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, (unsigned char)alert);
	if (handshake_bio_flush(&hs->bio) == 0)
		failure->alert_sent = hs->bio.alert_sent != ALERT_NONE ? hs->bio.alert_sent : (uint8_t)alert;
}

static void fail_by_code(struct handshake *hs, int code)
{
	const struct meaning *meaning = meaning_of(hs, code);
	struct handshake_failure *failure = &hs->failure;

	failure->refusal = meaning->refusal;
	if (meaning->refusal == REFUSAL_INTERNAL || meaning == &bad_certificate)
		ps_cause_set(&failure->detail, PS_E_PROTO, "%s: %s (mbedTLS -0x%04x)", peer_of(hs), meaning->text,
		             (unsigned int)-code);
	else
		ps_cause_set(&failure->detail, PS_E_PROTO, "%s: %s", peer_of(hs), meaning->text);
	send_alert(hs, meaning->alert);
}

void handshake_fail(struct handshake *hs, int mbedtls_code)
{
	uint8_t alert = received_alert(hs, mbedtls_code);

	if (alert != ALERT_NONE && !hs->bio.flooded)
		fail_by_alert(hs, alert);
	else if (handshake_bio_not_tls(&hs->bio))
		fail_not_tls(hs);
	else if (is_end(hs))
		fail_by_end(hs);
	else if (hs->bio.error != 0)
		ps_cause_errno(&hs->failure.detail, PS_E_IO, hs->bio.error, "%s", peer_of(hs));
	else
		fail_by_code(hs, mbedtls_code);
	if (hs->failure.refusal == REFUSAL_NONE)
		hs->failure.refusal = REFUSAL_TLS_FAILED;
}

void handshake_fail_refused(struct handshake *hs, enum refusal refusal)
{
	enum alert alert = refusal_alert(refusal);

	hs->failure.refusal = refusal;
	ps_cause_set(&hs->failure.detail, PS_E_AUTH, "%s", refusal_text(refusal));
	if (alert != ALERT_NONE)
		send_alert(hs, alert);
}
