# SPDX-License-Identifier: Apache-2.0
"""Daemons on a port of their own whose configuration changes while they run."""
import json
import os
import signal

from portseal_testing import RELAY, Process, Scenario, free_port, receive, run


class ReloadingDaemon(Scenario):
    """`program` reads self.path, and answers HUP and `status`; `command` is what it is started with besides."""

    program = None
    command = ()

    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.target = self.app().target
        self.path = os.path.join(self.dir, f"{os.path.basename(self.program)}-{self.port}.conf")

    def people(self, *names):
        for name in names:
            if not os.path.exists(self.crt(name)):
                self.certs("sender", name)

    def write(self, text):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(self.path + ".new", self.path)

    def start(self, text, preexec=None):
        self.write(text)
        daemon = self.keep(Process([self.program, *self.command, "-c", self.path], preexec=preexec))
        daemon.wait_for("event=started")
        daemon.generation = 1
        return daemon

    def reload(self, daemon, text=None):
        if text is not None:
            self.write(text)
        daemon.signal(signal.SIGHUP)
        daemon.generation += 1
        daemon.wait_for(f"event=reloaded generation={daemon.generation}")

    def status(self, code=0):
        done = run([self.program, "status", "-c", self.path])
        self.assertEqual((done.returncode, done.stderr), (code, b""))
        return json.loads(done.stdout)

    def talk(self, connection, word=b"word"):
        connection.sendall(word)
        self.assertEqual(receive(connection, len(word)), word)


class Reloading(ReloadingDaemon):
    """A relay."""

    program = RELAY

    def setUp(self):
        super().setUp()
        self.people("bob", "carol")

    def config(self, allow="{ any = true; }", listen=None, tls="", more="", target=None):
        return self.relay_config({"app": (target or self.target, allow, "")},
                                 listen=listen or '{ address = "127.0.0.1:%d"; }' % self.port, tls=tls,
                                 extra=f'status = "status-{self.port}"; {more}')

    def start(self, text, preexec=None):
        relay = super().start(text, preexec)
        relay.port = self.port
        return relay
