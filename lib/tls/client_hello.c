/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/client_hello.h"

#include <string.h>

#include "portseal/record.h"

#define HANDSHAKE_HEADER_LEN 4
#define HANDSHAKE_CLIENT_HELLO 1
#define RANDOM_LEN 32
#define SESSION_ID_MAX 32
#define EXTENSIONS_MAX 64 /* three times what any client sends */
#define TLS_1_3 0x0304

enum { EXTENSION_SERVER_NAME = 0, EXTENSION_ALPN = 16, EXTENSION_SUPPORTED_VERSIONS = 43 };
enum { NAME_TYPE_HOST = 0 };

/* Reads from the front. What is not there reads as nothing and marks the cursor for good. */
struct cursor {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static const uint8_t *take(struct cursor *from, size_t len)
{
	const uint8_t *taken = from->at;

	if (from->bad || len > from->left) {
		from->bad = true;
		from->left = 0;
		return NULL;
	}
	from->at += len;
	from->left -= len;
	return taken;
}

/* A number of n_bytes bytes, at most four; 0 when they are not there. */
static size_t take_number(struct cursor *from, size_t n_bytes)
{
	const uint8_t *bytes = take(from, n_bytes);
	size_t number = 0;

	for (size_t i = 0; bytes != NULL && i < n_bytes; i++)
		number = number << 8 | bytes[i];
	return number;
}

/* A vector behind a length of n_bytes bytes (RFC 8446, section 3.4). */
static struct cursor take_vector(struct cursor *from, size_t n_bytes)
{
	size_t len = take_number(from, n_bytes);
	const uint8_t *bytes = take(from, len);

	return (struct cursor){ bytes, bytes == NULL ? 0 : len, bytes == NULL };
}

static bool is_used_up(const struct cursor *cursor)
{
	return !cursor->bad && cursor->left == 0;
}

static int lower(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? byte - 'A' + 'a' : byte;
}

static bool is_name_byte(int byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' || byte == '.';
}

static void keep_name(struct client_hello *hello, const struct cursor *name)
{
	bool fits = name->left > 0 && name->left <= CLIENT_HELLO_NAME_MAX;

	for (size_t i = 0; fits && i < name->left; i++) {
		hello->server_name[i] = (char)lower(name->at[i]);
		fits = is_name_byte(hello->server_name[i]);
	}
	hello->server_name_malformed = !fits;
	hello->server_name_len = fits ? name->left : 0;
	if (!fits)
		memset(hello->server_name, 0, sizeof(hello->server_name));
}

/* RFC 6066, section 3. */
static bool parse_server_name(struct client_hello *hello, struct cursor *extension)
{
	struct cursor list = take_vector(extension, 2);
	bool seen = false;

	if (list.left == 0)
		return false;
	while (list.left > 0) {
		size_t type = take_number(&list, 1);
		struct cursor name = take_vector(&list, 2);

		if (type != NAME_TYPE_HOST || name.bad)
			continue;
		if (seen)
			return false;
		seen = true;
		keep_name(hello, &name);
	}
	return is_used_up(&list) && is_used_up(extension);
}

/* RFC 7301, section 3.1. */
static bool parse_alpn(struct client_hello *hello, struct cursor *extension)
{
	struct cursor list = take_vector(extension, 2);

	if (list.left == 0)
		return false;
	while (list.left > 0) {
		struct cursor name = take_vector(&list, 1);

		if (name.left == 0)
			return false;
		if (hello->n_alpn == CLIENT_HELLO_ALPN_MAX)
			continue;
		hello->alpn[hello->n_alpn].bytes = name.at;
		hello->alpn[hello->n_alpn].len = name.left;
		hello->n_alpn++;
	}
	return is_used_up(&list) && is_used_up(extension);
}

/* RFC 8446, section 4.2.1. */
static bool parse_supported_versions(struct client_hello *hello, struct cursor *extension)
{
	struct cursor list = take_vector(extension, 1);

	if (list.left == 0)
		return false;
	while (list.left > 0) {
		if (take_number(&list, 2) == TLS_1_3)
			hello->offers_tls13 = true;
	}
	return is_used_up(&list) && is_used_up(extension);
}

static bool parse_extension(struct client_hello *hello, size_t type, struct cursor *body)
{
	switch (type) {
	case EXTENSION_SERVER_NAME:
		return parse_server_name(hello, body);
	case EXTENSION_ALPN:
		return parse_alpn(hello, body);
	case EXTENSION_SUPPORTED_VERSIONS:
		return parse_supported_versions(hello, body);
	default:
		return true;
	}
}

static bool is_among(size_t type, const size_t *seen, size_t n_seen)
{
	for (size_t i = 0; i < n_seen; i++) {
		if (seen[i] == type)
			return true;
	}
	return false;
}

static bool parse_extensions(struct client_hello *hello, struct cursor *extensions)
{
	size_t seen[EXTENSIONS_MAX];
	size_t n_seen = 0;

	while (extensions->left > 0) {
		size_t type = take_number(extensions, 2);
		struct cursor body = take_vector(extensions, 2);

		if (body.bad || n_seen == EXTENSIONS_MAX || is_among(type, seen, n_seen))
			return false;
		seen[n_seen++] = type;
		if (!parse_extension(hello, type, &body))
			return false;
	}
	return is_used_up(extensions);
}

/* RFC 8446, section 4.1.2. A hello of TLS 1.2 and before may end without extensions. */
static bool parse_hello(struct client_hello *hello, struct cursor *body)
{
	struct cursor session_id, suites, compression, extensions;

	(void)take(body, 2 + RANDOM_LEN);
	session_id = take_vector(body, 1);
	suites = take_vector(body, 2);
	compression = take_vector(body, 1);
	if (body->bad || session_id.left > SESSION_ID_MAX || suites.left == 0 || suites.left % 2 != 0 ||
	    compression.left == 0)
		return false;
	if (body->left == 0)
		return true;
	extensions = take_vector(body, 2);
	return !extensions.bad && parse_extensions(hello, &extensions) && is_used_up(body);
}

static enum client_hello_look partial(struct client_hello *hello, size_t need)
{
	hello->need = need;
	return CLIENT_HELLO_PARTIAL;
}

/* Every method of RFC 9110 and the preface of HTTP/2, as far as they are here. */
static enum client_hello_look look_at_text(const uint8_t *bytes, size_t len, struct client_hello *hello)
{
	static const char *const methods[] = { "GET ",     "POST ",    "HEAD ",  "PUT ", "DELETE ",
		                                   "OPTIONS ", "CONNECT ", "PATCH ", "PRI ", "TRACE " };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		size_t method_len = strlen(methods[i]);

