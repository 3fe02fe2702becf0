/* SPDX-License-Identifier: Apache-2.0 */
#include "trail_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mint.h"
#include "mint_store.h"
#include "portseal/buf.h"
#include "portseal/file.h"

#define LIST(...) ((const struct mint_cert *[]){ __VA_ARGS__, NULL })
#define PATH_CAP 256
#define FILE_MAX (16u * 1024 * 1024)

static const char *path_of(const struct trail_rig *rig, const char *name)
{
	char *path = mint_alloc(PATH_CAP);

	(void)snprintf(path, PATH_CAP, "%s/%s", rig->directory, name);
	return path;
}

static struct credentials *load(struct trail_rig *rig, const struct mint_cert *ca, const char *name)
{
	struct credentials *credentials = NULL;
	char certificate[PATH_CAP];
	char key[PATH_CAP];
	struct ps_cause cause = { "" };

	mint_write_files(rig->directory, name, LIST(mint_relay(ca, "CN=relay", "relay.example.com")));
	(void)snprintf(certificate, sizeof(certificate), "%s/%s.crt", rig->directory, name);
	(void)snprintf(key, sizeof(key), "%s/%s.key", rig->directory, name);
	if (credentials_load(certificate, key, PURPOSE_SERVER, &credentials, &cause) != PS_OK)
		fail_msg("%s", cause.text);
	return credentials;
}

void trail_rig_begin(struct trail_rig *rig)
{
	const struct mint_cert *ca = mint_ca("CN=CA");

	memset(rig, 0, sizeof(*rig));
	rig->directory = mint_directory();
	rig->path = path_of(rig, "audit.log");
	rig->credentials = load(rig, ca, "relay");
	rig->others = load(rig, ca, "other");
}

void trail_rig_end(struct trail_rig *rig)
{
	audit_file_free(rig->file);
	credentials_free(rig->credentials);
	credentials_free(rig->others);
	mint_free_all();
}

void trail_open(struct trail_rig *rig, const struct audit_past *past)
{
	struct audit_file_config config = { .path = rig->path, .credentials = rig->credentials };

	if (past != NULL)
		config.past = *past;
	assert_int_equal(audit_file_new(&config, &rig->file), PS_OK);
}

void trail_close(struct trail_rig *rig)
{
	audit_file_free(rig->file);
	rig->file = NULL;
}

static void commit(struct trail_rig *rig)
{
	struct ps_cause cause = { "" };

	if (audit_file_commit(rig->file, &cause) != PS_OK)
		fail_msg("%s", cause.text);
}

void trail_add(struct trail_rig *rig, const char *client)
{
	struct audit_entry entry = {
		.event = AUDIT_ACCEPTED, .conn = 0x7f3a09c1, .peer = "192.0.2.7:51123", .service = "billing", .detail = client
	};

	assert_int_equal(audit_file_add(rig->file, &entry), PS_OK);
	entry.event = AUDIT_CLOSED;
	entry.reason = "done";
	entry.in = 17;
	assert_int_equal(audit_file_add(rig->file, &entry), PS_OK);
	commit(rig);
}

void trail_add_many(struct trail_rig *rig, size_t n)
{
	const struct audit_entry entry = { .event = AUDIT_ACCEPTED, .conn = 1, .service = "billing" };

	for (size_t i = 0; i < n; i++)
		assert_int_equal(audit_file_add(rig->file, &entry), PS_OK);
	commit(rig);
}

void trail_sign(struct trail_rig *rig, const char *why)
{
	assert_int_equal(audit_file_add_head(rig->file, why), PS_OK);
	commit(rig);
}

char *trail_read(const struct trail_rig *rig, const char *name, size_t *len)
{
	struct buf bytes = BUF_INIT;
	struct ps_cause cause = { "" };
	char *copy;

	if (file_read(path_of(rig, name), FILE_MAX, &bytes, &cause) != PS_OK)
		fail_msg("%s", cause.text);
	*len = buf_len(&bytes);
	copy = mint_alloc(*len + 1);
	memcpy(copy, buf_front(&bytes), *len);
	buf_release(&bytes);
	return copy;
}

void trail_write(const struct trail_rig *rig, const char *name, const char *bytes, size_t len)
{
	struct ps_cause cause = { "" };

	if (file_write(path_of(rig, name), bytes, len, 0600, FILE_REPLACE, &cause) != PS_OK)
		fail_msg("%s", cause.text);
}

static void on_finding(void *owner, enum audit_finding finding, const char *file, uint64_t line, const char *text)
{
	struct trail_rig *rig = owner;
	size_t n = rig->n_findings + rig->n_notes;

	if (n < TRAIL_FINDINGS_MAX) {
		rig->at[n].finding = finding;
		rig->at[n].line = line;
		(void)snprintf(rig->at[n].file, sizeof(rig->at[n].file), "%s", file);
		(void)snprintf(rig->at[n].text, sizeof(rig->at[n].text), "%.250s", text);
	}
	if (AUDIT_IS_NOTE(finding))
		rig->n_notes++;
	else
		rig->n_findings++;
}

static struct audit_verify *begin(struct trail_rig *rig, bool blind)
{
	struct audit_verify_config config = { .certificates = blind ? NULL : credentials_chain(rig->credentials),
		                                  .on_finding = on_finding,
		                                  .owner = rig };
	struct audit_verify *verify;

	rig->n_findings = rig->n_notes = 0;
	assert_int_equal(audit_verify_new(&config, &verify), PS_OK);
	return verify;
}

void trail_verify_bytes(struct trail_rig *rig, const char *bytes, size_t len, bool blind)
{
	struct audit_verify *verify = begin(rig, blind);

	audit_verify_file(verify, "audit.log", true);
	audit_verify_bytes(verify, bytes, len);
	audit_verify_file_end(verify);
	audit_verify_verdict(verify, &rig->verdict);
	audit_verify_free(verify);
}

void trail_verify(struct trail_rig *rig, const char *const *names, bool blind)
{
	struct audit_verify *verify = begin(rig, blind);

	for (; *names != NULL; names++) {
		size_t len;
		const char *bytes = trail_read(rig, *names, &len);

		audit_verify_file(verify, *names, names[1] == NULL);
		for (size_t i = 0; i < len; i += 7) /* in pieces of any size */
			audit_verify_bytes(verify, bytes + i, len - i < 7 ? len - i : 7);
		audit_verify_file_end(verify);
	}
	audit_verify_verdict(verify, &rig->verdict);
	audit_verify_free(verify);
}

int trail_found(const struct trail_rig *rig, enum audit_finding finding)
{
	for (size_t i = 0; i < rig->n_findings + rig->n_notes && i < TRAIL_FINDINGS_MAX; i++)
		if (rig->at[i].finding == finding)
			return (int)i;
	return -1;
}
