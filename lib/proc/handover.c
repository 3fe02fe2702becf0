/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/handover.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "portseal/buf.h"
#include "portseal/channel.h"

_Static_assert(sizeof(struct handover) <= CHANNEL_MESSAGE_MAX, "a hand-over fits one message");
_Static_assert(sizeof(struct handover_dial_failed) <= CHANNEL_MESSAGE_MAX, "a failure fits one message");

/* What travels of a message that ends in a chain: all but the unused end of that. */
#define TRAVELS(type, len) (offsetof(type, presented.der) + (len))

enum ps_err handover_send(int slot, const struct handover *handover, int fd)
{
	return channel_send(slot, HANDOVER_CONNECTION, handover, TRAVELS(struct handover, handover->presented.len), fd);
}

enum ps_err handover_send_rejudge(int slot, const struct handover_rejudge *rejudge)
{
	return channel_send(slot, HANDOVER_REJUDGE, rejudge, TRAVELS(struct handover_rejudge, rejudge->presented.len), -1);
}

enum ps_err handover_send_judged(int slot, const struct handover_judged *judged)
{
	return channel_send(slot, HANDOVER_JUDGED, judged, sizeof(*judged), -1);
}

enum ps_err handover_send_dial(int slot, const struct handover_dial *dial)
{
	return channel_send(slot, HANDOVER_DIAL, dial, sizeof(*dial), -1);
}

enum ps_err handover_send_dial_failed(int slot, const struct handover_dial_failed *failed)
{
	return channel_send(slot, HANDOVER_DIAL_FAILED, failed, sizeof(*failed), -1);
}

static bool is_terminated(const char *storage, size_t cap)
{
	return memchr(storage, '\0', cap) != NULL;
}

/* Copies a message of `fixed` bytes and a chain behind them whose length stands at its end. */
static bool copy_with_chain(void *message, size_t fixed, const uint8_t *body, size_t body_len)
{
	uint32_t len;

	if (body_len < fixed || body_len - fixed > HANDOVER_PRESENTED_MAX)
		return false;
	memcpy(&len, body + fixed - sizeof(len), sizeof(len));
	if (len != body_len - fixed)
		return false;
	memcpy(message, body, body_len);
	return true;
}

_Static_assert(offsetof(struct handover_presented, der) == sizeof(uint32_t),
               "the length stands right before the chain");

static bool terms_are_whole(const struct service_terms *terms)
{
	return is_terminated(terms->target.host, sizeof(terms->target.host)) &&
	       is_terminated(terms->target.path, sizeof(terms->target.path));
}

static bool take_connection(struct handover_message *message, const uint8_t *body, size_t body_len)
{
	struct handover *handover = &message->body.connection;

	return copy_with_chain(handover, TRAVELS(struct handover, 0), body, body_len) &&
	       suite_find(handover->secrets.suite) != NULL && audit_who_is_good(&handover->who) &&
	       is_terminated(handover->peer, sizeof(handover->peer)) &&
	       is_terminated(handover->client, sizeof(handover->client)) &&
	       is_terminated(handover->service_name, sizeof(handover->service_name)) && terms_are_whole(&handover->terms);
}

static bool take_rejudge(struct handover_message *message, const uint8_t *body, size_t body_len)
{
	struct handover_rejudge *rejudge = &message->body.rejudge;

	return message->fd < 0 && copy_with_chain(rejudge, TRAVELS(struct handover_rejudge, 0), body, body_len) &&
	       is_terminated(rejudge->asked, sizeof(rejudge->asked));
}

static bool take_judged(struct handover_message *message, const uint8_t *body, size_t body_len)
{
	struct handover_judged *judged = &message->body.judged;

	if (body_len != sizeof(*judged) || message->fd >= 0)
		return false;
	memcpy(judged, body, sizeof(*judged));
	return judged->refusal < REFUSAL_COUNT && is_terminated(judged->detail, sizeof(judged->detail)) &&
	       is_terminated(judged->service_name, sizeof(judged->service_name)) && terms_are_whole(&judged->terms);
}

static bool take_dial(struct handover_message *message, const uint8_t *body, size_t body_len)
{
	if (body_len != sizeof(message->body.dial) || message->fd >= 0)
		return false;
	memcpy(&message->body.dial, body, body_len);
	return is_terminated(message->body.dial.service, sizeof(message->body.dial.service));
}

static bool take_dial_failed(struct handover_message *message, const uint8_t *body, size_t body_len)
{
	struct handover_dial_failed *failed = &message->body.failed;

	if (body_len != sizeof(*failed) || message->fd >= 0)
		return false;
	memcpy(failed, body, sizeof(*failed));
	return failed->refusal < REFUSAL_COUNT && is_terminated(failed->text, sizeof(failed->text));
}

static bool take(struct handover_message *message, uint32_t type, const uint8_t *body, size_t body_len)
{
	switch (type) {
	case HANDOVER_CONNECTION:
		message->type = HANDOVER_CONNECTION;
		return take_connection(message, body, body_len);
	case HANDOVER_DIAL:
		message->type = HANDOVER_DIAL;
		return take_dial(message, body, body_len);
	case HANDOVER_DIAL_FAILED:
		message->type = HANDOVER_DIAL_FAILED;
		return take_dial_failed(message, body, body_len);
	case HANDOVER_REJUDGE:
		message->type = HANDOVER_REJUDGE;
		return take_rejudge(message, body, body_len);
	case HANDOVER_JUDGED:
		message->type = HANDOVER_JUDGED;
		return take_judged(message, body, body_len);
	default:
		return false;
	}
}

enum ps_err handover_receive(int slot, struct handover_message *message)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	uint32_t type;
	size_t body_len;
	enum ps_err err;

	err = channel_receive(slot, &type, body, &body_len, &message->fd);
	if (err != PS_OK && err != PS_E_LIMIT)
		return err;
	const bool complete =
		err == PS_E_LIMIT ? type == HANDOVER_CONNECTION : type != HANDOVER_CONNECTION || message->fd >= 0;
	if (!complete || !take(message, type, body, body_len)) {
		if (message->fd >= 0)
			close(message->fd);
		message->fd = -1;
		err = PS_E_PROTO;
	}
	ps_wipe(body, body_len);
	return err;
}
