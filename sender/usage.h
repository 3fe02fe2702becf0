/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage -- what the subcommands have in common on the command line, and the one line on stderr with which one fails.
 */
#ifndef PORTSEAL_SENDER_USAGE_H
#define PORTSEAL_SENDER_USAGE_H

#include "config.h"
#include "outcome.h"
#include "portseal/args.h"

#define PROGRAM "portseal-sender"

/* Rows of an option table that fill a struct config_options. */
#define USAGE_RELAY_ROWS(options) \
	{ "config", 'c', "FILE", "read the configuration from FILE; options win over it", &(options)->file, NULL }, \
		{ "relay", 0, "HOST:PORT", "the relay", &(options)->relay, NULL }, \
		{ "server-name", 0, "NAME", "the name in the relay's certificate (default: HOST)", &(options)->server_name, NULL }, \
		{ "cert", 0, "FILE", "our certificate", &(options)->certificate, NULL }, \
		{ "key", 0, "FILE", "our private key", &(options)->key, NULL }, \
		{ "ca", 0, "FILE", "the authority that signed the relay's certificate", &(options)->relay_ca, NULL }, \
	{ \
		"aead", 0, "NAME", "seal records with: auto (the fastest), ipsec-mb, psa", &(options)->aead, NULL \
	}

#define USAGE_SERVICE_ROW(options) \
	{ \
		"service", 0, "NAME", "the service at the relay; without it any TLS server will do", &(options)->service, NULL \
	}

/* "portseal-sender: PREFIXcause"; returns OUTCOME_USAGE. */
int usage_error(const char *prefix, const struct ps_cause *cause);

/* Puts the AEAD in force that --aead named, or the fastest. The cause of OUTCOME_DONE is empty, or worth a warning; any
 * other code has been told on stderr, with `prefix`. */
enum outcome_code usage_select_aead(const char *prefix, const char *aead, struct ps_cause *cause) PS_MUST_CHECK;

void usage_print_failure(const struct outcome *outcome);

/* The help of a subcommand; `tail` is printed behind the options. */
void usage_print(const char *synopsis, const char *purpose, const struct args_option *options, const char *tail);

#endif
