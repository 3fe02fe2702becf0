/* SPDX-License-Identifier: Apache-2.0 */
#include "send.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "config.h"
#include "dial.h"
#include "portseal/aead.h"
#include "portseal/args.h"
#include "portseal/clock.h"
#include "portseal/text.h"
#include "portseal/units.h"
#include "send_many.h"
#include "send_post.h"
#include "send_pump.h"
#include "send_result.h"
#include "spool/command.h"
#include "spool/send_spool.h"
#include "usage.h"

#define IN_FLIGHT 16

struct send_options {
	struct config_options config;
	const char *spool;
	const char *wait;
	uint64_t wait_ms;
	const char *verbose;
	const char *help;
	const char *key;
	const char *receipt;
	const char *each_line;
	const char *length_prefixed;
	const char *in_flight;
	const char *json;
	struct args_list files;
};

/* One message on its way. */
struct sending {
	struct sender_config *config;
	struct dial_setup *setup;
	const struct send_options *options;
	bool verbose;
	uint64_t in_flight;
	int input_fd;
	const char *input_name;
	uint64_t started_ms;
	bool dialled;
	struct dial_result dial;
	struct outcome outcome;
};

static const char *const exit_codes =
	"FILE is the payload; without one, or with \"-\", stdin is. The reply goes to stdout.\n"
	"With --each-line or --length-prefixed it holds many messages; results, in the order of the input, go to stderr,\n"
	"replies to stdout, and the exit code is the highest of all.\n"
	"\n"
	"Exit codes:\n"
	"  0  delivered, and the reply is complete\n"
	"  1  something unforeseen, such as a reply that stdout does not take\n"
	"  2  usage, or a FILE that cannot be read\n"
	"  3  our own configuration, certificate or key\n"
	"  4  relay not reached: name, refused, timed out, unreachable, not TLS\n"
	"  5  the relay is not who it should be: its certificate was refused by us\n"
	"  6  refused by the relay: our certificate or our right to that service\n"
	"  7  the relay could not deliver: application down, reset, timed out\n"
	"  8  over a limit: size, rate, or a full spool\n"
	"  75 kept in the spool, to be delivered later\n";

static void say(const struct sending *sending, const char *format, ...) PS_PRINTF(2, 3);

/* A line of -v. */
static void say(const struct sending *sending, const char *format, ...)
{
	struct ps_cause line;
	char text[PS_CAUSE_MAX];
	va_list args;

	if (!sending->verbose)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)ps_cause_set(&line, PS_OK, "%s", text);
	fprintf(stderr, "%s: %s\n", PROGRAM, line.text);
}

static void on_dialled(void *owner, const struct dial_result *result)
{
	struct sending *sending = owner;

	sending->dial = *result;
	sending->dialled = true;
}

static bool is_many(const struct send_options *options)
{
	return options->each_line != NULL || options->length_prefixed != NULL;
}

/* What only a message can have. */
static bool needs_message(const struct send_options *options)
{
	return is_many(options) || options->key != NULL || options->receipt != NULL;
}

/* Without a service, or where the operator wants plain TLS, the peer may be any TLS server. */
static enum dial_offer offer_of(const struct sending *sending)
{
	if (needs_message(sending->options) || sending->config->protocol == SENDER_PROTOCOL_H2)
		return DIAL_OFFER_H2;
	if (sending->config->service == NULL || sending->config->protocol == SENDER_PROTOCOL_TLS)
		return DIAL_OFFER_TLS;
	return DIAL_OFFER_BOTH;
}

/* Runs the dial on a loop of its own. */
static void dial_relay(struct sending *sending)
{
	const struct dial_config config = {
		.setup = sending->setup,
		.service = sending->config->service,
		.offer = offer_of(sending),
		.on_done = on_dialled,
		.owner = sending,
	};
	struct dial_config started = config;
	struct dial *dial = NULL;
	uv_loop_t loop;

	if (uv_loop_init(&loop) != 0) {
		outcome_set(&sending->outcome, OUTCOME_UNFORESEEN, "cannot start: no event loop");
		return;
	}
	started.loop = &loop;
	sending->dial.fd = -1;
	sending->dialled = false;
	if (dial_new(&started, &dial) != PS_OK) {
		outcome_set(&sending->outcome, OUTCOME_UNFORESEEN, "out of memory");
	} else {
		while (!sending->dialled)
			(void)uv_run(&loop, UV_RUN_ONCE);
		sending->outcome = sending->dial.outcome;
	}
	(void)uv_run(&loop, sending->outcome.code == OUTCOME_DONE ? UV_RUN_DEFAULT : UV_RUN_NOWAIT);
	/* A resolver that hangs cannot be called back; its thread would keep the process from ending. */
	if (uv_loop_close(&loop) != 0) {
		usage_print_failure(&sending->outcome);
		_exit((int)sending->outcome.code);
	}
}

