/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain -- says offline whether a certificate may reach a service, by the very code that judges online.
 */
#ifndef PORTSEAL_RELAY_EXPLAIN_H
#define PORTSEAL_RELAY_EXPLAIN_H

/* The command `explain`. 0: allowed; 6: refused, and why; 2 and 3 for usage and configuration. */
int explain_main(int argc, char *const *argv);

#endif
