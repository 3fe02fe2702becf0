/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_relay -- the steps behind a TCP connection: TLS, both certificates, the service and the application, on one
 * connection, on which no byte of payload is sent.
 */
#include "doctor_steps.h"

#include <inttypes.h>
#include <unistd.h>

#include "doctor_advice.h"
#include "doctor_listen.h"
#include "portseal/certificate.h"
#include "portseal/clock.h"

static bool end_ok(struct doctor *doctor, struct doctor_finding *finding)
{
	return doctor_end(&doctor->report, finding, OUTCOME_DONE);
}

static void on_dialled(void *owner, const struct dial_result *result)
{
	struct doctor *doctor = owner;

	doctor->dial = *result;
	doctor->dialled = true;
}

/* On the first address that took the connection, as `send` does. */
static void dial_relay(struct doctor *doctor)
{
	const struct dial_config config = {
		.loop = &doctor->loop,
		.setup = doctor->setup,
		.service = doctor->config->service,
		.on_done = on_dialled,
		.owner = doctor,
	};
	struct doctor_place *place = doctor->places;
	struct dial *dial = NULL;

	while (place->fd < 0)
		place++;
	uv_update_time(&doctor->loop);
	const enum ps_err err = dial_on(&config, place->fd, place->peer, &dial);
	place->fd = -1;
	if (err != PS_OK) {
		outcome_set(&doctor->dial.outcome, OUTCOME_UNFORESEEN, "the handshake could not begin: %s", ps_err_text(err));
		return;
	}
	while (!doctor->dialled)
		(void)uv_run(&doctor->loop, UV_RUN_ONCE);
}

static enum doctor_step failed_step(const struct dial_result *dial)
{
	if (dial->outcome.refusal == REFUSAL_PEER_ALERT)
		return doctor_step_of_alert(dial->alert, dial->accepted);
	return doctor_step_of_refusal(dial->outcome.refusal);
}

/* Where a service must be named and none was, those of the tunnels are likely. */
static void suggest_services(const struct doctor *doctor, struct text *remedy)
{
	const char *word = "; those of the tunnels are ";

	for (size_t i = 0; i < doctor->config->tunnels_list.n; i++) {
		if (config_tunnels(doctor->config)[i].service == NULL)
			continue;
		text_addf(remedy, "%s%s", word, config_tunnels(doctor->config)[i].service);
		word = ", ";
	}
}

static bool fail_by_alert(struct doctor *doctor, struct doctor_finding *finding, const struct outcome *outcome,
                          uint8_t alert)
{
	const bool has_service = doctor->config->service != NULL;

	text_add(&finding->cause, outcome->cause.text);
	doctor_advise_alert(&finding->remedy, finding->step, alert, has_service);
	if (!has_service && finding->step == DOCTOR_SERVICE && alert != ALERT_ACCESS_DENIED)
		suggest_services(doctor, &finding->remedy);
	return doctor_end(&doctor->report, finding, outcome->code);
}

static bool fail_handshake(struct doctor *doctor, struct doctor_finding *finding)
{
	const struct dial_result *dial = &doctor->dial;
	const enum refusal refusal = dial->outcome.refusal;

	if (refusal == REFUSAL_PEER_ALERT)
		return fail_by_alert(doctor, finding, &dial->outcome, dial->alert);
	if (refusal == REFUSAL_NONE || refusal == REFUSAL_INTERNAL || finding->step == DOCTOR_SERVICE)
		text_add(&finding->cause, dial->outcome.cause.text);
	else if (refusal == REFUSAL_HANDSHAKE_TIMEOUT)
		text_addf(&finding->cause, "connected, but no answer within %" PRIu64 " ms",
		          doctor->config->timeouts.handshake_ms);
	else if (finding->step == DOCTOR_RELAY && refusal != REFUSAL_WRONG_NAME && dial->seen.text[0] != '\0')
		text_addf(&finding->cause, "%s: %s", refusal_text(refusal), dial->seen.text);
	else
		text_add(&finding->cause, dial->seen.text[0] != '\0' ? dial->seen.text : refusal_text(refusal));
	doctor_advise_refusal(&finding->remedy, refusal);
	return doctor_end(&doctor->report, finding, dial->outcome.code);
}

static void describe_relay(struct doctor *doctor, struct doctor_finding *finding)
{
	char quoted[TEXT_QUOTED_MAX];
	char date[CERTIFICATE_DATE_MAX];

	if (doctor->dial.relay[0] == '\0') {
		text_add(&finding->detail, "its certificate");
		return;
	}
	certificate_date(doctor->dial.not_after, date);
	text_addf(&finding->detail, "\"%s\" until %s", text_escaped(quoted, doctor->dial.relay), date);
	if (!doctor->dial.accepted)
		return;
	text_addf(&finding->detail, ", good for %s", text_escaped(quoted, config_relay(doctor->config)->server_name));
	doctor_warn_of_expiry(finding, doctor->dial.not_after, "the relay's certificate",
	                      "its operator should renew it: portseal-certs renew NAME, and restart the relay");
}

static void describe_tls(const struct doctor *doctor, struct doctor_finding *finding, enum doctor_step failed)
{
	if (failed == DOCTOR_TLS)
		text_add(&finding->detail, "no TLS connection");
	else if (doctor->dial.secrets.suite != 0)
		text_addf(&finding->detail, "1.3 with %s", suite_find(doctor->dial.secrets.suite)->name);
	else
		text_add(&finding->detail, "is spoken");
}

