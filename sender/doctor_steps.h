/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_steps -- the hops that the doctor takes, and what one leaves to the next.
 */
#ifndef PORTSEAL_SENDER_DOCTOR_STEPS_H
#define PORTSEAL_SENDER_DOCTOR_STEPS_H

#include <uv.h>

#include "config.h"
#include "dial.h"
#include "doctor_report.h"

#define DOCTOR_PLACES_MAX 16
#define DOCTOR_EXPIRY_WARNING (INT64_C(30) * 24 * 3600) /* seconds */
/* A relay gives up on its application after 5 s, and tells then. */
#define DOCTOR_WAIT_MS 6000

/* One address of the relay. */
struct doctor_place {
	struct address address; /* a literal one, or a unix socket */
	struct connector *connector;
	bool over; /* result and fd are set */
	enum connect_result result;
	int fd;
	char peer[ADDRESS_TEXT_MAX];
	struct ps_cause cause;
};

struct doctor {
	const struct config_options *options;
	struct sender_config *config;
	struct dial_setup *setup;
	uv_loop_t loop;
	struct doctor_place places[DOCTOR_PLACES_MAX];
	size_t n_places;
	size_t n_over;
	struct dial_result dial;
	bool dialled;
	struct doctor_report report;
};

/* Each takes one step or more and reports them. False: it failed, and what would follow has no meaning. */
bool doctor_check_config(struct doctor *doctor);
bool doctor_check_certificate(struct doctor *doctor);
bool doctor_check_name(struct doctor *doctor);
bool doctor_check_tcp(struct doctor *doctor);
bool doctor_check_tls(struct doctor *doctor);      /* and the relay's certificate */
bool doctor_check_delivery(struct doctor *doctor); /* our certificate at the relay, the service, the application */

/* Makes an ok finding a warning if a certificate ends soon. */
void doctor_warn_of_expiry(struct doctor_finding *finding, int64_t not_after, const char *whose, const char *remedy);

#endif
