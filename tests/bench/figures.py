# SPDX-License-Identifier: Apache-2.0
"""From samples to what is shown: medians, spreads, ratios, the tables, the plot. Nothing here measures anything."""
import html
import statistics


class Metric:
    """A row: one figure of one workload. The goal is a ratio to the best of the compared pairs, a bound of its own, or
    another pair's figure, and may be that of one of our pairs only: new connections are what HTTP/2 is for."""

    def __init__(self, workload, figure, title, unit, better, goal=None, goal_of=None, digits=0, scale=1.0):
        self.workload, self.figure, self.title, self.unit = workload, figure, title, unit
        self.more_is_better = better == "more"
        self.goal, self.goal_of, self.digits, self.scale = goal, goal_of, digits, scale

    def text(self, value):
        return "–" if value is None else f"{value:,.{self.digits}f}"


def ratio_of(least):
    return ("ratio", least)


def at_most(bound):
    return ("bound", bound)


def below(name):
    return ("below", name)


METRICS = (
    Metric("kept", "per_second", "requests over 50 kept connections", "1/s", "more", ratio_of(1.4)),
    Metric("kept", "p99_us", "their p99", "ms", "less", digits=2, scale=1e-3),
    Metric("kept", "cpu_per_1000", "CPU per 1,000 requests, both sides", "ms", "less", digits=1, scale=1e3),
    Metric("new", "per_second", "new connections", "1/s", "more", ratio_of(6), "portseal-h2"),
    Metric("new", "p99_us", "their p99", "ms", "less", ratio_of(4), "portseal-h2", digits=1, scale=1e-3),
    Metric("new", "cpu_client_per_1000", "CPU per 1,000 connections, client's side", "s", "less", digits=3),
    Metric("new", "cpu_server_per_1000", "CPU per 1,000 connections, server's side", "s", "less", digits=3),
    Metric("bulk-1-up", "mb_per_second", "one bulk stream, up", "MB/s", "more", ratio_of(1.8)),
    Metric("bulk-1-down", "mb_per_second", "one bulk stream, down", "MB/s", "more", ratio_of(1.8)),
    Metric("bulk-4-up", "mb_per_second", "four bulk streams, up", "MB/s", "more", ratio_of(1.8)),
    Metric("bulk-4-down", "mb_per_second", "four bulk streams, down", "MB/s", "more", ratio_of(1.8)),
    Metric("bulk-4-up", "cpu_per_gib", "CPU per GiB, both sides, up", "s", "less", ratio_of(1), digits=2),
    Metric("bulk-4-up", "cpu_client_per_gib", "of it the client's side, up", "s", "less", digits=2),
    Metric("bulk-4-up", "cpu_server_per_gib", "of it the server's side, up", "s", "less", digits=2),
    Metric("bulk-4-down", "cpu_per_gib", "CPU per GiB, both sides, down", "s", "less", ratio_of(1), digits=2),
    Metric("bulk-4-down", "cpu_client_per_gib", "of it the client's side, down", "s", "less", digits=2),
    Metric("bulk-4-down", "cpu_server_per_gib", "of it the server's side, down", "s", "less", digits=2),
    Metric("quiet", "p50_us", "p50 at 5,000 requests/s, quiet", "ms", "less", digits=2, scale=1e-3),
    Metric("quiet", "p99_us", "p99, quiet", "ms", "less", digits=2, scale=1e-3),
    Metric("quiet", "p999_us", "p99.9, quiet", "ms", "less", digits=2, scale=1e-3),
    Metric("storm", "p50_us", "p50 in a storm of handshakes", "ms", "less", digits=2, scale=1e-3),
    Metric("storm", "p99_us", "p99 in the storm", "ms", "less", below("nginx"), digits=2, scale=1e-3),
    Metric("storm", "p999_us", "p99.9 in the storm", "ms", "less", digits=2, scale=1e-3),
    Metric("storm", "handshakes", "foreign handshakes in the storm", "1/s", "more"),
    Metric("idle-1000", "kb_server", "KB per idle connection (1,000), server's side", "KB", "less", at_most(4), "portseal-tls",
           digits=1),
    Metric("idle-1000", "kb_client", "KB per idle connection (1,000), client's side", "KB", "less", digits=1),
    Metric("idle-5000", "kb_server", "KB per idle connection (5,000), server's side", "KB", "less", at_most(4), "portseal-tls",
           digits=1),
    Metric("idle-5000", "kb_client", "KB per idle connection (5,000), client's side", "KB", "less", digits=1),
    Metric("redis", "per_second", "redis-benchmark, 50 kept connections", "1/s", "more", ratio_of(1.4)),
    Metric("redis-new", "per_second", "redis-benchmark, new connections", "1/s", "more", ratio_of(6), "portseal-h2"),
    Metric("redis-new", "p99_us", "their p99", "ms", "less", ratio_of(4), "portseal-h2", digits=1, scale=1e-3),
    Metric("iperf-1", "mb_per_second", "iperf3, one stream", "MB/s", "more", ratio_of(1.8)),
    Metric("iperf-4", "mb_per_second", "iperf3, four streams", "MB/s", "more", ratio_of(1.8)),
    Metric("messages", "per_second", "messages by send --each-line", "1/s", "more"),
)


