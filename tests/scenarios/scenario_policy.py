#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Policy: whose revocation list is asked for, rules on trial, what a check finds, what is told before it expires."""
import json
import os
import shutil
import signal
import tempfile
import time

from portseal_testing import RELAY, Scenario, free_port, main, run


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

    def test_a_client_that_expires_soon_is_told_once_by_all_gatekeepers_of_all_generations(self):
        self.certs("sender", "brief", "--days", "3", "--force")
        port = free_port()
        relay = self.relay(config=self.relay_config({"app": (self.app().target, "{ any = true; }", "")},
                                                    listen='{ address = "127.0.0.1:%d"; }' % port))
        for _ in range(2):
            for _ in range(6):
                self.assertEqual(self.send(port, b"x", identity="brief").stdout, b"x")
            self.assertEqual(self.send(port, b"x", identity="alice").stdout, b"x")
            relay.signal(signal.SIGHUP)
            relay.wait_for("event=reloaded", count=len(relay.find("event=reloaded")) + 1)
        relay.wait_for("event=closed", count=14)
        told = relay.find("event=expires-soon")
        self.assertEqual(len(told), 1, told)
        self.assertRegex(told[0], r'warn conn=[0-9a-f]+ .*what=client client="brief" .*days=[23] at=')

    def check(self, config, *more):
        return run([RELAY, "check", "-c", self.file("check.conf", config), *more])

    def findings(self, config):
        """[(level, about, text)], of a configuration that would start."""
        done = self.check(config, "--json")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        told = json.loads(done.stdout)
        self.assertTrue(told["good"])
        self.assertEqual(told["warnings"], sum(one["level"] == "warning" for one in told["findings"]))
        return [(one["level"], one["about"], one["text"]) for one in told["findings"]]

    def test_check_finds_nothing_where_nothing_is(self):
        self.assertEqual(self.findings(self.relay_config({"app": (self.app().target, "{ any = true; }", "")})), [])

    def test_check_finds_whose_end_is_near(self):
        pki = os.path.join(self.dir, "short")
        if not os.path.exists(pki):
            self.certs("init", "--name", "Short CA", "--days", "20", pki=pki)
            self.certs("relay", "relay", "--dns", "localhost", "--days", "9", pki=pki)
            self.certs("crl", "--days", "1", pki=pki)
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")}, tls=f'crl = "{self.pki}/ca.crl";')
        found = self.findings(config.replace(self.pki, pki))
        self.assertEqual([(level, about) for level, about, _ in found], [("warning", "expiry")] * 2, found)
        self.assertRegex(found[0][2], "short/relay.crt: the certificate expires in [89] days")
        self.assertRegex(found[1][2], "short/ca.crt: the authority .*Short CA.* expires in (19|20) days")

    def test_check_finds_a_list_that_nears_its_end_and_one_that_is_past_it(self):
        work = os.path.join(self.dir, "lists")
        os.makedirs(work, exist_ok=True)
        begun, soon, past = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400)) for days in (-40, 10, -1))
        for end, words in ((soon, r"expires in (9|10) days"), (past, "expired on 20")):
            self.certs("crl", "--not-before", begun, "--not-after", end)
            shutil.copy(f"{self.pki}/ca.crl", f"{work}/{end}.crl")
            self.certs("crl")
            config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")}, tls=f'crl = "{work}/{end}.crl";')
            found = self.findings(config)
            self.assertEqual([(level, about) for level, about, _ in found], [("warning", "expiry")], found)
            self.assertRegex(found[0][2], "tls.crl: the list of CN=Scenario CA.* " + words)
        # A newer one beside it: nothing to tell.
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")},
                                   tls=f'crl = [ "{self.pki}/ca.crl", "{work}/{past}.crl" ];')
        self.assertEqual(self.findings(config), [])

    def test_check_refuses_a_key_that_others_may_read(self):
        key = shutil.copy(self.key("relay"), f"{self.dir}/open.key")
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")}).replace(self.key("relay"), key)
        for mode in (0o640, 0o604):
            os.chmod(key, mode)
            done = self.check(config)
            self.assertEqual((done.returncode, done.stdout), (3, b""))
            self.assertIn(f"open.key: mode {mode:04o}", done.stderr.decode())

    def test_check_finds_a_rule_that_matches_nobody(self):
        config = self.relay_config({"app": (self.app().target, '{ cn = "alice"; }, { cn = "%s"; }' % ("x" * 65), "")})
        found = self.findings(config)
        self.assertEqual([(level, about) for level, about, _ in found], [("warning", "rules")])
        self.assertIn("rule 2 of allow matches nobody", found[0][2])

    def test_check_finds_a_target_that_does_not_answer(self):
        config = self.relay_config({"app": (f"tcp://127.0.0.1:{free_port()}", "{ any = true; }", "")})
        found = self.findings(config)
        self.assertEqual([(level, about) for level, about, _ in found], [("warning", "targets")])
        self.assertRegex(found[0][2], r"service app: its target 127\.0\.0\.1:\d+ does not answer: .*refused")

    def test_check_finds_what_others_may_change(self):
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")})
        with open(f"{self.pki}/ca.crt", encoding="ascii") as file:
            path = self.file("open.crt", file.read())
        os.chmod(path, 0o666)
        found = self.findings(config.replace(f'client_ca = "{self.pki}/ca.crt"', f'client_ca = "{path}"'))
        self.assertEqual(found, [("warning", "files", f"{path}: mode 0666 lets others change it")])

    def test_check_finds_a_store_that_no_worker_would_use(self):
        place = tempfile.mkdtemp(dir=self.dir)
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")},
                                   extra=f'messages = {{ store = "{place}/results"; }};')
        self.assertEqual(self.findings(config), [])
        os.chmod(place, 0o777)
        self.assertEqual(self.findings(config), [("warning", "files", f"messages.store: {place}: mode 0777 lets others "
                                                  "change what is in the directory: chmod go-w")])

    def test_check_finds_rules_that_are_never_needed(self):
        config = self.relay_config({"app": (self.app().target, '{ any = true; }, { cn = "alice"; }', "")})
        self.assertEqual([(level, about) for level, about, _ in self.findings(config)], [("warning", "rules")])

    def test_check_takes_a_running_relay_for_granted(self):
        relay = self.relay(self.app().target)
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")},
                                   listen='{ address = "127.0.0.1:%d"; }' % relay.port)
        found = self.findings(config)
        self.assertEqual([(level, about) for level, about, _ in found], [("note", "listen")], found)
        self.assertIn(b"note: 127.0.0.1:", self.check(config).stdout)
        self.assertIn(b" 0 warnings", self.check(config).stdout)

    def test_check_finds_an_address_of_another_machine(self):
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")},
                                   listen='{ address = "192.0.2.1:8443"; }')
        found = self.findings(config)
        self.assertEqual([(level, about) for level, about, _ in found], [("warning", "listen")], found)

    def test_check_of_what_would_not_start_is_json_too(self):
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")}).replace("relay.crt", "none.crt")
        done = self.check(config, "--json")
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (3, 1))
        told = json.loads(done.stdout)
        self.assertFalse(told["good"])
        self.assertIn("none.crt", told["error"])


if __name__ == "__main__":
    main()
