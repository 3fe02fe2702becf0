/* SPDX-License-Identifier: Apache-2.0 */
#include "relay.h"

#include <sys/socket.h>
#include <unistd.h>

/* Where a socket really listens: port 0 has become a number. */
static void note_address(struct relay_socket *socket)
{
	struct sockaddr_storage bound = { 0 };
	socklen_t len = sizeof(bound);

	socket->address[0] = '\0';
	if (getsockname(socket->fd, (struct sockaddr *)&bound, &len) == 0)
		address_text((struct sockaddr *)&bound, len, socket->address);
}

enum ps_err relay_listen(struct relay *relay, struct ps_cause *cause)
{
	const struct relay_listener *listeners = config_listeners(relay->config);

	for (size_t i = 0; i < relay->config->listeners_list.n; i++) {
		int fds[NET_LISTEN_MAX];
		size_t n_fds = 0;
		enum ps_err err = net_listen(&listeners[i].address, fds, &n_fds, cause);

		for (size_t k = 0; err == PS_OK && k < n_fds; k++) {
			struct relay_socket *socket = &relay->sockets[relay->n_sockets];

			if (relay->n_sockets == RELAY_SOCKETS_MAX) {
				close(fds[k]);
				continue;
			}
			socket->fd = fds[k];
			socket->service = listeners[i].service;
			note_address(socket);
			relay->n_sockets++;
		}
		if (err == PS_OK && relay->n_sockets == RELAY_SOCKETS_MAX)
			err = ps_cause_set(cause, PS_E_LIMIT, "more than %d listening sockets", RELAY_SOCKETS_MAX - 1);
		if (err != PS_OK) {
			relay_close_sockets(relay);
			return err;
		}
	}
	return PS_OK;
}

void relay_close_sockets(struct relay *relay)
{
	for (size_t i = 0; i < relay->n_sockets; i++)
		close(relay->sockets[i].fd);
	relay->n_sockets = 0;
}