		if (memcmp(bytes, methods[i], len < method_len ? len : method_len) != 0)
			continue;
		if (len >= method_len)
			return CLIENT_HELLO_HTTP;
		return partial(hello, len + 1); /* and not method_len: "P" may still become "PUT " */
	}
	return CLIENT_HELLO_NOT_TLS;
}

/* Type 22, version 3.x as it has been since SSL 3.0, a length that is allowed; judged as far as the bytes are here. */
static bool is_tls(const uint8_t *bytes, size_t len)
{
	size_t record_len = len < RECORD_HEADER_LEN ? 1 : (size_t)bytes[3] << 8 | bytes[4];

	if (len > 0 && bytes[0] != RECORD_HANDSHAKE)
		return false;
	if (len > 1 && bytes[1] != 3)
		return false;
	if (len > 2 && bytes[2] > 4)
		return false;
	return record_len > 0 && record_len <= RECORD_MAX_BODY;
}

enum client_hello_look client_hello_look(const uint8_t *bytes, size_t len, struct client_hello *hello)
{
	const size_t headers_len = RECORD_HEADER_LEN + HANDSHAKE_HEADER_LEN;
	struct cursor record, message, body;

	memset(hello, 0, sizeof(*hello));
	if (!is_tls(bytes, len))
		return look_at_text(bytes, len, hello);
	if (len < RECORD_HEADER_LEN)
		return partial(hello, RECORD_HEADER_LEN);
	record = (struct cursor){ bytes + 3, len - 3, false };
	hello->need = RECORD_HEADER_LEN + take_number(&record, 2);
	if (record.left > 0 && record.at[0] != HANDSHAKE_CLIENT_HELLO)
		return CLIENT_HELLO_NO_HINT;
	if (hello->need < headers_len)
		return CLIENT_HELLO_NO_HINT;
	if (len < headers_len)
		return partial(hello, hello->need);
	message = (struct cursor){ record.at + 1, record.left - 1, false };
	if (take_number(&message, 3) != hello->need - headers_len)
		return CLIENT_HELLO_NO_HINT;
	if (len < hello->need)
		return CLIENT_HELLO_PARTIAL;
	body = (struct cursor){ message.at, hello->need - headers_len, false };
	if (parse_hello(hello, &body))
		return CLIENT_HELLO_WHOLE;
	memset(hello, 0, sizeof(*hello));
	return CLIENT_HELLO_NO_HINT;
}
