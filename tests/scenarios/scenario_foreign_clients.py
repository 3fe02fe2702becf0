#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: any TLS client with a certificate delivers and is answered, without knowing what a relay is; it
reaches the service it means; and what it does to its connection, its application sees."""
import http.server
import os
import queue
import socket
import ssl
import subprocess
import threading
import time

from outsiders import BareTls
from portseal_testing import PATIENCE, Process, Scenario, free_port, main, read_all, reset, run, tool, wait_until

ANY = "{ any = true; }"
INTO_STDERR = ["sh", "-c", 'exec "$@" >&2', "sh"]  # so that Process sees what a client prints


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(65536)
        if not data:
            raise ConnectionResetError("no whole line came")
        line += data
    return line


def answering(name):
    """An application that answers one line with its name, ends, and reads the rest."""
    def serve(connection):
        connection.sendall(name + b" heard " + read_line(connection))
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    return serve


class ForeignClients(Scenario):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        names = [word for name in ("localhost", "one.test", "two.test", "three.test") for word in ("--dns", name)]
        cls.certs("relay", "relay", *names, "--ip", "127.0.0.1", "--force")

    # Each client says one line and returns everything that it printed.

    def openssl_argv(self, port, *more):
        return [tool("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", f"{self.pki}/ca.crt",
                "-verify_return_error", "-cert", self.crt("alice"), "-key", self.key("alice"), *more]

    def gnutls_argv(self, port, *more):
        return [tool("gnutls-cli"), "-p", str(port), "127.0.0.1", "--x509cafile", f"{self.pki}/ca.crt",
                "--x509certfile", self.crt("alice"), "--x509keyfile", self.key("alice"), *more]

    def ncat_argv(self, port, *more):
        """Without --no-shutdown it ends its direction by a FIN and no close_notify, which is a cut connection."""
        return [tool("ncat"), "--no-shutdown", "--ssl-cert", self.crt("alice"), "--ssl-key", self.key("alice"),
                "--ssl-verify", "--ssl-trustfile", f"{self.pki}/ca.crt", *more, "localhost", str(port)]

    def socat_argv(self, port):
        return [tool("socat"), "-t", "10", "-", f"OPENSSL:127.0.0.1:{port},cert={self.crt('alice')},"
                f"key={self.key('alice')},cafile={self.pki}/ca.crt,commonname=localhost"]

    def stunnel(self, port, more=""):
        """A stunnel in client mode; the port where it takes plain connections."""
        local = free_port()
        path = self.file(f"stunnel-{local}.conf", f"""