static void say_dialled(const struct sending *sending)
{
	const struct suite *suite = suite_find(sending->dial.secrets.suite);
	char relay[TEXT_QUOTED_MAX];
	char service[TEXT_QUOTED_MAX];

	say(sending, "connected to %s", sending->dial.peer);
	say(sending, "TLS 1.3 with %s, the relay is \"%s\"", suite->name, text_escaped(relay, sending->dial.relay));
	if (sending->dial.h2)
		say(sending, "HTTP/2");
	else if (sending->config->service != NULL)
		say(sending, "the relay has the service \"%s\"", text_escaped(service, sending->config->service));
}

static void pump(struct sending *sending)
{
	char relay_text[ADDRESS_TEXT_MAX];
	struct send_pump_report report;
	struct tls_stream *stream = NULL;
	const enum ps_err err = tls_stream_new(TLS_CLIENT, &sending->dial.secrets, &stream);

	ps_wipe(&sending->dial.secrets, sizeof(sending->dial.secrets));
	if (err != PS_OK) {
		outcome_set(&sending->outcome, OUTCOME_UNFORESEEN, "the record layer could not begin: %s", ps_err_text(err));
		return;
	}
	address_print(&config_relay(sending->config)->address, relay_text);
	const struct send_pump_config config = {
		.relay_fd = sending->dial.fd,
		.stream = stream,
		.input_fd = sending->input_fd,
		.output_fd = STDOUT_FILENO,
		.input_name = sending->input_name,
		.timeout_ms = sending->config->timeouts.progress_ms,
		.names = {
			.relay = relay_text,
			.server_name = config_relay(sending->config)->server_name,
			.service = sending->config->service,
		},
	};
	send_pump_run(&config, &report);
	tls_stream_free(stream);
	sending->outcome = report.outcome;
	say(sending, "sent %" PRIu64 " bytes", report.sent);
	say(sending, "received %" PRIu64 " bytes of reply", report.received);
	say(sending, "took %" PRIu64 " ms", clock_now_ms() - sending->started_ms);
}

static struct outcome_names names_of(const struct sending *sending, char relay_text[static ADDRESS_TEXT_MAX])
{
	address_print(&config_relay(sending->config)->address, relay_text);
	return (struct outcome_names){
		.relay = relay_text,
		.server_name = config_relay(sending->config)->server_name,
		.service = sending->config->service,
	};
}

/* The message was delivered: a receipt that cannot be written does not change that, but must be heard of. */
static void keep_receipt(struct sending *sending, const struct outcome_names *names, const struct post_result *result)
{
	struct ps_cause cause;

	if (!result->has_receipt)
		return;
	say(sending, "receipt %s", result->receipt.id);
	if (sending->options->receipt != NULL &&
	    send_result_write_receipt(sending->options->receipt, names, result, &cause) != PS_OK &&
	    sending->outcome.code == OUTCOME_DONE)
		outcome_set(&sending->outcome, OUTCOME_UNFORESEEN, "it was delivered, but its receipt is not kept: %s",
		            cause.text);
}

static void post_one(struct sending *sending)
{
	char relay_text[ADDRESS_TEXT_MAX];
	struct post_result result;
	const struct send_post_config config = {
		.dial = &sending->dial,
		.names = names_of(sending, relay_text),
		.timeout_ms = sending->config->timeouts.progress_ms,
		.input_fd = sending->input_fd,
		.input_name = sending->input_name,
		.output_fd = STDOUT_FILENO,
		.key = sending->options->key,
	};

	send_post_run(&config, &result);
	sending->dial.fd = -1;
	sending->outcome = result.outcome;
	say(sending, "sent %" PRIu64 " bytes", result.sent);
	say(sending, "received %" PRIu64 " bytes of reply", result.reply_len);
	keep_receipt(sending, &config.names, &result);
	say(sending, "took %" PRIu64 " ms", clock_now_ms() - sending->started_ms);
}

static void post_many(struct sending *sending)
{
	char relay_text[ADDRESS_TEXT_MAX];
	struct send_many *many = NULL;
	struct outcome outcome;
	const struct send_many_config config = {
		.framing = sending->options->each_line != NULL ? SEND_MANY_LINES : SEND_MANY_PREFIXED,
		.names = names_of(sending, relay_text),
		.timeout_ms = sending->config->timeouts.progress_ms,
		.in_flight = (unsigned)sending->in_flight,
		.json = sending->options->json != NULL,
		.progress = sending->options->json == NULL && isatty(STDERR_FILENO) == 1,
		.input_fd = sending->input_fd,
		.input_name = sending->input_name,
		.output_fd = STDOUT_FILENO,
	};

	if (send_many_new(&config, &many) != PS_OK) {
		outcome_set(&sending->outcome, OUTCOME_UNFORESEEN, "cannot start: no memory or descriptors");
		return;
	}
	while (sending->outcome.code == OUTCOME_DONE && send_many_run(many, &sending->dial)) {
		sending->dial.fd = -1;
		dial_relay(sending);
	}
	if (sending->outcome.code == OUTCOME_DONE)
		sending->dial.fd = -1;
	send_many_finish(many, &outcome);
	if (sending->outcome.code == OUTCOME_DONE || outcome.code > sending->outcome.code)
		sending->outcome = outcome;
}

