/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_field -- values that several programs' configurations have in common: addresses, service names, reload.
 *
 * The functions with three parameters are for the `parse` of a conf_key.
 */
#ifndef PORTSEAL_CONF_FIELD_H
#define PORTSEAL_CONF_FIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "portseal/address.h"
#include "portseal/conf.h"
#include "portseal/err.h"

#define CONF_FIELD_SERVICE_MAX 63

/* CUSTOM, into a struct address: where to listen. Port 0 lets the system choose one. */
enum ps_err conf_field_listen(const char *text, void *field, struct ps_cause *cause) PS_MUST_CHECK;

/* Letters, digits, "-", "_" and ".", at most CONF_FIELD_SERVICE_MAX, so that it can stand in ALPN and in a path. */
bool conf_field_is_service(const char *text);

/* CUSTOM, into a const char *: the same. */
enum ps_err conf_field_service(const char *text, void *field, struct ps_cause *cause) PS_MUST_CHECK;

enum reload_on { RELOAD_ON_SIGNAL, RELOAD_ON_CHANGE };

/* CUSTOM, into an enum reload_on: "signal" or "auto". */
enum ps_err conf_field_reload(const char *text, void *field, struct ps_cause *cause) PS_MUST_CHECK;

/* A socket's relative path starts at the directory of the file it was written in. */
enum ps_err conf_field_place(const struct conf *conf, struct address *address, struct ps_cause *cause) PS_MUST_CHECK;

bool conf_field_same_address(const struct address *a, const struct address *b);

#endif
