/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve -- the relay as a daemon: from the path of its configuration to the exit code of its supervisor.
 */
#ifndef PORTSEAL_RELAY_SERVE_H
#define PORTSEAL_RELAY_SERVE_H

int serve_main(const char *config_path);

void serve_print_version(void);

#endif
