/* SPDX-License-Identifier: Apache-2.0 */
#include "authority.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "batch.h"
#include "key.h"
#include "mbed.h"
#include "portseal/file.h"
#include "portseal/text.h"

#define CERTIFICATE_MAX 65536
#define LEDGER_MAX (256u << 20)

void authority_init(struct authority *authority, const char *dir)
{
	authority->dir = dir;
	authority->lock = -1;
	authority->ledger = LEDGER_INIT;
	mbedtls_x509_crt_init(&authority->certificate);
	mbedtls_pk_init(&authority->key);
}

void authority_close(struct authority *authority)
{
	mbedtls_pk_free(&authority->key);
	mbedtls_x509_crt_free(&authority->certificate);
	ledger_clear(&authority->ledger);
	if (authority->lock >= 0)
		close(authority->lock); /* which also gives up the lock */
	authority->lock = -1;
}

enum ps_err authority_path(const struct authority *authority, const char *name, const char *suffix,
                           char path[static PATH_MAX], struct ps_cause *cause)
{
	if (snprintf(path, PATH_MAX, "%s/%s%s", authority->dir, name, suffix) >= PATH_MAX)
		return ps_cause_set(cause, PS_E_CONFIG, "%.60s...: the path is too long", authority->dir);
	return PS_OK;
}

bool authority_has(const struct authority *authority, const char *name, const char *suffix)
{
	char path[PATH_MAX];
	struct stat status;
	/* lstat: a dangling link is something, and is not to be replaced unasked */
	return authority_path(authority, name, suffix, path, NULL) == PS_OK && lstat(path, &status) == 0;
}

static enum ps_err take_lock(struct authority *authority, struct ps_cause *cause)
{
	char path[PATH_MAX];
	enum ps_err err = authority_path(authority, ".lock", "", path, cause);
	if (err != PS_OK)
		return err;
	authority->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, AUTHORITY_PRIVATE_MODE);
	if (authority->lock < 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: cannot be opened: %s", path, strerror(errno));
	while (flock(authority->lock, LOCK_EX) != 0) {
		if (errno != EINTR)
			return ps_cause_set(cause, PS_E_IO, "%s: cannot be locked: %s", path, strerror(errno));
	}
	return PS_OK;
}

enum ps_err authority_create(struct authority *authority, struct ps_cause *cause)
{
	const char *dir = authority->dir;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: cannot be created: %s", dir, strerror(errno));
	/* Whoever may write into it may put another authority there. */
	enum ps_err err = file_check_directory(dir, cause);
	if (err == PS_OK)
		err = take_lock(authority, cause);
	if (err == PS_OK)
		err = batch_recover(dir, cause);
	return err;
}

static enum ps_err read_ledger(struct authority *authority, struct ps_cause *cause)
{
	char path[PATH_MAX];
	struct buf file = BUF_INIT;
	enum ps_err err = authority_path(authority, "index", "", path, cause);
	if (err == PS_OK)
		err = file_read(path, LEDGER_MAX, &file, cause);
	if (err == PS_E_IO)
		err = PS_E_CONFIG;
	if (err == PS_OK) {
		/* a NUL byte would hide the rest: the parser sees it as a line that is cut off */
		err = ledger_parse((const char *)buf_front(&file), &authority->ledger, cause);
		if (err == PS_OK && memchr(buf_front(&file), '\0', buf_len(&file)) != NULL)
			err = ps_cause_set(cause, PS_E_CONFIG, "it contains a NUL byte");
		if (err != PS_OK)
			err = ps_cause_prefix(cause, err, "%s", path);
	}
	buf_release(&file);
	return err;
}

/* Exactly one certificate: the first would be used and the others silently not. */
static enum ps_err read_certificate(const char *path, mbedtls_x509_crt *certificate, struct ps_cause *cause)
{
	struct buf file = BUF_INIT;
	enum ps_err err = file_read(path, CERTIFICATE_MAX, &file, cause);
	if (err == PS_OK) {
		int ret = mbedtls_x509_crt_parse(certificate, buf_front(&file), buf_len(&file) + 1);
		if (ret < 0)
			err = mbed_failed(cause, PS_E_CONFIG, path, ret);
		else if (ret > 0 || certificate->next != NULL)
			err = ps_cause_set(cause, PS_E_CONFIG, "%s: holds more than one certificate", path);
	}
	buf_release(&file);
	return err == PS_E_IO ? PS_E_CONFIG : err;
}

enum ps_err authority_adopt(struct authority *authority, const struct buf *pem, struct ps_cause *cause)
{
	struct buf text = BUF_INIT; /* mbedTLS wants a NUL behind PEM */
	enum ps_err err = buf_append(&text, buf_front(pem), buf_len(pem));
	if (err == PS_OK)
		err = buf_append(&text, "", 1);
	if (err == PS_OK) {
		int ret = mbedtls_x509_crt_parse(&authority->certificate, buf_front(&text), buf_len(&text));
		if (ret != 0)
			err = mbed_failed(cause, PS_E_BUG, "the new certificate cannot be read", ret);
	}
	buf_release(&text);
	return err;
}

