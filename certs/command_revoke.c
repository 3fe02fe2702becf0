/* SPDX-License-Identifier: Apache-2.0 */
/*
 * revoke, crl -- say which certificates are no longer good, in the index and in ca.crl.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "authority.h"
#include "cli.h"
#include "crl.h"
#include "names.h"

struct revocation {
	const char *name;   /* every certificate of that name, or */
	const char *serial; /* the one */
	const struct ledger_reason *reason;
	int64_t now;
};

static bool is_meant(const struct revocation *revocation, const struct ledger_entry *entry)
{
	if (revocation->serial != NULL)
		return strcmp(entry->serial, revocation->serial) == 0;
	return strcmp(entry->name, revocation->name) == 0;
}

/* Marks in memory; *n_marked may be 0 where all of them were revoked before, which is told. */
static enum ps_err mark(struct ledger *ledger, const struct revocation *revocation, size_t *n_marked,
                        struct ps_cause *cause)
{
	size_t n_found = 0;
	size_t n = 0;
	for (size_t i = 0; i < ledger->n_entries; i++) {
		struct ledger_entry *entry = &ledger->entries[i];
		if (!is_meant(revocation, entry))
			continue;
		n_found++;
		if (entry->revoked != NULL) {
			char when[STAMP_READABLE_CAP];
			stamp_print_readable(entry->revoked_at, when);
			printf("serial %s of %s was revoked already, on %s (%s)\n", entry->serial, entry->name, when,
			       entry->revoked->word);
			continue;
		}
		entry->revoked = revocation->reason;
		entry->revoked_at = revocation->now;
		printf("revoked serial %s of %s (%s)\n", entry->serial, entry->name, entry->revoked->word);
		n++;
	}
	if (n_found == 0)
		return ps_cause_set(cause, PS_E_CONFIG, "nothing was issued under the %s \"%s\"",
		                    revocation->serial != NULL ? "serial" : "name",
		                    revocation->serial != NULL ? revocation->serial : revocation->name);
	*n_marked = n;
	return PS_OK;
}

static enum ps_err write_crl(struct authority *authority, const struct stamp_span *validity, struct ps_cause *cause)
{
	struct buf pem = BUF_INIT;
	const struct authority_file file = { "ca", ".crl", AUTHORITY_PUBLIC_MODE, &pem };
	enum ps_err err = crl_print(authority, validity, &pem, cause);
	if (err == PS_OK)
		err = authority_commit(authority, &file, 1, cause);
	if (err == PS_OK) {
		char when[STAMP_READABLE_CAP];
		stamp_print_readable(validity->until, when);
		printf("wrote %s/ca.crl (number %llu, good until %s)\n", authority->dir,
		       (unsigned long long)authority->ledger.crl_number, when);
	}
	buf_release(&pem);
	return err;
}

/* Opens the authority, marks what is to be revoked (nothing where `revocation` is NULL), writes the list. */
static int run(const char *dir, const char *password_file, const struct revocation *revocation,
               const struct stamp_span *validity)
{
	struct ps_cause cause = { "" };
	struct authority authority;
	size_t n_marked = 0;
	authority_init(&authority, dir);
	enum ps_err err = authority_open(&authority, &cause);
	if (err == PS_OK)
		err = authority_unlock(&authority, password_file, time(NULL), &cause);
	if (err == PS_OK && revocation != NULL)
		err = mark(&authority.ledger, revocation, &n_marked, &cause);
	if (err == PS_OK && (revocation == NULL || n_marked > 0))
		err = write_crl(&authority, validity, &cause);
	if (err == PS_OK && n_marked > 0)
		printf("next: bring ca.crl to the relays and reload them: HUP, or by themselves with reload = \"auto\"\n");
	authority_close(&authority);
	return err == PS_OK ? CLI_OK : cli_failed(err, &cause);
}

