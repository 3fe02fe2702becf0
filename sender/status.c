/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <stdio.h>

#include "config.h"
#include "outcome.h"
#include "portseal/args.h"
#include "portseal/buf.h"
#include "portseal/status_socket.h"
#include "usage.h"

static const char *const exit_codes = "Prints one JSON object: generation, last reload, roles.\n"
									  "\n"
									  "Exit codes:\n"
									  "  0  good\n"
									  "  1  not running, draining, or the last reload failed\n"
									  "  2  usage\n"
									  "  3  configuration\n";

static int ask(const char *path)
{
	struct buf answer = BUF_INIT;
	struct ps_cause cause;
	int code = OUTCOME_UNFORESEEN;

	if (status_socket_ask(path, &answer, &cause) != PS_OK) {
		fprintf(stderr, "%s: status: %s\n", PROGRAM, cause.text);
	} else {
		fputs((const char *)buf_front(&answer), stdout);
		if (status_socket_is_good((const char *)buf_front(&answer)))
			code = OUTCOME_DONE;
	}
	buf_release(&answer);
	return code;
}

int status_main(int argc, char *const *argv)
{
	struct config_options options = { 0 };
	struct sender_config *config = NULL;
	const char *help = NULL;
	const struct args_option table[] = {
		{ "config", 'c', "FILE", "the configuration that the tunnel runs with", &options.file, NULL },
		{ "help", 'h', NULL, "this text", &help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct ps_cause cause;
	int code = OUTCOME_OWN_SETUP;

	if (args_parse(table, argc, argv, NULL, &cause) != PS_OK)
		return usage_error("status: ", &cause);
	if (help != NULL) {
		usage_print("status -c FILE", "Asks a tunnel that runs how it is.", table, exit_codes);
		return OUTCOME_DONE;
	}
	if (options.file == NULL) {
		(void)ps_cause_set(&cause, PS_E_CONFIG, "no configuration given: use -c FILE");
		return usage_error("status: ", &cause);
	}
	if (config_load(&options, true, &config, &cause) == PS_OK && config->status == NULL)
		(void)ps_cause_set(&cause, PS_E_CONFIG, "%s has no status = \"PATH\" to ask at", options.file);
	if (config != NULL && config->status != NULL)
		code = ask(config->status);
	else
		fprintf(stderr, "%s: status: %s\n", PROGRAM, cause.text);
	config_free(config);
	return code;
}
