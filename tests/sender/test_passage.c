/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passage, pool: which way local connections go. The test plays the gatekeepers, and relays behind socket pairs.
 */
#include "passage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "dial.h"
#include "outcome.h"
#include "portseal/channel.h"
#include "portseal/log.h"

#define GUESTS_MAX 80
#define SERVERS_MAX 8
#define DEADLINE_NS (UINT64_C(30) * 1000 * 1000 * 1000)

/* A local connection, as far as this test needs one. */
struct guest {
	struct passage *passage;
	struct h2_stream *stream; /* THROUGH as a stream */
	int raw_fd;               /* THROUGH by its own connection, -1 */
	bool refused, closed;
	char reason[64], detail[512];
};

/* A relay's end of a connection. */
struct server {
	struct h2 *h2;
	unsigned status; /* that it answers requests with; 0: none */
	unsigned n_requests;
	struct h2_stream *last;
	bool ended;
};

static struct {
	uv_loop_t loop;
	uv_timer_t tick; /* so that a turn of the loop never waits for long */
	struct linger_set *linger;
	struct h2_scratch *scratch;
	struct watches *watches;
	int near, far;
	struct briefing briefing;
	struct passages *passages;
	struct guest guests[GUESTS_MAX];
	struct server servers[SERVERS_MAX];
	unsigned n_guests, n_servers;
	unsigned status; /* of the servers to come */
} rig;

static void on_guest_closed(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct guest *guest = owner;

	(void)stream;
	(void)end;
	guest->closed = true;
	guest->stream = NULL;
}

static const struct h2_stream_events guest_stream = { .on_closed = on_guest_closed };

static void on_raw(void *owner, const struct handover *handover, int fd)
{
	struct guest *guest = owner;

	(void)handover;
	guest->raw_fd = fd;
}

static void on_stream(void *owner, struct h2_stream *stream, const struct pool_facts *facts)
{
	struct guest *guest = owner;

	assert_string_equal(facts->address, "relay:1");
	guest->stream = stream;
	h2_stream_attach(stream, &guest_stream, guest);
}

static void on_refused(void *owner, const char *reason, const char *detail)
{
	struct guest *guest = owner;

	assert_false(guest->refused);
	guest->refused = true;
	(void)snprintf(guest->reason, sizeof(guest->reason), "%s", reason);
	(void)snprintf(guest->detail, sizeof(guest->detail), "%s", detail);
}

static const struct passage_events passage_events = { .on_raw = on_raw,
	                                                  .on_stream = on_stream,
	                                                  .on_refused = on_refused };

static void on_server_stream_closed(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct server *server = owner;

	(void)end;
	if (server->last == stream)
		server->last = NULL;
}

static const struct h2_stream_events server_stream = { .on_closed = on_server_stream_closed };

static void on_request(void *owner, struct h2_stream *stream, const struct h2_request *request)
{
	static const char problem[] = "{\"reason\":\"its-own-word\",\"detail\":\"because\"}";
	struct server *server = owner;
	const struct h2_response response = { .status = server->status, .content_length = -1 };

	assert_string_equal(request->method, "CONNECT");
	assert_string_equal(request->authority, "app");
	server->n_requests++;
	server->last = stream;
	h2_stream_attach(stream, &server_stream, server);
	if (server->status == 200)
		assert_int_equal(h2_respond(stream, &response, false), PS_OK);
	else if (server->status != 0)
		assert_int_equal(h2_answer(stream, &response, problem, sizeof(problem) - 1), PS_OK);
}

static void on_server_end(void *owner, const struct h2_report *report)
{
	struct server *server = owner;

	(void)report;
	server->ended = true;
}

static const struct h2_events server_events = { .on_request = on_request, .on_end = on_server_end };

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

static void set_briefing(uint32_t generation, uint32_t n_relays, enum sender_protocol protocol)
{
	rig.briefing = (struct briefing){
		.generation = generation,
		.protocol = protocol,
		.n_relays = n_relays,
		.patience_ms = 60000,
		.answer_ms = 60000,
		.pool_min = 1,
		.pool_max = 4,
		.pool_idle_ms = 60000,
	};
	for (uint32_t i = 0; i < n_relays; i++)
		(void)snprintf(rig.briefing.relays[i], sizeof(rig.briefing.relays[i]), "relay:%u", i + 1);
}