static void deliver(struct sending *sending)
{
	struct ps_cause cause;
	const enum ps_err err = dial_setup_new(sending->config, &sending->setup, &cause);

	if (err != PS_OK) {
		outcome_set(&sending->outcome, err == PS_E_NOMEM ? OUTCOME_UNFORESEEN : OUTCOME_OWN_SETUP, "%s", cause.text);
		return;
	}
	dial_relay(sending);
	if (sending->outcome.code == OUTCOME_DONE) {
		say_dialled(sending);
		if (is_many(sending->options))
			post_many(sending);
		else if (sending->dial.h2)
			post_one(sending);
		else
			pump(sending);
	}
	if (sending->dial.fd >= 0)
		close(sending->dial.fd);
	dial_setup_free(sending->setup);
}

/* Opened before anything is dialled: a typing error shall not cost a connection. */
static bool open_input(struct sending *sending, const struct args_list *files)
{
	char quoted[TEXT_QUOTED_MAX];
	struct stat status;

	sending->input_fd = STDIN_FILENO;
	sending->input_name = "stdin";
	if (files->n == 1 && strcmp(files->at[0], "-") != 0) {
		sending->input_name = files->at[0];
		sending->input_fd = open(files->at[0], O_RDONLY | O_CLOEXEC | O_NOCTTY);
	}
	if (sending->input_fd < 0 || fstat(sending->input_fd, &status) != 0) {
		outcome_set(&sending->outcome, OUTCOME_USAGE, "%s: cannot be read: %s",
		            text_escaped(quoted, sending->input_name), strerror(errno));
		return false;
	}
	if (S_ISDIR(status.st_mode)) {
		outcome_set(&sending->outcome, OUTCOME_USAGE, "%s: is a directory: give a file, or - for stdin",
		            text_escaped(quoted, sending->input_name));
		return false;
	}
	return true;
}

/* What asks for a message must be able to be one. */
static bool check_message(struct sending *sending)
{
	if (!needs_message(sending->options))
		return true;
	if (sending->config->service == NULL)
		outcome_set(
			&sending->outcome, OUTCOME_USAGE,
			"no service given: use --service NAME; messages with keys, receipts or in numbers are for a service");
	else if (sending->config->protocol == SENDER_PROTOCOL_TLS)
		outcome_set(&sending->outcome, OUTCOME_USAGE,
		            "protocol = \"tls\" knows no messages: keys, receipts and many at once need HTTP/2");
	return sending->outcome.code == OUTCOME_DONE;
}

static void prepare_and_deliver(struct sending *sending, const struct config_options *options)
{
	struct ps_cause cause;

	if (config_load(options, false, &sending->config, &cause) != PS_OK) {
		outcome_set(&sending->outcome, options->file == NULL ? OUTCOME_USAGE : OUTCOME_OWN_SETUP, "%s", cause.text);
		return;
	}
	if (options->timeout != NULL)
		config_cap_steps(sending->config);
	if (check_message(sending))
		deliver(sending);
}

/* The message is kept, with its id on stdout; another process delivers it. */
static void keep_in_spool(struct sending *sending, const struct send_options *options)
{
	struct send_spool_config config = {
		.input_fd = sending->input_fd,
		.input_name = sending->input_name,
		.wait_ms = options->wait_ms,
		.verbose = sending->verbose,
	};

	if (command_load(&options->config, &sending->config, &sending->outcome) != PS_OK)
		return;
	config.config = sending->config;
	send_spool(&config, &sending->outcome);
}

static int run(const struct send_options *options, uint64_t in_flight)
{
	struct sending sending = {
		.options = options,
		.verbose = options->verbose != NULL,
		.in_flight = in_flight,
		.input_fd = -1,
		.started_ms = clock_now_ms(),
		.dial = { .fd = -1 },
	};

	if (open_input(&sending, &options->files) && options->spool != NULL)
		keep_in_spool(&sending, options);
	else if (sending.outcome.code == OUTCOME_DONE)
		prepare_and_deliver(&sending, &options->config);
	config_free(sending.config);
	if (sending.input_fd > STDIN_FILENO)
		close(sending.input_fd);
	if (sending.outcome.code != OUTCOME_DONE && sending.outcome.code != OUTCOME_KEPT)
		usage_print_failure(&sending.outcome);
	return (int)sending.outcome.code;
}

