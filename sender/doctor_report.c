/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor_report.h"

#include <assert.h>
#include <inttypes.h>

#define JSON_TEXT_MAX (2 * DOCTOR_TEXT_MAX) /* what is escaped already grows by its backslashes at most */

static const char *const names[DOCTOR_N_STEPS] = {
	[DOCTOR_CONFIG] = "config",
	[DOCTOR_CERTIFICATE] = "certificate",
	[DOCTOR_NAME] = "name",
	[DOCTOR_TCP] = "tcp",
	[DOCTOR_TLS] = "tls",
	[DOCTOR_RELAY] = "relay",
	[DOCTOR_ADMISSION] = "admission",
	[DOCTOR_SERVICE] = "service",
	[DOCTOR_APPLICATION] = "application",
};

const char *doctor_step_name(enum doctor_step step)
{
	return names[step];
}

static bool is_warning(const struct doctor_finding *finding)
{
	return finding->ok && finding->cause.len > 0;
}

static void print_line(FILE *out, const struct doctor_finding *finding)
{
	const char *word = !finding->ok ? "FAIL" : is_warning(finding) ? "warn" : "ok";

	fprintf(out, "%-5s %-12s %s (%" PRIu64 " ms)\n", word, doctor_step_name(finding->step), finding->detail.at,
	        finding->took_ms);
	if (finding->cause.len > 0)
		fprintf(out, "      cause:  %s\n", finding->cause.at);
	if (finding->remedy.len > 0)
		fprintf(out, "      remedy: %s\n", finding->remedy.at);
	(void)fflush(out);
}

struct doctor_finding *doctor_begin(struct doctor_report *report, enum doctor_step step)
{
	assert(report->n < DOCTOR_N_STEPS);
	struct doctor_finding *finding = &report->findings[report->n++];

	finding->step = step;
	finding->started_ms = report->now_ms();
	text_init(&finding->detail, finding->storage[0], DOCTOR_TEXT_MAX);
	text_init(&finding->cause, finding->storage[1], DOCTOR_TEXT_MAX);
	text_init(&finding->remedy, finding->storage[2], DOCTOR_TEXT_MAX);
	return finding;
}

bool doctor_end(struct doctor_report *report, struct doctor_finding *finding, enum outcome_code code)
{
	finding->took_ms = report->now_ms() - finding->started_ms;
	finding->ok = code == OUTCOME_DONE;
	report->code = code;
	if (!report->json)
		print_line(report->out, finding);
	return finding->ok;
}

static void print_json_text(FILE *out, const char *key, const struct text *value)
{
	char storage[JSON_TEXT_MAX];
	struct text json;

	if (value->len == 0) {
		fprintf(out, ", \"%s\": null", key);
		return;
	}
	text_init(&json, storage, sizeof(storage));
	text_add_json(&json, value->at, value->len);
	fprintf(out, ", \"%s\": \"%s\"", key, json.at);
}

static void print_json(const struct doctor_report *report)
{
	FILE *out = report->out;

	fprintf(out, "{\"exit_code\": %d, \"steps\": [", (int)report->code);
	for (size_t i = 0; i < report->n; i++) {
		const struct doctor_finding *finding = &report->findings[i];

		fprintf(out, "%s\n  {\"step\": \"%s\", \"ok\": %s, \"warning\": %s, \"ms\": %" PRIu64, i > 0 ? "," : "",
		        doctor_step_name(finding->step), finding->ok ? "true" : "false", is_warning(finding) ? "true" : "false",
		        finding->took_ms);
		print_json_text(out, "detail", &finding->detail);
		print_json_text(out, "cause", &finding->cause);
		print_json_text(out, "remedy", &finding->remedy);
		fprintf(out, "}");
	}
	fprintf(out, "\n]}\n");
}

static size_t count_warnings(const struct doctor_report *report)
{
	size_t n = 0;

	for (size_t i = 0; i < report->n; i++)
		n += is_warning(&report->findings[i]);
	return n;
}

void doctor_conclude(const struct doctor_report *report)
{
	const size_t n_warnings = count_warnings(report);

	if (report->json)
		print_json(report);
	else if (report->code != OUTCOME_DONE)
		fprintf(report->out, "stopped at the first failure: exit code %d\n", (int)report->code);
	else if (n_warnings > 0)
		fprintf(report->out, "the way is open; warnings: %zu\n", n_warnings);
	else
		fprintf(report->out, "the way is open\n");
	(void)fflush(report->out);
}
