/* SPDX-License-Identifier: Apache-2.0 */
/*
 * args -- command lines from a table: the same rows parse the options and print the help.
 *
 * Never:  exits or prints on its own; the program's main does.
 */
#ifndef PORTSEAL_ARGS_H
#define PORTSEAL_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "portseal/err.h"

struct args_option {
	const char *name;       /* long name without dashes: "relay" */
	char letter;            /* 'c' for -c, or 0 */
	const char *metavar;    /* "HOST:PORT", or NULL for a flag */
	const char *help;       /* one line */
	const char **value;     /* set to the (borrowed) argument, for a flag to ""; may be NULL if `list` is set */
	struct args_list *list; /* repeatable option: appended here */
};

#define ARGS_LIST_MAX 64

struct args_list {
	const char *at[ARGS_LIST_MAX];
	size_t n;
};

/* Parses argv[1..] against the table (ends with a row whose name is NULL): --name VALUE, --name=VALUE, -c VALUE,
 * `--` ends options, "-" is a positional. A VALUE that begins with a dash needs the form --name=VALUE. Tables have at
 * most 64 rows. Positionals go to `rest` in order (NULL: none are taken); --help and --version are rows like any
 * other. PS_E_CONFIG with a one-line cause: unknown option (nearest suggested), missing value, value for a flag,
 * option given twice (unless it has a list), too many positionals. */
enum ps_err args_parse(const struct args_option *options, int argc, char *const *argv, struct args_list *rest,
                       struct ps_cause *cause) PS_MUST_CHECK;

/* Prints the table aligned: "  -c, --config FILE   read the configuration from FILE". */
void args_print_help(FILE *out, const struct args_option *options);

struct args_command {
	const char *name;
	const char *usage; /* "NAME [--dns D]..." */
	const char *help;
	int (*run)(int argc, char *const *argv); /* argv[0] is the command's name; returns the exit code */
};

/* The row of that name, or NULL with a cause that suggests the nearest. The table ends with a NULL name. */
const struct args_command *args_find_command(const struct args_command *commands, const char *name,
                                             struct ps_cause *cause);

void args_print_commands(FILE *out, const char *program, const struct args_command *commands);

#endif
