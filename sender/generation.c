/* SPDX-License-Identifier: Apache-2.0 */
#include "generation.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "portseal/conf_field.h"
#include "portseal/net.h"

static const struct address *address_of(const struct generation *generation, size_t at)
{
	return &config_tunnels(generation->config)[generation->sockets[at].tunnel].listen;
}

/* The last place stays free, so that the one too many is noticed. */
static void add_socket(struct generation *generation, int fd, uint32_t tunnel, bool taken_over)
{
	if (generation->n_sockets < GENERATION_SOCKETS_MAX)
		generation->sockets[generation->n_sockets++] =
			(struct generation_socket){ .fd = fd, .tunnel = tunnel, .taken_over = taken_over };
	else if (!taken_over)
		close(fd);
}

static bool take_over(struct generation *generation, const struct generation *before, uint32_t tunnel)
{
	const struct address *wanted = &config_tunnels(generation->config)[tunnel].listen;
	bool found = false;

	for (size_t i = 0; before != NULL && i < before->n_sockets; i++)
		if (conf_field_same_address(address_of(before, i), wanted)) {
			add_socket(generation, before->sockets[i].fd, tunnel, true);
			found = true;
		}
	return found;
}

static enum ps_err listen_at(struct generation *generation, uint32_t tunnel, struct ps_cause *cause)
{
	int fds[NET_LISTEN_MAX];
	size_t n_fds = 0;
	const enum ps_err err = net_listen(&config_tunnels(generation->config)[tunnel].listen, fds, &n_fds, cause);

	for (size_t i = 0; err == PS_OK && i < n_fds; i++)
		add_socket(generation, fds[i], tunnel, false);
	return err == PS_E_CONFIG ? PS_E_IO : err; /* whatever was said of it, it was well said */
}

static enum ps_err open_sockets(struct generation *generation, const struct generation *before, struct ps_cause *cause)
{
	for (uint32_t i = 0; i < generation->config->tunnels_list.n; i++) {
		enum ps_err err = PS_OK;

		if (!take_over(generation, before, i))
			err = listen_at(generation, i, cause);
		if (err == PS_OK && generation->n_sockets == GENERATION_SOCKETS_MAX)
			err = ps_cause_set(cause, PS_E_LIMIT, "more than %d listening sockets", GENERATION_SOCKETS_MAX - 1);
		if (err != PS_OK)
			return err;
	}
	return PS_OK;
}

enum ps_err generation_new(const struct config_options *options, const struct generation *before,
                           struct generation **generation, struct ps_cause *cause)
{
	struct generation *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	fresh->options = *options;
	enum ps_err err = config_load(options, true, &fresh->config, cause);
	if (err == PS_OK)
		err = open_sockets(fresh, before, cause);
	if (err != PS_OK) {
		generation_discard(fresh);
		return err;
	}
	*generation = fresh;
	return PS_OK;
}

static bool has_socket(const struct generation *generation, int fd)
{
	for (size_t i = 0; i < generation->n_sockets; i++)
		if (generation->sockets[i].fd == fd)
			return true;
	return false;
}

void generation_replace(struct generation *old, struct generation *next)
{
	for (size_t i = 0; i < old->n_sockets; i++)
		old->sockets[i].taken_over = has_socket(next, old->sockets[i].fd); /* whose it is no longer */
	for (size_t i = 0; i < next->n_sockets; i++)
		next->sockets[i].taken_over = false;
	generation_discard(old);
}

/* A stale socket would look to the next client as if somebody were listening. */
static void close_door(const struct generation *generation, size_t at)
{
	const struct address *address = address_of(generation, at);

	if (generation->sockets[at].fd >= 0)
		net_close_listener(generation->sockets[at].fd);
	if (address->kind == ADDRESS_UNIX)
		(void)unlink(address->path);
}

void generation_discard(struct generation *generation)
{
	if (generation == NULL)
		return;
	for (size_t i = 0; i < generation->n_sockets; i++)
		if (!generation->sockets[i].taken_over)
			close_door(generation, i);
	generation_free(generation);
}

void generation_close_sockets(struct generation *generation)
{
	for (size_t i = 0; i < generation->n_sockets; i++) {
		close(generation->sockets[i].fd);
		generation->sockets[i].fd = -1;
	}
}

void generation_close_doors(struct generation *generation)
{
	net_close_listeners_but(NULL, 0);
	generation->n_sockets = 0;
}

void generation_keep_doors(const struct generation *generation)
{
	int fds[GENERATION_SOCKETS_MAX];

	for (size_t i = 0; i < generation->n_sockets; i++)
		fds[i] = generation->sockets[i].fd;
	net_close_listeners_but(fds, generation->n_sockets);
}

void generation_free(struct generation *generation)
{
	if (generation == NULL)
		return;
	config_free(generation->config);
	free(generation);
}

void generation_listen_text(const struct generation *generation, uint32_t tunnel, char out[static ADDRESS_TEXT_MAX])
{
	const struct address *listen = &config_tunnels(generation->config)[tunnel].listen;
	struct sockaddr_storage bound;
	socklen_t bound_len = sizeof(bound);
	size_t at = 0;

	while (at < generation->n_sockets && generation->sockets[at].tunnel != tunnel)
		at++;
	if (listen->kind == ADDRESS_TCP && listen->port == 0 && at < generation->n_sockets &&
	    getsockname(generation->sockets[at].fd, (struct sockaddr *)&bound, &bound_len) == 0)
		address_text((const struct sockaddr *)&bound, bound_len, out);
	else
		address_print(listen, out);
}
