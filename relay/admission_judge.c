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
#include "trial.h"

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

/* NULL: each stream of it chooses its own. */
static const struct relay_service *service_of(const struct admission *admission)
{
	const int service = admission->route.service;

	return service == CONFIG_NO_SERVICE ? NULL : &config_services(admission->all->config.config)[service];
}

void admission_hand_over(struct admission *admission)
{
	const struct admissions_config *config = &admission->all->config;
	const struct verdict *verdict = admission->verdict;
	const struct identity *identity = admission->identity;
	const struct relay_service *service = service_of(admission);
	struct handover handover = {
		.conn = admission->conn,
		.started_ms = admission->begun_ms,
		.service = (uint32_t)admission->route.service,
		.is_h2 = admission->route.kind == ROUTE_H2,
		.max_streams = (uint32_t)config->config->limits.streams_per_connection,
		.generation = config->handoff->env->generation,
		.not_after = config->config->on_revoke == ON_REVOKE_CLOSE ? verdict->path_ends : INT64_MAX,
	};
	struct ps_cause cause;
	enum refusal refusal;

	pack_path(verdict, &handover.presented);
	if (service != NULL) /* its name is shorter by the configuration's check */
		memcpy(handover.service_name, service->name, strlen(service->name));
	ruling_terms(config->config, admission->route.service, &handover.terms);
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
		entry.service = service_of(admission) == NULL ? NULL : service_of(admission)->name;
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
	const bool is_h2 = admission->route.kind == ROUTE_H2;
	struct identity *identity = NULL;
	int64_t now = (int64_t)time(NULL);
	struct verdict verdict;

	/* Of HTTP/2 the chain is judged: each stream asks for its own service. */
	ruling_make(config->config, config->trust, handshake_peer_chain(admission->handshake),
	            is_h2 ? CONFIG_NONE_YET : admission->route.service, now, &verdict, &identity);
	if (verdict.refusal == REFUSAL_NONE) {
		if (!is_h2)
			trial_tell(admission->conn, service_of(admission), identity);
		tell_of_expiry(admission, identity, now);
		keep_and_record(admission, &verdict, identity);
		return;
	}
	if (verdict.refusal == REFUSAL_UNKNOWN_SERVICE)
		tell_what_was_missed(&admission->route, &verdict.detail);
	admission_refuse_sealed(admission, verdict.refusal, identity, verdict.detail.text);
	identity_free(identity);
}
