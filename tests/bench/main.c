/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portseal-load -- the load generator and the backend of `make bench`: cheap, and it believes no byte that it has not
 * compared.
 *
 *     portseal-load MODE --port N [--connections N] [--size BYTES] [--rate N] [--ms N] [--down]
 *
 * Never:  leaves this host: it connects to and listens on 127.0.0.1 only.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <signal.h>

#include "clock.h"
#include "load.h"
#include "pattern.h"

static const struct {
	const char *name;
	int (*run)(const struct load_options *options);
} modes[] = {
	{ "backend", load_backend }, { "kept", load_kept }, { "new", load_new },
	{ "rate", load_rate },       { "bulk", load_bulk }, { "hold", load_hold },
};

static int usage(void)
{
	fprintf(stderr, "usage: portseal-load backend|kept|new|rate|bulk|hold --port N [--connections N] [--size BYTES] "
	                "[--rate N] [--ms N] [--down]\n");
	return 2;
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	char *end;
	errno = 0;
	const unsigned long long parsed = strtoull(text, &end, 10);
	if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || parsed < min || parsed > max)
		return false;
	*value = parsed;
	return true;
}

static bool take_option(int option, const char *text, struct load_options *options)
{
	uint64_t value = 0;
	switch (option) {
	case 'p':
		if (!number(text, 0, UINT16_MAX, &value))
			return false;
		options->address.sin_port = htons((uint16_t)value);
		return true;
	case 'c':
		if (!number(text, 1, 100000, &value))
			return false;
		options->connections = (uint32_t)value;
		return true;
	case 's':
		if (!number(text, sizeof(uint64_t), LOAD_SIZE_MAX, &value))
			return false;
		options->size = (uint32_t)value;
		return true;
	case 'r':
		if (!number(text, 1, 10000000, &value))
			return false;
		options->rate = (uint32_t)value;
		return true;
	case 'm':
		if (!number(text, 1, 3600000, &value))
			return false;
		options->duration_ns = value * CLOCK_MS;
		return true;
	case 'd':
		options->down = true;
		return true;
	default:
		return false;
	}
}

static void raise_descriptors(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "connections", required_argument, NULL, 'c' },
		{ "size", required_argument, NULL, 's' },
		{ "rate", required_argument, NULL, 'r' },
		{ "ms", required_argument, NULL, 'm' },
		{ "down", no_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	struct load_options options = {
		.address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
		.connections = 1,
		.size = 100,
		.rate = 1000,
		.duration_ns = CLOCK_SECOND,
	};
	int option;
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (!take_option(option, optarg, &options))
			return usage();
	}
	if (optind != argc - 1)
		return usage();
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing of a bench outlives it */
	raise_descriptors();
	pattern_init();
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(argv[optind], modes[i].name) == 0)
			return modes[i].run(&options);
	}
	return usage();
}
