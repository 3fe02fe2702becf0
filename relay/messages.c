/* SPDX-License-Identifier: Apache-2.0 */
/*
 * messages -- what the messages of a worker share.
 */
#include <stdlib.h>

#include "message_internal.h"

enum ps_err messages_new(const struct messages_config *config, struct messages **messages)
{
	struct messages *made = calloc(1, sizeof(*made));

	if (made == NULL)
		return PS_E_NOMEM;
	made->config = *config;
	LIST_INIT(&made->list);
	*messages = made;
	return PS_OK;
}

size_t messages_left(const struct messages *messages)
{
	return messages->n_left;
}

size_t messages_pending(const struct messages *messages)
{
	return messages->n_left + (messages->config.results != NULL && !results_is_idle(messages->config.results) ? 1 : 0);
}

void messages_abort(struct messages *messages)
{
	struct message *next;

	for (struct message *message = LIST_FIRST(&messages->list); message != NULL; message = next) {
		next = LIST_NEXT(message, link);
		if (message->exchange == NULL && message->state != MESSAGE_RECORDING)
			message_close(message, "drain", H2_NO_ERROR, false);
	}
}

void messages_free(struct messages *messages)
{
	free(messages);
}
