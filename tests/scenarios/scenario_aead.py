# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: whichever library seals on either side, the bytes are the same; and the operator can tell and
choose which one it is.
"""
import os
import unittest

import portseal_testing as testing
from portseal_testing import RELAY, SENDER, Scenario, read_all, run


def has_ipsec():
    return b"aead ipsec-mb/" in run([RELAY, "--version"]).stdout


def without_aead(argv):
    """The same, if PORTSEAL_AEAD forces one for the suite."""
    return [word for word in argv if word not in testing.AEAD]


class BothProviders(Scenario):
    def assert_carries(self, relay_aead, sender_aead):
        app = self.app()
        relay = self.relay(app.target, options=["--aead", relay_aead])
        tunnel = self.tunnel(relay.port, options=["--aead", sender_aead])
        for process, name in ((relay, relay_aead), (tunnel, sender_aead)):
            process.wait_for(rf"event=started .*aead={name}(/\w+)? ")
        payload = os.urandom(1_000_003)
        sent = run([*without_aead(self.send_argv(relay.port)), "--aead", sender_aead], stdin=payload)
        self.assertEqual((sent.returncode, sent.stdout, sent.stderr), (0, payload, b""))
        connection = self.connect(tunnel.port)
        for size in (1, 17, 1000, 16384, 16385):  # small ones first: they are records of their own
            connection.sendall(payload[:size])
            self.assertEqual(testing.receive(connection, size), payload[:size])
        connection.shutdown(1)
        self.assertEqual(read_all(connection), b"")
        relay.wait_for(r"event=closed reason=done", count=2)

    def test_psa_on_both_sides(self):
        self.assert_carries("psa", "psa")

    @unittest.skipUnless(has_ipsec(), "no intel-ipsec-mb in this build, or no AES-NI here")
    def test_ipsec_mb_on_both_sides_and_mixed_with_psa(self):
        for relay_aead, sender_aead in (("ipsec-mb", "ipsec-mb"), ("ipsec-mb", "psa"), ("psa", "ipsec-mb")):
            with self.subTest(relay=relay_aead, sender=sender_aead):
                self.assert_carries(relay_aead, sender_aead)

    @unittest.skipUnless(has_ipsec(), "no intel-ipsec-mb in this build, or no AES-NI here")
    def test_auto_takes_the_faster_one(self):
        relay = self.relay(self.app().target, options=[])
        relay.wait_for(r"event=started .*aead=ipsec-mb/(sse|avx|avx2|avx512) ")

    @unittest.skipIf(has_ipsec(), "intel-ipsec-mb is here")
    def test_what_is_not_to_be_had_is_an_error_only_if_asked_for(self):
        relay = self.relay(self.app().target, options=["--aead", "auto"])
        relay.wait_for(r"event=started .*aead=psa ")
        done = run([SENDER, "tunnel", "--aead", "ipsec-mb", "--listen", "127.0.0.1:0"])
        self.assertEqual(done.returncode, 3)
        self.assertRegex(done.stderr.decode(), r"\Aportseal-sender: tunnel: --aead: ipsec-mb [^\n]*\n\Z")

    def test_a_name_that_nobody_knows_is_a_usage_error(self):
        config = self.file("named.conf", self.relay_config({"app": ("tcp://127.0.0.1:1", "{ any = true; }", "")}))
        for argv, prefix in (([RELAY, "-c", config], "portseal-relay: "), ([SENDER, "send"], "portseal-sender: send: "),
                             ([SENDER, "tunnel"], "portseal-sender: tunnel: "),
                             ([SENDER, "doctor"], "portseal-sender: doctor: ")):
            done = run([*argv, "--aead", "rot13"])
            self.assertEqual((done.returncode, done.stdout), (2, b""))
            self.assertEqual(done.stderr.decode(), f'{prefix}--aead: "rot13" is not auto, ipsec-mb or psa\n')


if __name__ == "__main__":
    testing.main()
