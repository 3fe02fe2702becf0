#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The audit trail: everybody is on record, every change of it is found, and nothing that happens to the relay, its
processes or the disk breaks it."""
import base64
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import tempfile
import threading

from portseal_testing import RELAY, Process, main, run, tool, wait_until
from reloading import Reloading

VERIFIED, BAD, USAGE, CONFIG = 0, 1, 2, 3
SEND_REFUSED, SEND_UNDELIVERED = 6, 7


class Comers(threading.Thread):
    """Clients one after the other, each with a word for an echo, until finish()."""

    def __init__(self, context, port):
        super().__init__(daemon=True)
        self.context, self.port = context, port
        self.served, self.failed, self.last = 0, 0, False
        self.start()

    def run(self):
        while not self.last:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain:
                    with self.context.wrap_socket(plain, server_hostname="localhost") as sealed:
                        sealed.sendall(b"word")
                        assert sealed.recv(10) == b"word"
                        sealed.unwrap().close()
                self.served += 1
            except (OSError, AssertionError):
                self.failed += 1

    @staticmethod
    def finish(comers):
        for comer in comers:
            comer.last = True
        for comer in comers:
            comer.join(30)
        return sum(comer.served for comer in comers), sum(comer.failed for comer in comers)

    @staticmethod
    def wait_for(comers, n):
        goal = sum(comer.served for comer in comers) + n
        wait_until(lambda: sum(comer.served for comer in comers) >= goal, f"{n} more are served")


class Audit(Reloading):
    def setUp(self):
        super().setUp()
        self.logs = tempfile.mkdtemp(dir=self.dir)
        self.log = os.path.join(self.logs, "audit.log")

    def audited(self, more="", allow='{ cn = "alice"; }', log=None):
        return self.config(allow, more=f'audit = {{ file = "{log or self.log}"; {more} }};')

    def comers(self, n=4):
        return [Comers(self.tls_context(), self.port) for _ in range(n)]

    def verify(self, *files, code=VERIFIED, certs=("relay",), more=()):
        argv = [RELAY, "audit", "verify", *(f"--cert={self.crt(name)}" for name in certs), *more, *(files or [self.log])]
        done = run(argv)
        self.assertEqual((done.returncode, done.stderr), (code, b""), done.stdout.decode())
        return done.stdout.decode()

    def lines(self, *files):
        found = []
        for path in files or [self.log]:
            with open(path, encoding="utf-8") as file:
                found += [json.loads(line) for line in file if line.endswith("\n")]
        return found

    def events(self, *files):
        return [line["event"] for line in self.lines(*files)]

    def stop_cleanly(self, relay):
        relay.signal(signal.SIGTERM)
        self.assertEqual(relay.wait(), 0)

    def count(self, event, *files):
        return self.events(*files).count(event)


class Record(Audit):
    def test_everybody_who_comes_is_on_record_with_all_that_is_known(self):
        relay = self.start(self.audited())
        self.assertEqual(self.send(self.port, b"seven b").stdout, b"seven b")
        self.assertEqual(self.send(self.port, b"x", identity="bob").returncode, SEND_REFUSED)
        self.connect(self.port).sendall(b"GET / HTTP/1.0\r\n\r\n")
        relay.wait_for("event=refused reason=not-tls")
        self.stop_cleanly(relay)
        # What different processes tell comes in any order, what one connection does in its own.
        self.assertEqual(sorted(self.events()), ["accepted", "begin", "closed", "head", "refused", "refused"])
        by_reason = {line.get("reason"): line for line in self.lines()[1:5]}
        accepted, closed, refused, stranger = (by_reason[reason] for reason in (None, "done", "not-allowed", "not-tls"))
        self.assertLess(accepted["seq"], closed["seq"])
        der = run([tool("openssl"), "x509", "-in", self.crt("alice"), "-pubkey", "-noout"]).stdout
        der = base64.b64decode(b"".join(der.splitlines()[1:-1]))
        pin = base64.b64encode(hashlib.sha256(der).digest()).decode()
        serial = run([tool("openssl"), "x509", "-in", self.crt("alice"), "-serial", "-noout"]).stdout
        for line in (accepted, closed):
            self.assertEqual((line["client"], line["subject"], line["issuer"], line["names"], line["service"]),
                             ("alice", "CN=alice", "CN=Scenario CA", ["CN=alice"], "app"))
            self.assertEqual((line["pin"], line["serial"]), (pin, serial.decode().strip().split("=")[1].lower()))
        self.assertEqual((accepted["conn"], closed["reason"], closed["in"], closed["out"]), (closed["conn"], "done", 7, 7))
        self.assertEqual((refused["client"], refused["reason"]), ("bob", "not-allowed"))
        self.assertEqual((stranger["reason"], stranger["detail"]), ("not-tls", "plain HTTP"))
        self.assertIn("behind it 0 lines are not signed", self.verify())

    def test_every_line_and_every_field_and_the_order_altered_is_found(self):
        relay = self.start(self.audited('sign_every = "100ms";'))
        self.assertEqual(self.send(self.port, b"x").returncode, 0)
        self.assertEqual(self.send(self.port, b"x", identity="bob").returncode, SEND_REFUSED)
        relay.wait_for("event=audit-head")
        self.assertEqual(self.send(self.port, b"x").returncode, 0)
        self.stop_cleanly(relay)
        with open(self.log, "rb") as file:
            lines = file.readlines()
        forged = os.path.join(self.logs, "forged")

        def found(changed, line):
            with open(forged, "wb") as file:
                file.writelines(changed)
            told = self.verify(forged, code=BAD)
            self.assertIn(f"{forged}:{line + 1}: BAD", told)

        for at, line in enumerate(lines):
            for key, value in json.loads(line).items():
                was = f'"{key}":{json.dumps(value, separators=(",", ":"))}'.encode()
                self.assertIn(was, line)
                other = value + 1 if isinstance(value, int) else [] if isinstance(value, list) else "f" + value[1:] + "0"
                now = f'"{key}":{json.dumps(other, separators=(",", ":"))}'.encode()
                found([*lines[:at], line.replace(was, now, 1), *lines[at + 1:]], at)
                found([*lines[:at], line.replace(was, b'"x":0', 1), *lines[at + 1:]], at)
            if at + 1 < len(lines):
                found(lines[:at] + lines[at + 1:], at)
                found([*lines[:at], lines[at + 1], line, *lines[at + 2:]], at)
        # Cutting off the end is what a chain cannot show: whoever kept the head sees it.
        head = json.loads(lines[-1])["chain"]
        self.verify(more=["--head", head])
        with open(forged, "wb") as file:
            file.writelines(lines[:-1])
        self.verify(forged)
        self.assertIn("is NOT in it", self.verify(forged, code=BAD, more=["--head", head]))

    def test_a_forged_trail_moves_no_cursor_of_who_verifies_it(self):
        forged = os.path.join(self.dir, "forged.log")
        for trail in "a" * 32, "\x1b[2J\x1b]0;owned\x07" + "b" * 18:
            line = f'{{"seq":1,"time":"","event":"begin","trail":"{trail}","previous":"{"0" * 64}","chain":"{"0" * 64}"}}\n'
            with open(f"{forged}.{trail[0] == 'a'}", "w", encoding="latin-1") as file:
                file.write(line)
        told = self.verify(f"{forged}.True", f"{forged}.False", code=BAD)
        self.assertIn("other-trail: another trail begins here: \\x1b[2J", told)
        self.assertNotIn("\x1b", told)

    def test_a_trail_of_one_relay_is_not_signed_by_another(self):
        relay = self.start(self.audited())
        self.assertEqual(self.send(self.port, b"x").returncode, 0)
        self.stop_cleanly(relay)
        self.assertIn("unknown-key", self.verify(code=BAD, certs=["alice"]))
        self.assertIn("signatures were not looked at", self.verify(certs=[]))
        told = json.loads(self.verify(more=["--json"]))
        self.assertEqual((told["bad"], told["signatures_checked"], told["unsigned"]), (0, True, 0))


    def test_a_trail_that_nobody_signed_says_so_and_is_bad_where_a_head_is_required(self):
        relay = self.start(self.audited())
        self.assertEqual(self.send(self.port, b"x").returncode, 0)
        self.stop_cleanly(relay)
        self.assertNotIn("NOTHING", self.verify(more=["--require-head"]))
        with open(self.log, "rb") as file:
            lines = file.readlines()
        self.assertEqual(json.loads(lines.pop())["event"], "head")
        with open(self.log, "wb") as file:
            file.writelines(lines)
        for certs in (["relay"], []):
            self.assertIn("NOTHING in it is signed", self.verify(certs=certs))
        self.assertIn("NOTHING in it is signed", self.verify(code=BAD, more=["--require-head"]))
        told = json.loads(self.verify(code=BAD, more=["--require-head", "--json"]))
        self.assertEqual((told["bad"], told["heads"], told["signed_to"]), (0, 0, 0))
        # Without a certificate there is no telling whose head it would be.
        done = run([RELAY, "audit", "verify", "--require-head", self.log])
        self.assertEqual((done.returncode, done.stdout), (USAGE, b""))
        self.assertIn("--require-head", done.stderr.decode())


class Ends(Audit):
    def test_kills_of_every_role_under_load_leave_a_trail_that_verifies(self):
        relay = self.start(self.audited())
        comers = self.comers()
        Comers.wait_for(comers, 20)
        for role in ("auditor", "gatekeeper", "worker", "auditor"):
            pid = relay.role_pids(role)[0]
            seen = len(relay.log())
            os.kill(pid, signal.SIGKILL)
            relay.wait_for(f"event=role-restarted detail=\"{role}", start=seen)
            Comers.wait_for(comers, 20)
            self.verify()
        served, _ = Comers.finish(comers)
        self.stop_cleanly(relay)
        told = self.verify()
        self.assertIn("found bad", told)
        self.assertGreaterEqual(self.count("accepted"), served)
        # A record that was sent again may stand there twice, and says so.
        lines = self.lines()
        ids = [line["conn"] for line in lines if line["event"] == "accepted" and "again" not in line]
        self.assertEqual(len(ids), len(set(ids)))
        lost = sum(line.get("lost", 0) for line in lines)
        # Whoever was accepted has an end, or is counted: a gatekeeper that dies takes at most whom it was letting in.
        ended = {line["conn"] for line in lines if line["event"] in ("closed", "refused")}
        accepted = {line["conn"] for line in lines if line["event"] == "accepted"}
        self.assertLessEqual(len(accepted - ended), lost + 8)

    def test_a_kill_of_everything_leaves_what_was_written_and_the_next_relay_goes_on(self):
        relay = self.start(self.audited())
        comers = self.comers()
        Comers.wait_for(comers, 20)
        relay.kill_all()
        relay.wait()
        Comers.finish(comers)
        self.verify()
        with open(self.log, "rb+") as file:  # as power loss would, in the middle of the last line
            file.seek(-20, os.SEEK_END)
            file.truncate()
        self.assertIn("torn", self.verify())
        relay = self.start(self.audited())
        relay.wait_for("event=audit-torn")
        self.assertEqual(self.send(self.port, b"x").returncode, 0)
        self.stop_cleanly(relay)
        told = self.verify()
        self.assertIn("set-aside", told)
        self.assertEqual([self.count(event) for event in ("begin", "resumed", "torn")], [1, 1, 1])

    def test_rotation_under_load_loses_no_line(self):
        relay = self.start(self.audited('sign_every = "100ms";'))
        comers = self.comers()
        files = []
        for number in range(6):
            Comers.wait_for(comers, 15)
            files.append(os.path.join(self.logs, f"audit.{number}"))
            os.rename(self.log, files[-1])
            if number % 2:
                seen = len(relay.log())
                relay.signal(signal.SIGHUP)
                relay.wait_for("event=reloaded", start=seen)
            wait_until(lambda: os.path.exists(self.log), "the next file is there")
        served, failed = Comers.finish(comers)
        self.stop_cleanly(relay)
        self.assertEqual(failed, 0)
        files.append(self.log)
        self.assertIn("behind it 0 lines", self.verify(*files))
        self.assertEqual([self.count(event, *files) for event in ("accepted", "closed", "gap")], [served, served, 0])
        self.assertIn("missing: is a file missing", self.verify(*files[:2], *files[3:], code=BAD))

    def test_another_key_takes_over_at_a_reload(self):
        self.certs("relay", "fresh", "--dns", "localhost", "--ip", "127.0.0.1", "--force")
        relay = self.start(self.audited())
        self.assertEqual(self.send(self.port, b"x").returncode, 0)
        self.reload(relay, self.audited().replace(self.crt("relay"), self.crt("fresh")).replace(
            self.key("relay"), self.key("fresh")))
        self.assertEqual(self.send(self.port, b"x").returncode, 0)
        self.stop_cleanly(relay)
        self.assertEqual(len({line["key"] for line in self.lines() if line["event"] == "head"}), 2)
        self.verify(certs=["relay", "fresh"])
        self.assertIn("unknown-key", self.verify(code=BAD, certs=["fresh"]))

    def test_a_reload_moves_the_trail_but_cannot_switch_it_off(self):
        other = os.path.join(self.logs, "other.log")
        relay = self.start(self.audited())
        self.reload(relay, self.audited(log=other))
        self.assertEqual(self.send(self.port, b"x").returncode, 0)
        for text, cause in ((self.config(), "cannot switch it off"),
                            (self.audited(log=os.path.join(self.logs, "no", "audit.log")), "audit.file")):
            seen = len(relay.log())
            self.write(text)
            relay.signal(signal.SIGHUP)
            relay.wait_for(f"event=reload-failed .*{cause}", start=seen)
        self.stop_cleanly(relay)
        self.verify(self.log, other)


class Failures(Audit):
    def limit(self, relay, size):
        """The auditor's files may not grow beyond this: the kernel cuts its writes as a full disk does."""
        soft = resource.RLIM_INFINITY if size is None else size
        resource.prlimit(relay.role_pids("auditor")[0], resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    def fill(self, relay):
        self.limit(relay, os.path.getsize(self.log) + 100)

    def test_a_full_disk_refuses_by_default_and_recovers_by_itself(self):
        relay = self.start(self.audited())
        living = self.tls(self.port)
        self.talk(living)
        self.fill(relay)
        for _ in range(3):
            done = self.send(self.port, b"x")
            self.assertEqual(done.returncode, SEND_UNDELIVERED, done.stderr)
        relay.wait_for("event=refused reason=audit-failed .*client=\"alice\".*alert=internal_error.*file too large", count=3)
        self.assertEqual(len(relay.find("error event=audit-failing")), 1)
        told = self.status()["audit"]
        self.assertIn("file too large", told["cause"])
        self.assertIsNotNone(told["failing_since"])
        self.talk(living, b"lives on")
        self.verify()
        self.limit(relay, None)
        relay.wait_for("info event=audit-recovered")
        self.assertEqual(self.send(self.port, b"x").stdout, b"x")
        living.unwrap().close()
        self.stop_cleanly(relay)
        self.assertRegex(self.verify(), r"gap: the relay says: [6-9] records could not be written")
        self.assertEqual(self.count("gap"), 1)

    def test_a_full_disk_with_continue_lets_in_and_counts_the_gap(self):
        relay = self.start(self.audited('on_failure = "continue";'))
        self.fill(relay)
        for _ in range(3):
            self.assertEqual(self.send(self.port, b"x").stdout, b"x")
        relay.wait_for("event=audit-failing")
        relay.wait_for("event=closed", count=3)
        wait_until(lambda: self.status()["audit"]["lost"] == 6, "three came and went unrecorded")
        self.limit(relay, None)
        relay.wait_for("event=audit-recovered")
        self.stop_cleanly(relay)
        self.assertIn("the relay itself says that 6 records were not written", self.verify())
        self.assertEqual(len(relay.find("event=refused")), 0)

    def test_a_real_full_disk(self):
        disk = os.path.join(self.logs, "disk")
        os.mkdir(disk)
        prefix = [tool("unshare"), "-rm", "sh", "-e", "-c", f'mount -t tmpfs -o size=128k tmpfs {disk}; exec "$@"', "sh"]
        if run([*prefix, "true"]).returncode != 0:
            self.skipTest("no namespace can be made here")
        self.write(self.audited(log=f"{disk}/audit.log"))
        relay = self.keep(Process([*prefix, RELAY, "-c", self.path]))
        relay.wait_for("event=started")
        comers = self.comers()
        relay.wait_for("event=refused reason=audit-failed .*no space left on device")
        Comers.finish(comers)
        # Once in each episode: a shorter batch may still find room where a longer one did not.
        failing = lambda: len(relay.find("error event=audit-failing")) - len(relay.find("event=audit-recovered"))
        self.assertIn(failing(), (0, 1))
        inside = f"/proc/{relay.role_pids('auditor')[0]}/root{disk}/audit.log"
        copy = shutil.copy(inside, os.path.join(self.logs, "copy"))
        self.verify(copy)
        os.rename(inside, inside + ".1")  # on the same full disk there is no room for another
        os.unlink(inside + ".1")
        wait_until(lambda: failing() == 0, "it writes again")
        self.assertEqual(self.send(self.port, b"x").stdout, b"x")

    def test_an_auditor_that_hangs_refuses_in_time(self):
        relay = self.start(self.audited())
        pid = relay.role_pids("auditor")[0]
        os.kill(pid, signal.SIGSTOP)
        done = self.send(self.port, b"x")
        self.assertEqual(done.returncode, SEND_UNDELIVERED, done.stderr)
        relay.wait_for("error event=audit-unanswered")
        relay.wait_for("event=refused reason=audit-failed .*does not answer")
        os.kill(pid, signal.SIGCONT)
        relay.wait_for("event=audit-answers")
        self.assertEqual(self.send(self.port, b"x").stdout, b"x")
        self.stop_cleanly(relay)
        self.verify()

    def test_what_cannot_be_written_at_all_does_not_start(self):
        text = self.file("notes.txt", "these are notes\n")
        for log, cause in ((text, "does not begin an audit trail"), (self.logs, "is a directory"),
                           (os.path.join(self.logs, "no", "audit.log"), "no such file")):
            self.write(self.audited(log=log))
            done = run([RELAY, "-c", self.path])
            self.assertEqual(done.returncode, CONFIG)
            self.assertRegex(done.stderr.decode(), f"portseal-relay: audit.file: {log}: .*{cause}")
        with open(text, encoding="utf-8") as file:
            self.assertEqual(file.read(), "these are notes\n")

    def test_check_warns_of_a_trail_that_others_read_or_that_cannot_be_made(self):
        def check(log):
            self.write(self.audited(log=log))
            done = run([RELAY, "check", "-c", self.path])
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.decode()

        self.assertNotIn("audit", check(self.log).replace(self.logs, ""))
        self.assertIn("warning: audit.file: ", check(os.path.join(self.logs, "no", "audit.log")))
        open(self.log, "w", encoding="utf-8").close()
        os.chmod(self.log, 0o644)
        self.assertIn("mode 0644 lets others read", check(self.log))


if __name__ == "__main__":
    main()
