# SPDX-License-Identifier: Apache-2.0
"""What the pairs are loaded with, and what is read off them meanwhile. A workload whose answers are not all there and
right raises Failed: a proxy that loses or damages something has no figure."""
import json
import os
import re
import signal
import subprocess
import time

from pairs import Failed, find
from portseal_testing import BUILD, SENDER, cpu_seconds_of, memory_of, run

LOAD = os.path.join(BUILD, "tests", "bench", "portseal-load")
GIB = 1 << 30
KEPT = 50        # connections of the workloads with small requests
RATE = 5000      # requests a second where the clock decides
ATTACKERS = 16   # clients of a storm, each shaking hands as fast as it can
IDLE_SECONDS = 2  # how long connections have done nothing when they are weighed
PATIENCE = 150
TICKS = os.sysconf("SC_CLK_TCK")


class Backend:
    """One for all pairs and rounds."""

    def __init__(self):
        self.child = subprocess.Popen([LOAD, "backend", "--port", "0"], stdout=subprocess.PIPE)
        self.port = json.loads(self.child.stdout.readline())["port"]

    def stop(self):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()


class Cpu:
    """CPU seconds since it was made: of each side of a pair, and of everything that is none of this bench's work."""

    def __init__(self, pair, backend):
        self.pair, self.backend = pair, backend
        self.begin, self.begin_busy, self.begin_ours = self._sides(), busy_seconds(), self._others_of_us()
        self.begun = time.monotonic()

    def _sides(self):
        return {side: sum(cpu_or_zero(pid) for pid in self.pair.pids(side)) for side in ("client", "server")}

    def _others_of_us(self):
        times = os.times()
        children = times.children_user + times.children_system  # the load, once it has ended
        return times.user + times.system + children + cpu_or_zero(self.backend.child.pid)

    def figures(self):
        now = self._sides()
        sides = {side: now[side] - self.begin[side] for side in now}
        ours = sum(sides.values()) + self._others_of_us() - self.begin_ours
        elapsed = (time.monotonic() - self.begun) * os.cpu_count()
        foreign = max(0.0, busy_seconds() - self.begin_busy - ours) / elapsed if elapsed else 0.0
        return {"cpu_client": sides["client"], "cpu_server": sides["server"], "cpu": sum(sides.values()),
                "foreign": foreign}


def cpu_or_zero(pid):
    try:
        return cpu_seconds_of(pid)
    except OSError:
        return 0.0


