/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue -- the subcommand that looks at the spool, has messages tried again, and throws messages away.
 */
#ifndef PORTSEAL_SENDER_SPOOL_QUEUE_H
#define PORTSEAL_SENDER_SPOOL_QUEUE_H

/* Returns the exit code: 0; 1 no such message, or unforeseen; 2 usage; 3 configuration or spool; 8 no space. */
int queue_main(int argc, char *const *argv);

#endif