foreground = yes
pid =
[relay]
client = yes
accept = 127.0.0.1:{local}
connect = 127.0.0.1:{port}
cert = {self.crt('alice')}
key = {self.key('alice')}
CAfile = {self.pki}/ca.crt
verifyChain = yes
checkHost = localhost
{more}
""")
        program = self.keep(Process([tool("stunnel"), path]))
        program.wait_for("Configuration successful")
        return local

    def ask(self, argv, line=b"hello\n"):
        done = run(argv, stdin=line)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_each_client_delivers_and_is_answered(self):
        relay = self.relay(self.app(answering(b"app")).target)
        clients = {"openssl": self.openssl_argv(relay.port, "-quiet"), "gnutls": self.gnutls_argv(relay.port),
                   "ncat": self.ncat_argv(relay.port), "socat": self.socat_argv(relay.port)}
        for name, argv in clients.items():
            start = len(relay.log())
            with self.subTest(client=name):
                self.assertIn(b"app heard hello\n", self.ask(argv))
                relay.wait_for("event=accepted .*client=\"alice\" service=app ", start=start)
                relay.wait_for("event=closed reason=done .*in=6 out=16 ", start=start)

    def test_a_reply_after_the_clients_end_arrives(self):
        def count(connection):
            connection.sendall(b"%d bytes\n" % len(read_all(connection)))

        relay = self.relay(self.app(count).target)
        self.assertEqual(self.ask(self.socat_argv(relay.port), b"x" * 100000), b"100000 bytes\n")
        with self.connect(self.stunnel(relay.port)) as local:
            local.sendall(b"x" * 100000)
            local.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(local), b"100000 bytes\n")
        bare = BareTls(self.connect(relay.port), self.tls_context())
        bare.send(b"x" * 100000)
        bare.end_our_direction()
        self.assertEqual((bare.recv(), bare.recv()), (b"100000 bytes\n", b""))

    def test_a_client_that_goes_on_after_the_applications_end_is_heard(self):
        heard = []

        def speak_first(connection):
            connection.sendall(b"bye")
            connection.shutdown(socket.SHUT_WR)
            heard.append(read_all(connection))

        relay = self.relay(self.app(speak_first).target)
        bare = BareTls(self.connect(relay.port), self.tls_context())
        self.assertEqual((bare.recv(), bare.recv()), (b"bye", b""))
        bare.send(b"one more thing")
        bare.end_our_direction()
        relay.wait_for("event=closed reason=done .*in=14 out=3 ")
        wait_until(lambda: heard, "the application has read to the end")
        self.assertEqual(heard, [b"one more thing"])

    def test_a_client_that_lets_the_kernel_collect_small_writes_is_not_held_up(self):
        relay = self.relay(self.app().target)
        fastest = PATIENCE
        for _ in range(10):
            plain = self.connect(relay.port)
            self.assertEqual(plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 0)
            start = time.monotonic()
            bare = BareTls(plain, self.tls_context())
            bare.send(b"first words")
            self.assertEqual(bare.recv(), b"first words")
            fastest = min(fastest, time.monotonic() - start)
        self.assertLess(fastest, 0.04)  # how long the kernel puts off an acknowledgement

    def test_stunnel_carries_many_at_once(self):
        relay = self.relay(self.app().target)
        port = self.stunnel(relay.port)
        locals_ = [self.connect(port) for _ in range(10)]
        for i, local in enumerate(locals_):
            local.sendall(b"number %d" % i)
        for i, local in enumerate(locals_):
            self.assertEqual(local.recv(100), b"number %d" % i)
            local.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(local), b"")
        relay.wait_for("event=closed reason=done", count=10)

    def test_curl_fetches_from_a_web_server(self):
        body = os.urandom(300000)

        class Page(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                length = int(self.headers["content-length"])
                self.send_response(200)
                self.send_header("content-length", str(length))
                self.end_headers()
                self.wfile.write(self.rfile.read(length))

            def log_message(self, *args):
                pass

        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        # By its name: elsewhere a web client speaks HTTP/2 with the relay itself.
        relay = self.relay(config=self.relay_config({"web": (f"tcp://127.0.0.1:{web.server_port}", ANY,
                                                             'sni = [ "localhost" ];')}))
        curl = [tool("curl"), "-sS", "--cert", self.crt("alice"), "--key", self.key("alice"), "--cacert",
                f"{self.pki}/ca.crt", f"https://localhost:{relay.port}/"]
        fetched = run(curl)
        self.assertEqual((fetched.returncode, fetched.stderr, fetched.stdout == body), (0, b"", True))
        posted = run([*curl, "--http1.1", "-H", "expect:", "--data-binary", "@-"], stdin=body)
        self.assertEqual((posted.returncode, posted.stderr, posted.stdout == body), (0, b"", True))
        relay.wait_for("event=closed reason=done", count=2)

    def named_services(self):
        """one and two by server name, two also by ALPN; beside them a third that must be named."""
        services = {"one": (self.app(answering(b"one")).target, ANY, 'sni = [ "one.test" ];'),
                    "two": (self.app(answering(b"two")).target, ANY,
                            'sni = [ "two.test", "TWO-more.test" ]; alpn = [ "postgresql", "imap" ];'),
                    "three": (self.app(answering(b"three")).target, ANY, "")}
        return self.relay(config=self.relay_config(services))

    def test_the_server_name_chooses(self):
        port = self.named_services().port
        for name in (b"one", b"two"):
            host = name.decode() + ".test"
            clients = {"openssl": self.openssl_argv(port, "-quiet", "-servername", host),
                       "gnutls": self.gnutls_argv(port, "--sni-hostname", host, "--verify-hostname", host),
                       "ncat": self.ncat_argv(port, "--ssl-servername", host)}
            for client, argv in clients.items():
                with self.subTest(client=client, host=host):
                    self.assertIn(name + b" heard hello\n", self.ask(argv))
            local = self.connect(self.stunnel(port, f"sni = {host}\n"))
            with self.subTest(client="stunnel", host=host):
                local.sendall(b"hello\n")
                self.assertEqual(read_all(local), name + b" heard hello\n")

    def test_the_case_of_a_server_name_does_not_matter(self):
        port = self.named_services().port
        self.assertIn(b"two heard hello\n", self.ask(self.openssl_argv(port, "-quiet", "-servername", "Two-More.TEST")))

    def test_the_protocol_chooses(self):
        port = self.named_services().port
        clients = {"openssl": self.openssl_argv(port, "-quiet", "-alpn", "nonsense,postgresql"),
                   "gnutls": self.gnutls_argv(port, "--alpn", "imap"),
                   "ncat": self.ncat_argv(port, "--ssl-alpn", "portseal/two")}
        for client, argv in clients.items():
            with self.subTest(client=client):
                self.assertIn(b"two heard hello\n", self.ask(argv))
        for offered, chosen, service in ((["portseal/three"], "portseal/three", b"three"), (["imap"], "imap", b"two"),
                                         (["x", "portseal/one", "imap"], "portseal/one", b"one")):
            sealed = self.tls(port, alpn=offered)
            sealed.sendall(b"hello\n")
            self.assertEqual((sealed.selected_alpn_protocol(), read_all(sealed)), (chosen, service + b" heard hello\n"))

    def test_the_protocol_counts_more_than_the_server_name(self):
        sealed = self.tls(self.named_services().port, alpn=["imap"], name="one.test")
        sealed.sendall(b"hello\n")
        self.assertEqual(read_all(sealed), b"two heard hello\n")

    def test_the_listener_counts_more_than_both(self):
        services = {name: (self.app(answering(name.encode())).target, ANY,
                           f'sni = [ "{name}.test" ]; alpn = [ "{name}" ];') for name in ("one", "two")}
        listen = ", ".join('{ address = "127.0.0.1:0"; service = "%s"; }' % name for name in services)
        relay = self.relay(config=self.relay_config(services, listen=listen))
        for service, port in zip((b"one", b"two"), relay.ports):
            for name, alpn in (("localhost", None), ("one.test", None), ("two.test", ["one"]), ("one.test", ["two"])):
                sealed = self.tls(port, alpn=alpn, name=name)
                sealed.sendall(b"hello\n")
                self.assertEqual(read_all(sealed), service + b" heard hello\n")

    def interact(self, argv, steps):
        """Types each line once what the step before waits for was printed."""
        client = self.keep(Process([*INTO_STDERR, *argv], stdin=subprocess.PIPE))
        client.wait_for("Verify return code: 0|Handshake was completed")
        for line, pattern, count in steps:
            client.child.stdin.write(line)
            client.child.stdin.flush()
            client.wait_for(pattern, count=count)
        client.child.stdin.close()

    def test_key_updates_of_openssl_in_mid_stream(self):
        relay = self.relay(self.app().target)
        bulk = b"x" * 5000
        ours, theirs = ">>> TLS 1.3, Handshake .*KeyUpdate", "<<< TLS 1.3, Handshake .*KeyUpdate"
        self.interact(self.openssl_argv(relay.port, "-msg"), (
            (b"before\n", "^before$", 1),
            (b"k\n", ours, 1), (b"after ours\n", "^after ours$", 1),
            (b"K\n", ours, 2), (bulk + b" both\n", "x both$", 1), (b"", theirs, 1),
            (b"K\n", ours, 3), (b"K\n", ours, 4), (b"K\n", ours, 5),
            (bulk + b" many\n", "x many$", 1), (b"", theirs, 2)))  # one answer may serve several (RFC 8446, 4.6.3)
        relay.wait_for("event=closed reason=done .*in=10030 out=10030 ")

    def test_key_updates_of_gnutls_in_mid_stream(self):
        relay = self.relay(self.app().target)
        self.interact(self.gnutls_argv(relay.port, "--inline-commands"), (
            (b"before\n", "^before$", 1), (b"^rekey^\n", "", 1), (b"after\n", "^after$", 1),
            (b"^rekey1^\n", "", 1), (b"^rekey^\n", "", 1), (b"at last\n", "^at last$", 1)))
        relay.wait_for("event=closed reason=done .*in=21 out=21 ")

    def endings(self, answer=b""):
        """What applications read and how that ended, and the function that serves one."""
        ends = queue.Queue()

        def serve(connection):
            data = b""
            try:
                while more := connection.recv(65536):
                    data += more
                    connection.sendall(answer)
                ends.put((data, "end"))
            except ConnectionResetError:
                ends.put((data, "reset"))
        return ends, serve

    def test_a_client_that_is_killed_is_a_reset_for_the_application(self):
        ends, serve = self.endings(b"go")
        relay = self.relay(self.app(serve).target)
        client = self.keep(Process(self.openssl_argv(relay.port, "-quiet"), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE))
        client.child.stdin.write(b"only half of")
        client.child.stdin.flush()
        self.assertEqual(client.child.stdout.read(2), b"go")
        client.child.kill()
        relay.wait_for("event=closed reason=client-(cut|reset) .*in=12 ")
        client.child.stdin.close()
        client.child.stdout.close()
        self.assertEqual(ends.get(timeout=PATIENCE), (b"only half of", "reset"))

    def test_an_end_without_close_notify_is_a_reset_for_the_application(self):
        ends, serve = self.endings()
        relay = self.relay(self.app(serve).target)
        bare = BareTls(self.connect(relay.port), self.tls_context())
        bare.plain.sendall(bare.seal(b"whole") + bare.seal(b"a record that is cut")[:-1])
        bare.plain.shutdown(socket.SHUT_WR)
        relay.wait_for("event=closed reason=client-cut .*in=5 ")
        self.assertEqual(ends.get(timeout=PATIENCE), (b"whole", "reset"))

    def test_a_clean_end_is_a_clean_end_for_the_application(self):
        ends, serve = self.endings()
        relay = self.relay(self.app(serve).target)
        bare = BareTls(self.connect(relay.port), self.tls_context())
        bare.send(b"whole")
        bare.end_our_direction()
        relay.wait_for("event=closed reason=done .*in=5 ")
        self.assertEqual(ends.get(timeout=PATIENCE), (b"whole", "end"))

    def test_a_changed_byte_is_a_reset_for_the_application_and_an_alert_for_the_client(self):
        ends, serve = self.endings()
        relay = self.relay(self.app(serve).target)
        bare = BareTls(self.connect(relay.port), self.tls_context())
        forged = bytearray(bare.seal(b"never to be read"))
        forged[10] ^= 1
        bare.plain.sendall(bytes(forged))
        with self.assertRaisesRegex(ssl.SSLError, "BAD_RECORD_MAC"):
            bare.recv()
        relay.wait_for("event=closed reason=client-protocol .*in=0 .*alert=bad_record_mac")
        self.assertEqual(ends.get(timeout=PATIENCE), (b"", "reset"))

    def test_a_reset_of_the_application_is_not_a_clean_end_for_the_client(self):
        def cut(connection):
            connection.sendall(b"only half of")
            connection.recv(1)
            reset(connection)

        relay = self.relay(self.app(cut).target)
        bare = BareTls(self.connect(relay.port), self.tls_context())
        self.assertEqual(bare.recv(), b"only half of")
        bare.send(b"!")
        with self.assertRaisesRegex(ssl.SSLError, "ALERT_INTERNAL_ERROR"):
            bare.recv()
        relay.wait_for("event=closed reason=target-reset .*in=1 out=12 ")


if __name__ == "__main__":
    main()
