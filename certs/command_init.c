/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init -- makes an authority: key, certificate, an empty CRL and an empty index, all at once.
 *
 * Never:  destroys an authority that is there. With --force the old one goes on existing in DIR/old-TIME.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "authority.h"
#include "cli.h"
#include "crl.h"
#include "issue.h"
#include "key.h"

static const char *const old_files[] = { "ca.crt", "ca.key", "ca.crl", "index" };

/* Hard links, so that at no moment the old authority is in neither place. */
static enum ps_err keep_old(const struct authority *authority, int64_t now, struct ps_cause *cause)
{
	char stamp[STAMP_CAP];
	char name[AUTHORITY_FILE_CAP];
	char kept[PATH_MAX];
	stamp_print(now, stamp);
	snprintf(name, sizeof(name), "old-%s", stamp);
	enum ps_err err = authority_path(authority, name, "", kept, cause);
	if (err != PS_OK)
		return err;
	if (mkdir(kept, 0700) != 0)
		return ps_cause_errno(cause, PS_E_IO, errno, "%s", kept);

	for (size_t i = 0; i < sizeof(old_files) / sizeof(old_files[0]); i++) {
		char from[PATH_MAX];
		char to[PATH_MAX + AUTHORITY_FILE_CAP];
		err = authority_path(authority, old_files[i], "", from, cause);
		if (err != PS_OK)
			return err;
		snprintf(to, sizeof(to), "%s/%s", kept, old_files[i]);
		if (link(from, to) != 0 && errno != ENOENT)
			return ps_cause_errno(cause, PS_E_IO, errno, "%s", to);
	}
	printf("kept the old authority in %s\n", kept);
	return PS_OK;
}

static enum ps_err make_room(const struct authority *authority, bool force, int64_t now, struct ps_cause *cause)
{
	const char *found = NULL;
	for (size_t i = 0; i < sizeof(old_files) / sizeof(old_files[0]); i++) {
		if (authority_has(authority, old_files[i], ""))
			found = old_files[i];
	}
	if (found == NULL)
		return PS_OK;
	if (!force)
		return ps_cause_set(
			cause, PS_E_CONFIG,
			"%s/%s: there is an authority already; --force makes another and keeps this one in old-TIME",
			authority->dir, found);
	return keep_old(authority, now, cause);
}

/* What the new authority consists of. */
struct parts {
	struct buf certificate;
	struct buf key;
	struct buf crl;
};

static enum ps_err build(struct authority *authority, const struct names *names, const struct stamp_span *validity,
                         const struct buf *password, struct parts *parts, struct ps_cause *cause)
{
	struct stamp_span crl_validity = { 0, 0 };
	const struct stamp_wish no_wish = { NULL, NULL, NULL, NULL };
	enum ps_err err = key_generate(&authority->key, cause);
	if (err == PS_OK)
		err = key_print(&authority->key, password, &parts->key, cause);
	if (err == PS_OK)
		err = issue_authority(names, &authority->key, validity, &parts->certificate, cause);
	if (err == PS_OK)
		err = authority_adopt(authority, &parts->certificate, cause);
	if (err == PS_OK)
		err = stamp_span_of(&no_wish, time(NULL), CLI_SLACK_S, CLI_CRL_DAYS, &crl_validity, cause);
	if (err == PS_OK)
		err = crl_print(authority, &crl_validity, &parts->crl, cause);
	return err;
}

static enum ps_err put_in_place(const struct authority *authority, const struct parts *parts, struct ps_cause *cause)
{
	const struct authority_file files[] = {
		{ "ca", ".key", AUTHORITY_PRIVATE_MODE, &parts->key },
		{ "ca", ".crt", AUTHORITY_PUBLIC_MODE, &parts->certificate },
		{ "ca", ".crl", AUTHORITY_PUBLIC_MODE, &parts->crl },
	};
	return authority_commit(authority, files, sizeof(files) / sizeof(files[0]), cause);
}

static void report(const char *dir, const struct stamp_span *validity, bool encrypted)
{
	char day[STAMP_DAY_CAP];
	stamp_print_day(validity->until, day);
	printf("wrote %s/ca.crt (the authority, valid until %s)\n", dir, day);
	printf("wrote %s/ca.key (its private key%s: keep it, and keep it secret)\n", dir, encrypted ? ", encrypted" : "");
	printf("wrote %s/ca.crl (nothing revoked; good for %d days, then: portseal-certs crl)\n", dir, CLI_CRL_DAYS);
	printf("next: portseal-certs relay NAME --dns HOST; portseal-certs sender NAME\n");
}

int command_init(int argc, char *const *argv)
{
	const char *dir = CLI_DEFAULT_DIR;
	const char *name = "Portseal CA";
	const char *password_file = NULL;
	const char *force = NULL;
	const char *help = NULL;
	struct stamp_wish wish = { NULL, NULL, NULL, NULL };
	const struct args_option options[] = {
		CLI_DIR_ROW(dir),
		{ "name", 0, "NAME", "common name of the authority (default: Portseal CA)", &name, NULL },
		CLI_VALIDITY_ROWS(wish, "3650"),
		{ "password-file", 0, "FILE", "encrypt ca.key with the first line of FILE", &password_file, NULL },
		{ "force", 0, NULL, "make another authority where there is one, which is kept in old-TIME", &force, NULL },
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
	static struct names names;
	int64_t now = time(NULL);
	enum ps_err err = names_set_authority(&names, name, &cause);
	if (err == PS_OK)
		err = stamp_span_of(&wish, now, CLI_SLACK_S, CLI_AUTHORITY_DAYS, &validity, &cause);
	if (err != PS_OK)
		return cli_usage_error(&cause);

	struct authority authority;
	struct parts parts = { BUF_INIT, BUF_INIT, BUF_INIT };
	struct buf password = BUF_INIT;
	authority_init(&authority, dir);
	if (password_file != NULL)
		err = key_read_password(password_file, &password, &cause);
	if (err == PS_OK)
		err = authority_create(&authority, &cause);
	if (err == PS_OK)
		err = make_room(&authority, force != NULL, now, &cause);
	if (err == PS_OK)
		err = build(&authority, &names, &validity, password_file != NULL ? &password : NULL, &parts, &cause);
	if (err == PS_OK)
		err = put_in_place(&authority, &parts, &cause);
	if (err == PS_OK)
		report(dir, &validity, password_file != NULL);
	buf_release(&parts.certificate);
	buf_release(&parts.key);
	buf_release(&parts.crl);
	buf_release(&password);
	authority_close(&authority);
	return err == PS_OK ? CLI_OK : cli_failed(err, &cause);
}
