/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange_connect -- CONNECT: the application is reached, the client reads 200, and the stream is piped both ways.
 */
#ifndef PORTSEAL_RELAY_EXCHANGE_CONNECT_H
#define PORTSEAL_RELAY_EXCHANGE_CONNECT_H

#include "exchange.h"

extern const struct exchange_kind exchange_connect;

#endif
