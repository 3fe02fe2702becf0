/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status -- the subcommand that asks a tunnel that runs how it is.
 */
#ifndef PORTSEAL_SENDER_STATUS_H
#define PORTSEAL_SENDER_STATUS_H

/* Returns the exit code: 0 good, 1 not running, draining, or the last reload failed, 2 usage, 3 configuration. */
int status_main(int argc, char *const *argv);

#endif
