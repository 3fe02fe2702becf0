#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every reason of a refusal, told alike by five witnesses: the relay's log line, the TLS alert (read by OpenSSL), send,
explain and doctor. What one of them cannot see is said in the table, and why."""
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import tempfile
import time
from dataclasses import dataclass, field

from outsiders import client_hello, issue
from portseal_testing import PATIENCE, RELAY, SENDER, Scenario, main, run, tool, wait_until

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign"
ANY = "{ any = true; }"
ALERTS = {40: "handshake_failure", 42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked",
          45: "certificate_expired", 46: "certificate_unknown", 48: "unknown_ca", 49: "access_denied",
          70: "protocol_version", 80: "internal_error", 112: "unrecognized_name", 116: "certificate_required",
          120: "no_application_protocol"}
REFUSED, UNDELIVERED, NO_RELAY, WRONG_RELAY, OWN_SETUP = 6, 7, 4, 5, 3


class Unseen(str):
    """Why a witness cannot see this reason."""


@dataclass
class Reason:
    log: str            # a part of the line beside the reason
    alert: object       # its number
    send: object        # (exit code, words)
    explain: object     # words of its detail
    doctor: object      # (step, exit code, words)


@dataclass
class Scene:
    """A relay that refuses, and whom."""
    relay: object
    identity: str = "alice"
    service: str = "app"
    ca: str = None                   # the sender's
    sender_port: int = None          # of somebody in between
    openssl: tuple = ()
    provoke: object = None           # where no TLS client can: opens the connection to be refused
    crowd: object = None             # to be called while a client waits
    more: tuple = field(default=())  # of send and doctor


CERTIFICATES_ONLY = Unseen("explain judges certificates, not connections")
ALWAYS_TLS = Unseen("our sender always speaks TLS, with its ClientHello at once")

REASONS = {
    "not-tls": Reason("its first bytes are not TLS", Unseen("whoever speaks no TLS reads no alert"), ALWAYS_TLS,
                      CERTIFICATES_ONLY, ALWAYS_TLS),
    "closed-before-hello": Reason("it sent nothing", Unseen("nobody is there to read it"), ALWAYS_TLS,
                                  CERTIFICATES_ONLY, ALWAYS_TLS),
    "handshake-timeout": Reason("the handshake did not end", Unseen("no alert means that; the peer does not listen"),
                                (NO_RELAY, "the TLS handshake did not end in time"), CERTIFICATES_ONLY,
                                ("tls", NO_RELAY, "connected, but no answer within")),
    "tls-version": Reason("", 70, (NO_RELAY, "does not speak TLS 1.3"), CERTIFICATES_ONLY,
                          ("tls", NO_RELAY, "does not speak TLS 1.3")),
    "tls-failed": Reason("", 40, (REFUSED, "the relay refused the handshake"), CERTIFICATES_ONLY,
                         ("tls", REFUSED, "the relay refused the handshake")),
    "peer-alert": Reason("it does not trust the authority that signed our certificate", Unseen("the client sends it and reads none"),
                         (WRONG_RELAY, "its certificate is refused: no trusted authority signed"),
                         Unseen("explain judges clients' certificates, not the relay's"),
                         ("relay", WRONG_RELAY, "no trusted authority signed")),
    "no-certificate": Reason("it showed no certificate", 116,
                             Unseen("our sender does not dial without one, which it says itself"),
                             Unseen("explain asks for one, which it says itself"),
                             Unseen("our doctor does not dial without one, which it says itself")),
    "unknown-ca": Reason('issuer="CN=Another CA"', 48, (REFUSED, "does not trust the authority"),
                         "to a trusted authority", ("admission", REFUSED, "does not trust the authority")),
    "bad-signature": Reason('issuer="CN=Scenario CA"', 42, (REFUSED, "wrongly signed"), "is not signed by CN=Scenario CA",
                            ("admission", REFUSED, "wrongly signed")),
    "bad-certificate": Reason("is an authority", 42, (REFUSED, "malformed"), "is an authority",
                              ("certificate", REFUSED, "it is an authority")),
    "expired": Reason("expired on 2021-01-01", 45, (REFUSED, "has expired"), "expired on 2021-01-01",
                      ("certificate", REFUSED, "it expired on 2021-01-01")),
    "not-yet-valid": Reason("is not valid before", 45, (REFUSED, "is not valid yet"), "is not valid before",
                            ("certificate", REFUSED, "it is not valid before")),
    "revoked": Reason("was revoked by CN=Scenario CA", 44, (REFUSED, "was revoked"), "was revoked by CN=Scenario CA",
                      ("admission", REFUSED, "was revoked")),
    "crl-expired": Reason("was to be renewed by 2020-02-01", 46, (REFUSED, "a revocation list that is missing or out of date"),
                          "was to be renewed by 2020-02-01",
                          ("admission", REFUSED, "a revocation list that is missing or out of date")),
    "crl-missing": Reason("no revocation list of CN=Scenario CA", 46,
                          (REFUSED, "a revocation list that is missing or out of date"),
                          "no revocation list of CN=Scenario CA",
                          ("admission", REFUSED, "a revocation list that is missing or out of date")),
    "wrong-purpose": Reason("was not issued for clientAuth", 43, (REFUSED, "made for clients (clientAuth)"),
                            "was not issued for clientAuth", ("certificate", REFUSED, "not issued for clients (clientAuth)")),
    "weak-key": Reason("1024 bits", 43, (OWN_SETUP, "1024 bits"), "1024 bits", ("certificate", OWN_SETUP, "1024 bits")),
    "name-constraints": Reason("CN=Limited CA has name constraints", 42, (REFUSED, "under name constraints"),
                               "CN=Limited CA has name constraints", ("admission", REFUSED, "under name constraints")),
    "not-allowed": Reason("the only rule asks for another cn", 49, (REFUSED, 'to use the service "app"'),
                          "the only rule asks for another cn", ("service", REFUSED, 'to use the service "app"')),
    "unknown-service": Reason(r"it asked for \"portseal/nope\"", 112, (REFUSED, 'has no service "nope"'),
                              'has no service "nope"', ("service", REFUSED, 'has no service "nope"')),
    "unknown-protocol": Reason("it offers HTTP/1.1 only", 120,
                               Unseen("our sender offers h2 or a service's name, never HTTP/1.1"), CERTIFICATES_ONLY,
                               Unseen("our doctor offers h2 or a service's name, never HTTP/1.1")),
    "too-many-handshakes": Reason("limits.waiting is reached", 80, (UNDELIVERED, "too many handshakes are under way"),
                                  CERTIFICATES_ONLY, ("tls", UNDELIVERED, "too many handshakes are under way")),
    "too-many-connections": Reason("limits.connections is", 80, (UNDELIVERED, "a limit of the relay is reached"),
                                   CERTIFICATES_ONLY, ("application", UNDELIVERED, "a limit of the relay is reached")),
    "audit-failed": Reason("audit.log: no such file or directory", 80, (UNDELIVERED, "a limit of the relay is reached"),
                           Unseen("explain judges certificates and writes no trail"),
                           ("application", UNDELIVERED, "a limit of the relay is reached")),
}
# A reason of the contract that nothing can bring about yet. The test below notices when that changes.
NOT_YET = {}
# Words of the table that are no refusal by the relay.
ELSEWHERE = {"none": "not refused", "rate-limited": "of a message: scenario_messages.py", "wrong-name": "the sender's, about the relay: scenario_doctor.py",
             "internal": "a fault of our own"}


class Between:
    """Somebody on the way: changes the first bytes of a client, or lets nothing come back."""

    def __init__(self, port, change=lambda data: data, mute=False):
        self.port_behind, self.change, self.mute = port, change, mute
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.port_behind))
            self.open += [near, far]
            threading.Thread(target=self._carry, args=(near, far, self.change), daemon=True).start()
            if not self.mute:
                threading.Thread(target=self._carry, args=(far, near, lambda data: data), daemon=True).start()

    def _carry(self, source, sink, change):
        try:
            while data := source.recv(65536):
                sink.sendall(change(data))
                change = bytes
            if not self.mute:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        for thing in (self.listener, *self.open):
            thing.close()


def with_an_unknown_version(hello):
    return hello[:9] + b"\x04" + hello[10:]


def with_no_known_suite(hello):
    at = 43 + 1 + hello[43]  # behind the session's id
    end = at + 2 + int.from_bytes(hello[at:at + 2], "big")
    return hello[:at + 2] + b"\x0a" * (end - at - 2) + hello[end:]


class Reasons(Scenario):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for directory, name in (("stranger", "Another CA"), ("namesake", "Scenario CA")):
            pki = os.path.join(cls.dir, directory)
            cls.certs("init", "--name", name, pki=pki)
            cls.certs("sender", "alice", pki=pki)
            for kind in ("crt", "key"):
                shutil.copy(f"{pki}/alice.{kind}", f"{cls.pki}/{directory}.{kind}")
        cls.stranger_pki = os.path.join(cls.dir, "stranger")

    def open_relay(self, allow=ANY, **kwargs):
        return self.relay(config=self.relay_config({"app": (self.app().target, allow, "")}, **kwargs))

    # For each reason, a relay that has it.

    def not_tls(self):
        relay = self.open_relay()
        return Scene(relay, provoke=lambda: self.connect(relay.port).sendall(b"SSH-2.0-OpenSSH_9.2\r\n"))

    def closed_before_hello(self):
        relay = self.open_relay(extra='log = { level = "debug"; };')
        return Scene(relay, provoke=lambda: self.connect(relay.port).close())

    def handshake_timeout(self):
        relay = self.open_relay(extra='timeouts = { handshake = "100ms"; };')
        return Scene(relay, sender_port=self.keep(Between(relay.port, mute=True)).port, more=("--timeout", "300ms"),
                     provoke=lambda: self.connect(relay.port).sendall(client_hello()))

    def tls_version(self):
        relay = self.open_relay()
        return Scene(relay, sender_port=self.keep(Between(relay.port, with_an_unknown_version)).port,
                     openssl=("-tls1_2",))

    def tls_failed(self):
        relay = self.open_relay()
        return Scene(relay, sender_port=self.keep(Between(relay.port, with_no_known_suite)).port,
                     openssl=("-ciphersuites", "TLS_AES_128_CCM_SHA256"))

    def peer_alert(self):
        ca = f"{self.stranger_pki}/ca.crt"
        relay = self.open_relay()
        argv = [tool("openssl"), "s_client", "-connect", f"127.0.0.1:{relay.port}", "-CAfile", ca, "-verify_return_error"]
        return Scene(relay, ca=ca, provoke=lambda: run(argv))

    def no_certificate(self):
        return Scene(self.open_relay(), identity=None)

    def unknown_ca(self):
        return Scene(self.open_relay(), "stranger")

    def bad_signature(self):
        return Scene(self.open_relay(), "namesake")

    def bad_certificate(self):
        return Scene(self.open_relay(), "ca")

    def expired(self):
        self.certs("sender", "old", "--not-before", "20200101000000Z", "--not-after", "20210101000000Z")
        return Scene(self.open_relay(), "old")

    def not_yet_valid(self):
        begin, end = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400)) for days in (1, 2))
        self.certs("sender", "early", "--not-before", begin, "--not-after", end)
        return Scene(self.open_relay(), "early")

    def revoked(self):
        self.certs("sender", "bob")
        self.certs("revoke", "bob")
        return Scene(self.open_relay(tls=f'crl = "{self.pki}/ca.crl";'), "bob")

    def crl_expired(self):
        self.certs("crl", "--not-before", "20200101000000Z", "--not-after", "20200201000000Z")
        stale = shutil.copy(f"{self.pki}/ca.crl", f"{self.dir}/stale.crl")
        self.certs("crl")
        return Scene(self.open_relay(tls=f'crl = "{stale}";'))

    def crl_missing(self):
        return Scene(self.open_relay(tls=f'crl = "{self.stranger_pki}/ca.crl";'))

    def unknown_protocol(self):
        return Scene(self.open_relay(), openssl=("-alpn", "http/1.1"))

    def wrong_purpose(self):
        return Scene(self.open_relay(), "relay")

    def weak_key(self):
        issue(self.pki, "weak", key="rsa:1024")
        return Scene(self.open_relay(), "weak")

    def name_constraints(self):
        issue(self.pki, "root", "/CN=Root CA", issuer=None, extensions=AUTHORITY)
        issue(self.pki, "limited", "/CN=Limited CA", issuer="root",
              extensions=f"{AUTHORITY}\nnameConstraints=permitted;DNS:example.com")
        issue(self.pki, "inside", issuer="limited",
              extensions="extendedKeyUsage=clientAuth\nsubjectAltName=DNS:x.example.com")
        config = self.relay_config({"app": (self.app().target, ANY, "")})
        return Scene(self.relay(config=config.replace("/ca.crt", "/root.crt")), "inside")

    def not_allowed(self):
        return Scene(self.open_relay('{ cn = "somebody"; }'))

    def unknown_service(self):
        return Scene(self.open_relay(), service="nope", openssl=("-alpn", "portseal/nope"))

    def audit_failed(self):
        directory = tempfile.mkdtemp(dir=self.dir)
        relay = self.open_relay(extra=f'audit = {{ file = "{directory}/audit.log"; }};')
        shutil.rmtree(directory)
        return Scene(relay)

    def too_many_connections(self):
        relay = self.open_relay(extra="limits = { connections = 1; };")
        sealed = self.tls(relay.port)
        sealed.sendall(b"in")
        self.assertEqual(sealed.recv(10), b"in")
        return Scene(relay)

    def too_many_handshakes(self):
        """One place, taken; three in line and then the witness, whom newcomers crowd out."""
        relay = self.relay(config=self.relay_config(
            {"app": (self.app().target, ANY, "")},
            extra='limits = { handshakes = 1; waiting = 4; }; log = { level = "debug"; };').replace(
                "gatekeepers = 2", "gatekeepers = 1"))

        def crowd(start, came):
            others = []

            def come(said=b""):
                others.append(self.connect(relay.port))
                others[-1].sendall(said)

            for number in range(1 + 3):
                come(client_hello())
                relay.wait_for("event=state from=hello to=line", count=number + 1, start=start)
            began = came()
            relay.wait_for("event=state from=hello to=line", count=1 + 3 + 1, start=start)
            # Whoever gives its place up meanwhile leaves the line short: more newcomers then.
            wait_until(lambda: relay.find("is the last of the longest line", start) or come(), "it is crowded out")
            for one in others:
                one.close()
            relay.wait_for("event=refused", count=len(others) + 1, start=start)
            return began

        return Scene(relay, crowd=crowd)

    # What each witness says.

    def run_before(self, scene, argv):
        """A witness, from its start to its end, in the crowd that the scene may have."""
        def begin():
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        child = begin() if scene.crowd is None else scene.crowd(len(scene.relay.log()), begin)
        out, err = child.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(argv, child.returncode, out, err)

    def sender_argv(self, command, scene, more=()):
        argv = self.send_argv(scene.sender_port or scene.relay.port, scene.identity, scene.service, scene.ca,
                              more=(*scene.more, *more))
        if command != "send":
            at = argv.index("--protocol")
            del argv[at:at + 2]
        return [SENDER, command, *argv[2:]]

    def witness_log(self, scene, reason, told, start):
        """One line of each connection, with the alert where one went out."""
        match = scene.relay.wait_for(f"event=refused reason={reason} .*", start=start)
        self.assertIn(told.log, match.group(0))
        if not isinstance(told.alert, Unseen):
            self.assertIn(f" alert={ALERTS[told.alert]} ", match.group(0))

    def witness_alert(self, scene, told):
        argv = [tool("openssl"), "s_client", "-connect", f"127.0.0.1:{scene.relay.port}", "-cipher", "DEFAULT@SECLEVEL=0",
                "-ign_eof", *scene.openssl]
        if scene.identity is not None:
            argv += ["-cert", self.crt(scene.identity), "-key", self.key(scene.identity), "-cert_chain",
                     self.crt(scene.identity)]
        done = self.run_before(scene, argv)
        self.assertEqual([int(number) for number in re.findall(rb"SSL alert number (\d+)", done.stderr)], [told.alert])

    def witness_send(self, scene, told):
        code, words = told.send
        done = self.run_before(scene, self.sender_argv("send", scene))
        self.assertEqual((done.returncode, done.stdout), (code, b""), done.stderr)
        self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
        self.assertIn(words, done.stderr.decode())
        if code == REFUSED:
            self.assertIn(f"(alert {ALERTS[told.alert]})", done.stderr.decode())

    def witness_explain(self, scene, reason, told):
        argv = [RELAY, "explain", "-c", scene.relay.argv[-1], "--cert", self.crt(scene.identity), "--service", scene.service]
        done = run(argv)
        self.assertEqual((done.returncode, done.stderr), (REFUSED, b""), done.stdout)
        verdict = re.search(r"^verdict +refused: (.*)$", done.stdout.decode(), re.M).group(1)
        self.assertTrue(verdict.startswith(f"{reason}: "), verdict)
        self.assertIn(told.explain, verdict)
        self.assertIn(f"the alert {ALERTS[told.alert]})", verdict)
        done = run([*argv, "--json"])
        verdict = json.loads(done.stdout)
        self.assertEqual((done.returncode, verdict["allowed"], verdict["reason"], verdict["alert"]),
                         (REFUSED, False, reason, ALERTS[told.alert]))
        self.assertIn(told.explain, verdict["detail"])

    def witness_doctor(self, scene, told):
        step, code, words = told.doctor
        argv = self.sender_argv("doctor", scene)
        done = self.run_before(scene, argv)
        self.assertEqual((done.returncode, done.stderr), (code, b""), done.stdout)
        self.assertEqual(re.findall(r"^FAIL +(\w+)", done.stdout.decode(), re.M), [step])
        self.assertIn(words, re.search(r"cause: +(.*)", done.stdout.decode()).group(1))
        done = self.run_before(scene, [*argv, "--json"])
        value = json.loads(done.stdout)
        self.assertEqual((done.returncode, value["exit_code"], value["steps"][-1]["step"]), (code, code, step))
        self.assertIn(words, value["steps"][-1]["cause"])
        self.assertTrue(value["steps"][-1]["remedy"])

    def reaches_relay(self, witness, told):
        """Does the connection come as far as a refusal by the relay? Our own refusal of our certificate comes first."""
        return not (witness == "send" and told.send[0] == OWN_SETUP) and \
            not (witness == "doctor" and told.doctor[0] == "certificate")

    def hear(self, reason, told):
        scene = getattr(self, reason.replace("-", "_"))()
        witnesses = {"alert": lambda: self.witness_alert(scene, told), "send": lambda: self.witness_send(scene, told),
                     "doctor": lambda: self.witness_doctor(scene, told),
                     "explain": lambda: self.witness_explain(scene, reason, told)}
        start = len(scene.relay.log())
        if scene.provoke is not None:
            scene.provoke()
            self.witness_log(scene, reason, told, start)
        for witness, hear in witnesses.items():
            if isinstance(getattr(told, witness), Unseen):
                continue
            start = len(scene.relay.log())
            with self.subTest(reason=reason, witness=witness):
                hear()
                if witness != "explain" and self.reaches_relay(witness, told):
                    self.witness_log(scene, reason, told, start)

    def test_the_table_names_every_reason(self):
        with open(os.path.join(SOURCES, "lib/pki/refusal.c"), encoding="utf-8") as file:
            names = re.findall(r'\[REFUSAL_\w+\] = \{ "([a-z-]+)"', file.read())
        self.assertEqual(set(names), set(REASONS) | set(NOT_YET) | set(ELSEWHERE))
        for reason, told in REASONS.items():
            for witness in ("alert", "send", "explain", "doctor"):
                self.assertTrue(getattr(told, witness), f"{reason}: {witness}")

    def test_what_nothing_brings_about_yet_is_noticed_when_it_comes(self):
        users = []
        for folder in ("relay", "lib", "sender"):
            for place, _, files in os.walk(os.path.join(SOURCES, folder)):
                for name in files:
                    with open(os.path.join(place, name), encoding="utf-8") as file:
                        users += [(reason, name) for reason, symbol in NOT_YET.items()
                                  if name != "refusal.c" and symbol in file.read()]
        self.assertEqual(users, [], "these reasons need a row of their own in REASONS, and a scene")

    def test_without_a_certificate_our_own_programs_say_so(self):
        relay = self.open_relay()
        scene = Scene(relay, identity=None)
        for command in ("send", "doctor"):
            done = run(self.sender_argv(command, scene))
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(b"--cert FILE", done.stdout + done.stderr)
        done = run([RELAY, "explain", "-c", relay.argv[-1]])
        self.assertEqual((done.returncode, done.stderr.count(b"--cert FILE")), (2, 1))
        self.assertEqual(relay.find("conn="), [])


def add_tests():
    for reason, told in REASONS.items():
        def test(self, reason=reason, told=told):
            self.hear(reason, told)

        setattr(Reasons, f"test_{reason.replace('-', '_')}_is_told_alike_by_all_who_see_it", test)


add_tests()

if __name__ == "__main__":
    main()
