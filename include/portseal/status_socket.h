/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status_socket -- the unix socket at which a daemon tells how it is (supervisor_config.status_fd), and how to ask there.
 */
#ifndef PORTSEAL_STATUS_SOCKET_H
#define PORTSEAL_STATUS_SOCKET_H

#include <stdbool.h>

#include "portseal/buf.h"
#include "portseal/err.h"

/* Listens at `path`, mode 0600; *fd is the caller's. */
enum ps_err status_socket_open(const char *path, int *fd, struct ps_cause *cause) PS_MUST_CHECK;

/* Appends the whole answer, one JSON object and a line's end, with a NUL behind it. Blocks for five seconds at most. */
enum ps_err status_socket_ask(const char *path, struct buf *answer, struct ps_cause *cause) PS_MUST_CHECK;

/* It serves, and the last reload, if there was one, succeeded. */
bool status_socket_is_good(const char *answer);

#endif
