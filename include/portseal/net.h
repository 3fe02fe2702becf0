/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net -- sockets with the options Portseal always wants: close-on-exec, non-blocking, TCP_NODELAY, keepalive.
 */
#ifndef PORTSEAL_NET_H
#define PORTSEAL_NET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "portseal/address.h"
#include "portseal/err.h"

#define NET_LISTEN_MAX 16

/* Opens every socket the address stands for (":8443" is one dual-stack v6 socket where the host has IPv6, else v4;
 * a name may stand for several; resolved here, blocking, at start only). SO_REUSEADDR; a stale unix socket file that
 * nobody listens on is removed, a live one is an error. A unix socket gets mode 0600. TCP sockets are tuned
 * (net_tune), and what is accepted from them inherits that. The cause says which address, why and what to do:
 * "listen :8443: address already in use (is another instance running?)". Closes all again on failure.
 * Changes the umask for a moment, so no other thread may create files meanwhile. */
enum ps_err net_listen(const struct address *address, int fds[static NET_LISTEN_MAX], size_t *n_fds,
                       struct ps_cause *cause) PS_MUST_CHECK;

/* Closes a listening socket for all processes that have it: nobody listens there from now on, though they learn of it a
 * moment later, and the address is free for the next one. Their net_accept says PS_E_IO. */
void net_close_listener(int fd);

/* accept4 with CLOEXEC|NONBLOCK. PS_E_AGAIN: nobody waits (or the one who did is gone already). PS_E_LIMIT: no
 * descriptors or memory: the caller pauses accepting for a while. */
enum ps_err net_accept(int listen_fd, int *fd, struct sockaddr_storage *peer, socklen_t *peer_len) PS_MUST_CHECK;

/* Starts a non-blocking connect on a tuned socket; PS_OK also while it is under way (then wait for writability and
 * call net_connect_result). *fd is the caller's. */
enum ps_err net_connect(const struct sockaddr *to, socklen_t to_len, int *fd, struct ps_cause *cause) PS_MUST_CHECK;

/* PS_E_AGAIN: woken too early, wait on. The cause begins with "connect: ", as the descriptor no longer knows to whom. */
enum ps_err net_connect_result(int fd, struct ps_cause *cause) PS_MUST_CHECK;

/* For a socket that is, or is to be, bound or connected to `at`: TCP_NODELAY, SO_KEEPALIVE (idle 60 s, 6 probes of 10 s) and
 * TCP_USER_TIMEOUT 120 s; nothing on other sockets. What stays on this machine (127.0.0.0/8, ::1) meets no congestion: it
 * goes by an algorithm that does not pace. BBR, where it is the default, would measure the path of a queue in memory and
 * wake by a timer for each share of it. */
void net_tune(int fd, const struct sockaddr *at);

/* Acknowledges what came without waiting for something to say. TRAP: a client that leaves Nagle's algorithm on holds its
 * first bytes back until its last flight of the handshake is acknowledged; TLS 1.3 without tickets has nothing to answer
 * to that flight, and the kernel delays a bare acknowledgement by 40 ms. */
void net_ack_now(int fd);

/* Makes the next close() of a TCP socket send a reset instead of a FIN. */
void net_arm_reset(int fd);

/* Back to a FIN. */
void net_disarm_reset(int fd);

/* In a role, right after its fork: closes every listening socket but these. The supervisor may have others open (those of
 * another generation), and a door that is taken away must not stay half open. */
void net_close_listeners_but(const int *fds, size_t n_fds);

/* Raises the soft limit of open files to the hard one; returns what is now allowed. */
uint64_t net_raise_nofile(void);

/* Every byte of a source that one person holds: the IPv4 address or the IPv6 /64 (v4-mapped counts as IPv4);
 * a unix peer is the all-zero source. */
struct net_source {
	uint8_t bytes[9]; /* family tag and 4 or 8 bytes, the rest zero */
};
struct net_source net_source_of(const struct sockaddr *peer);

#endif
