"""Runs the benchmarks, prints a table and, with BENCH_OUT=<file>, writes {name: {value, low, high, unit}} as JSON.

The benchmarks take turns: every one starts and warms up, then measures one round whenever it is told to. A change of
the machine's load then meets all of them, and shows as spread.
"""

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NODE = ["node", "--import", "tsx"]
ROUNDS = 5
# The whole run; a round that would not fit any more is left out.
TIME_BUDGET_S = 450.0
# Warm-up or one round of one benchmark.
ROUND_LIMIT_S = 600.0
EXIT_LIMIT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a figure must be; `goal` None: it is only told. `at_least`: larger is better."""

    unit: str
    goal: float | None = None
    at_least: bool = True

    def goal_text(self) -> str:
        """For the table."""
        return "" if self.goal is None else f"{'>=' if self.at_least else '<='} {self.goal:g}"

    def verdict(self, value: float) -> str:
        """`yes`, `no`, or nothing without a goal."""
        if self.goal is None:
            return ""
        return "yes" if (value >= self.goal if self.at_least else value <= self.goal) else "no"


METRICS = {
    "star_over_scalar_iteration": Metric(unit="ratio", goal=1.03, at_least=False),
    "rollout_images_per_second": Metric(unit="images/s"),
    "update_images_per_second": Metric(unit="images/s"),
    "worker_wait_share": Metric(unit="share", goal=0.03, at_least=False),
    "allocation_maps_per_second": Metric(unit="maps/s", goal=5000),
    "mask_stream_mb_per_second": Metric(unit="MB/s", goal=300),
    "scorer_over_bare_session": Metric(unit="ratio", goal=0.9),
    "image_text_over_transformers": Metric(unit="ratio", goal=1.5),
    "two_scorer_processes_over_one": Metric(unit="ratio", goal=1.8),
    "ocr_over_rapidocr": Metric(unit="ratio", goal=1.5),
}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A program that prints `{}` when warm and one line of figures for every line that it reads."""

    command: list[str]
    metrics: list[str]
    # Measurements per round.
    repeats: int


@dataclass
class Results:
    """Measured values by metric."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Takes a value and says so."""
        self.values.setdefault(name, []).append(value)
        print(f"  {name:<28} {figure(value)} {METRICS[name].unit}", flush=True)

    def summary(self) -> dict[str, dict[str, float | str]]:
        """Median, smallest and largest value by metric, in the order of METRICS."""
        return {
            name: {
                "value": statistics.median(self.values[name]),
                "low": min(self.values[name]),
                "high": max(self.values[name]),
                "unit": metric.unit,
            }
            for name, metric in METRICS.items()
            if name in self.values
        }


class Child:
    """A running benchmark program."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark = benchmark
        self._process = subprocess.Popen(
            benchmark.command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer("warm-up")

    def measure(self, results: Results) -> None:
        """One round."""
        assert self._process.stdin is not None
        for _ in range(self.benchmark.repeats):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            for name, value in self._answer("a round").items():
                results.add(name, value)

    def stop(self) -> None:
        """Lets it end by itself, and ends it when it does not."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(EXIT_LIMIT_S)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _answer(self, what: str) -> dict[str, float]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ROUND_LIMIT_S)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            why = "ended" if ready else f"took longer than {ROUND_LIMIT_S:g} s"
            self._process.kill()
            sys.exit(f"error: {' '.join(self.benchmark.command)} {why} during {what}; see above for its message")
        figures: dict[str, float] = json.loads(line)
        return figures


