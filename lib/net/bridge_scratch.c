/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "bridge_private.h"

enum ps_err bridge_scratch_new(struct bridge_scratch **scratch)
{
	struct bridge_scratch *made = malloc(sizeof(*made));
	if (made == NULL)
		return PS_E_NOMEM;
	*scratch = made;
	return PS_OK;
}

void bridge_scratch_free(struct bridge_scratch *scratch)
{
	if (scratch == NULL)
		return;
	ps_wipe(scratch, sizeof(*scratch));
	free(scratch);
}
