#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A tunnel's local connections are streams on a few HTTP/2 connections; whichever of them ends, nobody sees a clean end that
was none, and whoever had sent nothing is served by another."""
import asyncio
import hashlib
import os
import signal
import socket
import unittest

from portseal_testing import (RELAY, SENDER, Load, Process, Scenario, free_port, is_sanitized, main, read_all, receive,
                              reset, wait_until)

CONNECTIONS = 300 if is_sanitized() else 1000
NOT_CUT = {"done", "differs", "EOFError"}  # the last is a clean end that was none


class Pool(Scenario):
    def start_relay(self, port, target, more=""):
        """At a port that is known before, so that another one can take its place."""
        config = self.relay_config({"app": (target, "{ any = true; }", "")}, more or
                                   '{ address = "127.0.0.1:%d"; }' % port, extra='timeouts = { drain = "20s"; };')
        relay = self.keep(Process([RELAY, "-c", self.file(f"pool-relay-{port}.conf", config)]))
        relay.wait_for("event=started")
        relay.port = port
        return relay

    def start_sender(self, ports, more="", workers=1, service="app", identity="alice"):
        relays = ", ".join(f'{{ address = "127.0.0.1:{port}"; server_name = "localhost"; }}' for port in ports)
        port = free_port()
        config = f"""