/* OpenSSL and others print AB:CD:..., and upper case. */
static enum ps_err normalise_serial(const char *given, char out[static LEDGER_SERIAL_CAP], struct ps_cause *cause)
{
	size_t len = 0;
	for (const char *at = given; *at != '\0'; at++) {
		if (*at == ':')
			continue;
		if (!isxdigit((unsigned char)*at) || len == LEDGER_SERIAL_CAP - 1)
			return ps_cause_set(cause, PS_E_CONFIG, "--serial: \"%.60s\" is not a serial in hexadecimal", given);
		out[len++] = (char)tolower((unsigned char)*at);
	}
	out[len] = '\0';
	return PS_OK;
}

static enum ps_err check_revoke_line(const struct args_list *rest, const char *serial, const char *reason,
                                     char normalised[static LEDGER_SERIAL_CAP], struct revocation *revocation,
                                     struct ps_cause *cause)
{
	if ((rest->n == 1) == (serial != NULL))
		return ps_cause_set(cause, PS_E_CONFIG, "give either NAME or --serial HEX");
	revocation->reason = ledger_reason_find(reason, cause);
	if (revocation->reason == NULL)
		return PS_E_CONFIG;
	if (serial != NULL) {
		revocation->serial = normalised;
		return normalise_serial(serial, normalised, cause);
	}
	static struct names names;
	revocation->name = rest->at[0];
	return names_set_cn(&names, rest->at[0], cause);
}

int command_revoke(int argc, char *const *argv)
{
	const char *dir = CLI_DEFAULT_DIR;
	const char *password_file = NULL;
	const char *reason = "unspecified";
	const char *serial = NULL;
	const char *help = NULL;
	struct stamp_wish wish = { NULL, NULL, NULL, NULL };
	const struct args_option options[] = {
		{ "serial", 0, "HEX", "only the certificate with this serial (default: all of NAME)", &serial, NULL },
		{ "reason", 0, "R", "keyCompromise, superseded, cessationOfOperation, affiliationChanged, privilegeWithdrawn",
		  &reason, NULL },
		{ "days", 0, "N", "the new ca.crl is good for so many days (default: 30)", &wish.days, NULL },
		CLI_DIR_ROW(dir),
		CLI_PASSWORD_ROW(password_file),
		CLI_HELP_ROW(help),
		CLI_LAST_ROW,
	};
	const struct cli_form form = { options, &help, "NAME", 0, 1 };
	struct args_list rest = { { NULL }, 0 };
	int exit_code = CLI_OK;
	if (!cli_begin(&form, argc, argv, &rest, &exit_code))
		return exit_code;

	char normalised[LEDGER_SERIAL_CAP];
	struct ps_cause cause = { "" };
	struct stamp_span validity = { 0, 0 };
	struct revocation revocation = { .now = time(NULL) };
	enum ps_err err = check_revoke_line(&rest, serial, reason, normalised, &revocation, &cause);
	if (err == PS_OK)
		err = stamp_span_of(&wish, revocation.now, CLI_SLACK_S, CLI_CRL_DAYS, &validity, &cause);
	if (err != PS_OK)
		return cli_usage_error(&cause);
	return run(dir, password_file, &revocation, &validity);
}

int command_crl(int argc, char *const *argv)
{
	const char *dir = CLI_DEFAULT_DIR;
	const char *password_file = NULL;
	const char *help = NULL;
	struct stamp_wish wish = { NULL, NULL, NULL, NULL };
	const struct args_option options[] = {
		CLI_VALIDITY_ROWS(wish, "30"),
		CLI_DIR_ROW(dir),
		CLI_PASSWORD_ROW(password_file),
		CLI_HELP_ROW(help),
		CLI_LAST_ROW,
	};
	const struct cli_form form = { options, &help, "", 0, 0 };
	struct args_list rest = { { NULL }, 0 };
	int exit_code = CLI_OK;
	if (!cli_begin(&form, argc, argv, &rest, &exit_code))
		return exit_code;

	struct ps_cause cause = { "" };
	struct stamp_span validity = { 0, 0 };
	if (stamp_span_of(&wish, time(NULL), CLI_SLACK_S, CLI_CRL_DAYS, &validity, &cause) != PS_OK)
		return cli_usage_error(&cause);
	return run(dir, password_file, NULL, &validity);
}
