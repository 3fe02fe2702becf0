/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor -- the subcommand that goes the way of a message hop by hop, without sending one, and says where it ends and what
 * helps.
 */
#ifndef PORTSEAL_SENDER_DOCTOR_H
#define PORTSEAL_SENDER_DOCTOR_H

/* Returns the exit code that `send` would end with: enum outcome_code. */
int doctor_main(int argc, char *const *argv);

#endif
