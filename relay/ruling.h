/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ruling -- may whoever presented this chain reach that service? Asked at the door, again on each reload, and offline.
 */
#ifndef PORTSEAL_RELAY_RULING_H
#define PORTSEAL_RELAY_RULING_H

#include "config.h"
#include "portseal/judge.h"
#include "portseal/service_terms.h"

/* `service` is an index, CONFIG_NO_SERVICE, or CONFIG_NONE_YET: then only the chain is judged. Sets the verdict, and the identity as judge_chain does. */
void ruling_make(const struct relay_config *config, struct trust *trust, struct mbedtls_x509_crt *chain, int service,
                 int64_t now, struct verdict *verdict, struct identity **identity);

/* Index of the service of that name, or CONFIG_NO_SERVICE. */
int ruling_find_service(const struct relay_config *config, const char *name);

/* The service that a client of HTTP/2 means: by its name, by a HOST:PORT that a service declares (in any case), or by its
 * name with a port behind it, which a proxy's client cannot leave out. Or CONFIG_NO_SERVICE. */
int ruling_find_asked(const struct relay_config *config, const char *asked);

/* How a worker is to carry what is for it. */
void ruling_terms(const struct relay_config *config, int service, struct service_terms *terms);

#endif
