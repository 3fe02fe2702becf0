# SPDX-License-Identifier: Apache-2.0
"""The proxies that are compared: each as a pair, a client's side and a server's side, on loopback.

All but spiped speak TLS 1.3 with certificates on both sides (P-256), verify both, and use AES-128-GCM. What is not said
in a configuration here is as the program has it by default: session reuse, buffers, threads, backlog. None logs
connections. Each pair is started for one measurement and ended after it.
"""
import os
import shutil
import socket
import ssl
import subprocess
import time

from portseal_testing import CERTS, RELAY, SENDER, Process, free_port, run

CIPHER = "TLS_AES_128_GCM_SHA256"
MAX_CONNECTIONS = 9000  # each takes two descriptors
PATIENCE = 20


class Failed(Exception):
    """A measurement that says nothing: what, and why."""


class Pki:
    """A certificate authority with a relay, a sender, and a foreign client of the same authority."""

    def __init__(self, folder):
        self.dir = os.path.join(folder, "pki")
        for args in (("init", "--name", "Bench CA"), ("relay", "relay", "--dns", "localhost", "--ip", "127.0.0.1"),
                     ("sender", "alice"), ("sender", "foreign")):
            done = run([CERTS, *args, "--dir", self.dir])
            if done.returncode != 0:
                raise Failed(f"portseal-certs {args}: {done.stderr.decode()}")
        for name in ("relay", "alice"):  # HAProxy wants both in one file
            with open(self.path(f"{name}.pem"), "w", encoding="ascii") as both:
                os.chmod(both.name, 0o600)
                for part in ("crt", "key"):
                    with open(self.path(f"{name}.{part}"), encoding="ascii") as file:
                        both.write(file.read())
        self.secret = self.path("spiped.key")
        with open(self.secret, "wb") as file:
            file.write(os.urandom(32))

    def path(self, name):
        return os.path.join(self.dir, name)


class Pair:
    """Two processes, or none: then it leads straight to the target."""

    name, label, is_ours, has_tls, compared = "direct", "none (direct)", False, False, False
    command = None

    def __init__(self, folder, pki, target):
        self.dir, self.pki, self.target = folder, pki, target
        self.processes = {}
        self.port = target  # where the load goes
        self.server_port = None  # where a foreign client goes

    @classmethod
    def missing(cls):
        """Why this pair cannot be compared here, or None."""
        if cls.command is not None and find(cls.command) is None:
            return f"{cls.command} is not installed (packaging/install-deps bench)"
        return None

    @classmethod
    def version(cls):
        return ""

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def argvs(self):
        """{"server": command line, "client": command line}"""
        return {}

    def start(self):
        """A port that was free may be somebody else's a moment later: then once more, with others."""
        for attempt in range(3):
            self.port, self.server_port = free_port(), free_port()
            argvs = self.argvs()
            if not argvs:
                self.port, self.server_port = self.target, None
            try:
                self.start_sides(argvs)
                break
            except Failed:
                self.stop()
                if attempt == 2:
                    raise
        return self

    def start_sides(self, argvs):
        for side in ("server", "client"):
            if side in argvs:
                self.processes[side] = Process(argvs[side], cwd=self.dir)
                await_listener(self.server_port if side == "server" else self.port, self.processes[side])

    def stop(self):
        for process in self.processes.values():
            process.stop()
        self.processes = {}

    def pids(self, side):
        return self.processes[side].tree() if side in self.processes else []

    def log(self):
        return "\n".join(line for process in self.processes.values() for line in process.log()[-5:])


class Stunnel(Pair):
    name, label, has_tls, compared, command = "stunnel", "stunnel", True, True, "stunnel4"

    @classmethod
    def version(cls):
        return first_line([find("stunnel4"), "-version"]).split(" on ")[0]

    def argvs(self):
        common = f"foreground = yes\npid =\nsyslog = no\ndebug = warning\n[bench]\nsslVersion = TLSv1.3\n" \
                 f"ciphersuites = {CIPHER}\nCAfile = {self.pki.path('ca.crt')}\nverifyChain = yes\n"
        server = self.file("stunnel-server.conf", common + f"accept = 127.0.0.1:{self.server_port}\n"
                           f"connect = 127.0.0.1:{self.target}\n"
                           f"cert = {self.pki.path('relay.crt')}\nkey = {self.pki.path('relay.key')}\n")
        client = self.file("stunnel-client.conf", common + f"client = yes\naccept = 127.0.0.1:{self.port}\n"
                           f"connect = 127.0.0.1:{self.server_port}\ncheckHost = localhost\nsni = localhost\n"
                           f"cert = {self.pki.path('alice.crt')}\nkey = {self.pki.path('alice.key')}\n")
        return {"server": [find("stunnel4"), server], "client": [find("stunnel4"), client]}


