/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_memory.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "portseal/certificate.h"

struct audit_memory {
	_Atomic uint32_t which; /* of the two is whole */
	struct audit_report reports[2];
};

enum ps_err audit_memory_new(struct audit_memory **memory)
{
	void *fresh = mmap(NULL, sizeof(struct audit_memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (fresh == MAP_FAILED)
		return PS_E_NOMEM;
	*memory = fresh;
	return PS_OK;
}

void audit_memory_free(struct audit_memory *memory)
{
	if (memory != NULL)
		munmap(memory, sizeof(*memory));
}

void audit_memory_store(struct audit_memory *memory, const struct audit_report *report)
{
	uint32_t next = (atomic_load(&memory->which) & 1) ^ 1;

	memory->reports[next] = *report;
	atomic_store(&memory->which, next);
}

void audit_memory_load(const struct audit_memory *memory, struct audit_report *report)
{
	*report = memory->reports[atomic_load(&memory->which) & 1];
	report->past.trail[sizeof(report->past.trail) - 1] = '\0';
	report->cause[sizeof(report->cause) - 1] = '\0';
}

void audit_memory_tell(const struct audit_memory *memory, const char *path, struct text *text)
{
	char since[CERTIFICATE_DATE_MAX];
	struct audit_report report;

	audit_memory_load(memory, &report);
	text_add(text, ",\"audit\":{\"file\":\"");
	text_add_json(text, path, strlen(path));
	text_addf(text, "\",\"trail\":\"%s\",\"lines\":%" PRIu64 ",\"unsigned\":%" PRIu64 ",\"lost\":%" PRIu64,
	          report.past.trail, report.past.chain.seq, report.unsigned_lines, report.lost_in_all);
	text_addf(text, ",\"head\":{\"seq\":%" PRIu64 ",\"chain\":\"", report.head_seq);
	text_add_hex(text, report.head, report.head_seq == 0 ? 0 : sizeof(report.head));
	text_add(text, "\"},\"failing_since\":");
	if (report.failing_since == 0) {
		text_add(text, "null}");
		return;
	}
	certificate_date(report.failing_since, since);
	text_addf(text, "\"%s\",\"cause\":\"", since);
	text_add_json(text, report.cause, strlen(report.cause));
	text_add(text, "\"}");
}
