#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: whoever is refused reads why, the relay's log says why in one line, our sender exits with the
right code and one line, and the application never sees a connection."""
import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import time

from outsiders import client_hello, issue, openssl, steal_public_key
from portseal_testing import Scenario, main, run, tool

ALERTS = {  # the name in our log: the number, and the name in Python's exceptions
    "bad_certificate": (42, "SSLV3_ALERT_BAD_CERTIFICATE"),
    "unsupported_certificate": (43, "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"),
    "certificate_revoked": (44, "SSLV3_ALERT_CERTIFICATE_REVOKED"),
    "certificate_expired": (45, "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
    "certificate_unknown": (46, "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
    "unknown_ca": (48, "TLSV1_ALERT_UNKNOWN_CA"),
    "access_denied": (49, "TLSV1_ALERT_ACCESS_DENIED"),
    "decrypt_error": (51, "TLSV1_ALERT_DECRYPT_ERROR"),
    "protocol_version": (70, "TLSV1_ALERT_PROTOCOL_VERSION"),
    "internal_error": (80, "TLSV1_ALERT_INTERNAL_ERROR"),
    "unrecognized_name": (112, "TLSV1_UNRECOGNIZED_NAME"),
    "certificate_required": (116, "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
}
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign"
ALL_CLIENTS = ("openssl", "python", "gnutls", "ours")
WEAK = "DEFAULT@SECLEVEL=0"  # so that OpenSSL lets us try what the relay has to refuse
ANY = "{ any = true; }"
TWO_RULES = '{ cn = "alice"; }, { ou = "finance"; }'


class Refused(Scenario):
    def setUp(self):
        super().setUp()
        self.served = self.app()

    # What each client reads.

    def alert_of_openssl(self, port, cert, key, more=()):
        argv = [tool("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-cipher", WEAK, "-ign_eof", *more]
        if cert is not None:
            argv += ["-cert", cert, "-key", key, "-cert_chain", cert]
        found = re.search(rb"SSL alert number (\d+)", run(argv).stderr)
        return int(found.group(1)) if found else None

    def alert_of_gnutls(self, port, cert, key, more=()):
        argv = [tool("gnutls-cli"), "--no-ca-verification", "-p", str(port), "127.0.0.1", *more]
        if cert is not None:
            argv += ["--x509certfile", cert, "--x509keyfile", key]
        done = run(argv)
        found = re.search(rb"Received alert \[(\d+)\]", done.stdout + done.stderr)
        return int(found.group(1)) if found else None

    def alert_of_python(self, port, cert, key, alpn=None, name="localhost"):
        context = self.tls_context(None, alpn)
        context.check_hostname = False
        context.set_ciphers(WEAK)
        if cert is not None:
            context.load_cert_chain(cert, key)
        with self.assertRaises(ssl.SSLError) as caught:
            with context.wrap_socket(self.connect(port), server_hostname=name) as sealed:
                sealed.recv(1)
        return caught.exception.reason

    def assert_sender(self, done, code, *words):
        self.assertEqual((done.returncode, done.stdout), (code, b""), done.stderr)
        line = done.stderr.decode()
        self.assertEqual(line.count("\n"), 1, line)
        self.assertTrue(line.startswith("portseal-sender: 127.0.0.1:"), line)
        for word in words:
            self.assertIn(word, line)

    # What all agree upon.

    def assert_log(self, relay, start, count, *parts):
        """`count` connections since line `start`, each with one line, which is a refusal with these parts."""
        relay.wait_for("event=refused", count=count, start=start)
        lines = relay.find("conn=", start)
        self.assertEqual(len(lines), count, lines)
        self.assertEqual(len({re.search("conn=([0-9a-f]{8}) ", line).group(1) for line in lines}), count, lines)
        for line in lines:
            for part in ("event=refused", *parts):
                self.assertIn(f" {part} ", line)

    def assert_untouched(self, relay, served=0):
        """The application saw nothing, which the honest connection proves that follows: it is the first."""
        done = self.send(relay.port, b"honest")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"honest", b""))
        self.assertEqual(self.served.accepted, served + 1)
        self.end(relay)

    def end(self, relay):
        """Every connection is over and forgotten: the relay has nothing to wait for (or, sanitized, to leak)."""
        for thing in self.started:
            if isinstance(thing, socket.socket):
                thing.close()
        relay.signal(signal.SIGTERM)
        self.assertEqual(relay.wait(), 0)

    def refuse(self, relay, reason, alert, identity, code=6, detail="", clients=ALL_CLIENTS):
        """Clients with this certificate: all read the alert, and the log tells the reason of each."""
        number, python_name = ALERTS[alert]
        cert, key = (self.crt(identity), self.key(identity)) if identity else (None, None)
        start = len(relay.log())
        if "openssl" in clients:
            self.assertEqual(self.alert_of_openssl(relay.port, cert, key), number)
        if "python" in clients:
            self.assertEqual(self.alert_of_python(relay.port, cert, key), python_name)
        if "gnutls" in clients:
            self.assertEqual(self.alert_of_gnutls(relay.port, cert, key), number)
        if "ours" in clients:
            self.assert_sender(self.send(relay.port, b"never", identity=identity), code, f"(alert {alert})")
        self.assert_log(relay, start, len(clients), f"reason={reason}", f"alert={alert}")
        for line in relay.find(f"reason={reason}", start):
            self.assertIn(detail, line)


class RefusedCertificates(Refused):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stranger = os.path.join(cls.dir, "stranger")
        cls.namesake = os.path.join(cls.dir, "namesake")
        for pki, name in ((cls.stranger, "Another CA"), (cls.namesake, "Scenario CA")):
            cls.certs("init", "--name", name, pki=pki)
            cls.certs("sender", "alice", pki=pki)
        for name, pki in (("stranger-alice", cls.stranger), ("namesake-alice", cls.namesake)):
            for kind in ("crt", "key"):
                shutil.copy(f"{pki}/alice.{kind}", f"{cls.pki}/{name}.{kind}")

        issue(cls.pki, "root", "/CN=Root CA", issuer=None, extensions=AUTHORITY)

    def open_relay(self, **kwargs):
        return self.relay(config=self.relay_config({"app": (self.served.target, ANY, "")}, **kwargs))

    def foreign_relay(self):
        """One that trusts an authority of OpenSSL's making besides ours, which allows for none below it."""
        with open(self.crt("bundle"), "w", encoding="ascii") as bundle:
            for name in ("ca", "root"):
                with open(self.crt(name), encoding="ascii") as file:
                    bundle.write(file.read())
        config = self.relay_config({"app": (self.served.target, ANY, "")})
        return self.relay(config=config.replace("/ca.crt", "/bundle.crt"))

    def test_no_certificate(self):
        relay = self.open_relay()
        self.refuse(relay, "no-certificate", "certificate_required", None, clients=("openssl", "python", "gnutls"))
        self.assert_untouched(relay)

    def test_a_certificate_of_an_unknown_authority(self):
        relay = self.open_relay()
        self.refuse(relay, "unknown-ca", "unknown_ca", "stranger-alice", detail='issuer="CN=Another CA"')
        self.assert_untouched(relay)

    def test_a_certificate_that_claims_the_authoritys_name(self):
        relay = self.open_relay()
        self.refuse(relay, "bad-signature", "bad_certificate", "namesake-alice", detail='issuer="CN=Scenario CA"')
        self.assert_untouched(relay)

    def test_a_certificate_past_its_end(self):
        self.certs("sender", "old", "--not-before", "20200101000000Z", "--not-after", "20210101000000Z")
        relay = self.open_relay()
        self.refuse(relay, "expired", "certificate_expired", "old", detail="2021-01-01")
        self.assert_untouched(relay)

    def test_a_certificate_before_its_beginning(self):
        tomorrow, later = (time.gmtime(time.time() + days * 86400) for days in (1, 2))
        self.certs("sender", "early", "--not-before", time.strftime("%Y%m%d%H%M%SZ", tomorrow),
                   "--not-after", time.strftime("%Y%m%d%H%M%SZ", later))
        relay = self.open_relay()
        self.refuse(relay, "not-yet-valid", "certificate_expired", "early", detail=time.strftime("%Y-%m-%d", tomorrow))
        self.assert_untouched(relay)

    def test_a_certificate_made_for_servers(self):
        relay = self.open_relay()
        self.refuse(relay, "wrong-purpose", "unsupported_certificate", "relay", detail='client="relay"')
        self.assert_untouched(relay)

    def test_a_certificate_without_a_purpose(self):
        issue(self.pki, "vague", extensions="basicConstraints=CA:FALSE")
        relay = self.open_relay()
        self.refuse(relay, "wrong-purpose", "unsupported_certificate", "vague")
        self.assert_untouched(relay)

    def test_a_weak_key(self):
        issue(self.pki, "weak", key="rsa:1024")
        relay = self.open_relay()
        self.refuse(relay, "weak-key", "unsupported_certificate", "weak", detail="1024 bits",
                    clients=("openssl", "python"))  # the others refuse it themselves
        self.assert_untouched(relay)

    def test_an_authority_with_name_constraints(self):
        issue(self.pki, "limited", "/CN=Limited CA", issuer="root",
              extensions=f"{AUTHORITY}\nnameConstraints=permitted;DNS:example.com")
        issue(self.pki, "inside", issuer="limited",
              extensions="extendedKeyUsage=clientAuth\nsubjectAltName=DNS:x.example.com")
        relay = self.foreign_relay()
        self.refuse(relay, "name-constraints", "bad_certificate", "inside", detail="CN=Limited CA has name constraints")
        self.assert_untouched(relay)

    def test_an_authority_shown_as_ones_own(self):
        relay = self.open_relay()
        self.refuse(relay, "bad-certificate", "bad_certificate", "ca")
        self.assert_untouched(relay)

    def test_a_certificate_without_its_key(self):
        self.certs("sender", "thief")
        shutil.copy(self.crt("alice"), self.crt("stolen"))
        steal_public_key(self.key("thief"), self.key("alice"), self.key("stolen"))
        relay = self.open_relay()
        start = len(relay.log())
        cert, key = self.crt("stolen"), self.key("stolen")
        self.assertEqual(self.alert_of_openssl(relay.port, cert, key), ALERTS["decrypt_error"][0])
        self.assertEqual(self.alert_of_python(relay.port, cert, key), ALERTS["decrypt_error"][1])
        self.assert_log(relay, start, 2, "reason=bad-signature", "alert=decrypt_error")
        self.assert_untouched(relay)

    def test_a_chain_of_intermediates_is_welcome(self):
        issue(self.pki, "branch", "/CN=Branch CA", issuer="root", extensions=AUTHORITY)
        issue(self.pki, "branch-alice", "/CN=alice", issuer="branch")
        relay = self.foreign_relay()
        done = self.send(relay.port, b"by the branch", identity="branch-alice")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"by the branch", b""))

    def test_names_that_would_forge_log_lines_stay_in_theirs(self):
        subject = '/CN=eve"\\\\\x1b[31m\x07\u2028\u0085\n2026 info conn=00000000 event=accepted'
        issue(self.pki, "eve", subject)
        relay = self.open_relay(extra='log = { format = "text"; };')
        start = len(relay.log())
        done = self.send(relay.port, b"never", identity="eve")
        self.assert_sender(done, 6, "(alert bad_certificate)")
        self.assert_log(relay, start, 1, "reason=bad-certificate", "alert=bad_certificate")
        line = relay.log()[-1]
        self.assertIn('CN \\"eve\\\\\\"', line)
        self.assertEqual([c for c in line if not " " <= c <= "~"], [])
        self.assert_untouched(relay)

    def test_harmless_unicode_in_a_name_is_told(self):
        issue(self.pki, "umlaut", '/CN=J\u00fcrgen "the\\\\one" \u202e\u2028')
        relay = self.open_relay()
        done = self.send(relay.port, b"hello", identity="umlaut")
        self.assertEqual((done.returncode, done.stdout), (0, b"hello"))
        line = relay.wait_for(r"event=accepted .*").string
        self.assertEqual([c for c in line if c in "\u202e\u2028\n"], [])
        self.assertRegex(line, r'client="J.*rgen \\"the\\\\')


