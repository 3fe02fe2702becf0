/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli -- what all subcommands do alike: options, help, the one line of an error and the exit code it means.
 */
#ifndef CERTS_CLI_H
#define CERTS_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "portseal/args.h"
#include "portseal/err.h"
#include "stamp.h"

enum cli_exit { CLI_OK = 0, CLI_UNFORESEEN = 1, CLI_USAGE = 2, CLI_OUR_FILES = 3 };

#define CLI_DEFAULT_DIR "pki"
#define CLI_SLACK_S 300 /* the clock of another host may be that slow */
#define CLI_LEAF_DAYS 365
#define CLI_AUTHORITY_DAYS 3650
#define CLI_CRL_DAYS 30

/* Rows that several commands share. */
#define CLI_DIR_ROW(dir) \
	{ \
		"dir", 'd', "DIR", "directory of the authority (default: " CLI_DEFAULT_DIR ")", &(dir), NULL \
	}
#define CLI_PASSWORD_ROW(file) \
	{ \
		"password-file", 0, "FILE", "first line is the password of ca.key", &(file), NULL \
	}
#define CLI_HELP_ROW(help_flag) \
	{ \
		"help", 'h', NULL, "print this help", &(help_flag), NULL \
	}
#define CLI_VALIDITY_ROWS(wish, default_text) \
	{ "days", 0, "N", "valid for so many days (default: " default_text ")", &(wish).days, NULL }, \
		{ "for", 0, "DURATION", "valid for 90s, 10m, 24h ... from now", &(wish).lasts, NULL }, \
		{ "not-before", 0, "TIME", "valid from this UTC time on: 20261122093307Z", &(wish).not_before, NULL }, \
	{ \
		"not-after", 0, "TIME", "valid until this UTC time", &(wish).not_after, NULL \
	}
#define CLI_LAST_ROW \
	{ \
		NULL, 0, NULL, NULL, NULL, NULL \
	}

/* The body of main(): finds the command and runs it. */
int cli_main(const struct args_command *commands, int argc, char *const *argv);

/* What a command line has to hold besides options. */
struct cli_form {
	const struct args_option *options;
	const char *const *help; /* where the --help row stores */
	const char *what;        /* "NAME", for the error that it is missing */
	size_t rest_min;
	size_t rest_max;
};

/* False: the command is done (help was printed, or the line was wrong) and *exit_code is what to return. */
bool cli_begin(const struct cli_form *form, int argc, char *const *argv, struct args_list *rest, int *exit_code);

/* Both print "portseal-certs: command: cause" and return the exit code. */
int cli_usage_error(const struct ps_cause *cause);
int cli_failed(enum ps_err err, const struct ps_cause *cause);

/* The commands; each returns an exit code. */
int command_init(int argc, char *const *argv);
int command_relay(int argc, char *const *argv);
int command_sender(int argc, char *const *argv);
int command_sign(int argc, char *const *argv);
int command_renew(int argc, char *const *argv);
int command_revoke(int argc, char *const *argv);
int command_crl(int argc, char *const *argv);
int command_list(int argc, char *const *argv);
int command_show(int argc, char *const *argv);

#endif
