/* SPDX-License-Identifier: Apache-2.0 */
#include "explain.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "config.h"
#include "portseal/args.h"
#include "portseal/certificate.h"
#include "portseal/judge.h"
#include "portseal/text.h"
#include "portseal/trust.h"
#include "ruling.h"

#define EXIT_USAGE 2
#define EXIT_CONFIG 3
#define EXIT_REFUSED 6
#define VALUE_MAX 4096

struct explained {
	const char *asked;                   /* the service's name */
	const struct relay_service *service; /* NULL: there is none of that name */
	struct identity *identity;           /* NULL: the certificate could not be read that far */
	struct verdict verdict;
	struct verdict on_trial; /* of would_allow: only where the chain is good and the service has it */
};

/* Whoever is told that there is no such service, or that no rule matches, showed a good chain. */
static bool has_good_chain(const struct explained *explained)
{
	const enum refusal refusal = explained->verdict.refusal;

	return refusal == REFUSAL_NONE || refusal == REFUSAL_NOT_ALLOWED || refusal == REFUSAL_UNKNOWN_SERVICE;
}

/* One value of foreign origin, escaped for a terminal. */
static void print_line(const char *label, const char *value)
{
	char storage[VALUE_MAX];
	struct text text;

	text_init(&text, storage, sizeof(storage));
	text_add_escaped(&text, value, strlen(value));
	printf("%-14s %s\n", label, text.at);
}

static void print_hex(const char *label, const uint8_t *bytes, size_t len)
{
	char storage[2 * IDENTITY_SERIAL_MAX + 1];
	struct text text;

	text_init(&text, storage, sizeof(storage));
	text_add_hex(&text, bytes, len);
	printf("%-14s %s\n", label, text.at);
}

static void print_identity(const struct identity *identity)
{
	char pin[IDENTITY_PIN_TEXT_MAX];
	char date[CERTIFICATE_DATE_MAX];

	print_line("subject", identity->subject);
	for (size_t i = 0; i < identity->n_names; i++)
		print_line(identity_kind_name(identity->names[i].kind), identity->names[i].value);
	print_hex("serial", identity->serial, identity->serial_len);
	identity_pin_text(identity, pin);
	print_line("spki_sha256", pin);
	print_line("issuer", identity->issuer);
	certificate_date(identity->not_before, date);
	print_line("valid from", date);
	certificate_date(identity->not_after, date);
	print_line("valid until", date);
}

/* What the operator wrote, key by key. */
static void rule_text(const struct access_rule *rule, struct text *text)
{
	const struct {
		const char *key;
		const char *value;
	} keys[] = { { "cn", rule->cn },
		         { "ou", rule->ou },
		         { "dns", rule->dns },
		         { "uri", rule->uri },
		         { "spki_sha256", rule->spki_sha256 } };

	text_add(text, rule->any ? "any = true; " : "");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].value != NULL) {
			text_addf(text, "%s = \"", keys[i].key);
			text_add_escaped(text, keys[i].value, strlen(keys[i].value));
			text_add(text, "\"; ");
		}
}

static void print_rules(const char *label, const struct access_list *list, const struct identity *identity)
{
	for (size_t i = 0; i < list->n_rules; i++) {
		const struct access_rule *rule = &list->rules[i];
		const char *fails = access_rule_fails(rule, identity);
		char storage[VALUE_MAX];
		struct text text;

		text_init(&text, storage, sizeof(storage));
		rule_text(rule, &text);
		if (fails == NULL)
			printf("%s %-*zu { %s} matches\n", label, 13 - (int)strlen(label), i + 1, text.at);
		else
			printf("%s %-*zu { %s} does not: another %s\n", label, 13 - (int)strlen(label), i + 1, text.at, fails);
	}
}

/* Was would_allow judged? */
static bool has_trial(const struct explained *explained)
{
	return explained->service != NULL && explained->service->would_allow.n_rules > 0 && has_good_chain(explained);
}

static void print_trial(const struct explained *explained)
{
	if (!has_trial(explained))
		return;
	if (explained->on_trial.refusal == REFUSAL_NONE)
		printf("%-14s would allow, by its rule %d\n", "would_allow", explained->on_trial.rule + 1);
	else
		printf("%-14s would refuse: %s: %s\n", "would_allow", refusal_name(explained->on_trial.refusal),
		       explained->on_trial.detail.text);
}

