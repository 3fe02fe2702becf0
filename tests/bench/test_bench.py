#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: the bench cannot rot unnoticed. Its load tool says what is so against its own backend, sees a
backend that lies, and its table says what the samples say. Nothing is timed."""
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import types
import unittest
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "scenarios"))

import figures  # noqa: E402
import outside  # noqa: E402
import pairs  # noqa: E402
import workloads  # noqa: E402
from portseal_testing import App, run  # noqa: E402


def pair(name, is_ours=False, compared=False):
    return types.SimpleNamespace(name=name, label=name, is_ours=is_ours, compared=compared)


SLOW, FAST, OURS = pair("slow", compared=True), pair("fast", compared=True), pair("ours", is_ours=True)


def summary(workload, figure, slow, fast, ours):
    samples = {workload: {name: [{figure: value} for value in values]
                          for name, values in (("slow", slow), ("fast", fast), ("ours", ours)) if values}}
    shown = figures.Summary(samples, [SLOW, FAST, OURS])
    return shown, shown.metrics[0]


class Figures(unittest.TestCase):
    def test_more_is_better_is_compared_with_the_largest_median(self):
        shown, metric = summary("kept", "per_second", [90, 100, 900], [200, 210, 190], [300, 290, 330])
        self.assertEqual((shown.median(metric, SLOW), shown.median(metric, FAST)), (100, 200))
        self.assertEqual(shown.best_compared(metric), 200)
        self.assertEqual(shown.ratio(metric, OURS), 1.5)
        self.assertIs(shown.verdict(metric, OURS), True)

    def test_less_is_better_is_compared_with_the_smallest_median(self):
        shown, metric = summary("bulk-4-up", "cpu_per_gib", [8], [2], [4])
        self.assertEqual((shown.best_compared(metric), shown.ratio(metric, OURS)), (2, 0.5))
        self.assertIs(shown.verdict(metric, OURS), False)

    def test_a_bound_is_judged_without_the_others(self):
        ours = pair("portseal-tls", is_ours=True)
        for value, verdict in ((4.0, True), (4.1, False), (-0.5, True)):
            shown = figures.Summary({"idle-1000": {"portseal-tls": [{"kb_server": value}]}}, [ours])
            self.assertIs(shown.verdict(shown.metrics[0], ours), verdict, value)

    def test_another_pair_can_be_the_goal(self):
        nginx = pair("nginx", compared=True)
        for value, verdict in ((9.0, True), (11.0, False)):
            shown = figures.Summary({"storm": {"nginx": [{"p99_us": 10.0}], "ours": [{"p99_us": value}]}}, [nginx, OURS])
            metric = next(metric for metric in shown.metrics if metric.figure == "p99_us")
            self.assertIs(shown.verdict(metric, OURS), verdict, value)
            self.assertEqual(figures.goal_text(metric), "≤ that of nginx")

    def test_a_goal_of_one_pair_does_not_judge_another(self):
        shown, metric = summary("new", "per_second", [10], [10], [1])
        self.assertEqual(metric.goal_of, "portseal-h2")
        self.assertIsNone(shown.verdict(metric, OURS))

    def test_the_spread_is_half_of_the_range_in_hundredths(self):
        shown, metric = summary("kept", "per_second", [90, 100, 130], [5], [])
        self.assertEqual(shown.spread(metric, SLOW), 20)
        self.assertIsNone(shown.spread(metric, FAST), "of one value there is none")

    def test_what_was_not_measured_is_a_dash(self):
        shown, metric = summary("kept", "per_second", [90], [], [])
        header, row = list(shown.rows())
        self.assertEqual(header, ["", "slow", "fast", "ours", "ratio, ours", "goal"])
        self.assertEqual(row, ["requests over 50 kept connections, 1/s", "90", "–", "–", "–", "≥ 1.4×"])
        self.assertIsNone(shown.verdict(metric, OURS))

    def test_the_table_is_good_markdown_and_the_plot_good_xml(self):
        shown, _ = summary("kept", "per_second", [1000, 3000], [2500, 2600], [9000, 9100])
        lines = figures.as_markdown(shown.rows()).splitlines()
        self.assertEqual(len({line.count("|") for line in lines}), 1, lines)
        self.assertIn("| 2,000 ±50% | 2,550 ±2% | 9,050 ±1% | 3.55 yes | ≥ 1.4× |", lines[2])
        root = xml.etree.ElementTree.fromstring(figures.as_svg(shown, "a < b & c"))
        self.assertEqual(len(root.findall("{*}rect")), 1 + 3)

    def test_the_storm_is_set_against_the_quiet(self):
        samples = {"quiet": {"ours": [{"p99_us": 200.0}]}, "storm": {"ours": [{"p99_us": 500.0}]}}
        self.assertEqual(figures.Summary(samples, [OURS]).storm_against_quiet(), {"ours": 2.5})

    def test_every_row_belongs_to_a_workload(self):
        self.assertLessEqual({metric.workload for metric in figures.METRICS},
                             {load.name for load in workloads.WORKLOADS + outside.WORKLOADS})


class Load(unittest.TestCase):
    def setUp(self):
        self.backend = workloads.Backend()
        self.addCleanup(self.backend.stop)

    def test_requests_are_answered_in_every_pace(self):
        for mode in ("kept", "new", "rate"):
            with self.subTest(mode):
                got = workloads.load(mode, self.backend.port, 0.2, connections=8, rate=500, size=4096)
                self.assertEqual((got["errors"], got["unanswered"]), (0, 0))
                self.assertGreater(got["answered"], 0)
                self.assertLessEqual(got["p50_us"], got["p99_us"])
                self.assertLessEqual(got["p99_us"], got["max_us"])

    def test_the_clock_asks_exactly_as_often_as_told(self):
        got = workloads.load("rate", self.backend.port, 0.3, connections=7, rate=1000)
        self.assertEqual(got["answered"], 300)

    def test_bulk_goes_both_ways_and_is_confirmed_in_whole_blocks(self):
        for options in ({}, {"down": True}):
            for streams in (1, 4):
                with self.subTest(streams=streams, **options):
                    got = workloads.load("bulk", self.backend.port, 0.1, connections=streams, **options)
                    self.assertEqual(got["errors"], 0)
                    self.assertGreater(got["bytes"], 0)
                    if not options:
                        self.assertEqual(got["bytes"] % (4 << 20), 0)

    def test_held_connections_are_there_until_stdin_ends(self):
        holder = subprocess.Popen([workloads.LOAD, "hold", "--port", str(self.backend.port), "--connections", "200"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(json.loads(holder.stdout.readline()), {"holding": 200})
        self.assertEqual(json.loads(holder.communicate(timeout=30)[0]), {"answered": 200, "errors": 0})
        self.assertEqual(holder.returncode, 0)

    def test_usage_errors_exit_2(self):
        for argv in ([], ["fly"], ["kept", "--size", "7"], ["kept", "--connections", "0"], ["kept", "--port", "x"]):
            self.assertEqual(run([workloads.LOAD, *argv]).returncode, 2, argv)


class Liars(unittest.TestCase):
    """Backends that a proxy in between might turn a good one into."""

    def app(self, serve):
        app = App(serve)
        self.addCleanup(app.close)
        return app.port

    def refused(self, mode, port, **options):
        with self.assertRaises(workloads.Failed) as caught:
            workloads.load(mode, port, 0.1, **options)
        return caught.exception

    def test_a_damaged_echo_is_no_answer(self):
        def serve(connection):
            connection.recv(1)
            while data := connection.recv(65536):
                connection.sendall(data[:-1] + bytes([data[-1] ^ 1]))
        for mode in ("kept", "new", "rate"):
            self.assertIn('"answered": 0', str(self.refused(mode, self.app(serve))))

    def test_a_connection_that_is_cut_is_an_error(self):
        self.assertIn('"errors": 1', str(self.refused("kept", self.app(lambda connection: connection.recv(1)))))

    def test_a_damaged_stream_is_seen_where_it_arrives(self):
        def serve(connection):
            connection.recv(1)
            connection.sendall(b"this is not the pattern")
            connection.recv(1)
        self.assertIn('"errors": 1', str(self.refused("bulk", self.app(serve), down=True)))

    def test_the_backend_resets_a_stream_that_is_not_the_pattern(self):
        backend = workloads.Backend()
        self.addCleanup(backend.stop)
        with socket.create_connection(("127.0.0.1", backend.port), timeout=30) as connection:
            connection.sendall(b"U" + b"this is not the pattern")
            with self.assertRaises(ConnectionResetError):
                connection.recv(1)

    def test_a_late_answer_is_charged_with_all_that_waited_behind_it(self):
        release = threading.Event()

        def serve(connection):
            connection.recv(1)
            connection.sendall(connection.recv(4096))  # the warm-up
            first = connection.recv(4096)
            release.wait(0.3)
            connection.sendall(first)
            while data := connection.recv(4096):
                connection.sendall(data)
        got = workloads.load("rate", self.app(serve), 0.4, connections=1, rate=100)
        self.assertEqual(got["answered"], 40)
        self.assertGreaterEqual(got["max_us"], 290000)
        self.assertGreaterEqual(got["p50_us"], 50000, "thirty of forty waited")


class Pairs(unittest.TestCase):
    def judge(self, demand):
        """A server that asks for a certificate, or does not, before the judge of pairs."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        pki = pairs.Pki(folder.name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.path("relay.crt"), pki.path("relay.key"))
        context.load_verify_locations(pki.path("ca.crt"))
        context.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_NONE

        def serve(connection):
            with context.wrap_socket(connection, server_side=True) as sealed:
                sealed.sendall(sealed.recv(5)[1:])
        app = App(serve)
        self.addCleanup(app.close)
        pairs.judge_tls(types.SimpleNamespace(label="it", pki=pki, server_port=app.port, is_ours=True))

    def test_a_pair_that_lets_anyone_in_is_not_measured(self):
        self.judge(demand=True)
        with self.assertRaisesRegex(pairs.Failed, "lets a client without a certificate in"):
            self.judge(demand=False)

    def test_the_bench_refuses_what_it_does_not_know(self):
        script = os.path.join(HERE, "bench.py")
        for option, kind in (("--workloads", "workload"), ("--proxies", "proxy")):
            done = run([sys.executable, script, option, "nonesuch"])
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr.decode(), f'no {kind} "nonesuch": expected ')

    def test_the_driver_measures_what_is_there_and_leaves_its_results(self):
        with tempfile.TemporaryDirectory() as out:
            done = run([sys.executable, os.path.join(HERE, "bench.py"), "--rounds", "2", "--seconds", "0.1", "--proxies",
                        "direct,portseal-tls", "--workloads", "kept,bulk-1-down", "--out", out])
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            self.assertRegex(done.stdout.decode(), r"requests over 50 kept connections, 1/s +[\d,]+ ±\d+% +[\d,]+ ±")
            with open(os.path.join(out, "bench.json"), encoding="utf-8") as file:
                everything = json.load(file)
            self.assertEqual(len(everything["samples"]["kept"]["portseal-tls"]), 2)
            self.assertGreater(everything["samples"]["kept"]["portseal-tls"][0]["cpu_server"], 0)
            self.assertEqual(everything["failures"], [])
            self.assertEqual(sorted(os.listdir(out)), ["bench.json", "bench.md", "bench.svg", "bench.txt"])


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(verbosity=2)
