/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead_private -- what the files of the AEAD share with each other and with their tests.
 */
#ifndef PORTSEAL_AEAD_PRIVATE_H
#define PORTSEAL_AEAD_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/aead.h"

#ifdef PS_IPSEC_MB
extern const struct aead_provider aead_ipsec;

/* As aead_ipsec.start, with IMB_FLAG_* that hide what the processor can do. */
enum ps_err aead_ipsec_start(uint64_t hidden, struct ps_cause *cause) PS_MUST_CHECK;

/* Expanded keys are kept for this many keys of a process; the others are expanded again when they are used. */
#define AEAD_IPSEC_SCHEDULES 128
#endif

/* As aead_select("auto"), among these, the fastest first. */
enum ps_err aead_select_among(const struct aead_provider *const *candidates, size_t n, struct ps_cause *cause)
	PS_MUST_CHECK;

/* Seals and opens what has known answers, in every suite. PS_E_BUG with a cause: they came out differently. */
enum ps_err aead_known_answers(const struct aead_provider *provider, struct ps_cause *cause) PS_MUST_CHECK;

#endif
