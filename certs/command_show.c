/* SPDX-License-Identifier: Apache-2.0 */
/*
 * show -- what the certificates, requests, CRLs and keys in a file say, in words. PEM (every block of it) and DER.
 */
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>
#include <mbedtls/x509_csr.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "describe.h"
#include "key.h"
#include "mbed.h"
#include "portseal/buf.h"
#include "portseal/file.h"
#include "portseal/text.h"

#define FILE_MAX_BYTES (16u << 20)

/* One PEM block with its NUL, or a whole file of DER. */
struct piece {
	const char *path;
	const uint8_t *at;
	size_t len;
	const struct buf *password; /* or NULL */
};

static void begin(struct report *report, const struct piece *piece, const char *kind)
{
	char shown[TEXT_QUOTED_MAX];
	char title[TEXT_QUOTED_MAX + 64];
	struct text text;
	text_init(&text, title, sizeof(title));
	text_addf(&text, "%s: %s", text_escaped(shown, piece->path), kind);
	report_object(report, title);
	if (report->json) {
		report_text(report, "file", piece->path);
		report_text(report, "kind", kind);
	}
}

/* Each returns 0 when the piece is of its kind and was shown, else what mbedTLS said of it. */
static int show_certificate(struct report *report, const struct piece *piece)
{
	mbedtls_x509_crt certificate;
	mbedtls_x509_crt_init(&certificate);
	int ret = mbedtls_x509_crt_parse(&certificate, piece->at, piece->len);
	if (ret == 0) {
		begin(report, piece, "certificate");
		describe_certificate(report, &certificate, time(NULL));
		report_object_end(report);
	}
	mbedtls_x509_crt_free(&certificate);
	return ret;
}

static int show_request(struct report *report, const struct piece *piece)
{
	mbedtls_x509_csr request;
	mbedtls_x509_csr_init(&request);
	int ret = mbedtls_x509_csr_parse(&request, piece->at, piece->len);
	if (ret == 0) {
		begin(report, piece, "request");
		describe_request(report, &request);
		report_object_end(report);
	}
	mbedtls_x509_csr_free(&request);
	return ret;
}

static int show_crl(struct report *report, const struct piece *piece)
{
	mbedtls_x509_crl crl;
	mbedtls_x509_crl_init(&crl);
	int ret = mbedtls_x509_crl_parse(&crl, piece->at, piece->len);
	if (ret == 0) {
		begin(report, piece, "crl");
		describe_crl(report, &crl, time(NULL));
		report_object_end(report);
	}
	mbedtls_x509_crl_free(&crl);
	return ret;
}

static int show_key(struct report *report, const struct piece *piece)
{
	const uint8_t *password = piece->password == NULL ? NULL : buf_front(piece->password);
	size_t password_len = piece->password == NULL ? 0 : buf_len(piece->password);
	mbedtls_pk_context key;
	mbedtls_pk_init(&key);
	int ret = mbedtls_pk_parse_key(&key, piece->at, piece->len, password, password_len, MBED_RNG);
	if (ret == 0) {
		begin(report, piece, "private key");
		describe_key(report, &key);
		report_object_end(report);
	}
	mbedtls_pk_free(&key);
	return ret;
}

static int show_public_key(struct report *report, const struct piece *piece)
{
	mbedtls_pk_context key;
	mbedtls_pk_init(&key);
	int ret = mbedtls_pk_parse_public_key(&key, piece->at, piece->len);
	if (ret == 0) {
		begin(report, piece, "public key");
		describe_key(report, &key);
		report_object_end(report);
	}
	mbedtls_pk_free(&key);
	return ret;
}