class RefusedByRevocation(Refused):
    def test_a_revoked_certificate(self):
        self.certs("sender", "bob")
        self.certs("revoke", "bob", "--reason", "keyCompromise")
        relay = self.relay(self.served.target, tls=f'crl = "{self.pki}/ca.crl";')
        self.refuse(relay, "revoked", "certificate_revoked", "bob")
        self.assert_untouched(relay)

    def test_a_list_out_of_date_refuses_everybody(self):
        self.certs("crl", "--not-before", "20200101000000Z", "--not-after", "20200201000000Z")
        stale = shutil.copy(f"{self.pki}/ca.crl", f"{self.dir}/stale.crl")
        self.certs("crl")
        relay = self.relay(self.served.target, tls=f'crl = "{stale}";')
        self.refuse(relay, "crl-expired", "certificate_unknown", "alice")
        self.end(relay)
        self.assertEqual(self.served.accepted, 0)

    def test_a_list_of_somebody_else_refuses_everybody(self):
        other = os.path.join(self.dir, "other")
        self.certs("init", "--name", "Another CA", pki=other)
        relay = self.relay(self.served.target, tls=f'crl = "{other}/ca.crl";')
        self.refuse(relay, "crl-missing", "certificate_unknown", "alice")
        self.end(relay)
        self.assertEqual(self.served.accepted, 0)


