#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Messages: POST /messages/<service> as curl and our own sender say it; every status, every end, keys, receipts."""
import base64
import hashlib
import json
import os
import queue
import re
import resource
import signal
import socket
import struct
import subprocess
import threading
import time

import h2_frames
from portseal_testing import (SENDER, Process, Scenario, echo, free_port, is_listening, is_sanitized, main, read_all,
                              receive, reset, run, tool, wait_until)

ANY = "{ any = true; }"
RECEIPT = re.compile(r'^"([0-9a-f]{32})";sha256=:([A-Za-z0-9+/]{43}=):;time=@(\d+)$')


class Sink:
    """An application that keeps every message and replies `reply`."""

    def __init__(self, reply=b"thanks\n"):
        self.reply, self.messages, self.lock = reply, [], threading.Lock()

    def __call__(self, connection):
        message = read_all(connection)
        with self.lock:
            self.messages.append(message)
        connection.sendall(self.reply)


def serve_lines(connection):
    """One reply line for each line; never ends by itself."""
    with connection.makefile("rwb") as file:
        for line in file:
            file.write(line.upper())
            file.flush()


class Gate:
    """An application that reads all, says so, and replies when it is told to."""

    def __init__(self, reply=b"late\n"):
        self.read, self.go, self.reply, self.seen = threading.Event(), threading.Event(), reply, 0

    def __call__(self, connection):
        read_all(connection)
        self.seen += 1
        self.read.set()
        self.go.wait(60)
        connection.sendall(self.reply)


class Messages(Scenario):
    sends = "auto"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.certs("sender", "bob")

    def services(self, services, store=True, **kwargs):
        extra = kwargs.pop("extra", "")
        if store:
            path = store if isinstance(store, str) else f"store-{len(self.started)}-{self.id()}"
            extra += f' messages = {{ store = "{path}"; {kwargs.pop("messages", "")} }};'
        return self.relay(config=self.relay_config(services, extra=extra, **kwargs))

    def one(self, serve, more="", **kwargs):
        return self.services({"app": (self.app(serve).target, ANY, more)}, **kwargs)

    def curl_argv(self, port, service="app", more=(), identity="alice"):
        return [tool("curl"), "-sS", "--http2", "--max-time", "30", "--cacert", f"{self.pki}/ca.crt", "--cert",
                self.crt(identity), "--key", self.key(identity), *more, f"https://localhost:{port}/messages/{service}"]

    def curl(self, port, payload=b"", service="app", more=(), identity="alice"):
        """(status, {header: value}, body, exit code)"""
        head = self.file(f"head-{time.monotonic_ns()}", b"")
        done = run(self.curl_argv(port, service, [*more, "-D", head, "-w", "%{stderr}%{http_code}", "--data-binary",
                                                  "@-"], identity), stdin=payload)
        with open(head, encoding="utf-8") as file:
            fields = dict(line.rstrip("\r\n").split(": ", 1) for line in file if ": " in line)
        return int(done.stderr.decode()[-3:] or 0), fields, done.stdout, done.returncode

    def assert_receipt(self, fields, payload):
        match = RECEIPT.match(fields["portseal-receipt"])
        self.assertTrue(match, fields)
        self.assertEqual(base64.b64decode(match.group(2)), hashlib.sha256(payload).digest())
        self.assertLess(abs(int(match.group(3)) - time.time()), 60)
        return match.group(1)

    def assert_problem(self, answer, status, reason):
        got, fields, body, _ = answer
        self.assertEqual((got, fields.get("content-type")), (status, "application/problem+json"), body)
        problem = json.loads(body)
        self.assertEqual((problem["status"], problem["reason"]), (status, reason))
        self.assertNotIn("portseal-receipt", fields)
        return fields


