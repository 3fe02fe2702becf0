/* SPDX-License-Identifier: Apache-2.0 */
#include "handshake_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <mbedtls/rsa.h>
#include <mbedtls/version.h>
#include <psa/crypto.h>

#include "portseal/record.h"

#define LIBRARY_OLDEST 0x03060600 /* 3.6.6 closed CVE-2026-34873 and others that a peer can reach */

/* A check of a signature takes as many steps as the exponent has bits. All the world uses 17; OpenSSL stops here too. */
#define RSA_EXPONENT_BITS 64

/* mbedtls_ssl_get_ciphersuite_id_from_ssl() knows it only after the handshake, too late for a sealed alert. */
static uint16_t negotiated_suite(const mbedtls_ssl_context *ssl)
{
	const mbedtls_ssl_session *session = ssl->MBEDTLS_PRIVATE(session_negotiate);

	return session == NULL ? 0 : (uint16_t)mbedtls_ssl_session_get_ciphersuite_id(session);
}

/* mbedTLS derives the application secrets before the client is known; they are given out only after DONE. */
static void on_secret(void *owner, mbedtls_ssl_key_export_type type, const unsigned char *secret, size_t secret_len,
                      const unsigned char client_random[32], const unsigned char server_random[32],
                      mbedtls_tls_prf_types prf)
{
	struct handshake *hs = owner;

	(void)client_random;
	(void)server_random;
	(void)prf;
	if (secret_len > SUITE_HASH_MAX)
		return;
	if (type == MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_APPLICATION_TRAFFIC_SECRET) {
		memcpy(hs->secrets.client, secret, secret_len);
		hs->client_secret_len = secret_len;
	} else if (type == MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_APPLICATION_TRAFFIC_SECRET) {
		memcpy(hs->secrets.server, secret, secret_len);
		hs->server_secret_len = secret_len;
	} else {
		return;
	}
	hs->secrets.suite = negotiated_suite(&hs->ssl);
	if (hs->role == TLS_CLIENT)
		return;
	/* A server has written its Finished by now. Until the client's comes, mbedTLS could write nothing more but alerts,
	 * and those under handshake keys that the client has left behind. */
	hs->bio.last_flight = true;
	/* It has asked for the client's certificate, and would now verify whatever chain comes: up to nine signatures with
	 * keys of a stranger's choice. The judge does that, from the anchor down. */
	mbedtls_ssl_set_hs_authmode(&hs->ssl, MBEDTLS_SSL_VERIFY_NONE);
}

