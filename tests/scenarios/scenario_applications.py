#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: real applications and their own clients do not notice that a tunnel and a relay are between them,
however many connections there are at once and however large what they carry is."""
import glob
import hashlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from portseal_testing import (PATIENCE, Process, Scenario, free_port, is_sanitized, main, memory_of, read_all, receive,
                              run, tool)

MIB = 1 << 20
GIB = 1 << 30


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Applications(Scenario):
    def tunnel_to(self, port):
        relay = self.relay(f"tcp://127.0.0.1:{port}")
        return self.tunnel(relay.port).port

    def succeed(self, argv, stdin=b"", env=None):
        done = run(argv, stdin=stdin, env=env)
        self.assertEqual((done.returncode, done.stderr), (0, b""), argv)
        return done.stdout


class Redis(Applications):
    def setUp(self):
        super().setUp()
        port = free_port()
        server = [tool("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir]
        self.keep(Process(["sh", "-c", 'exec "$@" >&2', "sh", *server])).wait_for("Ready to accept connections")
        self.client = ["-h", "127.0.0.1", "-p", str(self.tunnel_to(port))]

    def cli(self, *args, stdin=b""):
        return self.succeed([tool("redis-cli"), *self.client, *args], stdin)

    def test_values_small_and_large_come_back_as_they_were_set(self):
        self.assertEqual(self.cli("set", "greeting", "hello"), b"OK\n")
        self.assertEqual(self.cli("get", "greeting"), b"hello\n")
        value = os.urandom(MIB)
        self.assertEqual(self.cli("-x", "set", "large", stdin=value), b"OK\n")
        self.assertEqual(sha256(self.cli("get", "large")[:-1]), sha256(value))

    def test_subscribers_hear_what_is_published(self):
        subscriber = self.keep(Process(["sh", "-c", 'exec "$@" >&2', "sh", tool("redis-cli"), *self.client,
                                        "subscribe", "news"]))
        subscriber.wait_for("subscribe")
        for word in ("first", "second"):
            self.assertEqual(self.cli("publish", "news", word), b"1\n")
            subscriber.wait_for(word)

    def test_redis_benchmark_finds_no_error(self):
        done = run([tool("redis-benchmark"), *self.client, "-c", "50", "-n", "5000", "-t", "set,get,lpush", "-q"])
        lines = [line.split("\r")[-1] for line in done.stdout.decode().split("\n") if line.strip()]
        self.assertEqual((done.returncode, done.stderr, len(lines)), (0, b"", 3), done.stdout)
        for line in lines:
            self.assertRegex(line, r"^(SET|GET|LPUSH): [0-9.]+ requests per second")
            print(f"redis-benchmark: {line.strip()}")


class Postgres(Applications):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        cls.bin = found[-1] if found else os.path.dirname(tool("initdb"))
        cls.data = tempfile.mkdtemp(prefix="portseal-postgres-")
        cls.addClassCleanup(shutil.rmtree, cls.data, True)
        cls.as_user = []
        if os.geteuid() == 0:
            name = "postgres" if "postgres" in [entry.pw_name for entry in pwd.getpwall()] else "nobody"
            entry = pwd.getpwnam(name)
            os.chown(cls.data, entry.pw_uid, entry.pw_gid)
            cls.as_user = [tool("setpriv"), f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        cls.env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": cls.data, "PGUSER": "scenario",
                   "PGDATABASE": "postgres"}
        done = run([*cls.as_user, f"{cls.bin}/initdb", "-D", f"{cls.data}/db", "-A", "trust", "-U", "scenario",
                    "-E", "UTF8", "--no-sync"], env=cls.env, cwd=cls.data)
        if done.returncode != 0:
            raise AssertionError(done.stderr.decode())
        cls.port = free_port()
        cls.server = Process([*cls.as_user, f"{cls.bin}/postgres", "-D", f"{cls.data}/db", "-p", str(cls.port), "-k",
                              cls.data, "-h", "127.0.0.1", "-F"], env=cls.env, cwd=cls.data)
        cls.addClassCleanup(cls.stop_server)
        cls.server.wait_for("ready to accept connections")

    @classmethod
    def stop_server(cls):
        cls.server.signal(signal.SIGINT)
        cls.server.wait()
        cls.server.stop()

    def setUp(self):
        super().setUp()
        self.through = self.tunnel_to(self.port)

    def psql(self, *args, port=None, stdin=b""):
        return self.succeed([tool("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
                             str(port or self.through), *args], stdin, env=self.env)

    def test_a_large_result_is_the_same_as_without_a_tunnel(self):
        query = "select repeat(md5(g::text), 32) from generate_series(1, 20000) g"
        result = self.psql("-c", query)
        self.assertEqual(len(result), 20000 * 1025)
        self.assertEqual(sha256(result), sha256(self.psql("-c", query, port=self.port)))

    def test_what_is_copied_in_comes_out_again(self):
        rows = "".join(f"{i}\t{random.randbytes(50).hex()}\n" for i in range(50000)).encode()
        self.psql("-c", "create table copied (id int primary key, body text)")
        self.psql("-c", "copy copied from stdin", stdin=rows)
        self.assertEqual(sha256(self.psql("-c", "copy (select * from copied order by id) to stdout")), sha256(rows))

    def test_pgbench_loses_no_transaction(self):
        connect = ["-h", "127.0.0.1", "-p", str(self.through)]
        run([tool("pgbench"), "-i", "-q", *connect], env=self.env)
        done = run([tool("pgbench"), "-c", "8", "-j", "2", "-t", "50", *connect], env=self.env)
        text = done.stdout.decode()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("number of transactions actually processed: 400/400", text)
        self.assertNotRegex(text, "failed transactions: [1-9]")
        print(f"pgbench: {next(line for line in text.splitlines() if line.startswith('tps'))}")


NODE_CLIENT = """
const http = require("http"), crypto = require("crypto");
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
let left = 12;
for (let i = 0; i < left; i++)
  http.get({ port: process.argv[2], host: "127.0.0.1", path: "/body", agent }, (answer) => {
    const hash = crypto.createHash("sha256");
    answer.on("data", (data) => hash.update(data));
    answer.on("end", () => {
      console.log(answer.statusCode, hash.digest("hex"));
      if (--left === 0) agent.destroy();
    });
  });