STORM_GOAL = 2


class Summary:
    """samples: {workload: {pair: [figures of each round]}}; pairs: what is shown, in that order."""

    def __init__(self, samples, pairs):
        self.samples, self.pairs = samples, pairs
        self.metrics = [metric for metric in METRICS if any(self.values(metric, pair) for pair in pairs)]

    def values(self, metric, pair):
        runs = self.samples.get(metric.workload, {}).get(pair.name, [])
        return [figures[metric.figure] * metric.scale for figures in runs if metric.figure in figures]

    def median(self, metric, pair):
        values = self.values(metric, pair)
        return statistics.median(values) if values else None

    def spread(self, metric, pair):
        """Half of the way from the least to the largest, in hundredths of the median."""
        values = self.values(metric, pair)
        middle = self.median(metric, pair)
        return (max(values) - min(values)) / 2 / abs(middle) * 100 if len(values) > 1 and middle else None

    def best_compared(self, metric):
        medians = [self.median(metric, pair) for pair in self.pairs if pair.compared]
        medians = [value for value in medians if value is not None]
        return (max if metric.more_is_better else min)(medians) if medians else None

    def ratio(self, metric, pair):
        """How many times better than the best of the compared: over 1 is better, whatever the unit."""
        ours, best = self.median(metric, pair), self.best_compared(metric)
        if not ours or not best or ours < 0 or best < 0:
            return None
        return ours / best if metric.more_is_better else best / ours

    def verdict(self, metric, pair):
        """True, False, or None where nothing is promised or known."""
        if metric.goal is None or metric.goal_of not in (None, pair.name):
            return None
        kind, bound = metric.goal
        value = self.ratio(metric, pair) if kind == "ratio" else self.median(metric, pair)
        if kind == "below":
            bound = next((self.median(metric, other) for other in self.pairs if other.name == bound), None)
        if value is None or bound is None:
            return None
        return value >= bound if kind == "ratio" else value <= bound

    def rows(self):
        """[title, cell of each pair, ratio of each of ours, goal]; what is text is for a reader."""
        ours = [pair for pair in self.pairs if pair.is_ours]
        yield ["", *(pair.label for pair in self.pairs), *(f"ratio, {pair.label}" for pair in ours), "goal"]
        for metric in self.metrics:
            cells = [self.cell(metric, pair) for pair in self.pairs]
            ratios = [self.ratio_cell(metric, pair) for pair in ours]
            yield [f"{metric.title}, {metric.unit}", *cells, *ratios, goal_text(metric)]

    def cell(self, metric, pair):
        spread = self.spread(metric, pair)
        return metric.text(self.median(metric, pair)) + ("" if spread is None else f" ±{spread:.0f}%")

    def ratio_cell(self, metric, pair):
        ratio, verdict = self.ratio(metric, pair), self.verdict(metric, pair)
        text = "–" if ratio is None else f"{ratio:.2f}"
        return text + {True: " yes", False: " NO", None: ""}[verdict]

    def storm_against_quiet(self):
        """{label: p99 in the storm over p99 in quiet}, of which ours are to be at most STORM_GOAL"""
        quiet = next(metric for metric in METRICS if (metric.workload, metric.figure) == ("quiet", "p99_us"))
        storm = next(metric for metric in METRICS if (metric.workload, metric.figure) == ("storm", "p99_us"))
        both = {pair.label: (self.median(storm, pair), self.median(quiet, pair)) for pair in self.pairs}
        return {label: storm / quiet for label, (storm, quiet) in both.items() if storm and quiet}

    def foreign_share(self):
        """The median share of the machine that others used meanwhile, and the worst."""
        shares = [figures["foreign"] for runs in self.samples.values() for of_pair in runs.values()
                  for figures in of_pair if "foreign" in figures]
        return (statistics.median(shares), max(shares)) if shares else (0.0, 0.0)


