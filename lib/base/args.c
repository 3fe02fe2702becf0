/* SPDX-License-Identifier: Apache-2.0 */
/*
 * args -- command lines from a table: the same rows parse the options and print the help.
 *
 * Never:  exits or prints on its own; the program's main does.
 */
#include "portseal/args.h"

#include <assert.h>
#include <string.h>

#include "portseal/text.h"

#define ROWS_MAX 64 /* options or commands in one table */
#define COLUMNS 100

/* Where parsing is: the argument being looked at and the options seen so far. */
struct parser {
	const struct args_option *options;
	char *const *argv;
	int argc;
	int at;
	bool seen[ROWS_MAX];
	struct ps_cause *cause;
};

static enum ps_err unknown_option(const struct parser *parser, const char *name, size_t name_len)
{
	const char *names[ROWS_MAX + 1];
	size_t n = 0;
	for (const struct args_option *option = parser->options; option->name != NULL; option++) {
		assert(n < ROWS_MAX);
		names[n++] = option->name;
	}
	names[n] = NULL;

	char word[TEXT_QUOTED_MAX];
	struct text text;
	text_init(&text, word, sizeof(word));
	text_add_bytes(&text, name, name_len);
	char dashed[TEXT_QUOTED_MAX];
	text_init(&text, dashed, sizeof(dashed));
	text_addf(&text, "--%s", word);
	char quoted[TEXT_QUOTED_MAX];
	const char *nearest = text_nearest(word, names);
	if (nearest == NULL)
		return ps_cause_set(parser->cause, PS_E_CONFIG, "unknown option %s", text_quoted(quoted, dashed));
	return ps_cause_set(parser->cause, PS_E_CONFIG, "unknown option %s, did you mean --%s?",
	                    text_quoted(quoted, dashed), nearest);
}

/* Notes the option as seen and stores its value ("" for a flag). */
static enum ps_err store(struct parser *parser, const struct args_option *option, const char *value)
{
	const size_t row = (size_t)(option - parser->options);
	assert(row < ROWS_MAX);
	if (option->list != NULL) {
		if (option->list->n == ARGS_LIST_MAX)
			return ps_cause_set(parser->cause, PS_E_CONFIG, "--%s is given more than %d times", option->name,
			                    ARGS_LIST_MAX);
		option->list->at[option->list->n++] = value;
		return PS_OK;
	}
	if (parser->seen[row])
		return ps_cause_set(parser->cause, PS_E_CONFIG, "--%s is given twice", option->name);
	parser->seen[row] = true;
	*option->value = value;
	return PS_OK;
}

/* Takes the value behind `=`, or the next argument. That one may not look like an option: a forgotten value is more
 * likely, and --name=-value stays possible. */
static enum ps_err take(struct parser *parser, const struct args_option *option, const char *inline_value)
{
	if (option->metavar == NULL) {
		if (inline_value != NULL)
			return ps_cause_set(parser->cause, PS_E_CONFIG, "--%s takes no value", option->name);
		return store(parser, option, "");
	}
	if (inline_value != NULL)
		return store(parser, option, inline_value);

	const char *next = parser->at + 1 < parser->argc ? parser->argv[parser->at + 1] : NULL;
	if (next == NULL || (next[0] == '-' && next[1] != '\0'))
		return ps_cause_set(parser->cause, PS_E_CONFIG, "--%s needs a value: %s", option->name, option->metavar);
	parser->at++;
	return store(parser, option, next);
}

static enum ps_err parse_long(struct parser *parser, const char *name)
{
	const char *equals = strchr(name, '=');
	const size_t name_len = equals != NULL ? (size_t)(equals - name) : strlen(name);
	for (const struct args_option *option = parser->options; option->name != NULL; option++)
		if (strlen(option->name) == name_len && memcmp(option->name, name, name_len) == 0)
			return take(parser, option, equals != NULL ? equals + 1 : NULL);
	return unknown_option(parser, name, name_len);
}

static enum ps_err parse_letter(struct parser *parser, const char *argument)
{
	for (const struct args_option *option = parser->options; option->name != NULL; option++)
		if (option->letter != '\0' && option->letter == argument[1] && argument[2] == '\0')
			return take(parser, option, NULL);
	char quoted[TEXT_QUOTED_MAX];
	return ps_cause_set(parser->cause, PS_E_CONFIG, "unknown option %s", text_quoted(quoted, argument));
}

