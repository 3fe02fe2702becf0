/* SPDX-License-Identifier: Apache-2.0 */
#include "holder.h"

#include <stdio.h>
#include <string.h>

#include "issue.h"
#include "key.h"
#include "mbed.h"

static enum ps_err check_free(const struct authority *authority, const char *name, const char *suffix,
                              struct ps_cause *cause)
{
	if (!authority_has(authority, name, suffix))
		return PS_OK;
	return ps_cause_set(cause, PS_E_CONFIG, "%s/%s%s: exists already; renew keeps its names, --force replaces it",
	                    authority->dir, name, suffix);
}

/* A certificate beside somebody else's key would be of use to nobody. */
static enum ps_err check_own_key(const struct authority *authority, const struct holder_order *order,
                                 struct ps_cause *cause)
{
	char path[PATH_MAX];
	if (!authority_has(authority, order->names->cn, ".key"))
		return PS_OK;
	mbedtls_pk_context key;
	mbedtls_pk_init(&key);
	enum ps_err err = authority_path(authority, order->names->cn, ".key", path, cause);
	if (err == PS_OK)
		err = key_read(path, NULL, &key, cause);
	if (err == PS_OK && mbedtls_pk_check_pair(order->public_key, &key, MBED_RNG) != 0)
		err = ps_cause_set(cause, PS_E_CONFIG, "%s: is another key than the one to be certified: move it away", path);
	mbedtls_pk_free(&key);
	return err;
}

static enum ps_err check_files(const struct authority *authority, const struct holder_order *order,
                               struct ps_cause *cause)
{
	enum ps_err err = PS_OK;
	if (!order->force)
		err = check_free(authority, order->names->cn, ".crt", cause);
	if (err == PS_OK && order->public_key != NULL)
		err = check_own_key(authority, order, cause);
	else if (err == PS_OK && !order->force)
		err = check_free(authority, order->names->cn, ".key", cause);
	return err;
}

static void report(const struct authority *authority, const struct holder_order *order, bool clamped)
{
	char day[STAMP_READABLE_CAP];
	stamp_print_readable(order->validity.until, day);
	printf("wrote %s/%s.crt (%s certificate, valid until %s)\n", authority->dir, order->names->cn,
	       names_role_text(order->role), day);
	if (order->public_key == NULL)
		printf("wrote %s/%s.key (its private key)\n", authority->dir, order->names->cn);
	if (clamped)
		printf("note: it ends with the authority itself, which does not last as long as was asked for\n");
}

/* What was replaced or renewed goes on being accepted: somebody may have to be told. */
static void report_others(const struct authority *authority, const struct holder_order *order)
{
	for (size_t i = 0; i + 1 < authority->ledger.n_entries; i++) { /* the last entry is the new one */
		const struct ledger_entry *entry = &authority->ledger.entries[i];
		char day[STAMP_DAY_CAP];
		if (strcmp(entry->name, order->names->cn) != 0 || entry->revoked != NULL ||
		    entry->validity.until < order->validity.from)
			continue;
		stamp_print_day(entry->validity.until, day);
		printf("note: serial %s of %s stays valid until %s; portseal-certs revoke --serial ends it\n", entry->serial,
		       entry->name, day);
	}
}

enum ps_err holder_issue(struct authority *authority, const struct holder_order *order, struct ps_cause *cause)
{
	enum ps_err err = check_files(authority, order, cause);
	if (err != PS_OK)
		return err;

	struct buf certificate_pem = BUF_INIT;
	struct buf key_pem = BUF_INIT;
	mbedtls_pk_context made;
	mbedtls_pk_init(&made);
	if (order->public_key == NULL)
		err = key_generate(&made, cause);
	if (err == PS_OK && order->public_key == NULL)
		err = key_print(&made, NULL, &key_pem, cause);

	struct holder_order shown = *order;
	bool clamped = order->validity.until > authority_ends(authority);
	if (clamped)
		shown.validity.until = authority_ends(authority);
	if (err == PS_OK && shown.validity.until <= shown.validity.from)
		err = ps_cause_set(cause, PS_E_CONFIG, "the authority ends before the certificate would begin");
	const struct issue_order issue = { order->role, order->names, order->public_key != NULL ? order->public_key : &made,
		                               shown.validity };
	if (err == PS_OK)
		err = issue_certificate(authority, &issue, &certificate_pem, cause);

	const struct authority_file files[] = {
		{ order->names->cn, ".crt", AUTHORITY_PUBLIC_MODE, &certificate_pem },
		{ order->names->cn, ".key", AUTHORITY_PRIVATE_MODE, &key_pem },
	};
	if (err == PS_OK)
		err = authority_commit(authority, files, order->public_key == NULL ? 2 : 1, cause);
	if (err == PS_OK) {
		report(authority, &shown, clamped);
		report_others(authority, &shown);
	}
	mbedtls_pk_free(&made);
	buf_release(&certificate_pem);
	buf_release(&key_pem);
	return err;
}
