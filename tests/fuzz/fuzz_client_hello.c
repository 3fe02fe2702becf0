/* SPDX-License-Identifier: Apache-2.0 */
/* client_hello: any bytes; what it reports lies within them. */
#include "portseal/client_hello.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *bytes, size_t len, const struct client_hello *hello)
{
	if (strlen(hello->server_name) != hello->server_name_len || hello->n_alpn > CLIENT_HELLO_ALPN_MAX)
		abort();
	for (size_t i = 0; i < hello->n_alpn; i++) {
		const uint8_t *name = hello->alpn[i].bytes;

		if (name < bytes || hello->alpn[i].len == 0 || hello->alpn[i].len > (size_t)(bytes + len - name))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client_hello hello;
	enum client_hello_look look = client_hello_look(data, size, &hello);

	check(data, size, &hello);
	if (look == CLIENT_HELLO_PARTIAL && (hello.need <= size || hello.need > CLIENT_HELLO_PEEK_MAX))
		abort();
	return 0;
}