static void start(uint32_t n_relays, enum sender_protocol protocol)
{
	int ends[2];

	memset(&rig, 0, sizeof(rig));
	rig.status = 200;
	set_briefing(1, n_relays, protocol);
	assert_int_equal(uv_loop_init(&rig.loop), 0);
	(void)uv_timer_init(&rig.loop, &rig.tick);
	uv_timer_start(&rig.tick, on_tick, 1, 1);
	assert_int_equal(linger_new(&rig.loop, &rig.linger), PS_OK);
	assert_int_equal(watches_new(&rig.loop, &rig.watches), PS_OK);
	assert_int_equal(h2_scratch_new(&rig.scratch), PS_OK);
	assert_int_equal(channel_pair(ends), PS_OK);
	rig.near = ends[0];
	rig.far = ends[1];
	const struct passages_config config = { .loop = &rig.loop,
		                                    .watches = rig.watches,
		                                    .linger = rig.linger,
		                                    .slot = rig.near,
		                                    .briefing = &rig.briefing,
		                                    .events = &passage_events };
	assert_int_equal(passages_new(&config, &rig.passages), PS_OK);
	passages_renew(rig.passages);
}

static void turn(void)
{
	(void)uv_run(&rig.loop, UV_RUN_ONCE);
}

#define until(condition) \
	for (const uint64_t began_ = uv_hrtime(); !(condition); turn()) \
	assert_true(uv_hrtime() - began_ < DEADLINE_NS)

static bool servers_ended(void)
{
	for (unsigned i = 0; i < rig.n_servers; i++)
		if (!rig.servers[i].ended)
			return false;
	return true;
}

static void leave(struct guest *guest)
{
	passage_end(guest->passage);
	guest->passage = NULL;
	if (guest->stream != NULL)
		h2_stream_abandon(guest->stream, H2_CANCEL);
	guest->stream = NULL;
	if (guest->raw_fd >= 0)
		close(guest->raw_fd);
	guest->raw_fd = -1;
}

static void stop(void)
{
	for (unsigned i = 0; i < rig.n_guests; i++)
		if (rig.guests[i].passage != NULL)
			leave(&rig.guests[i]);
	passages_shut(rig.passages);
	until(passages_is_over(rig.passages) && servers_ended());
	passages_stop(rig.passages);
	uv_close((uv_handle_t *)&rig.tick, NULL);
	linger_free(rig.linger);
	watches_free(rig.watches);
	(void)uv_run(&rig.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig.loop), 0);
	passages_free(rig.passages);
	h2_scratch_free(rig.scratch);
	close(rig.near);
	close(rig.far);
}

static struct guest *enter_service(const char *service)
{
	struct guest *guest = &rig.guests[rig.n_guests++];

	assert_in_range(rig.n_guests, 1, GUESTS_MAX);
	guest->raw_fd = -1;
	assert_int_equal(passage_begin(rig.passages, service, guest, &guest->passage), PS_OK);
	return guest;
}

static struct guest *enter(void)
{
	return enter_service("app");
}

/* Of gatekeepers: the next request, which must come. */
static struct handover_dial hear(void)
{
	struct handover_message message;

	until(handover_receive(rig.far, &message) == PS_OK);
	assert_int_equal(message.type, HANDOVER_DIAL);
	return message.body.dial;
}

static void assert_silence(void)
{
	struct handover_message message;

	for (int i = 0; i < 20; i++)
		turn();
	assert_int_equal(handover_receive(rig.far, &message), PS_E_AGAIN);
}

static void fill_secrets(struct traffic_secrets *secrets)
{
	secrets->suite = SUITE_AES_128_GCM_SHA256;
	memset(secrets->client, 1, sizeof(secrets->client));
	memset(secrets->server, 2, sizeof(secrets->server));
}

/* Answers the request with a connection; returns the relay's end. */
static int connect_it(const struct handover_dial *asked, bool is_h2)
{
	struct handover_message message = { .type = HANDOVER_CONNECTION };
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	message.fd = ends[0];
	message.body.connection.conn = asked->conn;
	message.body.connection.is_h2 = is_h2;
	message.body.connection.not_after = (int64_t)time(NULL) + 86400;
	(void)snprintf(message.body.connection.peer, sizeof(message.body.connection.peer), "relay:1");
	fill_secrets(&message.body.connection.secrets);
	passages_take(rig.passages, &message);
	return ends[1];
}