static enum ps_err add_positional(struct parser *parser, struct args_list *rest, const char *argument)
{
	if (rest != NULL && rest->n < ARGS_LIST_MAX) {
		rest->at[rest->n++] = argument;
		return PS_OK;
	}
	char quoted[TEXT_QUOTED_MAX];
	return ps_cause_set(parser->cause, PS_E_CONFIG, "%s is one argument too many", text_quoted(quoted, argument));
}

enum ps_err args_parse(const struct args_option *options, int argc, char *const *argv, struct args_list *rest,
                       struct ps_cause *cause)
{
	struct parser parser = { .options = options, .argv = argv, .argc = argc, .at = 1, .cause = cause };
	bool options_ended = false;
	for (; parser.at < argc; parser.at++) {
		const char *argument = argv[parser.at];
		enum ps_err err = PS_OK;
		if (options_ended || argument[0] != '-' || argument[1] == '\0')
			err = add_positional(&parser, rest, argument);
		else if (strcmp(argument, "--") == 0)
			options_ended = true;
		else if (argument[1] == '-')
			err = parse_long(&parser, argument + 2);
		else
			err = parse_letter(&parser, argument);
		if (err != PS_OK)
			return err;
	}
	return PS_OK;
}

/* "--config FILE" without its help: returns how many columns it takes. */
static int label_width(const struct args_option *option)
{
	const size_t metavar = option->metavar != NULL ? strlen(option->metavar) + 1 : 0;
	return (int)(strlen(option->name) + metavar);
}

/* Prints `text` from column `indent` on, where the cursor is, in lines that end before COLUMNS where words allow it. */
static void print_wrapped(FILE *out, int indent, const char *text)
{
	const size_t room = indent < COLUMNS ? (size_t)(COLUMNS - indent) : 1;

	while (strlen(text) > room) {
		size_t len = room;

		while (len > 0 && text[len] != ' ')
			len--;
		if (len == 0)
			len = strcspn(text, " ");
		if (text[len] == '\0')
			break;
		fprintf(out, "%.*s\n%*s", (int)len, text, indent, "");
		text += len + 1;
	}
	fprintf(out, "%s\n", text);
}

void args_print_help(FILE *out, const struct args_option *options)
{
	int widest = 0;
	for (const struct args_option *option = options; option->name != NULL; option++)
		if (label_width(option) > widest)
			widest = label_width(option);
	for (const struct args_option *option = options; option->name != NULL; option++) {
		if (option->letter != '\0')
			fprintf(out, "  -%c, --%s", option->letter, option->name);
		else
			fprintf(out, "      --%s", option->name);
		if (option->metavar != NULL)
			fprintf(out, " %s", option->metavar);
		fprintf(out, "%*s   ", widest - label_width(option), "");
		print_wrapped(out, (int)strlen("  -x, --   ") + widest, option->help);
	}
}

const struct args_command *args_find_command(const struct args_command *commands, const char *name,
                                             struct ps_cause *cause)
{
	const char *names[ROWS_MAX + 1];
	size_t n = 0;
	for (const struct args_command *command = commands; command->name != NULL; command++) {
		if (strcmp(command->name, name) == 0)
			return command;
		assert(n < ROWS_MAX);
		names[n++] = command->name;
	}
	names[n] = NULL;

	char quoted[TEXT_QUOTED_MAX];
	const char *nearest = text_nearest(name, names);
	if (nearest == NULL)
		(void)ps_cause_set(cause, PS_E_CONFIG, "unknown command %s", text_quoted(quoted, name));
	else
		(void)ps_cause_set(cause, PS_E_CONFIG, "unknown command %s, did you mean %s?", text_quoted(quoted, name),
		                   nearest);
	return NULL;
}

/* Columns of "program name usage". */
static int command_width(const char *program, const struct args_command *command)
{
	return (int)(strlen(program) + 1 + strlen(command->name) + 1 + strlen(command->usage));
}

void args_print_commands(FILE *out, const char *program, const struct args_command *commands)
{
	int widest = 0;
	int widest_help = 0;
	for (const struct args_command *command = commands; command->name != NULL; command++) {
		if (command_width(program, command) > widest)
			widest = command_width(program, command);
		if ((int)strlen(command->help) > widest_help)
			widest_help = (int)strlen(command->help);
	}
	for (const struct args_command *command = commands; command->name != NULL; command++) {
		fprintf(out, "  %s %s %s", program, command->name, command->usage);
		if (2 + widest + 3 + widest_help <= COLUMNS)
			fprintf(out, "%*s   %s\n", widest - command_width(program, command), "", command->help);
		else
			fprintf(out, "\n      %s\n", command->help);
	}
}