static bool is_ip_address(const char *name)
{
	struct in6_addr address;

	return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

/* mbedTLS insists on being told a name, or that there is none. The judge compares it, not mbedTLS. */
static int set_server_name(struct handshake *hs, const char *name)
{
	return mbedtls_ssl_set_hostname(&hs->ssl, name == NULL || is_ip_address(name) ? NULL : name);
}

static enum ps_err start(struct handshake *hs, const mbedtls_ssl_config *config, const char *server_name)
{
	int code = mbedtls_ssl_setup(&hs->ssl, config);

	if (code == 0 && hs->role == TLS_CLIENT)
		code = set_server_name(hs, server_name);
	if (code == MBEDTLS_ERR_SSL_ALLOC_FAILED)
		return PS_E_NOMEM;
	if (code != 0)
		return PS_E_BUG;
	mbedtls_ssl_set_bio(&hs->ssl, &hs->bio, handshake_bio_send, handshake_bio_recv, NULL);
	mbedtls_ssl_set_export_keys_cb(&hs->ssl, on_secret, hs);
	return PS_OK;
}

static enum ps_err choose(struct handshake *hs, const struct handshake_setup *setup,
                          const struct handshake_config *config, const mbedtls_ssl_config **chosen)
{
	enum ps_err err = PS_OK;

	if (hs->role == TLS_SERVER && config->alpn == NULL && config->echo != NULL) {
		err = handshake_echo_new(setup, config->echo, &hs->echo);
		if (err == PS_OK)
			*chosen = handshake_echo_config(hs->echo);
	}
	return err;
}

enum ps_err handshake_new(const struct handshake_setup *setup, const struct handshake_config *config,
                          struct handshake **handshake)
{
	const mbedtls_ssl_config *ssl_config = handshake_setup_pick(setup, config->alpn);
	struct handshake *hs;
	enum ps_err err;

	assert(handshake_setup_role(setup) == TLS_SERVER || config->on_peer != NULL);
	if (ssl_config == NULL)
		return PS_E_CONFIG;
	/* Here and not at the start of the program: a process forked afterwards would share the state of the RNG. */
	if (psa_crypto_init() != PSA_SUCCESS)
		return PS_E_BUG;
	hs = calloc(1, sizeof(*hs));
	if (hs == NULL)
		return PS_E_NOMEM;
	hs->role = handshake_setup_role(setup);
	hs->state = HANDSHAKE_WANT_READ;
	hs->on_peer = config->on_peer;
	hs->owner = config->owner;
	hs->failure.alert_sent = ALERT_NONE;
	hs->failure.alert_received = ALERT_NONE;
	handshake_bio_init(&hs->bio, config->fd);
	mbedtls_ssl_init(&hs->ssl);
	err = choose(hs, setup, config, &ssl_config);
	if (err == PS_OK)
		err = start(hs, ssl_config, config->server_name);
	if (err != PS_OK) {
		handshake_free(hs);
		return err;
	}
	*handshake = hs;
	return PS_OK;
}

void handshake_free(struct handshake *handshake)
{
	if (handshake == NULL)
		return;
	mbedtls_ssl_free(&handshake->ssl);
	handshake_echo_free(handshake->echo);
	handshake_bio_clear(&handshake->bio);
	ps_wipe(handshake, sizeof(*handshake));
	free(handshake);
}

/* The peer's chain as soon as it is parsed; mbedtls_ssl_get_peer_cert() knows it only after the handshake. */
static mbedtls_x509_crt *presented_chain(const struct handshake *hs)
{
	const mbedtls_ssl_session *session = hs->ssl.MBEDTLS_PRIVATE(session_negotiate);

	return session == NULL ? NULL : session->MBEDTLS_PRIVATE(peer_cert);
}

/* Whether checking one signature of this key could hold up everybody else. */
static bool is_costly(const mbedtls_pk_context *key)
{
	mbedtls_mpi exponent;
	bool costly;

	if (mbedtls_pk_get_type(key) != MBEDTLS_PK_RSA)
		return false;
	mbedtls_mpi_init(&exponent);
	costly = mbedtls_rsa_export(mbedtls_pk_rsa(*key), NULL, NULL, NULL, NULL, &exponent) != 0 ||
	         mbedtls_mpi_bitlen(&exponent) > RSA_EXPONENT_BITS;
	mbedtls_mpi_free(&exponent);
	return costly;
}

/* The first moment at which the chain is known: before its key is used, and before a client sends its own. */
static enum refusal look_at_presented(struct handshake *hs)
{
	mbedtls_x509_crt *chain = presented_chain(hs);

	if (hs->seen || chain == NULL)
		return REFUSAL_NONE;
	hs->seen = true;
	if (is_costly(&chain->pk))
		return REFUSAL_BAD_CERTIFICATE;
	return hs->on_peer == NULL ? REFUSAL_NONE : hs->on_peer(hs->owner, chain);
}

/* Not mbedtls_ssl_is_handshake_over(): that is true already while tickets are still to be written. */
static bool is_over(const struct handshake *hs)
{
	return hs->ssl.MBEDTLS_PRIVATE(state) == MBEDTLS_SSL_HANDSHAKE_OVER;
}

/* What mbedTLS promises by being done, looked at once more: nobody goes on with half a set of keys, and no client
 * with a server that was not judged. */
static bool is_sound(const struct handshake *hs)
{
	const struct suite *suite = suite_find(hs->secrets.suite);

	if (suite == NULL || hs->client_secret_len != suite->hash_len || hs->server_secret_len != suite->hash_len)
		return false;
	return hs->role == TLS_SERVER || hs->seen;
}

static enum handshake_state fail(struct handshake *hs, int code)
{
	handshake_fail(hs, code);
	return HANDSHAKE_FAILED;
}

static enum handshake_state advance(struct handshake *hs)
{
	int code = 0;

	while (code == 0 && !is_over(hs)) {
		enum refusal refusal;

		code = mbedtls_ssl_handshake_step(&hs->ssl);
		refusal = code == 0 ? look_at_presented(hs) : REFUSAL_NONE;
		if (refusal != REFUSAL_NONE) {
			handshake_fail_refused(hs, refusal);
			return HANDSHAKE_FAILED;
		}
	}
	if (code == 0)
		code = handshake_bio_flush(&hs->bio);
	if (code == 0)
		return is_sound(hs) ? HANDSHAKE_DONE : fail(hs, MBEDTLS_ERR_SSL_INTERNAL_ERROR);
	if (code == MBEDTLS_ERR_SSL_WANT_WRITE)
		return HANDSHAKE_WANT_WRITE;
	if (code != MBEDTLS_ERR_SSL_WANT_READ)
		return fail(hs, code);
	/* mbedTLS also says so after a record that it ignored: waiting would then be for bytes that are here. */
	return hs->bio.blocked ? HANDSHAKE_WANT_READ : HANDSHAKE_YIELD;
}

enum handshake_state handshake_step(struct handshake *handshake)
{
	if (handshake->state == HANDSHAKE_DONE || handshake->state == HANDSHAKE_FAILED)
		return handshake->state;
	handshake->bio.turn_left = HANDSHAKE_TURN_BYTES;
	handshake->bio.blocked = false;
	handshake->state = advance(handshake);
	return handshake->state;
}

const struct handshake_failure *handshake_failure(const struct handshake *handshake)
{
	return &handshake->failure;
}

void handshake_secrets(const struct handshake *handshake, struct traffic_secrets *secrets)
{
	assert(handshake->state == HANDSHAKE_DONE);
	*secrets = handshake->secrets;
}

struct mbedtls_x509_crt *handshake_peer_chain(const struct handshake *handshake)
{
	assert(handshake->state == HANDSHAKE_DONE);
	/* The judge walks the chain with mbedTLS functions that want it writable; mbedTLS itself does not use it again. */
	return (struct mbedtls_x509_crt *)(uintptr_t)mbedtls_ssl_get_peer_cert(&handshake->ssl);
}

const char *handshake_alpn(const struct handshake *handshake)
{
	assert(handshake->state == HANDSHAKE_DONE);
	return mbedtls_ssl_get_alpn_protocol(&handshake->ssl);
}

void handshake_refuse(struct handshake *handshake, enum alert alert)
{
	if (handshake->state == HANDSHAKE_DONE && alert != ALERT_NONE)
		(void)handshake_write_sealed_alert(handshake, alert);
}

void handshake_refuse_plain(int fd, enum alert alert)
{
	const uint8_t record[] = { RECORD_ALERT, 3, 3, 0, 2, MBEDTLS_SSL_ALERT_LEVEL_FATAL, (uint8_t)alert };

	if (alert != ALERT_NONE)
		(void)send(fd, record, sizeof(record), MSG_NOSIGNAL | MSG_DONTWAIT);
}

const char *handshake_library_version(void)
{
	static char text[9]; /* mbedTLS writes at most that much */

	mbedtls_version_get_string(text);
	return text;
}

int handshake_library_is_old(void)
{
	return mbedtls_version_get_number() < LIBRARY_OLDEST;
}