class RefusedByRule(Refused):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.certs("sender", "clerk", "--ou", "finance")
        cls.certs("sender", "till", "--dns", "one.tills.example.com")
        cls.certs("sender", "deep", "--dns", "a.one.tills.example.com")
        cls.certs("sender", "robot", "--uri", "spiffe://example.com/billing/robot")
        cls.certs("sender", "pinned", "--ou", "sales")
        issue(cls.pki, "boss", "/OU=finance/CN=boss")
        public = openssl("x509", "-in", cls.crt("pinned"), "-noout", "-pubkey")
        spki = openssl("pkey", "-pubin", "-outform", "der", stdin=public)
        cls.pin = base64.b64encode(hashlib.sha256(spki).digest()).decode()

    def test_each_kind_of_rule_lets_in_whom_it_names_and_nobody_else(self):
        rules = {
            "by-cn": '{ cn = "alice"; }',
            "by-ou": '{ ou = "finance"; }',
            "by-dns": '{ dns = "*.tills.example.com"; }',
            "by-uri": '{ uri = "spiffe://example.com/billing/*"; }',
            "by-pin": '{ spki_sha256 = "%s"; }' % self.pin,
            "by-both": '{ cn = "boss"; ou = "finance"; }',
        }
        welcome = {"alice": {"by-cn"}, "clerk": {"by-ou"}, "till": {"by-dns"}, "deep": set(), "robot": {"by-uri"},
                   "pinned": {"by-pin"}, "boss": {"by-ou", "by-both"}}
        relay = self.relay(config=self.relay_config(
            {name: (self.served.target, rule, "") for name, rule in rules.items()}))
        for identity, services in welcome.items():
            for service in rules:
                start = len(relay.log())
                done = self.send(relay.port, b"x", identity=identity, service=service)
                with self.subTest(identity=identity, service=service):
                    if service in services:
                        self.assertEqual((done.returncode, done.stdout), (0, b"x"), done.stderr)
                        relay.wait_for(f'event=accepted .*client="{identity}" service={service} ', start=start)
                        relay.wait_for("event=closed reason=done", start=start)
                    else:
                        self.assert_sender(done, 6, f'"{service}"', "(alert access_denied)")
                        self.assert_log(relay, start, 1, "reason=not-allowed", f'client="{identity}"',
                                        f"service={service}", "alert=access_denied")
        self.assertEqual(self.served.accepted, sum(len(services) for services in welcome.values()))

    def test_all_clients_read_that_they_are_not_allowed(self):
        relay = self.relay(config=self.relay_config({"app": (self.served.target, TWO_RULES, "")}))
        self.refuse(relay, "not-allowed", "access_denied", "pinned", detail="none of its 2 rules matches")
        self.assert_untouched(relay)


