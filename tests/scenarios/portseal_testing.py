# SPDX-License-Identifier: Apache-2.0
"""What the scenarios share: programs under test, certificates, applications, foreign tools.

Everything a scenario starts ends with it. Nothing here sleeps: it waits for a line of a log, a byte, an exit.
"""
import atexit
import collections
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

BUILD = os.path.abspath(os.environ.get("PORTSEAL_BUILD", "build"))
RELAY = os.path.join(BUILD, "portseal-relay")
SENDER = os.path.join(BUILD, "portseal-sender")
CERTS = os.path.join(BUILD, "portseal-certs")
# Every program of a scenario seals with this (ipsec-mb, psa) instead of what it would choose itself.
AEAD = ["--aead", os.environ["PORTSEAL_AEAD"]] if os.environ.get("PORTSEAL_AEAD") else []
PATIENCE = float(os.environ.get("PORTSEAL_PATIENCE", "30"))


def is_sanitized():
    """Sanitizers make a process several times larger and slower; figures of memory mean nothing there."""
    with open(RELAY, "rb") as file:
        return b"__asan_init" in file.read()


def tool(name):
    """The path of a foreign program, or a skip that says which one is missing."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise unittest.SkipTest(f"{name} is not installed (packaging/install-deps test)")
    return path


def wait_until(condition, what, patience=None):
    """Polls a condition that has no event of its own, such as a count of descriptors."""
    deadline = time.monotonic() + (patience or PATIENCE)
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited in vain: {what}")


def is_listening(port):
    with open("/proc/net/tcp", encoding="ascii") as table:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in list(table)[1:])


class Process:
    """A child whose stderr is read line by line as it comes. stop() ends its children too, even those that it left behind
    or that left its session: all have a word in their environment that is theirs alone."""

    def __init__(self, argv, cwd=None, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=None, preexec=None):
        self.argv = argv
        self.family = f"PORTSEAL_FAMILY={uuid.uuid4()}"
        self.lines = []
        self.news = threading.Condition()
        self.child = subprocess.Popen(argv, cwd=cwd, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
                                      env={**(os.environ if env is None else env), **dict([self.family.split("=")])},
                                      preexec_fn=preexec, start_new_session=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for raw in self.child.stderr:
            with self.news:
                self.lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.lines.append(None)
            self.news.notify_all()

    @property
    def pid(self):
        return self.child.pid

    def log(self):
        with self.news:
            return [line for line in self.lines if line is not None]

    def find(self, pattern, start=0):
        return [line for line in self.log()[start:] if re.search(pattern, line)]

    def wait_for(self, pattern, count=1, start=0, patience=None):
        """The match of the count-th line (from line `start`) that the pattern matches."""
        deadline = time.monotonic() + (patience or PATIENCE)
        at, found = start, 0
        with self.news:
            while True:
                while at < len(self.lines) and self.lines[at] is not None:
                    match = re.search(pattern, self.lines[at])
                    at += 1
                    if match:
                        found += 1
                        if found == count:
                            return match
                left = deadline - time.monotonic()
                ended = at < len(self.lines)
                if ended or left <= 0:
                    text = "\n".join(line for line in self.lines if line is not None)
                    raise AssertionError(f"no line like {pattern!r} ({'it ended' if ended else 'time is over'}) in:\n{text}")
                self.news.wait(left)

    def wait(self, patience=None):
        code = self.child.wait(patience or PATIENCE)
        self.reader.join(PATIENCE)
        return code

    def signal(self, number):
        self.child.send_signal(number)

    def kill_all(self):
        """Itself with its group first, so that it replaces nobody; then whoever left the group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        for pid in self._family():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _family(self):
        word = self.family.encode()
        found = []
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if entry.isdigit() and word in file.read().split(b"\0"):
                        found.append(int(entry))
            except OSError:
                pass
        return found

    def stop(self):
        # Roles outlive a supervisor that is killed, to finish what runs: here they shall not.
        self.kill_all()
        self.reader.join(PATIENCE)
        self.child.stderr.close()

    def tree(self):
        """Pids of itself and of all that descends from it."""
        pids = [self.pid]
        for pid in pids:
            pids += [child for child, _ in self.children(pid)]
        return pids

    def children(self, parent=None):
        """[(pid, name)] of the living children."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    text = file.read()
            except OSError:
                continue
            name = text[text.index("(") + 1:text.rindex(")")]
            state, ppid = text[text.rindex(")") + 2:].split()[:2]
            if int(ppid) == (parent or self.pid) and state != "Z":
                found.append((int(entry), name))
        return found

    def role_pids(self, kind):
        return [pid for pid, name in self.children() if name.startswith(kind)]


def descriptors_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def is_alive(pid):
    """False for a zombie, too: whoever adopted it may be slow to bury it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def cpu_seconds_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid):
    """Kilobytes of private and proportional memory (PSS)."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    raise AssertionError("no Pss line")


class App:
    """A plain TCP (or unix) application on a port of its own; `serve(connection)` runs in a thread for each."""

    def __init__(self, serve, path=None, family=socket.AF_INET):
        self.serve = serve
        self.accepted = 0
        self.errors = []
        if path is not None:
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(path)
            self.target = f"unix:{path}"
        else:
            self.listener = socket.socket(family, socket.SOCK_STREAM)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
            self.port = self.listener.getsockname()[1]
            self.target = f"tcp://127.0.0.1:{self.port}" if family == socket.AF_INET else f"tcp://[::1]:{self.port}"
        self.listener.listen(512)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.serve(connection)
        except OSError as error:
            self.errors.append(error)
        finally:
            connection.close()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()


def echo(connection):
    """Sends back what comes, until the end of file; then ends its own direction."""
    while True:
        data = connection.recv(65536)
        if not data:
            connection.shutdown(socket.SHUT_WR)
            return
        connection.sendall(data)


def read_all(connection):
    parts = []
    while True:
        data = connection.recv(65536)
        if not data:
            return b"".join(parts)
        parts.append(data)


def receive(connection, size):
    """Exactly `size` bytes; an end before them is an EOFError."""
    parts, missing = [], size
    while missing:
        data = connection.recv(min(missing, 65536))
        if not data:
            raise EOFError(f"a clean end, {missing} bytes too early")
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


class Load(threading.Thread):
    """Random bytes against an echo, round after round until finish(); then ends its direction and reads the end.
    `outcome`: "done", "differs", or the name of the exception that ended it."""

    def __init__(self, connection, size=16384):
        super().__init__(daemon=True)
        self.connection, self.size = connection, size
        self.rounds, self.outcome, self.last = 0, None, False
        self.start()

    def run(self):
        try:
            while not self.last:
                data = os.urandom(self.size)
                self.connection.sendall(data)
                if receive(self.connection, self.size) != data:
                    self.outcome = "differs"
                    return
                self.rounds += 1
            if isinstance(self.connection, ssl.SSLSocket):
                self.connection.unwrap()  # sends close_notify and waits for the other one, with nothing before it
                self.outcome = "done"
            else:
                self.connection.shutdown(socket.SHUT_WR)
                self.outcome = "done" if self.connection.recv(1) == b"" else "differs"
        except (OSError, EOFError) as error:
            self.outcome = type(error).__name__
        finally:
            self.connection.close()

    @staticmethod
    def wait_for_rounds(loads, rounds):
        """Each of them that still lives gets on by so many rounds."""
        goals = [load.rounds + rounds for load in loads]
        wait_until(lambda: all(load.rounds >= goal or load.outcome for load, goal in zip(loads, goals)),
                   f"{rounds} more rounds of each load")

    @staticmethod
    def finish(loads):
        """{outcome: how many}"""
        for load in loads:
            load.last = True
        for load in loads:
            load.join(PATIENCE)
        return dict(collections.Counter(load.outcome for load in loads))


def reset(connection):
    """Closes with a reset instead of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# A role that is killed while LeakSanitizer looks at it leaves this word of the tracer's; no program of ours says it.
