"""All benchmarks by one command, in under ten minutes: a table of figures, what they are of their aims, and a plot.

Run it as `python benchmarks/all.py [--out DIR] [--only NAME ...] [--smoke]`. The scripts run one after another at the
sizes that stand here, each in a process of its own, and what each prints goes to DIR/NAME.txt. DIR/figures.md holds the
table with the machine, the versions and the date, DIR/figures.svg the plot, DIR/figures.jsonl the figures themselves. A
script that fails is named, the others go on, and the command ends with 1.

`--smoke` runs each as small as it goes: it shows that they run, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from figures import VARIABLE, Figure, read
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent


class Script(NamedTuple):
    """A benchmark: what it is given here, and what it is given for a smoke."""

    arguments: str
    smoke: str


SCRIPTS = {
    "kernel": Script("--repeats 3", "--agents 300 --ticks 3 --repeats 1"),
    "gateway": Script("--calls 2000 --rounds 3", "--calls 100 --concurrency 8 --rounds 1 --no-delay"),
    "memory": Script("--agents 50000", "--agents 300"),
    "bus": Script("--batches 10000 --seconds 0.5", "--batches 1000 --seconds 0.01"),
    "startup": Script("--agents 50000", "--agents 500"),
    "saving": Script("--agents 2000 --rounds 3", "--agents 100 --ticks 3 --rounds 1"),
    "column_saving": Script("--agents 500000 --ticks 5", "--agents 2000 --ticks 3"),
    "coordinator": Script("--ticks 5", "--ticks 1 --shards 10"),
    "rounds": Script("--groups 500 --ticks 2 --repeats 2", "--groups 10 --ticks 1 --repeats 1 --asks 10"),
    "feed_ranking": Script(
        "--agents 300000 --posts 300000 --rounds 2", "--agents 2000 --posts 2000 --readers 50 --rounds 1"
    ),
    "minds": Script("--rounds 100", "--rounds 2"),
    "wealth": Script("--many 500000 --ticks 5 --rounds 2", "--agents 200 --many 1000 --ticks 2 --rounds 1"),
    "mesa_models": Script(
        "--agents 1000 --many 20000 --ticks 20 --rounds 2", "--agents 100 --many 400 --ticks 2 --rounds 1"
    ),
    "out_of_order": Script("--ahead 0 16 --ticks 15", "--agents 40 --slots 8 --ticks 3 --ahead 0 4"),
    "headline": Script("--agents 2000 --interactions 300000", "--agents 40 --interactions 300 --transport local"),
    "scaling": Script("--agents 1000 --ticks 24", "--only feed nothing --agents 60 --ticks 9"),
    "crowd": Script("--agents 200000 --dormant 0", "--agents 20000 --dormant 0"),
    "long_run": Script("--agents 200 --ticks 3000", "--agents 60 --ticks 400"),
    "slow_calls": Script("--repeats 1", "--agents 10 --asks 3 --repeats 1"),
    "page": Script(
        "--agents 100000 --ticks 50 --rounds 2 --only views", "--agents 5000 --ticks 180 --rounds 1 --only views"
    ),
}  # fmt: skip


def machine() -> str:
    """The machine and the versions that figures are of, in a line."""
    cores = os.cpu_count() or 1
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")]  # fmt: skip
        name = models[0] if models else name
    versions = ", ".join(
        f"{one} {importlib.metadata.version(one)}" for one in ("populace", "numpy", "ray", "aiohttp", "msgpack")
    )
    memory_gib = psutil.virtual_memory().total / 2**30
    return (
        f"{cores} cores ({name}), {memory_gib:.0f} GiB, {platform.system()}, Python {platform.python_version()}, "
        f"{versions}; {dt.datetime.now(dt.UTC):%Y-%m-%d}, load {os.getloadavg()[0]:.1f} as it began"
    )


def played(name: str, arguments: str, out: Path) -> tuple[list[Figure], float, int]:
    """A script's figures, the seconds that it took, and how it ended."""
    found = out / f"{name}.jsonl"
    found.unlink(missing_ok=True)
    began_s = time.perf_counter()
    with (out / f"{name}.txt").open("w") as said:
        ended = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), *arguments.split()], stdout=said, stderr=subprocess.STDOUT,
            env={**os.environ, VARIABLE: str(found.resolve()), "PYTHONHASHSEED": "0", "COLUMNS": "160"}, check=False,
        )  # fmt: skip
    took_s = time.perf_counter() - began_s
    figures = read(found) if found.exists() else []
    found.unlink(missing_ok=True)
    return figures, took_s, ended.returncode


