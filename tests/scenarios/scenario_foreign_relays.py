#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our sender against other people's TLS servers, each of which demands a client certificate: openssl s_server, stunnel,
HAProxy. What it carries arrives whole, and every way to fail has its exit code and one line that says what to do."""
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import threading
import unittest

from portseal_testing import (PATIENCE, SENDER, Process, Scenario, echo, free_port, is_listening, main, read_all, reset,
                              run, tool, wait_until)

DONE, USAGE, OWN_SETUP, NO_RELAY, WRONG_RELAY, REFUSED, UNDELIVERED = 0, 2, 3, 4, 5, 6, 7


class Foreign(Scenario):
    """The foreign servers. `identity` is what the server shows, `client_ca` whom it lets in."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other_pki = os.path.join(cls.dir, "other")
        cls.certs("init", "--name", "Other CA", pki=cls.other_pki)
        cls.certs("relay", "relay", "--dns", "localhost", "--ip", "127.0.0.1", pki=cls.other_pki)
        cls.certs("relay", "elsewhere", "--dns", "elsewhere.test")

    def start(self, argv, port, **kwargs):
        process = self.keep(Process(argv, **kwargs))
        wait_until(lambda: process.child.poll() is not None or is_listening(port), f"{argv[0]} listens on {port}")
        self.assertIsNone(process.child.poll(), "\n".join(process.log()))
        return port

    def pair(self, identity, pki=None):
        return os.path.join(pki or self.pki, f"{identity}.crt"), os.path.join(pki or self.pki, f"{identity}.key")

    def s_server(self, *more, identity="relay", pki=None, client_ca=None, **kwargs):
        port = free_port()
        crt, key = self.pair(identity, pki)
        argv = [tool("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", crt, "-key", key,
                "-CAfile", f"{client_ca or self.pki}/ca.crt", "-Verify", "1", "-verify_return_error", "-tls1_3",
                "-quiet", *more]
        return self.start(argv, port, **kwargs)

    def stunnel(self, app, client_ca=None):
        port = free_port()
        crt, key = self.pair("relay")
        path = self.file(f"stunnel-{port}.conf", f"""
foreground = yes
pid =
[app]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{app}
cert = {crt}
key = {key}
CAfile = {client_ca or self.pki}/ca.crt
verifyChain = yes
""")
        return self.start([tool("stunnel"), path], port)

    def haproxy(self, app, client_ca=None):
        port = free_port()
        crt, key = self.pair("relay")
        with open(crt, encoding="ascii") as crt_file, open(key, encoding="ascii") as key_file:
            pem = self.file(f"haproxy-{port}.pem", crt_file.read() + key_file.read())
        path = self.file(f"haproxy-{port}.cfg", f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen app
    bind 127.0.0.1:{port} ssl crt {pem} ca-file {client_ca or self.pki}/ca.crt verify required
    server app 127.0.0.1:{app}
""")
        return self.start([tool("haproxy"), "-db", "-f", path], port)

    def proxies(self):
        """[(name, function)] of those that are installed."""
        found = []
        for start in (self.stunnel, self.haproxy):
            try:
                tool(start.__name__)
                found.append((start.__name__, start))
            except unittest.SkipTest:
                pass
        if not found:
            self.skipTest("neither stunnel nor haproxy is installed")
        return found

    def send(self, port, payload=b"", **kwargs):
        return super().send(port, payload, **{"service": None, **kwargs})

    def assert_fails(self, done, code, words):
        """The exit code, and exactly one line that holds the words."""
        lines = done.stderr.decode().splitlines()
        self.assertEqual((done.returncode, len(lines)), (code, 1), done.stderr.decode())
        self.assertTrue(lines[0].startswith("portseal-sender: "), lines[0])
        self.assertIn(words, lines[0])


class Delivery(Foreign):
    def test_s_server_replies(self):
        done = self.send(self.s_server("-rev"), b"hello\n")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (DONE, b"olleh\n", b""))

    def test_a_large_payload_reaches_s_server_whole(self):
        payload = os.urandom(20_000_000)
        port = free_port()
        crt, key = self.pair("relay")
        server = subprocess.Popen(
            [tool("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", crt, "-key", key, "-CAfile",
             f"{self.pki}/ca.crt", "-Verify", "1", "-verify_return_error", "-tls1_3", "-quiet", "-naccept", "1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        wait_until(lambda: is_listening(port), "s_server listens")
        received = []
        reader = threading.Thread(target=lambda: received.append(server.stdout.read()))
        reader.start()
        done = self.send(port, payload)
        self.assertEqual((done.returncode, done.stderr), (DONE, b""))
        server.stdin.close()
        reader.join(PATIENCE)
        server.stdout.close()
        self.assertEqual(hashlib.sha256(received[0]).hexdigest(), hashlib.sha256(payload).hexdigest())

    def test_a_large_file_arrives_whole_behind_each_proxy(self):
        payload = os.urandom(30_000_000)
        path = self.file("large", payload)
        digest = hashlib.sha256(payload).hexdigest().encode()
        app = self.app(lambda connection: connection.sendall(hashlib.sha256(read_all(connection)).hexdigest().encode()))
        for name, start in self.proxies():
            with self.subTest(name):
                done = self.send(start(app.port), more=[path])
                self.assertEqual((done.returncode, done.stdout, done.stderr), (DONE, digest, b""))

    def test_a_large_reply_crosses_its_payload_and_arrives_whole(self):
        # Not by stunnel: 5.68 drops what it has not read yet when an application closes behind a half-closed client, and
        # says close_notify nevertheless (socat loses it as well).
        payload = os.urandom(30_000_000)
        done = self.send(self.haproxy(self.app(echo).port), payload)
        self.assertEqual((done.returncode, done.stderr), (DONE, b""))
        self.assertEqual(hashlib.sha256(done.stdout).hexdigest(), hashlib.sha256(payload).hexdigest())

    def test_a_reply_after_the_end_of_the_payload_arrives(self):
        app = self.app(lambda connection: connection.sendall(b"%d bytes" % len(read_all(connection))))
        for name, start in self.proxies():
            with self.subTest(name):
                done = self.send(start(app.port), b"x" * 100_000)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (DONE, b"100000 bytes", b""))

    def test_an_empty_payload_is_one_too(self):
        app = self.app(lambda connection: connection.sendall(b"%d bytes" % len(read_all(connection))))
        for name, start in self.proxies():
            with self.subTest(name):
                done = self.send(start(app.port), b"")
                self.assertEqual((done.returncode, done.stdout), (DONE, b"0 bytes"))

    def test_every_byte_value_survives(self):
        payload = bytes(range(256)) * 3
        app = self.app(echo)
        for name, start in self.proxies():
            with self.subTest(name):
                self.assertEqual(self.send(start(app.port), payload, more=["-"]).stdout, payload)

    def test_verbose_tells_every_hop(self):
        done = self.send(self.s_server("-rev"), b"hello\n", more=["-v"])
        self.assertEqual(done.returncode, DONE)
        for words in (b"connected to 127.0.0.1:", b'TLS_AES_', b'"relay"', b"sent 6 bytes", b"6 bytes of reply", b" ms"):
            self.assertIn(words, done.stderr)

    def test_memory_stays_flat_whatever_the_size(self):
        with open(SENDER, "rb") as program:
            if b"__asan_init" in program.read():
                self.skipTest("a sanitizer keeps freed memory")

        def hold(connection):
            received.append(len(read_all(connection)))
            whole.set()
            measured.wait(PATIENCE)

        port = self.proxies()[0][1](self.app(hold).port)
        peaks = []
        for size in (1_000_000, 60_000_000):
            received, whole, measured = [], threading.Event(), threading.Event()
            path = self.file("sized", os.urandom(size))
            child = subprocess.Popen(self.send_argv(port, service=None, more=[path]))
            self.assertTrue(whole.wait(PATIENCE))
            with open(f"/proc/{child.pid}/status", encoding="ascii") as status:
                peaks.append(next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")))
            measured.set()
            self.assertEqual((child.wait(PATIENCE), received), (DONE, [size]))
        self.assertLess(peaks[1], peaks[0] + 1024, "kilobytes")


class WrongRelay(Foreign):
    def test_a_certificate_for_another_name_is_refused(self):
        self.assert_fails(self.send(self.s_server(identity="elsewhere"), b"x"), WRONG_RELAY, "elsewhere.test")

    def test_a_certificate_of_another_authority_is_refused(self):
        self.assert_fails(self.send(self.s_server(pki=self.other_pki), b"x"), WRONG_RELAY, "--ca")

    def test_a_certificate_made_for_clients_is_refused(self):
        self.certs("sender", "client", "--dns", "localhost")
        self.assert_fails(self.send(self.s_server(identity="client"), b"x"), WRONG_RELAY, "serverAuth")

    def test_an_expired_certificate_is_refused(self):
        openssl = tool("openssl")
        key, csr, crt = (os.path.join(self.pki, f"old.{kind}") for kind in ("key", "csr", "crt"))
        extensions = self.file("old.ext", "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
        for argv in (["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-subj",
                      "/CN=old", "-out", csr],
                     ["x509", "-req", "-in", csr, "-CA", f"{self.pki}/ca.crt", "-CAkey", f"{self.pki}/ca.key",
                      "-set_serial", "77", "-days", "-1", "-extfile", extensions, "-out", crt]):
            made = run([openssl, *argv])
            self.assertEqual(made.returncode, 0, made.stderr.decode())
        self.assert_fails(self.send(self.s_server(identity="old"), b"x"), WRONG_RELAY, "expired")

    def test_no_payload_reaches_a_server_that_does_not_know_the_service(self):
        received = []
        app = self.app(lambda connection: received.append(read_all(connection)))
        for name, start in self.proxies():
            with self.subTest(name):
                done = self.send(start(app.port), b"secret", service="billing")
                self.assert_fails(done, REFUSED, "billing")
                wait_until(lambda: len(received) == app.accepted, "the application has read to the end")
                self.assertEqual(b"".join(received), b"")


class Refused(Foreign):
    def test_s_server_does_not_trust_our_authority(self):
        self.assert_fails(self.send(self.s_server("-rev", client_ca=self.other_pki), b"x"), REFUSED, "unknown_ca")

    def test_no_proxy_trusts_another_authority(self):
        app = self.app(echo)
        for name, start in self.proxies():
            with self.subTest(name):
                self.assert_fails(self.send(start(app.port, client_ca=self.other_pki), b"x"), REFUSED, "unknown_ca")
        self.assertEqual(app.accepted, 0)

    def test_a_refusal_ends_it_while_the_input_is_still_open(self):
        port = self.s_server("-rev", client_ca=self.other_pki)
        child = subprocess.Popen(self.send_argv(port, service=None), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(child.stdin.close)
        self.addCleanup(child.stderr.close)
        self.assertEqual(child.wait(PATIENCE), REFUSED)

    def test_a_refusal_is_found_behind_a_failed_write(self):
        done = self.send(self.s_server("-rev", client_ca=self.other_pki), os.urandom(5_000_000))
        self.assertIn(done.returncode, (REFUSED, UNDELIVERED), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)


class NotReached(Foreign):
    def listener(self, serve):
        return self.app(serve).port

    def test_a_closed_port(self):
        self.assert_fails(self.send(free_port(), b"x"), NO_RELAY, "nobody listens")

    def test_a_name_that_does_not_resolve(self):
        done = run([SENDER, "send", "--relay", "relay.invalid:1", "--cert", self.crt("alice"), "--key",
                    self.key("alice"), "--ca", f"{self.pki}/ca.crt"])
        self.assert_fails(done, NO_RELAY, "relay.invalid")

    def test_a_server_that_greets_in_plain_text(self):
        def greet(connection):
            connection.sendall(b"220 mail.test ESMTP ready to serve you\r\n")
            read_all(connection)

        self.assert_fails(self.send(self.listener(greet), b"x"), NO_RELAY, "not TLS")

    def test_a_server_that_closes_at_once(self):
        self.assert_fails(self.send(self.listener(lambda connection: None), b"x"), NO_RELAY, "127.0.0.1:")

    def test_a_server_that_never_answers(self):
        config = self.file("silent.conf", f"""
relays = ( {{ address = "127.0.0.1:{self.listener(read_all)}"; server_name = "localhost"; }} );
tls = {{ certificate = "{self.crt('alice')}"; key = "{self.key('alice')}"; relay_ca = "{self.pki}/ca.crt"; }};
timeouts = {{ handshake = "200ms"; }};
""")
        self.assert_fails(run([SENDER, "send", "-c", config], stdin=b"x"), NO_RELAY, "in time")

    def test_a_server_without_tls_1_3(self):
        port = free_port()
        crt, key = self.pair("relay")
        self.start([tool("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", crt, "-key", key, "-tls1_2",
                    "-quiet"], port)
        self.assert_fails(self.send(port, b"x"), NO_RELAY, "TLS 1.3")


class NotDelivered(Foreign):
    def tls_server(self, serve):
        """Python's TLS: serve(sealed) decides how it ends."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.crt("relay"), self.key("relay"))
        context.load_verify_locations(f"{self.pki}/ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 2
        return self.app(lambda connection: serve(context.wrap_socket(connection, server_side=True))).port

    def test_a_reply_without_close_notify_was_cut(self):
        def cut(sealed):
            sealed.recv(100)
            sealed.sendall(b"half a rep")
            sealed.shutdown(socket.SHUT_RDWR)

        done = self.send(self.tls_server(cut), b"x")
        self.assert_fails(done, UNDELIVERED, "cut off after 10 bytes")
        self.assertEqual(done.stdout, b"half a rep")

    def test_a_reset_is_no_end_of_a_reply(self):
        def break_off(sealed):
            sealed.recv(100)
            reset(sealed)

        self.assert_fails(self.send(self.tls_server(break_off), b"x"), UNDELIVERED, "reset")

    def test_an_application_that_does_not_read(self):
        def sleep_on(sealed):
            while not self.over.wait(0.05):
                pass
            sealed.close()

        self.over = threading.Event()
        self.addCleanup(self.over.set)
        done = self.send(self.tls_server(sleep_on), os.urandom(30_000_000), more=["--timeout", "300ms"])
        self.assert_fails(done, UNDELIVERED, "takes no more")

    def test_an_application_that_does_not_answer(self):
        def listen_only(sealed):
            sealed.recv(100)
            self.over.wait(PATIENCE)

        self.over = threading.Event()
        self.addCleanup(self.over.set)
        done = self.send(self.tls_server(listen_only), b"x", more=["--timeout", "300ms"])
        self.assert_fails(done, UNDELIVERED, "does not answer")

    def test_an_application_behind_a_proxy_that_is_down(self):
        # HAProxy says close_notify then, which is how an application ends that has nothing to reply.
        self.assert_fails(self.send(self.stunnel(free_port()), b"x" * 1000), UNDELIVERED, "127.0.0.1:")


class OwnSide(Foreign):
    def test_a_missing_file_costs_no_connection(self):
        self.assert_fails(self.send(free_port(), more=["/nonexistent/payload"]), USAGE, "/nonexistent/payload")

    def test_a_directory_is_no_payload(self):
        self.assert_fails(self.send(free_port(), more=[self.dir]), USAGE, "directory")

    def test_a_key_of_another_certificate(self):
        self.certs("sender", "bob")
        done = run([SENDER, "send", "--relay", f"127.0.0.1:{free_port()}", "--cert", self.crt("alice"), "--key",
                    self.key("bob"), "--ca", f"{self.pki}/ca.crt"])
        self.assert_fails(done, OWN_SETUP, "bob.key")

    def test_an_unknown_option_is_a_usage_error(self):
        self.assert_fails(run([SENDER, "send", "--rely", "x:1"]), USAGE, "--relay")

    def test_a_reader_that_has_enough_ends_it(self):
        port = self.proxies()[0][1](self.app(echo).port)
        path = self.file("much", os.urandom(20_000_000))
        child = subprocess.Popen(self.send_argv(port, service=None, more=[path]), stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        child.stdout.read(10)
        child.stdout.close()
        error = child.stderr.read()
        child.stderr.close()
        self.assertEqual((child.wait(PATIENCE), len(error.splitlines())), (1, 1), error)

    def test_a_closed_stdout_does_not_become_the_relays_connection(self):
        argv = self.send_argv(self.s_server("-rev"), service=None)
        done = run(["sh", "-c", 'exec "$@" >&-', "sh", *argv], stdin=b"hello\n")
        self.assert_fails(done, 1, "stdout")

    def test_a_closed_stdin_is_no_payload(self):
        argv = self.send_argv(self.s_server("-rev"), service=None)
        self.assert_fails(run(["sh", "-c", 'exec "$@" <&-', "sh", *argv]), USAGE, "stdin")


class Tunnel(Foreign):
    def tunnel(self, *args, **kwargs):
        """As it comes: whoever speaks no HTTP/2 is taken as he is."""
        return super().tunnel(*args, protocol="auto", **kwargs)

    def test_connections_cross_each_proxy(self):
        app = self.app(echo)
        for name, start in self.proxies():
            with self.subTest(name):
                tunnel = self.tunnel(start(app.port), service=None)
                payload = os.urandom(3_000_000)
                replies = []

                def exchange():
                    with socket.create_connection(("127.0.0.1", tunnel.port), timeout=PATIENCE) as local:
                        writer = threading.Thread(target=local.sendall, args=(payload,))
                        writer.start()
                        with local.makefile("rb") as replied:
                            replies.append(replied.read(len(payload)))
                            writer.join()
                            local.shutdown(socket.SHUT_WR)
                            self.assertEqual(replied.read(), b"")

                threads = [threading.Thread(target=exchange) for _ in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                self.assertEqual([reply == payload for reply in replies], [True] * 8)
                tunnel.wait_for(r"event=closed reason=done .*in=3000000 out=3000000", count=8)

    def test_a_relay_that_is_down_resets_the_local_client(self):
        tunnel = self.tunnel(free_port(), service=None)
        with self.assertRaises(ConnectionResetError):  # it may come before connect() has returned
            self.connect(tunnel.port).recv(1)
        tunnel.wait_for(r"event=refused reason=relay-not-reached .*nobody listens")

    def test_a_relay_that_is_not_ours_gets_nothing(self):
        tunnel = self.tunnel(self.s_server(pki=self.other_pki), service=None)
        with self.assertRaises(ConnectionResetError):  # it may come before connect() has returned
            self.connect(tunnel.port).recv(1)
        tunnel.wait_for(r"event=refused reason=unknown-ca ")

    def test_a_relay_that_refuses_us_is_named_in_the_log(self):
        tunnel = self.tunnel(self.s_server("-rev", client_ca=self.other_pki), service=None)
        with self.assertRaises(ConnectionResetError):  # it may come before connect() has returned
            self.connect(tunnel.port).recv(1)
        tunnel.wait_for(r"event=closed reason=relay-alert alert=unknown_ca ")

    def test_term_finishes_what_runs(self):
        tunnel = self.tunnel(self.proxies()[0][1](self.app(echo).port), service=None)
        local = self.connect(tunnel.port)
        local.sendall(b"one")
        self.assertEqual(local.recv(3), b"one")
        tunnel.signal(signal.SIGTERM)
        tunnel.wait_for("event=draining")
        local.sendall(b"two")
        self.assertEqual(local.recv(3), b"two")
        local.shutdown(socket.SHUT_WR)
        self.assertEqual(local.recv(1), b"")
        self.assertEqual(tunnel.wait(), 0)

    def test_what_outlasts_the_drain_is_cut_and_told(self):
        tunnel = self.tunnel(self.proxies()[0][1](self.app(echo).port), service=None,
                             extra='timeouts = { drain = "200ms"; };')
        local = self.connect(tunnel.port)
        local.sendall(b"one")
        self.assertEqual(local.recv(3), b"one")
        tunnel.signal(signal.SIGTERM)
        with self.assertRaises(ConnectionResetError):
            local.recv(1)
        self.assertEqual(tunnel.wait(), 1)
        self.assertEqual(len(tunnel.find("event=closed reason=drain ")), 1)

    def test_a_gatekeeper_that_dies_is_replaced(self):
        tunnel = self.tunnel(self.proxies()[0][1](self.app(echo).port), service=None,
                             extra="processes = { gatekeepers = 1; workers = 1; };")
        os.kill(tunnel.role_pids("gatekeeper")[0], signal.SIGKILL)
        local = self.connect(tunnel.port)
        local.sendall(b"still")
        self.assertEqual(local.recv(5), b"still")
        local.close()

    def test_a_client_that_gives_up_while_it_waits_ends_as_one_line(self):
        silent = self.app(read_all)
        tunnel = self.tunnel(silent.port, service=None, extra='timeouts = { handshake = "500ms"; };')
        local = self.connect(tunnel.port)
        wait_until(lambda: silent.accepted == 1, "the relay was dialled")
        reset(local)
        tunnel.wait_for(r"event=closed reason=client-reset .*in=0 out=0")

    def test_without_descriptors_it_pauses_says_so_once_and_recovers(self):
        tunnel = self.tunnel(self.proxies()[0][1](self.app(echo).port), service=None,
                             extra="processes = { gatekeepers = 1; workers = 1; };",
                             argv_prefix=(tool("prlimit"), "--nofile=140:140"))
        crowd = [self.connect(tunnel.port) for _ in range(60)]
        tunnel.wait_for("event=accept-paused")
        for local in crowd:
            local.close()
        late = self.connect(tunnel.port)
        late.sendall(b"late")
        self.assertEqual(late.recv(4), b"late")
        late.close()
        tunnel.wait_for("event=accept-resumed")
        self.assertEqual(len(tunnel.find("event=accept-paused")), 1)
        tunnel.wait_for(r"event=closed ", count=61)
        self.assertEqual(tunnel.find("malformed|event=refused"), [])

    def test_a_key_that_cannot_be_read_stops_the_start(self):
        self.certs("sender", "carol")
        os.chmod(self.key("carol"), 0o644)
        done = run([SENDER, "tunnel", "--listen", "127.0.0.1:0", "--relay", "127.0.0.1:1", "--cert", self.crt("carol"),
                    "--key", self.key("carol"), "--ca", f"{self.pki}/ca.crt"])
        self.assert_fails(done, OWN_SETUP, "carol.key")

    def test_an_address_in_use_stops_the_start(self):
        taken = self.app(echo).port
        done = run([SENDER, "tunnel", "--listen", f"127.0.0.1:{taken}", "--relay", "127.0.0.1:1", "--cert",
                    self.crt("alice"), "--key", self.key("alice"), "--ca", f"{self.pki}/ca.crt"])
        self.assert_fails(done, OWN_SETUP, f"127.0.0.1:{taken}")


if __name__ == "__main__":
    main()