TRACER_KILLED = re.compile(rb"==\d+==Unable to get registers from thread \d+\.\n")


def run(argv, stdin=b"", patience=None, env=None, cwd=None):
    """A foreign program from start to end: CompletedProcess with bytes."""
    done = subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=patience or PATIENCE, env=env, cwd=cwd, check=False)
    done.stderr = TRACER_KILLED.sub(b"", done.stderr)
    return done


class Scenario(unittest.TestCase):
    """A scratch directory, a certificate authority in it, and the programs under test."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="portseal-scenario-")
        atexit.register(shutil.rmtree, cls.dir, True)
        cls.pki = os.path.join(cls.dir, "pki")
        cls.certs("init", "--name", "Scenario CA")
        cls.certs("relay", "relay", "--dns", "localhost", "--dns", "relay.test", "--ip", "127.0.0.1", "--ip", "::1")
        cls.certs("sender", "alice")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir, ignore_errors=True)

    @classmethod
    def certs(cls, *args, pki=None):
        done = run([CERTS, *args, "--dir", pki or cls.pki])
        if done.returncode != 0:
            raise AssertionError(f"portseal-certs {args}: {done.stderr.decode()}")

    @classmethod
    def crt(cls, name):
        return os.path.join(cls.pki, f"{name}.crt")

    @classmethod
    def key(cls, name):
        return os.path.join(cls.pki, f"{name}.key")

    def setUp(self):
        self.started = []
        self.addCleanup(self._end)  # and not tearDown(), which does not come after a setUp() that fails

    def _end(self):
        for thing in reversed(self.started):
            thing.stop() if isinstance(thing, Process) else thing.close()
        for thing in self.started:
            if isinstance(thing, Process):
                self.assertEqual(thing.find(r"ERROR: \w+Sanitizer|runtime error:|Assertion .* failed"), [])

    def keep(self, thing):
        self.started.append(thing)
        return thing

    def app(self, serve=echo, **kwargs):
        return self.keep(App(serve, **kwargs))

    def file(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "w" if isinstance(content, str) else "wb") as file:
            file.write(content)
        return path

    def relay_config(self, services, listen=None, extra="", tls=""):
        """services: {name: (target, allow, more)} or the text itself."""
        if isinstance(services, dict):
            services = ",\n".join(
                '{ name = "%s"; target = "%s"; allow = ( %s ); %s }' % (name, target, allow, more)
                for name, (target, allow, more) in services.items())
        return f"""
