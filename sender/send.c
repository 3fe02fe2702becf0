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
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "config.h"
#include "dial.h"
#include "portseal/aead.h"
#include "portseal/args.h"
#include "portseal/text.h"
#include "send_pump.h"
#include "usage.h"

struct send_options {
	struct config_options config;
	const char *verbose;
	const char *help;
	struct args_list files;
};

/* One message on its way. */
struct sending {
	struct sender_config *config;
	struct dial_setup *setup;
	bool verbose;
	int input_fd;
	const char *input_name;
	uint64_t started_ms;
	bool dialled;
	struct dial_result dial;
	struct outcome outcome;
};

static const char *const exit_codes =
	"FILE is the payload; without one, or with \"-\", stdin is. The reply goes to stdout.\n"
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
	"  8  over a limit: size, rate\n";

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

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

/* Runs the dial on a loop of its own. */
static void dial_relay(struct sending *sending)
{
	const struct dial_config config = {
		.setup = sending->setup,
		.service = sending->config->service,
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
	if (sending->config->service != NULL)
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
	say(sending, "took %" PRIu64 " ms", now_ms() - sending->started_ms);
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

static void prepare_and_deliver(struct sending *sending, const struct config_options *options)
{
	struct ps_cause cause;

	if (config_load(options, false, &sending->config, &cause) != PS_OK) {
		outcome_set(&sending->outcome, options->file == NULL ? OUTCOME_USAGE : OUTCOME_OWN_SETUP, "%s", cause.text);
		return;
	}
	if (options->timeout != NULL)
		config_cap_steps(sending->config);
	deliver(sending);
}

static int run(const struct send_options *options)
{
	struct sending sending = {
		.verbose = options->verbose != NULL, .input_fd = -1, .started_ms = now_ms(), .dial = { .fd = -1 }
	};

	if (open_input(&sending, &options->files))
		prepare_and_deliver(&sending, &options->config);
	config_free(sending.config);
	if (sending.input_fd > STDIN_FILENO)
		close(sending.input_fd);
	if (sending.outcome.code != OUTCOME_DONE)
		usage_print_failure(&sending.outcome);
	return (int)sending.outcome.code;
}

int send_main(int argc, char *const *argv)
{
	struct send_options options = { 0 };
	const struct args_option table[] = {
		USAGE_RELAY_ROWS(&options.config),
		USAGE_SERVICE_ROW(&options.config),
		{ "timeout", 0, "TIME", "give up when nothing moves for so long (30s)", &options.config.timeout, NULL },
		{ "verbose", 'v', NULL, "one line on stderr for each step", &options.verbose, NULL },
		{ "help", 'h', NULL, "this text", &options.help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct ps_cause cause;

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
	(void)signal(SIGPIPE, SIG_IGN);
	return run(&options);
}