enum ps_err authority_open(struct authority *authority, struct ps_cause *cause)
{
	char path[PATH_MAX];
	const char *dir = authority->dir;
	if (!authority_has(authority, "ca", ".crt") && !authority_has(authority, ".commit", ""))
		return ps_cause_set(cause, PS_E_CONFIG, "%s: no certificate authority there: make one with portseal-certs init",
		                    dir);
	enum ps_err err = file_check_directory(dir, cause);
	if (err == PS_OK)
		err = take_lock(authority, cause);
	if (err == PS_OK)
		err = batch_recover(dir, cause);
	if (err == PS_OK)
		err = read_ledger(authority, cause);
	if (err == PS_OK)
		err = authority_path(authority, "ca", ".crt", path, cause);
	if (err == PS_OK)
		err = read_certificate(path, &authority->certificate, cause);
	return err;
}

int64_t authority_moment(const mbedtls_x509_time *time)
{
	struct tm tm = { 0 };
	tm.tm_year = time->year - 1900;
	tm.tm_mon = time->mon - 1;
	tm.tm_mday = time->day;
	tm.tm_hour = time->hour;
	tm.tm_min = time->min;
	tm.tm_sec = time->sec;
	return timegm(&tm);
}

int64_t authority_ends(const struct authority *authority)
{
	return authority_moment(&authority->certificate.valid_to);
}

size_t authority_key_id(const struct authority *authority, uint8_t der[static AUTHORITY_KEY_ID_CAP])
{
	const mbedtls_x509_buf *id = &authority->certificate.subject_key_id;
	if (id->len == 0 || id->len > AUTHORITY_KEY_ID_CAP - 4)
		return 0;
	der[0] = MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE;
	der[1] = (uint8_t)(id->len + 2);
	der[2] = MBEDTLS_ASN1_CONTEXT_SPECIFIC; /* keyIdentifier [0] */
	der[3] = (uint8_t)id->len;
	memcpy(der + 4, id->p, id->len);
	return id->len + 4;
}

void authority_serial(const mbedtls_x509_buf *serial, char out[static LEDGER_SERIAL_CAP])
{
	struct text text;
	const uint8_t *at = serial->p;
	size_t len = serial->len;
	if (len > 1 && at[0] == 0) { /* only there to keep the number positive */
		at++;
		len--;
	}
	text_init(&text, out, LEDGER_SERIAL_CAP);
	text_add_hex(&text, at, len < 20 ? len : 20);
}

static enum ps_err read_key(struct authority *authority, const char *password_file, struct ps_cause *cause)
{
	char path[PATH_MAX];
	struct buf password = BUF_INIT;
	enum ps_err err = authority_path(authority, "ca", ".key", path, cause);
	if (err == PS_OK && password_file != NULL)
		err = key_read_password(password_file, &password, cause);
	if (err == PS_OK)
		err = key_read(path, password_file == NULL ? NULL : &password, &authority->key, cause);
	if (err == PS_OK && mbedtls_pk_check_pair(&authority->certificate.pk, &authority->key, MBED_RNG) != 0)
		err = ps_cause_set(cause, PS_E_CONFIG, "%s: is not the key of ca.crt", path);
	buf_release(&password);
	return err;
}

enum ps_err authority_unlock(struct authority *authority, const char *password_file, int64_t now,
                             struct ps_cause *cause)
{
	int64_t begins = authority_moment(&authority->certificate.valid_from);
	bool over = now > authority_ends(authority);
	if (over || now < begins) {
		char day[STAMP_READABLE_CAP];
		stamp_print_readable(over ? authority_ends(authority) : begins, day);
		return ps_cause_set(cause, PS_E_CONFIG, "%s/ca.crt: %s %s", authority->dir,
		                    over ? "the authority expired on" : "the authority is not valid before", day);
	}
	return read_key(authority, password_file, cause);
}

enum ps_err authority_commit(const struct authority *authority, const struct authority_file *files, size_t n_files,
                             struct ps_cause *cause)
{
	struct buf ledger = BUF_INIT;
	enum ps_err err = ledger_print(&authority->ledger, &ledger);
	if (err == PS_OK)
		err = batch_begin(authority->dir, cause);
	if (err == PS_OK)
		err = batch_add(authority->dir, "index", &ledger, AUTHORITY_PRIVATE_MODE, cause);
	for (size_t i = 0; err == PS_OK && i < n_files; i++) {
		char file[AUTHORITY_FILE_CAP];
		snprintf(file, sizeof(file), "%s%s", files[i].name, files[i].suffix);
		err = batch_add(authority->dir, file, files[i].content, files[i].mode, cause);
	}
	if (err == PS_OK)
		err = batch_commit(authority->dir, cause);
	if (err != PS_OK)
		batch_abandon(authority->dir);
	buf_release(&ledger);
	return err;
}

enum ps_err authority_read_issued(struct authority *authority, const char *name, mbedtls_x509_crt *certificate,
                                  struct ps_cause *cause)
{
	char path[PATH_MAX];
	uint32_t flags = 0;
	enum ps_err err = authority_path(authority, name, ".crt", path, cause);
	if (err == PS_OK)
		err = read_certificate(path, certificate, cause);
	if (err != PS_OK)
		return err;
	/* only the signature matters here: dates are the caller's business */
	(void)mbedtls_x509_crt_verify(certificate, &authority->certificate, NULL, NULL, &flags, NULL, NULL);
	if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0 || flags == UINT32_MAX)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: was not issued by this authority", path);
	return PS_OK;
}
