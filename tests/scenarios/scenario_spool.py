#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: what was kept in the spool is delivered, whoever is killed meanwhile; an ordered service sees its
order; and the application sees a message twice only where it or the relay died while it had it.

PORTSEAL_LONG=1: 10,000 messages and 200 kills."""
import collections
import json
import os
import random
import re
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

from portseal_testing import RELAY, SENDER, Process, Scenario, free_port, main, read_all, run, wait_until

LONG = bool(os.environ.get("PORTSEAL_LONG"))


def serve_application(port, record):
    """The application, as a process of its own that can be killed: notes every message that came whole, then replies."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    notes = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    print("listening", file=sys.stderr, flush=True)

    def serve(connection):
        # When this process is killed, its host shall say so by a reset: a plain end would look like an empty reply.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with connection:
            try:
                message = read_all(connection)
                if message.endswith(b"."):  # else it was cut
                    os.write(notes, message.split(b" ", 1)[0] + b"\n")
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
                    connection.sendall(b"taken")
            except OSError:
                pass

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


class Spool(Scenario):
    def setUp(self):
        super().setUp()
        self.place = tempfile.mkdtemp(dir=self.dir)
        self.relay_port, self.app_port = free_port(), free_port()
        self.record = os.path.join(self.place, "record")
        self.conf = os.path.join(self.place, "sender.conf")
        self.write_configuration()
        self.relay_conf = self.file(os.path.join(self.place, "relay.conf"), self.relay_config(
            {name: (f"tcp://127.0.0.1:{self.app_port}", "{ any = true; }", "") for name in ("loose", "strict")},
            listen='{ address = "127.0.0.1:%d"; }' % self.relay_port,
            extra='messages = { store = "%s/results.db"; };' % self.place))

    def write_configuration(self, more=""):
        with open(self.conf, "w", encoding="ascii") as file:
            file.write(f"""
relays = ( {{ address = "127.0.0.1:{self.relay_port}"; server_name = "localhost"; }} );
tls = {{ certificate = "{self.crt('alice')}"; key = "{self.key('alice')}"; relay_ca = "{self.pki}/ca.crt"; }};
spool = {{
  path = "spool.db"; in_flight = 8; retry = {{ first = "20ms"; max = "500ms"; }};
  services = ( {{ name = "strict"; ordered = true; }} );
  {more}
}};
""")

    def start_application(self):
        process = self.keep(Process([sys.executable, __file__, "--application", str(self.app_port), self.record]))
        process.wait_for("listening")
        return process

    def start_relay(self):
        """What a service manager does: again, until the port and the results are free."""
        def attempt():
            process = self.keep(Process([RELAY, "-c", self.relay_conf]))
            wait_until(lambda: process.find("event=started") or process.child.poll() is not None, "the relay")
            return process if process.child.poll() is None else None
        return wait_until(attempt, "the relay starts")

    def start_daemon(self):
        process = self.keep(Process([SENDER, "run", "-c", self.conf]))
        process.wait_for("event=started")
        return process

    def spool(self, service, payload, *more):
        return run([SENDER, "send", "-c", self.conf, "--spool", "--service", service, *more], stdin=payload)

    def must_spool(self, service, number, size=0):
        done = self.spool(service, b"%s-%d %s." % (service.encode(), number, b"x" * size))
        self.assertEqual((done.returncode, done.stderr), (75, b""))
        return done.stdout.decode().strip()

    def totals(self, *more):
        done = run([SENDER, "queue", "list", "-c", self.conf, "--json", *more])
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return json.loads(done.stdout)

    def recorded(self):
        try:
            with open(self.record, encoding="ascii") as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def wait_until_empty(self, patience=None):
        wait_until(lambda: self.totals()["messages"] == 0, "the spool is empty", patience)


