/* SPDX-License-Identifier: Apache-2.0 */
/*
 * renew -- a fresh certificate with the names, the role and (unless told otherwise) the key of the one in NAME.crt.
 *
 * The private key is not needed for that: renewing works just as well for a key that never was on this host.
 */
#include <stdio.h>
#include <time.h>

#include "authority.h"
#include "cli.h"
#include "holder.h"
#include "request.h"

/* What the index says of the certificate in NAME.crt, which it must know and not have revoked. */
static enum ps_err find_entry(const struct authority *authority, const char *name, const mbedtls_x509_crt *certificate,
                              const struct ledger_entry **entry, struct ps_cause *cause)
{
	char serial[LEDGER_SERIAL_CAP];
	authority_serial(&certificate->serial, serial);
	*entry = ledger_find_serial(&authority->ledger, serial);
	if (*entry == NULL)
		return ps_cause_set(cause, PS_E_CONFIG, "%s/%s.crt: serial %s is not in the index", authority->dir, name,
		                    serial);
	if ((*entry)->revoked != NULL)
		return ps_cause_set(cause, PS_E_CONFIG, "%s/%s.crt: was revoked; issue another with %s %s --force",
		                    authority->dir, name, names_role_text((*entry)->role), name);
	return PS_OK;
}

static enum ps_err copy_names(const struct authority *authority, const mbedtls_x509_crt *certificate,
                              enum names_role role, struct names *names, struct ps_cause *cause)
{
	size_t skipped = 0;
	enum ps_err err = request_copy_ou(&certificate->subject, names, cause);
	if (err == PS_OK)
		err = request_copy_sans(&certificate->subject_alt_names, role, names, &skipped, cause);
	if (err != PS_OK)
		err = ps_cause_prefix(cause, err, "%s/%s.crt", authority->dir, names->cn);
	return err;
}

static enum ps_err renew(struct authority *authority, struct names *names, const struct stamp_span *validity,
                         bool new_key, struct ps_cause *cause)
{
	const struct ledger_entry *entry = NULL;
	mbedtls_x509_crt certificate;
	mbedtls_x509_crt_init(&certificate);
	enum ps_err err = authority_read_issued(authority, names->cn, &certificate, cause);
	if (err == PS_OK)
		err = find_entry(authority, names->cn, &certificate, &entry, cause);
	if (err == PS_OK && new_key && !authority_has(authority, names->cn, ".key"))
		err = ps_cause_set(cause, PS_E_CONFIG, "%s/%s.key: is not here: have its host make a request, and sign that",
		                   authority->dir, names->cn);
	if (err == PS_OK)
		err = copy_names(authority, &certificate, entry->role, names, cause);
	if (err == PS_OK) {
		const struct holder_order order = { entry->role, names, *validity, new_key ? NULL : &certificate.pk, true };
		err = holder_issue(authority, &order, cause);
	}
	mbedtls_x509_crt_free(&certificate);
	return err;
}

int command_renew(int argc, char *const *argv)
{
	const char *dir = CLI_DEFAULT_DIR;
	const char *password_file = NULL;
	const char *new_key = NULL;
	const char *help = NULL;
	struct stamp_wish wish = { NULL, NULL, NULL, NULL };
	const struct args_option options[] = {
		CLI_VALIDITY_ROWS(wish, "365"),
		{ "new-key", 0, NULL, "make a new NAME.key as well (default: the key stays)", &new_key, NULL },
		CLI_DIR_ROW(dir),
		CLI_PASSWORD_ROW(password_file),
		CLI_HELP_ROW(help),
		CLI_LAST_ROW,
	};
	const struct cli_form form = { options, &help, "NAME", 1, 1 };
	struct args_list rest = { { NULL }, 0 };
	int exit_code = CLI_OK;
	if (!cli_begin(&form, argc, argv, &rest, &exit_code))
		return exit_code;

	static struct names names;
	struct ps_cause cause = { "" };
	struct stamp_span validity = { 0, 0 };
	enum ps_err err = names_set_cn(&names, rest.at[0], &cause);
	if (err == PS_OK)
		err = stamp_span_of(&wish, time(NULL), CLI_SLACK_S, CLI_LEAF_DAYS, &validity, &cause);
	if (err != PS_OK)
		return cli_usage_error(&cause);

	struct authority authority;
	authority_init(&authority, dir);
	err = authority_open(&authority, &cause);
	if (err == PS_OK)
		err = authority_unlock(&authority, password_file, time(NULL), &cause);
	if (err == PS_OK)
		err = renew(&authority, &names, &validity, new_key != NULL, &cause);
	authority_close(&authority);
	return err == PS_OK ? CLI_OK : cli_failed(err, &cause);
}