def goal_text(metric):
    if metric.goal is None:
        return ""
    kind, bound = metric.goal
    return {"ratio": "≥ {0:g}×", "bound": "≤ {0:g} {1}", "below": "≤ that of {0}"}[kind].format(bound, metric.unit)


def as_text(rows):
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows)


def as_markdown(rows):
    rows = list(rows)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * (len(rows[0]) - 1))
    return "\n".join(lines)


COLOURS = {"direct": "#c9c9c9", "stunnel": "#8fb3d9", "haproxy": "#5b8fc7", "nginx": "#2f6aa8", "spiped": "#b7b78a",
           "portseal-h2": "#d9822b", "portseal-tls": "#e8ae6e"}


def as_svg(summary, title):
    """One block of bars for each metric, its range as a line on each bar."""
    bar, gap, label_width, plot_width = 16, 34, 170, 420
    column_width = label_width + plot_width + 110
    blocks = [(metric, [pair for pair in summary.pairs if summary.values(metric, pair)]) for metric in summary.metrics]
    half = (len(blocks) + 1) // 2
    heights = [sum(gap + bar * len(pairs) for _, pairs in part) for part in (blocks[:half], blocks[half:])]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * column_width}" height="{max(heights) + 60}" '
           'font-family="sans-serif" font-size="11">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="10" y="20" font-size="14">{html.escape(title)}</text>']
    for column, part in enumerate((blocks[:half], blocks[half:])):
        y = 44
        for metric, pairs in part:
            x = 10 + column * column_width
            better = "more is better" if metric.more_is_better else "less is better"
            out.append(f'<text x="{x}" y="{y}" font-weight="bold">{html.escape(metric.title)}, '
                       f'{html.escape(metric.unit)} ({better})</text>')
            most = max(max(0.0, *summary.values(metric, pair)) for pair in pairs) or 1.0
            y += 6
            for pair in pairs:
                out += svg_bar(summary, metric, pair, (x, y, label_width, plot_width / most, bar))
                y += bar
            y += gap - 6
    return "\n".join([*out, "</svg>", ""])


def svg_bar(summary, metric, pair, place):
    x, y, label_width, scale, height = place
    values, middle = summary.values(metric, pair), summary.median(metric, pair)
    left, center = x + label_width, y + height / 2
    low, high = (left + max(0.0, value) * scale for value in (min(values), max(values)))
    yield f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{html.escape(pair.label)}</text>'
    yield (f'<rect x="{left}" y="{y + 2}" width="{max(0.0, middle) * scale:.1f}" height="{height - 4}" '
           f'fill="{COLOURS.get(pair.name, "#999999")}"/>')
    yield f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{center}" y2="{center}" stroke="black"/>'
    yield f'<text x="{max(high, left) + 5:.1f}" y="{y + 12}">{metric.text(middle)}</text>'
