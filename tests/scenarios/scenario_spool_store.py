#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: what `send --spool` has said to be kept is kept, and every way in which a spool can be unusable is a
clear error that loses nothing of what it holds."""
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading

from portseal_testing import SENDER, Process, Scenario, main, run, tool


class Spool(Scenario):
    """Each test has a directory with a configuration and a spool; nobody listens at its relay."""

    def setUp(self):
        super().setUp()
        self.place = tempfile.mkdtemp(dir=self.dir)
        self.db = os.path.join(self.place, "spool.db")
        self.configure()

    def configure(self, more="", spool=None):
        self.conf = os.path.join(self.place, "sender.conf")
        with open(self.conf, "w", encoding="ascii") as file:
            file.write(f"""
relays = ( {{ address = "127.0.0.1:1"; server_name = "localhost"; }} );
tls = {{ certificate = "{self.crt('alice')}"; key = "{self.key('alice')}"; relay_ca = "{self.pki}/ca.crt"; }};
service = "app";
spool = {{ path = "{spool or self.db}"; {more} }};
""")

    def spool(self, payload=b"payload", *more, prefix=()):
        return run([*prefix, SENDER, "send", "-c", self.conf, "--spool", *more], stdin=payload)

    def queue(self, *args):
        return run([SENDER, "queue", *args, "-c", self.conf])

    def listed(self):
        done = self.queue("list", "--json")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return json.loads(done.stdout)

    def payloads(self):
        return [self.queue("show", each["id"], "--payload").stdout for each in self.listed()["list"]]

    def assert_refused(self, done, code, *words):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, b"")
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr.decode())


class Kept(Spool):
    def test_a_kept_message_is_75_and_its_id_is_on_stdout(self):
        done = self.spool(b"hello")
        self.assertEqual((done.returncode, done.stderr), (75, b""))
        identity = done.stdout.decode().strip()
        self.assertRegex(identity, r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
        listed = self.listed()
        self.assertEqual([(each["id"], each["state"], each["bytes"]) for each in listed["list"]],
                         [(identity, "waiting", 5)])
        self.assertEqual(self.payloads(), [b"hello"])
        self.assertFalse(listed["served"])

    def test_files_of_any_size_come_back_from_the_queue(self):
        for size in (0, 1, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 5 << 20):
            data = os.urandom(size)
            path = os.path.join(self.place, "payload")
            with open(path, "wb") as file:
                file.write(data)
            done = self.spool(b"", path)
            self.assertEqual(done.returncode, 75, done.stderr)
            self.assertEqual(self.queue("show", done.stdout.decode().strip(), "--payload").stdout, data)

    def test_many_senders_at_once_lose_nothing(self):
        outcomes = []
        senders = [threading.Thread(target=lambda i=i: outcomes.append(self.spool(b"%d" % i))) for i in range(40)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        self.assertEqual([(done.returncode, done.stderr) for done in outcomes], [(75, b"")] * 40)
        self.assertEqual(sorted(self.payloads(), key=int), [b"%d" % i for i in range(40)])

    def test_a_sender_that_is_killed_while_it_reads_keeps_nobody_waiting_and_leaves_nothing(self):
        reader, writer = os.pipe()
        slow = self.started_sender(reader)
        os.write(writer, b"x" * 100)
        self.assertEqual(self.spool().returncode, 75)
        slow.send_signal(signal.SIGKILL)
        slow.wait()
        os.close(writer)
        os.close(reader)
        self.assertEqual(self.payloads(), [b"payload"])
        self.assertEqual([name for name in os.listdir(self.place) if not name.startswith(("spool.db", "sender"))], [])

    def started_sender(self, stdin):
        return subprocess.Popen([SENDER, "send", "-c", self.conf, "--spool"], stdin=stdin, stdout=subprocess.DEVNULL)

    def test_senders_killed_at_random_moments_keep_all_that_they_reported(self):
        reported, count = set(), 0
        for delay in range(30):
            sender = subprocess.Popen([SENDER, "send", "-c", self.conf, "--spool", self.conf], stdout=subprocess.PIPE)
            try:
                sender.wait(delay / 1000)
            except subprocess.TimeoutExpired:
                sender.kill()
            line = sender.communicate()[0].decode()
            if line.endswith("\n"):
                reported.add(line.strip())
            count += 1
        kept = {each["id"] for each in self.listed()["list"]}
        self.assertEqual(reported - kept, set())
        self.assertLessEqual(len(kept), count)
        with sqlite3.connect(self.db) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])

    def test_waiting_for_a_delivery_that_does_not_come_ends_in_75(self):
        self.assertEqual(self.spool(b"x", "--wait", "50ms").returncode, 75)
        self.assertEqual(self.payloads(), [b"x"])

    def test_verbose_says_whether_somebody_delivers(self):
        self.assertIn(b"nobody delivers just now", self.spool(b"x", "-v").stderr)

    def test_the_files_are_for_their_owner_only(self):
        self.spool()
        self.assertEqual(oct(os.stat(self.db).st_mode), "0o100600")


class Limits(Spool):
    def test_a_full_spool_refuses_with_8_and_keeps_what_it_has(self):
        self.configure("max_messages = 2;")
        self.assertEqual([self.spool(b"%d" % i).returncode for i in range(2)], [75, 75])
        self.assert_refused(self.spool(b"2"), 8, "full: it holds 2 messages", "spool.max_messages")
        self.assertEqual(self.payloads(), [b"0", b"1"])
        self.configure('max_bytes = "1K";')
        self.assert_refused(self.spool(b"x" * 1023), 8, "spool.max_bytes")
        self.assertEqual(self.spool(b"x" * 1022).returncode, 75)

    def test_a_message_over_its_size_is_8(self):
        self.configure('max_message = "1K";')
        self.assertEqual(self.spool(b"x" * 1024).returncode, 75)
        self.assert_refused(self.spool(b"x" * 1025), 8, "larger than 1024 bytes", "spool.max_message")

    def test_what_is_missing_is_said(self):
        self.assert_refused(run([SENDER, "send", "--spool"]), 2, "no configuration given")
        with open(self.conf, encoding="ascii") as file:
            text = file.read()
        self.file("no-service.conf", text.replace('service = "app";', ""))
        self.assert_refused(run([SENDER, "send", "--spool", "-c", os.path.join(self.dir, "no-service.conf")]), 2,
                            "needs --service")
        self.file("no-spool.conf", text[:text.index("spool =")])
        for command in (("send", "--spool"), ("queue", "list"), ("run",)):
            self.assert_refused(run([SENDER, *command, "-c", os.path.join(self.dir, "no-spool.conf")]), 3,
                                "no spool is configured")
        self.assert_refused(run([SENDER, "send", "--wait", "1s", "-c", self.conf]), 2, "--wait goes with --spool only")
        for other in (("--idempotency-key", "k"), ("--receipt", "r"), ("--each-line",), ("--length-prefixed",)):
            self.assert_refused(self.spool(b"x", *other), 2, f"{other[0]} does not go with --spool")
        self.assert_refused(self.spool(b"x", "--wait", "1"), 2, '--wait: "1" is not a duration')


class Disk(Spool):
    def limit_file_size(self, size):
        def set_limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return set_limit

    def test_a_file_that_may_not_grow_is_a_full_disk(self):
        self.assertEqual(self.spool(b"first").returncode, 75)
        limit = self.limit_file_size(200 * 1024)
        done = subprocess.run([SENDER, "send", "-c", self.conf, "--spool"], input=b"x" * 500_000, capture_output=True,
                              preexec_fn=limit, check=False)
        self.assert_refused(done, 8, "no space is left on its disk")
        done = subprocess.run([SENDER, "send", "-c", self.conf, "--spool"], input=b"x" * 3_000_000, capture_output=True,
                              preexec_fn=limit, check=False)
        self.assert_refused(done, 8, "no room beside it for this message")
        self.assertEqual(self.payloads(), [b"first"])
        self.assertEqual(self.spool(b"second").returncode, 75)
        self.assertEqual(self.payloads(), [b"first", b"second"])

    def in_tmpfs(self, *script):
        """Runs shell lines in a namespace of their own where $1 is a file system of 1 MiB."""
        unshare = tool("unshare")
        mounted = os.path.join(self.place, "small")
        os.mkdir(mounted)
        self.configure(spool=os.path.join(mounted, "spool.db"))
        text = 'mount -t tmpfs -o size=1m,mode=0700 none "$1"; ' + "; ".join(script)
        if run([unshare, "-rm", "sh", "-c", f"mount -t tmpfs none {mounted}"]).returncode != 0:
            self.skipTest("no mount namespaces here")
        return run([unshare, "-rm", "sh", "-c", text, "sh", mounted, SENDER, self.conf])

    def test_a_full_disk_is_8_and_what_was_kept_is_whole(self):
        done = self.in_tmpfs(
            'head -c 300000 /dev/zero >"$1/filler"; keep="$2 send -c $3 --spool"',
            'head -c 100000 /dev/zero | $keep >/dev/null; echo $?',
            'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c 100000 /dev/zero | $keep >/dev/null; done; echo $?',
            '"$2" queue list -c "$3" --json; id=$("$2" queue list -c "$3" | sed -n 2p | cut -d" " -f1)',
            '"$2" queue show "$id" -c "$3" --payload | wc -c',
            'rm "$1/filler"; "$2" queue drop "$id" -c "$3" >/dev/null; echo $?',
            'head -c 1000 /dev/zero | $keep >/dev/null; echo $?')
        self.assertEqual(done.stdout.count(b"\n"), 6, done)
        first, last, listed, size, dropped, again = done.stdout.decode().split("\n")[:6]
        self.assertEqual((first, last), ("75", "8"))
        messages = json.loads(listed)
        self.assertEqual(messages["bytes"], 100000 * messages["messages"])
        self.assertLess(messages["messages"], 12)
        self.assertEqual((size, dropped, again), ("100000", "0", "75"))
        self.assertIn("no space is left on its disk", done.stderr.decode())

    def test_a_read_only_file_system_is_3(self):
        done = self.in_tmpfs('echo one | "$2" send -c "$3" --spool', 'mount -o remount,ro "$1"',
                             'echo two | "$2" send -c "$3" --spool; echo $?', '"$2" run -c "$3"; echo $?')
        self.assertEqual(done.stdout.decode().split("\n")[1:3], ["3", "3"])
        self.assertEqual(len(done.stderr.splitlines()), 2, done.stderr)
        self.assertIn("spool.db", done.stderr.decode())

    def test_a_read_only_directory_is_3(self):
        if os.geteuid() == 0:
            self.skipTest("root may write anywhere")
        os.chmod(self.place, 0o500)
        self.addCleanup(os.chmod, self.place, 0o700)
        self.assert_refused(self.spool(), 3, "spool.db")

    def test_a_directory_that_is_not_there_is_3(self):
        self.configure(spool=os.path.join(self.place, "none", "spool.db"))
        self.assert_refused(self.spool(), 3, "no such file or directory")


class Damaged(Spool):
    def assert_all_refuse(self, *words):
        self.assert_refused(self.spool(), 3, *words)
        self.assert_refused(run([SENDER, "run", "-c", self.conf]), 3, *words)
        self.assert_refused(self.queue("list"), 3, *words)

    def test_a_file_that_others_may_read_is_refused(self):
        self.spool()
        os.chmod(self.db, 0o640)
        self.assert_all_refuse("mode 0640", "expected 0600")
        os.chmod(self.db, 0o600)
        self.assertEqual(self.payloads(), [b"payload"])

    def test_a_file_of_another_user_is_refused(self):
        if os.geteuid() != 0:
            self.skipTest("only root can give a file away")
        self.spool()
        os.chown(self.db, 12345, 12345)
        self.assert_all_refuse("owner 12345")

    def test_a_directory_that_others_may_write_to_is_refused(self):
        self.spool()
        os.chmod(self.place, 0o777)
        self.addCleanup(os.chmod, self.place, 0o700)
        self.assert_all_refuse(f"{self.place}: mode 0777", "chmod go-w")
        os.chmod(self.place, 0o700)
        self.assertEqual(self.payloads(), [b"payload"])

    def test_a_file_that_is_no_database_is_refused_and_stays_as_it_is(self):
        with open(self.db, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(b"precious text\n" * 1000)
        self.assert_all_refuse("no spool but some other file")
        with open(self.db, "rb") as file:
            self.assertEqual(file.read(), b"precious text\n" * 1000)

    def test_another_database_is_refused(self):
        with sqlite3.connect(self.db) as db:
            db.execute("CREATE TABLE mine (x)")
        os.chmod(self.db, 0o600)
        self.assert_all_refuse("a database, but not a spool")

    def test_a_damaged_spool_is_not_served_and_what_can_be_read_is_still_there(self):
        for i in range(8):
            self.assertEqual(self.spool(b"%d" % i * 2000).returncode, 75)
        with sqlite3.connect(self.db) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = os.stat(self.db).st_size
        shutil.copy(self.db, self.db + ".copy")
        with open(self.db, "r+b") as file:
            file.seek(size // 2 // 4096 * 4096)
            file.write(b"\x5a" * 2048)
        done = run([SENDER, "run", "-c", self.conf])
        self.assert_refused(done, 3, "it is damaged", ".recover")
        self.assertEqual(os.stat(self.db).st_size, size)
        os.replace(self.db + ".copy", self.db)
        self.assertEqual(len(self.payloads()), 8)


class Queue(Spool):
    def test_messages_are_dropped_by_id_or_its_beginning(self):
        identity = self.spool(b"a").stdout.decode().strip()
        self.spool(b"b")
        self.assertEqual(self.queue("drop", identity).stdout, b"dropped: 1 message\n")
        self.assertEqual(self.payloads(), [b"b"])
        rest = self.listed()["list"][0]["id"]
        self.assertEqual(json.loads(self.queue("drop", rest[:8], "--json").stdout), {"dropped": 1})
        self.assertEqual(self.listed()["dropped"], 2)

    def test_a_message_that_is_not_there_is_1(self):
        for command in ("show", "retry", "drop"):
            done = self.queue(command, "nothing")
            self.assertEqual(done.returncode, 1)
            self.assertIn(b'no message "nothing" in the spool', done.stderr)

    def test_usage_errors_are_2(self):
        for args in (("retry",), ("drop",), ("drop", "x", "--dead"), ("show",), ("list", "x"), ("lst",)):
            self.assertEqual(self.queue(*args).returncode, 2, args)
        self.assertEqual(run([SENDER, "queue"]).returncode, 2)
        self.assertEqual(run([SENDER, "queue", "list"]).returncode, 2)
        self.assertEqual(run([SENDER, "queue", "--help"]).returncode, 0)

    def test_an_expired_message_is_dead_shown_and_can_be_retried(self):
        self.configure('ttl = "1ms";')
        identity = self.spool(b"late").stdout.decode().strip()
        daemon = self.keep(Process([SENDER, "run", "-c", self.conf]))
        daemon.wait_for(f"event=dead-letter message={identity} service=app attempt=0 reason=expired")
        listed = json.loads(self.queue("list", "--dead", "--json").stdout)
        self.assertEqual([(each["id"], each["state"], each["reason"]) for each in listed["list"]],
                         [(identity, "dead", "expired")])
        self.assertTrue(listed["served"])
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        self.configure('ttl = "1h";')
        self.assertEqual(self.queue("retry", "--all").stdout, b"retried: 1 message\n")
        self.assertEqual([each["state"] for each in self.listed()["list"]], ["waiting"])
        self.assertEqual(self.queue("drop", "--dead").stdout, b"dropped: 0 messages\n")
        self.assertEqual(self.payloads(), [b"late"])


class Serving(Spool):
    def test_a_second_daemon_is_refused_and_says_who_is_the_first(self):
        daemon = self.keep(Process([SENDER, "run", "-c", self.conf]))
        daemon.wait_for("event=started")
        self.assert_refused(run([SENDER, "run", "-c", self.conf]), 3,
                            f"another portseal-sender delivers from it already: process {daemon.pid}")

    def test_a_new_message_wakes_the_daemon_at_once(self):
        self.configure('retry = { first = "10s"; max = "10s"; };')
        daemon = self.keep(Process([SENDER, "run", "-c", self.conf]))
        daemon.wait_for("event=started")
        self.assertIn(b"has been woken", self.spool(b"x", "-v").stderr)
        daemon.wait_for("event=delivery-failed .*reason=relay-not-reached", patience=4)

    def test_hup_takes_a_good_configuration_and_refuses_a_broken_one(self):
        daemon = self.keep(Process([SENDER, "run", "-c", self.conf]))
        daemon.wait_for("event=started")
        self.configure("max_messages = 0;")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("event=reload-failed .*spool.max_messages: 0 is not between")
        self.configure(spool=self.db + "2")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("event=reload-failed .*spool.path has changed")
        self.configure('retry = { first = "1h"; max = "2h"; };')
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("event=reloaded")
        self.spool()
        daemon.wait_for(r"event=delivery-failed .*retry_ms=\d{7}")
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)


if __name__ == "__main__":
    main()
