"""The headline run: 10,000 citizens and five million interactions, with journal, checkpoints and metrics on.

    python benchmarks/headline.py [--agents 10000] [--interactions 5000000] [--shards 2] [--transport ray]

One run of the command line in processes of its own, `populace run citizen --model rules --until-interactions ...`: an
interaction is a delivered message or an applied action. The model is the society's own rules, so what is measured is
the engine. Prints wall seconds (of the command, and from the first tick's begin to the last one's end), CPU seconds of
all processes by what they are, memory of all of them together (RSS; PSS counts shared pages once), interactions and
turns a second, the wall of the ticks by stage, and the folder's bytes by what is in it; then what the same rate makes
of five million interactions. A short run, as `--interactions 300000`, projects the long one: the first ticks of a
society are cheaper than later ones, since memories fill, so the projection is low by some per cent. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil
from figures import figure
from rich.console import Console
from rich.table import Table

GOAL = 5_000_000
SAMPLE_S = 0.5


class Watched:
    """What a family of processes used: CPU seconds of each, and the most memory of all together."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu_s: dict[int, tuple[str, float]] = {}
        self.rss_bytes = self.pss_bytes = 0
        self.begun_cpu_s = 0.0
        """What it took until the first tick had ended."""

    def sample(self) -> None:
        """Look at all processes that there are now."""
        rss = pss = 0
        try:
            family = [psutil.Process(self._pid), *psutil.Process(self._pid).children(recursive=True)]
        except psutil.Error:
            return
        for one in family:
            try:
                spent, name = one.cpu_times(), kind_of(one, self._pid)
                rss += one.memory_info().rss
                pss += pss_of(one.pid)
            except (psutil.Error, OSError):
                continue
            known, _ = self._cpu_s.get(one.pid, (name, 0.0))
            self._cpu_s[one.pid] = (known if name in ("other", "worker") else name), spent.user + spent.system
        self.rss_bytes, self.pss_bytes = max(self.rss_bytes, rss), max(self.pss_bytes, pss)

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds by kind of process."""
        found: dict[str, float] = {}
        for name, spent_s in self._cpu_s.values():
            found[name] = found.get(name, 0.0) + spent_s
        return dict(sorted(found.items(), key=itemgetter(1), reverse=True))


def kind_of(process: psutil.Process, driver: int) -> str:
    """What a process is: the driver, one of its actors, or a part of Ray."""
    if process.pid == driver:
        return "driver"
    words = " ".join(process.cmdline()).lower()
    kinds = (
        ("ray::shard", "shards"), ("ray::environment", "world"), ("ray::quota", "account"),
        ("raylet", "raylet"), ("gcs_server", "gcs"), ("ray::", "worker"),
    )  # fmt: skip
    return next((kind for part, kind in kinds if part in words), "other")


def pss_of(pid: int) -> int:
    """What a process holds, of shared pages its share, in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def has_begun(out: Path) -> bool:
    """Whether a tick of the run has ended."""
    told = out / "progress.jsonl"
    return told.exists() and '"event":"tick"' in told.read_text()


