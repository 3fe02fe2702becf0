/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "config.h"
#include "portseal/args.h"
#include "portseal/buf.h"

#define EXIT_BAD 1
#define EXIT_USAGE 2
#define EXIT_CONFIG 3
#define PATIENCE_MS 5000
#define STATUS_MAX 65536

static enum ps_err read_to_end(int fd, struct buf *answer)
{
	for (;;) {
		struct pollfd polled = { .fd = fd, .events = POLLIN };
		char part[4096];
		ssize_t got;

		if (poll(&polled, 1, PATIENCE_MS) <= 0 || buf_len(answer) > STATUS_MAX)
			return PS_E_TIMEOUT;
		got = read(fd, part, sizeof(part));
		if (got <= 0)
			return got == 0 ? PS_OK : PS_E_IO;
		if (buf_append(answer, part, (size_t)got) != PS_OK)
			return PS_E_NOMEM;
	}
}

static enum ps_err ask(const char *path, struct buf *answer, struct ps_cause *cause)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	enum ps_err err;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(un.sun_path)) {
		close(fd);
		return ps_cause_set(cause, PS_E_CONFIG, "status: the path is too long for a socket");
	}
	memcpy(un.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0)
		err = ps_cause_errno(cause, PS_E_IO, errno, "%s: the relay does not answer", path);
	else if ((err = read_to_end(fd, answer)) != PS_OK)
		ps_cause_set(cause, err, "%s: the relay did not finish its answer", path);
	if (fd >= 0)
		close(fd);
	return err;
}

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
	if (ask(config->status, &answer, &cause) != PS_OK)
		goto failed;
	if (buf_append(&answer, "", 1) != PS_OK) {
		ps_cause_set(&cause, PS_E_NOMEM, "out of memory");
		goto failed;
	}
	fputs((const char *)buf_front(&answer), stdout);
	if (strstr((const char *)buf_front(&answer), "\"state\":\"serving\"") != NULL &&
	    strstr((const char *)buf_front(&answer), "\"ok\":false") == NULL)
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