static void print_text(const struct explained *explained)
{
	const struct verdict *verdict = &explained->verdict;
	const bool has_rules = explained->identity != NULL && explained->service != NULL;

	if (explained->identity != NULL)
		print_identity(explained->identity);
	printf("%-14s %s\n", "chain", has_good_chain(explained) ? "good" : "refused");
	print_line("service", explained->asked);
	if (has_rules)
		print_rules("rule", &explained->service->allow, explained->identity);
	if (verdict->refusal == REFUSAL_NONE)
		printf("%-14s allowed by rule %d\n", "verdict", verdict->rule + 1);
	else
		printf("%-14s refused: %s: %s (the client reads the alert %s)\n", "verdict", refusal_name(verdict->refusal),
		       verdict->detail.text, alert_name((uint8_t)refusal_alert(verdict->refusal)));
	if (has_rules)
		print_rules("would", &explained->service->would_allow, explained->identity);
	print_trial(explained);
}

static void json_string(const char *value)
{
	char storage[2 * VALUE_MAX];
	struct text text;

	text_init(&text, storage, sizeof(storage));
	text_add_json(&text, value, strlen(value));
	printf("\"%s\"", text.at);
}

static void json_member(const char *key, const char *value)
{
	printf("\"%s\":", key);
	json_string(value);
	printf(",");
}

static void json_identity(const struct identity *identity)
{
	char storage[2 * IDENTITY_SERIAL_MAX + 1];
	char pin[IDENTITY_PIN_TEXT_MAX];
	char date[CERTIFICATE_DATE_MAX];
	struct text serial;

	json_member("subject", identity->subject);
	printf("\"names\":[");
	for (size_t i = 0; i < identity->n_names; i++) {
		printf("%s{", i > 0 ? "," : "");
		json_member("kind", identity_kind_name(identity->names[i].kind));
		printf("\"value\":");
		json_string(identity->names[i].value);
		printf("}");
	}
	printf("],");
	text_init(&serial, storage, sizeof(storage));
	text_add_hex(&serial, identity->serial, identity->serial_len);
	json_member("serial", serial.at);
	identity_pin_text(identity, pin);
	json_member("spki_sha256", pin);
	json_member("issuer", identity->issuer);
	certificate_date(identity->not_before, date);
	json_member("not_before", date);
	certificate_date(identity->not_after, date);
	json_member("not_after", date);
}

static void json_rules(const char *key, const struct access_list *list, const struct identity *identity)
{
	printf("\"%s\":[", key);
	for (size_t i = 0; i < list->n_rules; i++) {
		const char *fails = access_rule_fails(&list->rules[i], identity);

		if (fails == NULL)
			printf("%s{\"rule\":%zu,\"matches\":true}", i > 0 ? "," : "", i + 1);
		else
			printf("%s{\"rule\":%zu,\"matches\":false,\"fails\":\"%s\"}", i > 0 ? "," : "", i + 1, fails);
	}
	printf("],");
}

static void print_json(const struct explained *explained)
{
	const struct verdict *verdict = &explained->verdict;

	printf("{");
	if (explained->identity != NULL)
		json_identity(explained->identity);
	if (explained->identity != NULL && explained->service != NULL) {
		json_rules("rules", &explained->service->allow, explained->identity);
		if (explained->service->would_allow.n_rules > 0)
			json_rules("would_rules", &explained->service->would_allow, explained->identity);
	}
	if (has_trial(explained))
		printf("\"would_allow\":%s,", explained->on_trial.refusal == REFUSAL_NONE ? "true" : "false");
	json_member("service", explained->asked);
	if (verdict->refusal != REFUSAL_NONE) {
		json_member("reason", refusal_name(verdict->refusal));
		json_member("detail", verdict->detail.text);
		json_member("alert", alert_name((uint8_t)refusal_alert(verdict->refusal)));
	} else {
		printf("\"rule\":%d,", verdict->rule + 1);
	}
	printf("\"allowed\":%s}\n", verdict->refusal == REFUSAL_NONE ? "true" : "false");
}

