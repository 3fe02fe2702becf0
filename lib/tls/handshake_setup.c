/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake_setup -- the mbedTLS configurations of one role: one without ALPN, and one for each protocol name.
 *
 * mbedTLS keeps the ALPN list in the configuration, and fails a client that offers only names it does not know; but
 * which name may be answered is known only after a look at the ClientHello. So there is one configuration for each.
 */
#include "handshake_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/psa_util.h>

#define ALPN_NAME_MAX 255

static const int suites[] = {
	SUITE_AES_128_GCM_SHA256,
	SUITE_AES_256_GCM_SHA384,
	SUITE_CHACHA20_POLY1305_SHA256,
	0,
};

/* No finite fields: they are slow, and nobody needs them. */
static const uint16_t groups[] = {
	MBEDTLS_SSL_IANA_TLS_GROUP_X25519,    MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1,
	MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1, MBEDTLS_SSL_IANA_TLS_GROUP_NONE,
};

#define OFFERS_MAX 2

/* One protocol name, or none, and the configuration that speaks it. */
struct variant {
	mbedtls_ssl_config config;
	char *alpn;                       /* as it is asked for */
	char *names;                      /* the same, cut into single names */
	const char *list[OFFERS_MAX + 1]; /* what mbedTLS keeps a pointer to */
};

struct handshake_setup {
	enum tls_role role;
	size_t n_variants;
	struct variant variants[]; /* the first has no ALPN */
};

/* mbedTLS proves the key of the certificate that the peer shows; whether to trust it is the judge's. A server needs more
 * than NONE to ask for one at all; it is told NONE before the client's comes (on_secret). */
static void configure(mbedtls_ssl_config *config, enum tls_role role)
{
	mbedtls_ssl_conf_min_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_max_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_tls13_key_exchange_modes(config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
	mbedtls_ssl_conf_authmode(config, role == TLS_SERVER ? MBEDTLS_SSL_VERIFY_OPTIONAL : MBEDTLS_SSL_VERIFY_NONE);
	mbedtls_ssl_conf_ciphersuites(config, suites);
	mbedtls_ssl_conf_groups(config, groups);
	mbedtls_ssl_conf_rng(config, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
}

static enum ps_err variant_alpn(struct variant *variant, enum tls_role role, const char *alpn, struct ps_cause *cause)
{
	size_t n = 0;
	char *rest;

	variant->alpn = strdup(alpn);
	variant->names = strdup(alpn);
	if (variant->alpn == NULL || variant->names == NULL)
		return PS_E_NOMEM;
	rest = variant->names;
	while (rest != NULL && n < OFFERS_MAX) {
		const char *name = role == TLS_CLIENT ? strsep(&rest, ",") : rest;
		const size_t len = strlen(name);

		if (len == 0 || len > ALPN_NAME_MAX)
			return ps_cause_set(cause, PS_E_CONFIG, "an ALPN name has 1 to %d bytes, not %zu", ALPN_NAME_MAX, len);
		variant->list[n++] = name;
		rest = role == TLS_CLIENT ? rest : NULL;
	}
	return mbedtls_ssl_conf_alpn_protocols(&variant->config, variant->list) == 0 ? PS_OK : PS_E_BUG;
}

static enum ps_err variant_init(struct variant *variant, const struct handshake_setup_config *config, const char *alpn,
                                struct ps_cause *cause)
{
	int endpoint = config->role == TLS_SERVER ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT;
	struct credentials *own = config->credentials;

	mbedtls_ssl_config_init(&variant->config);
	if (mbedtls_ssl_config_defaults(&variant->config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM,
	                                MBEDTLS_SSL_PRESET_DEFAULT) != 0)
		return PS_E_NOMEM;
	configure(&variant->config, config->role);
	if (own != NULL && mbedtls_ssl_conf_own_cert(&variant->config, credentials_chain(own), credentials_key(own)) != 0)
		return PS_E_NOMEM;
	return alpn == NULL ? PS_OK : variant_alpn(variant, config->role, alpn, cause);
}

enum ps_err handshake_setup_new(const struct handshake_setup_config *config, struct handshake_setup **setup,
                                struct ps_cause *cause)
{
	size_t n = 1 + config->n_alpn;
	struct handshake_setup *made = calloc(1, sizeof(*made) + n * sizeof(made->variants[0]));
	enum ps_err err = PS_OK;

	assert(config->role == TLS_CLIENT || config->credentials != NULL);
	if (made == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "%s", ps_err_text(PS_E_NOMEM));
	ps_cause_set(cause, PS_OK, "%s", "");
	made->role = config->role;
	for (; err == PS_OK && made->n_variants < n; made->n_variants++) {
		const char *alpn = made->n_variants == 0 ? NULL : config->alpn[made->n_variants - 1];

		err = variant_init(&made->variants[made->n_variants], config, alpn, cause);
	}
	if (err == PS_OK) {
		*setup = made;
		return PS_OK;
	}
	handshake_setup_free(made);
	return err == PS_E_CONFIG ? err : ps_cause_set(cause, err, "TLS: %s", ps_err_text(err));
}

void handshake_setup_free(struct handshake_setup *setup)
{
	if (setup == NULL)
		return;
	for (size_t i = 0; i < setup->n_variants; i++) {
		mbedtls_ssl_config_free(&setup->variants[i].config);
		free(setup->variants[i].alpn);
		free(setup->variants[i].names);
	}
	free(setup);
}

enum tls_role handshake_setup_role(const struct handshake_setup *setup)
{
	return setup->role;
}

const mbedtls_ssl_config *handshake_setup_pick(const struct handshake_setup *setup, const char *alpn)
{
	if (alpn == NULL)
		return &setup->variants[0].config;
	for (size_t i = 1; i < setup->n_variants; i++) {
		if (strcmp(setup->variants[i].alpn, alpn) == 0)
			return &setup->variants[i].config;
	}
	return NULL;
}

/* The configuration is a copy which shares what the setup's owns, and so is never freed as one. */
struct handshake_echo {
	mbedtls_ssl_config config;
	const char *list[2];
	char name[];
};

enum ps_err handshake_echo_new(const struct handshake_setup *setup, const char *name, struct handshake_echo **echo)
{
	size_t len = strlen(name);
	struct handshake_echo *made = malloc(sizeof(*made) + len + 1);

	assert(len > 0 && len <= ALPN_NAME_MAX);
	if (made == NULL)
		return PS_E_NOMEM;
	made->config = setup->variants[0].config;
	memcpy(made->name, name, len + 1);
	made->list[0] = made->name;
	made->list[1] = NULL;
	if (mbedtls_ssl_conf_alpn_protocols(&made->config, made->list) != 0) {
		free(made);
		return PS_E_BUG;
	}
	*echo = made;
	return PS_OK;
}

const mbedtls_ssl_config *handshake_echo_config(const struct handshake_echo *echo)
{
	return &echo->config;
}

void handshake_echo_free(struct handshake_echo *echo)
{
	free(echo);
}
