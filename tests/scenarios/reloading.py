# SPDX-License-Identifier: Apache-2.0
"""A relay on a port of its own whose configuration changes while it runs."""
import json
import os
import signal

from portseal_testing import RELAY, Process, Scenario, free_port, run


class Reloading(Scenario):
    def setUp(self):
        super().setUp()
        for name in ("bob", "carol"):
            if not os.path.exists(self.crt(name)):
                self.certs("sender", name)
        self.port = free_port()
        self.target = self.app().target
        self.path = os.path.join(self.dir, f"reload-{self.port}.conf")

    def config(self, allow="{ any = true; }", listen=None, tls="", more="", target=None):
        return self.relay_config({"app": (target or self.target, allow, "")},
                                 listen=listen or '{ address = "127.0.0.1:%d"; }' % self.port, tls=tls,
                                 extra=f'status = "status-{self.port}"; {more}')

    def write(self, text):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(self.path + ".new", self.path)

    def start(self, text, preexec=None):
        self.write(text)
        relay = self.keep(Process([RELAY, "-c", self.path], preexec=preexec))
        relay.wait_for("event=started")
        relay.port = self.port
        relay.generation = 1
        return relay

    def reload(self, relay, text):
        self.write(text)
        relay.signal(signal.SIGHUP)
        relay.generation += 1
        relay.wait_for(f"event=reloaded generation={relay.generation}")

    def status(self, code=0):
        done = run([RELAY, "status", "-c", self.path])
        self.assertEqual((done.returncode, done.stderr), (code, b""))
        return json.loads(done.stdout)

    def talk(self, connection, word=b"word"):
        connection.sendall(word)
        self.assertEqual(connection.recv(100), word)
