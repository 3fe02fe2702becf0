/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send -- the subcommand that delivers one payload and prints the reply, in one process.
 */
#ifndef PORTSEAL_SENDER_SEND_H
#define PORTSEAL_SENDER_SEND_H

/* Returns the exit code: enum outcome_code. */
int send_main(int argc, char *const *argv);

#endif
