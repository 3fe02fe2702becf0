/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "config.h"
#include "findings.h"
#include "portseal/args.h"
#include "portseal/credentials.h"
#include "portseal/text.h"
#include "portseal/trust.h"

#define EXIT_USAGE 2
#define EXIT_CONFIG 3
#define JSON_MAX 8192

struct checked {
	const char *path;
	struct relay_config *config; /* NULL: could not be loaded */
	struct credentials *credentials;
	struct trust *trust;
	struct findings findings;
};

static enum ps_err load_trust(const struct relay_config *config, struct trust **trust, struct ps_cause *cause)
{
	struct trust_config from = config_trust(config);

	return trust_new(&from, trust, cause);
}

static enum ps_err load(struct checked *checked, struct ps_cause *cause)
{
	enum ps_err err = config_load(checked->path, &checked->config, cause);

	if (err == PS_OK)
		err = credentials_load(checked->config->tls.certificate, checked->config->tls.key, PURPOSE_SERVER,
		                       &checked->credentials, cause);
	return err == PS_OK ? load_trust(checked->config, &checked->trust, cause) : err;
}

static void look(struct checked *checked)
{
	check_expiry(checked->config, checked->credentials, checked->trust, &checked->findings);
	check_files(checked->config, &checked->findings);
	check_rules(checked->config, &checked->findings);
	check_listeners(checked->config, &checked->findings);
	check_targets(checked->config, &checked->findings);
}

static const char *level_name(enum finding_level level)
{
	return level == FINDING_WARNING ? "warning" : "note";
}

static void print_count(char before, size_t n, const char *what)
{
	printf("%c %zu %s%s", before, n, what, n == 1 ? "" : "s");
}

static void print_text(const struct checked *checked)
{
	const struct findings *findings = &checked->findings;

	for (size_t i = 0; i < findings->n; i++)
		printf("%s: %s\n", level_name(findings->items[i].level), findings->items[i].text.text);
	if (findings->n_lost > 0)
		printf("note: %zu further findings are not shown\n", findings->n_lost);
	printf("%s: good", checked->path);
	print_count(':', checked->config->listeners_list.n, "listener");
	print_count(',', checked->config->services_list.n, "service");
	print_count(',', trust_n_anchors(checked->trust), "trust anchor");
	print_count(',', findings->n_warnings, "warning");
	printf("\n");
}

static void json_member(const char *key, const char *value)
{
	char storage[JSON_MAX];
	struct text text;

	text_init(&text, storage, sizeof(storage));
	text_add_json(&text, value, strlen(value));
	printf("\"%s\":\"%s\"", key, text.at);
}

static void print_json(const struct checked *checked)
{
	const struct findings *findings = &checked->findings;

	printf("{\"good\":true,");
	json_member("path", checked->path);
	printf(",\"listeners\":%zu,\"services\":%zu,\"trust_anchors\":%zu,\"warnings\":%zu,\"findings\":[",
	       checked->config->listeners_list.n, checked->config->services_list.n, trust_n_anchors(checked->trust),
	       findings->n_warnings);
	for (size_t i = 0; i < findings->n; i++) {
		printf("%s{\"level\":\"%s\",\"about\":\"%s\",", i > 0 ? "," : "", level_name(findings->items[i].level),
		       findings->items[i].about);
		json_member("text", findings->items[i].text.text);
		printf("}");
	}
	printf("]}\n");
}

/* Stdout is JSON whatever happens; the line on stderr stays the same. */
static void print_json_failure(const char *path, const struct ps_cause *cause)
{
	printf("{\"good\":false,");
	json_member("path", path);
	printf(",");
	json_member("error", cause->text);
	printf("}\n");
}

static int check(const char *path, const char *json)
{
	struct checked checked = { .path = path };
	struct ps_cause cause = { "out of memory" };
	int exit_code = EXIT_CONFIG;

	if (load(&checked, &cause) == PS_OK) {
		look(&checked);
		exit_code = 0;
		if (json != NULL)
			print_json(&checked);
		else
			print_text(&checked);
	} else {
		fprintf(stderr, "portseal-relay: %s\n", cause.text);
		if (json != NULL)
			print_json_failure(path, &cause);
	}
	findings_clear(&checked.findings);
	trust_free(checked.trust);
	credentials_free(checked.credentials);
	config_free(checked.config);
	return exit_code;
}

int check_main(int argc, char *const *argv)
{
	const char *config = NULL;
	const char *json = NULL;
	const char *help = NULL;
	const struct args_option options[] = {
		{ "config", 'c', "FILE", "the configuration to check", &config, NULL },
		{ "json", 0, NULL, "print one JSON object", &json, NULL },
		{ "help", 'h', NULL, "print this and exit", &help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct ps_cause cause;

	if (args_parse(options, argc, argv, NULL, &cause) != PS_OK) {
		fprintf(stderr, "portseal-relay: check: %s\n", cause.text);
		return EXIT_USAGE;
	}
	if (help != NULL) {
		printf("usage: portseal-relay check -c FILE [--json]\n\n");
		args_print_help(stdout, options);
		printf("\nExit codes: 0 it would start (what to look after is printed), 2 usage, 3 it would not start.\n");
		return 0;
	}
	if (config == NULL) {
		fprintf(stderr, "portseal-relay: check: no configuration given: use -c FILE\n");
		return EXIT_USAGE;
	}
	return check(config, json);
}
