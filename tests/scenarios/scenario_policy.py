#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Policy: whose revocation list is asked for, rules on trial, what a check finds, what is told before it expires."""
import json
import os

from portseal_testing import RELAY, Scenario, main, run


class Policy(Scenario):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.certs("sender", "bob", "--ou", "finance")

    def explain(self, path, name, *more):
        return run([RELAY, "explain", "-c", path, "--cert", self.crt(name), *more])

    def test_rules_on_trial_are_told_and_never_enforced(self):
        relay = self.relay(config=self.relay_config(
            {"app": (self.app().target, "{ any = true; }", 'would_allow = ( { ou = "finance"; } );')}))
        self.assertEqual(self.send(relay.port, b"x", identity="bob").stdout, b"x")
        self.assertEqual(self.send(relay.port, b"y", identity="alice").stdout, b"y")
        relay.wait_for("event=closed", count=2)
        told = relay.find("event=would-refuse")
        self.assertEqual(len(told), 1, told)
        self.assertRegex(told[0], r'conn=[0-9a-f]+ .*client="alice" .*service=app detail="the only rule asks for .*ou"')

    def test_rules_on_trial_do_not_let_anyone_in(self):
        relay = self.relay(config=self.relay_config(
            {"app": (self.app().target, '{ cn = "bob"; }', "would_allow = ( { any = true; } );")}))
        self.assertEqual(self.send(relay.port, b"x", identity="alice").returncode, 6)
        relay.wait_for("event=refused reason=not-allowed")
        self.assertEqual(relay.find("event=would-refuse"), [])

    def test_explain_tells_of_the_rules_on_trial(self):
        path = self.file("trial.conf", self.relay_config(
            {"app": ("tcp://127.0.0.1:1", "{ any = true; }", 'would_allow = ( { cn = "carol"; }, { ou = "finance"; } );')}))
        done = self.explain(path, "bob")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b'would 1        { cn = "carol"; } does not: another cn', done.stdout)
        self.assertIn(b"would_allow    would allow, by its rule 2", done.stdout)
        done = self.explain(path, "alice", "--json")
        told = json.loads(done.stdout)
        self.assertEqual((done.returncode, told["allowed"], told["would_allow"]), (0, True, False))
        self.assertEqual(told["would_rules"], [{"rule": 1, "matches": False, "fails": "cn"},
                                               {"rule": 2, "matches": False, "fails": "ou"}])

    def two_authorities(self):
        """Trust in ours and in another, whose only client is dave; ours alone has a list."""
        other = os.path.join(self.dir, "other")
        if not os.path.exists(other):
            self.certs("init", "--name", "Other CA", pki=other)
            self.certs("sender", "dave", pki=other)
            self.certs("crl", pki=other)
            self.certs("crl")
        with open(f"{self.pki}/ca.crt", encoding="ascii") as ours, open(f"{other}/ca.crt", encoding="ascii") as theirs:
            return other, self.file("both.crt", ours.read() + theirs.read())

    def relay_of_both(self, crl):
        other, both = self.two_authorities()
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")}, tls=crl.format(other=other))
        return other, self.relay(config=config.replace(f'client_ca = "{self.pki}/ca.crt"', f'client_ca = "{both}"'))

    def send_as_dave(self, relay, other):
        return run([*self.send_argv(relay.port, identity=None), "--cert", f"{other}/dave.crt", "--key", f"{other}/dave.key"],
                   stdin=b"x")

    def test_an_issuer_without_a_list_is_refused_where_lists_are_required(self):
        other, relay = self.relay_of_both(f'crl = "{self.pki}/ca.crl";')
        self.assertEqual(self.send(relay.port, b"x").returncode, 0)
        self.assertEqual(self.send_as_dave(relay, other).returncode, 6)
        relay.wait_for('event=refused reason=crl-missing .*detail="no revocation list of .*Other CA')

    def test_an_issuer_without_a_list_enters_if_present_is_enough(self):
        other, relay = self.relay_of_both(f'crl = "{self.pki}/ca.crl"; crl_policy = "if-present";')
        self.assertEqual(self.send_as_dave(relay, other).returncode, 0)

    def test_lists_of_several_issuers_come_from_several_files(self):
        other, relay = self.relay_of_both(f'crl = [ "{self.pki}/ca.crl", "{{other}}/ca.crl" ];')
        self.assertEqual(self.send(relay.port, b"x").returncode, 0)
        self.assertEqual(self.send_as_dave(relay, other).returncode, 0)

    def test_what_expires_soon_is_told_at_the_start_and_by_one_process(self):
        self.certs("relay", "soon", "--dns", "localhost", "--days", "12", "--force")
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")})
        relay = self.relay(config=config.replace("relay.crt", "soon.crt").replace("relay.key", "soon.key"))
        relay.wait_for(r'warn event=expires-soon what=certificate name="CN=soon.*" days=1[12] at=20\d\d-')
        self.assertEqual(self.send(relay.port, b"x").stdout, b"x")
        relay.wait_for("event=closed")
        self.assertEqual(len(relay.find("event=expires-soon")), 1, relay.log())

    def test_a_client_that_expires_soon_is_told_once_by_each_gatekeeper(self):
        self.certs("sender", "brief", "--days", "3", "--force")
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")})
        relay = self.relay(config=config.replace("gatekeepers = 2", "gatekeepers = 1"))
        for _ in range(3):
            self.assertEqual(self.send(relay.port, b"x", identity="brief").stdout, b"x")
        self.assertEqual(self.send(relay.port, b"x", identity="alice").stdout, b"x")
        relay.wait_for("event=closed", count=4)
        told = relay.find("event=expires-soon")
        self.assertEqual(len(told), 1, told)
        self.assertRegex(told[0], r'warn conn=[0-9a-f]+ .*what=client client="brief" .*days=[23] at=')


if __name__ == "__main__":
    main()
