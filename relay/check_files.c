/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_files -- what expires, and who else may write what the relay rests on.
 */
#include "findings.h"

#include <inttypes.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "portseal/audit_file.h"
#include "portseal/expiry.h"
#include "portseal/file.h"

#define PATH_CAP 4096

void check_expiry(const struct relay_config *config, struct credentials *credentials, struct trust *trust,
                  struct findings *findings)
{
	struct expiry_list list = { .items = NULL };
	int64_t now = (int64_t)time(NULL);

	if (expiry_list_fill(&list, credentials, trust) != PS_OK)
		findings_add(findings, FINDING_WARNING, "expiry", "out of memory: no dates were looked at");
	for (size_t i = 0; i < list.n; i++) {
		const struct expiry *item = &list.items[i];
		int64_t days = expiry_days(item->at, now);
		char what[CERTIFICATE_NAME_MAX + PATH_CAP];
		char when[CERTIFICATE_DATE_MAX];

		if (expiry_stage_of(item, now) == EXPIRY_FAR)
			continue;
		if (strcmp(item->what, "certificate") == 0)
			(void)snprintf(what, sizeof(what), "%s: the certificate", config->tls.certificate);
		else if (strcmp(item->what, "intermediate") == 0)
			(void)snprintf(what, sizeof(what), "%s: the authority %s", config->tls.certificate, item->name);
		else if (strcmp(item->what, "ca") == 0)
			(void)snprintf(what, sizeof(what), "%s: the authority %s", config->tls.client_ca, item->name);
		else
			(void)snprintf(what, sizeof(what), "tls.crl: the list of %s", item->name);
		certificate_date(item->at, when);
		if (days < 0)
			findings_add(findings, FINDING_WARNING, "expiry", "%s expired on %s", what, when);
		else
			findings_add(findings, FINDING_WARNING, "expiry", "%s expires in %" PRId64 " days", what, days);
	}
	expiry_list_clear(&list);
}

/* Who but root and ourselves may change it? A sticky directory lets everybody write and nobody replace. */
static void check_path(const char *path, struct findings *findings)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return;
	bool sticky_directory = S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0;
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky_directory)
		findings_add(findings, FINDING_WARNING, "files", "%s: mode %04o lets others change %s", path,
		             (unsigned)(st.st_mode & 07777), S_ISDIR(st.st_mode) ? "what is in it" : "it");
	if (st.st_uid != 0 && st.st_uid != geteuid())
		findings_add(findings, FINDING_WARNING, "files", "%s: belongs to user %u, who may change it", path,
		             (unsigned)st.st_uid);
}

/* The file and its directory; the directory once, where several lie in it. */
static void check_file(const char *path, char *last_directory, struct findings *findings)
{
	char copy[PATH_CAP];
	const char *directory;

	check_path(path, findings);
	if (strlen(path) >= sizeof(copy))
		return;
	memcpy(copy, path, strlen(path) + 1);
	directory = dirname(copy);
	if (strcmp(directory, last_directory) == 0)
		return;
	check_path(directory, findings);
	memmove(last_directory, directory, strlen(directory) + 1);
}

/* The trail names who spoke to whom: its owner's business. */
static void check_audit(const struct relay_audit *audit, char *last_directory, struct findings *findings)
{
	struct ps_cause cause;
	struct stat st;

	if (audit->file == NULL)
		return;
	if (audit_file_probe(audit->file, &cause) != PS_OK)
		findings_add(findings, FINDING_WARNING, "audit", "audit.file: %s: this user could not write it", cause.text);
	if (stat(audit->file, &st) == 0 && (st.st_mode & (S_IRGRP | S_IROTH)) != 0)
		findings_add(findings, FINDING_WARNING, "audit", "audit.file: %s: mode %04o lets others read it", audit->file,
		             (unsigned)(st.st_mode & 07777));
	check_file(audit->file, last_directory, findings);
}

/* A worker that refuses it goes on without, and takes no key meanwhile. */
static void check_store(const char *path, struct findings *findings)
{
	struct ps_cause cause;

	if (path == NULL)
		return;
	if (file_check_place(path, &cause) != PS_OK ||
	    (access(path, F_OK) == 0 && file_check_private(path, &cause) != PS_OK))
		findings_add(findings, FINDING_WARNING, "files", "messages.store: %s", cause.text);
}

void check_files(const struct relay_config *config, struct findings *findings)
{
	char last_directory[PATH_CAP] = "";

	check_file(config->path, last_directory, findings);
	check_file(config->tls.certificate, last_directory, findings);
	check_file(config->tls.key, last_directory, findings);
	check_file(config->tls.client_ca, last_directory, findings);
	for (size_t i = 0; i < config->tls.crl.n; i++)
		check_file(config->tls.crl.at[i], last_directory, findings);
	check_audit(&config->audit, last_directory, findings);
	check_store(config->messages.store, findings);
}
