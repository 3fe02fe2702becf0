/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check -- everything about a configuration that can be judged without starting: syntax, files, modes, key and
 * certificate, dates, and whether the targets answer.
 */
#ifndef PORTSEAL_RELAY_CHECK_H
#define PORTSEAL_RELAY_CHECK_H

/* The command `check`. 0: it would start (warnings are printed); 3: it would not, and why. */
int check_main(int argc, char *const *argv);

#endif