static struct server *serve(const struct handover_dial *asked)
{
	struct server *server = &rig.servers[rig.n_servers++];
	struct traffic_secrets secrets;
	struct h2_config config = { .loop = &rig.loop,
		                        .watches = rig.watches,
		                        .scratch = rig.scratch,
		                        .linger = rig.linger,
		                        .role = H2_SERVER,
		                        .max_streams = 1000,
		                        .events = &server_events,
		                        .owner = server };

	assert_in_range(rig.n_servers, 1, SERVERS_MAX);
	server->status = rig.status;
	fill_secrets(&secrets);
	assert_int_equal(tls_stream_new(TLS_SERVER, &secrets, &config.stream), PS_OK);
	config.fd = connect_it(asked, true);
	assert_int_equal(h2_new(&config, &server->h2), PS_OK);
	return server;
}

static struct server *serve_next(void)
{
	const struct handover_dial asked = hear();

	return serve(&asked);
}

static void fail_it(const struct handover_dial *asked, uint32_t exit_code, enum refusal refusal, const char *text)
{
	struct handover_message message = { .type = HANDOVER_DIAL_FAILED, .fd = -1 };

	message.body.failed =
		(struct handover_dial_failed){ .conn = asked->conn, .exit_code = exit_code, .refusal = refusal };
	(void)snprintf(message.body.failed.text, sizeof(message.body.failed.text), "%s", text);
	passages_take(rig.passages, &message);
}

static void test_the_first_dial_offers_both_and_the_second_guest_needs_none(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	assert_silence(); /* nobody knows yet what the relay speaks */
	struct guest *first = enter();
	const struct handover_dial asked = hear();
	assert_int_equal(asked.offer, DIAL_OFFER_BOTH);
	assert_string_equal(asked.service, "app");
	struct server *server = serve(&asked);
	until(first->stream != NULL);
	struct guest *second = enter();
	until(second->stream != NULL);
	assert_int_equal(server->n_requests, 2);
	assert_silence();
	stop();
}

static void test_a_relay_without_http2_gives_each_a_connection_of_its_own(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	struct guest *first = enter(), *second = enter();
	struct handover_dial asked = hear();
	assert_silence(); /* one is enough to find out */
	close(connect_it(&asked, false));
	assert_true(first->raw_fd >= 0);
	asked = hear(); /* the second's own */
	assert_int_equal(asked.offer, DIAL_OFFER_BOTH);
	close(connect_it(&asked, false));
	assert_true(second->raw_fd >= 0);
	stop();
}

static void test_protocol_h2_keeps_a_link_ready_and_offers_nothing_else(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_H2);
	const struct handover_dial asked = hear();
	assert_int_equal(asked.offer, DIAL_OFFER_H2);
	struct server *server = serve(&asked);
	struct guest *guest = enter();
	until(guest->stream != NULL);
	assert_int_equal(server->n_requests, 1);
	assert_silence();
	stop();
}

static void test_protocol_tls_and_no_service_offer_the_service_alone(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_TLS);
	(void)enter();
	assert_int_equal(hear().offer, DIAL_OFFER_TLS);
	stop();
	start(1, SENDER_PROTOCOL_H2);
	(void)serve_next();
	(void)enter_service("");
	assert_int_equal(hear().offer, DIAL_OFFER_TLS);
	stop();
}

static void test_a_relay_that_is_not_reached_is_left_for_the_next(void **state)
{
	(void)state;
	start(2, SENDER_PROTOCOL_AUTO);
	struct guest *guest = enter();
	struct handover_dial asked = hear();
	assert_int_equal(asked.relay, 0);
	fail_it(&asked, OUTCOME_NO_RELAY, REFUSAL_NONE, "refused");
	asked = hear();
	assert_int_equal(asked.relay, 1);
	(void)serve(&asked);
	until(guest->stream != NULL);
	stop();
}

static void test_who_was_failed_by_every_relay_is_told_why(void **state)
{
	(void)state;
	start(2, SENDER_PROTOCOL_AUTO);
	struct guest *guest = enter();
	struct handover_dial asked = hear();
	fail_it(&asked, OUTCOME_NO_RELAY, REFUSAL_NONE, "first");
	asked = hear();
	fail_it(&asked, OUTCOME_WRONG_RELAY, REFUSAL_WRONG_NAME, "second");
	until(guest->refused);
	assert_string_equal(guest->reason, "wrong-name");
	assert_string_equal(guest->detail, "second");
	stop();
}