/* The one that is meant, or none where several are there and none is named: the question is not complete then. */
static enum ps_err choose_service(const struct relay_config *config, const char *name, int *service,
                                  struct ps_cause *cause)
{
	*service = 0;
	if (name != NULL)
		*service = ruling_find_service(config, name);
	else if (config->services_list.n != 1)
		return ps_cause_set(cause, PS_E_CONFIG, "%s has several services: use --service NAME", config->path);
	return PS_OK;
}

/* As the gatekeeper does; what was asked for is known here only. */
static void judge(struct explained *explained, const struct relay_config *config, struct trust *trust,
                  struct mbedtls_x509_crt *chain, int service)
{
	char quoted[TEXT_QUOTED_MAX];

	explained->service = service != CONFIG_NO_SERVICE ? &config_services(config)[service] : NULL;
	if (explained->service != NULL)
		explained->asked = explained->service->name;
	ruling_make(config, trust, chain, service, (int64_t)time(NULL), &explained->verdict, &explained->identity);
	if (explained->verdict.refusal == REFUSAL_UNKNOWN_SERVICE)
		(void)ps_cause_set(&explained->verdict.detail, PS_E_AUTH, "%s has no service \"%s\"", config->path,
		                   text_escaped(quoted, explained->asked));
	if (has_trial(explained))
		judge_access(&explained->service->would_allow, explained->identity, &explained->on_trial);
}

static enum ps_err load_trust(const struct relay_config *config, struct trust **trust, struct ps_cause *cause)
{
	struct trust_config from = config_trust(config);

	return trust_new(&from, trust, cause);
}

struct explain_options {
	const char *config;
	const char *certificate;
	const char *service;
	const char *json;
	const char *help;
};

static int explain(const struct explain_options *options)
{
	struct explained explained = { .asked = options->service };
	struct relay_config *config = NULL;
	struct trust *trust = NULL;
	struct mbedtls_x509_crt *chain = NULL;
	struct ps_cause cause;
	int service = CONFIG_NO_SERVICE;
	int exit_code = EXIT_CONFIG;

	if (config_load(options->config, &config, &cause) != PS_OK ||
	    choose_service(config, options->service, &service, &cause) != PS_OK ||
	    load_trust(config, &trust, &cause) != PS_OK ||
	    certificate_chain_new(options->certificate, &chain, &cause) != PS_OK) {
		fprintf(stderr, "portseal-relay: %s\n", cause.text);
		goto done;
	}
	judge(&explained, config, trust, chain, service);
	if (options->json != NULL)
		print_json(&explained);
	else
		print_text(&explained);
	exit_code = explained.verdict.refusal == REFUSAL_NONE ? 0 : EXIT_REFUSED;
done:
	identity_free(explained.identity);
	certificate_chain_free(chain);
	trust_free(trust);
	config_free(config);
	return exit_code;
}

int explain_main(int argc, char *const *argv)
{
	struct explain_options given = { NULL, NULL, NULL, NULL, NULL };
	const struct args_option options[] = {
		{ "config", 'c', "FILE", "the relay's configuration", &given.config, NULL },
		{ "cert", 0, "FILE", "the client's certificate, with its intermediates if it has any", &given.certificate,
		  NULL },
		{ "service", 0, "NAME", "the service it wants (default: the only one)", &given.service, NULL },
		{ "json", 0, NULL, "print one JSON object", &given.json, NULL },
		{ "help", 'h', NULL, "print this and exit", &given.help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct ps_cause cause;

	if (args_parse(options, argc, argv, NULL, &cause) != PS_OK) {
		fprintf(stderr, "portseal-relay: explain: %s\n", cause.text);
		return EXIT_USAGE;
	}
	if (given.help != NULL) {
		printf("usage: portseal-relay explain -c FILE --cert FILE [--service NAME] [--json]\n\n");
		args_print_help(stdout, options);
		printf("\nExit codes: 0 allowed, 6 refused, 2 usage, 3 configuration or certificate not readable.\n");
		return 0;
	}
	if (given.config == NULL || given.certificate == NULL) {
		fprintf(stderr, "portseal-relay: explain: %s\n",
		        given.config == NULL ? "no configuration given: use -c FILE" : "no certificate given: use --cert FILE");
		return EXIT_USAGE;
	}
	return explain(&given);
}
