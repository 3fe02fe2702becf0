/* SPDX-License-Identifier: Apache-2.0 */
#include "gatekeeper.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "admission.h"
#include "audit_memory.h"
#include "expiry_watch.h"
#include "handoff.h"
#include "portseal/channel.h"
#include "portseal/credentials.h"
#include "portseal/handshake.h"
#include "portseal/linger.h"
#include "portseal/log.h"
#include "portseal/net.h"
#include "portseal/rest.h"
#include "portseal/trust.h"
#include "rejudge.h"
#include "relay.h"
#include "route.h"

#define ACCEPTS_PER_TURN 32
#define ACCEPT_PAUSE_MS 100
#define EXIT_CONFIG 3
#define EXIT_UNFORESEEN 1

struct gatekeeper {
	const struct role_env *env;
	struct relay *relay;
	uv_loop_t loop;
	struct credentials *credentials;
	struct trust *trust;
	struct route_protocols protocols;
	struct handshake_setup *setup;
	struct linger_set *linger;
	struct handoff handoff;
	struct admissions *admissions;
	struct expiry_watch expiry; /* of the first gatekeeper only */
	struct rejudge *rejudge;
	struct audit_client *audit; /* NULL: no audit is configured */
	uv_poll_t control;
	uv_poll_t listeners[RELAY_SOCKETS_MAX];
	uv_timer_t accept_pause;
	struct rest rest;
	uv_timer_t farewell; /* while draining: looks whether everything has ended */
	bool accept_paused;
	bool serving; /* its generation is in force */
	bool draining;
};

static void on_listener(uv_poll_t *poll, int status, int events);

static void watch_listeners(struct gatekeeper *gatekeeper)
{
	for (size_t i = 0; i < gatekeeper->relay->n_sockets; i++)
		uv_poll_start(&gatekeeper->listeners[i], UV_READABLE, on_listener);
}

static void on_pause_over(uv_timer_t *timer)
{
	struct gatekeeper *gatekeeper = timer->data;

	if (!gatekeeper->draining)
		watch_listeners(gatekeeper);
}

/* No descriptors or memory: who waits, waits in the kernel's queue. Said once for each episode. */
static void pause_accepting(struct gatekeeper *gatekeeper)
{
	if (!gatekeeper->accept_paused)
		log_event(LOG_WARN, "accept-paused", "no descriptors or memory left; trying again every %d ms",
		          ACCEPT_PAUSE_MS);
	gatekeeper->accept_paused = true;
	for (size_t i = 0; i < gatekeeper->relay->n_sockets; i++)
		uv_poll_stop(&gatekeeper->listeners[i]);
	uv_timer_start(&gatekeeper->accept_pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
	struct gatekeeper *gatekeeper = poll->data;
	const struct relay_socket *socket = &gatekeeper->relay->sockets[poll - gatekeeper->listeners];

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage peer;
		socklen_t peer_len = sizeof(peer);
		int fd;
		enum ps_err err = net_accept(socket->fd, &fd, &peer, &peer_len);

		if (err == PS_E_LIMIT || err == PS_E_NOMEM)
			pause_accepting(gatekeeper);
		if (err != PS_OK)
			return;
		if (gatekeeper->accept_paused)
			log_event(LOG_INFO, "accept-resumed", "descriptors and memory are there again");
		gatekeeper->accept_paused = false;
		rest_stir(&gatekeeper->rest);
		admissions_begin(gatekeeper->admissions, fd, (struct sockaddr *)&peer, peer_len, socket->service);
	}
}

/* On trial nobody is let in: by rules that may never be in force, or to be cut off when the trial fails. */
static void serve(struct gatekeeper *gatekeeper)
{
	if (gatekeeper->serving || gatekeeper->draining)
		return;
	gatekeeper->serving = true;
	watch_listeners(gatekeeper);
	rejudge_start(gatekeeper->rejudge);
}

static void on_farewell(uv_timer_t *timer)
{
	struct gatekeeper *gatekeeper = timer->data;

	if (admissions_count(gatekeeper->admissions) == 0 && linger_count(gatekeeper->linger) == 0)
		uv_stop(&gatekeeper->loop);
}

