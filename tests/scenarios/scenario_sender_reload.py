#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A sender's new generation is put in force whole or not at all; its doors stay open, and nobody is cut meanwhile."""
import os
import signal
import socket
import stat
import threading

from portseal_testing import SENDER, Load, Process, descriptors_of, free_port, main, receive, wait_until
from reloading import ReloadingDaemon


class SenderReload(ReloadingDaemon):
    program = SENDER
    command = ("tunnel",)

    def setUp(self):
        super().setUp()
        self.people("bob")
        self.server = self.relay(config=self.relay_config(
            {"app": (self.target, "{ any = true; }", ""), "bobs": (self.target, '{ cn = "bob"; }', "")}))

    def config(self, tunnels=None, identity="alice", more="", relay=None):
        tunnels = tunnels or {f"127.0.0.1:{self.port}": "app"}
        rows = ",\n".join(f'{{ listen = "{listen}"; service = "{service}"; }}' for listen, service in tunnels.items())
        return f"""
relays = ( {{ address = "127.0.0.1:{relay or self.server.port}"; server_name = "localhost"; }} );
tls = {{ certificate = "{self.crt(identity)}"; key = "{self.key(identity)}"; relay_ca = "{self.pki}/ca.crt"; }};
tunnels = ( {rows} );
status = "sender-status-{self.port}";
processes = {{ gatekeepers = 2; workers = 2; }};
{more}
"""

    def assert_refused(self, port):
        # Perhaps so soon that not even connect() gets through.
        with self.assertRaises(OSError), self.connect(port) as local:
            local.sendall(b"x")
            raise AssertionError(f"an answer: {local.recv(100)!r}")

    def is_served(self, word, answer=None):
        """False for a connection that the worker let in right before it heard of the new generation."""
        try:
            with self.connect(self.port) as local:
                local.settimeout(1)  # the other application may wait for more
                local.sendall(word)
                return receive(local, len(answer or word)) == (answer or word)
        except (OSError, EOFError):
            return False

    def is_open(self, port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def test_another_certificate_is_shown_from_the_next_connection_on(self):
        sender = self.start(self.config({f"127.0.0.1:{self.port}": "bobs"}))
        self.assert_refused(self.port)
        sender.wait_for("event=refused reason=not-allowed|event=closed reason=relay-alert alert=access_denied")
        self.reload(sender, self.config({f"127.0.0.1:{self.port}": "bobs"}, identity="bob"))
        wait_until(lambda: self.is_served(b"x"), "bob is let in")
        told = self.status()
        self.assertEqual((told["generation"], told["last_reload"]["ok"], told["state"]), (2, True, "serving"))

    def test_tunnels_come_and_go_and_living_connections_stay(self):
        second = free_port()
        one = {f"127.0.0.1:{self.port}": "app"}
        sender = self.start(self.config(one))
        first = self.connect(self.port)
        self.talk(first)
        self.reload(sender, self.config({**one, f"127.0.0.1:{second}": "app"}))
        other = self.connect(second)
        self.talk(other)
        self.talk(self.connect(self.port))
        self.reload(sender, self.config(one))
        wait_until(lambda: not self.is_open(second), "the door is closed in every process")
        self.talk(other, b"lives on")
        self.talk(first, b"untouched")
        self.talk(self.connect(self.port))

    def test_a_tunnel_may_lead_to_another_service(self):
        sender = self.start(self.config(identity="bob"))
        self.talk(self.connect(self.port))
        self.reload(sender, self.config({f"127.0.0.1:{self.port}": "bobs"}, identity="bob"))
        wait_until(lambda: self.is_served(b"x") and sender.find("event=accepted .*service=bobs"), "the other service")

    def test_a_unix_socket_that_is_gone_leaves_no_file(self):
        path = os.path.join(self.dir, f"door-{self.port}")
        one = {f"127.0.0.1:{self.port}": "app"}
        sender = self.start(self.config({**one, f"unix:{path}": "app"}))
        local = socket.socket(socket.AF_UNIX)
        self.keep(local).connect(path)
        self.talk(local)
        self.reload(sender, self.config(one))
        self.assertFalse(os.path.exists(path))
        self.talk(local, b"lives on")
        self.reload(sender, self.config({**one, f"unix:{path}": "app"}))
        self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))

    def test_another_relay_takes_the_next_connections(self):
        def other(connection):
            connection.sendall(b"other " + connection.recv(100))
            connection.recv(1)

        second = self.relay(self.app(other).target)
        sender = self.start(self.config())
        first = self.connect(self.port)
        self.talk(first)
        self.reload(sender, self.config(relay=second.port))
        wait_until(lambda: self.is_served(b"x", b"other x"), "the other relay's application")
        self.talk(first, b"old relay")

    def test_a_broken_generation_changes_nothing_and_status_says_why(self):
        sender = self.start(self.config())
        first = self.connect(self.port)
        self.talk(first)
        taken = self.app()
        broken = {
            "unknown key": (self.config(more="lmits = {};"), r"unknown key"),
            "wrong key": (self.config().replace(self.key("alice"), self.key("bob")), "does not belong to the certificate"),
            "broken certificate": (self.config().replace(self.crt("alice"), self.file("broken.crt", "none")), "broken.crt"),
            "missing CA": (self.config().replace(f"{self.pki}/ca.crt", f"{self.pki}/nope.crt"), "nope.crt"),
            "syntax": ("relays = (", "is never closed"),
            "an address in use": (self.config({f"127.0.0.1:{free_port()}": "app", f"127.0.0.1:{taken.port}": "app"}),
                                  "already in use"),
        }
        for what, (text, cause) in broken.items():
            with self.subTest(what):
                seen = len(sender.log())
                self.write(text)
                sender.signal(signal.SIGHUP)
                sender.wait_for("event=reload-failed .*generation 1 stays in force: .*" + cause, start=seen)
                self.write(self.config())
                told = self.status(code=1)
                self.assertEqual((told["generation"], told["last_reload"]["ok"]), (1, False))
                self.assertRegex(told["last_reload"]["cause"], cause)
                self.talk(self.connect(self.port))
        self.talk(first, b"untouched")
        self.reload(sender)
        self.assertEqual(self.status()["generation"], 2)

    def test_files_that_change_reload_by_themselves(self):
        self.certs("sender", "renewed")
        sender = self.start(self.config(identity="renewed", more='reload = "auto";'))
        self.talk(self.connect(self.port))
        self.certs("sender", "renewed", "--force")
        sender.wait_for("event=files-changed")
        sender.wait_for("event=reloaded generation=2")
        self.talk(self.connect(self.port))

    def test_options_without_a_file_reload_the_certificate(self):
        self.certs("sender", "bare")
        sender = self.keep(Process([SENDER, "tunnel", "--listen", f"127.0.0.1:{self.port}", "--service", "app",
                                    "--relay", f"127.0.0.1:{self.server.port}", "--server-name", "localhost",
                                    "--cert", self.crt("bare"), "--key", self.key("bare"), "--ca", f"{self.pki}/ca.crt"]))
        sender.wait_for("event=started")
        self.certs("sender", "bare", "--force")
        sender.generation = 1
        self.reload(sender)
        self.talk(self.connect(self.port))

    def test_a_worker_that_dies_after_a_reload_comes_back_with_the_new_doors(self):
        second = free_port()
        sender = self.start(self.config())
        self.reload(sender, self.config({f"127.0.0.1:{second}": "app"}))
        for pid in sender.role_pids("worker"):
            os.kill(pid, signal.SIGKILL)
        sender.wait_for("event=role-restarted.*worker", count=2)
        self.talk(self.connect(second))
        self.assertFalse(self.is_open(self.port))

    def test_hup_during_a_drain_is_ignored(self):
        sender = self.start(self.config())
        local = self.connect(self.port)
        self.talk(local)
        sender.signal(signal.SIGTERM)
        sender.wait_for("event=draining")
        sender.signal(signal.SIGHUP)
        self.talk(local, b"drains")
        local.shutdown(socket.SHUT_WR)
        self.assertEqual(local.recv(1), b"")
        self.assertEqual(sender.wait(), 0)
        self.assertEqual(sender.find("reload"), [])

    def test_many_reloads_under_load_cut_nobody_and_refuse_nobody(self):
        doors = [free_port() for _ in range(3)]
        always = {f"127.0.0.1:{self.port}": "app"}
        sender = self.start(self.config(always))
        over = threading.Event()
        faults, served = [], []

        def connect():
            while not over.is_set():
                try:
                    with socket.create_connection(("127.0.0.1", self.port), timeout=30) as local:
                        self.talk(local, b"hello")
                    served.append(1)
                except (OSError, EOFError, AssertionError) as error:
                    faults.append(error)

        loads = [Load(self.connect(self.port), 4096) for _ in range(20)]
        threads = [threading.Thread(target=connect) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(20):
            extra = {f"127.0.0.1:{doors[(number + i) % 3]}": "app" for i in range(number % 3)}
            self.reload(sender, self.config({**extra, **always} if number % 2 else {**always, **extra},
                                            identity=("alice", "bob")[number % 2]))
            wait_until(lambda: faults or len(served) >= 5 * (number + 1), "new connections under load")
        over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        self.assertEqual(Load.finish(loads), {"done": 20})
        self.assertEqual(sender.find("event=(refused|role-died|role-hangs|door-lost|answer|briefing)"), [])
        wait_until(lambda: len(sender.children()) == 4, "old gatekeepers are gone")
        # 14 are in use when nothing is carried; each reload that kept one would make it 20 more.
        wait_until(lambda: all(descriptors_of(pid) < 25 for pid in sender.role_pids("worker")),
                   "descriptors are given back")


if __name__ == "__main__":
    main()
