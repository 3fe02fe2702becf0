/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portseal-relay -- accepts sealed connections, judges who they are, and forwards to local applications.
 */
#include <stdio.h>

#include "audit.h"
#include "check.h"
#include "explain.h"
#include "portseal/aead.h"
#include "portseal/args.h"
#include "serve.h"
#include "status.h"

#define EXIT_USAGE 2

static const struct args_command commands[] = {
	{ "audit", "verify FILE...", "find every line of an audit trail that is not as it was written", audit_main },
	{ "check", "-c FILE", "judge the configuration and its files without starting", check_main },
	{ "explain", "-c FILE --cert FILE [--service NAME]", "say whether a certificate may reach a service, and why",
	  explain_main },
	{ "status", "-c FILE", "ask a running relay for its generation, its last reload and its roles", status_main },
	{ NULL, NULL, NULL, NULL },
};

static void print_help(const struct args_option *options)
{
	printf("usage: portseal-relay -c FILE\n"
	       "       portseal-relay COMMAND ...\n\n"
	       "Accepts TLS 1.3 connections with client certificates and forwards what they carry to local\n"
	       "applications. Runs in the foreground and logs to stderr. HUP reloads; TERM and INT drain, a\n"
	       "second one ends at once.\n\n");
	args_print_help(stdout, options);
	printf("\n");
	args_print_commands(stdout, "portseal-relay", commands);
}

int main(int argc, char **argv)
{
	const char *config = NULL;
	const char *aead = NULL;
	const char *help = NULL;
	const char *version = NULL;
	const struct args_option options[] = {
		{ "config", 'c', "FILE", "read the configuration from FILE", &config, NULL },
		{ "aead", 0, "NAME", "seal records with: auto (the fastest), ipsec-mb, psa", &aead, NULL },
		{ "help", 'h', NULL, "print this and exit", &help, NULL },
		{ "version", 'V', NULL, "print the version and exit", &version, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	const struct args_command *command;
	struct ps_cause cause;

	if (argc > 1 && argv[1][0] != '-') {
		command = args_find_command(commands, argv[1], &cause);
		if (command != NULL)
			return command->run(argc - 1, argv + 1);
		fprintf(stderr, "portseal-relay: %s\n", cause.text);
		return EXIT_USAGE;
	}
	if (args_parse(options, argc, argv, NULL, &cause) != PS_OK) {
		fprintf(stderr, "portseal-relay: %s\n", cause.text);
		return EXIT_USAGE;
	}
	if (help != NULL) {
		print_help(options);
		return 0;
	}
	if (version != NULL) {
		serve_print_version();
		return 0;
	}
	if (aead != NULL && !aead_is_choice(aead)) {
		fprintf(stderr, "portseal-relay: --aead: \"%s\" is not auto, ipsec-mb or psa\n", aead);
		return EXIT_USAGE;
	}
	if (config == NULL) {
		fprintf(stderr, "portseal-relay: no configuration given: use -c FILE (--help tells more)\n");
		return EXIT_USAGE;
	}
	return serve_main(config, aead);
}