"""

PYTHON_CLIENT = """
import hashlib, http.client, sys
client = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
for _ in range(4):
    client.request("GET", "/body")
    answer = client.getresponse()
    print(answer.status, hashlib.sha256(answer.read()).hexdigest())
"""


class Http(Applications):
    def setUp(self):
        super().setUp()
        site = tempfile.mkdtemp(dir=self.dir)
        self.body = os.urandom(4 * MIB + 1)
        with open(os.path.join(site, "body"), "wb") as file:
            file.write(self.body)
        server = self.keep(Process(["sh", "-c", 'exec "$@" >&2', "sh", sys.executable, "-u", "-m", "http.server", "0",
                                    "--bind", "127.0.0.1", "--protocol", "HTTP/1.1", "--directory", site]))
        self.port = self.tunnel_to(server.wait_for(r"^Serving HTTP on 127\.0\.0\.1 port (\d+)").group(1))
        self.answer = f"200 {sha256(self.body)}\n".encode()

    def test_curl_reads_pages_one_after_the_other_and_errors(self):
        url = f"http://127.0.0.1:{self.port}"
        out = os.path.join(self.dir, "curl.out")
        self.succeed([tool("curl"), "-sS", "--noproxy", "*", "-o", out, f"{url}/body", "-o", out, f"{url}/body"])
        with open(out, "rb") as file:
            self.assertEqual(sha256(file.read()), sha256(self.body))
        code = self.succeed([tool("curl"), "-sS", "--noproxy", "*", "-o", out, "-w", "%{http_code}", f"{url}/nothing"])
        self.assertEqual(code, b"404")

    def test_a_python_client_keeps_its_connection(self):
        self.assertEqual(self.succeed([sys.executable, "-c", PYTHON_CLIENT, str(self.port)]), 4 * self.answer)

    def test_a_node_client_uses_several_connections(self):
        script = self.file("client.js", NODE_CLIENT)
        self.assertEqual(self.succeed([tool("node"), script, str(self.port)]), 12 * self.answer)


class Many(Applications):
    STREAMS = 200
    SIZE = MIB // 4

    def test_200_streams_at_once_carry_random_data_both_ways(self):
        failures = []
        together = threading.Barrier(self.STREAMS)

        def both_ways(connection, number, sends, reads):
            """Sends random.Random(sends) while it reads random.Random(reads)."""
            writer = threading.Thread(target=self.write, args=(connection, sends))
            writer.start()
            if read_all(connection) != random.Random(reads).randbytes(self.SIZE):
                failures.append(f"stream {number}: what {reads} sent has changed")
            writer.join(PATIENCE)

        def serve(connection):
            number = int(receive(connection, 4))
            both_ways(connection, number, f"application {number}", f"client {number}")

        def client(number, port):
            try:
                with self.connect(port) as local:
                    together.wait(PATIENCE)
                    local.sendall(b"%04d" % number)
                    both_ways(local, number, f"client {number}", f"application {number}")
            except OSError as error:
                failures.append(f"stream {number}: {error!r}")

        app = self.app(serve)
        relay = self.relay(app.target)
        tunnel = self.tunnel(relay.port)
        started = time.monotonic()
        clients = [threading.Thread(target=client, args=(number, tunnel.port)) for number in range(self.STREAMS)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(PATIENCE)
        print(f"{self.STREAMS} streams, {2 * self.STREAMS * self.SIZE // MIB} MiB: {time.monotonic() - started:.1f} s")
        self.assertEqual((failures, app.errors), ([], []))
        relay.wait_for(f"event=closed reason=done .*in={self.SIZE + 4} out={self.SIZE} ", count=self.STREAMS)
        tunnel.wait_for(f"event=closed reason=done .*in={self.SIZE + 4} out={self.SIZE} ", count=self.STREAMS)

    def write(self, connection, seed):
        connection.sendall(random.Random(seed).randbytes(self.SIZE))
        connection.shutdown(socket.SHUT_WR)


class Large(Applications):
    """One large payload through send: 1 GiB where that takes 15 s at most, or PORTSEAL_LONG is set; else 64 MiB."""

    GROWTH_KB = 1024

    def setUp(self):
        super().setUp()

        def digest(connection):
            found = hashlib.sha256()
            block = bytearray(MIB)
            while n := connection.recv_into(block):
                found.update(memoryview(block)[:n])
            connection.sendall(found.hexdigest().encode())

        self.running = self.relay(self.app(digest).target)

    def transfer(self, size, watch):
        """Streams so many bytes that are never held: seconds; watch(sender's pid) is called now and then."""
        sender = self.keep(Process(self.send_argv(self.running.port), stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        block = random.randbytes(MIB)
        found = hashlib.sha256()
        started = time.monotonic()
        for at in range(0, size, MIB):
            stamped = at.to_bytes(8, "big") + block[8:]
            found.update(stamped)
            sender.child.stdin.write(stamped)
            if at % (8 * MIB) == 0:
                watch(sender.pid)
        sender.child.stdin.close()
        self.assertEqual(sender.child.stdout.read(), found.hexdigest().encode())
        self.assertEqual((sender.wait(), sender.log()), (0, []))
        sender.child.stdout.close()
        return time.monotonic() - started

    def test_memory_stays_flat_while_a_large_file_is_sent(self):
        probe = self.transfer(32 * MIB, lambda pid: None)
        quick = probe * GIB / (32 * MIB) < 15
        size = GIB if quick or os.environ.get("PORTSEAL_LONG") else 64 * MIB
        samples = {}

        def watch(sender_pid):
            for pid in [sender_pid, *self.running.role_pids("worker")]:
                samples.setdefault(pid, []).append(memory_of(pid))

        seconds = self.transfer(size, watch)
        # The first sample is from before the buffers of a connection exist.
        growth = {pid: max(sizes) - sizes[1] for pid, sizes in samples.items()}
        print(f"{size // MIB} MiB by send: {seconds:.1f} s, {size / MIB / seconds:.0f} MiB/s, memory grew by "
              f"{sorted(growth.values())} KB, at most {max(max(sizes) for sizes in samples.values())} KB")
        if not is_sanitized():
            self.assertLess(max(growth.values()), self.GROWTH_KB)


if __name__ == "__main__":
    main()
