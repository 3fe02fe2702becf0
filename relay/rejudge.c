/* SPDX-License-Identifier: Apache-2.0 */
#include "rejudge.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "portseal/certificate.h"
#include "portseal/handover.h"
#include "portseal/log.h"
#include "ruling.h"
#include "trial.h"

/* One chain costs a signature check or two: a few in each turn, so that handshakes go on. */
#define QUESTIONS_PER_TURN 4

struct rejudge {
	const struct role_env *env;
	const struct relay_config *config;
	struct trust *trust;
	bool stopped;
	unsigned n_slots; /* whose handles are there */
	uv_poll_t slots[SUPERVISOR_WORKERS_MAX];
};

/* Whoever gets in for the first time is told of to the operator as at the door. */
static void tell(const struct rejudge *rejudge, const struct handover_rejudge *question, int service,
                 const struct identity *identity)
{
	if (question->conn != 0 && service >= 0)
		trial_tell(question->conn, &config_services(rejudge->config)[service], identity);
}

static void judge(const struct rejudge *rejudge, const struct handover_rejudge *question, int service,
                  struct handover_judged *answer)
{
	struct mbedtls_x509_crt *chain = NULL;
	struct identity *identity = NULL;
	struct verdict verdict;

	if (certificate_chain_unpack(question->presented.der, question->presented.len, &chain) != PS_OK) {
		answer->refusal = REFUSAL_INTERNAL;
		return;
	}
	ruling_make(rejudge->config, rejudge->trust, chain, service, (int64_t)time(NULL), &verdict, &identity);
	answer->refusal = verdict.refusal;
	if (verdict.refusal != REFUSAL_NONE) {
		memcpy(answer->detail, verdict.detail.text, sizeof(answer->detail));
	} else {
		answer->not_after = verdict.path_ends;
		tell(rejudge, question, service, identity);
	}
	identity_free(identity);
	certificate_chain_free(chain);
}

static void describe_service(const struct rejudge *rejudge, int service, struct handover_judged *answer)
{
	const char *name = service >= 0 ? config_services(rejudge->config)[service].name : "";

	memcpy(answer->service_name, name, strlen(name)); /* shorter by the configuration's check */
	ruling_terms(rejudge->config, service, &answer->terms);
}

static int service_of(const struct rejudge *rejudge, const struct handover_rejudge *question)
{
	return question->asked[0] == '\0' ? CONFIG_NONE_YET : ruling_find_asked(rejudge->config, question->asked);
}

static void answer_one(const struct rejudge *rejudge, int slot, const struct handover_rejudge *question)
{
	struct handover_judged answer = {
		.id = question->id,
		.generation = rejudge->env->generation,
		.refusal = REFUSAL_NONE,
		.keep = rejudge->config->on_revoke == ON_REVOKE_KEEP,
		.not_after = INT64_MAX,
	};
	const int service = service_of(rejudge, question);

	if (answer.generation < question->generation) {
		/* Whoever is of the right one answers it when it is asked again. */
	} else if (service == CONFIG_NO_SERVICE) {
		answer.refusal = REFUSAL_UNKNOWN_SERVICE; /* costs no look at the chain */
		(void)snprintf(answer.detail, sizeof(answer.detail), "there is no such service");
	} else {
		describe_service(rejudge, service, &answer);
		judge(rejudge, question, service, &answer);
	}
	if (handover_send_judged(slot, &answer) != PS_OK)
		log_event(LOG_WARN, "answer-lost", "a worker's queue is full; it asks again");
}

static void on_slot(uv_poll_t *poll, int status, int events)
{
	const struct rejudge *rejudge = poll->data;
	int slot = rejudge->env->slots[poll - rejudge->slots];

	(void)status;
	(void)events;
	for (int i = 0; i < QUESTIONS_PER_TURN; i++) {
		struct handover_message message;
		enum ps_err err = handover_receive(slot, &message);

		if (err == PS_E_PROTO)
			log_event(LOG_ERROR, "question-malformed", "a worker sent what is no question; it was dropped");
		if (err == PS_OK && message.fd >= 0)
			close(message.fd);
		if (err == PS_OK && message.type == HANDOVER_REJUDGE)
			answer_one(rejudge, slot, &message.body.rejudge);
		else if (err != PS_OK && err != PS_E_PROTO)
			return;
	}
}

enum ps_err rejudge_new(uv_loop_t *loop, const struct role_env *env, const struct relay_config *config,
                        struct trust *trust, struct rejudge **rejudge)
{
	struct rejudge *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->env = env;
	fresh->config = config;
	fresh->trust = trust;
	*rejudge = fresh;
	for (unsigned i = 0; i < env->n_slots; i++) {
		if (uv_poll_init(loop, &fresh->slots[i], env->slots[i]) != 0)
			return PS_E_IO;
		fresh->slots[i].data = fresh;
		fresh->n_slots++;
	}
	return PS_OK;
}

void rejudge_start(struct rejudge *rejudge)
{
	for (unsigned i = 0; i < rejudge->n_slots; i++)
		uv_poll_start(&rejudge->slots[i], UV_READABLE, on_slot);
}

void rejudge_stop(struct rejudge *rejudge)
{
	if (rejudge == NULL || rejudge->stopped)
		return;
	rejudge->stopped = true;
	for (unsigned i = 0; i < rejudge->n_slots; i++)
		uv_close((uv_handle_t *)&rejudge->slots[i], NULL);
}

void rejudge_free(struct rejudge *rejudge)
{
	free(rejudge);
}
