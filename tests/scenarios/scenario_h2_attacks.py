#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attacks on HTTP/2 by a client with a good certificate: each loses its own connection, and the relay serves others."""
import os
import struct
import threading

import h2_frames as h2
from portseal_testing import Scenario, main, memory_of, wait_until

N = 50000 if os.environ.get("PORTSEAL_LONG") else 20000


class Attacks(Scenario):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.certs("sender", "mallory")

    def setUp(self):
        super().setUp()
        self.running = self.relay(self.app().target)
        self.bystander = self.client("alice")
        self.stream = self.bystander.connect("app")

    def client(self, identity):
        return h2.Client(self.tls(self.running.port, identity, alpn=["h2"]))

    def assert_others_are_served(self):
        self.bystander.write(self.stream, b"still here")
        self.assertEqual(self.bystander.read(self.stream, 10), b"still here")
        fresh = self.client("alice")
        again = fresh.connect("app")
        fresh.write(again, b"new", end=True)
        self.assertEqual(fresh.read(again, 100), b"new")
        self.assertEqual(self.running.find("role-died|Sanitizer"), [])

    def attack(self, chunks, code, reason):
        """Says all of it, as far as anybody listens."""
        mallory = self.client("mallory")
        mallory.until(lambda: any(kind == h2.SETTINGS for kind, *_ in mallory.frames))
        try:
            for chunk in chunks:
                mallory.sealed.sendall(chunk)
        except OSError:
            pass
        self.assertIn(mallory.until_closed(), (code, None))  # a reset may overtake the last word
        self.running.wait_for(f"event=closed reason={reason} protocol=h2 .*code={code}")
        self.assert_others_are_served()

    def chunks(self, make):
        for start in range(0, N, 500):
            yield b"".join(make(i) for i in range(start, start + 500))

    def open_frame(self, stream, service="app"):
        return h2.frame(h2.HEADERS, h2.END_HEADERS, stream, h2.block(h2.connect_fields(service)))

    def test_rapid_resets(self):
        cancel = struct.pack(">I", 8)
        self.attack(self.chunks(lambda i: self.open_frame(2 * i + 1) + h2.frame(h2.RST_STREAM, 0, 2 * i + 1, cancel)),
                    "ENHANCE_YOUR_CALM", "reset-flood")
        wait_until(lambda: len(self.running.find("event=stream-closed")) + len(self.running.find("event=stream-refused")) > 10,
                   "each is told of")

    def test_floods_of_small_frames(self):
        one = struct.pack(">I", 1)
        floods = {"ping-flood": h2.frame(h2.PING, body=b"8 bytes!"), "settings-flood": h2.frame(h2.SETTINGS),
                  "unknown-frame-flood": h2.frame(0x99, body=b"?"),
                  "priority-flood": h2.frame(h2.PRIORITY, stream=1, body=b"\0\0\0\0\1"),
                  "window-update-flood": h2.frame(h2.WINDOW_UPDATE, body=one) * 3}
        for reason, frame in floods.items():
            with self.subTest(reason=reason):
                self.attack(self.chunks(lambda i, frame=frame: frame * 2), "ENHANCE_YOUR_CALM", reason)

    def test_empty_data(self):
        self.attack([self.open_frame(1), *self.chunks(lambda i: h2.frame(h2.DATA, stream=1))], "ENHANCE_YOUR_CALM",
                    "empty-frame-flood")

    def test_a_header_that_never_ends(self):
        part = h2.block([("x", "y" * 100)])
        self.attack([h2.frame(h2.HEADERS, 0, 1, part), *self.chunks(lambda i: h2.frame(h2.CONTINUATION, 0, 1, part))],
                    "ENHANCE_YOUR_CALM", "continuation-flood")

    def test_a_header_bomb(self):
        bomb = b"\x40\x01x" + h2.integer(3000, 7, 0) + b"y" * 3000 + b"\xbe" * 10000
        self.attack([h2.frame(h2.HEADERS, h2.END_HEADERS, 1, bomb)], "ENHANCE_YOUR_CALM", "header-flood")

    def test_malformed_requests(self):
        bad = h2.block([(":method", "CONNECT"), (":path", "/"), (":authority", "app")])
        self.attack(self.chunks(lambda i: h2.frame(h2.HEADERS, h2.END_HEADERS, 2 * i + 1, bad)), "ENHANCE_YOUR_CALM",
                    "malformed-flood")

    def test_frames_that_cannot_be(self):
        for code, frame in (("FRAME_SIZE_ERROR", h2.frame(h2.PING, body=b"7 bytes")),
                            ("PROTOCOL_ERROR", h2.frame(h2.DATA, body=b"x")),
                            ("FRAME_SIZE_ERROR", h2.frame(h2.DATA, stream=1, body=b"x" * 65537)),
                            ("FLOW_CONTROL_ERROR", h2.frame(h2.WINDOW_UPDATE, body=struct.pack(">I", 2**31 - 1))),
                            ("PROTOCOL_ERROR", h2.frame(h2.WINDOW_UPDATE, body=struct.pack(">I", 0))),
                            ("COMPRESSION_ERROR", h2.frame(h2.HEADERS, h2.END_HEADERS, 1, b"\xff\xff\xff\xff\xff"))):
            with self.subTest(code=code):
                self.attack([frame], code, "client-http2")

    def test_names_tried_out_ask_the_gatekeepers_little(self):
        mallory = self.client("mallory")
        statuses = []
        for i in range(300):
            stream = mallory.connect(f"service-{i}")
            statuses.append(mallory.streams[stream].status)
        self.assertEqual(set(statuses), {404, 503})
        self.assertLess(statuses.count(404), 150)
        self.assertEqual(mallory.streams[mallory.connect("app")].status in (200, 503), True)
        self.assert_others_are_served()

    def test_stalled_streams_keep_no_more_than_their_windows(self):
        """Each is filled, and nobody at the application reads."""
        relay = self.running = self.relay(self.app(lambda connection: connection.recv(1) and self.release.wait(30)).target)
        mallory = self.client("mallory")
        before = {pid: memory_of(pid) for pid in relay.role_pids("worker")}
        for _ in range(50):
            stream = mallory.connect("app")
            mallory.write(stream, b"x" * 65536)
        mallory.send(h2.PING, body=b"are here")
        mallory.until(lambda: (h2.PING, h2.ACK, 0, b"are here") in mallory.frames)
        grown = max(memory_of(pid) - before[pid] for pid in before)
        print(f"50 stalled streams: the worker grew by {grown} KB")
        self.assertLess(grown, 50 * 64 * 2 + 2048)

    release = threading.Event()


if __name__ == "__main__":
    main()
