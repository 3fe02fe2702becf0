/* SPDX-License-Identifier: Apache-2.0 */
#include "outcome.h"

#include <stdarg.h>
#include <stdio.h>

#include "portseal/alert.h"
#include "portseal/text.h"

/* In `text`, the words behind `service` are used where a service was named, `text` alone where none was. */
struct alert_outcome {
	uint8_t alert;
	enum outcome_code code;
	const char *text;
	const char *with_service; /* takes the service's name; NULL: the same as text */
};

static const struct alert_outcome alert_outcomes[] = {
	{ ALERT_CERTIFICATE_REQUIRED, OUTCOME_REFUSED,
	  "the relay asks for a certificate and got none that it accepts: give --cert and --key", NULL },
	{ ALERT_UNKNOWN_CA, OUTCOME_REFUSED,
	  "the relay does not trust the authority that signed our certificate: have it signed by the relay's client_ca",
	  NULL },
	{ ALERT_BAD_CERTIFICATE, OUTCOME_REFUSED,
	  "the relay finds our certificate malformed, wrongly signed or under name constraints: have it issued anew by the "
	  "relay's client_ca",
	  NULL },
	{ ALERT_CERTIFICATE_EXPIRED, OUTCOME_REFUSED,
	  "the relay says that our certificate has expired or is not valid yet: renew it, and compare the clocks", NULL },
	{ ALERT_CERTIFICATE_REVOKED, OUTCOME_REFUSED,
	  "the relay says that our certificate was revoked: ask its authority for a new one", NULL },
	{ ALERT_UNSUPPORTED_CERTIFICATE, OUTCOME_REFUSED,
	  "the relay does not accept this kind of certificate: it must be made for clients (clientAuth), with a strong key",
	  NULL },
	{ ALERT_CERTIFICATE_UNKNOWN, OUTCOME_REFUSED,
	  "the relay could not accept our certificate: its log says why, often a revocation list that is missing or out of date",
	  NULL },
	{ ALERT_ACCESS_DENIED, OUTCOME_REFUSED,
	  "the relay does not allow our certificate here: ask its operator for a rule that does",
	  "the relay does not allow our certificate to use the service %s: ask its operator for a rule that does" },
	{ ALERT_UNRECOGNIZED_NAME, OUTCOME_REFUSED, "the relay does not know which service is meant: name one by --service",
	  "the relay has no service %s: check the name" },
	{ ALERT_NO_APPLICATION_PROTOCOL, OUTCOME_REFUSED,
	  "the relay wants a protocol to be named: name a service by --service",
	  "the relay does not offer the service %s: check the name, or whether this is a Portseal relay" },
	{ ALERT_DECRYPT_ERROR, OUTCOME_REFUSED,
	  "the relay could not verify our signature: do --cert and --key belong together?", NULL },
	{ ALERT_HANDSHAKE_FAILURE, OUTCOME_REFUSED,
	  "the relay refused the handshake: its log says why, often a certificate of a kind that it does not take", NULL },
	{ ALERT_INSUFFICIENT_SECURITY, OUTCOME_REFUSED, "the relay finds what we offer too weak: its log says more", NULL },
	{ ALERT_INTERNAL_ERROR, OUTCOME_UNDELIVERED,
	  "the relay could not deliver: the application is down, broke off or timed out, or a limit of the relay is reached "
	  "(its log says which)",
	  NULL },
	{ ALERT_PROTOCOL_VERSION, OUTCOME_NO_RELAY, "the server does not speak TLS 1.3: is this the relay?", NULL },
};

/* What helps against a refusal of ours. */
static const struct {
	enum refusal refusal;
	const char *advice;
} advices[] = {
	{ REFUSAL_UNKNOWN_CA, "is --ca the authority of this relay?" },
	{ REFUSAL_BAD_SIGNATURE, "is --ca the authority of this relay? somebody may be in between" },
	{ REFUSAL_EXPIRED, "the relay needs a new one" },
	{ REFUSAL_NOT_YET_VALID, "compare the clocks" },
	{ REFUSAL_REVOKED, "the relay needs a new one" },
	{ REFUSAL_WRONG_PURPOSE, "a relay needs one made for servers (serverAuth)" },
	{ REFUSAL_WRONG_NAME, "--server-name says which name is expected" },
	{ REFUSAL_NO_CERTIFICATE, "is this the relay?" },
};

