/* SPDX-License-Identifier: Apache-2.0 */
#include "hands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS 64 /* far more than any handshake needs */

static struct hands hands;
static struct credentials *loaded[4];
static size_t n_loaded;
static const char *directory;

static const char *const protocols[] = { "h2", "portseal/billing" };

static void need(enum ps_err err, const char *what, const struct ps_cause *cause)
{
	if (err == PS_OK)
		return;
	fprintf(stderr, "hands: %s: %s\n", what, cause == NULL ? ps_err_text(err) : cause->text);
	abort();
}

static struct credentials *load(const char *name, const struct mint_cert *const *chain, enum peer_purpose purpose)
{
	char certificate[512], key[512];
	struct ps_cause cause;
	struct credentials **to = &loaded[n_loaded++];

	mint_write_files(directory, name, chain);
	(void)snprintf(certificate, sizeof(certificate), "%s/%s.crt", directory, name);
	(void)snprintf(key, sizeof(key), "%s/%s.key", directory, name);
	need(credentials_load(certificate, key, purpose, to, &cause), name, &cause);
	return *to;
}

static struct handshake_setup *setup(enum tls_role role, struct credentials *credentials)
{
	struct handshake_setup_config config = { .role = role, .credentials = credentials, .alpn = protocols, .n_alpn = 2 };
	struct handshake_setup *made;
	struct ps_cause cause;

	need(handshake_setup_new(&config, &made, &cause), "setup", &cause);
	return made;
}

static struct mint_cert *mint_rsa(enum mint_kind kind, const char *subject, const struct mint_cert *issuer)
{
	return mint_certificate(
		&(struct mint_spec){ .subject = subject, .kind = kind, .key = mint_key(MINT_RSA2048), .dns = { "relay" } },
		issuer);
}

const struct hands *hands_start(void)
{
	struct mint_cert *ca = mint_ca("CN=Test CA");
	struct mint_cert *middle = mint_certificate(&(struct mint_spec){ .subject = "CN=Test Middle" }, ca);

	directory = mint_directory();
	hands.ca = ca;
	hands.alice_chain[0] = hands.alice = mint_sender(ca, "CN=alice");
	hands.relay_chain[0] = hands.relay = mint_relay(ca, "CN=relay", "relay.example.com");
	hands.server = setup(TLS_SERVER, load("relay", hands.relay_chain, PURPOSE_SERVER));
	hands.client = setup(TLS_CLIENT, load("alice", hands.alice_chain, PURPOSE_CLIENT));
	hands.server_rsa =
		setup(TLS_SERVER, load("relay-rsa", (const struct mint_cert *[]){ mint_rsa(MINT_RELAY, "CN=relay", ca), NULL },
	                           PURPOSE_SERVER));
	hands.client_rsa =
		setup(TLS_CLIENT,
	          load("alice-rsa", (const struct mint_cert *[]){ mint_rsa(MINT_SENDER, "CN=alice", middle), middle, NULL },
	               PURPOSE_CLIENT));
	hands.client_bare = setup(TLS_CLIENT, NULL);
	return &hands;
}

void hands_stop(void)
{
	handshake_setup_free(hands.server);
	handshake_setup_free(hands.client);
	handshake_setup_free(hands.server_rsa);
	handshake_setup_free(hands.client_rsa);
	handshake_setup_free(hands.client_bare);
	while (n_loaded > 0)
		credentials_free(loaded[--n_loaded]);
	mint_free_all();
}

static enum refusal on_peer(void *owner, struct mbedtls_x509_crt *chain)
{
	struct hands_pair *pair = owner;

	pair->seen.calls++;
	pair->seen.leaf_len = chain->raw.len;
	if (chain->raw.len <= sizeof(pair->seen.leaf))
		memcpy(pair->seen.leaf, chain->raw.p, chain->raw.len);
	for (; chain != NULL; chain = chain->next)
		pair->seen.chain_len++;
	return pair->verdict;
}

static void open_sockets(struct hands_pair *pair)
{
	int fds[2];

	memset(pair, 0, sizeof(*pair));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
		abort();
	pair->client_fd = fds[0];
	pair->server_fd = fds[1];
}

static void open_client(struct hands_pair *pair, const struct handshake_setup *client, const char *alpn)
{
	struct handshake_config config = {
		.fd = pair->client_fd, .alpn = alpn, .server_name = "relay.example.com", .on_peer = on_peer, .owner = pair
	};

	need(handshake_new(client, &config, &pair->client), "client", NULL);
}

static void open_server(struct hands_pair *pair, const struct handshake_setup *server, const char *alpn)
{
	struct handshake_config config = { .fd = pair->server_fd, .alpn = alpn };

	need(handshake_new(server, &config, &pair->server), "server", NULL);
}

void hands_pair_open(struct hands_pair *pair, const struct handshake_setup *client,
                     const struct handshake_setup *server, const char *client_alpn, const char *server_alpn)
{
	open_sockets(pair);
	open_client(pair, client, client_alpn);
	open_server(pair, server, server_alpn);
}

void hands_raw_client(struct hands_pair *pair, struct raw_tls *raw, const struct raw_tls_spec *spec)
{
	open_sockets(pair);
	raw_tls_open(raw, spec, pair->client_fd);
	open_server(pair, hands.server, NULL);
}

void hands_raw_server(struct hands_pair *pair, struct raw_tls *raw, const struct raw_tls_spec *spec)
{
	open_sockets(pair);
	raw_tls_open(raw, spec, pair->server_fd);
	open_client(pair, hands.client, NULL);
}

void hands_pair_close(struct hands_pair *pair)
{
	handshake_free(pair->client);
	handshake_free(pair->server);
	if (pair->client_fd >= 0)
		close(pair->client_fd);
	if (pair->server_fd >= 0)
		close(pair->server_fd);
}

void hands_pump(struct hands_pair *pair)
{
	for (int i = 0; i < ROUNDS; i++) {
		int waiting = 0;

		(void)handshake_step(pair->client);
		if (ioctl(pair->server_fd, FIONREAD, &waiting) == 0)
			pair->client_bytes += (size_t)waiting;
		(void)handshake_step(pair->server);
	}
}

void hands_pump_raw_client(struct hands_pair *pair, struct raw_tls *raw)
{
	for (int i = 0; i < ROUNDS; i++) {
		(void)raw_tls_step(raw);
		(void)handshake_step(pair->server);
	}
}

void hands_pump_raw_server(struct hands_pair *pair, struct raw_tls *raw)
{
	for (int i = 0; i < ROUNDS; i++) {
		(void)handshake_step(pair->client);
		(void)raw_tls_step(raw);
	}
}
