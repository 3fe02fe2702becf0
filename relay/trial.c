/* SPDX-License-Identifier: Apache-2.0 */
#include "trial.h"

#include "portseal/judge.h"
#include "portseal/log.h"

void trial_tell(uint64_t conn, const struct relay_service *service, const struct identity *identity)
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
	log_begin(&line, LOG_INFO, conn, "would-refuse");
	log_text(&line, "client", label);
	log_text(&line, "subject", identity->subject);
	log_word(&line, "service", service->name);
	log_text(&line, "detail", verdict.detail.text);
	log_end(&line);
}
