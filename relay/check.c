/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "portseal/args.h"
#include "portseal/credentials.h"
#include "portseal/net.h"
#include "portseal/trust.h"

#define EXIT_USAGE 2
#define EXIT_CONFIG 3
#define SECONDS_PER_DAY 86400
#define SOON_DAYS 30

/* Both end in the text of the failure; true when somebody accepted the connection. */
static bool connect_to(const struct sockaddr *to, socklen_t to_len, int timeout_ms, struct ps_cause *cause)
{
	struct pollfd polled = { .fd = -1, .events = POLLOUT };
	bool connected = false;

	if (net_connect(to, to_len, &polled.fd, cause) != PS_OK)
		return false;
	if (poll(&polled, 1, timeout_ms) <= 0)
		ps_cause_set(cause, PS_E_TIMEOUT, "no answer within %d ms", timeout_ms);
	else
		connected = net_connect_result(polled.fd, cause) == PS_OK;
	close(polled.fd);
	return connected;
}

static bool reach_tcp(const struct address *address, int timeout_ms, struct ps_cause *cause)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	bool reached = false;
	char port[8];
	int status;

	snprintf(port, sizeof(port), "%u", address->port);
	status = getaddrinfo(address->host, port, &hints, &list);
	if (status != 0) {
		ps_cause_set(cause, PS_E_IO, "%s", gai_strerror(status));
		return false;
	}
	for (const struct addrinfo *at = list; at != NULL && !reached; at = at->ai_next)
		reached = connect_to(at->ai_addr, at->ai_addrlen, timeout_ms, cause);
	freeaddrinfo(list);
	return reached;
}

static bool reach(const struct address *address, int timeout_ms, struct ps_cause *cause)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (address->kind == ADDRESS_TCP)
		return reach_tcp(address, timeout_ms, cause);
	memcpy(un.sun_path, address->path, sizeof(un.sun_path));
	return connect_to((struct sockaddr *)&un, sizeof(un), timeout_ms, cause);
}

static unsigned check_targets(const struct relay_config *config)
{
	unsigned warnings = 0;

	for (size_t i = 0; i < config->services_list.n; i++) {
		const struct relay_service *service = &config_services(config)[i];
		char target[ADDRESS_TEXT_MAX];
		struct ps_cause cause;

		if (reach(&service->target, (int)config->timeouts.connect_ms, &cause))
			continue;
		address_print(&service->target, target);
		printf("warning: service %s: its target %s does not answer: %s\n", service->name, target, cause.text);
		warnings++;
	}
	return warnings;
}

static unsigned check_expiry(const struct relay_config *config, const struct credentials *credentials)
{
	int64_t left = (credentials_not_after(credentials) - (int64_t)time(NULL)) / SECONDS_PER_DAY;

	if (left > SOON_DAYS)
		return 0;
	printf("warning: %s: the certificate expires in %" PRId64 " days\n", config->tls.certificate, left);
	return 1;
}

static enum ps_err load_trust(const struct relay_config *config, struct trust **trust, struct ps_cause *cause)
{
	struct trust_config from = config_trust(config);

	return trust_new(&from, trust, cause);
}

static int check(const char *path)
{
	struct relay_config *config = NULL;
	struct credentials *credentials = NULL;
	struct trust *trust = NULL;
	struct ps_cause cause;
	unsigned warnings = 0;
	int exit_code = EXIT_CONFIG;

	if (config_load(path, &config, &cause) != PS_OK ||
	    credentials_load(config->tls.certificate, config->tls.key, PURPOSE_SERVER, &credentials, &cause) != PS_OK ||
	    load_trust(config, &trust, &cause) != PS_OK) {
		fprintf(stderr, "portseal-relay: %s\n", cause.text);
		goto done;
	}
	warnings += check_expiry(config, credentials);
	warnings += check_targets(config);
	printf("%s: good: %zu listeners, %zu services, %zu trust anchors, %u warnings\n", path, config->listeners_list.n,
	       config->services_list.n, trust_n_anchors(trust), warnings);
	exit_code = 0;
done:
	trust_free(trust);
	credentials_free(credentials);
	config_free(config);
	return exit_code;
}

int check_main(int argc, char *const *argv)
{
	const char *config = NULL;
	const char *help = NULL;
	const struct args_option options[] = {
		{ "config", 'c', "FILE", "the configuration to check", &config, NULL },
		{ "help", 'h', NULL, "print this and exit", &help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct ps_cause cause;

	if (args_parse(options, argc, argv, NULL, &cause) != PS_OK) {
		fprintf(stderr, "portseal-relay: check: %s\n", cause.text);
		return EXIT_USAGE;
	}
	if (help != NULL) {
		printf("usage: portseal-relay check -c FILE\n\n");
		args_print_help(stdout, options);
		return 0;
	}
	if (config == NULL) {
		fprintf(stderr, "portseal-relay: check: no configuration given: use -c FILE\n");
		return EXIT_USAGE;
	}
	return check(config);
}
