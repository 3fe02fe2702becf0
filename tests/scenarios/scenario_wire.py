#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: on a network between two hosts nothing of a message and nothing of a client's name can be read,
while the application gets exactly what was sent; and when that network does not let us through, the sender says so.

Two network namespaces are the hosts, joined by a veth pair; nothing outside them is touched. Needs root."""
import collections
import ctypes
import os
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

from portseal_testing import PATIENCE, SENDER, App, Process, Scenario, main, read_all, receive, run, tool, wait_until

CLONE_NEWNET = 0x40000000
V4 = ("10.99.1.1", "10.99.1.2")
V6 = ("fd99:1::1", "fd99:1::2")
CLIENT = "client-name-nobody-may-read"


class Namespace:
    """A host of its own, with a loopback interface."""

    def __init__(self, name):
        self.name = f"portseal-{os.getpid()}-{name}"
        done = run([tool("ip"), "netns", "add", self.name])
        if done.returncode != 0:
            raise unittest.SkipTest(f"network namespaces cannot be made here: {done.stderr.decode().strip()}")
        self.prefix = (tool("ip"), "netns", "exec", self.name)

    def ip(self, *args):
        done = run([tool("ip"), "-netns", self.name, *args])
        if done.returncode != 0:
            raise AssertionError(f"ip {args}: {done.stderr.decode()}")

    def call(self, function):
        """What the function returns in a thread that lives in the namespace, as do sockets and threads it makes."""
        results = []

        def enter():
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.name}", "rb") as file:
                if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            results.append(function())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(PATIENCE)
        return results[0]

    def close(self):
        run([tool("ip"), "netns", "del", self.name])


FIN, SYN, RST = 1, 2, 4


def segments(path):
    """{(source port, destination port): [(sequence number, payload, flags)]} of a capture of TCP over Ethernet, as far
    as it is written."""
    with open(path, "rb") as file:
        data = file.read()
    order = "<" if data[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    flows, at = collections.defaultdict(list), 24
    while at + 16 <= len(data):
        length = struct.unpack_from(f"{order}I", data, at + 8)[0]
        frame = data[at + 16:at + 16 + length]
        at += 16 + length
        if len(frame) < length:
            break
        kind = struct.unpack_from(">H", frame, 12)[0]
        if kind == 0x0800:
            tcp = frame[14 + 4 * (frame[14] & 15):14 + struct.unpack_from(">H", frame, 16)[0]]
        else:
            tcp = frame[54:54 + struct.unpack_from(">H", frame, 18)[0]]
        source, destination, sequence = struct.unpack_from(">HHI", tcp)
        flows[source, destination].append((sequence, tcp[4 * (tcp[12] >> 4):], tcp[13]))
    return flows


def have_ended(path, port):
    """Whether both directions of the one connection with that port are in the capture to their end."""
    flows = [flow for ports, flow in segments(path).items() if port in ports]
    cut = any(flags & RST for flow in flows for _, _, flags in flow)
    return len(flows) == 2 and (cut or all(any(flags & FIN for _, _, flags in flow) for flow in flows))


def streams(path):
    """{(source port, destination port): bytes} put together again."""
    joined = {}
    for ports, flow in segments(path).items():
        first = next(sequence for sequence, _, flags in flow if flags & SYN)
        stream = bytearray()
        for offset, payload in sorted(((sequence - first - 1) % 2**32, payload) for sequence, payload, _ in flow
                                      if payload):
            if offset > len(stream):
                raise AssertionError(f"a hole in the capture of {ports}")
            stream[offset:offset + len(payload)] = payload
        joined[ports] = bytes(stream)
    return joined


class Capture:
    def __init__(self, scenario, namespace, interface, name):
        self.path = os.path.join(scenario.dir, f"{scenario.id().rpartition('.')[2]}-{name}.pcap")
        self.process = scenario.keep(Process([*namespace.prefix, tool("tcpdump"), "-Z", "root", "-i", interface,
                                              "--immediate-mode", "-U", "-s", "0", "-B", "16384", "-w", self.path,
                                              "tcp"]))
        self.process.wait_for("listening on")

    def streams(self, port):
        """Everything there was, once the connection with that port is over."""
        wait_until(lambda: have_ended(self.path, port), "the end of the connection is captured")
        self.process.signal(signal.SIGINT)
        self.process.wait_for("^0 packets dropped by kernel")
        self.process.wait()
        return streams(self.path)


class Wire(Scenario):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("network namespaces need root")
        super().setUpClass()
        cls.certs("relay", "wire", "--dns", "relay.wire", *sum((["--ip", pair[1]] for pair in (V4, V6)), []))
        cls.certs("sender", CLIENT)

    def setUp(self):
        super().setUp()
        self.near = self.keep(Namespace("near"))
        self.far = self.keep(Namespace("far"))
        self.near.ip("link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", self.far.name)
        for host, v4, v6 in ((self.near, V4[0], V6[0]), (self.far, V4[1], V6[1])):
            host.ip("addr", "add", f"{v4}/24", "dev", "wire")
            host.ip("addr", "add", f"{v6}/64", "dev", "wire", "nodad")
            host.ip("link", "set", "lo", "up")
            host.ip("link", "set", "wire", "up")

    def far_app(self, serve):
        return self.keep(self.far.call(lambda: App(serve)))

    def far_relay(self, target, address=V4[1]):
        host = f"[{address}]" if ":" in address else address
        config = self.relay_config({"app": (target, f'{{ cn = "{CLIENT}"; }}', "")},
                                   listen=f'{{ address = "{host}:0"; }}')
        config = config.replace(self.crt("relay"), self.crt("wire")).replace(self.key("relay"), self.key("wire"))
        relay = self.relay(config=config, argv_prefix=self.far.prefix)
        relay.address = f"{host}:{relay.port}"
        return relay

    def sender_config(self, address, connect="5s", protocol="tls"):
        return self.file("near.conf", f"""