static const struct kind {
	const char *label; /* what the PEM line ends in */
	int (*show)(struct report *report, const struct piece *piece);
} kinds[] = {
	{ "CERTIFICATE-----", show_certificate },
	{ "CERTIFICATE REQUEST-----", show_request },
	{ "X509 CRL-----", show_crl },
	{ "PRIVATE KEY-----", show_key },
	{ "PUBLIC KEY-----", show_public_key },
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct kind *kind_of_label(const char *label, size_t len)
{
	for (size_t i = 0; i < N_KINDS; i++) {
		size_t known = strlen(kinds[i].label);
		if (len >= known && memcmp(label + len - known, kinds[i].label, known) == 0)
			return &kinds[i];
	}
	return NULL;
}

static enum ps_err show_block(struct report *report, const struct piece *piece, struct ps_cause *cause)
{
	const char *label = (const char *)piece->at + strlen("-----BEGIN ");
	const struct kind *kind = kind_of_label(label, strcspn(label, "\r\n"));
	if (kind == NULL)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: holds a PEM block of an unknown kind", piece->path);
	int ret = kind->show(report, piece);
	if (ret == MBEDTLS_ERR_PK_PASSWORD_REQUIRED)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: the key is encrypted: give --password-file", piece->path);
	if (ret == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: the password does not open the key", piece->path);
	return ret == 0 ? PS_OK : mbed_failed(cause, PS_E_CONFIG, piece->path, ret);
}

/* Cuts the text into its blocks; the byte behind each is made a NUL for the time of showing it. */
static enum ps_err show_pem(struct report *report, const struct piece *whole, char *text, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;
	for (char *at = strstr(text, "-----BEGIN "); err == PS_OK && at != NULL; at = strstr(at, "-----BEGIN ")) {
		char *end = strstr(at, "-----END ");
		if (end == NULL)
			return ps_cause_set(cause, PS_E_CONFIG, "%s: the last PEM block has no end", whole->path);
		end += strcspn(end, "\n");
		char behind = *end;
		*end = '\0';
		struct piece piece = *whole;
		piece.at = (const uint8_t *)at;
		piece.len = (size_t)(end - at) + 1;
		err = show_block(report, &piece, cause);
		*end = behind;
		at = end;
	}
	return err;
}

static enum ps_err show_der(struct report *report, const struct piece *piece, struct ps_cause *cause)
{
	for (size_t i = 0; i < N_KINDS; i++) {
		if (piece->len > 0 && kinds[i].show(report, piece) == 0)
			return PS_OK;
	}
	return ps_cause_set(cause, PS_E_CONFIG, "%s: is no certificate, request, CRL or key", piece->path);
}

static enum ps_err show_file(struct report *report, const char *path, const struct buf *password,
                             struct ps_cause *cause)
{
	struct buf file = BUF_INIT;
	enum ps_err err = file_read(path, FILE_MAX_BYTES, &file, cause);
	if (err == PS_OK) {
		const struct piece whole = { path, buf_front(&file), buf_len(&file), password };
		char *text = (char *)buf_front(&file);
		err = strstr(text, "-----BEGIN ") != NULL ? show_pem(report, &whole, text, cause)
		                                          : show_der(report, &whole, cause);
	}
	buf_release(&file);
	return err == PS_E_IO ? PS_E_CONFIG : err;
}

int command_show(int argc, char *const *argv)
{
	const char *password_file = NULL;
	const char *json = NULL;
	const char *help = NULL;
	const struct args_option options[] = {
		{ "json", 0, NULL, "print JSON", &json, NULL },
		{ "password-file", 0, "FILE", "first line is the password of an encrypted key", &password_file, NULL },
		CLI_HELP_ROW(help),
		CLI_LAST_ROW,
	};
	const struct cli_form form = { options, &help, "FILE", 1, ARGS_LIST_MAX };
	struct args_list rest = { { NULL }, 0 };
	int exit_code = CLI_OK;
	if (!cli_begin(&form, argc, argv, &rest, &exit_code))
		return exit_code;

	struct ps_cause cause = { "" };
	struct report report;
	struct buf password = BUF_INIT;
	enum ps_err err = password_file == NULL ? PS_OK : key_read_password(password_file, &password, &cause);
	if (err != PS_OK)
		return cli_failed(err, &cause);
	report_open(&report, stdout, json != NULL);
	for (size_t i = 0; err == PS_OK && i < rest.n; i++)
		err = show_file(&report, rest.at[i], password_file == NULL ? NULL : &password, &cause);
	report_close(&report);
	buf_release(&password);
	return err == PS_OK ? CLI_OK : cli_failed(err, &cause);
}