static void test_a_service_that_the_relay_lacks_fails_nobody_elses(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	struct guest *other = enter_service("other"), *app = enter();
	struct handover_dial asked = hear();
	assert_string_equal(asked.service, "other");
	fail_it(&asked, OUTCOME_REFUSED, REFUSAL_UNKNOWN_SERVICE, "no");
	until(other->refused);
	asked = hear();
	assert_string_equal(asked.service, "app");
	(void)serve(&asked);
	until(app->stream != NULL);
	stop();
}

static void test_a_refusal_by_the_relay_is_final_and_in_its_words(void **state)
{
	(void)state;
	start(2, SENDER_PROTOCOL_AUTO);
	rig.status = 403;
	struct guest *guest = enter();
	(void)serve_next();
	until(guest->refused);
	assert_string_equal(guest->reason, "its-own-word");
	assert_string_equal(guest->detail, "because");
	stop();
}

static void test_an_answer_of_503_is_asked_elsewhere(void **state)
{
	(void)state;
	start(2, SENDER_PROTOCOL_AUTO);
	rig.status = 503;
	struct guest *guest = enter();
	(void)serve_next();
	rig.status = 200;
	const struct handover_dial asked = hear();
	assert_int_equal(asked.relay, 1);
	(void)serve(&asked);
	until(guest->stream != NULL);
	assert_false(guest->refused);
	stop();
}

static void test_a_relay_that_dies_with_the_request_is_asked_anew(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	rig.status = 0;
	struct guest *guest = enter();
	struct server *server = serve_next();
	until(server->n_requests == 1);
	h2_abort(server->h2, ALERT_INTERNAL_ERROR);
	rig.status = 200;
	(void)serve_next();
	until(guest->stream != NULL);
	stop();
}

static void test_a_relay_that_dies_with_every_request_is_given_up(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	rig.status = 0;
	struct guest *guest = enter();
	for (int i = 0; i < SERVERS_MAX; i++) {
		struct server *server = serve_next();
		until(server->n_requests == 1);
		h2_abort(server->h2, ALERT_INTERNAL_ERROR);
	}
	until(guest->refused);
	assert_string_equal(guest->reason, "relay-cut");
	stop();
}

static void test_a_link_that_is_silent_is_replaced_once_and_then_given_up(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	rig.briefing.answer_ms = 30;
	rig.status = 0;
	struct guest *guest = enter();
	struct server *server = serve_next();
	until(server->n_requests == 1);
	server = serve_next();
	until(server->n_requests == 1);
	until(guest->refused);
	assert_string_equal(guest->reason, "relay-timeout");
	stop();
}

static void test_a_relay_that_ends_before_its_settings_has_failed(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	struct guest *guest = enter();
	const struct handover_dial asked = hear();
	close(connect_it(&asked, true));
	until(guest->refused);
	assert_string_equal(guest->reason, "relay-failed");
	stop();
}

static void test_after_goaway_streams_stay_and_new_ones_go_elsewhere(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	struct guest *stays = enter();
	struct server *server = serve_next();
	until(stays->stream != NULL);
	h2_shut(server->h2);
	struct server *next = serve_next(); /* before anybody asks */
	struct guest *late = enter();
	until(late->stream != NULL);
	assert_int_equal(next->n_requests, 1);
	assert_false(stays->closed);
	assert_false(server->ended);
	stop();
}

static void test_another_generation_replaces_the_link_and_keeps_its_streams(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	struct guest *stays = enter();
	struct server *server = serve_next();
	until(stays->stream != NULL);
	set_briefing(2, 1, SENDER_PROTOCOL_AUTO);
	passages_renew(rig.passages);
	struct guest *fresh = enter();
	const struct handover_dial asked = hear();
	assert_int_equal(asked.generation, 2);
	struct server *next = serve(&asked);
	until(fresh->stream != NULL);
	assert_int_equal(next->n_requests, 1);
	assert_int_equal(server->n_requests, 1);
	assert_false(stays->closed);
	stop();
}

