/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/aead.h"

const struct aead_provider *aead_provider(void)
{
	return &aead_psa;
}
