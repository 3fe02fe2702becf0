# SPDX-License-Identifier: Apache-2.0
"""Certificates that portseal-certs would not make, and bytes that no honest client would send."""
import base64
import os
import re
import ssl

from portseal_testing import run, tool


def openssl(*args, stdin=b""):
    """An openssl command that has to succeed; its stdout."""
    done = run([tool("openssl"), *args], stdin=stdin)
    if done.returncode != 0:
        raise AssertionError(f"openssl {args}: {done.stderr.decode()}")
    return done.stdout


def issue(pki, name, subject=None, key="ec", extensions="extendedKeyUsage=clientAuth", issuer="ca"):
    """pki/NAME.crt and NAME.key by openssl, signed by pki/ISSUER.crt (None: by itself); a chain unless that is a root.

    The key is "ec", "rsa:BITS" or a file. The subject is in openssl's way of writing: /OU=unit/CN=name."""
    path = os.path.join(pki, name)
    if not os.path.exists(key):
        kind = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else \
               ["RSA", "-pkeyopt", f"rsa_keygen_bits:{key.split(':')[1]}"]
        openssl("genpkey", "-algorithm", *kind, "-out", f"{path}.key")
        key = f"{path}.key"
    with open(f"{path}.ext", "w", encoding="ascii") as file:
        file.write(extensions)
    openssl("req", "-new", "-utf8", "-key", key, "-subj", subject or f"/CN={name}", "-out", f"{path}.csr")
    signer = ["-key", key] if issuer is None else ["-CA", f"{pki}/{issuer}.crt", "-CAkey", f"{pki}/{issuer}.key"]
    openssl("x509", "-req", "-in", f"{path}.csr", *signer, "-set_serial", str(int.from_bytes(os.urandom(15), "big")),
            "-days", "30", "-extfile", f"{path}.ext", "-out", f"{path}.crt")
    if issuer not in (None, "ca", "root"):
        with open(f"{pki}/{issuer}.crt", "rb") as above, open(f"{path}.crt", "ab") as file:
            file.write(above.read())


def pem_body(path):
    with open(path, encoding="ascii") as file:
        return base64.b64decode(re.search(r"-----BEGIN [^-]+-----(.*?)-----END", file.read(), re.S).group(1))


def steal_public_key(own_key, victims_key, path):
    """Writes a key file with our private and the victim's public half: it seems to belong to the victim's certificate.

    Both are P-256 in PKCS #8, where the public point is the last 65 bytes."""
    der = pem_body(own_key)[:-65] + pem_body(victims_key)[-65:]
    with open(path, "w", encoding="ascii") as file:
        file.write("-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(der).decode() + "-----END PRIVATE KEY-----\n")


def client_hello(server_name="localhost"):
    """The first flight of Python's own client, as bytes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=server_name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


class BareTls:
    """A TLS client whose bytes are in our hands: it can end one direction, or stop in the middle of a record."""

    def __init__(self, plain, context, server_name="localhost"):
        self.plain = plain
        self.wire_in = ssl.MemoryBIO()
        self.wire_out = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.wire_in, self.wire_out, server_hostname=server_name)
        self._until_done(self.tls.do_handshake)
        self.flush()

    def flush(self):
        self.plain.sendall(self.wire_out.read())

    def _until_done(self, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.flush()
                data = self.plain.recv(65536)
                if data:
                    self.wire_in.write(data)
                else:
                    self.wire_in.write_eof()

    def seal(self, payload):
        """The records of a payload, for the caller to send."""
        self.tls.write(payload)
        return self.wire_out.read()

    def send(self, payload):
        self.plain.sendall(self.seal(payload))

    def recv(self, size=65536):
        """b"" after a close_notify; ssl.SSLEOFError where the connection ended without one."""
        try:
            return self._until_done(lambda: self.tls.read(size))
        except ssl.SSLZeroReturnError:
            return b""

    def end_our_direction(self):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def close(self):
        self.plain.close()