class Haproxy(Pair):
    name, label, has_tls, compared, command = "haproxy", "HAProxy", True, True, "haproxy"

    @classmethod
    def version(cls):
        return first_line([find("haproxy"), "-v"]).split(" - ")[0].replace(" version ", " ")

    def argvs(self):
        common = f"global\n  maxconn {MAX_CONNECTIONS}\ndefaults\n  mode tcp\n  timeout connect 5s\n" \
                 "  timeout client 1h\n  timeout server 1h\n"
        tls = f"ssl ca-file {self.pki.path('ca.crt')} verify required ssl-min-ver TLSv1.3 ciphersuites {CIPHER}"
        server = self.file("haproxy-server.cfg", common + f"listen bench\n"
                           f"  bind 127.0.0.1:{self.server_port} {tls} crt {self.pki.path('relay.pem')}\n"
                           f"  server app 127.0.0.1:{self.target}\n")
        client = self.file("haproxy-client.cfg", common + f"listen bench\n  bind 127.0.0.1:{self.port}\n"
                           f"  server relay 127.0.0.1:{self.server_port} {tls} crt {self.pki.path('alice.pem')} "
                           "verifyhost localhost sni str(localhost)\n")
        return {"server": [find("haproxy"), "-db", "-f", server], "client": [find("haproxy"), "-db", "-f", client]}


class Nginx(Pair):
    name, label, has_tls, compared, command = "nginx", "nginx stream", True, True, "nginx"
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"

    @classmethod
    def missing(cls):
        return super().missing() or (None if os.path.exists(cls.module) else "nginx has no stream module")

    @classmethod
    def version(cls):
        return first_line([find("nginx"), "-v"]).replace("nginx version: ", "")

    def argvs(self):
        server = f"listen 127.0.0.1:{self.server_port} ssl; ssl_protocols TLSv1.3; ssl_verify_client on;\n" \
                 f"ssl_conf_command Ciphersuites {CIPHER}; ssl_client_certificate {self.pki.path('ca.crt')};\n" \
                 f"ssl_certificate {self.pki.path('relay.crt')}; ssl_certificate_key {self.pki.path('relay.key')};\n" \
                 f"proxy_pass 127.0.0.1:{self.target};"
        client = f"listen 127.0.0.1:{self.port}; proxy_pass 127.0.0.1:{self.server_port};\n" \
                 f"proxy_ssl on; proxy_ssl_protocols TLSv1.3; proxy_ssl_conf_command Ciphersuites {CIPHER};\n" \
                 f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {self.pki.path('ca.crt')};\n" \
                 f"proxy_ssl_name localhost; proxy_ssl_server_name on;\n" \
                 f"proxy_ssl_certificate {self.pki.path('alice.crt')};\n" \
                 f"proxy_ssl_certificate_key {self.pki.path('alice.key')};"
        return {side: [find("nginx"), "-e", "stderr", "-p", self.dir, "-c", self.file(f"nginx-{side}.conf", f"""
load_module {self.module};
daemon off; pid {self.dir}/nginx-{side}.pid; error_log stderr; worker_processes auto;
events {{ worker_connections {2 * MAX_CONNECTIONS}; }}
stream {{ server {{ {text} }} }}
""")] for side, text in (("server", server), ("client", client))}


class Spiped(Pair):
    name, label, command = "spiped", "spiped (own protocol)", "spiped"

    @classmethod
    def version(cls):
        return first_line([find("spiped"), "-v"])

    def argvs(self):
        return {side: [find("spiped"), mode, "-s", f"[127.0.0.1]:{source}", "-t", f"[127.0.0.1]:{target}", "-k",
                       self.pki.secret, "-F", "-n", "0"]
                for side, mode, source, target in (("server", "-d", self.server_port, self.target),
                                                   ("client", "-e", self.port, self.server_port))}


