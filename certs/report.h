/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report -- facts for a person (aligned lines) or for a program (JSON), from the same calls.
 *
 * Never:  prints a foreign byte that was not escaped.
 */
#ifndef CERTS_REPORT_H
#define CERTS_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct report {
	FILE *out;
	bool json;
	size_t n_objects;
	size_t n_fields; /* of the object that is open */
	size_t n_items;  /* of the list that is open */
};

/* A report is a list of objects: [ {...}, {...} ]. */
void report_open(struct report *report, FILE *out, bool json);
void report_close(struct report *report);

/* `title` is printed for a person only: what is in it must be said in a field as well. */
void report_object(struct report *report, const char *title);
void report_object_end(struct report *report);

/* `len` foreign bytes; keys are ours ("not_after"; a person reads "not after"). */
void report_bytes(struct report *report, const char *key, const void *bytes, size_t len);
void report_text(struct report *report, const char *key, const char *text);
void report_number(struct report *report, const char *key, long long number);
void report_boolean(struct report *report, const char *key, bool value);

/* A list of strings, one line each for a person; an empty one is printed in JSON only. */
void report_list(struct report *report, const char *key);
void report_item(struct report *report, const char *key, const void *bytes, size_t len);
void report_list_end(struct report *report);

#endif
