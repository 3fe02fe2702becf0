/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "mbed.h"

#define PROGRAM "portseal-certs"

/* The command that is running, for its help and its errors. A process runs one. */
static const struct args_command *running;

static int print_error(const char *text, int exit_code)
{
	if (running != NULL)
		fprintf(stderr, PROGRAM ": %s: %s\n", running->name, text);
	else
		fprintf(stderr, PROGRAM ": %s\n", text);
	return exit_code;
}

int cli_usage_error(const struct ps_cause *cause)
{
	return print_error(cause->text, CLI_USAGE);
}

int cli_failed(enum ps_err err, const struct ps_cause *cause)
{
	bool unforeseen = err == PS_E_IO || err == PS_E_NOMEM || err == PS_E_BUG;
	return print_error(cause->text[0] != '\0' ? cause->text : ps_err_text(err),
	                   unforeseen ? CLI_UNFORESEEN : CLI_OUR_FILES);
}

bool cli_begin(const struct cli_form *form, int argc, char *const *argv, struct args_list *rest, int *exit_code)
{
	struct ps_cause cause = { "" };
	enum ps_err err = args_parse(form->options, argc, argv, rest, &cause);
	if (err == PS_OK && *form->help != NULL) {
		printf("usage: " PROGRAM " %s %s\n\n%s\n\n", running->name, running->usage, running->help);
		args_print_help(stdout, form->options);
		*exit_code = CLI_OK;
		return false;
	}
	if (err == PS_OK && rest->n < form->rest_min)
		err = ps_cause_set(&cause, PS_E_CONFIG, "%s is missing", form->what);
	if (err == PS_OK && rest->n > form->rest_max)
		err = ps_cause_set(&cause, PS_E_CONFIG, "\"%.60s\" is one argument too many", rest->at[form->rest_max]);
	if (err != PS_OK)
		*exit_code = cli_usage_error(&cause);
	return err == PS_OK;
}

static int print_help(const struct args_command *commands)
{
	printf("usage: " PROGRAM " COMMAND [OPTION]...\n\n"
	       "A small certificate authority in one directory.\n\n");
	args_print_commands(stdout, PROGRAM, commands);
	printf("\n" PROGRAM " COMMAND --help tells more.\n"
	       "Exit codes: 0 done, 1 unforeseen, 2 usage, 3 our own files or keys.\n");
	return CLI_OK;
}

int cli_main(const struct args_command *commands, int argc, char *const *argv)
{
	struct ps_cause cause = { "" };
	const char *name = argc > 1 ? argv[1] : NULL;
	if (name == NULL) {
		(void)ps_cause_set(&cause, PS_E_CONFIG, "a command is missing: see " PROGRAM " --help");
		return cli_usage_error(&cause);
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
		return print_help(commands);
	if (strcmp(name, "--version") == 0) {
		printf(PROGRAM " " PS_VERSION " (mbedTLS %s)\n", mbed_version());
		return CLI_OK;
	}

	const struct args_command *command = args_find_command(commands, name, &cause);
	if (command == NULL)
		return cli_usage_error(&cause);
	running = command;
	umask(077); /* every mode is set explicitly; this is for the moment between creating and setting */
	enum ps_err err = mbed_init(&cause);
	int exit_code = err == PS_OK ? command->run(argc - 1, argv + 1) : cli_failed(err, &cause);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		(void)ps_cause_set(&cause, PS_E_IO, "standard output cannot be written");
		return exit_code != CLI_OK ? exit_code : cli_failed(PS_E_IO, &cause);
	}
	return exit_code;
}
