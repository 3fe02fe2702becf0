/* SPDX-License-Identifier: Apache-2.0 */
/* args: one table parses and explains a command line. */
#include "portseal/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *config;
static const char *relay;
static const char *force;
static struct args_list dns;
static struct args_list rest;
static struct ps_cause cause;

static const struct args_option options[] = {
	{ "config", 'c', "FILE", "read the configuration from FILE", &config, NULL },
	{ "relay", 0, "HOST:PORT", "where the relay is", &relay, NULL },
	{ "force", 'f', NULL, "overwrite", &force, NULL },
	{ "dns", 0, "NAME", "a name of the host", NULL, &dns },
	{ NULL, 0, NULL, NULL, NULL, NULL },
};

static int start_over(void **state)
{
	(void)state;
	config = NULL;
	relay = NULL;
	force = NULL;
	dns.n = 0;
	rest.n = 0;
	memset(&cause, 0, sizeof(cause));
	return 0;
}

/* Parses the words of a NULL-terminated argv. */
static enum ps_err parse(char *const *argv)
{
	int argc = 0;
	while (argv[argc] != NULL)
		argc++;
	return args_parse(options, argc, argv, &rest, &cause);
}

#define PARSE(...) parse((char *const[]){ (char[]){ "program" }, __VA_ARGS__, NULL })
#define W(word) ((char[]){ word })

static void test_no_arguments_set_nothing(void **state)
{
	(void)state;
	assert_int_equal(parse((char *const[]){ W("program"), NULL }), PS_OK);
	assert_null(config);
	assert_null(force);
	assert_int_equal(rest.n, 0);
	assert_int_equal(args_parse(options, 0, (char *const[]){ NULL }, &rest, &cause), PS_OK);
}

static void test_a_value_may_follow_in_three_ways(void **state)
{
	(void)state;
	assert_int_equal(PARSE(W("--config"), W("a")), PS_OK);
	assert_string_equal(config, "a");
	assert_int_equal(PARSE(W("--config=b=c")), PS_OK);
	assert_string_equal(config, "b=c");
	assert_int_equal(PARSE(W("-c"), W("-")), PS_OK);
	assert_string_equal(config, "-");
	assert_int_equal(PARSE(W("--config=-d")), PS_OK);
	assert_string_equal(config, "-d");
	assert_int_equal(PARSE(W("--config=")), PS_OK);
	assert_string_equal(config, "");
}

static void test_a_flag_is_set_to_the_empty_string(void **state)
{
	(void)state;
	assert_int_equal(PARSE(W("-f")), PS_OK);
	assert_string_equal(force, "");
}

static void test_positionals_keep_their_order_among_options(void **state)
{
	(void)state;
	assert_int_equal(PARSE(W("one"), W("-f"), W("-"), W("--"), W("--relay"), W("--")), PS_OK);
	assert_int_equal(rest.n, 4);
	assert_string_equal(rest.at[0], "one");
	assert_string_equal(rest.at[1], "-");
	assert_string_equal(rest.at[2], "--relay");
	assert_string_equal(rest.at[3], "--");
	assert_null(relay);
}

static void test_a_list_takes_an_option_repeatedly(void **state)
{
	(void)state;
	assert_int_equal(PARSE(W("--dns"), W("a"), W("--dns=b")), PS_OK);
	assert_int_equal(dns.n, 2);
	assert_string_equal(dns.at[0], "a");
	assert_string_equal(dns.at[1], "b");
}

static void test_an_unknown_option_gets_the_nearest_suggested(void **state)
{
	(void)state;
	assert_int_equal(PARSE(W("--realy=x")), PS_E_CONFIG);
	assert_string_equal(cause.text, "unknown option \"--realy\", did you mean --relay?");
	assert_int_equal(PARSE(W("--zzz\n")), PS_E_CONFIG);
	assert_string_equal(cause.text, "unknown option \"--zzz\\x0a\"");
	assert_int_equal(PARSE(W("-z")), PS_E_CONFIG);
	assert_string_equal(cause.text, "unknown option \"-z\"");
	assert_int_equal(PARSE(W("-cf")), PS_E_CONFIG);
	assert_string_equal(cause.text, "unknown option \"-cf\"");
	assert_int_equal(PARSE(W("--conf"), W("x")), PS_E_CONFIG);
}

static void test_a_missing_value_is_named(void **state)
{
	(void)state;
	assert_int_equal(PARSE(W("--config")), PS_E_CONFIG);
	assert_string_equal(cause.text, "--config needs a value: FILE");
	assert_int_equal(PARSE(W("-c"), W("--relay"), W("x")), PS_E_CONFIG);
	assert_string_equal(cause.text, "--config needs a value: FILE");
	assert_null(config);
}

static void test_a_flag_refuses_a_value(void **state)
{
	(void)state;
	assert_int_equal(PARSE(W("--force=yes")), PS_E_CONFIG);
	assert_string_equal(cause.text, "--force takes no value");
}

