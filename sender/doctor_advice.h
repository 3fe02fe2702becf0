/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_advice -- which step a failure belongs to, and what to do about it. Pure.
 */
#ifndef PORTSEAL_SENDER_DOCTOR_ADVICE_H
#define PORTSEAL_SENDER_DOCTOR_ADVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "doctor_report.h"
#include "portseal/address.h"
#include "portseal/connector.h"
#include "portseal/refusal.h"
#include "portseal/text.h"

/* Where the relay's alert belongs. `accepted`: we had accepted the relay's certificate by then; before, the alert can
 * only be about what we asked for. */
enum doctor_step doctor_step_of_alert(uint8_t alert, bool accepted);

/* Where our own refusal, or a handshake that failed without an alert, belongs. */
enum doctor_step doctor_step_of_refusal(enum refusal refusal);

/* Each appends what to do; for an address that is a literal one or a unix socket. */
void doctor_advise_connect(struct text *remedy, enum connect_result result, const struct address *address);
void doctor_advise_alert(struct text *remedy, enum doctor_step step, uint8_t alert, bool has_service);
void doctor_advise_refusal(struct text *remedy, enum refusal refusal);

/* "refused: nobody listens there" */
const char *doctor_connect_words(enum connect_result result);

#endif