class RefusedByService(Refused):
    def two_services(self):
        return self.relay(config=self.relay_config({
            "one": (self.served.target, ANY, 'sni = [ "one.test" ];'), "app": (self.served.target, ANY, "")}))

    def test_a_server_name_that_no_service_has(self):
        relay = self.two_services()
        start = len(relay.log())
        number, python_name = ALERTS["unrecognized_name"]
        cert, key = self.crt("alice"), self.key("alice")
        self.assertEqual(self.alert_of_openssl(relay.port, cert, key, ("-servername", "three.test")), number)
        self.assertEqual(self.alert_of_gnutls(relay.port, cert, key, ("--sni-hostname", "three.test")), number)
        self.assertEqual(self.alert_of_python(relay.port, cert, key, name="three.test"), python_name)
        self.assert_sender(self.send(relay.port, b"never", service=None), 6, "(alert unrecognized_name)")
        self.assert_log(relay, start, 4, "reason=unknown-service", "alert=unrecognized_name")
        self.assert_untouched(relay)

    def test_a_server_name_that_would_forge_log_lines(self):
        relay = self.two_services()
        start = len(relay.log())
        name = 'x"\x1b[31m\n2026-01-01T00:00:00.000Z info conn=00000000 event=accepted'
        cert, key = self.crt("alice"), self.key("alice")
        self.alert_of_openssl(relay.port, cert, key, ("-servername", name))
        self.assert_log(relay, start, 1)
        self.assertEqual([c for c in relay.log()[-1] if not " " <= c <= "~"], [])
        self.assert_untouched(relay)

    def test_a_service_that_does_not_exist(self):
        relay = self.two_services()
        start = len(relay.log())
        self.assert_sender(self.send(relay.port, b"never", service="nope"), 6, '"nope"', "(alert unrecognized_name)")
        self.assertEqual(self.alert_of_python(relay.port, self.crt("alice"), self.key("alice"), ["portseal/nope"]),
                         "TLSV1_UNRECOGNIZED_NAME")
        self.assert_log(relay, start, 2, "reason=unknown-service", "alert=unrecognized_name",
                        r'detail="it asked for \"portseal/nope\", and there is no such service"')
        self.assert_untouched(relay)

    def test_without_a_certificate_the_refusal_is_the_same_for_any_service(self):
        relay = self.two_services()
        self.assertEqual(self.alert_of_python(relay.port, None, None, ["portseal/nope"]),
                         "TLSV13_ALERT_CERTIFICATE_REQUIRED")
        self.assertEqual(self.alert_of_python(relay.port, None, None, ["portseal/app"]),
                         "TLSV13_ALERT_CERTIFICATE_REQUIRED")
        self.assert_untouched(relay)

    def test_a_stranger_cannot_try_out_which_services_exist(self):
        """The server's first flight comes before the client's certificate: it confirms any name that might be one."""
        relay = self.two_services()
        context = self.tls_context(None)
        context.check_hostname = False
        for name in ("app", "one", "nope", "x" * 63):
            context.set_alpn_protocols([f"portseal/{name}"])
            with context.wrap_socket(self.connect(relay.port), server_hostname="x.test") as sealed:
                self.assertEqual(sealed.selected_alpn_protocol(), f"portseal/{name}")
                with self.assertRaisesRegex(ssl.SSLError, "TLSV13_ALERT_CERTIFICATE_REQUIRED"):
                    sealed.recv(1)
        self.assert_untouched(relay)