static void test_what_an_earlier_generation_dialled_is_not_used_for_streams(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	struct guest *guest = enter();
	const struct handover_dial early = hear();
	set_briefing(2, 1, SENDER_PROTOCOL_AUTO);
	passages_renew(rig.passages);
	close(connect_it(&early, true));
	const struct handover_dial asked = hear();
	assert_int_equal(asked.generation, 2);
	(void)serve(&asked);
	until(guest->stream != NULL);
	stop();
}

static void test_more_streams_than_one_link_should_have_bring_another(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	(void)enter();
	(void)serve_next();
	for (int i = 0; i < POOL_STREAMS; i++)
		(void)enter();
	struct server *second = serve_next();
	until(rig.guests[POOL_STREAMS].stream != NULL);
	while (second->n_requests == 0) { /* it may be opening; then it is where there are fewer */
		const struct guest *next = enter();
		until(next->stream != NULL);
	}
	assert_silence();
	stop();
}

static void test_a_link_that_is_not_needed_is_closed_after_a_while(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	rig.briefing.pool_min = 0;
	rig.briefing.pool_idle_ms = 20;
	struct guest *guest = enter();
	struct server *server = serve_next();
	until(guest->stream != NULL);
	assert_silence();
	assert_false(server->ended);
	leave(guest);
	until(server->ended);
	assert_silence();
	stop();
}

static void test_the_least_busy_of_two_relays_is_asked(void **state)
{
	(void)state;
	start(2, SENDER_PROTOCOL_AUTO);
	rig.briefing.balance = RELAYS_LEAST;
	passages_renew(rig.passages);
	(void)enter();
	(void)enter();
	assert_int_equal(hear().relay, 0);
	assert_int_equal(hear().relay, 1);
	stop();
}

static void test_who_leaves_early_takes_nothing_along(void **state)
{
	(void)state;
	start(1, SENDER_PROTOCOL_AUTO);
	leave(enter());
	rig.status = 0;
	struct server *server = serve_next(); /* it is for whoever comes next */
	struct guest *asked = enter();
	until(server->n_requests == 1);
	leave(asked);
	until(server->last == NULL);
	stop();
	start(1, SENDER_PROTOCOL_TLS);
	leave(enter());
	const struct handover_dial dialled = hear();
	close(connect_it(&dialled, false)); /* closed on our side, too: nobody wants it */
	stop();
}

static int quiet(void **state)
{
	(void)state;
	log_setup(LOG_ERROR, LOG_TEXT, STDERR_FILENO);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_dial_offers_both_and_the_second_guest_needs_none),
		cmocka_unit_test(test_a_relay_without_http2_gives_each_a_connection_of_its_own),
		cmocka_unit_test(test_protocol_h2_keeps_a_link_ready_and_offers_nothing_else),
		cmocka_unit_test(test_protocol_tls_and_no_service_offer_the_service_alone),
		cmocka_unit_test(test_a_relay_that_is_not_reached_is_left_for_the_next),
		cmocka_unit_test(test_who_was_failed_by_every_relay_is_told_why),
		cmocka_unit_test(test_a_service_that_the_relay_lacks_fails_nobody_elses),
		cmocka_unit_test(test_a_refusal_by_the_relay_is_final_and_in_its_words),
		cmocka_unit_test(test_an_answer_of_503_is_asked_elsewhere),
		cmocka_unit_test(test_a_relay_that_dies_with_the_request_is_asked_anew),
		cmocka_unit_test(test_a_relay_that_dies_with_every_request_is_given_up),
		cmocka_unit_test(test_a_link_that_is_silent_is_replaced_once_and_then_given_up),
		cmocka_unit_test(test_a_relay_that_ends_before_its_settings_has_failed),
		cmocka_unit_test(test_after_goaway_streams_stay_and_new_ones_go_elsewhere),
		cmocka_unit_test(test_another_generation_replaces_the_link_and_keeps_its_streams),
		cmocka_unit_test(test_what_an_earlier_generation_dialled_is_not_used_for_streams),
		cmocka_unit_test(test_more_streams_than_one_link_should_have_bring_another),
		cmocka_unit_test(test_a_link_that_is_not_needed_is_closed_after_a_while),
		cmocka_unit_test(test_the_least_busy_of_two_relays_is_asked),
		cmocka_unit_test(test_who_leaves_early_takes_nothing_along),
	};
	return cmocka_run_group_tests_name("passage", tests, quiet, NULL);
}
