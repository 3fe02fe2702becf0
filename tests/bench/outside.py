# SPDX-License-Identifier: Apache-2.0
"""Other people's load generators, for who trusts ours less: redis-benchmark and iperf3, each with its own server as the
application. They believe what comes back, so they run only when they are named."""
import csv
import json

from pairs import Failed, await_listener, find
from portseal_testing import Process, free_port, run
from workloads import GIB, Cpu, Workload


class Server:
    """An application of its own, started when it is first needed."""

    running = {}

    @classmethod
    def port_of(cls, command, *more):
        if command not in cls.running:
            port = free_port()
            argv = [find(command), *(word.format(port=port) for word in more)]
            process = Process(["sh", "-c", 'exec "$@" >&2', "sh", *argv])
            cls.running[command] = process, port
            await_listener(port, process)
        return cls.running[command][1]

    @classmethod
    def stop_all(cls):
        for process, _ in cls.running.values():
            process.stop()
        cls.running.clear()


class Outside(Workload):
    only_when_named = True

    def missing(self, pair_class):
        return next((f"{command} is not installed" for command in self.commands if find(command) is None), None)

    def run(self, argv, seconds):
        done = run(argv, patience=seconds + 60)
        if done.returncode != 0:
            raise Failed((done.stdout[-200:] + done.stderr).decode("utf-8", "replace").strip())
        return done.stdout.decode("utf-8", "replace")


class Redis(Outside):
    commands = ("redis-server", "redis-benchmark")

    def __init__(self, name, title, keep, rate):
        super().__init__(name, title)
        self.keep, self.rate = keep, rate

    def target(self, backend):
        return Server.port_of("redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "")

    def measure(self, pair, backend, settings):
        argv = [find("redis-benchmark"), "-p", str(pair.port), "-c", "50", "-n", str(int(self.rate * settings.seconds)),
                "-t", "get", "-k", str(int(self.keep)), "--csv"]
        row = list(csv.DictReader(self.run(argv, settings.seconds).splitlines()))[-1]
        return {"per_second": float(row["rps"]), "p50_us": float(row["p50_latency_ms"]) * 1000,
                "p99_us": float(row["p99_latency_ms"]) * 1000}


class Iperf(Outside):
    commands = ("iperf3",)

    def __init__(self, name, title, streams):
        super().__init__(name, title)
        self.streams = streams

    def target(self, backend):
        return Server.port_of("iperf3", "-s", "-B", "127.0.0.1", "-p", "{port}")

    def measure(self, pair, backend, settings):
        argv = [find("iperf3"), "-c", "127.0.0.1", "-p", str(pair.port), "-P", str(self.streams),
                "-t", str(max(1, round(settings.seconds))), "-J"]
        cpu = Cpu(pair, backend)
        total = json.loads(self.run(argv, settings.seconds))["end"]["sum_received"]
        return {"mb_per_second": total["bits_per_second"] / 8e6,
                "cpu_per_gib": cpu.figures()["cpu"] / (total["bytes"] / GIB)}


WORKLOADS = (
    Redis("redis", "redis-benchmark, 50 kept connections", True, 20000),
    Redis("redis-new", "redis-benchmark, a connection for each request", False, 800),
    Iperf("iperf-1", "iperf3, one stream", 1),
    Iperf("iperf-4", "iperf3, four streams", 4),
)
