/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portseal-sender -- carries plain traffic of this host to a relay, sealed by mutual TLS 1.3.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "doctor.h"
#include "portseal/aead.h"
#include "portseal/handshake.h"
#include "send.h"
#include "spool/queue.h"
#include "spool/run.h"
#include "status.h"
#include "tunnel.h"
#include "usage.h"

static const struct args_command commands[] = {
	{ "send", "[FILE | -]", "deliver one payload and print the reply", send_main },
	{ "tunnel", "-c FILE", "listen on local ports and carry each connection", tunnel_main },
	{ "status", "-c FILE", "how the tunnel that runs is: generation, last reload, roles", status_main },
	{ "run", "-c FILE", "deliver what send --spool has kept", run_main },
	{ "queue", "list | show | retry | drop", "look at what is kept, and decide about it", queue_main },
	{ "doctor", "-c FILE [--json]", "go the way hop by hop: where does it end, and what helps", doctor_main },
	{ NULL, NULL, NULL, NULL },
};

static void print_help(void)
{
	printf("usage: %s COMMAND [OPTION]...\n\n", PROGRAM);
	args_print_commands(stdout, PROGRAM, commands);
	printf("\n  --help      this text; behind a COMMAND, that of the command\n  --version   print the version\n");
}

/* Where one of the three is closed, the next socket would take its number, and a reply or a log line would go there. In
 * its place stands a descriptor that fails for what it would be used for. */
static void occupy_standard_descriptors(void)
{
	static const int useless[] = { O_WRONLY, O_RDONLY, O_WRONLY };
	int fd;

	for (int at = STDIN_FILENO; at <= STDERR_FILENO; at++)
		if (fcntl(at, F_GETFD) < 0 && (fd = open("/dev/null", useless[at])) >= 0 && fd != at)
			(void)close(fd);
}

int main(int argc, char **argv)
{
	const struct args_command *command;
	struct ps_cause cause;

	occupy_standard_descriptors();
	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_help();
		return OUTCOME_DONE;
	}
	if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
		const bool chosen = aead_select(NULL, &cause) == PS_OK;
		printf("%s %s (mbedTLS %s, aead %s)\n", PROGRAM, PS_VERSION, handshake_library_version(),
		       chosen ? aead_provider()->label() : "none");
		return OUTCOME_DONE;
	}
	if (argc < 2) {
		(void)ps_cause_set(&cause, PS_E_CONFIG, "a command is missing: see %s --help", PROGRAM);
		return usage_error("", &cause);
	}
	command = args_find_command(commands, argv[1], &cause);
	if (command == NULL)
		return usage_error("", &cause);
	return command->run(argc - 1, argv + 1);
}
