/* SPDX-License-Identifier: Apache-2.0 */
/*
 * each_aead -- runs tests once with each provider of the AEAD that this machine has.
 */
#ifndef PORTSEAL_TESTS_EACH_AEAD_H
#define PORTSEAL_TESTS_EACH_AEAD_H

/* Returns the sum of what `run` returns. One that is not to be had is named and passed over. */
int with_each_aead(int (*run)(void));

#endif
