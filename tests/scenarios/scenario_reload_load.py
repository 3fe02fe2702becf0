#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: certificate, authorities, revocation list and rules change one after the other under load, and no
honest connection is refused or cut, no byte is lost, and nothing grows.

PORTSEAL_LONG=1 runs 20 reloads under 50 streams and 100 new connections a second, instead of what fits into a quick run."""
import hashlib
import os
import socket
import threading
import time

from portseal_testing import descriptors_of, is_sanitized, main, memory_of, wait_until
from reloading import Reloading

LONG = os.environ.get("PORTSEAL_LONG") == "1"
STREAMS = 50
A_SECOND = 100 if LONG else 40
RELOADS = 20 if LONG else 8
BETWEEN = 1.0 if LONG else 0.5  # seconds' worth of new connections from one reload to the next
WARM = 4                        # reloads after which memory may not grow any more
KINDS = ("rules", "certificate", "authorities", "revocations")
GROWTH = 1024                   # kilobytes: what an allocator keeps for a crowd that happened to be larger


class Crowd:
    """Half of the streams come by our tunnel, half straight by OpenSSL, as do all the new connections."""

    def __init__(self, scenario, tunnel_port):
        self.scenario, self.tunnel_port = scenario, tunnel_port
        self.context = scenario.tls_context("alice", ["portseal/app"])
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.faults, self.streamed, self.ended, self.connected, self.late = [], 0, 0, 0, 0
        self.threads = [threading.Thread(target=self.stream, args=(number % 2 == 0,)) for number in range(STREAMS)]
        self.threads += [threading.Thread(target=self.come_and_go, args=(number,)) for number in range(8)]
        for thread in self.threads:
            thread.start()

    def open(self, by_tunnel):
        if by_tunnel:
            return socket.create_connection(("127.0.0.1", self.tunnel_port), timeout=30)
        plain = socket.create_connection(("127.0.0.1", self.scenario.port), timeout=30)
        return self.context.wrap_socket(plain, server_hostname="localhost")

    def end(self, connection, by_tunnel):
        """Our direction ends; nothing but the end comes back."""
        if by_tunnel:
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1):
                raise OSError("more than was sent")
        else:
            connection.unwrap()
        connection.close()

    def exchange(self, connection, block, came):
        connection.sendall(block)
        left = len(block)
        while left:
            data = connection.recv(left)
            if not data:
                raise OSError("a clean end, too early")
            came.update(data)
            left -= len(data)

    def stream(self, by_tunnel):
        sent, came, count = hashlib.sha256(), hashlib.sha256(), 0
        try:
            connection = self.open(by_tunnel)
            while not self.over.wait(0.02):
                block = os.urandom(4096)
                sent.update(block)
                self.exchange(connection, block, came)
                count += len(block)
            self.end(connection, by_tunnel)
            if sent.digest() != came.digest():
                raise OSError("changed on the way")
            with self.lock:
                self.ended += 1
                self.streamed += count
        except OSError as error:
            self.faults.append(("stream", by_tunnel, error))

    def come_and_go(self, number):
        """Every eighth of A_SECOND connections a second, on the beat; what comes late is counted."""
        step = 8 / A_SECOND
        due = time.monotonic() + step * number / 8
        while not self.over.wait(max(0.0, due - time.monotonic())):
            try:
                connection = self.open(False)
                self.exchange(connection, b"hello", hashlib.sha256())
                self.end(connection, False)
            except OSError as error:
                self.faults.append(("connection", error))
            due += step
            with self.lock:
                self.connected += 1
                if due < time.monotonic():
                    self.late += 1
                    due = time.monotonic()

    def finish(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


class UnderLoad(Reloading):
    def text(self, number):
        """Each kind of change has happened as often as its turn came."""
        turns = [(number + len(KINDS) - 1 - kind) // len(KINDS) for kind in range(len(KINDS))]
        names = ["alice", f"newcomer{turns[0]}", *(f"victim{number}" for number in range(RELOADS))]
        text = self.config(", ".join('{ cn = "%s"; }' % name for name in names), tls=f'crl = "{self.pki}/ca.crl";')
        text = text.replace(f"{self.pki}/ca.crt", self.bundle)
        return text.replace(self.crt("relay"), self.crt(f"relay{turns[1]}")).replace(self.key("relay"),
                                                                                self.key(f"relay{turns[1]}"))

    def write_bundle(self, names):
        parts = []
        for name in names:
            with open(name, encoding="ascii") as file:
                parts.append(file.read())
        with open(f"{self.bundle}.new", "w", encoding="ascii") as file:
            file.write("".join(parts))
        os.replace(f"{self.bundle}.new", self.bundle)

    def prepare(self):
        self.bundle = os.path.join(self.dir, "bundle.crt")
        self.others = []
        for number in range(RELOADS // len(KINDS) + 2):
            self.certs("relay", f"relay{number}", "--dns", "localhost", "--ip", "127.0.0.1")
            self.certs("sender", f"victim{number}")
            other = os.path.join(self.dir, f"other{number}")
            self.certs("init", "--name", f"Other CA {number}", pki=other)
            self.others.append(f"{other}/ca.crt")
        self.write_bundle([f"{self.pki}/ca.crt"])

    def change(self, number):
        """What lies outside of the configuration; returns the kind of change."""
        kind, turn = KINDS[(number - 1) % len(KINDS)], (number - 1) // len(KINDS)
        if kind == "authorities":
            self.write_bundle([*self.others[turn:turn + 2], f"{self.pki}/ca.crt"])
        if kind == "revocations":
            self.certs("revoke", f"victim{turn}")
        return kind, turn

    def assert_in_force(self, relay, kind, turn):
        # A gatekeeper that has not heard of it yet may take one more, which is judged again by the worker.
        if kind == "revocations":
            wait_until(lambda: self.send(self.port, b"x", identity=f"victim{turn}").returncode == 6, "it is refused")
        if kind == "certificate":
            wait_until(lambda: self.shown() == ((("commonName", f"relay{turn + 1}"),),), "it is shown")

    def shown(self):
        sealed = self.tls(self.port)
        subject = sealed.getpeercert()["subject"]
        sealed.unwrap()
        return subject

    def sizes(self, relay):
        """Of those that live through all generations: {pid: kilobytes}"""
        return {pid: memory_of(pid) for pid in (relay.pid, *relay.role_pids("worker"))}

    def test_twenty_reloads_cut_nobody_lose_no_byte_and_leave_nothing_behind(self):
        self.prepare()
        relay = self.start(self.text(0))
        tunnel = self.tunnel(self.port)
        wait_until(lambda: len(relay.children()) == 4, "all roles")
        at_rest = {pid: descriptors_of(pid) for pid in self.sizes(relay)}
        gatekeeper_at_rest = max(descriptors_of(pid) for pid in relay.role_pids("gatekeeper"))
        crowd = Crowd(self, tunnel.port)
        self.addCleanup(crowd.finish)
        began, sizes = time.monotonic(), []
        wait_until(lambda: crowd.faults or crowd.connected >= A_SECOND * BETWEEN, "the crowd is there")
        for number in range(1, RELOADS + 1):
            goal = crowd.connected + A_SECOND * BETWEEN
            kind, turn = self.change(number)
            self.reload(relay, self.text(number))
            self.assert_in_force(relay, kind, turn)
            wait_until(lambda goal=goal: crowd.faults or crowd.connected >= goal, "new connections under load")
            sizes.append(self.sizes(relay))
        took = time.monotonic() - began
        crowd.finish()
        self.assertEqual(crowd.faults, [])
        self.assertEqual(crowd.ended, STREAMS)
        self.assertEqual([line for line in relay.find("event=refused") if "reason=revoked" not in line], [])
        wait_until(lambda: not [line for line in relay.find("event=accepted")][len(relay.find("event=closed")):],
                   "every connection has its last line")
        self.assertEqual([line for line in relay.find("event=closed")
                          if "reason=done" not in line and "reason=revoked" not in line], [])
        self.assert_nothing_grew(relay, sizes, at_rest, gatekeeper_at_rest)
        print(f"{RELOADS} reloads, {STREAMS} streams with {crowd.streamed} bytes, {crowd.connected} connections in "
              f"{took:.1f} s ({crowd.connected / took:.0f} a second, {crowd.late} late); kilobytes after the first, "
              f"the fourth and the last reload: {[list(at.values()) for at in (sizes[0], sizes[WARM - 1], sizes[-1])]}")

    def assert_nothing_grew(self, relay, sizes, at_rest, gatekeeper_at_rest):
        wait_until(lambda: len(relay.children()) == 4, "old gatekeepers are gone")
        for pid, count in at_rest.items():
            wait_until(lambda pid=pid, count=count: descriptors_of(pid) == count,
                       f"{descriptors_of(pid)} descriptors of {pid} become {count} again")
        for pid in relay.role_pids("gatekeeper"):
            wait_until(lambda pid=pid: descriptors_of(pid) <= gatekeeper_at_rest, "a gatekeeper has no more than the first")
        if is_sanitized():
            return
        for pid, size in sizes[-1].items():
            self.assertLess(size, sizes[WARM - 1][pid] + GROWTH, sizes)


if __name__ == "__main__":
    main()