class RefusedByLimit(Refused):
    def enter(self, relay, identity):
        """A connection that is known to be counted: its echo came back."""
        sealed = self.tls(relay.port, identity)
        sealed.sendall(b"in")
        self.assertEqual(sealed.recv(10), b"in")
        return sealed

    def leave(self, relay, sealed):
        start = len(relay.log())
        sealed.unwrap()
        relay.wait_for("event=closed reason=done", start=start)

    def test_connections_over_the_limit(self):
        relay = self.relay(self.served.target, extra="limits = { connections = 2; };")
        first, _ = self.enter(relay, "alice"), self.enter(relay, "alice")
        self.refuse(relay, "too-many-connections", "internal_error", "alice", code=7, detail="limits.connections is")
        self.leave(relay, first)
        self.assert_untouched(relay, served=2)

    def test_connections_of_one_client_over_the_limit(self):
        self.certs("sender", "carol")
        relay = self.relay(self.served.target, extra="limits = { connections_per_client = 1; };")
        first, _ = self.enter(relay, "alice"), self.enter(relay, "carol")
        self.refuse(relay, "too-many-connections", "internal_error", "alice", code=7,
                    detail="limits.connections_per_client is")
        self.leave(relay, first)
        self.assert_untouched(relay, served=2)

    def test_a_crowd_in_line_over_the_limit_delays_only_itself(self):
        relay = self.relay(self.served.target,
                           extra="limits = { handshakes = 4; handshakes_per_source = 2; waiting = 8; };")
        crowd = []
        while len(crowd) < 1000 and not relay.find("limits.waiting is reached and it is the last of the longest line"):
            crowd.append(socket.create_connection(("127.0.0.1", relay.port), timeout=30, source_address=("127.0.0.2", 0)))
            self.addCleanup(crowd[-1].close)
            crowd[-1].sendall(client_hello())
        self.assertLess(len(crowd), 1000)
        self.leave(relay, self.enter(relay, "alice"))
        for one in crowd:
            one.close()
        self.assert_untouched(relay, served=1)


