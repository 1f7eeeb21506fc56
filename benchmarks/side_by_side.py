"""What benchmarks beside Mesa share: a model as agents of ours and as Mesa runs it, agent-steps for a second of CPU.

Ours is a whole run in one process with tables off, by CPU time from the end of tick 0; Mesa's a process of its own, by
its CPU time after its first step. Every round measures all kinds, one after another, so that the ratios of a round saw
the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from clock import Clock
from figures import figure
from rich.console import Console
from rich.table import Table

from populace.cluster.collector import tuned_collector
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.data.societies import Origin
from populace.settings import Model, Record, Settings

MESA: Final = "POPULACE_MESA_PYTHON"
AIMS: Final = {"columnar": 10.0, "coroutine": 1 / 3}
"""Agent-steps for each second of CPU, as a multiple of Mesa's plain model."""


class Measured(NamedTuple):
    """Agent-steps for each second of CPU, the first tick left out, and the figures of the model at its end."""

    steps: float
    outcomes: dict[str, float]


class Sides(NamedTuple):
    """A model: ours by kind of agents (`coroutine`, `columnar`), and Mesa's program.

    `parameters(agents)` gives those of our society. The program reads kind (`plain` or `example`), number of agents
    and steps from `sys.argv`, and prints agent-steps a second, Mesa's version and the outcomes as JSON. `at_end` names
    the outcomes that are shown, of all kinds. `agents` (of coroutine agents and Mesa's), `many` (columnar ones) and
    `ticks` are the sizes where no others are given.
    """

    title: str
    ours: Mapping[str, Origin]
    parameters: Callable[[int], dict[str, Any]]
    program: str
    at_end: Sequence[str]
    agents: int
    many: int
    ticks: int


class _Watch(Clock):
    """Notes the last outcomes as well."""

    outcomes: dict[str, float] = {}

    def tick(self, report: Any) -> None:
        super().tick(report)
        self.outcomes = report.outcomes


def ours(sides: Sides, kind: str, agents: int, ticks: int, profile: cProfile.Profile | None = None) -> Measured:
    """Our run of `ticks` + 1 ticks."""
    out = Path(tempfile.mkdtemp())
    watch = _Watch(profile)
    record = Record(agents="none", messages=False, asks=False, actions=False)
    settings = Settings(
        agents=agents, ticks=ticks + 1, record=record, model=Model(kind="scripted"), society=sides.parameters(agents)
    )
    run = Coordinator(sides.ours[kind], settings, LocalTransport(), out, [watch])
    try:
        with tuned_collector():
            asyncio.run(run.run())
    finally:
        if profile is not None:
            profile.disable()
        shutil.rmtree(out)
    assert watch.turns == agents * ticks
    return Measured(watch.turns / (watch.ended_s - watch.began_s), watch.outcomes)


def theirs(sides: Sides, python: str, kind: str, agents: int, ticks: int) -> tuple[Measured, str]:
    """Mesa's run of `ticks` + 1 steps, and its version. Raises CalledProcessError where that Python has no Mesa."""
    command = [python, "-c", sides.program, kind, str(agents), str(ticks)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    steps, version, outcomes = done.stdout.split(maxsplit=2)
    return Measured(float(steps), json.loads(outcomes)), version


def options(doc: str | None) -> argparse.ArgumentParser:
    """The options that all such benchmarks take."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.environ.get(MESA, sys.executable)
    parser.add_argument("--mesa", default=here, help=f"a Python that has Mesa 3; {MESA} names it too")
    parser.add_argument("--agents", type=int, help="of coroutine agents and of Mesa's")
    parser.add_argument("--many", type=int, help="of columnar agents")
    parser.add_argument("--ticks", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", choices=AIMS, help="show where the time of these agents goes, and no more")
    return parser


def compare(sides: Sides, given: argparse.Namespace, console: Console) -> None:
    """Measure all kinds and show them, or the profile of one."""
    few, ticks = given.agents or sides.agents, given.ticks or sides.ticks
    sizes = {"coroutine": few, "columnar": given.many or sides.many}
    if given.profile:
        profile = cProfile.Profile()
        ours(sides, given.profile, sizes[given.profile], ticks, profile)
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(25)
        return
    rows: dict[tuple[str, int], list[Measured]] = {}
    version = ""
    for _ in range(given.rounds):
        for kind, agents in (*sizes.items(), ("columnar", few)):
            rows.setdefault((kind, agents), []).append(ours(sides, kind, agents, ticks))
        for kind in ("plain", "example"):
            try:
                found, version = theirs(sides, given.mesa, kind, few, ticks)
            except subprocess.CalledProcessError as error:
                said = error.stderr.strip().splitlines()[-1:]
                console.print(f"Mesa is left out: {said}. See --help for --mesa.", markup=False)
                break
            rows.setdefault((f"Mesa, {kind}", few), []).append(found)
    about = f"{sides.title}, {ticks} ticks, {given.rounds} rounds, CPU time; Mesa {version or 'left out'}"
    console.print(_table(sides, about, rows, rows.get(("Mesa, plain", few)), sizes))


def _table(
    sides: Sides,
    about: str,
    rows: Mapping[tuple[str, int], list[Measured]],
    base: list[Measured] | None,
    sizes: Mapping[str, int],
) -> Table:
    name = sides.title.split()[-1].lower()
    table = Table(
        "agents", "number", "agent-steps/s, best", "median", "ns a step", "of Mesa, plain: median", "range",
        *sides.at_end, title=about,
    )  # fmt: skip
    for (kind, agents), found in rows.items():
        steps = [one.steps for one in found]
        ratios = [one / other.steps for one, other in zip(steps, base, strict=True)] if base else []
        shown = (f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}") if ratios else ("", "")
        best, median = max(steps), statistics.median(steps)
        figure(f"{name}, {kind}, {agents:,}", median, "agent-steps/s", least=min(steps), most=best)
        if ratios and sizes.get(kind) == agents:
            figure(
                f"{name}, {kind}, {agents:,}, beside Mesa", statistics.median(ratios), "of Mesa, plain",
                aim=AIMS[kind], least=min(ratios), most=max(ratios),
            )  # fmt: skip
        ends = (f"{statistics.mean(one.outcomes[end] for one in found):.3f}" for end in sides.at_end)
        table.add_row(kind, f"{agents:,}", f"{best:,.0f}", f"{median:,.0f}", f"{1e9 / median:,.0f}", *shown, *ends)
    return table
