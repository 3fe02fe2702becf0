/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_reach -- the steps up to a TCP connection: which addresses the relay's name has, and what each of them says.
 *
 * All addresses are tried at once, each for the whole time: one that drops does not hide what the others say.
 */
#include "doctor_steps.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "doctor_advice.h"
#include "portseal/connector.h"

struct resolving {
	uv_getaddrinfo_t request;
	uv_timer_t timer;
	bool over;
	bool late;
	int status;
	struct doctor *doctor;
};

static void add_place(struct doctor *doctor, const struct address *address)
{
	struct doctor_place *place = &doctor->places[doctor->n_places++];

	*place = (struct doctor_place){ .address = *address, .fd = -1 };
}

static void take_addresses(struct doctor *doctor, const struct addrinfo *list)
{
	struct address address = config_relay(doctor->config)->address;

	for (; list != NULL && doctor->n_places < DOCTOR_PLACES_MAX; list = list->ai_next)
		if (getnameinfo(list->ai_addr, list->ai_addrlen, address.host, sizeof(address.host), NULL, 0, NI_NUMERICHOST) ==
		    0)
			add_place(doctor, &address);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct resolving *resolving = request->data;

	if (!resolving->late) {
		resolving->status = status;
		if (status == 0)
			take_addresses(resolving->doctor, list);
		resolving->over = true;
	}
	uv_freeaddrinfo(list);
}

static void on_too_late(uv_timer_t *timer)
{
	struct resolving *resolving = timer->data;

	resolving->late = true;
	resolving->over = true;
	resolving->status = UV_ETIMEDOUT;
	(void)uv_cancel((uv_req_t *)&resolving->request);
}

/* libuv's code. One that hangs is left behind, so what it writes to must outlive it. */
static int resolve(struct doctor *doctor, const char *host)
{
	static struct resolving resolving;
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };

	resolving.doctor = doctor;
	resolving.request.data = &resolving;
	const int status = uv_getaddrinfo(&doctor->loop, &resolving.request, on_resolved, host, NULL, &hints);
	if (status != 0)
		return status;
	uv_update_time(&doctor->loop);
	(void)uv_timer_init(&doctor->loop, &resolving.timer);
	resolving.timer.data = &resolving;
	uv_timer_start(&resolving.timer, on_too_late, doctor->config->timeouts.connect_ms, 0);
	while (!resolving.over)
		(void)uv_run(&doctor->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&resolving.timer, NULL);
	return resolving.status;
}

static void advise_name(struct text *remedy, int status, const char *host)
{
	if (status == UV_EAI_AGAIN || status == UV_ETIMEDOUT)
		text_addf(remedy, "no name server answered: is the network up? cat /etc/resolv.conf; getent hosts %s", host);
	else
		text_addf(remedy,
		          "is it spelt right, and known here? getent hosts %s; else give --relay an address and name the "
		          "relay by --server-name",
		          host);
}

