#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: every way in which a connection can end reaches the other end as what it was. A clean end arrives
as one, and whatever was cut, reset, refused or killed never looks like one, neither to the application nor to a
client."""
import concurrent.futures
import errno
import hashlib
import os
import select
import signal
import socket
import ssl
import subprocess
import threading

from portseal_testing import (Process, Scenario, free_port, is_sanitized, main, memory_of, read_all, receive, reset,
                              wait_until)

MIB = 1 << 20


class Witness:
    """An application that reads until its connection ends, and remembers how it did."""

    def __init__(self):
        self.data, self.ending, self.ended = b"", None, threading.Event()
        self.heard = threading.Event()

    def __call__(self, connection):
        try:
            while True:
                data = connection.recv(65536)
                if not data:
                    break
                self.data += data
                self.heard.set()
            self.ending = "clean"
        except OSError as error:
            self.ending = type(error).__name__
        self.ended.set()


class Endings(Scenario):
    def assert_set(self, event):
        self.assertTrue(event.wait(30), "waited in vain")


class CleanEnds(Endings):
    def test_an_answer_may_come_long_after_the_client_has_ended(self):
        asked, answer = threading.Event(), threading.Event()

        def serve(connection):
            question = read_all(connection)
            asked.set()
            answer.wait(30)
            connection.sendall(question[::-1])

        relay = self.relay(self.app(serve).target)
        local = self.connect(self.tunnel(relay.port).port)
        local.sendall(b"question")
        local.shutdown(socket.SHUT_WR)
        self.assert_set(asked)
        self.assertEqual(select.select([local], [], [], 0)[0], [])
        answer.set()
        self.assertEqual(read_all(local), b"noitseuq")
        relay.wait_for("event=closed reason=done .*in=8 out=8")

    def test_a_client_may_go_on_long_after_the_application_has_ended(self):
        rest, over = [], threading.Event()

        def serve(connection):
            connection.sendall(b"no more from here")
            connection.shutdown(socket.SHUT_WR)
            rest.append(read_all(connection))
            over.set()

        relay = self.relay(self.app(serve).target)
        local = self.connect(self.tunnel(relay.port).port)
        self.assertEqual(read_all(local), b"no more from here")
        payload = os.urandom(3 * MIB)
        local.sendall(payload)
        self.assertFalse(over.is_set())
        local.shutdown(socket.SHUT_WR)
        self.assert_set(over)
        self.assertEqual(hashlib.sha256(rest[0]).digest(), hashlib.sha256(payload).digest())
        relay.wait_for("event=closed reason=done .*in=3145728 out=17")


class CutClients(Endings):
    """Whatever ends without close_notify arrives at the application as a reset."""

    def assert_cut(self, witness, relay, reason):
        self.assert_set(witness.ended)
        self.assertEqual((witness.data, witness.ending), (b"half", "ConnectionResetError"))
        relay.wait_for(f"event=closed reason={reason} .*in=4 out=0")

    def test_a_tls_client_that_closes_without_close_notify_is_a_reset(self):
        witness = Witness()
        relay = self.relay(self.app(witness).target)
        sealed = self.tls(relay.port)
        sealed.sendall(b"half")
        self.assert_set(witness.heard)
        os.close(sealed.detach())
        self.assert_cut(witness, relay, "client-cut")

    def test_a_tls_client_that_resets_is_a_reset(self):
        witness = Witness()
        relay = self.relay(self.app(witness).target)
        sealed = self.tls(relay.port)
        sealed.sendall(b"half")
        self.assert_set(witness.heard)
        reset(socket.socket(fileno=sealed.detach()))
        self.assert_cut(witness, relay, "client-reset")

    def test_a_killed_send_is_a_reset(self):
        witness = Witness()
        relay = self.relay(self.app(witness).target)
        sending = self.keep(Process(self.send_argv(relay.port), stdin=subprocess.PIPE))
        sending.child.stdin.write(b"half")
        sending.child.stdin.flush()
        self.assert_set(witness.heard)
        sending.signal(signal.SIGKILL)
        sending.wait()
        sending.child.stdin.close()
        self.assert_cut(witness, relay, "client-(cut|reset)")

    def test_a_client_of_a_tunnel_that_resets_is_a_reset(self):
        witness = Witness()
        relay = self.relay(self.app(witness).target)
        tunnel = self.tunnel(relay.port)
        local = self.connect(tunnel.port)
        local.sendall(b"half")
        self.assert_set(witness.heard)
        reset(local)
        self.assert_cut(witness, relay, "client-alert")
        tunnel.wait_for("event=closed reason=client-reset .*in=4 out=0")

    def test_a_killed_worker_of_a_tunnel_is_a_reset(self):
        witness = Witness()
        relay = self.relay(self.app(witness).target)
        tunnel = self.tunnel(relay.port, extra="processes = { workers = 1; };")
        local = self.connect(tunnel.port)
        local.sendall(b"half")
        self.assert_set(witness.heard)
        os.kill(tunnel.role_pids("worker")[0], signal.SIGKILL)
        self.assert_cut(witness, relay, "client-(cut|reset)")
        with self.assertRaises(ConnectionResetError):
            local.recv(1)

    def test_a_killed_worker_of_the_relay_is_a_reset_on_both_sides(self):
        witness = Witness()
        relay = self.relay(self.app(witness).target)
        local = self.connect(self.tunnel(relay.port).port)
        sealed = self.tls(relay.port)
        local.sendall(b"half")
        self.assert_set(witness.heard)
        relay.wait_for("event=accepted", count=2)  # what is on its way to a worker would reach the next one
        for pid in relay.role_pids("worker"):
            os.kill(pid, signal.SIGKILL)
        self.assert_set(witness.ended)
        with self.assertRaises(ConnectionResetError):
            local.recv(1)
        with self.assertRaises((ConnectionResetError, ssl.SSLEOFError)):  # both are what Python makes of a reset
            sealed.recv(1)
        self.assertEqual((witness.data, witness.ending), (b"half", "ConnectionResetError"))


class AbsentApplications(Endings):
    def assert_undelivered(self, relay, reason, service="app"):
        done = self.send(relay.port, b"nobody reads this", service=service)
        self.assertEqual((done.returncode, done.stdout), (7, b""))
        self.assertRegex(done.stderr.decode(), r"\Aportseal-sender: .*application.*internal_error\)\n\Z")
        relay.wait_for(f"event=closed reason={reason} service={service} in=0 out=0 ms=\\d+ alert=internal_error")
        with self.assertRaises(ssl.SSLError) as caught:
            self.tls(relay.port, alpn=[f"portseal/{service}"]).recv(1)
        self.assertEqual(caught.exception.reason, "TLSV1_ALERT_INTERNAL_ERROR")
        with self.assertRaises(ConnectionResetError):
            self.connect(self.tunnel(relay.port, service=service).port).recv(1)

    def test_an_application_that_is_down_is_told(self):
        relay = self.relay(f"tcp://127.0.0.1:{free_port()}")
        self.assert_undelivered(relay, "target-refused")

    def test_a_unix_socket_that_is_not_there_is_told(self):
        relay = self.relay(f"unix:{self.dir}/nobody.sock")
        self.assert_undelivered(relay, "target-refused")

    def test_an_application_whose_backlog_is_full_times_out(self):
        listener = self.keep(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            filler = self.keep(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        relay = self.relay(f"tcp://127.0.0.1:{listener.getsockname()[1]}", extra='timeouts = { connect = "300ms"; };')
        self.assert_undelivered(relay, "target-timeout")

    def test_an_application_that_never_accepts_does_not_hold_send_for_ever(self):
        listener = self.keep(socket.create_server(("127.0.0.1", 0)))
        relay = self.relay(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        done = self.send(relay.port, b"anybody?", more=("--timeout", "300ms"))
        self.assertEqual((done.returncode, done.stdout), (7, b""))
        self.assertIn(b"no reply within 300 ms", done.stderr)
        relay.wait_for("event=closed reason=client-(cut|reset) .*in=8 out=0")

    def test_an_application_that_comes_back_is_reached_again(self):
        port = free_port()
        relay = self.relay(f"tcp://127.0.0.1:{port}")
        tunnel = self.tunnel(relay.port)
        with self.assertRaises(ConnectionResetError):
            self.connect(tunnel.port).recv(1)
        listener = self.keep(socket.create_server(("127.0.0.1", port)))
        local = self.connect(tunnel.port)
        local.sendall(b"back?")
        connection = self.keep(listener.accept()[0])
        self.assertEqual(receive(connection, 5), b"back?")


class SlowPeers(Endings):
    SIZE = 192 * MIB
    BUFFERED = 128 * MIB  # the kernel's share: six sockets' buffers, which grow with the speed, to 32 MiB on some systems

    def roles(self, *programs):
        return [pid for program in programs for pid in program.role_pids("worker")]

    def stuff(self, connection):
        """Writes until nobody takes any more for a while: how much went."""
        chunk, total, digest = os.urandom(MIB), 0, hashlib.sha256()
        connection.setblocking(False)
        while total < self.SIZE and select.select([], [connection], [], 0.5)[1]:
            n = connection.send(chunk)
            digest.update(chunk[:n])
            total += n
        connection.setblocking(True)
        return total, digest

    def assert_small(self, before):
        grown = {pid: memory_of(pid) - memory for pid, memory in before.items()}
        print(f"back-pressure: workers grew by {sorted(grown.values())} KB")
        if not is_sanitized():
            self.assertLess(max(grown.values()), 1024)

    def test_an_application_that_does_not_read_holds_the_client_back_and_gets_everything(self):
        wake, results = threading.Event(), []

        def serve(connection):
            connection.recv(1)
            wake.wait(30)
            digest = hashlib.sha256()
            while data := connection.recv(MIB):
                digest.update(data)
            results.append(digest.digest())
            connection.sendall(b"read it all")

        relay = self.relay(self.app(serve).target)
        tunnel = self.tunnel(relay.port)
        local = self.connect(tunnel.port)
        local.sendall(b"!")
        relay.wait_for("event=accepted")
        before = {pid: memory_of(pid) for pid in self.roles(relay, tunnel)}
        total, digest = self.stuff(local)
        self.assertLess(total, self.BUFFERED)
        self.assert_small(before)
        wake.set()
        chunk = os.urandom(MIB)
        for _ in range(8):
            local.sendall(chunk)
            digest.update(chunk)
        local.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(local), b"read it all")
        self.assertEqual(results, [digest.digest()])

    def test_a_client_that_does_not_read_holds_the_application_back_and_gets_everything(self):
        stuffed, results = threading.Event(), []

        def serve(connection):
            total, digest = self.stuff(connection)
            results.append(total)
            stuffed.set()
            connection.sendall(b"end")
            digest.update(b"end")
            results.append(digest.digest())

        relay = self.relay(self.app(serve).target)
        tunnel = self.tunnel(relay.port)
        local = self.connect(tunnel.port)
        relay.wait_for("event=accepted")
        before = {pid: memory_of(pid) for pid in self.roles(relay, tunnel)}
        self.assert_set(stuffed)
        self.assertLess(results[0], self.BUFFERED)
        self.assert_small(before)
        digest = hashlib.sha256()
        while data := local.recv(MIB):
            digest.update(data)
        wait_until(lambda: len(results) == 2, "the application ends")
        self.assertEqual(results[1], digest.digest())


class ResetReplies(Endings):
    """An application that resets in its reply, wherever that is, never looks as if it had ended."""

    SIZE = 200000
    PLACES = sorted({0, 1, 2, 100, 4095, 4096, 16383, 16384, 16385, 32767, 32768, 32769, 65535, 65536, 65537,
                     131071, 131072, 131073, SIZE - 1, SIZE} | {i * 7919 % 200000 for i in range(1, 45)})

    def setUp(self):
        super().setUp()

        def serve(connection):
            place = int(receive(connection, 8))
            connection.sendall(b"r" * place)
            reset(connection)

        self.running = self.relay(self.app(serve).target)
        self.assertEqual(len(self.PLACES), 64)

    def at_all_places(self, attempt):
        """{place: what attempt(question) returned} where that is not None."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            results = pool.map(lambda place: attempt(b"%08d" % place), self.PLACES)
        return {place: result for place, result in zip(self.PLACES, results) if result is not None}

    def test_send_fails_with_7(self):
        def attempt(question):
            done = self.send(self.running.port, question)
            return None if done.returncode == 7 else (done.returncode, done.stderr)

        self.assertEqual(self.at_all_places(attempt), {})
        self.running.wait_for("event=closed reason=target-reset", count=64)

    def test_a_tls_client_reads_no_clean_end(self):
        def attempt(question):
            sealed = self.tls(self.running.port)
            sealed.sendall(question)
            try:
                return f"a clean end after {len(read_all(sealed))} bytes"
            except ssl.SSLError as error:
                return None if error.reason == "TLSV1_ALERT_INTERNAL_ERROR" else repr(error)
            finally:
                sealed.close()

        self.assertEqual(self.at_all_places(attempt), {})
        self.running.wait_for("event=closed reason=target-reset", count=64)

    def test_a_client_of_a_tunnel_reads_a_reset(self):
        tunnel = self.tunnel(self.running.port)

        def attempt(question, half_close):
            with self.connect(tunnel.port) as local:
                local.sendall(question)
                try:
                    if half_close:
                        local.shutdown(socket.SHUT_WR)
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENOTCONN)  # it is reset already, as read_all tells
                try:
                    return f"a clean end after {len(read_all(local))} bytes"
                except ConnectionResetError:
                    return None

        for half_close in (False, True):
            with self.subTest(half_close=half_close):
                self.assertEqual(self.at_all_places(lambda question: attempt(question, half_close)), {})
        tunnel.wait_for("event=closed reason=relay-alert alert=internal_error", count=128)


class Timeouts(Endings):
    def test_an_idle_connection_ends_as_a_reset_on_both_sides(self):
        witness = Witness()
        relay = self.relay(self.app(witness).target, extra='timeouts = { idle = "1s"; };')
        local = self.connect(self.tunnel(relay.port).port)
        local.sendall(b"then silence")
        with self.assertRaises(ConnectionResetError):
            local.recv(1)
        relay.wait_for("event=closed reason=idle .*in=12 out=0 .*alert=internal_error")
        self.assert_set(witness.ended)
        self.assertEqual((witness.data, witness.ending), (b"then silence", "ConnectionResetError"))

    def test_an_idle_tunnel_ends_as_a_reset_on_both_sides(self):
        witness = Witness()
        relay = self.relay(self.app(witness).target)
        tunnel = self.tunnel(relay.port, extra='timeouts = { idle = "1s"; };')
        local = self.connect(tunnel.port)
        local.sendall(b"then silence")
        with self.assertRaises(ConnectionResetError):
            local.recv(1)
        tunnel.wait_for("event=closed reason=idle .*in=12 out=0")
        self.assert_set(witness.ended)
        self.assertEqual(witness.ending, "ConnectionResetError")


if __name__ == "__main__":
    main()