/* Accepts nothing more; those on their way in may finish. */
static void retire(struct gatekeeper *gatekeeper)
{
	if (gatekeeper->draining)
		return;
	gatekeeper->draining = true;
	uv_timer_stop(&gatekeeper->accept_pause);
	for (size_t i = 0; i < gatekeeper->relay->n_sockets; i++)
		uv_close((uv_handle_t *)&gatekeeper->listeners[i], NULL);
	relay_close_sockets(gatekeeper->relay);
	rejudge_stop(gatekeeper->rejudge);
	uv_timer_start(&gatekeeper->farewell, on_farewell, 0, 10);
}

/* The daemon ends: whoever has not even said hello is turned away. */
static void begin_drain(struct gatekeeper *gatekeeper)
{
	retire(gatekeeper);
	admissions_drain(gatekeeper->admissions);
}

static void on_control(uv_poll_t *poll, int status, int events)
{
	struct gatekeeper *gatekeeper = poll->data;
	uint8_t body[CHANNEL_MESSAGE_MAX];
	uint32_t type;
	uint32_t slot;
	size_t body_len;
	enum ps_err err;
	int fd;

	(void)status;
	(void)events;
	while ((err = channel_receive(gatekeeper->env->control, &type, body, &body_len, &fd)) == PS_OK) {
		if (fd >= 0)
			close(fd);
		if (type == ROLE_DRAIN)
			begin_drain(gatekeeper);
		if (type == ROLE_GENERATION)
			serve(gatekeeper);
		if (type == ROLE_RETIRE)
			retire(gatekeeper);
		if ((type == ROLE_SLOT_DOWN || type == ROLE_SLOT_UP) && body_len == sizeof(slot)) {
			memcpy(&slot, body, sizeof(slot));
			handoff_set_down(&gatekeeper->handoff, slot, type == ROLE_SLOT_DOWN);
		}
	}
	if (err == PS_E_CLOSED) {
		/* The supervisor is gone: nobody could restart or stop us. */
		uv_poll_stop(poll);
		begin_drain(gatekeeper);
	}
}

static enum ps_err load(struct gatekeeper *gatekeeper, struct ps_cause *cause)
{
	const struct relay_config *config = gatekeeper->relay->config;
	struct handshake_setup_config setup = { .role = TLS_SERVER };
	struct trust_config trust = config_trust(config);
	enum ps_err err;

	err = credentials_load(config->tls.certificate, config->tls.key, PURPOSE_SERVER, &gatekeeper->credentials, cause);
	if (err == PS_OK)
		err = trust_new(&trust, &gatekeeper->trust, cause);
	if (err == PS_OK && route_protocols_new(config, &gatekeeper->protocols) != PS_OK)
		err = ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	if (err != PS_OK)
		return err;
	setup.credentials = gatekeeper->credentials;
	setup.alpn = (const char *const *)gatekeeper->protocols.names;
	setup.n_alpn = gatekeeper->protocols.n;
	return handshake_setup_new(&setup, &gatekeeper->setup, cause);
}

/* This process's part of a limit that all gatekeepers share; what waits is not refused, so a rounded part serves. */
static size_t share(const struct gatekeeper *gatekeeper, uint64_t limit)
{
	uint64_t n = gatekeeper->relay->config->processes.gatekeepers;

	return (size_t)((limit + n - 1) / n);
}

static enum ps_err open_doors(struct gatekeeper *gatekeeper)
{
	const struct relay_config *config = gatekeeper->relay->config;
	struct admissions_config admissions = {
		.loop = &gatekeeper->loop,
		.config = config,
		.protocols = &gatekeeper->protocols,
		.setup = gatekeeper->setup,
		.trust = gatekeeper->trust,
		.handoff = &gatekeeper->handoff,
		.handshakes = share(gatekeeper, config->limits.handshakes),
		.handshakes_per_source = share(gatekeeper, config->limits.handshakes_per_source),
		.waiting = share(gatekeeper, config->limits.waiting),
	};
	enum ps_err err = linger_new(&gatekeeper->loop, &gatekeeper->linger);

