/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tunnel -- the subcommand that listens on local addresses and carries each connection to the relay: a daemon of roles.
 *
 * A worker accepts and forwards and never sees a key; a gatekeeper dials, judges the relay and never sees payload.
 */
#ifndef PORTSEAL_SENDER_TUNNEL_H
#define PORTSEAL_SENDER_TUNNEL_H

/* Returns the exit code: 0 drained, 1 cut, 2 usage, 3 configuration, own key or a listener that cannot be opened. */
int tunnel_main(int argc, char *const *argv);

#endif
