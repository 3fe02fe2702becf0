#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: a program that cannot do what it is told says so in one line that names the place, the fault and
what was expected, with the exit code of the contract, and leaves nothing running. `check` says beforehand what the
start would say."""
import os
import re
import shutil
import socket

from portseal_testing import CERTS, RELAY, SENDER, Scenario, free_port, main, run

PROGRAMS = {"portseal-relay": RELAY, "portseal-sender": SENDER, "portseal-certs": CERTS}

GOOD = """\
listen = ( { address = "127.0.0.1:0"; } );
tls = { certificate = "pki/relay.crt"; key = "pki/relay.key"; client_ca = "pki/ca.crt"; };
services = (
  { name = "app";
    target = "tcp://127.0.0.1:7000";
    allow = ( { any = true; } );
  } );
timeouts = { handshake = "5s"; };
limits = { connections = 100; };
"""

GOOD_SENDER = """\
relays = ( { address = "localhost:8443"; } );
tls = { certificate = "pki/alice.crt"; key = "pki/alice.key"; relay_ca = "pki/ca.crt"; };
tunnels = ( { listen = "127.0.0.1:0"; service = "app"; } );
"""


class Startup(Scenario):
    def config(self, *changes, text=GOOD):
        """A configuration file beside pki/, after changes of (what stands there, what shall)."""
        for before, after in changes:
            self.assertEqual(text.count(before), 1, before)
            text = text.replace(before, after)
        return self.file("program.conf", text)

    def assert_line(self, argv, code, pattern, cwd=None):
        done = run(argv, cwd=cwd)
        text = done.stderr.decode()
        self.assertEqual((done.returncode, done.stdout, text.count("\n")), (code, b"", 1), (argv, text))
        program = os.path.basename(argv[0])
        self.assertTrue(text.startswith(f"{program}: "), text)
        self.assertRegex(text[len(program) + 2:-1], f"\\A(?:{pattern})\\Z")

    def assert_both_refuse(self, path, pattern):
        """The start and the check say the same."""
        self.assert_line([RELAY, "check", "-c", path], 3, pattern)
        self.assert_line([RELAY, "-c", path], 3, pattern)


class Configuration(Startup):
    def test_faults_are_told_with_file_and_line(self):
        faults = [
            ("address", "adress", 1, r'listen.adress: unknown key, did you mean "address"\?'),
            ('"127.0.0.1:0"', '"127.0.0.1"', 1, "listen.address: .*HOST:PORT.*"),
            ('"127.0.0.1:0"', '"127.0.0.1:70000"', 1, "listen.address: .*"),
            ("client_ca", "cleint_ca", 2, r'tls.cleint_ca: unknown key, did you mean "client_ca"\?'),
            ('key = "pki/relay.key"; ', "", 2, "tls.key: .*missing.*"),
            ("tcp://", "tpc://", 5, r'services.target: "tpc://127.0.0.1:7000" is not tcp://HOST:PORT, .*'),
            ("{ any = true; }", '{ cm = "alice"; }', 6, r'services.allow.cm: unknown key, did you mean "cn"\?'),
            ("{ any = true; }", "{ any = false; }", 6, "services.allow.*"),
            ("allow = ( { any = true; } );", "", 4, "services.allow: missing: .*any = true.*"),
            ('"5s"', '"5 parsecs"', 8, 'timeouts.handshake: "5 parsecs" .*'),
            ('"5s"', "5", 8, "timeouts.handshake: .*"),
            ("connections = 100", "connections = -1", 9, "limits.connections: .*"),
            ("limits", "limit", 9, r'limit: unknown key, did you mean "limits"\?'),
            ("{ connections = 100; }", "{ connections = 100; ", 9, ".*never closed.*"),
        ]
        for before, after, line, pattern in faults:
            with self.subTest(after=after or f"no {before}"):
                path = self.config((before, after))
                self.assert_both_refuse(path, f"{re.escape(path)}:{line}: {pattern}")

    def test_a_file_that_is_not_there_is_named(self):
        path = os.path.join(self.dir, "nothing.conf")
        self.assert_both_refuse(path, f"{re.escape(path)}: no such file or directory")

    def test_a_listener_that_names_no_service_is_told_the_nearest(self):
        path = self.config(('"127.0.0.1:0";', '"127.0.0.1:0"; service = "ap";'))
        self.assert_both_refuse(path, f'{re.escape(path)}:1: listen.service: there is no service "ap", '
                                      r'did you mean "app"\?')

    def test_a_target_on_another_host_must_be_meant(self):
        path = self.config(("127.0.0.1:7000", "192.0.2.1:7000"))
        self.assert_both_refuse(path, f"{re.escape(path)}:4: services.target: 192.0.2.1:7000 is not on this host.*"
                                      "exposed = true.*")
        path = self.config(("127.0.0.1:7000", "192.0.2.1:7000"), ('name = "app";', 'name = "app"; exposed = true;'),
                           ("handshake =", 'connect = "100ms"; handshake ='))
        self.assertEqual(run([RELAY, "check", "-c", path]).returncode, 0)

    def test_faults_of_a_sender_are_told_with_file_and_line(self):
        faults = [
            ("relay_ca", "ca", 2, "tls.ca: unknown key.*"),
            ("localhost:8443", "localhost", 1, "relays.address: .*HOST:PORT.*"),
            ('"127.0.0.1:0"', '"0.0.0.0:5432"', 3, "tunnels.listen: 0.0.0.0:5432 is open to other hosts, .*"),
        ]
        for before, after, line, pattern in faults:
            with self.subTest(after=after):
                path = self.config((before, after), text=GOOD_SENDER)
                self.assert_line([SENDER, "tunnel", "-c", path], 3, f"{re.escape(path)}:{line}: {pattern}")


class Files(Startup):
    def test_a_key_of_another_certificate_is_refused(self):
        self.certs("relay", "other")
        self.assert_both_refuse(self.config(("relay.key", "other.key")),
                                ".*other.key: the key does not belong to the certificate in .*relay.crt")

    def test_a_key_that_others_may_read_is_refused(self):
        shutil.copy(self.key("relay"), self.key("open"))
        for mode in (0o644, 0o640, 0o660):
            os.chmod(self.key("open"), mode)
            self.assert_both_refuse(self.config(("relay.key", "open.key")), f".*open.key: mode {mode:04o}, .*0600.*")
        shutil.copy(self.key("alice"), self.key("open"))
        os.chmod(self.key("open"), 0o644)
        path = self.config(("alice.key", "open.key"), text=GOOD_SENDER)
        self.assert_line([SENDER, "tunnel", "-c", path], 3, ".*open.key: mode 0644, .*")

    def test_files_that_are_missing_or_something_else_are_named(self):
        for name in ("relay.crt", "relay.key", "ca.crt"):
            with self.subTest(missing=name):
                self.assert_both_refuse(self.config((name, "nothing")), ".*nothing: no such file or directory")
        self.assert_both_refuse(self.config(("relay.crt", "relay.key")), ".*relay.key: .*certificate.*")
        self.assert_both_refuse(self.config(("relay.key", "relay.crt")), ".*relay.crt: .*(private key|mode 0644).*")
        self.assert_both_refuse(self.config(('client_ca = "pki/ca.crt"', 'client_ca = "pki/relay.crt"')),
                                ".*relay.crt: .*is not an authority.*")

    def test_a_certificate_that_nobody_would_accept_does_not_start(self):
        self.certs("relay", "expired", "--not-before", "20200101000000Z", "--not-after", "20210101000000Z")
        self.assert_both_refuse(self.config(("relay.crt", "expired.crt"), ("relay.key", "expired.key")),
                                ".*expired.crt: expired on .*2021.*renew it")
        self.assert_both_refuse(self.config(("relay.crt", "alice.crt"), ("relay.key", "alice.key")),
                                ".*alice.crt: not issued for .*extended key usage.*")

    def test_check_warns_of_a_certificate_that_expires_soon(self):
        app = self.app()
        self.certs("relay", "soon", "--days", "5")
        path = self.config(("relay.crt", "soon.crt"), ("relay.key", "soon.key"), ("7000", str(app.port)))
        done = run([RELAY, "check", "-c", path])
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertRegex(done.stdout.decode(), r"\Awarning: .*soon.crt: the certificate expires in [45] days\n"
                                               r".*: good: .* 1 warning\n\Z")

    def test_check_says_whether_targets_answer(self):
        app = self.app()
        path = self.config(("7000", str(app.port)))
        done = run([RELAY, "check", "-c", path])
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertRegex(done.stdout.decode(), r"\A.*: good: 1 listener, 1 service, 1 trust anchor, 0 warnings\n\Z")
        path = self.config(("7000", str(free_port())))
        done = run([RELAY, "check", "-c", path])
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertRegex(done.stdout.decode(), r"\Awarning: service app: its target .* does not answer: .*refused\n"
                                               r".* 1 warning\n\Z")

    def test_paths_are_relative_to_the_file(self):
        path = self.config()
        self.assertEqual(run([RELAY, "check", "-c", path], cwd="/").returncode, 0)
        self.assertEqual(run([RELAY, "check", "-c", "program.conf"], cwd=self.dir).returncode, 0)


class Addresses(Startup):
    def test_an_address_in_use_is_told_and_nothing_stays_behind(self):
        taken = self.keep(socket.create_server(("127.0.0.1", 0)))
        port = taken.getsockname()[1]
        self.assert_line([RELAY, "-c", self.config(("127.0.0.1:0", f"127.0.0.1:{port}"))], 3,
                         f"listen 127.0.0.1:{port}: address already in use.*another instance.*")
        path = self.config(('"127.0.0.1:0"', f'"127.0.0.1:{port}"'), text=GOOD_SENDER)
        self.assert_line([SENDER, "tunnel", "-c", path], 3, f"listen 127.0.0.1:{port}: address already in use.*")

    def test_the_first_listener_is_given_up_with_the_second(self):
        taken = self.keep(socket.create_server(("127.0.0.1", 0)))
        first, second = free_port(), taken.getsockname()[1]
        path = self.config(('{ address = "127.0.0.1:0"; }',
                            f'{{ address = "127.0.0.1:{first}"; }}, {{ address = "127.0.0.1:{second}"; }}'))
        self.assert_line([RELAY, "-c", path], 3, f"listen 127.0.0.1:{second}: .*")
        with self.assertRaises(ConnectionRefusedError):
            self.connect(first)

    def test_a_foreign_address_and_a_file_in_the_way_are_told(self):
        self.assert_line([RELAY, "-c", self.config(("127.0.0.1:0", "192.0.2.1:0"))], 3,
                         "listen 192.0.2.1:0: .*no such address.*")
        self.file("in-the-way", "precious")
        self.assert_line([RELAY, "-c", self.config(("127.0.0.1:0", "unix:in-the-way"))], 3,
                         "listen .*in-the-way: .*not a socket.*")
        with open(os.path.join(self.dir, "in-the-way"), encoding="ascii") as file:
            self.assertEqual(file.read(), "precious")

    def test_a_stale_socket_is_replaced_and_one_in_use_is_not(self):
        app = self.app(path=os.path.join(self.dir, "taken.sock"))
        self.assert_line([RELAY, "-c", self.config(("127.0.0.1:0", "unix:taken.sock"))], 3, ".*taken.sock.*in use.*")
        app.close()
        relay = self.relay(config=GOOD.replace("127.0.0.1:0", "unix:taken.sock"))
        self.assertEqual(relay.port, None)


class CommandLines(Startup):
    def test_help_and_version_go_to_stdout(self):
        subcommands = {RELAY: ["check", "explain"], SENDER: ["send", "tunnel"],
                       CERTS: ["init", "relay", "sender", "sign", "renew", "revoke", "crl", "list", "show"]}
        for name, program in PROGRAMS.items():
            done = run([program, "--version"])
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertRegex(done.stdout.decode(), f"\\A{name} [0-9]+\\.[0-9]+\\.[0-9]+( \\(mbedTLS [0-9.]+(, aead [a-z0-9/-]+)?\\))?\n\\Z")
            for args in (["--help"], ["-h"], *([command, "--help"] for command in subcommands[program])):
                done = run([program, *args])
                self.assertEqual((done.returncode, done.stderr), (0, b""), args)
                self.assertTrue(done.stdout.startswith(f"usage: {name}".encode()), done.stdout)

    def test_usage_errors_are_one_line_and_2(self):
        faults = [
            ([RELAY], "no configuration given.*-c FILE.*"),
            ([RELAY, "-c"], "--config needs a value: FILE"),
            ([RELAY, "-c", "a", "-c", "b"], "--config is given twice"),
            ([RELAY, "-c", "a", "b"], '"b" is one argument too many'),
            ([RELAY, "--confg", "a"], r'unknown option "--confg", did you mean --config\?'),
            ([RELAY, "chekc"], r'unknown command "chekc", did you mean check\?'),
            ([RELAY, "check"], "check: no configuration given.*"),
            ([RELAY, "explain"], "explain: .*"),
            ([SENDER], "a command is missing.*"),
            ([SENDER, "sned"], r'unknown command "sned", did you mean send\?'),
            ([SENDER, "send"], "no relay given: .*--relay.*"),
            ([SENDER, "send", "--relay", "localhost:1"], "no certificate given: .*--cert.*"),
            ([SENDER, "send", "--relay", "nonsense"], '--relay: "nonsense" is not HOST:PORT.*'),
            ([SENDER, "send", "--timeout", "5 parsecs", "--relay", "localhost:1"], "--timeout: .*"),
            ([SENDER, "send", "a", "b"], ".*one FILE.*"),
            ([SENDER, "send", "/nothing/there"], "/nothing/there: cannot be read.*"),
            ([SENDER, "tunnel"], "no relay given: .*"),
            ([SENDER, "tunnel", "x"], 'tunnel: "x" is one argument too many'),
            ([CERTS], "a command is missing.*"),
            ([CERTS, "relya"], r'unknown command "relya", did you mean relay\?'),
            ([CERTS, "relay"], "relay: .*NAME.*"),
            ([CERTS, "init", "--dys", "5"], r'init: unknown option "--dys", did you mean --days\?'),
        ]
        for argv, pattern in faults:
            with self.subTest(argv=argv):
                self.assert_line(argv, 2, pattern, cwd=self.dir)

    def test_what_is_wrong_with_our_own_files_is_3(self):
        for option, name in (("--cert", "alice.crt"), ("--key", "alice.key"), ("--ca", "ca.crt")):
            argv = [SENDER, "send", "--relay", f"127.0.0.1:{free_port()}", "--cert", self.crt("alice"), "--key",
                    self.key("alice"), "--ca", f"{self.pki}/ca.crt"]
            argv[argv.index(option) + 1] = "/nothing/there"
            with self.subTest(missing=name):
                self.assert_line(argv, 3, "/nothing/there: no such file or directory")


if __name__ == "__main__":
    main()