	audit_memory_free(gatekeeper->relay->audit_memory);
	if (err == PS_OK)
		err = audit_client_new(&gatekeeper->loop, gatekeeper->env->audit, &gatekeeper->audit);
	admissions.audit = gatekeeper->audit;
	if (err == PS_OK && gatekeeper->env->index == 0)
		err = expiry_watch_start(&gatekeeper->expiry, &gatekeeper->loop, gatekeeper->credentials, gatekeeper->trust);
	if (err != PS_OK)
		return err;
	admissions.linger = gatekeeper->linger;
	admissions.expiring = gatekeeper->relay->expiring;
	err = admissions_new(&admissions, &gatekeeper->admissions);
	if (err != PS_OK)
		return err;
	return rejudge_new(&gatekeeper->loop, gatekeeper->env, config, gatekeeper->trust, &gatekeeper->rejudge);
}

static enum ps_err watch(struct gatekeeper *gatekeeper)
{
	if (uv_poll_init(&gatekeeper->loop, &gatekeeper->control, gatekeeper->env->control) != 0)
		return PS_E_IO;
	gatekeeper->control.data = gatekeeper;
	uv_poll_start(&gatekeeper->control, UV_READABLE, on_control);
	for (size_t i = 0; i < gatekeeper->relay->n_sockets; i++) {
		if (uv_poll_init(&gatekeeper->loop, &gatekeeper->listeners[i], gatekeeper->relay->sockets[i].fd) != 0)
			return PS_E_IO;
		gatekeeper->listeners[i].data = gatekeeper;
	}
	if (!gatekeeper->env->on_trial)
		serve(gatekeeper);
	return PS_OK;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void end(struct gatekeeper *gatekeeper)
{
	admissions_free(gatekeeper->admissions);
	audit_client_free(gatekeeper->audit);
	rejudge_stop(gatekeeper->rejudge);
	linger_free(gatekeeper->linger);
	uv_walk(&gatekeeper->loop, close_handle, NULL);
	uv_run(&gatekeeper->loop, UV_RUN_DEFAULT);
	uv_loop_close(&gatekeeper->loop);
	expiry_watch_clear(&gatekeeper->expiry);
	rejudge_free(gatekeeper->rejudge);
	handshake_setup_free(gatekeeper->setup);
	route_protocols_clear(&gatekeeper->protocols);
	trust_free(gatekeeper->trust);
	credentials_free(gatekeeper->credentials);
}

static int say_fatal(const struct gatekeeper *gatekeeper, const struct ps_cause *cause)
{
	if (channel_send(gatekeeper->env->control, ROLE_FATAL, cause->text, strlen(cause->text), -1) != PS_OK)
		log_event(LOG_ERROR, "role-failed", "gatekeeper: %s", cause->text);
	return EXIT_CONFIG;
}

/* A dump of this process would hold the private key. */
static void forbid_core_dumps(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
}

int gatekeeper_run(const struct role_env *env)
{
	struct gatekeeper *gatekeeper = calloc(1, sizeof(*gatekeeper));
	struct ps_cause cause = { "out of memory" };
	int exit_code = 0;

	if (gatekeeper == NULL || uv_loop_init(&gatekeeper->loop) != 0) {
		free(gatekeeper);
		return EXIT_UNFORESEEN;
	}
	gatekeeper->env = env;
	gatekeeper->relay = env->daemon;
	log_setup(gatekeeper->relay->config->log.level, gatekeeper->relay->config->log.format, STDERR_FILENO);
	relay_keep_own_sockets(gatekeeper->relay);
	forbid_core_dumps();
	handoff_init(&gatekeeper->handoff, env);
	uv_timer_init(&gatekeeper->loop, &gatekeeper->accept_pause);
	uv_timer_init(&gatekeeper->loop, &gatekeeper->farewell);
	rest_init(&gatekeeper->rest, &gatekeeper->loop);
	gatekeeper->accept_pause.data = gatekeeper;
	gatekeeper->farewell.data = gatekeeper;
	if (load(gatekeeper, &cause) != PS_OK || open_doors(gatekeeper) != PS_OK || watch(gatekeeper) != PS_OK)
		exit_code = say_fatal(gatekeeper, &cause);
	else if (channel_send(env->control, ROLE_READY, NULL, 0, -1) == PS_OK)
		uv_run(&gatekeeper->loop, UV_RUN_DEFAULT);
	end(gatekeeper);
	relay_close_sockets(gatekeeper->relay);
	free(gatekeeper);
	return exit_code;
}
