/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay, sender, sign -- three ways to a new certificate; they differ in where names and key come from.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "authority.h"
#include "cli.h"
#include "holder.h"
#include "key.h"
#include "request.h"

/* What the command lines of all three say. */
struct wishes {
	const char *dir;
	const char *name;
	const char *role;
	const char *ou;
	const char *password_file;
	const char *force;
	const char *copy_names;
	const char *help;
	struct args_list dns;
	struct args_list ip;
	struct args_list uri;
	struct stamp_wish validity;
};

#define NO_WISHES ((struct wishes){ .dir = CLI_DEFAULT_DIR })

static enum ps_err add_all(const struct args_list *list,
                           enum ps_err (*add)(struct names *names, const char *text, struct ps_cause *cause),
                           struct names *names, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;
	for (size_t i = 0; err == PS_OK && i < list->n; i++)
		err = add(names, list->at[i], cause);
	return err;
}

/* The names of the command line that suit the role. */
static enum ps_err collect_names(const struct wishes *wishes, enum names_role role, struct names *names,
                                 struct ps_cause *cause)
{
	if (role == ROLE_RELAY && (wishes->uri.n > 0 || wishes->ou != NULL))
		return ps_cause_set(cause, PS_E_CONFIG, "--uri and --ou are for senders: a relay is known by --dns and --ip");
	if (role == ROLE_SENDER && wishes->ip.n > 0)
		return ps_cause_set(cause, PS_E_CONFIG,
		                    "--ip is for relays: a sender is known by its name, --uri, --dns, --ou");
	enum ps_err err = wishes->name == NULL ? PS_OK : names_set_cn(names, wishes->name, cause);
	if (err == PS_OK)
		err = add_all(&wishes->dns, names_add_dns, names, cause);
	if (err == PS_OK)
		err = add_all(&wishes->ip, names_add_ip, names, cause);
	if (err == PS_OK)
		err = add_all(&wishes->uri, names_add_uri, names, cause);
	if (err == PS_OK && wishes->ou != NULL)
		err = names_set_ou(names, wishes->ou, cause);
	return err;
}

static int run_with_new_key(enum names_role role, const struct wishes *wishes)
{
	static struct names names;
	struct ps_cause cause = { "" };
	struct holder_order order = { .role = role, .names = &names, .force = wishes->force != NULL };
	enum ps_err err = collect_names(wishes, role, &names, &cause);
	if (err == PS_OK && role == ROLE_RELAY && names.n_sans == 0)
		err = names_add_cn_as_host(&names, &cause);
	if (err == PS_OK)
		err = stamp_span_of(&wishes->validity, time(NULL), CLI_SLACK_S, CLI_LEAF_DAYS, &order.validity, &cause);
	if (err != PS_OK)
		return cli_usage_error(&cause);

	struct authority authority;
	authority_init(&authority, wishes->dir);
	err = authority_open(&authority, &cause);
	if (err == PS_OK)
		err = authority_unlock(&authority, wishes->password_file, time(NULL), &cause);
	if (err == PS_OK)
		err = holder_issue(&authority, &order, &cause);
	authority_close(&authority);
	return err == PS_OK ? CLI_OK : cli_failed(err, &cause);
}

int command_relay(int argc, char *const *argv)
{
	struct wishes wishes = NO_WISHES;
	const struct args_option options[] = {
		{ "dns", 0, "D", "host name (or *.host name) senders find it by; may be repeated", NULL, &wishes.dns },
		{ "ip", 0, "I", "address senders find it by; may be repeated (default for both: NAME)", NULL, &wishes.ip },
		CLI_VALIDITY_ROWS(wishes.validity, "365"),
		CLI_DIR_ROW(wishes.dir),
		CLI_PASSWORD_ROW(wishes.password_file),
		{ "force", 0, NULL, "replace NAME.crt and NAME.key", &wishes.force, NULL },
		CLI_HELP_ROW(wishes.help),
		CLI_LAST_ROW,
	};
	const struct cli_form form = { options, &wishes.help, "NAME", 1, 1 };
	struct args_list rest = { { NULL }, 0 };
	int exit_code = CLI_OK;
	if (!cli_begin(&form, argc, argv, &rest, &exit_code))
		return exit_code;
	wishes.name = rest.at[0];
	return run_with_new_key(ROLE_RELAY, &wishes);
}

int command_sender(int argc, char *const *argv)
{
	struct wishes wishes = NO_WISHES;
	const struct args_option options[] = {
		{ "uri", 0, "U", "such as spiffe://example.com/billing; may be repeated", NULL, &wishes.uri },
		{ "dns", 0, "D", "host name of the sender; may be repeated", NULL, &wishes.dns },
		{ "ou", 0, "OU", "organizational unit, for rules by group", &wishes.ou, NULL },
		CLI_VALIDITY_ROWS(wishes.validity, "365"),
		CLI_DIR_ROW(wishes.dir),
		CLI_PASSWORD_ROW(wishes.password_file),
		{ "force", 0, NULL, "replace NAME.crt and NAME.key", &wishes.force, NULL },
		CLI_HELP_ROW(wishes.help),
		CLI_LAST_ROW,
	};
	const struct cli_form form = { options, &wishes.help, "NAME", 1, 1 };
	struct args_list rest = { { NULL }, 0 };
	int exit_code = CLI_OK;
	if (!cli_begin(&form, argc, argv, &rest, &exit_code))
		return exit_code;
	wishes.name = rest.at[0];
	return run_with_new_key(ROLE_SENDER, &wishes);
}

