/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "audit_memory.h"
#include "auditor.h"
#include "config.h"
#include "expiring_clients.h"
#include "gatekeeper.h"
#include "portseal/aead.h"
#include "portseal/file.h"
#include "portseal/handshake.h"
#include "portseal/log.h"
#include "portseal/net.h"
#include "portseal/scoreboard.h"
#include "portseal/status_socket.h"
#include "portseal/supervisor.h"
#include "relay.h"
#include "worker.h"

#define EXIT_UNFORESEEN 1
#define EXIT_CONFIG 3

/* The generation in force, for the end of the process: only the supervisor's process sees it change. */
static struct relay *serving;

void serve_print_version(void)
{
	struct ps_cause cause;
	const bool chosen = aead_select(NULL, &cause) == PS_OK;

	printf("portseal-relay %s (mbedTLS %s, aead %s)\n", PS_VERSION, handshake_library_version(),
	       chosen ? aead_provider()->label() : "none");
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
	log_word(&line, "aead", aead_provider()->label());
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
		log_event(LOG_WARN, "old-library",
		          "mbedTLS %s is older than 3.6.6: its known faults need session resumption, which "
		          "Portseal never does; update it all the same",
		          handshake_library_version());
}

static void set_limits(const struct relay *relay)
{
	const struct scoreboard_config limits = { .connections = relay->config->limits.connections,
		                                      .connections_per_client = relay->config->limits.connections_per_client };

	if (!scoreboard_set_limits(relay->board, &limits))
		log_event(LOG_WARN, "no-effect",
		          "limits.connections_per_client was off at the start: it takes effect at the next");
}

/* The auditor is a process that is there or not; what it writes, and where, changes with the generation. */
static enum ps_err check_audit(const struct relay_audit *now, const struct relay_audit *next, struct ps_cause *cause)
{
	if ((now->file == NULL) != (next->file == NULL))
		return ps_cause_set(cause, PS_E_CONFIG, "audit: a reload cannot switch it %s: restart the relay",
		                    now->file == NULL ? "on" : "off");
	if (next->file != NULL && audit_file_probe(next->file, cause) != PS_OK)
		return ps_cause_prefix(cause, PS_E_CONFIG, "audit.file");
	return PS_OK;
}

static enum ps_err on_prepare(void *daemon, void **next, struct ps_cause *cause)
{
	const struct relay *relay = daemon;
	struct relay *prepared = NULL;
	enum ps_err err = relay_new(relay->config->path, relay, &prepared, cause);

	if (err == PS_OK && check_audit(&relay->config->audit, &prepared->config->audit, cause) != PS_OK) {
		relay_free(prepared);
		return PS_E_CONFIG;
	}
	if (err != PS_OK)
		return err;
	set_limits(prepared); /* its gatekeepers are forked with them */
	*next = prepared;
	return PS_OK;
}

static void on_commit(void *old, void *next)
{
	struct relay *relay = next;

	log_setup(relay->config->log.level, relay->config->log.format, STDERR_FILENO);
	relay_replace(old, relay);
	serving = relay;
}

static void on_abandon(void *next)
{
	set_limits(serving);
	relay_free(next);
}

static uint64_t on_fingerprint(void *daemon)
{
	const struct relay_config *config = ((const struct relay *)daemon)->config;
	uint64_t sum = FILE_FINGERPRINT;

	if (config->reload != RELOAD_ON_CHANGE)
		return 0;
	sum = file_fingerprint(sum, config->path);
	sum = file_fingerprint(sum, config->tls.certificate);
	sum = file_fingerprint(sum, config->tls.key);
	sum = file_fingerprint(sum, config->tls.client_ca);
	for (size_t i = 0; i < config->tls.crl.n; i++)
		sum = file_fingerprint(sum, config->tls.crl.at[i]);
	return sum == 0 ? 1 : sum;
}

static void on_status(void *daemon, struct text *text)
{
	const struct relay *relay = daemon;

	if (relay->audit_memory != NULL)
		audit_memory_tell(relay->audit_memory, relay->config->audit.file, text);
}

static int run(struct relay *relay, int status_fd)
{
	const struct relay_config *config = relay->config;
	struct supervisor_config supervisor = {
		.program = "portseal-relay",
		.n_gatekeepers = (unsigned)config->processes.gatekeepers,
		.n_workers = (unsigned)config->processes.workers,
		.run_gatekeeper = gatekeeper_run,
		.run_worker = worker_run,
		.run_auditor = config->audit.file != NULL ? auditor_run : NULL,
		.add_status = on_status,
		.daemon = relay,
		.board = relay->board,
		.drain_ms = config->timeouts.drain_ms,
		.drain_first = ROLE_GATEKEEPER,
		.on_ready = on_ready,
		.on_drain = on_drain,
		.prepare = on_prepare,
		.commit = on_commit,
		.abandon = on_abandon,
		.fingerprint = on_fingerprint,
		.status_fd = status_fd,
	};

	serving = relay;
	return supervisor_run(&supervisor);
}

/* Before anything is forked: all roles seal alike. */
static enum ps_err choose_aead(const char *aead, struct ps_cause *cause)
{
	const enum ps_err err = aead_select(aead, cause);

	if (err != PS_OK)
		return ps_cause_prefix(cause, err, "--aead");
	if (cause->text[0] != '\0')
		log_event(LOG_WARN, "aead-fallback", "%s: going on with %s", cause->text, aead_provider()->label());
	return PS_OK;
}

int serve_main(const char *config_path, const char *aead)
{
	struct relay *relay = NULL;
	struct scoreboard *board = NULL;
	struct message_rate *rate = NULL;
	struct message_count *count = NULL;
	struct expiring_clients *expiring = NULL;
	struct audit_memory *audit_memory = NULL;
	struct scoreboard_config limits;
	struct ps_cause cause;
	int status_fd = 0;
	int exit_code = EXIT_CONFIG;

	if (relay_new(config_path, NULL, &relay, &cause) != PS_OK)
		goto failed;
	log_setup(relay->config->log.level, relay->config->log.format, STDERR_FILENO);
	if (choose_aead(aead, &cause) != PS_OK)
		goto failed;
	if (relay->config->status != NULL && status_socket_open(relay->config->status, &status_fd, &cause) != PS_OK)
		goto failed;
	warn(relay->config);
	limits.connections = relay->config->limits.connections;
	limits.connections_per_client = relay->config->limits.connections_per_client;
	if (scoreboard_new(&limits, &board) != PS_OK || message_rate_new(&rate) != PS_OK ||
	    message_count_new((unsigned)relay->config->processes.workers, &count) != PS_OK ||
	    expiring_clients_new(&expiring) != PS_OK ||
	    (relay->config->audit.file != NULL && audit_memory_new(&audit_memory) != PS_OK)) {
		ps_cause_set(&cause, PS_E_NOMEM, "out of memory");
		exit_code = EXIT_UNFORESEEN;
		goto failed;
	}
	relay->board = board;
	relay->rate = rate;
	relay->count = count;
	relay->expiring = expiring;
	relay->audit_memory = audit_memory;
	exit_code = run(relay, status_fd);
	relay = serving;
	goto done;
failed:
	fprintf(stderr, "portseal-relay: %s\n", cause.text);
done:
	if (status_fd > 0)
		close(status_fd);
	relay_free(relay);
	scoreboard_free(board);
	message_rate_free(rate);
	message_count_free(count);
	expiring_clients_free(expiring);
	audit_memory_free(audit_memory);
	return exit_code;
}
