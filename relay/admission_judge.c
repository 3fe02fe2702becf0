/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission_judge -- after the handshake: the verdict, and the hand-over of whoever may enter.
 */
#include "admission_internal.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "portseal/buf.h"
#include "portseal/expiry.h"
#include "portseal/judge.h"
#include "portseal/log.h"

static void hand_over(struct admission *admission, const struct identity *identity)
{
	struct handover handover = {
		.conn = admission->conn,
		.started_ms = admission->begun_ms,
		.service = (uint32_t)admission->route.service,
		.not_after = identity->not_after,
	};
	struct ps_cause cause;
	enum refusal refusal;

	memcpy(handover.client_pin, identity->pin, sizeof(handover.client_pin));
	memcpy(handover.peer, admission->peer, sizeof(handover.peer));
	identity_label(identity, handover.client);
	handshake_secrets(admission->handshake, &handover.secrets);
	uv_poll_stop(&admission->poll);
	refusal = handoff_send(admission->all->config.handoff, &handover, admission->fd, &cause);
	if (refusal == REFUSAL_NONE)
		close(admission_detach(admission));
	else
		admission_refuse_sealed(admission, refusal, identity, cause.text);
	ps_wipe(&handover.secrets, sizeof(handover.secrets));
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

void admission_judge(struct admission *admission)
{
	const struct admissions_config *config = &admission->all->config;
	const struct relay_service *service = NULL;
	struct identity *identity = NULL;
	int64_t now = (int64_t)time(NULL);
	struct verdict verdict;

	judge_chain(config->trust, PURPOSE_CLIENT, handshake_peer_chain(admission->handshake), now, &verdict, &identity);
	if (verdict.refusal == REFUSAL_NONE && admission->route.service == CONFIG_NO_SERVICE) {
		verdict.refusal = REFUSAL_UNKNOWN_SERVICE;
		ps_cause_set(&verdict.detail, PS_E_AUTH, "neither the listener, ALPN nor the server name chooses a service");
	}
	if (verdict.refusal == REFUSAL_NONE) {
		service = &config_services(config->config)[admission->route.service];
		judge_access(&service->allow, identity, &verdict);
	}
	if (verdict.refusal == REFUSAL_NONE) {
		judge_on_trial(admission, service, identity);
		tell_of_expiry(admission, identity, now);
		hand_over(admission, identity);
	} else {
		admission_refuse_sealed(admission, verdict.refusal, identity, verdict.detail.text);
	}
	identity_free(identity);
}