relays = ( {{ address = "{address}"; server_name = "relay.wire"; }} );
tls = {{ certificate = "{self.crt(CLIENT)}"; key = "{self.key(CLIENT)}"; relay_ca = "{self.pki}/ca.crt"; }};
tunnels = ( {{ listen = "127.0.0.1:0"; service = "app"; }} );
service = "app";
protocol = "{protocol}";
timeouts = {{ connect = "{connect}"; }};
""")

    def near_send(self, address, payload, *more, connect="5s"):
        return run([*self.near.prefix, SENDER, "send", "-c", self.sender_config(address, connect), *more],
                   stdin=payload)


class Secrecy(Wire):
    def setUp(self):
        super().setUp()
        self.up, self.down = os.urandom(64), os.urandom(64)
        self.question = b"".join(os.urandom(5000) + self.up for _ in range(40))
        self.reply = b"".join(os.urandom(7000) + self.down for _ in range(40))
        self.answered = []

        def serve(connection):
            self.answered.append(read_all(connection))
            connection.sendall(self.reply)

        self.application = self.far_app(serve)

    def assert_secret(self, wire, relay_port):
        """Nothing of it is to be read on the wire, where all of it passed, as the name in the ClientHello shows."""
        relay_streams = {ports: stream for ports, stream in wire.items() if relay_port in ports}
        self.assertEqual(len(relay_streams), 2)
        sizes = {ports[1] == relay_port: len(stream) for ports, stream in relay_streams.items()}
        self.assertGreater(sizes[True], len(self.question))
        self.assertGreater(sizes[False], len(self.reply))
        everything = b"".join(wire.values())
        self.assertTrue(b"relay.wire" in everything, "the ClientHello's server name is not in the capture")
        for name, secret in (("question", self.up), ("reply", self.down), ("client", CLIENT.encode()),
                             ("authority", b"Scenario CA")):
            for form in (secret, secret.hex().encode(), secret[::-1], secret[:16], secret[-16:]):
                self.assertFalse(form in everything, f"{name} is to be read on the wire")

    def assert_plain(self, streams, port):
        seen = {ports[1] == port: stream for ports, stream in streams.items() if port in ports}
        self.assertEqual((len(seen[True]), len(seen[False])), (len(self.question), len(self.reply)))
        self.assertTrue(seen == {True: self.question, False: self.reply}, "what is plain differs")

    def check_send(self, address):
        wire = Capture(self, self.near, "wire", "wire")
        behind = Capture(self, self.far, "lo", "behind")
        relay = self.far_relay(self.application.target, address)
        done = self.near_send(relay.address, self.question)
        self.assertEqual((done.returncode, done.stdout == self.reply, done.stderr), (0, True, b""))
        self.assertTrue(self.answered == [self.question], "the application got something else")
        relay.wait_for("event=closed reason=done")
        self.assert_secret(wire.streams(relay.port), relay.port)
        self.assert_plain(behind.streams(self.application.port), self.application.port)

    def test_send_shows_nothing_on_the_wire(self):
        self.check_send(V4[1])

    def test_send_over_ipv6_shows_nothing_on_the_wire(self):
        self.check_send(V6[1])

    def test_a_tunnel_shows_nothing_on_the_wire(self):
        wire = Capture(self, self.far, "wire", "wire")
        before = Capture(self, self.near, "lo", "before")
        behind = Capture(self, self.far, "lo", "behind")
        relay = self.far_relay(self.application.target)
        tunnel = self.keep(Process([*self.near.prefix, SENDER, "tunnel", "-c", self.sender_config(relay.address)]))
        port = int(tunnel.wait_for(r"event=listening address=127\.0\.0\.1:(\d+)").group(1))
        tunnel.wait_for("event=started")
        with self.near.call(lambda: socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)) as local:
            local.sendall(self.question)
            local.shutdown(socket.SHUT_WR)
            self.assertTrue(read_all(local) == self.reply, "the reply differs")
        for program in (relay, tunnel):
            program.wait_for("event=closed reason=done")
        self.assert_secret(wire.streams(relay.port), relay.port)
        self.assert_plain(before.streams(port), port)
        self.assert_plain(behind.streams(self.application.port), self.application.port)

    def test_the_capture_would_show_what_is_plain(self):
        wire = Capture(self, self.near, "wire", "control")
        listener = self.keep(self.far.call(lambda: socket.create_server((V4[1], 0))))
        port = listener.getsockname()[1]
        with self.near.call(lambda: socket.create_connection((V4[1], port), timeout=PATIENCE)) as local:
            connection = self.keep(listener.accept()[0])
            local.sendall(self.question)
            self.assertTrue(receive(connection, len(self.question)) == self.question)
        connection.close()
        self.assertTrue(self.question in wire.streams(port).values(), "the control is not in the capture")


class Firewalls(Wire):
    """A route into a black hole drops packets as a firewall does."""

    def setUp(self):
        super().setUp()
        self.application = self.far_app(lambda connection: connection.sendall(read_all(connection)))

    def assert_not_reached(self, done, address, advice):
        self.assertEqual((done.returncode, done.stdout), (4, b""))
        self.assertRegex(done.stderr.decode(), f"\\Aportseal-sender: {address.replace('[', '.').replace(']', '.')}: "
                                               f"{advice}\n\\Z")

    def test_dropped_packets_are_a_timeout_that_hints_at_a_firewall(self):
        for near, far in (V4, V6):
            relay = self.far_relay(self.application.target, far)
            self.assertEqual(self.near_send(relay.address, b"open").stdout, b"open")
            self.far.ip("route", "add", "blackhole", near)
            started = time.monotonic()
            done = self.near_send(relay.address, b"dropped", connect="500ms")
            self.assertLess(time.monotonic() - started, 5)
            self.assert_not_reached(done, relay.address, ".*firewall.*")

    def test_no_route_is_unreachable(self):
        for address in ("10.98.0.1:8443", "[fd98::1]:8443"):
            self.assert_not_reached(self.near_send(address, b"nowhere"), address, "there is no route.*unreachable.*")

    def test_a_host_that_is_declared_unreachable_is_told(self):
        for address, net in (("10.97.0.1:8443", "10.97.0.0/16"), ("[fd97::1]:8443", "fd97::/16")):
            self.near.ip("route", "add", "unreachable", net)
            self.assert_not_reached(self.near_send(address, b"nowhere"), address, "there is no route.*")

    def test_a_port_that_nobody_listens_on_is_refused(self):
        address = f"{V4[1]}:1"
        self.assert_not_reached(self.near_send(address, b"nobody"), address, "nobody listens there.*refused.*")

    def test_a_network_that_falls_silent_in_the_middle_is_no_success(self):
        arrived = threading.Event()

        def serve(connection):
            connection.recv(1)
            arrived.set()
            read_all(connection)

        relay = self.far_relay(self.far_app(serve).target)
        sending = self.keep(Process([*self.near.prefix, SENDER, "send", "-c", self.sender_config(relay.address),
                                     "--timeout", "500ms"], stdin=subprocess.PIPE))
        sending.child.stdin.write(b"before")
        sending.child.stdin.flush()
        self.assertTrue(arrived.wait(PATIENCE))
        self.near.ip("link", "set", "wire", "down")
        sending.child.stdin.write(b"after")
        sending.child.stdin.close()
        self.assertEqual(sending.wait(), 7)
        self.assertEqual(len(sending.log()), 1)

    def test_a_tunnel_goes_on_when_the_network_is_back(self):
        relay = self.far_relay(self.application.target)
        tunnel = self.keep(Process([*self.near.prefix, SENDER, "tunnel", "-c",
                                    self.sender_config(relay.address, "300ms", protocol="auto")]))
        port = int(tunnel.wait_for(r"event=listening address=127\.0\.0\.1:(\d+)").group(1))
        tunnel.wait_for("event=started")

        def ask():
            with self.near.call(lambda: socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)) as local:
                local.sendall(b"there?")
                local.shutdown(socket.SHUT_WR)
                return read_all(local)

        self.assertEqual(ask(), b"there?")
        self.far.ip("route", "add", "blackhole", V4[0])
        with self.assertRaises(ConnectionResetError):
            ask()
        tunnel.wait_for("event=refused reason=relay-not-reached .*firewall")
        self.far.ip("route", "del", "blackhole", V4[0])
        self.assertEqual(ask(), b"there?")


if __name__ == "__main__":
    main()
