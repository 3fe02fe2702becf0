/* SPDX-License-Identifier: Apache-2.0 */
/* receipt: any value of the header; what is understood is printed and understood again. */
#include "portseal/receipt.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct receipt receipt, again;
	char text[RECEIPT_TEXT_MAX];

	if (receipt_parse((const char *)data, size, &receipt) != PS_OK)
		return 0;
	if (receipt_parse(text, receipt_print(&receipt, text), &again) != PS_OK || strcmp(again.id, receipt.id) != 0 ||
	    memcmp(again.sha256, receipt.sha256, sizeof(again.sha256)) != 0 || again.time != receipt.time)
		abort();
	return 0;
}