def shown(number: float | None) -> str:
    """A number with three figures, or more before the point."""
    if number is None:
        return ""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def row(one: Figure) -> tuple[str, ...]:
    """A figure as cells."""
    spread = f"{shown(one.least)} to {shown(one.most)}" if one.least is not None else ""
    aim = f"{'at least' if one.up else 'at most'} {shown(one.aim)}" if one.aim is not None else ""
    return one.what, shown(one.value), one.unit, spread, aim, shown(one.of_aim)


HEAD = ("what", "figure", "unit", "range", "aim", "times the aim")


def markdown(figures: dict[str, list[Figure]], about: str) -> str:
    """The table of record."""
    lines = [f"On {about}.", "", f"| benchmark | {' | '.join(HEAD)} |", "|---" * (len(HEAD) + 1) + "|"]
    for name, found in figures.items():
        lines += [f"| {name} | {' | '.join(row(one))} |" for one in found]
    return "\n".join(lines) + "\n"


def plot(figures: dict[str, list[Figure]], place: Path) -> None:
    """Every figure that has an aim, as how many times the aim, on a logarithmic axis."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "populace", "font.size": 9})
    import matplotlib.pyplot as plt

    rows = [(f"{name}: {one.what}", one.of_aim) for name, found in figures.items() for one in found if one.of_aim]
    if not rows:
        return
    chart, axis = plt.subplots(figsize=(8, 1.2 + 0.3 * len(rows)), layout="constrained")
    for at, (_, times) in enumerate(rows):
        axis.plot(times, at, "o" if times >= 1 else "X", color="#2b7a5b" if times >= 1 else "#c2570c")
        axis.text(times, at, f"  {times:.3g}", va="center", fontsize=8)
    axis.axvline(1.0, color="0.5", linestyle=":")
    axis.set(xscale="log", xlabel="times the aim (o met, X short of it)")
    axis.set_yticks(range(len(rows)), [what for what, _ in rows])
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.spines[["top", "right"]].set_visible(False)
    chart.savefig(place, metadata={"Date": None})


def main() -> int:
    """Run them all, print and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmark-figures"))
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="as small as they go, to see that they run")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    console, about = Console(), machine()
    console.print(about)
    figures: dict[str, list[Figure]] = {}
    failed = []
    began_s = time.perf_counter()
    for name in options.only or SCRIPTS:
        arguments = SCRIPTS[name].smoke if options.smoke else SCRIPTS[name].arguments
        figures[name], took_s, code = played(name, arguments, options.out)
        if code:
            failed.append(name)
        end = "" if not code else f", FAILED with {code}: see {options.out / name}.txt"
        console.print(f"{name}: {len(figures[name])} figures in {took_s:.0f} s{end}", highlight=False)
    table = Table("benchmark", *HEAD, title=f"{(time.perf_counter() - began_s) / 60:.1f} minutes in all")
    for name, found in figures.items():
        for one in found:
            table.add_row(name, *row(one))
    console.print(table)
    lines = [{"benchmark": name, **one._asdict()} for name, found in figures.items() for one in found]
    (options.out / "figures.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    (options.out / "figures.md").write_text(markdown(figures, about), encoding="utf-8")
    plot(figures, options.out / "figures.svg")
    console.print(f"written: {options.out}/figures.md, figures.svg, figures.jsonl")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
