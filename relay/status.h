/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status -- asks a running relay how it is, over its status socket.
 */
#ifndef PORTSEAL_RELAY_STATUS_H
#define PORTSEAL_RELAY_STATUS_H

/* The command `status`: prints what the relay says. 0: it serves and its last reload was good; 1: it does not answer,
 * drains, or its last reload failed; 2 usage, 3 configuration. */
int status_main(int argc, char *const *argv);

#endif
