#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Streams over HTTP/2: CONNECT as anybody's client says it, rights of each stream, ends, drain."""
import hashlib
import json
import os
import signal
import socket
import ssl
import struct
import threading

import h2_frames as h2
from portseal_testing import Scenario, is_alive, main, read_all, run, tool, wait_until

ANY = "{ any = true; }"
DEBUG = 'log = { level = "debug"; };'
ALICE = '{ cn = "alice"; }'


class H2(Scenario):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.certs("sender", "bob")

    def client(self, port, identity="alice", **kwargs):
        return h2.Client(self.tls(port, identity, alpn=["h2"]), **kwargs)

    def services(self, services, **kwargs):
        return self.relay(config=self.relay_config(services, **kwargs))

    def test_a_stream_is_a_connection_to_the_service(self):
        relay = self.relay(self.app().target)
        client = self.client(relay.port)
        stream = client.connect("app")
        self.assertEqual(client.streams[stream].status, 200)
        client.write(stream, b"hello")
        self.assertEqual(client.read(stream, 5), b"hello")
        client.write(stream, b" again", end=True)
        self.assertEqual(client.read(stream, 100), b" again")
        self.assertTrue(client.streams[stream].ended)
        opened = relay.wait_for(r"conn=([0-9a-f]{8}) event=accepted .*client=\"alice\" protocol=h2 cipher=TLS_")
        closed = relay.wait_for(rf"conn={opened.group(1)} event=stream-closed stream={stream} kind=connect reason=done "
                                r"service=app in=11 out=11 ")
        self.assertNotIn("code=", closed.string)
        client.send(h2.GOAWAY, body=struct.pack(">II", 0, 0))
        client.until_closed()
        relay.wait_for(rf"conn={opened.group(1)} event=closed reason=done protocol=h2 in=11 out=11 .*streams=1 refused=0")

    def test_what_is_sent_before_the_answer_arrives(self):
        relay = self.relay(self.app().target)
        client = self.client(relay.port)
        stream = client.open(h2.connect_fields("app"), body=b"x" * 60000, end=True)
        self.assertEqual(len(client.read(stream, 60000)), 60000)

    def test_each_right_is_asked_once_and_each_refusal_has_its_status(self):
        closed_port = socket.socket()
        closed_port.bind(("127.0.0.1", 0))
        self.keep(closed_port)
        relay = self.services({"mine": (self.app().target, ALICE, ""), "others": (self.app().target, '{ cn = "bob"; }', ""),
                               "down": (f"tcp://127.0.0.1:{closed_port.getsockname()[1]}", ANY, "")})
        client = self.client(relay.port)
        wanted = {"mine": (200, None), "others": (403, "not-allowed"), "nothing": (404, "unknown-service"),
                  "down": (502, "target-refused"), "Mine": (404, "unknown-service"), "mine:0x": (404, "unknown-service"),
                  "x" * 300: (404, "unknown-service")}
        for _ in range(3):
            for service, (status, reason) in wanted.items():
                stream = client.connect(service)
                with self.subTest(service=service):
                    self.assertEqual(client.streams[stream].status, status)
                    if reason:
                        client.until(lambda: client.streams[stream].ended)  # pylint: disable=cell-var-from-loop
                        problem = json.loads(client.streams[stream].body)
                        self.assertEqual((problem["status"], problem["reason"]), (status, reason))
                        self.assertNotIn("bob", str(problem))
        relay.wait_for("event=stream-refused .*reason=not-allowed status=403 service=\"others\" detail=\"the only rule", count=3)
        relay.wait_for("event=stream-refused .*reason=unknown-service status=404 service=\"nothing\"", count=3)
        relay.wait_for("event=stream-refused .*reason=target-refused status=502 service=\"down\" detail=\".*refused", count=3)

    def test_what_is_no_connect_is_no_service(self):
        relay = self.relay(self.app().target, extra=DEBUG)
        client = self.client(relay.port)
        https = [(":scheme", "https"), (":authority", "localhost")]
        for method, path, status in (("GET", "/", 404), ("POST", "/elsewhere", 404), ("GET", "/messages/app", 405),
                                     ("GET", "/messages/", 405)):
            with self.subTest(method=method, path=path):
                self.assertEqual(client.ask([(":method", method), (":path", path), *https])[0], status)
        # An absolute form would make it a proxy for anything: it asks for one service of ours, or none.
        self.assertEqual(client.connect("127.0.0.1:22") and client.streams[9].status, 404)
        self.assertEqual(relay.find("event=stream-opened"), [])

    def test_an_authority_that_a_service_declares_means_it(self):
        relay = self.services({"db": (self.app().target, ANY, 'authority = [ "DB.example.com:5432", "[::1]:5432" ];'),
                               "web": (self.app().target, ANY, "")}, extra=DEBUG)
        client = self.client(relay.port)
        for authority, status in (("db.example.com:5432", 200), ("db.EXAMPLE.com:5432", 200), ("[::1]:5432", 200),
                                  ("db.example.com:5433", 404), ("db.example.com", 404), ("web:80", 200), ("web:443", 200),
                                  ("web:", 200), ("db", 200)):
            with self.subTest(authority=authority):
                self.assertEqual(client.streams[client.connect(authority)].status, status)
                if status == 200:
                    relay.wait_for(rf"event=stream-opened .*service={'web' if 'web' in authority else 'db'} ")

    def test_no_header_reaches_the_application(self):
        heard = []

        def listen(connection):
            heard.append(read_all(connection))

        relay = self.relay(self.app(listen).target)
        client = self.client(relay.port)
        stream = client.connect("app", ("x-smuggled", "GET / HTTP/1.1"), ("cookie", "a=b"))
        client.write(stream, b"payload", end=True)
        wait_until(lambda: heard == [b"payload"], "the application reads the payload alone")

    def test_a_listener_of_one_service_has_no_other(self):
        config = self.relay_config({"one": (self.app().target, ANY, ""), "two": (self.app().target, ANY, "")},
                                   listen='{ address = "127.0.0.1:0"; service = "one"; }')
        client = self.client(self.relay(config=config).port)
        self.assertEqual(client.streams[client.connect("one")].status, 200)
        self.assertEqual(client.streams[client.connect("two")].status, 404)

    def test_http_1_is_told_what_is_spoken(self):
        relay = self.relay(self.app().target)
        curl = [tool("curl"), "-sS", "--http1.1", "--cert", self.crt("alice"), "--key", self.key("alice"), "--cacert",
                f"{self.pki}/ca.crt", f"https://localhost:{relay.port}/messages/app", "--data", "x"]
        done = run(curl)
        self.assertEqual(done.returncode, 35, done.stderr)
        self.assertIn(b"no application protocol", done.stderr)
        relay.wait_for("event=refused reason=unknown-protocol .*alert=no_application_protocol")

    def test_curl_speaks_h2_and_reads_the_problem(self):
        relay = self.relay(self.app().target)
        curl = [tool("curl"), "-sS", "-i", "--cert", self.crt("alice"), "--key", self.key("alice"), "--cacert",
                f"{self.pki}/ca.crt", f"https://localhost:{relay.port}/nothing"]
        done = run(curl)
        self.assertEqual(done.returncode, 0, done.stderr)
        head, body = done.stdout.split(b"\r\n\r\n", 1)
        self.assertTrue(head.startswith(b"HTTP/2 404"), head)
        self.assertIn(b"content-type: application/problem+json", head)
        self.assertEqual(json.loads(body)["reason"], "not-found")

    def test_an_end_of_the_client_is_a_fin_and_an_end_of_the_application_ends_the_stream(self):
        ends = []

        def speak_first(connection):
            connection.sendall(b"goodbye")
            connection.shutdown(socket.SHUT_WR)
            ends.append(read_all(connection))

        client = self.client(self.relay(self.app(speak_first).target).port)
        stream = client.connect("app")
        self.assertEqual(client.read(stream, 100), b"goodbye")
        self.assertTrue(client.streams[stream].ended)
        client.write(stream, b"still here", end=True)
        wait_until(lambda: ends == [b"still here"], "the application reads the rest and a FIN")

    def test_a_reset_on_one_side_is_a_reset_on_the_other(self):
        ends = []
        ready = threading.Event()

        def wait_for_the_end(connection):
            connection.sendall(b"hello")
            try:
                ends.append(connection.recv(100))
            except ConnectionResetError:
                ends.append("reset")
                ready.set()

        def reset_at_once(connection):
            connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        relay = self.services({"waits": (self.app(wait_for_the_end).target, ANY, ""),
                               "resets": (self.app(reset_at_once).target, ANY, "")})
        client = self.client(relay.port)
        stream = client.connect("waits")
        client.read(stream, 5)
        client.send(h2.RST_STREAM, stream=stream, body=struct.pack(">I", 8))
        self.assertTrue(ready.wait(20))
        self.assertEqual(ends, ["reset"])
        relay.wait_for(f"event=stream-closed stream={stream} kind=connect reason=client-reset .*code=CANCEL")
        stream = client.connect("resets")
        client.write(stream, b"x")
        client.until(lambda: client.streams[stream].reset)
        self.assertEqual(client.streams[stream].reset, "CONNECT_ERROR")
        self.assertFalse(client.streams[stream].ended)
        relay.wait_for(f"event=stream-closed stream={stream} kind=connect reason=target-reset .*code=CONNECT_ERROR")

    def test_a_cut_connection_resets_every_application(self):
        ends = []

        def wait_for_the_end(connection):
            connection.sendall(b"hello")
            try:
                ends.append(connection.recv(100))
            except ConnectionResetError:
                ends.append("reset")

        relay = self.relay(self.app(wait_for_the_end).target)
        client = self.client(relay.port)
        for _ in range(5):
            client.read(client.connect("app"), 5)
        client.sealed.shutdown(socket.SHUT_RDWR)
        client.sealed.close()
        wait_until(lambda: ends == ["reset"] * 5, "all five applications see a reset")
        relay.wait_for("event=stream-closed .*reason=connection-ended", count=5)
        relay.wait_for("event=closed reason=client-cut protocol=h2")

    def test_a_killed_worker_is_a_cut_for_both_sides(self):
        ends = []

        def wait_for_the_end(connection):
            connection.sendall(b"hello")
            try:
                ends.append(connection.recv(100))
            except ConnectionResetError:
                ends.append("reset")

        relay = self.relay(self.app(wait_for_the_end).target)
        client = self.client(relay.port)
        client.read(client.connect("app"), 5)
        for pid in relay.role_pids("worker"):
            os.kill(pid, signal.SIGKILL)
        with self.assertRaises((ConnectionResetError, ssl.SSLEOFError)):  # both are what Python makes of a reset
            client.until(lambda: False)
        wait_until(lambda: ends == ["reset"], "the application sees a reset")

    def test_a_stalled_application_stalls_no_other_stream(self):
        stalled = threading.Event()

        def stall(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.wait(60)

        self.addCleanup(stalled.set)
        relay = self.services({"slow": (self.app(stall).target, ANY, ""), "fast": (self.app().target, ANY, "")})
        client = self.client(relay.port)
        slow = client.connect("slow")
        fast = client.connect("fast")
        window = 65536
        client.write(slow, b"s" * window)
        for _ in range(20):
            client.write(fast, b"f" * 50000)
            self.assertEqual(len(client.read(fast, 50000)), 50000)
        self.assertIsNone(client.streams[slow].reset)

    def test_a_revoked_right_ends_its_streams_and_leaves_the_others(self):
        services = {"one": (self.app().target, ANY, ""), "two": (self.app().target, ANY, "")}
        relay = self.services(services)
        path = relay.argv[relay.argv.index("-c") + 1]
        client = self.client(relay.port)
        one, two = client.connect("one"), client.connect("two")
        services["two"] = (services["two"][0], '{ cn = "bob"; }', "")
        with open(path, "w", encoding="ascii") as file:
            file.write(self.relay_config(services))
        relay.signal(signal.SIGHUP)
        client.until(lambda: client.streams[two].reset)
        self.assertEqual(client.streams[two].reset, "CANCEL")
        relay.wait_for(f"event=stream-closed stream={two} kind=connect reason=not-allowed service=two")
        client.write(one, b"still here")
        self.assertEqual(client.read(one, 10), b"still here")
        self.assertEqual(client.streams[client.connect("two")].status, 403)

    def reload_with_nobody_to_ask(self, relay, services):
        """The gatekeepers of the new generation stand still before a worker asks them; their pids."""
        workers = relay.role_pids("worker")
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        with open(relay.argv[relay.argv.index("-c") + 1], "w", encoding="ascii") as file:
            file.write(self.relay_config(services))
        old = relay.role_pids("gatekeeper")
        relay.signal(signal.SIGHUP)
        relay.wait_for("event=reloaded generation=2")
        wait_until(lambda: not any(map(is_alive, old)), "the old gatekeepers have ended")
        gatekeepers = relay.role_pids("gatekeeper")
        for pid in gatekeepers:
            os.kill(pid, signal.SIGSTOP)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        return gatekeepers

    def test_after_a_reload_new_streams_wait_for_its_verdict_and_living_ones_do_not(self):
        apps = {name: self.app() for name in ("one", "two")}
        services = {name: (app.target, ANY, "") for name, app in apps.items()}
        relay = self.services(services)
        client = self.client(relay.port)
        living = [client.connect(name) for name in services]
        services["two"] = (services["two"][0], '{ cn = "bob"; }', "")
        gatekeepers = self.reload_with_nobody_to_ask(relay, services)
        waiting = [client.open(h2.connect_fields(name), body=b"early") for name in services]
        for stream in living:  # behind those on the connection: they were seen
            client.write(stream, b"lives")
            self.assertEqual(client.read(stream, 5), b"lives")
        self.assertEqual([client.streams[stream].status for stream in waiting], [None, None])
        self.assertEqual([app.accepted for app in apps.values()], [1, 1])
        for pid in gatekeepers:
            os.kill(pid, signal.SIGCONT)
        self.assertEqual(client.read(waiting[0], 5), b"early")
        client.until(lambda: client.streams[waiting[1]].ended and client.streams[living[1]].reset)
        self.assertEqual([client.streams[stream].status for stream in waiting], [200, 403])
        self.assertEqual([client.streams[stream].reset for stream in living], [None, "CANCEL"])
        self.assertEqual(apps["two"].accepted, 1)

    def test_no_stream_waits_for_ever_for_a_verdict(self):
        if not os.environ.get("PORTSEAL_LONG"):
            self.skipTest("takes ten seconds: PORTSEAL_LONG=1")
        app = self.app()
        services = {"app": (app.target, ANY, "")}
        relay = self.services(services)
        client = self.client(relay.port)
        living = client.connect("app")
        self.reload_with_nobody_to_ask(relay, services)
        waiting = client.open(h2.connect_fields("app"))
        client.until(lambda: client.streams[waiting].ended)
        self.assertEqual(client.streams[waiting].status, 503)
        relay.wait_for(f"event=stream-refused stream={waiting} kind=connect reason=internal status=503 .*no gatekeeper")
        client.write(living, b"lives")
        self.assertEqual(client.read(living, 5), b"lives")
        self.assertEqual(app.accepted, 1)

    def test_a_drain_answers_whoever_waits_for_a_verdict(self):
        app = self.app()
        services = {"app": (app.target, ANY, "")}
        relay = self.services(services)
        client = self.client(relay.port)
        living = client.connect("app")
        gatekeepers = self.reload_with_nobody_to_ask(relay, services)
        waiting = client.open(h2.connect_fields("app"))
        client.write(living, b"lives")
        self.assertEqual(client.read(living, 5), b"lives")
        relay.signal(signal.SIGTERM)
        relay.wait_for("event=draining")
        for pid in gatekeepers:
            os.kill(pid, signal.SIGKILL)
        client.until(lambda: client.streams[waiting].ended)
        self.assertEqual(client.streams[waiting].status, 503)
        relay.wait_for(f"event=stream-refused stream={waiting} kind=connect reason=drain status=503")
        client.write(waiting, b"", end=True)
        client.write(living, b"ends", end=True)
        self.assertEqual(client.read(living, 4), b"ends")
        client.until_closed()

    def test_a_drain_finishes_streams_and_takes_no_new_connection(self):
        relay = self.relay(self.app().target)
        client = self.client(relay.port)
        stream = client.connect("app")
        relay.signal(signal.SIGTERM)
        client.until(lambda: client.goaway)
        client.until(lambda: client.goaway[0] == stream)  # the last word, once our answer to the PING was read
        self.assertEqual(client.goaway, (stream, "NO_ERROR"))
        client.write(stream, b"finish", end=True)
        self.assertEqual(client.read(stream, 100), b"finish")
        client.until_closed()
        self.assertEqual(relay.wait(), 0)
        relay.wait_for("event=stream-closed .*reason=done")
        relay.wait_for("event=closed reason=done protocol=h2")

    def test_the_end_of_a_drain_cuts_what_is_left(self):
        relay = self.relay(self.app().target, extra='timeouts = { drain = "300ms"; };')
        client = self.client(relay.port)
        stream = client.connect("app")
        relay.signal(signal.SIGTERM)
        try:
            client.until(lambda: False)
        except (EOFError, OSError) as end:
            self.assertNotIsInstance(end, EOFError)
        self.assertFalse(client.streams[stream].ended)
        self.assertEqual(relay.wait(), 1)
        relay.wait_for("event=stream-closed .*reason=drain")
        relay.wait_for("event=closed reason=drain protocol=h2")

    def test_many_streams_at_once_arrive_whole(self):
        n = 10000 if os.environ.get("PORTSEAL_LONG") else 1000
        relay = self.relay(self.app().target, extra=f"limits = {{ streams_per_connection = {n}; }};")
        client = self.client(relay.port)
        client.until(lambda: any(kind == h2.SETTINGS for kind, *_ in client.frames))
        bodies = {client.open(h2.connect_fields("app")): os.urandom(500) for _ in range(n)}
        client.until(lambda: all(client.streams[stream].status for stream in list(bodies)[-1:]))
        for stream, body in bodies.items():
            client.write(stream, body)
        for stream, body in bodies.items():
            got = client.read(stream, 500)
            self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(body).digest())
        self.assertEqual(relay.find("event=stream-refused"), [])
        one_more = client.open(h2.connect_fields("app"))
        client.until(lambda: client.streams[one_more].reset or client.goaway)

    def test_an_idle_stream_is_reset_and_an_idle_connection_is_left(self):
        relay = self.relay(self.app().target, extra='timeouts = { idle = "1s"; };')
        client = self.client(relay.port)
        stream = client.connect("app")
        client.until(lambda: client.streams[stream].reset)
        relay.wait_for(f"event=stream-closed stream={stream} kind=connect reason=idle .*code=CANCEL")
        self.assertEqual(client.until_closed(), "NO_ERROR")
        relay.wait_for("event=closed reason=done protocol=h2")


if __name__ == "__main__":
    main()
