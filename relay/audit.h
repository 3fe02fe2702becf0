/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit -- the command that verifies an audit trail, on any host that has its files and the relay's certificate.
 */
#ifndef PORTSEAL_RELAY_AUDIT_H
#define PORTSEAL_RELAY_AUDIT_H

/* `audit verify`. 0: every line is as it was written (notes are printed); 1: not, or a head that was asked for is not there; 2: usage; 3: a file or certificate
 * cannot be read. */
int audit_main(int argc, char *const *argv);

#endif
