/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "doctor_steps.h"
#include "portseal/args.h"
#include "portseal/clock.h"
#include "usage.h"

static bool (*const hops[])(struct doctor *) = {
	doctor_check_config, doctor_check_certificate, doctor_check_name,
	doctor_check_tcp,    doctor_check_tls,         doctor_check_delivery,
};

static const char *const tail =
	"One line for each hop: configuration, our certificate, the relay's name, TCP, TLS, the relay's certificate, ours\n"
	"in its eyes, the service, the application; the first that fails is the last, with its cause and what helps.\n"
	"\n"
	"No payload is sent: the application sees a connection that ends at once. What it makes of a message, only a\n"
	"message shows. One that stays silent is waited for 6 seconds, or as long as --timeout says.\n"
	"\n"
	"The exit code is that of send: 0 the way is open, 3 our own files, 4 relay not reached, 5 wrong relay,\n"
	"6 refused by the relay, 7 application not reached.\n";

static void let_go(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->n_places; i++)
		if (doctor->places[i].fd >= 0)
			close(doctor->places[i].fd);
	if (doctor->dialled && doctor->dial.fd >= 0)
		close(doctor->dial.fd);
	ps_wipe(&doctor->dial.secrets, sizeof(doctor->dial.secrets));
	dial_setup_free(doctor->setup);
	config_free(doctor->config);
}

static int run(struct doctor *doctor)
{
	if (uv_loop_init(&doctor->loop) != 0) {
		fprintf(stderr, "%s: doctor: cannot start: no event loop\n", PROGRAM);
		return OUTCOME_UNFORESEEN;
	}
	for (size_t i = 0; i < sizeof(hops) / sizeof(hops[0]) && hops[i](doctor); i++)
		;
	doctor_conclude(&doctor->report);
	const int code = ferror(doctor->report.out) ? OUTCOME_UNFORESEEN : (int)doctor->report.code;

	let_go(doctor);
	(void)uv_run(&doctor->loop, UV_RUN_NOWAIT);
	/* A resolver that hangs cannot be called back; its thread would keep the process from ending. */
	if (uv_loop_close(&doctor->loop) != 0)
		_exit(code);
	return code;
}

int doctor_main(int argc, char *const *argv)
{
	struct config_options options = { 0 };
	const char *json = NULL;
	const char *help = NULL;
	const struct args_option table[] = {
		USAGE_RELAY_ROWS(&options),
		USAGE_SERVICE_ROW(&options),
		{ "timeout", 0, "TIME", "for each step at most, and for an application that stays silent", &options.timeout,
		  NULL },
		{ "json", 0, NULL, "one JSON object instead of lines", &json, NULL },
		{ "help", 'h', NULL, "this text", &help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct ps_cause cause;

	if (args_parse(table, argc, argv, NULL, &cause) != PS_OK)
		return usage_error("doctor: ", &cause);
	if (help != NULL) {
		usage_print("doctor [-c FILE] [--relay HOST:PORT] [--service NAME] [--json]",
		            "Goes the way of a message hop by hop and says where it ends, why, and what helps.", table, tail);
		return OUTCOME_DONE;
	}
	const enum outcome_code chosen = usage_select_aead("doctor: ", options.aead, &cause);
	if (chosen != OUTCOME_DONE)
		return (int)chosen;
	struct doctor *doctor = calloc(1, sizeof(*doctor));
	if (doctor == NULL) {
		(void)ps_cause_set(&cause, PS_E_NOMEM, "out of memory");
		(void)usage_error("doctor: ", &cause);
		return OUTCOME_UNFORESEEN;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	doctor->options = &options;
	doctor->report.out = stdout;
	doctor->report.now_ms = clock_now_ms;
	doctor->report.json = json != NULL;
	const int code = run(doctor);
	free(doctor);
	return code;
}
