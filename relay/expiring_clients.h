/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expiring_clients -- which clients were told about lately, so that a certificate that expires soon is one line a day
 * and not one for each connection.
 *
 * In memory that all processes forked afterwards share, so that gatekeepers tell once between them, those of a later
 * generation included. Of fixed size: when many expire at once, the one told longest ago is forgotten, and so told again.
 */
#ifndef PORTSEAL_RELAY_EXPIRING_CLIENTS_H
#define PORTSEAL_RELAY_EXPIRING_CLIENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "portseal/err.h"
#include "portseal/identity.h"

#define EXPIRING_CLIENTS_MAX 4096

struct expiring_clients;

enum ps_err expiring_clients_new(struct expiring_clients **clients) PS_MUST_CHECK;
void expiring_clients_free(struct expiring_clients *clients);

/* Is this client to be told about now: its certificate expires within 30 days, and it was not told about within the
 * last day? Remembers a yes. */
bool expiring_clients_is_news(struct expiring_clients *clients, const struct identity *identity, int64_t now);

#endif
