#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A new generation is put in force whole or not at all, nobody is cut meanwhile, and living sessions are judged again."""
import calendar
import os
import resource
import shutil
import signal
import socket
import ssl
import threading
import time

from portseal_testing import Load, free_port, main, run, wait_until
from reloading import Reloading


class Reload(Reloading):
    def test_new_rules_hold_for_new_connections(self):
        relay = self.start(self.config('{ cn = "alice"; }'))
        self.assertEqual(self.send(self.port, b"x", identity="bob").returncode, 6)
        self.reload(relay, self.config('{ cn = "bob"; }'))
        self.assertEqual(self.send(self.port, b"x", identity="bob").stdout, b"x")
        self.assertEqual(self.send(self.port, b"x", identity="alice").returncode, 6)
        told = self.status()
        self.assertEqual((told["generation"], told["last_reload"]["ok"], told["state"]), (2, True, "serving"))

    def test_on_revoke_keep_keeps_living_sessions(self):
        relay = self.start(self.config('{ cn = "alice"; }', more='on_revoke = "keep";'))
        alice = self.tls(self.port, "alice")
        self.talk(alice)
        self.reload(relay, self.config('{ cn = "bob"; }', more='on_revoke = "keep";'))
        self.assertEqual(self.send(self.port, b"x", identity="alice").returncode, 6)
        self.talk(alice, b"kept")

    def test_a_broken_generation_changes_nothing_and_status_says_why(self):
        relay = self.start(self.config())
        alice = self.tls(self.port, "alice")
        self.talk(alice)
        broken = {
            "unknown key": (self.config(more="lmits = {};"), r'unknown key, did you mean \\?"limits'),
            "wrong key": (self.config().replace(self.key("relay"), self.key("alice")), "does not belong to the certificate"),
            "broken CRL": (self.config(tls=f'crl = "{self.file("broken.crl", "no CRL")}";'), "broken.crl"),
            "missing CA": (self.config().replace(f"{self.pki}/ca.crt", f"{self.pki}/nope.crt"), "nope.crt"),
            "syntax": ("listen = (", "is never closed"),
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


def stamp(line):
    """The moment of a line of the log, in seconds since 1970."""
    whole, _, fraction = line.split(" ")[0].rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction}")


