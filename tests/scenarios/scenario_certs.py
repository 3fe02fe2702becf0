#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: whatever portseal-certs writes is accepted by OpenSSL and GnuTLS, nothing it is asked to do can
overwrite, leak or half-finish anything, and an authority survives a kill at every single system call."""

import base64
import concurrent.futures
import ctypes
import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.join(os.environ.get("PORTSEAL_BUILD", "build"), "portseal-certs")
PROGRAM = os.path.abspath(PROGRAM)


def certs(*arguments, cwd=None, umask=-1):
    return subprocess.run([PROGRAM, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, umask=umask)


class Authority(unittest.TestCase):
    """Each test has an empty working directory; self.init() makes an authority in pki."""

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="portseal-certs-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.home, *parts)

    def run_certs(self, *arguments, expect=0, umask=-1):
        done = certs(*arguments, cwd=self.home, umask=umask)
        self.assertEqual(done.returncode, expect, f"{arguments}: {done.stdout}{done.stderr}")
        if expect != 0:
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertTrue(done.stderr.startswith("portseal-certs: "), done.stderr)
        return done

    def tool(self, *arguments, expect=0, data=None):
        done = subprocess.run(arguments, cwd=self.home, capture_output=True, text=True, input=data, timeout=60)
        self.assertEqual(done.returncode == 0, expect == 0, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def init(self, *arguments):
        self.run_certs("init", *arguments)

    def mode(self, *parts):
        return stat.S_IMODE(os.stat(self.path(*parts)).st_mode)

    def listed(self):
        return json.loads(self.run_certs("list", "--json").stdout)

    def text_of(self, name):
        return self.tool("openssl", "x509", "-in", f"pki/{name}.crt", "-noout", "-text")

    def content(self, *parts):
        with open(self.path(*parts), "rb") as file:
            return file.read()

    def write(self, name, content, mode=0o600):
        with open(self.path(name), "w") as file:
            file.write(content)
        os.chmod(self.path(name), mode)

    def request(self, name, *arguments, curve="P-256"):
        self.tool("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-nodes",
                  "-keyout", f"{name}.key", "-out", f"{name}.csr", *arguments)


class WhatIsWritten(Authority):
    def test_openssl_accepts_each_certificate_for_its_purpose_only(self):
        self.init()
        self.run_certs("relay", "relay.example.com", "--dns", "relay.example.com", "--ip", "192.0.2.1", "--ip", "2001:db8::1")
        self.run_certs("sender", "alice", "--uri", "spiffe://example.com/billing/a", "--dns", "a.example.com", "--ou", "finance")
        for name, good, bad in (("relay.example.com", "sslserver", "sslclient"), ("alice", "sslclient", "sslserver")):
            verify = ("openssl", "verify", "-x509_strict", "-CAfile", "pki/ca.crt", "-purpose")
            self.tool(*verify, good, f"pki/{name}.crt")
            self.tool(*verify, bad, f"pki/{name}.crt", expect=1)
        relay = self.text_of("relay.example.com")
        self.assertIn("DNS:relay.example.com, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1", relay)
        self.assertIn("X509v3 Basic Constraints: critical\n                CA:FALSE", relay)
        self.assertIn("X509v3 Key Usage: critical\n                Digital Signature\n", relay)
        self.assertIn("ASN1 OID: prime256v1", relay)
        sender = self.text_of("alice")
        self.assertIn("Subject: OU = finance, CN = alice", sender)
        self.assertIn("DNS:a.example.com, URI:spiffe://example.com/billing/a\n", sender)
        ca = self.text_of("ca")
        self.assertIn("CA:TRUE, pathlen:0", ca)
        self.assertIn("X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n", ca)

    @unittest.skipUnless(shutil.which("certtool"), "GnuTLS is not installed")
    def test_gnutls_accepts_certificates_keys_and_crl(self):
        self.init()
        self.run_certs("relay", "relay")
        self.run_certs("revoke", "relay", "--reason", "superseded")
        self.run_certs("sender", "alice", "--uri", "spiffe://example.com/a")
        self.assertIn("Verified.", self.tool("certtool", "--verify", "--load-ca-certificate", "pki/ca.crt", "--infile", "pki/alice.crt"))
        self.assertIn("spiffe://example.com/a", self.tool("certtool", "-i", "--infile", "pki/alice.crt"))
        self.assertIn("Revoked certificates (1)", self.tool("certtool", "--crl-info", "--infile", "pki/ca.crl"))
        self.assertIn("EC/ECDSA", self.tool("certtool", "-k", "--infile", "pki/alice.key"))

    def test_a_key_is_pkcs8_and_belongs_to_its_certificate(self):
        self.init()
        self.run_certs("sender", "alice")
        self.assertTrue(self.content("pki", "alice.key").startswith(b"-----BEGIN PRIVATE KEY-----"))
        of_key = self.tool("openssl", "pkey", "-in", "pki/alice.key", "-pubout")
        self.assertEqual(of_key, self.tool("openssl", "x509", "-in", "pki/alice.crt", "-noout", "-pubkey"))

    def test_a_relay_without_names_is_known_by_its_own(self):
        self.init()
        self.run_certs("relay", "gate.example.com")
        self.assertIn("DNS:gate.example.com", self.text_of("gate.example.com"))
        self.run_certs("relay", "192.0.2.7")
        self.assertIn("IP Address:192.0.2.7", self.text_of("192.0.2.7"))
        self.run_certs("relay", "not a host", expect=2)

    def test_special_characters_end_up_literally_in_the_common_name(self):
        self.init()
        for name in ('a,b+c"d\\e<f>g;h=i#j', "#hash", "Zoë Müller", "日本", "CN=alice,O=x", "a  b"):
            self.run_certs("sender", name)
            subject = self.tool("openssl", "x509", "-in", f"pki/{name}.crt", "-noout", "-subject", "-nameopt",
                                "utf8,sep_multiline")
            self.assertIn(f"CN={name}\n", subject)

    def test_modes_do_not_depend_on_the_umask(self):
        for umask in (0, 0o077, 0o777):
            shutil.rmtree(self.path("pki"), ignore_errors=True)
            self.run_certs("init", umask=umask)
            self.run_certs("sender", "alice", umask=umask)
            self.assertEqual(self.mode("pki"), 0o700)
            for name in ("ca.key", "alice.key", "index"):
                self.assertEqual(self.mode("pki", name), 0o600, name)
            for name in ("ca.crt", "ca.crl", "alice.crt"):
                self.assertEqual(self.mode("pki", name), 0o644, name)

    def test_validity_can_be_placed_anywhere(self):
        self.init()
        self.run_certs("sender", "old", "--not-before", "20200101000000Z", "--not-after", "20200201000000Z")
        self.run_certs("sender", "future", "--not-before", "20350101000000Z", "--days", "10")
        self.run_certs("sender", "brief", "--for", "10s")
        verify = ("openssl", "verify", "-CAfile", "pki/ca.crt")
        self.assertIn("has expired", self.tool(*verify, "pki/old.crt", expect=1))
        self.assertIn("not yet valid", self.tool(*verify, "pki/future.crt", expect=1))
        self.tool(*verify, "pki/brief.crt")
        self.assertEqual([entry["state"] for entry in self.listed()], ["expired", "not yet valid", "valid"])

    def test_a_certificate_does_not_outlive_the_authority(self):
        self.init("--days", "10")
        self.assertIn("ends with the authority", self.run_certs("sender", "alice", "--days", "20").stdout)
        ends = [self.tool("openssl", "x509", "-in", f"pki/{name}.crt", "-noout", "-enddate") for name in ("alice", "ca")]
        self.assertEqual(ends[0], ends[1])

    def test_an_expired_authority_signs_nothing(self):
        self.init("--not-before", "20200101000000Z", "--days", "5")
        self.assertIn("expired", self.run_certs("sender", "alice", expect=3).stderr)
        self.assertFalse(os.path.exists(self.path("pki", "alice.crt")))

    def test_show_agrees_with_openssl(self):
        self.init()
        self.run_certs("sender", "alice", "--uri", "urn:x:y")
        shown = json.loads(self.run_certs("show", "--json", "pki/alice.crt", "pki/alice.key", "pki/ca.crl").stdout)
        self.assertEqual([one["kind"] for one in shown], ["certificate", "private key", "crl"])
        der = subprocess.run(["openssl", "x509", "-in", self.path("pki", "alice.crt"), "-outform", "der"],
                             capture_output=True, check=True).stdout
        spki = subprocess.run(["openssl", "pkey", "-in", self.path("pki", "alice.key"), "-pubout", "-outform", "der"],
                              capture_output=True, check=True).stdout
        self.assertEqual(shown[0]["fingerprint_sha256"], hashlib.sha256(der).hexdigest())
        pin = base64.b64encode(hashlib.sha256(spki).digest()).decode()
        self.assertEqual([shown[0]["spki_sha256"], shown[1]["spki_sha256"]], [pin, pin])
        self.assertEqual(shown[0]["uri"], ["urn:x:y"])
        with open(self.path("alice.der"), "wb") as file:
            file.write(der)
        self.assertIn("CN=alice", self.run_certs("show", "alice.der").stdout)
        self.write("nothing.pem", "hello\n")
        self.run_certs("show", "nothing.pem", expect=3)


class Requests(Authority):
    def test_only_the_key_is_taken_from_a_request(self):
        self.init()
        self.request("r", "-subj", "/CN=evil", "-addext", "subjectAltName=DNS:bank.example.com")
        self.run_certs("sign", "r.csr", "--as", "sender", "--name", "bob")
        text = self.text_of("bob")
        self.assertIn("Subject: CN = bob\n", text)
        self.assertNotIn("bank.example.com", text)
        self.assertFalse(os.path.exists(self.path("pki", "bob.key")))
        self.assertEqual(self.tool("openssl", "pkey", "-in", "r.key", "-pubout"),
                         self.tool("openssl", "x509", "-in", "pki/bob.crt", "-noout", "-pubkey"))

    def test_copied_names_are_those_that_suit_the_role(self):
        self.init()
        names = "subjectAltName=DNS:a.example.com,IP:192.0.2.9,URI:spiffe://example.com/x,email:a@example.com"
        self.request("r", "-subj", "/CN=copied", "-addext", names, "-addext", "basicConstraints=CA:TRUE")
        self.assertIn("left out 2 names", self.run_certs("sign", "r.csr", "--as", "relay", "--copy-names").stdout)
        text = self.text_of("copied")
        self.assertIn("DNS:a.example.com, IP Address:192.0.2.9\n", text)
        self.assertIn("CA:FALSE", text)
        self.run_certs("sign", "r.csr", "--as", "sender", "--copy-names", "--name", "other")
        self.assertIn("DNS:a.example.com, URI:spiffe://example.com/x\n", self.text_of("other"))

    def test_a_request_whose_author_does_not_hold_the_key_is_refused(self):
        self.init()
        self.request("r", "-subj", "/CN=bob")
        self.tool("openssl", "req", "-in", "r.csr", "-outform", "der", "-out", "r.der")
        good = self.content("r.der")
        for at in (len(good) - 1, good.index(b"bob")):
            with open(self.path("bad.der"), "wb") as file:
                file.write(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
            refused = self.run_certs("sign", "bad.der", "--as", "sender", "--name", "bob", expect=3)
            self.assertIn("signature is wrong", refused.stderr)
        self.assertEqual(self.listed(), [])
        self.run_certs("sign", "r.der", "--as", "sender", "--name", "bob")

    def test_weak_keys_are_refused_and_strong_ones_of_other_kinds_are_not(self):
        self.init()
        for bits, code in (("1024", 3), ("2048", 0)):
            self.tool("openssl", "req", "-new", "-newkey", f"rsa:{bits}", "-nodes", "-subj", "/CN=x", "-keyout", "r.key", "-out", "r.csr")
            self.run_certs("sign", "r.csr", "--as", "sender", "--name", f"rsa{bits}", expect=code)
        for curve, code in (("secp224r1", 3), ("secp256k1", 3), ("P-384", 0), ("P-521", 0)):
            self.request("r", "-subj", "/CN=x", curve=curve)
            self.run_certs("sign", "r.csr", "--as", "sender", "--name", curve, expect=code)
        for name in ("rsa2048", "P-384", "P-521"):
            self.tool("openssl", "verify", "-CAfile", "pki/ca.crt", "-purpose", "sslclient", f"pki/{name}.crt")

    def test_names_of_a_request_are_checked_like_those_of_the_command_line(self):
        self.init()
        for cn in ("../evil", ".hidden", "ca", "a\nb"):
            self.request("r", "-subj", "/CN=" + cn.replace("/", "\\/"))
            self.run_certs("sign", "r.csr", "--as", "sender", "--copy-names", expect=3)
        self.request("r", "-subj", "/CN=x", "-addext", "subjectAltName=DNS:192.0.2.1")
        self.run_certs("sign", "r.csr", "--as", "relay", "--copy-names", expect=3)
        self.assertEqual(self.listed(), [])

    def test_a_certificate_is_not_put_beside_another_key(self):
        self.init()
        self.run_certs("sender", "bob")
        self.request("r", "-subj", "/CN=bob")
        self.run_certs("sign", "r.csr", "--as", "sender", "--name", "bob", "--force", expect=3)


class RenewalAndRevocation(Authority):
    def test_renewing_keeps_names_role_and_key(self):
        self.init()
        self.run_certs("sender", "alice", "--uri", "urn:a", "--dns", "a.example.com", "--ou", "ops")
        before, key = self.text_of("alice"), self.content("pki", "alice.key")
        self.run_certs("renew", "alice", "--days", "9")
        after = self.text_of("alice")
        for line in ("Subject: OU = ops, CN = alice", "DNS:a.example.com, URI:urn:a\n", "TLS Web Client Authentication"):
            self.assertIn(line, before)
            self.assertIn(line, after)
        self.assertEqual(key, self.content("pki", "alice.key"))
        self.assertEqual(len({entry["serial"] for entry in self.listed()}), 2)
        self.run_certs("renew", "alice", "--new-key")
        self.assertNotEqual(key, self.content("pki", "alice.key"))
        self.tool("openssl", "verify", "-CAfile", "pki/ca.crt", "pki/alice.crt")

    def test_renewing_needs_no_private_key(self):
        self.init()
        self.request("r", "-subj", "/CN=x")
        self.run_certs("sign", "r.csr", "--as", "relay", "--name", "remote")
        self.run_certs("renew", "remote")
        self.run_certs("renew", "remote", "--new-key", expect=3)
        self.assertFalse(os.path.exists(self.path("pki", "remote.key")))

    def test_renewing_what_is_foreign_revoked_or_unknown_is_refused(self):
        self.init()
        self.run_certs("renew", "nobody", expect=3)
        self.run_certs("sender", "alice")
        self.run_certs("revoke", "alice")
        self.assertIn("revoked", self.run_certs("renew", "alice", expect=3).stderr)
        self.run_certs("init", "--dir", "other")
        self.run_certs("sender", "eve", "--dir", "other")
        shutil.copy(self.path("other", "eve.crt"), self.path("pki", "eve.crt"))
        self.assertIn("not issued by this authority", self.run_certs("renew", "eve", expect=3).stderr)

    def test_openssl_refuses_the_revoked_and_accepts_the_others(self):
        self.init()
        check = ("openssl", "verify", "-crl_check", "-CAfile", "pki/ca.crt", "-CRLfile", "pki/ca.crl")
        for name in ("alice", "bob"):
            self.run_certs("sender", name)
            self.tool(*check, f"pki/{name}.crt")
        self.run_certs("revoke", "alice", "--reason", "keyCompromise")
        self.assertIn("certificate revoked", self.tool(*check, "pki/alice.crt", expect=1))
        self.tool(*check, "pki/bob.crt")
        text = self.tool("openssl", "crl", "-in", "pki/ca.crl", "-CAfile", "pki/ca.crt", "-noout", "-text")
        self.assertIn("verify OK", text)
        self.assertIn("Version 2", text)
        self.assertIn("Key Compromise", text)

    def test_revoking_a_name_revokes_every_certificate_of_it(self):
        self.init()
        self.run_certs("sender", "alice")
        self.run_certs("renew", "alice")
        self.run_certs("revoke", "alice")
        self.assertEqual([entry["state"] for entry in self.listed()], ["revoked", "revoked"])

    def test_revoking_a_serial_revokes_only_that(self):
        self.init()
        self.run_certs("sender", "alice")
        self.run_certs("renew", "alice")
        serial = self.listed()[0]["serial"].upper()
        self.run_certs("revoke", "--serial", ":".join(serial[i:i + 2] for i in range(0, len(serial), 2)))
        self.assertEqual([entry["state"] for entry in self.listed()], ["revoked", "valid"])

    def test_revoking_twice_says_so_and_changes_nothing(self):
        self.init()
        self.run_certs("sender", "alice")
        self.run_certs("revoke", "alice", "--reason", "superseded")
        before = self.content("pki", "index"), self.content("pki", "ca.crl")
        self.assertIn("already", self.run_certs("revoke", "alice").stdout)
        self.assertEqual(before, (self.content("pki", "index"), self.content("pki", "ca.crl")))
        self.run_certs("revoke", "nobody", expect=3)

    def test_the_number_of_the_crl_rises(self):
        self.init()
        numbers = []
        for _ in range(3):
            self.run_certs("crl", "--days", "2")
            text = self.tool("openssl", "crl", "-in", "pki/ca.crl", "-noout", "-crlnumber")
            numbers.append(int(text.strip().split("=")[1], 16))
        self.assertEqual(numbers, [2, 3, 4])

    def test_an_expired_crl_can_be_made(self):
        self.init()
        self.run_certs("sender", "alice")
        self.run_certs("crl", "--not-before", "20200101000000Z", "--days", "1")
        check = ("openssl", "verify", "-crl_check", "-CAfile", "pki/ca.crt", "-CRLfile", "pki/ca.crl")
        self.assertIn("CRL has expired", self.tool(*check, "pki/alice.crt", expect=1))


class Refusals(Authority):
    def test_nothing_is_overwritten_without_force(self):
        self.init()
        self.run_certs("sender", "alice")
        before = {name: self.content("pki", name) for name in os.listdir(self.path("pki"))}
        self.run_certs("init", expect=3)
        self.run_certs("sender", "alice", expect=3)
        self.run_certs("relay", "alice", expect=3)
        self.request("r", "-subj", "/CN=x")
        self.run_certs("sign", "r.csr", "--as", "sender", "--name", "alice", expect=3)
        self.assertEqual(before, {name: self.content("pki", name) for name in os.listdir(self.path("pki"))})
        self.write("pki/bob.key", "not ours\n")
        self.run_certs("sender", "bob", expect=3)
        self.assertEqual(self.content("pki", "bob.key"), b"not ours\n")
        self.assertIn("stays valid", self.run_certs("sender", "alice", "--force").stdout)

    def test_a_forced_init_keeps_the_old_authority(self):
        self.init()
        old = {name: self.content("pki", name) for name in ("ca.crt", "ca.key", "ca.crl", "index")}
        self.run_certs("init", "--force")
        kept = [name for name in os.listdir(self.path("pki")) if name.startswith("old-")]
        self.assertEqual(len(kept), 1)
        self.assertEqual(old, {name: self.content("pki", kept[0], name) for name in old})
        self.assertNotEqual(old["ca.key"], self.content("pki", "ca.key"))
        self.run_certs("sender", "alice")
        self.tool("openssl", "verify", "-CAfile", "pki/ca.crt", "pki/alice.crt")

    def test_usage_errors_are_one_line_and_exit_2(self):
        self.init()
        for line in (
                (), ("frobnicate",), ("relay",), ("relay", "a", "b"), ("relay", "a", "--bogus"), ("relay", "a", "--days"),
                ("relay", "a", "--days", "0"), ("relay", "a", "--days", "x"), ("relay", "a", "--days", "36501"),
                ("relay", "a", "--days", "1", "--for", "5s"), ("relay", "a", "--for", "5"), ("relay", "a", "--for", "0"),
                ("relay", "a", "--not-after", "20200101000000Z"), ("relay", "a", "--not-before", "20260231000000Z"),
                ("relay", "a", "--dns", "192.0.2.1"), ("relay", "a", "--dns", "2001:db8::1"), ("relay", "a", "--dns", "a..b"),
                ("relay", "a", "--dns", "a b"), ("relay", "a", "--dns", "*"), ("relay", "a", "--ip", "a.example.com"),
                ("sender", "a", "--uri", "no-scheme"), ("sender", "a", "--uri", "urn:a b"), ("sender", "a", "--ou", ""),
                ("sender", "a", "--ou", "x" * 65), ("sender", "../a"), ("sender", ".a"), ("sender", "ca"), ("sender", "CA"),
                ("sender", ""), ("sender", "a\nb"), ("sender", "a\x7fb"), ("sender", "x" * 65), ("sender", b"\xff\xfe"),
                ("sign", "x.csr"), ("sign", "x.csr", "--as", "king"), ("sign", "x.csr", "--as", "relay"),
                ("sign", "x.csr", "--as", "sender", "--name", "x", "--ip", "192.0.2.1"),
                ("revoke",), ("revoke", "a", "--serial", "00"), ("revoke", "a", "--reason", "boredom"),
                ("revoke", "--serial", "xyz"), ("crl", "--days", "-1"), ("list", "x"), ("show",), ("init", "--name", "")):
            self.run_certs(*line, expect=2)
        self.assertEqual(self.listed(), [])

    def test_help_and_version_exit_0(self):
        for line in (("--help",), ("--version",), *((command, "--help") for command in
                     ("init", "relay", "sender", "sign", "renew", "revoke", "crl", "list", "show"))):
            self.assertNotEqual(self.run_certs(*line).stdout, "")

    def test_an_encrypted_key_needs_its_password(self):
        self.write("right", "correct horse\n")
        self.write("wrong", "incorrect horse\n")
        self.write("empty", "\n")
        self.write("readable", "correct horse\n", mode=0o644)
        self.init("--password-file", "right")
        self.assertTrue(self.content("pki", "ca.key").startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"))
        self.tool("openssl", "pkey", "-in", "pki/ca.key", "-passin", "file:right", "-noout")
        for line in (("sender", "alice"), ("revoke", "alice"), ("crl",)):
            self.assertIn("--password-file", self.run_certs(*line, expect=3).stderr)
        self.assertIn("does not open", self.run_certs("sender", "alice", "--password-file", "wrong", expect=3).stderr)
        for name in ("empty", "readable", "missing"):
            self.run_certs("sender", "alice", "--password-file", name, expect=3)
        self.assertEqual(self.listed(), [])
        self.run_certs("sender", "alice", "--password-file", "right")
        self.run_certs("renew", "alice", "--password-file", "right")
        self.run_certs("revoke", "alice", "--password-file", "right")

    def test_a_spoilt_directory_is_named_and_exits_3(self):
        self.assertIn("portseal-certs init", self.run_certs("sender", "alice", expect=3).stderr)
        self.init()
        os.chmod(self.path("pki", "ca.key"), 0o644)
        self.run_certs("sender", "alice", expect=3)
        os.chmod(self.path("pki", "ca.key"), 0o600)
        os.chmod(self.path("pki"), 0o777)
        self.run_certs("sender", "alice", expect=3)
        os.chmod(self.path("pki"), 0o700)
        self.run_certs("init", "--dir", "other")
        shutil.copy(self.path("other", "ca.key"), self.path("pki", "ca.key"))
        self.assertIn("is not the key of ca.crt", self.run_certs("sender", "alice", expect=3).stderr)
        with open(self.path("pki", "index"), "a") as index:
            index.write("cert nonsense\n")
        self.assertIn("pki/index: line 3: ", self.run_certs("list", expect=3).stderr)


PTRACE_TRACEME, PTRACE_SYSCALL = 0, 24


def instrumented():
    with open(PROGRAM, "rb") as program:
        return b"__asan_init" in program.read()


SLOWDOWN = 5 if instrumented() else 1  # fewer moments to be killed at


class Kills(Authority):
    """An authority is usable when its index is read, every certificate in it is known to the index, each key belongs
    to its certificate, and another certificate can be issued."""

    def assert_usable(self):
        listed = {entry["serial"] for entry in self.listed()}
        self.run_certs("sender", "probe", "--force")
        for name in os.listdir(self.path("pki")):
            self.assertNotIn(name, (".next", ".commit"))
            self.assertRegex(name, r"^(\.lock|index|ca\.crl|.*\.crt|.*\.key|old-.*)$")
            base, suffix = os.path.splitext(name)
            if suffix == ".key":
                self.assertEqual(self.mode("pki", name), 0o600)
                shown = json.loads(self.run_certs("show", "--json", f"pki/{name}", f"pki/{base}.crt").stdout)
                self.assertEqual(shown[0]["spki_sha256"], shown[1]["spki_sha256"], base)
                if base not in ("ca", "probe"):
                    self.assertIn(shown[1]["serial"], listed)

    def holds_lock(self, pid):
        folder = f"/proc/{pid}/fd"
        return any(os.readlink(os.path.join(folder, fd)).endswith("/.lock") for fd in os.listdir(folder))

    def killed_at(self, n, *arguments):
        """Runs the command and kills it at its n-th entry to or return from a system call since it opened the lock.
        False: it ended before that."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        pid = os.fork()
        if pid == 0:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.chdir(self.home)
            if libc.ptrace(PTRACE_TRACEME, 0, None, None) != 0:
                os._exit(99)
            os.execv(PROGRAM, [PROGRAM, *arguments])
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            self.skipTest("this machine does not let one trace a process")
        working = False
        while n > 0:
            libc.ptrace(PTRACE_SYSCALL, pid, None, None)
            _, status = os.waitpid(pid, 0)
            if os.WIFEXITED(status):
                return False
            working = working or self.holds_lock(pid)
            n -= working
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return True

    def kill_everywhere(self, prepare, step, *arguments):
        """From the state that prepare() leaves, kills the command at every step-th moment, each time anew."""
        prepare()
        shutil.copytree(self.path("pki"), self.path("prepared"), copy_function=shutil.copy2)
        n = 1
        while self.killed_at(n, *arguments):
            yield n
            shutil.rmtree(self.path("pki"))
            shutil.copytree(self.path("prepared"), self.path("pki"), copy_function=shutil.copy2)
            n += step * SLOWDOWN
        self.assertGreater(n, 40)

    def test_issuing_killed_at_any_system_call_leaves_a_usable_authority(self):
        for _ in self.kill_everywhere(self.init, 2, "sender", "alice"):
            self.assert_usable()
            # either it was never issued, or it is there whole
            alice = [entry for entry in self.listed() if entry["name"] == "alice"]
            self.assertEqual(os.path.exists(self.path("pki", "alice.crt")), len(alice) == 1)
            self.assertEqual(os.path.exists(self.path("pki", "alice.key")), len(alice) == 1)

    def test_replacing_killed_at_any_system_call_leaves_key_and_certificate_that_match(self):
        def prepare():
            self.init()
            self.run_certs("sender", "alice")
        for _ in self.kill_everywhere(prepare, 3, "renew", "alice", "--new-key"):
            self.assert_usable()

    def test_revoking_killed_at_any_system_call_leaves_index_and_crl_that_agree(self):
        def prepare():
            self.init()
            self.run_certs("sender", "alice")
        for _ in self.kill_everywhere(prepare, 3, "revoke", "alice"):
            states = [entry["state"] for entry in self.listed()]
            shown = json.loads(self.run_certs("show", "--json", "pki/ca.crl").stdout)
            self.assertEqual(len(shown[0]["revoked"]), states.count("revoked"))

    def test_making_an_authority_killed_at_any_system_call_can_be_done_again(self):
        n = 1
        while self.killed_at(n, "init"):
            done = certs("init", cwd=self.home)
            if done.returncode != 0:
                self.assertIn("there is an authority already", done.stderr)
            self.assert_usable()
            shutil.rmtree(self.path("pki"))
            n += 3 * SLOWDOWN
        self.assertGreater(n, 40)

    def test_replacing_an_authority_killed_at_any_system_call_loses_none(self):
        for _ in self.kill_everywhere(self.init, 5, "init", "--force"):
            self.assert_usable()
            old = self.content("prepared", "ca.key")
            homes = [""] + [name for name in os.listdir(self.path("pki")) if name.startswith("old-")]
            homes = [home for home in homes if os.path.exists(self.path("pki", home, "ca.key"))]
            self.assertIn(old, [self.content("pki", home, "ca.key") for home in homes])

    def test_kills_at_random_times_leave_a_usable_authority(self):
        self.init()
        chance = random.Random(1)
        for i in range(40):
            child = subprocess.Popen([PROGRAM, "sender", f"s{i}"], cwd=self.home, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            try:
                child.wait(chance.uniform(0, 0.03))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.assert_usable()

    def test_parallel_runs_all_end_well_with_distinct_serials(self):
        self.init()
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            done = list(pool.map(lambda i: certs("sender", f"s{i}", cwd=self.home), range(10)))
        self.assertEqual([one.returncode for one in done], [0] * 10, [one.stderr for one in done])
        self.assertEqual(len({entry["serial"] for entry in self.listed()}), 10)
        for i in range(10):
            self.tool("openssl", "verify", "-CAfile", "pki/ca.crt", f"pki/s{i}.crt")

    def test_a_full_disk_leaves_everything_as_it_was(self):
        self.init()
        before = {name: self.content("pki", name) for name in os.listdir(self.path("pki"))}
        for limit in (0, 100, 300):  # bytes a file may have
            script = f'import resource,signal,os,sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); ' \
                     f'resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); os.execv(sys.argv[1], sys.argv[1:])'
            done = subprocess.run([sys.executable, "-c", script, PROGRAM, "sender", "alice"], cwd=self.home,
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual(before, {name: self.content("pki", name) for name in os.listdir(self.path("pki"))})


if __name__ == "__main__":
    started = time.monotonic()
    result = unittest.main(exit=False).result
    print(f"{time.monotonic() - started:.1f} s", file=sys.stderr)
    sys.exit(0 if result.wasSuccessful() else 1)