static void test_an_option_given_twice_is_refused(void **state)
{
	(void)state;
	assert_int_equal(PARSE(W("-c"), W("a"), W("--config=b")), PS_E_CONFIG);
	assert_string_equal(cause.text, "--config is given twice");
	assert_int_equal(PARSE(W("-f"), W("--force")), PS_E_CONFIG);
	assert_string_equal(cause.text, "--force is given twice");
}

static void test_a_default_may_stand_in_the_value(void **state)
{
	(void)state;
	config = "default";
	assert_int_equal(PARSE(W("-c"), W("a")), PS_OK);
	assert_string_equal(config, "a");
}

static void test_lists_have_an_end(void **state)
{
	(void)state;
	dns.n = ARGS_LIST_MAX;
	assert_int_equal(PARSE(W("--dns=a")), PS_E_CONFIG);
	assert_string_equal(cause.text, "--dns is given more than 64 times");
	rest.n = ARGS_LIST_MAX;
	assert_int_equal(PARSE(W("one")), PS_E_CONFIG);
	assert_string_equal(cause.text, "\"one\" is one argument too many");
	assert_int_equal(args_parse(options, 2, (char *const[]){ W("p"), W("one"), NULL }, NULL, &cause), PS_E_CONFIG);
}

static void test_the_help_is_aligned(void **state)
{
	(void)state;
	char *printed = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&printed, &len);
	assert_non_null(out);
	args_print_help(out, options);
	fclose(out);
	static const char expected[] = "  -c, --config FILE       read the configuration from FILE\n"
								   "      --relay HOST:PORT   where the relay is\n"
								   "  -f, --force             overwrite\n"
								   "      --dns NAME          a name of the host\n";
	assert_string_equal(printed, expected);
	free(printed);
}

static int run_nothing(int argc, char *const *argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static const struct args_command commands[] = {
	{ "send", "[FILE | -]", "send one message", run_nothing },
	{ "doctor", "", "look at every hop", run_nothing },
	{ NULL, NULL, NULL, NULL },
};

static void test_a_command_is_found_by_its_name(void **state)
{
	(void)state;
	assert_ptr_equal(args_find_command(commands, "doctor", &cause), &commands[1]);
}

static void test_an_unknown_command_gets_the_nearest_suggested(void **state)
{
	(void)state;
	assert_null(args_find_command(commands, "sned", &cause));
	assert_string_equal(cause.text, "unknown command \"sned\", did you mean send?");
	assert_null(args_find_command(commands, "zzzz", &cause));
	assert_string_equal(cause.text, "unknown command \"zzzz\"");
	assert_null(args_find_command(commands, "", NULL));
}

static void test_the_list_of_commands_is_aligned(void **state)
{
	(void)state;
	char *printed = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&printed, &len);
	assert_non_null(out);
	args_print_commands(out, "ps", commands);
	fclose(out);
	assert_string_equal(printed, "  ps send [FILE | -]   send one message\n"
	                             "  ps doctor            look at every hop\n");
	free(printed);
}

static size_t longest_line(const char *text)
{
	size_t longest = 0;
	for (; *text != '\0'; text += strcspn(text, "\n") + 1)
		if (strcspn(text, "\n") > longest)
			longest = strcspn(text, "\n");
	return longest;
}

static void test_no_line_of_help_is_longer_than_a_hundred_columns(void **state)
{
	static const struct args_option wordy[] = {
		{ "reason", 0, "R",
		  "one of very many words which together with what stands before them would never fit in one line of help",
		  &config, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	static const struct args_command wide[] = {
		{ "send", "[--one OPTION] [--another OPTION] [--a-third OPTION]", "say what this is for in a few more words",
		  run_nothing },
		{ NULL, NULL, NULL, NULL },
	};
	(void)state;
	char *printed = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&printed, &len);
	assert_non_null(out);
	args_print_help(out, wordy);
	args_print_commands(out, "a-program", wide);
	fclose(out);
	assert_in_range(longest_line(printed), 60, 100);
	assert_non_null(strstr(printed, "never\n                   fit in one line of help\n"));
	assert_non_null(strstr(printed, "[--a-third OPTION]\n      say what this is for"));
	free(printed);
}

#define FRESH(test) cmocka_unit_test_setup(test, start_over)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH(test_no_arguments_set_nothing),
		FRESH(test_a_value_may_follow_in_three_ways),
		FRESH(test_a_flag_is_set_to_the_empty_string),
		FRESH(test_positionals_keep_their_order_among_options),
		FRESH(test_a_list_takes_an_option_repeatedly),
		FRESH(test_an_unknown_option_gets_the_nearest_suggested),
		FRESH(test_a_missing_value_is_named),
		FRESH(test_a_flag_refuses_a_value),
		FRESH(test_an_option_given_twice_is_refused),
		FRESH(test_a_default_may_stand_in_the_value),
		FRESH(test_lists_have_an_end),
		FRESH(test_the_help_is_aligned),
		FRESH(test_a_command_is_found_by_its_name),
		FRESH(test_an_unknown_command_gets_the_nearest_suggested),
		FRESH(test_the_list_of_commands_is_aligned),
		FRESH(test_no_line_of_help_is_longer_than_a_hundred_columns),
	};
	return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
