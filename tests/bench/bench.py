#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench -- Portseal beside stunnel, HAProxy, nginx and spiped, in one run on one machine.

Each round takes every workload, and in it one pair of proxies after the other, beginning with another one each time; so
what disturbs the machine disturbs all. Prints a table, and leaves in --out: bench.txt, bench.md (to paste), bench.svg
and bench.json (every sample).
"""
import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "scenarios"))

import figures  # noqa: E402
import outside  # noqa: E402
import pairs  # noqa: E402
import workloads  # noqa: E402
from portseal_testing import BUILD  # noqa: E402

WORKLOADS = workloads.WORKLOADS + outside.WORKLOADS
QUICK_SECONDS = 95  # then nothing more is begun, so that the whole ends within two minutes


def arguments():
    parser = argparse.ArgumentParser(prog="bench", description="Portseal beside other proxies")
    parser.add_argument("--quick", action="store_true", help="one short round: ends within two minutes")
    parser.add_argument("--rounds", type=int, help="default 5, quick 1")
    parser.add_argument("--seconds", type=float, help="of one measurement; default 2, quick 0.4")
    parser.add_argument("--workloads", default="", help=", ".join(load.name for load in WORKLOADS))
    parser.add_argument("--proxies", default="", help=", ".join(pair.name for pair in pairs.PAIRS))
    parser.add_argument("--out", default=os.path.join(BUILD, "bench"), help="where the results are left")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 5)
    given.seconds = given.seconds or (0.4 if given.quick else 2.0)
    given.pairs = chosen(parser, "proxy", given.proxies, pairs.PAIRS)
    given.loads = chosen(parser, "workload", given.workloads, WORKLOADS)
    if not given.workloads:
        given.loads = [load for load in given.loads
                       if not load.only_when_named and not (given.quick and load.name == "idle-5000")]
    return given


def chosen(parser, kind, names, things):
    names = names.replace(",", " ").split()
    known = {thing.name: thing for thing in things}
    for name in names:
        if name not in known:
            parser.error(f"no {kind} \"{name}\": expected {', '.join(known)}")
    return [thing for thing in things if not names or thing.name in names]


class Bench:
    def __init__(self, given):
        self.given = given
        self.samples, self.notes, self.failures = {}, [], []
        self.dir = tempfile.mkdtemp(prefix="portseal-bench-")
        self.pair = self.backend = None
        for pair in given.pairs:
            if pair.missing():
                self.notes.append(f"{pair.label} is left out: {pair.missing()}")
        self.pairs = [pair for pair in given.pairs if not pair.missing()]

    def close(self):
        if self.pair is not None:
            self.pair.stop()
        if self.backend is not None:
            self.backend.stop()
        outside.Server.stop_all()
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self):
        self.pki = pairs.Pki(self.dir)
        self.backend = workloads.Backend()
        self.judge()
        give_up = time.monotonic() + QUICK_SECONDS if self.given.quick else None
        for number in range(self.given.rounds):
            for place, load in enumerate(self.given.loads):
                turn = (number + place) % len(self.pairs) if self.pairs else 0
                for pair in self.pairs[turn:] + self.pairs[:turn]:
                    if give_up is not None and time.monotonic() > give_up:
                        self.notes.append(f"{load.title}: no time was left for {pair.label}")
                    elif number == 0 or not load.once:
                        self.measure(number, load, pair)

    def judge(self):
        """A pair that leads nowhere or does not verify is not measured."""
        for pair in list(self.pairs):
            try:
                pairs.judge_path(self.start(pair, self.backend.port))
                if pair.has_tls:
                    pairs.judge_tls(self.pair)
            except (pairs.Failed, OSError) as error:
                self.fail(pair, "before anything was measured", error)
                self.pairs.remove(pair)
            if self.pair is not None:
                self.stop()

    def start(self, pair, target):
        self.pair = pair(self.dir, self.pki, target)
        return self.pair.start()

    def stop(self):
        self.pair.stop()
        self.pair = None

    def measure(self, number, load, pair):
        if load.missing(pair):
            note = f"{load.title}: {pair.label} {load.missing(pair)}"
            if pair.is_ours and note not in self.notes:
                self.notes.append(note)
            return
        say(f"round {number + 1}/{self.given.rounds}  {load.name:12} {pair.name}")
        try:
            got = load.measure(self.start(pair, load.target(self.backend)), self.backend, self.given)
            self.samples.setdefault(load.name, {}).setdefault(pair.name, []).append(got)
        except (pairs.Failed, OSError, AssertionError) as error:
            self.fail(pair, load.name, error)
        except workloads.subprocess.TimeoutExpired as error:
            self.fail(pair, load.name, f"no end after {error.timeout:.0f} s")
        if self.pair is not None:
            self.stop()

    def fail(self, pair, what, error):
        self.failures.append((pair, f"{pair.label}, {what}: {error}"))
        say(f"  FAILED {pair.name}, {what}: {error}")
        if self.pair is not None and self.pair.log():
            say("  " + self.pair.log().replace("\n", "\n  "))


def say(text):
    print(text, file=sys.stderr, flush=True)


def read_line(path):
    with open(path, encoding="ascii") as file:
        return file.readline().strip()


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        lines = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return {"cpu": lines[0] if lines else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(),
            "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            "congestion_control": read_line("/proc/sys/net/ipv4/tcp_congestion_control"),
            "openssl": pairs.first_line([pairs.find("openssl"), "version"]).partition(" (")[0]}


def report(bench, begun):
    shown = figures.Summary(bench.samples, bench.pairs)
    here = machine()
    versions = {pair.name: pair.version() for pair in bench.pairs if pair.version()}
    typical, worst = shown.foreign_share()
    head = [f"{begun:%Y-%m-%d %H:%M}, {here['cpu']}, {here['cores']} cores, Linux {here['kernel']} ({here['congestion_control']}), "
            f"{here['openssl']}",
            "; ".join(dict.fromkeys(versions.values())),
            f"medians of {bench.given.rounds} rounds of {bench.given.seconds:g} s, ± half of the range; "
            "ratio: how many times better than the best of stunnel, HAProxy and nginx",
            f"meanwhile others used {typical:.0%} of the machine (median; at worst {worst:.0%})"]
    ratios = [f"{label} {ratio:.1f}" for label, ratio in shown.storm_against_quiet().items()]
    tail = [f"p99 in the storm / p99 in quiet (goal: at most {figures.STORM_GOAL}): " + ", ".join(ratios)] if ratios else []
    tail += bench.notes + [f"FAILED: {text}" for _, text in bench.failures]
    if typical > 0.05:
        tail.append("NOT TO BE TRUSTED: the machine had other work to do")
    rows = list(shown.rows())
    text = "\n".join([*head, "", figures.as_text(rows), "", *tail, ""])
    everything = {"begun": begun.isoformat(), "machine": here, "versions": versions, "rounds": bench.given.rounds,
                  "seconds": bench.given.seconds, "notes": bench.notes, "failures": [text for _, text in bench.failures],
                  "table": table(shown), "samples": bench.samples}
    leave(bench.given.out, {"bench.txt": text, "bench.svg": figures.as_svg(shown, head[0]),
                            "bench.md": "\n\n".join([*head, figures.as_markdown(rows), *tail]) + "\n",
                            "bench.json": json.dumps(everything, indent=1) + "\n"})
    print(text)
    say(f"results: {bench.given.out}/bench.{{txt,md,svg,json}}")


def table(shown):
    return [{"workload": metric.workload, "figure": metric.figure, "title": metric.title, "unit": metric.unit,
             "pairs": {pair.name: {"median": shown.median(metric, pair), "spread_percent": shown.spread(metric, pair),
                                   "ratio": shown.ratio(metric, pair) if pair.is_ours else None,
                                   "goal_reached": shown.verdict(metric, pair) if pair.is_ours else None}
                       for pair in shown.pairs if shown.values(metric, pair)}} for metric in shown.metrics]


def leave(folder, files):
    os.makedirs(folder, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


def main():
    given = arguments()
    begun, start = datetime.datetime.now(), time.monotonic()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    os.umask(0o022)
    bench = Bench(given)
    try:
        bench.run()
        report(bench, begun)
    except KeyboardInterrupt:
        return 130
    finally:
        bench.close()
    say(f"done in {time.monotonic() - start:.0f} s")
    return 1 if any(pair.is_ours for pair, _ in bench.failures) else 0


if __name__ == "__main__":
    sys.exit(main())
