#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A message crosses: send, tunnel and relay together, half-close, order of the log."""
import hashlib
import os
import signal
import socket

from portseal_testing import Scenario, main, read_all, run, SENDER, wait_until


class Message(Scenario):
    def test_a_message_is_delivered_and_the_reply_printed(self):
        app = self.app()
        relay = self.relay(app.target)
        done = self.send(relay.port, b"hello, application")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"hello, application", b""))
        closed = relay.wait_for(r"conn=([0-9a-f]{8}) event=closed reason=done .*in=18 out=18")
        self.assertEqual(len(relay.find(f"conn={closed.group(1)} event=accepted .*client=\"alice\" service=app "
                                        "cipher=TLS_")), 1)

    def test_sizes_around_a_record_arrive_whole(self):
        app = self.app()
        relay = self.relay(app.target)
        for size in (0, 1, 16383, 16384, 16385, 100000):
            payload = os.urandom(size)
            done = self.send(relay.port, payload)
            self.assertEqual((size, done.returncode, done.stderr), (size, 0, b""))
            self.assertEqual(hashlib.sha256(done.stdout).digest(), hashlib.sha256(payload).digest())

    def test_an_answer_after_the_end_of_the_question_arrives(self):
        def count(connection):
            connection.sendall(b"%d bytes" % len(read_all(connection)))

        relay = self.relay(self.app(count).target)
        done = self.send(relay.port, b"x" * 70000)
        self.assertEqual((done.returncode, done.stdout), (0, b"70000 bytes"))

    def test_an_application_that_ends_first_still_reads_the_rest(self):
        rest = []

        def speak_first(connection):
            connection.sendall(b"goodbye")
            connection.shutdown(socket.SHUT_WR)
            rest.append(read_all(connection))

        relay = self.relay(self.app(speak_first).target)
        tunnel = self.tunnel(relay.port)
        local = self.connect(tunnel.port)
        self.assertEqual(read_all(local), b"goodbye")
        local.sendall(b"still here")
        local.shutdown(socket.SHUT_WR)
        relay.wait_for(r"event=closed reason=done .*in=10 out=7")
        wait_until(lambda: rest == [b"still here"], "the application reads the rest")

    def test_a_tunnel_carries_both_ways(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        local = self.connect(tunnel.port)
        for word in (b"one", b"two", b"three"):
            local.sendall(word)
            self.assertEqual(local.recv(100), word)
        local.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(local), b"")
        relay.wait_for(r"event=closed reason=done .*in=11 out=11")
        tunnel.wait_for(r"event=closed reason=done .*in=11 out=11")

    def test_unix_sockets_serve_on_both_ends(self):
        app = self.app(path=os.path.join(self.dir, "app.sock"))
        relay = self.relay(app.target)
        local_path = os.path.join(self.dir, "local.sock")
        self.tunnel(relay.port, listen=f"unix:{local_path}")
        with socket.socket(socket.AF_UNIX) as local:
            local.connect(local_path)
            local.sendall(b"by unix")
            local.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(local), b"by unix")

    def test_ipv6_serves_on_both_ends(self):
        app = self.app(family=socket.AF_INET6)
        relay = self.relay(config=self.relay_config({"app": (app.target, "{ any = true; }", "")},
                                                    listen='{ address = "[::1]:0"; }'))
        argv = [SENDER, "send", "--relay", f"[::1]:{relay.port}", "--cert", self.crt("alice"), "--key",
                self.key("alice"), "--ca", f"{self.pki}/ca.crt", "--service", "app"]
        done = run(argv, stdin=b"six")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"six", b""))

    def test_term_drains_and_exits_0(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        local = self.connect(tunnel.port)
        local.sendall(b"before")
        self.assertEqual(local.recv(100), b"before")
        relay.signal(signal.SIGTERM)
        relay.wait_for("event=draining")
        local.sendall(b"during")
        self.assertEqual(local.recv(100), b"during")
        local.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(local), b"")
        self.assertEqual(relay.wait(), 0)
        tunnel.signal(signal.SIGTERM)
        self.assertEqual(tunnel.wait(), 0)

    def test_a_drain_that_takes_too_long_is_cut_and_exits_1(self):
        relay = self.relay(self.app().target, extra='timeouts = { drain = "200ms"; };')
        tunnel = self.tunnel(relay.port)
        local = self.connect(tunnel.port)
        local.sendall(b"stay")
        self.assertEqual(local.recv(100), b"stay")
        relay.signal(signal.SIGTERM)
        self.assertEqual(relay.wait(), 1)
        relay.wait_for("event=closed reason=drain")
        with self.assertRaises(ConnectionResetError):
            local.recv(100)

    def test_a_second_term_ends_at_once(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        local = self.connect(tunnel.port)
        local.sendall(b"stay")
        self.assertEqual(local.recv(100), b"stay")
        relay.signal(signal.SIGTERM)
        relay.wait_for("event=draining")
        relay.signal(signal.SIGTERM)
        self.assertEqual(relay.wait(), 1)

    def test_a_worker_that_is_killed_takes_only_its_own(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        locals_ = [self.connect(tunnel.port) for _ in range(8)]
        for local in locals_:
            local.sendall(b"up")
            self.assertEqual(local.recv(100), b"up")
        os.kill(relay.role_pids("worker")[0], signal.SIGKILL)
        died = relay.wait_for(r"event=role-died role=worker index=\d signal=9 connections=(\d+)")
        relay.wait_for("event=role-restarted")
        lost = 0
        for local in locals_:
            try:
                local.sendall(b"again")
                alive = local.recv(100) == b"again"
            except ConnectionError:
                alive = False
            lost += not alive
        self.assertEqual(lost, int(died.group(1)))
        self.assertEqual(lost, 4)
        self.assertEqual(self.send(relay.port, b"new").stdout, b"new")

    def test_a_gatekeeper_that_is_killed_disturbs_nobody(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        local = self.connect(tunnel.port)
        local.sendall(b"up")
        self.assertEqual(local.recv(100), b"up")
        for pid in relay.role_pids("gatekeeper"):
            os.kill(pid, signal.SIGKILL)
        relay.wait_for("event=role-restarted", count=2)
        local.sendall(b"still")
        self.assertEqual(local.recv(100), b"still")
        self.assertEqual(self.send(relay.port, b"new").stdout, b"new")

    def test_logs_in_json_are_json(self):
        import json
        relay = self.relay(config=self.relay_config({"app": (self.app().target, "{ any = true; }", "")},
                                                    listen='{ address = "127.0.0.1:%d"; }' % self.free(),
                                                    extra='log = { format = "json"; };'))
        self.assertEqual(self.send(self.last_free, b"x").returncode, 0)
        relay.wait_for('"event":"closed"')
        for line in relay.log():
            self.assertIn("event", json.loads(line))

    def free(self):
        from portseal_testing import free_port
        self.last_free = free_port()
        return self.last_free


if __name__ == "__main__":
    main()
