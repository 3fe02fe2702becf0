/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_local -- the steps that need no network: configuration, files, our own certificate.
 */
#include "doctor_steps.h"

#include <time.h>

#include "portseal/certificate.h"
#include "portseal/credentials.h"
#include "portseal/file.h"
#include "portseal/identity.h"
#include "portseal/trust.h"

#define DAY INT64_C(86400)

static bool fail(struct doctor *doctor, struct doctor_finding *finding, enum outcome_code code,
                 const struct ps_cause *cause, const char *remedy)
{
	text_add(&finding->cause, cause->text);
	text_add(&finding->remedy, remedy);
	return doctor_end(&doctor->report, finding, code);
}

static enum ps_err check_readable(const char *path, struct ps_cause *cause)
{
	struct buf content = BUF_INIT;
	const enum ps_err err = file_read(path, CERTIFICATE_FILE_MAX, &content, cause);

	buf_release(&content);
	return err;
}

/* What the file or the options say is there, may be read, and the key by nobody else. */
static bool check_files(struct doctor *doctor, struct doctor_finding *finding)
{
	const struct sender_config *config = doctor->config;
	struct trust *trust = NULL;
	struct ps_cause cause;

	if (check_readable(config->tls.certificate, &cause) != PS_OK || check_readable(config->tls.key, &cause) != PS_OK ||
	    check_readable(config->tls.relay_ca, &cause) != PS_OK)
		return fail(doctor, finding, OUTCOME_OWN_SETUP, &cause,
		            "does the path exist, seen from the configuration file, and may this user read it? ls -l FILE; id");
	if (file_check_private(config->tls.key, &cause) != PS_OK)
		return fail(doctor, finding, OUTCOME_OWN_SETUP, &cause,
		            "chmod 600 FILE; its owner must be root or the user that runs this");
	if (trust_load(config->tls.relay_ca, NULL, &trust, &cause) != PS_OK)
		return fail(doctor, finding, OUTCOME_OWN_SETUP, &cause,
		            "--ca (relay_ca) takes the ca.crt that signed the relay's certificate: portseal-certs show FILE");
	trust_free(trust);
	return doctor_end(&doctor->report, finding, OUTCOME_DONE);
}

bool doctor_check_config(struct doctor *doctor)
{
	struct doctor_finding *finding = doctor_begin(&doctor->report, DOCTOR_CONFIG);
	const struct config_options *options = doctor->options;
	char quoted[TEXT_QUOTED_MAX];
	char relay[ADDRESS_TEXT_MAX];
	struct ps_cause cause;

	text_add(&finding->detail, options->file != NULL ? text_escaped(quoted, options->file) : "from the options");
	if (config_load(options, false, &doctor->config, &cause) != PS_OK)
		return fail(doctor, finding, options->file != NULL ? OUTCOME_OWN_SETUP : OUTCOME_USAGE, &cause,
		            "the manual, portseal-sender(1), names every key and option");
	if (options->timeout != NULL)
		config_cap_steps(doctor->config);
	address_print(&config_relay(doctor->config)->address, relay);
	text_addf(&finding->detail, ": relay %s", relay);
	if (doctor->config->service != NULL)
		text_addf(&finding->detail, ", service \"%s\"", doctor->config->service);
	return check_files(doctor, finding);
}

void doctor_warn_of_expiry(struct doctor_finding *finding, int64_t not_after, const char *whose, const char *remedy)
{
	const int64_t left = not_after - (int64_t)time(NULL);

	if (left >= DOCTOR_EXPIRY_WARNING || left < 0 || finding->cause.len > 0)
		return;
	text_addf(&finding->cause, "%s expires in %lld days", whose, (long long)((left + DAY / 2) / DAY));
	text_add(&finding->remedy, remedy);
}

/* What every relay refuses of a client. Returns NULL if there is nothing of the kind, else what to do. */
static const char *find_fault(const struct mbedtls_x509_crt *own, const struct identity *identity,
                              enum certificate_use use, struct doctor_finding *finding)
{
	const int64_t now = (int64_t)time(NULL);
	char date[CERTIFICATE_DATE_MAX];

	if (now > identity->not_after) {
		certificate_date(identity->not_after, date);
		text_addf(&finding->cause, "it expired on %s", date);
		return "portseal-certs renew NAME; is the clock here right? date -u";
	}
	if (now < identity->not_before) {
		certificate_date(identity->not_before, date);
		text_addf(&finding->cause, "it is not valid before %s", date);
		return "is the clock here right? date -u";
	}
	if (certificate_may_issue(own)) {
		text_add(&finding->cause, "it is an authority (CA:TRUE), which nobody may show as their own");
		return "make one with: portseal-certs sender NAME";
	}
	if (use == CERTIFICATE_USE_OTHER) {
		text_add(&finding->cause, "it was not issued for clients (clientAuth)");
		return "make one with: portseal-certs sender NAME";
	}
	return NULL;
}

static bool judge_own(struct doctor *doctor, struct doctor_finding *finding, struct credentials *credentials)
{
	const enum certificate_use use = certificate_use(credentials_chain(credentials), PURPOSE_CLIENT);
	char label[IDENTITY_LABEL_MAX];
	char quoted[TEXT_QUOTED_MAX];
	char date[CERTIFICATE_DATE_MAX];
	struct identity *identity = NULL;
	struct ps_cause cause;

	if (identity_new(credentials_chain(credentials), &identity, &cause) != PS_OK)
		return fail(doctor, finding, OUTCOME_OWN_SETUP, &cause, "make one with: portseal-certs sender NAME");
	identity_label(identity, label);
	certificate_date(identity->not_after, date);
	text_addf(&finding->detail, ": \"%s\" until %s", text_escaped(quoted, label), date);
	const char *remedy = find_fault(credentials_chain(credentials), identity, use, finding);
	if (remedy == NULL && use != CERTIFICATE_USE_NAMED) {
		text_add(&finding->cause,
		         "it does not say that it is for clients (clientAuth), which a Portseal relay demands");
		text_add(&finding->remedy, "make one with: portseal-certs sender NAME");
	}
	if (remedy == NULL)
		doctor_warn_of_expiry(finding, identity->not_after, "our certificate", "portseal-certs renew NAME");
	else
		text_add(&finding->remedy, remedy);
	identity_free(identity);
	/* `send` shows what it has, as a clock of ours may be wrong, and is then refused. */
	return doctor_end(&doctor->report, finding, remedy == NULL ? OUTCOME_DONE : OUTCOME_REFUSED);
}

bool doctor_check_certificate(struct doctor *doctor)
{
	struct doctor_finding *finding = doctor_begin(&doctor->report, DOCTOR_CERTIFICATE);
	const struct sender_config *config = doctor->config;
	struct credentials *credentials = NULL;
	char quoted[TEXT_QUOTED_MAX];
	struct ps_cause cause;

	text_add(&finding->detail, text_escaped(quoted, config->tls.certificate));
	if (credentials_load(config->tls.certificate, config->tls.key, PURPOSE_CLIENT, &credentials, &cause) != PS_OK ||
	    dial_setup_new(config, &doctor->setup, &cause) != PS_OK) {
		credentials_free(credentials);
		return fail(doctor, finding, OUTCOME_OWN_SETUP, &cause, "portseal-certs show FILE tells what is in each file");
	}
	const bool good = judge_own(doctor, finding, credentials);
	credentials_free(credentials);
	return good;
}
