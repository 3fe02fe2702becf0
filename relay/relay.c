/* SPDX-License-Identifier: Apache-2.0 */
#include "relay.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "portseal/conf_field.h"

/* Where a socket really listens: port 0 has become a number. */
static void note_address(struct relay_socket *socket)
{
	struct sockaddr_storage bound = { 0 };
	socklen_t len = sizeof(bound);

	socket->address[0] = '\0';
	if (getsockname(socket->fd, (struct sockaddr *)&bound, &len) == 0)
		address_text((struct sockaddr *)&bound, len, socket->address);
}

/* The last place stays free, so that the one too many is noticed. */
static void add_socket(struct relay *relay, int fd, const struct relay_listener *listener, bool taken_over)
{
	struct relay_socket *socket = &relay->sockets[relay->n_sockets];

	if (relay->n_sockets == RELAY_SOCKETS_MAX) {
		if (!taken_over)
			close(fd);
		return;
	}
	*socket = (struct relay_socket){
		.fd = fd, .listener = listener->address, .service = listener->service, .taken_over = taken_over
	};
	note_address(socket);
	relay->n_sockets++;
}

static bool take_over(struct relay *relay, const struct relay *before, const struct relay_listener *listener)
{
	bool found = false;

	for (size_t i = 0; before != NULL && i < before->n_sockets; i++)
		if (conf_field_same_address(&before->sockets[i].listener, &listener->address)) {
			add_socket(relay, before->sockets[i].fd, listener, true);
			found = true;
		}
	return found;
}

static enum ps_err listen_at(struct relay *relay, const struct relay_listener *listener, struct ps_cause *cause)
{
	int fds[NET_LISTEN_MAX];
	size_t n_fds = 0;
	enum ps_err err = net_listen(&listener->address, fds, &n_fds, cause);

	for (size_t i = 0; err == PS_OK && i < n_fds; i++)
		add_socket(relay, fds[i], listener, false);
	return err;
}

static enum ps_err open_sockets(struct relay *relay, const struct relay *before, struct ps_cause *cause)
{
	for (size_t i = 0; i < relay->config->listeners_list.n; i++) {
		const struct relay_listener *listener = &config_listeners(relay->config)[i];
		enum ps_err err = PS_OK;

		if (!take_over(relay, before, listener))
			err = listen_at(relay, listener, cause);
		if (err == PS_OK && relay->n_sockets == RELAY_SOCKETS_MAX)
			err = ps_cause_set(cause, PS_E_LIMIT, "more than %d listening sockets", RELAY_SOCKETS_MAX - 1);
		if (err != PS_OK)
			return err;
	}
	return PS_OK;
}

enum ps_err relay_new(const char *config_path, const struct relay *before, struct relay **relay, struct ps_cause *cause)
{
	struct relay *fresh = calloc(1, sizeof(*fresh));
	enum ps_err err;

	if (fresh == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	err = config_load(config_path, &fresh->config, cause);
	if (err == PS_OK)
		err = open_sockets(fresh, before, cause);
	if (err != PS_OK) {
		relay_free(fresh);
		return err;
	}
	fresh->board = before == NULL ? NULL : before->board;
	fresh->rate = before == NULL ? NULL : before->rate;
	fresh->count = before == NULL ? NULL : before->count;
	fresh->expiring = before == NULL ? NULL : before->expiring;
	fresh->audit_memory = before == NULL ? NULL : before->audit_memory;
	*relay = fresh;
	return PS_OK;
}

static bool has_socket(const struct relay *relay, int fd)
{
	for (size_t i = 0; i < relay->n_sockets; i++)
		if (relay->sockets[i].fd == fd)
			return true;
	return false;
}

void relay_replace(struct relay *old, struct relay *next)
{
	for (size_t i = 0; i < old->n_sockets; i++)
		if (!has_socket(next, old->sockets[i].fd))
			net_close_listener(old->sockets[i].fd);
	old->n_sockets = 0;
	for (size_t i = 0; i < next->n_sockets; i++)
		next->sockets[i].taken_over = false;
	relay_free(old);
}

void relay_free(struct relay *relay)
{
	if (relay == NULL)
		return;
	for (size_t i = 0; i < relay->n_sockets; i++)
		if (!relay->sockets[i].taken_over)
			close(relay->sockets[i].fd);
	config_free(relay->config);
	free(relay);
}

void relay_keep_own_sockets(const struct relay *relay)
{
	int fds[RELAY_SOCKETS_MAX];

	for (size_t i = 0; i < relay->n_sockets; i++)
		fds[i] = relay->sockets[i].fd;
	net_close_listeners_but(fds, relay->n_sockets);
}

void relay_close_sockets(struct relay *relay)
{
	for (size_t i = 0; i < relay->n_sockets; i++)
		close(relay->sockets[i].fd);
	relay->n_sockets = 0;
}