static bool is_literal(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

bool doctor_check_name(struct doctor *doctor)
{
	struct doctor_finding *finding = doctor_begin(&doctor->report, DOCTOR_NAME);
	const struct address *address = &config_relay(doctor->config)->address;
	char host[TEXT_QUOTED_MAX];
	char shown[ADDRESS_TEXT_MAX];

	if (address->kind == ADDRESS_UNIX || is_literal(address->host)) {
		address_print(address, shown);
		text_addf(&finding->detail, "%s: nothing to resolve", shown);
		add_place(doctor, address);
		return doctor_end(&doctor->report, finding, OUTCOME_DONE);
	}
	text_escaped(host, address->host);
	text_add(&finding->detail, host);
	const int status = resolve(doctor, address->host);
	if (doctor->n_places == 0) {
		text_addf(&finding->cause, "%s does not resolve: %s", host,
		          status != 0 ? uv_strerror(status) : "it has no address");
		advise_name(&finding->remedy, status, host);
		return doctor_end(&doctor->report, finding, OUTCOME_NO_RELAY);
	}
	for (size_t i = 0; i < doctor->n_places; i++)
		text_addf(&finding->detail, "%s%s", i == 0 ? ": " : ", ", doctor->places[i].address.host);
	return doctor_end(&doctor->report, finding, OUTCOME_DONE);
}

struct attempt {
	struct doctor *doctor;
	struct doctor_place *place;
};

static void on_connected(void *owner, enum connect_result result, int fd, const char *peer,
                         const struct ps_cause *cause)
{
	struct attempt *attempt = owner;
	struct doctor_place *place = attempt->place;

	place->over = true;
	place->result = result;
	place->fd = fd;
	if (result == CONNECT_OK)
		(void)snprintf(place->peer, sizeof(place->peer), "%s", peer);
	else
		place->cause = *cause;
	attempt->doctor->n_over++;
}

static void connect_all(struct doctor *doctor)
{
	struct attempt attempts[DOCTOR_PLACES_MAX];

	uv_update_time(&doctor->loop);
	for (size_t i = 0; i < doctor->n_places; i++) {
		struct doctor_place *place = &doctor->places[i];
		attempts[i] = (struct attempt){ doctor, place };
		const struct connector_config config = {
			.loop = &doctor->loop,
			.address = &place->address,
			.timeout_ms = doctor->config->timeouts.connect_ms,
			.on_done = on_connected,
			.owner = &attempts[i],
		};
		if (connector_new(&config, &place->connector) != PS_OK) {
			const struct ps_cause cause = { "out of memory" };

			on_connected(&attempts[i], CONNECT_FAILED, -1, NULL, &cause);
		}
	}
	while (doctor->n_over < doctor->n_places)
		(void)uv_run(&doctor->loop, UV_RUN_ONCE);
}

static void add_failures(const struct doctor *doctor, struct text *cause)
{
	char shown[ADDRESS_TEXT_MAX];

	for (size_t i = 0; i < doctor->n_places; i++) {
		const struct doctor_place *place = &doctor->places[i];

		if (place->result == CONNECT_OK)
			continue;
		address_print(&place->address, shown);
		text_addf(cause, "%s%s ", cause->len > 0 ? "; " : "", shown);
		if (place->result == CONNECT_FAILED)
			text_addf(cause, "failed (%s)", place->cause.text);
		else
			text_add(cause, doctor_connect_words(place->result));
	}
}

/* One piece of advice for each kind of failure. */
static void add_advice(const struct doctor *doctor, struct text *remedy)
{
	for (enum connect_result result = CONNECT_OK + 1; result <= CONNECT_FAILED; result++) {
		for (size_t i = 0; i < doctor->n_places; i++) {
			if (doctor->places[i].result != result)
				continue;
			text_add(remedy, remedy->len > 0 ? "; " : "");
			doctor_advise_connect(remedy, result, &doctor->places[i].address);
			break;
		}
	}
}

bool doctor_check_tcp(struct doctor *doctor)
{
	struct doctor_finding *finding = doctor_begin(&doctor->report, DOCTOR_TCP);
	char shown[ADDRESS_TEXT_MAX];
	size_t n_open = 0;

	connect_all(doctor);
	for (size_t i = 0; i < doctor->n_places; i++)
		if (doctor->places[i].result == CONNECT_OK)
			text_addf(&finding->detail, "%s%s", n_open++ > 0 ? ", " : "connected to ", doctor->places[i].peer);
	add_failures(doctor, &finding->cause);
	add_advice(doctor, &finding->remedy);
	if (n_open == 0) {
		address_print(&config_relay(doctor->config)->address, shown);
		text_add(&finding->detail, shown);
	}
	return doctor_end(&doctor->report, finding, n_open > 0 ? OUTCOME_DONE : OUTCOME_NO_RELAY);
}