class Portseal(Pair):
    """The limit of handshakes from one address is raised: here everyone has the same."""

    name, label, is_ours, has_tls, protocol = "portseal-tls", "Portseal, raw TLS", True, True, "tls"

    @classmethod
    def version(cls):
        return first_line([SENDER, "--version"])

    def argvs(self):
        tls = 'tls = {{ certificate = "{0}.crt"; key = "{0}.key"; {1} = "{2}"; }};\nlog = {{ level = "warn"; }};\n'
        authority = self.pki.path("ca.crt")
        relay = self.file("relay.conf", f"""
listen = ( {{ address = "127.0.0.1:{self.server_port}"; }} );
services = ( {{ name = "app"; target = "tcp://127.0.0.1:{self.target}"; allow = ( {{ any = true; }} ); }} );
limits = {{ handshakes_per_source = 512; connections = {MAX_CONNECTIONS}; }};
""" + tls.format(self.pki.path("relay"), "client_ca", authority))
        sender = self.file("sender.conf", f"""
relays = ( {{ address = "127.0.0.1:{self.server_port}"; server_name = "localhost"; }} );
tunnels = ( {{ listen = "127.0.0.1:{self.port}"; service = "app"; }} );
protocol = "{self.protocol}";
""" + tls.format(self.pki.path("alice"), "relay_ca", authority))
        return {"server": [RELAY, "-c", relay], "client": [SENDER, "tunnel", "-c", sender]}


class PortsealH2(Portseal):
    name, label, protocol = "portseal-h2", "Portseal, HTTP/2", "h2"

    @classmethod
    def missing(cls):
        """A sender that knows no HTTP/2 refuses the word before it looks at anything else."""
        done = run([SENDER, "tunnel", "-c", "/dev/stdin"], stdin=b'protocol = "h2";')
        return "this portseal-sender knows no HTTP/2 yet" if b"not in this version" in done.stderr else None


PAIRS = (Pair, Stunnel, Haproxy, Nginx, Spiped, PortsealH2, Portseal)


def find(command):
    return shutil.which(command) or shutil.which(command, path="/usr/sbin:/sbin:/usr/local/sbin")


def first_line(argv):
    """Some print their version on stderr."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          timeout=PATIENCE, check=False)
    text = done.stdout.decode("utf-8", "replace")
    return next((line for line in text.splitlines() if any(digit in line for digit in "0123456789")), "").strip()


def await_listener(port, process):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.child.poll() is not None:
            raise Failed(f"{process.argv[0]} ended: " + "\n".join(process.log()[-5:]))
        with open("/proc/net/tcp", encoding="ascii") as file:
            if any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in list(file)[1:]):
                return
        time.sleep(0.01)
    raise Failed(f"{process.argv[0]} does not listen on {port}")


def judge_path(pair):
    """What goes in on the client's side comes back from the application."""
    with socket.create_connection(("127.0.0.1", pair.port), timeout=PATIENCE) as plain:
        plain.sendall(b"Eping")
        if plain.recv(4) != b"ping":
            raise Failed(f"{pair.label} does not lead to the application")


def judge_tls(pair):
    """A pair that lets anyone in, or speaks something else, must not win: its server's side is asked by OpenSSL."""
    def ask(with_certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(pair.pki.path("ca.crt"))
        if with_certificate:
            context.load_cert_chain(pair.pki.path("foreign.crt"), pair.pki.path("foreign.key"))
        with socket.create_connection(("127.0.0.1", pair.server_port), timeout=PATIENCE) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as sealed:
                sealed.sendall(b"Eping")
                return sealed.recv(4), sealed.version(), sealed.cipher()[0]

    answer, version, cipher = ask(True)
    # Portseal's relay takes what the client likes best, which from its own sender is CIPHER.
    if (answer, version) != (b"ping", "TLSv1.3") or cipher != CIPHER and not pair.is_ours:
        raise Failed(f"{pair.label} answers {answer!r} by {version} and {cipher}")
    try:
        answer = ask(False)[0]
    except OSError:
        return
    if answer:
        raise Failed(f"{pair.label} lets a client without a certificate in")
