#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The doctor: for each cause its own answer, at the hop where it lies, with the exit code that send would have."""
import json
import os
import re
import shutil
import socket
import threading

from portseal_testing import (PATIENCE, SENDER, Process, Scenario, echo, free_port, is_listening, main, read_all, reset,
                              run, tool, wait_until)

DONE, UNFORESEEN, USAGE, OWN_SETUP, NO_RELAY, WRONG_RELAY, REFUSED, UNDELIVERED = range(8)
STEPS = ["config", "certificate", "name", "tcp", "tls", "relay", "admission", "service", "application"]


class Report:
    """The lines of one run, read back."""

    def __init__(self, done):
        self.code = done.returncode
        self.text = done.stdout.decode()
        self.stderr = done.stderr.decode()
        self.steps = re.findall(r"^(ok|warn|FAIL) +(\w+) +(.*) \((\d+) ms\)$", self.text, re.M)
        self.names = [step[1] for step in self.steps]
        self.cause = " ".join(re.findall(r"^      cause:  (.*)$", self.text, re.M))
        self.remedy = " ".join(re.findall(r"^      remedy: (.*)$", self.text, re.M))


def issue_old(scenario, name, usage):
    """A certificate that our authority signed and that has expired; returns its directory."""
    work = os.path.join(scenario.dir, f"authority-{name}")
    os.makedirs(work)
    open(os.path.join(work, "index"), "w", encoding="ascii").close()
    conf = scenario.file(f"{name}.cnf", f"""
[ca]
default_ca = c
[c]
database = {work}/index
new_certs_dir = {work}
rand_serial = yes
default_md = sha256
policy = p
x509_extensions = e
[p]
commonName = supplied
[e]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = {usage}
subjectAltName = DNS:localhost
""")
    key, csr, crt = (os.path.join(work, f"{name}.{end}") for end in ("key", "csr", "crt"))
    for argv in (["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                  f"/CN={name}", "-keyout", key, "-out", csr],
                 ["ca", "-batch", "-notext", "-config", conf, "-cert", f"{scenario.pki}/ca.crt", "-keyfile",
                  f"{scenario.pki}/ca.key", "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-in", csr,
                  "-out", crt]):
        done = run([tool("openssl"), *argv])
        scenario.assertEqual(done.returncode, 0, done.stderr.decode())
    os.chmod(key, 0o600)
    return work


class Doctor(Scenario):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other_pki = os.path.join(cls.dir, "other")
        cls.certs("init", "--name", "Other CA", pki=cls.other_pki)
        cls.certs("sender", "mallory", pki=cls.other_pki)
        cls.certs("sender", "bob")
        cls.certs("sender", "soon", "--days", "7")

    def argv(self, host, identity="alice", service="app", name="localhost", ca=None, pki=None, more=()):
        pki = pki or self.pki
        argv = [SENDER, "doctor", "--relay", host, "--ca", ca or f"{self.pki}/ca.crt",
                "--cert", os.path.join(pki, f"{identity}.crt"), "--key", os.path.join(pki, f"{identity}.key")]
        if name is not None:
            argv += ["--server-name", name]
        if service is not None:
            argv += ["--service", service]
        return [*argv, *more]

    def doctor(self, port, prefix=(), host="127.0.0.1", **kwargs):
        return Report(run([*prefix, *self.argv(f"{host}:{port}", **kwargs)]))

    def assert_stops(self, report, step, code, cause, remedy):
        """At that step, which is the last; every one before it is no failure."""
        self.assertEqual((report.code, report.stderr), (code, ""), report.text)
        self.assertEqual([s[1] for s in report.steps if s[0] == "FAIL"], [step], report.text)
        self.assertEqual(report.names[-1], step, report.text)
        self.assertEqual(report.names, [name for name in STEPS if name in report.names], report.text)
        self.assertIn(cause, report.cause)
        self.assertIn(remedy, report.remedy)
        self.assertIn(f"exit code {code}\n", report.text)

    def assert_open(self, report):
        self.assertEqual((report.code, report.stderr, report.names), (DONE, "", STEPS), report.text)
        self.assertIn("the way is open", report.text)

    def start(self, argv, port):
        process = self.keep(Process(argv))
        wait_until(lambda: process.child.poll() is not None or is_listening(port), f"{argv[0]} listens on {port}")
        self.assertIsNone(process.child.poll(), "\n".join(process.log()))
        return port

    def s_server(self, crt, key, *more):
        port = free_port()
        return self.start([tool("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", crt, "-key", key,
                           "-CAfile", f"{self.pki}/ca.crt", "-Verify", "1", "-quiet", *more], port)

    def namespace(self, *commands):
        """A prefix that runs a program in a network of its own, prepared by these commands of ip(8)."""
        return self.unshared("-rn", *(f"{tool('ip')} {command}" for command in ("link set lo up", *commands)))

    def names(self, *lines, network=False):
        """The same with an /etc/hosts of its own, and only optionally with its own network."""
        hosts = self.file("hosts", "".join(f"{line}\n" for line in lines))
        mount = f"mount --bind {hosts} /etc/hosts"
        return self.unshared("-rmn", f"{tool('ip')} link set lo up", mount) if network else self.unshared("-rm", mount)

    def unshared(self, what, *commands):
        prefix = [tool("unshare"), what, "sh", "-e", "-c", "; ".join(commands) + '; exec "$@"', "sh"]
        done = run([*prefix, "true"])
        if done.returncode != 0:
            self.skipTest(f"no namespace can be made here: {done.stderr.decode().strip()}")
        return prefix


class Healthy(Doctor):
    def test_all_hops_are_named_and_no_payload_arrives(self):
        heard = []

        def listen(connection):
            heard.append(read_all(connection))

        relay = self.relay(self.app(listen).target)
        report = self.doctor(relay.port)
        self.assert_open(report)
        self.assertEqual({step[0] for step in report.steps}, {"ok"}, report.text)
        self.assertIn("it is there: it ended when we did", report.text)
        self.assertEqual(heard, [b""])
        relay.wait_for("event=closed reason=done .*in=0 out=0")

    def test_an_application_that_speaks_first_is_there(self):
        relay = self.relay(self.app(lambda connection: connection.sendall(b"220 ready\r\n")).target)
        report = self.doctor(relay.port)
        self.assert_open(report)
        self.assertIn("it said 11 bytes", report.text)

    def test_silence_is_no_failure(self):
        done = threading.Event()
        self.addCleanup(done.set)
        relay = self.relay(self.app(lambda connection: done.wait(PATIENCE)).target)
        report = self.doctor(relay.port, more=["--timeout", "2s"])
        self.assert_open(report)
        self.assertIn("silent", report.text)
        self.assertGreaterEqual(int(report.steps[-1][3]), 2000)

    def test_every_address_is_tried_and_one_that_fails_is_a_warning(self):
        relay = self.relay(self.app().target)
        prefix = self.names("127.0.0.1 both.test", "127.0.0.2 both.test")
        report = self.doctor(relay.port, prefix=prefix, host="both.test")
        self.assert_open(report)
        self.assertRegex(report.text, r"\nok    name         both.test: 127\.0\.0\.., 127\.0\.0\.. \(")
        self.assertIn(f"\nwarn  tcp          connected to 127.0.0.1:{relay.port} (", report.text)
        self.assertEqual(report.cause, f"127.0.0.2:{relay.port} refused: the host answers, but nobody listens there")

    def test_of_several_addresses_each_fails_in_its_own_way(self):
        port = free_port()
        prefix = self.names("127.0.0.1 both.test", "192.0.2.7 both.test", network=True)
        report = self.doctor(port, prefix=prefix, host="both.test")
        self.assert_stops(report, "tcp", NO_RELAY, f"127.0.0.1:{port} refused", "ss -ltn")
        self.assertIn(f"192.0.2.7:{port} unreachable", report.cause)
        self.assertIn("ip route get 192.0.2.7", report.remedy)

    def test_a_certificate_that_ends_soon_is_a_warning(self):
        relay = self.relay(self.app().target)
        report = self.doctor(relay.port, identity="soon")
        self.assert_open(report)
        self.assertRegex(report.text, r"warn  certificate  .*\"soon\" until")
        self.assertIn("our certificate expires in 7 days", report.cause)
        self.assertIn("portseal-certs renew NAME", report.remedy)

    def test_any_tls_server_is_good_without_a_service(self):
        port = self.s_server(self.crt("relay"), self.key("relay"), "-tls1_3", "-verify_return_error", "-rev")
        report = self.doctor(port, service=None)
        self.assert_open(report)

    def test_a_configuration_file_and_a_unix_socket_do(self):
        path = os.path.join(self.dir, "relay.sock")
        self.relay(config=self.relay_config({"app": (self.app().target, "{ any = true; }", "")},
                                            listen=f'{{ address = "127.0.0.1:0"; }}, {{ address = "unix:{path}"; }}'))
        config = self.file("doctor.conf", f"""
relays = ( {{ address = "unix:relay.sock"; server_name = "localhost"; }} );
tls = {{ certificate = "pki/alice.crt"; key = "pki/alice.key"; relay_ca = "pki/ca.crt"; }};
service = "app";
""")
        self.assert_open(Report(run([SENDER, "doctor", "-c", config])))


class Files(Doctor):
    def test_no_relay_given_is_usage(self):
        done = run([SENDER, "doctor", "--ca", "x"])
        self.assert_stops(Report(done), "config", USAGE, "--relay HOST:PORT", "portseal-sender(1)")

    def test_an_unknown_option_is_usage(self):
        done = run([SENDER, "doctor", "--josn"])
        self.assertEqual((done.returncode, done.stdout), (USAGE, b""))
        self.assertIn(b"--json", done.stderr)

    def test_a_mistake_in_the_file_names_its_line(self):
        config = self.file("wrong.conf", "relays = ();\nrelys = ();\n")
        self.assert_stops(Report(run([SENDER, "doctor", "-c", config])), "config", OWN_SETUP, "wrong.conf:2: ", "")

    def test_a_missing_file_is_named(self):
        self.assert_stops(self.doctor(1, identity="nobody"), "config", OWN_SETUP, "nobody.crt", "ls -l")

    def test_a_key_that_others_may_read_is_told(self):
        shutil.copy(self.crt("alice"), os.path.join(self.dir, "open.crt"))
        shutil.copyfile(self.key("alice"), os.path.join(self.dir, "open.key"))
        os.chmod(os.path.join(self.dir, "open.key"), 0o644)
        self.assert_stops(self.doctor(1, identity="open", pki=self.dir), "config", OWN_SETUP, "0644", "chmod 600")

    def test_a_key_of_another_certificate_is_told(self):
        shutil.copy(self.crt("alice"), os.path.join(self.dir, "mixed.crt"))
        shutil.copy(self.key("bob"), os.path.join(self.dir, "mixed.key"))
        self.assert_stops(self.doctor(1, identity="mixed", pki=self.dir), "certificate", OWN_SETUP,
                          "the key does not belong to the certificate", "portseal-certs show")

    def test_a_relays_certificate_is_not_for_senders(self):
        self.assert_stops(self.doctor(1, identity="relay"), "certificate", REFUSED, "clientAuth",
                          "portseal-certs sender")

    def test_our_own_expired_certificate_is_told_before_anybody_is_asked(self):
        old = issue_old(self, "old-client", "clientAuth")
        self.assert_stops(self.doctor(1, identity="old-client", pki=old), "certificate", REFUSED,
                          "it expired on 2021-01-01", "portseal-certs renew")


class Reach(Doctor):
    def test_a_name_that_does_not_exist(self):
        report = self.doctor(8443, host="name.invalid", more=["--timeout", "5s"])
        self.assert_stops(report, "name", NO_RELAY, "name.invalid does not resolve", "getent hosts name.invalid")

    def test_a_name_server_that_does_not_answer(self):
        servers = self.file("resolv.conf", "nameserver 192.0.2.53\n")
        ip = tool("ip")
        prefix = self.unshared("-rmn", f"{ip} link add near type veth peer name far",
                               f"{ip} addr add 192.0.2.1/24 dev near", f"{ip} link set near up",
                               f"{ip} link set far up",
                               f"{ip} neigh add 192.0.2.53 lladdr 02:00:00:00:00:53 dev near nud permanent",
                               f"mount --bind {servers} /etc/resolv.conf")
        report = self.doctor(8443, prefix=prefix, host="relay.example.com", more=["--timeout", "300ms"])
        self.assert_stops(report, "name", NO_RELAY, "relay.example.com does not resolve", "no name server answered")
        self.assertLess(int(report.steps[-1][3]), 3000)

    def test_a_closed_port(self):
        port = free_port()
        self.assert_stops(self.doctor(port), "tcp", NO_RELAY, f"127.0.0.1:{port} refused", f"ss -ltn 'sport = :{port}'")

    def test_dropped_packets(self):
        # Both ends of the cable are here, and nobody has that hardware address: no answer, as from a firewall that drops.
        prefix = self.namespace("link add near type veth peer name far", "addr add 192.0.2.1/24 dev near",
                                "link set near up", "link set far up",
                                "neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev near nud permanent")
        report = self.doctor(8443, prefix=prefix, host="192.0.2.7", more=["--timeout", "300ms"])
        self.assert_stops(report, "tcp", NO_RELAY, "192.0.2.7:8443 timed out", "traceroute -T -p 8443 192.0.2.7")

    def test_no_route(self):
        report = self.doctor(8443, prefix=self.namespace(), host="192.0.2.7")
        self.assert_stops(report, "tcp", NO_RELAY, "192.0.2.7:8443 unreachable", "ip route get 192.0.2.7")

    def test_a_host_that_a_router_calls_unreachable(self):
        prefix = self.namespace("route add unreachable 192.0.2.0/24")
        report = self.doctor(8443, prefix=prefix, host="192.0.2.7")
        self.assert_stops(report, "tcp", NO_RELAY, "192.0.2.7:8443 unreachable", "ip route get 192.0.2.7")

    def test_what_this_host_forbids(self):
        prefix = self.namespace("route add prohibit 192.0.2.0/24")
        report = self.doctor(8443, prefix=prefix, host="192.0.2.7")
        self.assert_stops(report, "tcp", NO_RELAY, "192.0.2.7:8443 failed", "nft list ruleset")

    def test_a_unix_socket_that_nobody_listens_on(self):
        report = Report(run(self.argv("unix:/nonexistent/relay.sock")))
        self.assert_stops(report, "tcp", NO_RELAY, "unix:/nonexistent/relay.sock refused",
                          "ls -l /nonexistent/relay.sock")


class Tls(Doctor):
    def test_a_plain_http_server_is_quoted(self):
        port = free_port()
        self.start([tool("python3"), "-m", "http.server", "--bind", "127.0.0.1", str(port)], port)
        self.assert_stops(self.doctor(port), "tls", NO_RELAY, "does not speak TLS: it said", "relay.conf")

    def test_a_greeting_in_plain_text_is_quoted(self):
        def greet(connection):
            connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            read_all(connection)

        report = self.doctor(self.app(greet).port)
        self.assert_stops(report, "tls", NO_RELAY, 'it said "SSH-2.0-OpenSSH_9.2p1"', "another program")

    def test_a_server_that_says_nothing(self):
        done = threading.Event()
        self.addCleanup(done.set)
        report = self.doctor(self.app(lambda connection: done.wait(PATIENCE)).port, more=["--timeout", "300ms"])
        self.assert_stops(report, "tls", NO_RELAY, "no answer within 300 ms", "the application itself")

    def test_a_server_that_closes(self):
        report = self.doctor(self.app(lambda connection: connection.recv(65536)).port)
        self.assert_stops(report, "tls", NO_RELAY, "closed the connection without a word", "balancer")

    def test_a_server_that_is_too_old(self):
        port = self.s_server(self.crt("relay"), self.key("relay"), "-tls1_2")
        self.assert_stops(self.doctor(port, service=None), "tls", NO_RELAY, "TLS 1.3", "TLS 1.3 only")

    def test_a_wrong_name(self):
        relay = self.relay(self.app().target)
        report = self.doctor(relay.port, name="elsewhere.test")
        self.assert_stops(report, "relay", WRONG_RELAY, "it was issued for localhost, relay.test, 127.0.0.1", "--server-name")
        self.assertIn("elsewhere.test", report.cause)

    def test_a_wrong_authority(self):
        relay = self.relay(self.app().target)
        report = self.doctor(relay.port, ca=f"{self.other_pki}/ca.crt")
        self.assert_stops(report, "relay", WRONG_RELAY, "no trusted authority signed this certificate", "--ca (relay_ca)")

    def test_an_expired_relay(self):
        work = issue_old(self, "old-relay", "serverAuth")
        port = self.s_server(f"{work}/old-relay.crt", f"{work}/old-relay.key", "-tls1_3")
        report = self.doctor(port, service=None)
        self.assert_stops(report, "relay", WRONG_RELAY, "a certificate has expired", "renew it at the relay")
        self.assertIn("2021-01-01", report.cause)


class Refusals(Doctor):
    def test_a_client_of_an_unknown_authority(self):
        relay = self.relay(self.app().target)
        report = self.doctor(relay.port, identity="mallory", pki=self.other_pki)
        self.assert_stops(report, "admission", REFUSED, "alert unknown_ca", "client_ca")

    def test_a_client_that_a_foreign_server_refuses(self):
        port = self.s_server(self.crt("relay"), self.key("relay"), "-tls1_3", "-verify_return_error")
        report = self.doctor(port, identity="mallory", pki=self.other_pki, service=None)
        self.assert_stops(report, "admission", REFUSED, "alert unknown_ca", "client_ca")

    def test_a_client_that_no_rule_allows(self):
        relay = self.relay(config=self.relay_config({"app": (self.app().target, '{ cn = "alice"; }', "")}))
        report = self.doctor(relay.port, identity="bob")
        self.assert_stops(report, "service", REFUSED, 'to use the service "app"', "portseal-relay explain")
        self.assertIn("admission", report.names)

    def test_a_service_that_does_not_exist(self):
        relay = self.relay(self.app().target)
        report = self.doctor(relay.port, service="application")
        self.assert_stops(report, "service", REFUSED, 'the relay has no service "application"', "relay.conf")

    def test_a_service_that_must_be_named_suggests_those_of_the_tunnels(self):
        target = self.app().target
        relay = self.relay(config=self.relay_config({"one": (target, "{ any = true; }", ""),
                                                     "two": (target, "{ any = true; }", "")}))
        config = self.file("tunnels.conf", f"""
relays = ( {{ address = "127.0.0.1:{relay.port}"; server_name = "localhost"; }} );
tls = {{ certificate = "pki/alice.crt"; key = "pki/alice.key"; relay_ca = "pki/ca.crt"; }};
tunnels = ( {{ listen = "127.0.0.1:0"; service = "one"; }}, {{ listen = "unix:two.sock"; service = "two"; }} );
""")
        report = Report(run([SENDER, "doctor", "-c", config]))
        self.assert_stops(report, "service", REFUSED, "which service is meant", "those of the tunnels are one, two")

    def test_a_server_that_does_not_confirm_the_service(self):
        port = self.s_server(self.crt("relay"), self.key("relay"), "-tls1_3")
        report = self.doctor(port)
        self.assert_stops(report, "service", REFUSED, "did not confirm", "leave --service out")
        self.assertLess(int(report.steps[report.names.index("tls")][3]), 2000)


class Applications(Doctor):
    def test_a_dead_application(self):
        relay = self.relay(f"tcp://127.0.0.1:{free_port()}")
        report = self.doctor(relay.port)
        self.assert_stops(report, "application", UNDELIVERED, "alert internal_error", "portseal-relay check")
        self.assertEqual(report.names, STEPS)

    def test_an_application_that_does_not_answer_at_all(self):
        full = self.keep(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        self.connect(full.getsockname()[1])  # the queue holds this one, and the next connection waits in vain
        relay = self.relay(f"tcp://127.0.0.1:{full.getsockname()[1]}", extra='timeouts = { connect = "300ms"; };')
        report = self.doctor(relay.port)
        self.assert_stops(report, "application", UNDELIVERED, "alert internal_error", "timed out")
        relay.wait_for("reason=target-timeout")

    def test_an_application_that_resets(self):
        relay = self.relay(self.app(reset).target)
        self.assert_stops(self.doctor(relay.port), "application", UNDELIVERED, "internal_error", "log")


class Json(Doctor):
    def json(self, port, **kwargs):
        done = run(self.argv(f"127.0.0.1:{port}", more=["--json"], **kwargs))
        self.assertEqual(done.stderr, b"")
        value = json.loads(done.stdout)
        self.assertEqual(value["exit_code"], done.returncode)
        for step in value["steps"]:
            self.assertEqual(sorted(step), ["cause", "detail", "ms", "ok", "remedy", "step", "warning"])
        return value

    def test_an_open_way(self):
        value = self.json(self.relay(self.app(echo).target).port)
        self.assertEqual(value["exit_code"], DONE)
        self.assertEqual([(step["step"], step["ok"], step["cause"]) for step in value["steps"]],
                         [(name, True, None) for name in STEPS])

    def test_a_failure(self):
        value = self.json(free_port())
        last = value["steps"][-1]
        self.assertEqual((value["exit_code"], last["step"], last["ok"]), (NO_RELAY, "tcp", False))
        self.assertIn("refused", last["cause"])
        self.assertIn("ss -ltn", last["remedy"])

    def test_foreign_text_stays_inside_its_string(self):
        def greet(connection):
            connection.sendall(b'"},{"\x1b[31m\xff\\ hello\r\n')
            read_all(connection)

        value = self.json(self.app(greet).port)
        self.assertIn(r'\"},{\"\x1b[31m\xff\\ hello', value["steps"][-1]["cause"])


if __name__ == "__main__":
    main()