listen = ( {listen or '{ address = "127.0.0.1:0"; }'} );
tls = {{ certificate = "{self.crt('relay')}"; key = "{self.key('relay')}"; client_ca = "{self.pki}/ca.crt"; {tls} }};
services = ( {services} );
processes = {{ gatekeepers = 2; workers = 2; }};
{extra}
"""

    def relay(self, target=None, config=None, argv_prefix=(), preexec=None, options=AEAD, **kwargs):
        """A running relay; .port is its first listener's."""
        if config is None:
            config = self.relay_config({"app": (target, "{ any = true; }", "")}, **kwargs)
        path = self.file(f"relay-{len(self.started)}-{id(config)}.conf", config)
        process = self.keep(Process([*argv_prefix, RELAY, *options, "-c", path], preexec=preexec))
        process.wait_for(r"event=started|\"event\":\"started\"")
        process.ports = [int(line.rsplit("address=", 1)[1].split()[0].rsplit(":", 1)[1])
                         for line in process.find(r"event=listening address=[^u]")]
        process.port = process.ports[0] if process.ports else None
        return process

    def tunnel(self, relay_port, service="app", identity="alice", listen="127.0.0.1:0", extra="", name="localhost",
               argv_prefix=(), options=AEAD, protocol="tls"):
        """A running sender; .port is its first tunnel's. What it does with a pool: scenario_pool.py."""
        tunnels = f'{{ listen = "{listen}"; {f"service = {chr(34)}{service}{chr(34)};" if service else ""} }}'
        config = f"""
relays = ( {{ address = "127.0.0.1:{relay_port}"; server_name = "{name}"; }} );
tls = {{ certificate = "{self.crt(identity)}"; key = "{self.key(identity)}"; relay_ca = "{self.pki}/ca.crt"; }};
tunnels = ( {tunnels} );
protocol = "{protocol}";
{extra}
"""
        path = self.file(f"sender-{len(self.started)}-{id(config)}.conf", config)
        process = self.keep(Process([*argv_prefix, SENDER, "tunnel", *options, "-c", path]))
        process.wait_for(r"event=started")
        ports = [line.rsplit("address=", 1)[1].split()[0].rsplit(":", 1)[1]
                 for line in process.find(r"event=listening address=[^u]")]
        process.port = int(ports[0]) if ports else None
        return process

    sends = "tls"  # the protocol of send: streams, whose lines are known; messages are scenario_messages.py's

    def send_argv(self, port, identity="alice", service="app", ca=None, name="localhost", more=()):
        argv = [SENDER, "send", *AEAD, "--protocol", self.sends, "--relay", f"127.0.0.1:{port}", "--server-name", name,
                "--ca", ca or f"{self.pki}/ca.crt"]
        if identity is not None:
            argv += ["--cert", self.crt(identity), "--key", self.key(identity)]
        if service is not None:
            argv += ["--service", service]
        return [*argv, *more]

    def send(self, port, payload=b"", **kwargs):
        return run(self.send_argv(port, **kwargs), stdin=payload)

    def connect(self, port, host="127.0.0.1"):
        connection = socket.create_connection((host, port), timeout=PATIENCE)
        return self.keep(connection)

    def tls_context(self, identity="alice", alpn=None, ca=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # The most lenient client there is (Debian's build of Python is one): it takes a bare FIN for a clean end.
        context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
        context.load_verify_locations(ca or f"{self.pki}/ca.crt")
        if identity is not None:
            context.load_cert_chain(self.crt(identity), self.key(identity))
        if alpn is not None:
            context.set_alpn_protocols(alpn)
        return context

    def tls(self, port, identity="alice", alpn=None, name="localhost", suppress_eof=False):
        """Python's own TLS (OpenSSL) straight to the relay."""
        plain = self.connect(port)
        sealed = self.tls_context(identity, alpn).wrap_socket(plain, server_hostname=name,
                                                              suppress_ragged_eofs=suppress_eof)
        return self.keep(sealed)


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.umask(0o022)  # the files made here are judged by their modes
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(verbosity=2)