/* What belongs together, and what does not. */
static enum ps_err check_options(const struct send_options *options, uint64_t *in_flight, struct ps_cause *cause)
{
	const char *framing = options->each_line != NULL ? "--each-line" : "--length-prefixed";

	if (options->each_line != NULL && options->length_prefixed != NULL)
		return ps_cause_set(cause, PS_E_CONFIG, "either --each-line or --length-prefixed");
	if (!is_many(options) && (options->in_flight != NULL || options->json != NULL))
		return ps_cause_set(cause, PS_E_CONFIG, "%s is for --each-line and --length-prefixed",
		                    options->in_flight != NULL ? "--in-flight" : "--json");
	if (is_many(options) && (options->key != NULL || options->receipt != NULL))
		return ps_cause_set(cause, PS_E_CONFIG, "%s is for one message: not with %s",
		                    options->key != NULL ? "--idempotency-key" : "--receipt", framing);
	if (options->key != NULL && !post_is_key(options->key))
		return ps_cause_set(cause, PS_E_CONFIG,
		                    "--idempotency-key: 1 to %d visible ASCII characters, without quote and backslash",
		                    POST_KEY_MAX);
	if (options->in_flight == NULL)
		return PS_OK;
	if (units_parse_count(options->in_flight, 1, SEND_MANY_IN_FLIGHT_MAX, in_flight, cause) != PS_OK)
		return ps_cause_prefix(cause, PS_E_CONFIG, "--in-flight");
	return PS_OK;
}

/* What an option of a message that is sent now is called; NULL: none was given. */
static const char *only_for_now(const struct send_options *options)
{
	return options->key != NULL               ? "--idempotency-key"
	       : options->receipt != NULL         ? "--receipt"
	       : options->each_line != NULL       ? "--each-line"
	       : options->length_prefixed != NULL ? "--length-prefixed"
	                                          : NULL;
}

int send_main(int argc, char *const *argv)
{
	struct send_options options = { 0 };
	const struct args_option table[] = {
		USAGE_RELAY_ROWS(&options.config),
		USAGE_SERVICE_ROW(&options.config),
		{ "timeout", 0, "TIME", "give up when nothing moves for so long (30s)", &options.config.timeout, NULL },
		{ "protocol", 0, "NAME", "auto, h2 (a message or nothing) or tls (a plain stream)", &options.config.protocol,
		  NULL },
		{ "idempotency-key", 0, "KEY", "a repeat with this key is not delivered again", &options.key, NULL },
		{ "receipt", 0, "FILE", "write the receipt to FILE (JSON)", &options.receipt, NULL },
		{ "each-line", 0, NULL, "every line of the input is a message", &options.each_line, NULL },
		{ "length-prefixed", 0, NULL, "every message stands behind its length, 4 bytes, big-endian",
		  &options.length_prefixed, NULL },
		{ "in-flight", 0, "N", "so many of them at once (16)", &options.in_flight, NULL },
		{ "json", 0, NULL, "their results as JSON, one a line", &options.json, NULL },
		{ "spool", 0, NULL, "keep it in the spool, print its id, and let `run` deliver it", &options.spool, NULL },
		{ "wait", 0, "TIME", "with --spool: wait so long for its delivery", &options.wait, NULL },
		{ "verbose", 'v', NULL, "one line on stderr for each step", &options.verbose, NULL },
		{ "help", 'h', NULL, "this text", &options.help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct ps_cause cause;
	uint64_t in_flight = IN_FLIGHT;

	if (args_parse(table, argc, argv, &options.files, &cause) != PS_OK)
		return usage_error("send: ", &cause);
	if (options.help != NULL) {
		usage_print("send [-c FILE] [--relay HOST:PORT] [--service NAME] [FILE | -]",
		            "Delivers a payload to an application behind a relay and prints the reply.", table, exit_codes);
		return OUTCOME_DONE;
	}
	if (options.files.n > 1) {
		(void)ps_cause_set(&cause, PS_E_CONFIG, "one FILE at most: what comes behind \"%s\" is too much",
		                   options.files.at[0]);
		return usage_error("send: ", &cause);
	}
	const enum outcome_code code = usage_select_aead("send: ", options.config.aead, &cause);
	if (code != OUTCOME_DONE)
		return (int)code;
	if (cause.text[0] != '\0')
		fprintf(stderr, "%s: warning: %s: going on with %s\n", PROGRAM, cause.text, aead_provider()->label());
	if (check_options(&options, &in_flight, &cause) != PS_OK ||
	    send_spool_check(options.spool != NULL, options.wait, only_for_now(&options), &options.wait_ms, &cause) !=
	        PS_OK)
		return usage_error("send: ", &cause);
	(void)signal(SIGPIPE, SIG_IGN);
	return run(&options, in_flight);
}
