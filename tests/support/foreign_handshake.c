/* SPDX-License-Identifier: Apache-2.0 */
#include "foreign_handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <mbedtls/psa_util.h>
#include <mbedtls/ssl.h>

struct handshake {
	mbedtls_ssl_context ssl;
	mbedtls_ssl_config conf;
	mbedtls_x509_crt certificate;
	mbedtls_pk_context key;
	int suites[2];
	struct traffic_secrets secrets;
};

static int sock_send(void *sock, const unsigned char *bytes, size_t len)
{
	return (int)send(*(const int *)sock, bytes, len, MSG_NOSIGNAL);
}

static int sock_recv(void *sock, unsigned char *bytes, size_t len)
{
	return (int)recv(*(const int *)sock, bytes, len, 0);
}

static void keep_secret(void *arg, mbedtls_ssl_key_export_type type, const unsigned char *secret, size_t len,
                        const unsigned char client_random[32], const unsigned char server_random[32],
                        mbedtls_tls_prf_types prf)
{
	struct traffic_secrets *secrets = arg;

	(void)client_random;
	(void)server_random;
	(void)prf;
	if (type == MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_APPLICATION_TRAFFIC_SECRET)
		memcpy(secrets->client, secret, len);
	if (type == MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_APPLICATION_TRAFFIC_SECRET)
		memcpy(secrets->server, secret, len);
}

static void configure(struct handshake *hs, enum tls_role role, const char *certificate_pem, const char *key_pem)
{
	int endpoint = role == TLS_CLIENT ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER;

	assert_int_equal(
		mbedtls_ssl_config_defaults(&hs->conf, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT), 0);
	mbedtls_ssl_conf_rng(&hs->conf, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
	mbedtls_ssl_conf_authmode(&hs->conf, MBEDTLS_SSL_VERIFY_NONE);
	mbedtls_ssl_conf_min_tls_version(&hs->conf, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_ciphersuites(&hs->conf, hs->suites);
	if (role == TLS_CLIENT)
		return;
	assert_int_equal(
		mbedtls_x509_crt_parse(&hs->certificate, (const unsigned char *)certificate_pem, strlen(certificate_pem) + 1),
		0);
	assert_int_equal(mbedtls_pk_parse_key(&hs->key, (const unsigned char *)key_pem, strlen(key_pem) + 1, NULL, 0,
	                                      mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE),
	                 0);
	assert_int_equal(mbedtls_ssl_conf_own_cert(&hs->conf, &hs->certificate, &hs->key), 0);
}

struct traffic_secrets foreign_handshake(int sock, enum tls_role role, uint16_t suite, const char *certificate_pem,
                                         const char *key_pem)
{
	struct handshake hs = { .suites = { suite, 0 }, .secrets = { .suite = suite } };

	assert_int_equal(psa_crypto_init(), PSA_SUCCESS);
	mbedtls_ssl_init(&hs.ssl);
	mbedtls_ssl_config_init(&hs.conf);
	mbedtls_x509_crt_init(&hs.certificate);
	mbedtls_pk_init(&hs.key);

	configure(&hs, role, certificate_pem, key_pem);
	assert_int_equal(mbedtls_ssl_setup(&hs.ssl, &hs.conf), 0);
	if (role == TLS_CLIENT)
		assert_int_equal(mbedtls_ssl_set_hostname(&hs.ssl, "localhost"), 0);
	mbedtls_ssl_set_bio(&hs.ssl, &sock, sock_send, sock_recv, NULL);
	mbedtls_ssl_set_export_keys_cb(&hs.ssl, keep_secret, &hs.secrets);
	assert_int_equal(mbedtls_ssl_handshake(&hs.ssl), 0);
	assert_int_equal(mbedtls_ssl_get_ciphersuite_id_from_ssl(&hs.ssl), suite);

	mbedtls_ssl_free(&hs.ssl);
	mbedtls_ssl_config_free(&hs.conf);
	mbedtls_x509_crt_free(&hs.certificate);
	mbedtls_pk_free(&hs.key);
	return hs.secrets;
}
