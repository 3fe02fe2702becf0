#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A new generation is put in force whole or not at all, nobody is cut meanwhile, and living sessions are judged again."""
import hashlib
import json
import os
import signal
import socket
import threading
import time

from portseal_testing import RELAY, Process, Scenario, descriptors_of, free_port, main, run, wait_until


class Reload(Scenario):
    def setUp(self):
        super().setUp()
        for name in ("bob", "carol"):
            if not os.path.exists(self.crt(name)):
                self.certs("sender", name)
        self.port = free_port()
        self.target = self.app().target
        self.path = os.path.join(self.dir, f"reload-{self.port}.conf")

    def config(self, allow="{ any = true; }", listen=None, tls="", more="", target=None):
        return self.relay_config({"app": (target or self.target, allow, "")},
                                 listen=listen or '{ address = "127.0.0.1:%d"; }' % self.port, tls=tls,
                                 extra=f'status = "status-{self.port}"; {more}')

    def write(self, text):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(self.path + ".new", self.path)

    def start(self, text):
        self.write(text)
        relay = self.keep(Process([RELAY, "-c", self.path]))
        relay.wait_for("event=started")
        relay.port = self.port
        relay.generation = 1
        return relay

    def reload(self, relay, text):
        self.write(text)
        relay.signal(signal.SIGHUP)
        relay.generation += 1
        relay.wait_for(f"event=reloaded generation={relay.generation}")

    def status(self, code=0):
        done = run([RELAY, "status", "-c", self.path])
        self.assertEqual((done.returncode, done.stderr), (code, b""))
        return json.loads(done.stdout)

    def talk(self, connection, word=b"word"):
        connection.sendall(word)
        self.assertEqual(connection.recv(100), word)

    def assert_cut(self, connection):
        connection.settimeout(10)
        with self.assertRaises(OSError):
            while connection.recv(100):
                pass
            raise AssertionError("a clean end")

    def test_new_rules_hold_for_new_connections(self):
        relay = self.start(self.config('{ cn = "alice"; }'))
        self.assertEqual(self.send(self.port, b"x", identity="bob").returncode, 6)
        self.reload(relay, self.config('{ cn = "bob"; }'))
        self.assertEqual(self.send(self.port, b"x", identity="bob").stdout, b"x")
        self.assertEqual(self.send(self.port, b"x", identity="alice").returncode, 6)
        told = self.status()
        self.assertEqual((told["generation"], told["last_reload"]["ok"], told["state"]), (2, True, "serving"))

    def test_a_living_session_whose_rule_is_gone_is_closed_and_its_neighbour_stays(self):
        relay = self.start(self.config('{ cn = "alice"; }, { cn = "bob"; }'))
        alice, bob = self.tls(self.port, "alice"), self.tls(self.port, "bob")
        self.talk(alice)
        self.talk(bob)
        self.reload(relay, self.config('{ cn = "bob"; }'))
        relay.wait_for(r"event=closed reason=not-allowed service=app in=4 out=4 .*alert=access_denied")
        self.assert_cut(alice)
        self.talk(bob, b"still here")

    def test_a_living_session_whose_certificate_is_revoked_is_closed(self):
        self.certs("sender", "dave")
        crl = f'crl = "{self.pki}/ca.crl";'
        relay = self.start(self.config(tls=crl))
        dave, alice = self.tls(self.port, "dave"), self.tls(self.port, "alice")
        self.talk(dave)
        self.talk(alice)
        self.certs("revoke", "dave")
        self.reload(relay, self.config(tls=crl))
        relay.wait_for(r"event=closed reason=revoked .*alert=certificate_revoked")
        self.assert_cut(dave)
        self.talk(alice, b"untouched")
        self.assertEqual(self.send(self.port, b"x", identity="dave").returncode, 6)

    def test_on_revoke_keep_keeps_living_sessions(self):
        relay = self.start(self.config('{ cn = "alice"; }', more='on_revoke = "keep";'))
        alice = self.tls(self.port, "alice")
        self.talk(alice)
        self.reload(relay, self.config('{ cn = "bob"; }', more='on_revoke = "keep";'))
        self.assertEqual(self.send(self.port, b"x", identity="alice").returncode, 6)
        self.talk(alice, b"kept")

    def test_a_service_that_is_gone_takes_its_sessions(self):
        relay = self.start(self.config())
        alice = self.tls(self.port, "alice")
        self.talk(alice)
        self.reload(relay, self.config().replace('name = "app"', 'name = "other"'))
        relay.wait_for("event=closed reason=unknown-service")
        self.assert_cut(alice)

    def test_an_anchor_that_is_gone_takes_its_sessions(self):
        relay = self.start(self.config())
        alice = self.tls(self.port, "alice")
        self.talk(alice)
        other = os.path.join(self.dir, f"other-{self.port}")
        self.certs("init", pki=other)
        self.reload(relay, self.config().replace(f"{self.pki}/ca.crt", f"{other}/ca.crt"))
        relay.wait_for("event=closed reason=unknown-ca")
        self.assert_cut(alice)

    def test_a_certificate_that_expires_mid_stream_ends_its_session_within_a_second(self):
        self.certs("sender", "brief", "--for", "3s", "--force")
        relay = self.start(self.config())
        brief, alice = self.tls(self.port, "brief"), self.tls(self.port, "alice")
        self.talk(brief)
        self.talk(alice)
        ends = relay.wait_for(r"^(\S+)Z .*event=closed reason=expired .*alert=certificate_expired").group(1)
        self.assert_cut(brief)
        self.talk(alice, b"stays")
        shown = run(["openssl", "x509", "-in", self.crt("brief"), "-noout", "-enddate"]).stdout.decode()
        expiry = time.mktime(time.strptime(shown.strip()[len("notAfter="):], "%b %d %H:%M:%S %Y GMT"))
        closed = time.mktime(time.strptime(ends.split(".")[0], "%Y-%m-%dT%H:%M:%S"))
        self.assertIn(closed - expiry, (0, 1, 2))

    def test_a_broken_generation_changes_nothing_and_status_says_why(self):
        relay = self.start(self.config())
        alice = self.tls(self.port, "alice")
        self.talk(alice)
        broken = {
            "unknown key": (self.config(more="lmits = {};"), r'unknown key, did you mean \\?"limits'),
            "wrong key": (self.config().replace(self.key("relay"), self.key("alice")), "does not belong to the certificate"),
            "broken CRL": (self.config(tls=f'crl = "{self.file("broken.crl", "no CRL")}";'), "broken.crl"),
            "missing CA": (self.config().replace(f"{self.pki}/ca.crt", f"{self.pki}/nope.crt"), "nope.crt"),
            "syntax": ("listen = (", "reload-"),
        }
        for what, (text, cause) in broken.items():
            with self.subTest(what):
                seen = len(relay.log())
                self.write(text)
                relay.signal(signal.SIGHUP)
                relay.wait_for("event=reload-failed .*generation 1 stays in force: .*" + cause, start=seen)
                self.write(self.config())
                told = self.status(code=1)
                self.assertEqual((told["generation"], told["last_reload"]["ok"]), (1, False))
                self.assertRegex(told["last_reload"]["cause"], cause)
                self.assertEqual(self.send(self.port, b"x").stdout, b"x")
        self.talk(alice, b"untouched")

    def test_listeners_come_and_go_and_the_others_stay_open(self):
        second = free_port()
        relay = self.start(self.config())
        both = '{ address = "127.0.0.1:%d"; }, { address = "127.0.0.1:%d"; }' % (self.port, second)
        self.reload(relay, self.config(listen=both))
        self.assertEqual(self.send(second, b"x").stdout, b"x")
        self.assertEqual(self.send(self.port, b"x").stdout, b"x")
        self.reload(relay, self.config())
        wait_until(lambda: self.send(second, b"x").returncode == 4, "the door is closed")
        self.assertEqual(self.send(self.port, b"x").stdout, b"x")

    def test_a_new_target_takes_new_connections_and_living_ones_stay(self):
        def other(connection):
            connection.sendall(b"other " + connection.recv(100))
            connection.shutdown(socket.SHUT_WR)

        relay = self.start(self.config())
        alice = self.tls(self.port, "alice")
        self.talk(alice)
        self.reload(relay, self.config(target=self.app(other).target))
        self.assertEqual(self.send(self.port, b"x").stdout, b"other x")
        self.talk(alice, b"old target")

    def test_files_that_change_reload_by_themselves(self):
        relay = self.start(self.config('{ cn = "alice"; }', more='reload = "auto";'))
        self.assertEqual(self.send(self.port, b"x", identity="bob").returncode, 6)
        self.write(self.config('{ cn = "bob"; }', more='reload = "auto";'))
        relay.wait_for("event=files-changed")
        relay.wait_for("event=reloaded generation=2")
        self.assertEqual(self.send(self.port, b"x", identity="bob").stdout, b"x")

    def test_a_new_certificate_is_shown_to_new_clients(self):
        self.certs("relay", "fresh", "--dns", "localhost", "--ip", "127.0.0.1", "--force")
        relay = self.start(self.config())
        self.reload(relay, self.config().replace(self.crt("relay"), self.crt("fresh")).replace(self.key("relay"),
                                                                                          self.key("fresh")))
        sealed = self.tls(self.port, "alice")
        self.assertIn((("commonName", "fresh"),), sealed.getpeercert()["subject"])

    def test_hup_during_a_drain_is_ignored(self):
        relay = self.start(self.config())
        alice = self.tls(self.port, "alice")
        self.talk(alice)
        relay.signal(signal.SIGTERM)
        relay.wait_for("event=draining")
        relay.signal(signal.SIGHUP)
        self.talk(alice, b"drains")
        alice.unwrap().close()
        self.assertEqual(relay.wait(), 0)
        self.assertEqual(relay.find("reload"), [])

    def test_many_reloads_under_load_cut_nobody_and_lose_no_byte(self):
        relay = self.start(self.config())
        tunnel = self.tunnel(self.port)
        over = threading.Event()
        faults = []
        counted = {"streams": 0, "connections": 0}

        def stream():
            try:
                local = socket.create_connection(("127.0.0.1", tunnel.port), timeout=30)
                sent, came = hashlib.sha256(), hashlib.sha256()
                while not over.is_set():
                    block = os.urandom(4096)
                    sent.update(block)
                    local.sendall(block)
                    left = len(block)
                    while left:
                        data = local.recv(left)
                        if not data:
                            raise OSError("cut")
                        came.update(data)
                        left -= len(data)
                local.close()
                if sent.digest() != came.digest():
                    raise OSError("changed on the way")
                counted["streams"] += 1
            except OSError as error:
                faults.append(("stream", error))

        def connect():
            while not over.is_set():
                try:
                    with socket.create_connection(("127.0.0.1", tunnel.port), timeout=30) as local:
                        local.sendall(b"hello")
                        if local.recv(100) != b"hello":
                            raise OSError("no answer")
                    counted["connections"] += 1
                except OSError as error:
                    faults.append(("connection", error))

        threads = [threading.Thread(target=stream) for _ in range(25)] + [threading.Thread(target=connect) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(20):
            # Rules, certificate and limits in turn.
            self.reload(relay, self.config('{ cn = "alice"; }, { cn = "n%d"; }' % number,
                                           more="limits = { connections = %d; };" % (5000 + number)))
            wait_until(lambda: faults or counted["connections"] >= 5 * (number + 1), "new connections under load")
        descriptors = [descriptors_of(pid) for pid in relay.role_pids("worker")]
        over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        self.assertEqual(counted["streams"], 25)
        self.assertGreaterEqual(counted["connections"], 100)
        self.assertEqual(relay.find("event=refused"), [])
        wait_until(lambda: len(relay.children()) == 4, "old gatekeepers are gone")
        for pid, most in zip(relay.role_pids("worker"), descriptors):
            wait_until(lambda pid=pid, most=most: descriptors_of(pid) < most, "descriptors are given back")


if __name__ == "__main__":
    main()