class Answers(Messages):
    def test_a_reply_comes_with_a_receipt_and_one_line_in_the_log(self):
        sink = Sink()
        relay = self.one(sink)
        status, fields, body, _ = self.curl(relay.port, b"invoice 17")
        self.assertEqual((status, body, sink.messages), (200, b"thanks\n", [b"invoice 17"]))
        name = self.assert_receipt(fields, b"invoice 17")
        line = relay.wait_for(r"event=message .*reason=done").string
        for part in ("kind=message", "service=app", "in=10", "out=7", "status=200", f"id={name}"):
            self.assertIn(part, line)
        self.assertEqual(len(relay.find("event=message")), 1)

    def test_the_audit_trail_has_the_receipt_and_the_digest(self):
        sink = Sink()
        trail = os.path.join(self.dir, "audit.log")
        relay = self.one(sink, extra=f'audit = {{ file = "{trail}"; sync = "always"; }};')
        _, fields, _, _ = self.curl(relay.port, b"invoice 17")
        name = self.assert_receipt(fields, b"invoice 17")

        def closed():
            with open(trail, encoding="utf-8") as file:
                return [entry for entry in map(json.loads, file) if entry.get("receipt") == name]

        entry, = wait_until(closed, "the end of the message is on record")
        self.assertEqual((entry["event"], entry["sha256"]), ("closed", hashlib.sha256(b"invoice 17").hexdigest()))

    def test_every_size_at_the_edges_of_records_and_of_the_limit(self):
        sink = Sink()
        relay = self.one(sink, 'max_message = "100K";')
        for size in (0, 1, 16383, 16384, 16385, 102400):
            payload = os.urandom(size)
            status, fields, _, _ = self.curl(relay.port, payload)
            self.assertEqual(status, 200)
            self.assert_receipt(fields, payload)
            self.assertEqual(sink.messages.pop(), payload)
        self.assert_problem(self.curl(relay.port, bytes(102401)), 413, "message-too-long")
        self.assertEqual(sink.messages, [])

    def test_one_that_grows_too_long_on_the_way_is_a_reset_for_the_application(self):
        seen = []

        def serve(connection):
            try:
                seen.append(f"{len(read_all(connection))} bytes and a clean end")
            except OSError as error:
                seen.append(type(error).__name__)

        relay = self.one(serve, 'max_message = "100K";')
        done = self.send(relay.port, bytes(300000))  # of unknown length: found out on the way
        self.assertEqual(done.returncode, 8, done.stderr)
        self.assertIn(b"413 message-too-long", done.stderr)
        relay.wait_for("event=message .*reason=message-too-long")
        wait_until(lambda: seen == ["ConnectionResetError"], "the application hears of it")

    def test_delivered_without_a_reply(self):
        sink = Sink(b"nobody asked\n")
        relay = self.one(sink, 'reply = "none";')
        status, fields, body, _ = self.curl(relay.port, b"event")
        self.assertEqual((status, body), (204, b""))
        self.assert_receipt(fields, b"event")
        self.wait_for_messages(sink, [b"event"])

    @staticmethod
    def wait_for_messages(sink, messages):
        wait_until(lambda: sink.messages == messages, "the application has read it")

    def test_a_reply_of_one_line_and_one_that_ends_by_silence(self):
        app = self.app(serve_lines)
        relay = self.services({"line": (app.target, ANY, 'reply = "line";'),
                               "idle": (app.target, ANY, 'reply = "idle:200ms";')})
        self.assertEqual(self.curl(relay.port, b"ping\n", "line")[::2], (200, b"PING\n"))
        self.assertEqual(self.curl(relay.port, b"a\nb\n", "line")[::2], (200, b"A\n"))
        self.assertEqual(self.curl(relay.port, b"a\nb\n", "idle")[::2], (200, b"A\nB\n"))

    def test_refused_unknown_and_misdirected(self):
        app = self.app(Sink())
        relay = self.services({"mine": (app.target, '{ cn = "alice"; }', ""), "app": (app.target, ANY, "")})
        self.assert_problem(self.curl(relay.port, b"x", "mine", identity="bob"), 403, "not-allowed")
        self.assert_problem(self.curl(relay.port, b"x", "nothing"), 404, "unknown-service")
        self.assert_problem(self.curl(relay.port, b"x", "mine/more"), 404, "unknown-service")
        for payload in b"", b"x":  # what the connection itself was let in for is no service
            self.assert_problem(self.curl(relay.port, payload, ""), 404, "unknown-service")
        done = run(self.curl_argv(relay.port, more=["-w", "%{http_code}"]))
        self.assertTrue(done.stdout.endswith(b"405"), done.stdout)
        self.assertEqual(app.accepted, 0)

    def test_the_application_is_not_there_or_takes_too_long(self):
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        self.keep(closed)
        gate = Gate()
        relay = self.services({"down": (f"tcp://127.0.0.1:{closed.getsockname()[1]}", ANY, ""),
                               "slow": (self.app(gate).target, ANY, "")}, extra='timeouts = { message = "300ms"; };')
        self.assert_problem(self.curl(relay.port, b"x", "down"), 502, "target-refused")
        self.assert_problem(self.curl(relay.port, b"x", "slow"), 504, "message-timeout")
        self.assertEqual(self.send(relay.port, b"x", service="down").returncode, 7)
        self.assertEqual(self.send(relay.port, b"x", service="slow").returncode, 7)
        gate.go.set()

    def test_a_client_that_stops_in_the_middle_of_its_payload_is_told(self):
        ends = queue.Queue()

        def application(connection):
            try:
                ends.put(read_all(connection))
            except ConnectionResetError:
                ends.put("reset")

        relay = self.one(application, extra='timeouts = { message = "300ms"; };')
        client = h2_frames.Client(self.tls(relay.port, "alice", alpn=["h2"]))
        stream = client.open([(":method", "POST"), (":scheme", "https"), (":authority", "localhost"),
                              (":path", "/messages/app")], body=b"a part")
        client.until(lambda: client.streams[stream].ended)
        self.assertEqual(client.streams[stream].status, 408)
        self.assertEqual(json.loads(client.streams[stream].body)["reason"], "client-timeout")
        self.assertEqual(ends.get(timeout=30), "reset")  # never taken for a whole message
        relay.wait_for("event=message .*reason=client-timeout .*status=408")

    def test_the_application_dies_at_each_stage(self):
        def before_reading(connection):
            reset(connection)

        def while_reading(connection):
            receive(connection, 1000)
            reset(connection)

        def instead_of_replying(connection):
            read_all(connection)
            reset(connection)

        def while_replying(connection):
            read_all(connection)
            connection.sendall(b"half of it")
            self.half.wait(30)
            reset(connection)

        self.half = threading.Event()
        services = {name: (self.app(serve).target, ANY, "") for name, serve in
                    (("one", before_reading), ("two", while_reading), ("three", instead_of_replying),
                     ("four", while_replying))}
        relay = self.services(services)
        payload = bytes(4000000)
        self.assert_problem(self.curl(relay.port, payload, "one"), 502, "target-reset")
        self.assert_problem(self.curl(relay.port, payload, "two"), 502, "target-reset")
        self.assert_problem(self.curl(relay.port, b"x", "three"), 502, "target-reset")
        child = subprocess.Popen(self.curl_argv(relay.port, "four", ["--data-binary", "x", "-N"]),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(child.stdout.read(10), b"half of it")
        self.half.set()
        child.communicate(timeout=30)
        self.assertNotEqual(child.returncode, 0)  # a reset, never a clean end
        relay.wait_for(r"event=message .*reason=target-reset service=four .*code=INTERNAL_ERROR")

    def test_a_client_that_leaves_in_the_middle_is_a_reset_for_the_application(self):
        outcome, begun = [], threading.Event()

        def serve(connection):
            receive(connection, 1000)
            begun.set()
            try:
                read_all(connection)
                outcome.append("end")
            except OSError as error:
                outcome.append(type(error).__name__)

        relay = self.one(serve)
        child = subprocess.Popen(self.send_argv(relay.port), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        child.stdin.write(bytes(5000))
        child.stdin.flush()
        self.assertTrue(begun.wait(30))
        child.kill()
        child.wait()
        child.stdin.close()
        relay.wait_for("event=message .*reason=client-(cut|reset)")
        wait_until(lambda: outcome == ["ConnectionResetError"], "the application hears of it")

    def test_too_many_a_second_are_told_when_to_come_again(self):
        relay = self.one(Sink(), extra="limits = { messages_per_second = 2; };")
        answers = [self.curl(relay.port, b"x") for _ in range(3)]
        statuses = [answer[0] for answer in answers]
        while 429 not in statuses and len(statuses) < 30:
            answers.append(self.curl(relay.port, b"x"))
            statuses.append(answers[-1][0])
        if 429 not in statuses:
            self.skipTest("this machine is too slow to send three a second")
        self.assertEqual(statuses[:2], [200, 200])
        fields = self.assert_problem(answers[statuses.index(429)], 429, "rate-limited")
        self.assertEqual(fields["retry-after"], "1")

    def test_an_application_that_replies_as_it_reads_is_no_deadlock(self):
        relay = self.one(echo, 'max_message = "100M";')
        payload = os.urandom(20000000)
        head = self.file("trailers", b"")
        done = run(self.curl_argv(relay.port, more=["-D", head, "--data-binary", "@-"]), stdin=payload)
        self.assertEqual((done.returncode, hashlib.sha256(done.stdout).digest()), (0, hashlib.sha256(payload).digest()))
        with open(head, encoding="utf-8") as file:
            fields = dict(line.rstrip("\r\n").split(": ", 1) for line in file if ": " in line)
        self.assert_receipt(fields, payload)
        sent = self.send(relay.port, payload, more=["-v"])
        self.assertEqual((sent.returncode, sent.stdout == payload), (0, True), sent.stderr)
        self.assertIn(b"receipt ", sent.stderr)


class Keys(Messages):
    KEY = ("-H", "idempotency-key: k-1")

    def test_a_repeat_gets_the_recorded_answer_and_the_application_sees_it_once(self):
        sink = Sink()
        relay = self.one(sink)
        first = self.curl(relay.port, b"pay 5", more=self.KEY)
        again = self.curl(relay.port, b"pay 5", more=["-H", 'idempotency-key: "k-1"'])
        self.assertEqual((first[0], first[2]), (200, b"thanks\n"))
        self.assertEqual((again[0], again[2], again[1]["portseal-replayed"]), (200, b"thanks\n", "?1"))
        self.assertEqual(first[1]["portseal-receipt"], again[1]["portseal-receipt"])
        self.assertEqual(sink.messages, [b"pay 5"])
        self.assert_problem(self.curl(relay.port, b"pay 6", more=self.KEY), 422, "key-of-another-payload")
        self.assertEqual(self.curl(relay.port, b"pay 5", more=self.KEY, identity="bob")[0], 200)  # a key of his own
        self.assertEqual(len(sink.messages), 2)

    def test_records_outlive_the_relay(self):
        sink = Sink()
        store = os.path.join(self.dir, "outlives")
        relay = self.one(sink, store=store)
        first = self.curl(relay.port, b"pay 5", more=self.KEY)
        relay.signal(signal.SIGTERM)
        self.assertEqual(relay.wait(), 0)
        relay = self.one(sink, store=store)
        again = self.curl(relay.port, b"pay 5", more=self.KEY)
        self.assertEqual(first[1]["portseal-receipt"], again[1]["portseal-receipt"])
        self.assertEqual(len(sink.messages), 1)

    def test_of_two_at_once_one_is_told_to_wait(self):
        gate = Gate()
        relay = self.one(gate)
        first = subprocess.Popen(self.curl_argv(relay.port, more=[*self.KEY, "--data-binary", "x"]),
                                 stdout=subprocess.PIPE)
        self.assertTrue(gate.read.wait(30))
        fields = self.assert_problem(self.curl(relay.port, b"x", more=self.KEY), 409, "message-under-way")
        self.assertEqual(fields["retry-after"], "1")
        gate.go.set()
        self.assertEqual(first.communicate(timeout=30)[0], b"late\n")
        self.assertEqual(self.curl(relay.port, b"x", more=self.KEY)[2], b"late\n")
        self.assertEqual(gate.seen, 1)

    def test_a_failure_is_not_recorded(self):
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        relay = self.services({"app": (f"tcp://127.0.0.1:{port}", ANY, "")})
        self.assert_problem(self.curl(relay.port, b"x", more=self.KEY), 502, "target-refused")
        closed.listen(8)
        self.keep(closed)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.curl(relay.port, b"x", more=self.KEY)))
        thread.start()
        connection, _ = closed.accept()
        with connection:
            self.assertEqual(read_all(connection), b"x")
            connection.sendall(b"now")
        thread.join(30)
        self.assertEqual((answers[0][0], answers[0][2]), (200, b"now"))

    def test_a_client_that_leaves_after_its_payload_finds_the_answer_later(self):
        gate = Gate()
        relay = self.one(gate)
        first = subprocess.Popen(self.curl_argv(relay.port, more=[*self.KEY, "--data-binary", "x"]),
                                 stdout=subprocess.PIPE)
        self.assertTrue(gate.read.wait(30))
        first.kill()
        first.communicate()
        relay.wait_for("event=message .*it goes on, for the record")
        gate.go.set()
        relay.wait_for("event=message-went-on .*reason=done")
        self.assertEqual(self.curl(relay.port, b"x", more=self.KEY)[2], b"late\n")
        self.assertEqual(gate.seen, 1)

    @staticmethod
    def fill(client, stream):
        """Sends until nobody takes more, for the reply has no window and so nobody reads it."""
        windows, taken = {0: 65535, stream: 0}, 0
        client.sealed.settimeout(0.5)
        while True:
            for kind, flags, where, body in client.frames[taken:]:
                if kind == h2_frames.WINDOW_UPDATE:
                    windows[where] += int.from_bytes(body, "big")
                elif kind == h2_frames.SETTINGS and not flags & h2_frames.ACK:
                    values = dict(struct.iter_unpack(">HI", body))
                    windows[stream] += values[4]
            taken = len(client.frames)
            size = min(*windows.values(), 16384)
            if size > 0:
                client.write(stream, bytes(size))
                windows = {where: window - size for where, window in windows.items()}
                continue
            try:
                client.turn()
            except TimeoutError:
                return

    def test_a_client_that_leaves_behind_a_reply_that_began_early_takes_no_worker_along(self):
        relay = self.one(echo, 'max_message = "100M";')
        no_window = struct.pack(">HI", 4, 0)
        client = h2_frames.Client(self.tls(relay.port, "alice", alpn=["h2"]), settings=no_window)
        stream = client.open([(":method", "POST"), (":scheme", "https"), (":path", "/messages/app"),
                              (":authority", "localhost"), ("idempotency-key", "k-1")])
        self.fill(client, stream)
        self.assertEqual(client.streams[stream].status, 200)
        client.send(h2_frames.DATA, h2_frames.END_STREAM, stream)
        client.send(h2_frames.RST_STREAM, 0, stream, struct.pack(">I", 8))
        relay.wait_for("event=message .*it goes on, for the record")
        relay.wait_for("event=message-went-on .*reason=done")
        self.assertEqual(relay.find("role-died"), [])

    @staticmethod
    def fields_of(key):
        return [(":method", "POST"), (":scheme", "https"), (":path", "/messages/app"), (":authority", "localhost"),
                ("idempotency-key", key)]

    def h2_client(self, relay):
        return h2_frames.Client(self.tls(relay.port, "alice", alpn=["h2"]))

    def leave_behind(self, relay, gate, keys, client=None):
        """alice sends a message for each key, over connections of their own (and so to all workers), and resets it."""
        one = client
        for i, key in enumerate(keys):
            client = one or self.h2_client(relay)
            stream = client.open(self.fields_of(key), end=True, body=b"x")
            wait_until(lambda i=i: gate.seen == i + 1, "the application has it")
            client.send(h2_frames.RST_STREAM, 0, stream, struct.pack(">I", 8))
            relay.wait_for("event=message .*it goes on, for the record", count=i + 1)

    def test_a_client_leaves_no_more_messages_behind_than_it_may_and_no_other_pays_for_it(self):
        gate = Gate()
        services = {"app": (self.app(gate).target, ANY, ""), "quick": (self.app(Sink()).target, ANY, "")}
        relay = self.services(services, extra="limits = { messages_per_client = 3; };")
        self.leave_behind(relay, gate, ["l-1", "l-2", "l-3"])
        fields = self.assert_problem(self.curl(relay.port, b"x", "quick", more=self.KEY), 503, "too-many-streams")
        self.assertEqual(fields["retry-after"], "1")
        relay.wait_for("event=message .*reason=too-many-streams status=503 .*limits.messages_per_client")
        self.assertEqual(self.send(relay.port, b"x", service="quick", more=["--idempotency-key", "k"]).returncode, 7)
        self.assertEqual(self.curl(relay.port, b"x", "quick")[0], 200)  # without a key it ends with its client
        self.assertEqual(self.curl(relay.port, b"x", "quick", more=self.KEY, identity="bob")[0], 200)
        gate.go.set()
        relay.wait_for("event=message-went-on .*reason=done", count=3)
        self.assertEqual(self.curl(relay.port, b"x", "quick", more=self.KEY)[0], 200)
        self.assertEqual(gate.seen, 3)

    def test_messages_that_were_left_behind_have_their_share_of_the_descriptors(self):
        gate = Gate()
        config = self.relay_config({"app": (self.app(gate).target, ANY, "")},
                                   extra='messages = { store = "store-of-few"; };')
        relay = self.relay(
            config=config,
            preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (330, 330)))  # ten for connections and targets
        client = self.h2_client(relay)
        self.leave_behind(relay, gate, [f"l-{i}" for i in range(7)], client)
        self.assertEqual(client.ask(self.fields_of("one-more"), body=b"x")[0], 503)
        relay.wait_for("event=message .*reason=no-descriptors status=503")
        gate.go.set()
        relay.wait_for("event=message-went-on .*reason=done", count=7)
        self.assertEqual(client.ask(self.fields_of("one-more"), body=b"x"), (200, b"late\n"))

    def test_what_a_client_left_to_a_worker_that_died_is_counted_no_more(self):
        gate = Gate()
        relay = self.one(gate, extra="limits = { messages_per_client = 2; };")
        self.leave_behind(relay, gate, ["l-1", "l-2"])
        for pid in relay.role_pids("worker"):
            os.kill(pid, signal.SIGKILL)
        relay.wait_for("event=role-restarted", count=2)
        gate.go.set()
        self.assertEqual(self.curl(relay.port, b"x", more=self.KEY)[0], 200)

    def test_a_worker_that_dies_in_the_middle_makes_the_next_try_a_counted_repeat(self):
        gate = Gate()
        relay = self.one(gate)
        first = subprocess.Popen(self.curl_argv(relay.port, more=[*self.KEY, "--data-binary", "x"]),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.assertTrue(gate.read.wait(30))
        for pid in relay.role_pids("worker"):
            os.kill(pid, signal.SIGKILL)
        first.communicate(timeout=30)
        self.assertNotEqual(first.returncode, 0)
        relay.wait_for("event=role-restarted", count=2)
        gate.go.set()
        answer = self.curl(relay.port, b"x", more=self.KEY)
        self.assertEqual((answer[0], gate.seen), (200, 2))
        relay.wait_for("event=message-repeated-unknown service=app key=\"k-1\"")
        self.assertEqual(len(relay.find("message-repeated-unknown")), 1)

    def test_a_reply_too_long_to_keep_is_not_delivered_twice(self):
        sink = Sink(bytes(2000))
        relay = self.one(sink, messages='max_reply = "1K";')
        first = self.curl(relay.port, b"x", more=self.KEY)
        self.assertEqual((first[0], len(first[2])), (200, 2000))
        again = self.curl(relay.port, b"x", more=self.KEY)
        self.assertEqual((again[0], json.loads(again[2])["reason"]), (410, "reply-not-kept"))
        self.assertEqual(first[1]["portseal-receipt"], again[1]["portseal-receipt"])
        self.assertEqual(len(sink.messages), 1)

    def test_without_a_store_no_key_is_taken_and_a_bad_one_never(self):
        sink = Sink()
        relay = self.one(sink, store=False)
        self.assert_problem(self.curl(relay.port, b"x", more=self.KEY), 501, "no-store")
        relay = self.one(sink)
        self.assert_problem(self.curl(relay.port, b"x", more=["-H", "idempotency-key: a b"]), 400, "bad-key")
        self.assertEqual(sink.messages, [])

    def test_a_store_that_cannot_be_written_refuses_before_anything_is_delivered(self):
        sink = Sink()
        store = self.file("damaged", b"this is no database" * 100)
        os.chmod(store, 0o600)
        relay = self.one(sink, store=store)
        relay.wait_for("event=message-store-failed .*move it away")
        self.assert_problem(self.curl(relay.port, b"x", more=self.KEY), 503, "message-store-failed")
        self.assertEqual(self.curl(relay.port, b"x")[0], 200)
        os.unlink(store)
        self.assertEqual(self.curl(relay.port, b"y", more=self.KEY)[0], 200)
        relay.wait_for("event=message-store-recovered")
        self.assertEqual(sink.messages, [b"x", b"y"])


class Sender(Messages):
    def test_the_reply_the_receipt_and_the_key(self):
        sink = Sink()
        relay = self.one(sink)
        receipt = os.path.join(self.dir, "receipt.json")
        more = ["--idempotency-key", "k", "--receipt", receipt, "-v"]
        done = self.send(relay.port, b"pay 5", more=more)
        self.assertEqual((done.returncode, done.stdout), (0, b"thanks\n"), done.stderr)
        with open(receipt, encoding="utf-8") as file:
            first = json.load(file)
        self.assertEqual(first["sha256"], hashlib.sha256(b"pay 5").hexdigest())
        self.assertEqual((first["service"], first["status"], first["bytes"]), ("app", 200, 5))
        self.assertIn(f"receipt {first['id']}".encode(), done.stderr)
        self.assertEqual(self.send(relay.port, b"pay 5", more=more).stdout, b"thanks\n")
        with open(receipt, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["id"], first["id"])
        self.assertEqual(sink.messages, [b"pay 5"])

    def test_exit_codes(self):
        app = self.app(Sink())
        relay = self.services({"mine": (app.target, '{ cn = "alice"; }', 'max_message = "10";')}, store=False)
        self.assertEqual(self.send(relay.port, b"x", service="mine").returncode, 0)
        self.assertEqual(self.send(relay.port, b"x", service="mine", identity="bob").returncode, 6)
        self.assertEqual(self.send(relay.port, b"x", service="none").returncode, 6)
        self.assertEqual(self.send(relay.port, bytes(11), service="mine").returncode, 8)
        self.assertEqual(self.send(relay.port, b"x", service="mine", more=["--idempotency-key", "k"]).returncode, 6)
        self.assertEqual(self.send(relay.port, b"x", service="mine", more=["--idempotency-key", "a b"]).returncode, 2)
        self.assertEqual(self.send(relay.port, b"x", service=None, more=["--idempotency-key", "k"]).returncode, 2)
        self.assertEqual(self.send(relay.port, b"x", service="mine", more=["--json"]).returncode, 2)

    def test_each_line_is_a_message_and_results_keep_their_order(self):
        sink = Sink()

        def serve(connection):
            line = read_all(connection)
            with sink.lock:
                sink.messages.append(line)
            connection.sendall(line.upper())

        relay = self.one(serve)
        lines = [b"line %d\n" % i for i in range(300)] + [b"the last, without its newline"]
        done = self.send(relay.port, b"".join(lines), more=["--each-line", "--json", "--in-flight", "32"])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, b"".join(lines).upper())
        self.assertEqual(sorted(sink.messages), sorted(lines))
        results = [json.loads(line) for line in done.stderr.splitlines()]
        self.assertEqual(results[-1], {"delivered": 301, "failed": 0})
        self.assertEqual([entry["index"] for entry in results[:-1]], list(range(1, 302)))
        for entry, line in zip(results, lines):
            self.assertEqual(entry["receipt"]["sha256"], hashlib.sha256(line).hexdigest())
        self.assertEqual(len(relay.find("event=accepted")), 1)

    def test_pieces_behind_their_lengths_and_a_failure_among_them(self):
        relay = self.one(echo, 'max_message = "1K";')
        pieces = [b"one", b"", bytes(2000), b"four\n"]
        payload = b"".join(struct.pack(">I", len(piece)) + piece for piece in pieces)
        done = self.send(relay.port, payload, more=["--length-prefixed"])
        self.assertEqual(done.returncode, 8)
        self.assertEqual(done.stdout, struct.pack(">I", 3) + b"one" + bytes(4) + bytes(4) + struct.pack(">I", 5) +
                         b"four\n")
        text = done.stderr.decode()
        self.assertRegex(text, r"message 1: delivered, receipt [0-9a-f]{32}, 3 bytes of reply")
        self.assertRegex(text, r"message 3: failed: .*413 message-too-long")
        self.assertIn("3 delivered, 1 failed", text)

    def test_an_input_that_is_cut_is_no_message(self):
        sink = Sink()
        relay = self.one(sink)
        done = self.send(relay.port, struct.pack(">I", 3) + b"one" + struct.pack(">I", 30) + b"two",
                         more=["--length-prefixed"])
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(sink.messages, [b"one"])
        self.assertIn(b"ended within a message", done.stderr)

    def test_without_http_2_a_message_is_asked_for_in_vain_and_plain_sending_works(self):
        sink = Sink()
        relay = self.one(sink)
        config = self.file("tls.conf", f"""
relays = ( {{ address = "127.0.0.1:{relay.port}"; server_name = "localhost"; }} );
tls = {{ certificate = "{self.crt('alice')}"; key = "{self.key('alice')}"; relay_ca = "{self.pki}/ca.crt"; }};
protocol = "tls"; service = "app";
""")
        self.assertEqual(run([SENDER, "send", "-c", config], stdin=b"x").stdout, b"thanks\n")
        relay.wait_for("event=closed reason=done service=app")
        self.assertEqual(run([SENDER, "send", "-c", config, "--each-line"], stdin=b"x").returncode, 2)

    def test_a_great_message_takes_no_memory(self):
        if is_sanitized():
            self.skipTest("figures of memory mean nothing under a sanitizer")
        size = (1 << 30) if os.environ.get("PORTSEAL_LONG") else 200 << 20
        counted = []

        def serve(connection):
            total = 0
            while data := connection.recv(1 << 20):
                total += len(data)
            counted.append(total)
            connection.sendall(b"%d" % total)

        relay = self.one(serve, 'max_message = "2G";')
        child = subprocess.Popen(["/usr/bin/env", "bash", "-c", 'head -c "$0" /dev/zero | "$@"', str(size),
                                  *self.send_argv(relay.port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = child.communicate(timeout=120)
        self.assertEqual((child.returncode, out, counted), (0, str(size).encode(), [size]), err)
        peaks = [peak_of(pid) for pid in relay.role_pids("worker")]
        self.assertLess(max(peaks), 64 * 1024)


def peak_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read()).group(1))


class OtherSenders(Messages):
    def test_h2load_through_haproxy_as_its_tls(self):
        """h2load shows no certificate: HAProxy does for it."""
        sink = Sink()
        relay = self.one(sink)
        with open(self.crt("alice"), encoding="ascii") as crt, open(self.key("alice"), encoding="ascii") as key:
            pem = self.file("haproxy.pem", (crt.read() + key.read()).encode())
        port = free_port()
        path = self.file("haproxy.cfg", f"""
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen relay
  bind 127.0.0.1:{port}
  server relay 127.0.0.1:{relay.port} ssl crt {pem} ca-file {self.pki}/ca.crt verify required verifyhost localhost alpn h2
""".encode())
        self.keep(Process([tool("haproxy"), "-db", "-f", path]))
        wait_until(lambda: is_listening(port), "HAProxy listens")
        done = run([tool("h2load"), "-n", "200", "-c", "4", "-m", "10", "-d", self.file("payload", b"from h2load"),
                    f"http://127.0.0.1:{port}/messages/app"])
        self.assertIn(b"200 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout)
        self.assertEqual(sink.messages, [b"from h2load"] * 200)

    def test_nghttp(self):
        sink = Sink()
        relay = self.one(sink)
        data = self.file("payload", b"from nghttp")
        done = run([tool("nghttp"), f"--cert={self.crt('alice')}", f"--key={self.key('alice')}", "-d", data,
                    f"https://localhost:{relay.port}/messages/app"])
        self.assertEqual((done.returncode, done.stdout), (0, b"thanks\n"), done.stderr)
        self.assertEqual(sink.messages, [b"from nghttp"])

    def test_curl_on_one_connection_many_times(self):
        sink = Sink()
        relay = self.one(sink)
        url = f"https://localhost:{relay.port}/messages/app"
        argv = self.curl_argv(relay.port, more=["--data-binary", "x"])
        done = run([*argv, *[url] * 20])
        self.assertEqual(done.stdout, b"thanks\n" * 21)
        self.assertEqual(len(relay.find("event=accepted")), 1)


if __name__ == "__main__":
    main()