/* The wishes of the request itself, where the operator said --copy-names. */
static enum ps_err copy_names(const char *path, const mbedtls_x509_csr *request, enum names_role role,
                              struct names *names, struct ps_cause *cause)
{
	size_t skipped = 0;
	enum ps_err err = names->cn[0] == '\0' ? request_copy_cn(&request->subject, names, cause) : PS_OK;
	if (err == PS_OK)
		err = request_copy_sans(&request->subject_alt_names, role, names, &skipped, cause);
	if (err != PS_OK)
		return ps_cause_prefix(cause, err, "%s", path);
	if (skipped > 0)
		printf("left out %zu name%s that a %s does not carry\n", skipped, skipped == 1 ? "" : "s",
		       names_role_text(role));
	return PS_OK;
}

static enum ps_err sign_request(const char *path, const struct wishes *wishes, const struct holder_order *order,
                                struct names *names, struct ps_cause *cause)
{
	struct authority authority;
	mbedtls_x509_csr request;
	mbedtls_x509_csr_init(&request);
	authority_init(&authority, wishes->dir);
	enum ps_err err = request_read(path, &request, cause);
	if (err == PS_OK && wishes->copy_names != NULL)
		err = copy_names(path, &request, order->role, names, cause);
	if (err == PS_OK && order->role == ROLE_RELAY && names->n_sans == 0)
		err = names_add_cn_as_host(names, cause);
	if (err == PS_OK)
		err = authority_open(&authority, cause);
	if (err == PS_OK)
		err = authority_unlock(&authority, wishes->password_file, time(NULL), cause);
	if (err == PS_OK) {
		struct holder_order complete = *order;
		complete.public_key = &request.pk;
		err = holder_issue(&authority, &complete, cause);
	}
	authority_close(&authority);
	mbedtls_x509_csr_free(&request);
	return err;
}

static int run_sign(const char *path, const struct wishes *wishes)
{
	static struct names names;
	struct ps_cause cause = { "" };
	struct holder_order order = { .names = &names, .force = wishes->force != NULL };
	enum ps_err err = PS_OK;
	if (wishes->role == NULL)
		err = ps_cause_set(&cause, PS_E_CONFIG, "--as relay or --as sender is missing");
	if (err == PS_OK)
		err = names_role_parse(wishes->role, &order.role, &cause);
	if (err == PS_OK && wishes->name == NULL && wishes->copy_names == NULL)
		err = ps_cause_set(&cause, PS_E_CONFIG, "--name is missing (or --copy-names, to believe the request)");
	if (err == PS_OK)
		err = collect_names(wishes, order.role, &names, &cause);
	if (err == PS_OK)
		err = stamp_span_of(&wishes->validity, time(NULL), CLI_SLACK_S, CLI_LEAF_DAYS, &order.validity, &cause);
	if (err != PS_OK)
		return cli_usage_error(&cause);

	err = sign_request(path, wishes, &order, &names, &cause);
	return err == PS_OK ? CLI_OK : cli_failed(err, &cause);
}

int command_sign(int argc, char *const *argv)
{
	struct wishes wishes = NO_WISHES;
	const struct args_option options[] = {
		{ "as", 0, "ROLE", "relay or sender", &wishes.role, NULL },
		{ "name", 0, "NAME", "common name, and name of the file NAME.crt", &wishes.name, NULL },
		{ "copy-names", 0, NULL, "take common name and alternative names from the request", &wishes.copy_names, NULL },
		{ "dns", 0, "D", "host name; may be repeated", NULL, &wishes.dns },
		{ "ip", 0, "I", "address of a relay; may be repeated", NULL, &wishes.ip },
		{ "uri", 0, "U", "URI of a sender; may be repeated", NULL, &wishes.uri },
		{ "ou", 0, "OU", "organizational unit of a sender", &wishes.ou, NULL },
		CLI_VALIDITY_ROWS(wishes.validity, "365"),
		CLI_DIR_ROW(wishes.dir),
		CLI_PASSWORD_ROW(wishes.password_file),
		{ "force", 0, NULL, "replace NAME.crt", &wishes.force, NULL },
		CLI_HELP_ROW(wishes.help),
		CLI_LAST_ROW,
	};
	const struct cli_form form = { options, &wishes.help, "CSR", 1, 1 };
	struct args_list rest = { { NULL }, 0 };
	int exit_code = CLI_OK;
	if (!cli_begin(&form, argc, argv, &rest, &exit_code))
		return exit_code;
	return run_sign(rest.at[0], &wishes);
}
