/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list -- what was issued, a line each.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "authority.h"
#include "cli.h"
#include "report.h"

/* Columns a name takes on a terminal, near enough: its characters. */
static int width_of(const char *name)
{
	int width = 0;
	for (; *name != '\0'; name++)
		width += ((unsigned char)*name & 0xc0) != 0x80;
	return width;
}

static void print_table(const struct ledger *ledger, int64_t now)
{
	int widest = 4;
	for (size_t i = 0; i < ledger->n_entries; i++) {
		int width = width_of(ledger->entries[i].name);
		widest = width > widest ? width : widest;
	}
	printf("%-*s  %-6s  %-32s  %-20s  %s\n", widest, "name", "role", "serial", "not after", "state");
	for (size_t i = 0; i < ledger->n_entries; i++) {
		const struct ledger_entry *entry = &ledger->entries[i];
		char until[STAMP_READABLE_CAP];
		stamp_print_readable(entry->validity.until, until);
		printf("%s%*s  %-6s  %-32s  %-20s  %s", entry->name, widest - width_of(entry->name), "",
		       names_role_text(entry->role), entry->serial, until, ledger_state(entry, now));
		if (entry->revoked != NULL)
			printf(" (%s)", entry->revoked->word);
		printf("\n");
	}
}

static void print_json(const struct ledger *ledger, int64_t now)
{
	struct report report;
	report_open(&report, stdout, true);
	for (size_t i = 0; i < ledger->n_entries; i++) {
		const struct ledger_entry *entry = &ledger->entries[i];
		char moment[STAMP_READABLE_CAP];
		report_object(&report, "");
		report_text(&report, "name", entry->name);
		report_text(&report, "role", names_role_text(entry->role));
		report_text(&report, "serial", entry->serial);
		stamp_print_readable(entry->validity.from, moment);
		report_text(&report, "not_before", moment);
		stamp_print_readable(entry->validity.until, moment);
		report_text(&report, "not_after", moment);
		report_text(&report, "state", ledger_state(entry, now));
		if (entry->revoked != NULL) {
			stamp_print_readable(entry->revoked_at, moment);
			report_text(&report, "revoked_at", moment);
			report_text(&report, "reason", entry->revoked->word);
		}
		report_object_end(&report);
	}
	report_close(&report);
}

int command_list(int argc, char *const *argv)
{
	const char *dir = CLI_DEFAULT_DIR;
	const char *json = NULL;
	const char *help = NULL;
	const struct args_option options[] = {
		{ "json", 0, NULL, "print JSON", &json, NULL },
		CLI_DIR_ROW(dir),
		CLI_HELP_ROW(help),
		CLI_LAST_ROW,
	};
	const struct cli_form form = { options, &help, "", 0, 0 };
	struct args_list rest = { { NULL }, 0 };
	int exit_code = CLI_OK;
	if (!cli_begin(&form, argc, argv, &rest, &exit_code))
		return exit_code;

	struct ps_cause cause = { "" };
	struct authority authority;
	authority_init(&authority, dir);
	enum ps_err err = authority_open(&authority, &cause);
	if (err == PS_OK && json != NULL)
		print_json(&authority.ledger, time(NULL));
	else if (err == PS_OK)
		print_table(&authority.ledger, time(NULL));
	authority_close(&authority);
	return err == PS_OK ? CLI_OK : cli_failed(err, &cause);
}