def folder_bytes(folder: Path) -> Counter[str]:
    """Bytes of a run's folder by what is in it."""
    found: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_file():
            inside = path.relative_to(folder).parts
            found[inside[0] if len(inside) > 1 else ("tables" if path.suffix == ".parquet" else "other")] += (
                path.stat().st_size
            )
    return found


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--interactions", type=int, default=GOAL)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--transport", choices=("local", "ray"), default="ray")
    parser.add_argument("--limit-s", type=float, default=3600.0, help="ends the run after so many seconds")
    parser.add_argument("--keep", type=Path, help="keep the run in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headline") as name:
        folder = Path(name)
        out = (options.keep or folder / "out").resolve()
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "PYTHONHASHSEED": "0"}
        command = [
            sys.executable, "-m", "populace.cli", "run", "citizen", "--model", "rules", "--agents", str(options.agents),
            "--until-interactions", str(options.interactions), "--shards", str(options.shards),
            "--transport", options.transport, "--metrics-port", "0", "--log", str(folder / "log.jsonl"),
            "--out", str(out),
        ]  # fmt: skip
        began_s = time.monotonic()
        with (folder / "said.txt").open("w") as said:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
            watched = Watched(process.pid)
            while process.poll() is None:
                watched.sample()
                if not watched.begun_cpu_s and has_begun(out):
                    watched.begun_cpu_s = sum(watched.cpu_s().values(), 0.0)
                if time.monotonic() - began_s > options.limit_s:
                    process.terminate()
                    process.wait(60)
                time.sleep(SAMPLE_S)
        wall_s = time.monotonic() - began_s
        if not (out / "manifest.json").exists():
            raise SystemExit((folder / "said.txt").read_text()[-4000:])
        told: dict[str, Any] = json.loads((out / "manifest.json").read_text())
        stages_s: dict[str, float] = {}
        for line in (folder / "log.jsonl").read_text().splitlines():
            for stage, took_s in json.loads(line).get("stages_s", {}).items():
                stages_s[stage] = stages_s.get(stage, 0.0) + took_s
        show(options, told, wall_s, watched, stages_s, folder_bytes(out))


AIM_S, AIM_GIB = 240.0, 3.0


def show(
    options: argparse.Namespace,
    told: dict[str, Any],
    wall_s: float,
    watched: Watched,
    stages_s: dict[str, float],
    written: Counter[str],
) -> None:
    """Print what came of a run."""
    interactions = told["messages"]["delivered"] + told["actions"]["applied"]
    ticks_s, cpu_s = told["wall_s"], watched.cpu_s()
    whole_s, begun_s = sum(cpu_s.values()), watched.begun_cpu_s
    long_s = wall_s - ticks_s + ticks_s * GOAL / interactions
    long_cpu_s = begun_s + (whole_s - begun_s) * GOAL / interactions
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    title = (
        f"citizen, {options.agents:,} agents, {options.shards} shards ({options.transport}), {os.cpu_count()} cores, "
        f"load {load}, status {told['status']}"
    )
    table = Table("what", "value", title=title)
    shares = [f"{name} {1e6 * took_s / interactions:.1f}" for name, took_s in cpu_s.items()]
    rows = [
        ("interactions, turns, ticks", f"{interactions:,}, {told['turns']:,}, {told['ticks']:,}"),
        ("wall of the command / of the ticks, s", f"{wall_s:.1f} / {ticks_s:.1f}"),
        ("interactions / turns a second of ticks", f"{interactions / ticks_s:,.0f} / {told['turns'] / ticks_s:,.0f}"),
        ("CPU of all processes, s", f"{whole_s:.1f}: " + ", ".join(f"{n} {s:.1f}" for n, s in cpu_s.items())),
        ("CPU until the first tick had ended, s", f"{begun_s:.1f}"),
        ("CPU an interaction after it, us", f"{1e6 * (whole_s - begun_s) / interactions:.1f}"),
        ("CPU an interaction, start and all, us", f"{1e6 * whole_s / interactions:.1f}: " + ", ".join(shares)),
        ("memory of all processes, MB", f"RSS {watched.rss_bytes / 1e6:,.0f}, PSS {watched.pss_bytes / 1e6:,.0f}"),
        ("wall of ticks by stage, s", ", ".join(f"{name} {stages_s[name]:.1f}" for name in stages_s)),
        ("folder, MB", ", ".join(f"{name} {size / 1e6:,.1f}" for name, size in written.most_common())),
        (f"{GOAL:,} interactions at this rate, s", f"{long_s:.0f} of wall, {long_cpu_s:.0f} of CPU"),
        ("trace hash", told["trace_hash"]),
    ]  # fmt: skip
    for row in rows:
        table.add_row(*row)
    figure(f"citizen, {GOAL:,} interactions, projected", long_s, "s", aim=AIM_S, up=False)
    figure("citizen, an interaction", 1e6 * (whole_s - begun_s) / interactions, "us of CPU")
    figure(
        f"citizen, {options.agents:,} agents, memory in all", watched.pss_bytes / 2**30, "GiB", aim=AIM_GIB, up=False
    )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
