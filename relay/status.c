/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <stdio.h>

#include "config.h"
#include "portseal/args.h"
#include "portseal/buf.h"
#include "portseal/status_socket.h"

#define EXIT_BAD 1
#define EXIT_USAGE 2
#define EXIT_CONFIG 3

static int status(const char *config_path)
{
	struct relay_config *config = NULL;
	struct buf answer = BUF_INIT;
	struct ps_cause cause;
	int exit_code = EXIT_CONFIG;

	if (config_load(config_path, &config, &cause) != PS_OK)
		goto failed;
	if (config->status == NULL) {
		ps_cause_set(&cause, PS_E_CONFIG, "%s has no status = \"PATH\" to ask at", config_path);
		goto failed;
	}
	exit_code = EXIT_BAD;
	if (status_socket_ask(config->status, &answer, &cause) != PS_OK)
		goto failed;
	fputs((const char *)buf_front(&answer), stdout);
	if (status_socket_is_good((const char *)buf_front(&answer)))
		exit_code = 0;
	goto done;
failed:
	fprintf(stderr, "portseal-relay: status: %s\n", cause.text);
done:
	buf_release(&answer);
	config_free(config);
	return exit_code;
}

int status_main(int argc, char *const *argv)
{
	const char *config = NULL;
	const char *help = NULL;
	const struct args_option options[] = {
		{ "config", 'c', "FILE", "the configuration the relay runs with", &config, NULL },
		{ "help", 'h', NULL, "print this and exit", &help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct ps_cause cause;

	if (args_parse(options, argc, argv, NULL, &cause) != PS_OK) {
		fprintf(stderr, "portseal-relay: status: %s\n", cause.text);
		return EXIT_USAGE;
	}
	if (help != NULL) {
		printf("usage: portseal-relay status -c FILE\n\n");
		args_print_help(stdout, options);
		printf("\nPrints one JSON object: generation, last reload, roles, connections. Exit codes: 0 good, 1 not\n"
		       "running, draining, or the last reload failed, 2 usage, 3 configuration.\n");
		return 0;
	}
	if (config == NULL) {
		fprintf(stderr, "portseal-relay: status: no configuration given: use -c FILE\n");
		return EXIT_USAGE;
	}
	return status(config);
}