def benchmarks(data_dir: Path) -> list[Benchmark]:
    """All of them; the slowest last, so that the others are warm and idle while it measures."""
    bench = "server-ts/bench/"
    twins = ["--star", "recipes/tiny-geneval-star-forward.yaml", "--scalar", "recipes/tiny-geneval-forward-scalar.yaml"]
    return [
        Benchmark(command=[*NODE, f"{bench}allocation-maps.ts"], metrics=["allocation_maps_per_second"], repeats=3),
        Benchmark(command=[*NODE, f"{bench}mask-stream.ts"], metrics=["mask_stream_mb_per_second"], repeats=3),
        Benchmark(
            command=[*NODE, f"{bench}scorer-throughput.ts", "--bundle", "scorers/tiny-world-detector"],
            metrics=["scorer_over_bare_session", "two_scorer_processes_over_one"],
            repeats=2,
        ),
        Benchmark(command=[*NODE, f"{bench}ocr-reading.ts"], metrics=["ocr_over_rapidocr"], repeats=2),
        Benchmark(command=[*NODE, f"{bench}image-text.ts"], metrics=["image_text_over_transformers"], repeats=2),
        Benchmark(
            command=[*NODE, f"{bench}training-iterations.ts", *twins, "--data-dir", str(data_dir)],
            metrics=[
                "star_over_scalar_iteration",
                "rollout_images_per_second",
                "update_images_per_second",
                "worker_wait_share",
            ],
            repeats=1,
        ),
    ]


def run(chosen: list[Benchmark], rounds: int) -> Results:
    """Starts the programs, then lets them measure in turn."""
    started = time.monotonic()
    results = Results()
    children: list[Child] = []
    try:
        for benchmark in chosen:
            print(f"warming up {', '.join(benchmark.metrics)}", flush=True)
            children.append(Child(benchmark))
        longest = 0.0
        for index in range(rounds):
            begun = time.monotonic()
            if index > 0 and begun - started + longest > TIME_BUDGET_S:
                print(f"{rounds - index} rounds left out: they would take longer than {TIME_BUDGET_S:g} s", flush=True)
                break
            print(f"round {index + 1} of {rounds}, {begun - started:.0f} s so far", flush=True)
            for child in children:
                child.measure(results)
            longest = max(longest, time.monotonic() - begun)
    finally:
        for child in children:
            child.stop()
    return results


def figure(value: float) -> str:
    """Four significant digits in a column."""
    return f"{value:>10.0f}" if abs(value) >= 1000 else f"{value:>10.4g}"


def table(summary: dict[str, dict[str, float | str]]) -> str:
    """For people."""
    lines = [f"{'':<28} {'median':>10} {'low':>10} {'high':>10}  {'unit':<9} {'goal':<8} met"]
    for name, entry in summary.items():
        metric = METRICS[name]
        value, low, high = (float(entry[key]) for key in ("value", "low", "high"))
        columns = f"{figure(value)} {figure(low)} {figure(high)}  {metric.unit:<9} {metric.goal_text():<8}"
        lines.append(f"{name:<28} {columns} {metric.verdict(value)}".rstrip())
    return "\n".join(lines)


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Needs an otherwise idle machine; docs/benchmarks.md says what each figure means. "
        "BENCH_OUT: file for the JSON.",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=list(METRICS), help="figures to measure: %(choices)s"
    )
    parser.add_argument("--quick", action="store_true", help=f"one round instead of {ROUNDS}: no spread to speak of")
    return parser.parse_args()


def main() -> int:
    """Exit status 0 also where a goal was missed: whether the machine was quiet is for the reader to judge."""
    arguments = read_arguments()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # The Node that npm installed, as in the Makefile.
    os.environ["PATH"] = f"{ROOT / 'node_modules/.bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    with tempfile.TemporaryDirectory(prefix="star-bench-", ignore_cleanup_errors=True) as folder:
        wanted = set(arguments.only or METRICS)
        chosen = [each for each in benchmarks(Path(folder)) if wanted & set(each.metrics)]
        summary = run(chosen, 1 if arguments.quick else ROUNDS).summary()
    print(f"\n{table(summary)}", flush=True)
    if out := os.environ.get("BENCH_OUT"):
        Path(out).write_text(json.dumps(summary, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
