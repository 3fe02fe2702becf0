#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""explain says offline what the relay says online, and why."""
import json

from portseal_testing import RELAY, Scenario, main, run


class Explain(Scenario):
    def setUp(self):
        super().setUp()
        self.certs("sender", "bob", "--ou", "finance", "--uri", "spiffe://example.com/billing/bob", "--force")
        self.path = self.file("explain.conf", self.relay_config(
            {"first": ("tcp://127.0.0.1:1", '{ cn = "alice"; }', ""),
             "second": ("tcp://127.0.0.1:1", '{ cn = "carol"; }, { ou = "finance"; uri = "spiffe://example.com/*/bob"; }',
                        "")}))

    def explain(self, name, service, *more):
        return run([RELAY, "explain", "-c", self.path, "--cert", self.crt(name), "--service", service, *more])

    def test_an_allowed_certificate_is_told_its_rule(self):
        done = self.explain("bob", "second")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b'rule 1         { cn = "carol"; } does not: another cn', done.stdout)
        self.assertIn(b"verdict        allowed by rule 2", done.stdout)

    def test_a_refused_certificate_is_told_its_reason(self):
        done = self.explain("bob", "first")
        self.assertEqual(done.returncode, 6)
        self.assertIn(b"verdict        refused: not-allowed: ", done.stdout)
        self.assertIn(b"access_denied", done.stdout)

    def test_json_holds_names_rules_and_verdict(self):
        told = json.loads(self.explain("bob", "first", "--json").stdout)
        self.assertEqual((told["allowed"], told["reason"], told["rules"]),
                         (False, "not-allowed", [{"rule": 1, "matches": False, "fails": "cn"}]))
        self.assertIn({"kind": "URI", "value": "spiffe://example.com/billing/bob"}, told["names"])

    def test_a_certificate_of_the_wrong_purpose_is_refused_by_the_chain(self):
        done = self.explain("relay", "first", "--json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["reason"]), (6, "wrong-purpose"))

    def test_it_agrees_with_the_running_relay(self):
        relay = self.relay(config=self.relay_config(
            {"first": (self.app().target, '{ cn = "alice"; }', ""), "second": ("tcp://127.0.0.1:1", "{ any = true; }", "")}))
        self.assertEqual(self.send(relay.port, b"x", service="first").returncode, self.explain("alice", "first").returncode)
        self.assertEqual(self.send(relay.port, b"x", service="first", identity="bob").returncode,
                         self.explain("bob", "first").returncode)
        relay.wait_for("event=refused reason=not-allowed")

    def test_usage_errors_exit_2_with_one_line(self):
        for argv in (["explain"], ["explain", "-c", self.path], ["explain", "--nope"]):
            done = run([RELAY, *argv])
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (2, 1))
        done = run([RELAY, "explain", "-c", self.path, "--cert", self.crt("bob")])
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (3, 1))
        self.assertIn(b"has several services: use --service NAME", done.stderr)

    def test_a_service_that_is_not_there_is_a_refusal_as_online_and_of_a_good_chain(self):
        done = self.explain("bob", "thi\x1brd")
        self.assertEqual((done.returncode, done.stderr), (6, b""))
        self.assertIn(b"\nchain          good\nservice        thi\\x1brd\nverdict        refused: unknown-service: ", done.stdout)
        told = json.loads(self.explain("bob", "third", "--json").stdout)
        self.assertEqual((told["allowed"], told["reason"], told["alert"]), (False, "unknown-service", "unrecognized_name"))
        self.assertNotIn("rules", told)
        self.assertIn(b"refused: wrong-purpose", self.explain("relay", "third").stdout)


if __name__ == "__main__":
    main()
