/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve -- the relay as a daemon: from the path of its configuration to the exit code of its supervisor.
 */
#ifndef PORTSEAL_RELAY_SERVE_H
#define PORTSEAL_RELAY_SERVE_H

/* `aead`: what --aead said, or NULL. */
int serve_main(const char *config_path, const char *aead);

void serve_print_version(void);

#endif
