/* SPDX-License-Identifier: Apache-2.0 */
#include "mbed.h"

#include <mbedtls/asn1write.h>
#include <mbedtls/base64.h>
#include <mbedtls/error.h>
#include <mbedtls/version.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <string.h>

#define PEM_BYTES_PER_LINE 48

enum ps_err mbed_init(struct ps_cause *cause)
{
	if (psa_crypto_init() != PSA_SUCCESS)
		return ps_cause_set(cause, PS_E_BUG, "the cryptographic library does not start");
	return PS_OK;
}

const char *mbed_version(void)
{
	static char text[9]; /* mbedTLS writes at most that much */

	mbedtls_version_get_string(text);
	return text;
}

enum ps_err mbed_random(uint8_t *out, size_t len, struct ps_cause *cause)
{
	if (psa_generate_random(out, len) != PSA_SUCCESS)
		return ps_cause_set(cause, PS_E_BUG, "no random numbers to be had");
	return PS_OK;
}

enum ps_err mbed_failed(struct ps_cause *cause, enum ps_err err, const char *what, int code)
{
	char words[160];
	mbedtls_strerror(code, words, sizeof(words));
	return ps_cause_set(cause, err, "%s: %s (-0x%04x)", what, words, (unsigned)-code);
}

enum ps_err mbed_add_pem(const char *label, const uint8_t *der, size_t der_len, struct buf *out)
{
	char line[80];
	int len = snprintf(line, sizeof(line), "-----BEGIN %s-----\n", label);
	enum ps_err err = buf_append(out, line, (size_t)len);
	for (size_t at = 0; err == PS_OK && at < der_len; at += PEM_BYTES_PER_LINE) {
		size_t chunk = der_len - at < PEM_BYTES_PER_LINE ? der_len - at : PEM_BYTES_PER_LINE;
		size_t written = 0;
		if (mbedtls_base64_encode((unsigned char *)line, sizeof(line) - 1, &written, der + at, chunk) != 0) {
			err = PS_E_BUG;
			break;
		}
		line[written++] = '\n';
		err = buf_append(out, line, written);
	}
	ps_wipe(line, sizeof(line));
	if (err != PS_OK)
		return err;
	len = snprintf(line, sizeof(line), "-----END %s-----\n", label);
	return buf_append(out, line, (size_t)len);
}

int mbed_sum(int a, int b)
{
	if (a < 0)
		return a;
	return b < 0 ? b : a + b;
}

int mbed_wrap(uint8_t **at, uint8_t *start, unsigned char tag, int len)
{
	if (len < 0)
		return len;
	len = mbed_sum(len, mbedtls_asn1_write_len(at, start, (size_t)len));
	return len < 0 ? len : mbed_sum(len, mbedtls_asn1_write_tag(at, start, tag));
}
