/* SPDX-License-Identifier: Apache-2.0 */
#include "raw_tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <mbedtls/net_sockets.h>
#include <mbedtls/psa_util.h>
#include <psa/crypto.h>

#include "portseal/alert.h"

static void need(int code, const char *what)
{
	if (code == 0)
		return;
	fprintf(stderr, "raw_tls: %s: -0x%04x\n", what, (unsigned int)-code);
	abort();
}

static int raw_recv(void *owner, unsigned char *bytes, size_t len)
{
	const struct raw_tls *peer = owner;
	ssize_t n = recv(peer->fd, bytes, len, MSG_DONTWAIT);

	if (n >= 0)
		return (int)n;
	return errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_READ : MBEDTLS_ERR_NET_RECV_FAILED;
}

static int raw_send(void *owner, const unsigned char *bytes, size_t len)
{
	const struct raw_tls *peer = owner;
	ssize_t n = send(peer->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		return (int)n;
	return errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_NET_SEND_FAILED;
}

static void configure(struct raw_tls *peer, const struct raw_tls_spec *spec)
{
	mbedtls_ssl_config *config = &peer->config;
	mbedtls_ssl_protocol_version version = spec->tls12 ? MBEDTLS_SSL_VERSION_TLS1_2 : MBEDTLS_SSL_VERSION_TLS1_3;

	need(mbedtls_ssl_config_defaults(config, spec->server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
	                                 MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT),
	     "defaults");
	mbedtls_ssl_conf_rng(config, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
	mbedtls_ssl_conf_min_tls_version(config, version);
	mbedtls_ssl_conf_max_tls_version(config, version);
	mbedtls_ssl_conf_authmode(config, spec->trusts_nobody ? MBEDTLS_SSL_VERIFY_REQUIRED
	                                  : spec->asks        ? MBEDTLS_SSL_VERIFY_OPTIONAL
	                                                      : MBEDTLS_SSL_VERIFY_NONE);
	if (spec->suites != NULL)
		mbedtls_ssl_conf_ciphersuites(config, spec->suites);
	if (spec->groups != NULL)
		mbedtls_ssl_conf_groups(config, spec->groups);
	if (spec->alpn != NULL) {
		/* mbedTLS keeps the list, and never writes to it. */
		const char **list;

		memcpy(&list, &spec->alpn, sizeof(list));
		need(mbedtls_ssl_conf_alpn_protocols(config, list), "alpn");
	}
	if (spec->chain != NULL) {
		peer->chain = mint_chain(spec->chain);
		need(mbedtls_ssl_conf_own_cert(config, peer->chain, spec->key != NULL ? spec->key : spec->chain[0]->key),
		     "own certificate");
	}
	if (spec->trusts_nobody)
		mbedtls_ssl_conf_ca_chain(config, &peer->nobody, NULL);
}

void raw_tls_open(struct raw_tls *peer, const struct raw_tls_spec *spec, int fd)
{
	need(psa_crypto_init(), "psa_crypto_init");
	memset(peer, 0, sizeof(*peer));
	peer->fd = fd;
	peer->code = MBEDTLS_ERR_SSL_WANT_READ;
	mbedtls_x509_crt_init(&peer->nobody);
	mbedtls_ssl_config_init(&peer->config);
	mbedtls_ssl_init(&peer->ssl);
	configure(peer, spec);
	need(mbedtls_ssl_setup(&peer->ssl, &peer->config), "setup");
	if (!spec->server)
		need(mbedtls_ssl_set_hostname(&peer->ssl, "relay.example.com"), "hostname");
	mbedtls_ssl_set_bio(&peer->ssl, peer, raw_send, raw_recv, NULL);
}

bool raw_tls_is_final(const struct raw_tls *peer)
{
	return peer->code != MBEDTLS_ERR_SSL_WANT_READ && peer->code != MBEDTLS_ERR_SSL_WANT_WRITE;
}

int raw_tls_step(struct raw_tls *peer)
{
	if (!raw_tls_is_final(peer))
		peer->code = mbedtls_ssl_handshake(&peer->ssl);
	return peer->code;
}

int raw_tls_alert(const struct raw_tls *peer, int code)
{
	return code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE ? peer->ssl.MBEDTLS_PRIVATE(in_msg)[1] : ALERT_NONE;
}

void raw_tls_close(struct raw_tls *peer)
{
	mbedtls_ssl_free(&peer->ssl);
	mbedtls_ssl_config_free(&peer->config);
}
