/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_report -- what the doctor found, hop by hop: one line each as soon as it is known, or one JSON object in the end.
 *
 * Never:  decides what is wrong (doctor_steps.h), or escapes: text of foreign origin comes here escaped already.
 */
#ifndef PORTSEAL_SENDER_DOCTOR_REPORT_H
#define PORTSEAL_SENDER_DOCTOR_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "outcome.h"
#include "portseal/text.h"

/* In the order in which they are taken. */
enum doctor_step {
	DOCTOR_CONFIG,      /* configuration and files */
	DOCTOR_CERTIFICATE, /* our own */
	DOCTOR_NAME,        /* of the relay's host */
	DOCTOR_TCP,
	DOCTOR_TLS,
	DOCTOR_RELAY,     /* its certificate, judged by us */
	DOCTOR_ADMISSION, /* our certificate, judged by the relay */
	DOCTOR_SERVICE,
	DOCTOR_APPLICATION,
	DOCTOR_N_STEPS,
};

#define DOCTOR_TEXT_MAX 1024

struct doctor_finding {
	enum doctor_step step;
	bool ok;
	uint64_t started_ms; /* may be set to an earlier moment before the end */
	uint64_t took_ms;
	struct text detail, cause, remedy; /* an ok finding with a cause is a warning */
	char storage[3][DOCTOR_TEXT_MAX];
};

struct doctor_report {
	FILE *out;
	bool json;
	uint64_t (*now_ms)(void); /* clock_now_ms but in tests */
	enum outcome_code code;
	size_t n;
	struct doctor_finding findings[DOCTOR_N_STEPS];
};

/* Starts the clock of a step. The finding belongs to the report. */
struct doctor_finding *doctor_begin(struct doctor_report *report, enum doctor_step step);

/* Stops it and prints the line. With OUTCOME_DONE the step is ok and true is returned; with anything else it is the one
 * at which the doctor stops. */
bool doctor_end(struct doctor_report *report, struct doctor_finding *finding, enum outcome_code code);

/* The last line, or the JSON object. */
void doctor_conclude(const struct doctor_report *report);

/* "relay": the word of the line. */
const char *doctor_step_name(enum doctor_step step);

#endif