class Delivered(Spool):
    def test_a_message_is_delivered_and_told_with_its_receipt(self):
        self.start_application()
        self.start_relay()
        daemon = self.start_daemon()
        identity = self.must_spool("loose", 1, 100_000)
        daemon.wait_for(f"event=delivered message={identity} service=loose attempt=1 bytes=100009 reply=5 receipt=[0-9a-f]")
        self.wait_until_empty()
        self.assertEqual(self.recorded(), ["loose-1"])
        self.assertEqual(self.totals()["delivered"], 1)

    def test_waiting_for_the_delivery_ends_in_0(self):
        self.start_application()
        self.start_relay()
        self.start_daemon()
        self.assertEqual(self.spool("loose", b"loose-1 .", "--wait", "20s").returncode, 0)
        self.assertEqual(self.recorded(), ["loose-1"])

    def test_what_was_kept_before_anybody_was_there_comes_when_all_are(self):
        for number in range(20):
            self.must_spool("strict", number)
        daemon = self.start_daemon()
        daemon.wait_for("event=delivery-failed .*reason=relay-not-reached")
        self.start_relay()
        daemon.wait_for("event=delivery-failed .*reason=target-refused")
        self.start_application()
        self.wait_until_empty()
        self.assertEqual(self.recorded(), [f"strict-{number}" for number in range(20)])

    def test_no_right_and_no_service_are_tried_again_and_too_large_is_dead(self):
        self.start_application()
        with open(self.relay_conf, encoding="utf-8") as file:
            text = file.read()
        self.file(self.relay_conf, text.replace("{ any = true; }", '{ cn = "bob"; }', 1)
                  .replace('name = "strict";', 'name = "strict"; max_message = "1K";'))
        relay = self.start_relay()
        daemon = self.start_daemon()
        refused = self.must_spool("loose", 1)
        unknown = self.must_spool("absent", 2)
        large = self.must_spool("strict", 3, 2000)
        daemon.wait_for(f"warn event=delivery-failed message={refused} .*reason=not-allowed", count=2)
        daemon.wait_for(f"warn event=delivery-failed message={unknown} .*reason=unknown-service", count=2)
        daemon.wait_for(f"warn event=dead-letter message={large} .*reason=message-too-long")
        self.assertEqual({each["id"] for each in self.totals("--dead")["list"]}, {large})
        self.file(self.relay_conf, text)
        relay.signal(signal.SIGHUP)
        daemon.wait_for(f"event=delivered message={refused}")
        run([SENDER, "queue", "retry", large, "-c", self.conf])
        daemon.wait_for(f"event=delivered message={large}")
        self.assertEqual([each["id"] for each in self.totals()["list"]], [unknown])

    def test_term_finishes_what_is_under_way_and_leaves_the_rest(self):
        self.start_application()
        self.start_relay()
        for number in range(300):
            self.must_spool("loose", number)
        daemon = self.start_daemon()
        daemon.wait_for("event=delivered")
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        totals = self.totals()
        self.assertEqual(totals["delivered"], len(self.recorded()))
        self.assertEqual(totals["uncertain"], 0)
        self.assertEqual({each["state"] for each in totals["list"]}, {"waiting"})
        self.start_daemon()
        self.wait_until_empty()
        self.assertEqual(sorted(self.recorded()), sorted(f"loose-{number}" for number in range(300)))


