/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor_advice.h"

#include "portseal/alert.h"

#define READ_LOG "the relay's log has a line with event=refused and the reason"

struct alert_advice {
	uint8_t alert;
	enum doctor_step step;
	const char *without_service; /* NULL: the same as with one */
	const char *remedy;
};

static const struct alert_advice alert_advices[] = {
	{ ALERT_PROTOCOL_VERSION, DOCTOR_TLS, NULL,
	  "a Portseal relay speaks TLS 1.3 only, so this is another server: check --relay, or enable TLS 1.3 there" },
	{ ALERT_CERTIFICATE_REQUIRED, DOCTOR_ADMISSION, NULL,
	  "the relay took none of what we showed: is --cert from its client_ca? " READ_LOG },
	{ ALERT_UNKNOWN_CA, DOCTOR_ADMISSION, NULL,
	  "have our certificate signed by the relay's client_ca, or add our authority there; compare: portseal-certs show FILE" },
	{ ALERT_BAD_CERTIFICATE, DOCTOR_ADMISSION, NULL,
	  "have our certificate issued anew by the relay's client_ca; " READ_LOG },
	{ ALERT_CERTIFICATE_EXPIRED, DOCTOR_ADMISSION, NULL,
	  "compare the clocks by date -u on both hosts; then portseal-certs renew NAME" },
	{ ALERT_CERTIFICATE_REVOKED, DOCTOR_ADMISSION, NULL, "ask the authority for a new certificate and key" },
	{ ALERT_UNSUPPORTED_CERTIFICATE, DOCTOR_ADMISSION, NULL,
	  "use a certificate made for clients: portseal-certs sender NAME" },
	{ ALERT_CERTIFICATE_UNKNOWN, DOCTOR_ADMISSION, NULL,
	  "often the relay's revocation list is missing or out of date: portseal-certs crl, and bring ca.crl to the relay; " READ_LOG },
	{ ALERT_DECRYPT_ERROR, DOCTOR_ADMISSION, NULL, "do --cert and --key belong together? " READ_LOG },
	{ ALERT_HANDSHAKE_FAILURE, DOCTOR_ADMISSION, NULL, READ_LOG "; often a kind of certificate that it does not take" },
	{ ALERT_INSUFFICIENT_SECURITY, DOCTOR_ADMISSION, NULL, READ_LOG },
	{ ALERT_ACCESS_DENIED, DOCTOR_SERVICE, NULL,
	  "add a rule to the service's allow; which one is missing says, at the relay: "
	  "portseal-relay explain -c relay.conf --cert FILE --service NAME" },
	{ ALERT_UNRECOGNIZED_NAME, DOCTOR_SERVICE, "name a service by --service, one of those in the relay's relay.conf",
	  "compare --service with the names of the services in the relay's relay.conf" },
	{ ALERT_NO_APPLICATION_PROTOCOL, DOCTOR_SERVICE, "name a service by --service",
	  "compare --service with the relay's services; at a server that is no Portseal relay, leave --service out" },
	{ ALERT_INTERNAL_ERROR, DOCTOR_APPLICATION, NULL,
	  "on the relay's host: portseal-relay check -c relay.conf tries every target; "
	  "the relay's log says whether it was refused, reset or timed out, or a limit of the relay was reached" },
};

static const struct alert_advice *find(uint8_t alert)
{
	for (size_t i = 0; i < sizeof(alert_advices) / sizeof(alert_advices[0]); i++)
		if (alert_advices[i].alert == alert)
			return &alert_advices[i];
	return NULL;
}

enum doctor_step doctor_step_of_alert(uint8_t alert, bool accepted)
{
	const struct alert_advice *found = find(alert);
	const enum doctor_step step = found != NULL ? found->step : DOCTOR_ADMISSION;

	return accepted || step == DOCTOR_SERVICE ? step : DOCTOR_TLS;
}

enum doctor_step doctor_step_of_refusal(enum refusal refusal)
{
	switch (refusal) {
	case REFUSAL_NOT_TLS:
	case REFUSAL_CLOSED_BEFORE_HELLO:
	case REFUSAL_HANDSHAKE_TIMEOUT:
	case REFUSAL_TLS_VERSION:
	case REFUSAL_TLS_FAILED:
	case REFUSAL_PEER_ALERT:
	case REFUSAL_INTERNAL:
	case REFUSAL_NONE:
		return DOCTOR_TLS;
	case REFUSAL_UNKNOWN_SERVICE:
	case REFUSAL_NOT_ALLOWED:
		return DOCTOR_SERVICE;
	default:
		return DOCTOR_RELAY;
	}
}