class OutWithinASecond(Reloading):
    """Whose right is gone is cut in the middle of its stream; neighbours of the same worker stream on, byte for byte."""

    def start(self, text, preexec=None):
        return super().start(text.replace("workers = 2", "workers = 1"), preexec)

    def stream(self, identity, service="app"):
        return Load(self.tls(self.port, identity, [f"portseal/{service}"]), size=4096)

    def lose(self, relay, victim, neighbours, reason, alert, lose):
        """`lose` takes the right away and returns when it has; the moment of that is compared with the log's."""
        Load.wait_for_rounds([victim, *neighbours], 3)
        moment = lose()
        line = relay.wait_for(f"^.*event=closed reason={reason} .*alert={alert}.*").group(0)
        victim.join(10)
        self.assertIn(victim.outcome, ("SSLError", "ConnectionResetError", "BrokenPipeError", "SSLEOFError"))
        self.assertLess(stamp(line) - moment, 1.0, line)
        Load.wait_for_rounds(neighbours, 3)
        self.assertEqual(Load.finish(neighbours), {"done": len(neighbours)})
        relay.wait_for("event=closed reason=done", count=len(neighbours))
        self.assertEqual(len(relay.find("event=closed")), len(neighbours) + 1)
        self.assertEqual(relay.find("event=refused"), [])

    def by_reload(self, relay, text):
        def lose():
            self.reload(relay, text.replace("workers = 2", "workers = 1"))
            return stamp(relay.find("event=reloaded")[-1])

        return lose

    def test_revoked(self):
        self.certs("sender", "dave", "--force")
        crl = f'crl = "{self.pki}/ca.crl";'
        relay = self.start(self.config(tls=crl))
        dave, others = self.stream("dave"), [self.stream("alice"), self.stream("bob")]

        def lose():
            self.certs("revoke", "dave")
            return self.by_reload(relay, self.config(tls=crl))()

        self.lose(relay, dave, others, "revoked", "certificate_revoked", lose)

    def test_out_of_allow(self):
        relay = self.start(self.config('{ cn = "alice"; }, { cn = "bob"; }, { cn = "carol"; }'))
        alice, others = self.stream("alice"), [self.stream("bob"), self.stream("carol")]
        self.lose(relay, alice, others, "not-allowed", "access_denied",
                  self.by_reload(relay, self.config('{ cn = "bob"; }, { cn = "carol"; }')))

    def test_out_of_allow_in_a_worker_that_is_full(self):
        """Its judgement waits behind connections that the worker has no descriptors for."""
        kept, room = 64 + 256, 3
        few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (kept + 2 * room, kept + 2 * room))
        relay = self.start(self.config('{ cn = "alice"; }, { cn = "bob"; }, { cn = "carol"; }'), few)
        streams = {name: self.stream(name) for name in ("alice", "bob", "carol")}
        Load.wait_for_rounds(list(streams.values()), 1)
        waiting = [self.tls(self.port, "bob") for _ in range(2)]
        self.reload(relay, self.config('{ cn = "bob"; }, { cn = "carol"; }').replace("workers = 2", "workers = 1"))
        moment = stamp(relay.find("event=reloaded")[-1])
        line = relay.wait_for("^.*event=closed reason=not-allowed .*alert=access_denied.*").group(0)
        self.assertLess(stamp(line) - moment, 1.0, line)
        for sealed in waiting:  # turned away, or taken into the place that became free
            try:
                sealed.sendall(b"x")
                sealed.recv(1)
            except OSError as error:
                self.assertIn("INTERNAL_ERROR", str(error))
            sealed.close()
        others = [streams["bob"], streams["carol"]]
        Load.wait_for_rounds(others, 3)
        self.assertEqual(Load.finish(others), {"done": 2})

    def test_out_of_allow_though_it_does_not_read(self):
        """No alert can be written to it, for it lets its window fill: it is out all the same."""
        stuck = threading.Event()

        def pour(connection):
            connection.settimeout(0.3)
            try:
                while True:
                    connection.sendall(b"x" * 65536)
            except TimeoutError:
                stuck.set()
                connection.settimeout(10)
                connection.recv(1)

        relay = self.start(self.config('{ cn = "alice"; }, { cn = "bob"; }', target=self.app(pour).target))
        self.tls(self.port, "alice")
        self.assertTrue(stuck.wait(20))
        self.reload(relay, self.config('{ cn = "bob"; }').replace("workers = 2", "workers = 1"))
        moment = stamp(relay.find("event=reloaded")[-1])
        line = relay.wait_for("^.*event=closed reason=not-allowed .*").group(0)
        self.assertLess(stamp(line) - moment, 1.0, line)

    def test_a_handshake_that_spans_the_reload_wins_nothing(self):
        """The gatekeeper that began it judges by the rules of its generation, the worker asks those in force."""
        relay = self.start(self.config('{ cn = "alice"; }, { cn = "bob"; }'))
        wire_in, wire_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        alice = self.tls_context("alice", ["portseal/app"]).wrap_bio(wire_in, wire_out, server_hostname="localhost")
        plain = self.connect(self.port)
        while True:
            try:
                alice.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(wire_out.read())
                wire_in.write(plain.recv(65536))
        last_flight = wire_out.read()
        self.reload(relay, self.config('{ cn = "bob"; }').replace("workers = 2", "workers = 1"))
        plain.sendall(last_flight)
        accepted = relay.wait_for('^.*event=accepted .*client="alice".*').group(0)
        line = relay.wait_for("^.*event=closed reason=not-allowed .*alert=access_denied.*").group(0)
        self.assertLess(stamp(line) - stamp(accepted), 1.0, line)

    def test_its_service_gone(self):
        allow = "{ any = true; }"
        one = {"app": (self.target, allow, "")}
        listen = '{ address = "127.0.0.1:%d"; }' % self.port
        relay = self.start(self.relay_config({**one, "gone": (self.target, allow, "")}, listen=listen))
        there, others = self.stream("alice", "gone"), [self.stream("alice"), self.stream("bob")]
        self.lose(relay, there, others, "unknown-service", "unrecognized_name",
                  self.by_reload(relay, self.relay_config(one, listen=listen)))

    def test_its_authority_gone(self):
        other = os.path.join(self.dir, f"other-{self.port}")
        self.certs("init", "--name", "Other CA", pki=other)
        self.certs("sender", "mallory", pki=other)
        for kind in ("crt", "key"):
            shutil.copy(f"{other}/mallory.{kind}", f"{self.pki}/mallory.{kind}")
        with open(f"{self.pki}/ca.crt", encoding="ascii") as ours, open(f"{other}/ca.crt", encoding="ascii") as theirs:
            both = self.file(f"both-{self.port}.crt", theirs.read() + ours.read())
        relay = self.start(self.config().replace(f"{self.pki}/ca.crt", both))
        mallory, others = self.stream("mallory"), [self.stream("alice"), self.stream("bob")]
        self.lose(relay, mallory, others, "unknown-ca", "unknown_ca", self.by_reload(relay, self.config()))

    def test_its_certificate_ended(self):
        self.certs("sender", "brief", "--for", "3s", "--force")
        shown = run(["openssl", "x509", "-in", self.crt("brief"), "-noout", "-enddate"]).stdout.decode().strip()
        end = calendar.timegm(time.strptime(shown[len("notAfter="):], "%b %d %H:%M:%S %Y GMT"))
        relay = self.start(self.config())
        brief, others = self.stream("brief"), [self.stream("alice"), self.stream("bob")]
        # It is good for the whole of its last second (RFC 5280, section 4.1.2.5).
        self.lose(relay, brief, others, "expired", "certificate_expired", lambda: end + 1)
        self.assertGreaterEqual(stamp(relay.find("reason=expired")[0]), end + 1)


if __name__ == "__main__":
    main()
