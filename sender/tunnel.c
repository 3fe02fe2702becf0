/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dialer.h"
#include "outcome.h"
#include "portseal/args.h"
#include "portseal/handshake.h"
#include "portseal/log.h"
#include "portseal/supervisor.h"
#include "portseal/text.h"
#include "usage.h"
#include "worker.h"

static const char *const exit_codes =
	"TERM and INT end it: what runs is finished within timeouts.drain; a second one ends it at once.\n"
	"\n"
	"Exit codes:\n"
	"  0  ended, and everything was finished\n"
	"  1  ended, and something was cut\n"
	"  2  usage\n"
	"  3  configuration, our own certificate or key, or an address that cannot be listened on\n";

void tunnel_close_listeners(struct tunnel_daemon *daemon)
{
	for (size_t i = 0; i < daemon->config->tunnels_list.n; i++) {
		struct tunnel_listener *listener = &daemon->listeners[i];

		while (listener->n_fds > 0)
			close(listener->fds[--listener->n_fds]);
	}
}

void tunnel_free(struct tunnel_daemon *daemon)
{
	if (daemon->listeners != NULL)
		tunnel_close_listeners(daemon);
	free(daemon->listeners);
	daemon->listeners = NULL;
	config_free(daemon->config);
	daemon->config = NULL;
}

static void on_drain(void *owner)
{
	tunnel_close_listeners(owner);
}

/* Where port 0 was asked for, the one that the system chose. */
static void listen_text(const struct address *listen, const struct tunnel_listener *listener,
                        char out[static ADDRESS_TEXT_MAX])
{
	struct sockaddr_storage bound;
	socklen_t bound_len = sizeof(bound);

	if (listen->kind == ADDRESS_TCP && listen->port == 0 && listener->n_fds > 0 &&
	    getsockname(listener->fds[0], (struct sockaddr *)&bound, &bound_len) == 0)
		address_text((const struct sockaddr *)&bound, bound_len, out);
	else
		address_print(listen, out);
}

static void on_ready(void *owner)
{
	const struct tunnel_daemon *daemon = owner;
	const struct sender_config *config = daemon->config;
	const struct sender_tunnel *tunnels = config_tunnels(config);
	char listen[ADDRESS_TEXT_MAX];
	char relay[ADDRESS_TEXT_MAX];
	struct log_line line;

	address_print(&config_relay(config)->address, relay);
	for (size_t i = 0; i < config->tunnels_list.n; i++) {
		listen_text(&tunnels[i].listen, &daemon->listeners[i], listen);
		log_begin(&line, LOG_INFO, 0, "listening");
		log_word(&line, "address", listen);
		log_word(&line, "service", tunnels[i].service);
		log_word(&line, "relay", relay);
		log_end(&line);
	}
	log_begin(&line, LOG_INFO, 0, "started");
	log_word(&line, "version", PS_VERSION);
	log_word(&line, "mbedtls", handshake_library_version());
	log_number(&line, "gatekeepers", config->processes.gatekeepers);
	log_number(&line, "workers", config->processes.workers);
	log_end(&line);
}

static enum ps_err listen_all(struct tunnel_daemon *daemon, struct ps_cause *cause)
{
	const size_t n = daemon->config->tunnels_list.n;
	enum ps_err err = PS_OK;

	daemon->listeners = calloc(n, sizeof(*daemon->listeners));
	if (daemon->listeners == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < n && err == PS_OK; i++)
		err = net_listen(&config_tunnels(daemon->config)[i].listen, daemon->listeners[i].fds,
		                 &daemon->listeners[i].n_fds, cause);
	return err;
}

/* A stale socket would look to the next client as if somebody were listening. */
static void remove_unix_sockets(const struct sender_config *config)
{
	for (size_t i = 0; i < config->tunnels_list.n; i++)
		if (config_tunnels(config)[i].listen.kind == ADDRESS_UNIX)
			(void)unlink(config_tunnels(config)[i].listen.path);
}

static int serve(struct tunnel_daemon *daemon)
{
	const struct sender_config *config = daemon->config;
	const struct supervisor_config supervisor = {
		.program = PROGRAM,
		.n_gatekeepers = (unsigned)config->processes.gatekeepers,
		.n_workers = (unsigned)config->processes.workers,
		.run_gatekeeper = dialer_run,
		.run_worker = worker_run,
		.daemon = daemon,
		.drain_ms = config->timeouts.drain_ms,
		.drain_first = ROLE_WORKER,
		.on_ready = on_ready,
		.on_drain = on_drain,
	};
	struct ps_cause cause;

	log_setup(config->log.level, config->log.format, STDERR_FILENO);
	(void)net_raise_nofile();
	if (listen_all(daemon, &cause) != PS_OK) {
		fprintf(stderr, "%s: %s\n", PROGRAM, cause.text);
		return OUTCOME_OWN_SETUP;
	}
	if (handshake_library_is_old())
		log_event(LOG_WARN, "old-library", "mbedTLS %s has known holes that a relay could use: install 3.6.6 or newer",
		          handshake_library_version());
	const int code = supervisor_run(&supervisor);
	remove_unix_sockets(config);
	return code;
}

static int run(const struct config_options *options)
{
	struct tunnel_daemon daemon = { 0 };
	struct outcome outcome;
	struct ps_cause cause;

	if (config_load(options, true, &daemon.config, &cause) != PS_OK) {
		outcome_set(&outcome, options->file == NULL ? OUTCOME_USAGE : OUTCOME_OWN_SETUP, "%s", cause.text);
		usage_print_failure(&outcome);
		return (int)outcome.code;
	}
	const int code = serve(&daemon);
	tunnel_free(&daemon);
	return code;
}

int tunnel_main(int argc, char *const *argv)
{
	struct config_options options = { 0 };
	const char *help = NULL;
	const struct args_option table[] = {
		USAGE_RELAY_ROWS(&options),
		{ "listen", 0, "ADDRESS", "listen here: HOST:PORT or unix:PATH", &options.listen, NULL },
		{ "service", 0, "NAME", "the service at the relay; without it any TLS server will do", &options.service, NULL },
		{ "help", 'h', NULL, "this text", &help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct ps_cause cause;

	if (args_parse(table, argc, argv, NULL, &cause) != PS_OK)
		return usage_error("tunnel: ", &cause);
	if (help != NULL) {
		usage_print("tunnel -c FILE | --listen ADDRESS --relay HOST:PORT [--service NAME]",
		            "Listens on local addresses and carries each connection to the relay, sealed.", table, exit_codes);
		return OUTCOME_DONE;
	}
	return run(&options);
}
