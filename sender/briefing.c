/* SPDX-License-Identifier: Apache-2.0 */
#include "briefing.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dial.h"
#include "portseal/channel.h"
#include "portseal/supervisor.h"

#define BRIEFING_BEGIN ROLE_OWN
#define BRIEFING_DOOR (ROLE_OWN + 1)
#define WAIT_MS 1000
#define TRAVELS offsetof(struct briefing, doors)

struct door_message {
	uint32_t generation;
	uint32_t index;
	char service[HANDOVER_SERVICE_MAX];
};

_Static_assert(TRAVELS <= CHANNEL_MESSAGE_MAX, "a briefing fits one message");

void briefing_of(const struct generation *generation, uint32_t number, struct briefing *out)
{
	const struct sender_config *config = generation->config;

	*out = (struct briefing){
		.generation = number,
		.n_doors = (uint32_t)generation->n_sockets,
		.idle_ms = config->timeouts.idle_ms,
		.patience_ms = dial_patience_ms(config),
		.answer_ms = config->timeouts.connect_ms,
		.protocol = config->protocol,
		.balance = config->balance,
		.n_relays = (uint32_t)config->relays_list.n,
		.pool_min = config->pool.min,
		.pool_max = config->pool.max,
		.pool_idle_ms = config->pool.idle_ms,
		.log_level = config->log.level,
		.log_format = config->log.format,
	};
	for (size_t i = 0; i < config->relays_list.n; i++)
		address_print(&config_relays(config)[i].address, out->relays[i]);
	for (size_t i = 0; i < generation->n_sockets; i++) {
		const char *service = config_tunnels(config)[generation->sockets[i].tunnel].service;

		out->doors[i].fd = generation->sockets[i].fd;
		(void)snprintf(out->doors[i].service, sizeof(out->doors[i].service), "%s", service == NULL ? "" : service);
	}
}

static enum ps_err send_patiently(int control, uint32_t type, const void *body, size_t body_len, int fd)
{
	struct pollfd polled = { .fd = control, .events = POLLOUT };
	enum ps_err err = channel_send(control, type, body, body_len, fd);

	if (err != PS_E_AGAIN || poll(&polled, 1, WAIT_MS) <= 0)
		return err;
	return channel_send(control, type, body, body_len, fd);
}

enum ps_err briefing_send(int control, const struct briefing *briefing)
{
	enum ps_err err = send_patiently(control, BRIEFING_BEGIN, briefing, TRAVELS, -1);

	for (uint32_t i = 0; i < briefing->n_doors && err == PS_OK; i++) {
		struct door_message message = { .generation = briefing->generation, .index = i };

		memcpy(message.service, briefing->doors[i].service, sizeof(message.service));
		err = send_patiently(control, BRIEFING_DOOR, &message, sizeof(message), briefing->doors[i].fd);
	}
	return err;
}

static bool begin(struct briefing *briefing, const uint8_t *body, size_t body_len)
{
	struct briefing fresh = { 0 };

	if (body_len != TRAVELS)
		return false;
	memcpy(&fresh, body, TRAVELS);
	if (fresh.n_doors > GENERATION_SOCKETS_MAX || fresh.n_relays > RELAYS_MAX)
		return false;
	for (uint32_t i = 0; i < fresh.n_doors; i++)
		fresh.doors[i].fd = -1;
	briefing_clear(briefing);
	*briefing = fresh;
	return true;
}

static bool add_door(struct briefing *briefing, const uint8_t *body, size_t body_len, int fd)
{
	struct door_message message;

	if (body_len != sizeof(message))
		return false;
	memcpy(&message, body, sizeof(message));
	if (message.generation != briefing->generation || message.index >= briefing->n_doors ||
	    briefing->doors[message.index].fd >= 0 || memchr(message.service, '\0', sizeof(message.service)) == NULL)
		return false;
	memcpy(briefing->doors[message.index].service, message.service, sizeof(message.service));
	briefing->doors[message.index].fd = fd;
	return true;
}

enum ps_err briefing_take(struct briefing *briefing, uint32_t type, const uint8_t *body, size_t body_len, int fd)
{
	if (type == BRIEFING_DOOR && add_door(briefing, body, body_len, fd))
		return PS_OK;
	if (fd >= 0)
		close(fd);
	return type == BRIEFING_BEGIN && begin(briefing, body, body_len) ? PS_OK : PS_E_PROTO;
}

void briefing_clear(struct briefing *briefing)
{
	for (uint32_t i = 0; i < briefing->n_doors; i++) {
		if (briefing->doors[i].fd >= 0)
			close(briefing->doors[i].fd);
		briefing->doors[i].fd = -1;
	}
	briefing->n_doors = 0;
}
