/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel.h"

#include <stdio.h>
#include <unistd.h>

#include "briefing.h"
#include "dialer.h"
#include "generation.h"
#include "outcome.h"
#include "portseal/aead.h"
#include "portseal/args.h"
#include "portseal/handshake.h"
#include "portseal/log.h"
#include "portseal/net.h"
#include "portseal/scoreboard.h"
#include "portseal/status_socket.h"
#include "portseal/supervisor.h"
#include "usage.h"
#include "worker.h"

static const char *const exit_codes =
	"TERM and INT end it: what runs is finished within timeouts.drain; a second one ends it at once. HUP loads\n"
	"configuration, certificate, key and authority anew: whole, or nothing changes (see status).\n"
	"\n"
	"Exit codes:\n"
	"  0  ended, and everything was finished\n"
	"  1  ended, and something was cut\n"
	"  2  usage\n"
	"  3  configuration, our own certificate or key, or an address that cannot be listened on\n";

/* The generation in force, for the end of the process: only the supervisor's process sees it change. */
static struct generation *serving;

static void on_ready(void *daemon)
{
	const struct generation *generation = daemon;
	const struct sender_config *config = generation->config;
	const struct sender_tunnel *tunnels = config_tunnels(config);
	char listen[ADDRESS_TEXT_MAX];
	char relay[ADDRESS_TEXT_MAX];
	struct log_line line;

	address_print(&config_relay(config)->address, relay);
	for (uint32_t i = 0; i < config->tunnels_list.n; i++) {
		generation_listen_text(generation, i, listen);
		log_begin(&line, LOG_INFO, 0, "listening");
		log_word(&line, "address", listen);
		log_word(&line, "service", tunnels[i].service);
		log_word(&line, "relay", relay);
		log_end(&line);
	}
	log_begin(&line, LOG_INFO, 0, "started");
	log_word(&line, "version", PS_VERSION);
	log_word(&line, "mbedtls", handshake_library_version());
	log_word(&line, "aead", aead_provider()->label());
	log_number(&line, "gatekeepers", config->processes.gatekeepers);
	log_number(&line, "workers", config->processes.workers);
	log_end(&line);
}

static void on_drain(void *daemon)
{
	generation_close_sockets(daemon);
}

static enum ps_err on_prepare(void *daemon, void **next, struct ps_cause *cause)
{
	const struct generation *generation = daemon;
	struct generation *prepared = NULL;
	const enum ps_err err = generation_new(&generation->options, generation, &prepared, cause);

	if (err == PS_OK)
		*next = prepared;
	return err;
}

static void on_commit(void *old, void *next)
{
	struct generation *generation = next;

	log_setup(generation->config->log.level, generation->config->log.format, STDERR_FILENO);
	generation_replace(old, generation);
	serving = generation;
}

static void on_abandon(void *next)
{
	generation_discard(next);
}

static uint64_t on_fingerprint(void *daemon)
{
	return config_fingerprint(((const struct generation *)daemon)->config);
}

static enum ps_err brief_worker(void *daemon, uint32_t number, int control)
{
	struct briefing briefing;

	briefing_of(daemon, number, &briefing);
	return briefing_send(control, &briefing);
}

static int run_roles(struct generation *generation, struct scoreboard *board, int status_fd)
{
	const struct sender_config *config = generation->config;
	const struct supervisor_config supervisor = {
		.program = PROGRAM,
		.n_gatekeepers = (unsigned)config->processes.gatekeepers,
		.n_workers = (unsigned)config->processes.workers,
		.run_gatekeeper = dialer_run,
		.run_worker = worker_run,
		.daemon = generation,
		.board = board,
		.drain_ms = config->timeouts.drain_ms,
		.drain_first = ROLE_WORKER,
		.on_ready = on_ready,
		.on_drain = on_drain,
		.prepare = on_prepare,
		.commit = on_commit,
		.abandon = on_abandon,
		.fingerprint = on_fingerprint,
		.brief_worker = brief_worker,
		.status_fd = status_fd,
	};

	return supervisor_run(&supervisor);
}

static int run_counted(struct generation *generation, int status_fd)
{
	const struct scoreboard_config no_limits = { .connections = UINT64_MAX };
	struct scoreboard *board = NULL;

	serving = generation;
	if (scoreboard_new(&no_limits, &board) != PS_OK) {
		fprintf(stderr, "%s: %s\n", PROGRAM, ps_err_text(PS_E_NOMEM));
		return OUTCOME_OWN_SETUP;
	}
	const int code = run_roles(generation, board, status_fd);
	scoreboard_free(board);
	return code;
}

static int serve(struct generation *generation, const char *aead_warning)
{
	const struct sender_config *config = generation->config;
	struct ps_cause cause;
	int status_fd = 0;

	log_setup(config->log.level, config->log.format, STDERR_FILENO);
	(void)net_raise_nofile();
	if (config->status != NULL && status_socket_open(config->status, &status_fd, &cause) != PS_OK) {
		fprintf(stderr, "%s: %s\n", PROGRAM, cause.text);
		generation_discard(generation);
		return OUTCOME_OWN_SETUP;
	}
	if (aead_warning[0] != '\0')
		log_event(LOG_WARN, "aead-fallback", "%s: going on with %s", aead_warning, aead_provider()->label());
	if (handshake_library_is_old())
		log_event(LOG_WARN, "old-library", "mbedTLS %s has known holes that a relay could use: install 3.6.6 or newer",
		          handshake_library_version());
	const int code = run_counted(generation, status_fd);
	if (status_fd > 0)
		close(status_fd);
	generation_discard(serving);
	return code;
}

static int run(const struct config_options *options, const char *aead_warning)
{
	struct generation *generation = NULL;
	struct outcome outcome;
	struct ps_cause cause;

	const enum ps_err err = generation_new(options, NULL, &generation, &cause);
	if (err == PS_OK)
		return serve(generation, aead_warning);
	outcome_set(&outcome, err == PS_E_CONFIG && options->file == NULL ? OUTCOME_USAGE : OUTCOME_OWN_SETUP, "%s",
	            cause.text);
	usage_print_failure(&outcome);
	return (int)outcome.code;
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
	const enum outcome_code code = usage_select_aead("tunnel: ", options.aead, &cause);
	return code != OUTCOME_DONE ? (int)code : run(&options, cause.text);
}