class RefusedBeforeTls(Refused):
    def test_tls_1_2(self):
        relay = self.relay(self.served.target)
        cert, key = self.crt("alice"), self.key("alice")
        start = len(relay.log())
        self.assertEqual(self.alert_of_openssl(relay.port, cert, key, ("-tls1_2",)), 70)
        self.assertEqual(self.alert_of_gnutls(relay.port, cert, key, ("--priority", "NORMAL:-VERS-TLS1.3")), 70)
        self.assert_log(relay, start, 2, "reason=tls-version", "alert=protocol_version")
        self.assert_untouched(relay)

    def test_plain_http_is_answered_in_words(self):
        relay = self.relay(self.served.target)
        start = len(relay.log())
        done = run([tool("curl"), "-sS", "-i", f"http://127.0.0.1:{relay.port}/"])
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b"HTTP/1.1 400 Bad Request\r\n", done.stdout)
        self.assertTrue(done.stdout.endswith(b"This port speaks TLS 1.3 with client certificates. "
                                             b"Your client sent it plain HTTP.\r\n"), done.stdout)
        self.assert_log(relay, start, 1, "reason=not-tls")
        self.assert_untouched(relay)

    def say(self, relay, first, then_end=False):
        """Says `first` and no more; what comes until the relay closes, which is a reset where it left bytes unread."""
        plain = self.connect(relay.port)
        answer = b""
        try:
            plain.sendall(first)
            if then_end:
                plain.shutdown(socket.SHUT_WR)
            while data := plain.recv(65536):
                answer += data
        except OSError:
            pass
        return answer

    def test_silence_at_every_stage_ends(self):
        relay = self.relay(self.served.target, extra='timeouts = { handshake = "200ms"; };')
        hello = client_hello()
        stages = ((b"", b"", "it said nothing"), (hello[:1], b"", "its ClientHello did not become whole"),
                  (hello[:-1], b"", "its ClientHello did not become whole"),
                  (hello, b"\x16\x03\x03", "the handshake did not end"))
        for said, answer, detail in stages:
            start = len(relay.log())
            self.assertEqual(self.say(relay, said)[:3], answer)
            self.assert_log(relay, start, 1, "reason=handshake-timeout", f'detail="{detail}"')
        self.assert_untouched(relay)

    def test_what_is_not_tls(self):
        relay = self.relay(self.served.target)
        for said in (b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 100, b"\xff" * 20000, b"EHLO example.com\r\n"):
            start = len(relay.log())
            self.assertEqual(self.say(relay, said), b"")
            self.assert_log(relay, start, 1, "reason=not-tls")
        self.assert_untouched(relay)

    def test_a_hello_that_is_broken_is_answered_by_an_alert(self):
        relay = self.relay(self.served.target)
        hello = client_hello()
        cases = ((0, 0x17, None, "not-tls"), (5, 0x02, 10, "tls-failed"), (9, 0x04, 70, "tls-version"),
                 (43, 0xff, 50, "tls-failed"))
        for at, value, alert, reason in cases:
            start = len(relay.log())
            answer = self.say(relay, hello[:at] + bytes([value]) + hello[at + 1:], then_end=True)
            with self.subTest(byte=at):
                self.assertEqual(answer, b"" if alert is None else b"\x15\x03\x03\x00\x02\x02" + bytes([alert]))
                self.assert_log(relay, start, 1, f"reason={reason}")
        self.assert_untouched(relay)


if __name__ == "__main__":
    main()
