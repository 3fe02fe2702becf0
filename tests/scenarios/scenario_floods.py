#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: whatever strangers pour onto the port, honest clients are served beside it, nobody is refused for
it, and when it is over the relay holds no more than before.

PORTSEAL_LONG=1 runs 10,000 connections instead of what fits into a quick run."""
import concurrent.futures
import os
import re
import resource
import selectors
import socket
import ssl
import statistics
import threading
import time

from outsiders import client_hello
from portseal_testing import (PATIENCE, Scenario, descriptors_of, is_sanitized, main, memory_of, wait_until)

LONG = os.environ.get("PORTSEAL_LONG") == "1"
CHANGE_CIPHER_SPEC = b"\x14\x03\x03\x00\x01\x01"
WARNING = b"\x15\x03\x03\x00\x02\x01\x5a"  # user_canceled
HONEST = "127.0.0.1"
HANDSHAKE_TIMEOUT = 'timeouts = { handshake = "60s"; };'


def allow_many_descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))


class Floods(Scenario):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        allow_many_descriptors()

    def connect_from(self, source, port):
        return self.keep(socket.create_connection((HONEST, port), PATIENCE, source_address=(source, 0)))

    def serve_one(self, port, context):
        """One honest connection from start to end; the seconds that handshake and echo took."""
        start = time.monotonic()
        with socket.create_connection((HONEST, port), PATIENCE) as plain:
            with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as sealed:
                sealed.sendall(b"honest")
                if sealed.recv(100) != b"honest":
                    raise AssertionError("no echo")
                taken = time.monotonic() - start
                sealed.unwrap().close()
        return taken

    def latencies(self, port, count):
        context = self.tls_context()
        return sorted(self.serve_one(port, context) for _ in range(count))

    def assert_honest_are_served(self, relay, quiet, busy):
        """None refused, and none made to wait: in a bound wide enough for a machine that does other things as well."""
        self.assertEqual(relay.find(f"event=refused .*peer={HONEST}:"), [])
        print(f"[quiet p50 {statistics.median(quiet) * 1e3:.1f} max {quiet[-1] * 1e3:.1f} ms, "
              f"flooded p50 {statistics.median(busy) * 1e3:.1f} max {busy[-1] * 1e3:.1f} ms]", end=" ")
        self.assertLess(statistics.median(busy), 5 * statistics.median(quiet) + 0.05)

    def held(self, relay):
        return sum(descriptors_of(pid) for pid in relay.role_pids("gatekeeper"))

    def test_half_client_hellos_by_the_thousand(self):
        relay = self.relay(self.app().target, extra="limits = { waiting = 20000; };" + HANDSHAKE_TIMEOUT)
        quiet = self.latencies(relay.port, 60)
        hello = client_hello()
        base = self.held(relay)
        for i in range(5000):
            self.connect_from(f"127.0.1.{i % 200 + 1}", relay.port).sendall(hello[:len(hello) // 2])
        wait_until(lambda: self.held(relay) >= base + 5000, "5000 half hellos are held")
        busy = self.latencies(relay.port, 60)
        self.assertEqual(relay.find("event=refused"), [])
        self.assert_honest_are_served(relay, quiet, busy)

    def test_more_silence_than_may_wait_pushes_out_the_oldest(self):
        relay = self.relay(self.app().target, extra="limits = { waiting = 100; };" + HANDSHAKE_TIMEOUT)
        quiet = self.latencies(relay.port, 20)
        for i in range(400):
            self.connect_from("127.0.1.1", relay.port)
        relay.wait_for("event=refused reason=too-many-handshakes .*limits.waiting", count=200)
        busy = self.latencies(relay.port, 20)
        self.assert_honest_are_served(relay, quiet, busy)
        self.assertLess(self.held(relay), 200)

    def flood_inside_handshake(self, relay, port_source, record):
        """Pours the record behind a whole ClientHello until the relay has enough; True if that was so."""
        plain = self.connect_from(port_source, relay.port)
        plain.sendall(client_hello())
        poured = 0
        try:
            while poured < 64 << 20:
                plain.sendall(record * 1000)
                poured += 1000 * len(record)
        except OSError:
            return True
        return False

    def test_records_that_mean_nothing_inside_the_handshake(self):
        relay = self.relay(self.app().target)
        quiet = self.latencies(relay.port, 30)
        start = len(relay.log())
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            floods = [pool.submit(self.flood_inside_handshake, relay, f"127.0.1.{i + 1}", record)
                      for i, record in enumerate([CHANGE_CIPHER_SPEC, WARNING] * 4)]
            busy = self.latencies(relay.port, 30)
            self.assertEqual([flood.result() for flood in floods], [True] * 8)
        relay.wait_for("event=refused reason=(tls-failed|peer-alert) .*peer=127.0.1.", count=8, start=start)
        self.assertEqual(len(relay.find("event=refused", start)), 8)
        self.assertEqual(len(relay.find("reason=tls-failed .*more than a handshake can need", start)), 4)
        self.assert_honest_are_served(relay, quiet, busy)

    def test_one_byte_at_a_time(self):
        relay = self.relay(self.app().target, extra='timeouts = { handshake = "1s"; };')
        quiet = self.latencies(relay.port, 20)
        hello, context, busy = client_hello(), self.tls_context(), []
        slow = [self.connect_from("127.0.1.1", relay.port) for _ in range(50)]
        for at in range(len(hello) - 1):
            for connection in slow:
                try:
                    connection.sendall(hello[at:at + 1])
                except OSError:
                    pass  # it was refused
            busy.append(self.serve_one(relay.port, context))
            if len(relay.find("reason=handshake-timeout")) == len(slow):
                break
        relay.wait_for("event=refused reason=handshake-timeout .*did not become whole", count=len(slow))
        self.assert_honest_are_served(relay, quiet, sorted(busy))

    def test_silence_costs_next_to_nothing(self):
        relay = self.relay(self.app().target, extra=HANDSHAKE_TIMEOUT)
        self.latencies(relay.port, 20)
        self.settled(relay, None)
        gatekeepers = relay.role_pids("gatekeeper")
        base, base_kb = self.held(relay), sum(map(memory_of, gatekeepers))
        for _ in range(500):
            self.connect_from("127.0.1.1", relay.port)
        wait_until(lambda: self.held(relay) == base + 500, "500 silent connections are held")
        grown = sum(map(memory_of, gatekeepers)) - base_kb
        print(f"[{grown / 500:.2f} KiB each]", end=" ")
        if not is_sanitized():
            self.assertLess(grown, 500)

    def role_costs(self, relay):
        return {pid: (descriptors_of(pid), memory_of(pid)) for pid, _ in relay.children()}

    def test_thousands_of_connections_leave_nothing_behind(self):
        count = 10000 if LONG else 200 if is_sanitized() else 1000
        relay = self.relay(self.app().target)
        context = self.tls_context()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: self.serve_one(relay.port, context), range(100)))
            base = self.settled(relay, None)
            begun = time.monotonic()
            list(pool.map(lambda _: self.serve_one(relay.port, context), range(count)))
            rate = count / (time.monotonic() - begun)
        after = self.settled(relay, base)
        grown = [after[pid][1] - base[pid][1] for pid in base]
        print(f"[{count} at {rate:.0f}/s, grown by {grown} KiB]", end=" ")
        if not is_sanitized():
            self.assertLess(max(grown), 512)

    def settled(self, relay, base):
        """What the roles hold once the last connections are gone: the descriptors of `base`, or of the idle relay."""
        def look():
            costs = self.role_costs(relay)
            wanted = {pid: idle for pid, idle in self.idle.items()} if base is None else \
                     {pid: cost[0] for pid, cost in base.items()}
            return costs if {pid: cost[0] for pid, cost in costs.items()} == wanted else None
        return wait_until(look, "all descriptors are given back")

    def relay(self, *args, **kwargs):
        relay = super().relay(*args, **kwargs)
        self.idle = {pid: descriptors_of(pid) for pid, _ in relay.children()}
        return relay

    def test_gatekeepers_without_descriptors_recover(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

        relay = self.relay(self.app().target, extra=HANDSHAKE_TIMEOUT, preexec=few)
        self.latencies(relay.port, 5)
        silent = [self.connect_from("127.0.1.1", relay.port) for _ in range(200)]
        relay.wait_for("event=accept-paused", count=2)
        for connection in silent:
            connection.close()
        relay.wait_for("event=accept-resumed", count=2)
        self.latencies(relay.port, 5)
        self.assertEqual(relay.find("event=role-died"), [])
        self.settled(relay, None)

    def try_to_enter(self, port, count):
        """Honest connections that stay; those that got an echo."""
        context, inside = self.tls_context(), []
        for _ in range(count):
            sealed = self.keep(context.wrap_socket(self.connect(port), server_hostname="localhost"))
            try:
                sealed.sendall(b"in")
                inside += [sealed] if sealed.recv(10) == b"in" else []
            except OSError:
                pass  # it was cut
        return inside

    def allow_workers(self, relay, descriptors):
        for pid in relay.role_pids("worker"):
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, hard))

    def test_workers_without_descriptors_recover(self):
        relay = self.relay(self.app().target, extra="limits = { connections = 100; };")
        self.allow_workers(relay, 64)
        inside = self.try_to_enter(relay.port, 120)
        self.assertIn(len(inside), range(40, 60))
        relay.wait_for("event=closed reason=(no-descriptors|target-failed)", count=120 - len(inside))
        for sealed in inside:
            sealed.sendall(b"still")
            self.assertEqual(sealed.recv(10), b"still")
            sealed.unwrap().close()
        self.settled(relay, None)
        self.allow_workers(relay, 1000)
        self.assertEqual(len(self.try_to_enter(relay.port, 100)), 100)  # none of those that were cut counts any more
        self.assertEqual(relay.find("event=refused|event=role-died|level=error"), [])

    def test_two_hundred_handshakes_of_one_source_do_not_hold_up_another(self):
        relay = self.relay(self.app().target, extra="limits = { handshakes = 16; handshakes_per_source = 16; };")
        context, selector = self.tls_context(), selectors.DefaultSelector()
        crowd = []
        for _ in range(200):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
            plain = self.connect_from("127.0.1.1", relay.port)
            crowd.append((plain, tls, incoming, outgoing))
        start = len(relay.log())
        for member in crowd:
            self.advance(member)
            selector.register(member[0], selectors.EVENT_READ, member)
        honest = []
        visitor = threading.Thread(target=lambda: honest.extend(self.latencies(relay.port, 1)))
        visitor.start()
        left = len(crowd)
        while left > 0:
            for key, _ in selector.select(PATIENCE):
                if self.advance(key.data):
                    selector.unregister(key.fileobj)
                    left -= 1
        visitor.join(PATIENCE)
        told = "event=(?:accepted|refused) .*peer=([0-9.]+):"
        relay.wait_for(told, count=201, start=start)
        order = [re.search(told, line).group(1) for line in relay.find(told, start)]
        print(f"[in turn {order.index(HONEST) + 1} of {len(order)}]", end=" ")
        self.assertEqual((len(honest), relay.find(f"event=refused .*peer={HONEST}:")), (1, []))
        self.assertLess(order.index(HONEST), 150)  # it came last: were there one line for all, it would be 201st

    @staticmethod
    def advance(member):
        """One step of a handshake; True when it is done, or was refused because this machine is too slow for it."""
        plain, tls, incoming, outgoing = member
        plain.setblocking(False)
        try:
            data = plain.recv(65536)
            incoming.write(data)
            ended = not data
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        try:
            tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = ended
        try:
            plain.sendall(outgoing.read())
        except OSError:
            done = True
        return done


if __name__ == "__main__":
    main()