void outcome_set(struct outcome *outcome, enum outcome_code code, const char *format, ...)
{
	char text[PS_CAUSE_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	outcome->code = code;
	outcome->refusal = REFUSAL_NONE;
	(void)ps_cause_set(&outcome->cause, PS_OK, "%s", text);
}

static const struct alert_outcome *find_alert(uint8_t alert)
{
	for (size_t i = 0; i < sizeof(alert_outcomes) / sizeof(alert_outcomes[0]); i++)
		if (alert_outcomes[i].alert == alert)
			return &alert_outcomes[i];
	return NULL;
}

/* The text around the service's name; a table's text is no format for the compiler to check. */
static void put_service(struct text *out, const char *with_service, const char *service)
{
	char quoted[TEXT_QUOTED_MAX];

	for (const char *at = with_service; *at != '\0'; at++) {
		if (at[0] == '%' && at[1] == 's') {
			text_addf(out, "\"%s\"", text_escaped(quoted, service));
			at++;
		} else {
			text_add_bytes(out, at, 1);
		}
	}
}

void outcome_of_alert(struct outcome *outcome, uint8_t alert, const struct outcome_names *names)
{
	const struct alert_outcome *found = find_alert(alert);
	char storage[PS_CAUSE_MAX];
	struct text line;

	text_init(&line, storage, sizeof(storage));
	if (found == NULL)
		text_addf(&line, "the relay ended the connection: its log says why");
	else if (names->service != NULL && found->with_service != NULL)
		put_service(&line, found->with_service, names->service);
	else
		text_add(&line, found->text);
	outcome_set(outcome, found == NULL ? OUTCOME_UNFORESEEN : found->code, "%s: %s (alert %s)", names->relay, storage,
	            alert_name(alert));
	outcome->refusal = REFUSAL_PEER_ALERT;
}

void outcome_of_connect(struct outcome *outcome, enum connect_result result, const struct ps_cause *cause,
                        const struct outcome_names *names)
{
	static const char *const advice[] = {
		[CONNECT_OK] = "",
		[CONNECT_NO_NAME] = "the name of the relay does not resolve: is it spelt right?",
		[CONNECT_REFUSED] = "nobody listens there: is the relay running, and is this its port?",
		[CONNECT_TIMEOUT] = "nothing answered: is the address right, and does a firewall let this port through?",
		[CONNECT_UNREACHABLE] = "there is no route to the relay: is the address right, and the network up?",
		[CONNECT_RESET] = "the connection was broken off at once: is it the relay that listens there?",
		[CONNECT_FAILED] = "could not connect",
	};

	outcome_set(outcome, OUTCOME_NO_RELAY, "%s: %s (%s)", names->relay, advice[result], cause->text);
}

static const char *advice_of(enum refusal refusal)
{
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++)
		if (advices[i].refusal == refusal)
			return advices[i].advice;
	return NULL;
}

static void set_wrong_relay(struct outcome *outcome, enum refusal refusal, const struct ps_cause *judged,
                            const struct outcome_names *names)
{
	const char *advice = advice_of(refusal);
	char storage[PS_CAUSE_MAX];
	struct text line;

	text_init(&line, storage, sizeof(storage));
	text_addf(&line, "%s: its certificate is refused: %s", names->relay, refusal_text(refusal));
	if (refusal == REFUSAL_WRONG_NAME)
		text_addf(&line, " than \"%s\"", names->server_name);
	if (judged != NULL && judged->text[0] != '\0')
		text_addf(&line, " (%s)", judged->text);
	if (advice != NULL)
		text_addf(&line, ": %s", advice);
	outcome_set(outcome, OUTCOME_WRONG_RELAY, "%s", storage);
}

static void set_no_tls(struct outcome *outcome, const struct handshake_failure *failure,
                       const struct outcome_names *names)
{
	switch (failure->refusal) {
	case REFUSAL_NOT_TLS:
		outcome_set(outcome, OUTCOME_NO_RELAY, "%s: what answers there is not TLS: is this the relay's port? (%s)",
		            names->relay, failure->detail.text);
		break;
	case REFUSAL_CLOSED_BEFORE_HELLO:
		outcome_set(outcome, OUTCOME_NO_RELAY, "%s: the server closed the connection instead of answering: %s",
		            names->relay, "is this the relay's port? its log may say more");
		break;
	case REFUSAL_TLS_VERSION:
		outcome_set(outcome, OUTCOME_NO_RELAY, "%s: the server does not speak TLS 1.3: is this the relay? (%s)",
		            names->relay, failure->detail.text);
		break;
	default:
		outcome_set(outcome, OUTCOME_NO_RELAY, "%s: the TLS handshake failed: %s", names->relay, failure->detail.text);
		break;
	}
}

void outcome_of_handshake(struct outcome *outcome, const struct handshake_failure *failure,
                          const struct ps_cause *judged, const struct outcome_names *names)
{
	switch (failure->refusal) {
	case REFUSAL_PEER_ALERT:
		if (failure->alert_received == ALERT_INTERNAL_ERROR)
			outcome_set(
				outcome, OUTCOME_UNDELIVERED, "%s: %s (alert %s)", names->relay,
				"the relay turned us away at its door: too many handshakes are under way there; try again later",
				alert_name(failure->alert_received));
		else
			outcome_of_alert(outcome, failure->alert_received, names);
		break;
	case REFUSAL_NOT_TLS:
	case REFUSAL_CLOSED_BEFORE_HELLO:
	case REFUSAL_TLS_VERSION:
	case REFUSAL_TLS_FAILED:
		set_no_tls(outcome, failure, names);
		break;
	case REFUSAL_HANDSHAKE_TIMEOUT:
		outcome_set(outcome, OUTCOME_NO_RELAY, "%s: connected, but the TLS handshake did not end in time: %s",
		            names->relay, "is this the relay's port, and is the relay alive?");
		break;
	case REFUSAL_INTERNAL:
		outcome_set(outcome, OUTCOME_UNFORESEEN, "%s: the handshake failed here: %s", names->relay,
		            failure->detail.text);
		break;
	default:
		set_wrong_relay(outcome, failure->refusal, judged != NULL ? judged : &failure->detail, names);
		break;
	}
	outcome->refusal = failure->refusal;
}

void outcome_of_unconfirmed(struct outcome *outcome, const struct outcome_names *names)
{
	char quoted[TEXT_QUOTED_MAX];

	outcome_set(
		outcome, OUTCOME_REFUSED,
		"%s did not confirm the service \"%s\": is it a Portseal relay? without --service any TLS server will do",
		names->relay, text_escaped(quoted, names->service));
	outcome->refusal = REFUSAL_UNKNOWN_SERVICE;
}

void outcome_of_no_h2(struct outcome *outcome, const struct outcome_names *names)
{
	outcome_set(outcome, OUTCOME_REFUSED,
	            "%s does not speak HTTP/2: is it a Portseal relay? protocol = \"auto\" does without", names->relay);
}