const char *doctor_connect_words(enum connect_result result)
{
	switch (result) {
	case CONNECT_OK:
		return "connects";
	case CONNECT_NO_NAME:
		return "no such address";
	case CONNECT_REFUSED:
		return "refused: the host answers, but nobody listens there";
	case CONNECT_TIMEOUT:
		return "timed out: nothing answered at all";
	case CONNECT_UNREACHABLE:
		return "unreachable: there is no route to it";
	case CONNECT_RESET:
		return "reset: somebody listens there, and broke the connection off at once";
	case CONNECT_FAILED:
		break;
	}
	return "failed";
}

static void advise_unix(struct text *remedy, const struct address *address)
{
	char shown[ADDRESS_TEXT_MAX];

	address_print(address, shown);
	text_addf(remedy, "does the relay listen on %s, and may we write to it? ls -l %s", shown,
	          shown + sizeof("unix:") - 1);
}

void doctor_advise_connect(struct text *remedy, enum connect_result result, const struct address *address)
{
	if (address->kind == ADDRESS_UNIX) {
		advise_unix(remedy, address);
		return;
	}
	switch (result) {
	case CONNECT_REFUSED:
		text_addf(remedy,
		          "is the relay running, and is %u the port of its listen? on the relay's host: ss -ltn 'sport = :%u'",
		          address->port, address->port);
		break;
	case CONNECT_TIMEOUT:
		text_addf(remedy,
		          "a firewall drops, or nobody has this address: traceroute -T -p %u %s shows how far it gets; "
		          "let TCP port %u through on the relay's host (nft list ruleset)",
		          address->port, address->host, address->port);
		break;
	case CONNECT_UNREACHABLE:
		text_addf(remedy, "is the network up? ip route get %s says which way is taken", address->host);
		break;
	case CONNECT_RESET:
		text_addf(remedy,
		          "is it the relay that listens there, or something that guards it? on the relay's host: "
		          "ss -ltnp 'sport = :%u'",
		          address->port);
		break;
	default:
		text_addf(remedy, "the system refuses: does a rule of this host forbid it (nft list ruleset)? ip route get %s",
		          address->host);
		break;
	}
}

void doctor_advise_alert(struct text *remedy, enum doctor_step step, uint8_t alert, bool has_service)
{
	const struct alert_advice *found = find(alert);

	if (step == DOCTOR_TLS && alert == ALERT_INTERNAL_ERROR)
		text_add(remedy, "try again later; if it stays so, the relay is overloaded, or its limits.handshakes and "
		                 "limits.waiting are too low; " READ_LOG);
	else if (found == NULL || (step == DOCTOR_TLS && found->step != DOCTOR_TLS))
		text_add(remedy, READ_LOG);
	else
		text_add(remedy, !has_service && found->without_service != NULL ? found->without_service : found->remedy);
}

void doctor_advise_refusal(struct text *remedy, enum refusal refusal)
{
	static const char *const remedies[REFUSAL_COUNT] = {
		[REFUSAL_NOT_TLS] = "this is the port of another program, perhaps of the application itself: "
							"--relay takes the address of \"listen\" in relay.conf",
		[REFUSAL_HANDSHAKE_TIMEOUT] =
			"something else may listen there, such as the application itself: "
			"--relay takes the address of \"listen\" in relay.conf; else see whether the relay is overloaded",
		[REFUSAL_TLS_VERSION] = "a Portseal relay speaks TLS 1.3 only, so this is another server: "
								"check --relay, or enable TLS 1.3 there",
		[REFUSAL_TLS_FAILED] =
			"is this the relay's port? if a balancer or proxy stands in between, is the relay behind it alive? "
			"the relay's log may say more",
		[REFUSAL_NO_CERTIFICATE] = "this is no Portseal relay: check --relay",
		[REFUSAL_UNKNOWN_CA] =
			"--ca (relay_ca) must be the authority that signed the relay's certificate: bring its ca.crt here; "
			"compare: portseal-certs show FILE",
		[REFUSAL_BAD_SIGNATURE] = "somebody may be in between: compare the authority's key with the one that signed "
								  "(portseal-certs show FILE)",
		[REFUSAL_EXPIRED] =
			"renew it at the relay (portseal-certs renew NAME), restart the relay; is the clock here right? date -u",
		[REFUSAL_NOT_YET_VALID] = "compare the clocks by date -u on both hosts",
		[REFUSAL_REVOKED] = "the relay needs a new certificate and key",
		[REFUSAL_WRONG_PURPOSE] = "the relay needs a certificate made for servers: portseal-certs relay NAME",
		[REFUSAL_WEAK_KEY] = "the relay needs a certificate with a stronger key: portseal-certs relay NAME",
		[REFUSAL_WRONG_NAME] = "dial one of these names, or say it by --server-name (server_name), "
							   "or have the certificate issued for this one: portseal-certs relay NAME --dns D --ip I",
		[REFUSAL_UNKNOWN_SERVICE] = "if this is no Portseal relay, leave --service out; else check --relay",
	};

	text_add(remedy, remedies[refusal] != NULL ? remedies[refusal] : "the relay's log may say more");
}