def busy_seconds():
    """Of all CPUs, with what the hypervisor took away."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = (int(field) for field in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def load(mode, port, seconds, **options):
    """One run of portseal-load: its figures."""
    argv = [LOAD, mode, "--port", str(port), "--ms", str(int(seconds * 1000))]
    for name, value in options.items():
        argv += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return judged(run(argv, patience=seconds + 30))


def judged(done):
    if done.returncode != 0:
        raise Failed((done.stdout + done.stderr).decode("utf-8", "replace").strip() or f"exit code {done.returncode}")
    return json.loads(done.stdout)


class Workload:
    """name: on the command line. measure() returns the figures of one run, by the names of METRICS in figures.py."""

    once = False             # in the first round only: its figure does not vary
    only_when_named = False  # else it is run when no workload is named

    def __init__(self, name, title):
        self.name, self.title = name, title

    def missing(self, pair_class):
        """Why this pair has no such figure, or None."""
        return None

    def target(self, backend):
        """The port of the application behind the pair."""
        return backend.port


class Requests(Workload):
    def __init__(self, name, title, mode):
        super().__init__(name, title)
        self.mode = mode

    def measure(self, pair, backend, settings):
        cpu = Cpu(pair, backend)
        got = load(self.mode, pair.port, settings.seconds, connections=KEPT)
        used = cpu.figures()
        for side in ("cpu_client", "cpu_server", "cpu"):
            used[f"{side}_per_1000"] = used[side] / got["answered"] * 1000
        return {**got, **used}


class Bulk(Workload):
    def __init__(self, name, title, streams, down):
        super().__init__(name, title)
        self.options = {"connections": streams, **({"down": True} if down else {})}

    def measure(self, pair, backend, settings):
        cpu = Cpu(pair, backend)
        got = load("bulk", pair.port, settings.seconds, **self.options)
        used = cpu.figures()
        for side in ("cpu_client", "cpu_server", "cpu"):
            used[f"{side}_per_gib"] = used[side] / (got["bytes"] / GIB)
        return {**got, **used}


class Latency(Workload):
    def measure(self, pair, backend, settings):
        cpu = Cpu(pair, backend)
        got = load("rate", pair.port, settings.seconds, connections=KEPT, rate=RATE)
        return {**got, **cpu.figures()}


# A session is one group for the scheduler (sched_autogroup), inside of which alone niceness counts: so they get one of
# their own, and that is niced, too. Else they would take the load's share of the CPUs, and not the proxy's.
ATTACK = """echo 19 2>/dev/null >/proc/self/autogroup
i=0; while [ $i -lt "$0" ]; do "$@" & i=$((i + 1)); done; wait"""


class Storm(Workload):
    """The same, while foreign clients shake hands with the server's side as fast as it lets them. They get only what the
    others leave of the CPUs: in earnest they have machines of their own."""

    def missing(self, pair_class):
        return None if pair_class.has_tls else "takes no TLS client"

    def measure(self, pair, backend, settings):
        whole = int(settings.seconds) + 2  # s_time counts whole seconds
        argv = ["nice", "-n", "19", find("openssl"), "s_time", "-connect", f"127.0.0.1:{pair.server_port}", "-new",
                "-time", str(whole), "-CAfile", pair.pki.path("ca.crt"), "-cert", pair.pki.path("foreign.crt"),
                "-key", pair.pki.path("foreign.key")]
        attack = subprocess.Popen(["sh", "-c", ATTACK, str(ATTACKERS), *argv], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            time.sleep(0.3)  # they load their keys; there is no event to wait for
            cpu = Cpu(pair, backend)
            got = load("rate", pair.port, settings.seconds, connections=KEPT, rate=RATE)
            used = cpu.figures()
            del used["foreign"]  # the attackers are ours, and still run
            output = attack.communicate(timeout=PATIENCE)[0].decode("utf-8", "replace")
        finally:
            try:
                os.killpg(attack.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            attack.wait()
        return {**got, **used, "handshakes": connections_of(output) / whole}


def connections_of(output):
    """Each s_time says: "123 connections in 4 real seconds, ..." """
    counts = re.findall(r"(\d+) connections in \d+ real seconds", output)
    if len(counts) != ATTACKERS:
        raise Failed("a foreign client failed: " + output.strip()[-200:])
    return sum(map(int, counts))


class Idle(Workload):
    once = True

    def __init__(self, connections):
        super().__init__(f"idle-{connections}", f"{connections:,} idle connections")
        self.connections = connections

    def missing(self, pair_class):
        return None if pair_class.command or pair_class.is_ours else "has no process"

    def measure(self, pair, backend, settings):
        before = {side: settled(pair, side) for side in ("client", "server")}
        cpu = Cpu(pair, backend)
        holder = subprocess.Popen([LOAD, "hold", "--port", str(pair.port), "--connections", str(self.connections)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if b"holding" not in holder.stdout.readline():
                raise Failed("not every connection came about")
            used = cpu.figures()
            time.sleep(IDLE_SECONDS)
            after = {side: settled(pair, side) for side in before}
            holder.communicate(timeout=PATIENCE)
            if holder.returncode != 0:
                raise Failed("an idle connection was no longer there")
        finally:
            holder.kill()
            holder.communicate()
        return {**{f"kb_{side}": (after[side] - before[side]) / self.connections for side in before}, **used}


def settled(pair, side):
    """Kilobytes (PSS) of a side, once they change no more."""
    last = None
    for _ in range(20):
        now = sum(memory_of(pid) for pid in pair.pids(side))
        if last is not None and abs(now - last) <= last / 200:
            break
        last = now
        time.sleep(0.2)
    return now


class Messages(Workload):
    """One line of a file, one message, one answer: only Portseal's sender has that."""

    def missing(self, pair_class):
        if not pair_class.is_ours:
            return "has no messages"
        if b"--each-line" not in run([SENDER, "send", "--help"]).stdout:
            return "this portseal-sender knows no --each-line yet"
        return "messages go by HTTP/2" if pair_class.protocol == "tls" else None

    def measure(self, pair, backend, settings):
        lines = int(settings.seconds * 5000)
        text = b"".join(b"Emessage %08d\n" % number for number in range(lines))
        argv = [SENDER, "send", "--each-line", "-c", os.path.join(pair.dir, "sender.conf"), "--service", "app"]
        cpu = Cpu(pair, backend)
        begun = time.monotonic()
        done = run(argv, stdin=text, patience=PATIENCE)
        seconds = time.monotonic() - begun
        if done.returncode != 0 or done.stdout.count(b"message ") != lines:
            raise Failed(f"{done.stdout.count(b'message ')} of {lines} messages were answered: {done.stderr[-200:]!r}")
        return {"answered": lines, "seconds": seconds, "per_second": lines / seconds, **cpu.figures()}


WORKLOADS = (
    Requests("kept", f"requests over {KEPT} kept connections", "kept"),
    Requests("new", f"a new connection for each request, {KEPT} at once", "new"),
    Bulk("bulk-1-up", "one bulk stream, to the application", 1, False),
    Bulk("bulk-1-down", "one bulk stream, from the application", 1, True),
    Bulk("bulk-4-up", "four bulk streams, to the application", 4, False),
    Bulk("bulk-4-down", "four bulk streams, from the application", 4, True),
    Latency("quiet", f"{RATE:,} requests a second, by the clock"),
    Storm("storm", f"the same, while {ATTACKERS} foreign clients shake hands"),
    Idle(1000),
    Idle(5000),
    Messages("messages", "messages by send --each-line"),
)
