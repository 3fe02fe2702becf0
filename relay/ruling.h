/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ruling -- may whoever presented this chain reach that service? Asked at the door, again on each reload, and offline.
 */
#ifndef PORTSEAL_RELAY_RULING_H
#define PORTSEAL_RELAY_RULING_H

#include "config.h"
#include "portseal/judge.h"

/* `service` is an index or CONFIG_NO_SERVICE. Sets the verdict, and the identity as judge_chain does. */
void ruling_make(const struct relay_config *config, struct trust *trust, struct mbedtls_x509_crt *chain, int service,
                 int64_t now, struct verdict *verdict, struct identity **identity);

/* Index of the service of that name, or CONFIG_NO_SERVICE. */
int ruling_find_service(const struct relay_config *config, const char *name);

#endif
