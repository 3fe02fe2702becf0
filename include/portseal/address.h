/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address -- the places a program listens on or connects to, as a person writes them:
 * HOST:PORT, [v6]:PORT, :PORT for every address, unix:PATH; and the text of a peer's address.
 *
 * Never:  resolves names; that blocks and belongs to whoever may wait.
 */
#ifndef PORTSEAL_ADDRESS_H
#define PORTSEAL_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "portseal/err.h"

#define ADDRESS_HOST_MAX 256
#define ADDRESS_TEXT_MAX 300

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX };

struct address {
	enum address_kind kind;
	char host[ADDRESS_HOST_MAX]; /* "" means every address; no brackets around IPv6 */
	uint16_t port;               /* 0 only for unix */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* HOST:PORT, [v6]:PORT, :PORT, unix:PATH. Port 0 is an error unless `allow_port_zero` (listening in tests). */
enum ps_err address_parse(const char *string, bool allow_port_zero, struct address *address, struct ps_cause *cause)
	PS_MUST_CHECK;

/* tcp://HOST:PORT or unix:PATH (a target's form, never without a host). The cause names all three forms that a target
 * has: "\"tpc://127.0.0.1:7000\" is not tcp://HOST:PORT, unix:PATH or udp://HOST:PORT". */
enum ps_err address_parse_target(const char *string, struct address *address, struct ps_cause *cause) PS_MUST_CHECK;

/* True for unix sockets, 127.0.0.0/8, ::1 and the name localhost: traffic to it stays on this host. */
bool address_is_loopback(const struct address *address);
/* The same of a socket's address. */
bool address_is_loopback_at(const struct sockaddr *at);

/* "192.0.2.7:51123", "[2001:db8::1]:443", "unix:/run/app" or "unix:" for an unnamed peer; v4-mapped IPv6 as IPv4.
 * A path is escaped: a peer chooses its own. */
void address_text(const struct sockaddr *sockaddr, socklen_t len, char out[static ADDRESS_TEXT_MAX]);

/* The form a person wrote, normalised; for messages, as a path is escaped. */
void address_print(const struct address *address, char out[static ADDRESS_TEXT_MAX]);

#endif
