/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <inttypes.h>
#include <stdio.h>

#include "config.h"
#include "gatekeeper.h"
#include "portseal/handshake.h"
#include "portseal/log.h"
#include "portseal/net.h"
#include "portseal/scoreboard.h"
#include "portseal/supervisor.h"
#include "relay.h"
#include "worker.h"

#define EXIT_UNFORESEEN 1
#define EXIT_CONFIG 3

void serve_print_version(void)
{
	printf("portseal-relay %s (mbedTLS %s)\n", PS_VERSION, handshake_library_version());
}

static void on_ready(void *daemon)
{
	const struct relay *relay = daemon;
	struct log_line line;

	for (size_t i = 0; i < relay->n_sockets; i++) {
		const struct relay_socket *socket = &relay->sockets[i];

		log_begin(&line, LOG_INFO, 0, "listening");
		log_word(&line, "address", socket->address);
		if (socket->service != CONFIG_NO_SERVICE)
			log_word(&line, "service", config_services(relay->config)[socket->service].name);
		log_end(&line);
	}
	log_begin(&line, LOG_INFO, 0, "started");
	log_word(&line, "version", PS_VERSION);
	log_number(&line, "services", relay->config->services_list.n);
	log_number(&line, "gatekeepers", relay->config->processes.gatekeepers);
	log_number(&line, "workers", relay->config->processes.workers);
	log_end(&line);
}

static void on_drain(void *daemon)
{
	relay_close_sockets(daemon);
}

/* A connection in a worker holds two descriptors. */
static void warn_of_descriptors(const struct relay_config *config)
{
	uint64_t allowed = net_raise_nofile();
	uint64_t wanted = 2 * config->limits.connections / config->processes.workers + 64;

	if (allowed < wanted)
		log_event(LOG_WARN, "few-descriptors",
		          "%" PRIu64 " open files are allowed for each process, limits.connections wants %" PRIu64
		          ": raise the limit (ulimit -n, LimitNOFILE=) or lower limits.connections",
		          allowed, wanted);
}

static void warn(const struct relay_config *config)
{
	warn_of_descriptors(config);
	if (handshake_library_is_old())
		log_event(LOG_WARN, "old-library", "mbedTLS %s is older than 3.6.6: its known faults need session resumption, which "
		          "Portseal never does; update it all the same", handshake_library_version());
	if (config->timeouts.message_ms != 0)
		log_event(LOG_WARN, "no-effect", "timeouts.message has no effect yet: this version carries streams only");
}

static int run(struct relay *relay, struct scoreboard *board)
{
	const struct relay_config *config = relay->config;
	struct supervisor_config supervisor = {
		.program = "portseal-relay",
		.n_gatekeepers = (unsigned)config->processes.gatekeepers,
		.n_workers = (unsigned)config->processes.workers,
		.run_gatekeeper = gatekeeper_run,
		.run_worker = worker_run,
		.daemon = relay,
		.board = board,
		.drain_ms = config->timeouts.drain_ms,
		.drain_first = ROLE_GATEKEEPER,
		.on_ready = on_ready,
		.on_drain = on_drain,
	};

	return supervisor_run(&supervisor);
}

int serve_main(const char *config_path)
{
	struct relay_config *config = NULL;
	struct scoreboard *board = NULL;
	struct relay relay = { .n_sockets = 0 };
	struct scoreboard_config limits;
	struct ps_cause cause;
	int exit_code = EXIT_CONFIG;

	if (config_load(config_path, &config, &cause) != PS_OK)
		goto failed;
	relay.config = config;
	log_setup(config->log.level, config->log.format, 2);
	if (relay_listen(&relay, &cause) != PS_OK)
		goto failed;
	warn(config);
	limits.connections = config->limits.connections;
	limits.connections_per_client = config->limits.connections_per_client;
	if (scoreboard_new(&limits, &board) != PS_OK) {
		ps_cause_set(&cause, PS_E_NOMEM, "out of memory");
		exit_code = EXIT_UNFORESEEN;
		goto failed;
	}
	exit_code = run(&relay, board);
	goto done;
failed:
	fprintf(stderr, "portseal-relay: %s\n", cause.text);
done:
	relay_close_sockets(&relay);
	scoreboard_free(board);
	config_free(config);
	return exit_code;
}
