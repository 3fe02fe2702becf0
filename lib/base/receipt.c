/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/receipt.h"

#include <inttypes.h>
#include <mbedtls/base64.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "portseal/text.h"

#define SHA256_BASE64_LEN 44
#define TIME_DIGITS_MAX 15 /* RFC 9651, section 3.3.1 */

/* What of the value is not yet read. */
struct rest {
	const char *at;
	size_t len;
};

enum ps_err receipt_make(const uint8_t sha256[static RECEIPT_SHA256_LEN], int64_t time, struct receipt *receipt)
{
	uint8_t random[RECEIPT_ID_LEN / 2];
	struct text id;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return PS_E_IO;
	text_init(&id, receipt->id, sizeof(receipt->id));
	text_add_hex(&id, random, sizeof(random));
	memcpy(receipt->sha256, sha256, RECEIPT_SHA256_LEN);
	receipt->time = time;
	return PS_OK;
}

size_t receipt_print(const struct receipt *receipt, char out[static RECEIPT_TEXT_MAX])
{
	unsigned char base64[SHA256_BASE64_LEN + 1];
	size_t base64_len = 0;
	struct text text;

	if (mbedtls_base64_encode(base64, sizeof(base64), &base64_len, receipt->sha256, RECEIPT_SHA256_LEN) != 0)
		base64_len = 0; /* cannot be: it fits */
	text_init(&text, out, RECEIPT_TEXT_MAX);
	text_addf(&text, "\"%s\";sha256=:%.*s:;time=@%" PRId64, receipt->id, (int)base64_len, (const char *)base64,
	          receipt->time);
	return text.len;
}

static bool take(struct rest *rest, const char *word)
{
	const size_t len = strlen(word);

	if (rest->len < len || memcmp(rest->at, word, len) != 0)
		return false;
	rest->at += len;
	rest->len -= len;
	return true;
}

/* As many bytes as the set has; at most `max`. */
static size_t span(const struct rest *rest, const char *set, size_t max)
{
	size_t n = 0;

	while (n < rest->len && n < max && rest->at[n] != '\0' && strchr(set, rest->at[n]) != NULL)
		n++;
	return n;
}

static void skip(struct rest *rest, size_t n)
{
	rest->at += n;
	rest->len -= n;
}

static bool take_id(struct rest *rest, char id[static RECEIPT_ID_LEN + 1])
{
	if (!take(rest, "\"") || span(rest, "0123456789abcdef", RECEIPT_ID_LEN) != RECEIPT_ID_LEN)
		return false;
	memcpy(id, rest->at, RECEIPT_ID_LEN);
	id[RECEIPT_ID_LEN] = '\0';
	skip(rest, RECEIPT_ID_LEN);
	return take(rest, "\"");
}

static bool take_sha256(struct rest *rest, uint8_t sha256[static RECEIPT_SHA256_LEN])
{
	size_t len = 0;

	if (!take(rest, ":") || rest->len <= SHA256_BASE64_LEN || rest->at[SHA256_BASE64_LEN] != ':' ||
	    memchr(rest->at, ' ', SHA256_BASE64_LEN) != NULL || memchr(rest->at, '\n', SHA256_BASE64_LEN) != NULL)
		return false;
	if (mbedtls_base64_decode(sha256, RECEIPT_SHA256_LEN, &len, (const unsigned char *)rest->at, SHA256_BASE64_LEN) !=
	        0 ||
	    len != RECEIPT_SHA256_LEN)
		return false;
	skip(rest, SHA256_BASE64_LEN + 1);
	return true;
}

static bool take_time(struct rest *rest, int64_t *time)
{
	size_t digits;

	if (!take(rest, "@"))
		return false;
	digits = span(rest, "0123456789", TIME_DIGITS_MAX);
	*time = 0;
	for (size_t i = 0; i < digits; i++)
		*time = *time * 10 + (rest->at[i] - '0');
	skip(rest, digits);
	return digits > 0;
}

/* A parameter of a later version: a key, and perhaps a value that is no string. */
static bool take_unknown(struct rest *rest)
{
	const size_t n = span(rest, "abcdefghijklmnopqrstuvwxyz0123456789_-.*", rest->len);

	skip(rest, n);
	if (n > 0 && take(rest, "="))
		skip(rest, span(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=:@?_-.*", rest->len));
	return n > 0;
}

enum ps_err receipt_parse(const char *value, size_t len, struct receipt *receipt)
{
	struct rest rest = { value, len };
	struct receipt read = { .time = 0 };
	bool has_sha256 = false;
	bool has_time = false;

	if (!take_id(&rest, read.id))
		return PS_E_PROTO;
	while (take(&rest, ";")) {
		if (!has_sha256 && take(&rest, "sha256="))
			has_sha256 = take_sha256(&rest, read.sha256);
		else if (!has_time && take(&rest, "time="))
			has_time = take_time(&rest, &read.time);
		else if (!take_unknown(&rest))
			return PS_E_PROTO;
	}
	if (rest.len > 0 || !has_sha256 || !has_time)
		return PS_E_PROTO;
	*receipt = read;
	return PS_OK;
}

void receipt_print_time(int64_t time, char out[static RECEIPT_TIME_MAX])
{
	const time_t seconds = (time_t)time;
	struct tm utc;

	if (gmtime_r(&seconds, &utc) == NULL || strftime(out, RECEIPT_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		(void)snprintf(out, RECEIPT_TIME_MAX, "@%" PRId64, time);
}
