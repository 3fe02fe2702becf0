/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run -- the subcommand that delivers what is in the spool: a daemon of one process, which listens nowhere.
 */
#ifndef PORTSEAL_SENDER_SPOOL_RUN_H
#define PORTSEAL_SENDER_SPOOL_RUN_H

/* Returns the exit code: 0 drained, 1 cut or unforeseen, 2 usage, 3 configuration, own key or spool, 8 no space. */
int run_main(int argc, char *const *argv);

#endif
