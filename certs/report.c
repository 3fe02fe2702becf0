/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <string.h>

#include "portseal/text.h"

#define KEY_WIDTH 20

void report_open(struct report *report, FILE *out, bool json)
{
	*report = (struct report){ .out = out, .json = json };
	if (json)
		fputc('[', out);
}

void report_close(struct report *report)
{
	if (report->json)
		fputs(report->n_objects == 0 ? "]\n" : "\n]\n", report->out);
}

void report_object(struct report *report, const char *title)
{
	if (report->json)
		fputs(report->n_objects == 0 ? "\n{" : ",\n{", report->out);
	else
		fprintf(report->out, "%s%s\n", report->n_objects == 0 ? "" : "\n", title);
	report->n_objects++;
	report->n_fields = 0;
}

void report_object_end(struct report *report)
{
	if (report->json)
		fputc('}', report->out);
}

/* Escapes in pieces, so that no length of foreign text is too much. Pieces end between characters. */
static void print_escaped(struct report *report, const void *bytes, size_t len)
{
	const unsigned char *at = bytes;
	while (len > 0) {
		char storage[512];
		struct text text;
		size_t chunk = len < 64 ? len : 64;
		while (chunk < len && chunk > 60 && (at[chunk] & 0xc0) == 0x80)
			chunk--;
		text_init(&text, storage, sizeof(storage));
		if (report->json)
			text_add_json(&text, at, chunk);
		else
			text_add_escaped(&text, at, chunk);
		fputs(storage, report->out);
		at += chunk;
		len -= chunk;
	}
}

/* "not_after" is "not after:" to a person. */
static void print_key(struct report *report, const char *key)
{
	if (report->json) {
		fprintf(report->out, "%s\"%s\":", report->n_fields == 0 ? "" : ",", key);
		report->n_fields++;
		return;
	}
	fputs("  ", report->out);
	for (const char *at = key; *at != '\0'; at++)
		fputc(*at == '_' ? ' ' : *at, report->out);
	fprintf(report->out, ":%*s", KEY_WIDTH - (int)strlen(key), "");
}

void report_bytes(struct report *report, const char *key, const void *bytes, size_t len)
{
	const char *quote = report->json ? "\"" : "";
	print_key(report, key);
	fputs(quote, report->out);
	print_escaped(report, bytes, len);
	fputs(report->json ? quote : "\n", report->out);
}

void report_text(struct report *report, const char *key, const char *text)
{
	report_bytes(report, key, text, strlen(text));
}

void report_number(struct report *report, const char *key, long long number)
{
	print_key(report, key);
	fprintf(report->out, report->json ? "%lld" : "%lld\n", number);
}

void report_boolean(struct report *report, const char *key, bool value)
{
	print_key(report, key);
	if (report->json)
		fputs(value ? "true" : "false", report->out);
	else
		fputs(value ? "yes\n" : "no\n", report->out);
}

void report_list(struct report *report, const char *key)
{
	report->n_items = 0;
	if (!report->json)
		return;
	print_key(report, key);
	fputc('[', report->out);
}

void report_item(struct report *report, const char *key, const void *bytes, size_t len)
{
	if (!report->json) {
		report_bytes(report, key, bytes, len);
		return;
	}
	fputs(report->n_items == 0 ? "\"" : ",\"", report->out);
	report->n_items++;
	print_escaped(report, bytes, len);
	fputc('"', report->out);
}

void report_list_end(struct report *report)
{
	if (report->json)
		fputc(']', report->out);
}
