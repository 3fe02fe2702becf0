/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission_judge -- after the handshake: the verdict, and the hand-over of whoever may enter.
 */
#include "admission_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "portseal/buf.h"
#include "portseal/certificate.h"
#include "portseal/conf_field.h"
#include "portseal/expiry.h"
#include "portseal/judge.h"
#include "portseal/log.h"
#include "ruling.h"

_Static_assert(CONF_FIELD_SERVICE_MAX < HANDOVER_SERVICE_MAX, "a service's name fits a hand-over");

/* What is needed to judge it again, and no more: whatever else a client shows with each connection would cost memory
 * while it lives, and signatures at each reload. */
static void pack_path(const struct verdict *verdict, struct handover_presented *presented)
{
	size_t len = 0;

	/* It came in one handshake message of at most so many bytes: it fits. */
	if (certificate_chain_pack(verdict->path, verdict->path_len, presented->der, sizeof(presented->der), &len) != PS_OK)
		len = 0;
	presented->len = (uint32_t)len;
}

void admission_hand_over(struct admission *admission)
{
	const struct admissions_config *config = &admission->all->config;
	const struct verdict *verdict = admission->verdict;
	const struct identity *identity = admission->identity;
	const struct relay_service *service = &config_services(config->config)[admission->route.service];
	struct handover handover = {
		.conn = admission->conn,
		.started_ms = admission->begun_ms,
		.service = (uint32_t)admission->route.service,
		.generation = config->handoff->env->generation,
		.not_after = config->config->on_revoke == ON_REVOKE_CLOSE ? verdict->path_ends : INT64_MAX,
		.target = service->target,
		.connect_ms = config->config->timeouts.connect_ms,
		.idle_ms = config->config->timeouts.idle_ms,
	};
	struct ps_cause cause;
	enum refusal refusal;

	pack_path(verdict, &handover.presented);
	memcpy(handover.service_name, service->name, strlen(service->name)); /* shorter by the configuration's check */
	memcpy(handover.client_pin, identity->pin, sizeof(handover.client_pin));
	memcpy(handover.peer, admission->peer, sizeof(handover.peer));
	identity_label(identity, handover.client);
	if (audit_is_on(config->audit))
		audit_who_set(&handover.who, identity);
	handshake_secrets(admission->handshake, &handover.secrets);
	uv_poll_stop(&admission->poll);
	refusal = handoff_send(config->handoff, &handover, admission->fd, &cause);
	if (refusal == REFUSAL_NONE)
		close(admission_detach(admission));
	else
		admission_refuse_sealed(admission, refusal, identity, cause.text);
	ps_wipe(&handover.secrets, sizeof(handover.secrets));
}

static void on_written(void *owner, bool goes_on, const char *cause)
{
	struct admission *admission = owner;
	struct admissions *all = admission->all;

	admission->wait = NULL;
	if (goes_on)
		admission_hand_over(admission);
	else
		admission_refuse_sealed(admission, REFUSAL_AUDIT_FAILED, admission->identity, cause);
	admissions_start_next(all);
}

/* Nobody enters before it is on record. */
static void record(struct admission *admission)
{
	const struct admissions_config *config = &admission->all->config;
	struct audit_entry entry = { .conn = admission->conn, .peer = admission->peer };
	struct audit_who who;

	if (audit_is_on(config->audit)) {
		audit_who_set(&who, admission->identity);
		entry.who = &who;
		entry.service = config_services(config->config)[admission->route.service].name;
	}
	switch (audit_accepted(config->audit, &entry, on_written, admission, &admission->wait)) {
	case AUDIT_OFF:
		admission_hand_over(admission);
		break;
	case AUDIT_ASKED:
		uv_poll_stop(&admission->poll);
		admission_set_state(admission, ADMISSION_RECORD);
		break;
	case AUDIT_UNASKABLE:
		admission_refuse_sealed(admission, REFUSAL_AUDIT_FAILED, admission->identity, "out of memory");
		break;
	}
}

/* Takes the identity. The verdict's path lies in the chain that the handshake keeps. */
static void keep_and_record(struct admission *admission, const struct verdict *verdict, struct identity *identity)
{
	admission->identity = identity;
	admission->verdict = malloc(sizeof(*verdict));
	if (admission->verdict == NULL) {
		admission_refuse_sealed(admission, REFUSAL_INTERNAL, identity, "out of memory");
		return;
	}
	*admission->verdict = *verdict;
	record(admission);
}

/* Rules that an operator only tries out: told, never enforced. */
static void judge_on_trial(const struct admission *admission, const struct relay_service *service,
                           const struct identity *identity)
{
	char label[IDENTITY_LABEL_MAX];
	struct verdict verdict;
	struct log_line line;

	if (service->would_allow.n_rules == 0)
		return;
	judge_access(&service->would_allow, identity, &verdict);
	if (verdict.refusal == REFUSAL_NONE)
		return;
	identity_label(identity, label);
	log_begin(&line, LOG_INFO, admission->conn, "would-refuse");
	log_text(&line, "client", label);
	log_text(&line, "subject", identity->subject);
	log_word(&line, "service", service->name);
	log_text(&line, "detail", verdict.detail.text);
	log_end(&line);
}

/* Clients rarely watch their own certificates; here their end is seen coming. */
static void tell_of_expiry(const struct admission *admission, const struct identity *identity, int64_t now)
{
	char label[IDENTITY_LABEL_MAX];
	char date[CERTIFICATE_DATE_MAX];
	struct log_line line;

	if (!expiring_clients_is_news(admission->all->config.expiring, identity, now))
		return;
	identity_label(identity, label);
	certificate_date(identity->not_after, date);
	log_begin(&line, LOG_WARN, admission->conn, "expires-soon");
	log_word(&line, "what", "client");
	log_text(&line, "client", label);
	log_text(&line, "subject", identity->subject);
	log_number(&line, "days", (uint64_t)expiry_days(identity->not_after, now));
	log_word(&line, "at", date);
	log_end(&line);
}

/* What it asked for is known here only. */
static void tell_what_was_missed(const struct route *route, struct ps_cause *detail)
{
	if (route->missed[0] != '\0')
		(void)ps_cause_set(detail, PS_E_AUTH, "it asked for \"%s\", and there is no such service", route->missed);
	else
		(void)ps_cause_set(detail, PS_E_AUTH, "neither its protocols nor its server name choose one of the services");
}

void admission_judge(struct admission *admission)
{
	const struct admissions_config *config = &admission->all->config;
	const struct relay_service *service = NULL;
	struct identity *identity = NULL;
	int64_t now = (int64_t)time(NULL);
	struct verdict verdict;

	ruling_make(config->config, config->trust, handshake_peer_chain(admission->handshake), admission->route.service,
	            now, &verdict, &identity);
	if (verdict.refusal == REFUSAL_NONE) {
		service = &config_services(config->config)[admission->route.service];
		judge_on_trial(admission, service, identity);
		tell_of_expiry(admission, identity, now);
		keep_and_record(admission, &verdict, identity);
		return;
	}
	if (verdict.refusal == REFUSAL_UNKNOWN_SERVICE)
		tell_what_was_missed(&admission->route, &verdict.detail);
	admission_refuse_sealed(admission, verdict.refusal, identity, verdict.detail.text);
	identity_free(identity);
}