relays = ( {relays} );
tls = {{ certificate = "{self.crt(identity)}"; key = "{self.key(identity)}"; relay_ca = "{self.pki}/ca.crt"; }};
tunnels = ( {{ listen = "127.0.0.1:{port}"; service = "{service}"; }} );
processes = {{ gatekeepers = 1; workers = {workers}; }};
{more}
"""
        sender = self.keep(Process([SENDER, "tunnel", "-c", self.file(f"pool-sender-{port}.conf", config)]))
        sender.wait_for("event=started")
        sender.port = port
        return sender

    def talk(self, connection, word=b"word"):
        connection.sendall(word)
        self.assertEqual(receive(connection, len(word)), word)

    def talk_once(self, sender):
        with self.connect(sender.port) as local:
            self.talk(local)

    def talk_in_the_end(self, sender):
        """A relay that has just come back is found within the time that it rests."""
        def works():
            try:
                self.talk_once(sender)
            except (OSError, EOFError):
                return False
            return True

        wait_until(works, "a connection through the tunnel")

    def assert_reset(self, sender, pattern, port=None):
        with self.assertRaises(ConnectionError), self.connect(port or sender.port) as local:  # it may be reset as it connects
            local.sendall(b"x")
            raise AssertionError(f"an answer: {local.recv(100)!r}")
        sender.wait_for(pattern)


class Streams(Pool):
    def test_many_local_connections_share_one_connection_to_the_relay(self):
        relay = self.start_relay(free_port(), self.app().target)
        sender = self.start_sender([relay.port])
        for _ in range(20):
            self.talk_once(sender)
        self.assertEqual(len(sender.find("event=pool-opened")), 1)
        self.assertEqual(len(sender.find("event=accepted .*pool=[0-9a-f]+ stream=[0-9]+")), 20)
        sender.wait_for("event=closed reason=done", count=20)

    def test_both_directions_end_on_their_own(self):
        def last_word(connection):
            connection.sendall(b"%d" % len(read_all(connection)))
            connection.shutdown(socket.SHUT_WR)

        relay = self.start_relay(free_port(), self.app(last_word).target)
        sender = self.start_sender([relay.port])
        local = self.connect(sender.port)
        local.sendall(b"x" * 100000)
        local.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(local), b"100000")
        sender.wait_for("event=closed reason=done .*in=100000 out=6")

    def test_concurrent_connections_through_one_pool_keep_their_bytes_apart(self):
        relay = self.start_relay(free_port(), self.app_of_many())
        sender = self.start_sender([relay.port])

        async def one(gate):
            reader, writer = await asyncio.open_connection("127.0.0.1", sender.port)
            data = os.urandom(20000)
            writer.write(data[:1])
            self.assertEqual(await reader.readexactly(1), data[:1])
            gate.append(1)
            while len(gate) < CONNECTIONS:  # all are open at once
                await asyncio.sleep(0.05)
            writer.write(data[1:])
            writer.write_eof()
            came = hashlib.sha256(data[:1])
            while part := await reader.read(65536):
                came.update(part)
            writer.close()
            return came.digest() == hashlib.sha256(data).digest()

        async def every():
            gate = []
            return await asyncio.wait_for(asyncio.gather(*(one(gate) for _ in range(CONNECTIONS))), 60)

        self.assertEqual(asyncio.run(every()), [True] * CONNECTIONS)
        self.assertEqual(sender.find("event=refused"), [])
        self.assertLessEqual(len(sender.find("event=pool-opened")), 8)

    def app_of_many(self):
        """An echo in a process of its own: a thousand threads here would starve the test."""
        port = free_port()
        code = ("import asyncio, sys\n"
                "async def echo(reader, writer):\n"
                "    while part := await reader.read(65536):\n"
                "        writer.write(part)\n"
                "        await writer.drain()\n"
                "    writer.write_eof()\n"
                "async def main():\n"
                f"    server = await asyncio.start_server(echo, '127.0.0.1', {port}, backlog=2048)\n"
                "    print('ready', file=sys.stderr, flush=True)\n"
                "    await server.serve_forever()\n"
                "asyncio.run(main())\n")
        self.keep(Process(["python3", "-c", code])).wait_for("ready")
        return f"tcp://127.0.0.1:{port}"

    def test_a_client_that_resets_ends_only_its_own_stream(self):
        relay = self.start_relay(free_port(), self.app().target)
        sender = self.start_sender([relay.port])
        first, second = self.connect(sender.port), self.connect(sender.port)
        self.talk(first)
        self.talk(second)
        reset(first)
        sender.wait_for("event=closed reason=client-reset")
        self.talk(second, b"untouched")
        self.assertEqual(len(sender.find("event=pool-opened")), 1)

    def test_an_application_that_resets_is_a_reset_and_never_a_clean_end(self):
        def half_a_reply(connection):
            connection.recv(10)
            connection.sendall(b"half")
            connection.recv(10)
            reset(connection)

        relay = self.start_relay(free_port(), self.app(half_a_reply).target)
        sender = self.start_sender([relay.port])
        local = self.connect(sender.port)
        local.sendall(b"x")
        self.assertEqual(receive(local, 4), b"half")
        local.sendall(b"y")
        with self.assertRaises(ConnectionResetError):
            local.recv(1)
        sender.wait_for("event=closed reason=relay-reset code=CONNECT_ERROR .*in=2 out=4")

    def test_what_the_relay_answers_is_why_a_client_is_reset(self):
        self.certs("sender", "bob", "--force")
        port = free_port()
        services = {"app": (self.app().target, '{ cn = "bob"; }', ""),
                    "dead": (f"tcp://127.0.0.1:{free_port()}", "{ any = true; }", ""),
                    "open": (self.app().target, "{ any = true; }", "")}
        config = self.relay_config(services, '{ address = "127.0.0.1:%d"; }' % port)
        relay = self.keep(Process([RELAY, "-c", self.file(f"pool-reasons-{port}.conf", config)]))
        relay.wait_for("event=started")
        for service, reason in (("app", "not-allowed"), ("nope", "unknown-service"), ("dead", r"\S+")):
            with self.subTest(service):
                sender = self.start_sender([port], 'protocol = "h2";', service=service)
                self.assert_reset(sender, f"event=refused reason={reason} .*service={service} ")
                self.assertEqual(sender.find("event=accepted"), [])


class Losses(Pool):
    def test_a_relay_that_is_killed_resets_its_streams_and_its_successor_is_found(self):
        target, port = self.app().target, free_port()
        relay = self.start_relay(port, target)
        sender = self.start_sender([port])
        loads = [Load(self.connect(sender.port)) for _ in range(10)]
        Load.wait_for_rounds(loads, 2)
        relay.stop()
        self.assertEqual(set(Load.finish(loads)) & NOT_CUT, set())
        self.start_relay(port, target)
        self.talk_in_the_end(sender)
        self.talk_once(sender)

    def test_a_worker_of_the_relay_that_is_killed_takes_only_its_streams(self):
        relay = self.start_relay(free_port(), self.app().target)
        sender = self.start_sender([relay.port])
        loads = [Load(self.connect(sender.port)) for _ in range(10)]
        Load.wait_for_rounds(loads, 2)
        for pid in relay.role_pids("worker"):
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(set(Load.finish(loads)) & NOT_CUT, set())
        self.talk_once(sender)
        self.assertEqual(sender.find("event=refused"), [])

    def test_a_drain_lets_streams_finish_and_sends_new_ones_elsewhere(self):
        target = self.app().target
        first, second = self.start_relay(free_port(), target), self.start_relay(free_port(), target)
        sender = self.start_sender([first.port, second.port])
        loads = [Load(self.connect(sender.port)) for _ in range(10)]
        Load.wait_for_rounds(loads, 2)
        first.signal(signal.SIGTERM)
        first.wait_for("event=draining")
        for _ in range(20):
            self.talk_once(sender)
        Load.wait_for_rounds(loads, 2)
        self.assertEqual(Load.finish(loads), {"done": 10})
        self.assertEqual(first.wait(), 0)
        self.assertEqual(sender.find("event=refused"), [])

    def test_of_two_relays_one_may_die_and_nobody_new_is_refused(self):
        target = self.app().target
        first, second = self.start_relay(free_port(), target), self.start_relay(free_port(), target)
        sender = self.start_sender([first.port, second.port])
        self.talk_once(sender)
        first.stop()
        for _ in range(50):
            self.talk_once(sender)
        self.assertEqual(sender.find("event=refused"), [])
        self.start_relay(first.port, target)
        # Whoever was preferred is preferred again.
        wait_until(lambda: self.talk_once(sender) or sender.find(f"event=accepted .*:{first.port} ")[1:], "the first one")

    def test_the_least_busy_relay_is_asked(self):
        target = self.app().target
        relays = [self.start_relay(free_port(), target) for _ in range(2)]
        sender = self.start_sender([relay.port for relay in relays], 'balance = "least";')
        kept = [self.connect(sender.port) for _ in range(10)]
        for local in kept:
            self.talk(local)
        for relay in relays:
            self.assertEqual(len(sender.find(f"event=accepted .*:{relay.port} ")), 5)

    def test_protocol_tls_fails_over_as_well(self):
        second = self.start_relay(free_port(), self.app().target)
        sender = self.start_sender([free_port(), second.port], 'protocol = "tls";')
        for _ in range(5):
            self.talk_once(sender)
        self.assertEqual(sender.find("event=(refused|pool-opened)"), [])

    def test_a_reload_replaces_the_connection_and_keeps_its_streams(self):
        relay = self.start_relay(free_port(), self.app().target)
        sender = self.start_sender([relay.port])
        stays = self.connect(sender.port)
        self.talk(stays)
        sender.signal(signal.SIGHUP)
        sender.wait_for("event=reloaded generation=2")
        sender.wait_for("event=pool-opened", count=2)
        self.talk_once(sender)
        self.assertEqual(sender.find("event=pool-closed"), [])
        self.talk(stays, b"still here")
        stays.shutdown(socket.SHUT_WR)
        self.assertEqual(stays.recv(1), b"")
        sender.wait_for("event=pool-closed reason=done")

    @unittest.skipUnless(os.environ.get("PORTSEAL_LONG"), "takes 40 seconds: PORTSEAL_LONG=1")
    def test_a_connection_is_replaced_ahead_of_the_end_of_a_certificate(self):
        self.certs("sender", "brief", "--for", "45s", "--force")
        relay = self.start_relay(free_port(), self.app().target)
        sender = self.start_sender([relay.port], identity="brief")
        stays = self.connect(sender.port)
        self.talk(stays)
        sender.wait_for("event=pool-opened", count=2, patience=44)
        self.talk(stays, b"not cut for it")
        self.assertEqual(sender.find("event=pool-closed"), [])
        fresh = self.connect(sender.port)
        self.talk(fresh)
        stays.shutdown(socket.SHUT_WR)
        self.assertEqual(stays.recv(1), b"")
        sender.wait_for("event=pool-closed reason=done .*streams=1 ")

    def test_a_drain_of_the_sender_ends_its_pool_cleanly(self):
        relay = self.start_relay(free_port(), self.app().target)
        sender = self.start_sender([relay.port])
        local = self.connect(sender.port)
        self.talk(local)
        sender.signal(signal.SIGTERM)
        sender.wait_for("event=draining")
        self.talk(local, b"last words")
        local.shutdown(socket.SHUT_WR)
        self.assertEqual(local.recv(1), b"")
        self.assertEqual(sender.wait(), 0)
        self.assertEqual(len(sender.find("event=pool-closed reason=done")), 1)


if __name__ == "__main__":
    main()