class Killed(Spool):
    """Sends numbered messages while processes are killed at random moments."""

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("PORTSEAL_SEED", random.randrange(1 << 32)))
        self.random = random.Random(self.seed)
        self.application = self.start_application()
        self.relay = self.start_relay()
        self.daemon = self.start_daemon()
        self.daemons = [self.daemon]
        self.ids = {}

    def kill_daemon(self):
        self.daemon.signal(signal.SIGKILL)
        self.daemon.child.wait()
        self.daemon = self.start_daemon()
        self.daemons.append(self.daemon)

    def kill_role(self, kind):
        pids = self.relay.role_pids(kind)
        if pids:
            os.kill(self.random.choice(pids), signal.SIGKILL)

    def kill_worker(self):
        self.kill_role("worker")

    def kill_gatekeeper(self):
        self.kill_role("gatekeeper")

    def kill_supervisor(self):
        """And then the roles that it leaves, as a service manager would."""
        self.relay.signal(signal.SIGKILL)
        self.relay.child.wait()
        time.sleep(self.random.random() / 50)
        self.relay.stop()
        self.relay = self.start_relay()

    def kill_application(self):
        self.application.signal(signal.SIGKILL)
        self.application.child.wait()
        self.application = self.start_application()

    def send_all(self, service, numbers):
        for number in numbers:
            self.ids[f"{service}-{number}"] = self.must_spool(service, number, self.random.choice((0, 10, 20000, 100000)))

    def run_rounds(self, n_messages, rounds, kills):
        senders = [threading.Thread(target=self.send_all, args=(service, range(n_messages // 2)))
                   for service in ("loose", "strict")]
        for sender in senders:
            sender.start()
        for _ in range(rounds):
            time.sleep(self.random.random() / 5)  # a random moment is what this is about
            self.random.choice(kills)()
        for sender in senders:
            sender.join()
        self.wait_until_empty(600 if LONG else 60)

    def uncertain_by_id(self):
        """How many tries of each message ended without our learning its fate, as the log tells."""
        counts = collections.Counter()
        for daemon in self.daemons:
            for line in daemon.find("event=delivered .*uncertain="):
                counts[re.search(r"message=(\S+)", line).group(1)] += int(re.search(r"uncertain=(\d+)", line).group(1))
        return counts

    def check(self, n_messages):
        recorded = self.recorded()
        counts = collections.Counter(recorded)
        self.assertEqual(set(counts), {f"{service}-{number}" for service in ("loose", "strict")
                                       for number in range(n_messages // 2)}, f"seed {self.seed}")
        strict = [int(name.split("-")[1]) for name in recorded if name.startswith("strict")]
        self.assertEqual(strict, sorted(strict), f"seed {self.seed}")
        duplicates = {name: count - 1 for name, count in counts.items() if count > 1}
        totals = self.totals()
        self.assertEqual((totals["kept"], totals["delivered"], totals["died"]), (n_messages, n_messages, 0))
        return duplicates, totals["uncertain"]

    def story(self, duplicates):
        """What the logs say of the messages that came twice."""
        ids = [self.ids[name] for name in duplicates]
        lines = [line for process in (*self.daemons, self.relay) for line in process.log()
                 if any(identity in line for identity in ids) or "role-died" in line or "went-on" in line
                 or "client-" in line]
        return "\n".join([f"seed {self.seed}", *map(str, duplicates), *lines])

    def report(self, what, duplicates, uncertain):
        print(f"  {what}: {sum(duplicates.values())} duplicates, {uncertain} tries uncertain (seed {self.seed})")

    def test_none_is_lost_whoever_is_killed_and_only_uncertain_ones_come_twice(self):
        n_messages, rounds = (10000, 200) if LONG else (300, 10)
        self.run_rounds(n_messages, rounds, (self.kill_daemon, self.kill_worker, self.kill_gatekeeper,
                                             self.kill_supervisor, self.kill_application))
        duplicates, uncertain = self.check(n_messages)
        self.report(f"{rounds} kills of any", duplicates, uncertain)
        by_id = self.uncertain_by_id()
        told = {line for daemon in self.daemons for line in re.findall(r"event=delivered message=(\S+)",
                                                                       "\n".join(daemon.log()))}
        for name, more in duplicates.items():
            if self.ids[name] in told:  # else its daemon was killed before it wrote its line
                self.assertLessEqual(more, by_id[self.ids[name]], f"{name}, seed {self.seed}")
        self.assertLessEqual(sum(duplicates.values()), uncertain, f"seed {self.seed}")

    def test_a_killed_sender_never_makes_a_duplicate(self):
        n_messages, rounds = (1000, 100) if LONG else (100, 6)
        self.run_rounds(n_messages, rounds, (self.kill_daemon,))
        duplicates, uncertain = self.check(n_messages)
        self.report(f"{rounds} kills of the sender", duplicates, uncertain)
        self.assertEqual(duplicates, {}, self.story(duplicates))

    def test_a_killed_gatekeeper_never_makes_a_duplicate(self):
        n_messages, rounds = (1000, 100) if LONG else (50, 3)
        self.run_rounds(n_messages, rounds, (self.kill_gatekeeper,))
        duplicates, uncertain = self.check(n_messages)
        self.report(f"{rounds} kills of gatekeepers", duplicates, uncertain)
        self.assertEqual(duplicates, {}, f"seed {self.seed}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--application"]:
        serve_application(int(sys.argv[2]), sys.argv[3])
    main()