bool doctor_check_tls(struct doctor *doctor)
{
	struct doctor_finding *finding = doctor_begin(&doctor->report, DOCTOR_TLS);

	dial_relay(doctor);
	const bool done = doctor->dial.outcome.code == OUTCOME_DONE;
	const enum doctor_step failed = done ? DOCTOR_N_STEPS : failed_step(&doctor->dial);

	describe_tls(doctor, finding, failed);
	if (failed == DOCTOR_TLS)
		return fail_handshake(doctor, finding);
	if (doctor->dial.shake_ms > 0)
		finding->started_ms = clock_now_ms() - doctor->dial.shake_ms; /* without what was listened for behind it */
	(void)end_ok(doctor, finding);

	if (failed == DOCTOR_RELAY || doctor->dial.accepted) {
		finding = doctor_begin(&doctor->report, DOCTOR_RELAY);
		describe_relay(doctor, finding);
		if (failed == DOCTOR_RELAY)
			return fail_handshake(doctor, finding);
		(void)end_ok(doctor, finding);
	}
	if (done)
		return true;
	finding = doctor_begin(&doctor->report, failed);
	text_add(&finding->detail, failed == DOCTOR_SERVICE ? "not confirmed" : "not let in");
	return fail_handshake(doctor, finding);
}

static bool fail_heard(struct doctor *doctor, struct doctor_finding *finding, const struct heard *heard)
{
	struct outcome outcome;
	const struct outcome_names names = {
		.relay = doctor->dial.peer,
		.server_name = config_relay(doctor->config)->server_name,
		.service = doctor->config->service,
	};

	if (heard->what == HEARD_ALERT) {
		outcome_of_alert(&outcome, heard->alert, &names);
		return fail_by_alert(doctor, finding, &outcome, heard->alert);
	}
	text_add(&finding->cause, heard->what == HEARD_CUT ? "the connection was cut, and not ended by TLS"
	                                                   : "what came back was damaged or forged");
	text_add(&finding->remedy, "the relay's log has a line with event=closed and the reason");
	return doctor_end(&doctor->report, finding, OUTCOME_UNDELIVERED);
}

/* A refused client hears nothing but the alert: whatever an application says shows that there was none. */
static void report_admission(struct doctor *doctor, const struct heard *heard)
{
	struct doctor_finding *finding = doctor_begin(&doctor->report, DOCTOR_ADMISSION);
	const bool shown = heard->what == HEARD_REPLY || heard->what == HEARD_END || heard->alert == ALERT_ACCESS_DENIED;

	text_add(&finding->detail, shown ? "our certificate was accepted" : "nothing was said against our certificate");
	(void)end_ok(doctor, finding);
}

static void report_service(struct doctor *doctor)
{
	struct doctor_finding *finding = doctor_begin(&doctor->report, DOCTOR_SERVICE);

	if (doctor->config->service != NULL)
		text_addf(&finding->detail, "\"%s\" was confirmed", doctor->config->service);
	else
		text_add(&finding->detail, "none was asked for: the relay chose");
	(void)end_ok(doctor, finding);
}

/* Ends the step, which the listening belongs to. */
static bool report_application(struct doctor *doctor, const struct heard *heard, uint64_t started_ms)
{
	struct doctor_finding *finding = doctor_begin(&doctor->report, DOCTOR_APPLICATION);

	finding->started_ms = started_ms;
	switch (heard->what) {
	case HEARD_REPLY:
		text_addf(&finding->detail, "it is there: it said %zu bytes", heard->reply_len);
		break;
	case HEARD_END:
		text_add(&finding->detail, "it is there: it ended when we did");
		break;
	case HEARD_SILENCE:
		text_add(&finding->detail, "silent, as one is that waits for more: the relay reports no failure");
		break;
	default:
		text_add(&finding->detail, "not reached");
		return fail_heard(doctor, finding, heard);
	}
	return end_ok(doctor, finding);
}

bool doctor_check_delivery(struct doctor *doctor)
{
	const uint64_t started_ms = clock_now_ms();
	const uint64_t wait_ms =
		doctor->options->timeout != NULL ? doctor->config->timeouts.progress_ms : (uint64_t)DOCTOR_WAIT_MS;
	struct heard heard;
	const enum ps_err err = doctor_listen(doctor->dial.fd, &doctor->dial.secrets, wait_ms, &heard);
	const enum doctor_step failed =
		err == PS_OK && heard.what == HEARD_ALERT ? doctor_step_of_alert(heard.alert, true) : DOCTOR_APPLICATION;

	if (err != PS_OK) {
		struct doctor_finding *finding = doctor_begin(&doctor->report, DOCTOR_ADMISSION);

		text_addf(&finding->cause, "the record layer could not begin: %s", ps_err_text(err));
		return doctor_end(&doctor->report, finding, OUTCOME_UNFORESEEN);
	}
	/* Which service is meant may be asked before who asks. */
	if (failed == DOCTOR_APPLICATION || (failed == DOCTOR_SERVICE && heard.alert == ALERT_ACCESS_DENIED))
		report_admission(doctor, &heard);
	if (failed == DOCTOR_APPLICATION) {
		report_service(doctor);
		return report_application(doctor, &heard, started_ms);
	}
	struct doctor_finding *finding = doctor_begin(&doctor->report, failed);
	finding->started_ms = started_ms;
	text_add(&finding->detail, failed == DOCTOR_SERVICE ? "not for us" : "our certificate was refused");
	return fail_heard(doctor, finding, &heard);
}
